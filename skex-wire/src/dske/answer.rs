//! ANSWER.

use super::{AnswerStatus, Confirmation, InnerType, TAG_LEN, Tagged, expect_type};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// The one final answer to an upload or a delivery. Its tag's key is the answer key of the block that it answers, so
/// that only one answer to a block can ever exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<'a> {
    /// Number of the table of the block that is answered: a table of the opposite direction.
    pub table: u16,
    /// First element of that block.
    pub index: u32,
    /// The answer; unknown values survive.
    pub status: AnswerStatus,
    /// The responder's confirmation: only where a delivery was accepted.
    pub confirmation: Option<Confirmation<'a>>,
}

impl<'a> Answer<'a> {
    /// Octets before the confirmation.
    const HEAD_LEN: usize = 8;

    /// Octets of an answer without confirmation.
    pub const PLAIN_LEN: usize = Self::HEAD_LEN + TAG_LEN;

    /// A checked answer.
    ///
    /// # Errors
    /// [`DecodeErrorKind::BadLength`] for a confirmation beside any status but [`AnswerStatus::ACCEPTED`].
    pub fn new(
        table: u16,
        index: u32,
        status: AnswerStatus,
        confirmation: Option<Confirmation<'a>>,
    ) -> Result<Self, DecodeErrorKind> {
        if confirmation.is_some() && status != AnswerStatus::ACCEPTED {
            return Err(DecodeErrorKind::BadLength);
        }
        Ok(Self { table, index, status, confirmation })
    }

    /// Octets of the whole message, its tag included.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let confirmation = self.confirmation.as_ref().map_or(0, Confirmation::encoded_len);
        Self::PLAIN_LEN.saturating_add(confirmation)
    }

    /// Reads a whole message. Whether there is a confirmation follows from the length.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one ANSWER.
    pub fn decode(bytes: &'a [u8]) -> Result<Tagged<'a, Self>, DecodeError> {
        Tagged::decode_with(bytes, |reader: &mut Reader<'a>| {
            expect_type(reader, InnerType::ANSWER)?;
            let table = reader.u16()?;
            let index = reader.u32()?;
            let status = AnswerStatus::new(reader.u8()?);
            let start = reader.clone();
            let confirmation = match reader.remaining().saturating_sub(TAG_LEN) {
                0 => None,
                length => Some(Confirmation::decode(reader, length)?),
            };
            Self::new(table, index, status, confirmation).map_err(|kind| start.error(kind))
        })
    }

    /// Writes everything before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_untagged(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::ANSWER.value())?;
        writer.u16(self.table)?;
        writer.u32(self.index)?;
        writer.u8(self.status.value())?;
        match &self.confirmation {
            Some(confirmation) => confirmation.encode(writer),
            None => Ok(()),
        }
    }
}
