//! A hub with more clients than its process may have files open.

use std::fs;

use crate::support::{Running, after, run, start, start_limited, text};

const CLIENTS: usize = 40;

/// Far fewer than two for each client.
const FILES: u32 = 24;

#[test]
fn a_hub_of_many_clients_that_accept_keys_from_everyone_serves_them_with_few_files_open() {
    let directory = tempfile::tempdir().unwrap();
    let network = directory.path().join("net");
    let names: String = (0..CLIENTS).map(|client| format!("c{client}\n")).collect();
    let from = directory.path().join("names");
    let made =
        ["provision", "--out", text(&network), "--hubs", "2", "--table-size", "16KiB", "--clients-from"];
    fs::write(&from, format!("{names}c7\n")).unwrap();
    run(made.iter().copied().chain([text(&from)])).refused(&["c7 is taken"]);
    fs::write(&from, names).unwrap();
    run(made.iter().copied().chain([text(&from)])).succeeded();
    let start_hub = |number: usize| -> Running {
        let own = network.join(format!("hub-{number}"));
        start_limited(FILES, ["hub", "--dir", text(&own), "--listen", "127.0.0.1:0"])
    };
    let mut hubs = [start_hub(1), start_hub(2)];
    let addresses = hubs.each_mut().map(Running::address);
    let client = |name: &str, action: &[&str]| -> Vec<String> {
        let own = network.join(name);
        let mut arguments =
            ["client", "--dir", text(&own), "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
        for (number, address) in (1..).zip(&addresses) {
            arguments.extend(["--hub-address".to_owned(), format!("hub-{number}={address}")]);
        }
        arguments.extend(action.iter().map(|word| (*word).to_owned()));
        arguments
    };
    // The pool of files goes round: the first clients' tables were closed by the time the last ones' are used, and back.
    for (from, to) in [("c0", "c39"), ("c5", "c20"), ("c39", "c0")] {
        // Each knows the other once it has looked it up.
        for (own, other) in [(from, to), (to, from)] {
            run(client(own, &["lookup", other, "--remember"])).succeeded();
        }
        let responder = start(client(to, &["wait", "--count", "1", "--timeout", "60"]));
        let initiator = run(client(from, &["get", to, "-k", "2"])).succeeded();
        let responder = responder.end().succeeded();
        assert_eq!(after(&initiator.out, "fingerprint"), after(&responder.out, "fingerprint"));
    }
}

#[test]
fn a_hub_whose_skex_json_names_a_stranger_says_what_else_can_stand_there() {
    let directory = tempfile::tempdir().unwrap();
    let network = directory.path().join("net");
    run(["provision", "--out", text(&network), "--hubs", "2", "--table-size", "16KiB"]).succeeded();
    let path = network.join("hub-1").join("skex.json");
    let mut file: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["clients"][0]["accepts_keys_from"] = serde_json::json!(["mallory"]);
    fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
    run(["hub", "--dir", text(&network.join("hub-1"))]).refused(&["mallory", "\"everyone\""]);
}
