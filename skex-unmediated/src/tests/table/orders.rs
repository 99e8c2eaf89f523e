//! A table whose outputs are taken one by one, whose lanes are stored each when it pleases its store, and in which everything else
//! happens in between, recoveries among it.

use core::time::Duration;
use std::collections::BTreeMap;
use std::vec::Vec;

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use skex_core::Label;
use skex_core::machine::{Checkpoint, Instant, Output, PathId};

use super::recovery::{LANES, PAIR, RECOVERY, heal};
use super::site::{Site, settle, sites, with_config};
use crate::rules::Rule;
use crate::table::LaneRecord;
use crate::tests::rules::is_missed;
use crate::{Event, LaneId, Peer, PeerTable, RecoveryCause, Side, TableConfig, TableEvent};

struct World {
    sites: [Site; 2],
    outstanding: [BTreeMap<LaneId, Checkpoint<LaneRecord>>; 2],
    flying: Vec<(usize, Vec<u8>)>,
    /// Which recovery enrolled a lane, by its epoch: by what the peer is called then, and since.
    enrolments: BTreeMap<(usize, [u8; 8]), u64>,
    enrolled_by: BTreeMap<(usize, LaneId), u64>,
    dice: ChaCha20Rng,
}

const SIDES: [Side; 2] = [Side::A, Side::B];

fn is_settled(table: &PeerTable, lane: LaneId) -> bool {
    table.lane(lane).is_some_and(Peer::is_settled)
}

impl World {
    fn new(seed: u64) -> Self {
        let (mut hub, mut devices) = sites(2, 2, true);
        for lane in LANES {
            hub.establish(lane);
        }
        settle(&mut hub, &mut devices);
        Self {
            sites: [hub, devices],
            outstanding: Default::default(),
            flying: Vec::new(),
            enrolments: BTreeMap::new(),
            enrolled_by: BTreeMap::new(),
            dice: ChaCha20Rng::seed_from_u64(seed),
        }
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.dice.next_u32() as usize % sides
    }

    fn step(&mut self) {
        let which = self.roll(2);
        let (lane, now) = (LANES[self.roll(2)], self.sites[which].now);
        match self.roll(64) {
            0..26 => self.poll(which),
            26..38 => self.store(which),
            38..52 => self.deliver(which),
            52..54 => {
                let millis = [1, 100, 1000, 1000, 5000, 40_000, 3_700_000, 90_000_000][self.roll(8)];
                let site = &mut self.sites[which];
                site.now = now.saturating_add(Duration::from_millis(millis));
                site.table.handle_timeout(site.now, &mut site.rng).unwrap();
            }
            54..57 => {
                let site = &mut self.sites[which];
                let _ = site.table.establish(lane, now, &mut site.rng);
            }
            57 => {
                let cause =
                    if self.roll(2) == 0 { RecoveryCause::Operator } else { RecoveryCause::RolledBack };
                let site = &mut self.sites[which];
                let _ = site.table.recover(PAIR, cause, now, &mut site.rng);
            }
            58 => self.sites[which].table.allow_recovery(PAIR).unwrap(),
            59..61 => drop(self.sites[which].table.conclude_recovery(PAIR)),
            61 if self.roll(8) == 0 => self.restart(which),
            62 => {
                let named = self.sites[which].table.export_next(lane, Label::EXPORT_RAW, b"");
                if named.is_ok() {
                    assert!(is_settled(&self.sites[which].table, lane));
                    self.assert_erased(which, lane);
                }
            }
            _ => {}
        }
        let table = &self.sites[which].table;
        table.check_invariants();
        let recovery = table.lane(RECOVERY).unwrap().epoch();
        for lane in LANES {
            let peer = table.lane(lane).unwrap();
            if peer.is_held() {
                let pseudonym = *peer.peer_pseudonym().octets();
                let by = *self.enrolments.entry((which, pseudonym)).or_insert(recovery);
                self.enrolled_by.insert((which, lane), by);
            }
        }
    }

    fn poll(&mut self, which: usize) {
        let site = &mut self.sites[which];
        match site.table.poll_output() {
            Output::Persist(checkpoint) => {
                let lane = checkpoint.record().lane();
                assert!(self.outstanding[which].insert(lane, checkpoint).is_none(), "two of one lane");
            }
            Output::Transmit(transmit) => {
                self.flying.push((1 - which, transmit.payload.as_bytes().to_vec()));
                let surplus = self.flying.len().saturating_sub(16);
                self.flying.drain(..surplus);
            }
            Output::Event(event) => {
                if let TableEvent::Lane(lane, told) = &event {
                    assert!(is_settled(&site.table, *lane), "told early");
                    if !lane.is_recovery() && matches!(told, Event::Established(_)) {
                        self.assert_erased(which, *lane);
                    }
                } else if matches!(event, TableEvent::Recovered(PAIR)) {
                    let stored = |lane: &LaneId| site.table.lane(*lane).unwrap().is_held();
                    assert!(LANES.iter().all(stored), "told to be enrolled, and is not");
                }
                self.sites[which].events.push(event);
            }
            Output::Wait(_) => {}
        }
    }

    /// No lane speaks while this end's store holds the secret that it was enrolled with.
    fn assert_erased(&self, which: usize, lane: LaneId) {
        let slots = &self.sites[which].slots[&RECOVERY];
        let mut rng = ChaCha20Rng::seed_from_u64(0);
        let mut stored = with_config(SIDES[which], PAIR.number(), |config| {
            let slots = [&slots[0][..], &slots[1][..]];
            Peer::restore(&config.lane(crate::RECOVERY_LANE), slots, Instant::ZERO, &mut rng).unwrap()
        });
        while let Output::Persist(checkpoint) = stored.poll_output() {
            stored.handle_persisted(checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()).unwrap();
        }
        let from_this = self.enrolled_by.get(&(which, lane)) == Some(&stored.epoch());
        assert!(!(from_this && stored.has_recovered()), "a lane speaks, and the secret is there");
    }

    /// Any lane's record lands, in whatever order.
    fn store(&mut self, which: usize) {
        let lanes: Vec<_> = self.outstanding[which].keys().copied().collect();
        let Some(lane) = lanes.get(self.roll(lanes.len().max(1))) else { return };
        let checkpoint = self.outstanding[which].remove(lane).unwrap();
        let site = &mut self.sites[which];
        let slots = site.slots.get_mut(lane).unwrap();
        slots.rotate_left(1);
        slots[0] = checkpoint.record().as_bytes().to_vec();
        slots[1].clear();
        let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
        site.table.handle_persisted(receipt).unwrap();
    }

    fn deliver(&mut self, which: usize) {
        let places: Vec<_> = (0..self.flying.len()).filter(|at| self.flying[*at].0 == which).collect();
        let Some(at) = places.get(self.roll(places.len().max(1))).copied() else { return };
        let message = if self.roll(3) == 0 { self.flying[at].1.clone() } else { self.flying.remove(at).1 };
        let path = PathId::new(self.roll(2) as u64);
        let site = &mut self.sites[which];
        let _ = site.table.handle_message(site.now, &mut site.rng, path, &message).unwrap();
    }

    /// Power is lost, and with it what was not stored. The lanes come back, and nothing is polled yet.
    fn restart(&mut self, which: usize) {
        self.outstanding[which].clear();
        self.enrolled_by.retain(|(of, _), _| *of != which);
        let site = &mut self.sites[which];
        site.table = PeerTable::new(TableConfig::new(1000), site.now, &mut site.rng);
        let mut lanes: Vec<_> = site.slots.keys().copied().collect();
        let by = self.roll(lanes.len());
        lanes.rotate_left(by);
        let site = &mut self.sites[which];
        for lane in lanes {
            let (table, rng, now, slots) = (&mut site.table, &mut site.rng, site.now, &site.slots[&lane]);
            with_config(SIDES[which], lane.pair().number(), |config| {
                table.restore(&config.lane(lane.lane()), [&slots[0], &slots[1]], now, rng).unwrap();
            });
        }
    }

    fn end(mut self, seed: u64) {
        for which in [0, 1] {
            while !self.outstanding[which].is_empty() {
                self.store(which);
            }
            self.sites[which].drain();
        }
        let [hub, devices] = &mut self.sites;
        assert!(heal(hub, devices), "seed {seed}");
    }
}

fn run(seeds: u64) {
    for seed in 0..seeds {
        let mut world = World::new(seed);
        for _ in 0..2500 {
            world.step();
        }
        world.end(seed);
    }
}

#[test]
fn in_any_order_of_calls_no_lane_speaks_too_early_and_all_heal() {
    run(100);
}

#[test]
fn without_a_rule_of_recoveries_some_order_of_calls_shows_it() {
    for rule in [Rule::RecoveryIsDurable, Rule::HoldRecovered] {
        assert!(is_missed(rule, || run(100)), "nothing notices that {rule:?} is gone");
    }
}
