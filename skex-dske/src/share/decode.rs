//! Robust decoding: the secret block from shares of which some are wrong, and who sent the wrong ones.
//!
//! Three steps, each taken only if the one before it failed:
//!
//! 1. The first `k` shares are taken together: one interpolation, the usual case.
//! 2. Up to half of the surplus shares wrong: every byte column is a word of a Reed-Solomon code, and its errors are
//!    located exactly, in polynomial time (`syndrome`).
//! 3. More of them wrong: subsets of `k` shares in turn, under a work limit (`subsets`).
//!
//! The caller's check of the secret tag judges each candidate; nothing else is ever returned.
//!
//! # Side channels
//! Interpolation takes constant time in the bytes of shares. Step 2 branches on syndromes, and the naming of
//! culprits on differences between a share and the polynomials of others. Both are linear and vanish on right
//! shares, so they depend only on what the liars added to theirs, which the liars know: no secret is in them.

mod subsets;
mod syndrome;

use alloc::vec;
use alloc::vec::Vec;

use skex_core::SecretVec;

use super::basis::Basis;
use super::block::weighted_sum;
use super::{Coordinate, ShareError, check_threshold};
use subsets::SubsetSearch;
use syndrome::Errors;

use crate::list::ToList as _;

pub use subsets::{combinations, work_limit_covers};

/// A secret block that the caller's check accepted, and the hubs whose shares were wrong.
#[derive(Debug)]
pub struct Decoded {
    secret: SecretVec,
    culprits: Vec<Coordinate>,
    blame_is_certain: bool,
}

impl Decoded {
    /// The secret block, as long as a share.
    #[must_use]
    pub const fn secret(&self) -> &SecretVec {
        &self.secret
    }

    /// The secret block, taken over.
    #[must_use]
    pub fn into_secret(self) -> SecretVec {
        self.secret
    }

    /// The coordinates of all shares given that differ from the right ones, in the order given.
    ///
    /// Exact if at most `(n' - k + 1) / 2` shares are wrong, however they were chosen; and exact beyond that,
    /// but for a negligible chance, if the liars do not work together. See
    /// [`blame_is_certain`](Self::blame_is_certain).
    #[must_use]
    pub fn culprits(&self) -> &[Coordinate] {
        &self.culprits
    }

    /// Whether the shares prove the blame, given that fewer than `k` of them are wrong: nobody is named, or of `n'`
    /// shares at most `n' + 2 - 2k`.
    ///
    /// Two polynomials with one secret agree in at most `k - 2` shares. So if others than those named had lied, `k` or
    /// more would have. Where this does not hold the secret is right all the same, but liars who work together can bend
    /// their shares so that these agree with the secret and the right ones do not: nobody can tell from shares alone, and
    /// nobody should be expelled on such evidence.
    #[must_use]
    pub const fn blame_is_certain(&self) -> bool {
        self.blame_is_certain
    }
}

/// Why no key came out of the shares at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The shares do not fit together, or are too few: nothing was tried.
    #[error(transparent)]
    Shares(#[from] ShareError),
    /// No candidate within the guarantee and the work limit was accepted. Further shares may help.
    #[error("too many wrong shares")]
    Undecodable,
}

/// Finds the secret block that `verify` accepts among those that `shares` allow, and names the wrong shares.
///
/// With `n'` shares, `b` of them wrong, `b <= k - 1`, the right block is found whenever `b <= (n' - k) / 2`,
/// and beyond that up to `b <= n' - k` if [`work_limit_covers`]`(n', k, work_limit)`. Shares that are more
/// likely to be right belong in front: subsets of the first ones are tried first. `verify` gets candidates as
/// long as a share, the right one among them; it must refuse a wrong one but for a negligible chance (the
/// secret tag). It is called at most `work_limit + 2` times, and only once if all shares lie on
/// polynomials of degree below `k`.
///
/// # Errors
/// [`DecodeError::Shares`] for a threshold below 2 ([`ShareError::ThresholdTooSmall`]), fewer shares than
/// that ([`ShareError::TooFewShares`]), equal coordinates, and shares that are empty or differ in length;
/// [`DecodeError::Undecodable`] if no candidate was accepted.
pub fn decode(
    threshold: u8,
    shares: &[(Coordinate, &[u8])],
    work_limit: u64,
    mut verify: impl FnMut(&[u8]) -> bool,
) -> Result<Decoded, DecodeError> {
    decode_by(threshold, shares, work_limit, &mut verify)
}

/// The same for every caller, so that it is there once.
fn decode_by(
    threshold: u8,
    shares: &[(Coordinate, &[u8])],
    work_limit: u64,
    verify: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<Decoded, DecodeError> {
    let word = Word::new(threshold, shares)?;
    if let Some(decoded) = word.try_first(&|_| true, verify)? {
        return Ok(decoded);
    }

    match syndrome::locate(&word, None)? {
        // One polynomial through all shares, and it is not the right one: every subset gives it again.
        Errors::None => return Err(DecodeError::Undecodable),
        Errors::At(wrong) => {
            if let Some(decoded) = word.try_first(&|i| !wrong.contains(&i), verify)? {
                return Ok(decoded);
            }
        }
        Errors::TooMany => {}
    }

    let mut candidate = SecretVec::zeroed(word.length);
    let mut search = SubsetSearch::new(&word);
    for _ in 0..work_limit {
        let Some(members) = search.next_candidate(candidate.expose_mut()) else { break };
        if verify(candidate.expose()) {
            return word.accept_by(&|i| members.contains(&i), candidate);
        }
    }
    Err(DecodeError::Undecodable)
}

/// The shares as received: a word of the code, with errors perhaps. Indices count from 0 in the order given.
struct Word<'a> {
    coordinates: Vec<Coordinate>,
    blocks: Vec<&'a [u8]>,
    threshold: usize,
    length: usize,
}

impl<'a> Word<'a> {
    fn new(threshold: u8, shares: &[(Coordinate, &'a [u8])]) -> Result<Self, ShareError> {
        check_threshold(threshold, usize::MAX)?;
        let threshold = usize::from(threshold);
        let length = shares.first().map_or(0, |(_, block)| block.len());
        if shares.len() < threshold {
            return Err(ShareError::TooFewShares);
        }
        if length == 0 {
            return Err(ShareError::EmptyBlock);
        }
        if shares.iter().any(|(_, block)| block.len() != length) {
            return Err(ShareError::UnequalLengths);
        }
        let mut seen = [false; 256];
        for (x, _) in shares {
            let Some(seen) = seen.get_mut(usize::from(x.get())) else { continue };
            if core::mem::replace(seen, true) {
                return Err(ShareError::DuplicateCoordinate);
            }
        }
        let (coordinates, blocks) = shares.iter().copied().unzip();
        Ok(Self { coordinates, blocks, threshold, length })
    }

    /// The number of shares beyond the threshold.
    fn surplus(&self) -> usize {
        self.blocks.len().saturating_sub(self.threshold)
    }

    /// Tries the first shares that pass a filter. Not inlined, nor is its like: prepared subsets are much of a small stack.
    #[inline(never)]
    fn try_first(
        &self,
        include: &dyn Fn(usize) -> bool,
        verify: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Option<Decoded>, DecodeError> {
        let subset = Subset::new(self, include)?;
        let mut candidate = SecretVec::zeroed(self.length);
        subset.basis.evaluate(&subset.blocks, 0, candidate.expose_mut());
        if verify(candidate.expose()) { self.accept(candidate, subset).map(Some) } else { Ok(None) }
    }

    /// Accepts a secret that these shares gave.
    #[inline(never)]
    fn accept_by(&self, include: &dyn Fn(usize) -> bool, secret: SecretVec) -> Result<Decoded, DecodeError> {
        self.accept(secret, Subset::new(self, include)?)
    }

    /// Names the culprits, given a secret that was accepted and a subset of shares that gives it.
    ///
    /// The secret is right, but the subset may hold wrong shares whose errors cancel at zero: liars can
    /// arrange that, and honest hubs would stand accused. The secret itself serves as one more share, known
    /// to be right. A set of wrong shares within half of the surplus is then the only one; any larger set is
    /// doubted, and located anew.
    fn accept(&self, secret: SecretVec, mut subset: Subset<'a>) -> Result<Decoded, DecodeError> {
        if self.surplus() == 0 {
            // Each was needed, and the secret is right.
            return Ok(Decoded { secret, culprits: Vec::new(), blame_is_certain: true });
        }
        let radius = self.surplus().saturating_add(1) / 2;
        // A share minus what the subset says it is: an error, or nothing. Either is the liars' own, and no
        // secret.
        let mut difference = vec![0; self.length];
        let mut weights = vec![1; self.threshold.saturating_add(1)];
        let mut wrong = Vec::new();
        for (i, (x, block)) in self.coordinates.iter().zip(&self.blocks).enumerate() {
            if subset.basis.points().contains(&x.get()) {
                continue;
            }
            let others = weights.get_mut(..self.threshold).unwrap_or_default();
            subset.basis.weights_at(x.get(), others);
            subset.blocks.push(block);
            weighted_sum(&weights, &subset.blocks, &mut difference);
            subset.blocks.pop();
            if difference.iter().fold(0, |any, byte| any | byte) != 0 {
                wrong.push(i);
            }
        }
        if wrong.len() > radius
            && let Errors::At(located) = syndrome::locate(self, Some(secret.expose()))?
        {
            wrong = located;
        }
        let culprits: Vec<_> = wrong.iter().filter_map(|&i| self.coordinates.get(i).copied()).list();
        let proven = culprits.len().saturating_add(self.threshold.saturating_mul(2))
            <= self.blocks.len().saturating_add(2);
        let blame_is_certain = culprits.is_empty() || proven;
        Ok(Decoded { secret, culprits, blame_is_certain })
    }
}

/// The first `k` shares of a word that pass a filter, prepared for interpolation.
struct Subset<'a> {
    basis: Basis,
    blocks: Vec<&'a [u8]>,
}

impl<'a> Subset<'a> {
    fn new(word: &Word<'a>, include: &dyn Fn(usize) -> bool) -> Result<Self, ShareError> {
        let members = || (0..word.blocks.len()).filter(|&i| include(i)).take(word.threshold);
        let basis = Basis::new(members().filter_map(|i| word.coordinates.get(i)).map(|x| x.get()))?;
        let blocks: Vec<&[u8]> = members().filter_map(|i| word.blocks.get(i).copied()).list();
        if blocks.len() < word.threshold {
            return Err(ShareError::TooFewShares);
        }
        Ok(Self { basis, blocks })
    }
}
