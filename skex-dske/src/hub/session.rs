//! The envelope of a client, at its hub: hellos, sessions, and what ends with them (docs/draft-skex-dske.md, "Sessions").

use alloc::vec::Vec;

use skex_core::machine::{Barrier, DiscardReason, Disposition, PathId};
use skex_core::{KeyId, SecretBytes};
use skex_wire::dske::{Hello, Sealed, Tagged};

use super::relay::hub_salt;
use super::{Hub, HubError, HubEvent, Timer};
use crate::envelope::Side;
use crate::id::ClientId;
use crate::psrd::Pad;

pub(super) const STORED_INITIAL: u8 = 7;

impl<P: Pad> Hub<P> {
    /// Answers a hello with our salt. Nothing changes here: a hello may be a replay.
    pub(super) fn on_hello(
        &mut self,
        id: ClientId,
        from: PathId,
        hello: &Tagged<'_, Hello>,
    ) -> Result<Disposition, DiscardReason> {
        let client = self.client(id).ok_or(DiscardReason::UnknownPeer)?;
        let keys = &client.link.keys;
        let which = keys.key_of_hello(hello).ok_or(DiscardReason::Unauthentic)?;
        let after = keys.after(which);
        let salt = hub_salt(&self.boot_key, id, &hello.message.salt, client.link.sessions);
        let reply = salt.and_then(|salt| keys.hello_reply(which, &hello.message.salt, salt));
        self.reply(from, after, reply.ok_or(DiscardReason::Exhausted)?);
        Ok(Disposition::Accepted)
    }

    /// Opens an envelope into `inner`; a fresh one whose client proves our salt replaces the old one.
    pub(super) fn open(
        &mut self,
        id: ClientId,
        from: PathId,
        sealed: &Sealed<'_>,
        inner: &mut Vec<u8>,
    ) -> Result<(), DiscardReason> {
        let client = self.clients.get_mut(id).ok_or(DiscardReason::UnknownPeer)?;
        let mut proven = false;
        let ours = client.link.session.as_ref().map(|session| *session.client_salt());
        let opened = match sealed.header.salt {
            Some(salt) if ours != Some(salt) => {
                let hub_salt = hub_salt(&self.boot_key, id, &salt, client.link.sessions)
                    .ok_or(DiscardReason::Exhausted)?;
                let keys = &client.link.keys;
                let mut opened = Err(DiscardReason::Unauthentic);
                for which in keys.candidates() {
                    let mut session = keys.session(which, Side::Hub, salt, &hub_salt);
                    opened = session.open(keys, sealed, inner).map(|()| session);
                    if opened.is_ok() {
                        break;
                    }
                }
                let opened = opened.map(|mut session| {
                    proven = session.proves_next() && client.link.keys.promote();
                    client.link.begin(session);
                });
                if opened.is_ok() {
                    client.lease_retry = None;
                    client.confirmed = false;
                    self.end_deliveries_to(id);
                    self.end_refill_to(id);
                    self.end_answers_to(id);
                }
                opened
            }
            _ => client.link.open(sealed, inner),
        };
        if proven {
            self.initial_key_proven(id);
        }
        // Without a session, after our start perhaps, the client has to say hello again.
        let client = self.client(id).ok_or(DiscardReason::UnknownPeer)?;
        if opened.is_err()
            && client.link.session.is_none()
            && let Some(request) = client.link.keys.hello_request(&sealed.tag)
        {
            self.reply(from, Barrier::OPEN, request);
        }
        opened
    }

    /// Gives the link with `client` another initial key, from outside: an output of a session that both have beside this one,
    /// perhaps. The client is given the same. Until it has proven that it has it, the present key stays in force; from then on the
    /// new one alone. [`HubEvent::InitialKeyReplaced`] says when. A key that is there already changes nothing, so that after a
    /// crash the same can be said again.
    ///
    /// # Errors
    ///
    /// [`HubError::UnknownClient`]. Nothing changed.
    pub fn replace_initial_key(&mut self, client: ClientId, key: SecretBytes<32>) -> Result<(), HubError> {
        let after = self.journal.after();
        let own = self.client_mut(client).ok_or(HubError::UnknownClient)?;
        if own.link.keys.replace(key, after) {
            own.key_replaced = true;
            let stored = own.link.keys.stored();
            self.journal.set(super::command::key(STORED_INITIAL, client), stored.expose());
        }
        Ok(())
    }

    /// The client has the next initial key: the older one goes, for good.
    fn initial_key_proven(&mut self, client: ClientId) {
        let now = self.clock.now();
        let (Some(tag), Some(own)) = (self.roster.tag(client), self.client(client)) else { return };
        let stored = own.link.keys.stored();
        // Before that is durable, a crash brings the older key back.
        let after = self.journal.after();
        self.journal.set(super::command::key(STORED_INITIAL, client), stored.expose());
        self.journal.wipe_soon(now);
        self.events.push_back((after, HubEvent::InitialKeyReplaced { client, tag }));
    }

    /// What a snapshot has to hold of initial keys that were replaced.
    pub(super) fn store_initial_keys(&mut self) {
        for client in self.clients.iter().filter(|client| client.key_replaced) {
            let key = super::command::key(STORED_INITIAL, client.link.keys.client());
            self.journal.set(key, client.link.keys.stored().expose());
        }
    }

    /// A new session with a responder: its deliveries need new blocks.
    pub(super) fn end_deliveries_to(&mut self, id: ClientId) {
        for relay_id in self.waiting.of(id) {
            if let Some(relay) = self.relays.get_mut(&relay_id)
                && let Some(delivery) = relay.delivery.take()
            {
                self.timers.remove(&(delivery.backoff.due(), Timer::Delivery(relay_id)));
            }
        }
    }

    /// A new session with an initiator: blocks of its earlier uploads mean nothing any more.
    pub(super) fn end_answers_to(&mut self, id: ClientId) {
        let (first, last) = ((id, KeyId::new([0; 16])), (id, KeyId::new([0xff; 16])));
        for (_, relay) in self.relays.range_mut(first..=last) {
            relay.answer = None;
        }
        self.end_answers_from_elsewhere(id);
        if let Some(client) = self.client_mut(id) {
            client.said = None;
        }
    }
}
