//! Provisioning files: taken once, in portions, while a hub runs; and refused when anything is wrong with them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Network, after, files, run, start, tables, text};

/// A network whose clients have not taken their files in yet.
fn untaken(table_size: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let net = directory.path().join("net");
    let make = ["provision", "--out", text(&net), "--hubs", "2", "--table-size", table_size, "--files"];
    run(make).succeeded();
    (directory, net)
}

fn import(directory: &Path, file: &Path) -> crate::support::Ended {
    run(["provision", "import", "--dir", text(directory), text(file)])
}

#[test]
fn a_file_is_taken_in_once_and_is_gone() {
    let (_directory, net) = untaken("4KiB");
    let (alice, file) = (net.join("alice"), net.join("alice/hub-1.provision"));
    let copy = net.join("copy");
    fs::copy(&file, &copy).unwrap();
    let taken = import(&alice, &file).succeeded();
    assert!(taken.out.contains("hub-1: enrolled, 2 new tables"), "{}", taken.out);
    assert!(!file.exists());
    for table in ["uplink", "downlink"] {
        let name = format!(".{table}.0.table");
        let own = fs::read(alice.join(format!("hub-1{name}"))).unwrap();
        assert_eq!(own, fs::read(net.join(format!("hub-1/alice{name}"))).unwrap(), "the same at both ends");
        assert_eq!(own.len(), 64 + 4096);
    }
    // A copy of the same file changes nothing.
    let before = tables(&alice);
    import(&alice, &copy).succeeded();
    assert_eq!(before, tables(&alice));
    assert!(!copy.exists());
}

#[test]
fn a_file_that_is_torn_altered_or_foreign_is_refused_and_nothing_is_touched() {
    let (_directory, net) = untaken("4KiB");
    let (alice, file) = (net.join("alice"), net.join("alice/hub-1.provision"));
    let whole = fs::read(&file).unwrap();
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    let mut header = whole.clone();
    header[60] ^= 1;
    let foreign = fs::read(net.join("bob/hub-1.provision")).unwrap();
    let longer = [&whole[..], &[0]].concat();
    for (octets, says) in [
        (&whole[..whole.len() - 1], "torn"),
        (&whole[..20], "torn"),
        (&longer, "longer"),
        (&altered, "damaged, altered"),
        (&header, "header of the provisioning file is damaged"),
        (&foreign, "another hub or client"),
        (b"something else", "not a provisioning file"),
    ] {
        fs::write(&file, octets).unwrap();
        let before = files(&alice);
        import(&alice, &file).refused(&["hub-1.provision", says]);
        run(["client", "--dir", text(&alice), "get", "bob", "-k", "2"]).refused(&["hub-1.provision", says]);
        assert_eq!(before, files(&alice), "{says}");
    }
    fs::write(&file, &whole).unwrap();
    import(&alice, &file).succeeded();
}

#[test]
fn a_second_enrolment_of_a_link_is_refused() {
    let (_directory, net) = untaken("4KiB");
    let other = tempfile::tempdir().unwrap();
    run(["provision", "import", "--dir", text(&net.join("alice"))]).succeeded();
    let before = files(&net.join("alice"));
    // Another provisioning, whose file is made to look as if it were of this link.
    let again = other.path().join("net");
    run(["provision", "--out", text(&again), "--hubs", "2", "--table-size", "4KiB", "--files"]).succeeded();
    import(&net.join("alice"), &again.join("alice/hub-1.provision")).refused(&["another hub or client"]);
    assert_eq!(before, files(&net.join("alice")));
}

#[test]
fn a_client_is_served_in_portions_each_of_them_once() {
    let (directory, net) = untaken("160KiB");
    let (alice, stock) = (net.join("alice"), directory.path().join("stock"));
    fs::rename(alice.join("hub-1.provision"), &stock).unwrap();
    let original = fs::read(&stock).unwrap();
    let portion = |out: &Path| {
        run(["provision", "portion", "--from", text(&stock), "--size", "64KiB", "--out", text(out)])
    };
    let paths: Vec<PathBuf> = (0..3).map(|i| directory.path().join(format!("portion-{i}"))).collect();
    for path in &paths {
        portion(path).succeeded();
    }
    // Nothing is left in the stock, and nothing is handed out again.
    portion(&directory.path().join("fourth")).refused(&["everything in", "handed out"]);
    let left = fs::read(&stock).unwrap();
    let header = 47 + 32 + 2 + 2 * 16 + 16;
    for window in original[header..].windows(16).step_by(4000) {
        assert!(!left.windows(16).any(|other| other == window), "a pad is still there");
    }
    // The second one first: something is missing.
    import(&alice, &paths[1]).refused(&["tables only", "first provisioning file"]);
    import(&alice, &paths[0]).succeeded();
    import(&alice, &paths[2]).refused(&["a portion before it is missing"]);
    let taken = import(&alice, &paths[1]).succeeded();
    assert!(taken.out.contains("more of 2"), "{}", taken.out);
    // With two of three portions: what is there is what the hub has there.
    let own = fs::read(alice.join("hub-1.uplink.0.table")).unwrap();
    let hubs = fs::read(net.join("hub-1/alice.uplink.0.table")).unwrap();
    assert_eq!(own.len(), 64 + (128 << 10));
    assert_eq!(own[64..], hubs[64..own.len()]);
    import(&alice, &paths[2]).succeeded();
    assert_eq!(fs::read(alice.join("hub-1.uplink.0.table")).unwrap(), hubs);
}

#[test]
fn a_crash_between_the_ledger_and_the_name_of_a_portion_gives_it_once() {
    let (directory, net) = untaken("160KiB");
    let (stock, out) = (net.join("alice/hub-1.provision"), directory.path().join("first"));
    let portion = |out: &Path| {
        run(["provision", "portion", "--from", text(&stock), "--size", "64KiB", "--out", text(out)])
    };
    let before = fs::read(&stock).unwrap();
    portion(&out).succeeded();
    let first = fs::read(&out).unwrap();
    // As if the power had gone before the name was given, and before the stock was overwritten.
    fs::rename(&out, directory.path().join("first.portion")).unwrap();
    fs::write(&stock, before).unwrap();
    let second = directory.path().join("second");
    portion(&second).succeeded();
    assert_eq!(fs::read(&out).unwrap(), first, "it got its name");
    let first_chunk = &first[first.len() - 1000..];
    for file in [&stock, &second] {
        let octets = fs::read(file).unwrap();
        assert!(!octets.windows(1000).any(|other| other == first_chunk), "{}", file.display());
    }
    // Half a line was never synced: the portion is made again.
    let ledger = net.join("alice/hub-1.provision.handed");
    let lines = fs::read_to_string(&ledger).unwrap();
    fs::write(&ledger, format!("{lines}122")).unwrap();
    portion(&directory.path().join("third")).succeeded();
    fs::write(&ledger, "nonsense\n").unwrap();
    portion(&directory.path().join("fourth")).refused(&["ledger", "damaged"]);
}

#[test]
fn tables_that_are_used_up_are_followed_by_others_while_the_hubs_run() {
    let network = Network::new(2, "512");
    let (mut hubs, addresses) = network.start_hubs();
    let get = || {
        let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
        let alice = run(network.client("alice", &addresses, &["get", "bob", "-k", "2"]));
        (alice, bob)
    };
    let mut made = 0;
    let refused = loop {
        let (alice, bob) = get();
        if alice.code != Some(0) {
            break alice;
        }
        assert_eq!(after(&alice.out, "fingerprint"), after(&bob.end().succeeded().out, "fingerprint"));
        made += 1;
        assert!(made < 10);
    };
    assert!(made > 0);
    refused.refused(&["used up"]);
    let status = run(["status", "--dir", text(&network.of("alice"))]).succeeded();
    assert!(status.out.contains("LOW"), "{}", status.out);
    for hub in 1..=2 {
        for client in ["alice", "bob"] {
            let own = network.of(&format!("hub-{hub}"));
            let out = network.of(client).join(format!("hub-{hub}-more.provision"));
            let add = ["provision", "add", "--dir", text(&own), "--client", client, "--table-size", "64KiB"];
            run(add.into_iter().chain(["--out", text(&out)])).succeeded();
        }
    }
    for hub in &mut hubs {
        hub.line_with("2 new tables");
        hub.line_with("2 new tables");
    }
    let (alice, bob) = get();
    let (alice, bob) = (alice.succeeded(), bob.end().succeeded());
    assert_eq!(after(&alice.out, "fingerprint"), after(&bob.out, "fingerprint"));
    let status = run(["status", "--dir", text(&network.of("alice"))]).succeeded();
    assert!(status.out.contains("table 1:") && !status.out.contains("LOW"), "{}", status.out);
}

#[test]
fn tables_that_are_sent_over_the_network_serve_and_say_what_they_are() {
    let network = Network::new(2, "512");
    let (mut hubs, addresses) = network.start_hubs();
    let get = || {
        let bob = start(network.client("bob", &addresses, &["wait", "--count", "1", "--timeout", "60"]));
        let alice = run(network.client("alice", &addresses, &["get", "bob", "-k", "2"])).succeeded();
        let bob = bob.end().succeeded();
        assert_eq!(after(&alice.out, "fingerprint"), after(&bob.out, "fingerprint"));
        assert_eq!(after(&alice.out, "secrecy"), after(&bob.out, "secrecy"));
        after(&alice.out, "secrecy").contains("computational")
    };
    assert!(!get(), "the tables of the enrolment came out of band");
    for hub in 1..=2 {
        for client in ["alice", "bob"] {
            let own = network.of(&format!("hub-{hub}"));
            let add = ["provision", "add", "--dir", text(&own), "--client", client, "--over-network"];
            run(add.into_iter().chain(["--table-size", "64KiB"])).succeeded();
        }
    }
    let mut clients =
        ["alice", "bob"].map(|name| start(network.client(name, &addresses, &["wait", "--timeout", "60"])));
    for client in &mut clients {
        for _ in 0..4 {
            client.line_with("sent table 1");
        }
    }
    for hub in &mut hubs {
        for _ in 0..4 {
            hub.line_with("has table 1, which was sent to it");
        }
    }
    clients.iter_mut().for_each(crate::support::Running::kill);
    assert!(get());
    let status = run(["status", "--dir", text(&network.of("alice"))]).succeeded();
    assert!(
        status.out.contains("table 1:") && status.out.contains("refilled: computational"),
        "{}",
        status.out
    );
}

/// The disk has no room for a table that a hub sends, or something stands in its way. Once there is room it is taken, without another start.
#[test]
fn a_table_that_could_not_be_stored_is_taken_later() {
    let network = Network::new(2, "512");
    let (_hubs, addresses) = network.start_hubs();
    let hub = network.of("hub-1");
    let add = ["provision", "add", "--dir", text(&hub), "--client", "alice", "--over-network"];
    run(add.into_iter().chain(["--table-size", "64KiB"])).succeeded();
    let in_the_way = network.of("alice").join("hub-1.uplink.1.table.partial");
    fs::create_dir(&in_the_way).unwrap();
    let mut alice = start(network.client("alice", &addresses, &["wait", "--timeout", "60"]));
    alice.line_with("sent table 1, which is not taken: it is tried again");
    fs::remove_dir(&in_the_way).unwrap();
    (0..2).for_each(|_| drop(alice.line_with("sent table 1: keys")));
}
