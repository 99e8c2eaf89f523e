//! LEASE_GRANT.

use super::{InnerType, TAG_LEN, Tagged, expect_type};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// The receiver of a table grants its sender a range. The tag's one-time key is the two elements at `start`; what may be
/// allocated begins behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseGrant {
    /// Number of the table, as in the request.
    pub table: u16,
    /// The nonce of the request.
    pub nonce: [u8; 16],
    /// First element of the lease.
    pub start: u32,
    /// The element behind the last one of the lease, at least `start + 2`.
    pub end: u32,
}

impl LeaseGrant {
    /// Octets of the whole message.
    pub const LEN: usize = 27 + TAG_LEN;

    /// The message with these fields. A lease of fewer than two elements is refused by every decoder.
    #[must_use]
    pub const fn new(table: u16, nonce: [u8; 16], start: u32, end: u32) -> Self {
        Self { table, nonce, start, end }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one LEASE_GRANT with room for its own tag key.
    pub fn decode(bytes: &[u8]) -> Result<Tagged<'_, Self>, DecodeError> {
        Tagged::decode_with(bytes, |reader: &mut Reader<'_>| {
            expect_type(reader, InnerType::LEASE_GRANT)?;
            let grant = Self {
                table: reader.u16()?,
                nonce: reader.array()?,
                start: reader.u32()?,
                end: reader.u32()?,
            };
            if grant.end.checked_sub(grant.start).is_none_or(|length| length < 2) {
                return Err(reader.error(DecodeErrorKind::BadValue));
            }
            Ok(grant)
        })
    }

    /// Writes everything before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_untagged(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::LEASE_GRANT.value())?;
        writer.u16(self.table)?;
        writer.bytes(&self.nonce)?;
        writer.u32(self.start)?;
        writer.u32(self.end)
    }
}
