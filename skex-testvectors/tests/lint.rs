//! The files keep their own rules: schema, form, counts, ids, flags, and the seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use skex_testvectors::*;

/// A file, with what the rules need to know of it.
struct Linted {
    name: &'static str,
    json: &'static str,
    schema: &'static str,
    canonical: String,
    number_of_tests: u32,
    notes: BTreeSet<String>,
    /// Name and tests of each group.
    groups: Vec<(String, Vec<Test>)>,
}

struct Test {
    tc_id: u32,
    name: String,
    derived: Vec<String>,
    result: Verdict,
    refused_by: Option<Layer>,
    flags: Vec<String>,
}

impl Test {
    fn new(case: &dyn Case) -> Self {
        assert!(!case.comment().is_empty());
        Self {
            tc_id: case.tc_id(),
            name: case.name().into(),
            derived: case.derived().to_vec(),
            result: case.result(),
            refused_by: case.refused_by(),
            flags: case.flags().to_vec(),
        }
    }
}

macro_rules! files {
    ($($module:ident $name:literal,)*) => {
        vec![$( {
            let file = $module::load().unwrap();
            Linted {
                name: $name,
                json: $module::JSON,
                schema: $module::SCHEMA,
                canonical: pretty(&file),
                number_of_tests: file.number_of_tests,
                notes: file.notes.keys().cloned().collect(),
                groups: file
                    .test_groups
                    .iter()
                    .map(|group| {
                        (group.name().into(), group.cases().into_iter().map(Test::new).collect())
                    })
                    .collect(),
            }
        } ),*]
    };
}

fn files() -> Vec<Linted> {
    files! {
        labels "labels", suites "suites", key_schedule "key-schedule", tags "tags", shamir "shamir",
        dske_key "dske-key", dske_wire "dske-wire", dske_envelope "dske-envelope", dske_epochs "dske-epochs", dske_transcripts "dske-transcripts",
        records "records",
        unmediated_keys "unmediated-keys", unmediated_exporter "unmediated-exporter",
        unmediated_transcripts "unmediated-transcripts", unmediated_records "unmediated-records",
        consumers "consumers",
    }
}

fn pretty(file: &impl Serialize) -> String {
    serde_json::to_string_pretty(file).unwrap() + "\n"
}

#[test]
fn every_file_is_in_the_one_form() {
    for file in files() {
        assert!(file.json == file.canonical, "{}: not as the generator writes it", file.name);
        assert!(file.json.is_ascii(), "{}: not ASCII", file.name);
    }
}

#[test]
fn every_file_fits_its_schema() {
    for file in files() {
        let schema: Value = serde_json::from_str(file.schema).unwrap();
        let value: Value = serde_json::from_str(file.json).unwrap();
        assert_eq!(value["schema"], format!("{}.schema.json", file.name));
        strict(file.name, &schema);
        if let Err(found) = Schema(&schema).check(&schema, &value, file.name) {
            panic!("{found}");
        }
    }
}

#[test]
fn a_file_that_does_not_fit_its_schema_is_noticed() {
    let schema: Value = serde_json::from_str(tags::SCHEMA).unwrap();
    let good: Value = serde_json::from_str(tags::JSON).unwrap();
    type Spoil = fn(&mut Value);
    let spoil: [(&str, Spoil); 6] = [
        ("a field too many", |file| file["testGroups"][0]["tests"][0]["more"] = 1.into()),
        ("a field of the file too many", |file| file["more"] = 1.into()),
        ("a field missing", |file| {
            drop(file["testGroups"][0]["tests"][0].as_object_mut().unwrap().remove("key"))
        }),
        ("a key an octet short", |file| file["testGroups"][0]["tests"][0]["key"] = "00".repeat(31).into()),
        ("upper case", |file| file["testGroups"][0]["tests"][0]["tag"] = "FF".repeat(16).into()),
        ("an unknown result", |file| file["testGroups"][0]["tests"][0]["result"] = "acceptable".into()),
    ];
    for (name, spoil) in spoil {
        let mut file = good.clone();
        spoil(&mut file);
        assert!(Schema(&schema).check(&schema, &file, "tags").is_err(), "{name}");
    }
}

#[test]
fn numbers_count_the_tests_and_names_are_unique() {
    for file in files() {
        let ids: Vec<u32> =
            file.groups.iter().flat_map(|(_, tests)| tests.iter().map(|test| test.tc_id)).collect();
        assert_eq!(ids, (1..=file.number_of_tests).collect::<Vec<_>>(), "{}", file.name);
        let groups: BTreeSet<&String> = file.groups.iter().map(|(name, _)| name).collect();
        assert_eq!(groups.len(), file.groups.len(), "{}: a group twice", file.name);
        for (group, tests) in &file.groups {
            let names: BTreeSet<&String> = tests.iter().map(|test| &test.name).collect();
            assert_eq!(names.len(), tests.len(), "{}, {group}: a name twice", file.name);
        }
    }
}

#[test]
fn a_refusal_has_one_cause_and_one_layer_and_every_flag_is_explained() {
    for file in files() {
        let mut used = BTreeSet::new();
        for test in file.groups.iter().flat_map(|(_, tests)| tests) {
            let place = format!("{}, {}", file.name, test.tc_id);
            match test.result {
                Verdict::Valid => assert_eq!(test.refused_by, None, "{place}"),
                _ => assert!(test.refused_by.is_some(), "{place}"),
            }
            assert_eq!(test.flags.len(), 1, "{place}");
            used.extend(test.flags.iter().cloned());
        }
        assert_eq!(used, file.notes, "{}: flags used, flags explained", file.name);
    }
}

#[test]
fn what_is_called_derived_follows_from_the_seed() {
    let mut count = 0;
    for file in files() {
        let value: Value = serde_json::from_str(file.json).unwrap();
        for ((group, tests), in_file) in file.groups.iter().zip(value["testGroups"].as_array().unwrap()) {
            for (test, in_file) in tests.iter().zip(in_file["tests"].as_array().unwrap()) {
                for path in &test.derived {
                    let text = at(in_file, path).as_str().unwrap();
                    let label = format!("{}.{path}", test.name);
                    let octets = derive(file.name, group, &label, text.len() / 2);
                    assert_eq!(text, Hex::new(octets).to_string(), "{}, {}, {path}", file.name, test.tc_id);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 500, "only {count} fields");
}

/// The field at a path like `message.fields.keyId` or `direct[2]`.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, part| match part.split_once('[') {
        None => &value[part],
        Some((name, index)) => &value[name][index.trim_end_matches(']').parse::<usize>().unwrap()],
    })
}

/// The rule of README.md.
fn derive(file: &str, group: &str, label: &str, length: usize) -> Vec<u8> {
    let block = |counter: u32| {
        let mut hash = Sha256::new();
        for part in ["SKEX test vectors, revision 1", file, group, label] {
            hash.update([u8::try_from(part.len()).unwrap()]);
            hash.update(part);
        }
        hash.update(counter.to_be_bytes());
        hash.finalize().to_vec()
    };
    let mut octets: Vec<u8> = (0..u32::try_from(length.div_ceil(32)).unwrap()).flat_map(block).collect();
    octets.truncate(length);
    octets
}

/// Every object of a schema says all of its properties, requires them, and allows no other.
fn strict(place: &str, schema: &Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                assert_eq!(fields["additionalProperties"], false, "{place}");
                let required: BTreeSet<&str> = fields["required"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|name| name.as_str().unwrap())
                    .collect();
                assert_eq!(required, properties.keys().map(String::as_str).collect(), "{place}");
            }
            fields.iter().for_each(|(name, schema)| strict(&format!("{place}/{name}"), schema));
        }
        Value::Array(items) => items.iter().for_each(|schema| strict(place, schema)),
        _ => {}
    }
}

/// As much of JSON Schema (draft 7) as the schemas here use. A word that it does not know fails.
struct Schema<'a>(&'a Value);

impl Schema<'_> {
    fn check(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        for (word, rule) in schema.as_object().expect("a schema is an object") {
            self.rule(schema, word, rule, value, place)?;
        }
        Ok(())
    }

    fn rule(
        &self,
        schema: &Value,
        word: &str,
        rule: &Value,
        value: &Value,
        place: &str,
    ) -> Result<(), String> {
        let length = |n: Option<usize>| n.map(|n| n as u64);
        let text_length = length(value.as_str().map(str::len));
        let items = value.as_array();
        let count = length(items.map(Vec::len));
        let good = match word {
            "$schema" | "title" | "definitions" => true,
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/definitions/").unwrap();
                return self.check(&self.0["definitions"][name], value, place);
            }
            "oneOf" => {
                let failed: Vec<String> = rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(|schema| self.check(schema, value, place).err())
                    .collect();
                if rule.as_array().unwrap().len() != failed.len() + 1 {
                    return Err(format!("{place}: not exactly one alternative fits: {}", failed.join("; ")));
                }
                true
            }
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_u64(),
                "boolean" => value.is_boolean(),
                "null" => value.is_null(),
                other => panic!("the type {other} is not known here"),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_u64().is_none_or(|n| n >= rule.as_u64().unwrap()),
            "maximum" => value.as_u64().is_none_or(|n| n <= rule.as_u64().unwrap()),
            "minLength" => text_length.is_none_or(|n| n >= rule.as_u64().unwrap()),
            "maxLength" => text_length.is_none_or(|n| n <= rule.as_u64().unwrap()),
            "minItems" => count.is_none_or(|n| n >= rule.as_u64().unwrap()),
            "maxItems" => count.is_none_or(|n| n <= rule.as_u64().unwrap()),
            "format" => {
                assert_eq!(rule, "HexBytes");
                value.as_str().is_none_or(|text| {
                    text.len().is_multiple_of(2)
                        && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
                })
            }
            "items" => {
                for (i, item) in items.into_iter().flatten().enumerate() {
                    self.check(rule, item, &format!("{place}[{i}]"))?;
                }
                true
            }
            "required" => {
                rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        self.check(schema, value, &format!("{place}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    if rule == false {
                        return Err(format!("{place}: {name} is not a field"));
                    }
                    self.check(rule, value, &format!("{place}.{name}"))?;
                }
                true
            }
            other => panic!("the word {other} is not known here"),
        };
        if good { Ok(()) } else { Err(format!("{place}: breaks {word} {rule}")) }
    }
}
