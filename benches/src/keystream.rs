//! ChaCha20 that writes what is drawn where it is wanted.

use core::convert::Infallible;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20::rand_core::{TryCryptoRng, TryRng, utils};

/// The key stream of ChaCha20 as a generator. What `ChaCha20Rng` draws goes through a buffer of 256 octets, which costs
/// those a tenth who draw a lot at once. 256 GiB are in one stream; what would come after them stops a bench.
pub struct Keystream(ChaCha20);

impl Keystream {
    /// Whose numbers are the same in every run.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        Self(ChaCha20::new(&[seed; 32].into(), &[0; 12].into()))
    }
}

impl TryRng for Keystream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_write_keystream(out).expect("no bench draws 256 GiB");
        Ok(())
    }
}

impl TryCryptoRng for Keystream {}

impl core::fmt::Debug for Keystream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keystream(..)")
    }
}
