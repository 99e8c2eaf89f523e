//! A rotation whose statuses go over a network: each in a datagram, authenticated under keys of the link's generations
//! (docs/draft-skex-integration.md, "Status Datagrams").

use core::time::Duration;
use std::collections::VecDeque;

use rand_core::CryptoRng;
use skex_core::export::{End, KEY_NAME_LEN};
use skex_core::machine::{
    Destination, DiscardReason, Disposition, Instant, Machine, Output, PathId, PeerHandle, Receipt, Transmit,
    TransmitClass,
};
use skex_core::rotation::{Rotation, RotationError, RotationEvent, RotationRecord, STATUS_LEN};
use skex_core::{MacKey, Suite, TAG_LEN};
use skex_wire::{Reader, SuiteId, Writer};

use super::keys::StatusKey;

/// Octets of a datagram: version (1), end (1), zeros (2), generation (8), name (16), status, tag.
pub(super) const DATAGRAM_LEN: usize = 4 + 8 + KEY_NAME_LEN + STATUS_LEN + TAG_LEN;

const VERSION: u8 = 1;

/// Datagrams that wait to be sent, at most.
const MOST_OUTGOING: usize = 16;

/// What the feed is to do.
#[derive(Debug)]
pub(super) enum ChannelEvent {
    /// What the rotation orders or tells.
    Rotation(RotationEvent),
    /// The other end says which generation a key has that waits for one here.
    Numbered { name: [u8; KEY_NAME_LEN], generation: u64 },
}

/// A key under which statuses come and go.
struct Keyed {
    name: [u8; KEY_NAME_LEN],
    /// `None`: the other end has not said it yet.
    generation: Option<u64>,
    key: MacKey,
}

/// A rotation and the keys of its statuses.
pub(super) struct Channel {
    pub(super) rotation: Rotation,
    end: End,
    peer: Destination,
    suite: Suite,
    keys: Vec<Keyed>,
    outgoing: VecDeque<Transmit<[u8; DATAGRAM_LEN]>>,
    numbered: VecDeque<ChannelEvent>,
    /// Where the last status came from that said something new.
    path: Option<PathId>,
    /// When to say a generation's number again, that the other end has not.
    announce: Option<Instant>,
    is_due: bool,
    /// A checkpoint is not durable yet.
    storing: bool,
}

/// How often a number is said until the other end has it.
const ANNOUNCE: Duration = Duration::from_millis(250);

impl Channel {
    /// `None` without HMAC-SHA-256.
    pub(super) fn new(rotation: Rotation, end: End, peer: PeerHandle) -> Option<Self> {
        Some(Self {
            rotation,
            end,
            peer: Destination::Peer(peer),
            suite: Suite::from_id(SuiteId::SHA256_AES256GCM)?,
            keys: Vec::new(),
            outgoing: VecDeque::new(),
            numbered: VecDeque::new(),
            path: None,
            announce: None,
            is_due: false,
            storing: false,
        })
    }

    /// Whether the other end has yet to hear which generation its newest key has.
    fn is_ahead(&self) -> bool {
        self.end == End::A && self.rotation.peer_newest() < self.rotation.status().newest
    }

    fn arm(&mut self, now: Instant) {
        if self.announce.is_none() && self.is_ahead() {
            self.announce = Some(now.saturating_add(ANNOUNCE));
        }
    }

    /// The key of a generation is here, as [`Rotation::ready`] takes it.
    pub(super) fn ready(
        &mut self,
        now: Instant,
        status: &StatusKey,
        generation: u64,
    ) -> Result<(), RotationError> {
        self.rotation.ready(now, generation)?;
        // Told under its own key only if it is taken: the other end numbers its key by that.
        self.add(status, Some(generation));
        self.arm(now);
        Ok(())
    }

    /// Statuses come under this key, and go once it has a generation.
    pub(super) fn add(&mut self, status: &StatusKey, generation: Option<u64>) {
        self.keys.retain(|keyed| keyed.name != status.name);
        let key = self.suite.mac_key(status.secret.expose());
        self.keys.push(Keyed { name: status.name, generation, key });
    }

    pub(super) fn forget(&mut self, generation: u64) {
        self.keys.retain(|keyed| keyed.generation != Some(generation));
    }

    pub(super) fn forget_name(&mut self, name: [u8; KEY_NAME_LEN]) {
        self.keys.retain(|keyed| keyed.name != name);
    }

    /// Forgets the keys without a generation.
    pub(super) fn forget_waiting(&mut self) {
        self.keys.retain(|keyed| keyed.generation.is_some());
    }

    /// One copy under each key: the other end may lack any of them, but for one.
    fn send(&mut self, transmit: &Transmit<[u8; STATUS_LEN]>) {
        let to = self.path.map_or(transmit.to, Destination::Path);
        for keyed in &self.keys {
            let Some(generation) = keyed.generation else { continue };
            if self.outgoing.len() >= MOST_OUTGOING {
                return;
            }
            if let Some(datagram) = seal(self.end, keyed, generation, &transmit.payload) {
                self.outgoing.push_back(Transmit::new(to, transmit.class, datagram));
            }
        }
    }
}

const fn end_octet(end: End) -> u8 {
    match end {
        End::A => 1,
        End::B => 2,
    }
}

fn seal(end: End, keyed: &Keyed, generation: u64, status: &[u8; STATUS_LEN]) -> Option<[u8; DATAGRAM_LEN]> {
    let mut datagram = [0; DATAGRAM_LEN];
    let (signed, tag) = datagram.split_at_mut_checked(DATAGRAM_LEN.checked_sub(TAG_LEN)?)?;
    let mut writer = Writer::new(signed);
    writer.bytes(&[VERSION, end_octet(end), 0, 0]).ok()?;
    writer.u64(generation).ok()?;
    writer.bytes(&keyed.name).ok()?;
    writer.bytes(status).ok()?;
    tag.copy_from_slice(&keyed.key.tag(&[signed]));
    Some(datagram)
}

/// A datagram, taken apart and not yet verified.
struct Sealed<'a> {
    end: u8,
    generation: u64,
    name: [u8; KEY_NAME_LEN],
    status: &'a [u8; STATUS_LEN],
    signed: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

fn parse(datagram: &[u8]) -> Option<Sealed<'_>> {
    let signed = datagram.get(..DATAGRAM_LEN.checked_sub(TAG_LEN)?)?;
    let mut reader = Reader::new(datagram);
    let [version, end, zero, other_zero] = reader.array().ok()?;
    let generation = reader.u64().ok()?;
    let name = reader.array().ok()?;
    let status = reader.array_ref().ok()?;
    let tag = reader.array_ref().ok()?;
    reader.finish().ok()?;
    let good = version == VERSION && zero == 0 && other_zero == 0 && generation > 0;
    good.then_some(Sealed { end, generation, name, status, signed, tag })
}

impl Machine for Channel {
    type Record = RotationRecord;
    type Payload = [u8; DATAGRAM_LEN];
    type Event = ChannelEvent;
    type Error = RotationError;

    fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, RotationError> {
        let Some(sealed) = parse(message) else {
            return Ok(Disposition::Discarded(DiscardReason::Malformed));
        };
        if sealed.end != end_octet(self.end.other()) {
            return Ok(Disposition::Discarded(DiscardReason::Unexpected));
        }
        let Some(keyed) = self.keys.iter().find(|keyed| keyed.name == sealed.name) else {
            return Ok(Disposition::Discarded(DiscardReason::UnknownPeer));
        };
        if keyed.key.verify(&[sealed.signed], sealed.tag).is_err() {
            return Ok(Disposition::Discarded(DiscardReason::Unauthentic));
        }
        match keyed.generation {
            Some(generation) if generation == sealed.generation => {}
            Some(_) => return Ok(Disposition::Discarded(DiscardReason::Unexpected)),
            // End A gives the numbers. What else is in the datagram is said again, under this key too.
            None if self.end == End::B => {
                if self.numbered.is_empty() {
                    let (name, generation) = (sealed.name, sealed.generation);
                    self.numbered.push_back(ChannelEvent::Numbered { name, generation });
                }
            }
            None => return Ok(Disposition::Discarded(DiscardReason::Unexpected)),
        }
        let disposition = self.rotation.handle_message(now, rng, from, sealed.status)?;
        self.arm(now);
        if matches!(disposition, Disposition::Accepted) {
            self.path = Some(from);
        }
        Ok(disposition)
    }

    fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), RotationError> {
        if self.announce.is_some_and(|due| due <= now) {
            self.announce = None;
            self.is_due = true;
        }
        self.arm(now);
        self.rotation.handle_timeout(now, rng)
    }

    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), RotationError> {
        self.rotation.handle_persisted(receipt)?;
        self.storing = false;
        Ok(())
    }

    fn poll_output(&mut self) -> Output<RotationRecord, [u8; DATAGRAM_LEN], ChannelEvent> {
        loop {
            if let Some(datagram) = self.outgoing.pop_front() {
                return Output::Transmit(datagram);
            }
            if let Some(event) = self.numbered.pop_front() {
                return Output::Event(event);
            }
            match self.rotation.poll_output() {
                Output::Transmit(status) => self.send(&status),
                Output::Event(event) => return Output::Event(ChannelEvent::Rotation(event)),
                Output::Persist(checkpoint) => {
                    self.storing = true;
                    return Output::Persist(checkpoint);
                }
                // Everything that it had to say was said, so what its status says is durable, if nothing is being stored.
                Output::Wait(_) if self.is_due && self.is_ahead() && !self.storing => {
                    self.is_due = false;
                    let status = self.rotation.status().encode();
                    self.send(&Transmit::new(self.peer, TransmitClass::Retransmission, status));
                }
                Output::Wait(deadline) => {
                    return Output::Wait(deadline.into_iter().chain(self.announce).min());
                }
            }
        }
    }
}
