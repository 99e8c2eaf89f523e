//! What clients and hubs of each released version stored (skex-testvectors/released) must restore, for ever.

use serde_json::{Map, Value};
use skex_core::machine::{Instant, Output};
use skex_testvectors::Hex;
use skex_testvectors::dske_transcripts::ExchangeTest;

use super::{Machine, Player, SharedPad, place};

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

fn octets(value: &Value) -> Hex {
    serde_json::from_value(value.clone()).unwrap()
}

/// Everybody of an exchange, as the files of exchanges have it. Nothing is drawn from the seed.
fn cast(entry: &Value) -> ExchangeTest {
    let mut fields = Map::new();
    for field in ["name", "envelopeSuite", "clients", "hubs", "links"] {
        fields.insert(field.to_owned(), entry[field].clone());
    }
    for field in ["derived", "steps", "sessions", "blocks", "epochs", "keys", "flags"] {
        fields.insert(field.to_owned(), Value::Array(Vec::new()));
    }
    for list in ["clients", "hubs"] {
        for end in fields[list].as_array_mut().unwrap() {
            end["random"] = "00".repeat(1000).into();
            // What the files of earlier versions do not say.
            let end = end.as_object_mut().unwrap();
            let missing: &[(&str, Value)] = if list == "clients" {
                &[("informationTheoretic", false.into()), ("longestLifetime", u16::MAX.into())]
            } else {
                &[("error", Value::Null)]
            };
            for (field, value) in missing {
                end.entry(*field).or_insert_with(|| value.clone());
            }
        }
    }
    let rest = serde_json::json!({ "tcId": 0, "comment": "released", "result": "valid", "refusedBy": null });
    fields.extend(rest.as_object().unwrap().clone());
    serde_json::from_value(fields.into()).unwrap()
}

#[test]
fn clients_and_hubs_are_restored_from_the_records_of_every_released_version() {
    let released =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../skex-testvectors/released")).unwrap();
    let (mut clients, mut hubs) = (0, 0);
    for version in released {
        let path = version.unwrap().path().join("dske.json");
        let entries: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for entry in &entries {
            let test = cast(entry);
            for end in entry["stored"].as_array().unwrap() {
                let at = format!("{}: {}, {}", path.display(), test.name, text(end, "name"));
                let mut player = Player::new(&test, place(&test, text(end, "name")));
                for table in entry["refills"].as_array().unwrap() {
                    let [client, hub] = ["client", "hub"].map(|field| text(table, field));
                    let other = if player.name == client { hub } else { client };
                    if player.name == client || player.name == hub {
                        let [way, number, origin] = ["direction", "number", "origin"]
                            .map(|field| u16::try_from(table[field].as_u64().unwrap()).unwrap());
                        let pad = SharedPad::new(&octets(&table["octets"]));
                        player
                            .tables
                            .get_mut(other)
                            .unwrap()
                            .insert((way as u8, number), (origin as u8, pad));
                    }
                }
                player.records = end["records"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|record| octets(record).as_bytes().to_vec())
                    .collect();
                let now = Instant::from_millis(end["time"].as_u64().unwrap());
                let is_client = test.clients.iter().any(|client| client.name == player.name);
                let started = if is_client { player.start_client(now) } else { player.start_hub(now) };
                let mut machine = started.unwrap_or_else(|error| panic!("{at}: {error}"));
                // What was read is written anew, in today's form, before anything leaves.
                let is_stored = match &mut machine {
                    Machine::Client(machine) => matches!(machine.poll_output(), Output::Persist(_)),
                    Machine::Hub(machine) => matches!(machine.poll_output(), Output::Persist(_)),
                };
                assert!(is_stored, "{at}");
                if is_client { clients += 1 } else { hubs += 1 }
            }
        }
    }
    assert!(clients > 20 && hubs > 20, "only {clients} clients and {hubs} hubs");
}
