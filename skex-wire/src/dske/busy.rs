//! BUSY.

use super::{InnerType, expect_type};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// A block was read but cannot be served now. Under the envelope alone, and advisory: it spends nothing and is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Busy {
    /// Number of the table of the block.
    pub table: u16,
    /// First element of the block.
    pub index: u32,
}

impl Busy {
    /// Octets of the message.
    pub const LEN: usize = 7;

    /// The message with these fields.
    #[must_use]
    pub const fn new(table: u16, index: u32) -> Self {
        Self { table, index }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one BUSY.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect_type(&mut reader, InnerType::BUSY)?;
        let busy = Self { table: reader.u16()?, index: reader.u32()? };
        reader.finish()?;
        Ok(busy)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::BUSY.value())?;
        writer.u16(self.table)?;
        writer.u32(self.index)
    }
}
