//! Virtual time.

use core::time::Duration;

use skex_core::machine::Instant;

/// The world's time, in virtual milliseconds. It moves only when the world does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    now: Instant,
}

impl Clock {
    /// A clock at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { now: Instant::ZERO }
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Moves on to `then`, unless that has passed already.
    pub fn advance_to(&mut self, then: Instant) {
        self.now = self.now.max(then);
    }

    /// Moves on by `duration`.
    pub const fn advance_by(&mut self, duration: Duration) {
        self.now = self.now.saturating_add(duration);
    }
}

/// How far a node's clock is from the world's: nodes share no origin, and a node's clock can be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skew {
    ahead: u64,
    behind: u64,
}

impl Skew {
    pub(crate) const fn ahead(millis: u64) -> Self {
        Self { ahead: millis, behind: 0 }
    }

    pub(crate) const fn behind(millis: u64) -> Self {
        Self { ahead: 0, behind: millis }
    }

    /// The node's time at the world's `now`.
    pub(crate) const fn local(self, now: Instant) -> Instant {
        Instant::from_millis(now.as_millis().saturating_add(self.ahead).saturating_sub(self.behind))
    }

    /// The world's time at the node's `local`.
    pub(crate) const fn world(self, local: Instant) -> Instant {
        Instant::from_millis(local.as_millis().saturating_add(self.behind).saturating_sub(self.ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back() {
        let mut clock = Clock::new();
        clock.advance_to(Instant::from_millis(5));
        clock.advance_to(Instant::from_millis(3));
        clock.advance_by(Duration::from_millis(2));
        assert_eq!(clock.now(), Instant::from_millis(7));
    }

    #[test]
    fn a_skew_goes_there_and_back() {
        for skew in [Skew::default(), Skew::ahead(40), Skew::behind(40)] {
            let now = Instant::from_millis(100);
            assert_eq!(skew.world(skew.local(now)), now);
        }
        assert_eq!(Skew::behind(200).local(Instant::from_millis(100)), Instant::ZERO);
    }
}
