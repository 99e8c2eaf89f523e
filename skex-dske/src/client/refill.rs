//! A table comes over the network: gathered, given to the application to be stored, then added
//! (docs/draft-skex-dske.md, "Refill").

use alloc::boxed::Box;

use skex_core::SecretVec;
use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_wire::dske::{Direction, Refill, Refilled};

use super::Client;
use super::event::ClientEvent;
use crate::backoff::later;
use crate::key::encoded;
use crate::psrd::{ELEMENT_LEN, Pad};

/// A table that is coming.
#[derive(Debug)]
pub(super) struct Gathering {
    direction: Direction,
    number: u16,
    elements: u32,
    /// Before this no other takes its place.
    stays_until: Instant,
    /// Everything below has come.
    next: u32,
    /// Until it was given to the application.
    octets: Option<SecretVec>,
}

impl Gathering {
    pub(super) fn is(&self, direction: Direction, number: u16) -> bool {
        (self.direction, self.number) == (direction, number)
    }
}

impl<P: Pad> Client<P> {
    pub(super) fn on_refill(&mut self, link: usize, refill: &Refill<'_>) -> Disposition {
        let longest = self.limits.longest_refill;
        let now = self.clock.now();
        let Some(hub) = self.links.get_mut(link) else {
            return self.discards.discard(DiscardReason::UnknownPeer);
        };
        let Refill { direction, table: number, elements, first, pad, .. } = *refill;
        if hub.link.had_table(direction, number) {
            self.say_refilled(link, direction, number, elements);
            return Disposition::Accepted;
        }
        // What could not be added is not gathered: the application would be given what it has no use for.
        if elements > longest || hub.link.check_new(direction, number).is_err() {
            return self.discards.discard(DiscardReason::Policy);
        }
        let same = |coming: &Gathering| coming.is(direction, number) && coming.elements == elements;
        // The hub sends one table at a time, each from its beginning.
        if !hub.refill.as_deref().is_some_and(same) {
            let len = usize::try_from(elements).ok().and_then(|elements| elements.checked_mul(ELEMENT_LEN));
            let Some(len) = len.filter(|_| first == 0) else {
                self.say_refilled(link, direction, number, 0);
                return self.discards.discard(DiscardReason::Stale);
            };
            // Memory for a whole table, and the wiping of what it had, for each short message were more than a client has time for.
            if hub.refill.as_deref().is_some_and(|coming| now < coming.stays_until) {
                return self.discards.discard(DiscardReason::Busy);
            }
            let octets = Some(SecretVec::zeroed(len));
            let stays_until = later(now, self.limits.pace().first);
            let coming = Gathering { direction, number, elements, stays_until, next: 0, octets };
            hub.refill = Some(Box::new(coming));
        }
        let Some(coming) = hub.refill.as_deref_mut() else { return Disposition::Accepted };
        let count = u32::try_from(pad.len() / ELEMENT_LEN).unwrap_or(u32::MAX);
        let mut whole = None;
        if first == coming.next
            && let Some(octets) = &mut coming.octets
        {
            let start = usize::try_from(first).ok().and_then(|first| first.checked_mul(ELEMENT_LEN));
            let place = start.and_then(|start| octets.expose_mut().get_mut(start..));
            let Some(place) = place.and_then(|rest| rest.get_mut(..pad.len())) else {
                return self.discards.discard(DiscardReason::Malformed);
            };
            place.copy_from_slice(pad);
            coming.next = first.saturating_add(count);
            if coming.next >= elements {
                whole = coming.octets.take();
            }
        }
        // Behind the last element only once it is durable: until then, all but the last.
        let next = coming.next.min(elements.saturating_sub(1));
        let id = hub.link.keys.hub();
        if let Some(octets) = whole {
            self.tell(Barrier::OPEN, ClientEvent::Refill { hub: id, direction, number, octets });
        }
        self.say_refilled(link, direction, number, next);
        Disposition::Accepted
    }

    /// A table was added: if it is the one that came, the hub hears of it.
    pub(super) fn refill_is_stored(&mut self, link: usize, direction: Direction, number: u16) {
        let Some(hub) = self.links.get_mut(link) else { return };
        if let Some(coming) = hub.refill.take_if(|coming| coming.is(direction, number)) {
            self.say_refilled(link, direction, number, coming.elements);
        }
    }

    fn say_refilled(&mut self, link: usize, direction: Direction, number: u16, next: u32) {
        let refilled = Refilled::new(direction, number, next);
        if let Some(inner) = encoded(Refilled::LEN, |out| refilled.encode(out)) {
            self.send(link, &inner, Barrier::OPEN, TransmitClass::Reply);
        }
    }
}
