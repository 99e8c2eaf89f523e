//! When to say it again.

use core::time::Duration;

use skex_core::machine::Instant;

/// Doubling intervals up to a cap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    due: Instant,
    /// Milliseconds: 49 days are enough, and a hub has many of these.
    interval: u32,
}

/// The first interval, and the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Backoff {
    /// Said at `now`; due again after the first interval.
    pub(crate) const fn new(now: Instant, pace: Pace) -> Self {
        Self { due: now.saturating_add(pace.first), interval: millis(pace.first) }
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
        self.interval = self.interval.saturating_mul(2).min(millis(pace.longest));
        self.due = now.saturating_add(Duration::from_millis(u64::from(self.interval)));
        true
    }

    /// Makes it due at `now`.
    pub(crate) const fn hurry(&mut self, now: Instant, pace: Pace) {
        self.due = now;
        self.interval = millis(pace.first);
    }
}

/// Whole milliseconds, 49 days at most.
pub(crate) const fn millis(duration: Duration) -> u32 {
    let millis = duration.as_millis();
    #[expect(clippy::cast_possible_truncation, reason = "compared with the limit")]
    if millis > u32::MAX as u128 { u32::MAX } else { millis as u32 }
}
