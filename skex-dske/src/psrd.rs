//! Pre-shared random data: tables that no byte leaves twice.
//!
//! A link between a client and a hub has two tables, one a direction. Only the sender of a direction allocates from
//! its table, and only inside a lease that the receiver granted; the receiver records how far it has granted, durably,
//! before it says so. After a start the sender goes on where the receiver's mark stands, so neither a crash nor a
//! restored snapshot of one end can make it use a byte again (docs/draft-skex-dske.md, "Ledger").

mod block;
mod device;
mod health;
mod incoming;
mod outgoing;
mod pad;
mod ranges;
mod tables;
#[cfg(test)]
mod tests;

pub(crate) use block::Block;
pub use device::{BlockDevice, BlockPad};
pub(crate) use incoming::{Incoming, NotGranted, OpenError};
pub(crate) use outgoing::{AllocateError, GrantError, Granted, Outgoing};
pub use pad::{ELEMENT_LEN, MemoryPad, Pad, PadError};
pub(crate) use tables::{Half, Place, Receiving, Sending};
