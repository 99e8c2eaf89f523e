//! What a peer does when time passes.

use rand_core::CryptoRng;
use skex_core::machine::Instant;

use super::output::{Events, Sends};
use super::{Exchange, Peer};
use crate::record::Status;
use crate::rules::{Rule, holds};

/// Who is ahead repeats its third message for ever, at most so many milliseconds apart.
const LONGEST_HEAL: u32 = 3_600_000;

/// How many repetitions of the third message an application waits for that wants a session.
const PATIENCE: u8 = 2;

/// What a peer waits for.
#[derive(Clone, Copy)]
pub(super) enum Timer {
    /// Our attempt: the next repetition of the first message. Our answer: when nothing came of it.
    Exchange,
    /// The next repetition of the long third message.
    Heal,
    /// The end of the session.
    SessionLife,
}

impl Timer {
    pub(super) const COUNT: usize = 3;
}

impl From<Timer> for usize {
    fn from(timer: Timer) -> Self {
        timer as Self
    }
}

impl Peer {
    pub(super) fn on_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        if self.timers.take_expired(Timer::SessionLife, now) && self.state.session.status.has_keys() {
            self.end_session();
            self.due.events.insert(Events::EXPIRED);
            self.commit(Rule::EraseBeforeKey);
        }
        if self.timers.take_expired(Timer::Heal, now) {
            self.heal(now);
            self.stop_waiting(now, rng);
        }
        if self.timers.take_expired(Timer::Exchange, now) {
            match self.exchange {
                Exchange::Attempt(_) => self.repeat_first(now),
                Exchange::Answered(_) | Exchange::Idle => self.give_up_answer(now, rng),
            }
        }
    }

    /// Nothing came of the first message that we answered. If we gave way to it, we begin again.
    fn give_up_answer(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        self.forget_exchange();
        if !self.wanted || self.rolled_back {
            return;
        }
        self.raise_round();
        self.start_attempt(now, rng);
    }

    /// Our next attempt beats all that were seen.
    pub(super) fn raise_round(&mut self) {
        if holds(Rule::RoundRises) {
            self.round = self.highest_round.saturating_add(1);
        }
    }

    /// Whether we gave up an attempt for a first message of the peer's, or what is said to be one, and nothing has come of that yet.
    pub(super) fn has_yielded(&self) -> bool {
        let is_attempt = matches!(self.exchange, Exchange::Attempt(_));
        self.wanted && !is_attempt && self.timers.deadline(Timer::Exchange).is_some()
    }

    /// The application wants a session, and nobody answers the third message. A first message of the new epoch, beside it,
    /// asks whether the peer is there; or it draws the notice that this end was rolled back.
    pub(super) fn stop_waiting(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        let waited = self.wanted && self.heals > PATIENCE && self.is_ahead();
        if waited && matches!(self.exchange, Exchange::Idle) && self.may_start() {
            self.start_attempt(now, rng);
        }
    }

    /// Sends the long third message, and arms its next repetition.
    pub(super) fn heal(&mut self, now: Instant) {
        if !self.owes_third() {
            return;
        }
        self.repeat_third(now);
        self.arm_heal();
    }

    /// One repetition more, unless one is to leave already. It goes on alternating where it stops counting, as the ways do on which
    /// they are sent.
    pub(super) fn repeat_third(&mut self, now: Instant) {
        self.healed_at = low_half(now.as_millis());
        if self.due.sends.contains(Sends::THIRD_LONG) {
            return;
        }
        self.due.sends.insert(Sends::THIRD_LONG);
        self.heals = self.heals.checked_add(1).unwrap_or(u8::MAX - 1);
    }

    /// The least time between two long third messages that first messages draw.
    pub(super) fn heal_pause(&self) -> u32 {
        self.settings.retransmit.min(LONGEST_HEAL)
    }

    /// As if nothing had been tried in this epoch yet.
    pub(super) fn begin_rounds(&mut self) {
        self.round = 0;
        self.highest_round = 0;
        self.heals = 0;
        self.healed_at = low_half(self.clock.now().as_millis()).wrapping_sub(self.heal_pause());
    }

    pub(super) fn arm_heal(&mut self) {
        let longest = u64::from(LONGEST_HEAL);
        let wait = if self.consumer_confirmed { longest } else { self.wait_after(self.heals).min(longest) };
        self.timers.set(Timer::Heal, self.clock.now().saturating_add_millis(wait));
    }

    pub(super) fn arm_session_life(&mut self) {
        // Whether a recovery has gone through must be known however long it takes, and to both ends alike.
        if self.settings.is_recovery && holds(Rule::RecoveryNeverExpires) {
            return;
        }
        if self.state.session.status == Status::Unconfirmed && !holds(Rule::ExpireUnconfirmed) {
            return;
        }
        let life = match self.state.session.status {
            Status::Unconfirmed => self.settings.unconfirmed_life,
            _ => self.settings.session_life,
        };
        let end = self.clock.now().saturating_add_millis(u64::from(life));
        self.timers.set(Timer::SessionLife, end);
    }

    /// An answer is kept as long as the attempt lives that it answers.
    pub(super) fn arm_answer(&mut self) {
        let end = self.clock.now().saturating_add_millis(self.settings.answer_life());
        self.timers.set(Timer::Exchange, end);
    }
}

/// Of a number that is compared with others near it only.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
pub(super) const fn low_half(number: u64) -> u32 {
    number as u32
}
