//! Keys under an AEAD whose keys come from the tables, beside those under one-time pads.

use core::time::Duration;

use skex_core::Assurance;
use skex_dske::{Conduct, KeyError, KeySuite, ResponderPolicy};
use skex_sim::{Link, PowerLoss, Verdict, for_each_seed};
use skex_wire::dske::{Answer, AnswerStatus, DskeSuiteId, Inner};

use crate::attacks::liar::{Liar, Share, pass};
use crate::oracle::Oracle;
use crate::sharded::WHOLE;
use crate::world::{Setup, cast};
use crate::{request_under, seeds};

const SEALED: [KeySuite; 2] = [KeySuite::Aes256Gcm, KeySuite::ChaCha20Poly1305];

/// Under every suite both ends get one key, of the assurance that the suite allows; an epoch's block is paid once.
#[test]
fn a_key_under_each_suite() {
    for suite in KeySuite::ALL {
        let mut cast = cast(1, &Setup::new(5));
        let first = cast.request(0, 1, request_under(suite, 3));
        cast.settle(5);
        let second = cast.request(0, 1, request_under(suite, 3));
        cast.settle(5);
        for id in [first, second] {
            cast.assert_agreed(0, 1, id);
            for client in [0, 1] {
                assert_eq!(cast.conducts(client, id).unwrap(), [Conduct::Good; 5]);
            }
        }
        let counts = Oracle::acquit(&cast);
        let one_time = suite == KeySuite::OneTime;
        // Five hubs, two legs: one epoch each; 20 shares in each direction, their answers.
        let sealed = if one_time { (0, 0) } else { (40, 10) };
        assert_eq!((counts.sealed, counts.epochs), sealed, "{suite:?}");
        let assurance = if one_time { Assurance::InformationTheoretic } else { Assurance::Computational };
        for client in [0, 1] {
            let keys = cast.keys(client);
            assert!(keys.iter().all(|established| established.key.assurance() == assurance));
            let octets: Vec<u64> = keys.iter().map(|established| established.pad_octets).collect();
            // The responder has its key with the first three shares.
            let hubs = if client == 0 { 5 } else { 3 };
            let expected = if one_time { [hubs * 176; 2] } else { [hubs * 64, 0] };
            assert_eq!(octets, expected, "{suite:?}, client {client}");
        }
    }
}

#[test]
fn every_size_under_an_aead() {
    for (k, n) in [(2, 2), (2, 3), (3, 5), (4, 7), (5, 9), (8, 15), (16, 31)] {
        for suite in SEALED {
            let mut cast = cast(u64::from(k), &Setup::new(n));
            let id = cast.request(0, 1, request_under(suite, k));
            cast.settle(5);
            cast.assert_agreed(0, 1, id);
            Oracle::acquit(&cast);
        }
    }
}

/// Short and long keys, to the longest.
#[test]
fn every_length_under_an_aead() {
    for suite in SEALED {
        let mut setup = Setup::new(2);
        (setup.hub_limits.longest_key, setup.hub_limits.waiting_octets_per_pair) = (1 << 20, 1 << 22);
        // A key of 1 MiB asks no more of a table than any other.
        setup.table_elements = 64;
        let mut cast = cast(2, &setup);
        for key_len in [16, 17, 64, 1000, 1 << 20] {
            let mut request = request_under(suite, 2);
            request.key_len = key_len;
            let id = cast.request(0, 1, request);
            cast.settle(5);
            cast.assert_agreed(0, 1, id);
            assert_eq!(cast.key(0, id).unwrap().len(), key_len as usize);
        }
        assert_eq!(Oracle::acquit(&cast).epochs, 4);
    }
}

/// An epoch has 256 numbers; then comes the next one, and nothing is lost between them.
#[test]
fn the_message_after_the_last_number_opens_another_epoch() {
    let mut cast = cast(3, &Setup::new(2));
    let mut ids = Vec::new();
    for _ in 0..6 {
        for _ in 0..50 {
            ids.push(cast.request(0, 1, request_under(KeySuite::Aes256Gcm, 2)));
        }
        let from = cast.world.events().len();
        cast.settle(3);
        take(&mut cast, from);
    }
    for id in ids {
        cast.assert_agreed(0, 1, id);
    }
    let counts = Oracle::acquit(&cast);
    assert_eq!((counts.uploads, counts.deliveries), (600, 600));
    assert_eq!(counts.epochs, 8, "two hubs, two legs, two epochs each");
}

/// Four epochs are open in one table when another comes, of a lower number, from which the next epoch is taken: it begins below
/// them all, and both ends open it. Carried by `of_table` in `epoch.rs`: the bound is each table's own.
#[test]
fn an_epoch_in_a_table_of_a_lower_number_is_opened() {
    let mut setup = Setup::new(2);
    setup.table_elements = 0;
    let mut cast = cast(13, &setup);
    let links = [(0, 0, true), (1, 0, true), (0, 1, false), (1, 1, false)];
    let provision = |cast: &mut crate::world::Cast, number, elements| {
        for (hub, client, uplink) in links {
            cast.provision((hub, client), (uplink, number), skex_dske::Origin::OutOfBand, elements, true);
        }
    };
    // A lease has room for four epochs.
    provision(&mut cast, 2, 100);
    let mut ids = Vec::new();
    let mut make = |cast: &mut crate::world::Cast, count: usize| {
        let from = cast.world.events().len();
        let made: Vec<_> =
            (0..count).map(|_| cast.request(0, 1, request_under(KeySuite::Aes256Gcm, 2))).collect();
        cast.settle(3);
        take(cast, from);
        made.iter().for_each(|&id| cast.assert_agreed(0, 1, id));
        ids.extend(made);
    };
    for _ in 0..16 {
        make(&mut cast, 64);
    }
    assert_eq!(Oracle::acquit(&cast).epochs, 16, "two hubs, two legs, four epochs each");
    provision(&mut cast, 1, 100);
    make(&mut cast, 10);
    let counts = Oracle::acquit(&cast);
    assert_eq!((counts.epochs, counts.uploads, counts.deliveries), (20, 2 * 1034, 2 * 1034));
    assert_eq!(Oracle::tables_used(&cast), 2);
}

/// The responder says that it has taken the keys that it was given since `from`.
fn take(cast: &mut crate::world::Cast, from: usize) {
    let (node, peer) = (cast.clients[1], cast.tags[0]);
    let given: Vec<skex_core::KeyId> = cast.world.events()[from..]
        .iter()
        .filter(|happened| happened.node == node)
        .filter_map(|happened| match &happened.event {
            skex_sim::Either::Left(skex_dske::ClientEvent::KeyEstablished(established)) => {
                Some(established.key.id())
            }
            _ => None,
        })
        .collect();
    for id in given {
        let taken = cast.world.call(node, |party, _, _| party.left().unwrap().taken(peer, id));
        assert_eq!(taken, Some(Ok(())));
    }
}

/// A share is lost on its way to the responder, and before it is repeated so many others follow that the responder has
/// forgotten its epoch: it is sealed anew in one that the responder knows. Carried by `Link::is_void`.
#[test]
fn a_share_whose_epoch_is_over_moves_to_another() {
    for_each_seed(0..seeds(2), |seed| {
        let mut setup = Setup::new(2);
        (setup.client_limits.requests, setup.client_limits.inbound) = (2048, 2048);
        // All at once: between shards the simulation hands over one a millisecond.
        setup.shards = WHOLE;
        setup.hub_limits.waiting_per_pair = 4096;
        setup.hub_limits.waiting_per_responder = 4096;
        let mut cast = cast(seed, &setup);
        let first = cast.request(0, 1, request_under(KeySuite::Aes256Gcm, 2));
        cast.settle(2);
        cast.assert_agreed(0, 1, first);
        let responder = cast.world.net().address(cast.clients[1]);
        cast.world.net_mut().intercept(move |sent| {
            if sent.to == responder && sent.bytes.len() > 150 { Verdict::Drop } else { Verdict::Pass }
        });
        let lost = cast.request(0, 1, request_under(KeySuite::Aes256Gcm, 2));
        cast.world.run_for(Duration::from_millis(50), 1_000_000);
        cast.world.net_mut().stop_intercepting();
        let ids: Vec<_> =
            (0..1500).map(|_| cast.request(0, 1, request_under(KeySuite::Aes256Gcm, 2))).collect();
        cast.world.run_for(Duration::from_millis(150), 10_000_000);
        assert!(Oracle::acquit(&cast).epochs >= 20, "five epochs and more, each way at each hub");
        assert!(cast.key(1, lost).is_none(), "not repeated yet");
        cast.settle(30);
        for id in ids.into_iter().chain([lost]) {
            cast.assert_agreed(0, 1, id);
        }
        Oracle::acquit(&cast);
    });
}

/// Loss, repetition and reordering, all suites at once, both ways.
#[test]
fn all_suites_on_a_terrible_net() {
    for_each_seed(0..seeds(20), |seed| {
        let mut cast = cast(seed, &Setup::new(3));
        cast.world.net_mut().set_default_link(Link::terrible());
        let mut ids = Vec::new();
        for round in 0..4 {
            for suite in KeySuite::ALL {
                ids.push((0, 1, cast.request(0, 1, request_under(suite, 2))));
                ids.push((1, 0, cast.request(1, 0, request_under(suite, 2))));
            }
            cast.world.run_for(Duration::from_millis(300 * round), 1_000_000);
        }
        cast.settle(120);
        for (from, to, id) in ids {
            cast.assert_agreed(from, to, id);
        }
        assert!(Oracle::acquit(&cast).sealed > 0);
    });
}

/// A new session, whoever began it, begins new epochs, and moves what was not answered.
#[test]
fn epochs_end_with_the_session() {
    for suite in SEALED {
        for victim in 0..5 {
            let mut cast = cast(4, &Setup::new(3));
            let id = cast.request(0, 1, request_under(suite, 2));
            cast.settle(5);
            cast.assert_agreed(0, 1, id);
            let before = Oracle::acquit(&cast).epochs;
            let node = skex_sim::NodeId::new(victim);
            cast.world.crash(node, PowerLoss::Any);
            cast.world.restart(node);
            let id = cast.request(0, 1, request_under(suite, 3));
            cast.settle(30);
            cast.assert_agreed(0, 1, id);
            let links = if cast.hubs.contains(&node) { 2 } else { 3 };
            assert_eq!(Oracle::acquit(&cast).epochs, before + links);
        }
    }
}

/// The responder's policy is its own: where it wants no computational key, it gets none.
#[test]
fn a_policy_of_information_theoretic_keys_refuses_the_others() {
    for suite in KeySuite::ALL {
        let mut policy = ResponderPolicy::default();
        policy.minimum_assurance = Assurance::InformationTheoretic;
        let mut cast = cast(5, &Setup::new(3));
        cast.demands(1, policy);
        let mut request = request_under(suite, 2);
        request.lifetime = 10;
        let id = cast.request(0, 1, request);
        cast.settle(20);
        if suite == KeySuite::OneTime {
            cast.assert_agreed(0, 1, id);
        } else {
            assert_eq!((cast.key(0, id), cast.key(1, id)), (None, None));
            assert_eq!(cast.failure(0, id), Some(KeyError::Unconfirmed));
        }
        Oracle::acquit(&cast);
    }
}

/// A hub relays what its configuration names, and says POLICY to the rest.
#[test]
fn a_suite_that_the_hubs_do_not_offer_is_refused() {
    for offered in KeySuite::ALL {
        for asked in KeySuite::ALL {
            let mut setup = Setup::new(3);
            setup.suites = vec![offered];
            let mut cast = cast(6, &setup);
            let id = cast.request(0, 1, request_under(asked, 2));
            cast.settle(5);
            if offered == asked {
                cast.assert_agreed(0, 1, id);
            } else {
                assert_eq!(cast.failure(0, id), Some(KeyError::Refused(AnswerStatus::POLICY)));
                assert_eq!(cast.key(1, id), None);
            }
            Oracle::acquit(&cast);
        }
    }
}

/// Hubs that lie about a sealed share are found out and named like any others.
#[test]
fn liars_under_an_aead_are_named() {
    for suite in SEALED {
        let mut cast = cast(7, &Setup::new(5));
        let (clients, hubs) = (cast.clients.clone(), cast.hubs.clone());
        cast.world.net_mut().partition(&clients[1..], &hubs);
        let mut request = request_under(suite, 3);
        request.lifetime = 600;
        let id = cast.request(0, 1, request);
        cast.settle(2);
        let (coordinates, secret_tag) = Oracle::terms_of(&cast, 0, id);
        cast.world.net_mut().heal();
        // The liars are there first.
        cast.world.net_mut().partition(&clients[1..], &hubs[..4]);
        let mut shares = Vec::new();
        for hub in [4, 3] {
            if hub == 3 {
                cast.world.net_mut().heal();
                cast.world.net_mut().partition(&clients[1..], &hubs[..3]);
            }
            let mut share = Share::junk(*id.as_bytes(), cast.tags[0]);
            (share.suite, share.coordinates, share.secret_tag) =
                (suite.id(), coordinates.clone(), secret_tag);
            let mut liar = Liar::hub(&mut cast, hub, 1);
            liar.share(&mut cast, &share);
            shares.push(share);
        }
        cast.world.net_mut().heal();
        cast.settle(30);
        cast.assert_agreed(0, 1, id);
        let [good, lying] = [Conduct::Good, Conduct::Lying];
        assert_eq!(cast.conducts(1, id).unwrap(), [good, good, good, lying, lying]);
    }
}

fn junk(suite: KeySuite, number: u8, peer: skex_dske::ClientTag) -> Share {
    Share { suite: suite.id(), lifetime: 60, ..Share::junk([number; 16], peer) }
}

/// The answers that a liar heard, as they came.
fn answers(liar: &mut Liar, cast: &crate::world::Cast) -> Vec<Vec<u8>> {
    let heard = liar.hear(cast).into_iter();
    heard.filter(|inner| matches!(Inner::decode(inner), Ok(Inner::Answer(_)))).collect()
}

/// Every octet of a sealed upload is under its tag, the number and the suite among them; what fails burns nothing, and the
/// true message still opens. Its copy gets the same answer to the letter, and no second one exists.
#[test]
fn a_changed_sealed_upload_is_dropped_and_burns_nothing() {
    for suite in SEALED {
        let mut cast = cast(8, &Setup::new(5));
        cast.settle(1);
        let mut liar = Liar::client(&mut cast, 0, 0);
        liar.ask(&mut cast, [1; 16], 0, 64).unwrap();
        let index = liar.next();
        let share = junk(suite, 1, cast.tags[1]);
        let first = liar.sealed_octets(&cast, &share, index, 9);
        for at in 0..first.len() {
            for mask in [1, 0x80] {
                let mut changed = first.clone();
                changed[at] ^= mask;
                liar.say(&mut cast, &changed);
            }
        }
        pass(&mut cast, 100);
        assert!(answers(&mut liar, &cast).is_empty(), "something that was changed was answered");
        liar.say(&mut cast, &first);
        pass(&mut cast, 100);
        let given = answers(&mut liar, &cast);
        let answer = Answer::decode(&given[0]).unwrap().message;
        assert_eq!((given.len(), answer.index, answer.number), (1, index, Some(9)));
        assert_eq!(answer.status, AnswerStatus::ACCEPTED);
        // Now that the epoch is open, the same again: changed ones are dropped, copies get the answer that was given.
        for at in 0..first.len() {
            let mut changed = liar.sealed_octets(&cast, &junk(suite, 2, cast.tags[1]), index, 10);
            changed[at] ^= 0x10;
            liar.say(&mut cast, &changed);
        }
        liar.say(&mut cast, &first);
        liar.say(&mut cast, &first);
        pass(&mut cast, 100);
        let again = answers(&mut liar, &cast);
        assert_eq!(again, [given[0].clone(), given[0].clone()]);
        // Another message under the spent number is not opened.
        let other = liar.sealed_octets(&cast, &junk(suite, 3, cast.tags[1]), index, 9);
        liar.say(&mut cast, &other);
        pass(&mut cast, 100);
        assert!(answers(&mut liar, &cast).is_empty());
    }
}

/// The block of an epoch serves nothing else: no one-time upload, no other suite, no second epoch.
#[test]
fn an_epochs_block_serves_nothing_else() {
    for suite in SEALED {
        let mut cast = cast(9, &Setup::new(5));
        cast.settle(1);
        let mut liar = Liar::client(&mut cast, 0, 0);
        liar.ask(&mut cast, [1; 16], 0, 64).unwrap();
        let index = liar.next();
        let peer = cast.tags[1];
        let open = liar.sealed_octets(&cast, &junk(suite, 1, peer), index, 0);
        liar.say(&mut cast, &open);
        pass(&mut cast, 100);
        assert_eq!(answers(&mut liar, &cast).len(), 1);
        let other = SEALED[usize::from(suite == SEALED[0])];
        let refused = [
            liar.share_octets(&cast, &junk(KeySuite::OneTime, 2, peer), index),
            liar.share_octets(&cast, &junk(KeySuite::OneTime, 3, peer), index + 2),
            liar.sealed_octets(&cast, &junk(other, 4, peer), index, 1),
            liar.sealed_octets(&cast, &junk(suite, 5, peer), index + 2, 1),
            liar.sealed_octets(&cast, &junk(suite, 6, peer), index - 2, 1),
        ];
        for octets in refused {
            liar.say(&mut cast, &octets);
        }
        pass(&mut cast, 100);
        assert!(answers(&mut liar, &cast).is_empty());
        let next = liar.sealed_octets(&cast, &junk(suite, 7, peer), index, 255);
        liar.say(&mut cast, &next);
        pass(&mut cast, 100);
        assert_eq!(answers(&mut liar, &cast).len(), 1);
    }
}

/// Terms of a computational suite in a block of one-time keys: authentic, and refused. Carried by `suite_of`.
#[test]
fn terms_that_contradict_the_protection_are_refused() {
    let mut cast = cast(10, &Setup::new(5));
    cast.settle(1);
    let mut liar = Liar::client(&mut cast, 0, 0);
    liar.ask(&mut cast, [1; 16], 0, 64).unwrap();
    let mut index = liar.next();
    for suite in [DskeSuiteId::AES256GCM, DskeSuiteId::CHACHA20POLY1305, DskeSuiteId::new(200)] {
        let share = Share { suite, ..junk(KeySuite::OneTime, suite.value(), cast.tags[1]) };
        let octets = liar.one_time_octets(&cast, &share, index);
        index += 11;
        liar.say(&mut cast, &octets);
        pass(&mut cast, 100);
        let given = answers(&mut liar, &cast);
        assert_eq!(Answer::decode(&given[0]).unwrap().message.status, AnswerStatus::POLICY);
        liar.say(&mut cast, &octets);
        pass(&mut cast, 100);
        assert_eq!(answers(&mut liar, &cast), given);
    }
}

/// Four epochs of a direction are open. A fifth ends the first; one that begins below all of them comes too late.
#[test]
fn the_epochs_that_begin_highest_stay_open() {
    let suite = KeySuite::Aes256Gcm;
    let mut cast = cast(11, &Setup::new(5));
    cast.settle(1);
    let mut liar = Liar::client(&mut cast, 0, 0);
    liar.ask(&mut cast, [1; 16], 0, 64).unwrap();
    let (base, peer) = (liar.next(), cast.tags[1]);
    let mut key = 0;
    let mut accepted = |cast: &mut crate::world::Cast, liar: &mut Liar, epoch: u32, number: u8| {
        key += 1;
        let octets = liar.sealed_octets(cast, &junk(suite, key, peer), base + 4 * epoch, number);
        liar.say(cast, &octets);
        pass(cast, 50);
        answers(liar, cast).len() == 1
    };
    for epoch in [1, 4, 2, 3] {
        assert!(accepted(&mut cast, &mut liar, epoch, 0), "epoch {epoch}");
    }
    assert!(!accepted(&mut cast, &mut liar, 0, 0), "below all that are open");
    for epoch in 1..5 {
        assert!(accepted(&mut cast, &mut liar, epoch, 1), "epoch {epoch} is open");
    }
    assert!(accepted(&mut cast, &mut liar, 5, 0), "a fifth");
    assert!(!accepted(&mut cast, &mut liar, 1, 2), "the first is over");
    for epoch in 2..6 {
        assert!(accepted(&mut cast, &mut liar, epoch, 3), "epoch {epoch} is open");
    }
}

/// A sealed delivery of the session before, played again by a hub that keeps it: the responder has forgotten the epoch,
/// and opens none of its blocks again. Carried by `opened_from`, which a new session moves above all earlier leases.
#[test]
fn a_sealed_delivery_of_an_earlier_session_is_not_opened_again() {
    for suite in SEALED {
        let mut cast = cast(12, &Setup::new(5));
        cast.settle(1);
        let mut liar = Liar::hub(&mut cast, 0, 1);
        liar.ask(&mut cast, [1; 16], 0, 64).unwrap();
        let index = liar.next();
        let share = Share { threshold: 6, ..junk(suite, 1, cast.tags[0]) };
        let share = Share { coordinates: vec![1, 2, 3, 4, 5, 6], ..share };
        // A coordinate beside the roster: refused at once, so that there is an answer to see.
        let octets = liar.sealed_octets(&cast, &share, index, 0);
        liar.say(&mut cast, &octets);
        pass(&mut cast, 50);
        let before = answers(&mut liar, &cast);
        assert_eq!(Answer::decode(&before[0]).unwrap().message.status, AnswerStatus::POLICY);
        let mut liar = Liar::hub(&mut cast, 0, 1);
        for mark in [None, Some(0)] {
            if let Some(mark) = mark {
                liar.ask(&mut cast, [2; 16], mark, 64).unwrap();
            }
            liar.say(&mut cast, &octets);
            pass(&mut cast, 50);
            assert!(answers(&mut liar, &cast).is_empty());
        }
        // In a new epoch of this session the same content is answered.
        liar.share(&mut cast, &share);
        pass(&mut cast, 50);
        assert_eq!(answers(&mut liar, &cast).len(), 1);
    }
}

/// After 4096 tags that failed no message of the direction is looked at, sealed or not, until the next lease. Nothing is
/// burnt, and the next lease lets the true message in.
#[test]
fn scenario_33_a_flood_of_forged_tags_ends_with_the_next_lease() {
    let suite = KeySuite::ChaCha20Poly1305;
    let mut cast = cast(13, &Setup::new(5));
    cast.settle(1);
    let mut liar = Liar::client(&mut cast, 0, 0);
    liar.ask(&mut cast, [1; 16], 0, 64).unwrap();
    let (index, peer) = (liar.next(), cast.tags[1]);
    let open = liar.sealed_octets(&cast, &junk(suite, 1, peer), index, 0);
    liar.say(&mut cast, &open);
    pass(&mut cast, 50);
    assert_eq!(answers(&mut liar, &cast).len(), 1);
    let good = liar.sealed_octets(&cast, &junk(suite, 2, peer), index, 1);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    for i in 0..4096 {
        liar.say(&mut cast, &forged);
        if i % 256 == 0 {
            pass(&mut cast, 5);
        }
    }
    pass(&mut cast, 50);
    liar.say(&mut cast, &good);
    pass(&mut cast, 50);
    assert!(answers(&mut liar, &cast).is_empty(), "not looked at");
    let mark = liar.end;
    liar.ask(&mut cast, [2; 16], mark, 64).unwrap();
    liar.say(&mut cast, &good);
    pass(&mut cast, 50);
    assert_eq!(answers(&mut liar, &cast).len(), 1, "nothing was burnt");
}
