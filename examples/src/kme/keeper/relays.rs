//! Keys for more than two SAEs: begun here for SAEs at other KMEs, and taken over from another KME for SAEs here.
//!
//! - Whoever begins gets its keys once every KME of an additional SAE has answered that it has taken them over. The keys of
//!   DSKE, those that are shared and those that wrap them, are gone from storage before a message leaves: where one is not
//!   answered, they are lost, and nobody got anything.
//! - A wrapping key serves one message. It is erased after what came under it was stored, and before that is answered: the
//!   same message again is answered the same, and changes nothing, for as long as its keys wait.
//! - A message that is not right changes nothing and burns nothing.

use std::collections::{BTreeMap, BTreeSet};

use skex_core::machine::Instant;

use super::super::name::Name;
use super::super::naming::{Delivery, Pair, deliver};
use super::super::relay::{Answer, LONGEST_KEY, MOST_KEYS, Message, mark, wrap};
use super::{Budget, Fault, Keeper, Refusal, Relayed, Slot, Stored, Vault};

/// What an SAE here wants to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) master: &'a Name,
    pub(crate) slave: &'a Name,
    /// Further slaves that get the same keys. What is no name is nobody's.
    pub(crate) additional: &'a [Option<Name>],
    pub(crate) number: u32,
    pub(crate) bits: u32,
}

/// Keys for the master, to be given to it when every relay was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) keys: Vec<Delivery>,
    pub(crate) relays: Vec<Relay>,
}

/// A message to the KME of an additional SAE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    pub(crate) sae: Name,
    /// Which of the peers it goes to.
    pub(crate) peer: usize,
    pub(crate) message: Vec<u8>,
    /// The answer that says that it was heeded.
    pub(crate) answer: Answer,
}

/// Why keys of another KME are not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declined {
    /// It is no message.
    Malformed,
    /// No link is between these SAEs by that KME.
    NoLink,
    /// No key may have so many bits here.
    Size,
    /// The wrapping key is not here (it never was, or it was used), or the message was not made with it.
    NotFound,
    /// Another key of one of these ids waits.
    Taken,
    /// More keys than may wait here.
    NoRoom,
    Broken,
}

/// What a request takes, if it is granted.
struct Plan {
    octets: u16,
    shared: Vec<Slot>,
    wrapping: Vec<(Name, usize, Slot)>,
    budgets: Vec<(usize, Budget)>,
}

impl<V: Vault> Keeper<V> {
    /// The peers that have to be reached before this is begun, and for which SAE. Changes nothing.
    ///
    /// # Errors
    /// [`Refusal`], of whatever would be refused then.
    pub(crate) fn peers_for(
        &self,
        now: Instant,
        wanted: &Wanted<'_>,
    ) -> Result<BTreeMap<usize, Name>, Refusal> {
        Ok(self.plan(now, wanted)?.wrapping.into_iter().map(|(sae, peer, _)| (peer, sae)).collect())
    }

    /// Takes new keys for an SAE here, one there, and further ones.
    ///
    /// # Errors
    /// [`Refusal`]. Unless it is [`Refusal::Broken`], nothing changed.
    pub(crate) fn begin_for_several(&mut self, now: Instant, wanted: &Wanted<'_>) -> Result<Begun, Refusal> {
        let Plan { octets, shared, wrapping, budgets } = self.plan(now, wanted)?;
        let pair = Pair { master: wanted.master, slave: wanted.slave };
        let keys: Option<Vec<Delivery>> =
            shared.iter().map(|slot| deliver(self.key(*slot)?, pair, octets)).collect();
        let keys = keys.ok_or(Refusal::Broken)?;
        let relay = |(sae, peer, slot): &(Name, usize, Slot)| {
            let wrapped = wrap(self.key(*slot)?, Pair { master: wanted.master, slave: sae }, &keys)?;
            Some(Relay { sae: sae.clone(), peer: *peer, message: wrapped.message, answer: wrapped.answer })
        };
        let relays = wrapping.iter().map(relay).collect::<Option<_>>().ok_or(Refusal::Broken)?;
        for (number, budget) in budgets {
            self.budgets.get_mut(number).into_iter().for_each(|place| *place = budget.clone());
        }
        let slots: Vec<Slot> = shared.into_iter().chain(wrapping.iter().map(|(_, _, slot)| *slot)).collect();
        self.erase(&slots)?;
        Ok(Begun { keys, relays })
    }

    fn plan(&self, now: Instant, wanted: &Wanted<'_>) -> Result<Plan, Refusal> {
        let (number, link) = self.link(wanted.master, wanted.slave)?;
        let octets = self.octets(wanted.bits)?;
        if !(1..=self.settings.max_key_per_request).contains(&wanted.number) {
            return Err(Refusal::Number);
        }
        let count = usize::try_from(wanted.number).map_err(|_| Refusal::Number)?;
        let others = self.additional(wanted)?;
        if !others.is_empty() && octets > LONGEST_KEY {
            return Err(Refusal::Additional(Fault::Size));
        }
        if !others.is_empty() && count > MOST_KEYS {
            return Err(Refusal::Additional(Fault::Number));
        }
        if self.broken {
            return Err(Refusal::Broken);
        }
        // From the front of each queue: what is shared first, then a wrapping key for each further SAE.
        let mut taken = vec![0_usize; self.ready.len()];
        let mut take = |peer: usize, count: usize| -> Result<Vec<Slot>, Refusal> {
            let (ready, taken) = self.ready.get(peer).zip(taken.get_mut(peer)).ok_or(Refusal::NoLink)?;
            let slots: Vec<Slot> = ready.iter().skip(*taken).take(count).copied().collect();
            *taken = taken.saturating_add(count);
            if slots.len() == count { Ok(slots) } else { Err(Refusal::NotReady) }
        };
        let shared = take(link.peer, count)?;
        let (mut wrapping, mut budgets) = (Vec::new(), vec![(number, wanted.number)]);
        for (sae, number, peer) in others {
            wrapping.extend(take(peer, 1)?.into_iter().map(|slot| (sae.clone(), peer, slot)));
            budgets.push((number, wanted.number));
        }
        let spent = |(number, keys): (usize, u32)| {
            let mut budget = self.budgets.get(number).ok_or(Refusal::NoLink)?.clone();
            if budget.spend(now, keys) { Ok((number, budget)) } else { Err(Refusal::TooMany) }
        };
        let budgets = budgets.into_iter().map(spent).collect::<Result<_, _>>()?;
        Ok(Plan { octets, shared, wrapping, budgets })
    }

    /// The additional SAEs, each with its link and its peer.
    fn additional<'a>(&self, wanted: &Wanted<'a>) -> Result<Vec<(&'a Name, usize, usize)>, Refusal> {
        let most = usize::try_from(self.settings.max_sae_id_count()).unwrap_or(usize::MAX);
        if wanted.additional.len() > most {
            return Err(Refusal::Additional(Fault::TooMany));
        }
        let mut named = BTreeSet::from([wanted.master, wanted.slave]);
        let found = wanted.additional.iter().enumerate().map(|(place, sae)| {
            let sae = sae.as_ref().ok_or(Refusal::Additional(Fault::NoLink(place)))?;
            if !named.insert(sae) {
                return Err(Refusal::Additional(Fault::Twice(place)));
            }
            let (number, link) =
                self.link(wanted.master, sae).map_err(|_| Refusal::Additional(Fault::NoLink(place)))?;
            let peer = self.settings.peers.get(link.peer).ok_or(Refusal::Additional(Fault::NoLink(place)))?;
            if peer.https.is_none() {
                return Err(Refusal::Additional(Fault::NoAddress(place)));
            }
            Ok((sae, number, link.peer))
        });
        found.collect()
    }

    /// Whether somebody of this name is the KME of a peer.
    pub(crate) fn is_kme(&self, name: &Name) -> bool {
        self.settings.peers.iter().any(|peer| peer.kme == *name)
    }

    /// Takes keys over that an SAE at this KME's has begun for an SAE here too. Gives the answer.
    ///
    /// # Errors
    /// [`Declined`]. Unless it is [`Declined::Broken`], nothing changed.
    pub(crate) fn take_over(&mut self, kme: &Name, message: &[u8]) -> Result<Answer, Declined> {
        let message = Message::decode(message).ok_or(Declined::Malformed)?;
        let (number, link) = self.link(&message.slave, &message.master).map_err(|_| Declined::NoLink)?;
        let peer = link.peer;
        let settings = self.settings.peers.get(peer).filter(|peer| peer.kme == *kme);
        let room = usize::try_from(settings.ok_or(Declined::NoLink)?.held).unwrap_or(usize::MAX);
        let is_size = |octets: u16| self.settings.is_size(u32::from(octets).saturating_mul(8));
        if !message.ids().all(|id| is_size(id.place_and_octets().1)) {
            return Err(Declined::Size);
        }
        if self.broken {
            return Err(Declined::Broken);
        }
        let Some(wrapping) = self.places.get(&(number, message.place)).copied() else {
            return self.answered(number, &message).ok_or(Declined::NotFound);
        };
        let key = self.key(wrapping).ok_or(Declined::NotFound)?;
        let (keys, answer) = message.unwrap(key).ok_or(Declined::NotFound)?;
        if keys.len() > room {
            return Err(Declined::NoRoom);
        }
        let pair = mark(Pair { master: &message.master, slave: &message.slave }).ok_or(Declined::NotFound)?;
        // A crash may have come between what is stored below and the end of the wrapping key.
        let mut missing = Vec::new();
        for delivery in keys {
            match self.waiting(number, &delivery) {
                None => missing.push(Stored::Relayed(Relayed { pair, answer, delivery })),
                Some(waiting) if waiting.answer == answer && waiting.delivery == delivery => {}
                Some(_) => return Err(Declined::Taken),
            }
        }
        let held = self.held.get(peer).ok_or(Declined::NoLink)?;
        let excess = held.len().saturating_add(missing.len()).saturating_sub(room).saturating_sub(1);
        let may_go = |slot: &&Slot| **slot != wrapping && !self.came_with(**slot, &answer);
        let oldest: Vec<Slot> = held.iter().filter(may_go).take(excess).copied().collect();
        if !oldest.is_empty() {
            self.erase(&oldest).map_err(|_| Declined::Broken)?;
        }
        let slots = self.vault.put(&missing).map_err(|_| {
            self.broken = true;
            Declined::Broken
        })?;
        for (slot, stored) in slots.into_iter().zip(missing) {
            self.remember(slot, stored);
            self.open(slot);
        }
        self.erase(&[wrapping]).map_err(|_| Declined::Broken)?;
        Ok(answer)
    }

    /// What was answered to a message whose wrapping key is gone, while all that came with it waits.
    fn answered(&self, number: usize, message: &Message<'_>) -> Option<Answer> {
        let mut answers = message.ids().map(|id| {
            let slot = self.relayed.get(&(number, id))?;
            Some(self.relayed_in(*slot)?.answer)
        });
        let first = answers.next()??;
        answers.all(|answer| answer == Some(first)).then_some(first)
    }

    /// What waits at the id of this key already.
    fn waiting(&self, number: usize, delivery: &Delivery) -> Option<&Relayed> {
        self.relayed_in(*self.relayed.get(&(number, delivery.id))?)
    }

    fn came_with(&self, slot: Slot, answer: &Answer) -> bool {
        self.relayed_in(slot).is_some_and(|relayed| relayed.answer == *answer)
    }

    fn relayed_in(&self, slot: Slot) -> Option<&Relayed> {
        match &self.keys.get(&slot)?.stored {
            Stored::Relayed(relayed) => Some(relayed),
            Stored::Key(_) => None,
        }
    }
}

#[cfg(test)]
pub(in crate::kme) mod tests;
