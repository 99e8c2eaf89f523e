//! What is due to leave: a set of messages and events, made from the state when they leave, and one gate for all.

use skex_core::machine::{Destination, Output, PathId, Transmit, TransmitClass};
use skex_core::{Assurance, KeyId, OutputKey};
use skex_wire::EncodeError;
use skex_wire::unmediated::{
    COOKIE_LEN, CookieMessage, FirstMessage, FourthMessage, LongThirdMessage, PSEUDONYM_LEN, SecondMessage,
    StaleMessage, TAG_LEN, ThirdMessage,
};

use super::{Attempt, Exchange, Peer};
use crate::bytes::{Datagram, Record};
use crate::event::Event;
use crate::exporter::key_bytes;
use crate::record::Link;

/// What is due to leave.
#[derive(Default)]
pub(super) struct Due {
    pub(super) sends: Sends,
    pub(super) events: Events,
    /// Where the message came from that is answered.
    pub(super) reply_path: PathIdSlot,
    pub(super) notice: Notice,
}

/// A path, once there is one.
pub(super) type PathIdSlot = Option<PathId>;

/// The messages that are due.
#[derive(Clone, Copy, Default)]
pub(super) struct Sends(u8);

impl Sends {
    /// Answers to what came in, on the path of it.
    pub(super) const SECOND: Self = Self(1);
    pub(super) const FOURTH: Self = Self(1 << 1);
    pub(super) const NOTICE: Self = Self(1 << 2);
    pub(super) const THIRD_LONG_REPLY: Self = Self(1 << 3);
    /// On our own account.
    pub(super) const FIRST: Self = Self(1 << 4);
    pub(super) const THIRD: Self = Self(1 << 5);
    pub(super) const THIRD_LONG: Self = Self(1 << 6);

    pub(super) const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Removes `other` and says whether it was there.
    const fn take(&mut self, other: Self) -> bool {
        let there = self.0 & other.0 != 0;
        self.0 &= !other.0;
        there
    }
}

/// The events that are due.
#[derive(Clone, Copy, Default)]
pub(super) struct Events {
    pub(super) peer_void: bool,
    pub(super) expired: bool,
    pub(super) void: bool,
    pub(super) resumed: bool,
    pub(super) established: bool,
    pub(super) confirmed: bool,
    pub(super) unanswered: bool,
    pub(super) rolled_back: bool,
}

/// An answer that is not a second message.
#[derive(Clone, Copy, Default)]
pub(super) enum Notice {
    #[default]
    None,
    Cookie([u8; PSEUDONYM_LEN], [u8; COOKIE_LEN]),
    Stale([u8; PSEUDONYM_LEN], [u8; TAG_LEN]),
}

impl Peer {
    pub(super) fn next_output(&mut self) -> Output<Record, Datagram, Event> {
        if let Some(persist) = self.next_checkpoint() {
            return persist;
        }
        if !self.barrier.has_reached(self.gate) {
            return Output::Wait(self.timers.next());
        }
        if let Some(transmit) = self.next_transmit() {
            return Output::Transmit(transmit);
        }
        match self.next_event() {
            Some(event) => Output::Event(event),
            None => Output::Wait(self.timers.next()),
        }
    }

    fn next_checkpoint(&mut self) -> Option<Output<Record, Datagram, Event>> {
        if !self.dirty || self.barrier.is_pending() {
            return None;
        }
        let sequence = self.sequence.saturating_add(1);
        // It always fits. If it did not, nothing would leave: the state stays dirty.
        let record = self.state.to_record(&self.binding, sequence).ok()?;
        let checkpoint = self.barrier.issue(|| record)?;
        self.sequence = sequence;
        self.dirty = false;
        Some(Output::Persist(checkpoint))
    }

    fn next_transmit(&mut self) -> Option<Transmit<Datagram>> {
        // What cannot be made any more is left out; the loop ends because each turn takes one from the set.
        while self.due.sends.0 != 0 {
            if let Some(transmit) = self.take_transmit() {
                return Some(transmit);
            }
        }
        None
    }

    fn take_transmit(&mut self) -> Option<Transmit<Datagram>> {
        let reply = self.due.reply_path.map(Destination::Path);
        if self.due.sends.take(Sends::SECOND) {
            let datagram = self.second_message();
            if self.settings.stateless {
                self.forget_exchange();
            }
            return Some(Transmit::new(reply?, TransmitClass::Reply, datagram?));
        }
        if self.due.sends.take(Sends::FOURTH) {
            return Some(Transmit::new(reply?, TransmitClass::Reply, self.fourth_message()?));
        }
        if self.due.sends.take(Sends::NOTICE) {
            return Some(Transmit::new(reply?, TransmitClass::Reply, self.notice_message()?));
        }
        if self.due.sends.take(Sends::THIRD_LONG_REPLY) {
            return Some(Transmit::new(reply?, TransmitClass::Reply, self.long_third_message()?));
        }
        if self.due.sends.take(Sends::FIRST) {
            let Exchange::Attempt(attempt) = self.exchange else { return None };
            let to = self.towards_peer(attempt.sent);
            let class = if attempt.sent == 0 { TransmitClass::Request } else { TransmitClass::Retransmission };
            return Some(Transmit::new(to, class, self.first_message(&attempt)?));
        }
        if self.due.sends.take(Sends::THIRD) {
            return Some(Transmit::new(self.towards_peer(0), TransmitClass::Request, self.short_third_message()?));
        }
        self.due.sends.take(Sends::THIRD_LONG);
        let to = self.towards_peer(self.heals);
        Some(Transmit::new(to, TransmitClass::Retransmission, self.long_third_message()?))
    }

    fn first_message(&self, attempt: &Attempt) -> Option<Datagram> {
        let mut first = self.unsigned_first(attempt);
        first.tag = attempt.tag;
        first.cookie = attempt.cookie;
        Datagram::write(|writer| first.encode(writer)).ok()
    }

    /// The first message of an attempt of ours, with its tag zero.
    pub(super) fn unsigned_first<'a>(&'a self, attempt: &'a Attempt) -> FirstMessage<'a> {
        let own = self.own_pseudonym();
        FirstMessage::new(attempt.flags, own, &attempt.nonce, self.settings.offer.offered(), &[])
    }

    fn second_message(&self) -> Option<Datagram> {
        let Exchange::Answered(answered) = &self.exchange else { return None };
        let mut second =
            SecondMessage::new(answered.flags, answered.attempt, &answered.nonce, answered.suite.id(), &[]);
        second.tag = answered.tag;
        Datagram::write(|writer| second.encode(writer)).ok()
    }

    fn short_third_message(&self) -> Option<Datagram> {
        let Link::Ahead(third) = &self.state.link else { return None };
        let third = ThirdMessage::new(self.state.previous.own, &[], third.tag);
        Datagram::write(|writer| third.encode(writer)).ok()
    }

    fn long_third_message(&self) -> Option<Datagram> {
        let Link::Ahead(third) = &self.state.link else { return None };
        let own = self.state.previous.own;
        let offered = third.offer.offered();
        let first = FirstMessage::new(third.first_flags, own, &third.initiator_nonce, offered, &[]);
        let attempt = first.attempt();
        let suite = self.state.suite.id();
        let second = SecondMessage::new(third.second_flags, attempt, &third.responder_nonce, suite, &[]);
        let mut long = LongThirdMessage::new(ThirdMessage::new(own, &[], third.tag), &first, &second);
        long.guard = third.guard;
        Datagram::write(|writer| long.encode(writer)).ok()
    }

    fn fourth_message(&self) -> Option<Datagram> {
        let Link::Followed { status, fourth_tag, .. } = self.state.link else { return None };
        let fourth = FourthMessage::new(self.state.previous.peer, status, fourth_tag);
        Datagram::write(|writer| fourth.encode(writer)).ok()
    }

    fn notice_message(&mut self) -> Option<Datagram> {
        let written: Result<Datagram, EncodeError> = match core::mem::take(&mut self.due.notice) {
            Notice::None => return None,
            Notice::Cookie(attempt, cookie) => {
                Datagram::write(|writer| CookieMessage::new(attempt, cookie).encode(writer))
            }
            Notice::Stale(attempt, tag) => Datagram::write(|writer| StaleMessage::new(attempt, tag).encode(writer)),
        };
        written.ok()
    }

    fn next_event(&mut self) -> Option<Event> {
        let events = &mut self.due.events;
        let take = |flag: &mut bool| core::mem::replace(flag, false);
        if take(&mut events.peer_void) {
            return Some(Event::PeerVoid(self.ended));
        }
        if take(&mut events.expired) {
            return Some(Event::Expired(self.ended));
        }
        if take(&mut events.void) {
            return Some(Event::Void(self.state.session.id));
        }
        let resumed = take(&mut events.resumed);
        let established = take(&mut events.established);
        if let (true, Some(session)) = (resumed || established, self.session()) {
            return Some(if established { Event::Established(session) } else { Event::Resumed(session) });
        }
        let events = &mut self.due.events;
        if take(&mut events.confirmed) {
            return Some(Event::Confirmed(self.state.session.id));
        }
        if take(&mut events.unanswered) {
            return Some(Event::Unanswered);
        }
        if take(&mut events.rolled_back) {
            return Some(Event::RolledBack);
        }
        self.next_key().map(Event::KeyReady)
    }

    /// The key whose erasure was to be durable first.
    fn next_key(&mut self) -> Option<OutputKey> {
        let index = self.released_index.take()?;
        let secret = key_bytes(&self.released).ok();
        self.released.wipe();
        Some(output_key(self.state.session.id, index, secret?))
    }
}

/// Keys that come from a chain of hashes are as good as the hash.
pub(super) const fn output_key(session: KeyId, index: u64, secret: skex_core::KeyBytes) -> OutputKey {
    OutputKey::new(session, index, Assurance::Computational, secret)
}
