//! GF(2^8) with 1+x+x^3+x^4+x^8 for **public** elements: coordinates, weights, syndromes.
//!
//! Works by logarithms to the base 3, so time and memory accesses depend on the operands. Never pass it a
//! byte of a share: secret bytes are for `block`.

/// The order of the multiplicative group.
pub(super) const ORDER: u16 = 255;

/// The product of two public elements.
pub(super) fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 { 0 } else { power(log(a).wrapping_add(log(b))) }
}

/// The quotient of two public elements; `b` must not be zero.
pub(super) fn divide(a: u8, b: u8) -> u8 {
    debug_assert_ne!(b, 0);
    if a == 0 { 0 } else { power(log(a).wrapping_add(ORDER).wrapping_sub(log(b))) }
}

/// The logarithm of a non-zero public element, below [`ORDER`].
#[inline]
#[expect(clippy::indexing_slicing, reason = "the table has an entry for every byte")]
pub(super) fn log(a: u8) -> u16 {
    debug_assert_ne!(a, 0);
    u16::from(LOG[usize::from(a)])
}

/// The element with the logarithm `exponent`, which is taken modulo [`ORDER`].
#[inline]
#[expect(clippy::indexing_slicing, reason = "a remainder of 255 indexes a table of 255")]
pub(super) fn power(exponent: u16) -> u8 {
    EXP[usize::from(exponent % ORDER)]
}

static EXP: [u8; 255] = TABLES.0;
static LOG: [u8; 256] = TABLES.1;

const TABLES: ([u8; 255], [u8; 256]) = tables();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "evaluated when the crate is compiled"
)]
const fn tables() -> ([u8; 255], [u8; 256]) {
    let mut exp = [0; 255];
    let mut log = [0; 256];
    let mut element = 1u8;
    let mut exponent = 0;
    while exponent < 255 {
        exp[exponent] = element;
        log[element as usize] = exponent as u8;
        let doubled = (element << 1) ^ (if element & 0x80 == 0 { 0 } else { 0x1b });
        element ^= doubled;
        exponent += 1;
    }
    (exp, log)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
pub(super) mod tests {
    use super::*;

    /// The product from first principles: shift, add, reduce by 0x11b.
    pub(in crate::share) fn schoolbook(a: u8, b: u8) -> u8 {
        let mut product = 0u16;
        for bit in 0..8 {
            if b >> bit & 1 == 1 {
                product ^= u16::from(a) << bit;
            }
        }
        for bit in (8..16).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11b << (bit - 8);
            }
        }
        u8::try_from(product).unwrap()
    }

    #[test]
    fn every_product_and_quotient_equals_the_schoolbook() {
        for a in 0..=255 {
            for b in 0..=255 {
                let product = schoolbook(a, b);
                assert_eq!(multiply(a, b), product, "{a} * {b}");
                if b != 0 {
                    assert_eq!(divide(product, b), a, "{product} / {b}");
                }
            }
        }
    }

    #[test]
    fn known_answers_of_fips_197() {
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        assert_eq!(divide(1, 0x53), 0xca);
    }
}
