//! The tables of a link: what is durable of them, and how they come and go (docs/draft-skex-dske.md, "Several tables").

use alloc::vec::Vec;

use skex_core::SecretVec;
use skex_wire::dske::Direction;
use skex_wire::{EncodeError, Reader, Writer};

use super::Link;
use crate::client::Table;
use crate::envelope::Side;
use crate::journal::Journal;
use crate::key::Origin;
use crate::list::ToList as _;
use crate::psrd::{ELEMENT_LEN, Half, Incoming, Outgoing, Pad, PadError};
use crate::state::{Name, RestoreError};

/// A table and the way in which it serves.
pub(crate) type Directed<P> = (Direction, Table<P>);

/// Tables of one direction of a link that can be there at once.
const MAX_TABLES: usize = 64;

/// What is durable of one table: how far it may have been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableMarks {
    direction: Direction,
    /// Whether it is a refilled table of which a lease was granted; of those that are gone, whether one was; of one out of band, whether one
    /// was of an earlier enrolment.
    refilled: bool,
    number: u16,
    /// End of the last lease that was asked for, or granted.
    mark: u32,
    /// Everything below is erased.
    erased: u32,
    /// Its length.
    elements: u32,
}

/// Direction 1, number 2, mark 4, erased 4, elements 4.
const ENTRY_LEN: usize = 15;

/// Beside the direction.
const REFILLED: u8 = 0x40;

impl TableMarks {
    fn of(direction: Direction, table: &impl Half, refilled: bool) -> Self {
        Self {
            direction,
            refilled,
            number: table.number(),
            mark: table.mark(),
            erased: table.erased(),
            elements: table.elements(),
        }
    }

    fn encode(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.u8(self.direction.value() | if self.refilled { REFILLED } else { 0 })?;
        out.u16(self.number)?;
        out.u32(self.mark)?;
        out.u32(self.erased)?;
        out.u32(self.elements)
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let head = reader.u8()?;
        Ok(Self {
            direction: Direction::new(head & !REFILLED),
            refilled: head & REFILLED != 0,
            number: reader.u16()?,
            mark: reader.u32()?,
            erased: reader.u32()?,
            elements: reader.u32()?,
        })
    }

    fn is_of<P>(&self, (direction, table): &(Direction, Table<P>)) -> bool {
        (self.direction, self.number) == (*direction, table.number)
    }

    /// Whether it says no more than the highest number that was taken away.
    const fn is_dropped(&self) -> bool {
        self.mark == 0 && self.erased == 0 && self.elements == 0
    }

    /// Whether so little is left that nobody misses the table.
    const fn is_used_up(&self) -> bool {
        self.elements.saturating_sub(self.mark) < USED_UP
    }
}

/// Tables are low when less than this part of those that are not used up is left.
const LOW_WATER_PART: u32 = 8;

/// Elements of which no lease can be made: its head, and less than the smallest block.
const USED_UP: u32 = 6;

/// How one table of a link stands, at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableStatus {
    /// Which way it serves.
    pub direction: Direction,
    /// Its number within the link and direction.
    pub number: u16,
    /// How it came here.
    pub origin: Origin,
    /// Its length, in octets.
    pub len: u64,
    /// What is left of it, in octets.
    pub remaining: u64,
    /// How its storage failed since the start, if it ever did: nothing that depends on it works then.
    pub failure: Option<PadError>,
}

impl TableStatus {
    fn of(direction: Direction, table: &impl Half) -> Self {
        let octets = |elements: u32| u64::from(elements).saturating_mul(ELEMENT_LEN as u64);
        Self {
            direction,
            number: table.number(),
            origin: table.origin(),
            len: octets(table.elements()),
            remaining: octets(table.remaining()),
            failure: table.health().failure(),
        }
    }
}

/// A table cannot be added. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// There is no link with this hub or client.
    #[error("no such link: the table is for a hub or client that the configuration lacks")]
    UnknownLink,
    /// A table of this number is there or was there: its bytes may have been used.
    #[error("table {0} is there already, or was and is used up: a table gets a number that no other had")]
    Number(u16),
    /// So many are there that are not used up.
    #[error("the link has 64 tables in this direction: use some of them up first")]
    TooMany,
    /// A table that goes or came over the network is not labelled as a refill.
    #[error("a table that travels over the network has the origin refill")]
    Origin,
    /// No table of this number is there.
    #[error("no table {0} is there: it was used up or retired, or never came")]
    Absent(u16),
    /// The direction is neither uplink nor downlink.
    #[error("a table is for the uplink or the downlink")]
    Direction,
}

fn read(value: &[u8]) -> Result<Vec<TableMarks>, RestoreError> {
    let mut reader = Reader::new(value);
    let mut marks = Vec::new();
    while !reader.is_empty() {
        marks.push(TableMarks::decode(&mut reader)?);
    }
    Ok(marks)
}

/// Whether these marks say that a lease of a refilled table was ever granted.
pub(crate) fn say_refilled(value: &[u8]) -> Result<bool, RestoreError> {
    Ok(read(value)?.iter().any(|marks| marks.refilled))
}

impl<P: Pad> Link<P> {
    /// With its tables, as they were stored; the first two are those of the enrolment. At the hub, a further one that is a refill
    /// and of which nothing was stored is none of them yet: it waits until the client has it.
    pub(crate) fn with_tables(
        mut self,
        stored: Option<&SecretVec>,
        tables: Vec<Directed<P>>,
    ) -> Result<(Self, Vec<Directed<P>>), RestoreError> {
        let marks = read(stored.map_or(&[][..], SecretVec::expose))?;
        let is_earlier = |marks: &TableMarks| {
            // One that was dropped speaks of all that were, though it may be there still, out of band.
            let is_out_of_band = |table| marks.is_of(table) && table.1.origin == Origin::OutOfBand;
            !marks.is_dropped() && tables.iter().any(is_out_of_band)
        };
        for marks in marks.iter().filter(|marks| marks.refilled) {
            let before = is_earlier(marks);
            self.refilled |= !before;
            self.refilled_before |= before;
        }
        let is_of = |marks: &TableMarks, table: &Directed<P>| !marks.is_dropped() && marks.is_of(table);
        // What the configuration lacks was used up, or it is a table that somebody lost.
        for gone in marks.iter().filter(|marks| !tables.iter().any(|table| is_of(marks, table))) {
            let slot = self.gone.get_mut(usize::from(gone.direction.value()));
            let slot = slot.filter(|_| gone.is_used_up()).ok_or(RestoreError::Configuration)?;
            *slot = (*slot).max(Some(gone.number));
        }
        let mut waiting = Vec::new();
        for (position, table) in tables.into_iter().enumerate() {
            let marks = marks.iter().find(|marks| is_of(marks, &table));
            let (direction, table) = table;
            let refill = position >= 2 && table.origin == Origin::Refill && self.side == Side::Hub;
            let added = match marks {
                // Used up and taken away before. The configuration has it still, or again, from a backup perhaps.
                None if self.has_passed(direction, table.number) => Ok(()),
                None if refill => {
                    waiting.push((direction, table));
                    Ok(())
                }
                Some(marks) => self.insert(direction, table, Some(marks)),
                None => self.add_table(direction, table),
            };
            added.map_err(|_| RestoreError::Configuration)?;
        }
        Ok((self, waiting))
    }

    /// Adds a table that has never been used, at this end or the other.
    pub(crate) fn add_table(&mut self, direction: Direction, table: Table<P>) -> Result<(), TableError> {
        if self.has_passed(direction, table.number) {
            return Err(TableError::Number(table.number));
        }
        self.insert(direction, table, None)
    }

    /// Whether a table of this number, or a higher one, was taken out of service: another of it is never in use again.
    pub(crate) fn has_passed(&self, direction: Direction, number: u16) -> bool {
        let gone = self.gone.get(usize::from(direction.value())).copied().flatten();
        gone.is_some_and(|gone| number <= gone)
    }

    /// Takes a table out of service: nothing of it is used any more. The session has to end, and once the marks are durable the
    /// table is to be erased.
    pub(crate) fn retire_table(&mut self, direction: Direction, number: u16) -> Result<(), TableError> {
        let retired =
            if self.sends(direction) { self.outgoing.retire(number) } else { self.incoming.retire(number) };
        if retired { Ok(()) } else { Err(TableError::Absent(number)) }
    }

    /// Erases a table that was taken out of service. `false`: its storage failed.
    #[must_use]
    pub(crate) fn erase_retired(&mut self, direction: Direction, number: u16) -> bool {
        if self.sends(direction) {
            self.outgoing.get_mut(number).is_some_and(Half::erase_whole)
        } else {
            self.incoming.get_mut(number).is_some_and(Half::erase_whole)
        }
    }

    /// The tables that were taken out of service and are not erased yet.
    pub(crate) fn retiring(&self) -> Vec<(Direction, u16)> {
        let (sending, receiving) = self.directions();
        let outgoing = self.outgoing.tables().filter(|table| table.awaits_erasure());
        let incoming = self.incoming.tables().filter(|table| table.awaits_erasure());
        let outgoing = outgoing.map(|table| (sending, table.number()));
        outgoing.chain(incoming.map(|table| (receiving, table.number()))).list()
    }

    /// Whether the storage of a table fails from which this end sends.
    pub(crate) fn cannot_send(&self) -> bool {
        self.outgoing.tables().any(|table| table.health().fails())
    }

    /// A table whose storage has failed, and why. Each once.
    pub(crate) fn untold_failure(&mut self) -> Option<(Direction, u16, PadError)> {
        let (sending, receiving) = self.directions();
        let outgoing = self.outgoing.untold_failure().map(|(number, error)| (sending, number, error));
        outgoing.or_else(|| {
            let (number, error) = self.incoming.untold_failure()?;
            Some((receiving, number, error))
        })
    }

    /// Whether a table of this number could be added.
    pub(crate) fn check_new(&self, direction: Direction, number: u16) -> Result<(), TableError> {
        let gone = self.gone.get(usize::from(direction.value())).copied().ok_or(TableError::Direction)?;
        if gone.is_some_and(|gone| number <= gone) || self.has_table(direction, number) {
            return Err(TableError::Number(number));
        }
        let count = if self.sends(direction) {
            self.outgoing.tables().count()
        } else {
            self.incoming.tables().count()
        };
        if count >= MAX_TABLES {
            return Err(TableError::TooMany);
        }
        Ok(())
    }

    fn has_table(&self, direction: Direction, number: u16) -> bool {
        if self.sends(direction) {
            self.outgoing.get(number).is_some()
        } else {
            self.incoming.get(number).is_some()
        }
    }

    /// Whether a table is there, or was and is used up.
    pub(crate) fn had_table(&self, direction: Direction, number: u16) -> bool {
        let gone = self.gone.get(usize::from(direction.value())).copied().flatten();
        gone.is_some_and(|gone| number <= gone) || self.has_table(direction, number)
    }

    fn insert(
        &mut self,
        direction: Direction,
        table: Table<P>,
        stored: Option<&TableMarks>,
    ) -> Result<(), TableError> {
        let (mark, erased) = stored.map_or((0, 0), |stored| (stored.mark, stored.erased));
        let Table { number, origin, pad } = table;
        if direction != Direction::UPLINK && direction != Direction::DOWNLINK {
            return Err(TableError::Direction);
        }
        if self.sends(direction) {
            if self.outgoing.get(number).is_some() {
                return Err(TableError::Number(number));
            }
            if self.outgoing.tables().count() >= MAX_TABLES {
                return Err(TableError::TooMany);
            }
            self.outgoing.add(Outgoing::new(pad, number, origin, mark, erased));
        } else {
            if self.incoming.get(number).is_some() {
                return Err(TableError::Number(number));
            }
            if self.incoming.tables().count() >= MAX_TABLES {
                return Err(TableError::TooMany);
            }
            let leased = stored.is_some_and(|stored| stored.refilled);
            self.incoming.add(Incoming::new(pad, number, origin, mark, erased).with_lease(leased));
        }
        Ok(())
    }

    /// How the tables stand: the uplink's, then the downlink's, in the order of their numbers.
    pub(crate) fn table_statuses(&self) -> Vec<TableStatus> {
        let (sending, receiving) = self.directions();
        let outgoing = self.outgoing.tables().map(|table| TableStatus::of(sending, table));
        let incoming = self.incoming.tables().map(|table| TableStatus::of(receiving, table));
        let mut statuses: Vec<TableStatus> = outgoing.chain(incoming).list();
        statuses.sort_by_key(|status| (status.direction.value(), status.number));
        statuses
    }

    /// Whether little is left of the tables of a direction, and how many octets.
    pub(crate) fn low_water(&self, direction: Direction) -> (bool, u64) {
        let (remaining, elements) = if self.sends(direction) {
            (self.outgoing.remaining(), self.outgoing.elements())
        } else {
            (self.incoming.remaining(), self.incoming.elements())
        };
        let low = elements == 0 || remaining < elements / LOW_WATER_PART;
        (low, u64::from(remaining).saturating_mul(ELEMENT_LEN as u64))
    }

    /// What may be claimed of a share that has not come, while no lease of another table is granted. A copy of it may have been
    /// sent, and lost, in an earlier session: where a refilled table was leased then, by that.
    pub(crate) fn unseen_origin(&self) -> Origin {
        if self.refilled || self.refilled_before { Origin::Refill } else { self.incoming.next_origin() }
    }

    /// Whether this end sends in this direction.
    pub(crate) fn sends(&self, direction: Direction) -> bool {
        (self.side == Side::Client) == (direction == Direction::UPLINK)
    }

    /// Stores what is durable of the tables, from the next checkpoint on.
    pub(crate) fn store_marks(&self, name: Name, journal: &mut Journal) {
        let (sending, receiving) = self.directions();
        let outgoing = self.outgoing.tables().map(|table| TableMarks::of(sending, table, false));
        let is_out_of_band = |origin: Origin| origin == Origin::OutOfBand;
        let notes_it = self.incoming.tables().any(|table| is_out_of_band(table.origin()));
        // Where no table out of band can say that it was of an earlier enrolment.
        let before = self.refilled_before && !notes_it;
        let incoming = self.incoming.tables().map(move |table| {
            let refilled = if is_out_of_band(table.origin()) {
                self.refilled_before
            } else {
                table.is_leased() || before
            };
            TableMarks::of(receiving, table, refilled)
        });
        let gone = [Direction::UPLINK, Direction::DOWNLINK].into_iter().zip(self.gone);
        let gone = gone.filter_map(|(direction, number)| {
            let refilled = (self.refilled || before) && direction == receiving;
            Some(TableMarks { direction, refilled, number: number?, mark: 0, erased: 0, elements: 0 })
        });
        let entries = outgoing.chain(incoming).chain(gone);
        let len = entries.clone().count().saturating_mul(ENTRY_LEN);
        journal.set_written(name, len, |out| {
            for entry in entries {
                entry.encode(out)?;
            }
            Ok(())
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use skex_testvectors::{Layer, records};

    use super::*;

    #[test]
    fn marks_are_read_and_written_as_the_vectors_say() {
        let mut tested = 0;
        for group in records::load().unwrap().test_groups {
            let records::TestGroup::Marks(group) = group else { continue };
            for test in group.tests {
                tested += 1;
                let read = read(test.value.as_bytes());
                let Some(tables) = &test.tables else {
                    assert_eq!((read, test.refused_by), (Err(RestoreError::Content), Some(Layer::Decode)));
                    continue;
                };
                let stated = tables.iter().map(|table| TableMarks {
                    direction: Direction::new(table.direction),
                    refilled: table.refilled,
                    number: table.number,
                    mark: table.mark,
                    erased: table.erased,
                    elements: table.elements,
                });
                let stated: Vec<TableMarks> = stated.collect();
                assert_eq!(read.as_ref(), Ok(&stated), "{}", test.name);
                let mut octets = alloc::vec![0; ENTRY_LEN * stated.len()];
                let mut out = Writer::new(&mut octets);
                stated.iter().for_each(|marks| marks.encode(&mut out).unwrap());
                assert_eq!(octets, test.value.as_bytes(), "{}", test.name);
            }
        }
        assert!(tested > 5, "{tested}");
    }
}
