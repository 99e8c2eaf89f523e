//! What a rotation orders and tells, and what it refuses.

#[cfg(doc)]
use super::Rotation;
use crate::machine::ReceiptError;
use crate::record::RecordError;

/// What is to be done, or known.
///
/// Orders may come again after a restart or a report; carrying one out twice must do no harm. Answer each with the method
/// that it names, or with [`Rotation::refused`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RotationEvent {
    /// Let the consumer accept this generation, beside the others: [`Rotation::installed`].
    Install(u64),
    /// Let the consumer transmit with this generation: [`Rotation::switched`].
    SwitchTransmit(u64),
    /// Remove this generation from the consumer, and erase its key: [`Rotation::retired`].
    Retire(u64),
    /// Look at what the consumer holds: [`Rotation::consumer_state`]. Nothing else is ordered before.
    Report,
    /// Both ends transmit with this generation. Told again after a restart.
    Rotated(u64),
    /// The rotation to this generation is not finished in time: the other end lacks the key, or is not reached. Until it is,
    /// the link goes on under the old key.
    Overdue(u64),
    /// The consumer lost this generation, and it must not be installed again: erase its key, and establish another. Told again after a
    /// restart, where it was in use, or none was yet, and no higher one is here.
    Lost(u64),
    /// The consumer refused to install this generation: erase its key, and establish another.
    Refused(u64),
    /// The other end no longer holds what this end transmits with: establish another key at once. Told again after a restart, where
    /// that one is gone there for good and no higher one is here.
    PeerLost(u64),
}

/// A call that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The generation is not above every one before.
    #[error("the generation is not above every one before: number the keys upwards, the same at both ends")]
    NotNewer,
    /// As many generations are held as can be.
    #[error("earlier rotations are not finished: offer the key again after the next retirement")]
    Full,
    /// The machine waits for a report, or the generation is not one of which such a report was due.
    #[error("no such order is open: answer the orders that were given")]
    Unexpected,
    /// The record cannot be read.
    #[error("the record of the rotation cannot be read: {0}")]
    Record(RecordError),
    /// A receipt of another machine, or of an instance before a restart.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}
