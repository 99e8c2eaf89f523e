//! Tables of pre-shared random data in files.
//!
//! A file begins with 64 octets that say whose table it is and how much of it is here, so that a foreign or swapped one is
//! noticed before a byte of it is used. The elements follow; used ones are overwritten with zeros.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_dske::{ClientTag, ELEMENT_LEN, HubId, Origin, Pad, PadError, Table};
use skex_wire::dske::Direction;
use zeroize::Zeroizing;

use super::partial::Partial;
use super::pool::PooledFile;
use super::unopened;

const MAGIC: &[u8; 8] = b"SKEXPAD2";
const HEADER_LEN: usize = 64;

/// Whose table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableIdentity {
    pub(crate) hub: HubId,
    pub(crate) client: ClientTag,
    pub(crate) direction: Direction,
    /// Its number within the link and direction.
    pub(crate) number: u16,
    pub(crate) origin: Origin,
    /// Of the whole table, here or not.
    pub(crate) elements: u32,
}

impl TableIdentity {
    fn header(&self, held: u32) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        let kind = [self.direction.value(), u8::from(self.origin == Origin::Refill)];
        let (number, elements, held) =
            (self.number.to_be_bytes(), self.elements.to_be_bytes(), held.to_be_bytes());
        let parts: [&[u8]; 7] =
            [MAGIC, self.hub.as_bytes(), self.client.as_bytes(), &kind, &number, &elements, &held];
        for (to, from) in header.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        header
    }
}

/// The word at this place of a header.
fn word(header: &[u8], at: usize) -> u32 {
    header.get(at..).and_then(|rest| rest.first_chunk::<4>().copied()).map_or(0, u32::from_be_bytes)
}

const ELEMENTS_AT: usize = 44;
const HELD_AT: usize = 48;

/// The name of a link's table in its directory.
pub(crate) fn table_name(link: &str, direction: Direction, number: u16) -> String {
    format!("{link}.{}.{number}.table", way(direction))
}

/// How a direction is called.
pub(crate) const fn way(direction: Direction) -> &'static str {
    if matches!(direction, Direction::UPLINK) { "uplink" } else { "downlink" }
}

/// The tables that are in a directory, by link and direction: a hub has many of both, and looks once.
#[derive(Debug)]
pub(crate) struct TablesIn(BTreeMap<String, Vec<u16>>);

impl TablesIn {
    /// Looks into `directory`.
    pub(crate) fn directory(directory: &Path) -> Result<Self> {
        let mut tables = BTreeMap::<String, Vec<u16>>::new();
        let look = || format!("cannot look into {}", directory.display());
        for entry in fs::read_dir(directory).with_context(look)? {
            let name = entry.with_context(look)?.file_name();
            let name = name.to_string_lossy();
            let parts = name.strip_suffix(".table").and_then(|name| name.rsplit_once('.'));
            if let Some((of, number)) = parts
                && let Ok(number) = number.parse()
            {
                tables.entry(of.to_owned()).or_default().push(number);
            }
        }
        tables.values_mut().for_each(|numbers| numbers.sort_unstable());
        Ok(Self(tables))
    }

    /// The numbers of a link's tables, ascending.
    pub(crate) fn numbers(&self, link: &str, direction: Direction) -> &[u16] {
        self.0.get(&format!("{link}.{}", way(direction))).map_or(&[], Vec::as_slice)
    }
}

/// Where element `index` begins in the file.
fn offset(index: u32) -> Option<u64> {
    u64::from(index).checked_mul(ELEMENT_LEN as u64)?.checked_add(HEADER_LEN as u64)
}

/// A table that is being written, from its beginning or from where an earlier portion ended.
///
/// A new one takes its name when it is whole; of an old one, what is appended counts once it is durable.
#[derive(Debug)]
pub(crate) struct TableWriter {
    file: Written,
    path: PathBuf,
    identity: TableIdentity,
}

#[derive(Debug)]
enum Written {
    /// Made anew from its beginning, if it does not become whole.
    New(Partial),
    Longer(File),
}

impl Written {
    const fn file(&self) -> &File {
        match self {
            Self::New(partial) => partial.file(),
            Self::Longer(file) => file,
        }
    }
}

impl TableWriter {
    /// How much of the table is there; nothing if there is no file.
    pub(crate) fn held(path: &Path, identity: TableIdentity) -> Result<u32> {
        match path.try_exists() {
            Ok(false) => Ok(0),
            _ => Ok(FilePad::open_identical(path, identity)?.held),
        }
    }

    /// Goes on behind the `held` elements that are there.
    pub(crate) fn open(path: &Path, identity: TableIdentity, held: u32) -> Result<Self> {
        let file = if held == 0 {
            Partial::of_table(path).map(Written::New)
        } else {
            OpenOptions::new().read(true).write(true).open(path).map(Written::Longer)
        };
        let file = file.with_context(|| format!("cannot write the table {}", path.display()))?;
        Ok(Self { file, path: path.to_owned(), identity })
    }

    /// Writes elements from `first` on.
    pub(crate) fn write(&self, first: u32, octets: &[u8]) -> Result<()> {
        let place = offset(first).context("the table is too long")?;
        self.file
            .file()
            .write_all_at(octets, place)
            .with_context(|| format!("cannot write the table {}", self.path.display()))
    }

    /// What was written counts, up to element `end`. Durable when this returns, except for the name of a new file.
    pub(crate) fn finish(self, end: u32) -> Result<()> {
        self.close(end, File::sync_all)
    }

    /// The same, durable once the file system was synced: for a table that nobody looks for before.
    pub(crate) fn finish_unsynced(self, end: u32) -> Result<()> {
        self.close(end, |_| Ok(()))
    }

    fn close(self, end: u32, sync: impl Fn(&File) -> std::io::Result<()>) -> Result<()> {
        let file = self.file.file();
        let written = sync(file)
            .and_then(|()| file.write_all_at(&self.identity.header(end), 0))
            .and_then(|()| sync(file))
            .and_then(|()| match self.file {
                Written::New(partial) => partial.replace(),
                Written::Longer(_) => Ok(()),
            });
        written.with_context(|| format!("cannot write the table {}", self.path.display()))
    }
}

/// One end's copy of a table, or of as much of it as has come.
#[derive(Debug)]
pub(crate) struct FilePad {
    file: PooledFile,
    held: u32,
    identity: TableIdentity,
    /// Whether anything was erased through this.
    erased: bool,
}

impl FilePad {
    /// Opens the table `number` of a link and makes sure that it is the right one, and whole as far as it says.
    pub(crate) fn open(
        path: &Path,
        (hub, client): (HubId, ClientTag),
        (direction, number): (Direction, u16),
        writable: bool,
    ) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(writable).open(path).map_err(|error| {
            unopened(error, &format!("cannot open the table {}", path.display()), MISSING)
        })?;
        let len = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len();
        let mut header = [0; HEADER_LEN];
        if len < HEADER_LEN as u64 || file.read_exact_at(&mut header, 0).is_err() {
            bail!("the table {} is torn: it has {len} octets; {RESTORE}", path.display());
        }
        if !header.starts_with(MAGIC) {
            bail!("{} is not a table of pre-shared random data; {RESTORE}", path.display());
        }
        let origin = if header.get(41) == Some(&1) { Origin::Refill } else { Origin::OutOfBand };
        let (elements, held) = (word(&header, ELEMENTS_AT), word(&header, HELD_AT));
        let identity = TableIdentity { hub, client, direction, number, origin, elements };
        if header != identity.header(held) {
            bail!(
                "the table {} belongs to another link, direction or provisioning than its name says; {RESTORE}",
                path.display()
            );
        }
        let needed = offset(held).unwrap_or(u64::MAX);
        if held == 0 || held > elements || len < needed {
            bail!("the table {} is torn: it has {len} octets instead of {needed}; {RESTORE}", path.display());
        }
        Ok(Self { file: PooledFile::new(path.to_owned(), writable), held, identity, erased: false })
    }

    /// Works on the file, if it still is the one that was opened first. A later portion may have come.
    fn with<T>(&self, work: impl FnOnce(&File) -> std::io::Result<T>) -> Result<T, PadError> {
        let check = |file: &File| {
            let mut header = [0; HEADER_LEN];
            file.read_exact_at(&mut header, 0)?;
            let held = word(&header, HELD_AT);
            if held < self.held || header != self.identity.header(held) {
                return Err(ErrorKind::InvalidData.into());
            }
            Ok(())
        };
        self.file.with(check, work).map_err(|_| PadError::Storage)
    }

    fn open_identical(path: &Path, identity: TableIdentity) -> Result<Self> {
        let (ends, place) = ((identity.hub, identity.client), (identity.direction, identity.number));
        let pad = Self::open(path, ends, place, false)?;
        if pad.identity != identity {
            bail!(
                "the table {} is there already, and is another one; if an earlier enrolment left it, move the tables of \
                 this link away, and import again",
                path.display()
            );
        }
        Ok(pad)
    }

    /// As a machine takes it.
    pub(crate) fn into_table<P>(self, pad: impl FnOnce(Self) -> P) -> Table<P> {
        let TableIdentity { number, origin, .. } = self.identity;
        Table::new(number, origin, pad(self))
    }

    fn place(&self, index: u32, len: usize) -> Result<u64, PadError> {
        let start = offset(index).ok_or(PadError::OutOfRange)?;
        let end = start.checked_add(len as u64).ok_or(PadError::OutOfRange)?;
        let limit = offset(self.held).ok_or(PadError::OutOfRange)?;
        if end > limit { Err(PadError::OutOfRange) } else { Ok(start) }
    }
}

/// Elements at the beginning of a table that are looked at.
const LOOKED_AT: usize = 64;

/// Whether something of the beginning of a table is erased: it was used. An element of it is not zero by chance.
pub(super) fn was_used(path: &Path) -> Result<bool> {
    let most = HEADER_LEN.saturating_add(LOOKED_AT.saturating_mul(ELEMENT_LEN));
    // Of the full size from the beginning: what grows leaves copies behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(most));
    File::open(path)
        .and_then(|file| file.take(most as u64).read_to_end(&mut octets))
        .with_context(|| format!("cannot read the table {}", path.display()))?;
    let held = usize::try_from(word(&octets, HELD_AT)).unwrap_or(usize::MAX);
    let elements = octets.get(HEADER_LEN..).unwrap_or_default().chunks_exact(ELEMENT_LEN);
    Ok(elements.take(held).any(|element| element.iter().all(|&octet| octet == 0)))
}

const MISSING: &str = "bring the file back as it was last, never an older copy; if it is lost, revoke the client at the hub and enrol \
                       it anew";
const RESTORE: &str = "bring the right file back, or provision anew (never use an old copy of a used table)";

impl Pad for FilePad {
    fn elements(&self) -> u32 {
        self.held
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        let start = self.place(index, out.len())?;
        self.with(|file| file.read_exact_at(out, start))
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        let len = usize::try_from(elements).ok().and_then(|count| count.checked_mul(ELEMENT_LEN));
        let len = len.ok_or(PadError::OutOfRange)?;
        let start = self.place(index, len)?;
        self.erased = true;
        let is_whole = elements == self.held;
        self.with(|file| {
            overwrite(file, start, len as u64)?;
            // A table that is out of service, or whose client was revoked: whoever is told that it is gone must not find it after a loss of power.
            if is_whole { file.sync_data() } else { Ok(()) }
        })
    }
}

/// Writes zeros.
pub(crate) fn overwrite(file: &File, mut start: u64, mut left: u64) -> std::io::Result<()> {
    let zeros = [0; 4096];
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(zeros.get(..len).ok_or(ErrorKind::Other)?, start)?;
        start = start.saturating_add(len as u64);
        left = left.saturating_sub(len as u64);
    }
    Ok(())
}

impl Drop for FilePad {
    /// What was erased is gone from the disk too. The marks, which are synced each time, keep it from being used before.
    fn drop(&mut self) {
        if self.erased {
            let _ = self.with(File::sync_data);
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
mod tests {
    use super::*;

    const ENDS: (HubId, ClientTag) = (HubId::new([1; 16]), ClientTag::new([2; 16]));
    const PLACE: (Direction, u16) = (Direction::UPLINK, 0);

    fn identity(elements: u32) -> TableIdentity {
        let ((hub, client), (direction, number)) = (ENDS, PLACE);
        TableIdentity { hub, client, direction, number, origin: Origin::OutOfBand, elements }
    }

    fn octets(from: u32, to: u32) -> Vec<u8> {
        (from * 16..to * 16).map(|at| (at % 251) as u8 + 1).collect()
    }

    /// The disk is full in the middle of a new table: nothing of it stays, neither under a name nor as what the file had. Of a table that
    /// grows, what was there stays.
    /// Carried by `Drop` of `Partial`.
    #[test]
    fn a_table_that_did_not_become_whole_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("table");
        let writer = TableWriter::open(&path, identity(8), 0).unwrap();
        writer.write(0, &octets(0, 4)).unwrap();
        let seen = writer.file.file().try_clone().unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let mut left = vec![1; HEADER_LEN + 4 * 16];
        seen.read_exact_at(&mut left, 0).unwrap();
        assert!(left.iter().all(|&octet| octet == 0));
        // Its name was taken meanwhile.
        let writer = TableWriter::open(&path, identity(8), 0).unwrap();
        writer.write(0, &octets(0, 8)).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(writer.finish(8).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let (directory, path) = table(8, 4);
        drop(TableWriter::open(&path, identity(8), 4).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(TableWriter::held(&path, identity(8)).unwrap(), 4);
    }

    /// The first `held` elements of a table of `elements`.
    fn table(elements: u32, held: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("table");
        let writer = TableWriter::open(&path, identity(elements), 0).unwrap();
        writer.write(0, &octets(0, held)).unwrap();
        assert!(!path.exists(), "not before it is whole");
        writer.finish(held).unwrap();
        (directory, path)
    }

    fn all(pad: &FilePad) -> Vec<u8> {
        let mut out = vec![0; pad.elements() as usize * 16];
        pad.read(0, &mut out).unwrap();
        out
    }

    #[test]
    fn what_is_erased_reads_as_zeros_and_its_neighbours_stay() {
        let (_directory, path) = table(1000, 1000);
        let mut pad = FilePad::open(&path, ENDS, PLACE, true).unwrap();
        pad.erase(3, 700).unwrap();
        let mut expected = octets(0, 1000);
        expected[3 * 16..703 * 16].fill(0);
        assert_eq!(all(&pad), expected);
    }

    #[test]
    fn nothing_outside_the_table_is_read_or_erased() {
        let (_directory, path) = table(20, 10);
        let mut pad = FilePad::open(&path, ENDS, PLACE, true).unwrap();
        assert_eq!(pad.read(9, &mut [0; 17]), Err(PadError::OutOfRange));
        assert_eq!(pad.erase(9, 2), Err(PadError::OutOfRange));
        assert_eq!(pad.erase(u32::MAX, u32::MAX), Err(PadError::OutOfRange));
    }

    #[test]
    fn what_comes_later_counts_once_it_is_finished() {
        let (_directory, path) = table(30, 10);
        assert_eq!(TableWriter::held(&path, identity(30)).unwrap(), 10);
        let writer = TableWriter::open(&path, identity(30), 10).unwrap();
        writer.write(10, &octets(10, 25)).unwrap();
        assert_eq!(all(&FilePad::open(&path, ENDS, PLACE, true).unwrap()), octets(0, 10));
        writer.finish(25).unwrap();
        assert_eq!(all(&FilePad::open(&path, ENDS, PLACE, true).unwrap()), octets(0, 25));
    }

    #[test]
    fn a_table_that_was_closed_meanwhile_is_opened_again_unless_another_has_its_name() {
        let (_directory, path) = table(30, 10);
        let pad = FilePad::open(&path, ENDS, PLACE, true).unwrap();
        let before = fs::read(&path).unwrap();
        let later = TableWriter::open(&path, identity(30), 10).unwrap();
        later.write(10, &octets(10, 25)).unwrap();
        later.finish(25).unwrap();
        assert_eq!(all(&pad), octets(0, 10), "more of it came");
        for wrong in [
            {
                let mut other = before.clone();
                other[10] ^= 1;
                other
            },
            before[..100].to_vec(),
        ] {
            let pad = FilePad::open(&path, ENDS, PLACE, true).unwrap();
            fs::rename(&path, path.with_extension("away")).unwrap();
            assert_eq!(pad.read(0, &mut [0; 16]), Err(PadError::Storage), "it is gone");
            fs::write(&path, wrong).unwrap();
            assert_eq!(pad.read(9, &mut [0; 16]), Err(PadError::Storage), "it is another, or shorter");
            fs::rename(path.with_extension("away"), &path).unwrap();
            pad.read(0, &mut [0; 16]).unwrap();
        }
    }

    #[test]
    fn a_table_of_another_direction_and_a_torn_one_are_refused() {
        let (_directory, path) = table(10, 10);
        let foreign = FilePad::open(&path, ENDS, (Direction::DOWNLINK, 0), true).unwrap_err();
        assert!(foreign.to_string().contains("another link"));
        assert!(TableWriter::held(&path, identity(11)).unwrap_err().to_string().contains("another one"));
        OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
        let torn = FilePad::open(&path, ENDS, PLACE, true).unwrap_err();
        assert!(torn.to_string().contains("torn"), "{torn}");
    }

    #[test]
    fn the_tables_of_a_link_are_found_by_their_names() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.uplink.10.table", "a.uplink.2.table", "a.downlink.0.table", "aa.uplink.3.table"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        fs::write(directory.path().join("a.uplink.4.table.partial"), "").unwrap();
        let tables = TablesIn::directory(directory.path()).unwrap();
        assert_eq!(tables.numbers("a", Direction::UPLINK), [2, 10]);
        assert_eq!(tables.numbers("a", Direction::DOWNLINK), [0]);
        assert!(tables.numbers("b", Direction::UPLINK).is_empty());
        assert_eq!(table_name("a", Direction::DOWNLINK, 0), "a.downlink.0.table");
    }
}
