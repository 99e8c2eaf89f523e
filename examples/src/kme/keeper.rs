//! Who gets which key: the rules of the server, and nothing else.
//!
//! - A key that this KME asked for waits in `ready` until an SAE here begins with it; one that the other KME asked for is
//!   held until the SAE here that it was made for fetches it. Which pair a key serves is decided when it is handed out, and
//!   is part of its id and of its octets ([`naming`](super::naming)).
//! - A key leaves `ready` or what is held once. It is erased from storage, durably, before its octets are given to anybody:
//!   a crash in between loses the key, and never gives it twice.
//! - A request is granted whole or not at all. One that is refused changes nothing.
//! - The same key for further SAEs goes to their KMEs in messages, each under a key that is used up by it ([`relays`]).

mod relays;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context as _, Result, bail};
use skex_core::machine::Instant;
use skex_core::{KeyBytes, KeyId, OutputKey};
use skex_dske::ClientTag;

use super::name::Name;
use super::naming::{Delivery, DeliveryId, Pair, Place, deliver, place};
use super::relay::{Answer, mark};
use super::settings::{Link, PeerSettings, Settings};
pub(crate) use relays::{Declined, Relay, Wanted};

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

/// A key that an SAE here has from an SAE that began it for several, until it is fetched.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// What stands for the two SAEs ([`mark`]).
    pub(crate) pair: [u8; 16],
    /// What was answered when it came.
    pub(crate) answer: Answer,
    pub(crate) delivery: Delivery,
}

/// What is in a slot.
#[derive(Debug)]
pub(crate) enum Stored {
    Key(Kept),
    Relayed(Relayed),
}

/// Storage.
pub(crate) trait Vault {
    /// Stores keys, each in the slot that is given for it. Durable when this returns.
    fn put(&mut self, keys: &[Stored]) -> Result<Vec<Slot>>;

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
    /// The same key cannot be for these SAEs too.
    Additional(Fault),
    /// Storage failed. Nobody knows what is durable, so nothing is given any more before a restart.
    Broken,
}

/// What is wrong with additional SAEs: with which of them, from 0 on, or with all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// More than a request may have.
    TooMany,
    /// The SAE that asks may have no keys with it.
    NoLink(usize),
    /// It is the SAE that asks, the slave, or was named before.
    Twice(usize),
    /// Nobody said where its KME answers.
    NoAddress(usize),
    /// Keys for several SAEs have fewer bits, and are fewer in one request.
    Size,
    Number,
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
    stored: Stored,
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
    relayed: BTreeMap<(usize, DeliveryId), Slot>,
    budgets: Vec<Budget>,
    broken: bool,
}

impl<V: Vault> Keeper<V> {
    /// From the settings, the tags of its peers in their order, and what storage holds, oldest first.
    pub(crate) fn new(
        settings: Settings,
        tags: Vec<ClientTag>,
        vault: V,
        stored: Vec<(Slot, Stored)>,
    ) -> Self {
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
            relayed: BTreeMap::new(),
            budgets,
            broken: false,
        };
        for (slot, stored) in stored {
            keeper.remember(slot, stored);
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
        let stored = [Stored::Key(kept)];
        let slots = self.vault.put(&stored).inspect_err(|_| self.broken = true)?;
        let [stored] = stored;
        let slot = *slots.first().context("a key was not stored")?;
        self.remember(slot, stored);
        Ok(Arrival::Stored(slot))
    }

    fn remember(&mut self, slot: Slot, stored: Stored) {
        if let Stored::Key(kept) = &stored {
            self.known.insert((kept.peer, kept.key.id()));
        }
        self.keys.insert(slot, Entry { stored, places: Vec::new() });
    }

    /// Makes a key that was taken in available.
    pub(crate) fn open(&mut self, slot: Slot) {
        let Some(entry) = self.keys.get_mut(&slot) else { return };
        let mut links = self.settings.links.iter().enumerate();
        // A peer or a link that is no longer in the settings: its keys stay where they are.
        let queue = match &entry.stored {
            Stored::Key(kept) => {
                let Some(peer) = self.tags.iter().position(|tag| *tag == kept.peer) else { return };
                match kept.part {
                    Part::Made => self.ready.get_mut(peer),
                    Part::Received => {
                        let of_peer = links.filter(|(_, link)| link.peer == peer);
                        entry.places = of_peer
                            .filter_map(|(number, link)| Some((number, place(&kept.key, following(link))?)))
                            .collect();
                        self.places.extend(entry.places.iter().map(|place| (*place, slot)));
                        self.held.get_mut(peer)
                    }
                }
            }
            Stored::Relayed(relayed) => {
                let is_its = |(_, link): &(usize, &Link)| mark(following(link)) == Some(relayed.pair);
                let Some((number, link)) = links.find(is_its) else { return };
                self.relayed.insert((number, relayed.delivery.id), slot);
                self.held.get_mut(link.peer)
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
        let wanted = Wanted { master, slave, additional: &[], number, bits };
        self.begin_for_several(now, &wanted).map(|begun| begun.keys)
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
            let (slot, delivery) = self.find(number, pair, *id).ok_or(Refusal::NotFound)?;
            if slots.contains(&slot) {
                return Err(Refusal::Twice);
            }
            slots.push(slot);
            deliveries.push(delivery);
        }
        self.erase(&slots)?;
        Ok(deliveries)
    }

    /// The key of this id for the SAE of this link that follows.
    fn find(&self, number: usize, pair: Pair<'_>, id: DeliveryId) -> Option<(Slot, Delivery)> {
        let (place, octets) = id.place_and_octets();
        if !self.settings.is_size(u32::from(octets).saturating_mul(8)) {
            return None;
        }
        let (relayed, made) = (self.relayed.get(&(number, id)), self.places.get(&(number, place)));
        let slot = *relayed.or(made)?;
        let delivery = match &self.keys.get(&slot)?.stored {
            Stored::Key(kept) => deliver(&kept.key, pair, octets)?,
            Stored::Relayed(relayed) => relayed.copied()?,
        };
        (delivery.id == id).then_some((slot, delivery))
    }

    fn link(&self, local: &Name, remote: &Name) -> Result<(usize, &Link), Refusal> {
        let mut links = self.settings.links.iter().enumerate();
        links.find(|(_, link)| link.local == *local && link.remote == *remote).ok_or(Refusal::NoLink)
    }

    fn octets(&self, bits: u32) -> Result<u16, Refusal> {
        let octets = self.settings.is_size(bits).then_some(bits / 8).ok_or(Refusal::Size)?;
        u16::try_from(octets).map_err(|_| Refusal::Size)
    }

    /// The key of DSKE in this slot.
    fn key(&self, slot: Slot) -> Option<&OutputKey> {
        match &self.keys.get(&slot)?.stored {
            Stored::Key(kept) => Some(&kept.key),
            Stored::Relayed(_) => None,
        }
    }

    /// These keys are gone, in storage first.
    fn erase(&mut self, slots: &[Slot]) -> Result<(), Refusal> {
        let erased = self.vault.erase(slots);
        // Gone from memory in any case: where storage failed, nobody gets them before a restart says what is there.
        for entry in slots.iter().filter_map(|slot| self.keys.remove(slot)) {
            if let Stored::Key(kept) = &entry.stored {
                self.known.remove(&(kept.peer, kept.key.id()));
            }
            for place in &entry.places {
                self.places.remove(place);
            }
        }
        self.relayed.retain(|_, slot| !slots.contains(slot));
        let queues = self.ready.iter_mut().chain(&mut self.held);
        queues.for_each(|queue| queue.retain(|slot| !slots.contains(slot)));
        erased.map_err(|_| {
            self.broken = true;
            Refusal::Broken
        })
    }
}

impl Relayed {
    fn copied(&self) -> Option<Delivery> {
        Some(Delivery { id: self.delivery.id, key: KeyBytes::copied_from(self.delivery.key.expose())? })
    }
}

/// The pair in which the SAE here follows.
const fn following(link: &Link) -> Pair<'_> {
    Pair { master: &link.remote, slave: &link.local }
}

/// How many keys an SAE may still begin: so many a minute, and so many at once after a minute of rest.
#[derive(Clone, Debug)]
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
