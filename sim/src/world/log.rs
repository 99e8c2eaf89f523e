//! What a world remembers, for oracles.

use skex_core::machine::{Destination, Disposition, Instant, TransmitClass};

use super::NodeId;
use crate::net::Address;

/// Something that an application was told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Happened<E> {
    /// Where.
    pub node: NodeId,
    /// When, in the world's time.
    pub at: Instant,
    /// What.
    pub event: E,
}

/// A message that reached a machine, and what it did with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrived {
    /// Where.
    pub node: NodeId,
    /// When, in the world's time.
    pub at: Instant,
    /// Whom it said to be from.
    pub from: Address,
    /// The message.
    pub bytes: Vec<u8>,
    /// What became of it; `None`: the machine answered with an error.
    pub disposition: Option<Disposition>,
}

/// Something that left a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Departure {
    /// The node.
    pub node: NodeId,
    /// When, in the world's time.
    pub at: Instant,
    /// What.
    pub what: Departed,
}

/// What left a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Departed {
    /// A checkpoint with this record.
    Stored(Vec<u8>),
    /// A datagram.
    Sent {
        /// Where to, as the machine said it.
        to: Destination,
        /// Why.
        class: TransmitClass,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// An event, described.
    Told(String),
}

/// A machine answered a message, a timeout or its own receipt with an error; it is not driven on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure<E> {
    /// Where.
    pub node: NodeId,
    /// When, in the world's time.
    pub at: Instant,
    /// What it answered.
    pub error: E,
}
