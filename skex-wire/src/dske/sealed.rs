//! SEALED and SEALED_FRESH: the envelope.

use super::outer::{outer_octet, outer_type};
use super::{MAX_DSKE_MESSAGE_LEN, OuterType, TAG_LEN};
use crate::limits::AEAD_NONCE_LEN;
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// The octets of an envelope before its ciphertext: together, the AEAD's additional data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedHeader {
    /// The client's id at this hub.
    pub client_id: u32,
    /// The client's salt: present in SEALED_FRESH, absent in SEALED.
    pub salt: Option<[u8; 16]>,
    /// The sequence number under this session's key for this direction.
    pub seq: u32,
}

impl SealedHeader {
    /// Octets of the header of a SEALED.
    pub const LEN: usize = 9;
    /// Octets of the header of a SEALED_FRESH.
    pub const FRESH_LEN: usize = 25;

    /// The header of a SEALED, or with a salt of a SEALED_FRESH.
    #[must_use]
    pub const fn new(client_id: u32, salt: Option<[u8; 16]>, seq: u32) -> Self {
        Self { client_id, salt, seq }
    }

    /// Octets of this header.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub const fn len(&self) -> usize {
        if self.salt.is_some() { Self::FRESH_LEN } else { Self::LEN }
    }

    /// Octets of the whole envelope of an inner message of `inner_len` octets.
    #[must_use]
    pub const fn sealed_len(&self, inner_len: usize) -> usize {
        self.len().saturating_add(inner_len).saturating_add(TAG_LEN)
    }

    /// The AEAD's nonce: eight zero octets, then the sequence number.
    #[must_use]
    pub const fn nonce(&self) -> [u8; AEAD_NONCE_LEN] {
        let [a, b, c, d] = self.seq.to_be_bytes();
        [0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
    }

    /// Writes the header; ciphertext and AEAD tag follow.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        match &self.salt {
            None => {
                writer.u8(outer_octet(OuterType::SEALED))?;
                writer.u32(self.client_id)?;
            }
            Some(salt) => {
                writer.u8(outer_octet(OuterType::SEALED_FRESH))?;
                writer.u32(self.client_id)?;
                writer.bytes(salt)?;
            }
        }
        writer.u32(self.seq)
    }
}

/// An envelope, not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealed<'a> {
    /// The fields in clear.
    pub header: SealedHeader,
    /// The AEAD's additional data: every octet before the ciphertext.
    pub aad: &'a [u8],
    /// The encrypted inner message, at least one octet.
    pub ciphertext: &'a [u8],
    /// The AEAD's tag.
    pub tag: [u8; TAG_LEN],
}

impl<'a> Sealed<'a> {
    /// Reads a whole envelope, of either type.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one SEALED or SEALED_FRESH of at most
    /// [`MAX_DSKE_MESSAGE_LEN`] octets.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if bytes.len() > MAX_DSKE_MESSAGE_LEN {
            return Err(reader.error(DecodeErrorKind::BadLength));
        }
        let start = reader.clone();
        let fresh = match outer_type(&mut reader)? {
            OuterType::SEALED => false,
            OuterType::SEALED_FRESH => true,
            _ => return Err(start.error(DecodeErrorKind::UnknownType)),
        };
        let client_id = reader.u32()?;
        let salt = if fresh { Some(reader.array()?) } else { None };
        let header = SealedHeader { client_id, salt, seq: reader.u32()? };
        let aad = start.clone().take(header.len())?;
        let inner_len = match reader.remaining().checked_sub(TAG_LEN) {
            Some(length) if length > 0 => length,
            _ => return Err(reader.error(DecodeErrorKind::Truncated)),
        };
        let ciphertext = reader.take(inner_len)?;
        let tag = reader.array()?;
        reader.finish()?;
        Ok(Self { header, aad, ciphertext, tag })
    }
}
