//! The envelope of a link: privacy of control data and the first defence against floods.
//!
//! No key's security rests on it. Every start, of either end, makes new envelope keys from fresh salts of both
//! (docs/draft-skex-dske.md, "Envelope"): nothing is ever sealed twice under one key and number.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use skex_core::machine::{Barrier, DiscardReason};
use skex_core::{Expander, Label, MacKey, ReplayWindow, SecretBytes, SecretVec, Suite, extract};
use skex_wire::dske::{Hello, HelloRequest, Sealed, SealedHeader, Tagged};
use skex_wire::{EncodeError, Writer, limits::TAG_LEN};

use crate::id::{ClientId, HubId};
use crate::key::encoded;
use crate::list::ToList as _;
use crate::state::RestoreError;
use crate::unsealed::Unsealed;

/// Which end of a link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Hub,
}

/// Which initial key: the one in force, or the one that is to take its place once the other end has proven that it has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initial {
    Current,
    Next,
}

/// The initial key that is to take the place of the present one.
struct Next {
    key: SecretBytes<32>,
    /// Nothing leaves under it before this checkpoint, which holds it.
    after: u64,
}

/// The initial keys of a configuration, 32 octets each, out of its places: what is then moved out of these leaves none behind.
pub(crate) fn take_initial_keys<'a>(
    keys: impl ExactSizeIterator<Item = &'a mut SecretBytes<32>>,
) -> SecretVec {
    SecretVec::from_fn(keys.len().saturating_mul(32), |octets| {
        for (out, key) in octets.chunks_mut(32).zip(keys) {
            out.copy_from_slice(key.expose());
            key.wipe();
        }
    })
}

/// What enrolment gave both ends of a link.
pub(crate) struct EnvelopeKeys {
    suite: Suite,
    initial: SecretBytes<32>,
    next: Option<Box<Next>>,
    client: ClientId,
    hub: HubId,
}

impl EnvelopeKeys {
    pub(crate) const fn new(suite: Suite, initial: SecretBytes<32>, client: ClientId, hub: HubId) -> Self {
        Self { suite, initial, next: None, client, hub }
    }

    /// With the initial keys as they were stored, if they were ever replaced: current 32, next 32 or nothing.
    pub(crate) fn with_stored(mut self, stored: Option<&SecretVec>) -> Result<Self, RestoreError> {
        let Some(stored) = stored else { return Ok(self) };
        let (keys, rest) = stored.expose().as_chunks::<32>();
        let copy = |key: &[u8; 32]| SecretBytes::copied_from(key);
        match (keys, rest) {
            ([initial], []) => self.initial = copy(initial),
            ([initial, next], []) => {
                self.initial = copy(initial);
                self.next = Some(Box::new(Next { key: copy(next), after: Barrier::OPEN }));
            }
            _ => return Err(RestoreError::Content),
        }
        Ok(self)
    }

    /// What is durable of the initial keys once one was replaced.
    pub(crate) fn stored(&self) -> SecretVec {
        let next = self.next.as_ref().map(|next| &next.key);
        let keys = [Some(&self.initial), next].into_iter().flatten();
        SecretVec::from_fn(if next.is_some() { 64 } else { 32 }, |octets| {
            octets.chunks_mut(32).zip(keys).for_each(|(out, key)| out.copy_from_slice(key.expose()));
        })
    }

    /// Another initial key is to take the place of the present one. Nothing leaves under it before checkpoint `after`, which has
    /// to carry it. `false`: it is there already.
    #[must_use]
    pub(crate) fn replace(&mut self, key: SecretBytes<32>, after: u64) -> bool {
        if self.initial == key || self.next.as_ref().is_some_and(|next| next.key == key) {
            return false;
        }
        self.next = Some(Box::new(Next { key, after }));
        true
    }

    /// The next initial key was proven by the other end: it alone is in force. `false`: there is none.
    #[must_use]
    pub(crate) fn promote(&mut self) -> bool {
        let Some(next) = self.next.take() else { return false };
        // Not moved: what is moved stays where it was as well.
        self.initial.overwrite(&next.key);
        true
    }

    /// Wipes the initial keys.
    pub(crate) fn forget(&mut self) {
        self.initial.wipe();
        self.next = None;
    }

    /// The initial keys that the other end may use, the newer first.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = Initial> + use<> {
        self.next.as_ref().map(|_| Initial::Next).into_iter().chain([Initial::Current])
    }

    /// Whether another initial key is to take the place of the present one.
    pub(crate) const fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// What a message under this key waits for.
    pub(crate) fn after(&self, which: Initial) -> u64 {
        match (&self.next, which) {
            (Some(next), Initial::Next) => next.after,
            _ => Barrier::OPEN,
        }
    }

    fn key(&self, which: Initial) -> &SecretBytes<32> {
        match (&self.next, which) {
            (Some(next), Initial::Next) => &next.key,
            _ => &self.initial,
        }
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

    fn mac(&self, which: Initial, label: Label) -> MacKey {
        let secret = extract(self.suite, &[], &[self.key(which).expose()]);
        let key = Expander::new(self.suite, &secret).secret::<32>(label, &[self.hub.as_bytes()]);
        self.suite.mac_key(key.expose())
    }

    fn session_keys(
        &self,
        which: Initial,
        client_salt: &[u8; 16],
        hub_salt: &[u8; 16],
    ) -> (SecretBytes<32>, SecretBytes<32>) {
        let client = self.client.number().to_be_bytes();
        let salt: Vec<u8> = [client_salt.as_slice(), hub_salt].concat();
        let secret = extract(self.suite, &salt, &[self.key(which).expose()]);
        let expander = Expander::new(self.suite, &secret);
        let context: [&[u8]; 2] = [&client, self.hub.as_bytes()];
        (
            expander.secret(Label::DSKE_ENVELOPE_TO_HUB, &context),
            expander.secret(Label::DSKE_ENVELOPE_TO_CLIENT, &context),
        )
    }

    /// The client's first word, with its fresh salt.
    pub(crate) fn hello(&self, which: Initial, client_salt: [u8; 16]) -> Option<Vec<u8>> {
        let hello = Hello::new(self.client.number(), client_salt);
        self.tagged(which, Label::DSKE_HELLO, &[], Hello::LEN, |out| hello.encode_untagged(out))
    }

    /// The key under which the client said it, if any.
    pub(crate) fn key_of_hello(&self, hello: &Tagged<'_, Hello>) -> Option<Initial> {
        let verifies = |which: &Initial| {
            self.mac(*which, Label::DSKE_HELLO).verify(&[&[], hello.untagged], &hello.tag).is_ok()
        };
        self.candidates().find(verifies)
    }

    /// The hub's answer: its own salt, bound to the client's.
    pub(crate) fn hello_reply(
        &self,
        which: Initial,
        client_salt: &[u8; 16],
        hub_salt: [u8; 16],
    ) -> Option<Vec<u8>> {
        let reply = Hello::reply(self.client.number(), hub_salt);
        self.tagged(which, Label::DSKE_HELLO_REPLY, client_salt, Hello::LEN, |out| reply.encode_untagged(out))
    }

    pub(crate) fn verifies_hello_reply(
        &self,
        which: Initial,
        client_salt: &[u8; 16],
        reply: &Tagged<'_, Hello>,
    ) -> bool {
        self.mac(which, Label::DSKE_HELLO_REPLY).verify(&[client_salt, reply.untagged], &reply.tag).is_ok()
    }

    /// The hub's plea for a new hello, bound to the message that it could not open by that message's tag.
    pub(crate) fn hello_request(&self, unopened: &[u8; 16]) -> Option<Vec<u8>> {
        // Where there are two, the client may have dropped the older, or not have the newer yet. One answer is all that there may
        // be: the message itself, never twice the same, chooses.
        let which = if unopened.first().is_some_and(|octet| octet & 1 == 1) {
            Initial::Next
        } else {
            Initial::Current
        };
        let request = HelloRequest::new(self.client.number());
        self.tagged(which, Label::DSKE_HELLO_REQUEST, unopened, HelloRequest::LEN, |out| {
            request.encode_untagged(out)
        })
    }

    /// The tags of the pleas that the hub can make for messages with these tags.
    pub(crate) fn hello_request_tags<'a>(
        &self,
        unopened: impl IntoIterator<Item = &'a [u8; TAG_LEN]>,
    ) -> Vec<[u8; TAG_LEN]> {
        let request = HelloRequest::new(self.client.number());
        let mut untagged = [0; HelloRequest::LEN - TAG_LEN];
        let written = request.encode_untagged(&mut Writer::new(&mut untagged));
        debug_assert!(written.is_ok());
        let keys: Vec<MacKey> =
            self.candidates().map(|which| self.mac(which, Label::DSKE_HELLO_REQUEST)).list();
        let mut tags = Vec::new();
        for tag in unopened {
            for key in &keys {
                tags.push(key.tag(&[tag, &untagged]));
            }
        }
        tags
    }

    /// A message of `len` octets with its tag over `bound` and everything before the tag.
    fn tagged(
        &self,
        which: Initial,
        label: Label,
        bound: &[u8],
        len: usize,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Option<Vec<u8>> {
        encoded(len, |out| {
            write(out)?;
            let tag = self.mac(which, label).tag(&[bound, out.written()]);
            out.bytes(&tag)
        })
    }

    /// The envelope that both salts make.
    pub(crate) fn session(
        &self,
        which: Initial,
        side: Side,
        client_salt: [u8; 16],
        hub_salt: &[u8; 16],
    ) -> Session {
        let (to_hub, to_client) = self.session_keys(which, &client_salt, hub_salt);
        let (sealing, opening) = match side {
            Side::Client => (to_hub, to_client),
            Side::Hub => (to_client, to_hub),
        };
        Session { initial: which, client_salt, sealing, opening, next: 0, window: ReplayWindow::new() }
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
    /// Of the two initial keys at its beginning, if there were two.
    initial: Initial,
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

    /// Whether it proves that the other end has the next initial key: once, and only if it is still the next one.
    pub(crate) fn proves_next(&mut self) -> bool {
        core::mem::replace(&mut self.initial, Initial::Current) == Initial::Next
    }

    /// Whether it rests on the initial key that was the next one at its beginning.
    pub(crate) fn rests_on_next(&self) -> bool {
        self.initial == Initial::Next
    }

    pub(crate) const fn is_worn_out(&self) -> bool {
        self.next >= WORN_OUT
    }

    /// Seals a datagram where it stands. `None` when the numbers have run out.
    pub(crate) fn seal(&mut self, keys: &EnvelopeKeys, unsealed: Unsealed) -> Option<Vec<u8>> {
        let sequence = self.next;
        self.next = sequence.checked_add(1)?;
        let salt = unsealed.is_fresh().then_some(self.client_salt);
        let header = SealedHeader::new(keys.client.number(), salt, sequence);
        let mut datagram = unsealed.into_octets();
        let (sealed, tag) = datagram.split_last_chunk_mut::<TAG_LEN>()?;
        let (aad, body) = sealed.split_at_mut_checked(header.len())?;
        header.encode(&mut Writer::new(aad)).ok()?;
        *tag = keys.suite.seal(&self.sealing, &header.nonce(), aad, body).ok()?;
        Some(datagram)
    }

    /// Writes what a datagram holds over what was in `inner`. Nothing else changes unless it is authentic and new.
    pub(crate) fn open(
        &mut self,
        keys: &EnvelopeKeys,
        sealed: &Sealed<'_>,
        inner: &mut Vec<u8>,
    ) -> Result<(), DiscardReason> {
        let sequence = u64::from(sealed.header.seq);
        self.window.check(sequence).map_err(|_| DiscardReason::Duplicate)?;
        inner.clear();
        inner.extend_from_slice(sealed.ciphertext);
        keys.suite
            .open(&self.opening, &sealed.header.nonce(), sealed.aad, inner, &sealed.tag)
            .map_err(|_| DiscardReason::Unauthentic)?;
        self.window.update(sequence).map_err(|_| DiscardReason::Duplicate)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("next", &self.next).finish_non_exhaustive()
    }
}
