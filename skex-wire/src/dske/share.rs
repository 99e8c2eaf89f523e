//! UPLOAD and DELIVERY: a share on its way.

use super::{ELEMENT_LEN, InnerType, TAG_LEN, Tagged, Terms, share_elements};
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// Where in which table the block of a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockPosition {
    /// Number of the table, within the direction of the message.
    pub table: u16,
    /// First element of the block.
    pub index: u32,
    /// The sender's floor: it will never send a block again that begins below. In elements.
    pub floor: u32,
}

impl BlockPosition {
    /// The position with these fields.
    #[must_use]
    pub const fn new(table: u16, index: u32, floor: u32) -> Self {
        Self { table, index, floor }
    }
}

/// A share: an UPLOAD from the initiator to a hub, or a DELIVERY from a hub to the responder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShareMessage<'a> {
    /// [`InnerType::UPLOAD`] or [`InnerType::DELIVERY`].
    pub inner_type: InnerType,
    /// The block that protects it.
    pub position: BlockPosition,
    /// The key's id, chosen by the initiator.
    pub key_id: [u8; 16],
    /// The client tag of the other end: the responder's in an upload, the initiator's in a delivery.
    pub peer: [u8; 16],
    /// The terms of the key.
    pub terms: Terms<'a>,
    /// The secret tag `o`, the same at every hub.
    pub secret_tag: [u8; TAG_LEN],
    /// The share under its pad. Empty in the upload of a direct share, where the pad itself is the share.
    pub share: &'a [u8],
}

impl<'a> ShareMessage<'a> {
    /// Octets before the terms.
    const HEAD_LEN: usize = 43;

    /// A checked message.
    ///
    /// # Errors
    /// What a decoder would refuse it for: another type, or a share of another length than the terms demand.
    pub fn new(
        inner_type: InnerType,
        position: BlockPosition,
        key_id: [u8; 16],
        peer: [u8; 16],
        terms: Terms<'a>,
        secret_tag: [u8; TAG_LEN],
        share: &'a [u8],
    ) -> Result<Self, DecodeErrorKind> {
        let direct_allowed = match inner_type {
            InnerType::UPLOAD => true,
            InnerType::DELIVERY => false,
            _ => return Err(DecodeErrorKind::UnknownType),
        };
        let full = share_len(terms.key_len).ok_or(DecodeErrorKind::BadLength)?;
        if share.len() != full && !(direct_allowed && share.is_empty()) {
            return Err(DecodeErrorKind::BadLength);
        }
        Ok(Self { inner_type, position, key_id, peer, terms, secret_tag, share })
    }

    /// Whether the pad itself is the share.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.share.is_empty()
    }

    /// Octets of the whole message, its tag included.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        Self::HEAD_LEN
            .saturating_add(self.terms.encoded_len())
            .saturating_add(self.share.len())
            .saturating_add(2 * TAG_LEN)
    }

    /// Reads a whole message, of either type.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one UPLOAD or DELIVERY.
    pub fn decode(bytes: &'a [u8]) -> Result<Tagged<'a, Self>, DecodeError> {
        Tagged::decode_with(bytes, |reader: &mut Reader<'a>| {
            let start = reader.clone();
            let inner_type = InnerType::new(reader.u8()?);
            if inner_type != InnerType::UPLOAD && inner_type != InnerType::DELIVERY {
                return Err(start.error(DecodeErrorKind::UnknownType));
            }
            let position = BlockPosition { table: reader.u16()?, index: reader.u32()?, floor: reader.u32()? };
            let key_id = reader.array()?;
            let peer = reader.array()?;
            let terms = Terms::decode(reader)?;
            let secret_tag = reader.array()?;
            let before_share = reader.clone();
            // What is left is the share and the tag. A missing tag shows as a share of the wrong length.
            let share_len = reader.remaining().saturating_sub(TAG_LEN);
            let share = reader.take(share_len)?;
            Self::new(inner_type, position, key_id, peer, terms, secret_tag, share)
                .map_err(|kind| before_share.error(kind))
        })
    }

    /// Writes everything before the tag.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode_untagged(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(self.inner_type.value())?;
        writer.u16(self.position.table)?;
        writer.u32(self.position.index)?;
        writer.u32(self.position.floor)?;
        writer.bytes(&self.key_id)?;
        writer.bytes(&self.peer)?;
        self.terms.encode(writer)?;
        writer.bytes(&self.secret_tag)?;
        writer.bytes(self.share)
    }
}

/// Octets of a share of a key of `key_len` octets.
fn share_len(key_len: u32) -> Option<usize> {
    usize::try_from(share_elements(key_len)?).ok()?.checked_mul(ELEMENT_LEN)
}
