//! REFILL.

use super::{Direction, ELEMENT_LEN, InnerType, expect_type};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// A hub sends a part of a new table. Under the envelope alone: what comes so is computational for good.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refill<'a> {
    /// Which way the table serves.
    pub direction: Direction,
    /// Its number, a new one.
    pub table: u16,
    /// Elements of the whole table.
    pub elements: u32,
    /// The first element that is here.
    pub first: u32,
    /// One to 64 elements. Secret.
    pub pad: &'a [u8],
}

impl<'a> Refill<'a> {
    /// Octets before the pad.
    pub const HEAD_LEN: usize = 12;

    /// Elements that one message carries at most.
    pub const MAX_ELEMENTS: usize = 64;

    /// The message with these fields.
    ///
    /// # Errors
    /// [`EncodeError::ValueTooLong`] unless `pad` is 1 to 64 whole elements inside the table.
    pub fn new(
        direction: Direction,
        table: u16,
        elements: u32,
        first: u32,
        pad: &'a [u8],
    ) -> Result<Self, EncodeError> {
        let refill = Self { direction, table, elements, first, pad };
        if refill.has_whole_elements() && refill.fits() { Ok(refill) } else { Err(EncodeError::ValueTooLong) }
    }

    const fn has_whole_elements(&self) -> bool {
        let count = self.pad.len() / ELEMENT_LEN;
        self.pad.len().is_multiple_of(ELEMENT_LEN) && count > 0 && count <= Self::MAX_ELEMENTS
    }

    fn fits(&self) -> bool {
        let count = u32::try_from(self.pad.len() / ELEMENT_LEN).ok();
        let end = count.and_then(|count| self.first.checked_add(count));
        end.is_some_and(|end| end <= self.elements)
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one REFILL.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect_type(&mut reader, InnerType::REFILL)?;
        let refill = Self {
            direction: direction(&mut reader)?,
            table: reader.u16()?,
            elements: reader.u32()?,
            first: reader.u32()?,
            pad: reader.rest(),
        };
        if !refill.has_whole_elements() {
            return Err(reader.error(DecodeErrorKind::BadLength));
        }
        if refill.fits() { Ok(refill) } else { Err(reader.error(DecodeErrorKind::BadValue)) }
    }

    /// Octets of the message.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.pad.len().saturating_add(Self::HEAD_LEN)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::REFILL.value())?;
        writer.u8(self.direction.value())?;
        writer.u16(self.table)?;
        writer.u32(self.elements)?;
        writer.u32(self.first)?;
        writer.bytes(self.pad)
    }
}

/// There are two directions, and no room for more.
pub(super) fn direction(reader: &mut Reader<'_>) -> Result<Direction, DecodeError> {
    let direction = Direction::new(reader.u8()?);
    let is_known = direction == Direction::UPLINK || direction == Direction::DOWNLINK;
    if is_known { Ok(direction) } else { Err(reader.error(DecodeErrorKind::BadValue)) }
}

impl core::fmt::Debug for Refill<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Refill")
            .field("table", &self.table)
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}
