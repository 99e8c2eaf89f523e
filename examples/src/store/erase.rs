//! Files whose secret is spent. Each leaves its name, durably, before its first octet is overwritten: whoever reads under that name
//! meets all of it, or nothing. What a crash leaves under the other name is nobody's, and a start erases it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Error as IoError, ErrorKind, Read as _, Result as IoResult};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::atomic::{parent, sync_directory};
use super::overwrite;
use super::partial::is_partial;

/// What the name of a file ends with that is being erased. Nothing that is read has such a name.
const ERASING: &str = ".erasing";

/// The longest name of a file.
const LONGEST_NAME: usize = 255;

/// Overwrites a file and removes it, durably. What the medium keeps beside it is out of reach. One that is gone is erased.
///
/// An error says what is to be erased by other means; where it could not leave its name, nothing has changed.
pub(crate) fn erase(path: &Path) -> Result<()> {
    erase_all([path])
}

/// Erases several files, of which those of one directory leave their names together: one sync of it serves them all. Also behind one
/// that fails.
pub(crate) fn erase_all<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let mut failed = Ok(());
    let (mut leaving, mut directories) = (Vec::new(), BTreeSet::new());
    for path in paths {
        match leave(path).with_context(|| cannot_erase(path)) {
            Ok(None) => {}
            Ok(Some(left)) => {
                directories.insert(parent(path));
                leaving.push(left);
            }
            Err(error) => failed = failed.and(Err(error)),
        }
    }
    for directory in directories {
        // All of it is spent: where this fails, a loss of power may leave a part of a file under its name. That is the lesser harm.
        let synced = sync_directory(directory);
        failed = failed.and(synced);
    }
    for (file, aside) in leaving {
        let erased = wipe(&file).and_then(|()| remove(&aside)).with_context(|| cannot_erase(&aside));
        failed = failed.and(erased);
    }
    failed
}

fn cannot_erase(path: &Path) -> String {
    format!("cannot erase {}: erase it", path.display())
}

/// Takes a file's name away. The file, and the name that it has meanwhile; `None`: it is gone already.
fn leave(path: &Path) -> IoResult<Option<(File, PathBuf)>> {
    let aside = aside(path);
    // What an earlier erasure left there would lose its last name before it is overwritten.
    wipe_left(&aside)?;
    let file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match fs::rename(path, &aside) {
        // Another process erases it, too.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        renamed => renamed.map(|()| Some((file, aside))),
    }
}

/// What a file is called while it is erased. Of the longest names the end gives way.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().as_bytes().to_vec();
    name.truncate(LONGEST_NAME.saturating_sub(ERASING.len()));
    name.extend_from_slice(ERASING.as_bytes());
    path.with_file_name(OsString::from_vec(name))
}

/// Overwrites a whole file, durably.
pub(super) fn wipe(file: &File) -> IoResult<()> {
    let len = file.metadata()?.len();
    if len == 0 {
        return Ok(());
    }
    overwrite(file, 0, len)?;
    file.sync_data()
}

fn remove(path: &Path) -> IoResult<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Erases what a crash left in a directory of this program: files that were being erased, and those that had no name yet. Nobody
/// reads them: what cannot be erased is complained about, and nothing else waits for that.
pub(crate) fn finish(directory: &Path) {
    let look = || -> IoResult<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_erasing(&name) || is_partial(&name) {
                let path = entry.path();
                if let Err(error) = wipe_left(&path) {
                    eprintln!(
                        "skex: a crash left {}, which cannot be erased: erase it ({error})",
                        path.display()
                    );
                }
            }
        }
        Ok(())
    };
    if let Err(error) = look() {
        eprintln!("skex: cannot look into {} for what a crash left: {error}", directory.display());
    }
}

fn is_erasing(name: &OsStr) -> bool {
    name.as_bytes().ends_with(ERASING.as_bytes())
}

/// Erases a file under a name that nobody reads, unless a process has it locked, and so is writing it. Whether there was one.
///
/// Where the same file has another name, it is in use under that: a crash came when it had just got it, and only this name goes.
pub(super) fn wipe_left(path: &Path) -> IoResult<bool> {
    let Some(there) = standing(path)? else { return Ok(false) };
    let file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        return Ok(false);
    }
    let metadata = file.metadata()?;
    // Whoever had it locked may have given it its name since.
    if (metadata.dev(), metadata.ino()) != there || standing(path)? != Some(there) {
        return Ok(false);
    }
    if metadata.nlink() == 1 {
        // A process that was killed may not have made it durable that the file has left its name, or another has taken it.
        File::open(parent(path))?.sync_all()?;
        wipe(&file)?;
    }
    remove(path)?;
    Ok(true)
}

/// The file to which a name leads; `None`: there is none. A link that another user made is not followed: where others may write, it could
/// lead to any file.
fn standing(path: &Path) -> IoResult<Option<(u64, u64)>> {
    let look = || {
        let name = fs::symlink_metadata(path)?;
        if name.is_symlink() && name.uid() != geteuid().as_raw() {
            return Err(IoError::new(ErrorKind::PermissionDenied, "a link that another user made is there"));
        }
        fs::metadata(path)
    };
    match look() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        metadata => metadata.map(|metadata| metadata.is_file().then_some((metadata.dev(), metadata.ino()))),
    }
}

/// Finishes what a crash left of the erasure of a file that somebody names: no start looks for it. Whether there was something.
pub(crate) fn finish_erasing(path: &Path) -> Result<bool> {
    let aside = aside(path);
    wipe_left(&aside).with_context(|| cannot_erase(&aside))
}

/// Reads the first octets, `most` at most, of a file of a secret that is used once, and that somebody names. `None`: it was used, and
/// erased; what a crash left of that is erased now.
pub(crate) fn read_unspent(path: &Path, most: u64) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let read = || -> IoResult<_> {
        // Of the full size from the beginning: what grows leaves copies behind.
        let mut octets = Zeroizing::new(Vec::with_capacity(usize::try_from(most).unwrap_or_default()));
        File::open(path)?.take(most).read_to_end(&mut octets)?;
        Ok(octets)
    };
    match read() {
        Err(error) if error.kind() == ErrorKind::NotFound && finish_erasing(path)? => Ok(None),
        octets => {
            let octets = octets.with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Some(octets).filter(|octets| !is_zero(octets)))
        }
    }
}

/// What a link leads to keeps its name when it is erased. All octets are looked at, whatever they are.
fn is_zero(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().fold(0, |all, octet| all | octet) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::partial::Partial;
    use std::os::unix::fs::PermissionsExt as _;

    fn names(directory: &Path) -> Vec<String> {
        let name = |entry: IoResult<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(directory).unwrap().map(name).collect();
        names.sort();
        names
    }

    /// A file of these octets, and a second name of it in another directory, by which it is seen afterwards.
    fn file(directory: &Path, name: &str, seen: &Path) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, [7; 5000]).unwrap();
        fs::hard_link(&path, seen).unwrap();
        path
    }

    #[test]
    fn what_is_erased_is_gone_and_may_be_gone_already() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let seen = elsewhere.path().join("seen");
        let path = file(directory.path(), "key", &seen);
        erase(&path).unwrap();
        assert!(names(directory.path()).is_empty());
        assert_eq!(fs::read(&seen).unwrap(), [0; 5000], "overwritten before");
        erase(&path).unwrap();
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn a_start_finishes_what_a_crash_left_at_each_point() {
        let directory = tempfile::tempdir().unwrap();
        let (mut half, whole) = (vec![7; 5000], vec![7; 5000]);
        half[..4096].fill(0);
        // Before the name is gone for good: nothing has changed.
        fs::write(directory.path().join("key"), &whole).unwrap();
        finish(directory.path());
        assert_eq!(fs::read(directory.path().join("key")).unwrap(), whole);
        // Not overwritten, in part, and wholly; and one that never was whole.
        for octets in [whole, half, vec![0; 5000], Vec::new()] {
            for name in ["key.erasing", "key.42.partial", "a.uplink.0.table.partial"] {
                let path = directory.path().join(name);
                fs::write(&path, &octets).unwrap();
                let seen = File::open(&path).unwrap();
                finish(directory.path());
                assert_eq!(names(directory.path()), ["key"]);
                let mut left = Vec::new();
                (&seen).read_to_end(&mut left).unwrap();
                assert_eq!(left, vec![0; octets.len()], "{name}");
            }
        }
    }

    #[test]
    fn a_start_leaves_alone_what_is_in_use_or_not_of_this_program() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        // A live process writes it; a crash came when it had just got its name; somebody else's; no file.
        let mut writing = Partial::of(&place("skex.json")).unwrap();
        writing.write(&[7]).unwrap();
        fs::write(place("order"), [7]).unwrap();
        fs::hard_link(place("order"), place("order.42.partial")).unwrap();
        fs::write(place("hub-1.provision.partial"), [7]).unwrap();
        fs::create_dir(place("a.uplink.0.table.partial")).unwrap();
        fs::create_dir(place("b.erasing")).unwrap();
        std::os::unix::fs::symlink(place("nowhere"), place("c.erasing")).unwrap();
        finish(directory.path());
        writing.create().unwrap();
        let left = [
            "a.uplink.0.table.partial",
            "b.erasing",
            "c.erasing",
            "hub-1.provision.partial",
            "order",
            "skex.json",
        ];
        assert_eq!(names(directory.path()), left);
        for name in ["order", "skex.json", "hub-1.provision.partial"] {
            assert_eq!(fs::read(place(name)).unwrap(), [7], "{name}");
        }
    }

    /// Who runs as root meets links of others here.
    #[test]
    fn a_link_of_another_user_is_not_followed() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, precious) = (directory.path().join("key"), elsewhere.path().join("precious"));
        fs::write(&precious, [7; 32]).unwrap();
        let left = aside(&path);
        std::os::unix::fs::symlink(&precious, &left).unwrap();
        if std::os::unix::fs::lchown(&left, Some(geteuid().as_raw().wrapping_add(1)), None).is_err() {
            return;
        }
        assert!(finish_erasing(&path).is_err());
        assert!(read_unspent(&path, 32).is_err());
        finish(directory.path());
        fs::write(&path, [7; 32]).unwrap();
        assert!(format!("{:#}", erase(&path).unwrap_err()).contains("another user"));
        let name = directory.path().join("order");
        let partial = crate::store::partial::of_process(&name);
        fs::rename(&left, &partial).unwrap();
        assert!(Partial::of(&name).is_err());
        assert_eq!(fs::read(&precious).unwrap(), [7; 32]);
        assert_eq!(fs::read(&path).unwrap(), [7; 32]);
        // One's own is what an erasure left that began at a link.
        fs::remove_file(&partial).unwrap();
        std::os::unix::fs::symlink(&precious, &left).unwrap();
        assert!(finish_erasing(&path).unwrap());
        assert_eq!(fs::read(&precious).unwrap(), [0; 32]);
    }

    /// Root may look into every directory.
    #[test]
    fn also_behind_a_directory_that_cannot_be_synced_nothing_stays_readable() {
        let (blind, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let paths = [blind.path().join("key"), other.path().join("key")];
        paths.iter().for_each(|path| fs::write(path, [7; 32]).unwrap());
        let seen = paths.each_ref().map(|path| File::open(path).unwrap());
        fs::set_permissions(blind.path(), fs::Permissions::from_mode(0o300)).unwrap();
        let is_root = File::open(blind.path()).is_ok();
        assert_eq!(erase_all(paths.iter().map(PathBuf::as_path)).is_err(), !is_root);
        fs::set_permissions(blind.path(), fs::Permissions::from_mode(0o700)).unwrap();
        for mut file in seen {
            let mut left = Vec::new();
            file.read_to_end(&mut left).unwrap();
            assert_eq!(left, [0; 32]);
        }
        assert!(names(blind.path()).is_empty() && names(other.path()).is_empty());
    }

    #[test]
    fn two_that_erase_the_same_file_both_succeed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for _ in 0..300 {
            fs::write(&path, [7; 32]).unwrap();
            std::thread::scope(|scope| {
                let other = scope.spawn(|| erase(&path));
                erase(&path).unwrap();
                other.join().unwrap().unwrap();
            });
            assert!(names(directory.path()).is_empty());
        }
    }

    #[test]
    fn a_start_that_comes_while_a_file_gets_its_name_takes_nothing_from_it() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("key");
        for _ in 0..300 {
            let mut partial = Partial::of(&name).unwrap();
            partial.write(&[7]).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| finish(directory.path()));
                partial.replace().unwrap();
            });
            assert_eq!(fs::read(&name).unwrap(), [7]);
            assert_eq!(names(directory.path()), ["key"]);
        }
    }

    #[test]
    fn what_cannot_leave_its_name_is_as_it_was_and_that_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("key"), directory.path().join("other"));
        fs::write(&path, [7; 32]).unwrap();
        fs::write(&other, [7; 32]).unwrap();
        fs::create_dir(directory.path().join("key.erasing")).unwrap();
        let error = erase_all([path.as_path(), &other]).unwrap_err();
        assert!(error.to_string().contains("key: erase it"), "{error:#}");
        assert_eq!(fs::read(&path).unwrap(), [7; 32]);
        assert!(!other.exists(), "also behind one that fails");
        // And a directory is no file.
        assert!(erase(&directory.path().join("key.erasing")).is_err());
        assert_eq!(names(directory.path()), ["key", "key.erasing"]);
    }

    #[test]
    fn an_erasure_in_the_way_is_finished_first() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = file(directory.path(), "key", &elsewhere.path().join("seen"));
        let before = directory.path().join("key.erasing");
        fs::write(&before, [8; 32]).unwrap();
        let seen = File::open(&before).unwrap();
        erase(&path).unwrap();
        let mut left = Vec::new();
        (&seen).read_to_end(&mut left).unwrap();
        assert_eq!(left, [0; 32]);
        assert!(names(directory.path()).is_empty());
        // One that failed is tried again.
        fs::write(&before, [8; 32]).unwrap();
        erase(&path).unwrap();
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn the_longest_name_and_a_link_are_erased_too() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let seen = elsewhere.path().join("seen");
        erase(&file(directory.path(), &"n".repeat(LONGEST_NAME), &seen)).unwrap();
        assert_eq!(fs::read(&seen).unwrap(), [0; 5000]);
        // What it leads to is overwritten, and keeps its name.
        fs::write(&seen, [7; 32]).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&seen, &link).unwrap();
        erase(&link).unwrap();
        assert!(names(directory.path()).is_empty());
        assert_eq!(fs::read(&seen).unwrap(), [0; 32]);
        assert_eq!(read_unspent(&seen, 33).unwrap(), None, "nobody's key");
    }

    #[test]
    fn a_file_that_was_used_and_erased_is_not_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        assert!(read_unspent(&path, 32).unwrap_err().to_string().contains("cannot read"));
        fs::write(&path, [7; 40]).unwrap();
        assert_eq!(read_unspent(&path, 33).unwrap().unwrap().as_slice(), [7; 33]);
        // As a crash leaves it, once: what comes after is an ordinary error.
        fs::rename(&path, directory.path().join("secret.erasing")).unwrap();
        assert_eq!(read_unspent(&path, 33).unwrap(), None);
        assert!(names(directory.path()).is_empty());
        assert!(read_unspent(&path, 33).is_err());
    }

    #[test]
    fn zeros_are_no_secret_and_everything_else_is_one() {
        assert!(is_zero(&[0]) && is_zero(&[0; 32]));
        assert!(!is_zero(&[]));
        for at in 0..32 {
            let mut octets = [0; 32];
            octets[at] = 0x80;
            assert!(!is_zero(&octets), "{at}");
        }
    }
}
