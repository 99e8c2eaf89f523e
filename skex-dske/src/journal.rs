//! The durable side of a machine: it gathers changes, numbers them, and gates what depends on them. The client and the
//! hub write their state through one each (docs/draft-skex-dske.md, "Records").

use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::machine::{Barrier, Checkpoint, Instant, Queue, Receipt, ReceiptError};
use skex_wire::{EncodeError, Writer};

use crate::state::{Changes, Name, Owner, Record};

/// What was wiped stands in earlier records until a snapshot replaces those: at most so long.
const WIPE_AFTER: Duration = Duration::from_secs(60);

/// Changes since a snapshot that stand beside it without another one being due: a mebibyte, or as much as the snapshot.
const LOG: usize = 1 << 20;

/// The log of one machine, from its start on. It begins with a snapshot, and nothing leaves before that is durable.
pub(crate) struct Journal {
    owner: Owner,
    changes: Changes,
    snapshot_due: bool,
    /// Octets of the last snapshot, and of the changes since.
    written: (usize, usize),
    /// When a snapshot has to replace the records that hold what was wiped.
    wipe_at: Option<Instant>,
    barrier: Barrier,
    /// What was restored is written anew.
    started: bool,
}

impl Journal {
    /// The journal of `owner`, whose last record has the number `sequence`.
    ///
    /// Randomness: 8 octets for the instance.
    pub(crate) fn new(owner: Owner, sequence: u64, rng: &mut dyn CryptoRng) -> Self {
        Self {
            owner,
            changes: Changes::none(),
            snapshot_due: true,
            written: (0, 0),
            wipe_at: None,
            barrier: Barrier::resume(sequence, rng),
            started: false,
        }
    }

    /// The checkpoint that will carry a change made now.
    pub(crate) const fn after(&self) -> u64 {
        self.barrier.after()
    }

    /// The checkpoint that carries every change so far: the last one where none waits for the next.
    pub(crate) fn carrying(&self) -> u64 {
        if self.changes.is_empty() { self.barrier.issued() } else { self.after() }
    }

    /// Sets a value, from the next checkpoint on.
    pub(crate) fn set(&mut self, name: Name, value: &[u8]) {
        self.set_written(name, value.len(), |out| out.bytes(value));
    }

    /// The same of a value of `len` octets, which `write` writes.
    pub(crate) fn set_written(
        &mut self,
        name: Name,
        len: usize,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) {
        self.changes.set(name, len, write);
    }

    /// Removes a value, from the next checkpoint on.
    pub(crate) fn remove(&mut self, name: Name) {
        self.changes.remove(name);
    }

    /// Values whose change waits for the next checkpoint.
    pub(crate) fn waiting(&self) -> usize {
        self.changes.names()
    }

    /// Whether as many values wait for it.
    pub(crate) fn has_waiting(&mut self, values: usize) -> bool {
        self.changes.reach(values)
    }

    /// The next checkpoint is a snapshot.
    pub(crate) const fn compact(&mut self) {
        self.snapshot_due = true;
    }

    /// A secret was wiped that an earlier record holds: a snapshot has to replace that before long.
    pub(crate) fn wipe_soon(&mut self, now: Instant) {
        let _ = self.wipe_at.get_or_insert_with(|| now.saturating_add(WIPE_AFTER));
    }

    /// When there is something to do, time alone considered.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.wipe_at
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.wipe_at.take_if(|at| *at <= now).is_some() {
            self.snapshot_due = true;
            // A store that is stuck keeps that from being made, and what waits for it may hold the same.
            self.changes.wipe_overtaken();
        }
    }

    /// Whether the next checkpoint, a snapshot, is to be made now. If so, the whole state has to be set before it: what was
    /// gathered is dropped.
    #[must_use]
    pub(crate) fn begin_snapshot(&mut self) -> bool {
        let begins = self.snapshot_due && !self.barrier.is_pending();
        if begins {
            self.changes.begin_whole();
            self.wipe_at = None;
        }
        begins
    }

    /// The next checkpoint, if there is something to write and none is pending.
    pub(crate) fn checkpoint(&mut self) -> Option<Checkpoint<Record>> {
        if self.barrier.is_pending() || !self.snapshot_due && self.changes.is_empty() {
            return None;
        }
        let (owner, sequence) = (self.owner, self.after());
        let checkpoint = self.barrier.issue(|| self.changes.take_record(owner, sequence))?;
        let (octets, snapshot) = (checkpoint.record().as_ref().len(), checkpoint.record().is_snapshot());
        self.written =
            if snapshot { (octets, 0) } else { (self.written.0, self.written.1.saturating_add(octets)) };
        let (last, since) = self.written;
        self.snapshot_due = since > last.max(LOG);
        Some(checkpoint)
    }

    /// Learns that a checkpoint is durable.
    pub(crate) fn acknowledge(&mut self, receipt: Receipt) -> Result<(), ReceiptError> {
        self.barrier.acknowledge(receipt)?;
        self.started = true;
        Ok(())
    }

    /// Whether a checkpoint is durable, and what was restored is as well.
    pub(crate) const fn is_durable(&self, number: u64) -> bool {
        self.started && self.barrier.has_reached(number)
    }

    /// What may leave next.
    pub(crate) fn release<T>(&self, queue: &mut Queue<T>) -> Option<T> {
        if self.started { queue.pop(&self.barrier) } else { None }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use alloc::vec::Vec;

    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::SeedableRng;
    use skex_core::record::RecordKind;

    use super::*;

    /// A machine whose state is so many values of 1000 octets, with a store that is durable at once.
    struct Machine {
        journal: Journal,
        state: u32,
        /// Octets of each record of the log, since the last snapshot and with it.
        log: Vec<usize>,
    }

    impl Machine {
        fn new(state: u32) -> Self {
            let owner = Owner { kind: RecordKind::DSKE_HUB, machine: [0; 8] };
            let journal = Journal::new(owner, 0, &mut ChaCha20Rng::seed_from_u64(1));
            let mut machine = Self { journal, state, log: Vec::new() };
            machine.write();
            machine
        }

        fn change(&mut self, key: u32) {
            self.journal.set(Name::of(&[&[0], &key.to_be_bytes()]), &[0; 1000]);
            self.write();
        }

        fn write(&mut self) {
            if self.journal.begin_snapshot() {
                for key in 0..self.state {
                    self.journal.set(Name::of(&[&[0], &key.to_be_bytes()]), &[0; 1000]);
                }
            }
            let Some(checkpoint) = self.journal.checkpoint() else { return };
            if checkpoint.record().is_snapshot() {
                self.log.clear();
            }
            self.log.push(checkpoint.record().as_ref().len());
            let stored: Result<Receipt, ()> = checkpoint.commit_with(|_| Ok(()));
            self.journal.acknowledge(stored.unwrap()).unwrap();
        }
    }

    #[test]
    fn the_log_grows_by_a_mebibyte_or_as_much_as_the_state_and_is_then_begun_anew() {
        for state in [1, 5000] {
            let mut machine = Machine::new(state);
            let snapshot = *machine.log.first().unwrap();
            let bound = snapshot + snapshot.max(LOG) + 2000;
            let mut snapshots = 0;
            for key in 0..20_000 {
                machine.change(key % state);
                snapshots += usize::from(machine.log.len() == 1);
                assert!(machine.log.iter().sum::<usize>() <= bound, "{state}");
            }
            // And not more often than that: what is written twice is at most as much as what changed.
            assert!(snapshots * snapshot.max(LOG) <= 20_000 * 1060, "{state}: {snapshots}");
            assert!(snapshots > 2, "{state}");
        }
    }

    #[test]
    fn what_was_wiped_before_it_was_stored_is_gone_a_minute_later_though_the_store_is_stuck() {
        let mut machine = Machine::new(1);
        machine.journal.set(Name::of(&[b"first"]), b"a");
        let stuck = machine.journal.checkpoint();
        let (share, other) = (Name::of(&[b"share"]), Name::of(&[b"other"]));
        machine.journal.set(share, b"secret");
        machine.journal.set(other, b"stays");
        machine.journal.set(share, b"");
        machine.journal.wipe_soon(Instant::ZERO);
        assert!(machine.journal.changes.holds(b"secret"));
        machine.journal.handle_timeout(Instant::from_millis(60_000));
        assert!(!machine.journal.begin_snapshot());
        assert!(!machine.journal.changes.holds(b"secret") && machine.journal.changes.holds(b"stays"));
        assert_eq!(machine.journal.waiting(), 2);
        drop(stuck);
    }

    #[test]
    fn what_was_wiped_is_gone_from_the_log_a_minute_later_however_much_is_wiped_meanwhile() {
        let mut machine = Machine::new(10);
        for second in 0..60 {
            let now = Instant::from_millis(second * 1000);
            machine.journal.wipe_soon(now);
            machine.journal.handle_timeout(now);
            machine.change(1);
        }
        assert_eq!(machine.journal.deadline(), Some(Instant::from_millis(60_000)));
        assert_eq!(machine.log.len(), 61);
        machine.journal.handle_timeout(Instant::from_millis(60_000));
        machine.write();
        assert_eq!(machine.log.len(), 1);
        assert_eq!(machine.journal.deadline(), None);
    }
}
