//! Calls in orders that no driver should choose: outputs are taken one by one, records are stored whenever it pleases the store,
//! and everything else happens in between. Whatever comes, nothing leaves early and nothing that is told is a lie.

use core::time::Duration;
use std::collections::BTreeSet;
use std::vec::Vec;

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use skex_core::machine::{Checkpoint, Output, PathId};
use skex_core::{KeyId, Label};

use super::pair::{Options, Pair, block, config};
use super::rules::is_missed;
use crate::bytes::Record;
use crate::rules::Rule;
use crate::{Event, MixPolicy, Peer, Side};

/// One end's store, and what it was seen to do.
#[derive(Default)]
struct Watch {
    outstanding: Option<(Checkpoint<Record>, u8)>,
    /// How often it was enrolled anew, and how often that was stored.
    generation: u8,
    stored: u8,
    /// The session that was stored when it was restored last.
    restored: Option<KeyId>,
    /// Outputs that it named, and that it was given.
    named: BTreeSet<(KeyId, u64)>,
    given: BTreeSet<(KeyId, u64)>,
}

struct World {
    pair: Pair,
    watches: [Watch; 2],
    flying: Vec<(Side, Vec<u8>)>,
    indices: Vec<(KeyId, u64)>,
    dice: ChaCha20Rng,
}

const SIDES: [Side; 2] = [Side::A, Side::B];

fn secret(generation: u8) -> [u8; 32] {
    if generation == 0 { super::pair::SECRET } else { [generation; 32] }
}

fn sequence_of(record: &[u8]) -> u64 {
    record.get(14..22).map_or(0, |octets| u64::from_be_bytes(octets.try_into().unwrap()))
}

impl World {
    fn new(options: Options, seed: u64) -> Self {
        Self {
            pair: Pair::seeded(options, seed),
            watches: Default::default(),
            flying: Vec::new(),
            indices: Vec::new(),
            dice: ChaCha20Rng::seed_from_u64(seed),
        }
    }

    fn roll(&mut self, sides: u32) -> u32 {
        self.dice.next_u32() % sides
    }

    fn step(&mut self) {
        let side = SIDES[self.roll(2) as usize];
        let watch = side as usize;
        let now = self.pair.end(side).now;
        match self.roll(64) {
            0..28 => self.poll(side),
            28..36 => self.store(side),
            36..50 => self.deliver(side),
            50 => {
                let millis =
                    [1, 10, 100, 400, 400, 1000, 40_000, 3_700_000, 90_000_000][self.roll(9) as usize];
                let end = self.pair.end(side);
                end.now = now.saturating_add(Duration::from_millis(millis));
                let now = end.now;
                end.peer.as_mut().unwrap().handle_timeout(now, &mut end.rng).unwrap();
            }
            51..54 => {
                let end = self.pair.end(side);
                let _ = end.peer.as_mut().unwrap().establish(now, &mut end.rng);
            }
            54..57 => {
                let end = self.pair.end(side);
                if let Ok(key) = end.peer().export_next(Label::EXPORT_RAW, b"") {
                    assert!(end.peer().is_settled());
                    let (id, index) = (key.id(), key.index());
                    self.indices.push((id, index));
                    assert!(self.watches[watch].named.insert((id, index)), "named twice");
                }
            }
            57..60 if !self.indices.is_empty() => {
                let at = self.roll(self.indices.len() as u32) as usize;
                let (id, index) = self.indices[at];
                let (how, peer) = (self.roll(4), self.pair.end(side).peer());
                if how == 0 {
                    let _ = peer.commit_at(id, index);
                } else {
                    let _ = peer.export_at(id, index, Label::EXPORT_RAW, b"");
                }
            }
            60 => {
                let (octet, peer) = (self.roll(3) as u8 + 1, self.pair.end(side).peer());
                let _ = peer.provide_mix(&block(octet));
            }
            61 => {
                let (often, end) = (self.roll(2) == 0, self.pair.end(side));
                if often && end.options.consumer {
                    let session = end.peer().session();
                    let other = self.pair.end(side.other()).peer().session();
                    if let (Some(own), Some(other)) = (session, other)
                        && own.id == other.id
                    {
                        self.pair.end(side).peer().confirm(own.id).unwrap();
                    }
                } else if !often {
                    end.peer().withdraw_mixes();
                }
            }
            62 if self.roll(8) == 0 => self.restore(side),
            63 if self.roll(64) == 0 => self.enrol_anew(side),
            _ => {}
        }
    }

    fn poll(&mut self, side: Side) {
        let end = self.pair.end(side);
        let peer = end.peer.as_mut().unwrap();
        let output = peer.poll_output();
        let watch = &mut self.watches[side as usize];
        match output {
            Output::Persist(checkpoint) => {
                assert!(watch.outstanding.is_none(), "two checkpoints are outstanding");
                let newest = end.slots.iter().map(|slot| sequence_of(slot)).max();
                assert!(
                    Some(sequence_of(checkpoint.record().as_bytes())) > newest,
                    "a number that was there"
                );
                watch.outstanding = Some((checkpoint, watch.generation));
            }
            Output::Transmit(transmit) => {
                assert!(peer.is_settled(), "a message left early");
                self.flying.push((side.other(), transmit.payload.as_bytes().to_vec()));
                let surplus = self.flying.len().saturating_sub(8);
                self.flying.drain(..surplus);
            }
            Output::Event(event) => {
                assert!(peer.is_settled(), "an event left early");
                Self::hear(peer, watch, &end.slots, config(side, end.options), event);
            }
            Output::Wait(_) => {}
        }
    }

    fn hear(
        peer: &Peer,
        watch: &mut Watch,
        slots: &[Vec<u8>; 2],
        config: crate::PeerConfig<'_>,
        event: Event,
    ) {
        let consumer = crate::config::PeerConfig::checked(&config).unwrap().settings.consumer_confirms;
        match event {
            Event::KeyReady(key) => {
                assert!(watch.given.insert((key.id(), key.index())), "a key twice");
                let mut rng = ChaCha20Rng::seed_from_u64(0);
                let slots = [&slots[0][..], &slots[1][..]];
                let mut stored =
                    Peer::restore(&config, slots, skex_core::machine::Instant::ZERO, &mut rng).unwrap();
                while let Output::Persist(checkpoint) = stored.poll_output() {
                    stored.handle_persisted(checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()).unwrap();
                }
                let again = stored.peek_at(key.id(), key.index(), Label::EXPORT_RAW, b"");
                assert!(again.is_err(), "a key left, and the store still holds it");
            }
            Event::Established(session) => assert!(session.confirmed || consumer, "not confirmed"),
            Event::Resumed(session) => {
                assert_eq!(Some(session.id), watch.restored, "not from before the start")
            }
            Event::Confirmed(id) => {
                assert!(peer.session().is_none_or(|session| session.id != id || session.confirmed));
            }
            Event::Expired(id) | Event::Void(id) | Event::PeerVoid(id) => {
                assert!(peer.session().is_none_or(|session| session.id != id), "told to be over, and is not");
            }
            _ => {}
        }
    }

    fn store(&mut self, side: Side) {
        let watch = &mut self.watches[side as usize];
        let Some((checkpoint, generation)) = watch.outstanding.take() else { return };
        watch.stored = generation;
        let end = self.pair.end(side);
        let slot = end.writes % 2;
        end.slots[slot] = checkpoint.record().as_bytes().to_vec();
        end.slots[1 - slot].fill(0);
        end.writes += 1;
        let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
        // That of an instance from before an enrolment opens nothing.
        let _ = end.peer().handle_persisted(receipt);
    }

    fn deliver(&mut self, side: Side) {
        let places: Vec<_> = (0..self.flying.len()).filter(|at| self.flying[*at].0 == side).collect();
        let Some(at) = places.get(self.roll(places.len().max(1) as u32) as usize).copied() else { return };
        let message = if self.roll(3) == 0 { self.flying[at].1.clone() } else { self.flying.remove(at).1 };
        let path = PathId::new(u64::from(self.roll(3)));
        let end = self.pair.end(side);
        let now = end.now;
        let _ = end.peer.as_mut().unwrap().handle_message(now, &mut end.rng, path, &message).unwrap();
    }

    /// Power is lost. What was outstanding was never stored.
    fn restore(&mut self, side: Side) {
        let end = self.pair.end(side);
        let config = config(side, end.options);
        let slots = [&end.slots[0][..], &end.slots[1][..]];
        let peer = Peer::restore(&config, slots, end.now, &mut end.rng).unwrap();
        let watch = &mut self.watches[side as usize];
        watch.outstanding = None;
        watch.generation = watch.stored;
        watch.restored = peer.session().map(|session| session.id);
        end.peer = Some(peer);
        // What it names is lost with its memory.
        assert!(end.peer().export_next(Label::EXPORT_RAW, b"").is_err());
    }

    fn enrol_anew(&mut self, side: Side) {
        let generation = self.watches[side as usize].generation + 1;
        let end = self.pair.end(side);
        let (config, now) = (config(side, end.options), end.now);
        end.peer.as_mut().unwrap().enrol_anew(&config, &secret(generation), now, &mut end.rng).unwrap();
        self.watches[side as usize].generation = generation;
        // A store that is slow may store the record of the old instance all the same, before the new one or never.
        if self.roll(2) == 0 {
            self.store(side);
        }
        self.watches[side as usize].outstanding = None;
    }

    /// Everybody behaves from now on: the pair must live.
    fn end(mut self) {
        while self.watches[0].generation != self.watches[1].generation {
            let behind = usize::from(self.watches[0].generation > self.watches[1].generation);
            self.enrol_anew(SIDES[behind]);
        }
        for side in SIDES {
            self.store(side);
            self.pair.end(side).drain();
        }
        self.pair.settle();
        self.pair.assert_safe();
        self.pair.assert_lives(Side::A);
    }
}

fn run(options: Options, seeds: core::ops::Range<u64>) {
    for seed in seeds {
        let mut world = World::new(options, seed);
        for _ in 0..3000 {
            world.step();
        }
        world.end();
    }
}

fn variants(seeds: u64) {
    run(Options::default(), 0..seeds);
    run(Options { consumer: true, ..Options::default() }, 0..seeds);
    run(Options { stateless: true, ..Options::default() }, 0..seeds);
    let required = Options { mix: Some(MixPolicy::Require), ..Options::default() };
    run(required, 0..seeds);
    run(Options { stateless: true, consumer: true, ..required }, 0..seeds);
}

#[test]
fn in_any_order_of_calls_nothing_leaves_early_and_nothing_told_is_false() {
    variants(250);
}

#[test]
fn without_a_rule_some_order_of_calls_shows_it() {
    for rule in [
        Rule::CommitBeforeThird,
        Rule::CommitBeforeFourth,
        Rule::EraseBeforeKey,
        Rule::RewriteOnRestore,
        Rule::StoreBlock,
        Rule::OneOutputAnIndex,
        Rule::AnswerEndsAttempt,
        Rule::CurrentAttemptOnly,
        Rule::KeepThird,
        Rule::KeepBlock,
        Rule::FollowAlways,
        Rule::AskForRoom,
    ] {
        assert!(is_missed(rule, || variants(250)), "nothing notices that {rule:?} is gone");
    }
}
