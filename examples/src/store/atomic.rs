//! Files that are there whole or not at all, and that nobody else can read.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::partial::Partial;

/// Makes a file, readable by its owner alone, that must not exist yet. Durable when this returns.
pub(crate) fn create_private(path: &Path, octets: &[u8]) -> Result<()> {
    refuse_existing(path)?;
    let created = || {
        let mut new = Partial::of(path)?;
        new.write(octets)?;
        new.create()
    };
    created().with_context(|| format!("cannot write {}", path.display()))?;
    sync_directory(parent(path))
}

/// Makes a file, readable by its owner alone, that must not exist yet. Durable once the file system was synced
/// ([`sync_file_system`]): for what nobody looks for before.
pub(crate) fn write_private(path: &Path, octets: &[u8]) -> Result<()> {
    private(OpenOptions::new().write(true).create_new(true))
        .open(path)
        .and_then(|mut file| file.write_all(octets))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Puts a file, readable by its owner alone, in the place of another. Durable when this returns; after a crash it is one of the
/// two.
pub(crate) fn replace_private(path: &Path, octets: &[u8]) -> Result<()> {
    let replaced = || {
        let mut new = Partial::of(path)?;
        new.write(octets)?;
        new.replace()
    };
    replaced().with_context(|| format!("cannot replace {}", path.display()))?;
    sync_directory(parent(path))
}

/// Whether [`create_private`] would succeed now, as far as can be told without making the file.
pub(crate) fn check_private(path: &Path) -> Result<()> {
    refuse_existing(path)?;
    Partial::of(path).map(drop).with_context(|| {
        format!("cannot write {}: name a file in a directory that you can write to", path.display())
    })
}

fn refuse_existing(path: &Path) -> Result<()> {
    if path.try_exists().unwrap_or(true) {
        bail!("{} exists already and is not overwritten: name another file", path.display());
    }
    Ok(())
}

/// With the permissions of a secret.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Makes a directory that its owner alone can enter.
pub(crate) fn create_private_directory(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("cannot sync the directory {}", path.display()))
}

/// Makes everything durable that was written to the file system of `path`: for very many files, of which each would wait for the disk.
pub(crate) fn sync_file_system(path: &Path) -> Result<()> {
    let synced = || -> std::io::Result<()> {
        let directory = File::open(path)?;
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&directory)?;
        #[cfg(not(target_os = "linux"))]
        {
            drop(directory);
            rustix::fs::sync();
        }
        Ok(())
    };
    synced().with_context(|| format!("cannot sync the file system of {}", path.display()))
}

/// The directory of a file; the current one for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_private_file_is_whole_and_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create_private(&path, b"secret").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create_private(&path, b"first").unwrap();
        assert!(create_private(&path, b"second").unwrap_err().to_string().contains("exists already"));
        assert_eq!(fs::read(&path).unwrap(), b"first");
    }
}
