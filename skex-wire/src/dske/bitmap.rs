//! One bit for each hub of a key, in the order of their coordinates.

/// Octets of a bitmap for `n` hubs: one bit each, rounded up.
#[must_use]
pub const fn bitmap_len(n: u8) -> usize {
    n.div_ceil(8) as usize
}

/// The bit of the `i`-th hub, counted from 0 in ascending order of coordinates: bit `i mod 8` of octet `i / 8`, where bit
/// 0 is the least significant one. `false` beyond the end.
#[must_use]
pub fn bitmap_bit(bitmap: &[u8], i: u8) -> bool {
    bitmap.get(usize::from(i >> 3)).is_some_and(|octet| octet >> (i & 7) & 1 == 1)
}

/// Whether `bitmap` is one for `n` hubs: exactly as many octets as needed, and no bit set beyond the last hub.
#[must_use]
pub fn bitmap_fits(bitmap: &[u8], n: u8) -> bool {
    if bitmap.len() != bitmap_len(n) {
        return false;
    }
    let used = n & 7;
    used == 0 || bitmap.last().is_none_or(|last| last >> used == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_count_from_the_least_significant() {
        let bitmap = [0b0000_0101, 0b1000_0000];
        for i in 0..=u8::MAX {
            assert_eq!(bitmap_bit(&bitmap, i), matches!(i, 0 | 2 | 15));
        }
    }

    #[test]
    fn a_bit_beyond_the_last_hub_does_not_fit() {
        assert!(bitmap_fits(&[0b1_1111], 5));
        assert!(!bitmap_fits(&[0b10_0000], 5));
        assert!(bitmap_fits(&[0xff], 8));
        assert!(!bitmap_fits(&[0xff, 0], 8));
        assert!(!bitmap_fits(&[], 1));
        assert!(bitmap_fits(&[0xff, 1], 9));
        assert!(!bitmap_fits(&[0xff, 2], 9));
    }
}
