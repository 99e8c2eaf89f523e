//! Two slots a peer, written in turn: the store of an unmediated peer, and of a table of them.
//!
//! A receipt says two things: that the new record would survive a loss of power, and that the one before cannot be read
//! any more, for it holds the key of the epoch that is left. So each batch is written twice: the new records over the older
//! slots, then, once those are synced, zeros over the others. Two syncs, however many peers are in the batch.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_core::record;
use skex_core::rotation::{ROTATION_RECORD_LEN, RotationRecord};
use skex_unmediated::{LaneRecord, MAX_RECORD, RECOVERY_LANE, Record};
use zeroize::Zeroizing;

use super::atomic::create_private;
use super::{Store, unopened};

/// Whole blocks of a medium, so that a torn write of one slot leaves the other alone.
const SLOT_LEN: usize = 4096;
const _: () = assert!(MAX_RECORD <= SLOT_LEN && ROTATION_RECORD_LEN <= SLOT_LEN);

/// The two slots of a peer.
const PLACE_LEN: usize = 2 * SLOT_LEN;

/// The slots of one peer, or of the lanes of a table, open for writing.
#[derive(Debug)]
pub(crate) struct Slots {
    path: PathBuf,
    file: File,
    /// By place: the slot that the next record goes to.
    next: Vec<u64>,
}

/// What the slots held when they were opened.
pub(crate) struct SlotContents(Zeroizing<Vec<u8>>);

/// A record of which a file of slots knows where it belongs.
pub(crate) trait Placed: Send {
    fn place(&self) -> usize;
    fn octets(&self) -> &[u8];
}

impl Placed for Record {
    fn place(&self) -> usize {
        0
    }

    fn octets(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// A link's rotation has a file of its own, too. Its records hold no secret, and erasing the one before does no harm.
impl Placed for RotationRecord {
    fn place(&self) -> usize {
        0
    }

    fn octets(&self) -> &[u8] {
        self.as_ref()
    }
}

/// Lanes of each pair in a file of slots: lane 0, and the recovery lane.
pub(crate) const LANES: usize = 2;

impl Placed for LaneRecord {
    fn place(&self) -> usize {
        let pair = usize::try_from(self.lane().pair().number()).unwrap_or(usize::MAX);
        let lane = match self.lane().lane() {
            0 => 0,
            RECOVERY_LANE => 1,
            // Nowhere: it is not stored.
            _ => return usize::MAX,
        };
        pair.saturating_mul(LANES).saturating_add(lane)
    }

    fn octets(&self) -> &[u8] {
        self.as_bytes()
    }
}

const RESTORE: &str =
    "bring the file back as it was last, never an older copy, or enrol the pair anew, with another secret";

impl SlotContents {
    /// Reads the slots without touching them.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let octets = std::fs::read(path)
            .map_err(|error| unopened(error, &format!("cannot read {}", path.display()), RESTORE))?;
        let octets = Zeroizing::new(octets);
        if octets.is_empty() || octets.len() % PLACE_LEN != 0 {
            bail!(
                "{} has {} octets instead of {PLACE_LEN} a peer: it is torn or not a peer's state; {RESTORE}",
                path.display(),
                octets.len(),
            );
        }
        Ok(Self(octets))
    }

    /// The two slots of the peer at `place`.
    pub(crate) fn slots(&self, place: usize) -> [&[u8]; 2] {
        let both = self.0.chunks_exact(PLACE_LEN).nth(place).unwrap_or_default();
        let (first, second) = both.split_at_checked(SLOT_LEN).unwrap_or_default();
        [first, second]
    }

    /// Peers that there is room for.
    pub(crate) fn places(&self) -> usize {
        self.0.len() / PLACE_LEN
    }

    /// The slot that does not hold the newest record.
    fn older(&self, place: usize) -> u64 {
        let [first, second] =
            self.slots(place).map(|slot| record::decode(slot).ok().map(|(header, _)| header.sequence));
        u64::from(first >= second)
    }
}

/// One write of a batch: where, and what.
type Write = (u64, Zeroizing<Vec<u8>>);

impl Slots {
    /// Makes blank slots for so many peers.
    pub(crate) fn create(path: &Path, places: usize) -> Result<Self> {
        create_private(path, &vec![0; PLACE_LEN.saturating_mul(places)])?;
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
        let next = (0..contents.places()).map(|place| contents.older(place)).collect();
        Ok((Self { path: path.to_owned(), file, next }, contents))
    }

    /// What is written of records of different peers: first the new ones, then, once those are durable, zeros over the old.
    fn plan(&self, batch: &[(usize, &[u8])]) -> Result<(Vec<Write>, Vec<Write>)> {
        let (mut new, mut old) = (Vec::new(), Vec::new());
        for (place, record) in batch {
            let next = *self.next.get(*place).context("a record of a peer that has no slots here")?;
            let start = (*place as u64).saturating_mul(PLACE_LEN as u64);
            let slot = |slot: u64| start.saturating_add(slot.saturating_mul(SLOT_LEN as u64));
            let mut octets = Zeroizing::new(vec![0; SLOT_LEN]);
            octets
                .get_mut(..record.len())
                .context("the record is longer than its slot")?
                .copy_from_slice(record);
            new.push((slot(next), octets));
            old.push((slot(u64::from(next == 0)), Zeroizing::new(vec![0; SLOT_LEN])));
        }
        Ok((new, old))
    }

    /// Writes records of different peers.
    fn write(&mut self, batch: &[(usize, &[u8])]) -> Result<()> {
        let (new, old) = self.plan(batch)?;
        for writes in [new, old] {
            writes
                .iter()
                .try_for_each(|(at, octets)| self.file.write_all_at(octets, *at))
                .and_then(|()| self.file.sync_data())
                .with_context(|| format!("cannot write {}", self.path.display()))?;
        }
        for (place, _) in batch {
            if let Some(next) = self.next.get_mut(*place) {
                *next = u64::from(*next == 0);
            }
        }
        Ok(())
    }
}

impl<R: Placed> Store<R> for Slots {
    fn store(&mut self, records: &[R]) -> Result<()> {
        let mut rest = records;
        while !rest.is_empty() {
            // A peer's next record is not written before its last is durable.
            let mut places = BTreeSet::new();
            let differ = rest.iter().position(|record| !places.insert(record.place())).unwrap_or(rest.len());
            let (now, later) = rest.split_at_checked(differ).unwrap_or((rest, &[]));
            let batch: Vec<(usize, &[u8])> =
                now.iter().map(|record| (record.place(), record.octets())).collect();
            self.write(&batch)?;
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "numbers of the tests' own")]
mod tests {
    use super::*;
    use skex_core::record::{RECORD_OVERHEAD, RecordHeader, RecordKind, encode, newest};

    fn record_of(sequence: u64) -> Vec<u8> {
        let mut out = vec![0; 4 + RECORD_OVERHEAD];
        let header = RecordHeader::new(RecordKind::UNMEDIATED_PEER, [7; 8], sequence);
        encode(header, b"body", &mut out).unwrap();
        out
    }

    fn ruling(contents: &SlotContents, place: usize) -> Option<u64> {
        newest(contents.slots(place), RecordKind::UNMEDIATED_PEER, [7; 8])
            .unwrap()
            .map(|found| found.sequence)
    }

    fn blank_slots(contents: &SlotContents, place: usize) -> usize {
        contents.slots(place).iter().filter(|slot| slot.iter().all(|&octet| octet == 0)).count()
    }

    /// Slots of so many peers, each with its record 1.
    fn with_first_records(places: usize) -> (tempfile::TempDir, PathBuf, Slots) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.slots");
        let mut slots = Slots::create(&path, places).unwrap();
        let first = record_of(1);
        slots.write(&(0..places).map(|place| (place, first.as_slice())).collect::<Vec<_>>()).unwrap();
        (directory, path, slots)
    }

    #[test]
    fn the_newest_record_rules_and_the_one_before_cannot_be_read() {
        let (_directory, path, _) = with_first_records(3);
        for sequence in 2..6 {
            // Each time anew, as after a restart; the peer in the middle rests.
            let (mut slots, _) = Slots::open(&path).unwrap();
            let record = record_of(sequence);
            slots.write(&[(0, &record), (2, &record)]).unwrap();
            let contents = SlotContents::read(&path).unwrap();
            assert_eq!(
                [0, 1, 2].map(|place| ruling(&contents, place)),
                [Some(sequence), Some(1), Some(sequence)]
            );
            assert_eq!([0, 1, 2].map(|place| blank_slots(&contents, place)), [1; 3]);
        }
    }

    #[test]
    fn a_crash_in_a_batch_leaves_each_peer_its_last_record_or_the_new_one_and_the_next_batch_is_good() {
        let (batch, next) = (record_of(2), record_of(3));
        for writes in 0..=6 {
            for torn in [0, 20, batch.len(), SLOT_LEN] {
                let (_directory, path, slots) = with_first_records(3);
                let (new, old) = slots.plan(&[(0, &batch), (1, &batch), (2, &batch)]).unwrap();
                let plan: Vec<Write> = new.into_iter().chain(old).collect();
                for (at, octets) in plan.iter().take(writes) {
                    slots.file.write_all_at(octets, *at).unwrap();
                }
                if let Some((at, octets)) = plan.get(writes) {
                    slots.file.write_all_at(&octets[..torn], *at).unwrap();
                }
                let (mut slots, contents) = Slots::open(&path).unwrap();
                for place in 0..3 {
                    let is_new = writes > place || writes == place && torn >= batch.len();
                    assert_eq!(ruling(&contents, place), Some(if is_new { 2 } else { 1 }), "{writes} {torn}");
                }
                slots.write(&[(0, &next), (1, &next), (2, &next)]).unwrap();
                let contents = SlotContents::read(&path).unwrap();
                assert_eq!([0, 1, 2].map(|place| ruling(&contents, place)), [Some(3); 3]);
                assert_eq!([0, 1, 2].map(|place| blank_slots(&contents, place)), [1; 3], "{writes} {torn}");
            }
        }
    }

    struct Plain(usize, Vec<u8>);

    impl Placed for Plain {
        fn place(&self) -> usize {
            self.0
        }

        fn octets(&self) -> &[u8] {
            &self.1
        }
    }

    #[test]
    fn two_records_of_one_peer_in_a_batch_are_written_one_after_the_other() {
        let (_directory, path, mut slots) = with_first_records(2);
        let batch =
            [Plain(0, record_of(2)), Plain(1, record_of(2)), Plain(0, record_of(3)), Plain(0, record_of(4))];
        slots.store(&batch).unwrap();
        let contents = SlotContents::read(&path).unwrap();
        assert_eq!([ruling(&contents, 0), ruling(&contents, 1)], [Some(4), Some(2)]);
        assert!(slots.store(&[Plain(2, record_of(1))]).is_err(), "a peer that has no slots");
    }

    #[test]
    fn a_torn_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.slots");
        for len in [0, 100, PLACE_LEN + 1] {
            std::fs::write(&path, vec![0; len]).unwrap();
            assert!(Slots::open(&path).err().unwrap().to_string().contains("torn"));
        }
    }
}
