//! Scenario 75: ten thousand worlds in which everything goes wrong that can, at random, and the oracle watches.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rand_core::SeedableRng;
use skex_dske::{ClientEvent, KeyRequest, KeySuite, Release, Role};
use skex_sim::{Dice, Either, Link, NodeId, PowerLoss, Receipts, StoreFault, for_each_seed_at_once};

use crate::attacks::babble::anything;
use crate::attacks::liar::{Liar, Share};
use crate::oracle::Oracle;
use crate::seeds;
use crate::sharded::{Between, usual_shards};
use crate::snapshots::{Backup, Tables, back_up, put_back};
use crate::world::{Cast, Lie, Setup, cast};

const TABLE: usize = 2048;

/// What the adversary can do in a step.
type Action = (&'static str, fn(&mut Storm));

/// A step draws one of them.
const ACTIONS: [Action; 13] = [
    ("a key is asked for", Storm::ask),
    ("another key", Storm::ask),
    ("many keys at once", Storm::burst),
    ("keys are taken", Storm::take),
    ("power is lost", Storm::crash),
    ("power is lost at a point to come", Storm::crash_at_a_point),
    ("a store fails", Storm::fail_a_store),
    ("old messages come again", Storm::replay),
    ("a flood", Storm::flood),
    ("a backup is made", Storm::back_up),
    ("a backup is put back", Storm::put_back),
    ("an enrolled end says what it wants", Storm::babble),
    ("a cut, or its end", Storm::cut),
];

struct Storm {
    cast: Cast,
    dice: Dice,
    threshold: u8,
    /// Honest nodes.
    honest: Vec<NodeId>,
    /// One end of each link only can come back from an old backup: both together are what no protocol covers.
    rolls_clients_back: bool,
    backups: BTreeMap<usize, Backup>,
    /// Ends in the adversary's hand.
    liars: Vec<Liar>,
    read: usize,
    done: [u64; ACTIONS.len()],
}

impl Storm {
    /// A world of two clients and mostly a third that means ill, with as many bad hubs as its keys must bear.
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x0073_746f_726d_3735);
        let (threshold, hubs) = [(2, 3), (2, 4), (3, 5), (3, 6), (4, 7)][dice.index(5)];
        let mut setup = Setup::new(hubs);
        (setup.clients, setup.table_elements) = (2 + dice.index(2), TABLE);
        // Of eight worlds one has hubs in two shards, one in three, one in eight, and the others as many as usual; it is as bad
        // between those.
        let shards = [2, 3, 8].get(seed as usize % 8).copied().unwrap_or_else(usual_shards);
        if shards > 1 {
            setup.shards = (shards, Between::TERRIBLE);
        }
        let mut cast = cast(seed, &setup);
        // Not before the adversary has its sessions.
        cast.set_between(Between::default());
        let link =
            [Link::terrible(), Link::ideal().latency(5), Link::ideal().latency(30).jitter(200).loss(50)];
        cast.world.net_mut().set_default_link(Link::ideal());
        // The adversary's hubs: some are taken over, some have tables that lie, up to one less than the threshold.
        let bad = dice.index(usize::from(threshold));
        let taken_over = dice.index(bad + 1);
        let mut liars = Vec::new();
        for hub in 0..bad {
            if hub < taken_over {
                liars.extend((0..2).filter_map(|client| Liar::try_hub(&mut cast, hub, client)));
            } else {
                let lie = if dice.chance(500) { Lie::Bit } else { Lie::Octets(dice.below(1 << 40)) };
                let tables = if dice.chance(500) { &cast.hub_downlinks } else { &cast.hub_uplinks };
                tables[hub].iter().for_each(|table| table.set_lie(lie));
            }
        }
        if let Some(client) = (setup.clients == 3).then_some(2) {
            liars.extend((taken_over..hubs).filter_map(|hub| Liar::try_client(&mut cast, client, hub)));
        }
        let honest = cast.clients[..2].iter().chain(&cast.hubs[taken_over..]).copied().collect();
        cast.world.net_mut().set_default_link(link[dice.index(3)]);
        cast.world.restart_after(Duration::from_millis(dice.below(1000)));
        for node in cast.world.nodes() {
            if dice.chance(300) {
                cast.world.set_receipts(node, Receipts::After(Duration::from_millis(dice.below(80))));
            }
        }
        let (rolls_clients_back, backups) = (dice.chance(500), BTreeMap::new());
        cast.set_between(setup.shards.1);
        let done = [0; ACTIONS.len()];
        Self { cast, dice, threshold, honest, rolls_clients_back, backups, liars, read: 0, done }
    }

    fn run(&mut self) {
        for _ in 0..20 {
            let pause = Duration::from_millis(self.dice.below(1200));
            self.cast.world.run_for(pause, 1_000_000);
            let action = self.dice.index(ACTIONS.len());
            ACTIONS[action].1(self);
            self.done[action] += 1;
        }
    }

    /// The storm is over; the liars stay. Keys agree in both directions, and nothing was ever used twice.
    fn is_survived(&mut self) {
        let cast = &mut self.cast;
        cast.set_between(Between::default());
        cast.world.net_mut().heal();
        cast.world.net_mut().set_default_link(Link::ideal().latency(5));
        for &node in &self.honest {
            // A point that has passed: the crash that is still to come does not.
            cast.world.crash_at(node, 0, PowerLoss::Any);
            cast.world.set_receipts(node, Receipts::AtOnce);
            cast.world.disk_mut(node).stop_failing();
        }
        cast.world.run_for(Duration::from_secs(10), 10_000_000);
        let ids = [(0, 1), (1, 0)].map(|(from, to)| {
            let id = cast.request(from, to, KeyRequest::new(self.threshold));
            (from, to, id)
        });
        cast.settle(60);
        for (from, to, id) in ids {
            cast.assert_agreed(from, to, id);
        }
        assert!(cast.world.nodes().all(|node| !cast.world.is_runaway(node)));
    }

    fn node(&mut self) -> NodeId {
        self.honest[self.dice.index(self.honest.len())]
    }

    fn ask(&mut self) {
        let from = self.dice.index(2);
        let mut request = KeyRequest::new(self.threshold);
        request.lifetime = [5, 20, 600][self.dice.index(3)];
        request.key_len = [16, 32, 33, 100][self.dice.index(4)];
        if self.dice.chance(300) {
            request.suite = KeySuite::ALL[self.dice.index(3)];
        }
        if self.dice.chance(300) {
            request.release = Release::AtThreshold;
        }
        // It may be down, or its tables used up.
        let _ = self.cast.try_request_if_up(from, 1 - from, request);
    }

    fn burst(&mut self) {
        (0..6).for_each(|_| self.ask());
    }

    fn take(&mut self) {
        let happened = &self.cast.world.events()[self.read..];
        let given: Vec<_> = happened
            .iter()
            .filter_map(|happened| match &happened.event {
                Either::Left(ClientEvent::KeyEstablished(key)) if key.role == Role::Responder => {
                    Some((happened.node, key.peer, key.key.id()))
                }
                _ => None,
            })
            .collect();
        self.read = self.cast.world.events().len();
        for (node, peer, id) in given {
            // A key that was given again after a restart can be taken once only.
            let _ = self.cast.world.call(node, |party, _, _| party.left().unwrap().taken(peer, id));
        }
    }

    fn crash(&mut self) {
        let node = self.node();
        self.cast.world.crash(node, PowerLoss::Any);
    }

    fn crash_at_a_point(&mut self) {
        let node = self.node();
        let point = self.cast.world.points(node) + self.dice.below(25);
        self.cast.world.crash_at(node, point, PowerLoss::Any);
    }

    fn fail_a_store(&mut self) {
        let node = self.node();
        let faults = [StoreFault::NotWritten, StoreFault::Landed, StoreFault::Torn, StoreFault::CachedOnly];
        self.cast.world.disk_mut(node).fail_next(faults[self.dice.index(4)]);
    }

    fn replay(&mut self) {
        for _ in 0..20 {
            let at = self.cast.now().saturating_add(Duration::from_millis(self.dice.below(500)));
            self.cast.world.net_mut().replay_any(at);
        }
    }

    /// Damaged copies of what was said, from anywhere, at the speed of the wire.
    fn flood(&mut self) {
        for _ in 0..60 {
            let sent = self.cast.world.net().sent();
            let Some(old) = sent.get(self.dice.index(sent.len())).cloned() else { return };
            let mut octets = old.bytes;
            let at = self.dice.index(octets.len());
            octets[at] ^= 1 << self.dice.below(8);
            let now = self.cast.now();
            self.cast.world.net_mut().inject(now, old.from, old.to, octets);
        }
    }

    /// Of a client, or of a hub: as this world has it.
    fn back_up(&mut self) {
        let number = self.one_that_rolls_back();
        self.backups.insert(number, back_up(&self.cast, self.rolls_clients_back, number));
    }

    fn put_back(&mut self) {
        let number = self.one_that_rolls_back();
        let Some(backup) = self.backups.get(&number) else { return };
        let tables = if self.dice.chance(500) { Tables::Restored } else { Tables::Kept };
        put_back(&mut self.cast, self.rolls_clients_back, number, backup, tables);
    }

    fn one_that_rolls_back(&mut self) -> usize {
        if self.rolls_clients_back {
            return self.dice.index(2);
        }
        let honest = self.honest.len() - 2;
        self.cast.hubs.len() - honest + self.dice.index(honest)
    }

    /// An enrolled end: any message, shares at forged places under rightful tags, leases that nobody offered or all of them.
    fn babble(&mut self) {
        if self.liars.is_empty() {
            return;
        }
        let which = self.dice.index(self.liars.len());
        let liar = &mut self.liars[which];
        let mut rng = chacha20::ChaCha20Rng::seed_from_u64(self.dice.below(u64::MAX));
        let heard = liar.hear(&self.cast);
        let request = liar.lease_request(&self.cast);
        for number in 0..20 {
            let (from, to) = (self.dice.index(2), self.dice.index(2));
            let peer = self.cast.tags[if liar.is_hub() { from } else { to }];
            let mut share = Share::junk([self.dice.below(4) as u8; 16], peer);
            share.coordinates.retain(|&x| usize::from(x) <= self.cast.hubs.len());
            share.threshold = self.threshold;
            let index = self.dice.below(TABLE as u64 - u64::from(share.elements())) as u32;
            let start = self.dice.below(TABLE as u64 - 64) as u32;
            let inner = match (number % 4, &request) {
                (0, _) => liar.share_octets(&self.cast, &share, index),
                (1, Some(asked)) => {
                    liar.grant_octets(&self.cast, asked.nonce, start, start + asked.want.min(60), start)
                }
                _ => anything(&mut rng, &heard),
            };
            liar.say(&mut self.cast, &inner);
        }
    }

    fn cut(&mut self) {
        if self.dice.chance(600) {
            self.cast.world.net_mut().heal();
        } else {
            let (here, there) = (self.node(), self.node());
            self.cast.world.net_mut().partition(&[here], &[there]);
        }
    }
}

/// Up to one hub less than the threshold lies or is in the adversary's hand, mostly a client as well; messages are
/// replayed, reordered, damaged, flooded and forged; power is lost at any point; stores fail; backups are put back. The
/// oracle acquits everybody, and when it is over keys agree.
#[test]
fn scenario_75_ten_thousand_worlds_in_which_all_goes_wrong() {
    let done: [AtomicU64; ACTIONS.len()] = Default::default();
    let (keys, repeats) = (AtomicU64::new(0), AtomicU64::new(0));
    let worlds = seeds(10_000);
    for_each_seed_at_once(0..worlds, |seed| {
        let mut storm = Storm::new(seed);
        storm.run();
        storm.is_survived();
        let counts = Oracle::acquit(&storm.cast);
        keys.fetch_add(counts.keys, Ordering::Relaxed);
        repeats.fetch_add(counts.repeats, Ordering::Relaxed);
        for (sum, done) in done.iter().zip(storm.done) {
            sum.fetch_add(done, Ordering::Relaxed);
        }
    });
    println!("{worlds} worlds, {} keys, {} repeated messages", keys.into_inner(), repeats.into_inner());
    for ((what, _), done) in ACTIONS.iter().zip(done) {
        println!("{:8} times: {what}", done.into_inner());
    }
}
