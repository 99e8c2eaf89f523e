//! What several messages have in common.

use core::fmt;

use super::{MAX_EXTENSION, MAX_SUITES, MessageType, PSEUDONYM_LEN, VERSION};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, SuiteId, Writer};

/// The name under which one end of a pair appears in one epoch (8 octets). It says nothing to anybody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym([u8; PSEUDONYM_LEN]);

impl Pseudonym {
    /// The pseudonym of these octets.
    #[must_use]
    pub const fn new(octets: [u8; PSEUDONYM_LEN]) -> Self {
        Self(octets)
    }

    /// Its octets.
    #[must_use]
    pub const fn octets(&self) -> &[u8; PSEUDONYM_LEN] {
        &self.0
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pseudonym({:016x})", u64::from_be_bytes(self.0))
    }
}

/// The suites offered for the next epoch, in the sender's order: 1 to [`MAX_SUITES`], none twice, none 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OfferedSuites<'a>(&'a [u8]);

impl<'a> OfferedSuites<'a> {
    /// The offer that these octets are, one for each suite.
    ///
    /// # Errors
    /// [`DecodeErrorKind::BadLength`] outside 1 to [`MAX_SUITES`], [`DecodeErrorKind::NonCanonical`] where one comes
    /// twice, [`DecodeErrorKind::BadValue`] for suite 0.
    pub fn new(octets: &'a [u8]) -> Result<Self, DecodeErrorKind> {
        if octets.is_empty() || octets.len() > MAX_SUITES {
            return Err(DecodeErrorKind::BadLength);
        }
        for (position, octet) in octets.iter().enumerate() {
            if *octet == 0 {
                return Err(DecodeErrorKind::BadValue);
            }
            if octets.iter().take(position).any(|earlier| earlier == octet) {
                return Err(DecodeErrorKind::NonCanonical);
            }
        }
        Ok(Self(octets))
    }

    /// One octet for each suite.
    #[must_use]
    pub const fn octets(&self) -> &'a [u8] {
        self.0
    }

    /// Whether `suite` is among them.
    #[must_use]
    pub fn contains(&self, suite: SuiteId) -> bool {
        self.iter().any(|offered| offered == suite)
    }

    /// The suites in order.
    pub fn iter(&self) -> impl Iterator<Item = SuiteId> + 'a {
        self.0.iter().map(|octet| SuiteId::new(*octet))
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let start = reader.clone();
        Self::new(reader.prefixed_u8()?).map_err(|kind| start.error(kind))
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.prefixed_u8(self.0)
    }
}

impl fmt::Debug for OfferedSuites<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// An [`OfferedSuites`] of its own: what a configuration and a record hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    octets: [u8; MAX_SUITES],
    // 1 to MAX_SUITES: the constructor sees to it.
    length: u8,
}

impl Offer {
    /// The offer of `suites`, best first.
    ///
    /// # Errors
    /// As [`OfferedSuites::new`].
    pub fn new(suites: &[SuiteId]) -> Result<Self, DecodeErrorKind> {
        if suites.len() > MAX_SUITES {
            return Err(DecodeErrorKind::BadLength);
        }
        let mut offer = Self { octets: [0; MAX_SUITES], length: 0 };
        for (octet, suite) in offer.octets.iter_mut().zip(suites) {
            *octet = suite.value();
            offer.length = offer.length.saturating_add(1);
        }
        OfferedSuites::new(offer.octets())?;
        Ok(offer)
    }

    /// It, borrowed, as a message carries it.
    #[must_use]
    pub fn offered(&self) -> OfferedSuites<'_> {
        OfferedSuites(self.octets())
    }

    fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl From<OfferedSuites<'_>> for Offer {
    fn from(offered: OfferedSuites<'_>) -> Self {
        let mut offer = Self { octets: [0; MAX_SUITES], length: 0 };
        for (octet, suite) in offer.octets.iter_mut().zip(offered.octets()) {
            *octet = *suite;
            offer.length = offer.length.saturating_add(1);
        }
        offer
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.offered().fmt(f)
    }
}

/// Writes octet 0 and the flags.
pub(super) fn write_header(
    writer: &mut Writer<'_>,
    message_type: MessageType,
    flags: u8,
) -> Result<(), EncodeError> {
    writer.u8((VERSION << 4) | message_type.value())?;
    writer.u8(flags)
}

/// Reads a flags octet of which only the bits in `known` may be set.
pub(super) fn read_flags(reader: &mut Reader<'_>, known: u8) -> Result<u8, DecodeError> {
    let start = reader.clone();
    let flags = reader.u8()?;
    if flags & !known != 0 {
        return Err(start.error(DecodeErrorKind::BadValue));
    }
    Ok(flags)
}

/// Reads an extension block. What it means is for the machine to say.
pub(super) fn read_extension<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let start = reader.clone();
    let length = usize::from(reader.u8()?);
    if length > MAX_EXTENSION {
        return Err(start.error(DecodeErrorKind::BadLength));
    }
    reader.take(length)
}

/// Writes an extension block.
pub(super) fn write_extension(writer: &mut Writer<'_>, block: &[u8]) -> Result<(), EncodeError> {
    if block.len() > MAX_EXTENSION {
        return Err(EncodeError::ValueTooLong);
    }
    writer.prefixed_u8(block)
}

/// Reads a pseudonym.
pub(super) fn read_pseudonym(reader: &mut Reader<'_>) -> Result<Pseudonym, DecodeError> {
    reader.array().map(Pseudonym)
}
