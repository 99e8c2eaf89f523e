//! What an end knows durably, its status, and its record.

use skex_wire::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

use super::MAX_GENERATIONS;
use super::rules::{Rule, holds};
use crate::record::{self, RECORD_OVERHEAD, RecordError, RecordHeader, RecordKind};

/// Octets of a status: version (1), flags (1), sequence, seen, target, transmit, newest (8 each), three generations that are
/// held and three that are kept (8 each, 0 for none).
pub const STATUS_LEN: usize = 2 + 5 * 8 + 2 * MAX_GENERATIONS * 8;

const VERSION: u8 = 1;
const WANTS_ANSWER: u8 = 1;

/// What one end says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Counts the statuses that say something new.
    pub sequence: u64,
    /// The highest sequence of the other end's that was heeded.
    pub seen: u64,
    /// The generation that this end has chosen to transmit with; it may not do so yet.
    pub target: u64,
    /// The generation that it has transmitted with: it does not transmit with a lower one any more.
    pub transmit: u64,
    /// The highest generation that there ever was at this end. What is not above it, and neither held nor kept, is gone there
    /// for good.
    pub newest: u64,
    /// The generations that it receives with, in no order; 0 for none.
    pub holds: [u64; MAX_GENERATIONS],
    /// The generations that it has besides: to be installed, withdrawn, or to be retired. 0 for none.
    pub keeps: [u64; MAX_GENERATIONS],
    /// Whether it waits for a status that has seen this one.
    pub wants_answer: bool,
}

impl Status {
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let said =
            |status: &Self| (status.target, status.transmit, status.newest, status.holds, status.keeps);
        said(self) == said(other)
    }

    /// Its octets.
    #[must_use]
    pub fn encode(&self) -> [u8; STATUS_LEN] {
        let mut octets = [0; STATUS_LEN];
        let mut writer = Writer::new(&mut octets);
        let written: Result<(), EncodeError> = (|| {
            writer.u8(VERSION)?;
            writer.u8(u8::from(self.wants_answer) * WANTS_ANSWER)?;
            let numbers = [self.sequence, self.seen, self.target, self.transmit, self.newest];
            for number in numbers.iter().chain(&self.holds).chain(&self.keeps) {
                writer.u64(*number)?;
            }
            Ok(())
        })();
        debug_assert!(written.is_ok(), "the length is that of the fields");
        octets
    }

    /// `None` where it is no status of this version.
    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let (version, flags) = (reader.u8().ok()?, reader.u8().ok()?);
        if version != VERSION || flags > WANTS_ANSWER {
            return None;
        }
        let status = Self {
            sequence: reader.u64().ok()?,
            seen: reader.u64().ok()?,
            target: reader.u64().ok()?,
            transmit: reader.u64().ok()?,
            newest: reader.u64().ok()?,
            holds: generations(&mut reader).ok()?,
            keeps: generations(&mut reader).ok()?,
            wants_answer: flags == WANTS_ANSWER,
        };
        reader.finish().ok()?;
        (status.transmit <= status.target).then_some(status)
    }
}

fn generations(reader: &mut Reader<'_>) -> Result<[u64; MAX_GENERATIONS], DecodeError> {
    let mut generations = [0; MAX_GENERATIONS];
    for generation in &mut generations {
        *generation = reader.u64()?;
    }
    Ok(generations)
}

/// Where a generation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Empty,
    /// To be installed; not offered.
    Installing,
    /// The consumer accepts it; offered to the other end.
    Installed,
    /// The consumer accepts it still; no longer offered.
    Withdrawn,
    /// To be removed.
    Retiring,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Empty, Self::Installing, Self::Installed, Self::Withdrawn, Self::Retiring];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) generation: u64,
    pub(super) stage: Stage,
    /// The sequence of the first status that no longer offers it, if it is withdrawn.
    pub(super) since: u64,
}

impl Held {
    pub(super) const EMPTY: Self = Self { generation: 0, stage: Stage::Empty, since: 0 };
}

/// What the other end said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerState {
    pub(super) sequence: u64,
    pub(super) seen: u64,
    pub(super) target: u64,
    pub(super) transmit: u64,
    pub(super) newest: u64,
    pub(super) holds: [u64; MAX_GENERATIONS],
    pub(super) keeps: [u64; MAX_GENERATIONS],
}

/// What is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) sequence: u64,
    /// The highest generation there ever was here.
    pub(super) newest: u64,
    pub(super) target: u64,
    pub(super) transmit: u64,
    pub(super) held: [Held; MAX_GENERATIONS],
    pub(super) peer: PeerState,
}

impl State {
    pub(super) const fn new() -> Self {
        Self {
            sequence: 0,
            newest: 0,
            target: 0,
            transmit: 0,
            held: [Held::EMPTY; MAX_GENERATIONS],
            peer: PeerState {
                sequence: 0,
                seen: 0,
                target: 0,
                transmit: 0,
                newest: 0,
                holds: [0; MAX_GENERATIONS],
                keeps: [0; MAX_GENERATIONS],
            },
        }
    }

    pub(super) fn status(&self) -> Status {
        let offered = |held: &Held| if held.stage == Stage::Installed { held.generation } else { 0 };
        let kept = |held: &Held| if held.stage == Stage::Installed { 0 } else { held.generation };
        Status {
            sequence: self.sequence,
            seen: self.peer.sequence,
            target: self.target,
            transmit: self.transmit,
            newest: self.newest,
            holds: self.held.each_ref().map(offered),
            keeps: self.held.each_ref().map(kept),
            wants_answer: !self.is_answered(),
        }
    }

    /// Whether the other end has seen the present status.
    pub(super) const fn is_answered(&self) -> bool {
        self.peer.seen >= self.sequence
    }

    pub(super) fn heed(&mut self, status: &Status) {
        self.peer = PeerState {
            sequence: status.sequence,
            seen: status.seen.max(self.peer.seen),
            target: status.target,
            transmit: status.transmit.max(self.peer.transmit),
            newest: status.newest,
            holds: status.holds,
            keeps: status.keeps,
        };
    }

    pub(super) fn place(&self, generation: u64, stage: Stage) -> Option<usize> {
        self.held.iter().position(|held| held.stage == stage && held.generation == generation)
    }

    /// Whether the consumer accepts it.
    pub(super) fn is_installed(&self, generation: u64) -> bool {
        generation != 0
            && self.held.iter().any(|held| {
                held.generation == generation && matches!(held.stage, Stage::Installed | Stage::Withdrawn)
            })
    }

    pub(super) fn put(&mut self, place: usize, held: Held) {
        if let Some(slot) = self.held.get_mut(place) {
            *slot = held;
        }
    }

    pub(super) fn set(&mut self, place: usize, stage: Stage) {
        if let Some(slot) = self.held.get_mut(place) {
            slot.stage = stage;
        }
    }

    /// The other end had it or passed over it, and will never have it again: generations rise.
    pub(super) fn is_gone_there(&self, generation: u64) -> bool {
        let peer = &self.peer;
        generation <= peer.newest && !peer.holds.contains(&generation) && !peer.keeps.contains(&generation)
    }

    /// Both ends transmit with a higher generation, and never go back; or the other end can never use this one, and this
    /// end does not.
    pub(super) fn is_left(&self, held: &Held) -> bool {
        let generation = held.generation;
        let behind =
            generation < self.transmit && (generation < self.peer.transmit || !holds(Rule::RetireAfterBoth));
        let in_use = generation == self.target || generation == self.transmit;
        (behind || self.is_gone_there(generation))
            && !in_use
            && matches!(held.stage, Stage::Installed | Stage::Withdrawn)
    }

    /// The generations that are left; 0 for none.
    pub(super) fn left(&self) -> [u64; MAX_GENERATIONS] {
        self.held.each_ref().map(|held| if self.is_left(held) { held.generation } else { 0 })
    }

    /// Retires those of `leaving` that are left still.
    pub(super) fn retire_left(&mut self, leaving: [u64; MAX_GENERATIONS]) {
        for place in 0..MAX_GENERATIONS {
            let is_due = |held: &Held| leaving.contains(&held.generation) && self.is_left(held);
            if self.held.get(place).is_some_and(is_due) {
                self.set(place, Stage::Retiring);
            }
        }
    }

    /// Stops offering the lowest generation that neither end uses and the other end does not hold.
    pub(super) fn withdraw_one(&mut self) {
        let lonely = |held: &&mut Held| {
            held.stage == Stage::Installed
                && held.generation != self.target
                && held.generation != self.transmit
                && held.generation > self.peer.transmit
                && held.generation != self.peer.target
                && !self.peer.holds.contains(&held.generation)
        };
        if let Some(held) = self.held.iter_mut().filter(lonely).min_by_key(|held| held.generation) {
            held.stage = Stage::Withdrawn;
            // The status that no longer offers it is the next one.
            held.since = self.sequence.saturating_add(1);
        }
    }
}

const BODY_LEN: usize = 4 * 8 + MAX_GENERATIONS * 17 + 5 * 8 + 2 * MAX_GENERATIONS * 8;

/// Octets of a record, with its frame.
pub const ROTATION_RECORD_LEN: usize = BODY_LEN + RECORD_OVERHEAD;

/// A record, inline, framed. It holds no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationRecord([u8; ROTATION_RECORD_LEN]);

impl AsRef<[u8]> for RotationRecord {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The record of a state.
pub(super) fn write(state: &State, machine: [u8; 8], sequence: u64) -> RotationRecord {
    let mut octets = [0; ROTATION_RECORD_LEN];
    let header = RecordHeader::new(RecordKind::ROTATION, machine, sequence);
    let written: Result<usize, RecordError> = record::encode_with(header, &mut octets, |writer| {
        body(state, writer).map_err(|_| RecordError::TooLong)
    });
    debug_assert_eq!(written, Ok(ROTATION_RECORD_LEN));
    RotationRecord(octets)
}

fn body(state: &State, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
    for number in [state.sequence, state.newest, state.target, state.transmit] {
        writer.u64(number)?;
    }
    for held in &state.held {
        writer.u64(held.generation)?;
        writer.u8(held.stage as u8)?;
        writer.u64(held.since)?;
    }
    let peer = &state.peer;
    let numbers = [peer.sequence, peer.seen, peer.target, peer.transmit, peer.newest];
    for number in numbers.iter().chain(&peer.holds).chain(&peer.keeps) {
        writer.u64(*number)?;
    }
    Ok(())
}

/// The state in the slot that rules, with the sequence of its record.
pub(super) fn read(slots: [&[u8]; 2], machine: [u8; 8]) -> Result<Option<(u64, State)>, RecordError> {
    let Some(found) = record::newest(slots, RecordKind::ROTATION, machine)? else { return Ok(None) };
    // A good checksum over a body of another form: written by other software.
    let state = parse(found.body).map_err(|_| RecordError::UnknownVersion)?;
    Ok(Some((found.sequence, state)))
}

fn parse(octets: &[u8]) -> Result<State, DecodeError> {
    let mut reader = Reader::new(octets);
    let mut state = State::new();
    state.sequence = reader.u64()?;
    state.newest = reader.u64()?;
    state.target = reader.u64()?;
    state.transmit = reader.u64()?;
    for held in &mut state.held {
        held.generation = reader.u64()?;
        let stage = usize::from(reader.u8()?);
        held.stage = *Stage::ALL.get(stage).ok_or_else(|| reader.error(DecodeErrorKind::BadValue))?;
        held.since = reader.u64()?;
    }
    state.peer.sequence = reader.u64()?;
    state.peer.seen = reader.u64()?;
    state.peer.target = reader.u64()?;
    state.peer.transmit = reader.u64()?;
    state.peer.newest = reader.u64()?;
    state.peer.holds = generations(&mut reader)?;
    state.peer.keeps = generations(&mut reader)?;
    reader.finish()?;
    Ok(state)
}
