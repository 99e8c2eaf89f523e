//! Ids of keys whose lifetime is over (docs/draft-skex-dske.md, "Responder"): a hub may still hold a share of one, and hubs
//! that wait long enough must not deliver the key once more.

use alloc::boxed::Box;

use skex_core::KeyId;

use super::Id;
use crate::id::ClientTag;
use crate::sorted::Sorted;

/// A bounded set that forgets the oldest id of the initiator that has the most: nobody washes out another's.
#[derive(Default)]
pub(in crate::client) struct Remembered {
    of_peer: Sorted<ClientTag, Box<Ids>>,
    len: usize,
    /// The place of the next one: they count up.
    next: u64,
}

#[derive(Default)]
struct Ids {
    places: Sorted<KeyId, u64>,
    /// By their places, the oldest first.
    oldest: Sorted<(u64, KeyId), ()>,
}

impl Ids {
    fn insert(&mut self, key_id: KeyId, place: u64) -> bool {
        let before = self.places.insert(key_id, place);
        if let Some(before) = before {
            self.oldest.remove(&(before, key_id));
        }
        self.oldest.insert((place, key_id), ());
        before.is_none()
    }

    fn pop_oldest(&mut self) -> Option<KeyId> {
        let &(oldest, ()) = self.oldest.first()?;
        self.oldest.remove(&oldest);
        self.places.remove(&oldest.1);
        Some(oldest.1)
    }
}

impl Remembered {
    pub(in crate::client) const fn len(&self) -> usize {
        self.len
    }

    pub(in crate::client) fn contains(&self, (peer, key_id): &Id) -> bool {
        self.of_peer.get(peer).is_some_and(|ids| ids.places.get(key_id).is_some())
    }

    /// Adds an id behind all others. Gives its place.
    pub(super) fn insert(&mut self, id: Id) -> u64 {
        let place = self.next;
        self.restore(id, place);
        place
    }

    /// Adds an id in the place that it had before.
    pub(super) fn restore(&mut self, (peer, key_id): Id, place: u64) {
        self.next = self.next.max(place.saturating_add(1));
        if self.of_peer.get_or_default(peer).is_some_and(|ids| ids.insert(key_id, place)) {
            self.len = self.len.saturating_add(1);
        }
    }

    /// Takes one out if there are more than `bound`.
    pub(super) fn evict(&mut self, bound: usize) -> Option<Id> {
        if self.len <= bound {
            return None;
        }
        let (&peer, ids) = self.of_peer.iter_mut().max_by_key(|(_, ids)| ids.places.len())?;
        let key_id = ids.pop_oldest()?;
        if ids.places.len() == 0 {
            self.of_peer.remove(&peer);
        }
        self.len = self.len.saturating_sub(1);
        Some((peer, key_id))
    }

    /// All of them with their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, u64)> + '_ {
        self.of_peer
            .iter()
            .flat_map(|(peer, ids)| ids.places.iter().map(|(key_id, place)| ((*peer, *key_id), *place)))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    /// Ids fall with the time at which they come, so that their own order would be the wrong one.
    fn id(peer: u8, nth: u8) -> Id {
        (ClientTag::new([peer; 16]), KeyId::new([0xff - nth; 16]))
    }

    #[test]
    fn an_initiator_washes_out_its_own_oldest_ids_and_nobody_elses() {
        let mut remembered = Remembered::default();
        for nth in 0..3 {
            remembered.insert(id(1, nth));
        }
        for nth in 0..100 {
            remembered.insert(id(2, nth));
            if let Some(evicted) = remembered.evict(10) {
                assert_eq!(evicted, id(2, nth - 7), "the oldest of the one that has the most");
            }
        }
        assert_eq!(remembered.len(), 10);
        assert!((0..3).all(|nth| remembered.contains(&id(1, nth))));
        assert!((93..100).all(|nth| remembered.contains(&id(2, nth))));
    }

    #[test]
    fn the_order_outlives_a_start() {
        let mut before = Remembered::default();
        for nth in 0..5 {
            before.insert(id(1, nth));
        }
        let mut after = Remembered::default();
        // As a snapshot holds them: by id, which is another order.
        before.iter().for_each(|(id, place)| after.restore(id, place));
        after.insert(id(1, 5));
        assert_eq!(after.evict(5), Some(id(1, 0)));
        assert_eq!(after.evict(4), Some(id(1, 1)));
        assert_eq!(after.evict(4), None);
    }
}
