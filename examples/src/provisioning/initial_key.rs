//! Orders that lie in a directory until whoever holds its lock has carried them out; and those that give a link another
//! initial key.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_core::SecretBytes;

use crate::store::{DirectoryLock, read_unspent};

const NEW_KEY: &str = "newkey";

/// How long a process that runs has to carry out an order.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// The orders of one kind that wait, by name.
pub(crate) fn orders(directory: &Path, kind: &str) -> Result<Vec<PathBuf>> {
    let look = || format!("cannot look into {}", directory.display());
    let mut orders = Vec::new();
    for entry in fs::read_dir(directory).with_context(look)? {
        let path = entry.with_context(look)?.path();
        if path.extension().is_some_and(|extension| extension == kind) {
            orders.push(path);
        }
    }
    orders.sort();
    Ok(orders)
}

/// Waits until an order is carried out: by the process that runs on the directory, or by `carry_out` where none does.
pub(crate) fn await_order(
    directory: &Path,
    order: &Path,
    mut carry_out: impl FnMut(&DirectoryLock) -> Result<()>,
) -> Result<()> {
    let began = std::time::Instant::now();
    while order.exists() {
        if began.elapsed() > PATIENCE {
            bail!(
                "the process that runs on {} has not carried out {} yet: see what it says. The order stays there",
                directory.display(),
                order.display()
            );
        }
        match DirectoryLock::acquire(directory) {
            Ok(lock) => carry_out(&lock)?,
            // Somebody is running, and looks for orders.
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    Ok(())
}

/// Where the order to give a link another initial key lies.
pub(crate) fn new_key_order(directory: &Path, link: &str) -> PathBuf {
    directory.join(format!("{link}.{NEW_KEY}"))
}

/// The orders to give links other initial keys: the link and the order.
pub(crate) fn new_keys(directory: &Path) -> Result<Vec<(String, PathBuf)>> {
    let name = |path: PathBuf| {
        let link = path.file_stem().and_then(|link| link.to_str()).unwrap_or_default().to_owned();
        (link, path)
    };
    Ok(orders(directory, NEW_KEY)?.into_iter().map(name).collect())
}

/// A file of 32 octets and nothing else.
pub(crate) fn read_key(path: &Path) -> Result<SecretBytes<32>> {
    let octets = read_unspent(path, 33)?.with_context(|| {
        format!(
            "the key in {} was taken before, and is erased: carry it here again if it was not",
            path.display()
        )
    })?;
    let key = SecretBytes::try_copied_from(&octets);
    key.with_context(|| format!("{} is no initial key, which has 32 octets", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the link would have an initial key that everybody knows.
    #[test]
    fn an_order_that_was_being_erased_when_a_crash_came_gives_no_key() {
        let directory = tempfile::tempdir().unwrap();
        let order = new_key_order(directory.path(), "hub-1");
        fs::write(&order, [7; 32]).unwrap();
        assert_eq!(read_key(&order).unwrap(), SecretBytes::copied_from(&[7; 32]));
        assert_eq!(new_keys(directory.path()).unwrap().len(), 1);
        for octets in [[7; 32], [0; 32]] {
            let _ = fs::remove_file(&order);
            fs::write(directory.path().join("hub-1.newkey.erasing"), octets).unwrap();
            assert!(new_keys(directory.path()).unwrap().is_empty());
            drop(DirectoryLock::acquire(directory.path()).unwrap());
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the lock");
        }
        for octets in [&[7; 31][..], &[7; 33], &[]] {
            fs::write(&order, octets).unwrap();
            assert!(read_key(&order).unwrap_err().to_string().contains("has 32 octets"));
        }
    }
}
