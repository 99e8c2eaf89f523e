//! Crashes, restarts, and ends that are down.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeSet;

use serde_json::Value;

use super::{Kmes, dec, enc, id_of};

/// kill -9 at either end, at any moment: what was given is not given again, what was not given is still there.
#[test]
fn no_restart_gives_a_key_twice() {
    let kmes = Kmes::new(16);
    let (mut a, mut b) = (kmes.start("alice"), kmes.start("bob"));
    let (sae_a, sae_b) = (kmes.sae("sae-a"), kmes.sae("sae-b"));
    a.await_ready(&sae_a, "sae-b", 16);
    let (_, taken) = a.https.get(&sae_a, &enc("sae-b"));
    let (_, waiting) = a.https.get(&sae_a, &enc("sae-b"));
    assert_eq!(b.https.get(&sae_b, &dec("sae-a", &id_of(&taken))).0, 200);
    a.process.kill();
    b.process.kill();
    let (a, b) = (kmes.start("alice"), kmes.start("bob"));
    assert_eq!(b.https.get(&sae_b, &dec("sae-a", &id_of(&taken))).0, 400);
    assert_eq!(b.https.get(&sae_b, &dec("sae-a", &id_of(&waiting))), (200, waiting.clone()));
    let mut given = BTreeSet::from([id_of(&taken), id_of(&waiting)]);
    a.await_ready(&sae_a, "sae-b", 16);
    for _ in 0..4 {
        let (status, answer) = a.https.get(&sae_a, &format!("{}?number=4", enc("sae-b")));
        assert_eq!(status, 200, "{answer}");
        for key in answer["keys"].as_array().unwrap() {
            assert!(given.insert(key["key_ID"].as_str().unwrap().to_owned()), "given twice");
        }
    }
}

/// SAEs at both ends go on asking while both KMEs are killed again and again.
#[test]
fn a_kme_that_is_killed_while_it_hands_keys_out_gives_none_twice() {
    let kmes = Kmes::new(16);
    let (sae_a, sae_b) = (kmes.sae("sae-a"), kmes.sae("sae-b"));
    let (mut begun, mut fetched) = (BTreeSet::new(), BTreeSet::new());
    let mut left: Vec<Value> = Vec::new();
    for round in 0..4 {
        let (mut a, mut b) = (kmes.start("alice"), kmes.start("bob"));
        a.await_ready(&sae_a, "sae-b", 8);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let askers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut got = Vec::new();
                        while !over.load(Ordering::Relaxed) {
                            let request = format!(
                                "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                                enc("sae-b")
                            );
                            let Ok(text) = a.https.raw(Some(&sae_a), request.as_bytes()) else { continue };
                            let Some((_, body)) = text.split_once("\r\n\r\n") else { continue };
                            let Ok(answer) = serde_json::from_str::<Value>(body) else { continue };
                            if answer["keys"].is_array() {
                                got.push(answer);
                            }
                        }
                        got
                    })
                })
                .collect();
            std::thread::sleep(core::time::Duration::from_millis(150 * (round + 1)));
            a.process.kill();
            over.store(true, Ordering::Relaxed);
            for asker in askers {
                left.extend(asker.join().unwrap());
            }
        });
        for answer in left.drain(..) {
            let id = id_of(&answer);
            assert!(begun.insert(id.clone()), "{id} was given twice");
            // Every other one is fetched, and tried once more after the next restart.
            if begun.len() % 2 == 0 {
                assert_eq!(b.https.get(&sae_b, &dec("sae-a", &id)), (200, answer));
                fetched.insert(id);
            }
        }
        b.process.kill();
    }
    assert!(!fetched.is_empty());
    let b = kmes.start("bob");
    for id in &begun {
        let status = b.https.get(&sae_b, &dec("sae-a", id)).0;
        assert_eq!(status, if fetched.contains(id) { 400 } else { 200 }, "{id}");
    }
}

#[test]
fn while_the_other_end_is_down_what_is_ready_is_given_and_then_503_is_said() {
    let kmes = Kmes::new(4);
    let (a, mut b) = (kmes.start("alice"), kmes.start("bob"));
    let (sae_a, sae_b) = (kmes.sae("sae-a"), kmes.sae("sae-b"));
    a.await_ready(&sae_a, "sae-b", 4);
    b.process.kill();
    let (status, at_a) = a.https.get(&sae_a, &format!("{}?number=4", enc("sae-b")));
    assert_eq!(status, 200);
    let (status, answer) = a.https.get(&sae_a, &enc("sae-b"));
    assert_eq!(status, 503);
    assert!(answer["message"].as_str().unwrap().contains("fewer keys are ready"), "{answer}");
    assert_eq!(a.https.get(&sae_a, "/key?remoteSystemID=sae-b").0, 503);
    let b = kmes.start("bob");
    assert_eq!(b.https.get(&sae_b, &dec("sae-a", &id_of(&at_a))).0, 200);
    a.await_ready(&sae_a, "sae-b", 1);
}
