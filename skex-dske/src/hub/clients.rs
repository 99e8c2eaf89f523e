//! The clients of a hub by number and by tag. A number is never given twice: the slot of a client that was revoked stays
//! empty for good.

use alloc::vec::Vec;

use super::Client;
use crate::id::{ClientId, ClientTag};

pub(super) struct Clients<P> {
    slots: Vec<Option<Client<P>>>,
    /// All clients in the order of their tags: a quarter of what a map would take.
    by_tag: Vec<ClientId>,
}

impl<P> Clients<P> {
    pub(super) fn with_capacity(clients: usize) -> Self {
        Self { slots: Vec::with_capacity(clients), by_tag: Vec::with_capacity(clients) }
    }

    /// Numbers that were given.
    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, id: ClientId) -> Option<&Client<P>> {
        self.slots.get(usize::try_from(id.number()).ok()?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client<P>> {
        self.slots.get_mut(usize::try_from(id.number()).ok()?)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Client<P>> {
        self.slots.iter().flatten()
    }

    /// The client with this tag.
    pub(super) fn of_tag(&self, tag: ClientTag) -> Option<ClientId> {
        self.place_of(tag).ok().and_then(|place| self.by_tag.get(place).copied())
    }

    fn place_of(&self, tag: ClientTag) -> Result<usize, usize> {
        let tag_of = |id: &ClientId| self.get(*id).map(|client| client.tag);
        self.by_tag.binary_search_by_key(&Some(tag), tag_of)
    }

    /// Gives the next number to `client`; `None` gives it to nobody. `false`: its tag is another client's.
    #[must_use]
    pub(super) fn push(&mut self, client: Option<Client<P>>) -> bool {
        let Some(new) = &client else {
            self.slots.push(None);
            return true;
        };
        let (id, Err(place)) = (new.link.keys.client(), self.place_of(new.tag)) else { return false };
        self.slots.push(client);
        self.by_tag.insert(place, id);
        true
    }

    /// Takes a client out for good.
    pub(super) fn remove(&mut self, id: ClientId) -> Option<Client<P>> {
        let tag = self.get(id)?.tag;
        if let Ok(place) = self.place_of(tag) {
            self.by_tag.remove(place);
        }
        self.slots.get_mut(usize::try_from(id.number()).ok()?)?.take()
    }
}
