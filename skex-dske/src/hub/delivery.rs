//! A share leaves for its responder and is answered (docs/draft-skex-dske.md, "Hub").

use alloc::boxed::Box;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use skex_core::machine::{DiscardReason, Disposition, Instant, TransmitClass};
use skex_wire::dske::{Answer, Tagged};

use super::relay::{Delivery, Relay, RelayId, StoredConfirmation};
use super::{Hub, Timer};
use crate::backoff::{Backoff, later};
use crate::id::ClientId;
use crate::key::Origins;
use crate::link::{Content, Slot};
use crate::psrd::{AllocateError, Pad};

impl<P: Pad> Hub<P> {
    /// Sends the share of a relay to its responder, in a slot of its own, if there is room for it.
    pub(super) fn deliver(&mut self, now: Instant, rng: &mut dyn CryptoRng, id: RelayId) {
        let pace = self.limits.pace();
        let Some(initiator) = self.roster.tag(id.0) else { return };
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let responder = relay.responder;
        let (Some(share), None) = (&relay.share, &relay.delivery) else { return };
        let Some(need) = relay.need() else { return };
        let Some(client) = self.clients.get_mut(responder) else { return };
        if client.link.session.is_none() {
            return;
        }
        // By whatever table serves it, the first time; then by others of the same origin only, in this start and later ones.
        let origins = if relay.was_sent { Origins::Only(relay.origin) } else { Origins::Any };
        if !client.link.has_room(need, origins) {
            self.ask_for_lease(now, rng, responder, (need, origins));
            return;
        }
        let origin = if relay.was_sent { relay.origin } else { client.link.next_origin(need) };
        if origin != relay.origin {
            relay.origin = origin;
            relay.after = self.journal.after();
            relay.store(now, id, &mut self.journal);
        }
        let origins = Origins::Only(origin);
        let Some(terms) = relay.terms() else { return };
        let content = Content { key_id: id.1, peer: initiator, terms, secret_tag: &relay.secret_tag };
        let mut sent = match client.link.send_share(share, &content, origins) {
            Ok(sent) => sent,
            // The rest of the lease was erased ground.
            Err(AllocateError::NeedsLease) => {
                return self.ask_for_lease(now, rng, responder, (need, origins));
            }
            Err(_) => {
                self.deliver_later(now, responder);
                return self.tell_failures(responder);
            }
        };
        sent.after = sent.after.max(relay.after);
        let backoff = Backoff::new(now, pace);
        self.timers.insert((backoff.due(), Timer::Delivery(id)));
        client.send(&sent.inner, sent.after, TransmitClass::Request, &mut self.outbox);
        relay.was_sent = true;
        relay.delivery = Some(Box::new(Delivery { sent, backoff }));
    }

    /// Delivers what waits for a responder and was not delivered yet. What was is repeated at its own pace: a short
    /// question, from whatever address, must not bring everything at once.
    pub(super) fn deliver_waiting(&mut self, now: Instant, rng: &mut dyn CryptoRng, responder: ClientId) {
        for id in self.waiting_for(responder) {
            self.deliver(now, rng, id);
        }
    }

    /// A table failed: for a moment, perhaps. Nothing need come from the responder that would remind of what waits for it.
    fn deliver_later(&mut self, now: Instant, responder: ClientId) {
        let due = later(now, self.limits.pace().longest);
        let client = self.clients.get_mut(responder);
        if client.is_some_and(|client| !core::mem::replace(&mut client.retries, true)) {
            self.timers.insert((due, Timer::Failed(responder)));
        }
    }

    pub(super) fn deliver_again(&mut self, now: Instant, rng: &mut dyn CryptoRng, responder: ClientId) {
        if let Some(client) = self.clients.get_mut(responder) {
            client.retries = false;
        }
        self.deliver_waiting(now, rng, responder);
    }

    /// The relays whose share waits for a responder, now.
    pub(super) fn waiting_for(&self, responder: ClientId) -> Vec<RelayId> {
        self.waiting.of(responder).collect()
    }

    /// A responder's answer to a delivery: the share has done its work.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        responder: ClientId,
        answer: &Tagged<'_, Answer<'_>>,
    ) -> Result<Disposition, DiscardReason> {
        let slot = Slot::answered_by(&answer.message);
        let answered = |relay: &Relay| {
            relay.delivery.as_ref().is_some_and(|delivery| delivery.sent.answer_key.slot() == slot)
        };
        let (id, relay) = 'found: {
            for id in self.waiting.of(responder) {
                if let Some(relay) = self.relays.get_mut(&id).filter(|relay| answered(relay)) {
                    break 'found (id, relay);
                }
            }
            return Err(DiscardReason::Stale);
        };
        let client = self.clients.get_mut(responder);
        let client = client.ok_or(DiscardReason::UnknownPeer)?;
        let delivery = relay
            .delivery
            .take_if(|delivery| client.link.take_answer(&delivery.sent, answer))
            .ok_or(DiscardReason::Unauthentic)?;
        self.timers.remove(&(delivery.backoff.due(), Timer::Delivery(id)));
        relay.share = None;
        self.journal.wipe_soon(now);
        relay.confirmation = answer.message.confirmation.as_ref().map(StoredConfirmation::of);
        relay.after = self.journal.after();
        relay.store(now, id, &mut self.journal);
        self.waiting.remove(responder, id);
        self.relayed = self.relayed.saturating_add(1);
        self.pass_on_confirmation(now, id);
        Ok(Disposition::Accepted)
    }

    pub(super) fn repeat_delivery(&mut self, now: Instant, rng: &mut dyn CryptoRng, id: RelayId) {
        let pace = self.limits.pace();
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let responder = self.clients.get(relay.responder);
        let Some(delivery) = &mut relay.delivery else { return };
        let Delivery { sent, backoff } = &mut **delivery;
        if responder.is_some_and(|client| client.link.is_void(sent)) {
            relay.delivery = None;
            return self.deliver(now, rng, id);
        }
        let due = backoff.take_due(now, pace);
        self.timers.insert((backoff.due(), Timer::Delivery(id)));
        if due {
            let class = TransmitClass::Retransmission;
            if let Some(client) = self.clients.get_mut(relay.responder) {
                client.send(&sent.inner, sent.after, class, &mut self.outbox);
            }
        }
    }
}
