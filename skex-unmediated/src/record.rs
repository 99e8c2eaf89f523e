//! What is durable, and how it is written.
//!
//! The body of the record, inside the frame of `skex_core::record`:
//!
//! ```text
//!  octets  field
//!       1  1, the version of this layout
//!       1  side of this end: 0x61 a, 0x62 b
//!       8  epoch
//!       1  suite of the epoch; H is the length of its hash
//!       1  link: 0 none, 1 followed, 2 ahead
//!       1  session: 0 none, 1 unconfirmed, 2 live, 3 void; plus 0x10 where this end was the initiator, and 0x20 where
//!          fresh secret material was mixed in. In its two high bits: 0 nothing of a recovery; 1 this lane was enrolled by one that is
//!          not concluded; 2 one is allowed on this recovery lane; 3 one is wanted
//!      16  session id
//!       H  chain key
//! after epoch 0:
//!       1  suite of the epoch before
//!       8  own pseudonym in it
//!       8  the peer's
//!      32  key of the peer's first messages in it
//! session unconfirmed or live:
//!       H  link of the chain of the outputs that the peer names; on the recovery lane, that the initiator names
//!       4  its position
//!       1  which slots of the window hold a key
//!     n*H  those keys
//! followed:
//!       1  status in the fourth message: 0 good, 1 void
//!      16  tag of the third message
//!      16  tag of the fourth message
//! ahead:
//!       1  flags of the first message
//!      16  nonce of the initiator
//!    1..9  number of suites and suites offered
//!       1  flags of the second message
//!      16  nonce of the responder
//!      16  tag of the third message
//!       8  guard tag
//!      16  tag of a fourth message that says good
//!      16  tag of one that says void
//! ahead, with 0x10 in the link octet:
//!      16  extension block of the first message
//! ahead, with 0x20 in the link octet:
//!       1  extension block of the second message
//! for each block of fresh secret material that is held, at most two:
//!       1  1 it may be offered and chosen, 2 it was withdrawn
//!      32  the block
//! ```

use skex_core::record::{self, Newest, RECORD_OVERHEAD, RecordError, RecordHeader, RecordKind};
use skex_core::{HashSecret, KeyId, MAX_HASH_LEN, SecretBytes, Suite};
use skex_wire::unmediated::{
    FirstMessage, GUARD_LEN, MAX_SUITES, MIX_OFFER_LEN, NONCE_LEN, Offer, OfferedSuites, PSEUDONYM_LEN,
    Pseudonym, SecondMessage, SessionStatus, TAG_LEN,
};
use skex_wire::{DecodeError, DecodeErrorKind, EncodeError, Reader, SuiteId, Writer};

use crate::bytes::Record;
use crate::config::{BINDING_LEN, Side};
use crate::error::RestoreError;
use crate::event::Role;
use crate::exporter::{AnsweringChain, WINDOW};
use crate::mix::{BLOCKS, Blocks};
use crate::schedule::MAC_KEY_LEN;

const LAYOUT: u8 = 1;
const INITIATOR: u8 = 0x10;
const MIXED: u8 = 0x20;
const RECOVERY_SHIFT: u32 = 6;

// In the link octet.
const OFFERED: u8 = 0x10;
const CHOSEN: u8 = 0x20;

const FIXED: usize = 1 + 1 + 8 + 1 + 1 + 1 + 16 + MAX_HASH_LEN;
const PREVIOUS: usize = 1 + PSEUDONYM_LEN + PSEUDONYM_LEN + MAC_KEY_LEN;
const ANSWERING: usize = MAX_HASH_LEN + 4 + 1;
const AHEAD: usize = 1
    + NONCE_LEN
    + 1
    + MAX_SUITES
    + 1
    + NONCE_LEN
    + TAG_LEN
    + GUARD_LEN
    + TAG_LEN
    + TAG_LEN
    + MIX_OFFER_LEN
    + 1;

/// Octets of the longest record, its frame included: with the window full, eight suites offered and two blocks of fresh
/// secret material held.
pub const MAX_RECORD: usize =
    RECORD_OVERHEAD + FIXED + PREVIOUS + ANSWERING + WINDOW * MAX_HASH_LEN + AHEAD + BLOCKS;

// At most 384 octets with a hash of 32 beside the window, even with eight suites offered.
const _: () = assert!(MAX_RECORD - (WINDOW + 2) * MAX_HASH_LEN + 2 * 32 <= 384);

/// Everything that is durable.
pub(crate) struct State {
    pub(crate) side: Side,
    pub(crate) epoch: u64,
    pub(crate) suite: Suite,
    pub(crate) chain: HashSecret,
    pub(crate) session: SessionState,
    pub(crate) previous: Previous,
    pub(crate) link: Link,
    pub(crate) answering: AnsweringChain,
    pub(crate) blocks: Blocks,
    pub(crate) recovery: Recovery,
}

/// What is going on of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    None,
    /// This lane was enrolled by one that is not concluded.
    Held,
    /// This recovery lane answers the peer.
    Allowed,
    /// It does, and starts handshakes itself.
    Wanted,
}

impl Recovery {
    const fn of(octet: u8) -> Self {
        match octet >> RECOVERY_SHIFT {
            0 => Self::None,
            1 => Self::Held,
            2 => Self::Allowed,
            _ => Self::Wanted,
        }
    }

    /// Whether a record of a lane in this epoch may say so.
    pub(crate) const fn fits(self, is_recovery_lane: bool, epoch: u64) -> bool {
        match self {
            Self::None => true,
            Self::Held => !is_recovery_lane && epoch == 0,
            Self::Allowed | Self::Wanted => is_recovery_lane,
        }
    }
}

/// The session of this epoch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionState {
    pub(crate) id: KeyId,
    pub(crate) status: Status,
    pub(crate) role: Role,
    /// Fresh secret material was mixed into the handshake that began it.
    pub(crate) mixed: bool,
}

/// How a session stands at this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Epoch 0.
    None,
    /// It gives keys where the consumer confirms.
    Unconfirmed,
    /// It gives keys.
    Live,
    /// It gives no keys: it was void, or has ended.
    Void,
}

impl Status {
    pub(crate) const fn has_keys(self) -> bool {
        matches!(self, Self::Unconfirmed | Self::Live)
    }
}

/// What is left of the epoch before. It opens nothing but what is late.
pub(crate) struct Previous {
    pub(crate) suite: Suite,
    pub(crate) own: Pseudonym,
    pub(crate) peer: Pseudonym,
    pub(crate) peer_mac: SecretBytes<MAC_KEY_LEN>,
}

/// How this end stands to its peer.
#[derive(Clone, Copy)]
pub(crate) enum Link {
    /// Mode C: the peer is known to be in this epoch, and nothing is owed.
    None,
    /// Mode C: we followed the peer here; its third message may come again.
    Followed { third_tag: [u8; TAG_LEN], status: SessionStatus, fourth_tag: [u8; TAG_LEN] },
    /// Mode U: we moved first; the peer is here or one epoch behind.
    Ahead(Third),
}

/// What the long third message needs, and what a fourth message must look like.
#[derive(Clone, Copy)]
pub(crate) struct Third {
    pub(crate) first_flags: u8,
    pub(crate) initiator_nonce: [u8; NONCE_LEN],
    pub(crate) offer: Offer,
    pub(crate) second_flags: u8,
    pub(crate) responder_nonce: [u8; NONCE_LEN],
    pub(crate) tag: [u8; TAG_LEN],
    pub(crate) guard: [u8; GUARD_LEN],
    pub(crate) good_tag: [u8; TAG_LEN],
    pub(crate) void_tag: [u8; TAG_LEN],
    /// The extension block of the first message.
    pub(crate) mix_offer: Option<[u8; MIX_OFFER_LEN]>,
    /// The extension block of the second message.
    pub(crate) choice: Choice,
}

impl Third {
    /// All zero but the offer: to be filled in place.
    pub(crate) const fn zeroed(offer: Offer) -> Self {
        Self {
            first_flags: 0,
            initiator_nonce: [0; NONCE_LEN],
            offer,
            second_flags: 0,
            responder_nonce: [0; NONCE_LEN],
            tag: [0; TAG_LEN],
            guard: [0; GUARD_LEN],
            good_tag: [0; TAG_LEN],
            void_tag: [0; TAG_LEN],
            mix_offer: Some([0; MIX_OFFER_LEN]),
            choice: Choice::None,
        }
    }
}

/// Which of the blocks that a first message offers the second message chose: its extension block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// None, and the handshake goes on without.
    None,
    /// None, and it does not: the responder requires one.
    Refused,
    /// That of the first reference.
    First,
    /// That of the second.
    Second,
}

impl Choice {
    /// The reference at this place, counted from 0.
    pub(crate) const fn of(place: usize) -> Self {
        if place == 0 { Self::First } else { Self::Second }
    }

    /// What an extension block says; `None` where it says nothing that a second message may.
    pub(crate) const fn from_extension(extension: &[u8]) -> Option<Self> {
        match extension {
            [] => Some(Self::None),
            [0] => Some(Self::Refused),
            [1] => Some(Self::First),
            [2] => Some(Self::Second),
            _ => None,
        }
    }

    /// The extension block: no octet, or one.
    pub(crate) const fn octets(self) -> &'static [u8] {
        match self {
            Self::None => &[],
            Self::Refused => &[0],
            Self::First => &[1],
            Self::Second => &[2],
        }
    }

    /// The place of the chosen reference, counted from 0.
    pub(crate) const fn place(self) -> Option<usize> {
        match self {
            Self::None | Self::Refused => None,
            Self::First => Some(0),
            Self::Second => Some(1),
        }
    }

    /// The choice in the record of an end that moved with it.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let choice = Self::from_extension(&reader.array::<1>()?);
        choice
            .filter(|choice| choice.place().is_some())
            .ok_or_else(|| reader.error(DecodeErrorKind::BadValue))
    }
}

impl State {
    /// Epoch 0, with its chain key still zero, and zeros where a third message will be: see `Peer::new`.
    pub(crate) fn enrolled(side: Side, suite: Suite, offer: Offer) -> Self {
        let mut state = Self {
            side,
            epoch: 0,
            suite,
            chain: HashSecret::zeroed(suite),
            session: SessionState {
                id: KeyId::new([0; 16]),
                status: Status::None,
                role: Role::Responder,
                mixed: false,
            },
            previous: Previous {
                suite,
                own: Pseudonym::new([0; PSEUDONYM_LEN]),
                peer: Pseudonym::new([0; PSEUDONYM_LEN]),
                peer_mac: SecretBytes::zeroed(),
            },
            link: Link::Ahead(Third::zeroed(offer)),
            answering: AnsweringChain::none(suite),
            blocks: Blocks::none(),
            recovery: Recovery::None,
        };
        state.link = Link::None;
        state
    }

    /// Writes the record of this state, in its place: no second one has room on a small stack.
    #[inline(never)]
    pub(crate) fn write_record(
        &self,
        binding: &[u8; BINDING_LEN],
        sequence: u64,
        record: &mut Record,
    ) -> Result<(), RecordError> {
        let header = RecordHeader::new(RecordKind::UNMEDIATED_PEER, machine_id(binding), sequence);
        let body = |writer: &mut Writer<'_>| self.write(writer).map_err(|_| RecordError::TooLong);
        record.write(|out| record::encode_with(header, out, body))
    }

    /// The record that rules in two slots.
    pub(crate) fn newest<'a>(
        binding: &[u8; BINDING_LEN],
        slots: [&'a [u8]; 2],
    ) -> Result<Newest<'a>, RestoreError> {
        record::newest(slots, RecordKind::UNMEDIATED_PEER, machine_id(binding))?
            .ok_or(RestoreError::NotEnrolled)
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(LAYOUT)?;
        writer.u8(self.side.letter())?;
        writer.u64(self.epoch)?;
        writer.u8(self.suite.id().value())?;
        writer.u8(match self.link {
            Link::None => 0,
            Link::Followed { .. } => 1,
            Link::Ahead(third) => {
                let offered = if third.mix_offer.is_some() { OFFERED } else { 0 };
                2 | offered | if third.choice.octets().is_empty() { 0 } else { CHOSEN }
            }
        })?;
        let role = if self.session.role == Role::Initiator { INITIATOR } else { 0 };
        let mixed = if self.session.mixed { MIXED } else { 0 };
        let recovery = (self.recovery as u8) << RECOVERY_SHIFT;
        writer.u8(self.session.status as u8 | role | mixed | recovery)?;
        writer.bytes(self.session.id.as_bytes())?;
        writer.bytes(self.chain.expose())?;
        if self.epoch > 0 {
            writer.u8(self.previous.suite.id().value())?;
            writer.bytes(self.previous.own.octets())?;
            writer.bytes(self.previous.peer.octets())?;
            writer.bytes(self.previous.peer_mac.expose())?;
        }
        if self.session.status.has_keys() {
            self.answering.write(writer)?;
        }
        self.link.write(writer)?;
        self.blocks.write(writer)
    }

    /// Reads the body of a record over this state, which is an [`enrolled`](Self::enrolled) one. Not inlined: in the frame of a whole
    /// program it is a third longer.
    #[inline(never)]
    pub(crate) fn read(&mut self, body: &[u8]) -> Result<(), RestoreError> {
        let bad = |_: DecodeError| RestoreError::Content;
        let reader = &mut Reader::new(body);
        if reader.u8().map_err(bad)? != LAYOUT {
            return Err(RestoreError::Content);
        }
        let letter = reader.u8().map_err(bad)?;
        if letter == self.side.other().letter() {
            return Err(RestoreError::WrongSide);
        }
        if letter != self.side.letter() {
            return Err(RestoreError::Content);
        }
        self.epoch = reader.u64().map_err(bad)?;
        self.suite = read_suite(reader)?;
        let link = reader.u8().map_err(bad)?;
        let session = reader.u8().map_err(bad)?;
        self.recovery = Recovery::of(session);
        self.session = read_session(session, reader).map_err(bad)?;
        let (has_session, is_initiator) =
            (self.session.status != Status::None, self.session.role == Role::Initiator);
        if has_session != (self.epoch > 0) || (!has_session && (is_initiator || link != 0)) {
            return Err(RestoreError::Content);
        }
        self.chain.overwrite(&HashSecret::zeroed(self.suite));
        reader.read_into(self.chain.expose_mut()).map_err(bad)?;
        if self.epoch > 0 {
            self.previous.suite = read_suite(reader)?;
            self.previous.own = Pseudonym::new(*reader.array_ref().map_err(bad)?);
            self.previous.peer = Pseudonym::new(*reader.array_ref().map_err(bad)?);
            reader.read_into(self.previous.peer_mac.expose_mut()).map_err(bad)?;
        }
        if self.session.status.has_keys() {
            self.answering.read(self.suite, reader).map_err(bad)?;
        }
        self.link = Link::read(link, reader).map_err(bad)?;
        self.blocks.read(reader).map_err(bad)?;
        reader.clone().finish().map_err(bad)
    }
}

impl Link {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::None => Ok(()),
            Self::Followed { third_tag, status, fourth_tag } => {
                writer.u8(u8::from(*status == SessionStatus::Void))?;
                writer.bytes(third_tag)?;
                writer.bytes(fourth_tag)
            }
            Self::Ahead(third) => {
                writer.u8(third.first_flags)?;
                writer.bytes(&third.initiator_nonce)?;
                writer.prefixed_u8(third.offer.offered().octets())?;
                writer.u8(third.second_flags)?;
                writer.bytes(&third.responder_nonce)?;
                writer.bytes(&third.tag)?;
                writer.bytes(&third.guard)?;
                writer.bytes(&third.good_tag)?;
                writer.bytes(&third.void_tag)?;
                writer.bytes(third.mix_offer.as_ref().map_or(&[], |offer| &offer[..]))?;
                writer.bytes(third.choice.octets())
            }
        }
    }

    fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match kind {
            0 => Ok(Self::None),
            1 => Ok(Self::Followed {
                status: match reader.u8()? {
                    0 => SessionStatus::Good,
                    1 => SessionStatus::Void,
                    _ => return Err(reader.error(DecodeErrorKind::BadValue)),
                },
                third_tag: *reader.array_ref()?,
                fourth_tag: *reader.array_ref()?,
            }),
            // A choice is one of an offer.
            _ if kind & !(OFFERED | CHOSEN) == 2 && kind & (OFFERED | CHOSEN) != CHOSEN => {
                let (first_flags, nonce) = (read_flags(reader, FirstMessage::VOID)?, reader.array_ref()?);
                let offered = OfferedSuites::new(reader.prefixed_u8()?).map_err(|kind| reader.error(kind))?;
                let mut third = Third::zeroed(offered.into());
                third.first_flags = first_flags;
                third.initiator_nonce = *nonce;
                third.second_flags = read_flags(reader, SecondMessage::VOID | SecondMessage::STATELESS)?;
                let nonce_and_tags: [&mut [u8]; 5] = [
                    &mut third.responder_nonce,
                    &mut third.tag,
                    &mut third.guard,
                    &mut third.good_tag,
                    &mut third.void_tag,
                ];
                for field in nonce_and_tags {
                    reader.read_into(field)?;
                }
                third.mix_offer = if kind & OFFERED == 0 { None } else { Some(*reader.array_ref()?) };
                third.choice = if kind & CHOSEN == 0 { Choice::None } else { Choice::read(reader)? };
                Ok(Self::Ahead(third))
            }
            _ => Err(reader.error(DecodeErrorKind::BadValue)),
        }
    }
}

/// Those of a message that was sent: the peer takes no other.
fn read_flags(reader: &mut Reader<'_>, known: u8) -> Result<u8, DecodeError> {
    let flags = reader.u8()?;
    if flags & !known == 0 { Ok(flags) } else { Err(reader.error(DecodeErrorKind::BadValue)) }
}

fn read_suite(reader: &mut Reader<'_>) -> Result<Suite, RestoreError> {
    let value = reader.u8().map_err(|_| RestoreError::Content)?;
    Suite::from_id(SuiteId::new(value)).ok_or(RestoreError::Suite)
}

fn read_session(octet: u8, reader: &mut Reader<'_>) -> Result<SessionState, DecodeError> {
    let status = match octet & !(INITIATOR | MIXED | (3 << RECOVERY_SHIFT)) {
        0 => Status::None,
        1 => Status::Unconfirmed,
        2 => Status::Live,
        3 => Status::Void,
        _ => return Err(reader.error(DecodeErrorKind::BadValue)),
    };
    let role = if octet & INITIATOR == 0 { Role::Responder } else { Role::Initiator };
    Ok(SessionState { id: KeyId::new(*reader.array_ref()?), status, role, mixed: octet & MIXED != 0 })
}

/// How the frame of a record names its machine: the front of the hash that binds the enrolment.
fn machine_id(binding: &[u8; BINDING_LEN]) -> [u8; 8] {
    core::array::from_fn(|at| binding.get(at).copied().unwrap_or_default())
}
