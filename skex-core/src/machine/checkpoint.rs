//! Durable changes as values: what is to be stored, and the proof that it was.

use core::fmt;

/// A durable change that the caller is to store, whole or not at all, before anything that depends on it may leave.
///
/// If it is dropped, the machine stays silent for good: it fails closed.
///
/// The checkpoint gives a receipt only through [`commit_with`](Self::commit_with) or, for stores that answer later,
/// through [`into_parts`](Self::into_parts) and [`PendingReceipt::assume_durable`].
///
/// ```
/// # use skex_core::machine::{Barrier, Checkpoint, Receipt};
/// # fn store(_: &[u8]) -> Result<(), core::convert::Infallible> { Ok(()) }
/// fn persist(checkpoint: Checkpoint<[u8; 4]>) -> Receipt {
///     checkpoint.commit_with(|bytes| store(bytes)).unwrap()
/// }
/// ```
///
/// It cannot be duplicated:
///
/// ```compile_fail,E0599
/// # use skex_core::machine::{Barrier, Checkpoint, Receipt};
/// # fn store(_: &[u8]) -> Result<(), core::convert::Infallible> { Ok(()) }
/// fn persist(checkpoint: Checkpoint<[u8; 4]>) -> Receipt {
///     checkpoint.clone().commit_with(|bytes| store(bytes)).unwrap()
/// }
/// ```
///
/// and it is used up by committing it:
///
/// ```compile_fail,E0382
/// # use skex_core::machine::{Barrier, Checkpoint, Receipt};
/// # fn store(_: &[u8]) -> Result<(), core::convert::Infallible> { Ok(()) }
/// fn persist(checkpoint: Checkpoint<[u8; 4]>) -> Receipt {
///     let first = checkpoint.commit_with(|bytes| store(bytes)); checkpoint.commit_with(|bytes| store(bytes)).unwrap()
/// }
/// ```
#[must_use = "a checkpoint that is not stored leaves its machine silent for good"]
pub struct Checkpoint<R> {
    record: R,
    receipt: Receipt,
}

impl<R> Checkpoint<R> {
    pub(super) fn new(record: R, instance: u64, sequence: u64) -> Self {
        Self { record, receipt: Receipt { instance, sequence } }
    }

    /// What is to be stored.
    pub const fn record(&self) -> &R {
        &self.record
    }

    /// The same, for the machine that issues it: to write a large record in its place, where it lies in what
    /// `poll_output` gives, and not somewhere else first.
    pub const fn record_mut(&mut self) -> &mut R {
        &mut self.record
    }

    /// Stores the record with `store` and gives the receipt if that succeeded.
    ///
    /// `store` must return `Ok` only when the bytes would survive a loss of power (a file: written and synced, and
    /// its directory as well if it is new).
    ///
    /// # Errors
    ///
    /// What `store` returned. The checkpoint is used up all the same: the machine has to be restored from what the
    /// store then holds.
    pub fn commit_with<E>(self, store: impl FnOnce(&R) -> Result<(), E>) -> Result<Receipt, E> {
        store(&self.record)?;
        Ok(self.receipt)
    }

    /// The receipt of a checkpoint that its owner drops: see [`Output::commit_with`](super::Output::commit_with).
    pub(super) const fn used_up(&self) -> Receipt {
        Receipt { instance: self.receipt.instance, sequence: self.receipt.sequence }
    }

    /// The same checkpoint with its record as `wrap` gives it back: for a machine made of machines, which has to say
    /// whose record it is.
    pub fn map<S>(self, wrap: impl FnOnce(R) -> S) -> Checkpoint<S> {
        Checkpoint { record: wrap(self.record), receipt: self.receipt }
    }

    /// The id of the instance that issued it, as in [`Receipt::instance`].
    #[must_use]
    pub const fn instance(&self) -> u64 {
        self.receipt.instance
    }

    /// The record and the receipt to be, for a store that reports success later.
    pub fn into_parts(self) -> (R, PendingReceipt) {
        (self.record, PendingReceipt(self.receipt))
    }
}

impl<R> fmt::Debug for Checkpoint<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("sequence", &self.receipt.sequence).finish_non_exhaustive()
    }
}

/// A receipt whose record is not durable yet.
///
/// ```
/// # use skex_core::machine::{PendingReceipt, Receipt};
/// fn stored(pending: PendingReceipt) -> Receipt {
///     pending.assume_durable()
/// }
/// ```
///
/// It is not a receipt:
///
/// ```compile_fail,E0308
/// # use skex_core::machine::{PendingReceipt, Receipt};
/// fn stored(pending: PendingReceipt) -> Receipt {
///     pending
/// }
/// ```
#[must_use = "without its receipt a machine stays silent"]
#[derive(Debug)]
pub struct PendingReceipt(Receipt);

impl PendingReceipt {
    /// Says that the record is durable. The one place where a caller could lie: look for its name in a review.
    pub fn assume_durable(self) -> Receipt {
        self.0
    }
}

/// Proof that a checkpoint is durable, for `handle_persisted` of the machine that issued it.
///
/// ```
/// # use skex_core::machine::{Barrier, Receipt, ReceiptError};
/// fn acknowledge(barrier: &mut Barrier, receipt: Receipt) -> Result<(), ReceiptError> {
///     barrier.acknowledge(receipt)
/// }
/// ```
///
/// It cannot be used twice:
///
/// ```compile_fail,E0382
/// # use skex_core::machine::{Barrier, Receipt, ReceiptError};
/// fn acknowledge(barrier: &mut Barrier, receipt: Receipt) -> Result<(), ReceiptError> {
///     barrier.acknowledge(receipt)?; barrier.acknowledge(receipt)
/// }
/// ```
///
/// nor copied:
///
/// ```compile_fail,E0599
/// # use skex_core::machine::{Barrier, Receipt, ReceiptError};
/// fn acknowledge(barrier: &mut Barrier, receipt: Receipt) -> Result<(), ReceiptError> {
///     barrier.acknowledge(receipt.clone())
/// }
/// ```
///
/// nor made:
///
/// ```compile_fail,E0451
/// # use skex_core::machine::{Barrier, Receipt, ReceiptError};
/// fn acknowledge(barrier: &mut Barrier, receipt: Receipt) -> Result<(), ReceiptError> {
///     barrier.acknowledge(Receipt { instance: 1, sequence: 1 })
/// }
/// ```
#[must_use = "without its receipt a machine stays silent"]
#[derive(Debug)]
pub struct Receipt {
    pub(super) instance: u64,
    pub(super) sequence: u64,
}

impl Receipt {
    /// The id of the restored instance whose checkpoint it is for, so that a machine made of machines hands it to the
    /// right one. Nobody else needs it: it opens nothing.
    #[must_use]
    pub const fn instance(&self) -> u64 {
        self.instance
    }
}

/// A receipt that opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It was issued by another machine, or by this one before it was restored.
    #[error(
        "receipt of another machine or of an instance from before a restart; hand it to the machine that issued it"
    )]
    Foreign,
    /// It is not for the checkpoint that is outstanding.
    #[error("receipt for a checkpoint that is not outstanding")]
    Stale,
}
