//! ANSWER and ANSWER_SEALED.

use super::{AnswerStatus, Confirmation, InnerType, TAG_LEN, Tagged};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// The one final answer to an upload or a delivery. Its tag's key is the answer key of the block that it answers, so
/// that only one answer to a block can ever exist; in an epoch the tag is the AEAD's, with the number of the message that
/// it answers as nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<'a> {
    /// Number of the table of the block that is answered: a table of the opposite direction.
    pub table: u16,
    /// First element of that block.
    pub index: u32,
    /// The number of the message that is answered, in the epoch that the block opened: ANSWER_SEALED. `None`: ANSWER.
    pub number: Option<u8>,
    /// The answer; unknown values survive.
    pub status: AnswerStatus,
    /// The responder's confirmation: only where a delivery was accepted.
    pub confirmation: Option<Confirmation<'a>>,
}

impl<'a> Answer<'a> {
    /// Octets before the confirmation, without the number in an epoch.
    const HEAD_LEN: usize = 8;

    /// Octets of an ANSWER without confirmation; one more for ANSWER_SEALED.
    pub const PLAIN_LEN: usize = Self::HEAD_LEN + TAG_LEN;

    /// A checked ANSWER, to a message with a block of its own.
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
        Ok(Self { table, index, number: None, status, confirmation })
    }

    /// The same answer as ANSWER_SEALED, to message `number` of an epoch; as ANSWER for `None`.
    #[must_use]
    pub const fn in_epoch(self, number: Option<u8>) -> Self {
        Self { number, ..self }
    }

    /// Octets of the whole message, its tag included.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let confirmation = self.confirmation.as_ref().map_or(0, Confirmation::encoded_len);
        Self::PLAIN_LEN.saturating_add(usize::from(self.number.is_some())).saturating_add(confirmation)
    }

    /// Reads a whole message. Whether there is a confirmation follows from the length.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one ANSWER or ANSWER_SEALED.
    pub fn decode(bytes: &'a [u8]) -> Result<Tagged<'a, Self>, DecodeError> {
        Tagged::decode_with(bytes, |reader: &mut Reader<'a>| {
            let start = reader.clone();
            let sealed = match InnerType::new(reader.u8()?) {
                InnerType::ANSWER => false,
                InnerType::ANSWER_SEALED => true,
                _ => return Err(start.error(DecodeErrorKind::UnknownType)),
            };
            let table = reader.u16()?;
            let index = reader.u32()?;
            let number = if sealed { Some(reader.u8()?) } else { None };
            let status = AnswerStatus::new(reader.u8()?);
            let start = reader.clone();
            let confirmation = match reader.remaining().saturating_sub(TAG_LEN) {
                0 => None,
                length => Some(Confirmation::decode(reader, length)?),
            };
            let answer = Self::new(table, index, status, confirmation).map_err(|kind| start.error(kind))?;
            Ok(answer.in_epoch(number))
        })
    }

    /// Writes everything before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_untagged(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let sealed = self.number.is_some();
        let inner_type = if sealed { InnerType::ANSWER_SEALED } else { InnerType::ANSWER };
        writer.u8(inner_type.value())?;
        writer.u16(self.table)?;
        writer.u32(self.index)?;
        if let Some(number) = self.number {
            writer.u8(number)?;
        }
        writer.u8(self.status.value())?;
        match &self.confirmation {
            Some(confirmation) => confirmation.encode(writer),
            None => Ok(()),
        }
    }
}
