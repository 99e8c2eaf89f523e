//! HELLO.

use super::outer::{expect_outer, outer_octet};
use super::{OuterType, TAG_LEN, Tagged};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// A client wants a new session.
///
/// The tag (HMAC, truncated) covers the untagged octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// The client's id at this hub.
    pub client_id: u32,
    /// The client's salt, new for every session.
    pub salt: [u8; 16],
}

impl Hello {
    /// Octets of the whole message.
    pub const LEN: usize = 21 + TAG_LEN;

    /// The message with these fields.
    #[must_use]
    pub const fn new(client_id: u32, salt: [u8; 16]) -> Self {
        Self { client_id, salt }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one message of this type.
    pub fn decode(bytes: &[u8]) -> Result<Tagged<'_, Self>, DecodeError> {
        Tagged::decode_with(bytes, |reader: &mut Reader<'_>| {
            expect_outer(reader, OuterType::HELLO)?;
            Ok(Self { client_id: reader.u32()?, salt: reader.array()? })
        })
    }

    /// Writes everything before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_untagged(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(outer_octet(OuterType::HELLO))?;
        writer.u32(self.client_id)?;
        writer.bytes(&self.salt)
    }
}
