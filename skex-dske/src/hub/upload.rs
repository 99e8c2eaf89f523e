//! An initiator's share arrives: taken, or refused with a reason (docs/draft-skex-dske.md, "Hub").

use alloc::boxed::Box;
use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_core::{KeyId, SecretVec};
use skex_wire::dske::{AnswerStatus, Busy, ShareMessage, Tagged};

use super::relay::{GivenAnswer, Relay, RelayId, Verdict};
use super::{Hub, Timer};
use crate::id::{ClientId, ClientTag};
use crate::key::{Origin, encoded};
use crate::link::{ReceivedShare, Slot, suite_of};
use crate::psrd::Pad;
use crate::suite::{KeySuite, Need};

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
        let known = self.relays.get(&id);
        let is_known = known.is_some();
        if let Some(relay) = known
            && let Some(given) = relay.answer.as_ref().filter(|given| given.slot == slot)
        {
            let (inner, after) = (given.inner, relay.after);
            self.send(initiator, &inner, after, TransmitClass::Reply);
            self.pass_on_confirmation(now, id);
            return Err(DiscardReason::Duplicate);
        }
        if self.repeat_elsewhere(now, id, slot) {
            return Err(DiscardReason::Duplicate);
        }
        let client = self.client(initiator).ok_or(DiscardReason::UnknownPeer)?;
        if let Some(given) =
            client.said.iter().flat_map(|said| &said.refusals).find(|given| given.slot == slot)
        {
            let (inner, after) = (given.inner, given.after);
            self.send(initiator, &inner, after, TransmitClass::Reply);
            return Err(DiscardReason::Duplicate);
        }
        let responder = self.client_of(ClientTag::new(upload.peer));
        if self.is_full() || self.is_full_elsewhere(id, responder) {
            return Err(self.say_busy(initiator, slot));
        }
        let client = self.client_mut(initiator).ok_or(DiscardReason::UnknownPeer)?;
        let ReceivedShare { share, answer_key, .. } = client.link.open_share(message)?;
        let unknown = Verdict { answer_key, status: AnswerStatus::UNKNOWN_PEER };
        let Some(responder) = responder else {
            return self.refuse(id, unknown, Barrier::OPEN);
        };
        let Verdict { answer_key, .. } = unknown;
        if !self.shard.owns(responder) && !is_known {
            return self.ask_elsewhere(now, id, responder, upload, (share, answer_key));
        }
        let expires = now.saturating_add(Duration::from_secs(u64::from(upload.terms.lifetime)));
        let mut asked = Relay::new(responder, upload, share, expires, Origin::OutOfBand, Barrier::OPEN);
        let known = if is_known { self.relays.get(&id).map(|relay| &**relay) } else { None };
        let known_after = known.map(|relay| relay.after);
        if let Err(status) = self.judge(id, known, &asked, suite_of(upload)) {
            let after = self.refused_behind(id);
            return self.refuse(id, Verdict { answer_key, status }, after);
        }
        let verdict = Verdict { answer_key, status: AnswerStatus::ACCEPTED };
        let after = known_after.unwrap_or_else(|| self.journal.after());
        let given = self.answer(initiator, verdict, after);
        if !is_known {
            asked.answer = given;
            self.accept(now, id, asked);
        } else if let Some(relay) = self.relays.get_mut(&id) {
            relay.answer = given;
            if relay.confirmation.is_some() {
                self.pass_on_confirmation(now, id);
            }
        }
        self.deliver(now, rng, id);
        Ok(Disposition::Accepted)
    }

    /// Whether nothing more can be kept now. Nothing is opened then.
    pub(super) fn is_full(&mut self) -> bool {
        self.journal.has_waiting(self.limits.changes) || self.outbox.free() < QUEUE_RESERVE
    }

    /// Says that a message cannot be kept now. That spends nothing.
    pub(super) fn say_busy(&mut self, to: ClientId, slot: Slot) -> DiscardReason {
        let busy = Busy::new(slot.block.table, slot.block.index);
        if let Some(inner) = encoded(Busy::LEN, |out| busy.encode(out)) {
            self.send(to, &inner, Barrier::OPEN, TransmitClass::Reply);
        }
        DiscardReason::Busy
    }

    /// Takes a share into the hub's care that is not there already. The checkpoint with which it is durable.
    pub(super) fn accept(&mut self, now: Instant, id: RelayId, mut asked: Relay) -> u64 {
        let (responder, expires, need) = (asked.responder, asked.expires, asked.need());
        asked.after = self.journal.after();
        let origin = self.client(responder).zip(need).map(|(to, need)| to.link.next_origin(need));
        asked.origin = origin.unwrap_or(Origin::Refill);
        asked.store(now, id, &mut self.journal);
        self.timers.insert((expires, Timer::Expiry(id)));
        self.waiting.insert(responder, id);
        self.spend(id.0, responder, need.and_then(Need::elements).unwrap_or(0));
        self.count_key(id.0);
        let after = asked.after;
        self.relays.insert(id, Box::new(asked));
        after
    }

    /// Whether a share is to be relayed to a responder of this shard; `known`: it is relayed already.
    pub(super) fn judge(
        &self,
        id: RelayId,
        known: Option<&Relay>,
        asked: &Relay,
        suite: Option<KeySuite>,
    ) -> Result<(), AnswerStatus> {
        let (initiator, responder) = (id.0, asked.responder);
        let own = self.roster.tag(initiator).ok_or(AnswerStatus::UNKNOWN_PEER)?;
        let peer = self.client(responder);
        if let Some(relay) = known {
            return match relay.withdrawn {
                _ if !relay.repeats(asked) => Err(AnswerStatus::KEY_ID_IN_USE),
                // The share is gone: nobody will deliver it.
                Some(_) if peer.is_some_and(|peer| peer.allows(&own)) => Err(AnswerStatus::WITHDRAWN),
                Some(_) => Err(AnswerStatus::NOT_AUTHORISED),
                None => Ok(()),
            };
        }
        let peer = peer.ok_or(AnswerStatus::UNKNOWN_PEER)?;
        if self.asked.contains_key(&id) {
            return Err(AnswerStatus::KEY_ID_IN_USE);
        }
        if self.taken_back.contains_key(&id) || self.has_withdrawn(id) {
            return Err(AnswerStatus::WITHDRAWN);
        }
        if responder == initiator || !peer.allows(&own) {
            return Err(AnswerStatus::NOT_AUTHORISED);
        }
        self.check_terms(asked, suite)?;
        let (mut waiting, mut of_pair) = (0_usize, 0_usize);
        let mut octets = asked.share.as_ref().map_or(0, SecretVec::len);
        for id in self.waiting.of(responder) {
            waiting = waiting.saturating_add(1);
            if id.0 == initiator
                && let Some(share) = self.relays.get(&id).and_then(|relay| relay.share.as_ref())
            {
                (of_pair, octets) = (of_pair.saturating_add(1), octets.saturating_add(share.len()));
            }
        }
        let is_within_budget =
            asked.need().is_some_and(|need| self.is_within_budget(initiator, responder, need));
        if !is_within_budget
            || of_pair > 0 && octets > self.limits.waiting_octets_per_pair
            || self.has_too_many_keys(initiator)
            || of_pair >= self.limits.waiting_per_pair
            || waiting >= self.limits.waiting_per_responder
        {
            return Err(AnswerStatus::TOO_MANY_WAITING);
        }
        Ok(())
    }

    /// Whether this hub relays on such terms.
    pub(super) fn check_terms(&self, asked: &Relay, suite: Option<KeySuite>) -> Result<(), AnswerStatus> {
        if !suite.is_some_and(|suite| self.suites.contains(&suite))
            || asked.key_len > self.limits.longest_key
            || asked.lifetime > self.limits.longest_lifetime
        {
            return Err(AnswerStatus::POLICY);
        }
        if asked.coordinates.contains(&self.coordinate.get()) {
            Ok(())
        } else {
            Err(AnswerStatus::MALFORMED_CONTEXT)
        }
    }

    /// Whether an initiator of this shard has taken the key back in its session before a share came.
    pub(super) fn has_withdrawn(&self, (initiator, key_id): RelayId) -> bool {
        let said = self.client(initiator).and_then(|client| client.said.as_ref());
        said.is_some_and(|said| said.withdrawn.contains(&key_id))
    }

    /// Whether an initiator of this shard can have no more keys.
    pub(super) fn has_too_many_keys(&self, initiator: ClientId) -> bool {
        let keys = self.client(initiator).map_or(0, |client| client.keys);
        usize::try_from(keys).unwrap_or(usize::MAX) >= self.limits.keys_per_initiator
    }

    /// Refuses an upload behind checkpoint `after`, and remembers that.
    pub(super) fn refuse(
        &mut self,
        id: RelayId,
        verdict: Verdict,
        after: u64,
    ) -> Result<Disposition, DiscardReason> {
        let given = self.answer(id.0, verdict, after);
        if let (Some(given), Some(client)) = (given, self.client_mut(id.0)) {
            let refusals = &mut client.said.get_or_insert_default().refusals;
            refusals.truncate(REFUSALS.saturating_sub(1));
            refusals.push_front(given);
        }
        Err(DiscardReason::Policy)
    }

    /// The one answer to an upload, behind checkpoint `after`.
    pub(super) fn answer(
        &mut self,
        initiator: ClientId,
        verdict: Verdict,
        after: u64,
    ) -> Option<GivenAnswer> {
        let Verdict { answer_key, status } = verdict;
        let slot = answer_key.slot();
        let inner = self.client(initiator)?.link.plain_answer(answer_key, status)?;
        self.send(initiator, &inner, after, TransmitClass::Reply);
        Some(GivenAnswer { slot, inner, after })
    }
}
