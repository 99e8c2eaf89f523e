//! Linear combinations of **secret** blocks with public weights over GF(2^8).
//!
//! No tables and no branches on block bytes: time depends on lengths and weights alone. A weight is taken bit
//! by bit from the top, so that one doubling serves all blocks, and whole windows of bytes are worked on at
//! once in a shape that the compiler turns into vector instructions.

/// Bytes worked on at once, of long blocks: as many vector registers of 16 bytes as there are, but two.
const LONG: usize = 224;
/// Four vector registers: enough to hide the latency of a doubling.
const WIDE: usize = 64;
const NARROW: usize = 16;

/// `out = sum of weights[i] * blocks[i]`. Every block is as long as `out`; as many weights as blocks.
pub(super) fn weighted_sum(weights: &[u8], blocks: &[&[u8]], out: &mut [u8]) {
    Sum::new(weights, blocks, None).write(out);
}

/// As [`weighted_sum`], with `base` added, which is as long as `out`.
pub(super) fn weighted_sum_upon(base: &[u8], weights: &[u8], blocks: &[&[u8]], out: &mut [u8]) {
    Sum::new(weights, blocks, Some(base)).write(out);
}

struct Sum<'a> {
    weights: &'a [u8],
    blocks: &'a [&'a [u8]],
    base: Option<&'a [u8]>,
    /// Of the highest bit that any weight has, and those below: no doubling is needed above it.
    bits: u32,
}

impl<'a> Sum<'a> {
    fn new(weights: &'a [u8], blocks: &'a [&'a [u8]], base: Option<&'a [u8]>) -> Self {
        debug_assert_eq!(weights.len(), blocks.len());
        Self { weights, blocks, base, bits: bits(weights.iter().copied()) }
    }

    fn write(&self, out: &mut [u8]) {
        debug_assert!(self.blocks.iter().copied().chain(self.base).all(|block| block.len() == out.len()));
        match out.len() {
            LONG.. => self.in_windows::<LONG>(out),
            WIDE.. => self.in_windows::<WIDE>(out),
            NARROW.. => self.in_windows::<NARROW>(out),
            _ => self.in_windows::<1>(out),
        }
    }

    /// Covers `out` with windows of `N` bytes. The last one reaches back to the end, over bytes that are done
    /// already: cheaper than a remainder, and without copies of secrets on the stack. `out` has at least `N`
    /// bytes, or none.
    fn in_windows<const N: usize>(&self, out: &mut [u8]) {
        let mut start = 0;
        while let Some(window) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<N>) {
            self.write_window(start, window);
            start = start.wrapping_add(N);
        }
        if start != out.len() {
            let start = out.len().saturating_sub(N);
            if let Some(window) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<N>) {
                self.write_window(start, window);
            }
        }
    }

    #[inline]
    fn write_window<const N: usize>(&self, start: usize, window: &mut [u8; N]) {
        let mut sum = [0; N];
        for bit in (0..self.bits).rev() {
            // At the highest bit there is nothing to double.
            if bit.wrapping_add(1) != self.bits {
                double(&mut sum);
            }
            for (weight, block) in self.weights.iter().zip(self.blocks) {
                if weight >> bit & 1 == 1 {
                    add(&mut sum, block, start);
                }
            }
        }
        if let Some(base) = self.base {
            add(&mut sum, base, start);
        }
        *window = sum;
    }
}

/// Of the highest bit that any weight has, and those below.
pub(super) fn bits(weights: impl Iterator<Item = u8>) -> u32 {
    let all = weights.fold(0, |all, weight| all | weight);
    u8::BITS.wrapping_sub(all.leading_zeros())
}

#[inline]
fn add<const N: usize>(sum: &mut [u8; N], block: &[u8], start: usize) {
    if let Some(bytes) = block.get(start..).and_then(<[u8]>::first_chunk::<N>) {
        for (sum, byte) in sum.iter_mut().zip(bytes) {
            *sum ^= byte;
        }
    }
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
        for length in (0..=200).chain(LONG - 2..=LONG + 2).chain(2 * LONG - 2..=2 * LONG + 2) {
            let a: Vec<u8> = (0..length).map(|i| u8::try_from(i * 7 % 256).unwrap()).collect();
            let b: Vec<u8> = (0..length).map(|i| u8::try_from(i * 13 % 251).unwrap()).collect();
            let mut out = alloc::vec![0xaa; length];
            weighted_sum(&[0x1d, 0x02], &[&a, &b], &mut out);
            let expected: Vec<u8> =
                a.iter().zip(&b).map(|(&a, &b)| schoolbook(0x1d, a) ^ schoolbook(2, b)).collect();
            assert_eq!(out, expected);
            let mut upon = alloc::vec![0xaa; length];
            weighted_sum_upon(&b, &[0x1d, 0x02], &[&a, &b], &mut upon);
            let expected: Vec<u8> = expected.iter().zip(&b).map(|(sum, b)| sum ^ b).collect();
            assert_eq!(upon, expected);
        }
    }

    #[test]
    fn nothing_sums_to_zero() {
        let mut out = [0xaa; 70];
        weighted_sum(&[], &[], &mut out);
        assert_eq!(out, [0; 70]);
    }
}
