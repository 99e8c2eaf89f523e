//! OUTCOME.

use super::{InnerType, Offer, OutcomeStatus, TAG_LEN, Tagged, expect_type};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// The one final answer to a command. Its tag's key is the answer key of the command's block, so that only one can ever
/// exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome<'a> {
    /// Number of the table of the block that is answered: of the uplink.
    pub table: u16,
    /// First element of that block.
    pub index: u32,
    /// What came of it; unknown values survive.
    pub status: OutcomeStatus,
    /// Whom a LOOKUP found: only where it is DONE.
    pub found: Option<Found<'a>>,
}

/// Whom a name stands for, at one hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found<'a> {
    /// The client's tag.
    pub client: [u8; 16],
    /// What it published there, if anything.
    pub offer: Option<Offer<'a>>,
}

impl<'a> Found<'a> {
    /// The client of this tag, with what it published.
    #[must_use]
    pub const fn new(client: [u8; 16], offer: Option<Offer<'a>>) -> Self {
        Self { client, offer }
    }

    const fn encoded_len(&self) -> usize {
        match &self.offer {
            None => 16,
            Some(offer) => offer.encoded_len().saturating_add(16),
        }
    }
}

impl<'a> Outcome<'a> {
    /// Octets of an outcome that finds nobody.
    pub const PLAIN_LEN: usize = 8 + TAG_LEN;

    /// A checked outcome.
    ///
    /// # Errors
    /// [`DecodeErrorKind::BadLength`] for somebody found beside any status but [`OutcomeStatus::DONE`].
    pub fn new(
        table: u16,
        index: u32,
        status: OutcomeStatus,
        found: Option<Found<'a>>,
    ) -> Result<Self, DecodeErrorKind> {
        if found.is_some() && status != OutcomeStatus::DONE {
            return Err(DecodeErrorKind::BadLength);
        }
        Ok(Self { table, index, status, found })
    }

    /// Octets of the whole message, its tag included.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.found.as_ref().map_or(0, Found::encoded_len).saturating_add(Self::PLAIN_LEN)
    }

    /// Reads a whole message. Whether somebody was found, and published something, follows from the length.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one OUTCOME.
    pub fn decode(bytes: &'a [u8]) -> Result<Tagged<'a, Self>, DecodeError> {
        Tagged::decode_with(bytes, |reader: &mut Reader<'a>| {
            expect_type(reader, InnerType::OUTCOME)?;
            let (table, index) = (reader.u16()?, reader.u32()?);
            let status = OutcomeStatus::new(reader.u8()?);
            let start = reader.clone();
            let found = if reader.remaining() == TAG_LEN {
                None
            } else {
                let client = reader.array()?;
                let offer = if reader.remaining() == TAG_LEN { None } else { Some(Offer::read(reader)?) };
                Some(Found::new(client, offer))
            };
            Self::new(table, index, status, found).map_err(|kind| start.error(kind))
        })
    }

    /// Writes everything before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_untagged(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::OUTCOME.value())?;
        writer.u16(self.table)?;
        writer.u32(self.index)?;
        writer.u8(self.status.value())?;
        let Some(Found { client, offer }) = &self.found else { return Ok(()) };
        writer.bytes(client)?;
        offer.as_ref().map_or(Ok(()), |offer| offer.encode(writer))
    }
}
