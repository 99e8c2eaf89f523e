//! The one source of chance: everything that a seed decides is drawn from one of these.

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Seeded chance. Two dice of the same seed, asked the same questions, give the same answers on every machine.
#[derive(Debug)]
pub struct Dice {
    rng: ChaCha20Rng,
}

impl Dice {
    /// Dice of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: ChaCha20Rng::seed_from_u64(seed) }
    }

    /// Dice of their own, so that two users of one seed do not disturb each other.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.rng.next_u64())
    }

    /// True in `per_mille` of 1000 cases. 0 and 1000 are never and always, and draw nothing.
    pub fn chance(&mut self, per_mille: u16) -> bool {
        match per_mille {
            0 => false,
            1000.. => true,
            _ => self.below(1000) < u64::from(per_mille),
        }
    }

    /// A number below `bound`, or 0 if that is 0. Evenly enough for tests.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// A position in something of `len` entries, or 0 if there is none.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap_or(u64::MAX))).unwrap_or(0)
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    /// The generator itself, for a machine.
    pub const fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_answers() {
        let answers = |seed| {
            let mut dice = Dice::new(seed);
            (dice.below(1 << 40), dice.chance(500), dice.bytes(5), dice.fork().below(1 << 40))
        };
        assert_eq!(answers(7), answers(7));
        assert_ne!(answers(7), answers(8));
    }

    #[test]
    fn never_and_always_are_never_and_always() {
        let mut dice = Dice::new(1);
        assert!((0..1000).all(|_| !dice.chance(0) && dice.chance(1000)));
        let hits = (0..10_000).filter(|_| dice.chance(250)).count();
        assert!((2_000..3_000).contains(&hits), "{hits}");
    }
}
