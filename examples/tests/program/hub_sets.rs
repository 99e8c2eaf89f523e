//! Hubs come and go for a client, both ends agree on those that they have, and tables are taken out of service.

use std::fs;

use crate::support::{Network, after, files, run, start, text};

fn table(network: &Network, party: &str, link: &str, way: &str, number: u16) -> Vec<u8> {
    fs::read(network.of(party).join(format!("{link}.{way}link.{number}.table"))).unwrap()
}

/// More than its head is left of a table's file that was not erased.
fn octets_left(table: &[u8]) -> usize {
    table.iter().filter(|octet| **octet != 0).count()
}

fn key_by_agreement(network: &Network, addresses: &[String], more: &[&str]) -> String {
    let bob = start(network.client("bob", addresses, &["wait", "--count", "1", "--timeout", "60"]));
    let get = [&["get", "bob", "-k", "2", "--agree"], more].concat();
    let alice = run(network.client("alice", addresses, &get)).succeeded();
    let bob = bob.end().succeeded();
    assert_eq!(after(&alice.out, "fingerprint"), after(&bob.out, "fingerprint"));
    after(&alice.out, "agreed with bob:").to_owned()
}

#[test]
fn ends_that_have_other_hubs_agree_on_those_that_both_have() {
    let network = Network::new(4, "64KiB");
    let (hubs, addresses) = network.start_hubs();
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2", "--agree"]))
        .refused(&["too few hubs say what bob accepts", "publish"]);
    let done = run(network.client("bob", &[], &["without", "hub-4"])).succeeded();
    assert!(done.out.contains("bob goes on without hub-4") && done.out.contains("publish"), "{}", done.out);
    run(network.client("bob", &addresses[..3], &["publish"])).succeeded();
    // Of all hubs: bob refuses a key that names one that he does not have.
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2", "--timeout", "3"]))
        .refused(&["no key with bob"]);
    let bob_hubs = &addresses[..3];
    let bob = start(network.client("bob", bob_hubs, &["wait", "--count", "1", "--timeout", "60"]));
    let get = ["get", "bob", "-k", "2", "--agree", "--information-theoretic"];
    let alice = run(network.client("alice", &addresses, &get)).succeeded();
    assert_eq!(after(&alice.out, "fingerprint"), after(&bob.end().succeeded().out, "fingerprint"));
    assert!(after(&alice.out, "agreed with bob:").starts_with("2 of hub-1 hub-2 hub-3, "), "{}", alice.out);
    // A threshold that these do not reach, and a suite that cannot hold what is demanded.
    run(network.client("alice", &addresses, &["get", "bob", "-k", "4", "--agree"]))
        .refused(&["no agreement with bob", "3 of the hubs wished for say this offer alike, and 4"]);
    run(network.client(
        "alice",
        &addresses,
        &["get", "bob", "-k", "2", "--suite", "aes-256-gcm", "--information-theoretic"],
    ))
    .refused(&["no key with bob", "one-time pads"]);
    // And back.
    run(network.client("bob", &[], &["with", "hub-4"])).succeeded();
    run(network.client("bob", &[], &["with", "hub-4"])).refused(&["is among the hubs of bob"]);
    run(network.client("bob", &addresses, &["publish"])).succeeded();
    assert!(key_by_agreement(&network, &addresses, &[]).starts_with("3 of hub-1 hub-2 hub-3 hub-4, "));
    drop(hubs);
}

#[test]
fn a_hub_that_is_forgotten_leaves_nothing_and_comes_back_by_another_enrolment() {
    let network = Network::new(3, "64KiB");
    let (_hubs, addresses) = network.start_hubs();
    run(network.client("alice", &addresses, &["publish"])).succeeded();
    let own = fs::read(network.of("hub-3").join("alice.link")).unwrap();
    run(network.client("alice", &[], &["without", "hub-9"])).refused(&["alice has no hub hub-9"]);
    let done = run(network.client("alice", &[], &["without", "hub-3", "--forget"])).succeeded();
    assert!(done.out.contains("erased"), "{}", done.out);
    // A command that a crash broke off is given again.
    run(network.client("alice", &[], &["without", "hub-3", "--forget"])).succeeded();
    for (path, octets) in files(&network.of("alice")) {
        assert!(!octets.windows(32).any(|part| part == &own[47..79]), "her initial key: {}", path.display());
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(!name.starts_with("hub-3."), "{name}");
    }
    run(network.client("alice", &[], &["without", "hub-2"])).refused(&["a client needs 2"]);
    run(network.client("alice", &addresses[..2], &["publish"])).succeeded();
    // The hub's operator enrols her anew.
    let hub = network.of("hub-3");
    run(["hub", "--dir", text(&hub), "revoke", "alice"]).succeeded();
    let file = network.of("alice").join("hub-3.provision");
    run(["hub", "--dir", text(&hub), "enrol", "alice", "--out", text(&file)]).succeeded();
    run(network.client("alice", &[], &["with", "hub-3"])).succeeded();
    let told = run(network.client("alice", &addresses, &["publish"])).succeeded();
    assert_eq!(told.out.matches(": done").count(), 3, "{}", told.out);
}

#[test]
fn a_stolen_table_is_taken_out_of_service_at_running_ends_and_at_stopped_ones() {
    let network = Network::new(2, "64KiB");
    let hub = network.of("hub-1");
    let file = network.of("alice").join("more.provision");
    let add = ["provision", "add", "--dir", text(&hub), "--client", "alice", "--out", text(&file)];
    assert!(!run(add).succeeded().out.contains("under a name"));
    let retire_at_hub =
        |way: &str, number: &str| run(["hub", "--dir", text(&hub), "retire", "alice", way, number]);
    let (hubs, addresses) = network.start_hubs();
    run(network.client("alice", &addresses, &["publish"])).succeeded();
    assert!(octets_left(&table(&network, "alice", "hub-1", "up", 1)) > 60_000);
    // The hub runs, and then it does not; the client does not, and then it does.
    retire_at_hub("--uplink", "1").succeeded();
    drop(hubs);
    retire_at_hub("--downlink", "1").succeeded();
    let (_hubs, addresses) = network.start_hubs();
    let done = run(network.client("alice", &[], &["retire", "hub-1", "--uplink", "1"])).succeeded();
    assert!(done.out.contains("out of service here, and erased"), "{}", done.out);
    let mut waits = start(network.client("alice", &addresses, &["wait", "--timeout", "60"]));
    waits.address();
    run(network.client("alice", &[], &["retire", "hub-1", "--downlink", "1"])).succeeded();
    waits.line_with("downlink table 1 of the link with hub-1 is out of service");
    drop(waits);
    for way in ["up", "down"] {
        for (party, link) in [("alice", "hub-1"), ("hub-1", "alice")] {
            let left = octets_left(&table(&network, party, link, way, 1));
            assert!(left < 200, "{way} at {party}: {left}");
        }
    }
    // Once is enough, and what is not there is named.
    run(network.client("alice", &[], &["retire", "hub-1", "--uplink", "1"])).succeeded();
    run(network.client("alice", &[], &["retire", "hub-1", "--uplink", "7"])).refused(&["no uplink table 7"]);
    run(network.client("alice", &[], &["retire", "hub-7", "--uplink", "1"])).refused(&["no hub hub-7"]);
    retire_at_hub("--uplink", "7").refused(&["no uplink table 7", "0, 1"]);
    run(["hub", "--dir", text(&hub), "retire", "carol", "--uplink", "0"]).refused(&["carol is no client"]);
    let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
    bob.end().succeeded();
}
