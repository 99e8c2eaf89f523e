//! The relays whose share waits for its responder.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec;
use alloc::vec::Vec;

use super::relay::RelayId;
use crate::id::ClientId;

/// The relays by responder.
#[derive(Default)]
pub(super) struct Waiting(BTreeMap<ClientId, Relays>);

/// Those of one responder, in ascending order.
enum Relays {
    /// Mostly there is one, and it needs no allocation of its own.
    One(RelayId),
    Several(Vec<RelayId>),
}

impl Relays {
    fn as_slice(&self) -> &[RelayId] {
        match self {
            Self::One(id) => core::slice::from_ref(id),
            Self::Several(ids) => ids,
        }
    }
}

impl Waiting {
    /// All that wait, whoever for.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|relays| relays.as_slice().len()).fold(0, usize::saturating_add)
    }

    /// Those that wait for this responder.
    pub(super) fn of(&self, responder: ClientId) -> impl Iterator<Item = RelayId> + '_ {
        self.0.get(&responder).map_or(&[][..], Relays::as_slice).iter().copied()
    }

    pub(super) fn insert(&mut self, responder: ClientId, id: RelayId) {
        let relays = match self.0.entry(responder) {
            Entry::Vacant(none) => {
                none.insert(Relays::One(id));
                return;
            }
            Entry::Occupied(relays) => relays.into_mut(),
        };
        if let Relays::One(first) = *relays {
            *relays = Relays::Several(vec![first]);
        }
        if let Relays::Several(ids) = relays
            && let Err(place) = ids.binary_search(&id)
        {
            ids.insert(place, id);
        }
    }

    pub(super) fn remove(&mut self, responder: ClientId, id: RelayId) {
        let Entry::Occupied(mut relays) = self.0.entry(responder) else { return };
        let is_last = match relays.get_mut() {
            Relays::One(only) => *only == id,
            Relays::Several(ids) => {
                if let Ok(place) = ids.binary_search(&id) {
                    ids.remove(place);
                }
                ids.is_empty()
            }
        };
        if is_last {
            relays.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;
    use skex_core::KeyId;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(ops in proptest::collection::vec((any::<bool>(), 0_u32..3, 0_u8..6), 0..60)) {
            let (mut waiting, mut model) = (Waiting::default(), BTreeSet::new());
            for (comes, responder, key) in ops {
                let (responder, id) = (ClientId::new(responder), (ClientId::new(7), KeyId::new([key; 16])));
                if comes {
                    waiting.insert(responder, id);
                    model.insert((responder, id));
                } else {
                    waiting.remove(responder, id);
                    model.remove(&(responder, id));
                }
                prop_assert_eq!(waiting.len(), model.len());
                let own = model.iter().filter(|(to, _)| *to == responder).map(|(_, id)| *id);
                prop_assert_eq!(waiting.of(responder).collect::<Vec<_>>(), own.collect::<Vec<_>>());
                let responders: BTreeSet<ClientId> = model.iter().map(|(to, _)| *to).collect();
                prop_assert_eq!(waiting.0.len(), responders.len());
            }
        }
    }
}
