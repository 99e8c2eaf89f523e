//! What waits inside a machine until it may leave.

use super::barrier::Barrier;

/// The outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much waits to leave the machine; poll its outputs and store its checkpoints first")]
#[non_exhaustive]
pub struct OutboxFull;

/// At most `N` things that wait to leave, inline, each behind the checkpoint that it depends on.
///
/// They leave in the order in which they came, except that what waits for nothing overtakes what still waits.
#[derive(Debug)]
pub struct Outbox<T, const N: usize> {
    // Filled from the front: the first `None` ends it.
    entries: [Option<(u64, T)>; N],
}

impl<T, const N: usize> Outbox<T, N> {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: [const { None }; N] }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.first().is_none_or(Option::is_none)
    }

    /// How many more it takes.
    #[must_use]
    pub fn free(&self) -> usize {
        self.entries.iter().filter(|entry| entry.is_none()).count()
    }

    /// Adds `item`, which may leave once checkpoint `after` is durable ([`Barrier::after`], [`Barrier::OPEN`]).
    ///
    /// # Errors
    ///
    /// [`OutboxFull`]; nothing changed.
    pub fn push(&mut self, after: u64, item: T) -> Result<(), OutboxFull> {
        let slot = self.entries.iter_mut().find(|entry| entry.is_none()).ok_or(OutboxFull)?;
        *slot = Some((after, item));
        Ok(())
    }

    /// The first that may leave.
    pub fn pop(&mut self, barrier: &Barrier) -> Option<T> {
        let ready =
            |entry: &Option<(u64, T)>| entry.as_ref().is_some_and(|(after, _)| barrier.has_reached(*after));
        let position = self.entries.iter().position(ready)?;
        let rest = self.entries.get_mut(position..)?;
        let item = rest.first_mut()?.take();
        rest.rotate_left(1);
        item.map(|(_, item)| item)
    }

    /// Drops everything that waits and `unwanted` says so of.
    pub fn discard(&mut self, mut unwanted: impl FnMut(&T) -> bool) {
        for entry in &mut self.entries {
            if entry.as_ref().is_some_and(|(_, item)| unwanted(item)) {
                *entry = None;
            }
        }
        // Close the gaps, in order: empty entries move behind the others.
        let mut kept = 0;
        for position in 0..N {
            if self.entries.get(position).is_some_and(Option::is_some) {
                self.entries.swap(kept, position);
                kept = kept.saturating_add(1);
            }
        }
    }
}

impl<T, const N: usize> Default for Outbox<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The outbox of a machine with an allocator: bounded, and constant time however much waits.
///
/// What is in it leaves as from an [`Outbox`]: in the order in which it came, except that what waits for nothing overtakes what still
/// waits. What comes for a checkpoint that was durable when something was last popped waits for nothing, as an answer that is repeated. One
/// difference: what comes for an earlier checkpoint than something before it, neither of them durable, waits for both.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct Queue<T> {
    open: Lane<T>,
    // What was changed now waits for the barrier's next checkpoint, so their checkpoints rise; where one falls, it leaves later than it
    // might, and none too early.
    gated: Lane<T>,
    bound: usize,
    /// The newest checkpoint that is known to be durable.
    durable: u64,
    /// How many have come.
    arrivals: u64,
}

/// Where something waits in a [`Queue`].
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    after: u64,
    number: u64,
}

#[cfg(feature = "alloc")]
impl<T> Queue<T> {
    /// An empty one for at most `bound` things. Nothing is allocated yet.
    #[must_use]
    pub const fn new(bound: usize) -> Self {
        Self { open: Lane::new(), gated: Lane::new(), bound, durable: Barrier::OPEN, arrivals: 0 }
    }

    /// How many more it takes.
    #[must_use]
    pub fn free(&self) -> usize {
        self.bound.saturating_sub(self.open.waiting.len()).saturating_sub(self.gated.waiting.len())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.waiting.is_empty() && self.gated.waiting.is_empty()
    }

    /// Adds `item`, which may leave once checkpoint `after` is durable ([`Barrier::after`], [`Barrier::OPEN`]). Gives where it
    /// waits.
    ///
    /// # Errors
    ///
    /// [`OutboxFull`]; nothing changed.
    pub fn push(&mut self, after: u64, item: T) -> Result<Place, OutboxFull> {
        if self.free() == 0 {
            return Err(OutboxFull);
        }
        let arrival = self.arrivals.wrapping_add(1);
        self.arrivals = arrival;
        let after = self.awaited(after);
        let number = self.lane(after).push(Waiting { after, arrival, item });
        Ok(Place { after, number })
    }

    /// What waits at a place for checkpoint `after`, or for nothing where that is durable. `None` if it waits there for another, has left, or
    /// anything was discarded since it came.
    pub fn waiting_mut(&mut self, place: Place, after: u64) -> Option<&mut T> {
        let after = if place.after == after { after } else { self.awaited(after) };
        if place.after == after { self.lane(after).get_mut(place.number) } else { None }
    }

    /// The first that may leave.
    pub fn pop(&mut self, barrier: &Barrier) -> Option<T> {
        self.durable = barrier.durable();
        let released = self.gated.waiting.front().filter(|first| barrier.has_reached(first.after));
        let open = self.open.waiting.front();
        let gated_is_first =
            released.is_some_and(|released| open.is_none_or(|open| released.arrival < open.arrival));
        if gated_is_first { self.gated.pop() } else { self.open.pop() }
    }

    /// Drops everything that waits and `unwanted` says so of.
    pub fn discard(&mut self, mut unwanted: impl FnMut(&T) -> bool) {
        self.open.discard(&mut unwanted);
        self.gated.discard(&mut unwanted);
    }

    /// What there is to wait for of checkpoint `after`.
    const fn awaited(&self, after: u64) -> u64 {
        if after <= self.durable { Barrier::OPEN } else { after }
    }

    const fn lane(&mut self, after: u64) -> &mut Lane<T> {
        if after == Barrier::OPEN { &mut self.open } else { &mut self.gated }
    }
}

/// What waits in one line: none overtakes another.
#[cfg(feature = "alloc")]
#[derive(Debug)]
struct Lane<T> {
    waiting: alloc::collections::VecDeque<Waiting<T>>,
    /// The number of the place of the first.
    first: u64,
}

#[cfg(feature = "alloc")]
#[derive(Debug)]
struct Waiting<T> {
    after: u64,
    arrival: u64,
    item: T,
}

#[cfg(feature = "alloc")]
impl<T> Lane<T> {
    const fn new() -> Self {
        Self { waiting: alloc::collections::VecDeque::new(), first: 0 }
    }

    /// Gives the number of its place.
    fn push(&mut self, entry: Waiting<T>) -> u64 {
        let number = self.first.wrapping_add(self.waiting.len() as u64);
        self.waiting.push_back(entry);
        number
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let index = usize::try_from(number.wrapping_sub(self.first)).ok()?;
        self.waiting.get_mut(index).map(|entry| &mut entry.item)
    }

    fn pop(&mut self) -> Option<T> {
        let entry = self.waiting.pop_front()?;
        self.first = self.first.wrapping_add(1);
        Some(entry.item)
    }

    fn discard(&mut self, unwanted: &mut impl FnMut(&T) -> bool) {
        // What is left has other places now, beyond those that were given.
        self.first = self.first.wrapping_add(self.waiting.len() as u64);
        self.waiting.retain(|entry| !unwanted(&entry.item));
    }
}
