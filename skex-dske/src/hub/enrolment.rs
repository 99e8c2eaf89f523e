//! Clients come and go while the hub runs: enrolled, revoked, enrolled anew (docs/draft-skex-dske.md, "Enrolment and
//! revocation").

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use skex_core::machine::{Barrier, Instant};
use skex_wire::dske::{MAX_NAME_LEN, Outer};

use super::asked::{asked_key, taken_back_key};
use super::budget::has_own_parts;
use super::command::{STORED_ALLOWED, STORED_OFFER, key, stored_client};
use super::refill::{Refills, erase_all};
use super::relay::{Delivery, RelayId, storage_key};
use super::roster::Roster;
use super::session::STORED_INITIAL;
use super::{Client, Hub, HubClient, HubError, HubEvent, Timer, marks_key};
use crate::client::Table;
use crate::id::{ClientId, ClientTag};
use crate::key::LONGEST_LIFETIME;
use crate::outbox::Unsent;
use crate::psrd::Pad;
use crate::state::{RestoreError, Stored};

pub(super) const STORED_REVOKED: u8 = 6;

/// A client that was revoked: its tables are erased once that is durable.
pub(super) struct Leaving<P> {
    pub(super) id: ClientId,
    pub(super) tag: ClientTag,
    pub(super) client: Client<P>,
    /// Tables that were on their way to it.
    pub(super) refills: Option<Refills<P>>,
}

/// Revocations that are not durable yet.
pub(super) const LEAVING: usize = 1024;

impl<P: Pad> Leaving<P> {
    /// Erases the tables.
    pub(super) fn go(mut self) -> HubEvent {
        let used = self.client.link.destroy();
        let erased = self.refills.is_none_or(Refills::destroy) && used;
        HubEvent::ClientRevoked { client: self.id, tag: self.tag, erased }
    }
}

/// Who is a client of the hub, for its other shards ([`Hub::enrolled_elsewhere`]).
#[derive(Clone, Debug)]
pub struct HubRoster(Arc<Roster>);

impl<P: Pad> Hub<P> {
    /// Revokes a client: its session ends, everything of it that waits here is dropped, its tag and names are free, its number is
    /// never given again. Whatever it sends from now on is silently discarded. Once that is durable its tables are erased, and
    /// [`HubEvent::ClientRevoked`] says so; before, a crash can undo it. From then on the configuration has to leave it out.
    ///
    /// Of a hub in shards, each has to be told, and the client is revoked when each has said so. A client whose initial key or table is lost is
    /// revoked at a start: [`HubConfig::without`](super::HubConfig::without).
    ///
    /// # Errors
    ///
    /// [`HubError::UnknownClient`], [`HubError::Busy`]. Nothing changed.
    pub fn revoke(&mut self, now: Instant, client: ClientId) -> Result<(), HubError> {
        let now = self.clock.observe(now);
        if self.leaving.free() == 0 {
            return Err(HubError::Busy);
        }
        if self.roster.tag(client).is_none() {
            return Err(HubError::UnknownClient);
        }
        let before = self.roster.clients();
        let tag = Arc::make_mut(&mut self.roster).remove(client).ok_or(HubError::UnknownClient)?;
        self.revoked.insert(client, tag);
        self.forgotten.insert(tag, now.saturating_add(LONGEST_LIFETIME));
        let after = self.journal.after();
        self.journal.set(key(STORED_REVOKED, client), tag.as_bytes());
        self.journal.remove(marks_key(client));
        self.journal.remove(key(STORED_ALLOWED, client));
        self.journal.remove(key(STORED_OFFER, client));
        self.journal.remove(key(STORED_INITIAL, client));
        self.forget_spent(client);
        self.journal.wipe_soon(now);
        self.offers.remove(&client);
        let all = self.relays.keys().chain(self.asked.keys()).chain(self.taken_back.keys());
        let own: Vec<RelayId> = all.filter(|id| id.0 == client).copied().collect();
        for id in own {
            self.remove_relay(id);
        }
        // Whoever asked for a key with it may still ask whether a share of that had left.
        for id in self.waiting_for(client) {
            let _ = self.drop_share(now, id);
        }
        self.end_asking_for(client);
        self.drop_unsent(client);
        self.end_refill_to(client);
        let refills = self.refills.remove(&client);
        if let Some(own) = self.client_mut(client) {
            own.link.forget_keys();
        }
        match self.clients.remove(client) {
            Some(gone) => {
                let _ = self.leaving.push(after, Leaving { id: client, tag, client: gone, refills });
            }
            // Its tables are another shard's.
            None => self.events.push_back((after, HubEvent::ClientRevoked { client, tag, erased: true })),
        }
        self.divide_anew(before);
        Ok(())
    }

    /// Drops what has not left for a client: also what is under no envelope, and would leave although nobody of its number is there.
    fn drop_unsent(&mut self, client: ClientId) {
        let is_to =
            |octets: &[u8]| Outer::decode(octets).is_ok_and(|outer| outer.client_id() == client.number());
        self.outbox.queue.discard(|unsent| match unsent {
            Unsent::Messages(messages) => messages.link == client.number(),
            Unsent::Other(transmit) => is_to(&transmit.payload),
        });
    }

    /// Enrols a client while the hub runs: a new one, or one that was revoked, with the same tag, a new number, a new initial key
    /// and new tables. From now on the configuration has to have it, and its names, at every start.
    ///
    /// Of a hub in shards, its shard enrols it, and each of the others is then given the [`HubRoster`] of that.
    ///
    /// # Errors
    ///
    /// [`HubError::Enrolment`] if the number is not the next one, or is [`ClientId::LIMIT`], the tag or a name is another client's, a name has not 1 to 64
    /// octets, or the suite is unknown. Nothing changed.
    pub fn enrol(&mut self, client: HubClient<P>, names: &[&[u8]]) -> Result<(), HubError> {
        let (id, tag) = (client.client, client.tag);
        let is_free = |name: &&&[u8]| {
            !name.is_empty() && name.len() <= MAX_NAME_LEN && self.roster.of_name(name).is_none()
        };
        if id != self.roster.next_number()
            || id.number() >= ClientId::LIMIT
            || !self.shard.owns(id)
            || self.client_of(tag).is_some()
            || names.iter().filter(is_free).count() != names.len()
        {
            return Err(HubError::Enrolment);
        }
        self.add_client(client, Vec::new(), None, None).map_err(|_| HubError::Enrolment)?;
        let before = self.roster.clients();
        let roster = Arc::make_mut(&mut self.roster);
        let _ = roster.add(id, tag);
        roster.name(names, id);
        self.divide_anew(before);
        self.store_marks(id);
        Ok(())
    }

    /// Whether a number is a client's of this hub or shard, also of one that lost its tables and is revoked at this start.
    pub(super) fn has_enrolled(&self, client: ClientId) -> bool {
        self.shard.owns(client) && self.roster.tag(client).is_some()
    }

    /// Whether a number is a client's, or was until that was revoked.
    pub(super) fn was_enrolled(&self, client: ClientId) -> bool {
        self.roster.tag(client).is_some() || self.revoked.contains_key(&client)
    }

    /// Whether a client may have asked, under a number that was taken from it, for keys that live still: nothing is known of them here.
    pub(super) fn may_have_forgotten_keys_of(&self, now: Instant, client: ClientId) -> bool {
        let until = self.roster.tag(client).and_then(|tag| self.forgotten.get(&tag));
        until.is_some_and(|until| now < *until)
    }

    /// Who is a client of this hub now.
    #[must_use]
    pub fn roster(&self) -> HubRoster {
        HubRoster(Arc::clone(&self.roster))
    }

    /// Another shard of this hub has enrolled a client, and this is its roster since.
    ///
    /// # Errors
    ///
    /// [`HubError::Enrolment`] if the roster is older than this shard's own, or a client was revoked at one of the two shards only: because a crash
    /// undid that at the other, perhaps. That one is then told again, and the roster given once more. Nothing changed; the client stays enrolled at
    /// its shard, and the configuration has to have it.
    pub fn enrolled_elsewhere(&mut self, roster: &HubRoster) -> Result<(), HubError> {
        let is_gone = |id: &ClientId| roster.0.tag(*id).is_some();
        // Whoever is missing there would be in no roster, and could not be revoked here any more.
        if !roster.0.has_all_of(&self.roster) || self.revoked.keys().any(is_gone) {
            return Err(HubError::Enrolment);
        }
        let before = self.roster.clients();
        self.roster = Arc::clone(&roster.0);
        self.divide_anew(before);
        Ok(())
    }

    /// Where everybody is authorised there is one more to share the downlink with, or one less, than `before`. Where there are many, the parts stay as
    /// they are, and so does what is spent of them.
    fn divide_anew(&mut self, before: usize) {
        if !has_own_parts(before.min(self.roster.clients())) {
            return;
        }
        let shared: Vec<ClientId> =
            self.clients.iter().filter(|client| client.accepts_others()).map(Client::id).collect();
        for responder in shared {
            self.forget_spent(responder);
        }
    }

    /// Leaves those out of the roster who were revoked: some, because a crash came before the configuration left them out.
    ///
    /// # Errors
    /// [`RestoreError::Configuration`]: a number cannot have been given, for one below it, of this shard, is nobody's; or the configuration gives it
    /// to somebody else.
    pub(super) fn leave_out(&mut self, revoked: &BTreeMap<ClientId, ClientTag>) -> Result<(), RestoreError> {
        for (&client, &tag) in revoked {
            let next = self.roster.next_number();
            // Of another shard's numbers below, this one may never have heard.
            let mut below = (next.number()..client.number()).map(ClientId::new);
            if below.any(|id| self.shard.owns(id))
                || self.roster.tag(client).is_some_and(|other| other != tag)
            {
                return Err(RestoreError::Configuration);
            }
            if self.roster.tag(client).is_none() && client < next {
                continue;
            }
            let roster = Arc::make_mut(&mut self.roster);
            roster.skip_to(ClientId::new(client.number().saturating_add(1)));
            if roster.remove(client).is_some() {
                self.events.push_back((Barrier::OPEN, HubEvent::ClientRevoked { client, tag, erased: true }));
            }
        }
        Ok(())
    }

    /// Erases the tables of a client that was revoked, and that the configuration still has: a crash came before they were.
    pub(super) fn erase_again(&mut self, client: HubClient<P>, further: impl Iterator<Item = Table<P>>) {
        let id = client.client;
        if !erase_all(further.chain([client.uplink, client.downlink])) {
            self.tell_unerased(id);
        }
    }

    /// What is told of a client that was revoked says that its tables are not erased.
    pub(super) fn tell_unerased(&mut self, id: ClientId) {
        for (_, event) in &mut self.events {
            if let HubEvent::ClientRevoked { client, erased, .. } = event {
                *erased &= *client != id;
            }
        }
    }

    /// What a snapshot has to hold of it.
    pub(super) fn store_revoked(&mut self) {
        for (id, tag) in &self.revoked {
            self.journal.set(key(STORED_REVOKED, *id), tag.as_bytes());
        }
    }

    /// Forgets a key, whatever its state.
    pub(super) fn remove_relay(&mut self, id: RelayId) {
        if self.taken_back.remove(&id).is_some() {
            self.journal.remove(taken_back_key(id));
        }
        if self.asked.remove(&id).is_some() {
            self.journal.remove(asked_key(id));
            self.uncount_key(id.0);
        }
        let Some(relay) = self.relays.remove(&id) else { return };
        self.journal.remove(storage_key(id));
        if let Some(delivery) = relay.delivery {
            let Delivery { sent, backoff } = *delivery;
            self.timers.remove(&(backoff.due(), Timer::Delivery(id)));
            if let Some(client) = self.client_mut(relay.responder) {
                client.link.settle(&sent);
            }
        }
        self.waiting.remove(relay.responder, id);
        self.uncount_key(id.0);
    }

    fn uncount_key(&mut self, initiator: ClientId) {
        if let Some(client) = self.client_mut(initiator) {
            client.keys = client.keys.saturating_sub(1);
        }
    }
}

impl<P> Client<P> {
    const fn id(&self) -> ClientId {
        self.link.keys.client()
    }

    /// Whether a client that it has not named may have keys made with it.
    fn accepts_others(&self) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.all_but)
    }
}

/// The numbers that were taken from clients, as they were stored.
pub(super) fn revoked(stored: &Stored) -> Result<BTreeMap<ClientId, ClientTag>, RestoreError> {
    let mut revoked = BTreeMap::new();
    for (key, value) in stored.iter() {
        if let Some((&STORED_REVOKED, client)) = key.split_first() {
            let tag = value.try_into().map_err(|_| RestoreError::Content)?;
            revoked.insert(stored_client(client)?, ClientTag::new(tag));
        }
    }
    Ok(revoked)
}
