//! The second message: the responder chooses, and proves that it holds the chain key now.

use super::parts::{read_extension, read_flags, write_extension, write_header};
use super::{MessageType, NONCE_LEN, PSEUDONYM_LEN, TAG_LEN};
use crate::{DecodeError, EncodeError, Reader, SuiteId, Writer};

/// Second message, from the responder.
///
/// ```text
///  octets  field
///       1  0x12
///       1  flags: 0x01 the sender's session of this epoch is void or has ended
///                 0x02 the sender keeps nothing: answer with the long third message
///       8  attempt: the first 8 octets of the initiator's nonce
///      16  nonce of the responder
///       1  suite of the next epoch
///       1  length of the extension block (at most 56)
///   0..56  extension block
///      16  tag over the hashes of the first message and of all before it
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecondMessage<'a> {
    /// The flags octet.
    pub flags: u8,
    /// Which attempt of the initiator it answers.
    pub attempt: [u8; PSEUDONYM_LEN],
    /// The responder's nonce.
    pub nonce: &'a [u8; NONCE_LEN],
    /// What the responder chose for the next epoch.
    pub suite: SuiteId,
    /// The extension block; empty for none.
    pub extension: &'a [u8],
    /// The tag.
    pub tag: [u8; TAG_LEN],
}

impl<'a> SecondMessage<'a> {
    /// Flag: the sender's session of this epoch is void or has ended.
    pub const VOID: u8 = 0x01;

    /// Flag: the sender keeps nothing; the third message must be the long one.
    pub const STATELESS: u8 = 0x02;

    pub(super) const FLAGS: u8 = Self::VOID | Self::STATELESS;

    /// A message with its tag still zero.
    #[must_use]
    pub const fn new(
        flags: u8,
        attempt: [u8; PSEUDONYM_LEN],
        nonce: &'a [u8; NONCE_LEN],
        suite: SuiteId,
        extension: &'a [u8],
    ) -> Self {
        Self { flags, attempt, nonce, suite, extension, tag: [0; TAG_LEN] }
    }

    /// Writes all before the tag: what the hash of the second message covers.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`], and [`EncodeError::ValueTooLong`] for too long an extension block.
    pub fn encode_body(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        write_header(writer, MessageType::SECOND, self.flags)?;
        writer.bytes(&self.attempt)?;
        writer.bytes(self.nonce)?;
        writer.u8(self.suite.value())?;
        write_extension(writer, self.extension)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// As [`Self::encode_body`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.encode_body(writer)?;
        writer.bytes(&self.tag)
    }

    pub(super) fn decode_rest(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            flags: read_flags(reader, Self::FLAGS)?,
            attempt: *reader.array_ref()?,
            nonce: reader.array_ref()?,
            suite: read_suite(reader)?,
            extension: read_extension(reader)?,
            tag: *reader.array_ref()?,
        })
    }
}

/// Reads a suite; 0 is none.
pub(super) fn read_suite(reader: &mut Reader<'_>) -> Result<SuiteId, DecodeError> {
    let start = reader.clone();
    match reader.u8()? {
        0 => Err(start.error(crate::DecodeErrorKind::BadValue)),
        value => Ok(SuiteId::new(value)),
    }
}
