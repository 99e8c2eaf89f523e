//! Search through subsets of `k` shares, for more wrong shares than can be located.
//!
//! Subsets come in revolving-door order (W. H. Payne, 1959; D. E. Knuth, TAOCP 7.2.1.3, algorithm R):
//! neighbours differ in one share, so weights are updated rather than made anew, and all subsets of the first
//! shares come before any that takes a later one.

use alloc::vec::Vec;

use skex_core::SecretVec;

use super::super::basis::places;
use super::super::block::weighted_sum;
use super::super::field::{ORDER, log, power};
use super::Word;

use crate::list::ToList as _;

/// The number of ways to choose `k` out of `n`; [`u64::MAX`] where it is at least that.
#[must_use]
pub fn combinations(n: u8, k: u8) -> u64 {
    if k > n {
        return 0;
    }
    let k = k.min(n.saturating_sub(k));
    let mut ways = 1u64;
    for i in 0..k {
        let (factor, divisor) = (u64::from(n.saturating_sub(i)), u64::from(i).saturating_add(1));
        let (whole, rest) = (ways.checked_div(divisor), ways.checked_rem(divisor));
        let (whole, rest) = (whole.unwrap_or_default(), rest.unwrap_or_default());
        // Exact at every step: the product of what is left has the divisor too, and is small.
        let last = rest.saturating_mul(factor).checked_div(divisor).unwrap_or_default();
        ways = whole.saturating_mul(factor).saturating_add(last);
        if ways == u64::MAX {
            return ways;
        }
    }
    ways
}

/// Whether a search through all subsets of `k` out of `n` shares stays within `work_limit` candidates.
///
/// Where it does not, [`decode`](super::decode()) promises less: at most half of the surplus shares may be
/// wrong.
#[must_use]
pub fn work_limit_covers(n: u8, k: u8, work_limit: u64) -> bool {
    let subsets = combinations(n, k);
    subsets < u64::MAX && subsets <= work_limit
}

/// Candidates for the secret block from all subsets but the first one, which was tried already.
pub(super) struct SubsetSearch<'a> {
    word: &'a Word<'a>,
    door: RevolvingDoor,
    /// Entry (i, j): the logarithm of the factor `x_j / (x_j - x_i)` that share j adds to the weight of share
    /// i.
    factors: Vec<u16>,
    /// The subset, in the order in which its members came in, and the logarithms of their weights at zero.
    members: Vec<usize>,
    logarithms: Vec<u16>,
    /// Instead of products made anew for each subset.
    multiples: Option<Multiples>,
}

impl<'a> SubsetSearch<'a> {
    pub(super) fn new(word: &'a Word<'a>) -> Self {
        let factor = |i: u8, j: u8| {
            if i == j { 0 } else { log(j).wrapping_add(ORDER).wrapping_sub(log(i ^ j)) % ORDER }
        };
        let coordinates = || places(&word.coordinates);
        let mut search = Self {
            word,
            door: RevolvingDoor::new(word.blocks.len(), word.threshold),
            factors: coordinates().flat_map(|i| coordinates().map(move |j| factor(i, j))).list(),
            members: (0..word.threshold).list(),
            logarithms: Vec::new(),
            multiples: Multiples::new(word),
        };
        search.logarithms = search.members.iter().map(|&member| search.weight_of(member)).list();
        search
    }

    /// Writes the candidate of the next subset and returns its members, or `None` after the last one.
    pub(super) fn next_candidate(&mut self, candidate: &mut [u8]) -> Option<&[usize]> {
        let Swap { leaves, enters } = self.door.turn()?;
        let slot = self.members.iter().position(|&member| member == leaves)?;
        let places = self.word.blocks.len();
        for (member, logarithm) in self.members.iter().zip(&mut self.logarithms) {
            let row = self.factors.chunks_exact(places).nth(*member)?;
            let gained = logarithm.wrapping_add(*row.get(enters)?);
            *logarithm = gained.wrapping_add(ORDER).wrapping_sub(*row.get(leaves)?) % ORDER;
        }
        *self.members.get_mut(slot)? = enters;
        *self.logarithms.get_mut(slot)? = self.weight_of(enters);
        let weights = self.logarithms.iter().map(|logarithm| power(*logarithm));
        if let Some(multiples) = &self.multiples {
            candidate.fill(0);
            self.members.iter().zip(weights).for_each(|(member, weight)| {
                multiples.add(*member, weight, candidate);
            });
        } else {
            let weights: Vec<u8> = weights.list();
            let blocks: Vec<&[u8]> =
                self.members.iter().filter_map(|&member| self.word.blocks.get(member).copied()).list();
            weighted_sum(&weights, &blocks, candidate);
        }
        Some(&self.members)
    }

    /// The logarithm of the weight of `member` in the present subset.
    fn weight_of(&self, member: usize) -> u16 {
        let row = self.factors.chunks_exact(self.word.blocks.len()).nth(member).unwrap_or_default();
        // At most 255 logarithms below 255: no overflow.
        self.members.iter().filter_map(|&other| row.get(other)).fold(0u16, |sum, f| sum.wrapping_add(*f))
            % ORDER
    }
}

/// Every share times every element of up to four bits, low and high: a product is then two additions. Made
/// only where it is small, and a search long enough to repay it.
///
/// The weights, which choose the rows, are public; so time tells nothing of the shares here either.
struct Multiples {
    rows: SecretVec,
    length: usize,
}

impl Multiples {
    /// Rows a share: 16 for the low four bits of a weight, 16 for the high ones.
    const ROWS: usize = 32;
    /// Bytes of all rows at most: a cache's worth. A block that is longer is worked on long enough as it is.
    const MOST: usize = 1 << 20;

    fn new(word: &Word<'_>) -> Option<Self> {
        let length = word.length;
        let size = word.blocks.len().checked_mul(Self::ROWS)?.checked_mul(length)?;
        let shares = u8::try_from(word.blocks.len()).ok()?;
        let rows = u64::from(shares).saturating_mul(32);
        let subsets = combinations(shares, u8::try_from(word.threshold).ok()?);
        if size > Self::MOST || subsets < rows {
            return None;
        }
        let rows = SecretVec::from_fn(size, |rows| {
            let weights = || (0..16u8).chain((0..16).map(|high| high << 4));
            let products = word.blocks.iter().flat_map(|block| weights().map(move |weight| (weight, *block)));
            for ((weight, block), row) in products.zip(rows.chunks_exact_mut(length)) {
                weighted_sum(&[weight], &[block], row);
            }
        });
        Some(Self { rows, length })
    }

    /// `sum += weight * share`.
    fn add(&self, share: usize, weight: u8, sum: &mut [u8]) {
        let low = share.wrapping_mul(Self::ROWS).wrapping_add(usize::from(weight & 0x0f));
        let high = share.wrapping_mul(Self::ROWS).wrapping_add(usize::from(weight >> 4)).wrapping_add(16);
        if let (Some(low), Some(high)) = (self.row(low), self.row(high)) {
            for ((sum, low), high) in sum.iter_mut().zip(low).zip(high) {
                *sum ^= low ^ high;
            }
        }
    }

    fn row(&self, row: usize) -> Option<&[u8]> {
        let start = row.wrapping_mul(self.length);
        self.rows.expose().get(start..start.wrapping_add(self.length))
    }
}

/// One member goes, another comes.
#[derive(Debug, PartialEq, Eq)]
struct Swap {
    leaves: usize,
    enters: usize,
}

/// All subsets of `t` out of `0..n`, from `{0, .., t - 1}` on, one swap a step. `2 <= t <= n`.
struct RevolvingDoor {
    /// In ascending order, with `n` as a sentinel at the end.
    members: Vec<usize>,
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the algorithm keeps 1 <= j < t < members.len() and members ascending, for any n and t >= 2"
)]
impl RevolvingDoor {
    fn new(n: usize, t: usize) -> Self {
        Self { members: (0..t).chain([n]).list() }
    }

    /// Knuth's steps R3 to R5; his c_j is `members[j - 1]`, our `j` is his less one.
    fn turn(&mut self) -> Option<Swap> {
        let c = &mut self.members;
        let t = c.len() - 1;
        let odd = t % 2 == 1;
        if odd && c[0] + 1 < c[1] {
            c[0] += 1;
            return Some(Swap { leaves: c[0] - 1, enters: c[0] });
        }
        if !odd && c[0] > 0 {
            c[0] -= 1;
            return Some(Swap { leaves: c[0] + 1, enters: c[0] });
        }
        let mut decrease = odd;
        for j in 1..t {
            let leaves = if decrease { c[j] } else { c[j - 1] };
            if decrease && c[j] > j {
                c[j] = c[j - 1];
                c[j - 1] = j - 1;
                return Some(Swap { leaves, enters: j - 1 });
            }
            if !decrease && c[j] + 1 < c[j + 1] {
                c[j - 1] = c[j];
                c[j] += 1;
                return Some(Swap { leaves, enters: c[j] });
            }
            decrease = !decrease;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn the_door_visits_every_subset_once_and_early_shares_first() {
        for n in 2..=9 {
            for t in 2..=n {
                let mut door = RevolvingDoor::new(n, t);
                let mut subset: BTreeSet<usize> = (0..t).collect();
                let mut seen = BTreeSet::from([subset.clone()]);
                let mut highest = t - 1;
                while let Some(Swap { leaves, enters }) = door.turn() {
                    assert!(subset.remove(&leaves) && subset.insert(enters), "({n}, {t})");
                    assert!(seen.insert(subset.clone()), "({n}, {t}) repeats {subset:?}");
                    let last = *subset.last().unwrap();
                    assert!(last >= highest, "({n}, {t}) falls back to {subset:?}");
                    highest = last;
                }
                let all = combinations(u8::try_from(n).unwrap(), u8::try_from(t).unwrap());
                assert_eq!(u64::try_from(seen.len()).unwrap(), all, "({n}, {t})");
            }
        }
    }

    #[test]
    fn combinations_are_exact_or_saturate() {
        assert_eq!(combinations(3, 2), 3);
        assert_eq!(combinations(16, 8), 12_870);
        assert_eq!(combinations(20, 10), 184_756);
        assert_eq!(combinations(31, 16), 300_540_195);
        assert_eq!(combinations(2, 3), 0);
        assert_eq!(combinations(5, 0), 1);
        assert_eq!(combinations(67, 33), 14_226_520_737_620_288_370);
        assert_eq!(combinations(68, 34), u64::MAX);
        assert_eq!(combinations(255, 127), u64::MAX);
    }

    #[test]
    fn the_default_work_limit_covers_every_size_up_to_20() {
        for n in 2..=20 {
            assert!((2..=n).all(|k| work_limit_covers(n, k, 200_000)));
        }
        assert!(!work_limit_covers(21, 10, 200_000));
        assert!(!work_limit_covers(68, 34, u64::MAX));
    }
}
