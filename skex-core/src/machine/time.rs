//! Time as the caller tells it.

use core::time::Duration;

/// A point in time: milliseconds since an origin of the caller's choice, never running backwards.
///
/// It need not survive a restart and is never compared with another machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The caller's origin.
    pub const ZERO: Self = Self(0);

    /// `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the origin.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The point `duration` later, rounded down to milliseconds; the last representable one instead of overflow.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        let whole = duration.as_secs().saturating_mul(1000);
        self.saturating_add_millis(whole.saturating_add(duration.subsec_millis() as u64))
    }

    /// The point `millis` milliseconds later; the last representable one instead of overflow.
    #[must_use]
    // A small machine has it once, and not at each place where something is due.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub const fn saturating_add_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// How much later this is than `earlier`; zero if it is not.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The latest time that a machine has been told; it never goes back (law 5). It ends 2^63 milliseconds after zero: whatever is later is
/// that, so that each deadline lies behind the time at which it is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(Instant);

/// The last time that a machine knows, 292 million years after zero.
const LAST: Instant = Instant(1 << 63);

impl Clock {
    /// A clock that has seen `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self(if now.0 > LAST.0 { LAST } else { now })
    }

    /// Takes the caller's `now` and gives the time to work with: `now`, or the last seen time if that is later.
    #[must_use]
    pub fn observe(&mut self, now: Instant) -> Instant {
        self.0 = self.0.max(now.min(LAST));
        self.0
    }

    /// The last seen time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.0
    }
}
