//! A client's side of one link: from the first hello to an open envelope.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::machine::{DiscardReason, Instant, PeerHandle};
use skex_wire::dske::{Hello, HelloRequest, Sealed, Tagged};

use crate::backoff::{Backoff, Pace};
use crate::envelope::Side;
use crate::link::Link;
use crate::psrd::Pad;
use crate::share::Coordinate;

/// A link with what only its client knows of it.
#[derive(Debug)]
pub(super) struct Connection<P> {
    pub(super) link: Link<P>,
    pub(super) handle: PeerHandle,
    pub(super) coordinate: Coordinate,
    state: State,
    /// The AEAD tags of the last messages that were sealed under this envelope.
    last_tags: VecDeque<[u8; 16]>,
    /// The request for an uplink lease that is on its way.
    pub(super) lease_retry: Option<Backoff>,
    /// When to fetch next.
    pub(super) fetch_at: Instant,
    pub(super) low_reported: (bool, bool),
}

#[derive(Debug)]
enum State {
    /// HELLO was said, with this salt.
    AwaitReply { salt: [u8; 16], retry: Backoff },
    /// The envelope is open, and nothing has come back under it: our salt goes along. After a few fetches without an
    /// answer a new hello is due: an older attempt of ours, held back on the way, may have taken our place at the hub.
    Fresh { fetches: u8 },
    /// Open, and known to be open at the hub.
    Open,
}

/// Fetches that a fresh envelope gets, each after twice the time: nearly eight seconds in all by default.
const FRESH_FETCHES: u8 = 5;

/// Messages by which a hub can say that it does not know this envelope: more than a busy client sends in a round trip.
const LAST_TAGS: usize = 64;

impl<P: Pad> Connection<P> {
    /// A link after a start: it begins with a hello.
    pub(super) fn new(
        link: Link<P>,
        handle: PeerHandle,
        coordinate: Coordinate,
        now: Instant,
        pace: Pace,
        rng: &mut dyn CryptoRng,
    ) -> Self {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        let mut retry = Backoff::new(now, pace);
        retry.hurry(now, pace);
        Self {
            link,
            handle,
            coordinate,
            state: State::AwaitReply { salt, retry },
            last_tags: VecDeque::new(),
            lease_retry: None,
            fetch_at: now,
            low_reported: (false, false),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::AwaitReply { .. })
    }

    /// Whether the hub has answered under the envelope.
    pub(super) const fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Counts a fetch under an envelope that nothing has come back under. `false`: enough of them, start anew.
    #[must_use]
    pub(super) const fn may_fetch(&mut self) -> bool {
        let State::Fresh { fetches } = &mut self.state else { return true };
        *fetches = fetches.saturating_add(1);
        *fetches <= FRESH_FETCHES
    }

    /// How long to wait for the answer to a fetch before the next, while the envelope is fresh.
    pub(super) fn fetch_interval(&self, first: Duration) -> Option<Duration> {
        let State::Fresh { fetches } = &self.state else { return None };
        Some(first.saturating_mul(1 << fetches.saturating_sub(1).min(FRESH_FETCHES)))
    }

    /// Drops the envelope and says hello anew, with a new salt.
    pub(super) fn restart(&mut self, now: Instant, pace: Pace, rng: &mut dyn CryptoRng) {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        let mut retry = Backoff::new(now, pace);
        retry.hurry(now, pace);
        self.link.end();
        // The hub answered a burst of messages one by one: those answers must not end the next envelope too.
        self.last_tags.clear();
        self.lease_retry = None;
        self.state = State::AwaitReply { salt, retry };
    }

    /// The hello, if it is due.
    pub(super) fn hello_due(&mut self, now: Instant, pace: Pace) -> Option<Vec<u8>> {
        let State::AwaitReply { salt, retry } = &mut self.state else { return None };
        if retry.take_due(now, pace) { self.link.keys.hello(*salt) } else { None }
    }

    /// Says the hello at once, instead of at the next interval: somebody waits for this hub.
    pub(super) const fn hurry(&mut self, now: Instant, pace: Pace) {
        if let State::AwaitReply { retry, .. } = &mut self.state {
            retry.hurry(now, pace);
        }
    }

    pub(super) const fn hello_at(&self) -> Option<Instant> {
        match &self.state {
            State::AwaitReply { retry, .. } => Some(retry.due()),
            State::Fresh { .. } | State::Open => None,
        }
    }

    /// The hub's salt: the envelope opens.
    pub(super) fn on_hello_reply(&mut self, reply: &Tagged<'_, Hello>) -> Result<(), DiscardReason> {
        let State::AwaitReply { salt, .. } = self.state else { return Err(DiscardReason::Unexpected) };
        if !self.link.keys.verifies_hello_reply(&salt, reply) {
            return Err(DiscardReason::Unauthentic);
        }
        let session = self.link.keys.session(Side::Client, salt, &reply.message.salt);
        self.link.begin(session);
        self.last_tags.clear();
        self.state = State::Fresh { fetches: 0 };
        Ok(())
    }

    /// Whether the hub really could not open one of the last messages that were sent to it.
    pub(super) fn verifies_hello_request(
        &self,
        request: &Tagged<'_, HelloRequest>,
    ) -> Result<(), DiscardReason> {
        if !self.is_open() {
            return Err(DiscardReason::Unexpected);
        }
        if self.link.keys.verifies_hello_request(&self.last_tags, request) {
            Ok(())
        } else {
            Err(DiscardReason::Unauthentic)
        }
    }

    /// The inner message of a datagram under the envelope.
    pub(super) fn open(&mut self, sealed: &Sealed<'_>) -> Result<Vec<u8>, DiscardReason> {
        if sealed.header.salt.is_some() {
            return Err(DiscardReason::Unexpected);
        }
        let inner = self.link.open(sealed)?;
        self.state = State::Open;
        Ok(inner)
    }

    /// `inner` as a datagram, with our salt until the hub has answered.
    pub(super) fn seal(&mut self, inner: &[u8]) -> Option<Vec<u8>> {
        let fresh = !self.is_confirmed();
        let datagram = self.link.seal(inner, fresh)?;
        self.last_tags.truncate(LAST_TAGS - 1);
        self.last_tags.push_front(*datagram.last_chunk()?);
        Some(datagram)
    }
}
