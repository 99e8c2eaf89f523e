//! What leaves a client: messages for its hubs, and events for its application, for which room is kept.

use alloc::boxed::Box;
use alloc::vec::Vec;

use skex_core::machine::{Destination, Transmit, TransmitClass};

use super::event::ClientEvent;
use super::hub_link::Connection;
use crate::outbox::Outbox;
use crate::psrd::Pad;

pub(super) enum Item {
    Transmit(Transmit<Vec<u8>>),
    /// In a box: most are messages, and what a shorter one does not fill would be copied from the stack, whatever lay there.
    Event(Box<ClientEvent>),
}

pub(super) struct Outlet {
    pub(super) outbox: Outbox<Item>,
    /// Room in it that only events use.
    pub(super) events: usize,
}

impl Outlet {
    /// With room for so many datagrams, and so many events, and datagrams of so many octets that several messages for one of `links`
    /// hubs share.
    pub(super) fn new(datagrams: usize, events: usize, links: usize, longest: usize) -> Self {
        Self { outbox: Outbox::new(datagrams.saturating_add(events), links, longest), events }
    }

    /// Whether there is room beside that for events.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.free() > self.events
    }

    /// Lets `inner` leave for the hub of a link behind checkpoint `after`, with our salt until the hub has answered. Without an
    /// envelope, or with a full queue, it is as good as lost on the way.
    pub(super) fn send<P: Pad>(
        &mut self,
        (link, hub): (usize, &Connection<P>),
        inner: &[u8],
        after: u64,
        class: TransmitClass,
    ) {
        if let (true, Some(session), Ok(link)) =
            (self.has_room(), hub.link.session_number(), u32::try_from(link))
        {
            let (fresh, to) = (!hub.is_confirmed(), Destination::Peer(hub.handle));
            self.outbox.send((link, session, to), fresh, (after, class), inner.len(), |out| out.bytes(inner));
        }
    }

    /// The queue keeps room for every event that requests and keys within their bounds can give at once.
    pub(super) fn tell(&mut self, after: u64, event: ClientEvent) {
        self.outbox.push(after, Item::Event(Box::new(event)));
    }
}
