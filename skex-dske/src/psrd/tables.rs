//! All tables of one direction of a link, at one end.
//!
//! Several may be there: the sender takes from the lowest number that has room, so that a table is used up before the
//! next is begun, except where a long key does not fit the rest of one.

use alloc::boxed::Box;

use super::block::Block;
use super::health::Health;
use super::incoming::Incoming;
use super::outgoing::{AllocateError, Outgoing};
use super::pad::{Pad, PadError};
use crate::key::{Origin, Origins};

/// The mark or high water of a table that was taken out of service: above every element that it may ever have.
pub(crate) const RETIRED: u32 = u32::MAX;

/// Where a block begins: table and element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) table: u16,
    pub(crate) index: u32,
}

/// What the two halves of a table have in common.
pub(crate) trait Half {
    /// Its number within the link and direction.
    fn number(&self) -> u16;

    /// How it came here.
    fn origin(&self) -> Origin;

    /// The length of the table.
    fn elements(&self) -> u32;

    /// Up to where it may have been used, as that is stored: end of the last lease that was asked for, or granted;
    /// [`RETIRED`] where it was taken out of service.
    fn mark(&self) -> u32;

    /// Everything below is erased.
    fn erased(&self) -> u32;

    /// Elements that can still be had of it.
    fn remaining(&self) -> u32;

    /// Whether not even the smallest lease, or block, can be had of it any more.
    fn is_used_up(&self) -> bool;

    /// A new session: leases end with the one in which they were granted.
    fn end_session(&mut self);

    /// Nothing of the table is used any more, however long it grows. It is erased once that is durable.
    fn retire(&mut self);

    /// Erases what is left of a table that is used up; its number.
    fn clear(&mut self) -> u16;

    /// Whether the storage works.
    fn health(&self) -> Health;

    fn health_mut(&mut self) -> &mut Health;

    /// The octets, and up to where they are erased.
    fn erasable(&mut self) -> (&mut dyn Pad, &mut u32);

    fn is_retired(&self) -> bool {
        self.mark() == RETIRED
    }

    /// Whether the table was taken out of service, and is not erased yet.
    fn awaits_erasure(&self) -> bool {
        self.is_retired() && self.erased() < self.elements()
    }

    /// Erases the whole table. `false`: its storage failed.
    #[must_use]
    fn erase_whole(&mut self) -> bool {
        let (pad, erased) = self.erasable();
        let elements = pad.elements();
        let done = pad.erase(0, elements);
        if done.is_ok() {
            *erased = elements;
        }
        self.health_mut().of(done).is_ok()
    }
}

/// The tables of one direction at one end, in ascending order of their numbers.
#[derive(Debug)]
pub(crate) struct Tables<T>(Box<[T]>);

/// The tables that this end sends from.
pub(crate) type Sending<P> = Tables<Outgoing<P>>;

/// The tables that this end receives from.
pub(crate) type Receiving<P> = Tables<Incoming<P>>;

impl<T: Half> Tables<T> {
    pub(crate) fn new() -> Self {
        Self(Box::default())
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter()
    }

    pub(crate) fn get(&self, number: u16) -> Option<&T> {
        self.0.iter().find(|table| table.number() == number)
    }

    pub(crate) fn get_mut(&mut self, number: u16) -> Option<&mut T> {
        self.0.iter_mut().find(|table| table.number() == number)
    }

    /// Adds a table, whose number is a new one.
    pub(crate) fn add(&mut self, table: T) {
        let place = self.0.partition_point(|other| other.number() < table.number());
        // As long as it must be: most links have one, and a hub has many links.
        let mut tables = core::mem::take(&mut self.0).into_vec();
        tables.reserve_exact(1);
        tables.insert(place, table);
        self.0 = tables.into_boxed_slice();
    }

    /// A table whose storage has failed: its number and why, once.
    pub(crate) fn untold_failure(&mut self) -> Option<(u16, PadError)> {
        self.0.iter_mut().find_map(|table| Some((table.number(), table.health_mut().untold()?)))
    }

    /// The number of the newest table.
    pub(crate) fn newest(&self) -> u16 {
        self.0.last().map_or(0, T::number)
    }

    /// Elements that can still be had.
    pub(crate) fn remaining(&self) -> u32 {
        self.0.iter().map(T::remaining).fold(0, u32::saturating_add)
    }

    /// The length of the tables that are not used up.
    pub(crate) fn elements(&self) -> u32 {
        let live = self.0.iter().filter(|table| !table.is_used_up());
        live.map(T::elements).fold(0, u32::saturating_add)
    }

    /// A table is taken out of service. `false`: there is none of this number, or it was before.
    #[must_use]
    pub(crate) fn retire(&mut self, number: u16) -> bool {
        let table = self.get_mut(number).filter(|table| !table.is_retired());
        table.map(T::retire).is_some()
    }

    /// Erases every table. `false`: the storage of one failed.
    #[must_use]
    pub(crate) fn destroy(&mut self) -> bool {
        // All of them, also behind one that fails.
        let mut erased = true;
        for table in &mut self.0 {
            erased &= table.erase_whole();
        }
        erased
    }

    /// A new session. Tables that are used up go, but for the last; the highest number of those that went.
    pub(crate) fn end_session(&mut self) -> Option<u16> {
        self.0.iter_mut().for_each(T::end_session);
        let last = self.0.last().map(T::number);
        let is_spent =
            |table: &T| table.is_used_up() && !table.awaits_erasure() && Some(table.number()) != last;
        let mut highest = None;
        let mut tables = core::mem::take(&mut self.0).into_vec();
        tables.retain_mut(|table| {
            let goes = is_spent(table);
            if goes {
                highest = highest.max(Some(table.clear()));
            }
            !goes
        });
        self.0 = tables.into_boxed_slice();
        highest
    }
}

impl<P: Pad> Sending<P> {
    /// Whether this end's store is older than what the receiver knows; said once a table.
    pub(crate) fn is_behind(&mut self) -> bool {
        self.0.iter_mut().any(Outgoing::is_behind)
    }

    /// The table that serves a block for `pad_elements`, of `origins`: one with a lease that has room, or
    /// else one that could have it.
    fn serving(&self, pad_elements: u32, origins: Origins) -> Option<&Outgoing<P>> {
        let good = || self.0.iter().filter(move |table| origins.include(table.origin()));
        let leased = good().find(|table| table.has_room(pad_elements));
        leased.or_else(|| good().find(|table| table.could_have_room(pad_elements)))
    }

    /// Whether a block can be had without another lease.
    pub(crate) fn has_room(&self, pad_elements: u32, origins: Origins) -> bool {
        self.serving(pad_elements, origins).is_some_and(|table| table.has_room(pad_elements))
    }

    /// Whether a block could be had, given another lease.
    pub(crate) fn could_have_room(&self, pad_elements: u32, origins: Origins) -> bool {
        self.serving(pad_elements, origins).is_some()
    }

    /// The origin of the table that a block comes from now.
    pub(crate) fn origin(&self, pad_elements: u32) -> Origin {
        let best = self.serving(pad_elements, Origins::Any).or_else(|| self.0.last());
        best.map_or(Origin::Refill, Outgoing::origin)
    }

    /// The next block, of `origins`. See [`Outgoing::allocate`].
    pub(crate) fn allocate(
        &mut self,
        pad_elements: u32,
        origins: Origins,
    ) -> Result<(Block, u64), AllocateError> {
        let number = self.serving(pad_elements, origins).ok_or(AllocateError::Exhausted)?.number();
        self.get_mut(number).ok_or(AllocateError::Exhausted)?.allocate(pad_elements)
    }

    /// No message of the block at `place` will be sent again.
    pub(crate) fn settle(&mut self, place: Place) {
        if let Some(table) = self.get_mut(place.table) {
            table.settle(place.index);
        }
    }

    /// The table of which a lease was asked for.
    pub(crate) fn asking(&mut self) -> Option<&mut Outgoing<P>> {
        self.0.iter_mut().find(|table| table.asked().is_some())
    }

    /// The table of which to ask for a lease.
    pub(crate) fn wanting(&mut self, pad_elements: u32, origins: Origins) -> Option<&mut Outgoing<P>> {
        let number = self.serving(pad_elements, origins)?.number();
        self.get_mut(number)
    }
}

impl<P: Pad> Receiving<P> {
    /// The origin of the table of which a lease is granted next.
    pub(crate) fn next_origin(&self) -> Origin {
        let next = self.0.iter().find(|table| !table.is_used_up()).or_else(|| self.0.last());
        next.map_or(Origin::Refill, Incoming::origin)
    }
}
