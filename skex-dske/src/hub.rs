//! A security hub: it relays shares between its clients and knows one share of each key.

mod config;
mod relay;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::machine::{
    Barrier, Clock, Destination, DiscardCounters, DiscardReason, Disposition, Instant, Machine, Output,
    PathId, Queue, Receipt, ReceiptError, Transmit, TransmitClass,
};
use skex_core::record::RecordKind;
use skex_core::{KeyId, SecretBytes, Suite};
use skex_wire::dske::{
    Answer, AnswerStatus, Busy, Confirm, Confirmation, DskeSuiteId, Fetched, Inner, LeaseRequest, Outer,
    Sealed, ShareMessage, Tagged, block_elements, share_elements,
};

pub use config::{Authorised, HubClient, HubConfig, HubLimits};

use crate::backoff::Backoff;
use crate::envelope::{EnvelopeKeys, Side};
use crate::id::{ClientId, ClientTag, HubId};
use crate::key::encoded;
use crate::link::{LeaseAnswer, Link, Marks, ReceivedShare, SentShare};
use crate::psrd::{AllocateError, ELEMENT_LEN, Granted, Incoming, Outgoing, Pad};
use crate::share::Coordinate;
use crate::state::{Changes, Owner, Record, RestoreError, Stored};
use relay::{GivenAnswer, Relay, RelayId, STORED_RELAY, StoredConfirmation, Verdict, hub_salt, storage_key};

/// One hub and all its clients. `P` is where their tables lie.
pub struct Hub<P> {
    coordinate: Coordinate,
    limits: HubLimits,
    clients: Vec<Client<P>>,
    by_tag: BTreeMap<ClientTag, ClientId>,
    relays: BTreeMap<RelayId, Relay>,
    /// The relays whose share waits for a responder.
    waiting: BTreeMap<ClientId, BTreeSet<RelayId>>,
    timers: BTreeSet<(Instant, Timer)>,
    /// Lives for one start only.
    boot_key: SecretBytes<32>,
    clock: Clock,
    barrier: Barrier,
    started: bool,
    owner: Owner,
    sequence: u64,
    changes: Changes,
    snapshot_due: bool,
    wipe_at: Option<Instant>,
    queue: Queue<Transmit<Vec<u8>>>,
    discards: DiscardCounters,
    relayed: u64,
}

struct Client<P> {
    tag: ClientTag,
    link: Link<P>,
    authorised: Authorised,
    /// Sessions that were opened since the start.
    generation: u32,
    /// Where its last authentic message came from.
    path: Option<PathId>,
    /// Whether it has sent a message without its salt: it has heard us under this envelope.
    confirmed: bool,
    lease_retry: Option<Backoff>,
    /// Keys whose lifetime is not over.
    keys: usize,
    /// Elements of its downlink that each initiator's shares were accepted for since the start.
    spent: BTreeMap<ClientId, u32>,
    /// Refusals that were given, for their repetition.
    refusals: VecDeque<GivenAnswer>,
}

/// Blocks of a responder's downlink that every initiator can have at least.
const SMALLEST_PART: u32 = 4;

/// Shares that were wiped stand in earlier records until a snapshot replaces those: at most so long.
const WIPE_AFTER: Duration = Duration::from_secs(60);

/// Refusals that are remembered of each client.
const REFUSALS: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Delivery(RelayId),
    Expiry(RelayId),
    Lease(ClientId),
    Wipe,
}

const STORED_MARKS: u8 = 1;

/// What a hub tells its operator. A hub has no application: everything else is in [`Hub::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubEvent {}

/// How one client of a hub stands.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientStatus {
    /// Who.
    pub tag: ClientTag,
    /// Whether it has an open envelope.
    pub connected: bool,
    /// Octets left in the table for messages from it.
    pub uplink_remaining: u64,
    /// Octets left in the table for messages to it.
    pub downlink_remaining: u64,
    /// Shares that wait for it.
    pub waiting: usize,
}

/// A call that cannot be carried out. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The receipt is not for this machine's outstanding checkpoint.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}

impl<P: Pad> Hub<P> {
    /// A hub from its configuration and what it stored: the records in the order in which they were stored, none at all
    /// for a new hub. It begins with a checkpoint and is silent until that is durable.
    ///
    /// Randomness: 8 octets for the instance, then 32.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]: the records are torn, foreign, incomplete, or name a client that the configuration lacks.
    pub fn restore(
        config: HubConfig<P>,
        records: impl IntoIterator<Item = impl AsRef<[u8]>>,
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, RestoreError> {
        let HubConfig { id, coordinate, clients, limits } = config;
        let machine = id.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
        let owner = Owner { kind: RecordKind::DSKE_HUB, machine };
        let mut stored = Stored::read(owner, records)?;
        let barrier = Barrier::new(rng);
        let boot_key = SecretBytes::generate(rng);
        let mut hub = Self {
            coordinate,
            limits,
            clients: Vec::with_capacity(clients.len()),
            by_tag: BTreeMap::new(),
            relays: BTreeMap::new(),
            waiting: BTreeMap::new(),
            timers: BTreeSet::new(),
            boot_key,
            clock: Clock::new(now),
            barrier,
            started: false,
            owner,
            sequence: stored.sequence,
            changes: Changes::default(),
            snapshot_due: true,
            wipe_at: None,
            queue: Queue::new(limits.queue),
            discards: DiscardCounters::new(),
            relayed: 0,
        };
        for client in clients {
            let marks = stored.values.remove(marks_key(client.client).as_slice());
            hub.add_client(
                id,
                client,
                marks.map_or_else(|| Ok(Marks::default()), |value| Marks::decode(value.expose()))?,
            )?;
        }
        for (key, value) in &stored.values {
            match key.split_first() {
                Some((&STORED_RELAY, id)) => hub.restore_relay(id, value.expose(), now)?,
                Some((&STORED_MARKS, _)) => return Err(RestoreError::Configuration),
                _ => return Err(RestoreError::Content),
            }
        }
        Ok(hub)
    }

    fn add_client(&mut self, id: HubId, client: HubClient<P>, marks: Marks) -> Result<(), RestoreError> {
        let suite = Suite::from_id(client.suite).ok_or(RestoreError::Configuration)?;
        let keys = EnvelopeKeys::new(suite, client.initial_key, client.client, id);
        let (up, down) = (client.uplink, client.downlink);
        let outgoing = Outgoing::new(down.pad, down.number, down.origin, marks.outgoing);
        let incoming = Incoming::new(up.pad, up.number, up.origin, marks.incoming, marks.erased);
        self.by_tag.insert(client.tag, client.client);
        self.clients.push(Client {
            tag: client.tag,
            link: Link::new(Side::Hub, keys, outgoing, incoming),
            authorised: client.authorised,
            generation: 0,
            path: None,
            confirmed: false,
            lease_retry: None,
            keys: 0,
            spent: BTreeMap::new(),
            refusals: VecDeque::new(),
        });
        Ok(())
    }

    fn restore_relay(&mut self, key: &[u8], value: &[u8], now: Instant) -> Result<(), RestoreError> {
        let mut reader = skex_wire::Reader::new(key);
        let id = (ClientId::new(reader.u32()?), KeyId::new(reader.array()?));
        reader.finish()?;
        let relay = Relay::decode(value, now)?;
        if self.client(relay.responder).is_none() {
            return Err(RestoreError::Configuration);
        }
        let client = self.client_mut(id.0).ok_or(RestoreError::Configuration)?;
        client.keys = client.keys.saturating_add(1);
        self.timers.insert((relay.expires, Timer::Expiry(id)));
        if relay.share.is_some() {
            self.waiting.entry(relay.responder).or_default().insert(id);
        }
        self.relays.insert(id, relay);
        Ok(())
    }

    /// Writes the whole state at the next checkpoint, so that the store can drop older records.
    pub const fn compact(&mut self) {
        self.snapshot_due = true;
    }

    /// How the clients stand, in the order of their numbers.
    pub fn status(&self) -> impl Iterator<Item = ClientStatus> + '_ {
        let octets = |elements: u32| u64::from(elements).saturating_mul(ELEMENT_LEN as u64);
        self.clients.iter().map(move |client| ClientStatus {
            tag: client.tag,
            connected: client.link.session.is_some(),
            uplink_remaining: octets(client.link.incoming.remaining()),
            downlink_remaining: octets(client.link.outgoing.remaining()),
            waiting: self.waiting.get(&client.link.keys.client()).map_or(0, BTreeSet::len),
        })
    }

    /// Shares that responders have answered since the start.
    #[must_use]
    pub const fn relayed(&self) -> u64 {
        self.relayed
    }

    /// How many messages were discarded, by reason.
    #[must_use]
    pub const fn discards(&self) -> &DiscardCounters {
        &self.discards
    }

    fn client(&self, id: ClientId) -> Option<&Client<P>> {
        self.clients.get(usize::try_from(id.number()).ok()?)
    }

    fn client_mut(&mut self, id: ClientId) -> Option<&mut Client<P>> {
        self.clients.get_mut(usize::try_from(id.number()).ok()?)
    }

    /// Takes one whole message. See [`Machine::handle_message`].
    ///
    /// # Errors
    ///
    /// None in this version; a hub does not fail.
    pub fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, HubError> {
        let now = self.clock.observe(now);
        let Ok(outer) = Outer::decode(message) else {
            return Ok(self.discards.discard(DiscardReason::Malformed));
        };
        let id = ClientId::new(outer.client_id());
        let handled = match &outer {
            Outer::Hello(hello) => self.on_hello(id, from, hello),
            Outer::Sealed(sealed) => self.on_sealed(now, rng, id, from, sealed),
            _ => Err(DiscardReason::Unexpected),
        };
        Ok(handled.unwrap_or_else(|reason| self.discards.discard(reason)))
    }

    /// Answers a hello with our salt. Nothing changes here: a hello may be a replay.
    fn on_hello(
        &mut self,
        id: ClientId,
        from: PathId,
        hello: &Tagged<'_, skex_wire::dske::Hello>,
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

    fn on_sealed(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        id: ClientId,
        from: PathId,
        sealed: &Sealed<'_>,
    ) -> Result<Disposition, DiscardReason> {
        let inner = self.open(id, from, sealed)?;
        let client = self.client_mut(id).ok_or(DiscardReason::UnknownPeer)?;
        client.path = Some(from);
        if sealed.header.salt.is_none() && !core::mem::replace(&mut client.confirmed, true) {
            self.deliver_waiting(now, rng, id);
        }
        let inner = Inner::decode(&inner).map_err(|_| DiscardReason::Malformed)?;
        match &inner {
            Inner::LeaseRequest(request) => self.on_lease_request(id, request),
            Inner::LeaseGrant(grant) => {
                let after = self.barrier.after();
                let client = self.client_mut(id).ok_or(DiscardReason::UnknownPeer)?;
                if client.link.lease_granted(grant, after)? == Granted::Whole {
                    client.lease_retry = None;
                }
                self.store_marks(id);
                self.deliver_waiting(now, rng, id);
                Ok(Disposition::Accepted)
            }
            Inner::LeaseDenied(denied) => {
                let client = self.client_mut(id).ok_or(DiscardReason::UnknownPeer)?;
                if denied.table != client.link.outgoing.number() || !client.link.outgoing.deny(&denied.nonce)
                {
                    return Err(DiscardReason::Stale);
                }
                client.lease_retry = None;
                Ok(Disposition::Accepted)
            }
            Inner::Share(share) => self.on_upload(now, rng, id, share),
            Inner::Answer(answer) => self.on_answer(now, id, answer),
            Inner::Fetch(_) => {
                self.on_fetch(now, rng, id);
                Ok(Disposition::Accepted)
            }
            _ => Err(DiscardReason::Unexpected),
        }
    }

    /// Opens an envelope; a fresh one whose client proves our salt replaces the old one.
    fn open(&mut self, id: ClientId, from: PathId, sealed: &Sealed<'_>) -> Result<Vec<u8>, DiscardReason> {
        let position = usize::try_from(id.number()).map_err(|_| DiscardReason::UnknownPeer)?;
        let client = self.clients.get_mut(position).ok_or(DiscardReason::UnknownPeer)?;
        let ours = client.link.session.as_ref().map(|session| *session.client_salt());
        let opened = match sealed.header.salt {
            Some(salt) if ours != Some(salt) => {
                let hub_salt =
                    hub_salt(&self.boot_key, id, &salt, client.generation).ok_or(DiscardReason::Exhausted)?;
                let mut session = client.link.keys.session(Side::Hub, salt, &hub_salt);
                let opened = session.open(sealed);
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
    fn end_deliveries_to(&mut self, id: ClientId) {
        for relay_id in self.waiting.get(&id).into_iter().flatten() {
            if let Some(relay) = self.relays.get_mut(relay_id)
                && let Some((_, backoff)) = relay.delivery.take()
            {
                self.timers.remove(&(backoff.due(), Timer::Delivery(*relay_id)));
            }
        }
    }

    /// A new session with an initiator: blocks of its earlier uploads mean nothing any more.
    fn end_answers_to(&mut self, id: ClientId) {
        let (first, last) = ((id, KeyId::new([0; 16])), (id, KeyId::new([0xff; 16])));
        for (_, relay) in self.relays.range_mut(first..=last) {
            relay.answer = None;
        }
        if let Some(client) = self.client_mut(id) {
            client.refusals.clear();
        }
    }

    fn on_lease_request(
        &mut self,
        id: ClientId,
        request: &LeaseRequest,
    ) -> Result<Disposition, DiscardReason> {
        let after = self.barrier.after();
        let client = self.client_mut(id).ok_or(DiscardReason::UnknownPeer)?;
        match client.link.answer_lease_request(request, after)? {
            LeaseAnswer::Granted { inner, after: granted } => {
                if granted == after {
                    self.store_marks(id);
                }
                self.send(id, &inner, granted, TransmitClass::Reply);
                Ok(Disposition::Accepted)
            }
            LeaseAnswer::Denied { inner } => {
                self.send(id, &inner, Barrier::OPEN, TransmitClass::Reply);
                Err(DiscardReason::Exhausted)
            }
        }
    }

    /// An initiator's share.
    fn on_upload(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        initiator: ClientId,
        message: &Tagged<'_, ShareMessage<'_>>,
    ) -> Result<Disposition, DiscardReason> {
        let upload = &message.message;
        let id = (initiator, KeyId::new(upload.key_id));
        let index = upload.position.index;
        // The same block again: the same answer again, and the confirmation if there is one by now.
        if let Some(relay) = self.relays.get(&id)
            && let Some(given) = relay.answer.as_ref().filter(|given| given.index == index)
        {
            let (inner, after) = (given.inner.clone(), relay.after);
            self.send(initiator, &inner, after, TransmitClass::Reply);
            self.pass_on_confirmation(now, id);
            return Err(DiscardReason::Duplicate);
        }
        let client = self.client(initiator).ok_or(DiscardReason::UnknownPeer)?;
        if let Some(given) = client.refusals.iter().find(|given| given.index == index) {
            let inner = given.inner.clone();
            self.send(initiator, &inner, Barrier::OPEN, TransmitClass::Reply);
            return Err(DiscardReason::Duplicate);
        }
        // Nothing is opened that could not be kept: "busy" spends nothing.
        if self.changes.len() >= self.limits.changes || self.queue.free() < QUEUE_RESERVE {
            let busy = Busy::new(upload.position.table, index);
            if let Some(inner) = encoded(Busy::LEN, |out| busy.encode(out)) {
                self.send(initiator, &inner, Barrier::OPEN, TransmitClass::Reply);
            }
            return Err(DiscardReason::Busy);
        }
        let client = self.client_mut(initiator).ok_or(DiscardReason::UnknownPeer)?;
        let ReceivedShare { share, answer_key } = client.link.open_share(message)?;
        let status = self.judge(id, upload, &share);
        let verdict = Verdict { index, answer_key, status: status.err().unwrap_or(AnswerStatus::ACCEPTED) };
        let Ok(responder) = status else {
            let given = self.answer(initiator, verdict, Barrier::OPEN);
            if let (Some(given), Some(client)) = (given, self.client_mut(initiator)) {
                client.refusals.truncate(REFUSALS.saturating_sub(1));
                client.refusals.push_front(given);
            }
            return Err(DiscardReason::Policy);
        };
        if !self.relays.contains_key(&id) {
            let after = self.barrier.after();
            let expires = now.saturating_add(Duration::from_secs(u64::from(upload.terms.lifetime)));
            let relay = Relay::new(responder, upload, share, expires, after);
            self.changes.set(&storage_key(id), relay.encode(now));
            self.timers.insert((expires, Timer::Expiry(id)));
            self.relays.insert(id, relay);
            self.waiting.entry(responder).or_default().insert(id);
            let block = block_elements(upload.terms.key_len).unwrap_or(0);
            if let Some(client) = self.client_mut(responder) {
                let spent = client.spent.entry(initiator).or_default();
                *spent = spent.saturating_add(block);
            }
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
        share: &skex_core::SecretVec,
    ) -> Result<ClientId, AnswerStatus> {
        let (initiator, _) = id;
        let responder = *self.by_tag.get(&ClientTag::new(upload.peer)).ok_or(AnswerStatus::UNKNOWN_PEER)?;
        let own = self.client(initiator).ok_or(AnswerStatus::UNKNOWN_PEER)?;
        let peer = self.client(responder).ok_or(AnswerStatus::UNKNOWN_PEER)?;
        if let Some(relay) = self.relays.get(&id) {
            return if relay.repeats(responder, upload, share) {
                Ok(responder)
            } else {
                Err(AnswerStatus::KEY_ID_IN_USE)
            };
        }
        if responder == initiator || !peer.authorised.includes(own.tag) {
            return Err(AnswerStatus::NOT_AUTHORISED);
        }
        let terms = &upload.terms;
        if terms.suite != DskeSuiteId::ITS
            || terms.key_len > self.limits.longest_key
            || terms.lifetime > self.limits.longest_lifetime
        {
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
        if !self.is_within_budget(initiator, responder, terms.key_len) {
            return Err(AnswerStatus::TOO_MANY_WAITING);
        }
        if of_pair > 0 && octets > self.limits.waiting_octets_per_pair
            || own.keys >= self.limits.keys_per_initiator
            || of_pair >= self.limits.waiting_per_pair
            || waiting.map_or(0, BTreeSet::len) >= self.limits.waiting_per_responder
        {
            return Err(AnswerStatus::TOO_MANY_WAITING);
        }
        Ok(responder)
    }

    /// Whether a share may still be carried by the responder's downlink. Every initiator that it has authorised has a part
    /// of the table that nobody else can spend: half of the table shared evenly, and a few blocks at least. What an
    /// initiator has spent is counted since the start.
    fn is_within_budget(&self, initiator: ClientId, responder: ClientId, key_len: u32) -> bool {
        let (Some(client), Some(block)) = (self.client(responder), block_elements(key_len)) else {
            return false;
        };
        let initiators = match &client.authorised {
            Authorised::Everyone => self.clients.len().saturating_sub(1),
            Authorised::Only(tags) => tags.len(),
        };
        let others = u32::try_from(initiators).unwrap_or(u32::MAX).saturating_sub(1);
        if others == 0 {
            return true;
        }
        let table = client.link.outgoing.elements();
        let even = (table / 2).checked_div(others.saturating_add(1)).unwrap_or(0);
        let own_part = even.max(block.saturating_mul(SMALLEST_PART));
        let spent = |id: &ClientId| client.spent.get(id).copied().unwrap_or(0);
        if spent(&initiator).saturating_add(block) <= own_part {
            return true;
        }
        let undelivered = self.waiting.get(&responder).into_iter().flatten();
        let undelivered =
            undelivered.filter_map(|id| self.relays.get(id)).filter(|relay| relay.delivery.is_none());
        let promised =
            undelivered.filter_map(|relay| block_elements(relay.key_len)).fold(0, u32::saturating_add);
        let used =
            client.spent.iter().filter(|(id, _)| **id != initiator).map(|(_, spent)| *spent.min(&own_part));
        let kept =
            others.saturating_mul(own_part).min(table / 2).saturating_sub(used.fold(0, u32::saturating_add));
        let needed = block.saturating_add(promised).saturating_add(kept);
        client.link.outgoing.remaining() >= needed
    }

    /// The one answer to an upload, behind checkpoint `after`.
    fn answer(&mut self, initiator: ClientId, verdict: Verdict, after: u64) -> Option<GivenAnswer> {
        let Verdict { index, answer_key, status } = verdict;
        let inner = self.client(initiator)?.link.answer(index, answer_key, status, None)?;
        self.send(initiator, &inner, after, TransmitClass::Reply);
        Some(GivenAnswer { index, inner })
    }

    /// Sends the share of a relay to its responder, in a block of its own, if there is a lease for it.
    fn deliver(&mut self, now: Instant, rng: &mut dyn CryptoRng, id: RelayId) {
        let pace = self.limits.pace();
        let Some(initiator) = self.client(id.0).map(|client| client.tag) else { return };
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let responder = relay.responder;
        let (Some(share), None) = (&relay.share, &relay.delivery) else { return };
        let Some(elements) = share_elements(relay.key_len) else { return };
        let Some(client) = usize::try_from(responder.number()).ok().and_then(|i| self.clients.get_mut(i))
        else {
            return;
        };
        if client.link.session.is_none() {
            return;
        }
        if !client.link.outgoing.has_room(elements) {
            self.ask_for_lease(now, rng, responder, elements);
            return;
        }
        let (block, after) = match client.link.allocate(relay.key_len) {
            Ok(allocated) => allocated,
            // The rest of the lease was erased ground.
            Err(AllocateError::NeedsLease) => return self.ask_for_lease(now, rng, responder, elements),
            Err(_) => return,
        };
        let (index, tag_key, answer_key) = (block.index, block.tag_key, block.answer_key);
        let masked = block.pad.mask(share);
        let Some(terms) = relay.terms() else { return };
        let message =
            client.link.share_message((index, tag_key), id.1, initiator, terms, &relay.secret_tag, &masked);
        let Some(inner) = message else { return };
        let after = after.max(relay.after);
        let backoff = Backoff::new(now, pace);
        self.timers.insert((backoff.due(), Timer::Delivery(id)));
        relay.delivery = Some((SentShare { index, inner: inner.clone(), answer_key, after }, backoff));
        self.send(responder, &inner, after, TransmitClass::Request);
    }

    /// Delivers what waits for a responder and was not delivered yet. What was is repeated at its own pace: a short
    /// question, from whatever address, must not bring everything at once.
    fn deliver_waiting(&mut self, now: Instant, rng: &mut dyn CryptoRng, responder: ClientId) {
        let waiting: Vec<RelayId> = self.waiting.get(&responder).into_iter().flatten().copied().collect();
        for id in waiting {
            self.deliver(now, rng, id);
        }
    }

    /// A responder's answer to a delivery: the share has done its work.
    fn on_answer(
        &mut self,
        now: Instant,
        responder: ClientId,
        answer: &Tagged<'_, Answer<'_>>,
    ) -> Result<Disposition, DiscardReason> {
        let index = answer.message.index;
        let waiting = self.waiting.get(&responder).into_iter().flatten();
        let sent = |id: &&RelayId| {
            let delivery = self.relays.get(id).and_then(|relay| relay.delivery.as_ref());
            delivery.is_some_and(|(sent, _)| sent.index == index)
        };
        let id = *waiting.into_iter().find(sent).ok_or(DiscardReason::Stale)?;
        let relay = self.relays.get_mut(&id).ok_or(DiscardReason::Stale)?;
        let client = usize::try_from(responder.number()).ok().and_then(|i| self.clients.get_mut(i));
        let client = client.ok_or(DiscardReason::UnknownPeer)?;
        let (delivery, backoff) = relay
            .delivery
            .take_if(|(sent, _)| client.link.verifies_answer(&sent.answer_key, answer))
            .ok_or(DiscardReason::Unauthentic)?;
        client.link.outgoing.settle(delivery.index);
        self.timers.remove(&(backoff.due(), Timer::Delivery(id)));
        relay.share = None;
        let wipe_at = *self.wipe_at.get_or_insert_with(|| now.saturating_add(WIPE_AFTER));
        self.timers.insert((wipe_at, Timer::Wipe));
        relay.confirmation = answer.message.confirmation.map(|confirmation| StoredConfirmation {
            origins: confirmation.origins.to_vec(),
            lying: confirmation.lying.to_vec(),
            tag: confirmation.tag,
        });
        relay.after = self.barrier.after();
        self.changes.set(&storage_key(id), relay.encode(now));
        if let Some(waiting) = self.waiting.get_mut(&responder) {
            waiting.remove(&id);
        }
        self.relayed = self.relayed.saturating_add(1);
        self.pass_on_confirmation(now, id);
        Ok(Disposition::Accepted)
    }

    /// Tells the initiator what the responder confirmed.
    fn pass_on_confirmation(&mut self, now: Instant, id: RelayId) {
        let pace = self.limits.pace();
        let Some(relay) = self.relays.get(&id) else { return };
        let (Some(confirmation), Some(peer)) = (&relay.confirmation, self.client(relay.responder)) else {
            return;
        };
        if relay.confirmation_due.is_some_and(|backoff| backoff.due() > now) {
            return;
        }
        let StoredConfirmation { origins, lying, tag } = confirmation;
        let Ok(confirmation) = Confirmation::new(origins, lying, *tag) else { return };
        let confirm = Confirm::new(*id.1.as_bytes(), *peer.tag.as_bytes(), confirmation);
        if let Some(inner) = encoded(confirm.encoded_len(), |out| confirm.encode(out)) {
            self.send(id.0, &inner, Barrier::OPEN, TransmitClass::Reply);
        }
        if let Some(relay) = self.relays.get_mut(&id) {
            match &mut relay.confirmation_due {
                Some(backoff) => {
                    let _ = backoff.take_due(now, pace);
                }
                None => relay.confirmation_due = Some(Backoff::new(now, pace)),
            }
        }
    }

    /// A client asks for what waits for it.
    fn on_fetch(&mut self, now: Instant, rng: &mut dyn CryptoRng, id: ClientId) {
        let waiting = self.waiting.get(&id).map_or(0, BTreeSet::len);
        let fetched = Fetched::new(u16::try_from(waiting).unwrap_or(u16::MAX));
        if let Some(inner) = encoded(Fetched::LEN, |out| fetched.encode(out)) {
            self.send(id, &inner, Barrier::OPEN, TransmitClass::Reply);
        }
        self.deliver_waiting(now, rng, id);
        let (first, last) = ((id, KeyId::new([0; 16])), (id, KeyId::new([0xff; 16])));
        let confirmed = self.relays.range(first..=last).filter(|(_, relay)| relay.confirmation.is_some());
        let due = |relay: &Relay| relay.confirmation_due.is_none_or(|backoff| backoff.due() <= now);
        // Those that were never said first, then those that wait longest: none starves behind the others.
        let unsaid = confirmed.filter(|(_, relay)| due(relay));
        let mut unsaid: Vec<(Option<Instant>, RelayId)> =
            unsaid.map(|(id, relay)| (relay.confirmation_due.map(|backoff| backoff.due()), *id)).collect();
        unsaid.sort_unstable();
        let unsaid = unsaid.into_iter().map(|(_, id)| id).take(FETCH_CONFIRMATIONS);
        unsaid.for_each(|id| self.pass_on_confirmation(now, id));
    }

    fn ask_for_lease(&mut self, now: Instant, rng: &mut dyn CryptoRng, id: ClientId, pad_elements: u32) {
        let (pace, after) = (self.limits.pace(), self.barrier.after());
        let Some(client) = self.client_mut(id) else { return };
        // Not before the client has heard us under the envelope: a request under one that it gives up is lost, and with
        // it what was asked for.
        if !client.confirmed
            || client.lease_retry.is_some()
            || !client.link.outgoing.could_have_room(pad_elements)
        {
            return;
        }
        if let Some((inner, after)) = client.link.lease_request(pad_elements, after, rng) {
            let backoff = Backoff::new(now, pace);
            client.lease_retry = Some(backoff);
            self.timers.insert((backoff.due(), Timer::Lease(id)));
            self.store_marks(id);
            self.send(id, &inner, after, TransmitClass::Request);
        }
    }

    /// Does what is due. See [`Machine::handle_timeout`].
    ///
    /// # Errors
    ///
    /// None in this version; a hub does not fail.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), HubError> {
        let now = self.clock.observe(now);
        while let Some((due, timer)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, timer));
            match timer {
                Timer::Delivery(id) => self.repeat_delivery(now, id),
                Timer::Expiry(id) => self.expire(now, id),
                Timer::Wipe => (self.wipe_at, self.snapshot_due) = (None, true),
                Timer::Lease(id) => self.repeat_lease_request(now, rng, id),
            }
        }
        Ok(())
    }

    fn repeat_delivery(&mut self, now: Instant, id: RelayId) {
        let pace = self.limits.pace();
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let Some((sent, backoff)) = &mut relay.delivery else { return };
        let due = backoff.take_due(now, pace);
        self.timers.insert((backoff.due(), Timer::Delivery(id)));
        if due {
            let (responder, inner, after) = (relay.responder, sent.inner.clone(), sent.after);
            self.send(responder, &inner, after, TransmitClass::Retransmission);
        }
    }

    fn repeat_lease_request(&mut self, now: Instant, rng: &mut dyn CryptoRng, id: ClientId) {
        let (pace, after) = (self.limits.pace(), self.barrier.after());
        let Some(client) = self.client_mut(id) else { return };
        let Some(retry) = &mut client.lease_retry else { return };
        let due = retry.take_due(now, pace);
        let next = retry.due();
        if due && client.link.outgoing.asked().is_none() {
            // The pause after a grant of less than was asked for is over.
            client.lease_retry = None;
            self.deliver_waiting(now, rng, id);
            return;
        }
        let request = if due { client.link.lease_request(0, after, rng) } else { None };
        self.timers.insert((next, Timer::Lease(id)));
        if let Some((inner, after)) = request {
            self.send(id, &inner, after, TransmitClass::Retransmission);
        }
    }

    fn expire(&mut self, now: Instant, id: RelayId) {
        let Some(relay) = self.relays.get(&id) else { return };
        if relay.expires > now {
            self.timers.insert((relay.expires, Timer::Expiry(id)));
            return;
        }
        let Some(relay) = self.relays.remove(&id) else { return };
        self.changes.remove(&storage_key(id));
        if let Some((sent, backoff)) = relay.delivery {
            self.timers.remove(&(backoff.due(), Timer::Delivery(id)));
            if let Some(client) = self.client_mut(relay.responder) {
                client.link.outgoing.settle(sent.index);
            }
        }
        if let Some(waiting) = self.waiting.get_mut(&relay.responder) {
            waiting.remove(&id);
        }
        if let Some(client) = self.client_mut(id.0) {
            client.keys = client.keys.saturating_sub(1);
        }
    }

    /// Learns that a checkpoint is durable. See [`Machine::handle_persisted`].
    ///
    /// # Errors
    ///
    /// [`HubError::Receipt`]: not the outstanding checkpoint's receipt. Nothing changed.
    pub fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), HubError> {
        self.barrier.acknowledge(receipt)?;
        self.started = true;
        Ok(())
    }

    /// The next thing to do. See [`Machine::poll_output`].
    pub fn poll_output(&mut self) -> Output<Record, Vec<u8>, HubEvent> {
        if !self.barrier.is_pending() && (self.snapshot_due || !self.changes.is_empty()) {
            let snapshot = self.snapshot_due;
            if snapshot {
                self.store_everything();
            }
            let (owner, sequence) = (self.owner, self.sequence.saturating_add(1));
            let changes = core::mem::take(&mut self.changes);
            if let Some(checkpoint) = self.barrier.issue(|| changes.into_record(owner, sequence, snapshot)) {
                (self.sequence, self.snapshot_due) = (sequence, false);
                return Output::Persist(checkpoint);
            }
        }
        if self.started
            && let Some(transmit) = self.queue.pop(&self.barrier)
        {
            return Output::Transmit(transmit);
        }
        Output::Wait(self.timers.first().map(|(due, _)| *due))
    }

    /// Seals `inner` for a client and lets it leave behind checkpoint `after`. Without an envelope, or with a full queue,
    /// it is as good as lost on the way.
    fn send(&mut self, id: ClientId, inner: &[u8], after: u64, class: TransmitClass) {
        let Some(client) = self.client_mut(id) else { return };
        let Some(path) = client.path else { return };
        // The client's next message finds no session here, and it says hello anew.
        if client.link.is_worn_out() {
            client.link.end();
            return;
        }
        if let Some(datagram) = client.link.seal(inner, false) {
            let _ = self.queue.push(after, Transmit::new(Destination::Path(path), class, datagram));
        }
    }

    fn reply(&mut self, to: PathId, datagram: Vec<u8>) {
        let transmit = Transmit::new(Destination::Path(to), TransmitClass::Reply, datagram);
        let _ = self.queue.push(Barrier::OPEN, transmit);
    }

    fn store_marks(&mut self, id: ClientId) {
        if let Some(client) = self.client(id) {
            let marks = client.link.marks().encode();
            self.changes.set(&marks_key(id), marks);
        }
    }

    fn store_everything(&mut self) {
        self.changes = Changes::default();
        let now = self.clock.now();
        for client in &self.clients {
            self.changes.append(&marks_key(client.link.keys.client()), client.link.marks().encode());
        }
        for (id, relay) in &self.relays {
            self.changes.append(&storage_key(*id), relay.encode(now));
        }
    }
}

/// Room in the queue below which no new upload is taken: what is under way needs it.
const QUEUE_RESERVE: usize = 64;

/// Confirmations that one fetch brings.
const FETCH_CONFIRMATIONS: usize = 32;

fn marks_key(client: ClientId) -> Vec<u8> {
    [&[STORED_MARKS], client.number().to_be_bytes().as_slice()].concat()
}

impl<P: Pad> Machine for Hub<P> {
    type Record = Record;
    type Payload = Vec<u8>;
    type Event = HubEvent;
    type Error = HubError;

    fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, HubError> {
        self.handle_message(now, rng, from, message)
    }

    fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), HubError> {
        self.handle_timeout(now, rng)
    }

    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), HubError> {
        self.handle_persisted(receipt)
    }

    fn poll_output(&mut self) -> Output<Record, Vec<u8>, HubEvent> {
        self.poll_output()
    }
}

impl<P> fmt::Debug for Hub<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("clients", &self.clients.len())
            .field("relays", &self.relays.len())
            .finish_non_exhaustive()
    }
}
