//! What a client asks of its hub beside relaying: names, offers, withdrawals, authorisations (docs/draft-skex-dske.md,
//! "Commands").

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use skex_core::KeyId;
use skex_core::machine::{DiscardReason, Disposition, Instant, TransmitClass};
use skex_wire::dske::{Command, CommandBody, Found, Offer, OutcomeStatus, Tagged};

use super::asked::PendingCommand;
use super::hand_over::Crossing;
use super::relay::{Delivery, GivenAnswer, RelayId};
use super::upload::QUEUE_RESERVE;
use super::{Client, Hub, Timer};
use crate::id::{ClientId, ClientTag};
use crate::key::encoded;
use crate::link::{AnswerKey, Slot};
use crate::psrd::{Pad, Place};
use crate::state::{Name, RestoreError};

/// What was said to a client in its session, beside answers to uploads that were accepted: few have any.
#[derive(Default)]
pub(super) struct Said {
    /// Refusals of uploads, for their repetition.
    pub(super) refusals: VecDeque<GivenAnswer>,
    /// Outcomes of commands, for their repetition.
    pub(super) outcomes: VecDeque<GivenOutcome>,
    /// Keys that were withdrawn before a share of them came: one may still be on its way, in a block of this session.
    pub(super) withdrawn: BTreeSet<KeyId>,
    /// Commands that wait for another shard.
    pub(super) pending: Vec<PendingCommand>,
}

/// An outcome as it was given: the same command gets the same outcome again.
pub(super) struct GivenOutcome {
    slot: Slot,
    inner: Vec<u8>,
    /// It leaves behind this checkpoint.
    after: u64,
}

/// Outcomes that are remembered of each client: more than it has commands under way.
pub(super) const OUTCOMES: usize = 16;

/// Keys that a client can withdraw in a session before their shares come.
pub(super) const WITHDRAWN: usize = 64;

/// Clients that one can name to the hub, allowed or not, beyond those of the configuration.
const NAMED: usize = 1024;

/// Whose keys a client accepts, as the hub holds it, unless that is everybody's.
#[derive(Default)]
pub(super) struct Allowed {
    /// Whether only those of `tags` are not allowed.
    pub(super) all_but: bool,
    pub(super) tags: Vec<ClientTag>,
    /// Whether the client said so itself, and the configuration does not.
    changed: bool,
}

impl Allowed {
    pub(super) const fn only(tags: Vec<ClientTag>) -> Self {
        Self { all_but: false, tags, changed: false }
    }

    const fn everybody() -> Self {
        Self { all_but: true, tags: Vec::new(), changed: false }
    }

    pub(super) fn includes(&self, tag: &ClientTag) -> bool {
        self.tags.contains(tag) != self.all_but
    }

    /// Changes what is said of a tag. `false`: there is no room for another.
    fn set(&mut self, tag: ClientTag, allowed: bool) -> bool {
        if allowed == self.all_but {
            self.tags.retain(|other| *other != tag);
        } else if self.tags.len() >= NAMED {
            return false;
        } else {
            self.tags.push(tag);
        }
        self.changed = true;
        true
    }

    /// all but these 1, tags 16 each
    fn encode(&self) -> Vec<u8> {
        let flag = [u8::from(self.all_but)];
        let tags = self.tags.iter().flat_map(|tag| tag.as_bytes());
        flag.iter().chain(tags).copied().collect()
    }

    fn decode(value: &[u8]) -> Result<Self, RestoreError> {
        let (&[flag], tags) = value.split_first_chunk().ok_or(RestoreError::Content)?;
        let (tags, rest) = tags.as_chunks::<16>();
        if flag > 1 || !rest.is_empty() {
            return Err(RestoreError::Content);
        }
        let tags = tags.iter().map(|tag| ClientTag::new(*tag)).collect();
        Ok(Self { all_but: flag == 1, tags, changed: true })
    }
}

pub(super) const STORED_ALLOWED: u8 = 4;
pub(super) const STORED_OFFER: u8 = 5;

impl<P> Client<P> {
    /// Whether `initiator` may have keys made with this client.
    pub(super) fn allows(&self, initiator: &ClientTag) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.includes(initiator))
    }
}

impl<P: Pad> Hub<P> {
    /// A client's command: done once, and answered once.
    pub(super) fn on_command(
        &mut self,
        now: Instant,
        id: ClientId,
        message: &Tagged<'_, Command<'_>>,
    ) -> Result<Disposition, DiscardReason> {
        let Command { table, index, body, .. } = message.message;
        let slot = Slot { block: Place { table, index }, number: None };
        let client = self.client(id).ok_or(DiscardReason::UnknownPeer)?;
        let given = client.said.iter().flat_map(|said| &said.outcomes).find(|given| given.slot == slot);
        if let Some(GivenOutcome { inner, after, .. }) = given {
            let (inner, after) = (inner.clone(), *after);
            self.send(id, &inner, after, TransmitClass::Reply);
            return Err(DiscardReason::Duplicate);
        }
        if self.repeat_command_elsewhere(now, id, slot) {
            return Err(DiscardReason::Duplicate);
        }
        if self.is_full() || !self.shard.is_whole() && self.hand_overs.free() < QUEUE_RESERVE {
            return Err(self.say_busy(id, slot));
        }
        let client = self.client_mut(id).ok_or(DiscardReason::UnknownPeer)?;
        let answer_key = client.link.open_command(message)?;
        let elsewhere = match body {
            CommandBody::Lookup(name) => self.look_up_elsewhere(name),
            CommandBody::Withdraw(key_id) => self.withdraw_elsewhere((id, KeyId::new(key_id))),
            _ => None,
        };
        if let Some(command) = elsewhere {
            self.command_elsewhere(now, id, answer_key, command);
            return Ok(Disposition::Accepted);
        }
        let mut found = None;
        let status = match body {
            CommandBody::Lookup(name) => {
                found = self.look_up(name);
                if found.is_some() { OutcomeStatus::DONE } else { OutcomeStatus::UNKNOWN }
            }
            CommandBody::Publish(offer) => self.publish(id, offer.as_ref()),
            CommandBody::Withdraw(key_id) => self.withdraw(now, (id, KeyId::new(key_id))),
            CommandBody::Authorise { client, allowed } => {
                self.authorise(now, id, ClientTag::new(client), allowed)
            }
            _ => OutcomeStatus::UNKNOWN,
        };
        // Whatever it says is durable, also where an earlier message brought it about.
        let after = self.journal.carrying();
        let offer = found.as_ref().map(|(_, offer)| offer.as_slice()).unwrap_or_default();
        let found = found.as_ref().map(|(tag, _)| Found::new(*tag.as_bytes(), Offer::decode(offer).ok()));
        self.answer_command(id, answer_key, (status, found), after);
        Ok(Disposition::Accepted)
    }

    /// The one outcome of a command, behind checkpoint `after`.
    pub(super) fn answer_command(
        &mut self,
        id: ClientId,
        answer_key: AnswerKey,
        (status, found): (OutcomeStatus, Option<Found<'_>>),
        after: u64,
    ) {
        let slot = answer_key.slot();
        let Some(client) = self.client(id) else { return };
        let Some(inner) = client.link.outcome(answer_key, status, found) else { return };
        self.send(id, &inner, after, TransmitClass::Reply);
        if let Some(client) = self.client_mut(id) {
            let outcomes = &mut client.said.get_or_insert_default().outcomes;
            outcomes.truncate(OUTCOMES.saturating_sub(1));
            outcomes.push_front(GivenOutcome { slot, inner, after });
        }
    }

    /// Who has this name here, and what it published.
    fn look_up(&self, name: &[u8]) -> Option<(ClientTag, Vec<u8>)> {
        let id = self.roster.of_name(name)?;
        Some((self.roster.tag(id)?, self.offers.get(&id).cloned().unwrap_or_default()))
    }

    /// The look-up of a name whose owner is a client of another shard, which knows what that published.
    fn look_up_elsewhere(&self, name: &[u8]) -> Option<Crossing> {
        let owner = self.roster.of_name(name).filter(|owner| !self.shard.owns(*owner))?;
        Some(Crossing::LookUp { owner })
    }

    fn publish(&mut self, id: ClientId, offer: Option<&Offer<'_>>) -> OutcomeStatus {
        let encoded = offer.and_then(|offer| encoded(offer.encoded_len(), |out| offer.encode(out)));
        match encoded {
            Some(octets) => {
                self.journal.set(key(STORED_OFFER, id), &octets);
                self.offers.insert(id, octets);
            }
            None => {
                self.journal.remove(key(STORED_OFFER, id));
                self.offers.remove(&id);
            }
        }
        OutcomeStatus::DONE
    }

    /// The initiator takes a key back.
    pub(super) fn withdraw(&mut self, now: Instant, id: RelayId) -> OutcomeStatus {
        let Some(relay) = self.relays.get(&id) else {
            let forgotten = self.may_have_forgotten_keys_of(now, id.0);
            let Some(client) = self.client_mut(id.0) else { return OutcomeStatus::UNKNOWN };
            let withdrawn = &mut client.said.get_or_insert_default().withdrawn;
            if withdrawn.len() >= WITHDRAWN && !withdrawn.contains(&id.1) {
                return OutcomeStatus::TOO_MANY;
            }
            withdrawn.insert(id.1);
            // If it is a key of an earlier enrolment, its responder may have it.
            return if forgotten { OutcomeStatus::SENT } else { OutcomeStatus::UNKNOWN };
        };
        match relay.withdrawn {
            Some(status) => status,
            None if relay.share.is_none() => OutcomeStatus::ANSWERED,
            None => self.drop_share(now, id),
        }
    }

    /// The share of a relay is not to be delivered any more.
    pub(super) fn drop_share(&mut self, now: Instant, id: RelayId) -> OutcomeStatus {
        let Some(relay) = self.relays.get_mut(&id) else { return OutcomeStatus::UNKNOWN };
        let status = if relay.was_sent { OutcomeStatus::SENT } else { OutcomeStatus::DONE };
        (relay.share, relay.withdrawn) = (None, Some(status));
        relay.after = self.journal.after();
        self.journal.wipe_soon(now);
        relay.store(now, id, &mut self.journal);
        let responder = relay.responder;
        let delivery = relay.delivery.take();
        self.waiting.remove(responder, id);
        if let Some(delivery) = delivery {
            let Delivery { sent, backoff } = *delivery;
            self.timers.remove(&(backoff.due(), Timer::Delivery(id)));
            if let Some(client) = self.client_mut(responder) {
                client.link.settle(&sent);
            }
        }
        status
    }

    /// A responder changes whose keys it accepts. What waits of somebody who is not allowed any more goes.
    fn authorise(&mut self, now: Instant, id: ClientId, tag: ClientTag, allowed: bool) -> OutcomeStatus {
        let Some(client) = self.client_mut(id) else { return OutcomeStatus::UNKNOWN };
        if client.allows(&tag) == allowed {
            return OutcomeStatus::DONE;
        }
        let own = client.allowed.get_or_insert_with(|| Box::new(Allowed::everybody()));
        if !own.set(tag, allowed) {
            return OutcomeStatus::TOO_MANY;
        }
        let value = own.encode();
        self.journal.set(key(STORED_ALLOWED, id), &value);
        // The parts of the downlink are divided anew.
        self.forget_spent(id);
        if !allowed {
            let initiator = self.client_of(tag);
            let theirs: Vec<RelayId> =
                self.waiting.of(id).filter(|(from, _)| Some(*from) == initiator).collect();
            for relay in theirs {
                let _ = self.drop_share(now, relay);
            }
        }
        OutcomeStatus::DONE
    }

    pub(super) fn restore_allowed(&mut self, client: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let (id, allowed) = (stored_client(client)?, Allowed::decode(value)?);
        if !self.has_enrolled(id) {
            return Err(RestoreError::Configuration);
        }
        // One without tables is revoked at this start.
        if let Some(client) = self.client_mut(id) {
            client.allowed = Some(Box::new(allowed));
        }
        Ok(())
    }

    pub(super) fn restore_offer(&mut self, client: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let id = stored_client(client)?;
        if !self.has_enrolled(id) {
            return Err(RestoreError::Configuration);
        }
        Offer::decode(value)?;
        self.offers.insert(id, value.to_vec());
        Ok(())
    }

    /// What a snapshot has to hold of all this.
    pub(super) fn store_commands(&mut self) {
        for client in self.clients.iter() {
            if let Some(allowed) = client.allowed.as_ref().filter(|allowed| allowed.changed) {
                self.journal.set(key(STORED_ALLOWED, client.link.keys.client()), &allowed.encode());
            }
        }
        for (id, offer) in &self.offers {
            self.journal.set(key(STORED_OFFER, *id), offer);
        }
    }
}

pub(super) fn key(kind: u8, client: ClientId) -> Name {
    Name::of(&[&[kind], &client.number().to_be_bytes()])
}

pub(super) fn stored_client(key: &[u8]) -> Result<ClientId, RestoreError> {
    let number = key.try_into().map_err(|_| RestoreError::Content)?;
    Ok(ClientId::new(u32::from_be_bytes(number)))
}
