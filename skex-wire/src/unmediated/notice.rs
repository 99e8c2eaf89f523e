//! Two answers to a first message that are not a second one.

use super::parts::{read_flags, write_header};
use super::{COOKIE_LEN, MessageType, PSEUDONYM_LEN, TAG_LEN};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// Cookie message: under load the responder asks for the first message again, with this cookie behind it. Nothing
/// authenticates it.
///
/// ```text
///  octets  field
///       1  0x16
///       1  flags: 0
///       8  attempt: the first 8 octets of the initiator's nonce
///      16  cookie
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CookieMessage {
    /// Which attempt of the initiator it answers.
    pub attempt: [u8; PSEUDONYM_LEN],
    /// The cookie.
    pub cookie: [u8; COOKIE_LEN],
}

/// Stale notice: the first message is authentic and of an epoch that both ends have left; its sender was rolled back
/// or cloned.
///
/// ```text
///  octets  field
///       1  0x17
///       1  flags: 0
///       8  attempt: the first 8 octets of the initiator's nonce
///      16  tag over the hash of the first message and all before it
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaleMessage {
    /// Which attempt of the initiator it answers.
    pub attempt: [u8; PSEUDONYM_LEN],
    /// The tag.
    pub tag: [u8; TAG_LEN],
}

impl CookieMessage {
    /// A message.
    #[must_use]
    pub const fn new(attempt: [u8; PSEUDONYM_LEN], cookie: [u8; COOKIE_LEN]) -> Self {
        Self { attempt, cookie }
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        write_header(writer, MessageType::COOKIE, 0)?;
        writer.bytes(&self.attempt)?;
        writer.bytes(&self.cookie)
    }

    pub(super) fn decode_rest(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_flags(reader, 0)?;
        Ok(Self { attempt: *reader.array_ref()?, cookie: reader.array()? })
    }
}

impl StaleMessage {
    /// A message.
    #[must_use]
    pub const fn new(attempt: [u8; PSEUDONYM_LEN], tag: [u8; TAG_LEN]) -> Self {
        Self { attempt, tag }
    }

    /// Writes all before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_body(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        write_header(writer, MessageType::STALE, 0)?;
        writer.bytes(&self.attempt)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.encode_body(writer)?;
        writer.bytes(&self.tag)
    }

    pub(super) fn decode_rest(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_flags(reader, 0)?;
        Ok(Self { attempt: *reader.array_ref()?, tag: reader.array()? })
    }
}
