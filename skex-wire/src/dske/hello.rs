//! HELLO and HELLO_REPLY: one layout.

use super::outer::{outer_octet, outer_type};
use super::{OuterType, TAG_LEN, Tagged};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// A client wants a new session, or its hub answers that.
///
/// The tag (HMAC, truncated) covers the untagged octets; in a reply, the client's salt that is answered before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// Whether it is the hub's answer.
    pub is_reply: bool,
    /// The client's id at this hub.
    pub client_id: u32,
    /// The client's salt, new for every session. In a reply the hub's: a function of its boot key, the client's salt and a
    /// counter, so that no state is kept for it.
    pub salt: [u8; 16],
}

impl Hello {
    /// Octets of the whole message.
    pub const LEN: usize = 21 + TAG_LEN;

    /// The client's message with these fields.
    #[must_use]
    pub const fn new(client_id: u32, salt: [u8; 16]) -> Self {
        Self { is_reply: false, client_id, salt }
    }

    /// The hub's answer with these fields.
    #[must_use]
    pub const fn reply(client_id: u32, salt: [u8; 16]) -> Self {
        Self { is_reply: true, client_id, salt }
    }

    /// Reads a whole message of either type.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one message of these types.
    pub fn decode(bytes: &[u8]) -> Result<Tagged<'_, Self>, DecodeError> {
        Tagged::decode_with(bytes, |reader: &mut Reader<'_>| {
            let start = reader.clone();
            let is_reply = match outer_type(reader)? {
                OuterType::HELLO => false,
                OuterType::HELLO_REPLY => true,
                _ => return Err(start.error(DecodeErrorKind::UnknownType)),
            };
            Ok(Self { is_reply, client_id: reader.u32()?, salt: reader.array()? })
        })
    }

    /// Writes everything before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_untagged(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let outer_type = if self.is_reply { OuterType::HELLO_REPLY } else { OuterType::HELLO };
        writer.u8(outer_octet(outer_type))?;
        writer.u32(self.client_id)?;
        writer.bytes(&self.salt)
    }
}
