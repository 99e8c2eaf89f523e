//! A log of the records of one machine: appended and synced one by one, begun anew with each snapshot.
//!
//! A machine has one checkpoint at a time, so a batch is one record: the machine itself gathered in it all that changed since
//! the last.
//!
//! Each record says how long it is and has a checksum (`skex_core::record`). What a crash left half written at the end is
//! dropped when the log is opened; it was never acknowledged. Damage with good records behind it is another matter: to
//! drop those would be to go back in time, so the log is refused.

use core::ops::Range;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_core::record::{self, RECORD_OVERHEAD, RecordError};
use skex_dske::Record;
use zeroize::Zeroizing;

use super::Store;
use super::atomic::{parent, private, sync_directory};
use super::erase::{wipe, wipe_left};
use super::partial::{Partial, of_process};

/// The log of one machine, open for writing.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    len: u64,
}

/// What a log held when it was opened.
pub(crate) struct LogContents {
    octets: Zeroizing<Vec<u8>>,
    records: Vec<Range<usize>>,
    /// Octets at the end that are half a record.
    torn: usize,
}

impl LogContents {
    /// The records, oldest first.
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().filter_map(|range| self.octets.get(range.clone()))
    }

    /// How many records there are.
    pub(crate) const fn count(&self) -> usize {
        self.records.len()
    }

    /// Octets at the end that are half a record.
    pub(crate) const fn torn(&self) -> usize {
        self.torn
    }

    /// Reads a log without touching it. A missing one is empty: the machine is new.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let octets = match fs::read(path) {
            Ok(octets) => Zeroizing::new(octets),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Zeroizing::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut records = Vec::new();
        let mut at = 0;
        while at < octets.len() {
            let rest = octets.get(at..).unwrap_or_default();
            match record::decode(rest) {
                Ok((_, body)) => {
                    let end = at.saturating_add(body.len()).saturating_add(RECORD_OVERHEAD);
                    records.push(at..end);
                    at = end;
                }
                Err(error) if at == 0 && error == RecordError::BadMagic && !is_blank(rest) => {
                    bail!("{} is not a log of this program; bring the right file back", path.display());
                }
                Err(error) if error == RecordError::UnknownVersion || has_record(rest) => {
                    bail!(
                        "{} is damaged at octet {at} ({error}) with good records behind: dropping them would go back \
                         in time and use pad bytes twice; bring the file back as it was last, never an older copy, \
                         or provision anew in another directory",
                        path.display()
                    );
                }
                Err(_) => break,
            }
        }
        let torn = octets.len().saturating_sub(at);
        Ok(Self { octets, records, torn })
    }
}

/// Whether a whole record begins somewhere behind the first octet.
fn has_record(octets: &[u8]) -> bool {
    (1..octets.len()).any(|at| octets.get(at..).is_some_and(|rest| record::decode(rest).is_ok()))
}

fn is_blank(octets: &[u8]) -> bool {
    octets.iter().all(|&octet| octet == 0)
}

impl Log {
    /// Opens the log at `path`, or begins one. Half a record at its end is dropped, with a notice.
    pub(crate) fn open(path: &Path) -> Result<(Self, LogContents)> {
        let contents = LogContents::read(path)?;
        Ok((Self::behind(path, &contents)?, contents))
    }

    /// Opens the log at `path`, which was read before, or begins one.
    pub(crate) fn behind(path: &Path, contents: &LogContents) -> Result<Self> {
        let existed = path.exists();
        let file = private(OpenOptions::new().write(true).create(true).truncate(false))
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let len = contents.octets.len().saturating_sub(contents.torn) as u64;
        if contents.torn > 0 {
            eprintln!(
                "skex: {}: dropped {} octets of a record that a crash had left half written; it was never acknowledged",
                path.display(),
                contents.torn
            );
            file.set_len(len)
                .and_then(|()| file.sync_all())
                .with_context(|| format!("cannot shorten {}", path.display()))?;
        }
        if !existed {
            sync_directory(parent(path))?;
        }
        Ok(Self { path: path.to_owned(), file, len })
    }

    /// Adds a record, and syncs.
    pub(super) fn append(&mut self, octets: &[u8]) -> Result<()> {
        self.file
            .write_all_at(octets, self.len)
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.len = self.len.saturating_add(octets.len() as u64);
        Ok(())
    }

    /// Begins a new log with a snapshot; the old one is overwritten once the new one has taken its name. Until then it has another, by which
    /// a start finds it after a crash.
    fn begin_anew(&mut self, snapshot: &[u8]) -> Result<()> {
        let aside = of_process(&self.path.with_extension("old"));
        let replace = || -> std::io::Result<File> {
            let mut new = Partial::of(&self.path)?;
            new.write(snapshot)?;
            let file = new.file().try_clone()?;
            // Without it, a crash may leave the old log where no name leads. One may have it that could not be overwritten.
            let _ = wipe_left(&aside).and_then(|_| fs::hard_link(&self.path, &aside));
            new.replace()?;
            Ok(file)
        };
        let file = replace().with_context(|| format!("cannot replace {}", self.path.display()))?;
        sync_directory(parent(&self.path))?;
        let old = core::mem::replace(&mut self.file, file);
        self.len = snapshot.len() as u64;
        // What the file system or the medium keep beside it is out of reach, so a failure is no worse.
        let _ = wipe(&old).and_then(|()| fs::remove_file(&aside));
        Ok(())
    }
}

impl Store<Record> for Log {
    fn store(&mut self, records: &[Record]) -> Result<()> {
        records.iter().try_for_each(|record| {
            if record.is_snapshot() { self.begin_anew(record.as_ref()) } else { self.append(record.as_ref()) }
        })
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "lengths of the test's own records")]
mod tests {
    use super::*;
    use crate::store::DirectoryLock;
    use skex_core::record::{RecordHeader, RecordKind, encode};

    fn record(sequence: u64, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0; body.len() + RECORD_OVERHEAD];
        encode(RecordHeader::new(RecordKind::DSKE_CLIENT, [7; 8], sequence), body, &mut out).unwrap();
        out
    }

    fn bodies(contents: &LogContents) -> Vec<Vec<u8>> {
        contents.records().map(|octets| record::decode(octets).unwrap().1.to_vec()).collect()
    }

    fn log_of(records: &[Vec<u8>]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.log");
        let (mut log, contents) = Log::open(&path).unwrap();
        assert_eq!(contents.count(), 0);
        records.iter().for_each(|record| log.append(record).unwrap());
        (directory, path)
    }

    #[test]
    fn records_come_back_in_order() {
        let (_directory, path) = log_of(&[record(1, b"one"), record(2, b""), record(3, b"three")]);
        assert_eq!(bodies(&Log::open(&path).unwrap().1), [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn a_record_cut_short_by_a_crash_is_dropped_and_the_log_goes_on() {
        let (first, second) = (record(1, b"first"), record(2, b"second"));
        for cut in 0..second.len() {
            let (_directory, path) = log_of(&[first.clone(), second[..cut].to_vec()]);
            let (mut log, contents) = Log::open(&path).unwrap();
            assert_eq!((bodies(&contents), contents.torn()), (vec![b"first".to_vec()], cut));
            log.append(&second).unwrap();
            assert_eq!(bodies(&Log::open(&path).unwrap().1), [&b"first"[..], b"second"], "cut at {cut}");
        }
    }

    #[test]
    fn a_tail_whose_blocks_were_never_written_is_dropped() {
        let (_directory, path) = log_of(&[record(1, b"first"), vec![0; 500]]);
        assert_eq!(Log::open(&path).unwrap().1.torn(), 500);
        let (_directory, path) = log_of(&[vec![0; 500]]);
        assert_eq!(Log::open(&path).unwrap().1.torn(), 500);
    }

    #[test]
    fn damage_with_good_records_behind_it_is_refused_and_nothing_is_changed() {
        let log = [record(1, b"one"), record(2, b"two"), record(3, b"three")].concat();
        for at in 0..log.len() - record(3, b"three").len() {
            let mut damaged = log.clone();
            damaged[at] ^= 0x41;
            let (_directory, path) = log_of(&[damaged.clone()]);
            assert!(Log::open(&path).is_err(), "octet {at}");
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let (_directory, path) = log_of(&[b"#!/bin/sh\necho hello\n".to_vec()]);
        let error = Log::open(&path).err().unwrap().to_string();
        assert!(error.contains("not a log"), "{error}");
    }

    #[test]
    fn a_snapshot_replaces_the_log_and_the_log_goes_on() {
        let (_directory, path) = log_of(&[record(1, b"one"), record(2, b"two")]);
        let (mut log, _) = Log::open(&path).unwrap();
        let old = File::open(&path).unwrap();
        log.begin_anew(&record(3, b"all")).unwrap();
        log.append(&record(4, b"four")).unwrap();
        assert_eq!(bodies(&Log::open(&path).unwrap().1), [&b"all"[..], b"four"]);
        let mut kept = vec![1; 20];
        old.read_exact_at(&mut kept, 0).unwrap();
        assert_eq!(kept, [0; 20], "the old log is overwritten");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn an_old_log_that_could_not_be_overwritten_is_with_the_next_snapshot() {
        let (directory, path) = log_of(&[record(1, b"one")]);
        let (mut log, _) = Log::open(&path).unwrap();
        let before = of_process(&path.with_extension("old"));
        fs::write(&before, [7; 20]).unwrap();
        let both = [File::open(&before).unwrap(), File::open(&path).unwrap()];
        log.begin_anew(&record(2, b"all")).unwrap();
        for old in both {
            let mut left = [1; 20];
            old.read_exact_at(&mut left, 0).unwrap();
            assert_eq!(left, [0; 20]);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        // It is the log itself: a snapshot failed when it had got its second name.
        fs::hard_link(&path, &before).unwrap();
        log.begin_anew(&record(3, b"anew")).unwrap();
        assert_eq!(bodies(&Log::open(&path).unwrap().1), [b"anew"]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_snapshot_that_a_crash_broke_off_leaves_one_log_and_no_secret_beside_it() {
        let (directory, path) = log_of(&[record(1, b"one")]);
        let (new, old) = (path.with_extension("log.42.partial"), path.with_extension("old.42.partial"));
        let start = || {
            drop(DirectoryLock::acquire(directory.path()).unwrap());
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "the log and the lock");
            bodies(&LogContents::read(&path).unwrap())
        };
        // Before the new one has its name.
        fs::write(&new, record(2, b"half")).unwrap();
        fs::hard_link(&path, &old).unwrap();
        assert_eq!(start(), [b"one"]);
        // After that, and before the old one is overwritten.
        fs::rename(&path, &old).unwrap();
        fs::write(&path, record(2, b"all")).unwrap();
        let seen = File::open(&old).unwrap();
        assert_eq!(start(), [b"all"]);
        let mut left = [1; 20];
        seen.read_exact_at(&mut left, 0).unwrap();
        assert_eq!(left, [0; 20]);
    }
}
