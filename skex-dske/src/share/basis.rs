//! Lagrange interpolation from any set of points to any other point.

use alloc::vec::Vec;

use super::block::weighted_sum;
use super::field::{ORDER, log, power};
use super::{Coordinate, ShareError};

use crate::list::ToList as _;

/// A set of distinct public points, zero (the secret's) among them or not, prepared for interpolation.
pub(super) struct Basis {
    points: [u8; 255],
    /// Logarithms of the product of (x_i - x_j) over all other points j.
    denominators: [u8; 255],
    len: usize,
}

impl Basis {
    /// # Errors
    /// [`ShareError::DuplicateCoordinate`], or [`ShareError::TooFewShares`] if there is no point.
    pub(super) fn new(given: impl IntoIterator<Item = u8>) -> Result<Self, ShareError> {
        let mut points = [0; 255];
        let mut len = 0usize;
        for point in given {
            // 256 points, zero and all coordinates, would fix even a polynomial of the highest degree twice
            // over.
            *points.get_mut(len).ok_or(ShareError::WrongCount)? = point;
            len = len.wrapping_add(1);
        }
        let used = points.get(..len).unwrap_or_default();
        if used.is_empty() {
            return Err(ShareError::TooFewShares);
        }
        let mut denominators = [0; 255];
        for ((i, x), denominator) in used.iter().enumerate().zip(&mut denominators) {
            let mut sum = 0u16;
            for (j, other) in used.iter().enumerate() {
                if i != j {
                    if x == other {
                        return Err(ShareError::DuplicateCoordinate);
                    }
                    // At most 254 logarithms below 255: no overflow.
                    sum = sum.wrapping_add(log(x ^ other));
                }
            }
            *denominator = reduced(sum);
        }
        Ok(Self { points, denominators, len })
    }

    pub(super) fn points(&self) -> &[u8] {
        self.points.get(..self.len).unwrap_or_default()
    }

    /// Writes the weights with which the blocks at the points give the block at `x`. One weight a point.
    pub(super) fn weights_at(&self, x: u8, weights: &mut [u8]) {
        debug_assert_eq!(weights.len(), self.len);
        if self.points().contains(&x) {
            for (point, weight) in self.points().iter().zip(weights) {
                *weight = u8::from(*point == x);
            }
            return;
        }
        let numerator = self.points().iter().fold(0u16, |sum, point| sum.wrapping_add(log(x ^ point)));
        let numerator = u16::from(reduced(numerator));
        for ((point, denominator), weight) in self.points().iter().zip(&self.denominators).zip(weights) {
            let positive = numerator.wrapping_add(ORDER).wrapping_add(ORDER);
            *weight = power(positive.wrapping_sub(log(x ^ point)).wrapping_sub(u16::from(*denominator)));
        }
    }

    /// Writes `1 / product of (x_i - x_j)` for each point i: the column multipliers of the dual code.
    pub(super) fn column_multipliers(&self, multipliers: &mut [u8]) {
        for (denominator, multiplier) in self.denominators.iter().zip(multipliers) {
            *multiplier = power(ORDER.wrapping_sub(u16::from(*denominator)));
        }
    }

    /// The block at `x`, from as many blocks as there are points, all as long as `out`.
    pub(super) fn evaluate(&self, blocks: &[&[u8]], x: u8, out: &mut [u8]) {
        let mut weights = [0; 255];
        let weights = weights.get_mut(..self.len).unwrap_or_default();
        self.weights_at(x, weights);
        weighted_sum(weights, blocks, out);
    }
}

fn reduced(logarithm: u16) -> u8 {
    (logarithm % ORDER) as u8
}

/// Writes to `out` the block at `x` of the one polynomial of lowest degree through `points`.
///
/// Points are pairs of a place and a block; place 0 is that of the secret block, as is `x = 0`. This one
/// function shares, combines and re-evaluates; [`split`](super::split()), [`Splitter`](super::Splitter) and
/// [`combine`](super::combine()) are its named uses. Time depends on the places and the length alone.
///
/// # Errors
/// [`ShareError::TooFewShares`] without points, [`ShareError::DuplicateCoordinate`],
/// [`ShareError::UnequalLengths`] unless all blocks are as long as `out`, [`ShareError::WrongCount`] for more
/// than 255 points.
pub fn interpolate_at(points: &[(u8, &[u8])], x: u8, out: &mut [u8]) -> Result<(), ShareError> {
    let basis = Basis::new(points.iter().map(|(place, _)| *place))?;
    let blocks = equal_blocks(points.iter().map(|(_, block)| *block), out.len())?;
    basis.evaluate(&blocks, x, out);
    Ok(())
}

/// Collects references to blocks that must all have `length` bytes.
pub(super) fn equal_blocks<'a>(
    blocks: impl IntoIterator<Item = &'a [u8]>,
    length: usize,
) -> Result<Vec<&'a [u8]>, ShareError> {
    let blocks = blocks.into_iter().list();
    if blocks.iter().any(|block| block.len() != length) {
        return Err(ShareError::UnequalLengths);
    }
    Ok(blocks)
}

/// The places of `coordinates` as field elements.
pub(super) fn places(coordinates: &[Coordinate]) -> impl Iterator<Item = u8> {
    coordinates.iter().map(|coordinate| coordinate.get())
}
