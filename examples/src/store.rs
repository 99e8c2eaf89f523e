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
pub(crate) use slots::{LANES, SlotContents, Slots};
pub(crate) use table::{FilePad, TableIdentity, TableWriter, TablesIn, overwrite, table_name, way};

use std::io;

use anyhow::Result;

/// What cannot be done with a file, and why. What `missing` advises is for a file that is not there: one that may not be read
/// is not lost, and must not be replaced by an older copy.
pub(crate) fn unopened(error: io::Error, cannot: &str, missing: &str) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => format!(": {missing}"),
        io::ErrorKind::PermissionDenied => {
            ": run skex as the user to whom the directory belongs, and let that user read and write all of it"
                .to_owned()
        }
        _ => String::new(),
    };
    anyhow::Error::new(error).context(format!("{cannot}{advice}"))
}

/// Where the checkpoints of machines go.
pub(crate) trait Store<R>: Send {
    /// Returns once all of `records` would survive a loss of power: one sync serves them all, however many they are. They are
    /// written in their order, so a crash before that leaves the first of them, and nothing that was not there of the others.
    fn store(&mut self, records: &[R]) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_is_not_there_is_to_be_brought_back() {
        for (kind, says) in [
            (io::ErrorKind::NotFound, "cannot read it: bring it back"),
            (io::ErrorKind::PermissionDenied, "cannot read it: run skex as the user"),
            (io::ErrorKind::StorageFull, "cannot read it"),
        ] {
            let told = unopened(kind.into(), "cannot read it", "bring it back").to_string();
            assert!(
                told.starts_with(says) && told.contains("back") == (kind == io::ErrorKind::NotFound),
                "{told}"
            );
        }
    }
}
