//! The envelope of a link: privacy of control data and the first defence against floods.
//!
//! No key's security rests on it. Every start, of either end, makes new envelope keys from fresh salts of both
//! (docs/draft-skex-dske.md, "Envelope"): nothing is ever sealed twice under one key and number.

use alloc::vec::Vec;
use core::fmt;

use skex_core::machine::DiscardReason;
use skex_core::{Expander, Label, MacKey, ReplayWindow, SecretBytes, Suite, extract};
use skex_wire::dske::{Hello, HelloRequest, Sealed, SealedHeader, Tagged};
use skex_wire::{EncodeError, Writer};

use crate::id::{ClientId, HubId};
use crate::key::encoded;

/// Which end of a link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Hub,
}

/// What enrolment gave both ends of a link.
pub(crate) struct EnvelopeKeys {
    suite: Suite,
    initial: SecretBytes<32>,
    client: ClientId,
    hub: HubId,
}

impl EnvelopeKeys {
    pub(crate) const fn new(suite: Suite, initial: SecretBytes<32>, client: ClientId, hub: HubId) -> Self {
        Self { suite, initial, client, hub }
    }

    pub(crate) const fn suite(&self) -> Suite {
        self.suite
    }

    pub(crate) const fn client(&self) -> ClientId {
        self.client
    }

    pub(crate) const fn hub(&self) -> HubId {
        self.hub
    }

    fn mac(&self, label: Label) -> MacKey {
        let secret = extract(self.suite, &[], &[self.initial.expose()]);
        let key = Expander::new(self.suite, &secret).secret::<32>(label, &[self.hub.as_bytes()]);
        self.suite.mac_key(key.expose())
    }

    fn session_keys(
        &self,
        client_salt: &[u8; 16],
        hub_salt: &[u8; 16],
    ) -> (SecretBytes<32>, SecretBytes<32>) {
        let client = self.client.number().to_be_bytes();
        let salt: Vec<u8> = [client_salt.as_slice(), hub_salt].concat();
        let secret = extract(self.suite, &salt, &[self.initial.expose()]);
        let expander = Expander::new(self.suite, &secret);
        let context: [&[u8]; 2] = [&client, self.hub.as_bytes()];
        (
            expander.secret(Label::DSKE_ENVELOPE_TO_HUB, &context),
            expander.secret(Label::DSKE_ENVELOPE_TO_CLIENT, &context),
        )
    }

    /// The client's first word, with its fresh salt.
    pub(crate) fn hello(&self, client_salt: [u8; 16]) -> Option<Vec<u8>> {
        let hello = Hello::new(self.client.number(), client_salt);
        self.tagged(Label::DSKE_HELLO, &[], Hello::LEN, |out| hello.encode_untagged(out))
    }

    pub(crate) fn verifies_hello(&self, hello: &Tagged<'_, Hello>) -> bool {
        self.mac(Label::DSKE_HELLO).verify(&[&[], hello.untagged], &hello.tag).is_ok()
    }

    /// The hub's answer: its own salt, bound to the client's.
    pub(crate) fn hello_reply(&self, client_salt: &[u8; 16], hub_salt: [u8; 16]) -> Option<Vec<u8>> {
        let reply = Hello::reply(self.client.number(), hub_salt);
        self.tagged(Label::DSKE_HELLO_REPLY, client_salt, Hello::LEN, |out| reply.encode_untagged(out))
    }

    pub(crate) fn verifies_hello_reply(&self, client_salt: &[u8; 16], reply: &Tagged<'_, Hello>) -> bool {
        self.mac(Label::DSKE_HELLO_REPLY).verify(&[client_salt, reply.untagged], &reply.tag).is_ok()
    }

    /// The hub's plea for a new hello, bound to the message that it could not open by that message's tag.
    pub(crate) fn hello_request(&self, unopened: &[u8; 16]) -> Option<Vec<u8>> {
        let request = HelloRequest::new(self.client.number());
        self.tagged(Label::DSKE_HELLO_REQUEST, unopened, HelloRequest::LEN, |out| {
            request.encode_untagged(out)
        })
    }

    pub(crate) fn verifies_hello_request<'a>(
        &self,
        unopened: impl IntoIterator<Item = &'a [u8; 16]>,
        request: &Tagged<'_, HelloRequest>,
    ) -> bool {
        let key = self.mac(Label::DSKE_HELLO_REQUEST);
        unopened.into_iter().any(|tag| key.verify(&[tag, request.untagged], &request.tag).is_ok())
    }

    /// A message of `len` octets with its tag over `bound` and everything before the tag.
    fn tagged(
        &self,
        label: Label,
        bound: &[u8],
        len: usize,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Option<Vec<u8>> {
        encoded(len, |out| {
            write(out)?;
            let tag = self.mac(label).tag(&[bound, out.written()]);
            out.bytes(&tag)
        })
    }

    /// The envelope that both salts make.
    pub(crate) fn session(&self, side: Side, client_salt: [u8; 16], hub_salt: &[u8; 16]) -> Session {
        let (to_hub, to_client) = self.session_keys(&client_salt, hub_salt);
        let (sealing, opening) = match side {
            Side::Client => (to_hub, to_client),
            Side::Hub => (to_client, to_hub),
        };
        Session { client_salt, sealing, opening, next: 0, window: ReplayWindow::new() }
    }
}

impl fmt::Debug for EnvelopeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvelopeKeys")
            .field("client", &self.client)
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

/// One envelope: from a hello to the next start of either end.
pub(crate) struct Session {
    client_salt: [u8; 16],
    sealing: SecretBytes<32>,
    opening: SecretBytes<32>,
    next: u32,
    window: ReplayWindow<2>,
}

/// This many messages in, a session is worn out and a new hello is due; far below every AEAD's limit.
const WORN_OUT: u32 = 1 << 31;

impl Session {
    /// The salt by which the client began it.
    pub(crate) const fn client_salt(&self) -> &[u8; 16] {
        &self.client_salt
    }

    pub(crate) const fn is_worn_out(&self) -> bool {
        self.next >= WORN_OUT
    }

    /// `inner` as a datagram; `fresh` carries the client's salt along. `None` when the numbers have run out.
    pub(crate) fn seal(&mut self, keys: &EnvelopeKeys, inner: &[u8], fresh: bool) -> Option<Vec<u8>> {
        let sequence = self.next;
        self.next = sequence.checked_add(1)?;
        let header = SealedHeader::new(keys.client.number(), fresh.then_some(self.client_salt), sequence);
        let mut datagram = encoded(header.len(), |out| header.encode(out))?;
        datagram.extend_from_slice(inner);
        let (aad, body) = datagram.split_at_mut_checked(header.len())?;
        let tag = keys.suite.seal(&self.sealing, &header.nonce(), aad, body).ok()?;
        datagram.extend_from_slice(&tag);
        Some(datagram)
    }

    /// What a datagram holds. Nothing changes unless it is authentic and new.
    pub(crate) fn open(
        &mut self,
        keys: &EnvelopeKeys,
        sealed: &Sealed<'_>,
    ) -> Result<Vec<u8>, DiscardReason> {
        let sequence = u64::from(sealed.header.seq);
        self.window.check(sequence).map_err(|_| DiscardReason::Duplicate)?;
        let mut inner = sealed.ciphertext.to_vec();
        keys.suite
            .open(&self.opening, &sealed.header.nonce(), sealed.aad, &mut inner, &sealed.tag)
            .map_err(|_| DiscardReason::Unauthentic)?;
        self.window.update(sequence).map_err(|_| DiscardReason::Duplicate)?;
        Ok(inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("next", &self.next).finish_non_exhaustive()
    }
}
