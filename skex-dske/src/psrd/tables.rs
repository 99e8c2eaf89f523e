//! All tables of one direction of a link, at one end.
//!
//! Several may be there: the sender takes from the lowest number that has room, so that a table is used up before the
//! next is begun, except where a long key does not fit the rest of one.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::block::Block;
use super::incoming::Incoming;
use super::outgoing::{AllocateError, Outgoing};
use super::pad::Pad;
use crate::key::{Origin, Origins};

/// The mark or high water of a table that was taken out of service: above every element that it may ever have.
pub(crate) const RETIRED: u32 = u32::MAX;

/// Where a block begins: table and element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) table: u16,
    pub(crate) index: u32,
}

/// The tables that this end sends from, in ascending order of their numbers.
#[derive(Debug)]
pub(crate) struct Sending<P>(Box<[Outgoing<P>]>);

/// The tables that this end receives from, in ascending order of their numbers.
#[derive(Debug)]
pub(crate) struct Receiving<P>(Box<[Incoming<P>]>);

impl<P: Pad> Sending<P> {
    /// Erases every table.
    pub(crate) fn destroy(&mut self) {
        self.0.iter_mut().for_each(Outgoing::destroy);
    }

    pub(crate) fn new() -> Self {
        Self(Box::default())
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Outgoing<P>> {
        self.0.iter()
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Outgoing<P>> {
        self.0.iter().find(|table| table.number() == number)
    }

    pub(crate) fn get_mut(&mut self, number: u16) -> Option<&mut Outgoing<P>> {
        self.0.iter_mut().find(|table| table.number() == number)
    }

    /// Adds a table, whose number is a new one.
    pub(crate) fn add(&mut self, table: Outgoing<P>) {
        let place = self.0.partition_point(|other| other.number() < table.number());
        // As long as it must be: most links have one, and a hub has many links.
        let mut tables = core::mem::take(&mut self.0).into_vec();
        tables.reserve_exact(1);
        tables.insert(place, table);
        self.0 = tables.into_boxed_slice();
    }

    /// The number of the newest table.
    pub(crate) fn newest(&self) -> u16 {
        self.0.last().map_or(0, Outgoing::number)
    }

    /// Elements that are neither used nor skipped.
    pub(crate) fn remaining(&self) -> u32 {
        self.0.iter().map(Outgoing::remaining).fold(0, u32::saturating_add)
    }

    /// The length of the tables that are not used up.
    pub(crate) fn elements(&self) -> u32 {
        let live = self.0.iter().filter(|table| !table.is_used_up());
        live.map(Outgoing::elements).fold(0, u32::saturating_add)
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

    /// A new session: leases end with the one in which they were granted. Tables that are used up go, but for the last; the
    /// highest number of those that went.
    pub(crate) fn end_session(&mut self) -> Option<u16> {
        self.0.iter_mut().for_each(Outgoing::end_session);
        let last = self.0.last().map(Outgoing::number);
        let is_spent = |table: &Outgoing<P>| {
            table.is_used_up() && !table.awaits_erasure() && Some(table.number()) != last
        };
        if !self.0.iter().any(is_spent) {
            return None;
        }
        let tables = core::mem::take(&mut self.0).into_vec();
        let (spent, kept): (Vec<_>, Vec<_>) = tables.into_iter().partition(is_spent);
        self.0 = kept.into_boxed_slice();
        spent.into_iter().map(|mut table| table.clear()).max()
    }
}

impl<P: Pad> Receiving<P> {
    /// Erases every table.
    pub(crate) fn destroy(&mut self) {
        self.0.iter_mut().for_each(Incoming::destroy);
    }

    pub(crate) fn new() -> Self {
        Self(Box::default())
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Incoming<P>> {
        self.0.iter()
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Incoming<P>> {
        self.0.iter().find(|table| table.number() == number)
    }

    pub(crate) fn get_mut(&mut self, number: u16) -> Option<&mut Incoming<P>> {
        self.0.iter_mut().find(|table| table.number() == number)
    }

    /// Adds a table, whose number is a new one.
    pub(crate) fn add(&mut self, table: Incoming<P>) {
        let place = self.0.partition_point(|other| other.number() < table.number());
        // As long as it must be: most links have one, and a hub has many links.
        let mut tables = core::mem::take(&mut self.0).into_vec();
        tables.reserve_exact(1);
        tables.insert(place, table);
        self.0 = tables.into_boxed_slice();
    }

    /// Elements that are not granted yet.
    pub(crate) fn remaining(&self) -> u32 {
        self.0.iter().map(Incoming::remaining).fold(0, u32::saturating_add)
    }

    /// The length of the tables that are not used up.
    pub(crate) fn elements(&self) -> u32 {
        let live = self.0.iter().filter(|table| !table.is_used_up());
        live.map(Incoming::elements).fold(0, u32::saturating_add)
    }

    /// The origin of the table of which a lease is granted next.
    pub(crate) fn next_origin(&self) -> Origin {
        let next = self.0.iter().find(|table| !table.is_used_up()).or_else(|| self.0.last());
        next.map_or(Origin::Refill, Incoming::origin)
    }

    /// A new session: nothing granted before is opened any more. Tables that are used up go, but for the last; the highest
    /// number of those that went.
    pub(crate) fn end_session(&mut self) -> Option<u16> {
        self.0.iter_mut().for_each(Incoming::end_session);
        let last = self.0.last().map(Incoming::number);
        let is_spent = |table: &Incoming<P>| {
            table.is_used_up() && !table.awaits_erasure() && Some(table.number()) != last
        };
        if !self.0.iter().any(is_spent) {
            return None;
        }
        let tables = core::mem::take(&mut self.0).into_vec();
        let (spent, kept): (Vec<_>, Vec<_>) = tables.into_iter().partition(is_spent);
        self.0 = kept.into_boxed_slice();
        spent.into_iter().map(|mut table| table.clear()).max()
    }
}
