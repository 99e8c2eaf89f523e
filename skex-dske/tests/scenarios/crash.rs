//! Crashes at every point, stores that fail, restarts in storms.

use core::time::Duration;

use skex_core::KeyId;
use skex_dske::{ClientError, ClientEvent, KeyRequest, KeySuite, Role};
use skex_sim::{Dice, Either, Link, NodeId, PowerLoss, Receipts, StoreFault, for_each_seed};

use crate::oracle::Oracle;
use crate::sharded::WHOLE;
use crate::world::{Cast, Setup, cast, from_last_snapshot, tag};
use crate::{request_under, seeds};

fn small() -> Setup {
    let mut setup = Setup::new(3);
    setup.table_elements = 2048;
    setup
}

fn short(suite: KeySuite, threshold: u8) -> KeyRequest {
    let mut request = request_under(suite, threshold);
    request.lifetime = 20;
    request
}

/// Both clients hand their keys on: they say `taken` for what they were given as responders since `from`.
pub fn take(cast: &mut Cast, from: usize) {
    let given: Vec<(NodeId, skex_dske::ClientTag, KeyId)> = cast.world.events()[from..]
        .iter()
        .filter_map(|happened| match &happened.event {
            Either::Left(ClientEvent::KeyEstablished(established)) if established.role == Role::Responder => {
                Some((happened.node, established.peer, established.key.id()))
            }
            _ => None,
        })
        .collect();
    for (node, peer, id) in given {
        // A key that was given again after a restart can be taken once only.
        let _ = cast.world.call(node, |party, _, _| party.left().unwrap().taken(peer, id));
    }
}

/// A key each way, and `taken` for both.
pub fn keys_both_ways(cast: &mut Cast, suite: KeySuite) {
    let from = cast.world.events().len();
    let _ = cast.try_request_if_up(0, 1, short(suite, 2));
    let _ = cast.try_request_if_up(1, 0, short(suite, 2));
    cast.world.run_for(Duration::from_secs(3), 1_000_000);
    take(cast, from);
    cast.world.run_for(Duration::from_secs(1), 1_000_000);
}

pub fn new_keys_agree(cast: &mut Cast) {
    let there = cast.request(0, 1, KeyRequest::new(2));
    let back = cast.request(1, 0, KeyRequest::new(2));
    cast.settle(60);
    cast.assert_agreed(0, 1, there);
    cast.assert_agreed(1, 0, back);
    Oracle::acquit(cast);
}

/// Scenario 43: power is lost at every point where a party stores, sends or tells, in a key establishment with the
/// handing on of its keys, on a fresh start and in the middle of things; with a store that answers at once and with one
/// that is slow, and whatever becomes of what was not synced.
fn crash_everywhere(suite: KeySuite, slow: bool, how: PowerLoss) -> usize {
    let build = || {
        let mut cast = cast(11, &small());
        if slow {
            for node in cast.world.nodes() {
                cast.world.set_receipts(node, Receipts::After(Duration::from_millis(30)));
            }
        }
        cast.world.net_mut().set_default_link(Link::ideal().latency(10));
        cast
    };
    let mut honest = build();
    let first: Vec<u64> = honest.world.nodes().map(|node| honest.world.points(node)).collect();
    keys_both_ways(&mut honest, suite);
    keys_both_ways(&mut honest, suite);
    let mut crashes = 0;
    for (node, first) in honest.world.nodes().zip(first) {
        for point in first..honest.world.points(node) {
            let mut cast = build();
            cast.world.restart_after(Duration::from_millis(400));
            cast.world.crash_at(node, point, how);
            keys_both_ways(&mut cast, suite);
            keys_both_ways(&mut cast, suite);
            assert_eq!(cast.boots.borrow().len(), 6, "{node:?} did not crash at point {point}");
            new_keys_agree(&mut cast);
            crashes += 1;
        }
    }
    crashes
}

#[test]
fn scenario_43_power_is_lost_at_every_point() {
    for suite in KeySuite::ALL {
        assert!(crash_everywhere(suite, false, PowerLoss::Any) > 200);
    }
}

#[test]
fn scenario_43_power_is_lost_at_every_point_before_a_slow_store_has_synced() {
    for how in [PowerLoss::Loses, PowerLoss::Lands, PowerLoss::Tears] {
        assert!(crash_everywhere(KeySuite::OneTime, true, how) > 200);
    }
    for suite in [KeySuite::Aes256Gcm, KeySuite::ChaCha20Poly1305] {
        assert!(crash_everywhere(suite, true, PowerLoss::Any) > 200);
    }
}

/// Scenario 45: every way in which a store can fail, at every store of everybody.
#[test]
fn scenario_45_the_store_fails_at_every_checkpoint() {
    let (build, suite) = (|| cast(12, &small()), KeySuite::OneTime);
    let mut honest = build();
    keys_both_ways(&mut honest, suite);
    keys_both_ways(&mut honest, suite);
    for fault in [StoreFault::NotWritten, StoreFault::Landed, StoreFault::Torn, StoreFault::CachedOnly] {
        for node in honest.world.nodes() {
            for attempt in 1..honest.world.disk(node).attempts() {
                for then_power in [false, true] {
                    let mut cast = build();
                    cast.world.restart_after(Duration::from_millis(400));
                    cast.world.disk_mut(node).fail_at(attempt, fault);
                    keys_both_ways(&mut cast, suite);
                    if then_power {
                        cast.world.crash(node, PowerLoss::Loses);
                    }
                    keys_both_ways(&mut cast, suite);
                    new_keys_agree(&mut cast);
                }
            }
        }
    }
}

/// A torn last record is dropped by the embedder, and the rest is read.
#[test]
fn scenario_45_a_torn_last_record() {
    for_each_seed(0..seeds(20), |seed| {
        let mut cast = cast(seed, &small());
        keys_both_ways(&mut cast, KeySuite::OneTime);
        for node in cast.world.nodes().collect::<Vec<_>>() {
            cast.world.set_receipts(node, Receipts::After(Duration::from_secs(1)));
        }
        let _ = cast.try_request(0, 1, short(KeySuite::OneTime, 2));
        cast.world.run_for(Duration::from_millis(seed * 120), 1_000_000);
        for node in cast.world.nodes().collect::<Vec<_>>() {
            cast.world.crash(node, PowerLoss::Tears);
            cast.world.set_receipts(node, Receipts::AtOnce);
            cast.world.restart(node);
        }
        new_keys_agree(&mut cast);
    });
}

/// Crashes, failing stores, a bad net, keys all the while. Afterwards all is well, and nothing was used twice.
#[test]
fn scenario_57_restarts_in_storms() {
    for_each_seed(0..seeds(80), |seed| {
        let mut cast = cast(seed, &Setup::new(3));
        let mut dice = Dice::new(seed ^ 0x0073_746f_726d);
        cast.world.net_mut().set_default_link(Link::terrible());
        cast.world.restart_after(Duration::from_millis(300));
        for node in cast.world.nodes() {
            if dice.chance(500) {
                cast.world.set_receipts(node, Receipts::After(Duration::from_millis(dice.below(80))));
            }
            cast.world.disk_mut(node).set_fault_rate(30);
        }
        let mut seen = 0;
        for _ in 0..25 {
            cast.world.run_for(Duration::from_millis(dice.below(1500)), 1_000_000);
            let node = NodeId::new(dice.below(5));
            match dice.below(6) {
                0 | 1 => cast.world.crash(node, PowerLoss::Any),
                2 => cast.world.kill(node),
                3 => cast.world.crash_at(node, cast.world.points(node) + dice.below(20), PowerLoss::Any),
                _ => {
                    let from = dice.index(2);
                    let suite = KeySuite::ALL[dice.index(3)];
                    let _ = cast.try_request_if_up(from, 1 - from, short(suite, 2 + dice.below(2) as u8));
                }
            }
            if dice.chance(500) {
                take(&mut cast, seen);
                seen = cast.world.events().len();
            }
        }
        for node in cast.world.nodes() {
            cast.world.disk_mut(node).set_fault_rate(0);
            // A point that has passed: the crash that is still to come does not.
            cast.world.crash_at(node, 0, PowerLoss::Any);
        }
        cast.world.net_mut().set_default_link(Link::ideal().latency(5));
        cast.world.run_for(Duration::from_secs(5), 1_000_000);
        new_keys_agree(&mut cast);
    });
}

/// The hubs have the shares and answered; they die before the responder is reachable, and come back.
#[test]
fn scenario_52_hubs_restart_between_storage_and_delivery() {
    for_each_seed(0..seeds(20), |seed| {
        let mut cast = cast(seed, &Setup::new(5));
        let (clients, hubs) = (cast.clients.clone(), cast.hubs.clone());
        cast.world.net_mut().partition(&clients[1..], &hubs);
        let id = cast.request(0, 1, KeyRequest::new(3));
        cast.world.run_for(Duration::from_secs(5), 1_000_000);
        for &hub in &hubs {
            cast.world.crash(hub, PowerLoss::Any);
            cast.world.restart(hub);
        }
        cast.world.net_mut().heal();
        cast.settle(60);
        cast.assert_agreed(0, 1, id);
        Oracle::acquit(&cast);
    });
}

/// The responder dies at each point after the key is durable and before it was told, sent or taken: it is given again.
#[test]
fn a_responder_that_crashes_gives_its_key_again_until_it_is_taken() {
    let build = || cast(13, &Setup::new(3));
    let mut honest = build();
    let node = honest.clients[1];
    let first = honest.world.points(node);
    let id = honest.request(0, 1, KeyRequest::new(2));
    honest.settle(5);
    honest.assert_agreed(0, 1, id);
    let mut again = 0;
    for point in first..honest.world.points(node) {
        let mut cast = build();
        cast.world.restart_after(Duration::from_millis(100));
        cast.world.crash_at(node, point, PowerLoss::Any);
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(30);
        let ours = cast.key(0, id).expect("the initiator's key");
        let given = |cast: &Cast| {
            let mut given: Vec<Vec<u8>> = Vec::new();
            for key in cast.keys(1).into_iter().filter(|key| key.key.id() == id) {
                given.push(key.key.secret().expose().to_vec());
            }
            given
        };
        assert!(!given(&cast).is_empty() && given(&cast).iter().all(|key| *key == ours), "point {point}");
        // Not taken: every restart gives it again.
        let before = given(&cast).len();
        cast.world.restart(node);
        assert_eq!(given(&cast).len(), before + 1);
        again += before + 1;
        // Taken: no restart does, and its bytes are nowhere in the last record.
        let take = |cast: &mut Cast| {
            cast.world.call(node, |party, _, _| party.left().unwrap().taken(tag(0), id)).unwrap()
        };
        assert_eq!(take(&mut cast), Ok(()));
        assert_eq!(take(&mut cast), Err(ClientError::NoSuchKey));
        cast.world.restart(node);
        assert_eq!(given(&cast).len(), before + 1);
        assert_eq!(take(&mut cast), Err(ClientError::NoSuchKey));
        let newest = cast.world.disk(node).newest().unwrap();
        assert!(!newest.windows(ours.len()).any(|window| window == ours));
        Oracle::acquit(&cast);
    }
    assert!(again > 20);
}

/// The initiator is gone after a crash, with its request; the responder may have the key, and nobody is confused.
#[test]
fn an_initiator_that_crashes_forgets_its_request() {
    let mut cast = cast(14, &Setup::new(3));
    cast.world.net_mut().set_default_link(Link::ideal().latency(20));
    let id = cast.request(0, 1, short(KeySuite::OneTime, 2));
    cast.world.run_for(Duration::from_millis(130), 1_000_000);
    cast.world.crash(cast.clients[0], PowerLoss::Any);
    cast.world.restart(cast.clients[0]);
    cast.settle(60);
    assert_eq!(cast.key(0, id), None);
    assert_eq!(cast.failure(0, id), None);
    new_keys_agree(&mut cast);
}

/// A key that nobody has taken outlives its lifetime and every restart; once taken, it leaves with its lifetime.
#[test]
fn a_key_waits_for_its_application_beyond_its_lifetime() {
    let mut cast = cast(15, &small());
    let node = cast.clients[1];
    let id = cast.request(0, 1, short(KeySuite::OneTime, 2));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    let ours = cast.key(0, id).unwrap();
    for restarts in 1..4 {
        cast.settle(120);
        cast.world.restart(node);
        let given: Vec<Vec<u8>> =
            cast.keys(1).into_iter().map(|key| key.key.secret().expose().to_vec()).collect();
        assert_eq!(given, vec![ours.clone(); restarts + 1]);
    }
    let taken = cast.world.call(node, |party, _, _| party.left().unwrap().taken(tag(0), id));
    assert_eq!(taken, Some(Ok(())));
    cast.settle(200);
    cast.world.restart(node);
    assert_eq!(cast.keys(1).len(), 4);
    let holds_key = |record: &[u8]| record.windows(ours.len()).any(|window| window == ours);
    let mentions = |record: &[u8]| record.windows(16).any(|window| window == id.as_bytes());
    let record = cast.world.disk(node).newest().unwrap().to_vec();
    assert!(!holds_key(&record), "the key is gone");
    assert!(mentions(&record), "and its id stays, so that no hub can deliver it once more");
    for hub in cast.hubs.clone() {
        cast.world.restart(hub);
        assert!(!mentions(cast.world.disk(hub).newest().unwrap()), "and nothing waits at the hubs");
    }
    Oracle::acquit(&cast);
}

/// Nobody came for the share in its lifetime: it is gone from the log of a hub as soon as one that was answered.
#[test]
fn a_hub_drops_a_share_whose_lifetime_is_over() {
    let mut setup = small();
    setup.shards = WHOLE;
    let mut cast = cast(17, &setup);
    let (clients, hubs) = (cast.clients.clone(), cast.hubs.clone());
    cast.world.net_mut().partition(&clients[1..], &hubs);
    let id = cast.request(0, 1, short(KeySuite::OneTime, 2));
    let kept = |cast: &Cast| {
        let shares = Oracle::shares(cast, 0, id);
        assert_eq!(shares.len(), 3);
        let holds = |hub: &&NodeId| {
            let mut records: Vec<Vec<u8>> =
                cast.world.disk(**hub).records().map(|(_, record)| record.to_vec()).collect();
            from_last_snapshot(&mut records);
            let stands = |record: &[u8], share: &[u8]| record.windows(share.len()).any(|part| part == share);
            records.iter().any(|record| shares.iter().any(|(_, share)| stands(record, share)))
        };
        cast.hubs.iter().filter(holds).count()
    };
    cast.settle(10);
    assert_eq!(kept(&cast), 3);
    cast.settle(75);
    assert_eq!(kept(&cast), 0);
}

/// A hub keeps the share until the responder has answered, over restarts, and drops it durably then.
#[test]
fn a_hub_drops_a_share_when_it_was_answered() {
    // The newest record on a disk that shards share may be any shard's.
    let mut setup = small();
    setup.shards = WHOLE;
    let mut cast = cast(16, &setup);
    let (clients, hubs) = (cast.clients.clone(), cast.hubs.clone());
    cast.world.net_mut().partition(&clients[1..], &hubs);
    let id = cast.request(0, 1, short(KeySuite::OneTime, 2));
    cast.world.run_for(Duration::from_secs(2), 1_000_000);
    for &hub in &hubs {
        cast.world.restart(hub);
    }
    let waiting = |cast: &mut Cast| -> Vec<usize> {
        let hubs = cast.hubs.clone();
        let of = |party: &mut crate::world::Party| {
            party.right().unwrap().status().map(|client| client.waiting).sum()
        };
        hubs.into_iter().map(|hub| cast.world.call(hub, |party, _, _| of(party)).unwrap()).collect()
    };
    assert_eq!(waiting(&mut cast), [1, 1, 1]);
    let longest = |cast: &Cast, hub: NodeId| cast.world.disk(hub).newest().unwrap().len();
    let before: Vec<usize> = hubs.iter().map(|&hub| longest(&cast, hub)).collect();
    cast.world.net_mut().heal();
    cast.settle(17);
    cast.assert_agreed(0, 1, id);
    assert_eq!(waiting(&mut cast), [0, 0, 0]);
    for (&hub, before) in hubs.iter().zip(before) {
        cast.world.restart(hub);
        assert!(longest(&cast, hub) < before, "the share's octets are out of the record");
    }
    // And they deliver it to nobody again.
    let deliveries = Oracle::acquit(&cast).deliveries;
    cast.settle(30);
    assert_eq!(Oracle::acquit(&cast).deliveries, deliveries);
}
