#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod bytes;
mod config;
mod error;
mod event;
mod exporter;
mod mix;
mod peer;
mod record;
mod rules;
mod schedule;
#[cfg(feature = "alloc")]
mod table;
#[cfg(test)]
mod tests;

pub use bytes::{Datagram, Record};
pub use config::{Confirmation, PeerConfig, RECOVERY_LANE, Side};
pub use error::{ConfigError, Error, ExportError, MixError, RestoreError};
pub use event::{Event, Role, Session};
pub use exporter::{MAX_OUTPUTS, WINDOW, index_owner};
pub use mix::{MixBlock, MixPolicy};
pub use peer::Peer;
pub use record::MAX_RECORD;
#[cfg(feature = "alloc")]
pub use table::{LaneId, LaneRecord, PeerTable, RecoveryCause, TableConfig, TableError, TableEvent};
