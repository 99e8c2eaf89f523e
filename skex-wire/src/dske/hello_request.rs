//! HELLO_REQUEST.

use super::outer::{expect_outer, outer_octet};
use super::{OuterType, TAG_LEN, Tagged};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// A hub that cannot open an envelope asks the client for a new [`Hello`](super::Hello).
///
/// The tag (HMAC, truncated) covers the untagged octets, then the AEAD tag of the envelope that could not be opened: a
/// client takes it only for the last envelope that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HelloRequest {
    /// The client's id at this hub.
    pub client_id: u32,
}

impl HelloRequest {
    /// Octets of the whole message.
    pub const LEN: usize = 5 + TAG_LEN;

    /// The message with these fields.
    #[must_use]
    pub const fn new(client_id: u32) -> Self {
        Self { client_id }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one message of this type.
    pub fn decode(bytes: &[u8]) -> Result<Tagged<'_, Self>, DecodeError> {
        Tagged::decode_with(bytes, |reader: &mut Reader<'_>| {
            expect_outer(reader, OuterType::HELLO_REQUEST)?;
            Ok(Self { client_id: reader.u32()? })
        })
    }

    /// Writes everything before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_untagged(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(outer_octet(OuterType::HELLO_REQUEST))?;
        writer.u32(self.client_id)
    }
}
