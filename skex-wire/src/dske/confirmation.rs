//! What a responder says when it has a key.

use super::{MAX_HUBS, TAG_LEN, bitmap_len};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// The responder's confirmation, fixed when it accepts the key.
///
/// The number of hubs is not in it. Whoever knows the key's terms checks both bitmaps with
/// [`bitmap_fits`](super::bitmap_fits) before using them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confirmation<'a> {
    /// A bitmap: the [origin](super::TableOrigin) of the responder's downlink table at each hub.
    pub origins: &'a [u8],
    /// A bitmap: the hubs whose shares were wrong.
    pub lying: &'a [u8],
    /// The one-time tag under the confirm key, which is inside the shared secret.
    pub tag: [u8; TAG_LEN],
}

impl<'a> Confirmation<'a> {
    /// A checked confirmation.
    ///
    /// # Errors
    /// [`DecodeErrorKind::BadLength`] unless both bitmaps have the same length, 1 to 4 octets.
    pub fn new(origins: &'a [u8], lying: &'a [u8], tag: [u8; TAG_LEN]) -> Result<Self, DecodeErrorKind> {
        let possible = 1..=bitmap_len(MAX_HUBS);
        if origins.len() == lying.len() && possible.contains(&origins.len()) {
            Ok(Self { origins, lying, tag })
        } else {
            Err(DecodeErrorKind::BadLength)
        }
    }

    /// Octets of the confirmation.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.origins.len().saturating_add(self.lying.len()).saturating_add(TAG_LEN)
    }

    /// Reads a confirmation of `length` octets, from which the length of the bitmaps follows.
    pub(super) fn decode(reader: &mut Reader<'a>, length: usize) -> Result<Self, DecodeError> {
        let start = reader.clone();
        let bitmaps = length.checked_sub(TAG_LEN).ok_or_else(|| start.error(DecodeErrorKind::Truncated))?;
        let bitmap = bitmaps / 2;
        let origins = reader.take(bitmap)?;
        let lying = reader.take(bitmaps.saturating_sub(bitmap))?;
        Self::new(origins, lying, reader.array()?).map_err(|kind| start.error(kind))
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bytes(self.origins)?;
        writer.bytes(self.lying)?;
        writer.bytes(&self.tag)
    }
}
