//! How much comes in: first messages in all, and forged third ones by where they come from.

use alloc::vec;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use siphasher::sip::SipHasher13;
use skex_core::machine::{Instant, PathId};

use super::routes::keyed;

/// Counts the first messages of a time window. Nothing is kept of any of them.
pub(super) struct Load {
    most: u32,
    window: Window,
    now: u32,
    before: u32,
}

impl Load {
    pub(super) const fn new(most: u32, millis: u64) -> Self {
        Self { most, window: Window::new(millis), now: 0, before: 0 }
    }

    /// Counts one first message.
    pub(super) fn note(&mut self, now: Instant) {
        self.turn(now);
        self.now = self.now.saturating_add(1);
    }

    /// Whether more came in this window, or in the one before, than is taken without a cookie.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        self.turn(now);
        self.now > self.most || self.before > self.most
    }

    fn turn(&mut self, now: Instant) {
        match self.window.turn(now) {
            0 => return,
            1 => self.before = self.now,
            _ => self.before = 0,
        }
        self.now = 0;
    }
}

/// Counts forged third messages by path, in a fixed number of buckets. Which path falls into which bucket is a secret
/// of this table, so a path can be shut out by others only together with all.
pub(super) struct Sources {
    most: u16,
    window: Window,
    buckets: Vec<u16>,
    hasher: SipHasher13,
}

impl Sources {
    /// Draws 16 octets.
    pub(super) fn new(most: u16, buckets: u16, millis: u64, rng: &mut dyn CryptoRng) -> Self {
        Self {
            most,
            window: Window::new(millis),
            buckets: vec![0; usize::from(buckets.max(1))],
            hasher: keyed(rng),
        }
    }

    /// Whether so much forged came on this path in this window that no more is looked at.
    pub(super) fn is_shut(&mut self, path: PathId, now: Instant) -> bool {
        let most = self.most;
        self.bucket(path, now).is_some_and(|count| *count >= most)
    }

    pub(super) fn note_forged(&mut self, path: PathId, now: Instant) {
        if let Some(count) = self.bucket(path, now) {
            *count = count.saturating_add(1);
        }
    }

    fn bucket(&mut self, path: PathId, now: Instant) -> Option<&mut u16> {
        if self.window.turn(now) > 0 {
            self.buckets.fill(0);
        }
        let hash = self.hasher.hash(&path.number().to_be_bytes());
        let count = u64::try_from(self.buckets.len()).ok()?;
        let at = usize::try_from(hash.checked_rem(count)?).ok()?;
        self.buckets.get_mut(at)
    }
}

/// Time in windows of one length.
struct Window {
    millis: u64,
    number: u64,
}

impl Window {
    const fn new(millis: u64) -> Self {
        Self { millis, number: 0 }
    }

    /// Moves to the window of `now`, and says how many on that is.
    fn turn(&mut self, now: Instant) -> u64 {
        let number = now.as_millis().checked_div(self.millis).unwrap_or_default().max(self.number);
        let on = number.saturating_sub(self.number);
        self.number = number;
        on
    }
}

#[cfg(test)]
mod tests {
    use chacha20::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn load_lasts_for_the_window_in_which_it_began_and_the_next() {
        let mut load = Load::new(2, 1000);
        for _ in 0..2 {
            load.note(at(10));
        }
        assert!(!load.is_over(at(10)));
        load.note(at(10));
        assert!(load.is_over(at(10)) && load.is_over(at(1999)));
        assert!(!load.is_over(at(2000)));
        for _ in 0..3 {
            load.note(at(2000));
        }
        assert!(!load.is_over(at(9000)), "two windows later nothing is left of it");
        assert!(!load.is_over(at(2000)), "time does not run backwards");
    }

    #[test]
    fn a_path_is_shut_for_the_rest_of_the_window_and_others_are_not() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut sources = Sources::new(2, 4096, 1000, &mut rng);
        let (bad, good) = (PathId::new(1), PathId::new(2));
        for _ in 0..2 {
            assert!(!sources.is_shut(bad, at(1)));
            sources.note_forged(bad, at(1));
        }
        assert!(sources.is_shut(bad, at(999)) && !sources.is_shut(good, at(999)));
        assert!(!sources.is_shut(bad, at(1000)));
    }
}
