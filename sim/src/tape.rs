//! Randomness that is replayed.

use rand_core::{TryCryptoRng, TryRng};

/// Octets that a machine draws, in order, and nothing more: what a vector or a recording says.
///
/// It panics where more is drawn than there is.
#[derive(Debug)]
pub struct Tape {
    octets: Vec<u8>,
    used: usize,
    draws: Vec<usize>,
}

impl Tape {
    /// These octets.
    #[must_use]
    pub fn new(octets: impl Into<Vec<u8>>) -> Self {
        Self { octets: octets.into(), used: 0, draws: Vec::new() }
    }

    /// All that was drawn.
    #[must_use]
    pub fn drawn(&self) -> &[u8] {
        self.octets.get(..self.used).unwrap_or_default()
    }

    /// How much was drawn.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.used == self.octets.len()
    }

    /// The lengths of what was drawn since this was asked last.
    pub fn take_draws(&mut self) -> Vec<usize> {
        core::mem::take(&mut self.draws)
    }
}

impl TryRng for Tape {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut octets = [0; 4];
        self.try_fill_bytes(&mut octets)?;
        Ok(u32::from_le_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut octets = [0; 8];
        self.try_fill_bytes(&mut octets)?;
        Ok(u64::from_le_bytes(octets))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        let rest = self.octets.get(self.used..).unwrap_or_default();
        assert!(rest.len() >= out.len(), "more is drawn than was recorded");
        out.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.used = self.used.saturating_add(out.len());
        self.draws.push(out.len());
        Ok(())
    }
}

impl TryCryptoRng for Tape {}
