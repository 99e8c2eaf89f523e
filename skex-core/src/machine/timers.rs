//! A machine's timers: one deadline for each of a fixed set of purposes.

use super::time::Instant;

/// `N` timers, named by the machine's own enum through `Into<usize>`.
///
/// A name outside `0..N` does not exist: setting it does nothing, and it never expires. Nor does the last instant that
/// there is, which stands for none: so a timer has eight octets.
#[derive(Clone, Copy, Debug)]
pub struct Timers<const N: usize> {
    deadlines: [Instant; N],
}

/// Of a timer that is not armed.
const NEVER: Instant = Instant::from_millis(u64::MAX);

impl<const N: usize> Timers<N> {
    /// All stopped.
    #[must_use]
    pub const fn new() -> Self {
        Self { deadlines: [NEVER; N] }
    }

    /// Arms `timer` for `deadline`, instead of the deadline that it had.
    pub fn set(&mut self, timer: impl Into<usize>, deadline: Instant) {
        if let Some(slot) = self.deadlines.get_mut(timer.into()) {
            *slot = deadline;
        }
    }

    /// Disarms `timer`.
    pub fn stop(&mut self, timer: impl Into<usize>) {
        if let Some(slot) = self.deadlines.get_mut(timer.into()) {
            *slot = NEVER;
        }
    }

    /// The deadline of `timer`, if it is armed.
    #[must_use]
    pub fn deadline(&self, timer: impl Into<usize>) -> Option<Instant> {
        self.deadlines.get(timer.into()).copied().filter(|deadline| *deadline != NEVER)
    }

    /// Disarms `timer` and says so if its deadline has come at `now`.
    #[must_use]
    pub fn take_expired(&mut self, timer: impl Into<usize>, now: Instant) -> bool {
        let Some(slot) = self.deadlines.get_mut(timer.into()) else { return false };
        let expired = *slot != NEVER && *slot <= now;
        if expired {
            *slot = NEVER;
        }
        expired
    }

    /// The earliest deadline of all.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.deadlines.iter().filter(|deadline| **deadline != NEVER).min().copied()
    }
}

impl<const N: usize> Default for Timers<N> {
    fn default() -> Self {
        Self::new()
    }
}
