//! What a crash leaves of secrets that were being written or erased: nobody takes it for anything, and the next start erases it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::support::{Ended, Network, files, run, start, start_with_short_files, text};

/// Octets as an erasure leaves them that has not begun, has come half the way, and has come to its end.
fn half_erased(octets: &[u8]) -> [Vec<u8>; 3] {
    let (_, rest) = octets.split_at(octets.len() / 2);
    [octets.to_vec(), [&vec![0; octets.len() - rest.len()], rest].concat(), vec![0; octets.len()]]
}

/// What a file is called while it is erased.
fn erasing(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.erasing", text(path)))
}

/// A start that goes well: nobody answers, or there is nothing to do.
fn begins(directory: &Path) {
    let told = run(["client", "--dir", text(directory), "get", "bob", "-k", "2", "--timeout", "1"]);
    told.refused(&["no key with bob"]);
}

#[test]
fn a_provisioning_file_that_was_being_erased_keeps_no_client_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let net = directory.path().join("net");
    run(["provision", "--out", text(&net), "--hubs", "2", "--table-size", "16KiB", "--files"]).succeeded();
    let alice = net.join("alice");
    let bundle = alice.join("hub-1.provision");
    let octets = fs::read(&bundle).unwrap();
    begins(&alice);
    let taken = files(&alice);
    assert!(!taken.contains_key(&bundle));
    // The crash came before the file had left its name: it is taken again.
    fs::write(&bundle, &octets).unwrap();
    begins(&alice);
    assert!(!bundle.exists());
    for left in half_erased(&octets) {
        fs::write(erasing(&bundle), left).unwrap();
        begins(&alice);
        let now = files(&alice);
        assert!(now.keys().eq(taken.keys()), "{:?}", now.keys());
    }
    // Of one that lies elsewhere, the same command finishes it.
    let elsewhere = directory.path().join("elsewhere");
    fs::write(erasing(&elsewhere), &octets).unwrap();
    let import = ["provision", "import", "--dir", text(&alice), text(&elsewhere)];
    run(import).refused(&["was taken before, and is erased"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    run(import).refused(&["cannot open", "elsewhere"]);
}

/// A directory, and how it is started.
type Start<'a> = (PathBuf, &'a dyn Fn(&Path));

/// At hubs, clients and peers.
#[test]
fn a_start_erases_what_a_crash_left_and_nothing_that_is_being_written() {
    let network = Network::new(2, "4KiB");
    let peer = network.beside("peer");
    let secret = network.beside("secret");
    fs::write(&secret, [7; 32]).unwrap();
    let enrol = ["peer", "--dir", text(&peer), "enrol", "--role", "a", "--id", "a", "--peer-id", "b"];
    run(enrol.iter().chain(&["--secret-file", text(&secret)])).succeeded();
    let starts: [Start<'_>; 3] = [
        (network.of("hub-1"), &|own| {
            let mut hub = start(["hub", "--dir", text(own), "--listen", "127.0.0.1:0"]);
            hub.line_with("listens on");
        }),
        (network.of("alice"), &|own| begins(own)),
        (peer, &|own| {
            let mut peer = start(["peer", "--dir", text(own), "listen", "--bind", "127.0.0.1:0"]);
            peer.line_with("listens on");
        }),
    ];
    for (own, start) in starts {
        start(&own);
        let before: Vec<PathBuf> = files(&own).into_keys().collect();
        let left = [
            "x.uplink.0.table.erasing",
            "x.link.erasing",
            "x.newkey.erasing",
            "x.newkey.4242.partial",
            "skex.json.4242.partial",
            "x.1.provision.4242.partial",
            "x.downlink.1.table.partial",
            "state.log.4242.partial",
        ];
        let seen: Vec<File> = left
            .iter()
            .map(|name| {
                fs::write(own.join(name), [7; 5000]).unwrap();
                File::open(own.join(name)).unwrap()
            })
            .collect();
        let writing = own.join("x.link.4243.partial");
        fs::write(&writing, [7]).unwrap();
        let lock = File::open(&writing).unwrap();
        lock.lock().unwrap();
        start(&own);
        assert_eq!(fs::read(&writing).unwrap(), [7], "a live process writes it");
        drop(lock);
        start(&own);
        assert!(files(&own).into_keys().eq(before), "{:?}", files(&own).keys());
        for (name, mut file) in left.iter().zip(seen) {
            let mut octets = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut octets).unwrap();
            assert!(octets == vec![0; 5000], "{name} is overwritten");
        }
    }
}

#[test]
fn more_tables_are_made_after_a_command_that_was_killed_in_the_middle() {
    let network = Network::new(2, "4KiB");
    let hub = network.of("hub-1");
    let add = |out: &str| {
        let command = ["provision", "add", "--dir", text(&hub), "--client", "alice", "--table-size", "4KiB"];
        run(command.iter().chain(&["--out", text(&network.beside(out))]))
    };
    // In the middle of the hub's side, by any name that it had.
    for left in ["alice.1.provision.4242.partial", ".alice.1.provision.partial"] {
        fs::write(hub.join(left), [7; 1000]).unwrap();
    }
    add("first").succeeded();
    let (mut started, _) = network.start_hub(1, &[]);
    started.line_with("alice: not connected");
    assert!(!hub.join("alice.1.provision.4242.partial").exists());
    assert!(hub.join("alice.uplink.1.table").exists());
}

#[test]
fn without_room_nothing_stays_of_a_provisioning_file_and_the_command_can_be_given_again() {
    let network = Network::new(2, "4KiB");
    let (hub, out) = (network.of("hub-1"), network.beside("out"));
    let beside = || fs::read_dir(network.beside("")).unwrap().count();
    let add = ["provision", "add", "--dir", text(&hub), "--client", "alice", "--table-size", "1MiB"];
    let tag = "ab".repeat(16);
    let enrol = ["hub", "--dir", text(&hub), "enrol", "carol", "--tag", &tag, "--table-size", "1MiB"];
    for command in [&add[..], &enrol] {
        let before = (beside(), files(&hub).len());
        let command = || command.iter().copied().chain(["--out", text(&out)]);
        start_with_short_files(command()).end().refused(&["cannot write"]);
        assert_eq!((beside(), files(&hub).len()), before);
        run(command()).succeeded();
        fs::remove_file(&out).unwrap();
    }
}

/// What a user names lies where no start looks: the same command erases it, and takes it for nothing.
#[test]
fn a_secret_that_was_being_erased_is_erased_by_the_same_command() {
    let network = Network::new(2, "4KiB");
    let own = network.beside("peer");
    let place = |name: &str| network.beside(name);
    let enrol = || {
        let names = ["peer", "--dir", text(&own), "enrol", "--role", "a", "--id", "a", "--peer-id", "b"];
        run(names.iter().chain(&["--erase-secret", "--secret-file", text(&place("secret"))]))
    };
    let connect = || {
        let names =
            ["peer", "--dir", text(&own), "listen", "--bind", "127.0.0.1:0", "--erase-blocks", "--block"];
        run(names.iter().chain(&[text(&place("block"))]))
    };
    let key = || network.new_key("alice", "hub-1", "--from", &place("key"));
    let commands: [(&str, &dyn Fn() -> Ended, &str); 3] = [
        ("secret", &enrol, "was used before"),
        ("block", &connect, "was stored before"),
        ("key", &key, "was taken before"),
    ];
    for (name, command, says) in commands {
        if name == "secret" {
            fs::write(place(name), [7; 32]).unwrap();
            command().succeeded();
        }
        for left in half_erased(&[7; 32]) {
            fs::write(place(&format!("{name}.erasing")), left).unwrap();
            command().refused(&[name, says, "erased"]);
            assert!(!place(&format!("{name}.erasing")).exists());
        }
    }
}

fn is_erased(table: &Path) -> bool {
    fs::read(table).unwrap()[64..].iter().all(|&octet| octet == 0)
}

#[test]
fn a_table_that_cannot_be_erased_is_told_of_as_what_it_is_until_a_start_erases_it() {
    let network = Network::new(2, "1MiB");
    let (alice, hub) = (network.of("alice"), network.of("hub-1"));
    let says = ["uplink table 0 of the link with", "out of service here, but not erased", "storage failed"];
    for (own, party, link) in [(&alice, "client", "hub-1"), (&hub, "hub", "bob")] {
        let command = [party, "--dir", text(own), "retire", link, "--uplink", "0"];
        let table = own.join(format!("{link}.uplink.0.table"));
        let note = own.join(format!("{link}.uplink.0.unerased"));
        let told = start_with_short_files(command).end().refused(&says);
        assert!(!told.out.contains("and erased"), "{}", told.out);
        assert!(!is_erased(&table) && note.exists());
        start_with_short_files(command).end().refused(&says);
        let told = run(command).succeeded();
        assert!(told.out.contains("is out of service here, and erased"), "{}", told.out);
        assert!(is_erased(&table) && !note.exists());
    }
    // At a hub that runs.
    let mut running = start_with_short_files(["hub", "--dir", text(&hub), "--listen", "127.0.0.1:0"]);
    running.line_with("listens on");
    let command = ["hub", "--dir", text(&hub), "retire", "alice", "--uplink", "0"];
    run(command).refused(&says);
    running.line_with("alice: uplink table 0 is out of service; its storage failed");
    drop(running);
    let (mut running, _) = network.start_hub(1, &[]);
    running.line_with("alice: uplink table 0 is out of service");
    assert!(run(command).succeeded().out.contains("and erased"));
    assert!(is_erased(&hub.join("alice.uplink.0.table")));
}
