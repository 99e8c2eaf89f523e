//! What leaves a client: messages for its hubs, and events for its application, for which room is kept.

use alloc::boxed::Box;
use alloc::vec::Vec;

use skex_core::machine::{Destination, Queue, Transmit, TransmitClass};

use super::event::ClientEvent;
use super::hub_link::Connection;
use crate::psrd::Pad;

pub(super) enum Item {
    Transmit(Transmit<Vec<u8>>),
    /// In a box: most are messages, and what a shorter one does not fill would be copied from the stack, whatever lay there.
    Event(Box<ClientEvent>),
}

pub(super) struct Outlet {
    pub(super) queue: Queue<Item>,
    /// Room in the queue that only events use.
    pub(super) events: usize,
}

impl Outlet {
    /// With room for so many messages, and so many events.
    pub(super) const fn new(messages: usize, events: usize) -> Self {
        Self { queue: Queue::new(messages.saturating_add(events)), events }
    }

    /// Whether there is room beside that for events.
    pub(super) fn has_room(&self) -> bool {
        self.queue.free() > self.events
    }

    /// Seals `inner` for a hub and lets it leave behind checkpoint `after`. Without an envelope, or with a full queue,
    /// it is as good as lost on the way.
    pub(super) fn send<P: Pad>(
        &mut self,
        hub: &mut Connection<P>,
        inner: &[u8],
        after: u64,
        class: TransmitClass,
    ) {
        if !self.has_room() {
            return;
        }
        if let Some(datagram) = hub.seal(inner) {
            let transmit = Transmit::new(Destination::Peer(hub.handle), class, datagram);
            let _ = self.queue.push(after, Item::Transmit(transmit));
        }
    }

    /// The queue keeps room for every event that requests and keys within their bounds can give at once.
    pub(super) fn tell(&mut self, after: u64, event: ClientEvent) {
        let _ = self.queue.push(after, Item::Event(Box::new(event)));
    }
}
