//! Who is known to hubs by which name, whom they let through, and who is not their client any more.

use std::fs;

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
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2", "--timeout", "20"]))
        .refused(&["no key with bob", "refused"]);
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
    let network = Network::new(2, "4KiB");
    let own = network.of("hub-1");
    let before = files(&own);
    revoke(&network, 1, "alice").succeeded();
    // As if the power had gone once the machine had its record: all but the log is as it was, and the order lies there.
    for (path, octets) in before {
        fs::write(path, octets).unwrap();
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
