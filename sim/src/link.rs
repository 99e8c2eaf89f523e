//! How good the way from one node to another is.

use core::time::Duration;

use crate::dice::Dice;

/// The faults of a link. Begin with [`ideal`](Self::ideal) and add what the scenario needs; chances are per mille.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    latency: u64,
    jitter: u64,
    loss: u16,
    duplicate: u16,
    reorder: (u16, u64),
    corrupt: u16,
    replay: u16,
}

impl Link {
    /// No fault and no delay.
    #[must_use]
    pub const fn ideal() -> Self {
        Self { latency: 0, jitter: 0, loss: 0, duplicate: 0, reorder: (0, 0), corrupt: 0, replay: 0 }
    }

    /// Every fault at once, of a kind that retransmission overcomes: 20 ms and up to 30 more, 15 % lost, 10 %
    /// duplicated, 10 % held back by up to a second, 5 % damaged, 10 % followed by a replay of anything.
    #[must_use]
    pub const fn terrible() -> Self {
        Self::ideal()
            .latency(20)
            .jitter(30)
            .loss(150)
            .duplicate(100)
            .reorder(100, 1000)
            .corrupt(50)
            .replay(100)
    }

    /// Every datagram takes so many milliseconds.
    #[must_use]
    pub const fn latency(mut self, millis: u64) -> Self {
        self.latency = millis;
        self
    }

    /// And up to so many more. Datagrams may overtake each other.
    #[must_use]
    pub const fn jitter(mut self, millis: u64) -> Self {
        self.jitter = millis;
        self
    }

    /// So many of 1000 never arrive.
    #[must_use]
    pub const fn loss(mut self, per_mille: u16) -> Self {
        self.loss = per_mille;
        self
    }

    /// So many of 1000 arrive twice.
    #[must_use]
    pub const fn duplicate(mut self, per_mille: u16) -> Self {
        self.duplicate = per_mille;
        self
    }

    /// So many of 1000 are held back by up to so many milliseconds.
    #[must_use]
    pub const fn reorder(mut self, per_mille: u16, millis: u64) -> Self {
        self.reorder = (per_mille, millis);
        self
    }

    /// So many of 1000 arrive with a bit turned, cut short or with something behind.
    #[must_use]
    pub const fn corrupt(mut self, per_mille: u16) -> Self {
        self.corrupt = per_mille;
        self
    }

    /// After so many of 1000 something that anybody ever sent arrives once more at its addressee.
    #[must_use]
    pub const fn replay(mut self, per_mille: u16) -> Self {
        self.replay = per_mille;
        self
    }

    /// How many copies of a datagram arrive.
    pub fn copies(&self, dice: &mut Dice) -> usize {
        if dice.chance(self.loss) {
            0
        } else if dice.chance(self.duplicate) {
            2
        } else {
            1
        }
    }

    /// How long one of them takes.
    pub fn delay(&self, dice: &mut Dice) -> Duration {
        let jitter = if self.jitter == 0 { 0 } else { dice.below(self.jitter.saturating_add(1)) };
        let (chance, longest) = self.reorder;
        let held_back = if dice.chance(chance) { dice.below(longest.saturating_add(1)) } else { 0 };
        Duration::from_millis(self.latency.saturating_add(jitter).saturating_add(held_back))
    }

    pub(crate) fn damage(&self, dice: &mut Dice, bytes: &mut Vec<u8>) {
        if dice.chance(self.corrupt) {
            damage(dice, bytes);
        }
    }

    pub(crate) fn replays(&self, dice: &mut Dice) -> bool {
        dice.chance(self.replay)
    }
}

/// Changes `bytes`, certainly: turns a bit, cuts the end off or puts something behind.
pub(crate) fn damage(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let position = dice.index(bytes.len());
    match (dice.below(4), bytes.get_mut(position)) {
        (0 | 1, Some(byte)) => *byte ^= 1_u8.rotate_left(u32::try_from(dice.below(8)).unwrap_or(0)),
        (2, Some(_)) => bytes.truncate(position),
        _ => {
            let more = dice.index(8).saturating_add(1);
            bytes.extend(dice.bytes(more));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_always_changes_something() {
        let mut dice = Dice::new(3);
        for length in 0..200 {
            let before = dice.bytes(length % 20);
            let mut after = before.clone();
            damage(&mut dice, &mut after);
            assert_ne!(before, after);
        }
    }
}
