//! The first message: the initiator names itself, offers suites, and proves that it holds the chain key.

use super::parts::{read_extension, read_flags, read_pseudonym, write_extension, write_header};
use super::{COOKIE_LEN, MessageType, NONCE_LEN, OfferedSuites, PSEUDONYM_LEN, Pseudonym, TAG_LEN};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// First message, from the initiator.
///
/// ```text
///  octets  field
///       1  0x11
///       1  flags: 0x01 the sender's session of this epoch is void or has ended
///       8  pseudonym of the initiator
///      16  nonce of the initiator; its last four octets are the round
///       1  number of suites (1 to 8)
///    1..8  suites, one octet each
///       1  length of the extension block (at most 56)
///   0..56  extension block
///      16  tag over all before it
/// then, only as an answer to a cookie message, outside of the tag and of the transcript:
///       1  16
///      16  cookie
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FirstMessage<'a> {
    /// The flags octet.
    pub flags: u8,
    /// The initiator's pseudonym in this epoch.
    pub pseudonym: Pseudonym,
    /// The initiator's nonce.
    pub nonce: &'a [u8; NONCE_LEN],
    /// What the initiator offers for the next epoch.
    pub suites: OfferedSuites<'a>,
    /// The extension block; empty for none.
    pub extension: &'a [u8],
    /// The tag.
    pub tag: [u8; TAG_LEN],
    /// The cookie, if the responder asked for one.
    pub cookie: Option<[u8; COOKIE_LEN]>,
}

impl<'a> FirstMessage<'a> {
    /// Flag: the sender's session of this epoch is void or has ended.
    pub const VOID: u8 = 0x01;

    const FLAGS: u8 = Self::VOID;

    /// A message with its tag still zero.
    #[must_use]
    pub const fn new(
        flags: u8,
        pseudonym: Pseudonym,
        nonce: &'a [u8; NONCE_LEN],
        suites: OfferedSuites<'a>,
        extension: &'a [u8],
    ) -> Self {
        Self { flags, pseudonym, nonce, suites, extension, tag: [0; TAG_LEN], cookie: None }
    }

    /// How the second message and the cookie message refer to this attempt: the first octets of its nonce.
    #[must_use]
    pub fn attempt(&self) -> [u8; PSEUDONYM_LEN] {
        Self::attempt_of(self.nonce)
    }

    /// How messages refer to the attempt of the initiator's nonce `nonce`.
    #[must_use]
    pub fn attempt_of(nonce: &[u8; NONCE_LEN]) -> [u8; PSEUDONYM_LEN] {
        core::array::from_fn(|position| nonce.get(position).copied().unwrap_or_default())
    }

    /// Writes what the tag covers.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`], and [`EncodeError::ValueTooLong`] for too long an extension block.
    pub fn encode_body(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        write_header(writer, MessageType::FIRST, self.flags)?;
        writer.bytes(self.pseudonym.octets())?;
        writer.bytes(self.nonce)?;
        self.suites.write(writer)?;
        write_extension(writer, self.extension)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// As [`Self::encode_body`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.encode_body(writer)?;
        writer.bytes(&self.tag)?;
        match &self.cookie {
            Some(cookie) => writer.prefixed_u8(cookie),
            None => Ok(()),
        }
    }

    pub(super) fn decode_rest(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            flags: read_flags(reader, Self::FLAGS)?,
            pseudonym: read_pseudonym(reader)?,
            nonce: reader.array_ref()?,
            suites: OfferedSuites::read(reader)?,
            extension: read_extension(reader)?,
            tag: *reader.array_ref()?,
            cookie: read_cookie(reader)?,
        })
    }
}

fn read_cookie(reader: &mut Reader<'_>) -> Result<Option<[u8; COOKIE_LEN]>, DecodeError> {
    if reader.is_empty() {
        return Ok(None);
    }
    let start = reader.clone();
    match <[u8; COOKIE_LEN]>::try_from(reader.prefixed_u8()?) {
        Ok(cookie) => Ok(Some(cookie)),
        Err(_) => Err(start.error(DecodeErrorKind::BadLength)),
    }
}
