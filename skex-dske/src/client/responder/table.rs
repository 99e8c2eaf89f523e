//! The keys that come in, with what is asked about all of them at once: which is due first, and how many each initiator has.

use alloc::boxed::Box;
use alloc::vec::Vec;

use skex_core::machine::Instant;

use super::{Id, Inbound, Stage};
use crate::id::ClientTag;
use crate::sorted::Sorted;

/// No question looks at all keys: deadlines and counts move with each change.
#[derive(Default)]
pub(in crate::client) struct InboundTable {
    entries: Sorted<Id, Box<Inbound>>,
    deadlines: Sorted<(Instant, Id), ()>,
    held: Sorted<ClientTag, Box<Held>>,
}

/// Keys of one initiator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Incomplete ones, by the link that began them.
    begun: Vec<(usize, usize)>,
    /// Accepted ones that the application has not taken.
    pub(super) waiting: usize,
    /// Accepted ones that it has.
    pub(super) recent: usize,
}

/// Among which an initiator's key counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Begun(usize),
    Waiting,
    Recent,
}

impl Kind {
    fn of(inbound: &Inbound) -> Self {
        match &inbound.stage {
            Stage::Collecting(_) => Self::Begun(inbound.begun_by),
            Stage::Accepted(accepted) if accepted.key.is_some() => Self::Waiting,
            Stage::Accepted(_) => Self::Recent,
        }
    }
}

impl Held {
    /// Incomplete ones that `link` began.
    pub(super) fn begun_by(&self, link: usize) -> usize {
        self.begun.iter().find(|(of, _)| *of == link).map_or(0, |(_, count)| *count)
    }

    fn count(&mut self, kind: Kind, change: impl FnOnce(usize) -> usize) {
        let count = match kind {
            Kind::Begun(link) => match self.begun.iter_mut().find(|(of, _)| *of == link) {
                Some((_, count)) => count,
                None => return self.begun.push((link, change(0))),
            },
            Kind::Waiting => &mut self.waiting,
            Kind::Recent => &mut self.recent,
        };
        *count = change(*count);
    }
}

impl InboundTable {
    pub(in crate::client) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Inbound> {
        self.entries.get(id).map(|inbound| &**inbound)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Id, &Inbound)> {
        self.entries.iter().map(|(id, inbound)| (id, &**inbound))
    }

    /// What `initiator` has here.
    pub(super) fn held(&self, initiator: ClientTag) -> Option<&Held> {
        self.held.get(&initiator).map(|held| &**held)
    }

    /// When the first of them is due.
    pub(in crate::client) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|((at, _), ())| *at)
    }

    /// The first that is due at `now`.
    pub(super) fn due(&self, now: Instant) -> Option<Id> {
        let ((at, id), ()) = self.deadlines.first()?;
        (*at <= now).then_some(*id)
    }

    /// The deadline of a key is no longer the one, but the other.
    fn move_deadline(&mut self, id: &Id, from: Option<Instant>, to: Option<Instant>) {
        if let Some(from) = from {
            self.deadlines.remove(&(from, *id));
        }
        if let Some(to) = to {
            self.deadlines.insert((to, *id), ());
        }
    }

    /// Adds a key that is not there yet.
    pub(super) fn insert(&mut self, id: Id, inbound: Inbound) {
        let _ = self.remove(&id);
        self.move_deadline(&id, None, Some(inbound.deadline()));
        self.add(id.0, Kind::of(&inbound));
        self.entries.insert(id, Box::new(inbound));
    }

    /// Takes a key out.
    pub(super) fn remove(&mut self, id: &Id) -> Option<Box<Inbound>> {
        let inbound = self.entries.remove(id)?;
        self.move_deadline(id, Some(inbound.deadline()), None);
        self.subtract(id.0, Kind::of(&inbound));
        Some(inbound)
    }

    fn add(&mut self, initiator: ClientTag, kind: Kind) {
        if let Some(held) = self.held.get_or_default(initiator) {
            held.count(kind, |count| count.saturating_add(1));
        }
    }

    fn subtract(&mut self, initiator: ClientTag, kind: Kind) {
        if let Some(held) = self.held.get_mut(&initiator) {
            held.count(kind, |count| count.saturating_sub(1));
            held.begun.retain(|(_, count)| *count > 0);
            if **held == Held::default() {
                self.held.remove(&initiator);
            }
        }
    }

    /// Changes a key. The one way to do so: what is known of all of them follows.
    pub(super) fn change<R>(&mut self, id: &Id, change: impl FnOnce(&mut Inbound) -> R) -> Option<R> {
        let inbound = self.entries.get_mut(id)?;
        let before = (inbound.deadline(), Kind::of(inbound));
        let result = change(inbound);
        let after = (inbound.deadline(), Kind::of(inbound));
        self.follow(id, before, after);
        Some(result)
    }

    fn follow(&mut self, id: &Id, before: (Instant, Kind), after: (Instant, Kind)) {
        if after.0 != before.0 {
            self.move_deadline(id, Some(before.0), Some(after.0));
        }
        if after.1 != before.1 {
            self.subtract(id.0, before.1);
            self.add(id.0, after.1);
        }
    }
}
