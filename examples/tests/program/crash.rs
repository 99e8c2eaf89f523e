//! What a crash leaves of secrets that were being erased: nobody takes it for anything, and the next start erases it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Ended, Network, files, run, text};

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
