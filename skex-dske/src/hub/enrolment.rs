//! Clients come and go while the hub runs: enrolled, revoked, enrolled anew (docs/draft-skex-dske.md, "Enrolment and
//! revocation").

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use skex_core::machine::Instant;
use skex_core::{KeyId, SecretVec};
use skex_wire::dske::MAX_NAME_LEN;

use super::command::{STORED_ALLOWED, STORED_OFFER, key, stored_client};
use super::refill::Refills;
use super::relay::{RelayId, storage_key};
use super::session::STORED_INITIAL;
use super::{Client, Hub, HubClient, HubError, HubEvent, Timer, marks_key};
use crate::id::{ClientId, ClientTag};
use crate::psrd::Pad;
use crate::state::{RestoreError, Stored};

pub(super) const STORED_REVOKED: u8 = 6;

/// A client that was revoked: its tables are erased once that is durable.
pub(super) struct Leaving<P> {
    pub(super) client: Client<P>,
    /// Tables that were on their way to it.
    pub(super) refills: Option<Refills<P>>,
}

/// Revocations that are not durable yet.
pub(super) const LEAVING: usize = 1024;

impl<P: Pad> Leaving<P> {
    /// Erases the tables.
    pub(super) fn go(mut self) -> HubEvent {
        self.client.link.destroy();
        if let Some(refills) = self.refills {
            refills.destroy();
        }
        HubEvent::ClientRevoked { client: self.client.link.keys.client(), tag: self.client.tag }
    }
}

impl<P: Pad> Hub<P> {
    /// Revokes a client: its session ends, everything of it that waits here is dropped, its tag and names are free, its number is
    /// never given again. Whatever it sends from now on is silently discarded. Once that is durable its tables are erased, and
    /// [`HubEvent::ClientRevoked`] says so; before, a crash can undo it. From then on the configuration has to leave it out.
    ///
    /// # Errors
    ///
    /// [`HubError::UnknownClient`], [`HubError::Busy`]. Nothing changed.
    pub fn revoke(&mut self, now: Instant, client: ClientId) -> Result<(), HubError> {
        let now = self.clock.observe(now);
        if self.leaving.free() == 0 {
            return Err(HubError::Busy);
        }
        let gone = self.clients.remove(client).ok_or(HubError::UnknownClient)?;
        self.revoked.insert(client, gone.tag);
        let after = self.journal.after();
        self.journal.set(&key(STORED_REVOKED, client), SecretVec::copied_from(gone.tag.as_bytes()));
        self.journal.remove(&marks_key(client));
        self.journal.remove(&key(STORED_ALLOWED, client));
        self.journal.remove(&key(STORED_OFFER, client));
        self.journal.remove(&key(STORED_INITIAL, client));
        self.forget_spent(client);
        self.journal.wipe_soon(now);
        self.offers.remove(&client);
        self.names.retain(|_, owner| *owner != client);
        let own = self.relays.range((client, KeyId::new([0; 16]))..=(client, KeyId::new([0xff; 16])));
        let theirs = self.relays.iter().filter(|(_, relay)| relay.responder == client);
        let relays: Vec<RelayId> = own.chain(theirs).map(|(id, _)| *id).collect();
        for id in relays {
            self.remove_relay(id);
        }
        self.waiting.remove(&client);
        self.end_refill_to(client);
        let refills = self.refills.remove(&client);
        let _ = self.leaving.push(after, Leaving { client: gone, refills });
        Ok(())
    }

    /// Enrols a client while the hub runs: a new one, or one that was revoked, with the same tag, a new number, a new initial key
    /// and new tables. From now on the configuration has to have it, and its names, at every start.
    ///
    /// # Errors
    ///
    /// [`HubError::Enrolment`] if the number is not the next one, the tag or a name is another client's, a name has not 1 to 64
    /// octets, or the suite is unknown. Nothing changed.
    pub fn enrol(&mut self, client: HubClient<P>, names: &[&[u8]]) -> Result<(), HubError> {
        let (id, tag) = (client.client, client.tag);
        let is_free = |name: &&&[u8]| {
            !name.is_empty() && name.len() <= MAX_NAME_LEN && !self.names.contains_key(**name)
        };
        if usize::try_from(id.number()) != Ok(self.clients.len())
            || self.client_of(tag).is_some()
            || names.iter().filter(is_free).count() != names.len()
        {
            return Err(HubError::Enrolment);
        }
        self.add_client(client, Vec::new(), None, None).map_err(|_| HubError::Enrolment)?;
        self.names.extend(names.iter().map(|name| (name.to_vec(), id)));
        // Where everybody is authorised there is one more to share the downlink with.
        let shared: Vec<ClientId> =
            self.clients.iter().filter(|client| client.accepts_others()).map(Client::id).collect();
        for responder in shared {
            self.forget_spent(responder);
        }
        self.store_marks(id);
        Ok(())
    }

    /// What a snapshot has to hold of it.
    pub(super) fn store_revoked(&mut self) {
        for (id, tag) in &self.revoked {
            self.journal.set(&key(STORED_REVOKED, *id), SecretVec::copied_from(tag.as_bytes()));
        }
    }

    /// Forgets a relay, whatever its state.
    pub(super) fn remove_relay(&mut self, id: RelayId) {
        let Some(relay) = self.relays.remove(&id) else { return };
        self.journal.remove(&storage_key(id));
        if let Some((sent, backoff)) = relay.delivery {
            self.timers.remove(&(backoff.due(), Timer::Delivery(id)));
            if let Some(client) = self.client_mut(relay.responder) {
                client.link.settle(&sent);
            }
        }
        self.waits_no_more(relay.responder, id);
        if let Some(client) = self.client_mut(id.0) {
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

/// Takes the numbers that were taken from clients out of what was stored.
pub(super) fn revoked(stored: &mut Stored) -> Result<BTreeMap<ClientId, ClientTag>, RestoreError> {
    let mut revoked = BTreeMap::new();
    for (key, value) in &stored.values {
        if let Some((&STORED_REVOKED, client)) = key.split_first() {
            let tag = value.expose().try_into().map_err(|_| RestoreError::Content)?;
            revoked.insert(stored_client(client)?, ClientTag::new(tag));
        }
    }
    stored.values.retain(|key, _| key.first() != Some(&STORED_REVOKED));
    Ok(revoked)
}

/// Erases the tables of a client that was revoked, and that the configuration still has: a crash came before they were.
pub(super) fn erase_again<P: Pad>(
    tag: ClientTag,
    client: HubClient<P>,
    further: impl Iterator<Item = crate::client::Table<P>>,
) -> HubEvent {
    for mut table in further.chain([client.uplink, client.downlink]) {
        // A failing erasure costs forward secrecy of bytes that nobody uses any more.
        let _ = table.pad.erase(0, table.pad.elements());
    }
    HubEvent::ClientRevoked { client: client.client, tag }
}
