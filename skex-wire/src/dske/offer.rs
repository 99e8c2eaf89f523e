//! What a client publishes of the keys that it accepts.

use super::{DskeSuiteId, MAX_HUBS};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// What a responder accepts: published at each of its hubs, and told to whoever looks its name up there. It binds nobody;
/// the responder's own policy decides when a share comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer<'a> {
    /// The smallest threshold: at least 2, at most the number of hubs.
    pub minimum_threshold: u8,
    /// Whether a key must be information-theoretic.
    pub information_theoretic: bool,
    /// The longest lifetime, in seconds, at least 1.
    pub maximum_lifetime: u16,
    /// Code points of the suites, strictly ascending, 1 to 8 of them.
    pub suites: &'a [u8],
    /// The coordinates of its hubs, strictly ascending, none zero: 2 to 31 of them.
    pub coordinates: &'a [u8],
}

/// Suites that an offer can name.
const MAX_SUITES: usize = 8;

impl<'a> Offer<'a> {
    /// The longest offer, in octets.
    pub const MAX_LEN: usize = 6 + MAX_SUITES + MAX_HUBS as usize;

    /// A checked offer.
    ///
    /// # Errors
    /// What a decoder would refuse it for.
    pub fn new(
        minimum_threshold: u8,
        information_theoretic: bool,
        maximum_lifetime: u16,
        suites: &'a [u8],
        coordinates: &'a [u8],
    ) -> Result<Self, DecodeErrorKind> {
        let ascends = |octets: &[u8]| octets.is_sorted_by(|a, b| a < b);
        if suites.is_empty() || suites.len() > MAX_SUITES {
            return Err(DecodeErrorKind::BadLength);
        }
        if coordinates.len() < 2 || coordinates.len() > usize::from(MAX_HUBS) {
            return Err(DecodeErrorKind::BadLength);
        }
        if minimum_threshold < 2
            || usize::from(minimum_threshold) > coordinates.len()
            || maximum_lifetime == 0
            || suites.first() == Some(&0)
            || coordinates.first() == Some(&0)
        {
            return Err(DecodeErrorKind::BadValue);
        }
        if !ascends(suites) || !ascends(coordinates) {
            return Err(DecodeErrorKind::NonCanonical);
        }
        Ok(Self { minimum_threshold, information_theoretic, maximum_lifetime, suites, coordinates })
    }

    /// Whether it names this suite.
    #[must_use]
    pub fn has_suite(&self, suite: DskeSuiteId) -> bool {
        self.suites.contains(&suite.value())
    }

    /// Octets of the offer: 6, and one for each suite and each hub.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.suites.len().saturating_add(self.coordinates.len()).saturating_add(6)
    }

    /// Reads an offer and nothing behind it.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one offer.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let offer = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(offer)
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let start = reader.clone();
        let minimum_threshold = reader.u8()?;
        let flag = reader.clone();
        let information_theoretic = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(flag.error(DecodeErrorKind::BadValue)),
        };
        let maximum_lifetime = reader.u16()?;
        let suites = reader.prefixed_u8()?;
        let coordinates = reader.prefixed_u8()?;
        Self::new(minimum_threshold, information_theoretic, maximum_lifetime, suites, coordinates)
            .map_err(|kind| start.error(kind))
    }

    /// Writes the offer.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(self.minimum_threshold)?;
        writer.u8(u8::from(self.information_theoretic))?;
        writer.u16(self.maximum_lifetime)?;
        writer.prefixed_u8(self.suites)?;
        writer.prefixed_u8(self.coordinates)
    }
}
