//! `skex demo`, as a newcomer and as a script see it.

use serde_json::Value;

use crate::support::{run, start, text};

const NAMES: [&str; 13] = [
    "event",
    "protocol",
    "key_id",
    "initiator",
    "responder",
    "initiator_fingerprint",
    "responder_fingerprint",
    "hubs_good",
    "hubs_silent",
    "hubs_lying",
    "bytes_on_wire",
    "psrd_bytes",
    "micros",
];

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_key_has_one_fingerprint_and_the_dead_and_the_lying_hub_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path().join("demo");
    let demo = run(["demo", "--json", "--dir", text(&work)]).succeeded();
    assert!(!work.exists(), "nothing is left");

    let all = lines(&demo.out);
    let (result, keys) = all.split_last().unwrap();
    let count = keys.len();
    assert_eq!(
        demo.out.lines().last().unwrap(),
        format!("{{\"event\":\"result\",\"ok\":true,\"keys\":{count}}}")
    );
    assert_eq!(result["ok"], true);
    for (key, line) in keys.iter().zip(demo.out.lines()) {
        let places: Vec<usize> =
            NAMES.iter().map(|name| line.find(&format!("\"{name}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{line}");
        assert_eq!(key.as_object().unwrap().len(), NAMES.len());
        assert_eq!(key["event"], "key");
        assert_eq!(key["initiator_fingerprint"], key["responder_fingerprint"]);
        assert_ne!(key["initiator"], key["responder"]);
        assert!(key["micros"].as_u64().unwrap() > 0);
    }
    let ids: std::collections::BTreeSet<&str> =
        keys.iter().map(|key| key["key_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), count, "every key has an id of its own");

    let of =
        |protocol: &str| -> Vec<&Value> { keys.iter().filter(|key| key["protocol"] == protocol).collect() };
    let through_hubs = of("dske");
    assert_eq!(through_hubs.len(), 5);
    assert!(through_hubs.iter().all(|key| key["psrd_bytes"].as_u64() > Some(0)));
    assert!(through_hubs[..3].iter().all(|key| key["hubs_lying"] == serde_json::json!([])));
    // One epoch for each hub and leg, 64 octets each: less than a half of what a key under pads takes.
    let spent = |key: usize| through_hubs[key]["psrd_bytes"].as_u64().unwrap();
    assert!(spent(2) * 2 < spent(1), "{} and {}", spent(2), spent(1));
    for key in &through_hubs[3..] {
        assert_eq!(key["hubs_good"], serde_json::json!(["hub-1", "hub-2", "hub-3"]));
        assert_eq!(key["hubs_silent"], serde_json::json!(["hub-4"]));
        assert_eq!(key["hubs_lying"], serde_json::json!(["hub-5"]));
    }
    let between_two = of("unmediated");
    // 100, the interrupted one unless it was lost with the process that was killed, 100.
    assert!((200..=201).contains(&between_two.len()), "{}", between_two.len());
    assert!(
        between_two.iter().all(|key| key["psrd_bytes"] == 0 && key["hubs_good"] == serde_json::json!([]))
    );
}

#[test]
fn one_end_with_another_key_is_noticed() {
    let demo = run(["demo", "--json", "--corrupt-one-end"]);
    assert_eq!(demo.code, Some(1), "{}", demo.err);
    let all = lines(&demo.out);
    let (result, keys) = all.split_last().unwrap();
    assert_eq!((&result["event"], &result["ok"]), (&Value::from("result"), &Value::from(false)));
    assert!(!keys.is_empty());
    assert!(keys.iter().all(|key| key["initiator_fingerprint"] != key["responder_fingerprint"]));
    assert!(demo.err.contains("differ"), "{}", demo.err);
}

#[test]
fn people_see_a_table_and_what_was_proven() {
    let demo = run(["demo"]).succeeded();
    for part in [
        "alice > bob",
        "bob > alice",
        "silent: hub-4   lying: hub-5",
        "100 keys equal",
        "What was proven",
        "all is well",
    ] {
        assert!(demo.out.contains(part), "{part:?} is missing in:\n{}", demo.out);
    }
    assert!(
        !demo.out.contains("DIFFERS") && !demo.err.contains("..."),
        "no progress line where nobody looks"
    );
}

#[test]
fn nothing_outlives_a_demo_that_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path().join("demo");
    let mut demo = start(["demo", "--json", "--dir", text(&work)]);
    demo.line_with("\"protocol\":\"dske\"");
    demo.kill();
    for party in ["hub-1", "hub-5", "alice", "bob"] {
        // The lock of a directory is free once its process is gone; this waits for that.
        let lock = std::fs::File::open(work.join("net").join(party).join("lock")).unwrap();
        lock.lock().unwrap();
    }
}
