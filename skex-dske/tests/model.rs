//! A model of what the messages tell, exact for every adversary of the specification's secrecy claim (docs/draft-skex-dske.md,
//! "What holds"): one who reads all links, has broken every envelope, and is some of the hubs.
//!
//! Pads, shares and the block are octets of GF(2^8), and all that travels of them is linear in what was drawn: an octet of the
//! block, the pads, and nothing else. So the adversary's knowledge is a space of vectors over GF(2^8), with one coordinate for each
//! octet that was drawn, uniformly and independently; what is outside of that space, he knows nothing about. The
//! vectors of the shares are made by the real splitter: it is linear in octet strings, and here they are vectors.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use skex_dske::{Coordinate, Splitter};

type Vector = Vec<u8>;

/// The product in GF(2^8) from first principles.
fn multiply(a: u8, b: u8) -> u8 {
    let mut product = (0..8).filter(|bit| b >> bit & 1 == 1).fold(0, |sum, bit| sum ^ u16::from(a) << bit);
    for bit in (8..16).rev() {
        if product >> bit & 1 == 1 {
            product ^= 0x11b << (bit - 8);
        }
    }
    product as u8
}

fn inverse(a: u8) -> u8 {
    (1..=255).find(|b| multiply(a, *b) == 1).unwrap()
}

fn rank(mut rows: Vec<Vector>) -> usize {
    let mut rank = 0;
    for column in 0..rows.first().map_or(0, Vec::len) {
        let Some(pivot) = (rank..rows.len()).find(|row| rows[*row][column] != 0) else { continue };
        rows.swap(rank, pivot);
        let unit = inverse(rows[rank][column]);
        let pivot: Vector = rows[rank].iter().map(|octet| multiply(unit, *octet)).collect();
        for row in &mut rows[rank + 1..] {
            let factor = row[column];
            if factor != 0 {
                row.iter_mut().zip(&pivot).for_each(|(octet, own)| *octet ^= multiply(factor, *own));
            }
        }
        rank += 1;
    }
    rank
}

/// Whether somebody who knows these sums can say anything about these octets, all together.
fn tell(known: &[Vector], about: &[Vector]) -> bool {
    rank([known, about].concat()) < rank(known.to_vec()) + about.len()
}

fn plus(a: &[u8], b: &[u8]) -> Vector {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

/// One octet of each part of a block: of the element d of the tag key, of the key, of the confirm key; and of another key.
const PARTS: usize = 4;
const D: usize = 0;
const KEY: usize = 1;
const CONFIRM: usize = 2;
const OTHER: usize = 3;

/// The blocks that carry a share: upload, the same in a later session, delivery, the same in a later session.
const BLOCKS: usize = 4;

/// A rule that is taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Broken {
    Nothing,
    /// The last hub's delivery of the other key uses the pad of this one's.
    PadUsedTwice,
    /// The last hub's second delivery uses elements that were erased.
    ErasedPad,
    /// The secret tag without its term d.
    TagWithoutD,
    /// The last two hubs were given one table.
    OneTableForTwo,
}

struct Model {
    hubs: usize,
    threshold: usize,
    broken: Broken,
}

impl Model {
    fn variables(&self) -> usize {
        PARTS * (1 + self.hubs * BLOCKS)
    }

    fn unit(&self, variable: usize) -> Vector {
        let mut vector = vec![0; self.variables()];
        vector[variable] = 1;
        vector
    }

    fn secret(&self, part: usize) -> Vector {
        self.unit(part)
    }

    fn pad(&self, part: usize, hub: usize, block: usize) -> Vector {
        let is_last = hub == self.hubs - 1;
        let (part, hub) = match self.broken {
            Broken::PadUsedTwice if is_last && part == OTHER && block == 2 => (KEY, hub),
            Broken::ErasedPad if is_last && block == 3 => return vec![0; self.variables()],
            Broken::OneTableForTwo if is_last => (part, hub - 1),
            _ => (part, hub),
        };
        self.unit(PARTS + (part * self.hubs + hub) * BLOCKS + block)
    }

    /// As the initiator makes them: the first k - 1 are pads of uploads.
    fn shares(&self, part: usize) -> Vec<Vector> {
        let coordinates: Vec<Coordinate> =
            (0..self.hubs).map(|hub| Coordinate::new(2 * hub as u8 + 3).unwrap()).collect();
        let splitter = Splitter::new(self.threshold as u8, &coordinates).unwrap();
        let direct: Vec<Vector> = (0..self.threshold - 1).map(|hub| self.pad(part, hub, 0)).collect();
        let mut following = vec![vec![0; self.variables()]; self.hubs + 1 - self.threshold];
        let mut out: Vec<&mut [u8]> = following.iter_mut().map(Vec::as_mut_slice).collect();
        let given: Vec<&[u8]> = direct.iter().map(Vec::as_slice).collect();
        splitter.split(&self.secret(part), &given, &mut out).unwrap();
        [direct, following].concat()
    }

    /// All that travels, without envelopes, and all that these hubs have.
    fn known(&self, hubs: u32) -> Vec<Vector> {
        let mut known = Vec::new();
        for part in 0..PARTS {
            for (hub, share) in self.shares(part).iter().enumerate() {
                for block in 0..BLOCKS {
                    let pad = self.pad(part, hub, block);
                    if hubs >> hub & 1 == 1 {
                        known.push(pad.clone());
                    }
                    // Of a direct upload nothing travels.
                    if block != 0 || hub >= self.threshold - 1 {
                        known.push(plus(share, &pad));
                    }
                }
            }
        }
        // o is d and a function of the rest of the block: as if all of that were known but the key.
        let key = self.secret(KEY);
        known.push(if self.broken == Broken::TagWithoutD { key } else { plus(&self.secret(D), &key) });
        // The confirmation: as if it told the confirm key.
        known.push(self.secret(CONFIRM));
        known
    }

    fn keys(&self) -> [Vector; 2] {
        [self.secret(KEY), self.secret(OTHER)]
    }
}

fn sets(hubs: usize, members: usize) -> impl Iterator<Item = u32> {
    (0..1_u32 << hubs).filter(move |set| set.count_ones() as usize == members)
}

/// Of every number of hubs up to six, every threshold, every set of hubs: below the threshold they and everybody on every link know
/// nothing of two keys, taken together; at the threshold they know both.
#[test]
fn scenario_74_in_a_model_of_the_messages_fewer_hubs_than_the_threshold_know_nothing_of_the_keys() {
    let mut searched = 0;
    for hubs in 2..=6 {
        for threshold in 2..=hubs {
            let model = Model { hubs, threshold, broken: Broken::Nothing };
            for members in 0..=threshold {
                for set in sets(hubs, members) {
                    let known = model.known(set);
                    assert_eq!(
                        tell(&known, &model.keys()),
                        members == threshold,
                        "{set:b} of {hubs}, k = {threshold}"
                    );
                    let all = rank([&known[..], &model.keys()].concat()) == rank(known);
                    assert_eq!(all, members == threshold, "{set:b} of {hubs}, k = {threshold}");
                    searched += 1;
                }
            }
        }
    }
    assert_eq!(searched, 414);
}

/// The model is no proof of anything unless it finds what goes wrong: each rule that is taken away gives something to k - 1 hubs.
#[test]
fn scenario_74_the_model_finds_what_each_rule_is_for() {
    let rules = [Broken::PadUsedTwice, Broken::ErasedPad, Broken::TagWithoutD, Broken::OneTableForTwo];
    for (hubs, threshold) in [(3, 2), (5, 3)] {
        for broken in rules {
            let model = Model { hubs, threshold, broken };
            // The first ones, who need the last.
            let known = model.known((1 << (threshold - 1)) - 1);
            assert!(tell(&known, &model.keys()), "{broken:?} goes unnoticed, {threshold} of {hubs}");
        }
    }
}
