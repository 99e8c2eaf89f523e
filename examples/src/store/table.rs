//! Tables of pre-shared random data in files.
//!
//! A file begins with 64 octets that say whose table it is, so that a foreign or swapped one is noticed before a byte of
//! it is used. The elements follow; used ones are overwritten with zeros.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rand_core::Rng as _;
use skex_dske::{ClientTag, ELEMENT_LEN, HubId, Pad, PadError};
use zeroize::Zeroizing;

use super::atomic::private;
use crate::entropy::Entropy;

const MAGIC: &[u8; 8] = b"SKEXPAD1";
const HEADER_LEN: usize = 64;

/// Octets that are moved at a time.
const CHUNK: usize = 65536;

/// Which way a table serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Client to hub.
    Uplink,
    /// Hub to client.
    Downlink,
}

/// Whose table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableIdentity {
    pub(crate) hub: HubId,
    pub(crate) client: ClientTag,
    pub(crate) direction: Direction,
    /// Its number within the link and direction.
    pub(crate) number: u16,
    pub(crate) elements: u32,
}

impl TableIdentity {
    fn header(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        let direction = [u8::from(self.direction == Direction::Downlink)];
        let (number, elements) = (self.number.to_be_bytes(), self.elements.to_be_bytes());
        let parts: [&[u8]; 6] =
            [MAGIC, self.hub.as_bytes(), self.client.as_bytes(), &direction, &number, &elements];
        for (to, from) in header.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        header
    }

    fn file_len(&self) -> u64 {
        offset(self.elements).unwrap_or(u64::MAX)
    }
}

/// Where element `index` begins in the file.
fn offset(index: u32) -> Option<u64> {
    u64::from(index).checked_mul(ELEMENT_LEN as u64)?.checked_add(HEADER_LEN as u64)
}

/// Makes a table, the same at both of its ends, from the operating system's entropy. Durable when this returns, except
/// for the names of the files.
pub(crate) fn provision_table(
    identity: TableIdentity,
    ends: [&Path; 2],
    entropy: &mut Entropy,
) -> Result<()> {
    let mut files = Vec::new();
    for path in ends {
        let file = private(OpenOptions::new().write(true).create_new(true)).open(path);
        let mut file = file.with_context(|| format!("cannot make the table {}", path.display()))?;
        file.write_all(&identity.header()).with_context(|| format!("cannot write {}", path.display()))?;
        files.push((path, file));
    }
    let mut chunk = Zeroizing::new(vec![0; CHUNK]);
    let mut left = usize::try_from(identity.elements)?.checked_mul(ELEMENT_LEN).context("table too long")?;
    while left > 0 {
        let part = chunk.get_mut(..left.min(CHUNK)).unwrap_or_default();
        entropy.fill_bytes(part);
        for (path, file) in &mut files {
            file.write_all(part).with_context(|| format!("cannot write {}", path.display()))?;
        }
        left = left.saturating_sub(part.len());
    }
    for (path, file) in &files {
        file.sync_all().with_context(|| format!("cannot sync {}", path.display()))?;
    }
    Ok(())
}

/// One end's copy of a table.
#[derive(Debug)]
pub(crate) struct FilePad {
    file: File,
    elements: u32,
}

impl FilePad {
    /// Opens a table and makes sure that it is the right one, and whole.
    pub(crate) fn open(path: &Path, identity: TableIdentity, writable: bool) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(writable).open(path).with_context(|| {
            format!(
                "cannot open the table {}: bring the file back from where it was provisioned",
                path.display()
            )
        })?;
        let len = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len();
        let mut header = [0; HEADER_LEN];
        if len < HEADER_LEN as u64 || file.read_exact_at(&mut header, 0).is_err() {
            bail!("the table {} is torn: it has {len} octets; {RESTORE}", path.display());
        }
        if !header.starts_with(MAGIC) {
            bail!("{} is not a table of pre-shared random data; {RESTORE}", path.display());
        }
        if header != identity.header() {
            bail!(
                "the table {} belongs to another link, direction or provisioning than skex.json says; {RESTORE}",
                path.display()
            );
        }
        if len != identity.file_len() {
            bail!(
                "the table {} is torn: it has {len} octets instead of {}; {RESTORE}",
                path.display(),
                identity.file_len()
            );
        }
        Ok(Self { file, elements: identity.elements })
    }

    fn place(&self, index: u32, len: usize) -> Result<u64, PadError> {
        let start = offset(index).ok_or(PadError::OutOfRange)?;
        let end = start.checked_add(len as u64).ok_or(PadError::OutOfRange)?;
        let limit = offset(self.elements).ok_or(PadError::OutOfRange)?;
        if end > limit { Err(PadError::OutOfRange) } else { Ok(start) }
    }
}

const RESTORE: &str = "bring the right file back, or provision anew (never use an old copy of a used table)";

impl Pad for FilePad {
    fn elements(&self) -> u32 {
        self.elements
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        let start = self.place(index, out.len())?;
        self.file.read_exact_at(out, start).map_err(|_| PadError::Storage)
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        let len = usize::try_from(elements).ok().and_then(|count| count.checked_mul(ELEMENT_LEN));
        let mut left = len.ok_or(PadError::OutOfRange)?;
        let mut start = self.place(index, left)?;
        let zeros = [0; 4096];
        while left > 0 {
            let part = zeros.get(..left.min(zeros.len())).unwrap_or_default();
            self.file.write_all_at(part, start).map_err(|_| PadError::Storage)?;
            start = start.saturating_add(part.len() as u64);
            left = left.saturating_sub(part.len());
        }
        Ok(())
    }
}

impl Drop for FilePad {
    /// What was erased is gone from the disk too. The marks, which are synced each time, keep it from being used before.
    fn drop(&mut self) {
        let _ = self.file.sync_data();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(direction: Direction, elements: u32) -> TableIdentity {
        let (hub, client) = (HubId::new([1; 16]), ClientTag::new([2; 16]));
        TableIdentity { hub, client, direction, number: 0, elements }
    }

    fn two_ends(elements: u32) -> (tempfile::TempDir, FilePad, FilePad) {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        let identity = identity(Direction::Uplink, elements);
        provision_table(identity, [&one, &other], &mut Entropy::open().unwrap()).unwrap();
        let pads = [one, other].map(|path| FilePad::open(&path, identity, true).unwrap());
        let [one, other] = pads;
        (directory, one, other)
    }

    #[test]
    fn both_ends_hold_the_same_random_octets() {
        let (_directory, one, other) = two_ends(8192);
        let (mut left, mut right) = (vec![0; 8192 * 16], vec![0; 8192 * 16]);
        one.read(0, &mut left).unwrap();
        other.read(0, &mut right).unwrap();
        assert_eq!(left, right);
        assert!(left.chunks(16).all(|element| element.iter().any(|&octet| octet != 0)));
    }

    #[test]
    fn what_is_erased_reads_as_zeros_and_its_neighbours_stay() {
        let (_directory, mut one, other) = two_ends(1000);
        one.erase(3, 700).unwrap();
        let (mut left, mut right) = (vec![0; 16000], vec![0; 16000]);
        one.read(0, &mut left).unwrap();
        other.read(0, &mut right).unwrap();
        right[3 * 16..703 * 16].fill(0);
        assert_eq!(left, right);
    }

    #[test]
    fn nothing_outside_the_table_is_read_or_erased() {
        let (_directory, mut one, _other) = two_ends(10);
        assert_eq!(one.read(9, &mut [0; 17]), Err(PadError::OutOfRange));
        assert_eq!(one.erase(9, 2), Err(PadError::OutOfRange));
        assert_eq!(one.erase(u32::MAX, u32::MAX), Err(PadError::OutOfRange));
    }

    #[test]
    fn a_table_of_another_direction_and_a_torn_one_are_refused() {
        let (directory, one, _other) = two_ends(10);
        let path = directory.path().join("one");
        let foreign = FilePad::open(&path, identity(Direction::Downlink, 10), true).unwrap_err();
        assert!(foreign.to_string().contains("another link"));
        one.file.set_len(100).unwrap();
        let torn = FilePad::open(&path, identity(Direction::Uplink, 10), true).unwrap_err();
        assert!(torn.to_string().contains("torn"), "{torn}");
    }
}
