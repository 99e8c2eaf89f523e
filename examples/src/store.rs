//! What is durable: logs, slots, tables, and the rule that one process alone uses a directory.

pub(crate) mod atomic;
mod begun;
mod committer;
mod erase;
mod lock;
mod log;
mod many;
mod partial;
mod pool;
mod slots;
mod table;

pub(crate) use begun::check_begun;
pub(crate) use committer::Committer;
pub(crate) use erase::{erase, erase_all, finish, finish_erasing, read_unspent};
pub(crate) use lock::{DirectoryLock, is_running, lock};
pub(crate) use log::{Log, LogContents};
pub(crate) use many::LogOfMany;
pub(crate) use partial::Partial;
pub(crate) use slots::{SlotContents, Slots};
pub(crate) use table::{FilePad, TableIdentity, TableWriter, TablesIn, overwrite, table_name};

use anyhow::Result;

/// Where the checkpoints of machines go.
pub(crate) trait Store<R>: Send {
    /// Returns once all of `records` would survive a loss of power: one sync serves them all, however many they are. They are
    /// written in their order, so a crash before that leaves the first of them, and nothing that was not there of the others.
    fn store(&mut self, records: &[R]) -> Result<()>;
}
