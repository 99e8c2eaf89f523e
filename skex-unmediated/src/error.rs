//! What can go wrong by a call. Nothing that arrives from the network is an error.

use skex_core::machine::ReceiptError;
use skex_core::record::RecordError;

/// A configuration or an enrolment that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A name is empty or too long.
    #[error("a name must have 1 to 255 octets, the context at most 255")]
    BadName,
    /// Both ends have the same name.
    #[error("the two ends must have different names")]
    SameName,
    /// No suite, more than 8, or one twice; or none is compiled in.
    #[error("choose 1 to 8 different suites that are compiled in, by features of skex-core")]
    NoSuite,
    /// No time to the first retransmission, or a number of tries outside 1 to 10.
    #[error("the retransmission time must not be zero, and the number of tries must be 1 to 10")]
    BadRetransmission,
    /// A window outside 1 to 8.
    #[error("the window of the exporter must be 1 to 8")]
    BadWindow,
    /// The enrolment secret is too short.
    #[error("the enrolment secret must have at least 32 octets")]
    ShortSecret,
}

/// A peer cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The configuration cannot be used.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// Nothing was ever stored.
    #[error("no record: enrol this peer first")]
    NotEnrolled,
    /// No record of this peer is whole. [`RecordError::ForeignMachine`] also where names, context, lane or initial
    /// suite differ from those of the enrolment.
    #[error("{0}")]
    Record(#[from] RecordError),
    /// The record is that of the peer, not of this end.
    #[error("the record is that of the other end: sides a and b are swapped")]
    WrongSide,
    /// The record is whole, but not one of this version.
    #[error("the record's content is not what this version writes")]
    Content,
    /// The record needs a suite that is not compiled in.
    #[error("the record needs a suite that is not compiled in")]
    Suite,
}

/// A call that a peer refuses. It is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer said that this end was rolled back or cloned. It has to be enrolled anew.
    #[error("this end was rolled back or cloned: enrol the pair anew")]
    RolledBack,
    /// The epochs are used up.
    #[error("no epoch is left: enrol the pair anew")]
    Exhausted,
    /// Fresh secret material is required, and no block is held.
    #[error("fresh secret material is required: provide a block first")]
    NoBlock,
    /// A recovery enrolled this lane, and is not concluded at this end.
    #[error(
        "a recovery enrolled this lane and is not concluded: conclude it, with all lanes of the pair at hand"
    )]
    Held,
    /// No recovery has gone through on the recovery lane, or that is not durable yet.
    #[error("no recovery has gone through, or it is not stored yet: poll the outputs")]
    NotRecovered,
    /// There is no such session, or no more.
    #[error("no such session")]
    UnknownSession,
    /// The receipt opens nothing here.
    #[error("{0}")]
    Receipt(#[from] ReceiptError),
}

/// A block of fresh secret material that is not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MixError {
    /// The key does not have 32 octets.
    #[error("a block of fresh secret material must have 32 octets")]
    Length,
    /// Two blocks are held, and neither was withdrawn, or the peer may have moved on with those that were. Where the peer
    /// answers an attempt it has not: then there is room for another, whether a session comes of it or not.
    #[error(
        "two blocks are held already: withdraw them, establish a session, and try again once the peer has answered"
    )]
    Full,
    /// The configuration says never.
    #[error("the configuration of this end never mixes fresh secret material in")]
    Policy,
}

/// An output that cannot be given. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// There is no such session, or no more.
    #[error("no such session")]
    UnknownSession,
    /// The session is not confirmed yet.
    #[error("the session is not confirmed yet")]
    Unconfirmed,
    /// A change has to be durable first, or another key has to be taken first: poll the outputs.
    #[error("something has to be stored first: poll the outputs and try again")]
    Busy,
    /// This end was restarted since the handshake: it answers, but names no output before the next one.
    #[error("no output can be named after a start: establish a new session")]
    Restarted,
    /// As many outputs as the window holds are unanswered: report answers, or establish a new session.
    #[error("too many outputs are unanswered: report answers, or establish a new session")]
    WindowFull,
    /// The index is this end's own; only the peer asks for it.
    #[error("the index was named by this end")]
    OwnIndex,
    /// The index is further ahead than the window reaches.
    #[error("the index is too far ahead")]
    TooFar,
    /// The index was used, or has left the window.
    #[error("the index was used or has left the window")]
    Used,
    /// The chain has given all its outputs: establish a new session.
    #[error("no output is left: establish a new session")]
    Exhausted,
    /// A context has at most 65,535 octets.
    #[error("the context is too long")]
    LongContext,
}
