//! What is due to leave: a set of messages and events, made from the state when they leave, and one gate for all.

use skex_core::machine::{Destination, Output, PathId, Transmit, TransmitClass};
use skex_core::{Assurance, KeyBytes, KeyId, OutputKey, Suite};
use skex_wire::unmediated::{
    COOKIE_LEN, CookieMessage, FourthMessage, NONCE_LEN, PSEUDONYM_LEN, SecondMessage, StaleMessage, TAG_LEN,
    ThirdMessage,
};
use skex_wire::{EncodeError, Writer};

use super::initiator::long_third;
use super::mixing::extension;
use super::{Exchange, Peer};
use crate::bytes::{Datagram, Record};
use crate::event::Event;
use crate::exporter::index_of;
use crate::record::{Choice, Link, Status};

/// What is due to leave.
pub(super) struct Due {
    pub(super) sends: Sends,
    pub(super) events: Events,
    answer: Answer,
}

impl Due {
    /// With zeros where an answer will be: see `Peer::new`.
    pub(super) fn nothing(suite: Suite) -> Self {
        let answer = Answer::Second {
            flags: 0,
            suite,
            attempt: [0; PSEUDONYM_LEN],
            nonce: [0; NONCE_LEN],
            choice: Choice::None,
            tag: [0; TAG_LEN],
        };
        let mut due = Self { sends: Sends::default(), events: Events::default(), answer };
        due.answer = Answer::None;
        due
    }
}

/// The messages that are due, in the order in which they leave.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sends(u8);

impl Sends {
    /// Answers to what came in, on the path of it.
    pub(super) const SECOND: Self = Self(1);
    pub(super) const FOURTH: Self = Self(1 << 1);
    pub(super) const NOTICE: Self = Self(1 << 2);
    pub(super) const THIRD_LONG_REPLY: Self = Self(1 << 3);
    const REPLIES: Self = Self(0x0f);
    /// On our own account.
    pub(super) const FIRST: Self = Self(1 << 4);
    pub(super) const THIRD: Self = Self(1 << 5);
    pub(super) const THIRD_LONG: Self = Self(1 << 6);

    pub(super) const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Removes the first of them, and gives it.
    fn take_next(&mut self) -> Option<Self> {
        let first = Self(self.0 & self.0.wrapping_neg());
        self.remove(first);
        (first.0 != 0).then_some(first)
    }
}

/// Why a message is not made: what it was about is over.
const GONE: EncodeError = EncodeError::BufferTooSmall;

/// The events that are due, in the order in which they are told.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Events(u16);

impl Events {
    pub(super) const PEER_VOID: Self = Self(1);
    pub(super) const EXPIRED: Self = Self(1 << 1);
    pub(super) const VOID: Self = Self(1 << 2);
    pub(super) const ESTABLISHED: Self = Self(1 << 3);
    pub(super) const RESUMED: Self = Self(1 << 4);
    pub(super) const CONFIRMED: Self = Self(1 << 5);
    pub(super) const UNANSWERED: Self = Self(1 << 6);
    pub(super) const ROLLED_BACK: Self = Self(1 << 7);
    pub(super) const MIX_STORED: Self = Self(1 << 8);
    pub(super) const MIX_LOST: Self = Self(1 << 9);
    pub(super) const MIX_REFUSED: Self = Self(1 << 10);

    pub(super) const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Drops what would be told of a session that is left.
    pub(super) const fn forget_session(&mut self) {
        self.0 &= !(Self::PEER_VOID.0
            | Self::EXPIRED.0
            | Self::VOID.0
            | Self::RESUMED.0
            | Self::ESTABLISHED.0
            | Self::CONFIRMED.0);
    }

    const fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Removes the first of them, and gives it.
    fn take_next(&mut self) -> Option<Self> {
        let first = Self(self.0 & self.0.wrapping_neg());
        self.remove(first);
        (first.0 != 0).then_some(first)
    }
}

/// What an answer needs beside the state.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    None,
    Second {
        flags: u8,
        suite: Suite,
        attempt: [u8; PSEUDONYM_LEN],
        nonce: [u8; NONCE_LEN],
        choice: Choice,
        tag: [u8; TAG_LEN],
    },
    Cookie([u8; PSEUDONYM_LEN], [u8; COOKIE_LEN]),
    Stale([u8; PSEUDONYM_LEN], [u8; TAG_LEN]),
}

impl Peer {
    /// Answers on the path `from`; an answer that has not left yet gives way.
    pub(super) const fn reply(&mut self, from: PathId, kind: Sends, answer: Answer) {
        self.due.sends.remove(Sends::REPLIES);
        self.due.sends.insert(kind);
        self.due.answer = answer;
        self.reply_path = from;
    }

    /// Writes the next output over `output`, where it is to lie: most of a small stack is one record.
    #[inline(never)]
    pub(super) fn next_output(&mut self, output: &mut Output<Record, Datagram, Event>) {
        if self.dirty
            && let Some(checkpoint) = self.barrier.issue(Record::empty)
        {
            *output = Output::Persist(checkpoint);
            self.write_checkpoint(output);
            return;
        }
        if !self.is_gated() {
            // What cannot be made any more is left out.
            while let Some(send) = self.due.sends.take_next() {
                if self.write_transmit(send, output) {
                    return;
                }
            }
            if self.write_event(output) {
                return;
            }
        }
        *output = Output::Wait(self.timers.next());
    }

    fn write_checkpoint(&mut self, output: &mut Output<Record, Datagram, Event>) {
        let Output::Persist(checkpoint) = output else { return };
        // It always fits. If it did not, nothing would leave any more: a checkpoint was issued, and the state stays dirty.
        let written = self.state.write_record(&self.binding, self.barrier.issued(), checkpoint.record_mut());
        self.dirty = written.is_err();
    }

    /// Whether there was something to write.
    #[inline(never)]
    fn write_transmit(&mut self, send: Sends, output: &mut Output<Record, Datagram, Event>) -> bool {
        let (to, class) = self.directions(send);
        *output = Output::Transmit(Transmit::new(to, class, Datagram::empty()));
        let Output::Transmit(transmit) = output else { return false };
        let made = transmit.payload.write(|writer| self.write(send, writer));
        if matches!(send, Sends::SECOND | Sends::NOTICE) {
            self.due.answer = Answer::None;
        }
        if send == Sends::SECOND && self.settings.stateless && matches!(self.exchange, Exchange::Answered(_))
        {
            // The timer goes on: a yield may turn out fruitless.
            self.exchange = Exchange::Idle;
        }
        made.is_ok()
    }

    /// Whether there was something to tell.
    #[inline(never)]
    fn write_event(&mut self, output: &mut Output<Record, Datagram, Event>) -> bool {
        let Some(event) = self.next_event() else { return false };
        *output = Output::Event(event);
        true
    }

    /// Where to, and why.
    fn directions(&self, send: Sends) -> (Destination, TransmitClass) {
        match send {
            Sends::FIRST => {
                let sent = if let Exchange::Attempt(attempt) = &self.exchange { attempt.sent } else { 0 };
                let class = if sent == 0 { TransmitClass::Request } else { TransmitClass::Retransmission };
                (self.towards_peer(sent), class)
            }
            Sends::THIRD => (self.towards_peer(0), TransmitClass::Request),
            Sends::THIRD_LONG => (self.towards_peer(self.heals), TransmitClass::Retransmission),
            _ => (Destination::Path(self.reply_path), TransmitClass::Reply),
        }
    }

    fn write(&self, send: Sends, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        match send {
            Sends::SECOND | Sends::NOTICE => self.write_answer(writer),
            Sends::FOURTH => self.write_fourth(writer),
            Sends::FIRST => self.write_first(writer),
            Sends::THIRD => self.write_third(writer),
            _ => self.write_long_third(writer),
        }
    }

    fn write_first(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let Exchange::Attempt(attempt) = &self.exchange else { return Err(GONE) };
        let mix_offer = self.mix_offer(attempt.mix_slots, &attempt.nonce);
        self.own_first(attempt, extension(mix_offer.as_ref())).encode(writer)
    }

    fn write_answer(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        match &self.due.answer {
            Answer::None => Err(GONE),
            Answer::Second { flags, suite, attempt, nonce, choice, tag } => {
                let mut second = SecondMessage::new(*flags, *attempt, nonce, suite.id(), choice.octets());
                second.tag = *tag;
                second.encode(writer)
            }
            Answer::Cookie(attempt, cookie) => CookieMessage::new(*attempt, *cookie).encode(writer),
            Answer::Stale(attempt, tag) => StaleMessage::new(*attempt, *tag).encode(writer),
        }
    }

    fn write_third(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let Link::Ahead(third) = &self.state.link else { return Err(GONE) };
        ThirdMessage::new(self.state.previous.own, &[], third.tag).encode(writer)
    }

    fn write_long_third(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let Link::Ahead(third) = &self.state.link else { return Err(GONE) };
        long_third(third, self.state.previous.own, self.state.suite.id()).encode(writer)
    }

    fn write_fourth(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let Link::Followed { status, fourth_tag, .. } = self.state.link else { return Err(GONE) };
        FourthMessage::new(self.state.previous.peer, status, fourth_tag).encode(writer)
    }

    /// Whether a stale notice is about to leave: an authentic first message came from an epoch that both ends have left.
    #[cfg(feature = "alloc")]
    pub(crate) const fn owes_stale_notice(&self) -> bool {
        matches!(self.due.answer, Answer::Stale(..))
    }

    /// Whether something is to be told.
    #[cfg(feature = "alloc")]
    pub(crate) const fn has_events(&self) -> bool {
        self.due.events.0 != 0
    }

    fn next_event(&mut self) -> Option<Event> {
        let id = self.state.session.id;
        while let Some(event) = self.due.events.take_next() {
            return Some(match event {
                Events::PEER_VOID => Event::PeerVoid(id),
                Events::EXPIRED => Event::Expired(id),
                Events::VOID => Event::Void(id),
                Events::ESTABLISHED | Events::RESUMED => {
                    // One word of a session is enough.
                    self.due.events.remove(Events::RESUMED);
                    let Some(session) = self.session() else { continue };
                    if event == Events::ESTABLISHED {
                        Event::Established(session)
                    } else {
                        Event::Resumed(session)
                    }
                }
                Events::CONFIRMED => Event::Confirmed(id),
                Events::UNANSWERED => Event::Unanswered,
                Events::ROLLED_BACK => Event::RolledBack,
                Events::MIX_STORED => Event::MixStored,
                Events::MIX_LOST => Event::MixLost,
                _ => Event::MixRefused,
            });
        }
        self.next_key().map(Event::KeyReady)
    }

    /// The key whose erasure was to be durable first.
    fn next_key(&mut self) -> Option<OutputKey> {
        let number = u32::from(self.released_number.take()?);
        let index = index_of(self.state.side.other(), number);
        let secret = self.state.answering.take_released(number)?;
        Some(self.confirmed_if_live(output_key(self.state.session.id, index, secret)))
    }

    /// A key of the session, of which the peer has shown that it holds it if the session is confirmed. Where the
    /// consumer confirms, keys leave before that.
    pub(super) fn confirmed_if_live(&self, key: OutputKey) -> OutputKey {
        if self.state.session.status == Status::Live { key.confirmed() } else { key }
    }
}

/// Keys that come from a chain of hashes are as good as the hash.
pub(super) const fn output_key(session: KeyId, index: u64, secret: KeyBytes) -> OutputKey {
    OutputKey::new(session, index, Assurance::Computational, secret)
}
