//! A sliding window over sequence numbers: each is accepted once, and none that is too old.
//!
//! `check` before any work is done, `update` only after the message proved authentic: else a forger could move
//! the window past what honest senders still send. The algorithm is that of RFC 6479, with an exact window: the
//! last `64 * WORDS` sequence numbers, counted back from the highest accepted one.

const WORD_BITS: u64 = 64;

/// Which of the last `64 * WORDS` sequence numbers were accepted. `8 * WORDS` octets and 8 more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayWindow<const WORDS: usize> {
    // Bit `sequence % SIZE`, for the SIZE numbers up to the highest.
    seen: [u64; WORDS],
    // Of no meaning before the first: from then on its own bit is always set.
    highest: u64,
}

/// Why a sequence number is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It was accepted before.
    #[error("sequence number seen before")]
    Duplicate,
    /// It lies below the window: nobody knows any more whether it was accepted.
    #[error("sequence number too old")]
    TooOld,
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// Sequence numbers in the window.
    pub const SIZE: u64 = {
        assert!(WORDS > 0, "a window needs at least one word");
        WORD_BITS * WORDS as u64
    };

    /// A window in which nothing was accepted.
    #[must_use]
    pub const fn new() -> Self {
        Self { seen: [0; WORDS], highest: 0 }
    }

    /// The highest sequence number accepted so far.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        let mut words: &[u64] = &self.seen;
        while let [word, rest @ ..] = words {
            if *word != 0 {
                return Some(self.highest);
            }
            words = rest;
        }
        None
    }

    /// The lowest sequence number that is not too old.
    #[must_use]
    pub const fn floor(&self) -> u64 {
        match self.highest() {
            Some(highest) => highest.saturating_sub(Self::SIZE.saturating_sub(1)),
            None => 0,
        }
    }

    /// Whether the sequence number would be accepted. Nothing changes.
    ///
    /// # Errors
    /// [`ReplayError`] says why not.
    pub fn check(&self, sequence: u64) -> Result<(), ReplayError> {
        match self.highest() {
            Some(highest) if sequence <= highest => {
                if sequence < self.floor() {
                    return Err(ReplayError::TooOld);
                }
                let (word, bit) = Self::place(sequence);
                match self.seen.get(word) {
                    Some(seen) if seen & bit == 0 => Ok(()),
                    _ => Err(ReplayError::Duplicate),
                }
            }
            _ => Ok(()),
        }
    }

    /// Accepts the sequence number of a message that proved authentic.
    ///
    /// # Errors
    /// [`ReplayError`] where [`Self::check`] refuses it; nothing changes then.
    pub fn update(&mut self, sequence: u64) -> Result<(), ReplayError> {
        self.check(sequence)?;
        match self.highest() {
            Some(highest) if sequence <= highest => {}
            Some(highest) => {
                self.forget(highest, sequence);
                self.highest = sequence;
            }
            None => self.highest = sequence,
        }
        let (word, bit) = Self::place(sequence);
        if let Some(seen) = self.seen.get_mut(word) {
            *seen |= bit;
        }
        Ok(())
    }

    /// Clears the places of the numbers above `from` up to `to`, which held older ones.
    fn forget(&mut self, from: u64, to: u64) {
        if to.saturating_sub(from) >= Self::SIZE {
            self.seen = [0; WORDS];
            return;
        }
        for sequence in from.saturating_add(1)..=to {
            let (word, bit) = Self::place(sequence);
            if let Some(seen) = self.seen.get_mut(word) {
                *seen &= !bit;
            }
        }
    }

    #[expect(clippy::arithmetic_side_effects, reason = "neither divisor is zero")]
    const fn place(sequence: u64) -> (usize, u64) {
        let place = sequence % Self::SIZE;
        ((place / WORD_BITS) as usize, 1 << (place % WORD_BITS))
    }
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, vec::Vec};

    /// The same law, said with a set of all numbers ever accepted.
    #[derive(Default)]
    struct Model(BTreeSet<u64>);

    impl Model {
        fn update(&mut self, sequence: u64, size: u64) -> Result<(), ReplayError> {
            if self.0.last().is_some_and(|highest| highest.saturating_sub(sequence) >= size) {
                return Err(ReplayError::TooOld);
            }
            if self.0.insert(sequence) { Ok(()) } else { Err(ReplayError::Duplicate) }
        }
    }

    fn agrees<const WORDS: usize>(sequences: &[u64]) -> Result<(), TestCaseError> {
        let (mut window, mut model) = (ReplayWindow::<WORDS>::new(), Model::default());
        for &sequence in sequences {
            let expected = model.update(sequence, ReplayWindow::<WORDS>::SIZE);
            prop_assert_eq!(window.check(sequence), expected);
            prop_assert_eq!(window.update(sequence), expected);
            prop_assert_eq!(window.highest(), model.0.last().copied());
            prop_assert!(window.check(sequence).is_err(), "accepted a second time");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_set_of_all_numbers_ever_accepted_decides_the_same(
            // Near each other, around a window's edge, and far apart.
            jumps in prop::collection::vec(prop_oneof![0..8_u64, 60..70_u64, 120..140_u64, any::<u64>()], 1..200),
            base in prop_oneof![Just(0), Just(u64::MAX - 500), any::<u64>()],
            forward: Vec<bool>,
        ) {
            let mut at = base;
            let sequences: Vec<u64> = jumps.iter().zip(forward.iter().cycle().chain(core::iter::repeat(&true)))
                .map(|(jump, forward)| {
                    at = if *forward { at.saturating_add(*jump) } else { at.saturating_sub(*jump) };
                    at
                })
                .collect();
            agrees::<1>(&sequences)?;
            agrees::<2>(&sequences)?;
            agrees::<5>(&sequences)?;
        }
    }

    #[test]
    fn the_oldest_number_of_the_window_is_accepted_and_the_one_before_is_not() {
        let mut window = ReplayWindow::<2>::new();
        window.update(1000).unwrap();
        assert_eq!(window.floor(), 1000 - 127);
        assert_eq!(window.check(1000 - 128), Err(ReplayError::TooOld));
        assert_eq!(window.update(1000 - 127), Ok(()));
        assert_eq!(window.update(1000 - 127), Err(ReplayError::Duplicate));
    }

    #[test]
    fn a_check_alone_never_moves_the_window() {
        let mut window = ReplayWindow::<1>::new();
        window.update(5).unwrap();
        let before = window.clone();
        assert_eq!(window.check(u64::MAX), Ok(()));
        assert_eq!(window, before);
        assert_eq!(window.check(4), Ok(()));
    }

    #[test]
    fn the_last_sequence_number_there_is_works_once() {
        let mut window = ReplayWindow::<1>::new();
        assert_eq!(window.update(u64::MAX), Ok(()));
        assert_eq!(window.update(u64::MAX), Err(ReplayError::Duplicate));
        assert_eq!(window.update(u64::MAX - 63), Ok(()));
        assert_eq!(window.update(u64::MAX - 64), Err(ReplayError::TooOld));
    }
}
