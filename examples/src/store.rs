//! What is durable: logs, slots, tables, and the rule that one process alone uses a directory.

pub(crate) mod atomic;
mod lock;
mod log;
mod slots;
mod table;

pub(crate) use lock::{DirectoryLock, is_running};
pub(crate) use log::{Log, LogContents};
pub(crate) use slots::{SlotContents, Slots};
pub(crate) use table::{FilePad, TableIdentity, TableWriter, overwrite, table_name, table_numbers};

use anyhow::Result;

/// Where the checkpoints of a machine go.
pub(crate) trait Store<R> {
    /// Returns once `record` would survive a loss of power.
    fn store(&mut self, record: &R) -> Result<()>;

    /// Whether a fresh snapshot would make the store shorter.
    fn wants_snapshot(&self) -> bool {
        false
    }
}
