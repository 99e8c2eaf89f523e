//! The requests under way, with what is asked about all of them at once: which has something to do, and when the first will have.

use alloc::boxed::Box;

use skex_core::KeyId;
use skex_core::machine::Instant;

use super::Request;
use crate::sorted::Sorted;

/// A message changes few of them, and the others are not looked into.
#[derive(Default)]
pub(in crate::client) struct RequestTable(Sorted<KeyId, Entry>);

struct Entry {
    /// When there is something to do.
    due: Instant,
    /// Whether it waits for room in a table, which may come with any message.
    waits: bool,
    /// Not there while it is looked after.
    request: Option<Box<Request>>,
}

impl RequestTable {
    pub(in crate::client) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::client) fn get(&self, key_id: KeyId) -> Option<&Request> {
        self.0.get(&key_id)?.request.as_deref()
    }

    /// When the first of them is due.
    pub(in crate::client) fn deadline(&self) -> Option<Instant> {
        let is_right = |entry: &Entry| {
            let request = entry.request.as_ref();
            request.is_some_and(|request| (request.deadline(), request.waits()) == (entry.due, entry.waits))
        };
        debug_assert!(self.0.iter().all(|(_, entry)| is_right(entry)));
        self.0.iter().map(|(_, entry)| entry.due).min()
    }

    /// Adds one, which is due at once.
    pub(super) fn insert(&mut self, key_id: KeyId, request: Request) {
        let entry = Entry { due: Instant::ZERO, waits: true, request: Some(Box::new(request)) };
        self.0.insert(key_id, entry);
    }

    pub(super) fn remove(&mut self, key_id: KeyId) -> Option<Box<Request>> {
        self.0.remove(&key_id)?.request
    }

    /// Takes the next one behind `last` that may have something to do: to be put back, or removed.
    pub(super) fn take_next(&mut self, last: Option<KeyId>, now: Instant) -> Option<(KeyId, Box<Request>)> {
        self.0.find_behind(last.as_ref(), |key_id, entry| {
            let is_due = entry.waits || entry.due <= now;
            Some((*key_id, entry.request.take_if(|_| is_due)?))
        })
    }

    /// Takes one that a message has given something to do, which was not looked after since: to be put back, or removed.
    pub(super) fn take_changed(&mut self, key_id: KeyId) -> Option<Box<Request>> {
        let entry = self.0.get_mut(&key_id)?;
        let is_changed = entry.due == Instant::ZERO;
        entry.request.take_if(|_| is_changed)
    }

    pub(super) fn put_back(&mut self, key_id: KeyId, request: Box<Request>) {
        if let Some(entry) = self.0.get_mut(&key_id) {
            (entry.due, entry.waits) = (request.deadline(), request.waits());
            entry.request = Some(request);
        }
    }

    /// One of them, and when it has something to do: for whoever changes that.
    pub(super) fn get_mut(&mut self, key_id: KeyId) -> Option<(&mut Request, &mut Instant)> {
        self.0.get_mut(&key_id)?.parts()
    }

    /// All of them, likewise.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&mut Request, &mut Instant)> {
        self.0.iter_mut().filter_map(|(_, entry)| entry.parts())
    }
}

impl Entry {
    fn parts(&mut self) -> Option<(&mut Request, &mut Instant)> {
        Some((self.request.as_mut()?, &mut self.due))
    }
}
