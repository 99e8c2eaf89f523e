//! One message's worth of a table; or, without a pad, the keys of an epoch.

use alloc::vec::Vec;
use core::fmt;

use skex_core::{SecretBytes, SecretVec};

use super::pad::{ELEMENT_LEN, Pad, PadError};
use super::tables::Place;

/// Elements at the head of a block that are keys: two for the answer's tag, two for the message's.
pub(crate) const KEY_ELEMENTS: u32 = 4;

/// The bytes of a block, read and not yet used. Whoever holds it uses each part once, by value.
pub(crate) struct Block {
    /// Where it begins.
    pub(crate) place: Place,
    /// All its elements, keys included.
    pub(crate) elements: u32,
    /// For the one answer that it ever gets; of an epoch, for its answers.
    pub(crate) answer_key: SecretBytes<32>,
    /// For the one message that it ever carries; of an epoch, for its shares.
    pub(crate) tag_key: SecretBytes<32>,
    /// For the share; of an epoch, none.
    pub(crate) pad: PadBytes,
}

impl Block {
    /// Reads the block of `pad_elements` pad elements at `place`, from `table`.
    pub(super) fn read<P: Pad>(table: &P, place: Place, pad_elements: u32) -> Result<Self, PadError> {
        let index = place.index;
        let elements = pad_elements.checked_add(KEY_ELEMENTS).ok_or(PadError::OutOfRange)?;
        let len = usize::try_from(pad_elements).map_err(|_| PadError::OutOfRange)?;
        let len = len.checked_mul(ELEMENT_LEN).ok_or(PadError::OutOfRange)?;
        let at = |offset: u32| index.checked_add(offset).ok_or(PadError::OutOfRange);
        let mut answer_key = SecretBytes::<32>::zeroed();
        table.read(index, answer_key.expose_mut())?;
        let mut tag_key = SecretBytes::<32>::zeroed();
        table.read(at(2)?, tag_key.expose_mut())?;
        let mut pad = SecretVec::zeroed(len);
        table.read(at(KEY_ELEMENTS)?, pad.expose_mut())?;
        // An erased pad would let the share through in clear, an erased key would let anybody sign.
        if [&answer_key.expose()[..], tag_key.expose(), pad.expose()].into_iter().any(has_erased_element) {
            return Err(PadError::Erased);
        }
        Ok(Self { place, elements, answer_key, tag_key, pad: PadBytes(pad) })
    }
}

/// Whether an element of these octets is all zero, which no unused element is but for a chance of 2^-128.
pub(super) fn has_erased_element(octets: &[u8]) -> bool {
    let (elements, rest) = octets.as_chunks::<ELEMENT_LEN>();
    elements.iter().any(|element| u128::from_ne_bytes(*element) == 0)
        || !rest.is_empty() && rest.iter().all(|octet| *octet == 0)
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Pad bytes that nobody has used.
pub(crate) struct PadBytes(SecretVec);

impl PadBytes {
    /// `share` under this pad, as it travels.
    pub(crate) fn mask(self, share: &SecretVec) -> Vec<u8> {
        self.0.expose().iter().zip(share.expose()).map(|(pad, octet)| pad ^ octet).collect()
    }

    /// The share that `masked` carries.
    pub(crate) fn unmask(mut self, masked: &[u8]) -> SecretVec {
        self.0.expose_mut().iter_mut().zip(masked).for_each(|(pad, octet)| *pad ^= octet);
        self.0
    }

    /// The pad as the share itself: what a direct upload means.
    pub(crate) fn into_share(self) -> SecretVec {
        self.0
    }
}
