//! Who is a client of the hub: numbers, tags and names. All shards of a hub share one.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::id::{ClientId, ClientTag};

/// The clients of a hub by number, by tag and by name. A number is never given twice: that of a client that was revoked stays
/// empty for good.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    tags: Vec<Option<ClientTag>>,
    /// All clients in the order of what is [`scattered`] from their tags, then of these: the tags themselves would miss the cache
    /// in every step of a search, and a map would take four times as much.
    by_tag: Vec<(u32, ClientId)>,
    /// Who has which name: as the configuration says.
    names: BTreeMap<Vec<u8>, ClientId>,
}

impl Roster {
    pub(super) fn new(
        clients: impl ExactSizeIterator<Item = (ClientId, ClientTag)>,
        names: BTreeMap<Vec<u8>, ClientId>,
    ) -> Self {
        let mut roster = Self {
            tags: Vec::with_capacity(clients.len()),
            by_tag: Vec::with_capacity(clients.len()),
            names,
        };
        for (id, tag) in clients {
            // The configuration has checked that numbers grow and that every tag is there once.
            let _ = roster.add(id, tag);
        }
        roster
    }

    /// Numbers that were given.
    pub(super) const fn len(&self) -> usize {
        self.tags.len()
    }

    /// Clients that are there.
    pub(super) const fn clients(&self) -> usize {
        self.by_tag.len()
    }

    /// Clients that are there and have lower numbers: for a few clients.
    pub(super) fn clients_below(&self, id: ClientId) -> usize {
        self.by_tag.iter().filter(|(_, other)| *other < id).count()
    }

    /// The number that the next client gets.
    pub(super) fn next_number(&self) -> ClientId {
        ClientId::new(u32::try_from(self.tags.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn tag(&self, id: ClientId) -> Option<ClientTag> {
        *self.tags.get(usize::try_from(id.number()).ok()?)?
    }

    /// The client with this tag.
    pub(super) fn of_tag(&self, tag: ClientTag) -> Option<ClientId> {
        let place = self.place_of(tag).ok()?;
        self.by_tag.get(place).map(|&(_, id)| id)
    }

    /// The client with this name.
    pub(super) fn of_name(&self, name: &[u8]) -> Option<ClientId> {
        self.names.get(name).copied()
    }

    fn place_of(&self, tag: ClientTag) -> Result<usize, usize> {
        let scattered = scattered(tag);
        self.by_tag
            .binary_search_by(|&(other, id)| other.cmp(&scattered).then_with(|| self.tag(id).cmp(&Some(tag))))
    }

    /// Adds a client, under a number that was not given yet. `false`: its tag is another client's, or its number was given.
    #[must_use]
    pub(super) fn add(&mut self, id: ClientId, tag: ClientTag) -> bool {
        let Err(place) = self.place_of(tag) else { return false };
        if id < self.next_number() {
            return false;
        }
        self.skip_to(id);
        self.tags.push(Some(tag));
        self.by_tag.insert(place, (scattered(tag), id));
        true
    }

    /// All numbers below this were given.
    pub(super) fn skip_to(&mut self, id: ClientId) {
        let given = usize::try_from(id.number()).unwrap_or(usize::MAX);
        if given > self.tags.len() {
            self.tags.resize(given, None);
        }
    }

    /// Whether everybody who is in the `other` is in this one.
    pub(super) fn has_all_of(&self, other: &Self) -> bool {
        let mut both = self.tags.iter().zip(&other.tags);
        self.tags.len() >= other.tags.len() && both.all(|(own, other)| other.is_none() || own == other)
    }

    pub(super) fn name(&mut self, names: &[&[u8]], id: ClientId) {
        self.names.extend(names.iter().map(|name| (name.to_vec(), id)));
    }

    /// Takes a client out for good, with its names.
    pub(super) fn remove(&mut self, id: ClientId) -> Option<ClientTag> {
        let tag = self.tag(id)?;
        if let Ok(place) = self.place_of(tag) {
            self.by_tag.remove(place);
        }
        self.names.retain(|_, owner| *owner != id);
        self.tags.get_mut(usize::try_from(id.number()).ok()?)?.take()
    }
}

/// A few bits of a tag, so that most tags differ in them. Where somebody chooses tags that do not, the tags are compared.
fn scattered(tag: ClientTag) -> u32 {
    // 2^128 divided by the golden ratio, and odd.
    let product =
        u128::from_be_bytes(*tag.as_bytes()).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let [a, b, c, d, ..] = product.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}
