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
/// What waits for nothing leaves first, in its order; then what waited for a checkpoint, in the order in which it came.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct Queue<T> {
    open: alloc::collections::VecDeque<T>,
    // Their numbers never fall from front to back, because a barrier's never do.
    gated: alloc::collections::VecDeque<(u64, T)>,
    bound: usize,
    // The numbers of the places of the first of each.
    first: (u64, u64),
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
        let open = alloc::collections::VecDeque::new();
        let gated = alloc::collections::VecDeque::new();
        Self { open, gated, bound, first: (0, 0) }
    }

    /// How many more it takes.
    #[must_use]
    pub fn free(&self) -> usize {
        self.bound.saturating_sub(self.open.len()).saturating_sub(self.gated.len())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.gated.is_empty()
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
        let (first, before) = if after == Barrier::OPEN {
            self.open.push_back(item);
            (self.first.0, self.open.len())
        } else {
            self.gated.push_back((after, item));
            (self.first.1, self.gated.len())
        };
        let number = first.wrapping_add(before as u64).wrapping_sub(1);
        Ok(Place { after, number })
    }

    /// What waits at a place for checkpoint `after`. `None` if it waits there for another, has left, or anything was discarded since
    /// it came.
    pub fn waiting_mut(&mut self, place: Place, after: u64) -> Option<&mut T> {
        let index = |first: u64| usize::try_from(place.number.wrapping_sub(first)).ok();
        if place.after != after {
            None
        } else if after == Barrier::OPEN {
            self.open.get_mut(index(self.first.0)?)
        } else {
            self.gated.get_mut(index(self.first.1)?).map(|(_, item)| item)
        }
    }

    /// The first that may leave.
    pub fn pop(&mut self, barrier: &Barrier) -> Option<T> {
        if let Some(item) = self.open.pop_front() {
            self.first.0 = self.first.0.wrapping_add(1);
            return Some(item);
        }
        if self.gated.front().is_some_and(|(after, _)| barrier.has_reached(*after)) {
            self.first.1 = self.first.1.wrapping_add(1);
            return self.gated.pop_front().map(|(_, item)| item);
        }
        None
    }

    /// Drops everything that waits and `unwanted` says so of.
    pub fn discard(&mut self, mut unwanted: impl FnMut(&T) -> bool) {
        // What is left has other places now, beyond those that were given.
        self.first.0 = self.first.0.wrapping_add(self.open.len() as u64);
        self.first.1 = self.first.1.wrapping_add(self.gated.len() as u64);
        self.open.retain(|item| !unwanted(item));
        self.gated.retain(|(_, item)| !unwanted(item));
    }
}
