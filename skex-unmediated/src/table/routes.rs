//! From what a message names to the machine that it is for, in constant time.

use hashbrown::HashTable;
use rand_core::CryptoRng;
use siphasher::sip::SipHasher13;

use crate::peer::Tag;

/// How many machines are tried that have one name in common. Eight octets collide by accident once in 2^64 pairs; a
/// ninth that collides was made to.
const MAX_CANDIDATES: usize = 8;

/// A hash map from names to places. Its hash is keyed: an enrolled device may choose among its own pseudonyms, but not
/// where they fall.
pub(super) struct Routes {
    map: HashTable<Route>,
    hasher: SipHasher13,
}

#[derive(Clone, Copy)]
struct Route {
    tag: Tag,
    place: u32,
}

impl Routes {
    /// An empty map. Draws 16 octets.
    pub(super) fn new(rng: &mut dyn CryptoRng) -> Self {
        Self { map: HashTable::new(), hasher: keyed(rng) }
    }

    pub(super) fn insert(&mut self, tag: Tag, place: u32) {
        let Self { map, hasher } = self;
        map.insert_unique(hash(hasher, tag), Route { tag, place }, |route| hash(hasher, route.tag));
    }

    pub(super) fn remove(&mut self, tag: Tag, place: u32) {
        let same = |route: &Route| route.place == place && route.tag == tag;
        if let Ok(found) = self.map.find_entry(hash(&self.hasher, tag), same) {
            found.remove();
        }
    }

    pub(super) fn find(&self, tag: Tag) -> Candidates {
        let mut candidates = Candidates { places: [0; MAX_CANDIDATES], count: 0 };
        for route in self.map.iter_hash(hash(&self.hasher, tag)) {
            if route.tag == tag
                && let Some(place) = candidates.places.get_mut(candidates.count)
            {
                *place = route.place;
                candidates.count = candidates.count.saturating_add(1);
            }
        }
        candidates
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }
}

/// A hasher with a key of its own. Draws 16 octets.
pub(super) fn keyed(rng: &mut dyn CryptoRng) -> SipHasher13 {
    let [left, right] = [rng.next_u64(), rng.next_u64()];
    SipHasher13::new_with_keys(left, right)
}

fn hash(hasher: &SipHasher13, tag: Tag) -> u64 {
    let mut octets = [tag.kind as u8; 9];
    for (to, from) in octets.iter_mut().zip(tag.octets) {
        *to = from;
    }
    hasher.hash(&octets)
}

/// The machines that a message may be for: none, or almost always one.
pub(super) struct Candidates {
    places: [u32; MAX_CANDIDATES],
    count: usize,
}

impl Candidates {
    pub(super) fn as_slice(&self) -> &[u32] {
        self.places.get(..self.count).unwrap_or_default()
    }
}
