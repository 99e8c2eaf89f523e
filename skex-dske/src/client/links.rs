//! The links of a client, with what is asked about all of them at every message: for which it is, and when the first has something to do.

use alloc::vec::Vec;
use core::ops::{Deref, Range};

use skex_core::machine::{Instant, PeerHandle};

use super::hub_link::Connection;
use crate::id::ClientId;
use crate::list::ToList as _;
use crate::psrd::Pad;

/// Read like a slice.
pub(super) struct Links<P> {
    connections: Vec<Connection<P>>,
    /// By link. A link is long, and a message is for one.
    noted: Vec<Noted>,
}

/// What is known of a link without a look at it.
struct Noted {
    /// Not since somebody may have changed it.
    deadline: Option<Instant>,
    handle: PeerHandle,
    client: ClientId,
}

impl<P: Pad> Links<P> {
    pub(super) fn new(connections: Vec<Connection<P>>) -> Self {
        let noted = connections.iter().map(|hub| Noted {
            deadline: None,
            handle: hub.handle,
            client: hub.link.keys.client(),
        });
        Self { noted: noted.list(), connections }
    }

    /// How the embedder calls the hub, and the hub this client.
    pub(super) fn names(&self, link: usize) -> Option<(PeerHandle, ClientId)> {
        self.noted.get(link).map(|noted| (noted.handle, noted.client))
    }

    /// When the first of them is due.
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let is_right =
            |(hub, noted): (&Connection<P>, &Noted)| noted.deadline.is_none_or(|at| at == hub.deadline());
        debug_assert!(self.connections.iter().zip(&self.noted).all(is_right));
        let both = self.connections.iter().zip(&mut self.noted);
        both.map(|(hub, noted)| *noted.deadline.get_or_insert_with(|| hub.deadline())).min()
    }

    pub(super) fn get_mut(&mut self, link: usize) -> Option<&mut Connection<P>> {
        self.noted.get_mut(link)?.deadline = None;
        self.connections.get_mut(link)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection<P>> {
        self.range_mut(0..self.connections.len())
    }

    /// Those from a link on, up to another.
    pub(super) fn range_mut(&mut self, links: Range<usize>) -> impl Iterator<Item = &mut Connection<P>> {
        forget(self.noted.get_mut(links.clone()).unwrap_or_default());
        self.connections.get_mut(links).unwrap_or_default().iter_mut()
    }
}

/// Not inlined: there are many who change all links, and none of them is in a hurry.
#[inline(never)]
fn forget(noted: &mut [Noted]) {
    noted.iter_mut().for_each(|noted| noted.deadline = None);
}

impl<P> Deref for Links<P> {
    type Target = [Connection<P>];

    fn deref(&self) -> &[Connection<P>] {
        &self.connections
    }
}
