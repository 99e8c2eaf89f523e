//! What a message names of whom it is for, so that a table finds the peer without trying keys.

use skex_wire::unmediated::{FirstMessage, Message, PSEUDONYM_LEN};

use super::{Exchange, Peer};

/// How many tags a peer has at most.
pub(crate) const MAX_TAGS: usize = 4;

/// A pseudonym or the reference of an attempt, as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) kind: TagKind,
    pub(crate) octets: [u8; PSEUDONYM_LEN],
}

/// Whose name a tag is. A name of one kind is never looked for among those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagKind {
    /// The peer's pseudonym, in first and third messages.
    Peer,
    /// Our own, in fourth messages.
    Own,
    /// Our attempt, in second messages, cookies and stale notices.
    Attempt,
}

impl Tag {
    /// What `message` names; `None` for messages of a later version of the wire format.
    pub(crate) const fn of(message: &Message<'_>) -> Option<Self> {
        let (kind, octets) = match message {
            Message::First(first) => (TagKind::Peer, *first.pseudonym.octets()),
            Message::Third(third) => (TagKind::Peer, *third.pseudonym.octets()),
            Message::LongThird(long) => (TagKind::Peer, *long.short.pseudonym.octets()),
            Message::Fourth(fourth) => (TagKind::Own, *fourth.pseudonym.octets()),
            Message::Second(second) => (TagKind::Attempt, second.attempt),
            Message::Cookie(cookie) => (TagKind::Attempt, cookie.attempt),
            Message::Stale(stale) => (TagKind::Attempt, stale.attempt),
            _ => return None,
        };
        Some(Self { kind, octets })
    }
}

impl Peer {
    /// Reads a little of all that a first message needs, so that what is far away in memory comes at once rather than piece by
    /// piece: a machine in a large table is in no cache.
    pub(crate) fn warm(&self) {
        let near = [
            self.peer_pseudonym.octets().first(),
            self.state.chain.expose().first(),
            self.state.chain.expose().last(),
            self.state.previous.peer.octets().first(),
            self.peer_mac.expose().first(),
            self.peer_mac.expose().last(),
            self.boot.expose().first(),
            self.boot.expose().last(),
            self.binding.first(),
            self.binding.last(),
        ];
        let near = near.into_iter().flatten().fold(0, |all, octet| all ^ octet);
        let is_idle = matches!(self.exchange, Exchange::Idle);
        let _ = core::hint::black_box((
            near,
            is_idle,
            self.state.epoch,
            self.state.session.status,
            self.barrier.issued(),
        ));
        let _ = core::hint::black_box((self.timers.next(), self.clock.now(), self.reply_path, self.gated));
        let _ = core::hint::black_box((
            self.settings.retransmit,
            self.mix_needed,
            self.highest_round,
            self.wanted,
        ));
    }

    /// Everything by which a message may name this peer now, in a fixed order and none twice. Nothing is derived here.
    pub(crate) fn tags(&self) -> [Option<Tag>; MAX_TAGS] {
        let tag = |kind, octets| Tag { kind, octets };
        let current = tag(TagKind::Peer, *self.peer_pseudonym.octets());
        let after_enrolment = self.state.epoch > 0;
        let previous = Some(tag(TagKind::Peer, *self.state.previous.peer.octets()))
            .filter(|previous| after_enrolment && *previous != current);
        let own = self.is_ahead().then(|| tag(TagKind::Own, *self.state.previous.own.octets()));
        let attempt = match &self.exchange {
            Exchange::Attempt(attempt) => {
                Some(tag(TagKind::Attempt, FirstMessage::attempt_of(&attempt.nonce)))
            }
            Exchange::Answered(_) | Exchange::Idle => None,
        };
        [Some(current), previous, own, attempt]
    }
}
