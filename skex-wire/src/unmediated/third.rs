//! The third message: the initiator confirms, after it has moved to the next epoch for good.
//!
//! The long form holds the whole exchange, so that a responder that kept nothing can follow. It answers everything
//! that comes from the old epoch until the responder has followed.

use super::parts::{read_extension, read_flags, read_pseudonym, write_extension, write_header};
use super::second::read_suite;
use super::{
    FirstMessage, GUARD_LEN, MessageType, NONCE_LEN, OfferedSuites, Pseudonym, SecondMessage, TAG_LEN,
};
use crate::{DecodeError, EncodeError, Reader, SuiteId, Writer};

/// Third message in its short form, from the initiator.
///
/// ```text
///  octets  field
///       1  0x13
///       1  flags: 0
///       8  pseudonym of the initiator, that of the first message
///       1  length of the extension block (at most 56)
///   0..56  extension block
///      16  tag over the transcript and all before it
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThirdMessage<'a> {
    /// The initiator's pseudonym, as in the first message.
    pub pseudonym: Pseudonym,
    /// The extension block; empty for none.
    pub extension: &'a [u8],
    /// The tag.
    pub tag: [u8; TAG_LEN],
}

impl<'a> ThirdMessage<'a> {
    /// A message.
    #[must_use]
    pub const fn new(pseudonym: Pseudonym, extension: &'a [u8], tag: [u8; TAG_LEN]) -> Self {
        Self { pseudonym, extension, tag }
    }

    /// Writes all before the tag. It is the same for both forms: the tag does not say in which it travels.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`], and [`EncodeError::ValueTooLong`] for too long an extension block.
    pub fn encode_body(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.encode_body_as(MessageType::THIRD, writer)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// As [`Self::encode_body`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.encode_body(writer)?;
        writer.bytes(&self.tag)
    }

    fn encode_body_as(&self, form: MessageType, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        write_header(writer, form, 0)?;
        writer.bytes(self.pseudonym.octets())?;
        write_extension(writer, self.extension)
    }

    pub(super) fn decode_rest(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        read_flags(reader, 0)?;
        Ok(Self {
            pseudonym: read_pseudonym(reader)?,
            extension: read_extension(reader)?,
            tag: *reader.array_ref()?,
        })
    }
}

/// Third message in its long form, from the initiator: the short one, what is missing of the first and the second,
/// and a guard tag that costs a forger's victim one MAC.
///
/// ```text
///  octets  field
///       1  0x15
///          the short form from its octet 1 on, then of the first message
///       1  flags
///      16  nonce of the initiator
///       1  number of suites
///    1..8  suites
///       1  length of the extension block
///   0..56  extension block
///          then of the second message
///       1  flags
///      16  nonce of the responder
///       1  suite of the next epoch
///       1  length of the extension block
///   0..56  extension block
///       8  guard tag over all before it
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LongThirdMessage<'a> {
    /// The short form.
    pub short: ThirdMessage<'a>,
    /// The flags of the first message.
    pub first_flags: u8,
    /// The initiator's nonce.
    pub initiator_nonce: &'a [u8; NONCE_LEN],
    /// What the first message offered.
    pub suites: OfferedSuites<'a>,
    /// The extension block of the first message.
    pub first_extension: &'a [u8],
    /// The flags of the second message.
    pub second_flags: u8,
    /// The responder's nonce.
    pub responder_nonce: &'a [u8; NONCE_LEN],
    /// What the second message chose.
    pub suite: SuiteId,
    /// The extension block of the second message.
    pub second_extension: &'a [u8],
    /// The guard tag.
    pub guard: [u8; GUARD_LEN],
}

impl<'a> LongThirdMessage<'a> {
    /// The long form of `short`, after `first` and `second`, with its guard tag still zero.
    #[must_use]
    pub const fn new(short: ThirdMessage<'a>, first: &FirstMessage<'a>, second: &SecondMessage<'a>) -> Self {
        Self {
            short,
            first_flags: first.flags,
            initiator_nonce: first.nonce,
            suites: first.suites,
            first_extension: first.extension,
            second_flags: second.flags,
            responder_nonce: second.nonce,
            suite: second.suite,
            second_extension: second.extension,
            guard: [0; GUARD_LEN],
        }
    }

    /// The first message of the exchange, with its tag zero.
    #[must_use]
    pub const fn first(&self) -> FirstMessage<'a> {
        FirstMessage::new(
            self.first_flags,
            self.short.pseudonym,
            self.initiator_nonce,
            self.suites,
            self.first_extension,
        )
    }

    /// The second message of the exchange, with its tag zero.
    #[must_use]
    pub fn second(&self) -> SecondMessage<'a> {
        SecondMessage::new(
            self.second_flags,
            FirstMessage::attempt_of(self.initiator_nonce),
            self.responder_nonce,
            self.suite,
            self.second_extension,
        )
    }

    /// Writes what the guard tag covers.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`], and [`EncodeError::ValueTooLong`] for too long an extension block.
    pub fn encode_body(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.short.encode_body_as(MessageType::THIRD_LONG, writer)?;
        writer.bytes(&self.short.tag)?;
        writer.u8(self.first_flags)?;
        writer.bytes(self.initiator_nonce)?;
        self.suites.write(writer)?;
        write_extension(writer, self.first_extension)?;
        writer.u8(self.second_flags)?;
        writer.bytes(self.responder_nonce)?;
        writer.u8(self.suite.value())?;
        write_extension(writer, self.second_extension)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// As [`Self::encode_body`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.encode_body(writer)?;
        writer.bytes(&self.guard)
    }

    pub(super) fn decode_rest(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            short: ThirdMessage::decode_rest(reader)?,
            first_flags: read_flags(reader, FirstMessage::VOID)?,
            initiator_nonce: reader.array_ref()?,
            suites: OfferedSuites::read(reader)?,
            first_extension: read_extension(reader)?,
            second_flags: read_flags(reader, SecondMessage::FLAGS)?,
            responder_nonce: reader.array_ref()?,
            suite: read_suite(reader)?,
            second_extension: read_extension(reader)?,
            guard: *reader.array_ref()?,
        })
    }
}
