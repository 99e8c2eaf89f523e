//! HELLO_REPLY.

use super::outer::{expect_outer, outer_octet};
use super::{OuterType, TAG_LEN, Tagged};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// The hub's answer to a [`Hello`](super::Hello).
///
/// The tag (HMAC, truncated) covers the untagged octets, then the client's salt that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HelloReply {
    /// The client's id at this hub.
    pub client_id: u32,
    /// The hub's salt: a function of its boot key, the client's salt and a counter, so that no state is kept for it.
    pub salt: [u8; 16],
}

impl HelloReply {
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
            expect_outer(reader, OuterType::HELLO_REPLY)?;
            Ok(Self { client_id: reader.u32()?, salt: reader.array()? })
        })
    }

    /// Writes everything before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_untagged(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(outer_octet(OuterType::HELLO_REPLY))?;
        writer.u32(self.client_id)?;
        writer.bytes(&self.salt)
    }
}
