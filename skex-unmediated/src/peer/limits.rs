//! How much one peer does in a second for who has proved nothing new.

use skex_core::machine::{DiscardReason, Instant, PathId};

use super::Peer;
use crate::rules::{Rule, holds};

/// Authentic first messages that are answered in a second without a cookie, since the last move. An honest initiator sends
/// one or two.
pub(super) const FIRSTS: u8 = 16;

/// Third messages with a wrong tag that are looked at in a second: on the path where the peer was heard, on that to which the
/// last answer went, and on all others together. Whoever has a copy of a first message of the peer's draws an answer to a path of
/// its own, so these are counted apart.
pub(super) const FAILED_THIRDS: u8 = 16;

/// What came in this second.
pub(super) struct Limits {
    // The low half of its number.
    second: u32,
    firsts: u8,
    failed_learned: u8,
    failed_answered: u8,
    failed_elsewhere: u8,
}

impl Limits {
    pub(super) const fn new() -> Self {
        Self { second: 0, firsts: 0, failed_learned: 0, failed_answered: 0, failed_elsewhere: 0 }
    }

    fn turn(&mut self, now: Instant) {
        #[expect(clippy::cast_possible_truncation, reason = "it tells one second from the next")]
        let second = now.as_millis().wrapping_div(1000) as u32;
        if second != self.second {
            *self = Self { second, ..Self::new() };
        }
    }

    /// Another number for each first message of a second.
    #[cfg(test)]
    pub(super) fn firsts_for_tests(&self) -> u64 {
        u64::from(self.firsts) << 32
    }
}

impl Peer {
    /// Whether first messages have to bring a cookie: the embedder says so, or too many came in this second.
    pub(super) fn wants_cookie(&mut self, now: Instant) -> bool {
        self.limits.turn(now);
        self.cookies_demanded || self.limits.firsts >= FIRSTS
    }

    pub(super) const fn note_first(&mut self) {
        self.limits.firsts = self.limits.firsts.saturating_add(1);
    }

    /// The handshake came to its end: what it took is not counted against the next one.
    pub(super) const fn forget_firsts(&mut self) {
        self.limits.firsts = 0;
    }

    /// Whether so many wrong third messages came in this second that no more is looked at on this path.
    pub(super) fn is_shut_for_thirds(&mut self, now: Instant, from: PathId) -> bool {
        self.limits.turn(now);
        *self.failed_thirds(from) >= FAILED_THIRDS && holds(Rule::LimitThirds)
    }

    /// Counts a third message if its tag was wrong.
    pub(super) fn count_third(
        &mut self,
        from: PathId,
        done: Result<(), DiscardReason>,
    ) -> Result<(), DiscardReason> {
        if done == Err(DiscardReason::Unauthentic) {
            let failed = self.failed_thirds(from);
            *failed = failed.saturating_add(1);
        }
        done
    }

    /// The count that this path has a share in.
    fn failed_thirds(&mut self, from: PathId) -> &mut u8 {
        if self.has_learned && self.learned == from {
            &mut self.limits.failed_learned
        } else if self.reply_path == from {
            &mut self.limits.failed_answered
        } else {
            &mut self.limits.failed_elsewhere
        }
    }
}
