//! Two slots, written in turn: the store of an unmediated peer.
//!
//! Its receipt says two things: that the new record would survive a loss of power, and that the one before cannot be read
//! any more, for it holds the key of the epoch that is left. So each write is two: the new record over the older slot, then,
//! once that is synced, zeros over the other.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_core::record;
use skex_unmediated::{MAX_RECORD, Record};
use zeroize::Zeroizing;

use super::Store;
use super::atomic::create_private;

/// Whole blocks of a medium, so that a torn write of one slot leaves the other alone.
const SLOT_LEN: usize = 4096;
const _: () = assert!(MAX_RECORD <= SLOT_LEN);

/// The slots of one peer, open for writing.
#[derive(Debug)]
pub(crate) struct Slots {
    path: PathBuf,
    file: File,
    /// The slot that the next record goes to.
    next: u64,
}

/// What the two slots held when they were opened.
pub(crate) struct SlotContents(Zeroizing<Vec<u8>>);

impl SlotContents {
    /// Reads the slots without touching them.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let octets = std::fs::read(path).with_context(|| {
            format!("cannot read {}: bring the file back, or enrol the pair anew", path.display())
        })?;
        let octets = Zeroizing::new(octets);
        if octets.len() != 2 * SLOT_LEN {
            bail!(
                "{} has {} octets instead of {}: it is torn or not a peer's state; bring the file back, or enrol the \
                 pair anew",
                path.display(),
                octets.len(),
                2 * SLOT_LEN
            );
        }
        Ok(Self(octets))
    }

    /// The two slots.
    pub(crate) fn slots(&self) -> [&[u8]; 2] {
        let (first, second) = self.0.split_at_checked(SLOT_LEN).unwrap_or_default();
        [first, second]
    }

    /// The slot that does not hold the newest record.
    fn older(&self) -> u64 {
        let [first, second] =
            self.slots().map(|slot| record::decode(slot).ok().map(|(header, _)| header.sequence));
        u64::from(first >= second)
    }
}

impl Slots {
    /// Makes two blank slots.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        create_private(path, &[0; 2 * SLOT_LEN])?;
        let (slots, _) = Self::open(path)?;
        Ok(slots)
    }

    /// Opens the slots at `path`.
    pub(crate) fn open(path: &Path) -> Result<(Self, SlotContents)> {
        let contents = SlotContents::read(path)?;
        let file = OpenOptions::new().write(true).open(path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        // What was read may stand in a cache only, after a write that failed. The machine is about to write it anew, over
        // the other slot: were that torn, and the cache lost, nothing would be left. So it is made durable where it stands.
        file.write_all_at(&contents.0, 0)
            .and_then(|()| file.sync_data())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok((Self { path: path.to_owned(), file, next: contents.older() }, contents))
    }

    fn write(&mut self, record: &[u8]) -> Result<()> {
        let other = u64::from(self.next == 0);
        let start = |slot: u64| slot.saturating_mul(SLOT_LEN as u64);
        let mut octets = Zeroizing::new([0; SLOT_LEN]);
        octets.get_mut(..record.len()).context("the record is longer than its slot")?.copy_from_slice(record);
        self.file
            .write_all_at(octets.as_slice(), start(self.next))
            .and_then(|()| self.file.sync_data())
            .and_then(|()| self.file.write_all_at(&[0; SLOT_LEN], start(other)))
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.next = other;
        Ok(())
    }
}

impl Store<Record> for Slots {
    fn store(&mut self, record: &Record) -> Result<()> {
        self.write(record.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skex_core::record::{RECORD_OVERHEAD, RecordHeader, RecordKind, encode, newest};

    fn record_of(sequence: u64) -> Vec<u8> {
        let mut out = vec![0; 4 + RECORD_OVERHEAD];
        let header = RecordHeader::new(RecordKind::UNMEDIATED_PEER, [7; 8], sequence);
        encode(header, b"body", &mut out).unwrap();
        out
    }

    fn ruling(contents: &SlotContents) -> Option<u64> {
        newest(contents.slots(), RecordKind::UNMEDIATED_PEER, [7; 8]).unwrap().map(|found| found.sequence)
    }

    #[test]
    fn the_newest_record_rules_and_the_one_before_cannot_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.slots");
        drop(Slots::create(&path).unwrap());
        for sequence in 1..6 {
            // Each time anew, as after a restart.
            let (mut slots, _) = Slots::open(&path).unwrap();
            slots.write(&record_of(sequence)).unwrap();
            let contents = SlotContents::read(&path).unwrap();
            assert_eq!(ruling(&contents), Some(sequence));
            assert_eq!(
                contents.slots().iter().filter(|slot| slot.iter().all(|&octet| octet == 0)).count(),
                1
            );
        }
    }

    #[test]
    fn a_record_is_never_written_over_the_only_good_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.slots");
        let mut slots = Slots::create(&path).unwrap();
        slots.write(&record_of(1)).unwrap();
        // A crash in the middle of the next write.
        let start = slots.next * SLOT_LEN as u64;
        slots.file.write_all_at(&record_of(2)[..20], start).unwrap();
        let (mut slots, contents) = Slots::open(&path).unwrap();
        assert_eq!((ruling(&contents), slots.next * SLOT_LEN as u64), (Some(1), start));
        slots.write(&record_of(2)).unwrap();
        assert_eq!(ruling(&SlotContents::read(&path).unwrap()), Some(2));
    }

    #[test]
    fn a_torn_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.slots");
        std::fs::write(&path, [0; 100]).unwrap();
        assert!(Slots::open(&path).err().unwrap().to_string().contains("torn"));
    }
}
