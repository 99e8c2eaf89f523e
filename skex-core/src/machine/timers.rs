//! A machine's timers: one deadline for each of a fixed set of purposes.

use super::time::Instant;

/// `N` timers, named by the machine's own enum through `Into<usize>`.
///
/// A name outside `0..N` does not exist: setting it does nothing, and it never expires.
#[derive(Clone, Copy, Debug)]
pub struct Timers<const N: usize> {
    deadlines: [Option<Instant>; N],
}

impl<const N: usize> Timers<N> {
    /// All stopped.
    #[must_use]
    pub const fn new() -> Self {
        Self { deadlines: [None; N] }
    }

    /// Arms `timer` for `deadline`, instead of the deadline that it had.
    pub fn set(&mut self, timer: impl Into<usize>, deadline: Instant) {
        if let Some(slot) = self.deadlines.get_mut(timer.into()) {
            *slot = Some(deadline);
        }
    }

    /// Disarms `timer`.
    pub fn stop(&mut self, timer: impl Into<usize>) {
        if let Some(slot) = self.deadlines.get_mut(timer.into()) {
            *slot = None;
        }
    }

    /// The deadline of `timer`, if it is armed.
    #[must_use]
    pub fn deadline(&self, timer: impl Into<usize>) -> Option<Instant> {
        self.deadlines.get(timer.into()).copied().flatten()
    }

    /// Disarms `timer` and says so if its deadline has come at `now`.
    #[must_use]
    pub fn take_expired(&mut self, timer: impl Into<usize>, now: Instant) -> bool {
        let Some(slot) = self.deadlines.get_mut(timer.into()) else { return false };
        let expired = slot.is_some_and(|deadline| deadline <= now);
        if expired {
            *slot = None;
        }
        expired
    }

    /// The earliest deadline of all.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }
}

impl<const N: usize> Default for Timers<N> {
    fn default() -> Self {
        Self::new()
    }
}
