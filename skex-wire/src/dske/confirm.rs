//! CONFIRM.

use super::{Confirmation, InnerType, expect_type};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// A hub passes the responder's confirmation on to the initiator. It costs no pad: the tag inside is the responder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confirm<'a> {
    /// The key's id.
    pub key_id: [u8; 16],
    /// The responder's client tag.
    pub peer: [u8; 16],
    /// What the responder said.
    pub confirmation: Confirmation<'a>,
}

impl<'a> Confirm<'a> {
    /// Octets before the confirmation.
    const HEAD_LEN: usize = 33;

    /// The message with these fields.
    #[must_use]
    pub const fn new(key_id: [u8; 16], peer: [u8; 16], confirmation: Confirmation<'a>) -> Self {
        Self { key_id, peer, confirmation }
    }

    /// Octets of the message.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.confirmation.encoded_len().saturating_add(Self::HEAD_LEN)
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one CONFIRM.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect_type(&mut reader, InnerType::CONFIRM)?;
        let key_id = reader.array()?;
        let peer = reader.array()?;
        let length = reader.remaining();
        let confirmation = Confirmation::decode(&mut reader, length)?;
        reader.finish()?;
        Ok(Self { key_id, peer, confirmation })
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::CONFIRM.value())?;
        writer.bytes(&self.key_id)?;
        writer.bytes(&self.peer)?;
        self.confirmation.encode(writer)
    }
}
