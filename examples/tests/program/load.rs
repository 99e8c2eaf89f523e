//! `skex load`, small: that it runs to its end, and that its report says what it did.

use crate::support::{run, text};

#[test]
fn a_small_load_over_udp_and_in_memory_with_loss_and_a_storm_loses_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let (json, state) = (directory.path().join("load.json"), directory.path().join("state"));
    let sizes = ["load", "--clients", "20", "--keys", "40", "--hubs", "3", "--threshold", "2"];
    let places = ["--json", text(&json), "--directory", text(&state)];
    run(sizes.iter().chain(&places)).succeeded();
    assert!(!state.exists(), "its state is removed");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    for part in ["memory", "udp", "comparison"] {
        let keys = &report[part]["keys"];
        let count = |what: &str| keys[what].as_u64().unwrap();
        assert!(count("equal") >= 60, "{part}: {keys}");
        assert_eq!(
            (count("unequal"), count("lost"), report[part]["overfull"].as_u64()),
            (0, 0, Some(0)),
            "{part}"
        );
        assert_eq!(count("equal") + count("failed") + count("forgotten"), count("asked"), "{part}: {keys}");
    }
    let storm = &report["udp"]["storm"];
    assert!(storm["relays"].as_u64().unwrap() > 0, "hubs go on after they were killed: {storm}");
    let peers = &report["peers"];
    // One of each session: the first of each pair, the second, and one after a loss of power.
    assert_eq!(peers["keys"], serde_json::json!({ "equal": 3 * 20, "unequal": 0 }), "{peers}");
}

/// Every hub is killed while keys cross its shards, and goes on from the logs of all of them.
#[test]
fn a_small_load_over_hubs_in_shards_with_loss_and_a_storm_loses_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let (json, state) = (directory.path().join("load.json"), directory.path().join("state"));
    let sizes = ["load", "--only", "udp", "--shards", "2", "--clients", "21", "--keys", "400"];
    run(sizes.iter().chain(&["--json", text(&json), "--directory", text(&state)])).succeeded();
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let keys = &report["udp"]["keys"];
    let count = |what: &str| keys[what].as_u64().unwrap();
    assert_eq!((count("unequal"), count("lost"), report["udp"]["overfull"].as_u64()), (0, 0, Some(0)));
    assert!(report["udp"]["storm"]["relays"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["shards"], 2);
}

#[test]
fn a_threshold_of_more_hubs_than_there_are_is_refused() {
    run(["load", "--hubs", "2", "--threshold", "3"]).refused(&["threshold of 3", "there are 2"]);
}
