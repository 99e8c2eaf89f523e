//! LEASE_DENIED.

use super::{InnerType, expect_type};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// The table is used up. Under the envelope alone, and advisory: it spends nothing and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseDenied {
    /// Number of the table, as in the request.
    pub table: u16,
    /// The nonce of the request.
    pub nonce: [u8; 16],
    /// The receiver's high-water mark, in elements.
    pub mark: u32,
}

impl LeaseDenied {
    /// Octets of the message.
    pub const LEN: usize = 23;

    /// The message with these fields.
    #[must_use]
    pub const fn new(table: u16, nonce: [u8; 16], mark: u32) -> Self {
        Self { table, nonce, mark }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one LEASE_DENIED.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect_type(&mut reader, InnerType::LEASE_DENIED)?;
        let denied = Self { table: reader.u16()?, nonce: reader.array()?, mark: reader.u32()? };
        reader.finish()?;
        Ok(denied)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::LEASE_DENIED.value())?;
        writer.u16(self.table)?;
        writer.bytes(&self.nonce)?;
        writer.u32(self.mark)
    }
}
