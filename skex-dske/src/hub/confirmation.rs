//! What a responder confirmed goes on to the initiator (docs/draft-skex-dske.md, "Hub").

use alloc::vec::Vec;

use rand_core::CryptoRng;
use skex_core::KeyId;
use skex_core::machine::{Barrier, Instant, Transmit, TransmitClass};
use skex_wire::Writer;
use skex_wire::dske::{Confirm, Confirmation, Fetched};

use super::hand_over::Body;
use super::relay::{Relay, RelayId};
use super::{Client, Hub};
use crate::backoff::{Backoff, Pace};
use crate::id::{ClientId, ClientTag};
use crate::key::encoded;
use crate::outbox::Outbox;
use crate::psrd::Pad;

/// Confirmations that one fetch brings.
const FETCH_CONFIRMATIONS: usize = 32;

impl<P: Pad> Hub<P> {
    /// A client asks for what waits for it.
    pub(super) fn on_fetch(&mut self, now: Instant, rng: &mut dyn CryptoRng, id: ClientId) {
        let waiting = self.waiting.of(id).count();
        let fetched = Fetched::new(u16::try_from(waiting).unwrap_or(u16::MAX));
        if let Some(inner) = encoded(Fetched::LEN, |out| fetched.encode(out)) {
            self.send(id, &inner, Barrier::OPEN, TransmitClass::Reply);
        }
        self.deliver_waiting(now, rng, id);
        self.pass_on_confirmations(now, id);
        self.fetch_elsewhere(now, id);
    }

    /// Tells an initiator what the responders of its keys here confirmed, as far as that is due.
    pub(super) fn pass_on_confirmations(&mut self, now: Instant, id: ClientId) {
        let (first, last) = ((id, KeyId::new([0; 16])), (id, KeyId::new([0xff; 16])));
        // Of a responder that was revoked nothing is passed on: those must not stand before the others for good.
        let is_said =
            |relay: &Relay| relay.confirmation.is_some() && self.roster.tag(relay.responder).is_some();
        let confirmed = self.relays.range(first..=last).filter(|(_, relay)| is_said(relay));
        let due = |relay: &Relay| relay.confirmation_due.is_none_or(|backoff| backoff.due() <= now);
        // Those that were never said first, then those that wait longest: none starves behind the others.
        let unsaid = confirmed.filter(|(_, relay)| due(relay));
        let mut unsaid: Vec<(Option<Instant>, RelayId)> =
            unsaid.map(|(id, relay)| (relay.confirmation_due.map(|backoff| backoff.due()), *id)).collect();
        unsaid.sort_unstable();
        let unsaid = unsaid.into_iter().map(|(_, id)| id).take(FETCH_CONFIRMATIONS);
        unsaid.for_each(|id| self.pass_on_confirmation(now, id));
    }

    /// Tells the initiator what the responder confirmed.
    pub(super) fn pass_on_confirmation(&mut self, now: Instant, id: RelayId) {
        // Nobody says that it came. Who has it asks for other keys, and hears this one ever more seldom.
        let pace = Pace { longest: u32::MAX, ..self.limits.pace() };
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let (Some(confirmation), Some(peer)) = (&relay.confirmation, self.roster.tag(relay.responder)) else {
            return;
        };
        match &mut relay.confirmation_due {
            Some(backoff) => {
                if !backoff.take_due(now, pace) {
                    return;
                }
            }
            None => relay.confirmation_due = Some(Backoff::new(now, pace)),
        }
        if self.shard.owns(id.0) {
            if let (Some(client), Some(said)) = (self.clients.get_mut(id.0), confirmation.wire()) {
                client.confirm(id.1, peer, said, &mut self.outbox);
            }
        } else {
            let body = Body::Confirmation { key_id: id.1, peer, confirmation: confirmation.clone() };
            self.hand_over(self.shard.of(id.0), id.0, body, Barrier::OPEN);
        }
    }
}

impl<P: Pad> Client<P> {
    /// Tells it what the responder `peer` said of a key.
    pub(super) fn confirm(
        &self,
        key_id: KeyId,
        peer: ClientTag,
        said: Confirmation<'_>,
        outbox: &mut Outbox<Transmit<Vec<u8>>>,
    ) {
        let confirm = Confirm::new(*key_id.as_bytes(), *peer.as_bytes(), said);
        let (len, write) = (confirm.encoded_len(), |out: &mut Writer<'_>| confirm.encode(out));
        self.send_written(len, write, Barrier::OPEN, TransmitClass::Reply, outbox);
    }
}
