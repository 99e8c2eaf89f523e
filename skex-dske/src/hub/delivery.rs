//! A share leaves for its responder and is answered (docs/draft-skex-dske.md, "Hub").

use alloc::vec::Vec;

use rand_core::CryptoRng;
use skex_core::machine::{DiscardReason, Disposition, Instant, TransmitClass};
use skex_wire::dske::{Answer, Tagged, share_elements};

use super::relay::{RelayId, StoredConfirmation, storage_key};
use super::{Hub, Timer};
use crate::backoff::Backoff;
use crate::id::ClientId;
use crate::key::Origin;
use crate::link::SentShare;
use crate::psrd::{AllocateError, Pad, Place};

impl<P: Pad> Hub<P> {
    /// Sends the share of a relay to its responder, in a block of its own, if there is a lease for it.
    pub(super) fn deliver(&mut self, now: Instant, rng: &mut dyn CryptoRng, id: RelayId) {
        let pace = self.limits.pace();
        let Some(initiator) = self.client(id.0).map(|client| client.tag) else { return };
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let responder = relay.responder;
        let (Some(share), None) = (&relay.share, &relay.delivery) else { return };
        let Some(elements) = share_elements(relay.key_len) else { return };
        let Some(client) = usize::try_from(responder.number()).ok().and_then(|i| self.clients.get_mut(i))
        else {
            return;
        };
        if client.link.session.is_none() {
            return;
        }
        if !client.link.outgoing.has_room(elements, Origin::Refill) {
            self.ask_for_lease(now, rng, responder, elements);
            return;
        }
        let (block, after) = match client.link.allocate(relay.key_len, Origin::Refill) {
            Ok(allocated) => allocated,
            // The rest of the lease was erased ground.
            Err(AllocateError::NeedsLease) => return self.ask_for_lease(now, rng, responder, elements),
            Err(_) => return,
        };
        let (place, tag_key, answer_key) = (block.place, block.tag_key, block.answer_key);
        let masked = block.pad.mask(share);
        let Some(terms) = relay.terms() else { return };
        let message =
            client.link.share_message((place, tag_key), id.1, initiator, terms, &relay.secret_tag, &masked);
        let Some(inner) = message else { return };
        let after = after.max(relay.after);
        let backoff = Backoff::new(now, pace);
        self.timers.insert((backoff.due(), Timer::Delivery(id)));
        relay.delivery = Some((SentShare { place, inner: inner.clone(), answer_key, after }, backoff));
        self.send(responder, &inner, after, TransmitClass::Request);
    }

    /// Delivers what waits for a responder and was not delivered yet. What was is repeated at its own pace: a short
    /// question, from whatever address, must not bring everything at once.
    pub(super) fn deliver_waiting(&mut self, now: Instant, rng: &mut dyn CryptoRng, responder: ClientId) {
        let waiting: Vec<RelayId> = self.waiting.get(&responder).into_iter().flatten().copied().collect();
        for id in waiting {
            self.deliver(now, rng, id);
        }
    }

    /// A responder's answer to a delivery: the share has done its work.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        responder: ClientId,
        answer: &Tagged<'_, Answer<'_>>,
    ) -> Result<Disposition, DiscardReason> {
        let place = Place { table: answer.message.table, index: answer.message.index };
        let waiting = self.waiting.get(&responder).into_iter().flatten();
        let sent = |id: &&RelayId| {
            let delivery = self.relays.get(id).and_then(|relay| relay.delivery.as_ref());
            delivery.is_some_and(|(sent, _)| sent.place == place)
        };
        let id = *waiting.into_iter().find(sent).ok_or(DiscardReason::Stale)?;
        let relay = self.relays.get_mut(&id).ok_or(DiscardReason::Stale)?;
        let client = usize::try_from(responder.number()).ok().and_then(|i| self.clients.get_mut(i));
        let client = client.ok_or(DiscardReason::UnknownPeer)?;
        let (delivery, backoff) = relay
            .delivery
            .take_if(|(sent, _)| client.link.verifies_answer(&sent.answer_key, answer))
            .ok_or(DiscardReason::Unauthentic)?;
        client.link.outgoing.settle(delivery.place);
        self.timers.remove(&(backoff.due(), Timer::Delivery(id)));
        relay.share = None;
        self.journal.wipe_soon(now);
        relay.confirmation = answer.message.confirmation.map(|confirmation| StoredConfirmation {
            origins: confirmation.origins.to_vec(),
            lying: confirmation.lying.to_vec(),
            tag: confirmation.tag,
        });
        relay.after = self.journal.after();
        self.journal.set(&storage_key(id), relay.encode(now));
        if let Some(waiting) = self.waiting.get_mut(&responder) {
            waiting.remove(&id);
        }
        self.relayed = self.relayed.saturating_add(1);
        self.pass_on_confirmation(now, id);
        Ok(Disposition::Accepted)
    }

    pub(super) fn repeat_delivery(&mut self, now: Instant, id: RelayId) {
        let pace = self.limits.pace();
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let Some((sent, backoff)) = &mut relay.delivery else { return };
        let due = backoff.take_due(now, pace);
        self.timers.insert((backoff.due(), Timer::Delivery(id)));
        if due {
            let (responder, inner, after) = (relay.responder, sent.inner.clone(), sent.after);
            self.send(responder, &inner, after, TransmitClass::Retransmission);
        }
    }
}
