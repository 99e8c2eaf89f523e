//! The fourth message: the responder has followed, and says whether the session is good.

use super::parts::{read_flags, read_pseudonym, write_header};
use super::{MessageType, Pseudonym, TAG_LEN};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// What a responder says of the session in its fourth message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionStatus {
    /// 0: good at this end.
    Good,
    /// 1: the epoch was entered, but the third message was not fresh, or policy refused: the session is void.
    Void,
}

impl SessionStatus {
    const fn octet(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Void => 1,
        }
    }
}

/// Fourth message, from the responder.
///
/// ```text
///  octets  field
///       1  0x14
///       1  flags: 0
///       8  pseudonym of the initiator, that of the third message
///       1  status: 0 good, 1 void
///      16  tag over all before it
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FourthMessage {
    /// The initiator's pseudonym in the epoch that the exchange ended.
    pub pseudonym: Pseudonym,
    /// Whether the session is good.
    pub status: SessionStatus,
    /// The tag.
    pub tag: [u8; TAG_LEN],
}

impl FourthMessage {
    /// A message.
    #[must_use]
    pub const fn new(pseudonym: Pseudonym, status: SessionStatus, tag: [u8; TAG_LEN]) -> Self {
        Self { pseudonym, status, tag }
    }

    /// Writes what the tag covers.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_body(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        write_header(writer, MessageType::FOURTH, 0)?;
        writer.bytes(self.pseudonym.octets())?;
        writer.u8(self.status.octet())
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
        Ok(Self {
            pseudonym: read_pseudonym(reader)?,
            status: read_status(reader)?,
            tag: *reader.array_ref()?,
        })
    }
}

fn read_status(reader: &mut Reader<'_>) -> Result<SessionStatus, DecodeError> {
    let start = reader.clone();
    match reader.u8()? {
        0 => Ok(SessionStatus::Good),
        1 => Ok(SessionStatus::Void),
        _ => Err(start.error(DecodeErrorKind::BadValue)),
    }
}
