//! Linear combinations of **secret** blocks with public weights over GF(2^8).
//!
//! No tables and no branches on block bytes: time depends on lengths and weights alone. A weight is taken bit
//! by bit from the top, so that one doubling serves all blocks, and whole windows of bytes are worked on at
//! once in a shape that the compiler turns into vector instructions.

/// Bytes worked on at once. Four vector registers of 16 bytes: enough to hide the latency of a doubling.
const WIDE: usize = 64;
const NARROW: usize = 16;

/// `out = sum of weights[i] * blocks[i]`. Every block is as long as `out`; as many weights as blocks.
pub(super) fn weighted_sum(weights: &[u8], blocks: &[&[u8]], out: &mut [u8]) {
    debug_assert_eq!(weights.len(), blocks.len());
    debug_assert!(blocks.iter().all(|block| block.len() == out.len()));
    // The highest bit that any weight has: no doubling is needed above it.
    let top = weights.iter().fold(0, |all, weight| all | weight);
    let bits = u8::BITS.wrapping_sub(top.leading_zeros());

    if out.len() >= WIDE {
        in_windows::<WIDE>(weights, blocks, bits, out);
    } else if out.len() >= NARROW {
        in_windows::<NARROW>(weights, blocks, bits, out);
    } else {
        in_windows::<1>(weights, blocks, bits, out);
    }
}

/// Covers `out` with windows of `N` bytes. The last one reaches back to the end, over bytes that are done
/// already: cheaper than a remainder, and without copies of secrets on the stack. `out` has at least `N`
/// bytes, or none.
fn in_windows<const N: usize>(weights: &[u8], blocks: &[&[u8]], bits: u32, out: &mut [u8]) {
    let mut start = 0;
    while let Some(window) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<N>) {
        window_sum(weights, blocks, bits, start, window);
        start = start.wrapping_add(N);
    }
    if start != out.len() {
        let start = out.len().saturating_sub(N);
        if let Some(window) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<N>) {
            window_sum(weights, blocks, bits, start, window);
        }
    }
}

#[inline]
fn window_sum<const N: usize>(
    weights: &[u8],
    blocks: &[&[u8]],
    bits: u32,
    start: usize,
    window: &mut [u8; N],
) {
    let mut sum = [0; N];
    for bit in (0..bits).rev() {
        double(&mut sum);
        for (weight, block) in weights.iter().zip(blocks) {
            if weight >> bit & 1 == 1
                && let Some(bytes) = block.get(start..).and_then(<[u8]>::first_chunk::<N>)
            {
                for (sum, byte) in sum.iter_mut().zip(bytes) {
                    *sum ^= byte;
                }
            }
        }
    }
    *window = sum;
}

/// Multiplies every byte by x, reducing by 0x1b where the top bit was set: by a mask, not by a branch.
#[inline]
fn double<const N: usize>(bytes: &mut [u8; N]) {
    for byte in bytes {
        let carry = (byte.cast_signed() >> 7).cast_unsigned();
        *byte = (*byte << 1) ^ (carry & 0x1b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::field::tests::schoolbook;
    use alloc::vec::Vec;

    #[test]
    fn every_weight_times_every_byte_equals_the_schoolbook() {
        let bytes: Vec<u8> = (0..=255).collect();
        for weight in 0..=255 {
            let mut out = [0xaa; 256];
            weighted_sum(&[weight], &[&bytes], &mut out);
            let expected: Vec<u8> = bytes.iter().map(|&byte| schoolbook(weight, byte)).collect();
            assert_eq!(out.as_slice(), expected);
        }
    }

    #[test]
    fn every_length_around_the_windows() {
        for length in 0..=200 {
            let a: Vec<u8> = (0..length).map(|i| u8::try_from(i * 7 % 256).unwrap()).collect();
            let b: Vec<u8> = (0..length).map(|i| u8::try_from(i * 13 % 251).unwrap()).collect();
            let mut out = alloc::vec![0xaa; length];
            weighted_sum(&[0x1d, 0x02], &[&a, &b], &mut out);
            let expected: Vec<u8> =
                a.iter().zip(&b).map(|(&a, &b)| schoolbook(0x1d, a) ^ schoolbook(2, b)).collect();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn nothing_sums_to_zero() {
        let mut out = [0xaa; 70];
        weighted_sum(&[], &[], &mut out);
        assert_eq!(out, [0; 70]);
    }
}
