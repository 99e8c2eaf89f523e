//! Keys, as two operators on two machines make them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::{Network, after, run, start, text};

#[test]
fn two_clients_get_the_same_key_through_hubs_and_see_the_same_fingerprint() {
    let network = Network::new(3, "64KiB");
    let (_hubs, addresses) = network.start_hubs();
    let keys_of_bob = network.beside("keys");
    let wait = ["wait", "--count", "1", "--timeout", "60", "--out-dir", text(&keys_of_bob)];
    let bob = start(network.client("bob", &addresses, &wait));
    let key_of_alice = network.beside("key");
    let get = ["get", "bob", "--threshold", "2", "--key-len", "48", "--out", text(&key_of_alice)];
    let alice = run(network.client("alice", &addresses, &get)).succeeded();
    let bob = bob.end().succeeded();

    assert_eq!(after(&alice.out, "fingerprint"), after(&bob.out, "fingerprint"));
    assert_eq!(after(&alice.out, "key "), after(&bob.out, "key "));
    assert!(after(&alice.out, "good").contains("hub-1"));
    let of_bob = fs::read_dir(&keys_of_bob).unwrap().next().unwrap().unwrap().path();
    let key = fs::read(&key_of_alice).unwrap();
    assert_eq!(key, fs::read(&of_bob).unwrap());
    assert_eq!(key.len(), 48);
    for file in [&key_of_alice, &of_bob] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let shown = [alice.out, alice.err, bob.out, bob.err].concat();
    let digits: String = key.iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(!shown.contains(&digits[..16]), "a key never goes to the terminal");
}

/// Under every suite the two ends see one fingerprint, and what it rests on. A hub relays what its skex.json names.
#[test]
fn a_key_under_each_suite_says_what_it_rests_on() {
    let network = Network::new(2, "64KiB");
    let (hubs, addresses) = network.start_hubs();
    for (suite, secrecy) in [
        ("one-time", "information-theoretic"),
        ("aes-256-gcm", "computational"),
        ("chacha20-poly1305", "computational"),
    ] {
        let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
        let get = ["get", "bob", "-k", "2", "--suite", suite];
        let alice = run(network.client("alice", &addresses, &get)).succeeded();
        let bob = bob.end().succeeded();
        assert_eq!(after(&alice.out, "fingerprint"), after(&bob.out, "fingerprint"), "{suite}");
        for out in [&alice.out, &bob.out] {
            assert!(out.contains(secrecy), "{suite}: {out}");
        }
    }
    drop(hubs);
    for hub in ["hub-1", "hub-2"] {
        let file = network.of(hub).join("skex.json");
        let json = fs::read_to_string(&file).unwrap();
        let json = json.replacen('{', "{\"suites\": [\"one-time\"],", 1);
        fs::write(&file, json).unwrap();
    }
    let (_hubs, addresses) = network.start_hubs();
    let get = ["get", "bob", "-k", "2", "--suite", "aes-256-gcm", "--timeout", "20"];
    run(network.client("alice", &addresses, &get)).refused(&["refused"]);
}

#[test]
fn a_lying_hub_is_named_at_both_ends_and_the_key_is_right() {
    let network = Network::new(4, "64KiB");
    let (mut hubs, mut addresses) = (Vec::new(), Vec::new());
    for number in 1..=4 {
        let (hub, address) = network.start_hub(number, if number == 4 { &["--lie"] } else { &[] });
        hubs.push(hub);
        addresses.push(address);
    }
    let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
    let alice = run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
    let bob = bob.end().succeeded();
    assert_eq!(after(&alice.out, "fingerprint"), after(&bob.out, "fingerprint"));
    // Who has four right shares to three wrong ones would know; bob judges late shares too.
    assert_eq!(after(&bob.out, "lying"), "hub-4");
}

#[test]
fn a_hub_that_is_killed_and_started_again_goes_on() {
    let network = Network::new(2, "64KiB");
    let (mut hubs, mut addresses) = network.start_hubs();
    for _ in 0..2 {
        let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
        let alice = run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
        let bob = bob.end().succeeded();
        assert_eq!(after(&alice.out, "fingerprint"), after(&bob.out, "fingerprint"));
        hubs[0].kill();
        (hubs[0], addresses[0]) = network.start_hub(1, &[]);
    }
}

#[test]
fn status_shows_every_kind_of_directory_changes_nothing_and_tells_no_secret() {
    let network = Network::new(2, "4KiB");
    let (mut hub, _) = network.start_hub(1, &[]);
    for (party, says) in [
        ("hub-1", &["hub hub-1, running", "client alice", "4096 of 4096 octets left"][..]),
        ("hub-2", &["hub hub-2, not running", "never started"]),
        ("alice", &["client alice, not running", "hub-2", "4096 of 4096 octets left"]),
    ] {
        let before = crate::support::files(&network.of(party));
        let status = run(["status", "--dir", text(&network.of(party))]).succeeded();
        for part in says {
            assert!(status.out.contains(part), "{part:?} is missing in:\n{}", status.out);
        }
        let link = if party == "alice" { "hub-1.link" } else { "alice.link" };
        let link = fs::read(network.of(party).join(link)).unwrap();
        let secret: String = link[47..79].iter().map(|octet| format!("{octet:02x}")).collect();
        assert!(!status.out.contains(&secret[..16]));
        assert!(!fs::read_to_string(network.of(party).join("skex.json")).unwrap().contains(&secret));
        assert_eq!(before, crate::support::files(&network.of(party)));
    }
    hub.kill();
}

/// The two ends of a pair, each enrolled in a directory of its own, `a` and `b`, with such a secret.
fn enrolled(directory: &Path, secrets: [[u8; 32]; 2]) {
    for (secret, (role, id, peer)) in secrets.into_iter().zip([("a", "alice", "bob"), ("b", "bob", "alice")])
    {
        let (own, file) = (directory.join(role), directory.join("secret"));
        fs::write(&file, secret).unwrap();
        let arguments = ["peer", "--dir", text(&own), "enrol", "--role", role, "--id", id, "--peer-id", peer];
        run(arguments.into_iter().chain(["--secret-file", text(&file), "--erase-secret"])).succeeded();
        assert!(!file.exists());
    }
}

/// Neither end gets a key, and both are told what to look at.
#[test]
fn two_peers_with_different_secrets_are_told_so() {
    let directory = tempfile::tempdir().unwrap();
    enrolled(directory.path(), [[1; 32], [2; 32]]);
    let (own_a, own_b) = (directory.path().join("a"), directory.path().join("b"));
    let mut bob = start(["peer", "--dir", text(&own_b), "listen", "--bind", "127.0.0.1:0"]);
    let address = bob.address();
    let connect = ["peer", "--dir", text(&own_a), "connect", &address, "--timeout", "2"];
    run(connect).refused(&["no key in time", "the same secret"]);
    bob.line_with("a message came that is not of the other end");
}

#[test]
fn two_peers_get_the_same_keys_with_nobodys_help_and_go_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    enrolled(directory.path(), [[0xa5; 32]; 2]);

    let (own_a, own_b, keys_a, keys_b) = (at("a"), at("b"), at("keys-a"), at("keys-b"));
    let listen =
        ["peer", "--dir", text(&own_b), "listen", "--bind", "127.0.0.1:0", "--out-dir", text(&keys_b)];
    let mut bob = start(listen);
    let address = bob.address();
    // The second command finds the session of the first one, and makes another.
    for _ in 0..2 {
        let connect =
            ["peer", "--dir", text(&own_a), "connect", &address, "--count", "2", "--out-dir", text(&keys_a)];
        let alice = run(connect).succeeded();
        assert_eq!(alice.out.matches("fingerprint").count(), 2, "{}", alice.out);
    }
    // Bob tells a key after its file is there.
    for _ in 0..4 {
        bob.line_with("written to");
    }
    bob.kill();
    let names_and_keys = |directory| -> Vec<_> {
        let files = crate::support::files(directory).into_iter();
        files.map(|(path, key)| (path.file_name().unwrap().to_owned(), key)).collect()
    };
    assert_eq!(names_and_keys(&keys_a), names_and_keys(&keys_b));
    assert_eq!(names_and_keys(&keys_a).len(), 4);
    for own in [own_a, own_b] {
        let status = run(["status", "--dir", text(&own)]).succeeded();
        assert!(after(&status.out, "epoch").starts_with('4'), "{}", status.out);
    }
}

#[test]
fn a_key_is_not_even_asked_for_where_its_file_cannot_be_written_or_is_there_already() {
    let network = Network::new(2, "4KiB");
    let key = network.beside("key");
    fs::write(&key, "precious").unwrap();
    let before = crate::support::files(&network.of("alice"));
    run(network.client("alice", &[], &["get", "bob", "-k", "2", "--out", text(&key)]))
        .refused(&["exists already", "name another file"]);
    assert_eq!(fs::read(&key).unwrap(), b"precious");
    let nowhere = network.beside("nowhere").join("key");
    run(network.client("alice", &[], &["get", "bob", "-k", "2", "--out", text(&nowhere)]))
        .refused(&["nowhere/key", "directory that you can write to"]);
    assert_eq!(before, crate::support::files(&network.of("alice")));
}
