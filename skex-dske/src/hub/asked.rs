//! Keys whose responder is a client of another shard, at the shard of their initiator (docs/draft-skex-dske.md, "Sharded
//! hubs").
//!
//! The share itself is durable at the responder's shard alone. What is durable here is that the key may exist there, and only
//! there: before anything of it leaves, until its lifetime is over, whatever the answer was. So a key id has one responder, and
//! a withdrawal finds the share. Nothing here is repeated by a timer: when the client repeats its message, it is handed over
//! again.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use skex_core::machine::{Barrier, DiscardReason, Disposition, Instant, TransmitClass};
use skex_core::{KeyId, SecretVec};
use skex_wire::Reader;
use skex_wire::dske::{AnswerStatus, Found, Offer, OutcomeStatus, ShareMessage};

use super::command::OUTCOMES;
use super::hand_over::{Body, Crossing};
use super::relay::{GivenAnswer, Relay, RelayId, StoredConfirmation, Verdict, id_of};
use super::upload::QUEUE_RESERVE;
use super::{Hub, Timer};
use crate::id::{ClientId, ClientTag};
use crate::key::Origin;
use crate::link::{AnswerKey, Slot, suite_of};
use crate::psrd::Pad;
use crate::state::{Name, RestoreError, whole_seconds};

/// What a client repeats is handed over again after so long at the earliest: less than its first repetition takes, and so seldom that
/// a client that repeats as fast as it can makes work for its own shard alone.
const AGAIN: Duration = Duration::from_millis(100);

/// Whether something that was handed over `at` some time is not to be handed over again yet.
fn is_too_soon(at: Option<Instant>, now: Instant) -> bool {
    // Test switch: each repetition is handed over, and tests of shards must then fail.
    at.is_some_and(|at| now.saturating_since(at) < AGAIN) && !cfg!(skex_without = "pace")
}

/// A key that was asked for, or may have been.
pub(super) struct Asked {
    pub(super) responder: ClientId,
    pub(super) expires: Instant,
    /// That it was asked for is durable with this checkpoint.
    after: u64,
    /// When the other shard was last told of it, or asked.
    told: Option<Instant>,
    /// An upload that waits for its verdict; not durable: its slot ends with the session.
    pending: Option<Box<Pending>>,
    /// The upload that was accepted, and its answer; not durable, as above.
    answer: Option<GivenAnswer>,
}

struct Pending {
    answer_key: AnswerKey,
    /// What is handed over.
    relay: SecretVec,
}

/// A command that waits for another shard.
pub(super) struct PendingCommand {
    answer_key: AnswerKey,
    command: Crossing,
    told: Instant,
}

impl PendingCommand {
    pub(super) const fn slot(&self) -> Slot {
        self.answer_key.slot()
    }
}

impl<P: Pad> Hub<P> {
    /// Whether no upload of this key can wait for the verdict of the responder's shard: as many do, of this initiator. Those for other shards
    /// do not count, one of which may be down.
    pub(super) fn is_full_elsewhere(&self, id: RelayId, responder: Option<ClientId>) -> bool {
        let responder = responder.filter(|to| !self.shard.owns(*to) && !self.relays.contains_key(&id));
        let Some(to) = responder.map(|to| self.shard.of(to)) else { return false };
        if self.hand_overs.free() < QUEUE_RESERVE {
            return true;
        }
        let asked = self.asked.range(keys_of(id.0)).map(|(_, asked)| asked);
        let asked = asked.filter(|asked| self.shard.of(asked.responder) == to);
        let pending = asked.filter_map(|asked| asked.pending.as_ref());
        let (count, octets) = pending.fold((0_usize, 0_usize), |(count, sum), pending| {
            (count.saturating_add(1), sum.saturating_add(pending.relay.len()))
        });
        count >= self.limits.waiting_per_pair || octets > self.limits.waiting_octets_per_pair
    }

    /// An upload for a responder of another shard, opened: it is handed over, unless it can be refused here.
    pub(super) fn ask_elsewhere(
        &mut self,
        now: Instant,
        id: RelayId,
        responder: ClientId,
        upload: &ShareMessage<'_>,
        (share, answer_key): (SecretVec, AnswerKey),
    ) -> Result<Disposition, DiscardReason> {
        let expires = now.saturating_add(Duration::from_secs(u64::from(upload.terms.lifetime)));
        let relay = Relay::new(responder, upload, share, expires, Origin::OutOfBand, Barrier::OPEN);
        if let Err(status) = self.may_ask(id, &relay, upload) {
            return self.refuse(id, Verdict { answer_key, status }, Barrier::OPEN);
        }
        let encoded = relay.encode(now);
        if !self.asked.contains_key(&id) {
            let after = self.journal.after();
            let asked = Asked { responder, expires, after, told: None, pending: None, answer: None };
            self.journal.set(asked_key(id), &asked.encode(now));
            self.timers.insert((expires, Timer::Expiry(id)));
            self.asked.insert(id, asked);
            self.count_key(id.0);
        }
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.pending = Some(Box::new(Pending { answer_key, relay: encoded }));
        }
        self.hand_over_upload(now, id);
        Ok(Disposition::Accepted)
    }

    fn may_ask(&self, id: RelayId, relay: &Relay, upload: &ShareMessage<'_>) -> Result<(), AnswerStatus> {
        if self.has_withdrawn(id) {
            return Err(AnswerStatus::WITHDRAWN);
        }
        match self.asked.get(&id) {
            Some(asked) if asked.responder != relay.responder => Err(AnswerStatus::KEY_ID_IN_USE),
            // The other shard knows what was asked for; that the suite is not that of the protection is seen here alone.
            Some(_) => suite_of(upload).map(|_| ()).ok_or(AnswerStatus::POLICY),
            None => {
                self.check_terms(relay, suite_of(upload))?;
                if self.has_too_many_keys(id.0) { Err(AnswerStatus::TOO_MANY_WAITING) } else { Ok(()) }
            }
        }
    }

    fn hand_over_upload(&mut self, now: Instant, id: RelayId) {
        let Some(asked) = self.asked.get_mut(&id) else { return };
        asked.told = Some(now);
        let Asked { responder, expires, after, pending: Some(pending), .. } = asked else { return };
        // Test switch: the share does not wait for the store, and tests of shards must then fail.
        let after = if cfg!(skex_without = "asked") { Barrier::OPEN } else { *after };
        let responder = *responder;
        let relay = SecretVec::copied_from(pending.relay.expose());
        let slot = pending.answer_key.slot();
        let upload = Body::Upload { key_id: id.1, slot, expires: *expires, relay };
        self.hand_over(self.shard.of(responder), id.0, upload, after);
    }

    /// The client repeats an upload that was opened before. `false`: it was not for another shard.
    pub(super) fn repeat_elsewhere(&mut self, now: Instant, id: RelayId, slot: Slot) -> bool {
        let Some(asked) = self.asked.get_mut(&id) else { return false };
        // What was handed over before waits for the store still: copies would only take memory.
        let too_soon = is_too_soon(asked.told, now) || !self.journal.is_durable(asked.after);
        if asked.pending.as_ref().is_some_and(|pending| pending.answer_key.slot() == slot) {
            if !too_soon {
                self.hand_over_upload(now, id);
            }
            return true;
        }
        let Some(given) = asked.answer.as_ref().filter(|given| given.slot == slot) else { return false };
        let (inner, responder) = (given.inner, asked.responder);
        if !too_soon {
            asked.told = Some(now);
            let fetch = Body::Fetch { key_id: Some(id.1) };
            self.hand_over(self.shard.of(responder), id.0, fetch, Barrier::OPEN);
        }
        self.send(id.0, &inner, Barrier::OPEN, TransmitClass::Reply);
        true
    }

    /// The responder's shard has judged an upload: durably, if it took it.
    pub(super) fn on_verdict(
        &mut self,
        id: RelayId,
        slot: Slot,
        status: AnswerStatus,
    ) -> Result<(), DiscardReason> {
        let asked = self.asked.get_mut(&id).ok_or(DiscardReason::Stale)?;
        let pending = asked.pending.take_if(|pending| pending.answer_key.slot() == slot);
        let Pending { answer_key, .. } = *pending.ok_or(DiscardReason::Stale)?;
        let verdict = Verdict { answer_key, status };
        if status != AnswerStatus::ACCEPTED {
            let _ = self.refuse(id, verdict, Barrier::OPEN);
            return Ok(());
        }
        let given = self.answer(id.0, verdict, Barrier::OPEN);
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.answer = given;
        }
        Ok(())
    }

    /// The client asks for confirmations: those of responders of other shards are there.
    pub(super) fn fetch_elsewhere(&mut self, now: Instant, initiator: ClientId) {
        let asked = self.asked.range_mut(keys_of(initiator)).map(|(_, asked)| asked);
        let mut shards = BTreeMap::new();
        for asked in asked.filter(|asked| !is_too_soon(asked.told, now)) {
            asked.told = Some(now);
            let shard = self.shard.of(asked.responder);
            shards.insert(shard.index(), shard);
        }
        for shard in shards.into_values() {
            self.hand_over(shard, initiator, Body::Fetch { key_id: None }, Barrier::OPEN);
        }
    }

    pub(super) fn on_handed_confirmation(
        &mut self,
        id: RelayId,
        peer: ClientTag,
        confirmation: &StoredConfirmation,
    ) -> Result<(), DiscardReason> {
        let _ = self.asked.get(&id).ok_or(DiscardReason::Stale)?;
        let said = confirmation.wire().ok_or(DiscardReason::Malformed)?;
        if let Some(client) = self.clients.get_mut(id.0) {
            client.confirm(id.1, peer, said, &mut self.outbox);
        }
        Ok(())
    }

    /// The withdrawal of a key whose share is at another shard, if it was ever handed over: that is not done any more.
    pub(super) fn withdraw_elsewhere(&mut self, id: RelayId) -> Option<Crossing> {
        let asked = self.asked.get_mut(&id)?;
        asked.pending = None;
        Some(Crossing::Withdraw { key_id: id.1, expires: asked.expires })
    }

    /// A command that another shard carries out.
    pub(super) fn command_elsewhere(
        &mut self,
        now: Instant,
        id: ClientId,
        answer_key: AnswerKey,
        command: Crossing,
    ) {
        let slot = answer_key.slot();
        if let Some(client) = self.client_mut(id) {
            let pending = PendingCommand { answer_key, command, told: now };
            let all = &mut client.said.get_or_insert_default().pending;
            // A client has fewer under way: what it repeated longest ago it has given up.
            if all.len() >= OUTCOMES
                && let Some((oldest, _)) = all.iter().enumerate().min_by_key(|(_, other)| other.told)
            {
                all.swap_remove(oldest);
            }
            all.push(pending);
        }
        self.hand_over_command(id, slot, command);
    }

    fn hand_over_command(&mut self, id: ClientId, slot: Slot, command: Crossing) {
        let (to, after) = match command {
            Crossing::Withdraw { key_id, .. } => {
                let Some(asked) = self.asked.get(&(id, key_id)) else { return };
                (asked.responder, asked.after)
            }
            Crossing::LookUp { owner } => (owner, Barrier::OPEN),
        };
        self.hand_over(self.shard.of(to), id, Body::Command { slot, command }, after);
    }

    /// The client repeats a command that was opened before. `false`: it is not for another shard, or has its outcome.
    pub(super) fn repeat_command_elsewhere(&mut self, now: Instant, id: ClientId, slot: Slot) -> bool {
        let said = self.client_mut(id).and_then(|client| client.said.as_mut());
        let mut pending = said.into_iter().flat_map(|said| &mut said.pending);
        let Some(pending) = pending.find(|pending| pending.slot() == slot) else { return false };
        if !is_too_soon(Some(pending.told), now) {
            pending.told = now;
            let command = pending.command;
            self.hand_over_command(id, slot, command);
        }
        true
    }

    pub(super) fn on_handed_outcome(
        &mut self,
        id: ClientId,
        slot: Slot,
        status: OutcomeStatus,
        offer: &[u8],
    ) -> Result<(), DiscardReason> {
        let client = self.client_mut(id).ok_or(DiscardReason::UnknownPeer)?;
        let said = client.said.as_mut().ok_or(DiscardReason::Stale)?;
        let place = said.pending.iter().position(|pending| pending.slot() == slot);
        let PendingCommand { answer_key, command, .. } =
            said.pending.swap_remove(place.ok_or(DiscardReason::Stale)?);
        let owner = match command {
            Crossing::LookUp { owner } if status == OutcomeStatus::DONE => self.roster.tag(owner),
            _ => None,
        };
        let status = match command {
            Crossing::LookUp { .. } if owner.is_none() => OutcomeStatus::UNKNOWN,
            _ => status,
        };
        let found = owner.map(|tag| Found::new(*tag.as_bytes(), Offer::decode(offer).ok()));
        self.answer_command(id, answer_key, (status, found), Barrier::OPEN);
        Ok(())
    }

    /// A new session with an initiator: blocks of its earlier uploads and commands mean nothing any more.
    pub(super) fn end_answers_from_elsewhere(&mut self, id: ClientId) {
        for (_, asked) in self.asked.range_mut(keys_of(id)) {
            (asked.pending, asked.answer) = (None, None);
        }
    }

    /// A client of another shard was revoked: nobody judges what was asked for it any more.
    pub(super) fn end_asking_for(&mut self, responder: ClientId) {
        let asked = self.asked.iter_mut().filter(|(_, asked)| asked.responder == responder);
        let pending: Vec<_> = asked.filter_map(|(id, asked)| Some((*id, asked.pending.take()?))).collect();
        for (id, pending) in pending {
            let verdict = Verdict { answer_key: pending.answer_key, status: AnswerStatus::UNKNOWN_PEER };
            let _ = self.refuse(id, verdict, Barrier::OPEN);
        }
    }

    pub(super) fn restore_asked(
        &mut self,
        key: &[u8],
        value: &[u8],
        now: Instant,
    ) -> Result<(), RestoreError> {
        let id = id_of(key)?;
        let mut reader = Reader::new(value);
        let responder = ClientId::new(reader.u32()?);
        let expires = now.saturating_add(Duration::from_secs(reader.u32()?.into()));
        reader.finish()?;
        if !self.has_enrolled(id.0) || !self.was_enrolled(responder) {
            return Err(RestoreError::Configuration);
        }
        self.count_key(id.0);
        self.timers.insert((expires, Timer::Expiry(id)));
        let after = Barrier::OPEN;
        self.asked.insert(id, Asked { responder, expires, after, told: None, pending: None, answer: None });
        Ok(())
    }

    pub(super) fn restore_taken_back(
        &mut self,
        key: &[u8],
        value: &[u8],
        now: Instant,
    ) -> Result<(), RestoreError> {
        let id = id_of(key)?;
        let mut reader = Reader::new(value);
        let expires = now.saturating_add(Duration::from_secs(reader.u32()?.into()));
        reader.finish()?;
        self.timers.insert((expires, Timer::Expiry(id)));
        self.taken_back.insert(id, expires);
        Ok(())
    }

    /// What a snapshot has to hold of all this.
    pub(super) fn store_asked(&mut self, now: Instant) {
        for (id, asked) in &self.asked {
            self.journal.set(asked_key(*id), &asked.encode(now));
        }
        for (id, expires) in &self.taken_back {
            self.journal.set(taken_back_key(*id), &until(now, *expires));
        }
    }
}

impl Asked {
    /// responder 4, seconds left 4
    fn encode(&self, now: Instant) -> [u8; 8] {
        let ([a, b, c, d], [e, f, g, h]) = (self.responder.number().to_be_bytes(), until(now, self.expires));
        [a, b, c, d, e, f, g, h]
    }
}

fn keys_of(initiator: ClientId) -> core::ops::RangeInclusive<RelayId> {
    (initiator, KeyId::new([0; 16]))..=(initiator, KeyId::new([0xff; 16]))
}

pub(super) const STORED_ASKED: u8 = 9;
pub(super) const STORED_TAKEN_BACK: u8 = 10;

pub(super) fn asked_key(id: RelayId) -> Name {
    super::relay::key(STORED_ASKED, id)
}

pub(super) fn taken_back_key(id: RelayId) -> Name {
    super::relay::key(STORED_TAKEN_BACK, id)
}

/// seconds left 4
pub(super) fn until(now: Instant, expires: Instant) -> [u8; 4] {
    whole_seconds(expires.saturating_since(now)).to_be_bytes()
}
