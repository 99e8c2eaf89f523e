//! Making shares.

use alloc::vec;
use alloc::vec::Vec;

use rand_core::CryptoRng;

use super::basis::{Basis, equal_blocks, places};
use super::block::{bits, weighted_sum, weighted_sum_upon};
use super::{Coordinate, ShareError, check_threshold};

use crate::list::ToList as _;

/// Makes shares for one set of hubs, again and again.
///
/// The first `k - 1` hubs are **direct**: their shares are blocks that they know already, pad bytes in the
/// protocol, and need not travel. Together with the secret block these fix the polynomials, and the shares of
/// the other `n - k + 1` hubs follow. As long as the direct blocks are uniform and independent of the secret,
/// so is every set of at most `k - 1` shares. The weights depend on coordinates only and are computed once,
/// here.
#[derive(Clone, Debug)]
pub struct Splitter {
    threshold: u8,
    shares: usize,
    /// One row for each share that follows: `k` weights, of the secret first, then of the direct blocks, and whether the share
    /// before is added.
    rows: Vec<u8>,
}

impl Splitter {
    /// Prepares sharing among the hubs at `coordinates`, any `threshold` of which give the secret back.
    ///
    /// # Errors
    /// [`ShareError::ThresholdTooSmall`] below 2, [`ShareError::ThresholdTooLarge`] above the number of hubs,
    /// [`ShareError::DuplicateCoordinate`].
    pub fn new(threshold: u8, coordinates: &[Coordinate]) -> Result<Self, ShareError> {
        check_threshold(threshold, coordinates.len())?;
        // Also those that are only evaluated at must be distinct.
        if coordinates.iter().enumerate().any(|(i, x)| coordinates.iter().take(i).any(|other| other == x)) {
            return Err(ShareError::DuplicateCoordinate);
        }
        let threshold_len = usize::from(threshold);
        let (direct, following) = coordinates
            .split_at_checked(threshold_len.saturating_sub(1))
            .ok_or(ShareError::ThresholdTooLarge)?;
        let basis = Basis::new(core::iter::once(0).chain(places(direct)))?;
        let row_len = threshold_len.saturating_add(1);
        let mut rows = vec![0; row_len.saturating_mul(following.len())];
        for (x, row) in places(following).zip(rows.chunks_exact_mut(row_len)) {
            basis.weights_at(x, row.get_mut(..threshold_len).unwrap_or_default());
        }
        let mut next: Option<&mut [u8]> = None;
        for row in rows.chunks_exact_mut(row_len).rev() {
            if let Some(next) = next {
                build_upon(row, next);
            }
            next = Some(row);
        }
        Ok(Self { threshold, shares: coordinates.len(), rows })
    }

    /// The number of direct hubs, `k - 1`: the first ones of the list.
    #[must_use]
    pub fn direct(&self) -> usize {
        usize::from(self.threshold).saturating_sub(1)
    }

    /// The number of hubs after the direct ones, `n - k + 1`.
    #[must_use]
    pub fn following(&self) -> usize {
        self.shares.saturating_sub(self.direct())
    }

    /// Writes to `out` the shares of the hubs after the direct ones, in the order of the list.
    ///
    /// # Errors
    /// [`ShareError::WrongCount`] unless there are [`direct`](Self::direct) blocks and
    /// [`following`](Self::following) outputs, [`ShareError::EmptyBlock`] for a secret of no bytes,
    /// [`ShareError::UnequalLengths`] unless all are as long as `secret`.
    pub fn split(&self, secret: &[u8], direct: &[&[u8]], out: &mut [&mut [u8]]) -> Result<(), ShareError> {
        if secret.is_empty() {
            return Err(ShareError::EmptyBlock);
        }
        if direct.len() != self.direct() || out.len() != self.following() {
            return Err(ShareError::WrongCount);
        }
        if out.iter().any(|share| share.len() != secret.len()) {
            return Err(ShareError::UnequalLengths);
        }
        let blocks = core::iter::once(secret).chain(direct.iter().copied());
        let blocks = equal_blocks(blocks, secret.len())?;
        let mut before: Option<&[u8]> = None;
        let rows = self.rows.chunks_exact(blocks.len().saturating_add(1));
        for (row, share) in rows.filter_map(<[u8]>::split_last).zip(out) {
            match (row, before) {
                ((1, weights), Some(before)) => weighted_sum_upon(before, weights, &blocks, share),
                ((_, weights), _) => weighted_sum(weights, &blocks, share),
            }
            before = Some(share);
        }
        Ok(())
    }
}

/// Where it is quicker, makes of a row what its weights are more than those of the row before. Hubs whose numbers follow each other often
/// have nearly the same.
fn build_upon(before: &[u8], row: &mut [u8]) {
    let Some((upon, weights)) = row.split_last_mut() else { return };
    let more = weights.iter().zip(before).map(|(own, before)| own ^ before);
    if bits(more) < bits(weights.iter().copied()) {
        weights.iter_mut().zip(before).for_each(|(weight, before)| *weight ^= before);
        *upon = 1;
    }
}

/// Shares `secret` among `coordinates` with randomness from `rng`: one share into each of `out`, in that
/// order.
///
/// The first `k - 1` shares are drawn, each whole and in order, and the others follow. For a given secret
/// this is the same as drawing all coefficients of the polynomials uniformly from the whole field, the
/// leading one and zero included: values at `k - 1` places and coefficients determine each other.
///
/// # Errors
/// As [`Splitter::new`]; [`ShareError::WrongCount`] unless there are as many outputs as coordinates,
/// [`ShareError::EmptyBlock`] for a secret of no bytes, [`ShareError::UnequalLengths`] unless all outputs are
/// as long as `secret`. Nothing is drawn then.
pub fn split<R: CryptoRng + ?Sized>(
    rng: &mut R,
    threshold: u8,
    coordinates: &[Coordinate],
    secret: &[u8],
    out: &mut [&mut [u8]],
) -> Result<(), ShareError> {
    let splitter = Splitter::new(threshold, coordinates)?;
    if out.len() != coordinates.len() {
        return Err(ShareError::WrongCount);
    }
    if out.iter().any(|share| share.len() != secret.len()) {
        return Err(ShareError::UnequalLengths);
    }
    if secret.is_empty() {
        return Err(ShareError::EmptyBlock);
    }
    let (drawn, following) = out.split_at_mut_checked(splitter.direct()).ok_or(ShareError::WrongCount)?;
    for share in &mut *drawn {
        rng.fill_bytes(share);
    }
    let drawn: Vec<&[u8]> = drawn.iter().map(|share| &**share).list();
    splitter.split(secret, &drawn, following)
}
