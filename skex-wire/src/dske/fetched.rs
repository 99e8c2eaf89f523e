//! FETCHED.

use super::{InnerType, expect_type};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// A hub says how many shares wait for the client. Under the envelope alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Shares that wait, at most 65,535 being said.
    pub waiting: u16,
}

impl Fetched {
    /// Octets of the message.
    pub const LEN: usize = 3;

    /// The message with these fields.
    #[must_use]
    pub const fn new(waiting: u16) -> Self {
        Self { waiting }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one FETCHED.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect_type(&mut reader, InnerType::FETCHED)?;
        let fetched = Self { waiting: reader.u16()? };
        reader.finish()?;
        Ok(fetched)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::FETCHED.value())?;
        writer.u16(self.waiting)
    }
}
