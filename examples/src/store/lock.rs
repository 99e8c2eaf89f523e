//! One process alone uses a directory: two would use the same pad bytes twice.

use core::time::Duration;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::atomic::private;
use super::finish;

const NAME: &str = "lock";

/// The right to use a directory, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// What a crash left in the directory is erased then.
    pub(crate) fn acquire(directory: &Path) -> Result<Self> {
        let Some(file) = lock(&directory.join(NAME))? else {
            bail!(
                "another skex process is running on {}: stop it first, or use a directory of its own",
                directory.display()
            )
        };
        warn_of_others(directory);
        finish(directory);
        Ok(Self { _file: file })
    }
}

/// Says where others can look into a directory: what is in it was made for its owner alone, but may have been carried by what knows no
/// permissions.
fn warn_of_others(directory: &Path) {
    if directory.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        let directory = directory.display();
        eprintln!("skex: others can look into {directory}, which holds secrets: chmod -R go= {directory}");
    }
}

/// Locks a file, which is made where it is not there, until it is dropped. `None`: another process has it.
pub(crate) fn lock(path: &Path) -> Result<Option<File>> {
    let file = private(OpenOptions::new().read(true).write(true).create(true).truncate(false))
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    // `skex status` holds it for a moment, to see whether anybody has it.
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
    Ok(None)
}

const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// Whether a process uses the directory now.
pub(crate) fn is_running(directory: &Path) -> bool {
    let Ok(file) = File::open(directory.join(NAME)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_used_once_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_running(directory.path()));
        let lock = DirectoryLock::acquire(directory.path()).unwrap();
        assert!(is_running(directory.path()));
        assert!(DirectoryLock::acquire(directory.path()).is_err());
        drop(lock);
        assert!(!is_running(directory.path()));
        DirectoryLock::acquire(directory.path()).unwrap();
    }
}
