//! What a table tells the application, and what it refuses.

use skex_core::machine::{PeerHandle, ReceiptError};

use super::lane::LaneId;
use crate::error::{ConfigError, Error, ExportError, MixError, RestoreError};
use crate::event::Event;

/// What a table tells the application.
#[derive(Debug)]
#[non_exhaustive]
pub enum TableEvent {
    /// What the machine of this lane tells.
    Lane(LaneId, Event),
    /// An authentic first message came from the epoch before on this lane, although the peer had left it: the peer was
    /// rolled back, or somebody sent a copy of an old message. Told once an epoch. The pair's recovery lane answers now.
    PeerBehind(LaneId),
    /// A recovery went through: all lanes of the pair that are in the table are enrolled anew, durably, from a secret that the
    /// other end has too. They are silent until [`PeerTable::conclude_recovery`](crate::PeerTable::conclude_recovery), which is to be
    /// called once **every** lane of the pair is in the table. Told again after a start.
    Recovered(PeerHandle),
}

/// Why a recovery may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecoveryCause {
    /// A lane of the pair had a stale notice that verified: this end was rolled back.
    RolledBack,
    /// The operator wants it: after a deeper rollback, which nobody proves, or on suspicion of a theft.
    Operator,
}

/// A call that a table refuses. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// It holds as many lanes as its configuration allows.
    #[error("the table is full: remove lanes, or make a table with a higher bound")]
    TableFull,
    /// There is a machine for this pair and lane already.
    #[error("this lane of this pair is in the table already: remove it, or enrol it anew")]
    LaneInUse,
    /// There is no such lane.
    #[error("no such lane in the table")]
    UnknownLane,
    /// The recovery lane is for recovery alone, and 0 to 254 are the others.
    #[error("lane 255 is used for recovery alone; others are numbered from 0 to 254")]
    RecoveryOnly,
    /// The pair has no recovery lane in this table.
    #[error("the pair has no recovery lane here: restore it into the table, or enrol the pair anew")]
    NoRecoveryLane,
    /// The pair has a recovery under way here, or none that could be concluded.
    #[error(
        "a recovery of this pair is under way, or none is ready: wait until it is told, then conclude it"
    )]
    RecoveryUnderWay,
    /// No lane of the pair has proof that it was rolled back.
    #[error("no lane of the pair had a stale notice: only the operator may want a recovery")]
    NotRolledBack,
    /// The configuration or the secret cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The records cannot be used.
    #[error("{0}")]
    Restore(#[from] RestoreError),
    /// The machine refuses.
    #[error("{0}")]
    Peer(#[from] Error),
    /// The output cannot be given.
    #[error("{0}")]
    Export(#[from] ExportError),
    /// The block of fresh secret material cannot be taken.
    #[error("{0}")]
    Mix(#[from] MixError),
    /// The receipt is for no checkpoint of this table.
    #[error("{0}")]
    Receipt(#[from] ReceiptError),
}
