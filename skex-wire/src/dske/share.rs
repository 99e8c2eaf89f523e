//! UPLOAD and DELIVERY, UPLOAD_SEALED and DELIVERY_SEALED: a share on its way.

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
    /// The message's number in the epoch that the block opened. `None`: the block is this one message's.
    pub number: Option<u8>,
    /// The sender's floor: it will never send a block again that begins below. In elements.
    pub floor: u32,
}

impl BlockPosition {
    /// Of a message with a block of its own.
    #[must_use]
    pub const fn new(table: u16, index: u32, floor: u32) -> Self {
        Self { table, index, number: None, floor }
    }

    /// Of message `number` in the epoch of the block at `index`.
    #[must_use]
    pub const fn in_epoch(table: u16, index: u32, number: u8, floor: u32) -> Self {
        Self { table, index, number: Some(number), floor }
    }
}

/// A share: an UPLOAD from the initiator to a hub, or a DELIVERY from a hub to the responder; sealed with an AEAD, or in a
/// block of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShareMessage<'a> {
    /// [`InnerType::UPLOAD`], [`DELIVERY`](InnerType::DELIVERY), [`UPLOAD_SEALED`](InnerType::UPLOAD_SEALED) or
    /// [`DELIVERY_SEALED`](InnerType::DELIVERY_SEALED).
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
    /// The share under its pad or its AEAD. Empty in the UPLOAD of a direct share, where the pad itself is the share.
    pub share: &'a [u8],
}

impl<'a> ShareMessage<'a> {
    /// Octets before the terms, without the number in an epoch.
    const HEAD_LEN: usize = 43;

    /// A checked message.
    ///
    /// # Errors
    /// What a decoder would refuse it for: another type, a number in an epoch where the type is not sealed or none where it
    /// is, or a share of another length than the terms demand.
    pub fn new(
        inner_type: InnerType,
        position: BlockPosition,
        key_id: [u8; 16],
        peer: [u8; 16],
        terms: Terms<'a>,
        secret_tag: [u8; TAG_LEN],
        share: &'a [u8],
    ) -> Result<Self, DecodeErrorKind> {
        let (sealed, direct_allowed) = match inner_type {
            InnerType::UPLOAD => (false, true),
            InnerType::DELIVERY => (false, false),
            InnerType::UPLOAD_SEALED | InnerType::DELIVERY_SEALED => (true, false),
            _ => return Err(DecodeErrorKind::UnknownType),
        };
        if position.number.is_some() != sealed {
            return Err(DecodeErrorKind::BadValue);
        }
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
        self.head_len().saturating_add(self.share.len()).saturating_add(TAG_LEN)
    }

    /// Octets before the share. With the [prefix](super::tag_prefix) they are the additional data of a sealed message.
    #[must_use]
    pub const fn head_len(&self) -> usize {
        let number = if self.position.number.is_some() { 1 } else { 0 };
        Self::HEAD_LEN.saturating_add(number).saturating_add(self.terms.encoded_len()).saturating_add(TAG_LEN)
    }

    /// Reads a whole message, of either type.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one UPLOAD, DELIVERY, UPLOAD_SEALED or DELIVERY_SEALED.
    pub fn decode(bytes: &'a [u8]) -> Result<Tagged<'a, Self>, DecodeError> {
        Tagged::decode_with(bytes, |reader: &mut Reader<'a>| {
            let start = reader.clone();
            let inner_type = InnerType::new(reader.u8()?);
            let sealed = match inner_type {
                InnerType::UPLOAD | InnerType::DELIVERY => false,
                InnerType::UPLOAD_SEALED | InnerType::DELIVERY_SEALED => true,
                _ => return Err(start.error(DecodeErrorKind::UnknownType)),
            };
            let (table, index) = (reader.u16()?, reader.u32()?);
            let number = if sealed { Some(reader.u8()?) } else { None };
            let position = BlockPosition { table, index, number, floor: reader.u32()? };
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
        if let Some(number) = self.position.number {
            writer.u8(number)?;
        }
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
