//! The operating system's entropy.

use core::convert::Infallible;

use anyhow::{Context, Result};
use rand_core::{TryCryptoRng, TryRng};

/// The generator of the operating system, found working when the program started.
///
/// Nothing stands between it and the machines: a key of pre-shared random data is as good as its randomness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entropy(());

impl Entropy {
    /// Asks for some octets, to fail now and not in the middle of a key.
    pub(crate) fn open() -> Result<Self> {
        let mut probe = [0; 32];
        getrandom::fill(&mut probe)
            .context("the operating system gives no random octets; nothing was started")?;
        Ok(Self(()))
    }
}

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut octets = [0; 4];
        self.try_fill_bytes(&mut octets)?;
        Ok(u32::from_be_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut octets = [0; 8];
        self.try_fill_bytes(&mut octets)?;
        Ok(u64::from_be_bytes(octets))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        if let Err(error) = getrandom::fill(out) {
            // As good as a loss of power, which every machine survives. Going on without randomness is not an option.
            eprintln!("skex: the operating system gives no random octets any more ({error}); stopping");
            std::process::exit(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}
