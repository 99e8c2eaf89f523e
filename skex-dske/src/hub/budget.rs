//! What each initiator may have of a responder's downlink (docs/draft-skex-dske.md, "Hub").
//!
//! Half of the table is divided evenly among the initiators that the responder has authorised, and each has a few blocks at
//! least: nobody else can spend its part. Beyond it, it gets what is left when the parts of all others are kept.

use alloc::vec::Vec;

use skex_wire::Reader;

use super::Hub;
use crate::id::ClientId;
use crate::psrd::Pad;
use crate::state::{Name, RestoreError};
use crate::suite::Need;

/// Blocks of a responder's downlink that every initiator can have at least.
const SMALLEST_PART: u32 = 4;

/// Parts of one downlink at most. Where a responder has authorised more initiators, some of them share one.
const PARTS: usize = 64;

pub(super) const STORED_SPENT: u8 = 3;

impl<P: Pad> Hub<P> {
    /// How many parts the downlink of `responder` has.
    fn parts(&self, responder: ClientId) -> usize {
        let Some(client) = self.client(responder) else { return 0 };
        let initiators = match &client.allowed {
            Some(allowed) if !allowed.all_but => allowed.tags.len(),
            _ => self.roster.clients().saturating_sub(1),
        };
        initiators.min(PARTS)
    }

    /// Which part is that of `initiator`.
    fn part_of(&self, initiator: ClientId, responder: ClientId) -> Option<u8> {
        let place = match &self.client(responder)?.allowed {
            Some(allowed) if !allowed.all_but => {
                let tag = self.roster.tag(initiator)?;
                allowed.tags.iter().position(|authorised| *authorised == tag)?
            }
            // Counted without the responder itself; and where everybody has a part of its own, without those who were revoked.
            _ => {
                let few = has_own_parts(self.roster.clients());
                let number = || usize::try_from(initiator.number()).ok();
                let place = if few { self.roster.clients_below(initiator) } else { number()? };
                place.checked_sub(usize::from(initiator > responder))?
            }
        };
        u8::try_from(place.checked_rem(self.parts(responder))?).ok()
    }

    /// What was spent of each part.
    fn spent_of(&self, responder: ClientId) -> impl Iterator<Item = (u8, u32)> + '_ {
        self.spent.range((responder, 0)..=(responder, u8::MAX)).map(|((_, part), spent)| (*part, *spent))
    }

    /// Whether a share may still be carried by the responder's downlink.
    pub(super) fn is_within_budget(&self, initiator: ClientId, responder: ClientId, need: Need) -> bool {
        let (Some(client), Some(block)) = (self.client(responder), need.elements()) else {
            return false;
        };
        let parts = self.parts(responder);
        let others = u32::try_from(parts).unwrap_or(u32::MAX).saturating_sub(1);
        if others == 0 {
            return true;
        }
        let Some(own) = self.part_of(initiator, responder) else { return false };
        let table = client.link.outgoing.elements();
        let even = (table / 2).checked_div(others.saturating_add(1)).unwrap_or(0);
        let own_part = even.max(block.saturating_mul(SMALLEST_PART));
        let spent = self.spent.get(&(responder, own)).copied().unwrap_or(0);
        if spent.saturating_add(block) <= own_part {
            return true;
        }
        let waiting = self.waiting.of(responder).filter_map(|id| self.relays.get(&id));
        let undelivered = waiting.filter(|relay| relay.delivery.is_none());
        let promised = undelivered.filter_map(|relay| relay.need()?.elements()).fold(0, u32::saturating_add);
        let spent = self.spent_of(responder).filter(|(part, _)| *part != own);
        let used = spent.map(|(_, spent)| spent.min(own_part)).fold(0, u32::saturating_add);
        let kept = others.saturating_mul(own_part).min(table / 2).saturating_sub(used);
        let needed = block.saturating_add(promised).saturating_add(kept);
        client.link.outgoing.remaining() >= needed
    }

    /// A share of `block` elements was accepted. Durable with it: a start of the hub gives nobody a second part.
    pub(super) fn spend(&mut self, initiator: ClientId, responder: ClientId, block: u32) {
        let (parts, part) = (self.parts(responder), self.part_of(initiator, responder));
        let Some(part) = part.filter(|_| parts > 1) else { return };
        let number = self.client(responder).map_or(0, |client| client.link.outgoing.newest());
        let spent = self.spent.entry((responder, part)).or_default();
        *spent = spent.saturating_add(block);
        self.journal.set(spent_key(responder, part), &stored(number, *spent));
    }

    /// The parts are divided anew, and every count begins anew; or the client is gone.
    pub(super) fn forget_spent(&mut self, responder: ClientId) {
        let parts: Vec<u8> = self.spent_of(responder).map(|(part, _)| part).collect();
        for part in parts {
            self.spent.remove(&(responder, part));
            self.journal.remove(spent_key(responder, part));
        }
    }

    /// What was spent before the last start. What was spent before a table was added counts no more.
    pub(super) fn restore_spent(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let (mut key, mut value) = (Reader::new(key), Reader::new(value));
        let (responder, part) = (ClientId::new(key.u32()?), key.u8()?);
        let (number, elements) = (value.u16()?, value.u32()?);
        key.finish()?;
        value.finish()?;
        if !self.has_enrolled(responder) {
            return Err(RestoreError::Configuration);
        }
        // One without tables is revoked at this start.
        let newest = self.client(responder).map(|client| client.link.outgoing.newest());
        if newest == Some(number) && usize::from(part) < self.parts(responder) {
            self.spent.insert((responder, part), elements);
        }
        Ok(())
    }

    /// What a snapshot has to hold of it.
    pub(super) fn store_spent(&mut self) {
        for (&(responder, part), &spent) in &self.spent {
            let number = self.clients.get(responder).map_or(0, |client| client.link.outgoing.newest());
            self.journal.set(spent_key(responder, part), &stored(number, spent));
        }
    }
}

/// Whether each of so many clients has a part of its own in the downlink of a responder that has authorised everybody.
pub(super) const fn has_own_parts(clients: usize) -> bool {
    clients <= PARTS.saturating_add(1)
}

/// number of the table 2, elements 4
fn stored(number: u16, elements: u32) -> [u8; 6] {
    let [n, m] = number.to_be_bytes();
    let [a, b, c, d] = elements.to_be_bytes();
    [n, m, a, b, c, d]
}

fn spent_key(responder: ClientId, part: u8) -> Name {
    Name::of(&[&[STORED_SPENT], &responder.number().to_be_bytes(), &[part]])
}
