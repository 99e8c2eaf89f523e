//! An initiator's share arrives: taken, or refused with a reason (docs/draft-skex-dske.md, "Hub").

use alloc::collections::BTreeSet;
use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_core::{KeyId, SecretVec};
use skex_wire::dske::{AnswerStatus, Busy, ShareMessage, Tagged};

use super::relay::{GivenAnswer, Relay, RelayId, Verdict, storage_key};
use super::{Hub, Timer};
use crate::id::{ClientId, ClientTag};
use crate::key::{Origin, encoded};
use crate::link::{ReceivedShare, Slot, suite_of};
use crate::psrd::Pad;
use crate::suite::Need;

/// Room in the queue below which no new upload is taken: what is under way needs it.
pub(super) const QUEUE_RESERVE: usize = 64;

/// Refusals that are remembered of each client.
pub(super) const REFUSALS: usize = 16;

impl<P: Pad> Hub<P> {
    /// An initiator's share.
    pub(super) fn on_upload(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        initiator: ClientId,
        message: &Tagged<'_, ShareMessage<'_>>,
    ) -> Result<Disposition, DiscardReason> {
        let upload = &message.message;
        let id = (initiator, KeyId::new(upload.key_id));
        let slot = Slot::of(upload);
        // The same message again: the same answer again, and the confirmation if there is one by now.
        if let Some(relay) = self.relays.get(&id)
            && let Some(given) = relay.answer.as_ref().filter(|given| given.slot == slot)
        {
            let (inner, after) = (given.inner.clone(), relay.after);
            self.send(initiator, &inner, after, TransmitClass::Reply);
            self.pass_on_confirmation(now, id);
            return Err(DiscardReason::Duplicate);
        }
        let client = self.client(initiator).ok_or(DiscardReason::UnknownPeer)?;
        if let Some(given) =
            client.said.iter().flat_map(|said| &said.refusals).find(|given| given.slot == slot)
        {
            let (inner, after) = (given.inner.clone(), given.after);
            self.send(initiator, &inner, after, TransmitClass::Reply);
            return Err(DiscardReason::Duplicate);
        }
        // Nothing is opened that could not be kept: "busy" spends nothing.
        if self.journal.waiting() >= self.limits.changes || self.queue.free() < QUEUE_RESERVE {
            let busy = Busy::new(slot.block.table, slot.block.index);
            if let Some(inner) = encoded(Busy::LEN, |out| busy.encode(out)) {
                self.send(initiator, &inner, Barrier::OPEN, TransmitClass::Reply);
            }
            return Err(DiscardReason::Busy);
        }
        let client = self.client_mut(initiator).ok_or(DiscardReason::UnknownPeer)?;
        let ReceivedShare { share, answer_key, .. } = client.link.open_share(message)?;
        let status = self.judge(id, upload, &share);
        let verdict = Verdict { answer_key, status: status.err().unwrap_or(AnswerStatus::ACCEPTED) };
        let Ok(responder) = status else {
            // That it was withdrawn is said once that is durable.
            let after = self.relays.get(&id).map_or(Barrier::OPEN, |relay| relay.after);
            let given = self.answer(initiator, verdict, after);
            if let (Some(given), Some(client)) = (given, self.client_mut(initiator)) {
                let refusals = &mut client.said.get_or_insert_default().refusals;
                refusals.truncate(REFUSALS.saturating_sub(1));
                refusals.push_front(given);
            }
            return Err(DiscardReason::Policy);
        };
        if !self.relays.contains_key(&id) {
            let after = self.journal.after();
            let expires = now.saturating_add(Duration::from_secs(u64::from(upload.terms.lifetime)));
            let need = suite_of(upload).map(|suite| Need { suite, key_len: upload.terms.key_len });
            let origin = self.client(responder).zip(need).map(|(to, need)| to.link.next_origin(need));
            let origin = origin.unwrap_or(Origin::Refill);
            let relay = Relay::new(responder, upload, share, expires, origin, after);
            let elements = need.and_then(Need::elements).unwrap_or(0);
            self.journal.set(&storage_key(id), relay.encode(now));
            self.timers.insert((expires, Timer::Expiry(id)));
            self.relays.insert(id, relay);
            self.waiting.entry(responder).or_default().insert(id);
            self.spend(initiator, responder, elements);
            if let Some(client) = self.client_mut(initiator) {
                client.keys = client.keys.saturating_add(1);
            }
        }
        let after = self.relays.get(&id).map_or(Barrier::OPEN, |relay| relay.after);
        let given = self.answer(initiator, verdict, after);
        if let Some(relay) = self.relays.get_mut(&id) {
            relay.answer = given;
        }
        self.pass_on_confirmation(now, id);
        self.deliver(now, rng, id);
        Ok(Disposition::Accepted)
    }

    /// Whether a share is to be relayed, and to whom.
    fn judge(
        &self,
        id: RelayId,
        upload: &ShareMessage<'_>,
        share: &SecretVec,
    ) -> Result<ClientId, AnswerStatus> {
        let (initiator, _) = id;
        let responder = self.client_of(ClientTag::new(upload.peer)).ok_or(AnswerStatus::UNKNOWN_PEER)?;
        let own = self.client(initiator).ok_or(AnswerStatus::UNKNOWN_PEER)?;
        let peer = self.client(responder).ok_or(AnswerStatus::UNKNOWN_PEER)?;
        if let Some(relay) = self.relays.get(&id) {
            return match relay.withdrawn {
                _ if !relay.repeats(responder, upload, share) => Err(AnswerStatus::KEY_ID_IN_USE),
                // The share is gone: nobody will deliver it.
                Some(_) if peer.allows(&own.tag) => Err(AnswerStatus::WITHDRAWN),
                Some(_) => Err(AnswerStatus::NOT_AUTHORISED),
                None => Ok(responder),
            };
        }
        if own.said.as_ref().is_some_and(|said| said.withdrawn.contains(&id.1)) {
            return Err(AnswerStatus::WITHDRAWN);
        }
        if responder == initiator || !peer.allows(&own.tag) {
            return Err(AnswerStatus::NOT_AUTHORISED);
        }
        let terms = &upload.terms;
        let suite =
            suite_of(upload).filter(|suite| self.suites.contains(suite)).ok_or(AnswerStatus::POLICY)?;
        if terms.key_len > self.limits.longest_key || terms.lifetime > self.limits.longest_lifetime {
            return Err(AnswerStatus::POLICY);
        }
        if !terms.coordinates.contains(&self.coordinate.get()) {
            return Err(AnswerStatus::MALFORMED_CONTEXT);
        }
        let waiting = self.waiting.get(&responder);
        let of_pair = waiting.into_iter().flatten().filter(|(from, _)| *from == initiator);
        let lengths = of_pair.filter_map(|id| Some(self.relays.get(id)?.share.as_ref()?.len()));
        let (of_pair, octets) = lengths.fold((0_usize, share.len()), |(count, sum), len| {
            (count.saturating_add(1), sum.saturating_add(len))
        });
        if !self.is_within_budget(initiator, responder, Need { suite, key_len: terms.key_len }) {
            return Err(AnswerStatus::TOO_MANY_WAITING);
        }
        if of_pair > 0 && octets > self.limits.waiting_octets_per_pair
            || usize::try_from(own.keys).unwrap_or(usize::MAX) >= self.limits.keys_per_initiator
            || of_pair >= self.limits.waiting_per_pair
            || waiting.map_or(0, BTreeSet::len) >= self.limits.waiting_per_responder
        {
            return Err(AnswerStatus::TOO_MANY_WAITING);
        }
        Ok(responder)
    }

    /// The one answer to an upload, behind checkpoint `after`.
    fn answer(&mut self, initiator: ClientId, verdict: Verdict, after: u64) -> Option<GivenAnswer> {
        let Verdict { answer_key, status } = verdict;
        let slot = answer_key.slot();
        let inner = self.client(initiator)?.link.answer(answer_key, status, None)?;
        self.send(initiator, &inner, after, TransmitClass::Reply);
        Some(GivenAnswer { slot, inner, after })
    }
}
