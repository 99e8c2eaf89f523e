//! FETCH.

use super::{InnerType, expect_type};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// A client asks for what waits, and keeps its path open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Fetch;

impl Fetch {
    /// Octets of the message.
    pub const LEN: usize = 1;

    /// The message.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one FETCH.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect_type(&mut reader, InnerType::FETCH)?;
        reader.finish()?;
        Ok(Self)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::FETCH.value())
    }
}
