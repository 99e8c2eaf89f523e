//! Files that have not got their name yet. A crash leaves one beside it, with a secret in it perhaps, and a start erases that.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Result, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use rustix::fs::{CWD, RenameFlags};

use super::atomic::private;
use super::erase::{wipe, wipe_left};

/// What the name of a file ends with that is not there yet.
const PARTIAL: &str = "partial";

/// A file on its way to its name. It is locked, so that nobody takes it for what a crash left; one that gets no name is erased.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    /// The name that it is to have.
    name: PathBuf,
    is_named: bool,
}

impl Partial {
    /// Begins a file, readable by its owner alone, that is to be `name`. Other processes may begin the same one.
    pub(crate) fn of(name: &Path) -> Result<Self> {
        Self::under(of_process(name), name)
    }

    /// Begins a table. The process that has its directory locked writes it alone.
    pub(crate) fn of_table(name: &Path) -> Result<Self> {
        let mut path = name.as_os_str().to_owned();
        path.push(format!(".{PARTIAL}"));
        Self::under(path.into(), name)
    }

    fn under(path: PathBuf, name: &Path) -> Result<Self> {
        wipe_left(&path)?;
        let file = private(OpenOptions::new().read(true).write(true).create_new(true)).open(&path)?;
        // Some file systems lock nothing. There are no directories of this program on those.
        let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        // A start took it for what a crash had left, before it was locked; and may be through with it.
        if is_taken || file.metadata()?.nlink() == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Self { file, path, name: name.to_owned(), is_named: false })
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Writes all of it, durably.
    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.file.write_all(octets)?;
        self.file.sync_all()
    }

    /// Takes its name, whoever has it.
    pub(crate) fn replace(mut self) -> Result<()> {
        fs::rename(&self.path, &self.name)?;
        self.is_named = true;
        Ok(())
    }

    /// Takes its name, which must be nobody's: unlike a rename, a link never takes the place of a file that came meanwhile.
    pub(crate) fn create(mut self) -> Result<()> {
        match fs::hard_link(&self.path, &self.name) {
            // Some file systems have no second names, those of sticks above all.
            #[cfg(target_os = "linux")]
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                let (from, to) = (self.path.as_path(), self.name.as_path());
                rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?;
                self.is_named = true;
                Ok(())
            }
            linked => {
                linked?;
                self.is_named = true;
                fs::remove_file(&self.path)
            }
        }
    }
}

impl Drop for Partial {
    /// What is there of it is secret, and takes the room that a full disk lacks.
    fn drop(&mut self) {
        if !self.is_named {
            let _ = wipe(&self.file);
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What this process calls a file beside `name`.
pub(super) fn of_process(name: &Path) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(format!(".{}.{PARTIAL}", std::process::id()));
    path.into()
}

/// Whether a file has a name that is given here: others may have partial files in the directory, too.
pub(super) fn is_partial(name: &OsStr) -> bool {
    let mut parts = name.as_bytes().rsplit(|octet| *octet == b'.');
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    parts.next() == Some(PARTIAL.as_bytes())
        && parts.next().is_some_and(|part| part == b"table" || is_number(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicBool;
    use core::sync::atomic::Ordering::Relaxed;

    #[test]
    fn a_file_that_gets_no_name_leaves_nothing_behind_not_even_what_it_had() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("key");
        let mut partial = Partial::of(&name).unwrap();
        partial.write(&[7; 5000]).unwrap();
        let seen = directory.path().join("seen");
        fs::hard_link(&partial.path, &seen).unwrap();
        drop(partial);
        assert_eq!(fs::read(&seen).unwrap(), [0; 5000]);
        fs::remove_file(seen).unwrap();
        // Its name was taken meanwhile.
        let mut partial = Partial::of(&name).unwrap();
        partial.write(&[7]).unwrap();
        fs::write(&name, [8]).unwrap();
        assert!(partial.create().is_err());
        assert_eq!(fs::read(&name).unwrap(), [8]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    /// Else the name would be looked for when the file is to get its own, and another of that name would be taken for it.
    #[test]
    fn a_file_that_a_start_erased_before_it_was_locked_is_not_begun() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("key");
        let (is_over, is_lost) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    crate::store::finish(directory.path());
                }
            });
            let begun: Vec<Result<()>> = (0..2000)
                .map(|_| {
                    Partial::of(&name)
                        .map(|partial| partial.replace().unwrap_or_else(|_| is_lost.store(true, Relaxed)))
                })
                .collect();
            is_over.store(true, Relaxed);
            // The start is at it still.
            let known = [ErrorKind::WouldBlock, ErrorKind::AlreadyExists];
            assert!(
                begun.iter().all(|one| one.as_ref().err().is_none_or(|error| known.contains(&error.kind())))
            );
        });
        assert!(!is_lost.into_inner());
    }

    #[test]
    fn only_names_that_are_given_here_are_known() {
        let known = ["skex.json.42.partial", "hub-1.uplink.0.table.partial", "key.0.partial"];
        let others = [
            "hub-1.provision.partial",
            "42.partial.key",
            "a.4x.partial",
            "a..partial",
            "partial",
            "a.1.part",
        ];
        assert!(known.iter().all(|name| is_partial(OsStr::new(name))));
        assert!(!others.iter().any(|name| is_partial(OsStr::new(name))));
        assert!(is_partial(of_process(Path::new("any/key")).file_name().unwrap()));
    }
}
