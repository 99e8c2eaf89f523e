//! A machine whose log is gone must not take itself for a new one: it would use pre-shared random data twice.

use std::fs;
use std::path::Path;

use crate::support::{Ended, Network, files, run, start, text};

/// Hubs and clients that have made a key, and what each had in its skex.json before its first start.
fn used() -> (Network, Vec<String>, [Vec<u8>; 2]) {
    let network = Network::new(2, "64KiB");
    let before = ["hub-1", "alice"].map(|party| fs::read(network.of(party).join("skex.json")).unwrap());
    let (hubs, addresses) = network.start_hubs();
    let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
    bob.end().succeeded();
    drop(hubs);
    (network, addresses, before)
}

/// Each of these commands refuses to start, and the directory stays what it is, but for orders that wait for the log.
fn refuses(directory: &Path, commands: &[&dyn Fn() -> Ended]) {
    let but_orders = || {
        let mut files = files(directory);
        files.retain(|path, _| path.extension().is_none_or(|kind| kind != "revoke" && kind != "retire"));
        files
    };
    let before = but_orders();
    for command in commands {
        command().refused(&["missing or has no record", "twice", "Bring it back"]);
        assert!(before == but_orders(), "something has changed");
    }
}

#[test]
fn a_hub_without_its_log_does_not_start_as_a_new_one() {
    let (network, _, first) = used();
    let (own, log) = (network.of("hub-1"), network.log_of(1));
    let hub = |action: &[&str]| run(["hub", "--dir", text(&own)].iter().chain(action));
    let (whole, json) = (fs::read(&log).unwrap(), fs::read(own.join("skex.json")).unwrap());
    let commands: [&dyn Fn() -> Ended; 4] = [
        &|| hub(&["--listen", "127.0.0.1:0"]),
        &|| run(["status", "--dir", text(&own)]),
        &|| hub(&["revoke", "alice"]),
        &|| hub(&["retire", "bob", "--uplink", "0"]),
    ];
    fs::remove_file(&log).unwrap();
    refuses(&own, &commands);
    for nothing in [&b""[..], &whole[..20]] {
        fs::write(&log, nothing).unwrap();
        refuses(&own, &commands);
    }
    // Nor with the skex.json of before the first start: its tables say that they were used.
    fs::write(own.join("skex.json"), &first[0]).unwrap();
    refuses(&own, &commands);
    fs::remove_file(&log).unwrap();
    refuses(&own, &commands);
    // With its log it starts, whichever of the two it has.
    fs::write(&log, &whole).unwrap();
    for order in ["alice.revoke", "bob.uplink.0.retire"] {
        fs::remove_file(own.join(order)).unwrap();
    }
    drop(network.start_hub(1, &[]));
    assert_eq!(fs::read(own.join("skex.json")).unwrap(), json, "that it has run is written down again");
    drop(network.start_hub(1, &[]));
}

#[test]
fn a_client_without_its_log_does_not_start_as_a_new_one() {
    let (network, addresses, first) = used();
    let own = network.of("alice");
    let log = own.join("state.log");
    let whole = fs::read(&log).unwrap();
    let commands: [&dyn Fn() -> Ended; 3] = [
        &|| run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])),
        &|| run(["status", "--dir", text(&own)]),
        &|| run(network.client("alice", &[], &["retire", "hub-1", "--uplink", "0"])),
    ];
    fs::remove_file(&log).unwrap();
    refuses(&own, &commands);
    fs::write(own.join("skex.json"), &first[1]).unwrap();
    refuses(&own, &commands);
    fs::write(&log, whole).unwrap();
    fs::remove_file(own.join("hub-1.uplink.0.retire")).unwrap();
    run(["status", "--dir", text(&own)]).succeeded();
}

#[test]
fn a_first_start_that_a_crash_broke_off_is_begun_again() {
    let network = Network::new(2, "64KiB");
    let json = fs::read_to_string(network.of("hub-1").join("skex.json")).unwrap();
    let log_of_hub = if json.contains("\"shards\"") { "state-0.log" } else { "state.log" };
    for (party, log) in [("hub-1", log_of_hub), ("alice", "state.log")] {
        fs::write(network.of(party).join(log), b"SK").unwrap();
    }
    let (_hubs, addresses) = network.start_hubs();
    let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
    bob.end().succeeded();
}
