//! REFILLED.

use super::refill::direction;
use super::{Direction, InnerType, expect_type};
use crate::{DecodeError, EncodeError, Reader, Writer};

/// A client says how much of a refilled table has come. Under the envelope alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refilled {
    /// Which way the table serves.
    pub direction: Direction,
    /// Its number.
    pub table: u16,
    /// The next element that is wanted. Behind the last one: the table is durable, and may be used.
    pub next: u32,
}

impl Refilled {
    /// Octets of the message.
    pub const LEN: usize = 8;

    /// The message with these fields.
    #[must_use]
    pub const fn new(direction: Direction, table: u16, next: u32) -> Self {
        Self { direction, table, next }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one REFILLED.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect_type(&mut reader, InnerType::REFILLED)?;
        let refilled = Self { direction: direction(&mut reader)?, table: reader.u16()?, next: reader.u32()? };
        reader.finish()?;
        Ok(refilled)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::REFILLED.value())?;
        writer.u8(self.direction.value())?;
        writer.u16(self.table)?;
        writer.u32(self.next)
    }
}
