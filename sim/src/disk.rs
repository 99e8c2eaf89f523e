//! What a node has stored, and everything that can happen to it.

use core::fmt;
use std::collections::BTreeMap;

use crate::dice::Dice;

/// What one checkpoint does to the keyed records: `Some` writes, `None` erases. It is applied in this order.
pub type Batch = Vec<(u64, Option<Vec<u8>>)>;

/// How the bytes of a checkpoint become keyed records.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Layout {
    /// Each is a record of its own, at the next key: 0, 1, 2 ...
    Log,
    /// So many slots in turn: each goes to the slot behind the newest one.
    Slots(u64),
    /// This function says it, for machines whose records name their own place.
    Keyed(fn(&[u8]) -> Batch),
}

/// How an attempt to store fails. The node learns only that it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFault {
    /// Nothing was written.
    NotWritten,
    /// All of it was written, and is durable.
    Landed,
    /// A part of it was written, and is durable.
    Torn,
    /// It can be read back until power is lost, and is gone then, whatever later writes report.
    CachedOnly,
}

/// What becomes of bytes that were written and not yet synced when power is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PowerLoss {
    /// They are gone.
    Loses,
    /// They are there.
    Lands,
    /// A part of the last write is there.
    Tears,
    /// Any of these, as the seed has it.
    Any,
}

/// The store said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreFailed;

impl fmt::Display for StoreFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated store failed")
    }
}

impl core::error::Error for StoreFailed {}

/// What was durable at one time, to go back to it: a restored backup, a cloned device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(View);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    records: BTreeMap<u64, Vec<u8>>,
    // Where the last whole write went; a torn one is written over by the next.
    newest: Option<u64>,
}

impl View {
    fn apply(&mut self, batch: &Batch) {
        let newest = self.newest;
        self.apply_torn(batch);
        self.newest = batch.iter().rev().find(|(_, change)| change.is_some()).map(|(key, _)| *key).or(newest);
    }

    fn apply_torn(&mut self, batch: &Batch) {
        for (key, change) in batch {
            match change {
                Some(bytes) => self.records.insert(*key, bytes.clone()),
                None => self.records.remove(key),
            };
        }
    }
}

/// The store of one node.
#[derive(Debug)]
pub struct Disk {
    layout: Layout,
    dice: Dice,
    // What can be read now, and what can be read after a loss of power if nothing of `unsynced` lands.
    seen: View,
    durable: View,
    unsynced: Vec<Batch>,
    attempts: u64,
    faults: BTreeMap<u64, StoreFault>,
    fault_rate: u16,
}

impl Disk {
    /// An empty one. What chance decides in it is decided by `seed`.
    #[must_use]
    pub fn new(layout: Layout, seed: u64) -> Self {
        Self {
            layout,
            dice: Dice::new(seed),
            seen: View::default(),
            durable: View::default(),
            unsynced: Vec::new(),
            attempts: 0,
            faults: BTreeMap::new(),
            fault_rate: 0,
        }
    }

    /// The records that can be read now, by key.
    #[must_use]
    pub fn records(&self) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        self.seen.records.iter().map(|(key, bytes)| (*key, bytes.as_slice()))
    }

    /// The record at `key`, if there is one.
    #[must_use]
    pub fn record(&self, key: u64) -> Option<&[u8]> {
        self.seen.records.get(&key).map(Vec::as_slice)
    }

    /// The record written last and whole, as far as can be read now.
    #[must_use]
    pub fn newest(&self) -> Option<&[u8]> {
        self.record(self.seen.newest?)
    }

    /// How often something was to be stored.
    #[must_use]
    pub const fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Lets attempt `number` fail, counted from 0 since the disk was made.
    pub fn fail_at(&mut self, number: u64, fault: StoreFault) {
        self.faults.insert(number, fault);
    }

    /// Lets the next attempt fail.
    pub fn fail_next(&mut self, fault: StoreFault) {
        self.fail_at(self.attempts, fault);
    }

    /// Lets so many of 1000 attempts fail, in any way.
    pub const fn set_fault_rate(&mut self, per_mille: u16) {
        self.fault_rate = per_mille;
    }

    /// Ends all faults, also those that are still to come.
    pub fn stop_failing(&mut self) {
        self.faults.clear();
        self.fault_rate = 0;
    }

    /// Stores a checkpoint durably, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`StoreFailed`] if a fault was due. What is stored then depends on the fault.
    pub fn store(&mut self, record: impl AsRef<[u8]>) -> Result<(), StoreFailed> {
        self.write(record)?;
        self.sync();
        Ok(())
    }

    /// Writes a checkpoint that the next [`sync`](Self::sync) makes durable.
    ///
    /// # Errors
    ///
    /// As [`store`](Self::store).
    pub fn write(&mut self, record: impl AsRef<[u8]>) -> Result<(), StoreFailed> {
        let batch = self.place(record.as_ref());
        match self.next_fault() {
            None => {
                self.seen.apply(&batch);
                self.unsynced.push(batch);
                return Ok(());
            }
            Some(StoreFault::NotWritten) => {}
            Some(StoreFault::Landed) => {
                self.sync();
                self.seen.apply(&batch);
                self.durable.apply(&batch);
            }
            Some(StoreFault::Torn) => {
                self.sync();
                let torn = self.tear(batch);
                self.seen.apply_torn(&torn);
                self.durable.apply_torn(&torn);
            }
            Some(StoreFault::CachedOnly) => self.seen.apply(&batch),
        }
        Err(StoreFailed)
    }

    /// Makes durable what was written.
    pub fn sync(&mut self) {
        for batch in self.unsynced.drain(..) {
            self.durable.apply(&batch);
        }
    }

    /// Power is lost: what was not synced is decided, and only what is durable can be read from now on.
    pub fn lose_power(&mut self, how: PowerLoss) {
        let mut unsynced = core::mem::take(&mut self.unsynced);
        let how = match (how, self.dice.below(3)) {
            (PowerLoss::Any, 0) => PowerLoss::Loses,
            (PowerLoss::Any, 1) => PowerLoss::Lands,
            (PowerLoss::Any, _) => PowerLoss::Tears,
            (certain, _) => certain,
        };
        let torn = match how {
            PowerLoss::Loses | PowerLoss::Any => {
                unsynced.clear();
                None
            }
            PowerLoss::Lands => None,
            PowerLoss::Tears => unsynced.pop(),
        };
        for batch in unsynced {
            self.durable.apply(&batch);
        }
        if let Some(batch) = torn {
            let torn = self.tear(batch);
            self.durable.apply_torn(&torn);
        }
        self.seen.clone_from(&self.durable);
    }

    /// What is durable now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.durable.clone())
    }

    /// Goes back to what was durable then, without a trace of anything later.
    pub fn roll_back(&mut self, snapshot: &Snapshot) {
        self.durable.clone_from(&snapshot.0);
        self.seen.clone_from(&snapshot.0);
        self.unsynced.clear();
    }

    /// Changes a record behind the node's back: rot, or an adversary with the disk in hand.
    pub fn tamper(&mut self, key: u64, change: impl Fn(&mut Vec<u8>)) {
        for view in [&mut self.seen, &mut self.durable] {
            if let Some(bytes) = view.records.get_mut(&key) {
                change(bytes);
            }
        }
    }

    /// Removes a record behind the node's back.
    pub fn remove(&mut self, key: u64) {
        self.seen.records.remove(&key);
        self.durable.records.remove(&key);
    }

    fn place(&self, record: &[u8]) -> Batch {
        let behind = self.seen.newest.map_or(0, |newest| newest.saturating_add(1));
        match self.layout {
            Layout::Log => vec![(behind, Some(record.to_vec()))],
            Layout::Slots(slots) => vec![(behind.checked_rem(slots).unwrap_or(0), Some(record.to_vec()))],
            Layout::Keyed(place) => place(record),
        }
    }

    fn next_fault(&mut self) -> Option<StoreFault> {
        let planned = self.faults.remove(&self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        if planned.is_none() && self.dice.chance(self.fault_rate) {
            let faults =
                [StoreFault::NotWritten, StoreFault::Landed, StoreFault::Torn, StoreFault::CachedOnly];
            return faults.get(self.dice.index(faults.len())).copied();
        }
        planned
    }

    /// The part of `batch` that lands: some of its entries, and of the next one the front, over what lay there.
    fn tear(&mut self, mut batch: Batch) -> Batch {
        let whole = self.dice.index(batch.len());
        batch.truncate(whole.saturating_add(1));
        if let Some((key, Some(bytes))) = batch.last_mut() {
            let length = self.dice.index(bytes.len());
            bytes.truncate(length);
            bytes.extend(self.durable.records.get(key).into_iter().flatten().skip(length));
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Disk {
        let mut disk = Disk::new(Layout::Log, 1);
        disk.store([1; 8]).unwrap();
        disk
    }

    fn readable(disk: &Disk) -> Vec<&[u8]> {
        disk.records().map(|(_, bytes)| bytes).collect()
    }

    #[test]
    fn what_was_synced_survives_a_loss_of_power_and_what_was_not_may_not() {
        for (how, survives) in [(PowerLoss::Loses, false), (PowerLoss::Lands, true)] {
            let mut disk = disk();
            disk.write([2; 8]).unwrap();
            assert_eq!(disk.newest(), Some(&[2; 8][..]));
            disk.lose_power(how);
            assert_eq!(disk.newest(), Some(if survives { &[2; 8][..] } else { &[1; 8] }));
        }
        let mut disk = disk();
        disk.write([2; 8]).unwrap();
        disk.lose_power(PowerLoss::Tears);
        let torn = disk.record(1).unwrap();
        assert!(torn.len() < 8 && torn.iter().all(|byte| *byte == 2));
    }

    #[test]
    fn each_fault_leaves_what_it_says_and_all_look_alike_to_the_node() {
        let after = |fault, power: bool| {
            let mut disk = disk();
            disk.fail_next(fault);
            assert_eq!(disk.store([2; 8]), Err(StoreFailed));
            if power {
                disk.lose_power(PowerLoss::Lands);
            }
            readable(&disk).into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let (old, new) = (vec![1; 8], vec![2; 8]);
        assert_eq!(after(StoreFault::NotWritten, false), [&old[..]]);
        assert_eq!(after(StoreFault::Landed, true), [&old[..], &new[..]]);
        assert_eq!(after(StoreFault::CachedOnly, false), [&old[..], &new[..]]);
        assert_eq!(after(StoreFault::CachedOnly, true), [&old[..]]);
        let torn = after(StoreFault::Torn, true);
        assert_eq!(torn[0], old);
        assert!(torn[1].len() < 8 && new.starts_with(&torn[1]));
    }

    #[test]
    fn slots_are_written_in_turn_and_a_torn_one_leaves_the_other() {
        let mut disk = Disk::new(Layout::Slots(2), 5);
        for byte in 1..=3 {
            disk.store([byte; 8]).unwrap();
        }
        assert_eq!(readable(&disk), [&[3; 8], &[2; 8]]);
        disk.fail_next(StoreFault::Torn);
        assert!(disk.store([4; 8]).is_err());
        assert_eq!(disk.record(0), Some(&[3; 8][..]));
        assert_eq!(disk.newest(), Some(&[3; 8][..]));
        let torn = disk.record(1).unwrap();
        assert_eq!(torn.len(), 8, "the old bytes show behind the new ones");
        disk.store([5; 8]).unwrap();
        assert_eq!(readable(&disk), [&[3; 8], &[5; 8]]);
    }

    #[test]
    fn two_slots_can_both_be_lost_after_a_write_that_only_seemed_to_land() {
        // What a journal of two slots has to bear: a newer record was only in the cache, the next one goes to the
        // other slot, over the last durable record, and is torn.
        let mut disk = Disk::new(Layout::Slots(2), 5);
        disk.store([1; 8]).unwrap();
        disk.store([2; 8]).unwrap();
        disk.fail_next(StoreFault::CachedOnly);
        assert!(disk.store([3; 8]).is_err());
        assert_eq!(disk.newest(), Some(&[3; 8][..]), "as read after a restart");
        disk.write([4; 8]).unwrap();
        disk.lose_power(PowerLoss::Tears);
        assert!(
            readable(&disk).into_iter().all(|record| record != [2; 8]),
            "the last durable record is gone"
        );
        assert_eq!(disk.record(0), Some(&[1; 8][..]));
    }

    #[test]
    fn a_batch_is_stored_whole() {
        let place = |bytes: &[u8]| {
            let (front, back) = bytes.split_at(bytes.len() / 2);
            vec![(7, Some(front.to_vec())), (8, Some(back.to_vec())), (9, None)]
        };
        let mut disk = Disk::new(Layout::Keyed(place), 1);
        disk.write([1, 2]).unwrap();
        disk.lose_power(PowerLoss::Loses);
        assert!(readable(&disk).is_empty());
        disk.store([1, 2]).unwrap();
        disk.lose_power(PowerLoss::Loses);
        assert_eq!(readable(&disk), [[1], [2]]);
    }

    #[test]
    fn a_rolled_back_disk_shows_no_trace() {
        let mut disk = disk();
        let snapshot = disk.snapshot();
        disk.store([2; 8]).unwrap();
        disk.roll_back(&snapshot);
        assert_eq!(disk.snapshot(), snapshot);
        disk.store([3; 8]).unwrap();
        assert_eq!(readable(&disk), [[1; 8], [3; 8]]);
    }

    #[test]
    fn rot_and_removal_reach_what_is_durable() {
        let mut disk = disk();
        disk.tamper(0, |bytes| bytes[0] ^= 1);
        disk.lose_power(PowerLoss::Lands);
        assert_eq!(disk.newest(), Some(&[0, 1, 1, 1, 1, 1, 1, 1][..]));
        disk.remove(0);
        disk.lose_power(PowerLoss::Lands);
        assert_eq!(disk.newest(), None);
    }
}
