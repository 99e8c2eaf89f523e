//! Who gets which key: the rules of the server, and nothing else.
//!
//! - A key that this KME asked for waits in `ready` until an SAE here begins with it; one that the other KME asked for is
//!   held until the SAE here that it was made for fetches it. Which pair a key serves is decided when it is handed out, and
//!   is part of its id and of its octets ([`naming`](super::naming)).
//! - A key leaves `ready` or what is held once. It is erased from storage, durably, before its octets are given to anybody:
//!   a crash in between loses the key, and never gives it twice.
//! - A request is granted whole or not at all. One that is refused changes nothing.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Result, bail};
use skex_core::machine::Instant;
use skex_core::{KeyId, OutputKey};
use skex_dske::ClientTag;

use super::name::Name;
use super::naming::{Delivery, DeliveryId, Pair, Place, deliver, place};
use super::settings::{Link, PeerSettings, Settings};

/// A place in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u32);

/// What this KME had to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It asked for it: for SAEs here that begin.
    Made,
    /// The other KME did: for SAEs here that follow.
    Received,
}

/// A key and all that is stored of it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) peer: ClientTag,
    pub(crate) part: Part,
    pub(crate) key: OutputKey,
}

/// Storage.
pub(crate) trait Vault {
    /// Stores a key. Durable when this returns.
    fn put(&mut self, key: &Kept) -> Result<Slot>;

    /// Erases keys. None of them is there any more, whatever happens, when this returns.
    fn erase(&mut self, slots: &[Slot]) -> Result<()>;
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No link is between these SAEs.
    NoLink,
    /// A key cannot have so many bits.
    Size,
    /// No keys, or more than a request may ask for.
    Number,
    /// An id twice in one request.
    Twice,
    /// At least one of the keys is not here for this pair: it never was, or it was given.
    NotFound,
    /// Fewer keys are ready.
    NotReady,
    /// This SAE has begun too many keys within the minute.
    TooMany,
    /// Storage failed. Nobody knows what is durable, so nothing is given any more before a restart.
    Broken,
}

/// What became of a key that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is stored; [`Keeper::open`] makes it available.
    Stored(Slot),
    /// It was here already.
    Known,
    /// It is not one for SAEs.
    Unusable,
    /// It is of a client that is no peer here, and so not the KME's to take.
    Foreign,
}

struct Entry {
    kept: Kept,
    /// Its entries in `places`.
    places: Vec<(usize, Place)>,
}

/// Octets of the keys that KMEs make with each other.
pub(crate) const KEY_LEN: usize = 32;

pub(crate) struct Keeper<V> {
    settings: Settings,
    tags: Vec<ClientTag>,
    vault: V,
    keys: BTreeMap<Slot, Entry>,
    known: BTreeSet<(ClientTag, KeyId)>,
    /// For each peer, oldest first.
    ready: Vec<VecDeque<Slot>>,
    held: Vec<VecDeque<Slot>>,
    /// By link.
    places: BTreeMap<(usize, Place), Slot>,
    budgets: Vec<Budget>,
    broken: bool,
}

impl<V: Vault> Keeper<V> {
    /// From the settings, the tags of its peers in their order, and what storage holds, oldest first.
    pub(crate) fn new(settings: Settings, tags: Vec<ClientTag>, vault: V, stored: Vec<(Slot, Kept)>) -> Self {
        let budgets = settings.links.iter().map(|link| Budget::new(link.per_minute)).collect();
        let of_each = || settings.peers.iter().map(|_| VecDeque::new()).collect();
        let (ready, held) = (of_each(), of_each());
        let mut keeper = Self {
            settings,
            tags,
            vault,
            keys: BTreeMap::new(),
            known: BTreeSet::new(),
            ready,
            held,
            places: BTreeMap::new(),
            budgets,
            broken: false,
        };
        for (slot, kept) in stored {
            keeper.known.insert((kept.peer, kept.key.id()));
            keeper.keys.insert(slot, Entry { kept, places: Vec::new() });
            keeper.open(slot);
        }
        keeper
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether storage has failed.
    pub(crate) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// How many keys each peer is to be asked for, so that as many are ready as should be.
    pub(crate) fn missing(&self) -> impl Iterator<Item = (ClientTag, &PeerSettings, usize)> {
        let peers = self.tags.iter().zip(&self.settings.peers).zip(&self.ready);
        peers.map(|((tag, peer), ready)| {
            let wanted = usize::try_from(peer.ready).unwrap_or(usize::MAX);
            (*tag, peer, wanted.saturating_sub(ready.len()))
        })
    }

    /// Takes a key in that DSKE made, durably. It is given to nobody before [`Self::open`].
    ///
    /// # Errors
    /// Storage failed: the program has to end.
    pub(crate) fn take_in(&mut self, kept: Kept) -> Result<Arrival> {
        if self.broken {
            bail!("storage failed before");
        }
        let Some(peer) = self.tags.iter().position(|tag| *tag == kept.peer) else {
            return Ok(Arrival::Foreign);
        };
        if kept.key.secret().len() != KEY_LEN || !kept.key.is_confirmed() {
            return Ok(Arrival::Unusable);
        }
        if self.known.contains(&(kept.peer, kept.key.id())) {
            return Ok(Arrival::Known);
        }
        let room = self.settings.peers.get(peer).map_or(0, |peer| peer.held);
        let is_full = |held: &VecDeque<Slot>| held.len() >= usize::try_from(room).unwrap_or(usize::MAX);
        if kept.part == Part::Received
            && let Some(oldest) = self.held.get(peer).filter(|held| is_full(held)).and_then(VecDeque::front)
        {
            self.erase(&[*oldest]).map_err(|_| anyhow::anyhow!("a key could not be erased"))?;
        }
        let slot = self.vault.put(&kept).inspect_err(|_| self.broken = true)?;
        self.known.insert((kept.peer, kept.key.id()));
        self.keys.insert(slot, Entry { kept, places: Vec::new() });
        Ok(Arrival::Stored(slot))
    }

    /// Makes a key that was taken in available.
    pub(crate) fn open(&mut self, slot: Slot) {
        let Some(entry) = self.keys.get_mut(&slot) else { return };
        // A peer that is no longer in the settings: its keys stay where they are.
        let Some(peer) = self.tags.iter().position(|tag| *tag == entry.kept.peer) else { return };
        let queue = match entry.kept.part {
            Part::Made => self.ready.get_mut(peer),
            Part::Received => {
                let links = self.settings.links.iter().enumerate().filter(|(_, link)| link.peer == peer);
                entry.places = links
                    .filter_map(|(number, link)| Some((number, place(&entry.kept.key, following(link))?)))
                    .collect();
                self.places.extend(entry.places.iter().map(|place| (*place, slot)));
                self.held.get_mut(peer)
            }
        };
        queue.into_iter().for_each(|queue| queue.push_back(slot));
    }

    /// Whether somebody of this name is an SAE of this KME.
    pub(crate) fn is_local(&self, sae: &Name) -> bool {
        self.settings.links.iter().any(|link| link.local == *sae)
    }

    /// Whom an SAE of this KME may have keys with.
    pub(crate) fn partners(&self, sae: &Name) -> impl Iterator<Item = &Name> {
        self.settings.links.iter().filter(move |link| link.local == *sae).map(|link| &link.remote)
    }

    /// How things stand between an SAE here and one there: the other KME, keys that are ready.
    ///
    /// # Errors
    /// [`Refusal::NoLink`].
    pub(crate) fn stock(&self, local: &Name, remote: &Name) -> Result<(&PeerSettings, usize), Refusal> {
        let (_, link) = self.link(local, remote)?;
        let peer = self.settings.peers.get(link.peer).ok_or(Refusal::NoLink)?;
        Ok((peer, self.ready.get(link.peer).map_or(0, VecDeque::len)))
    }

    /// Gives an SAE here new keys with one there.
    ///
    /// # Errors
    /// [`Refusal`]. Unless it is [`Refusal::Broken`], nothing changed.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        (master, slave): (&Name, &Name),
        number: u32,
        bits: u32,
    ) -> Result<Vec<Delivery>, Refusal> {
        let (place, link) = self.link(master, slave)?;
        let peer = link.peer;
        let octets = self.octets(bits)?;
        if !(1..=self.settings.max_key_per_request).contains(&number) {
            return Err(Refusal::Number);
        }
        if self.broken {
            return Err(Refusal::Broken);
        }
        let count = usize::try_from(number).map_err(|_| Refusal::Number)?;
        let ready = self.ready.get(peer).ok_or(Refusal::NoLink)?;
        let slots: Vec<Slot> = ready.iter().take(count).copied().collect();
        if slots.len() < count {
            return Err(Refusal::NotReady);
        }
        let pair = Pair { master, slave };
        let deliveries = self.deliveries(&slots, |key| deliver(key, pair, octets)).ok_or(Refusal::Broken)?;
        let budget = self.budgets.get_mut(place).ok_or(Refusal::NoLink)?;
        if !budget.spend(now, number) {
            return Err(Refusal::TooMany);
        }
        self.erase(&slots)?;
        Ok(deliveries)
    }

    /// Gives an SAE here the keys that one there has begun.
    ///
    /// # Errors
    /// [`Refusal`]. Unless it is [`Refusal::Broken`], nothing changed.
    pub(crate) fn follow(
        &mut self,
        (slave, master): (&Name, &Name),
        ids: &[DeliveryId],
    ) -> Result<Vec<Delivery>, Refusal> {
        let (number, _) = self.link(slave, master)?;
        let most = usize::try_from(self.settings.max_key_per_request).unwrap_or(usize::MAX);
        if !(1..=most).contains(&ids.len()) {
            return Err(Refusal::Number);
        }
        if self.broken {
            return Err(Refusal::Broken);
        }
        let pair = Pair { master, slave };
        let (mut slots, mut deliveries) = (Vec::new(), Vec::new());
        for id in ids {
            let (place, octets) = id.place_and_octets();
            if !self.settings.is_size(u32::from(octets).saturating_mul(8)) {
                return Err(Refusal::NotFound);
            }
            let slot = self.places.get(&(number, place)).ok_or(Refusal::NotFound)?;
            let entry = self.keys.get(slot).ok_or(Refusal::NotFound)?;
            let delivery = deliver(&entry.kept.key, pair, octets).ok_or(Refusal::NotFound)?;
            if delivery.id != *id {
                return Err(Refusal::NotFound);
            }
            if slots.contains(slot) {
                return Err(Refusal::Twice);
            }
            slots.push(*slot);
            deliveries.push(delivery);
        }
        self.erase(&slots)?;
        Ok(deliveries)
    }

    fn link(&self, local: &Name, remote: &Name) -> Result<(usize, &Link), Refusal> {
        let mut links = self.settings.links.iter().enumerate();
        links.find(|(_, link)| link.local == *local && link.remote == *remote).ok_or(Refusal::NoLink)
    }

    fn octets(&self, bits: u32) -> Result<u16, Refusal> {
        let octets = self.settings.is_size(bits).then_some(bits / 8).ok_or(Refusal::Size)?;
        u16::try_from(octets).map_err(|_| Refusal::Size)
    }

    fn deliveries(
        &self,
        slots: &[Slot],
        deliver: impl Fn(&OutputKey) -> Option<Delivery>,
    ) -> Option<Vec<Delivery>> {
        slots.iter().map(|slot| deliver(&self.keys.get(slot)?.kept.key)).collect()
    }

    /// These keys are gone, in storage first.
    fn erase(&mut self, slots: &[Slot]) -> Result<(), Refusal> {
        let erased = self.vault.erase(slots);
        // Gone from memory in any case: where storage failed, nobody gets them before a restart says what is there.
        for entry in slots.iter().filter_map(|slot| self.keys.remove(slot)) {
            self.known.remove(&(entry.kept.peer, entry.kept.key.id()));
            for place in &entry.places {
                self.places.remove(place);
            }
        }
        let queues = self.ready.iter_mut().chain(&mut self.held);
        queues.for_each(|queue| queue.retain(|slot| !slots.contains(slot)));
        erased.map_err(|_| {
            self.broken = true;
            Refusal::Broken
        })
    }
}

/// The pair in which the SAE here follows.
const fn following(link: &Link) -> Pair<'_> {
    Pair { master: &link.remote, slave: &link.local }
}

/// How many keys an SAE may still begin: so many a minute, and so many at once after a minute of rest.
#[derive(Debug)]
struct Budget {
    per_minute: u64,
    /// In 60000ths of a key: what comes back in a millisecond is then a whole number.
    left: u64,
    since: Instant,
}

const KEY: u64 = 60_000;

impl Budget {
    fn new(per_minute: u32) -> Self {
        let per_minute = u64::from(per_minute);
        Self { per_minute, left: per_minute.saturating_mul(KEY), since: Instant::from_millis(0) }
    }

    fn spend(&mut self, now: Instant, keys: u32) -> bool {
        let passed = now.saturating_since(self.since).min(Duration::from_secs(60));
        let back = u64::try_from(passed.as_millis()).unwrap_or(0).saturating_mul(self.per_minute);
        let most = self.per_minute.saturating_mul(KEY);
        self.left = self.left.saturating_add(back).min(most);
        self.since = self.since.max(now);
        let Some(left) = self.left.checked_sub(u64::from(keys).saturating_mul(KEY)) else { return false };
        self.left = left;
        true
    }
}

#[cfg(test)]
pub(super) mod tests;
