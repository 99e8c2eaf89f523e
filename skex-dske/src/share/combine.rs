//! Taking `k` shares together, all of them trusted.

use super::basis::{Basis, equal_blocks};
use super::{Coordinate, ShareError, check_threshold};

/// Writes to `out` the secret block that the first `threshold` of `shares` determine.
///
/// Nothing tells whether the shares are right, and further shares are not looked at:
/// [`decode`](super::decode()) is what a responder uses.
///
/// # Errors
/// [`ShareError::ThresholdTooSmall`] below 2, [`ShareError::TooFewShares`] below the threshold,
/// [`ShareError::DuplicateCoordinate`] among the shares used, [`ShareError::EmptyBlock`] if `out` is empty,
/// [`ShareError::UnequalLengths`] unless these are as long as `out`.
pub fn combine(threshold: u8, shares: &[(Coordinate, &[u8])], out: &mut [u8]) -> Result<(), ShareError> {
    check_threshold(threshold, usize::MAX)?;
    let shares = shares.get(..usize::from(threshold)).ok_or(ShareError::TooFewShares)?;
    if out.is_empty() {
        return Err(ShareError::EmptyBlock);
    }
    let basis = Basis::new(shares.iter().map(|(x, _)| x.get()))?;
    let blocks = equal_blocks(shares.iter().map(|(_, block)| *block), out.len())?;
    basis.evaluate(&blocks, 0, out);
    Ok(())
}
