//! Files, groups and tests on their way to JSON.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use skex_testvectors::Layer;

use crate::seed;

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A file with the flags that its tests may use: name, kind of bug, description.
pub(crate) struct File {
    name: &'static str,
    algorithm: &'static str,
    version: &'static str,
    header: Vec<&'static str>,
    flags: &'static [(&'static str, &'static str, &'static str)],
    groups: Vec<Value>,
    tests: u32,
}

impl File {
    pub(crate) fn new(
        name: &'static str,
        algorithm: &'static str,
        version: &'static str,
        header: &[&'static str],
        flags: &'static [(&'static str, &'static str, &'static str)],
    ) -> Self {
        let mut lines = vec![
            "Written by skex-testvectors-generator; see README.md of skex-testvectors for parameters, format and verification.",
            "The fields that a test lists as derived follow from the seed \"SKEX test vectors, revision 1\" by the rule given there. None of these keys may be used for anything.",
        ];
        lines.extend(header);
        Self { name, algorithm, version, header: lines, flags, groups: Vec::new(), tests: 0 }
    }

    /// Adds the tests that `fill` makes, with `parameters` of the group.
    pub(crate) fn group(&mut self, kind: &str, name: &str, parameters: Value, fill: impl FnOnce(&mut Group)) {
        let mut group = Group { file: self.name, name: name.to_owned(), tests: Vec::new() };
        fill(&mut group);
        for test in &mut group.tests {
            self.tests += 1;
            test.insert("tcId".into(), self.tests.into());
        }
        let mut value = json!({
            "type": kind,
            "name": name,
            "source": { "name": "skex-testvectors-generator", "version": self.version },
            "tests": group.tests,
        });
        let fields = value.as_object_mut().expect("an object");
        fields.extend(parameters.as_object().expect("parameters are an object").clone());
        self.groups.push(value);
    }

    /// The text, in the one form that the types of skex-testvectors give it.
    pub(crate) fn finish<G: DeserializeOwned + Serialize>(self) -> (&'static str, String) {
        let note = |(name, bug, text): &(&str, &str, &str)| {
            (name.to_string(), json!({ "bugType": bug, "description": text }))
        };
        let notes: BTreeMap<String, Value> = self.flags.iter().map(note).collect();
        let value = json!({
            "algorithm": self.algorithm,
            "schema": format!("{}.schema.json", self.name),
            "numberOfTests": self.tests,
            "header": self.header,
            "notes": notes,
            "testGroups": self.groups,
        });
        let text = value.to_string();
        let typed: skex_testvectors::File<G> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        (self.name, serde_json::to_string_pretty(&typed).expect("serializable") + "\n")
    }
}

/// A group and its tests.
pub(crate) struct Group {
    file: &'static str,
    name: String,
    tests: Vec<Map<String, Value>>,
}

impl Group {
    /// Begins a test.
    pub(crate) fn case(&mut self, name: &str, comment: &str) -> Case<'_> {
        assert!(self.tests.iter().all(|test| test["name"] != name), "{} {name} twice", self.name);
        let mut fields = Map::new();
        fields.insert("name".into(), name.into());
        fields.insert("comment".into(), comment.into());
        Case { group: self, name: name.into(), fields, derived: Vec::new() }
    }
}

/// A test. Begin with its fields, end with its result.
pub(crate) struct Case<'a> {
    group: &'a mut Group,
    name: String,
    fields: Map<String, Value>,
    derived: Vec<String>,
}

impl Case<'_> {
    /// Octets from the seed that the caller puts at `path` itself (a field within a field).
    pub(crate) fn derive(&mut self, path: &str, length: usize) -> Vec<u8> {
        self.derived.push(path.into());
        seed::octets(self.group.file, &self.group.name, &format!("{}.{path}", self.name), length)
    }

    /// A field of octets from the seed.
    pub(crate) fn secret(&mut self, field: &str, length: usize) -> Vec<u8> {
        let octets = self.derive(field, length);
        self.hex(field, &octets);
        octets
    }

    /// A field that is a list of octets from the seed.
    pub(crate) fn secrets(&mut self, field: &str, count: usize, length: usize) -> Vec<Vec<u8>> {
        let octets: Vec<Vec<u8>> =
            (0..count).map(|i| self.derive(&format!("{field}[{i}]"), length)).collect();
        self.hexes(field, &octets);
        octets
    }

    /// What stands at `path` is no longer what the seed gave.
    pub(crate) fn forget(&mut self, path: &str) -> &mut Self {
        self.derived.retain(|derived| derived != path);
        self
    }

    /// The list at `path` is not part of the file.
    pub(crate) fn forget_all(&mut self, path: &str) -> &mut Self {
        self.derived.retain(|derived| !derived.starts_with(&format!("{path}[")));
        self
    }

    /// What a field of octets holds.
    pub(crate) fn octets(&self, field: &str) -> Vec<u8> {
        let text = self.fields[field].as_str().expect("a field of octets");
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect()
    }

    /// Changes a field of octets; it no longer follows from the seed.
    pub(crate) fn change(&mut self, field: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> &mut Self {
        let octets = change(self.octets(field));
        self.forget(field).hex(field, &octets)
    }

    /// A field of octets.
    pub(crate) fn hex(&mut self, field: &str, octets: &[u8]) -> &mut Self {
        self.set(field, hex(octets))
    }

    /// A field that is a list of octets.
    pub(crate) fn hexes(&mut self, field: &str, octets: &[Vec<u8>]) -> &mut Self {
        self.set(field, octets.iter().map(|octets| hex(octets)).collect::<Vec<_>>())
    }

    /// Any field.
    pub(crate) fn set(&mut self, field: &str, value: impl Into<Value>) -> &mut Self {
        self.fields.insert(field.into(), value.into());
        self
    }

    /// Must be accepted.
    pub(crate) fn valid(self, flags: &[&str]) {
        self.finish("valid", None, flags);
    }

    /// Must be refused by `layer`, for one cause.
    pub(crate) fn invalid(self, layer: Layer, cause: &str) {
        self.finish("invalid", Some(layer), &[cause]);
    }

    fn finish(mut self, result: &str, layer: Option<Layer>, flags: &[&str]) {
        self.fields.insert("derived".into(), self.derived.into());
        self.fields.insert("result".into(), result.into());
        self.fields.insert("refusedBy".into(), serde_json::to_value(layer).expect("serializable"));
        self.fields.insert("flags".into(), flags.into());
        self.group.tests.push(self.fields);
    }
}

/// `octets` with the bits `mask` of octet `at` flipped.
pub(crate) fn flipped(octets: &[u8], at: usize, mask: u8) -> Vec<u8> {
    let mut octets = octets.to_vec();
    octets[at] ^= mask;
    octets
}
