//! Leases, at the hub: it grants those of its clients' uplinks and asks for those of their downlinks
//! (docs/draft-skex-dske.md, "Leases").

use alloc::boxed::Box;

use rand_core::CryptoRng;
use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_wire::dske::{LeaseDenied, LeaseGrant, LeaseRequest, Tagged};

use super::{Hub, Timer};
use crate::backoff::Backoff;
use crate::id::ClientId;
use crate::key::Origins;
use crate::link::LeaseAnswer;
use crate::psrd::{Granted, Pad};
use crate::suite::Need;

impl<P: Pad> Hub<P> {
    pub(super) fn on_lease_request(
        &mut self,
        id: ClientId,
        request: &LeaseRequest,
    ) -> Result<Disposition, DiscardReason> {
        let after = self.journal.after();
        let client = self.client_mut(id).ok_or(DiscardReason::UnknownPeer)?;
        match client.link.answer_lease_request(request, after)? {
            LeaseAnswer::Granted { inner, after: granted } => {
                if granted == after {
                    self.store_marks(id);
                }
                self.send(id, &inner, granted, TransmitClass::Reply);
                Ok(Disposition::Accepted)
            }
            LeaseAnswer::Denied { inner } => {
                self.send(id, &inner, Barrier::OPEN, TransmitClass::Reply);
                Err(DiscardReason::Exhausted)
            }
        }
    }

    /// A responder's lease of its downlink.
    pub(super) fn on_lease_grant(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        id: ClientId,
        grant: &Tagged<'_, LeaseGrant>,
    ) -> Result<Disposition, DiscardReason> {
        let after = self.journal.after();
        let client = self.client_mut(id).ok_or(DiscardReason::UnknownPeer)?;
        if client.link.lease_granted(grant, after)? == Granted::Whole {
            client.lease_retry = None;
        }
        self.store_marks(id);
        self.deliver_waiting(now, rng, id);
        Ok(Disposition::Accepted)
    }

    /// A responder has nothing left of a table: what waits goes by another, if there is one.
    pub(super) fn on_lease_denied(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        id: ClientId,
        denied: &LeaseDenied,
    ) -> Result<Disposition, DiscardReason> {
        let client = self.client_mut(id).ok_or(DiscardReason::UnknownPeer)?;
        if !client.link.lease_denied(denied) {
            return Err(DiscardReason::Stale);
        }
        client.lease_retry = None;
        self.deliver_waiting(now, rng, id);
        Ok(Disposition::Accepted)
    }

    pub(super) fn ask_for_lease(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        id: ClientId,
        (need, origins): (Need, Origins),
    ) {
        let Some(pad_elements) = need.pad_elements() else { return };
        let (pace, after) = (self.limits.pace(), self.journal.after());
        let Some(client) = self.client_mut(id) else { return };
        // Not before the client has heard us under the envelope: a request under one that it gives up is lost, and with
        // it what was asked for.
        if !client.confirmed || client.lease_retry.is_some() || !client.link.could_have_room(need, origins) {
            return;
        }
        if let Some((inner, after)) = client.link.lease_request(pad_elements, origins, after, rng) {
            let backoff = Backoff::new(now, pace);
            client.lease_retry = Some(Box::new(backoff));
            self.timers.insert((backoff.due(), Timer::Lease(id)));
            self.store_marks(id);
            self.send(id, &inner, after, TransmitClass::Request);
        }
    }

    pub(super) fn repeat_lease_request(&mut self, now: Instant, rng: &mut dyn CryptoRng, id: ClientId) {
        let (pace, after) = (self.limits.pace(), self.journal.after());
        let Some(client) = self.client_mut(id) else { return };
        let Some(retry) = &mut client.lease_retry else { return };
        let due = retry.take_due(now, pace);
        let next = retry.due();
        if due && client.link.outgoing.asking().is_none() {
            // The pause after a grant of less than was asked for is over.
            client.lease_retry = None;
            self.deliver_waiting(now, rng, id);
            return;
        }
        let request = if due { client.link.lease_request(0, Origins::Any, after, rng) } else { None };
        self.timers.insert((next, Timer::Lease(id)));
        if let Some((inner, after)) = request {
            self.send(id, &inner, after, TransmitClass::Retransmission);
        }
    }
}
