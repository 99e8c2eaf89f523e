//! `skex hub --shards`: a hub on several threads, each with a log of its own.

use std::fs;

use crate::support::{Network, Running, after, files, run, start, text};

fn start_all(network: &Network, options: &[&str]) -> (Vec<Running>, Vec<String>) {
    (1..=2).map(|number| network.start_hub(number, options)).unzip()
}

fn key(network: &Network, addresses: &[String], from: &str, to: &str) {
    let waits = start(network.client(to, addresses, &["wait", "--count", "1", "--timeout", "60"]));
    let gets = run(network.client(from, addresses, &["get", to, "-k", "2"])).succeeded();
    assert_eq!(after(&gets.out, "fingerprint"), after(&waits.end().succeeded().out, "fingerprint"));
}

/// Alice has number 0, bob number 1: with two shards every key of theirs goes from one to the other.
#[test]
fn keys_names_and_a_revocation_go_between_the_shards_of_hubs_over_kill_9() {
    let network = Network::new(2, "64KiB");
    let (mut hubs, addresses) = start_all(&network, &["--shards", "2"]);
    key(&network, &addresses, "alice", "bob");
    run(network.client("bob", &addresses, &["publish"])).succeeded();
    let found = run(network.client("alice", &addresses, &["lookup", "bob"])).succeeded();
    assert_eq!(after(&found.out, "say"), "hub-1 hub-2");
    assert!(after(&found.out, "accepts").contains("thresholds from 2 on"), "{}", found.out);
    hubs.iter_mut().for_each(Running::kill);
    drop(hubs);

    // It remembers how many shards it has, and what they knew.
    let (_hubs, addresses) = start_all(&network, &[]);
    key(&network, &addresses, "bob", "alice");
    let found = run(network.client("alice", &addresses, &["lookup", "bob"])).succeeded();
    assert!(after(&found.out, "accepts").contains("thresholds from 2 on"), "{}", found.out);

    let hub = network.of("hub-1");
    for shard in 0..2 {
        assert!(fs::metadata(hub.join(format!("state-{shard}.log"))).unwrap().len() > 0);
    }
    assert!(!hub.join("state.log").exists());
    let status = run(["status", "--dir", text(&hub)]).succeeded();
    assert!(status.out.contains("client alice") && status.out.contains("client bob"), "{}", status.out);

    let revoked = run(["hub", "--dir", text(&hub), "revoke", "bob"]).succeeded();
    assert!(revoked.out.contains("bob is revoked at hub-1"), "{}", revoked.out);
    let status = run(["status", "--dir", text(&hub)]).succeeded();
    assert!(status.out.contains("revoked      bob") && !status.out.contains("client bob"), "{}", status.out);
}

#[test]
fn the_number_of_shards_of_a_hub_that_has_run_does_not_change() {
    let network = Network::new(2, "64KiB");
    let whole = network.of("hub-1");
    drop(network.start_hub(1, &[]));
    let sharded = network.of("hub-2");
    drop(network.start_hub(2, &["--shards", "2"]));
    for (hub, other, says) in
        [(&whole, "2", "has run with 1 shards"), (&sharded, "3", "has run with 2 shards")]
    {
        let before = files(hub);
        run(["hub", "--dir", text(hub), "--listen", "127.0.0.1:0", "--shards", other])
            .refused(&[says, "cannot change"]);
        assert_eq!(before, files(hub));
    }
    // One shard's log is lost, or skex.json is an older one: nothing starts, and nothing changes.
    let log = sharded.join("state-1.log");
    let away = network.beside("state-1.log");
    fs::rename(&log, &away).unwrap();
    let start = || run(["hub", "--dir", text(&sharded), "--listen", "127.0.0.1:0"]);
    start().refused(&["state-1.log", "missing or has no record", "Bring it back"]);
    run(["hub", "--dir", text(&sharded), "revoke", "alice"]).refused(&["state-1.log"]);
    fs::remove_file(sharded.join("alice.revoke")).unwrap();
    assert!(!log.exists());
    fs::rename(&away, &log).unwrap();
    let file = sharded.join("skex.json");
    let with_two = fs::read_to_string(&file).unwrap();
    fs::write(&file, with_two.replace("\"shards\": 2", "\"shards\": 4")).unwrap();
    start().refused(&["state-2.log, state-3.log"]);
    fs::write(&file, with_two.replace("\"shards\": 2,", "")).unwrap();
    start().refused(&["bring skex.json or the logs back"]);
    fs::write(&file, with_two.replace("\"shards\": 2", "\"shards\": 0")).unwrap();
    start().refused(&["\"shards\"", "from 1 to 256"]);
    // Logs of shards that were exchanged.
    fs::write(&file, with_two).unwrap();
    let other = sharded.join("state-0.log");
    for (from, to) in [(&log, &away), (&other, &log), (&away, &other)] {
        fs::rename(from, to).unwrap();
    }
    start().refused(&["stored state of this hub cannot be used"]);
    for (from, to) in [(&log, &away), (&other, &log), (&away, &other)] {
        fs::rename(from, to).unwrap();
    }
    drop(network.start_hub(2, &[]));
}

/// Who is enrolled anew has another number, and so comes to another shard.
#[test]
fn a_client_is_enrolled_refilled_and_its_table_retired_at_running_hubs_in_shards() {
    let network = Network::new(2, "64KiB");
    let (mut hubs, addresses) = start_all(&network, &["--shards", "2"]);
    key(&network, &addresses, "alice", "bob");
    // Bob is enrolled anew: under number 2, and so at the other shard.
    for (number, hub) in (1..).zip(&mut hubs) {
        let own = network.of(&format!("hub-{number}"));
        run(["hub", "--dir", text(&own), "revoke", "bob"]).succeeded();
        let out = network.of("bob").join(format!("hub-{number}.anew.provision"));
        run(["hub", "--dir", text(&own), "enrol", "bob", "--out", text(&out)]).succeeded();
        hub.line_with("bob is enrolled");
    }
    key(&network, &addresses, "bob", "alice");
    for (number, hub) in (1..).zip(&mut hubs) {
        let own = network.of(&format!("hub-{number}"));
        let add = ["provision", "add", "--dir", text(&own), "--client", "bob", "--over-network"];
        run(add.into_iter().chain(["--table-size", "16KiB"])).succeeded();
        hub.line_with("bob: 2 new tables");
    }
    let mut bob = start(network.client("bob", &addresses, &["wait", "--timeout", "60"]));
    (0..4).for_each(|_| drop(bob.line_with("sent table 1")));
    bob.kill();
    let hub = network.of("hub-1");
    run(["hub", "--dir", text(&hub), "retire", "bob", "--uplink", "1"]).succeeded();
    hubs[0].line_with("bob: uplink table 1 is out of service");
    hubs.iter_mut().for_each(Running::kill);
    drop(hubs);
    // And at a stopped one.
    run(["hub", "--dir", text(&hub), "retire", "bob", "--downlink", "1"]).succeeded();
    let (_hubs, addresses) = start_all(&network, &[]);
    key(&network, &addresses, "alice", "bob");
}
