//! Who has something to say, and who wants to be woken when: no machine is asked in vain.

use alloc::collections::BTreeSet;

use skex_core::machine::Instant;

use super::lane::Lane;

/// Two ordered sets of places. Each lane knows under what it stands in them.
pub(super) struct Agenda {
    next_turn: u64,
    ready: BTreeSet<(u64, u32)>,
    deadlines: BTreeSet<(Instant, u32)>,
}

impl Agenda {
    pub(super) const fn new() -> Self {
        Self { next_turn: 0, ready: BTreeSet::new(), deadlines: BTreeSet::new() }
    }

    /// This lane may have something to say. They are asked in the order in which that came about.
    pub(super) fn make_ready(&mut self, place: u32, lane: &mut Lane) {
        if lane.turn.is_none() {
            self.ready.insert((self.next_turn, place));
            lane.turn = Some(self.next_turn);
            self.next_turn = self.next_turn.wrapping_add(1);
        }
    }

    /// Who is asked next. It stays first until it [waits](Self::wait).
    pub(super) fn first_ready(&self) -> Option<u32> {
        self.ready.first().map(|(_, place)| *place)
    }

    /// This lane has said all, and is to be woken at `deadline`.
    pub(super) fn wait(&mut self, place: u32, lane: &mut Lane, deadline: Option<Instant>) {
        if let Some(turn) = lane.turn.take() {
            self.ready.remove(&(turn, place));
        }
        if lane.deadline == deadline {
            return;
        }
        if let Some(old) = lane.deadline {
            self.deadlines.remove(&(old, place));
        }
        self.deadlines.extend(deadline.map(|new| (new, place)));
        lane.deadline = deadline;
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out the lane whose deadline is the earliest of those that have come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u32> {
        let (deadline, place) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        Some(place)
    }
}
