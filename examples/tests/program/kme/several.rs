//! Additional SAEs: three KMEs, with hubs between them.

use std::fs;

use serde_json::{Value, json};

use super::https::Https;
use super::pki::{Authority, Identity};
use super::{Kme, Kmes, dec, enc, id_of};
use crate::support::Network;

/// sae-a is at alice's KME, sae-b and sae-e at bob's, sae-c and sae-d at carol's.
fn three() -> Kmes {
    let network = Network::with_clients("alice,bob,carol", 2, "1MiB");
    let (hubs, addresses) = network.start_hubs();
    Kmes { network, hubs, addresses, authority: Authority::new("ca"), ready: 8 }
}

/// Writes what a KME needs: its peers (client, KME, where it answers), and its links (SAE here, SAE there, peer).
fn settle(kmes: &Kmes, client: &str, kme: &str, peers: &[(&str, &str, Option<&str>)], links: &[[&str; 3]]) {
    let directory = kmes.network.of(client);
    let identity = kmes.authority.server(kme);
    fs::write(directory.join("kme.pem"), &identity.certificate).unwrap();
    fs::write(directory.join("kme.key"), &identity.key).unwrap();
    fs::write(directory.join("ca.pem"), kmes.authority.pem()).unwrap();
    let peers: Vec<Value> = peers
        .iter()
        .map(|(client, kme, https)| {
            json!({"client": client, "kme": kme, "https": https, "threshold": 2, "ready": kmes.ready})
        })
        .collect();
    let links: Vec<Value> = links
        .iter()
        .map(|[local, remote, peer]| json!({"local_sae": local, "remote_sae": remote, "peer": peer}))
        .collect();
    let settings = json!({
        "kme": kme, "https": "127.0.0.1:0", "certificate": "kme.pem", "private_key": "kme.key", "client_ca": "ca.pem",
        "peers": peers, "links": links, "max_key_per_request": 4, "max_sae_id_count": 2,
    });
    fs::write(kmes.settings_of(client), settings.to_string()).unwrap();
}

/// Those that follow first, so that the master's is told where they answer.
fn start(kmes: &Kmes) -> (Kme, Kme, Kme) {
    settle(
        kmes,
        "bob",
        "kme-b",
        &[("alice", "kme-a", None)],
        &[["sae-b", "sae-a", "alice"], ["sae-e", "sae-a", "alice"]],
    );
    settle(
        kmes,
        "carol",
        "kme-c",
        &[("alice", "kme-a", None)],
        &[["sae-c", "sae-a", "alice"], ["sae-d", "sae-a", "alice"]],
    );
    let (b, c) = (kmes.start("bob"), kmes.start("carol"));
    (settle_master(kmes, "kme-c", &b, &c), b, c)
}

/// Starts the master's KME, which takes the one at carol's address for the KME of this name.
fn settle_master(kmes: &Kmes, name_of_c: &str, b: &Kme, c: &Kme) -> Kme {
    let links = [
        ["sae-a", "sae-b", "bob"],
        ["sae-a", "sae-e", "bob"],
        ["sae-a", "sae-c", "carol"],
        ["sae-a", "sae-d", "carol"],
    ];
    let peers = [
        ("bob", "kme-b", Some(b.https.address.as_str())),
        ("carol", name_of_c, Some(c.https.address.as_str())),
    ];
    settle(kmes, "alice", "kme-a", &peers, &links);
    kmes.start("alice")
}

fn stored(https: &Https, sae: &Identity, other: &str) -> u64 {
    let (_, answer) = https.get(sae, &format!("/api/v1/keys/{other}/status"));
    answer["stored_key_count"].as_u64().unwrap()
}

#[test]
fn scenario_69_additional_saes_get_the_same_key_each_once_at_its_own_kme() {
    let kmes = three();
    let (a, mut b, mut c) = start(&kmes);
    let [sae_a, sae_b, sae_c, sae_d, sae_e] =
        ["sae-a", "sae-b", "sae-c", "sae-d", "sae-e"].map(|name| kmes.sae(name));
    a.await_ready(&sae_a, "sae-b", 8);
    a.await_ready(&sae_a, "sae-c", 8);
    let (_, status) = a.https.get(&sae_a, "/api/v1/keys/sae-b/status");
    assert_eq!(status["max_SAE_ID_count"], 2);
    assert_eq!(b.https.get(&sae_b, "/api/v1/keys/sae-a/status").1["max_SAE_ID_count"], 0);

    // Whatever cannot be granted is refused and named, and costs nothing.
    for (additional, message, detail) in [
        (json!(["sae-c", "sae-d", "sae-e"]), "more additional_slave_SAE_IDs than", None),
        (json!(["sae-c", "sae-x"]), "none that this SAE may", Some("number 2 of them")),
        (json!(["sae-c", "sae-c"]), "named twice", Some("number 2 of them")),
        (json!(["sae-b"]), "named twice, or is the master or the slave", Some("number 1 of them")),
        (json!(["sae-a"]), "named twice, or is the master or the slave", Some("number 1 of them")),
    ] {
        let body = json!({"additional_slave_SAE_IDs": additional});
        let (status, answer) = a.https.post(&sae_a, &enc("sae-b"), &body);
        assert_eq!(status, 400, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{answer}");
        assert_eq!(answer["details"][0]["additional_slave_SAE_IDs"].as_str(), detail, "{answer}");
    }
    let long = json!({"additional_slave_SAE_IDs": ["sae-c"], "size": 512});
    assert_eq!(a.https.post(&sae_a, &enc("sae-b"), &long).0, 400);
    assert_eq!((stored(&a.https, &sae_a, "sae-b"), stored(&a.https, &sae_a, "sae-c")), (8, 8));

    let body = json!({"number": 2, "additional_slave_SAE_IDs": ["sae-c", "sae-e"]});
    let (status, at_a) = a.https.post(&sae_a, &enc("sae-b"), &body);
    assert_eq!((status, at_a["keys"].as_array().map(Vec::len)), (200, Some(2)), "{at_a}");
    let ids =
        json!({"key_IDs": [{"key_ID": at_a["keys"][0]["key_ID"]}, {"key_ID": at_a["keys"][1]["key_ID"]}]});
    let post = |https: &Https, sae: &Identity| https.post(sae, "/api/v1/keys/sae-a/dec_keys", &ids);
    let fetch = |kme: &Kme, sae: &Identity| post(&kme.https, sae);
    assert_eq!(fetch(&c, &sae_d).0, 400, "an SAE of the same KME that was not named");
    assert_eq!(fetch(&b, &sae_b), (200, at_a.clone()));
    // What was taken over outlives kill -9, at either KME.
    b.process.kill();
    c.process.kill();
    let (b, c) = (kmes.start("bob"), kmes.start("carol"));
    assert_eq!(fetch(&b, &sae_e), (200, at_a.clone()));
    // Of many that ask at once one gets them.
    let https = &c.https;
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| post(https, &sae_c))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| **answer == (200, at_a.clone())).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.0 == 400).count(), 5, "{answers:?}");
    for (kme, sae) in [(&b, &sae_b), (&b, &sae_e), (&c, &sae_c), (&c, &sae_d)] {
        assert_eq!(fetch(kme, sae).0, 400, "once");
    }
    // Nobody but a KME brings keys, and what is no relay is refused.
    let kme_a = Identity {
        certificate: fs::read_to_string(kmes.network.of("alice").join("kme.pem")).unwrap(),
        key: fs::read_to_string(kmes.network.of("alice").join("kme.key")).unwrap(),
    };
    assert_eq!(c.https.post(&sae_c, "/kme/v1/relay", &json!({})).0, 401);
    assert_eq!(c.https.post(&kme_a, "/kme/v1/relay", &json!({})).0, 400);
    assert_eq!(c.https.get(&kme_a, "/kme/v1/relay").0, 200, "it would be heard");
    assert_eq!(c.https.get(&sae_c, "/kme/v1/relay").0, 401);
    let put = "PUT /kme/v1/relay HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(c.https.send(&kme_a, put).0, 405);
    assert_eq!(c.https.get(&kme_a, &dec("sae-a", &id_of(&at_a))).0, 401);
}

#[test]
fn while_the_kme_of_an_additional_sae_cannot_be_reached_nothing_is_given_and_no_key_is_spent() {
    let kmes = three();
    let (mut a, b, mut c) = start(&kmes);
    let (sae_a, sae_b) = (kmes.sae("sae-a"), kmes.sae("sae-b"));
    a.await_ready(&sae_a, "sae-b", 8);
    a.await_ready(&sae_a, "sae-c", 8);
    let body = json!({"additional_slave_SAE_IDs": ["sae-e", "sae-c"]});
    let refused = |a: &Kme| {
        let (status, answer) = a.https.post(&sae_a, &enc("sae-b"), &body);
        assert_eq!(status, 503, "{answer}");
        let detail = answer["details"][0]["additional_slave_SAE_IDs"].as_str().unwrap();
        assert!(detail.contains("sae-c: kme-c cannot be reached"), "{answer}");
        assert_eq!((stored(&a.https, &sae_a, "sae-b"), stored(&a.https, &sae_a, "sae-c")), (8, 8));
    };
    c.process.kill();
    refused(&a);
    // Without the additional SAE it is given.
    let (status, at_a) = a.https.get(&sae_a, &enc("sae-b"));
    assert_eq!(status, 200);
    assert_eq!(b.https.get(&sae_b, &dec("sae-a", &id_of(&at_a))), (200, at_a));
    // Somebody else answers where kme-c should: with a good certificate, of another KME.
    a.await_ready(&sae_a, "sae-b", 8);
    let mut c = kmes.start("carol");
    a.process.kill();
    let mut wrong = settle_master(&kmes, "kme-other", &b, &c);
    let (status, answer) = wrong.https.post(&sae_a, &enc("sae-b"), &body);
    assert_eq!(status, 503, "{answer}");
    assert!(answer.to_string().contains("kme-other cannot be reached"), "{answer}");
    wrong.process.kill();
    // One that knows nothing of kme-a says so before a key is spent.
    let text = fs::read_to_string(kmes.settings_of("carol")).unwrap();
    c.process.kill();
    fs::write(kmes.settings_of("carol"), text.replace("\"kme-a\"", "\"kme-z\"")).unwrap();
    let mut c = kmes.start("carol");
    let mut a = settle_master(&kmes, "kme-c", &b, &c);
    refused(&a);
    a.process.kill();
    c.process.kill();
    fs::write(kmes.settings_of("carol"), text).unwrap();
    let c = kmes.start("carol");
    let a = settle_master(&kmes, "kme-c", &b, &c);
    let (status, at_a) = a.https.post(&sae_a, &enc("sae-b"), &body);
    assert_eq!(status, 200, "{at_a}");
    assert_eq!(c.https.get(&kmes.sae("sae-c"), &dec("sae-a", &id_of(&at_a))), (200, at_a));
}

/// The keys that were taken for it are lost, and nobody has them.
#[test]
fn where_the_kme_of_an_additional_sae_refuses_nobody_gets_the_key() {
    let kmes = three();
    let (a, b, mut c) = start(&kmes);
    let (sae_a, sae_b) = (kmes.sae("sae-a"), kmes.sae("sae-b"));
    a.await_ready(&sae_a, "sae-b", 8);
    a.await_ready(&sae_a, "sae-c", 8);
    // Carol's settings have the link no more; the KME is at the same place.
    c.process.kill();
    let text = fs::read_to_string(kmes.settings_of("carol")).unwrap();
    let text = text.replace("\"sae-c\"", "\"sae-z\"").replace("127.0.0.1:0", &c.https.address);
    fs::write(kmes.settings_of("carol"), text).unwrap();
    let _c = kmes.start("carol");
    let body = json!({"additional_slave_SAE_IDs": ["sae-c"]});
    let (status, answer) = a.https.post(&sae_a, &enc("sae-b"), &body);
    assert_eq!(status, 503, "{answer}");
    let detail = answer["details"][0]["additional_slave_SAE_IDs"].as_str().unwrap();
    assert_eq!(detail, "sae-c: kme-c refused it with 401");
    assert!(!answer.to_string().contains("key_ID"), "{answer}");
    // The next one is another key.
    let (status, at_a) = a.https.get(&sae_a, &enc("sae-b"));
    assert_eq!(status, 200);
    assert_eq!(b.https.get(&sae_b, &dec("sae-a", &id_of(&at_a))), (200, at_a));
}
