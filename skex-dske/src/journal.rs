//! The durable side of a machine: it gathers changes, numbers them, and gates what depends on them. The client and the
//! hub write their state through one each (docs/draft-skex-dske.md, "Records").

use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::SecretVec;
use skex_core::machine::{Barrier, Checkpoint, Instant, Queue, Receipt, ReceiptError};

use crate::state::{Changes, Owner, Record};

/// What was wiped stands in earlier records until a snapshot replaces those: at most so long.
const WIPE_AFTER: Duration = Duration::from_secs(60);

/// The log of one machine, from its start on. It begins with a snapshot, and nothing leaves before that is durable.
pub(crate) struct Journal {
    owner: Owner,
    /// Of the last record.
    sequence: u64,
    changes: Changes,
    snapshot_due: bool,
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
            sequence,
            changes: Changes::default(),
            snapshot_due: true,
            wipe_at: None,
            barrier: Barrier::new(rng),
            started: false,
        }
    }

    /// The checkpoint that will carry a change made now.
    pub(crate) const fn after(&self) -> u64 {
        self.barrier.after()
    }

    /// Sets a value, from the next checkpoint on.
    pub(crate) fn set(&mut self, key: &[u8], value: SecretVec) {
        self.changes.set(key, value);
    }

    /// [`Self::set`] for a key that the present changes do not hold yet.
    pub(crate) fn append(&mut self, key: &[u8], value: SecretVec) {
        self.changes.append(key, value);
    }

    /// Removes a value, from the next checkpoint on.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.changes.remove(key);
    }

    /// Changes that wait for the next checkpoint.
    pub(crate) fn waiting(&self) -> usize {
        self.changes.len()
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
        }
    }

    /// Whether the next checkpoint, a snapshot, is to be made now. If so, the whole state has to be set before it: what was
    /// gathered is dropped.
    #[must_use]
    pub(crate) fn begin_snapshot(&mut self) -> bool {
        let begins = self.snapshot_due && !self.barrier.is_pending();
        if begins {
            self.changes = Changes::default();
            self.wipe_at = None;
        }
        begins
    }

    /// The next checkpoint, if there is something to write and none is pending.
    pub(crate) fn checkpoint(&mut self) -> Option<Checkpoint<Record>> {
        if self.barrier.is_pending() || !self.snapshot_due && self.changes.is_empty() {
            return None;
        }
        let (owner, sequence, snapshot) = (self.owner, self.sequence.saturating_add(1), self.snapshot_due);
        let changes = core::mem::take(&mut self.changes);
        let checkpoint = self.barrier.issue(|| changes.into_record(owner, sequence, snapshot))?;
        (self.sequence, self.snapshot_due) = (sequence, false);
        Some(checkpoint)
    }

    /// Learns that a checkpoint is durable.
    pub(crate) fn acknowledge(&mut self, receipt: Receipt) -> Result<(), ReceiptError> {
        self.barrier.acknowledge(receipt)?;
        self.started = true;
        Ok(())
    }

    /// What may leave next.
    pub(crate) fn release<T>(&self, queue: &mut Queue<T>) -> Option<T> {
        if self.started { queue.pop(&self.barrier) } else { None }
    }
}

/// The contract of every machine, by the methods of the same name.
macro_rules! machine {
    ($machine:ident<P>, $event:ty, $error:ty) => {
        impl<P: Pad> skex_core::machine::Machine for $machine<P> {
            type Record = Record;
            type Payload = Vec<u8>;
            type Event = $event;
            type Error = $error;

            fn handle_message(
                &mut self,
                now: Instant,
                rng: &mut dyn CryptoRng,
                from: PathId,
                message: &[u8],
            ) -> Result<Disposition, $error> {
                self.handle_message(now, rng, from, message)
            }

            fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), $error> {
                self.handle_timeout(now, rng)
            }

            fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), $error> {
                self.handle_persisted(receipt)
            }

            fn poll_output(&mut self) -> Output<Record, Vec<u8>, $event> {
                self.poll_output()
            }
        }
    };
}

pub(crate) use machine;
