//! Who is known to hubs by which name, whom they let through, and who is not their client any more.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Network, after, files, run, start, text};

/// Takes the peers out of a client's skex.json.
fn forget_peers(network: &Network, client: &str) {
    let path = network.of(client).join("skex.json");
    let mut file: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["peers"] = serde_json::json!([]);
    fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
}

fn tag(network: &Network, client: &str) -> String {
    let file = fs::read(network.of(client).join("skex.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    file["tag"].as_str().unwrap().to_owned()
}

fn revoke(network: &Network, hub: usize, client: &str) -> crate::support::Ended {
    run(["hub", "--dir", text(&network.of(&format!("hub-{hub}"))), "revoke", client])
}

/// What a hub's directory holds of a client, by name.
fn files_of(network: &Network, hub: usize, client: &str) -> Vec<String> {
    let names = files(&network.of(&format!("hub-{hub}"))).into_keys();
    let names = names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| name.starts_with(&format!("{client}."))).collect()
}

#[test]
fn a_peer_is_found_by_its_name_and_remembered_for_keys() {
    let network = Network::new(2, "64KiB");
    let (_hubs, addresses) = network.start_hubs();
    forget_peers(&network, "alice");
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2"]))
        .refused(&["unknown peer bob", "lookup bob --remember"]);

    run(network.client("bob", &addresses, &["publish"])).succeeded();
    let found = run(network.client("alice", &addresses, &["lookup", "bob", "--remember"])).succeeded();
    assert_eq!(after(&found.out, "tag"), tag(&network, "bob"));
    assert_eq!(after(&found.out, "say"), "hub-1 hub-2");
    assert!(after(&found.out, "accepts").contains("thresholds from 2 on"), "{}", found.out);

    let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
    let alice = run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
    assert_eq!(after(&alice.out, "fingerprint"), after(&bob.end().succeeded().out, "fingerprint"));

    run(network.client("bob", &addresses, &["publish", "--take-back"])).succeeded();
    let found = run(network.client("alice", &addresses, &["lookup", "bob", "--remember"])).succeeded();
    assert!(found.out.contains("not published") && found.out.contains("already"), "{}", found.out);
}

#[test]
fn a_name_that_nobody_has_or_that_cannot_be_one_is_refused() {
    let network = Network::new(2, "64KiB");
    let (hubs, addresses) = network.start_hubs();
    run(network.client("alice", &addresses, &["lookup", "carol"])).refused(&["nobody is known as carol"]);
    let before = fs::read(network.of("alice").join("skex.json")).unwrap();
    run(network.client("alice", &addresses, &["lookup", "carol", "--remember"]))
        .refused(&["nobody is known as carol", "know nobody of this name"]);
    run(network.client("alice", &addresses, &["lookup", "alice", "--remember"]))
        .refused(&["alice is this client itself"]);
    assert_eq!(before, fs::read(network.of("alice").join("skex.json")).unwrap());
    let untouched = files(&network.of("alice"));
    for name in ["", &"x".repeat(65)] {
        run(network.client("alice", &addresses, &["lookup", name])).refused(&["1 to 64 octets"]);
    }
    run(network.client("alice", &addresses, &["authorise", "carol"])).refused(&["neither a peer", "tag"]);
    run(network.client("alice", &addresses, &["withdraw", "carol"])).refused(&["no id of a key"]);
    assert_eq!(untouched, files(&network.of("alice")));
    drop(hubs);
    run(network.client("alice", &addresses, &["lookup", "bob", "--timeout", "1"]))
        .refused(&["nobody is known as bob", "no answer at all came from hub-1, hub-2"]);
}

#[test]
fn a_peer_that_is_not_authorised_any_more_gets_no_key_until_it_is_again() {
    let network = Network::new(2, "64KiB");
    let (_hubs, addresses) = network.start_hubs();
    let told = run(network.client("bob", &addresses, &["authorise", "alice", "--no"])).succeeded();
    assert_eq!(told.out.matches(": done").count(), 2, "{}", told.out);
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2", "--timeout", "20"])).refused(&[
        "no key with bob",
        "refused",
        "has not authorised this client",
    ]);
    run(network.client("bob", &addresses, &["authorise", &tag(&network, "alice")])).succeeded();
    let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
    bob.end().succeeded();
}

#[test]
fn a_key_that_waits_is_withdrawn_and_its_peer_never_gets_it() {
    let network = Network::new(2, "64KiB");
    let (_hubs, addresses) = network.start_hubs();
    // Bob is away: the key waits at the hubs.
    let get = ["get", "bob", "-k", "2", "--release", "threshold", "--timeout", "20"];
    let mut alice = start(network.client("alice", &addresses, &get));
    let key_id = alice.line_with("key ").trim_start_matches("key ").to_owned();
    alice.kill();
    let told = run(network.client("alice", &addresses, &["withdraw", &key_id])).succeeded();
    assert_eq!(told.out.matches(": done").count(), 2, "{}", told.out);
    run(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "4"]))
        .refused(&["0 keys came in time"]);
}

#[test]
fn a_client_is_revoked_at_a_running_hub_and_at_a_stopped_one_and_gets_no_key_any_more() {
    let network = Network::new(2, "64KiB");
    let (first, first_address) = network.start_hub(1, &[]);
    let mut first = first;
    let own = fs::read(network.of("hub-2").join("alice.link")).unwrap();
    revoke(&network, 1, "carol").refused(&["carol is no client of hub-1", "alice, bob"]);
    for hub in [1, 2] {
        revoke(&network, hub, "alice").succeeded();
        assert!(files_of(&network, hub, "alice").is_empty(), "{:?}", files_of(&network, hub, "alice"));
        assert!(!files_of(&network, hub, "bob").is_empty());
        revoke(&network, hub, "alice").refused(&["alice is revoked already"]);
    }
    first.line_with("alice is revoked");
    for octets in files(&network.of("hub-2")).into_values() {
        assert!(!octets.windows(32).any(|part| part == &own[47..79]), "her initial key is still there");
    }
    let status = run(["status", "--dir", text(&network.of("hub-2"))]).succeeded();
    assert_eq!(after(&status.out, "revoked"), "alice");
    assert!(status.out.contains("client bob") && !status.out.contains("client alice"), "{}", status.out);

    let (second, second_address) = network.start_hub(2, &[]);
    let addresses = [first_address, second_address];
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2", "--timeout", "2"]))
        .refused(&["no key with bob", "no answer at all came from hub-1, hub-2"]);
    run(network.client("bob", &addresses, &["lookup", "alice"])).refused(&["nobody is known as alice"]);
    let out = network.beside("more");
    let add = ["provision", "add", "--dir", text(&network.of("hub-1")), "--client", "alice", "--out"]
        .map(str::to_owned);
    run(add.into_iter().chain([text(&out).to_owned()])).refused(&["alice is no client"]);
    drop((first, second));
    // The numbers of those who stay are theirs after a start, too.
    let (_hubs, addresses) = network.start_hubs();
    run(network.client("bob", &addresses, &["publish"])).succeeded();
}

#[test]
fn a_revocation_that_a_crash_broke_off_is_finished_at_the_next_start() {
    for lost in [None, Some("alice.link"), Some("alice.downlink.0.table")] {
        let network = Network::new(2, "4KiB");
        let own = network.of("hub-1");
        let before = files(&own);
        revoke(&network, 1, "alice").succeeded();
        // As if the power had gone once the machine had its record: all but the log is as it was, and the order lies there.
        for (path, octets) in before {
            fs::write(path, octets).unwrap();
        }
        if let Some(lost) = lost {
            fs::remove_file(own.join(lost)).unwrap();
        }
        fs::write(own.join("alice.revoke"), "").unwrap();
        let (mut hub, _) = network.start_hub(1, &[]);
        hub.line_with("alice is revoked");
        hub.line_with("bob: not connected");
        assert!(files_of(&network, 1, "alice").is_empty(), "{:?}", files_of(&network, 1, "alice"));
        hub.kill();
        // As if it had gone between skex.json and the initial key.
        fs::copy(own.join("bob.link"), own.join("alice.link")).unwrap();
        let (_hub, _) = network.start_hub(1, &[]);
        assert!(files_of(&network, 1, "alice").is_empty());
        let json = fs::read_to_string(own.join("skex.json")).unwrap();
        assert_eq!(json.matches("\"revoked\": true").count(), 1, "{json}");
    }
}

/// The hub does not start, for its other clients neither, and says what to do; it revokes the client all the same, whether the order comes by
/// the program or lies there at a start.
#[test]
fn a_client_of_which_a_hub_has_lost_something_is_revoked_and_the_others_go_on() {
    let lost = ["alice.link", "alice.uplink.0.table", "alice.downlink.0.table"];
    for (lost, at_start) in lost.into_iter().flat_map(|lost| [(lost, false), (lost, true)]) {
        let network = Network::new(2, "16KiB");
        let (hubs, addresses) = network.start_hubs();
        key_between(&network, &addresses);
        drop(hubs);
        let own = network.of("hub-1");
        fs::remove_file(own.join(lost)).unwrap();
        run(["hub", "--dir", text(&own), "--listen", "127.0.0.1:0"]).refused(&[lost, "revoke alice"]);
        run(["status", "--dir", text(&own)]).refused(&[lost, "revoke alice"]);
        if at_start {
            fs::write(own.join("alice.revoke"), "").unwrap();
            let (mut hub, _) = network.start_hub(1, &[]);
            hub.line_with("alice is revoked");
            hub.line_with("bob: not connected");
        } else {
            revoke(&network, 1, "alice").succeeded();
        }
        assert!(files_of(&network, 1, "alice").is_empty(), "{:?}", files_of(&network, 1, "alice"));
        let status = run(["status", "--dir", text(&own)]).succeeded();
        assert_eq!(after(&status.out, "revoked"), "alice", "{lost}");
        let out = network.beside(&format!("anew-{at_start}.provision"));
        enrol(&network, 1, "alice", &out).succeeded();
        fs::copy(out, network.of("alice").join("anew.provision")).unwrap();
        let (_hubs, addresses) = network.start_hubs();
        key_between(&network, &addresses);
    }
}

/// The tables that wait can be read with the initial key alone, and that is lost.
#[test]
fn tables_that_wait_for_a_client_that_is_to_be_revoked_stop_no_start_and_are_erased() {
    let network = Network::new(2, "4KiB");
    let own = network.of("hub-1");
    let out = network.beside("more.provision");
    let add = ["provision", "add", "--dir", text(&own), "--client", "alice", "--table-size", "4KiB"];
    run(add.iter().chain(&["--out", text(&out)])).succeeded();
    let waiting = own.join("alice.1.provision");
    assert!(waiting.exists());
    fs::remove_file(own.join("alice.link")).unwrap();
    fs::write(own.join("alice.revoke"), "").unwrap();
    let (mut hub, _) = network.start_hub(1, &[]);
    hub.line_with("alice is revoked");
    hub.line_with("bob: not connected");
    assert!(!waiting.exists());
    assert!(files_of(&network, 1, "alice").is_empty(), "{:?}", files_of(&network, 1, "alice"));
}

/// It would stay on the disk, and the enrolment that comes next would be given a key of the one before.
#[test]
fn another_initial_key_that_waits_goes_with_a_client_that_is_revoked() {
    for at_start in [false, true] {
        let network = Network::new(2, "4KiB");
        let own = network.of("hub-1");
        // The hub cannot take the key, for it does not start without the table, and the order stays.
        fs::remove_file(own.join("alice.uplink.0.table")).unwrap();
        let key = network.beside("key");
        network.new_key("hub-1", "alice", "--out", &key).refused(&["revoke alice"]);
        assert!(own.join("alice.newkey").exists());
        if at_start {
            fs::write(own.join("alice.revoke"), "").unwrap();
            network.start_hub(1, &[]).0.line_with("bob: not connected");
        } else {
            revoke(&network, 1, "alice").succeeded();
        }
        assert!(files_of(&network, 1, "alice").is_empty(), "{:?}", files_of(&network, 1, "alice"));
    }
}

#[test]
fn a_name_that_two_clients_have_is_refused_by_the_hub() {
    let network = Network::new(2, "4KiB");
    let path = network.of("hub-1").join("skex.json");
    let json = fs::read_to_string(&path).unwrap();
    fs::write(&path, json.replace("\"name\": \"bob\"", "\"name\": \"alice\"")).unwrap();
    let before = files(&network.of("hub-1"));
    run(["hub", "--dir", text(&network.of("hub-1")), "--listen", "127.0.0.1:0"]).refused(&["alice"]);
    assert_eq!(before, files(&network.of("hub-1")));
}

fn enrol(network: &Network, hub: usize, client: &str, out: &Path) -> crate::support::Ended {
    let own = network.of(&format!("hub-{hub}"));
    let size = ["--table-size", "16KiB", "--out"];
    run(["hub", "--dir", text(&own), "enrol", client].iter().chain(&size).chain(&[text(out)]))
}

/// Makes a directory what it was.
fn put_back(directory: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in files(directory).into_keys().filter(|path| !before.contains_key(path)) {
        fs::remove_file(path).unwrap();
    }
    for (path, octets) in before {
        fs::write(path, octets).unwrap();
    }
}

fn key_between(network: &Network, addresses: &[String]) {
    let bob = start(network.client("bob", addresses, &["wait", "--count", "1", "--timeout", "60"]));
    let alice = run(network.client("alice", addresses, &["get", "bob", "-k", "2"])).succeeded();
    assert_eq!(after(&alice.out, "fingerprint"), after(&bob.end().succeeded().out, "fingerprint"));
}

#[test]
fn a_client_that_was_revoked_is_enrolled_anew_at_a_running_hub_and_at_a_stopped_one_and_gets_keys_again() {
    let network = Network::new(2, "16KiB");
    let (hubs, addresses) = network.start_hubs();
    // So that her log has marks of the tables that will be gone.
    key_between(&network, &addresses);
    drop(hubs);
    let (mut first, first_address) = network.start_hub(1, &[]);
    let own = network.of("alice");
    enrol(&network, 1, "alice", &network.beside("out"))
        .refused(&["alice is a client of hub-1 already", "revoke"]);
    enrol(&network, 1, "carol", &network.beside("out")).refused(&["carol never was a client", "--tag"]);
    let bob = tag(&network, "bob");
    let arguments =
        ["hub", "--dir", text(&network.of("hub-1")), "enrol", "carol", "--tag", &bob, "--out", "never"]
            .map(str::to_owned);
    run(arguments).refused(&["bob has this client tag"]);
    let before = files(&own);
    for hub in [1, 2] {
        revoke(&network, hub, "alice").succeeded();
        let out = own.join(format!("hub-{hub}.anew.provision"));
        enrol(&network, hub, "alice", &network.of("bob").join("skex.json")).refused(&["exists already"]);
        enrol(&network, hub, "alice", &out).succeeded();
        enrol(&network, hub, "alice", &network.beside("out")).refused(&["alice is a client of"]);
    }
    first.line_with("alice is enrolled");
    let (_second, second_address) = network.start_hub(2, &[]);
    let addresses = [first_address, second_address];
    key_between(&network, &addresses);
    // What she had before is not there any more, and opens nothing.
    for (path, octets) in files(&own) {
        let held = before.get(&path).filter(|_| path.extension().is_some_and(|kind| kind == "link"));
        assert!(held.is_none_or(|held| *held != octets), "{}", path.display());
    }
    put_back(&own, &before);
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2", "--timeout", "2"]))
        .refused(&["no answer at all came from hub-1, hub-2"]);
}

/// A crash came after all was done, and before the order went. Tables of both enrolments have the same names.
#[test]
fn an_order_that_a_crash_left_is_not_for_the_enrolment_that_comes_next() {
    for running in [false, true] {
        let network = Network::new(2, "16KiB");
        let (own, alice) = (network.of("hub-1"), network.of("alice"));
        revoke(&network, 1, "alice").succeeded();
        let hub = running.then(|| network.start_hub(1, &[]).0);
        for (directory, order) in
            [(&own, "alice.revoke"), (&own, "alice.uplink.0.retire"), (&alice, "hub-1.downlink.0.retire")]
        {
            fs::write(directory.join(order), "").unwrap();
        }
        let out = network.beside("anew.provision");
        enrol(&network, 1, "alice", &out).succeeded();
        drop(hub);
        fs::copy(out, alice.join("anew.provision")).unwrap();
        let (_hubs, addresses) = network.start_hubs();
        key_between(&network, &addresses);
        let json = fs::read_to_string(own.join("skex.json")).unwrap();
        assert_eq!(json.matches("\"revoked\": true").count(), 1, "{json}");
        for table in [own.join("alice.uplink.0.table"), alice.join("hub-1.downlink.0.table")] {
            assert!(fs::read(&table).unwrap()[8192..].iter().any(|octet| *octet != 0), "{}", table.display());
        }
    }
}

#[test]
fn a_client_that_never_was_one_is_enrolled_by_its_tag() {
    let network = Network::new(2, "16KiB");
    let (mut hub, _) = network.start_hub(1, &[]);
    let out = network.beside("out");
    let carol = "c0".repeat(16);
    let arguments =
        ["hub", "--dir", text(&network.of("hub-1")), "enrol", "carol", "--tag", &carol, "--out", text(&out)]
            .map(str::to_owned);
    let enrolled = run(arguments).succeeded();
    // Only a file of that ending is taken in at a start.
    assert!(enrolled.out.contains("under a name that ends in .provision"), "{}", enrolled.out);
    hub.line_with("carol is enrolled");
    hub.line_with("carol: not connected");
    let json = fs::read_to_string(network.of("hub-1").join("skex.json")).unwrap();
    assert!(json.contains(&carol), "{json}");
    hub.kill();
    let (mut hub, _) = network.start_hub(1, &[]);
    hub.line_with("carol: not connected");
}

#[test]
fn an_enrolment_that_a_crash_broke_off_is_finished_at_the_next_start() {
    let network = Network::new(2, "4KiB");
    let own = network.of("hub-1");
    revoke(&network, 1, "alice").succeeded();
    let before = files(&own);
    let out = network.beside("out");
    enrol(&network, 1, "alice", &out).succeeded();
    // The order is the client's file to the octet.
    let (order, json) = (fs::read(&out).unwrap(), fs::read(own.join("skex.json")).unwrap());
    for (noted_down, name) in
        [(false, "alice.enrol"), (true, "alice.enrol"), (true, "alice.enrolled.provision")]
    {
        put_back(&own, &before);
        fs::write(own.join(name), &order).unwrap();
        if noted_down {
            fs::write(own.join("skex.json"), &json).unwrap();
        }
        let (mut hub, _) = network.start_hub(1, &[]);
        hub.line_with("alice: not connected");
        assert_eq!(fs::read(own.join("skex.json")).unwrap(), json, "{name}");
        assert!(own.join("alice.link").exists() && !own.join(name).exists(), "{name}");
    }
    // One that is damaged is complained about, and the hub serves the others.
    put_back(&own, &before);
    let mut damaged = order;
    damaged[200] ^= 1;
    fs::write(own.join("alice.enrol"), &damaged).unwrap();
    let (mut hub, _) = network.start_hub(1, &[]);
    hub.line_with("alice.enrol cannot be used");
    hub.line_with("bob: not connected");
    assert_eq!(fs::read(own.join("skex.json")).unwrap(), before[&own.join("skex.json")]);
}

#[test]
fn initial_keys_are_replaced_from_outside_at_running_hubs_and_stopped_ones_and_the_old_ones_open_nothing() {
    let network = Network::new(2, "64KiB");
    let (hubs, addresses) = network.start_hubs();
    key_between(&network, &addresses);
    drop(hubs);
    let before = files(&network.of("alice"));
    let (mut first, first_address) = network.start_hub(1, &[]);
    let keys = [1, 2].map(|hub| network.beside(&format!("key-{hub}")));
    network.new_key("hub-1", "carol", "--out", &keys[0]).refused(&["no link with carol", "alice, bob"]);
    fs::write(&keys[0], [7; 31]).unwrap();
    network.new_key("hub-1", "alice", "--out", &keys[0]).refused(&["exists already"]);
    network.new_key("hub-1", "alice", "--from", &keys[0]).refused(&["no initial key", "has 32 octets"]);
    fs::remove_file(&keys[0]).unwrap();
    for (hub, key) in ["hub-1", "hub-2"].iter().zip(&keys) {
        network.new_key(hub, "alice", "--out", key).succeeded();
        assert_eq!(fs::read(key).unwrap().len(), 32);
    }
    first.line_with("alice is to have another initial key");
    // One end has it, the other not yet: all goes on.
    let (second, second_address) = network.start_hub(2, &[]);
    let addresses = [first_address, second_address];
    key_between(&network, &addresses);
    let secrets = [0, 1].map(|place| fs::read(&keys[place]).unwrap());
    for (hub, key) in ["hub-1", "hub-2"].iter().zip(&keys) {
        network.new_key("alice", hub, "--from", key).succeeded();
        assert!(!key.exists());
    }
    key_between(&network, &addresses);
    first.line_with("alice has proven its other initial key");
    // A crash left the order there: the same key again changes nothing.
    drop(second);
    fs::write(network.of("hub-2").join("alice.newkey"), &secrets[1]).unwrap();
    let (second, second_address) = network.start_hub(2, &[]);
    let addresses = [addresses[0].clone(), second_address];
    key_between(&network, &addresses);
    let order = network.of("hub-2").join("alice.newkey");
    let began = std::time::Instant::now();
    while order.exists() && began.elapsed().as_secs() < 60 {
        std::thread::sleep(core::time::Duration::from_millis(50));
    }
    assert!(!order.exists());
    put_back(&network.of("alice"), &before);
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2", "--timeout", "2"]))
        .refused(&["no answer at all came from hub-1, hub-2"]);
    drop(second);
}

#[test]
fn a_client_that_waits_takes_another_initial_key() {
    let network = Network::new(2, "64KiB");
    let (mut hubs, addresses) = network.start_hubs();
    let mut bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "100"]));
    bob.line_with("listens on");
    let key = network.beside("key");
    network.new_key("bob", "hub-1", "--out", &key).succeeded();
    network.new_key("hub-1", "bob", "--from", &key).succeeded();
    bob.line_with("hub-1 has proven its other initial key");
    hubs[0].line_with("bob has proven its other initial key");
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
    bob.end().succeeded();
}
