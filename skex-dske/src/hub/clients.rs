//! The clients of a hub or of a shard of it, by number.

use alloc::vec::Vec;

use super::Client;
use super::shard::Shard;
use crate::id::ClientId;

pub(super) struct Clients<P> {
    shard: Shard,
    /// Those of this shard in the order of their numbers. The slot of a client that was revoked stays empty for good.
    slots: Vec<Option<Client<P>>>,
}

impl<P> Clients<P> {
    pub(super) fn with_capacity(shard: Shard, clients: usize) -> Self {
        Self { shard, slots: Vec::with_capacity(clients) }
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, id: ClientId) -> Option<&Client<P>> {
        self.slots.get(self.shard.place_of(id)?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client<P>> {
        self.slots.get_mut(self.shard.place_of(id)?)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Client<P>> {
        self.slots.iter().flatten()
    }

    /// Puts a client into the slot of its number. `false`: that is another shard's, or it was given before.
    #[must_use]
    pub(super) fn put(&mut self, id: ClientId, client: Client<P>) -> bool {
        let Some(place) = self.shard.place_of(id).filter(|place| *place >= self.slots.len()) else {
            return false;
        };
        self.slots.resize_with(place, || None);
        self.slots.push(Some(client));
        true
    }

    /// Takes a client out for good.
    pub(super) fn remove(&mut self, id: ClientId) -> Option<Client<P>> {
        self.slots.get_mut(self.shard.place_of(id)?)?.take()
    }
}
