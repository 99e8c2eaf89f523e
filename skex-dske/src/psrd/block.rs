//! One message's worth of a table; or, without a pad, the keys of an epoch.

use core::fmt;

use skex_core::{SecretBytes, SecretVec};

use super::pad::{ELEMENT_LEN, Pad, PadError};
use super::tables::Place;
use crate::onetime::MessageTagKey;

/// Elements at the head of a block that are keys: two for the answer's tag, two for the message's.
pub(crate) const KEY_ELEMENTS: u32 = 4;

/// The keys of a block, read and not yet used. What is behind them is read once the message is known to be authentic: that can be a mebibyte, and the
/// message short.
pub(crate) struct BlockKeys {
    place: Place,
    /// All elements of the block.
    elements: u32,
    pub(crate) answer_key: SecretBytes<32>,
    pub(crate) tag_key: SecretBytes<32>,
}

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

impl BlockKeys {
    /// Reads the keys of the block of `pad_elements` pad elements at `place`, from `table`.
    pub(super) fn read<P: Pad>(table: &P, place: Place, pad_elements: u32) -> Result<Self, PadError> {
        let elements = pad_elements.checked_add(KEY_ELEMENTS).ok_or(PadError::OutOfRange)?;
        let mut answer_key = SecretBytes::<32>::zeroed();
        table.read(place.index, answer_key.expose_mut())?;
        let mut tag_key = SecretBytes::<32>::zeroed();
        table.read(place.index.checked_add(2).ok_or(PadError::OutOfRange)?, tag_key.expose_mut())?;
        // An erased key would let anybody sign.
        if has_erased_element(answer_key.expose()) || has_erased_element(tag_key.expose()) {
            return Err(PadError::Erased);
        }
        Ok(Self { place, elements, answer_key, tag_key })
    }

    /// From where to where the block goes.
    pub(super) const fn range(&self) -> (u32, u32) {
        (self.place.index, self.place.index.saturating_add(self.elements))
    }

    /// Reads what is behind the keys.
    pub(super) fn with_pad<P: Pad>(self, table: &P) -> Result<Block, PadError> {
        let Self { place, elements, answer_key, tag_key } = self;
        let len = usize::try_from(elements.saturating_sub(KEY_ELEMENTS)).map_err(|_| PadError::OutOfRange)?;
        let mut pad = SecretVec::zeroed(len.checked_mul(ELEMENT_LEN).ok_or(PadError::OutOfRange)?);
        table.read(place.index.checked_add(KEY_ELEMENTS).ok_or(PadError::OutOfRange)?, pad.expose_mut())?;
        // An erased pad would let the share through in clear.
        if has_erased_element(pad.expose()) {
            return Err(PadError::Erased);
        }
        Ok(Block { place, elements, answer_key, tag_key, pad: PadBytes(pad) })
    }
}

impl Block {
    /// Reads the block of `pad_elements` pad elements at `place`, from `table`.
    pub(super) fn read<P: Pad>(table: &P, place: Place, pad_elements: u32) -> Result<Self, PadError> {
        BlockKeys::read(table, place, pad_elements)?.with_pad(table)
    }
}

/// The key at the head of a lease, that of its grant's tag. [`PadError::Erased`] where it is gone.
pub(super) fn head<P: Pad>(table: &P, start: u32) -> Result<MessageTagKey, PadError> {
    let mut key = SecretBytes::<32>::zeroed();
    table.read(start, key.expose_mut())?;
    MessageTagKey::from_pad(key.expose()).map_err(|_| PadError::Erased)
}

/// Whether an element of these octets is all zero, which no unused element is but for a chance of 2^-128.
pub(super) fn has_erased_element(octets: &[u8]) -> bool {
    let (elements, rest) = octets.as_chunks::<ELEMENT_LEN>();
    elements.iter().any(|element| u128::from_ne_bytes(*element) == 0)
        || !rest.is_empty() && rest.iter().all(|octet| *octet == 0)
}

impl fmt::Debug for BlockKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockKeys").field("place", &self.place).finish_non_exhaustive()
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Pad bytes that nobody has used.
pub(crate) struct PadBytes(SecretVec);

impl PadBytes {
    /// A share under this pad, as it travels; or the share that travelled so.
    pub(crate) fn mask(mut self, share: &[u8]) -> SecretVec {
        self.0.expose_mut().iter_mut().zip(share).for_each(|(pad, octet)| *pad ^= octet);
        self.0
    }

    /// The pad as the share itself: what a direct upload means.
    pub(crate) fn into_share(self) -> SecretVec {
        self.0
    }
}
