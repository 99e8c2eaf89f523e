//! What operators get wrong: each a clear error, and nothing lost or spent.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Network, files, run, start, tables, text};

#[test]
fn a_missing_directory_or_file_is_named() {
    let network = Network::new(2, "4KiB");
    let nowhere = network.beside("nowhere");
    for command in [&["hub"][..], &["client"], &["status"], &["peer"]] {
        let mut arguments = command.to_vec();
        arguments.extend(["--dir", text(&nowhere)]);
        match command {
            ["client"] => arguments.push("wait"),
            ["peer"] => arguments.extend(["listen", "--bind", "127.0.0.1:0"]),
            _ => {}
        }
        run(arguments).refused(&["nowhere/skex.json", "skex provision"]);
        assert!(!nowhere.exists());
    }
    fs::remove_file(network.of("alice").join("hub-2.uplink.0.table")).unwrap();
    let before = files(&network.of("alice"));
    run(network.client("alice", &[], &["get", "bob", "-k", "2"])).refused(&[
        "hub-2.uplink.0.table",
        "bring the file back",
        "never an older copy",
    ]);
    assert_eq!(before, files(&network.of("alice")));
}

#[test]
fn a_foreign_configuration_is_refused_and_not_quoted() {
    let network = Network::new(2, "4KiB");
    let config = network.of("hub-1").join("skex.json");
    fs::write(&config, "[ \"swordfish\" ]").unwrap();
    let refused =
        run(["hub", "--dir", text(&network.of("hub-1"))]).refused(&["skex.json", "bring the file back"]);
    assert!(!refused.err.contains("swordfish"));
    fs::write(&config, "{\"format\":99,\"role\":\"hub\"}").unwrap();
    run(["hub", "--dir", text(&network.of("hub-1"))]).refused(&["format 99"]);
}

#[test]
fn a_directory_of_another_role_is_refused_with_the_right_command() {
    let network = Network::new(2, "4KiB");
    let before = files(&network.beside("net"));
    run(network.client("hub-1", &[], &["get", "bob"])).refused(&["directory of a hub", "skex hub --dir"]);
    run(["hub", "--dir", text(&network.of("alice"))])
        .refused(&["directory of a client", "skex client --dir"]);
    run(["peer", "--dir", text(&network.of("bob")), "listen", "--bind", "127.0.0.1:0"])
        .refused(&["directory of a client"]);
    assert_eq!(before, files(&network.beside("net")));
}

#[test]
fn an_unknown_peer_and_a_threshold_that_does_not_fit_are_refused_before_anything_starts() {
    let network = Network::new(3, "4KiB");
    let before = files(&network.of("alice"));
    run(network.client("alice", &[], &["get", "carol"])).refused(&["unknown peer carol", "alice knows bob"]);
    for threshold in ["4", "1", "0"] {
        run(network.client("alice", &[], &["get", "bob", "--threshold", threshold])).refused(&[
            "threshold",
            "3 hubs",
            "--threshold 2 to 3",
        ]);
    }
    assert_eq!(before, files(&network.of("alice")));
}

#[test]
fn a_port_in_use_is_named() {
    let network = Network::new(2, "4KiB");
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let before = files(&network.of("hub-1"));
    run(["hub", "--dir", text(&network.of("hub-1")), "--listen", &address]).refused(&[
        &address,
        "another process uses the port",
        "choose",
    ]);
    run(["hub", "--dir", text(&network.of("hub-1")), "--listen", "47100"]).refused(&["47100", "HOST:PORT"]);
    assert_eq!(before, files(&network.of("hub-1")));
}

#[test]
fn a_directory_that_others_can_look_into_is_told() {
    let network = Network::new(2, "4KiB");
    let (alice, says) = (network.of("alice"), "others can look into");
    let get = network.client("alice", &[], &["get", "bob", "-k", "2", "--timeout", "1"]);
    assert!(!run(&get).refused(&["no key"]).err.contains(says));
    fs::set_permissions(&alice, fs::Permissions::from_mode(0o755)).unwrap();
    run(&get).refused(&["no key", says, text(&alice)]);
}

#[test]
fn what_two_hubs_leave_of_the_default_is_advised() {
    let directory = tempfile::tempdir().unwrap();
    for (hubs, advised) in [("2", true), ("3", false)] {
        let out = directory.path().join(hubs);
        let made =
            run(["provision", "--out", text(&out), "--hubs", hubs, "--table-size", "4KiB"]).succeeded();
        assert_eq!(made.out.contains("get bob --threshold 2"), advised, "{}", made.out);
    }
}

#[test]
fn a_second_process_on_a_directory_is_refused() {
    let network = Network::new(2, "4KiB");
    let (_hub, _) = network.start_hub(1, &[]);
    run(["hub", "--dir", text(&network.of("hub-1")), "--listen", "127.0.0.1:0"])
        .refused(&["another skex process is running", "stop it first"]);
}

#[test]
fn provisioning_never_overwrites() {
    let network = Network::new(2, "4KiB");
    let before = files(&network.beside("net"));
    run(["provision", "--out", text(&network.beside("net"))]).refused(&["exists already", "name another"]);
    assert_eq!(before, files(&network.beside("net")));
}

#[test]
fn provisioning_what_cannot_work_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("net");
    for (options, says) in [
        (&["--hubs", "1"][..], "2 to 31 hubs"),
        (&["--hubs", "32"], "2 to 31 hubs"),
        (&["--clients", "alice,alice"], "taken"),
        (&["--clients", "alice"], "two clients"),
        (&["--clients", "alice,../bob"], "letters"),
        (&["--clients", "alice,hub-1"], "taken"),
        (&["--hub-address", "localhost:1"], "once for each"),
        (&["--hubs", "2", "--hub-address", "a:1", "--hub-address", "a:1"], "its own"),
        (&["--base-port", "65535"], "ports"),
    ] {
        run(["provision", "--out", text(&out)].iter().chain(options)).refused(&[says]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{options:?}");
    }
}

#[test]
fn garbage_datagrams_are_ignored_and_counted() {
    let network = Network::new(2, "4KiB");
    let own = network.of("hub-1");
    let mut hub = start(["hub", "--dir", text(&own), "--listen", "127.0.0.1:0", "--steered"]);
    let ready: serde_json::Value = serde_json::from_str(&hub.line_with("\"ready\"")).unwrap();
    let before = (tables(&own), fs::read(network.log_of(1)).unwrap());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let garbage: [&[u8]; 5] = [b"", b"\x00", b"\x11garbage", &[0xff; 1200], &[0x13; 60]];
    for datagram in garbage {
        socket.send_to(datagram, ready["address"].as_str().unwrap()).unwrap();
    }
    let counters = loop {
        hub.order("counters");
        let counters: serde_json::Value = serde_json::from_str(&hub.line_with("\"counters\"")).unwrap();
        if counters["traffic"]["received_messages"] == garbage.len() {
            break counters;
        }
    };
    assert_eq!(counters["traffic"]["discarded"], garbage.len());
    assert!(counters["traffic"]["sent_octets"].as_u64() < counters["traffic"]["received_octets"].as_u64());
    assert_eq!(before, (tables(&own), fs::read(network.log_of(1)).unwrap()));
}

#[test]
fn a_used_up_table_refuses_the_next_key_and_burns_nothing() {
    let network = Network::new(2, "256");
    let (_hubs, addresses) = network.start_hubs();
    let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
    bob.end().succeeded();
    let before = tables(&network.of("alice"));
    run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).refused(&["used up", "refill"]);
    assert_eq!(before, tables(&network.of("alice")));
}

#[test]
fn hubs_that_do_not_answer_are_named() {
    let network = Network::new(2, "4KiB");
    // Ports that nobody listens on any more.
    let dead: Vec<String> =
        (0..2).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()).collect();
    let before = tables(&network.of("alice"));
    run(network.client("alice", &dead, &["get", "bob", "-k", "2", "--timeout", "1"])).refused(&[
        "no key with bob",
        "hub-1, hub-2",
        "skex.json",
    ]);
    assert_eq!(before, tables(&network.of("alice")));
}

#[test]
fn a_hub_whose_address_cannot_be_looked_up_is_left_out() {
    let network = Network::new(3, "4KiB");
    let (_hubs, mut addresses) = network.start_hubs();
    addresses[2] = "no address at all".to_owned();
    let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
    let alice = run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
    bob.end().succeeded();
    assert!(alice.err.contains("going on without hub-3"), "{}", alice.err);
    assert!(alice.out.contains("silent       hub-3"), "{}", alice.out);
}

#[test]
fn an_enrolment_that_cannot_be_used_is_refused_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (own, short) = (directory.path().join("a"), directory.path().join("short"));
    let missing = directory.path().join("missing");
    fs::write(&short, [1; 31]).unwrap();
    let enrol = |secret, peer_id| {
        let names =
            ["peer", "--dir", text(&own), "enrol", "--role", "a", "--id", "alice", "--peer-id", peer_id];
        run(names.into_iter().chain(["--secret-file", text(secret)]))
    };
    enrol(&short, "bob").refused(&["at least 32 octets"]);
    enrol(&missing, "bob").refused(&["missing"]);
    enrol(&short, "alice").refused(&["different names"]);
    assert!(!own.exists());

    fs::write(&short, [1; 32]).unwrap();
    enrol(&short, "bob").succeeded();
    let before = files(&own);
    enrol(&short, "bob").refused(&["exists already"]);
    assert_eq!(before, files(&own));
}
