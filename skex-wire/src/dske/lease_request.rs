//! LEASE_REQUEST.

use super::{InnerType, expect_type};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// The sender of a table asks its receiver for a range to allocate from. A retry repeats nonce and octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseRequest {
    /// Number of the table, within the direction from the one who asks to the one who grants.
    pub table: u16,
    /// Random; binds the answer to this request.
    pub nonce: [u8; 16],
    /// The sender's durable mark: the end of the last lease that it was granted, in elements.
    pub mark: u32,
    /// Elements wanted. The grant may be smaller.
    pub want: u32,
}

impl LeaseRequest {
    /// Octets of the message.
    pub const LEN: usize = 27;

    /// The message with these fields.
    #[must_use]
    pub const fn new(table: u16, nonce: [u8; 16], mark: u32, want: u32) -> Self {
        Self { table, nonce, mark, want }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one LEASE_REQUEST.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect_type(&mut reader, InnerType::LEASE_REQUEST)?;
        let request =
            Self { table: reader.u16()?, nonce: reader.array()?, mark: reader.u32()?, want: reader.u32()? };
        reader.finish()?;
        Ok(request)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::LEASE_REQUEST.value())?;
        writer.u16(self.table)?;
        writer.bytes(&self.nonce)?;
        writer.u32(self.mark)?;
        writer.u32(self.want)
    }
}
