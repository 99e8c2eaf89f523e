//! Bad networks: agreement or a clear error, and nothing used twice.

use core::time::Duration;

use skex_dske::{ClientError, KeyError, KeyRequest, Release};
use skex_sim::{Dice, Link, NodeId, PowerLoss, for_each_seed};

use crate::oracle::Oracle;
use crate::seeds;
use crate::sharded::WHOLE;
use crate::world::{Cast, Setup, cast};

/// Key `id` is at both ends and the same, or the initiator was told why not.
fn agreed_or_told(cast: &Cast, initiator: usize, responder: usize, id: skex_core::KeyId) -> bool {
    match (cast.key(initiator, id), cast.failure(initiator, id)) {
        (Some(_), None) => {
            cast.assert_agreed(initiator, responder, id);
            true
        }
        // The responder may have it: it waits there until it is taken or thrown away.
        (None, Some(_)) => false,
        (ours, why) => panic!("neither a key nor an error, or both: {} {why:?}", ours.is_some()),
    }
}

/// So many keys in both directions at random times within `span` seconds, then time for all of them.
fn traffic(cast: &mut Cast, seed: u64, keys: usize, span: u64) -> Vec<(usize, usize, skex_core::KeyId)> {
    let mut dice = Dice::new(seed ^ 0x7472_6166);
    let mut asked = Vec::new();
    for _ in 0..keys {
        cast.world.run_for(Duration::from_millis(dice.below(1000 * span / keys as u64)), 1_000_000);
        let from = dice.index(2);
        let mut request = KeyRequest::new(2 + dice.below(2) as u8);
        request.lifetime = 120;
        request.key_len = [16, 32, 33, 100][dice.index(4)];
        asked.push((from, 1 - from, cast.request(from, 1 - from, request)));
    }
    cast.settle(180);
    asked
}

/// Runs `keys` keys over `link` for many seeds; all are settled, and at least this many of 1000 agreed.
fn on(link: Link, seed_count: u64, keys: usize, per_mille: usize) {
    let (mut agreed, mut all) = (0, 0);
    for_each_seed(0..seeds(seed_count), |seed| {
        let mut cast = cast(seed, &Setup::new(4));
        cast.world.net_mut().set_default_link(link);
        for (from, to, id) in traffic(&mut cast, seed, keys, 20) {
            all += 1;
            agreed += usize::from(agreed_or_told(&cast, from, to, id));
        }
        let counts = Oracle::acquit(&cast);
        assert!(counts.uploads > 0 && counts.answers > 0);
    });
    assert!(agreed * 1000 >= all * per_mille, "{agreed} of {all} keys agreed");
}

#[test]
fn scenario_58_latency_and_jitter() {
    on(Link::ideal().latency(80).jitter(400), 40, 6, 1000);
}

#[test]
fn scenario_58_loss_up_to_a_fifth() {
    for loss in [20, 100, 200] {
        on(Link::ideal().latency(10).jitter(20).loss(loss), 30, 6, 1000);
    }
}

#[test]
fn scenario_27_duplication_and_reordering() {
    on(Link::ideal().latency(10).duplicate(400).reorder(300, 3000), 40, 6, 1000);
}

#[test]
fn scenario_28_corruption() {
    on(Link::ideal().latency(10).corrupt(150), 40, 6, 1000);
}

#[test]
fn scenario_26_replay_of_everything() {
    on(Link::ideal().latency(10).replay(700), 40, 6, 1000);
}

#[test]
fn scenario_75_everything_at_once() {
    on(Link::terrible(), 120, 6, 990);
}

/// Everything that was ever sent comes again, in the order of chance: nothing is accepted twice, no mark moves.
#[test]
fn scenario_26_all_that_was_ever_sent_comes_again() {
    for_each_seed(0..seeds(20), |seed| {
        let mut cast = cast(seed, &Setup::new(3));
        traffic(&mut cast, seed, 4, 10);
        let events = cast.world.events().len();
        let marks = |cast: &Cast| -> Vec<Option<Vec<u8>>> {
            cast.world.nodes().map(|node| cast.world.disk(node).newest().map(<[u8]>::to_vec)).collect()
        };
        let before = marks(&cast);
        let mut order: Vec<usize> = (0..cast.world.net().sent().len()).collect();
        let mut dice = Dice::new(seed);
        for i in (1..order.len()).rev() {
            order.swap(i, dice.index(i + 1));
        }
        for (nth, index) in order.into_iter().enumerate() {
            let at = cast.now().saturating_add(Duration::from_millis(nth as u64));
            cast.world.net_mut().replay(index, at);
        }
        cast.settle(60);
        assert_eq!(cast.world.events().len(), events);
        assert_eq!(marks(&cast), before, "a replay was stored");
        // And they still understand each other.
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(30);
        cast.assert_agreed(0, 1, id);
        Oracle::acquit(&cast);
    });
}

/// The same with a restart of everybody in between: nothing of before is taken by who comes back.
#[test]
fn scenario_26_all_comes_again_after_a_restart() {
    for_each_seed(0..seeds(20), |seed| {
        let mut cast = cast(seed, &Setup::new(3));
        traffic(&mut cast, seed, 4, 10);
        for node in cast.world.nodes() {
            cast.world.restart(node);
        }
        let given: Vec<usize> = [0, 1].iter().map(|&client| cast.keys(client).len()).collect();
        for index in 0..cast.world.net().sent().len() {
            let at = cast.now().saturating_add(Duration::from_millis(index as u64 / 3));
            cast.world.net_mut().replay(index, at);
        }
        cast.settle(60);
        assert_eq!([0, 1].map(|client| cast.keys(client).len()).to_vec(), given);
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(30);
        cast.assert_agreed(0, 1, id);
        Oracle::acquit(&cast);
    });
}

#[test]
fn scenario_41_fifty_keys_at_once_each_way() {
    for_each_seed(0..seeds(5), |seed| {
        let mut cast = cast(seed, &Setup::new(5));
        cast.world.net_mut().set_default_link(Link::ideal().latency(15).jitter(10).loss(50));
        let mut asked = Vec::new();
        for _ in 0..50 {
            asked.push((0, 1, cast.request(0, 1, KeyRequest::new(3))));
            asked.push((1, 0, cast.request(1, 0, KeyRequest::new(3))));
        }
        cast.settle(120);
        for (from, to, id) in asked {
            cast.assert_agreed(from, to, id);
        }
        let counts = Oracle::acquit(&cast);
        assert_eq!(counts.keys, 200);
    });
}

/// With links that take 50 ms, and leases there, a key takes six ways: no timer decides.
#[test]
fn a_key_on_a_clean_network_waits_for_no_timer() {
    let mut setup = Setup::new(5);
    // To the millisecond: between shards the simulation takes one more.
    setup.shards = WHOLE;
    let mut cast = cast(1, &setup);
    cast.world.net_mut().set_default_link(Link::ideal().latency(50));
    let first = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(10);
    cast.assert_agreed(0, 1, first);
    let begun = cast.now();
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(10);
    let at = |client: usize| {
        let node = cast.clients[client];
        let mut events =
            cast.world.events().iter().filter(|happened| happened.node == node && happened.at > begun);
        events.next().unwrap().at.saturating_since(begun).as_millis()
    };
    cast.assert_agreed(0, 1, id);
    assert_eq!((at(0), at(1)), (200, 100));
}

#[test]
fn released_at_the_threshold_it_is_there_a_way_and_back_later() {
    let mut setup = Setup::new(5);
    // To the millisecond: between shards the simulation takes one more.
    setup.shards = WHOLE;
    let mut cast = cast(1, &setup);
    cast.world.net_mut().set_default_link(Link::ideal().latency(50));
    let mut request = KeyRequest::new(3);
    request.release = Release::AtThreshold;
    cast.request(0, 1, request);
    cast.settle(10);
    let begun = cast.now();
    let id = cast.request(0, 1, request);
    cast.settle(10);
    let node = cast.clients[0];
    let told =
        cast.world.events().iter().find(|happened| happened.node == node && happened.at > begun).unwrap();
    assert_eq!(told.at.saturating_since(begun).as_millis(), 100);
    cast.assert_agreed(0, 1, id);
    // Before the confirmation it may be used, but not exported.
    let confirmed = |client| cast.keys(client).last().unwrap().key.is_confirmed();
    assert!(!confirmed(0) && confirmed(1));
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(10);
    cast.assert_agreed(0, 1, id);
    assert!(cast.keys(0).last().unwrap().key.is_confirmed());
}

/// Keys until the tables are empty: each agrees, and the one for which there is too little is refused at once.
#[test]
fn scenario_39_down_to_exactly_nothing() {
    for (elements, key_len) in
        [(13, 32), (24, 32), (26, 32), (66, 32), (200, 32), (333, 64), (1000, 100), (57, 16)]
    {
        for_each_seed(0..seeds(4), |seed| {
            let mut setup = Setup::new(3);
            setup.table_elements = elements;
            let mut cast = cast(seed, &setup);
            let mut request = KeyRequest::new(2);
            (request.lifetime, request.key_len) = (20, key_len);
            let mut keys = 0;
            let refused = loop {
                match cast.try_request(0, 1, request) {
                    Ok(id) => {
                        cast.settle(30);
                        if agreed_or_told(&cast, 0, 1, id) {
                            keys += 1;
                        }
                    }
                    Err(error) => break error,
                }
                assert!(keys < 1000);
            };
            assert_eq!(refused, ClientError::Exhausted);
            let block = 4 + 3 + (key_len as usize).div_ceil(16) + 2;
            assert!(keys >= 1, "not one key of {block} elements from {elements}");
            assert!(keys <= (elements - 2) / block);
            // What is left is less than a block and its lease, or the end of leases that were too short for one.
            let mut before: Vec<Vec<u8>> = Vec::new();
            for (up, down) in &cast.client_tables[0] {
                before.extend([up.octets(), down.octets()]);
            }
            let stored = cast.world.disk(cast.clients[0]).attempts();
            for _ in 0..20 {
                assert_eq!(cast.try_request(0, 1, request), Err(ClientError::Exhausted));
            }
            let mut after: Vec<Vec<u8>> = Vec::new();
            for (up, down) in &cast.client_tables[0] {
                after.extend([up.octets(), down.octets()]);
            }
            assert_eq!((before, stored), (after, cast.world.disk(cast.clients[0]).attempts()));
            Oracle::acquit(&cast);
        });
    }
}

/// A table of exactly one lease of one block gives exactly one key.
#[test]
fn scenario_39_the_last_element_is_used() {
    let mut setup = Setup::new(2);
    setup.table_elements = 2 + 11;
    let mut cast = cast(1, &setup);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(20);
    cast.assert_agreed(0, 1, id);
    assert_eq!(cast.try_request(0, 1, KeyRequest::new(2)), Err(ClientError::Exhausted));
    assert!(
        cast.client_tables[0][0].0.octets()[2 * 16..].iter().all(|&octet| octet == 0),
        "erased at the sender"
    );
    assert!(
        cast.hub_uplinks[0][0].octets()[2 * 16..].iter().all(|&octet| octet == 0),
        "erased at the receiver"
    );
    Oracle::acquit(&cast);
}

/// A burst for which the tables are too small: as many keys as there is room for, clear errors for the rest.
#[test]
fn scenario_41_a_burst_at_a_low_level() {
    for_each_seed(0..seeds(20), |seed| {
        let mut setup = Setup::new(3);
        setup.table_elements = 150;
        let mut cast = cast(seed, &setup);
        cast.world.net_mut().set_default_link(Link::ideal().latency(5).jitter(10));
        let mut asked = Vec::new();
        for _ in 0..30 {
            for (from, to) in [(0, 1), (1, 0)] {
                let mut request = KeyRequest::new(2);
                request.lifetime = 20;
                asked.push((from, to, cast.request(from, to, request)));
            }
        }
        cast.settle(90);
        let mut agreed = 0;
        for (from, to, id) in asked {
            if agreed_or_told(&cast, from, to, id) {
                agreed += 1;
            } else {
                let why = cast.failure(from, id).unwrap();
                assert!(matches!(why, KeyError::TooFewHubs | KeyError::Unconfirmed), "{why:?}");
            }
        }
        assert!(agreed >= 12, "{agreed} keys from 150 elements each way");
        Oracle::acquit(&cast);
    });
}

#[test]
fn scenario_56_two_sides_that_see_different_hubs() {
    for_each_seed(0..seeds(10), |seed| {
        let mut cast = cast(seed, &Setup::new(5));
        let (clients, hubs) = (cast.clients.clone(), cast.hubs.clone());
        cast.world.net_mut().partition(&clients[..1], &hubs[3..]);
        cast.world.net_mut().partition(&clients[1..], &hubs[..2]);
        // They have one hub in common, and need three.
        let mut request = KeyRequest::new(3);
        request.lifetime = 20;
        let id = cast.request(0, 1, request);
        cast.settle(40);
        assert_eq!((cast.key(0, id), cast.key(1, id)), (None, None));
        assert_eq!(cast.failure(0, id), Some(KeyError::Unconfirmed));
        cast.world.net_mut().heal();
        let id = cast.request(0, 1, request);
        cast.settle(40);
        cast.assert_agreed(0, 1, id);
        Oracle::acquit(&cast);
    });
}

/// A hub that takes three seconds for everything is waited for no longer than the grace.
#[test]
fn scenario_55_a_slow_hub_does_not_set_the_latency() {
    let mut cast = cast(1, &Setup::new(5));
    cast.world.net_mut().set_default_link(Link::ideal().latency(10));
    let slow = cast.hubs[0];
    for client in cast.clients.clone() {
        cast.world.net_mut().set_link(client, slow, Link::ideal().latency(1500));
        cast.world.net_mut().set_link(slow, client, Link::ideal().latency(1500));
    }
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.world.run_for(Duration::from_millis(800), 1_000_000);
    cast.assert_agreed(0, 1, id);
    cast.settle(30);
    Oracle::acquit(&cast);
}

/// One hub after the other goes away and comes back, with a key in every gap: each key has its four hubs.
#[test]
fn scenario_57_a_rolling_restart_under_load() {
    for_each_seed(0..seeds(10), |seed| {
        let mut cast = cast(seed, &Setup::new(5));
        cast.world.net_mut().set_default_link(Link::ideal().latency(10).jitter(10).loss(30));
        let mut asked = Vec::new();
        for hub in cast.hubs.clone() {
            asked.push((0, 1, cast.request(0, 1, KeyRequest::new(3))));
            cast.world.run_for(Duration::from_millis(seed * 11), 1_000_000);
            cast.world.kill(hub);
            asked.push((1, 0, cast.request(1, 0, KeyRequest::new(3))));
            cast.world.run_for(Duration::from_secs(2), 1_000_000);
            cast.world.restart(hub);
            asked.push((0, 1, cast.request(0, 1, KeyRequest::new(3))));
            cast.world.run_for(Duration::from_secs(1), 1_000_000);
        }
        cast.settle(60);
        for (from, to, id) in asked {
            cast.assert_agreed(from, to, id);
        }
        Oracle::acquit(&cast);
    });
}

/// A program that is started for each key, at either end, and hubs that are restarted as often: what a start wastes of a table is
/// a few blocks, so that a hundred starts use no more than a tenth of it.
#[test]
fn scenario_57_a_hundred_starts_with_a_key_each_waste_little_of_the_tables() {
    let mut setup = Setup::new(3);
    setup.table_elements = 65_536;
    let mut cast = cast(7, &setup);
    for start in 0..100 {
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(5);
        cast.assert_agreed(0, 1, id);
        let again = if start % 2 == 0 { cast.clients.clone() } else { cast.hubs.clone() };
        for node in again {
            cast.world.kill(node);
            cast.world.restart(node);
        }
        cast.settle(20);
    }
    for (client, tables) in [(0, true), (1, false)] {
        for (up, down) in &cast.client_tables[client] {
            let octets = if tables { up.octets() } else { down.octets() };
            let erased = octets.chunks(16).filter(|element| element.iter().all(|octet| *octet == 0)).count();
            assert!((100 * 11..6_554).contains(&erased), "{erased} of 65536 elements are gone");
        }
    }
    Oracle::acquit(&cast);
}

/// Queues that were configured too short for any key count as the shortest that do.
#[test]
fn a_queue_of_nothing_is_the_shortest_that_serves() {
    let mut setup = Setup::new(3);
    (setup.client_limits.queue, setup.hub_limits.queue, setup.hub_limits.changes) = (0, 0, 0);
    let mut cast = cast(1, &setup);
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(10);
    cast.assert_agreed(0, 1, id);
}

/// A hub that was down when the key was made takes part in the next one.
#[test]
fn scenario_54_a_hub_returns_late() {
    let mut cast = cast(1, &Setup::new(3));
    let late = cast.hubs[2];
    cast.world.kill(late);
    let first = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(10);
    cast.assert_agreed(0, 1, first);
    cast.world.restart(late);
    cast.settle(30);
    let second = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(10);
    cast.assert_agreed(0, 1, second);
    Oracle::acquit(&cast);
}

/// Everybody has another time, and no two clocks agree.
#[test]
fn scenario_68_clocks_that_disagree() {
    for_each_seed(0..seeds(10), |seed| {
        let mut cast = cast(seed, &Setup::new(3));
        let mut dice = Dice::new(seed);
        for node in cast.world.nodes() {
            cast.world.set_clock_ahead(node, dice.below(1 << 40));
        }
        cast.world.net_mut().set_default_link(Link::ideal().latency(10).loss(50));
        for (from, to, id) in traffic(&mut cast, seed, 4, 20) {
            cast.assert_agreed(from, to, id);
        }
        Oracle::acquit(&cast);
    });
}

/// Whatever served a message is gone at its sender at once, and at its receiver when the sender says that it is over.
#[test]
fn scenario_49_what_was_used_is_erased_at_both_ends() {
    for_each_seed(0..seeds(10), |seed| {
        let mut cast = cast(seed, &Setup::new(3));
        cast.world.net_mut().set_default_link(Link::ideal().latency(10).loss(50).duplicate(50));
        traffic(&mut cast, seed, 6, 20);
        let spent = Oracle::spent(&cast);
        assert!(spent.len() > 100);
        // The floors of later messages reach what was lost on the way.
        cast.world.net_mut().set_default_link(Link::ideal());
        for (from, to) in [(0, 1), (1, 0)] {
            cast.request(from, to, KeyRequest::new(2));
            cast.settle(30);
        }
        for (client, hub, uplink, element) in spent {
            let at = element as usize * 16..element as usize * 16 + 16;
            let (ours, theirs) = if uplink {
                (&cast.client_tables[client][hub].0, &cast.hub_uplinks[hub][client])
            } else {
                (&cast.client_tables[client][hub].1, &cast.hub_downlinks[hub][client])
            };
            for (whose, pad) in [("client", ours), ("hub", theirs)] {
                assert_eq!(
                    pad.octets()[at.clone()],
                    [0; 16],
                    "{whose}'s {uplink} {element} of {client}, {hub}"
                );
            }
        }
    });
}

/// Eight clients, five hubs, keys between chance pairs, crashes and a terrible net; and the oracle watches them all.
#[test]
fn scenario_71_many_clients_in_a_storm() {
    for_each_seed(0..seeds(10), |seed| {
        let mut setup = Setup::new(5);
        setup.clients = 8;
        let mut cast = cast(seed, &setup);
        let mut dice = Dice::new(seed ^ 0x6d61_6e79);
        cast.world.net_mut().set_default_link(Link::terrible());
        cast.world.restart_after(Duration::from_millis(200));
        let pair = |dice: &mut Dice| {
            let from = dice.index(8);
            (from, (from + 1 + dice.index(7)) % 8)
        };
        for _ in 0..60 {
            cast.world.run_for(Duration::from_millis(dice.below(400)), 1_000_000);
            let (from, to) = pair(&mut dice);
            let _ = cast.try_request_if_up(from, to, KeyRequest::new(2 + dice.below(3) as u8));
            if dice.chance(150) {
                let node = NodeId::new(dice.below(13));
                cast.world.crash(node, PowerLoss::Any);
            }
        }
        cast.world.run_for(Duration::from_secs(20), 10_000_000);
        let asked: Vec<_> = (0..30)
            .map(|_| {
                let (from, to) = pair(&mut dice);
                (from, to, cast.request(from, to, KeyRequest::new(3)))
            })
            .collect();
        cast.settle(120);
        for (from, to, id) in asked {
            assert!(agreed_or_told(&cast, from, to, id));
        }
        Oracle::acquit(&cast);
    });
}
