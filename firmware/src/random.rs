//! The random octets of the images.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

/// No generator for keys: the images have no secrets, and their runs are to repeat. A device has one of its own.
pub struct Repeatable(u64);

impl Repeatable {
    /// The same octets for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl TryRng for Repeatable {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ (mixed >> 31))
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Infallible> {
        for part in octets.chunks_mut(8) {
            let random = self.try_next_u64()?.to_le_bytes();
            part.copy_from_slice(&random[..part.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Repeatable {}
