//! Where the bytes of a table lie.

use core::fmt;

use skex_core::SecretVec;

/// Octets of an element, the unit in which tables are counted.
pub const ELEMENT_LEN: usize = 16;

/// The storage of one table, at one end: memory, a file, a block device.
///
/// The machines read what they are about to use and erase what was used. Both are plain, local accesses: a `Pad`
/// keeps no position and makes no decision. `read` after `erase` must give zeros or fail, never the old bytes.
pub trait Pad {
    /// The length of the table, in elements of 16 octets.
    fn elements(&self) -> u32;

    /// Fills `out` with the octets of the table from element `index` on.
    ///
    /// # Errors
    ///
    /// [`PadError`] if the range is not in the table or the storage fails. `out` is then unspecified.
    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError>;

    /// Overwrites `elements` elements from `index` on with zeros, for good. What a loss of power brings back of them is never used again, and can
    /// be read by whoever takes the medium then: the sooner it is durable, the better.
    ///
    /// # Errors
    ///
    /// [`PadError`] if the range is not in the table or the storage fails.
    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError>;
}

/// A table's storage did not give or erase what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PadError {
    /// The range is not inside the table: a shorter file than the ledger says, for instance.
    #[error("range outside the table: its file is shorter than provisioned, or belongs to another table")]
    OutOfRange,
    /// Part of the range was erased: what was used is not used again, even if an older record says that it is unused.
    #[error("part of the range was erased before; the stored state is older than the table")]
    Erased,
    /// The storage failed.
    #[error("the storage of a table failed")]
    Storage,
}

/// A table in memory.
pub struct MemoryPad(SecretVec);

impl MemoryPad {
    /// A table of these octets; octets beyond the last whole element are left unused.
    #[must_use]
    pub const fn new(octets: SecretVec) -> Self {
        Self(octets)
    }

    fn range(index: u32, len: usize) -> Result<core::ops::Range<usize>, PadError> {
        let index = usize::try_from(index).map_err(|_| PadError::OutOfRange)?;
        let start = index.checked_mul(ELEMENT_LEN).ok_or(PadError::OutOfRange)?;
        Ok(start..start.checked_add(len).ok_or(PadError::OutOfRange)?)
    }
}

impl Pad for MemoryPad {
    fn elements(&self) -> u32 {
        u32::try_from(self.0.len() / ELEMENT_LEN).unwrap_or(u32::MAX)
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        let source = self.0.expose().get(Self::range(index, out.len())?).ok_or(PadError::OutOfRange)?;
        out.copy_from_slice(source);
        Ok(())
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        let len = usize::try_from(elements).ok().and_then(|count| count.checked_mul(ELEMENT_LEN));
        let range = Self::range(index, len.ok_or(PadError::OutOfRange)?)?;
        zeroize::Zeroize::zeroize(self.0.expose_mut().get_mut(range).ok_or(PadError::OutOfRange)?);
        Ok(())
    }
}

impl fmt::Debug for MemoryPad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPad").field("elements", &self.elements()).finish_non_exhaustive()
    }
}
