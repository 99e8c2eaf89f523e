//! Polynomials over GF(2^128) with 1+x+x^2+x^7+x^128, elements encoded as in GCM (NIST SP 800-38D).
//!
//! For coefficients `y_1 .. y_s` and a point `c` this computes `sum c^j y_j`, by Horner's rule from `y_s`
//! down. GHASH would start at `y_1`, so bytes are taken from the end of the message to its front.
//!
//! The product is POLYVAL's, which the library does with carry-less multiplication where the processor has
//! it. The two are tied by RFC 8452, appendix A: `GHASH(H, X..) = reverse(POLYVAL(mulX(reverse(H)),
//! reverse(X)..))`, where `reverse` turns the bytes of a block around: reading as big-endian and writing as
//! little-endian. That representation stays inside this file.

use polyval::hazmat::FieldElement;
use polyval::universal_hash::UniversalHash;
use polyval::{Block, Polyval};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of an element.
const ELEMENT: usize = 16;
/// Bytes gathered before they are hashed: four elements, which the library multiplies side by side.
const GATHERED: usize = 4 * ELEMENT;

/// A secret element. Wiped on drop, opaque, and without arithmetic of its own.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Gf128(u128);

impl Gf128 {
    pub(super) const fn from_bytes(bytes: [u8; ELEMENT]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    pub(super) const fn to_bytes(&self) -> [u8; ELEMENT] {
        self.0.to_be_bytes()
    }

    pub(super) const fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

/// `constant + sum point^j y_j`, for the coefficients that `feed` gives from the last byte to the first.
///
/// The hash state is moved but once, at the end: moves cost as much as the products of a short message.
#[inline]
pub(super) fn evaluate(
    point: &Gf128,
    constant: &Gf128,
    feed: impl FnOnce(&mut BackwardPolynomial<'_>),
) -> [u8; ELEMENT] {
    let mut point = FieldElement::from(point.0).mulx();
    let mut key = Block::from(point);
    let mut hash = Polyval::new(&key);
    point.zeroize();
    key.as_mut_slice().zeroize();

    let mut polynomial = BackwardPolynomial { hash: &mut hash, gathered: [0; GATHERED], free: GATHERED };
    feed(&mut polynomial);
    debug_assert_eq!(polynomial.free % ELEMENT, 0, "the bytes must make whole elements");
    polynomial.flush();
    polynomial.gathered.as_mut_slice().zeroize();

    let mut value: [u8; ELEMENT] = hash.finalize().into();
    let sum = u128::from_le_bytes(value) ^ constant.0;
    value.as_mut_slice().zeroize();
    sum.to_be_bytes()
}

/// Coefficients on their way into the hash.
pub(super) struct BackwardPolynomial<'a> {
    hash: &'a mut Polyval,
    /// Bytes not hashed yet fill the end, from `free` on.
    gathered: [u8; GATHERED],
    free: usize,
}

impl BackwardPolynomial<'_> {
    /// Takes `bytes` as standing before all that was taken up to now.
    pub(super) fn prepend(&mut self, mut bytes: &[u8]) {
        while let Some(space) = self.gathered.get_mut(..self.free) {
            let at = bytes.len().saturating_sub(space.len());
            let (before, last) = bytes.split_at_checked(at).unwrap_or((&[], bytes));
            let left = space.len().saturating_sub(last.len());
            if let Some(space) = space.get_mut(left..) {
                space.copy_from_slice(last);
            }
            self.free = left;
            if left > 0 {
                break;
            }
            self.flush();
            bytes = before;
        }
    }

    /// Takes the zeros that end a string of `len` bytes at the end of an element, before the string itself.
    #[inline]
    pub(super) fn prepend_padding(&mut self, len: usize) {
        debug_assert_eq!(self.free % ELEMENT, 0);
        let padding = (len % ELEMENT).wrapping_neg() % ELEMENT;
        self.prepend([0; ELEMENT].get(..padding).unwrap_or_default());
    }

    /// Hashes the whole elements gathered, the last one first.
    fn flush(&mut self) {
        let mut blocks = [Block::default(); GATHERED / ELEMENT];
        let mut full = self.gathered.get(self.free..).unwrap_or_default();
        let mut count = 0usize;
        while let Some((rest, element)) = full.split_last_chunk::<ELEMENT>()
            && let Some(block) = blocks.get_mut(count)
        {
            *block = u128::from_be_bytes(*element).to_le_bytes().into();
            full = rest;
            count = count.wrapping_add(1);
        }
        self.hash.update(blocks.get(..count).unwrap_or_default());
        self.free = GATHERED;
    }
}
