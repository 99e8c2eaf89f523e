//! The clients of a hub or of a shard of it, by number.

use alloc::vec::Vec;

use super::Client;
use super::shard::Shard;
use crate::id::ClientId;

pub(super) struct Clients<P> {
    shard: Shard,
    /// Those of this shard in the order of their numbers, as many as there are at the start. The slot of a client that was revoked stays empty for
    /// good.
    first: Vec<Option<Client<P>>>,
    room: usize,
    /// Those that come later. A list that grows would leave copies of everybody's keys behind.
    further: Vec<Vec<Option<Client<P>>>>,
}

/// Clients of each list beside the first.
const LIST: usize = 64;

impl<P> Clients<P> {
    /// With room for clients up to the one of this number, if there is one.
    pub(super) fn up_to(shard: Shard, last: Option<ClientId>) -> Self {
        let room = last.and_then(|last| shard.place_of(last)).map_or(0, |place| place.saturating_add(1));
        Self { shard, first: Vec::with_capacity(room), room, further: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.further.iter().map(Vec::len).fold(self.first.len(), usize::saturating_add)
    }

    /// In which list a client is, and where there.
    fn place(&self, id: ClientId) -> Option<(Option<usize>, usize)> {
        let place = self.shard.place_of(id)?;
        Some(match place.checked_sub(self.room) {
            None => (None, place),
            Some(beyond) => (Some(beyond / LIST), beyond % LIST),
        })
    }

    pub(super) fn get(&self, id: ClientId) -> Option<&Client<P>> {
        let (list, place) = self.place(id)?;
        list.map_or(Some(&self.first), |list| self.further.get(list))?.get(place)?.as_ref()
    }

    fn slot(&mut self, id: ClientId) -> Option<&mut Option<Client<P>>> {
        let (list, place) = self.place(id)?;
        match list {
            None => self.first.get_mut(place),
            Some(list) => self.further.get_mut(list)?.get_mut(place),
        }
    }

    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client<P>> {
        self.slot(id)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Client<P>> {
        self.first.iter().chain(self.further.iter().flatten()).flatten()
    }

    /// Puts a client into the slot of its number. `false`: that is another shard's, or it was given before.
    #[must_use]
    pub(super) fn put(&mut self, id: ClientId, client: Client<P>) -> bool {
        let Some(place) = self.shard.place_of(id).filter(|place| *place >= self.len()) else {
            return false;
        };
        (self.len()..place).for_each(|_| self.push(None));
        self.push(Some(client));
        true
    }

    fn push(&mut self, slot: Option<Client<P>>) {
        if self.first.len() < self.room {
            return self.first.push(slot);
        }
        if self.further.last().is_none_or(|list| list.len() >= LIST) {
            self.further.push(Vec::with_capacity(LIST));
        }
        if let Some(list) = self.further.last_mut() {
            list.push(slot);
        }
    }

    /// Takes a client out for good.
    pub(super) fn remove(&mut self, id: ClientId) -> Option<Client<P>> {
        self.slot(id)?.take()
    }
}
