//! What a key is made of, as far as every hub sees it.

use super::{DskeSuiteId, MAX_HUBS, bitmap_fits, bitmap_len, share_elements};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// The terms of a key, chosen by the initiator: equal in every upload and delivery of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms<'a> {
    /// How shares and tags are protected; unknown values survive.
    pub suite: DskeSuiteId,
    /// How many right shares give the key: 2 to the number of hubs.
    pub threshold: u8,
    /// Octets of the key: 16 to 1 MiB.
    pub key_len: u32,
    /// Seconds from an acceptance until it is void, at least 1.
    pub lifetime: u16,
    /// The coordinates of the hubs, strictly ascending, none zero: at least as many as the threshold, at most 31.
    pub coordinates: &'a [u8],
    /// A bitmap: the [origin](super::TableOrigin) of the initiator's uplink table at each hub.
    pub origins: &'a [u8],
}

impl<'a> Terms<'a> {
    /// Checked terms.
    ///
    /// # Errors
    /// What a decoder would refuse them for.
    pub fn new(
        suite: DskeSuiteId,
        threshold: u8,
        key_len: u32,
        lifetime: u16,
        coordinates: &'a [u8],
        origins: &'a [u8],
    ) -> Result<Self, DecodeErrorKind> {
        let terms = Self { suite, threshold, key_len, lifetime, coordinates, origins };
        let hubs = terms.hubs();
        if usize::from(hubs) != coordinates.len() || hubs > MAX_HUBS || threshold < 2 || threshold > hubs {
            return Err(DecodeErrorKind::BadValue);
        }
        if share_elements(key_len).is_none() {
            return Err(DecodeErrorKind::BadLength);
        }
        if lifetime == 0 {
            return Err(DecodeErrorKind::BadValue);
        }
        if coordinates.first() == Some(&0) || !coordinates.is_sorted_by(|a, b| a < b) {
            return Err(DecodeErrorKind::NonCanonical);
        }
        if !bitmap_fits(origins, hubs) {
            return Err(DecodeErrorKind::NonCanonical);
        }
        Ok(terms)
    }

    /// The number of hubs, n.
    #[must_use]
    pub const fn hubs(&self) -> u8 {
        // Checked terms have at most 31 coordinates.
        if self.coordinates.len() <= u8::MAX as usize {
            self.coordinates.len().to_le_bytes()[0]
        } else {
            u8::MAX
        }
    }

    /// Octets of the terms: 9 + n + the bitmap.
    pub(super) const fn encoded_len(&self) -> usize {
        self.coordinates.len().saturating_add(self.origins.len()).saturating_add(9)
    }

    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let start = reader.clone();
        let suite = DskeSuiteId::new(reader.u8()?);
        let threshold = reader.u8()?;
        let hubs = reader.u8()?;
        let key_len = reader.u32()?;
        let lifetime = reader.u16()?;
        let coordinates = reader.take(usize::from(hubs))?;
        let origins = reader.take(bitmap_len(hubs))?;
        Self::new(suite, threshold, key_len, lifetime, coordinates, origins).map_err(|kind| start.error(kind))
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(self.suite.value())?;
        writer.u8(self.threshold)?;
        writer.u8(self.hubs())?;
        writer.u32(self.key_len)?;
        writer.u16(self.lifetime)?;
        writer.bytes(self.coordinates)?;
        writer.bytes(self.origins)
    }
}
