//! `skex kme`, as SAEs and as whoever attacks it meet it: certificates, sockets, restarts.

mod attack;
mod https;
mod pki;
#[cfg(feature = "skip-psk")]
mod psk;
mod restart;
mod several;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Network, Running, run, start, text};
use https::Https;
use pki::{Authority, Identity};

/// Two KMEs over the clients alice and bob, with hubs between them.
struct Kmes {
    network: Network,
    hubs: Vec<Running>,
    addresses: Vec<String>,
    authority: Authority,
    /// Keys that each makes ahead.
    ready: u32,
}

/// A KME that runs.
struct Kme {
    process: Running,
    https: Https,
}

impl Kmes {
    fn new(ready: u32) -> Self {
        let network = Network::new(2, "1MiB");
        let (hubs, addresses) = network.start_hubs();
        let kmes = Self { network, hubs, addresses, authority: Authority::new("ca"), ready };
        kmes.settle("alice", "kme-a", ("bob", "kme-b"), &[("sae-a", "sae-b"), ("sae-c", "sae-d")]);
        kmes.settle("bob", "kme-b", ("alice", "kme-a"), &[("sae-b", "sae-a"), ("sae-d", "sae-c")]);
        kmes
    }

    /// Writes certificate, key and settings of a KME.
    fn settle(&self, client: &str, kme: &str, peer: (&str, &str), pairs: &[(&str, &str)]) {
        let directory = self.network.of(client);
        let identity = self.authority.server(kme);
        fs::write(directory.join("kme.pem"), &identity.certificate).unwrap();
        fs::write(directory.join("kme.key"), &identity.key).unwrap();
        fs::write(directory.join("ca.pem"), self.authority.pem()).unwrap();
        let links: Vec<Value> = pairs
            .iter()
            .map(|(local, remote)| json!({"local_sae": local, "remote_sae": remote, "peer": peer.0}))
            .collect();
        let settings = json!({
            "kme": kme, "https": "127.0.0.1:0",
            "certificate": "kme.pem", "private_key": "kme.key", "client_ca": "ca.pem",
            "peers": [{"client": peer.0, "kme": peer.1, "threshold": 2, "ready": self.ready}],
            "links": links, "max_key_per_request": 4,
        });
        fs::write(directory.join("kme.json"), settings.to_string()).unwrap();
    }

    fn arguments(&self, client: &str) -> Vec<String> {
        let directory = self.network.of(client);
        let own = ["kme", "--dir", text(&directory), "--listen", "127.0.0.1:0"];
        let mut arguments: Vec<String> = own.map(str::to_owned).to_vec();
        for (number, address) in (1..).zip(&self.addresses) {
            arguments.extend(["--hub-address".to_owned(), format!("hub-{number}={address}")]);
        }
        arguments
    }

    fn start(&self, client: &str) -> Kme {
        let mut process = start(self.arguments(client));
        let line = process.line_with("answers SAEs on https://");
        let address = line.rsplit("https://").next().unwrap().to_owned();
        Kme { process, https: Https::new(address, self.authority.pem()) }
    }

    fn sae(&self, name: &str) -> Identity {
        self.authority.client(&[name], &[])
    }

    fn settings_of(&self, client: &str) -> PathBuf {
        self.network.of(client).join("kme.json")
    }
}

impl Kme {
    /// Waits until so many keys are ready for this pair.
    #[track_caller]
    fn await_ready(&self, sae: &Identity, other: &str, count: u64) {
        let target = format!("/api/v1/keys/{other}/status");
        for _ in 0..1200 {
            let (status, answer) = self.https.get(sae, &target);
            assert_eq!(status, 200, "{answer}");
            if answer["stored_key_count"].as_u64().unwrap() >= count {
                return;
            }
            std::thread::sleep(core::time::Duration::from_millis(100));
        }
        panic!("there were never {count} keys");
    }
}

fn enc(slave: &str) -> String {
    format!("/api/v1/keys/{slave}/enc_keys")
}

fn dec(master: &str, id: &str) -> String {
    format!("/api/v1/keys/{master}/dec_keys?key_ID={id}")
}

fn id_of(answer: &Value) -> String {
    answer["keys"][0]["key_ID"].as_str().unwrap().to_owned()
}

#[test]
fn scenario_69_saes_at_both_ends_get_the_same_keys_by_either_interface() {
    let kmes = Kmes::new(8);
    let (a, b) = (kmes.start("alice"), kmes.start("bob"));
    let (sae_a, sae_b) = (kmes.sae("sae-a"), kmes.sae("sae-b"));
    a.await_ready(&sae_a, "sae-b", 8);

    let (status, at_a) = a.https.post(&sae_a, &enc("sae-b"), &json!({"number": 3, "size": 512}));
    assert_eq!((status, at_a["keys"].as_array().unwrap().len()), (200, 3), "{at_a}");
    let ids: Vec<Value> =
        at_a["keys"].as_array().unwrap().iter().map(|key| json!({"key_ID": key["key_ID"]})).collect();
    let wanted = json!({"key_IDs": ids});
    assert_eq!(b.https.post(&sae_b, "/api/v1/keys/sae-a/dec_keys", &wanted), (200, at_a));
    let (status, answer) = b.https.post(&sae_b, "/api/v1/keys/sae-a/dec_keys", &wanted);
    assert_eq!(
        (status, answer["message"].as_str()),
        (400, Some("one or more keys specified are not found on KME"))
    );

    // The other way round.
    b.await_ready(&sae_b, "sae-a", 1);
    let (_, at_b) = b.https.get(&sae_b, &enc("sae-a"));
    assert_eq!(a.https.get(&sae_a, &dec("sae-b", &id_of(&at_b))), (200, at_b));

    let (_, capabilities) = a.https.get(&sae_a, "/capabilities");
    assert_eq!(capabilities["remoteSystemID"], json!(["sae-b"]));
    let (status, at_a) = a.https.get(&sae_a, "/key?remoteSystemID=sae-b&size=128");
    assert_eq!(status, 200, "{at_a}");
    let target = format!("/key/{}?remoteSystemID=sae-a", at_a["keyId"].as_str().unwrap());
    assert_eq!(b.https.get(&sae_b, &target), (200, at_a));
    assert_eq!(b.https.get(&sae_b, &target).0, 400);

    // What was given is made again.
    a.await_ready(&sae_a, "sae-b", 8);
    drop(a.process);
    let keys = fs::read(kmes.network.of("alice").join("kme.keys")).unwrap();
    assert_eq!(keys.len() % 128, 0);
}

/// Who is heard, and as whom: by the common name of a certificate that the authority of the settings has signed.
#[test]
fn scenario_69_a_certificate_names_one_sae_or_nobody() {
    let kmes = Kmes::new(8);
    let (a, b) = (kmes.start("alice"), kmes.start("bob"));
    let (sae_a, sae_b) = (kmes.sae("sae-a"), kmes.sae("sae-b"));
    a.await_ready(&sae_a, "sae-b", 8);

    // Not even a TLS connection: no certificate, one of another authority with the right name, one signed by an SAE's.
    let other = Authority::new("ca");
    for identity in [None, Some(other.client(&["sae-a"], &[])), Some(sae_a.pretend_authority("sae-a"))] {
        let error = a.https.raw(identity.as_ref(), b"GET /capabilities HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(error.is_err(), "{error:?}");
    }
    // A connection, and nothing behind it.
    for (names, alternatives) in [
        (&["sae-b"][..], &[][..]),
        (&["kme-a"], &[]),
        (&["mallory"], &["sae-a"]),
        (&["sae-a", "mallory"], &[]),
        (&["mallory", "sae-a"], &[]),
        (&[], &["sae-a"]),
        (&["sae-a "], &[]),
        (&["SAE-A"], &[]),
        (&["sae-a\0"], &[]),
        (&["sae%2Da"], &[]),
        (&["sae\u{2010}a"], &[]),
        (&["sae-a/"], &[]),
    ] {
        let identity = kmes.authority.client(names, alternatives);
        for target in [&enc("sae-b"), "/api/v1/keys/sae-b/status", "/capabilities", "/entropy"] {
            let (status, answer) = a.https.get(&identity, target);
            assert_eq!(status, 401, "{names:?} {target}: {answer}");
        }
    }
    // The right one, which nothing of that has cost a key.
    let (status, at_a) = a.https.get(&sae_a, &format!("{}?number=1", enc("sae-b")));
    assert_eq!(status, 200);
    let target = dec("sae-a", &id_of(&at_a));
    let sae_d = kmes.sae("sae-d");
    assert_eq!(b.https.get(&sae_d, &target).0, 401);
    assert_eq!(b.https.get(&sae_d, &dec("sae-c", &id_of(&at_a))).0, 400);
    assert_eq!(a.https.get(&sae_a, &dec("sae-b", &id_of(&at_a))).0, 400, "the master does not get it again");
    assert_eq!(b.https.get(&sae_b, &target), (200, at_a));
}

#[test]
fn a_kme_that_runs_takes_another_initial_key() {
    let mut kmes = Kmes::new(4);
    let (mut a, _b) = (kmes.start("alice"), kmes.start("bob"));
    let sae = kmes.sae("sae-a");
    a.await_ready(&sae, "sae-b", 4);
    let key = kmes.network.beside("key");
    kmes.network.new_key("alice", "hub-1", "--out", &key).succeeded();
    a.process.line_with("the link with hub-1 is to have another initial key");
    kmes.network.new_key("hub-1", "alice", "--from", &key).succeeded();
    kmes.hubs[0].line_with("alice has proven its other initial key");
    assert_eq!(a.https.get(&sae, &format!("{}?number=4", enc("sae-b"))).0, 200);
    a.await_ready(&sae, "sae-b", 4);
}

#[test]
fn what_cannot_work_is_refused_before_anything_starts() {
    let kmes = Kmes::new(8);
    let directory = kmes.network.of("alice");
    let refused = |says: &[&str]| run(kmes.arguments("alice")).refused(says);
    let whole = fs::read_to_string(kmes.settings_of("alice")).unwrap();
    for (from, to, says) in [
        ("\"kme-a\"", "\"kme a\"", &["kme.json", "a name has"][..]),
        ("\"client\":\"bob\"", "\"client\":\"carol\"", &["is not among the peers"]),
        ("\"threshold\":2", "\"threshold\":5", &["threshold 5 does not fit"]),
        ("\"threshold\":2", "\"threshold\":2,\"https\":\"nowhere\"", &["https of bob is no HOST:PORT"]),
        ("\"kme.key\"", "\"nothing.key\"", &["nothing.key", "no private key"]),
        ("\"kme.pem\"", "\"kme.key\"", &["kme.key has no certificate"]),
        ("\"kme.key\"", "\"kme.pem\"", &["kme.pem is no private key"]),
        ("\"ca.pem\"", "\"nothing.pem\"", &["cannot read", "nothing.pem"]),
        ("127.0.0.1:0", "127.0.0.1:x", &["cannot listen"]),
        (
            "\"peers\"",
            "\"preshared_keys\":{\"https\":\"127.0.0.1:0\",\"file\":\"nothing.psk\"},\"peers\"",
            if cfg!(feature = "skip-psk") {
                &["cannot read", "nothing.psk"]
            } else {
                &["--features skip-psk"]
            },
        ),
    ] {
        let changed = whole.replacen(from, to, 1);
        assert_ne!(changed, whole, "{from}");
        fs::write(kmes.settings_of("alice"), changed).unwrap();
        refused(says);
    }
    fs::write(kmes.settings_of("alice"), &whole).unwrap();
    let of_another = kmes.authority.server("kme-a");
    fs::write(directory.join("kme.key"), of_another.key).unwrap();
    refused(&["do not fit"]);
    fs::remove_file(kmes.settings_of("alice")).unwrap();
    refused(&["kme.json", "skex kme --help"]);
    assert!(!directory.join("kme.keys").exists());
}

/// A key server serves for months: it must not take its next start to store a table for which there was no room.
#[test]
fn a_table_that_could_not_be_stored_is_taken_later() {
    let kmes = Kmes::new(4);
    let hub = kmes.network.of("hub-1");
    let add = ["provision", "add", "--dir", text(&hub), "--client", "alice", "--over-network"];
    run(add.into_iter().chain(["--table-size", "64KiB"])).succeeded();
    let in_the_way = kmes.network.of("alice").join("hub-1.uplink.1.table.partial");
    fs::create_dir(&in_the_way).unwrap();
    let mut a = kmes.start("alice");
    a.process.line_with("sent table 1, which is not taken: it is tried again");
    fs::remove_dir(&in_the_way).unwrap();
    (0..2).for_each(|_| drop(a.process.line_with("sent table 1: keys")));
}
