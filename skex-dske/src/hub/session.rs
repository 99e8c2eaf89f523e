//! The envelope of a client, at its hub: hellos, sessions, and what ends with them (docs/draft-skex-dske.md, "Sessions").

use alloc::vec::Vec;

use skex_core::KeyId;
use skex_core::machine::{DiscardReason, Disposition, PathId};
use skex_wire::dske::{Hello, Sealed, Tagged};

use super::relay::hub_salt;
use super::{Hub, Timer};
use crate::envelope::Side;
use crate::id::ClientId;
use crate::psrd::Pad;

impl<P: Pad> Hub<P> {
    /// Answers a hello with our salt. Nothing changes here: a hello may be a replay.
    pub(super) fn on_hello(
        &mut self,
        id: ClientId,
        from: PathId,
        hello: &Tagged<'_, Hello>,
    ) -> Result<Disposition, DiscardReason> {
        let client = self.client(id).ok_or(DiscardReason::UnknownPeer)?;
        if !client.link.keys.verifies_hello(hello) {
            return Err(DiscardReason::Unauthentic);
        }
        let salt = hub_salt(&self.boot_key, id, &hello.message.salt, client.generation);
        let reply = salt.and_then(|salt| client.link.keys.hello_reply(&hello.message.salt, salt));
        self.reply(from, reply.ok_or(DiscardReason::Exhausted)?);
        Ok(Disposition::Accepted)
    }

    /// Opens an envelope; a fresh one whose client proves our salt replaces the old one.
    pub(super) fn open(
        &mut self,
        id: ClientId,
        from: PathId,
        sealed: &Sealed<'_>,
    ) -> Result<Vec<u8>, DiscardReason> {
        let client = self.clients.get_mut(id).ok_or(DiscardReason::UnknownPeer)?;
        let ours = client.link.session.as_ref().map(|session| *session.client_salt());
        let opened = match sealed.header.salt {
            Some(salt) if ours != Some(salt) => {
                let hub_salt =
                    hub_salt(&self.boot_key, id, &salt, client.generation).ok_or(DiscardReason::Exhausted)?;
                let mut session = client.link.keys.session(Side::Hub, salt, &hub_salt);
                let opened = session.open(&client.link.keys, sealed);
                if opened.is_ok() {
                    client.link.begin(session);
                    client.generation = client.generation.saturating_add(1);
                    client.lease_retry = None;
                    client.confirmed = false;
                    self.end_deliveries_to(id);
                    self.end_answers_to(id);
                }
                opened
            }
            _ => client.link.open(sealed),
        };
        // Without a session, after our start perhaps, the client has to say hello again.
        let client = self.client(id).ok_or(DiscardReason::UnknownPeer)?;
        if opened.is_err()
            && client.link.session.is_none()
            && let Some(request) = client.link.keys.hello_request(&sealed.tag)
        {
            self.reply(from, request);
        }
        opened
    }

    /// A new session with a responder: its deliveries need new blocks.
    pub(super) fn end_deliveries_to(&mut self, id: ClientId) {
        for relay_id in self.waiting.get(&id).into_iter().flatten() {
            if let Some(relay) = self.relays.get_mut(relay_id)
                && let Some((_, backoff)) = relay.delivery.take()
            {
                self.timers.remove(&(backoff.due(), Timer::Delivery(*relay_id)));
            }
        }
    }

    /// A new session with an initiator: blocks of its earlier uploads mean nothing any more.
    pub(super) fn end_answers_to(&mut self, id: ClientId) {
        let (first, last) = ((id, KeyId::new([0; 16])), (id, KeyId::new([0xff; 16])));
        for (_, relay) in self.relays.range_mut(first..=last) {
            relay.answer = None;
        }
        if let Some(client) = self.client_mut(id) {
            client.said = None;
        }
    }
}
