//! A hub in several parts, so that each can run on a thread of its own (docs/draft-skex-dske.md, "Sharded hubs").

use skex_wire::dske::Outer;

use crate::id::{ClientId, HubId};
use crate::state::{Name, RestoreError, Stored};

/// Which part of a hub: it has the clients whose numbers leave this remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    index: u16,
    count: u16,
}

impl Shard {
    /// A hub that is in one piece.
    pub(super) const WHOLE: Self = Self { index: 0, count: 1 };

    pub(super) const fn new(index: u16, count: u16) -> Self {
        Self { index, count }
    }

    pub(super) const fn index(self) -> u16 {
        self.index
    }

    pub(super) const fn is_whole(self) -> bool {
        self.count <= 1
    }

    /// The shard of a client of this hub.
    pub(super) fn of(self, client: ClientId) -> Self {
        Self { index: index_of(client.number(), self.count), count: self.count }
    }

    pub(super) fn owns(self, client: ClientId) -> bool {
        self.of(client) == self
    }

    /// How many clients with smaller numbers this shard has. `None`: the client is not its own.
    pub(super) fn place_of(self, client: ClientId) -> Option<usize> {
        // Clients are looked up all the time, and a division takes long.
        if self.is_whole() {
            return usize::try_from(client.number()).ok();
        }
        let place = client.number().checked_div(u32::from(self.count))?;
        usize::try_from(place).ok().filter(|_| self.owns(client))
    }

    /// How the records of this shard are marked: by the hub's id, changed by the index.
    pub(super) fn machine(self, hub: HubId) -> [u8; 8] {
        let mut machine = hub.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
        if !self.is_whole() {
            let mark = self.index.wrapping_add(1).to_be_bytes();
            machine.iter_mut().rev().zip(mark.iter().rev()).for_each(|(octet, mark)| *octet ^= mark);
        }
        machine
    }

    /// index 2, count 2
    pub(super) fn stored(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.index.to_be_bytes(), self.count.to_be_bytes());
        [a, b, c, d]
    }

    /// Takes out of what was stored whose it is: this shard's, or a new one's.
    ///
    /// With another number of shards a client would be at one that does not know what is used of its tables.
    pub(super) fn check(self, stored: &mut Stored) -> Result<(), RestoreError> {
        let is_new = stored.is_empty();
        match stored.take(&shard_key()) {
            Some(value) if value.expose() == self.stored() && !self.is_whole() => Ok(()),
            None if self.is_whole() || is_new => Ok(()),
            _ => Err(RestoreError::Shard),
        }
    }
}

/// The key of the layout in the stored state of a shard.
const STORED_SHARD: u8 = 8;

pub(super) fn shard_key() -> Name {
    Name::of(&[&[STORED_SHARD]])
}

/// The shard, of so many, that a datagram is for. It needs no key: the number of the client, which stands in clear, says it.
/// `None`: it is no message of this protocol, and can be dropped.
///
/// That the client is who it says is for the shard to find out, as for a hub in one piece.
#[must_use]
pub fn shard_of(datagram: &[u8], shards: u16) -> Option<u16> {
    let outer = Outer::decode(datagram).ok()?;
    Some(index_of(outer.client_id(), shards))
}

/// The shard, of so many, of the client of this number.
fn index_of(client: u32, shards: u16) -> u16 {
    if shards == 1 {
        return 0;
    }
    let index = client.checked_rem(u32::from(shards)).unwrap_or(0);
    u16::try_from(index).unwrap_or(0)
}
