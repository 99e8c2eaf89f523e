//! Orders that lie in a directory until whoever holds its lock has carried them out; and those that give a link another
//! initial key.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_core::SecretBytes;
use zeroize::Zeroizing;

use crate::store::{DirectoryLock, erase, is_erased};

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
    key_in(path)?.with_context(|| {
        format!(
            "the key in {} was taken before, and erased: carry it here again if it was not",
            path.display()
        )
    })
}

/// The key that an order gives. `None`: it was carried out, and a crash came while it was erased. Now it is gone.
pub(crate) fn ordered_key(order: &Path) -> Result<Option<SecretBytes<32>>> {
    let key = key_in(order)?;
    if key.is_none() {
        erase(order)?;
    }
    Ok(key)
}

/// `None`: what it was is erased.
fn key_in(path: &Path) -> Result<Option<SecretBytes<32>>> {
    let octets = Zeroizing::new(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    if is_erased(&octets) {
        return Ok(None);
    }
    let key = SecretBytes::try_copied_from(&octets);
    key.with_context(|| format!("{} has {} octets, and an initial key has 32", path.display(), octets.len()))
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the link would have an initial key that everybody knows.
    #[test]
    fn an_order_that_a_crash_left_half_erased_gives_no_key_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let order = new_key_order(directory.path(), "hub-1");
        fs::write(&order, [7; 32]).unwrap();
        assert_eq!(ordered_key(&order).unwrap(), Some(SecretBytes::copied_from(&[7; 32])));
        fs::write(&order, [0; 32]).unwrap();
        assert!(read_key(&order).unwrap_err().to_string().contains("was taken before"));
        assert_eq!(ordered_key(&order).unwrap(), None);
        assert!(!order.exists());
    }
}
