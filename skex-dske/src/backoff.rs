//! When to say it again.

use core::time::Duration;

use skex_core::machine::Instant;

/// Doubling intervals up to a cap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    due: Instant,
    interval: u32,
}

/// The first interval, and the longest. In milliseconds, of which 49 days are enough: a hub has many intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) first: u32,
    pub(crate) longest: u32,
}

impl Pace {
    /// Never zero, or a timeout would be due again at once.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        let first = millis(first).max(1);
        Self { first, longest: millis(longest).max(first) }
    }
}

impl Backoff {
    /// Not said yet: due at `now`.
    pub(crate) const fn unsaid(now: Instant, pace: Pace) -> Self {
        Self { due: now, interval: pace.first }
    }

    /// Said at `now`; due again after the first interval.
    pub(crate) const fn new(now: Instant, pace: Pace) -> Self {
        Self { due: later(now, pace.first), interval: pace.first }
    }

    /// When it is due.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Whether it is due at `now`; if so, the next time is set.
    pub(crate) fn take_due(&mut self, now: Instant, pace: Pace) -> bool {
        if now < self.due {
            return false;
        }
        self.interval = self.interval.saturating_mul(2).min(pace.longest);
        self.due = later(now, self.interval);
        true
    }

    /// Somebody asks for it anew: it is due at once, but no sooner than the first interval after it was said last, however often they ask.
    pub(crate) fn hurry(&mut self, now: Instant, pace: Pace) {
        let sooner = u64::from(self.interval.saturating_sub(pace.first));
        let soonest = Instant::from_millis(self.due.as_millis().saturating_sub(sooner));
        self.due = soonest.max(now);
        self.interval = pace.first;
    }
}

/// So many milliseconds later.
pub(crate) const fn later(now: Instant, millis: u32) -> Instant {
    now.saturating_add_millis(millis as u64)
}

/// Whole milliseconds, 49 days at most.
pub(crate) const fn millis(duration: Duration) -> u32 {
    let millis = duration.as_millis();
    #[expect(clippy::cast_possible_truncation, reason = "compared with the limit")]
    if millis > u32::MAX as u128 { u32::MAX } else { millis as u32 }
}
