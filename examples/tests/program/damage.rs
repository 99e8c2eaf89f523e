//! Files that are torn, damaged, or somebody else's.

use std::fs;

use crate::support::{Network, files, run, start, text};

#[test]
fn a_torn_table_is_refused_by_every_command() {
    let network = Network::new(2, "4KiB");
    let table = network.of("hub-1").join("alice.downlink.0.table");
    fs::File::options().write(true).open(&table).unwrap().set_len(1000).unwrap();
    let before = files(&network.of("hub-1"));
    for command in [&["hub", "--listen", "127.0.0.1:0"][..], &["status"]] {
        let own = network.of("hub-1");
        run(command.iter().copied().chain(["--dir", text(&own)]))
            .refused(&["alice.downlink.0.table", "torn"]);
        assert_eq!(before, files(&network.of("hub-1")));
    }
}

#[test]
fn a_table_in_anothers_place_is_refused() {
    let network = Network::new(2, "4KiB");
    let (own, other) = (network.of("alice"), network.of("bob"));
    for (from, says) in [
        (own.join("hub-1.downlink.0.table"), "another link, direction"),
        (other.join("hub-1.uplink.0.table"), "another link, direction"),
        (own.join("skex.json"), "torn"),
    ] {
        let place = own.join("hub-1.uplink.0.table");
        let right = fs::read(&place).unwrap();
        if says == "torn" {
            fs::write(&place, "half a header").unwrap();
        } else {
            fs::copy(&from, &place).unwrap();
        }
        run(network.client("alice", &[], &["get", "bob", "-k", "2"]))
            .refused(&["hub-1.uplink.0.table", says]);
        fs::write(&place, right).unwrap();
    }
}

/// A hub that has run, and its log.
fn with_a_log() -> (Network, std::path::PathBuf) {
    let network = Network::new(2, "64KiB");
    let (hubs, addresses) = network.start_hubs();
    let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
    bob.end().succeeded();
    drop(hubs);
    let log = network.log_of(1);
    (network, log)
}

#[test]
fn half_a_record_at_the_end_of_a_log_is_dropped_with_a_notice() {
    let (network, log) = with_a_log();
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 3]).unwrap();
    let status = run(["status", "--dir", text(&network.of("hub-1"))]).succeeded();
    assert!(status.out.contains("not whole"), "{}", status.out);
    let (mut hub, _) = network.start_hub(1, &[]);
    hub.kill();
    assert!(hub.end().err.contains("dropped"));
    let status = run(["status", "--dir", text(&network.of("hub-1"))]).succeeded();
    assert!(!status.out.contains("not whole"), "{}", status.out);
}

#[test]
fn damage_in_the_middle_of_a_log_is_refused_and_nothing_is_touched() {
    let (network, log) = with_a_log();
    let mut octets = fs::read(&log).unwrap();
    octets[40] ^= 1;
    fs::write(&log, octets).unwrap();
    let before = files(&network.of("hub-1"));
    run(["hub", "--dir", text(&network.of("hub-1")), "--listen", "127.0.0.1:0"]).refused(&[
        ".log",
        "damaged",
        "pad bytes twice",
    ]);
    assert_eq!(before, files(&network.of("hub-1")));
}

#[test]
fn the_log_of_another_machine_is_refused() {
    let (network, log) = with_a_log();
    fs::copy(network.log_of(2), &log).unwrap();
    let before = files(&network.of("hub-1"));
    run(["hub", "--dir", text(&network.of("hub-1")), "--listen", "127.0.0.1:0"])
        .refused(&["stored state", "another machine"]);
    assert_eq!(before, files(&network.of("hub-1")));
}

#[test]
fn the_torn_state_of_a_peer_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (own, secret) = (directory.path().join("a"), directory.path().join("secret"));
    fs::write(&secret, [7; 32]).unwrap();
    let names = ["peer", "--dir", text(&own), "enrol", "--role", "a", "--id", "alice", "--peer-id", "bob"];
    run(names.into_iter().chain(["--secret-file", text(&secret)])).succeeded();
    let slots = own.join("state.slots");
    let whole = fs::read(&slots).unwrap();
    for (octets, says) in
        [(vec![], "torn"), (whole[..5000].to_vec(), "torn"), (vec![0; 8192], "enrol this peer")]
    {
        fs::write(&slots, octets).unwrap();
        let before = files(&own);
        run(["peer", "--dir", text(&own), "listen", "--bind", "127.0.0.1:0"]).refused(&[says]);
        assert_eq!(before, files(&own));
    }
}
