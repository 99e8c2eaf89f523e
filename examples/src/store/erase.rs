//! Files whose secret is spent: overwritten, synced, removed. A crash in between, or a loss of power before the name is gone from the disk,
//! leaves zeros under the name. They are nobody's key: whoever reads one looks first.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use super::atomic::{parent, sync_directory};
use super::overwrite;

/// Overwrites a file and removes it, durably. What the medium keeps beside it is out of reach. One that is gone is erased.
pub(crate) fn erase(path: &Path) -> Result<()> {
    let erased = || -> std::io::Result<()> {
        let file = match OpenOptions::new().write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        overwrite(&file, 0, file.metadata()?.len())?;
        file.sync_all()?;
        fs::remove_file(path)
    };
    erased().with_context(|| format!("cannot erase {}: erase it", path.display()))?;
    sync_directory(parent(path))
}

/// Whether this is what a crash left of a file that was being erased. All octets are looked at, whatever they are.
pub(crate) fn is_erased(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().fold(0, |all, octet| all | octet) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_what_is_left_of_a_file_and_nothing_else_is() {
        assert!(is_erased(&[0]) && is_erased(&[0; 32]));
        assert!(!is_erased(&[]));
        for at in 0..32 {
            let mut octets = [0; 32];
            octets[at] = 0x80;
            assert!(!is_erased(&octets), "{at}");
        }
    }

    #[test]
    fn what_is_erased_is_gone_and_may_be_gone_already() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("key"), directory.path().join("other name"));
        fs::write(&path, [7; 5000]).unwrap();
        fs::hard_link(&path, &other).unwrap();
        erase(&path).unwrap();
        erase(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(&other).unwrap(), [0; 5000], "overwritten before");
    }
}
