//! Hubs in shards: what is said of any hub holds of them, whatever happens between their shards, and when one of these crashes
//! alone (docs/draft-skex-dske.md, "Sharded hubs").

use core::num::NonZeroU16;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use skex_core::machine::{Instant, Output};
use skex_dske::{
    ClientEvent, ClientTag, Coordinate, Hub, HubCommand, HubConfig, HubError, HubEvent, HubId, KeyRequest,
    KeySuite, RestoreError, shard_of,
};
use skex_sim::{Dice, Either, Link, PowerLoss, Receipts, for_each_seed};
use skex_wire::dske::OutcomeStatus;

use crate::crash::{keys_both_ways, new_keys_agree, take};
use crate::oracle::Oracle;
use crate::seeds;
use crate::sharded::{Between, ShardedHub};
use crate::world::{Cast, Setup, SharedPad, cast};

const COUNTS: [u16; 3] = [2, 3, 8];

fn setup(shards: u16, between: Between) -> Setup {
    let mut setup = Setup::new(3);
    (setup.table_elements, setup.shards) = (2048, (shards, between));
    setup
}

fn lasting(seconds: u16) -> KeyRequest {
    let mut request = KeyRequest::new(2);
    request.lifetime = seconds;
    request
}

impl Cast {
    /// A hub's copies of a client's tables.
    fn hub_tables(&self, hub: usize, client: usize) -> [&SharedPad; 2] {
        [&self.hub_uplinks[hub][client], &self.hub_downlinks[hub][client]]
    }

    fn with_hub<T>(&mut self, hub: usize, call: impl FnOnce(&mut ShardedHub) -> T) -> T {
        self.world.call(self.hubs[hub], |party, _, _| call(party.right().unwrap())).unwrap()
    }

    /// From now on it is as bad as that between the shards of the hubs that run.
    pub fn set_between(&mut self, between: Between) {
        for hub in 0..self.hubs.len() {
            let node = self.hubs[hub];
            self.world.call(node, |party, _, _| {
                if let Some(hub) = party.right() {
                    hub.set_between(between);
                }
            });
        }
    }
}

/// Scenario 43 for one shard: it crashes at every point where it stores, sends, hands over or tells, and only it.
#[test]
fn scenario_43_a_shard_crashes_alone_at_every_point() {
    for (shards, suite, slow) in [
        (2, KeySuite::OneTime, false),
        (2, KeySuite::OneTime, true),
        (3, KeySuite::Aes256Gcm, true),
        (8, KeySuite::ChaCha20Poly1305, false),
    ] {
        let build = || {
            let mut cast = cast(11, &setup(shards, Between::default()));
            if slow {
                cast.world.set_receipts(cast.hubs[0], Receipts::After(Duration::from_millis(30)));
            }
            cast.world.net_mut().set_default_link(Link::ideal().latency(10));
            cast
        };
        let mut honest = build();
        let first = honest.with_hub(0, |hub| hub.points());
        keys_both_ways(&mut honest, suite);
        keys_both_ways(&mut honest, suite);
        let last = honest.with_hub(0, |hub| hub.points());
        let mut crashes = 0;
        for (shard, (first, last)) in first.into_iter().zip(last).enumerate() {
            for point in first..last {
                let mut cast = build();
                cast.with_hub(0, |hub| hub.crash_at(shard, point));
                keys_both_ways(&mut cast, suite);
                keys_both_ways(&mut cast, suite);
                assert_eq!(cast.with_hub(0, |hub| hub.crashes), 1, "shard {shard} at point {point}");
                new_keys_agree(&mut cast);
                crashes += 1;
            }
        }
        assert!(crashes > 90, "{crashes}");
    }
}

/// Hand-overs are lost, doubled, late and out of order, shards crash, and so do hubs, all the while.
#[test]
fn scenario_57_storms_between_the_shards() {
    for_each_seed(0..seeds(40), |seed| {
        let shards = COUNTS[seed as usize % COUNTS.len()];
        let mut cast = cast(seed, &setup(shards, Between::TERRIBLE));
        let mut dice = Dice::new(seed ^ 0x0073_6861_7264);
        cast.world.net_mut().set_default_link(Link::ideal().latency(5).jitter(20).loss(20));
        cast.world.restart_after(Duration::from_millis(300));
        for hub in cast.hubs.clone() {
            if dice.chance(500) {
                cast.world.set_receipts(hub, Receipts::After(Duration::from_millis(dice.below(80))));
            }
        }
        let mut seen = 0;
        for _ in 0..25 {
            cast.world.run_for(Duration::from_millis(dice.below(1500)), 1_000_000);
            if dice.chance(150) {
                let hub = cast.hubs[dice.index(3)];
                cast.world.crash(hub, PowerLoss::Any);
            }
            let from = dice.index(2);
            let mut request = lasting([2, 20, 600][dice.index(3)]);
            request.suite = KeySuite::ALL[dice.index(3)];
            let _ = cast.try_request_if_up(from, 1 - from, request);
            if dice.chance(500) {
                take(&mut cast, seen);
                seen = cast.world.events().len();
            }
        }
        cast.world.run_for(Duration::from_secs(5), 1_000_000);
        cast.set_between(Between::default());
        cast.world.run_for(Duration::from_secs(70), 10_000_000);
        new_keys_agree(&mut cast);
        assert_eq!(rolled_back(&cast, 0), [], "crashes are no rollback");
    });
}

/// Every hand-over comes twice, and again up to a minute later, when the key is over here and elsewhere. Each share leaves once.
#[test]
fn a_share_is_delivered_once_however_often_it_is_handed_over() {
    let between = Between { twice: 1000, late: 1000, delay: Duration::from_millis(30), ..Between::default() };
    for_each_seed(0..seeds(6), |seed| {
        let mut cast = cast(seed, &setup(COUNTS[seed as usize % COUNTS.len()], between));
        let mut ids = Vec::new();
        for round in 0..12 {
            let id = cast.request(0, 1, lasting([2, 5, 30][round % 3]));
            cast.settle(1);
            ids.push(id);
        }
        cast.settle(100);
        for id in ids {
            cast.assert_agreed(0, 1, id);
            for hub in 0..3 {
                assert_eq!(Oracle::delivered(&cast, 0, id, hub), 1, "a share left once");
            }
        }
        Oracle::acquit(&cast);
    });
}

/// The disks are slow: nobody is told ACCEPTED before the share is durable where it is kept. The oracle watches.
#[test]
fn a_verdict_waits_for_the_store_of_the_responders_shard() {
    for shards in COUNTS {
        let mut cast = cast(3, &setup(shards, Between::default()));
        cast.settle(1);
        for hub in cast.hubs.clone() {
            cast.world.set_receipts(hub, Receipts::After(Duration::from_millis(40)));
        }
        // Many, at all distances: what else an answer waits for must not hide that it waits for this.
        let mut ids = Vec::new();
        for i in 0..12 {
            for (from, to) in [(0, 1), (1, 0)] {
                ids.push((from, to, cast.request(from, to, lasting(20))));
            }
            cast.world.run_for(Duration::from_millis(7 * i), 1_000_000);
        }
        cast.settle(10);
        for (from, to, id) in ids {
            cast.assert_agreed(from, to, id);
        }
        Oracle::acquit(&cast);
    }
}

/// A key is taken back while its share is on its way between shards, and the initiator's shard crashes at any point of that. A hub
/// that says DONE or UNKNOWN never delivers.
#[test]
fn a_key_that_was_taken_back_is_not_delivered_by_a_hub_that_says_so() {
    let mut said_so = 0;
    for wait in [0, 10, 20, 35, 50, 70, 90] {
        let build = || {
            let mut cast = cast(5, &setup(2, Between { late: 1000, torn: 1000, ..Between::default() }));
            cast.world.net_mut().set_default_link(Link::ideal().latency(2));
            let first = cast.request(0, 1, lasting(20));
            cast.settle(3);
            cast.assert_agreed(0, 1, first);
            // The responder cannot be heard, and has no session: its shares wait.
            let (responder, hubs) = (cast.clients[1], cast.hubs.clone());
            cast.world.net_mut().partition(&[responder], &hubs);
            for hub in hubs {
                cast.world.set_receipts(hub, Receipts::After(Duration::from_millis(30)));
                cast.world.restart(hub);
            }
            cast.settle(20);
            cast
        };
        let story = |cast: &mut Cast| {
            let id = cast.request(0, 1, lasting(600));
            cast.world.run_for(Duration::from_millis(wait), 1_000_000);
            cast.withdraw(0, id);
            cast.settle(20);
            cast.world.net_mut().heal();
            cast.settle(70);
            id
        };
        let mut honest = build();
        let first = honest.with_hub(0, |hub| hub.points());
        story(&mut honest);
        let last = honest.with_hub(0, |hub| hub.points());
        // Both shards: that of the initiator, and that of the responder.
        for (shard, (first, last)) in first.into_iter().zip(last).enumerate() {
            for point in first..last.min(first + 60) {
                let mut cast = build();
                cast.with_hub(0, |hub| hub.crash_at(shard, point));
                let id = story(&mut cast);
                let outcomes = cast.outcomes(0);
                let (_, outcomes) =
                    outcomes.iter().find(|(command, _)| *command == HubCommand::Withdraw(id)).unwrap();
                for (hub, outcome) in outcomes.iter().enumerate() {
                    if matches!(outcome, Some(OutcomeStatus::DONE | OutcomeStatus::UNKNOWN)) {
                        let left = Oracle::delivered(&cast, 0, id, hub);
                        assert_eq!(left, 0, "{outcome:?} of hub {hub}, {wait} ms, shard {shard} at {point}");
                        said_so += 1;
                    }
                }
                Oracle::acquit(&cast);
            }
        }
    }
    assert!(said_so > 500, "{said_so}");
}

/// Keys are asked for and taken back, and everything goes wrong between the shards.
#[test]
fn keys_that_are_taken_back_in_a_storm_between_the_shards() {
    let mut said_so = 0;
    for seed in 0..seeds(30) {
        let between = Between { crash: 6, ..Between::TERRIBLE };
        let mut cast = cast(seed, &setup(COUNTS[seed as usize % COUNTS.len()], between));
        let mut dice = Dice::new(seed ^ 0x6261_636b);
        cast.settle(3);
        let mut ids = Vec::new();
        for _ in 0..10 {
            let id = cast.request(0, 1, lasting(20));
            cast.world.run_for(Duration::from_millis(dice.below(120)), 1_000_000);
            let _ = cast.command(0, |client, now, rng| client.withdraw(now, rng, id));
            ids.push(id);
            cast.world.run_for(Duration::from_millis(dice.below(3000)), 1_000_000);
        }
        cast.settle(120);
        let outcomes = cast.outcomes(0);
        for id in ids {
            let its = outcomes.iter().filter(|(command, _)| *command == HubCommand::Withdraw(id));
            for (hub, outcome) in its.flat_map(|(_, hubs)| hubs.iter().enumerate()) {
                if matches!(outcome, Some(OutcomeStatus::DONE | OutcomeStatus::UNKNOWN)) {
                    assert_eq!(
                        Oracle::delivered(&cast, 0, id, hub),
                        0,
                        "{outcome:?} of hub {hub}, seed {seed}"
                    );
                    said_so += 1;
                }
            }
        }
        cast.set_between(Between::default());
        cast.settle(70);
        new_keys_agree(&mut cast);
    }
    assert!(said_so > 20, "{said_so}");
}

/// An initiator repeats its uploads, its look-ups and its questions for what waits every two milliseconds: while the hub's disk is slow, and
/// while the responder is away. The other shard hears of it ten times a second at most.
#[test]
fn a_client_that_repeats_at_wire_speed_makes_no_work_for_another_shard() {
    for slow in [true, false] {
        let mut setup = setup(2, Between::default());
        setup.names = (0..3).map(|hub| (hub, 1, "bob@example")).collect();
        let speed = Duration::from_millis(2);
        let limits = &mut setup.client_limits;
        (limits.first_retransmission, limits.longest_retransmission, limits.fetch) = (speed, speed, speed);
        let mut cast = cast(4, &setup);
        cast.settle(2);
        let id = cast.request(0, 1, lasting(20));
        cast.settle(1);
        cast.assert_agreed(0, 1, id);
        if slow {
            cast.world.set_receipts(cast.hubs[0], Receipts::After(Duration::from_millis(700)));
        } else {
            let (responder, hubs) = (cast.clients[1], cast.hubs.clone());
            cast.world.net_mut().partition(&[responder], &hubs);
        }
        let next = cast.request(0, 1, lasting(20));
        cast.look_up(0, "bob@example");
        cast.world.run_for(Duration::from_millis(100), 1_000_000);
        let sent = |cast: &Cast| {
            let sent = cast.world.net().sent().iter();
            sent.filter(|sent| sent.node == Some(cast.clients[0])).count()
        };
        let before = (cast.with_hub(0, |hub| hub.handed_over()), sent(&cast));
        cast.world.run_for(Duration::from_millis(500), 10_000_000);
        let handed_over = cast.with_hub(0, |hub| hub.handed_over()) - before.0;
        let repeated = sent(&cast) - before.1;
        // For each key, and for the look-up, five; and what the other shard answers.
        assert!(repeated > 500 && handed_over <= 30, "{handed_over} of {repeated}, slow: {slow}");
        cast.world.net_mut().heal();
        cast.settle(25);
        cast.assert_agreed(0, 1, next);
        Oracle::acquit(&cast);
    }
}

/// The store of one shard is brought back from a copy, with its clients' tables or without them, at all hubs. What it has forgotten the
/// other shard remembers, or it is gone for good: no pad leaves twice, and keys come about again.
#[test]
fn scenario_44_one_shard_is_rolled_back_and_uses_nothing_twice() {
    let told = core::cell::Cell::new(0);
    for_each_seed(0..seeds(12), |seed| {
        let (shard, with_tables) = (seed as usize % 2, seed % 4 < 2);
        let mut cast = cast(seed, &setup(2, Between { late: 300, ..Between::default() }));
        cast.settle(2);
        for round in 0..seed % 3 {
            keys_both_ways(&mut cast, KeySuite::ALL[round as usize % 3]);
        }
        let logs: Vec<_> = (0..3).map(|hub| cast.with_hub(hub, |hub| hub.log(shard))).collect();
        let octets: Vec<_> =
            (0..3).map(|hub| cast.hub_tables(hub, shard).map(|table| table.octets())).collect();
        for round in 0..3 {
            keys_both_ways(&mut cast, KeySuite::ALL[(seed as usize + round) % 3]);
        }
        assert_eq!(rolled_back(&cast, 0), [], "before it happened, nobody says that it did");
        let seen = cast.world.events().len();
        // One is under way.
        let _ = cast.try_request_if_up(shard, 1 - shard, lasting(20));
        cast.world.run_for(Duration::from_millis(7 * seed), 1_000_000);
        for (hub, (log, octets)) in logs.into_iter().zip(octets).enumerate() {
            cast.with_hub(hub, |hub| hub.roll_back(shard, log));
            if with_tables {
                let tables = cast.hub_tables(hub, shard);
                tables.iter().zip(octets).for_each(|(table, octets)| table.set_octets(&octets));
            }
        }
        cast.settle(30);
        keys_both_ways(&mut cast, KeySuite::OneTime);
        cast.settle(30);
        new_keys_agree(&mut cast);
        let said = rolled_back(&cast, seen);
        assert!(said.iter().all(|client| *client == cast.tags[shard]), "of its own clients alone");
        told.set(told.get() + said.len());
    });
    assert!(told.get() >= 12, "{} hubs said that they were rolled back", told.get());
}

/// The clients of which hubs said that they know more, from this event on.
fn rolled_back(cast: &Cast, from: usize) -> Vec<ClientTag> {
    let of_hubs = cast.world.events()[from..].iter().filter_map(|happened| match &happened.event {
        Either::Right(HubEvent::RolledBack { client }) => Some(*client),
        Either::Left(ClientEvent::RolledBack { .. }) => panic!("a client says that it was rolled back"),
        _ => None,
    });
    of_hubs.collect()
}

/// A hub is revoking, and power is lost at any point of that. Told again, as an operator does until all shards have said so, the
/// client is gone at all of them, and for good.
#[test]
fn a_revocation_is_told_again_until_every_shard_has_it() {
    for point in 0..30 {
        let mut setup = setup(2, Between::default());
        setup.clients = 3;
        let mut cast = cast(6, &setup);
        cast.world.restart_after(Duration::from_millis(100));
        cast.settle(2);
        let revoke = |cast: &mut Cast| {
            let node = cast.hubs[0];
            let client = skex_dske::ClientId::new(1);
            cast.world.call(node, |party, now, _| party.right().unwrap().revoke(now, client))
        };
        let _ = cast.try_request_if_up(2, 1, lasting(20));
        let _ = cast.try_request_if_up(1, 2, lasting(20));
        cast.world.run_for(Duration::from_millis(2), 1_000_000);
        cast.world.crash_at(cast.hubs[0], cast.world.points(cast.hubs[0]) + point, PowerLoss::Any);
        let _ = revoke(&mut cast);
        cast.settle(3);
        let again = revoke(&mut cast).unwrap();
        assert!(matches!(again, Ok(()) | Err(HubError::UnknownClient)));
        cast.settle(3);
        cast.world.restart(cast.hubs[0]);
        cast.settle(20);
        assert_eq!(revoke(&mut cast).unwrap(), Err(HubError::UnknownClient), "point {point}");
        let downlink = cast.hub_downlinks[0][1].octets();
        assert!(downlink.iter().all(|&octet| octet == 0), "its table is erased, point {point}");
        let id = cast.request(0, 2, lasting(20));
        cast.settle(30);
        cast.assert_agreed(0, 2, id);
        Oracle::acquit(&cast);
    }
}

/// What a key costs a hub whose two clients are at one shard, and what if they are at two: one write more, and three hand-overs.
#[test]
fn what_a_relay_between_shards_costs() {
    let cost = |responder: usize| {
        let mut setup = setup(2, Between::default());
        setup.clients = 3;
        let mut cast = cast(8, &setup);
        let counts = |cast: &mut Cast| {
            let handed_over = cast.with_hub(0, |hub| hub.handed_over());
            (cast.world.checkpoints(cast.hubs[0]), handed_over)
        };
        let first = cast.request(0, responder, lasting(600));
        cast.settle(4);
        cast.assert_agreed(0, responder, first);
        let before = counts(&mut cast);
        let id = cast.request(0, responder, lasting(600));
        cast.settle(4);
        cast.assert_agreed(0, responder, id);
        let after = counts(&mut cast);
        (after.0 - before.0, after.1 - before.1)
    };
    let (same, other) = (cost(2), cost(1));
    println!("writes and hand-overs of a relay: {same:?} in one shard, {other:?} between two");
    assert_eq!(same.1, 0);
    assert_eq!((other.0 - same.0, other.1), (1, 3));
}

/// The number of shards of a hub does not change, and no shard takes another's records.
#[test]
fn a_shard_refuses_the_records_of_another_layout() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let now = Instant::from_millis(1);
    let config = |layout: Option<(u16, usize)>| {
        let id = HubId::new([0xb0; 16]);
        let config = HubConfig::<SharedPad>::new(id, Coordinate::new(1).unwrap(), Vec::new()).unwrap();
        match layout {
            None => config,
            Some((shards, index)) => config.into_shards(NonZeroU16::new(shards).unwrap()).swap_remove(index),
        }
    };
    let layouts = [None, Some((1, 0)), Some((2, 0)), Some((2, 1)), Some((3, 0)), Some((3, 1))];
    for written in layouts {
        let mut hub = Hub::restore(config(written), [] as [&[u8]; 0], now, &mut rng).unwrap();
        let Output::Persist(checkpoint) = hub.poll_output() else { panic!("a machine writes first") };
        let record = checkpoint.record().as_ref().to_vec();
        for read in layouts {
            let restored = Hub::restore(config(read), [&record], now, &mut rng);
            let whole = |layout| matches!(layout, None | Some((1, _)));
            let fits = read == written || whole(read) && whole(written);
            match restored {
                Ok(_) => assert!(fits, "{written:?} read as {read:?}"),
                Err(error) => {
                    assert!(!fits, "{written:?} read as {read:?}");
                    assert!(matches!(error, RestoreError::Shard | RestoreError::Record(_)), "{error:?}");
                }
            }
        }
    }
}

/// The shard of a datagram is that of the client whose number it names, and junk is nobody's.
#[test]
fn a_datagram_goes_to_the_shard_of_its_client() {
    let mut setup = setup(3, Between::default());
    setup.clients = 3;
    let mut cast = cast(9, &setup);
    cast.request(2, 1, lasting(20));
    cast.settle(3);
    let mut seen = [0; 3];
    for sent in cast.world.net().sent() {
        let Some(client) = cast.clients.iter().position(|node| sent.node == Some(*node)) else { continue };
        assert_eq!(shard_of(&sent.bytes, 3), Some(client as u16));
        assert_eq!(shard_of(&sent.bytes, 1), Some(0));
        seen[client] += 1;
    }
    assert!(seen.iter().all(|&seen| seen > 0));
    assert_eq!(shard_of(b"junk", 3), None);
    assert_eq!(shard_of(&[], 3), None);
}
