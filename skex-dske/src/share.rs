//! Threshold secret sharing (Shamir) over GF(2^8), byte by byte, and robust decoding.
//!
//! A block of `L` bytes is shared among `n` hubs: byte `j` of every share lies on one polynomial of
//! degree `k - 1` whose value at zero is byte `j` of the secret block. Any `k` shares give the block
//! back; fewer tell nothing about it.
//!
//! Two kinds of data meet here, and are kept apart. Coordinates, weights and syndromes are **public**:
//! arithmetic on them (`field`, `basis`) may take tables and branches. The bytes of shares and blocks
//! are **secret**: they pass only through `block`, whose time depends on lengths and public weights.

mod basis;
mod block;
mod combine;
mod decode;
mod field;
mod split;

use core::num::NonZeroU8;

pub use basis::interpolate_at;
pub use combine::combine;
pub use decode::{DecodeError, Decoded, combinations, decode, work_limit_covers};
pub use split::{Splitter, split};

/// The place of a hub on the sharing polynomials: its public x-coordinate, 1 to 255.
///
/// Zero is the place of the secret and is no coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinate(NonZeroU8);

impl Coordinate {
    /// The coordinate `x`, or `None` if `x` is zero.
    #[must_use]
    pub const fn new(x: u8) -> Option<Self> {
        match NonZeroU8::new(x) {
            Some(x) => Some(Self(x)),
            None => None,
        }
    }

    /// The coordinate as a field element, never zero.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl From<NonZeroU8> for Coordinate {
    fn from(x: NonZeroU8) -> Self {
        Self(x)
    }
}

impl TryFrom<u8> for Coordinate {
    type Error = ShareError;

    /// # Errors
    /// [`ShareError::ZeroCoordinate`] if `x` is zero.
    fn try_from(x: u8) -> Result<Self, ShareError> {
        Self::new(x).ok_or(ShareError::ZeroCoordinate)
    }
}

/// Why shares could not be made or taken. None of these depends on secret bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The threshold is 0 or 1: a single hub would know the key.
    #[error("the threshold is below two")]
    ThresholdTooSmall,
    /// The threshold exceeds the number of hubs: no key could ever be made.
    #[error("the threshold exceeds the number of shares")]
    ThresholdTooLarge,
    /// Zero was given as the coordinate of a share.
    #[error("zero is no coordinate of a share")]
    ZeroCoordinate,
    /// Two shares have the same coordinate.
    #[error("two shares have the same coordinate")]
    DuplicateCoordinate,
    /// Fewer shares than the threshold, or none at all.
    #[error("too few shares")]
    TooFewShares,
    /// The number of blocks is not the one that the call needs.
    #[error("the number of blocks does not fit")]
    WrongCount,
    /// Blocks differ in length.
    #[error("blocks differ in length")]
    UnequalLengths,
    /// Blocks of no bytes.
    #[error("blocks are empty")]
    EmptyBlock,
}

/// Checks a threshold `k` for `n` shares: 2 <= k <= n.
fn check_threshold(threshold: u8, shares: usize) -> Result<(), ShareError> {
    if threshold < 2 {
        return Err(ShareError::ThresholdTooSmall);
    }
    if usize::from(threshold) > shares {
        return Err(ShareError::ThresholdTooLarge);
    }
    Ok(())
}
