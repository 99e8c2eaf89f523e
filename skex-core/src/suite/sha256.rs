//! SHA-256 (FIPS 180-4) and HMAC over it (RFC 2104), around the compression function of `sha2`.
//!
//! Padding and HMAC are written here because short messages are what these protocols hash: with `hmac::Hmac<Sha256>` a
//! message of 64 octets in six parts takes a third longer, for it copies a state of 144 octets that has its own block
//! buffer. A prepared key here is what RFC 2104, section 4 says it may be: two chaining values.

use sha2::block_api::compress256;
use zeroize::Zeroize;

const BLOCK_LEN: usize = 64;
const HASH_LEN: usize = 32;

/// Where the length of the message begins in the last block.
const LENGTH_AT: usize = BLOCK_LEN - 8;

/// How long what the outer hash of HMAC takes in is.
const OUTER_BITS: u64 = 8 * (BLOCK_LEN + HASH_LEN) as u64;

/// A chaining value.
type Chain = [u32; 8];

/// FIPS 180-4, section 5.3.3.
const FIRST: Chain =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A hash that is being computed. Wiped on drop.
#[derive(Clone)]
pub(crate) struct Sha256 {
    chain: Chain,
    // What does not fill a block yet.
    block: [u8; BLOCK_LEN],
    filled: usize,
    total: u64,
}

impl Sha256 {
    pub(crate) const fn new() -> Self {
        Self { chain: FIRST, block: [0; BLOCK_LEN], filled: 0, total: 0 }
    }

    /// Goes on from a chaining value behind one block.
    const fn after_block(chain: Chain) -> Self {
        Self { chain, block: [0; BLOCK_LEN], filled: 0, total: BLOCK_LEN as u64 }
    }

    pub(crate) fn update(&mut self, part: &[u8]) {
        self.total = self.total.wrapping_add(part.len() as u64);
        let mut part = part;
        if self.filled > 0 {
            part = self.fill(part);
        }
        let (blocks, rest) = part.as_chunks();
        if !blocks.is_empty() {
            compress256(&mut self.chain, blocks);
        }
        self.fill(rest);
    }

    /// Takes as much as the block still has room for, and gives what is left.
    fn fill<'a>(&mut self, part: &'a [u8]) -> &'a [u8] {
        let room = self.block.get_mut(self.filled..).unwrap_or_default();
        let (taken, left) = part.split_at(part.len().min(room.len()));
        let (place, _) = room.split_at_mut(taken.len());
        place.copy_from_slice(taken);
        self.filled = self.filled.saturating_add(taken.len());
        if self.filled == BLOCK_LEN {
            compress256(&mut self.chain, core::slice::from_ref(&self.block));
            self.filled = 0;
        }
        left
    }

    pub(crate) fn finish_into(mut self, out: &mut [u8; HASH_LEN]) {
        self.end();
        write(&self.chain, out);
    }

    pub(crate) fn finish(self) -> [u8; HASH_LEN] {
        let mut out = [0; HASH_LEN];
        self.finish_into(&mut out);
        out
    }

    /// The hash of one message.
    pub(crate) fn digest(message: &[u8]) -> [u8; HASH_LEN] {
        let mut hash = Self::new();
        hash.update(message);
        hash.finish()
    }

    /// Pads and hashes the last block, or two.
    fn end(&mut self) {
        let bits = self.total.wrapping_mul(8);
        let mut rest = self.block.get_mut(self.filled..).unwrap_or_default().iter_mut();
        if let Some(mark) = rest.next() {
            *mark = 0x80;
        }
        rest.for_each(|octet| *octet = 0);
        if self.filled >= LENGTH_AT {
            compress256(&mut self.chain, core::slice::from_ref(&self.block));
            self.block = [0; BLOCK_LEN];
        }
        self.close(bits);
    }

    /// Writes the length into the padded block and hashes it.
    fn close(&mut self, bits: u64) {
        if let Some(length) = self.block.last_chunk_mut() {
            *length = bits.to_be_bytes();
        }
        compress256(&mut self.chain, core::slice::from_ref(&self.block));
    }
}

impl Drop for Sha256 {
    fn drop(&mut self) {
        self.chain.as_mut_slice().zeroize();
        self.block.as_mut_slice().zeroize();
    }
}

/// An HMAC key: the chaining values behind its two padded blocks. Wiped on drop.
#[derive(Clone)]
pub(super) struct HmacKey {
    inner: Chain,
    outer: Chain,
}

impl HmacKey {
    pub(super) fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK_LEN];
        if let (Some(place), true) = (block.get_mut(..key.len()), key.len() <= BLOCK_LEN) {
            place.copy_from_slice(key);
        } else if let Some(place) = block.first_chunk_mut() {
            *place = Sha256::digest(key);
        }
        let mut padded = |with: u8| {
            let mut chain = FIRST;
            block.iter_mut().for_each(|octet| *octet ^= with);
            compress256(&mut chain, core::slice::from_ref(&block));
            chain
        };
        let inner = padded(0x36);
        // The first pad is taken away again.
        let outer = padded(0x36 ^ 0x5c);
        block.as_mut_slice().zeroize();
        Self { inner, outer }
    }

    pub(super) const fn begin(&self) -> Hmac {
        Hmac { inner: Sha256::after_block(self.inner), outer: self.outer }
    }

    /// The HMAC of one message in parts.
    pub(super) fn of<'a>(&self, parts: impl Iterator<Item = &'a [u8]>, out: &mut [u8; HASH_LEN]) {
        let mut hash = Sha256::after_block(self.inner);
        parts.for_each(|part| hash.update(part));
        finish(&mut hash, &self.outer, out);
    }
}

impl Drop for HmacKey {
    fn drop(&mut self) {
        self.inner.as_mut_slice().zeroize();
        self.outer.as_mut_slice().zeroize();
    }
}

/// An HMAC that is being computed. Wiped on drop.
#[derive(Clone)]
pub(super) struct Hmac {
    inner: Sha256,
    outer: Chain,
}

impl Hmac {
    pub(super) fn update(&mut self, part: &[u8]) {
        self.inner.update(part);
    }

    pub(super) fn finish_into(mut self, out: &mut [u8; HASH_LEN]) {
        finish(&mut self.inner, &self.outer, out);
    }
}

impl Drop for Hmac {
    fn drop(&mut self) {
        self.outer.as_mut_slice().zeroize();
    }
}

/// Hash(outer block | inner hash): the second fits one block, whose padding is known.
fn finish(inner: &mut Sha256, outer: &Chain, out: &mut [u8; HASH_LEN]) {
    inner.end();
    let chain = inner.chain;
    inner.chain = *outer;
    inner.block = [0; BLOCK_LEN];
    if let Some((digest, [mark, ..])) = inner.block.split_first_chunk_mut::<HASH_LEN>() {
        write(&chain, digest);
        *mark = 0x80;
    }
    inner.close(OUTER_BITS);
    write(&inner.chain, out);
}

fn write(chain: &Chain, out: &mut [u8; HASH_LEN]) {
    let (words, _) = out.as_chunks_mut();
    for (to, word) in words.iter_mut().zip(chain) {
        *to = word.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use hmac::{KeyInit as _, Mac as _};
    use proptest::prelude::*;
    use sha2::Digest as _;
    use std::vec::Vec;

    /// Every length around one, two and three blocks, whole and cut in two.
    #[test]
    fn hash_and_hmac_are_those_of_the_crates_for_every_length() {
        let message: Vec<u8> = (0..200_u8).collect();
        for length in 0..message.len() {
            let message = &message[..length];
            let expected: [u8; 32] = sha2::Sha256::digest(message).into();
            assert_eq!(Sha256::digest(message), expected, "{length}");
            let theirs = hmac::Hmac::<sha2::Sha256>::new_from_slice(message).unwrap();
            let expected: [u8; 32] = theirs.chain_update(message).finalize().into_bytes().into();
            let key = HmacKey::new(message);
            for cut in [0, 1, length / 2, length] {
                let (one, two) = message.split_at(cut.min(length));
                let mut out = [0; 32];
                key.of([one, two].into_iter(), &mut out);
                assert_eq!(out, expected, "{length} cut at {cut}");
                let mut mac = key.begin();
                mac.update(one);
                mac.update(two);
                mac.finish_into(&mut out);
                assert_eq!(out, expected, "{length} cut at {cut}, in steps");
            }
        }
    }

    proptest! {
        #[test]
        fn parts_of_any_lengths_make_the_same_hash(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 0..8),
        ) {
            let mut hash = Sha256::new();
            parts.iter().for_each(|part| hash.update(part));
            let expected: [u8; 32] = sha2::Sha256::digest(parts.concat()).into();
            prop_assert_eq!(hash.finish(), expected);
        }
    }
}
