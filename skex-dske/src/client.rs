//! A client: it asks for keys and receives those that others ask for, through its hubs.

mod command;
mod config;
mod event;
mod fetching;
mod hub_link;
mod initiator;
mod links;
mod negotiation;
mod outlet;
mod refill;
mod responder;

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use rand_core::CryptoRng;
use skex_core::machine::{
    Barrier, Clock, Destination, DiscardCounters, DiscardReason, Disposition, Instant, Output, PathId,
    PeerHandle, Receipt, Transmit, TransmitClass,
};
use skex_core::record::RecordKind;
use skex_core::{KeyId, SecretBytes, SecretVec, Suite};
use skex_wire::dske::{Direction, Fetch, Inner, LeaseRequest, Outer, Sealed};
use zeroize::Zeroize as _;

pub use config::{ClientConfig, ClientLimits, ConfigError, HubLink, ResponderPolicy, Table};
pub use event::{
    ClientError, ClientEvent, CommandReport, Conduct, Established, FoundPeer, HubCommand, HubReport,
    KeyError, LookupError, PeerOffer, Role,
};
pub use initiator::{KeyRequest, Release};
pub use negotiation::{HubSet, NegotiationError};

use crate::backoff::Backoff;
use crate::envelope::{EnvelopeKeys, Side, take_initial_keys};
use crate::fill::{Fill, LEAST_QUEUE};
use crate::id::{ClientId, ClientTag, HubId};
use crate::journal::Journal;
use crate::key::{LONGEST_LIFETIME, Origin, Origins, encoded};
use crate::link::{LeaseAnswer, Link, Slot, TableError, TableStatus, say_refilled};
use crate::outbox::{Messages, Unsent};
use crate::psrd::{ELEMENT_LEN, Granted, Half, Pad};
use crate::several::each_of;
use crate::state::{Name, Owner, Record, RestoreError, Stored};
use crate::suite::Need;
use command::Task;
use config::RECENT;
use hub_link::Connection;
use initiator::RequestTable;
use links::Links;
use outlet::{Item, Outlet};
use responder::{InboundTable, Remembered, STORED_KEY};

/// One client of a set of hubs, initiator and responder in one. `P` is where its tables lie.
pub struct Client<P> {
    tag: ClientTag,
    peers: Vec<ClientTag>,
    policy: ResponderPolicy,
    limits: ClientLimits,
    links: Links<P>,
    /// What is stored of links with hubs that the configuration leaves out: should they come back.
    left_out: Vec<(Name, SecretVec)>,
    /// Found by their names, the oldest first.
    found: Vec<ClientTag>,
    requests: RequestTable,
    tasks: Vec<Task>,
    inbound: InboundTable,
    /// Keys whose lifetime is over.
    remembered: Remembered,
    taken_since_snapshot: usize,
    refusals: Vec<(usize, Slot, Vec<u8>)>,
    /// Tables that were taken out of service and are erased behind a checkpoint: by link. At most those that are there.
    retiring: Vec<(u64, usize, Direction, u16)>,
    /// When no key comes any more that was asked for before this start. A hub counts its lifetime from when it hears of it, and may hear of it when
    /// that is over for whoever asked.
    earlier_over: Instant,
    clock: Clock,
    journal: Journal,
    outlet: Outlet,
    /// Room for the message that is looked at, wiped.
    opened: Vec<u8>,
    discards: DiscardCounters,
}

/// Octets that are kept of the room for a message: as long as most are.
const OPENED: usize = 512;

const STORED_MARKS: u8 = 1;
/// The number by which the hub knows this client.
const STORED_NUMBER: u8 = 3;
/// The initial keys of a link, once one was replaced.
const STORED_INITIAL: u8 = 4;

/// How one link of a client stands.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LinkStatus {
    /// The hub at the other end.
    pub hub: HubId,
    /// Whether the hub has answered since the last start of either end.
    pub connected: bool,
    /// Octets left in the table for messages to the hub.
    pub uplink_remaining: u64,
    /// Octets left in the table for messages from the hub.
    pub downlink_remaining: u64,
}

impl<P: Pad> Client<P> {
    /// A client from its configuration and what it stored: the records in the order in which they were stored, none at
    /// all for a new client. It begins with a checkpoint, then says hello to its hubs.
    ///
    /// Randomness: 8 octets for the instance, then 16 a hub.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]: the records are torn, foreign, incomplete, or name a hub that the configuration lacks.
    pub fn restore(
        config: ClientConfig<P>,
        records: impl IntoIterator<Item = impl AsRef<[u8]>>,
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, RestoreError> {
        let ClientConfig { tag, mut links, mut further, left_out, forgotten, peers, policy, mut limits } =
            config;
        limits.queue = limits.queue.max(LEAST_QUEUE);
        let machine = tag.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
        let owner = Owner { kind: RecordKind::DSKE_CLIENT, machine };
        let mut stored = Stored::read(owner, records)?;
        let journal = Journal::new(owner, stored.sequence, rng);
        // As long as it will be, for what grows leaves copies behind.
        let mut connections = Vec::with_capacity(links.len());
        let initial_keys = take_initial_keys(links.iter_mut().map(|hub| &mut hub.initial_key));
        for (hub, enrolled_key) in links.into_iter().zip(initial_keys.expose().as_chunks::<32>().0) {
            let marks = stored.take(&marks_key(hub.hub));
            let initial = stored.take(&initial_key(hub.hub));
            let enrolled = stored.take(&number_key(hub.hub));
            let enrolled = enrolled.map(|value| value.expose().try_into().map_err(|_| RestoreError::Content));
            let enrolled = enrolled.transpose()?.map(|number| ClientId::new(u32::from_be_bytes(number)));
            // Hubs count upwards: under a new number everything is new, and what was stored is of tables that are gone.
            let is_same = enrolled.is_none_or(|enrolled| enrolled == hub.client);
            let refilled_before = match &marks {
                _ if is_same => false,
                Some(marks) => say_refilled(marks.expose())?,
                // Of a link that was forgotten nobody knows.
                None => true,
            };
            let (marks, initial) = (marks.filter(|_| is_same), initial.filter(|_| is_same));
            if enrolled.is_some_and(|enrolled| hub.client < enrolled) {
                return Err(RestoreError::Configuration);
            }
            // Both are always stored together, but of a link that was forgotten: how far its tables were used nobody knows.
            if enrolled == Some(hub.client) && marks.is_none() {
                return Err(RestoreError::Forgotten);
            }
            let suite = Suite::from_id(hub.suite).ok_or(RestoreError::Configuration)?;
            let own = SecretBytes::copied_from(enrolled_key);
            let keys = EnvelopeKeys::new(suite, own, hub.client, hub.hub);
            let keys = keys.with_stored(initial.as_ref())?;
            let mut tables = vec![(Direction::UPLINK, hub.uplink), (Direction::DOWNLINK, hub.downlink)];
            for (_, direction, table) in further.extract_if(.., |(id, ..)| *id == hub.hub) {
                tables.push((direction, table));
            }
            let (mut link, _) = Link::new(Side::Client, keys).with_tables(marks.as_ref(), tables)?;
            link.refilled_before |= refilled_before;
            let mut connection = Connection::new(link, hub.handle, hub.coordinate, now, limits.pace(), rng);
            connection.key_replaced = initial.is_some();
            connections.push(connection);
        }
        let events = limits.events(peers.len());
        let outlet = Outlet::new(limits.queue, events, connections.len(), limits.datagram);
        let mut client = Self {
            tag,
            peers,
            policy,
            limits,
            links: Links::new(connections),
            left_out: Vec::new(),
            found: Vec::new(),
            requests: RequestTable::default(),
            tasks: Vec::new(),
            inbound: InboundTable::default(),
            remembered: Remembered::default(),
            taken_since_snapshot: 0,
            refusals: Vec::new(),
            retiring: Vec::new(),
            earlier_over: now.saturating_add(LONGEST_LIFETIME.saturating_mul(2)),
            clock: Clock::new(now),
            journal,
            outlet,
            opened: Vec::new(),
            discards: DiscardCounters::new(),
        };
        for (key, value) in stored.iter() {
            match key.split_first() {
                Some((&STORED_KEY, id)) => client.restore_inbound(now, id, value)?,
                Some((&kind @ (STORED_MARKS | STORED_NUMBER | STORED_INITIAL), hub)) => {
                    if !left_out.iter().any(|id| id.as_bytes() == hub) {
                        return Err(RestoreError::Configuration);
                    }
                    let is_forgotten = forgotten.iter().any(|id| id.as_bytes() == hub);
                    if is_forgotten && kind != STORED_NUMBER {
                        continue;
                    }
                    client.left_out.push((*key, SecretVec::copied_from(value)));
                }
                _ => return Err(RestoreError::Content),
            }
        }
        // A crash came before they were erased, or they have grown since.
        for (link, hub) in client.links.iter().enumerate() {
            for (direction, number) in hub.link.retiring() {
                client.retiring.push((Barrier::OPEN, link, direction, number));
            }
        }
        client.say_hello(now);
        Ok(client)
    }

    /// Writes the whole state at the next checkpoint, so that the store can drop older records.
    pub const fn compact(&mut self) {
        self.journal.compact();
    }

    /// Adds a table to the link with `hub`, which is in durable storage: one that came out of band after this client started,
    /// and that the hub adds too; or one that came over the network ([`ClientEvent::Refill`]), with the origin of a refill.
    /// Nothing leaves by it before the next checkpoint is durable.
    ///
    /// # Errors
    ///
    /// [`TableError`] says why not. Nothing changed.
    pub fn add_table(&mut self, hub: HubId, direction: Direction, table: Table<P>) -> Result<(), TableError> {
        let link = self.links.iter().position(|link| link.link.keys.hub() == hub);
        let link = link.ok_or(TableError::UnknownLink)?;
        let connection = self.links.get_mut(link).ok_or(TableError::UnknownLink)?;
        let (number, origin) = (table.number, table.origin);
        if connection.refill.as_ref().is_some_and(|coming| coming.is(direction, number))
            && origin != Origin::Refill
        {
            return Err(TableError::Origin);
        }
        connection.link.add_table(direction, table)?;
        connection.low_reported = (false, false);
        self.store_marks(link);
        self.refill_is_stored(link, direction, number);
        Ok(())
    }

    /// Takes a table of the link with `hub` out of service, for good: a copy of it was lost or stolen, perhaps. Nothing of it is used
    /// from now on. Once that is durable it is erased, and [`ClientEvent::TableRetired`] says so; before, a crash can undo it. A
    /// portion that it grows by changes nothing any more, and is erased at the next start. The link begins a new session. The hub's operator does
    /// the same; as long as only one end has, the other is denied leases of it.
    ///
    /// # Errors
    ///
    /// [`TableError::UnknownLink`], [`TableError::Absent`]. Nothing changed.
    pub fn retire_table(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        hub: HubId,
        direction: Direction,
        number: u16,
    ) -> Result<(), TableError> {
        let now = self.clock.observe(now);
        let pace = self.limits.pace();
        let link = self.links.iter().position(|link| link.link.keys.hub() == hub);
        let link = link.ok_or(TableError::UnknownLink)?;
        let connection = self.links.get_mut(link).ok_or(TableError::UnknownLink)?;
        connection.link.retire_table(direction, number)?;
        // What waits for the store is of the session that ends here, and leaves no more.
        connection.restart(now, pace, rng);
        self.retiring.push((self.journal.after(), link, direction, number));
        self.store_marks(link);
        self.say_hello(now);
        Ok(())
    }

    /// Gives the link with `hub` another initial key, from outside: an output of a session that both have beside this one,
    /// perhaps. The hub is given the same, before or after. Until it has proven that it has it, the present key stays in force;
    /// from then on the new one alone. [`ClientEvent::InitialKeyReplaced`] says when. A key that is there already changes
    /// nothing, so that after a crash the same can be said again.
    ///
    /// # Errors
    ///
    /// [`ClientError::UnknownHub`]. Nothing changed.
    pub fn replace_initial_key(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        hub: HubId,
        key: SecretBytes<32>,
    ) -> Result<(), ClientError> {
        let now = self.clock.observe(now);
        let after = self.journal.after();
        let link = self.links.iter_mut().find(|link| link.link.keys.hub() == hub);
        let link = link.ok_or(ClientError::UnknownHub)?;
        if link.replace_initial_key(key, after) {
            let stored = link.link.keys.stored();
            self.journal.set(initial_key(hub), stored.expose());
            self.begin_probes(now, rng);
            self.say_hello(now);
        }
        Ok(())
    }

    fn begin_probes(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        let pace = self.limits.pace();
        self.links.iter_mut().for_each(|hub| hub.begin_probe(now, pace, rng));
    }

    /// The hub has the next initial key: the older one goes, for good.
    fn initial_key_proven(&mut self, now: Instant, link: usize) {
        let Some(own) = self.links.get(link) else { return };
        let (hub, stored) = (own.link.keys.hub(), own.link.keys.stored());
        let after = self.journal.after();
        self.journal.set(initial_key(hub), stored.expose());
        self.journal.wipe_soon(now);
        self.tell(after, ClientEvent::InitialKeyReplaced { hub });
    }

    /// How the links stand, in the order of the configuration.
    pub fn status(&self) -> impl Iterator<Item = LinkStatus> + '_ {
        let octets = |elements: u32| u64::from(elements).saturating_mul(ELEMENT_LEN as u64);
        self.links.iter().map(move |hub| LinkStatus {
            hub: hub.link.keys.hub(),
            connected: hub.is_confirmed(),
            uplink_remaining: octets(hub.link.outgoing.remaining()),
            downlink_remaining: octets(hub.link.incoming.remaining()),
        })
    }

    /// How full the tables of this client are.
    pub fn fill(&self) -> impl Iterator<Item = Fill> {
        let (peers, links) = (self.peers.len(), self.links.len());
        let of_each = self.limits.inbound_of_each(peers);
        let begun = self.limits.begun_of_each(peers, links).saturating_mul(links);
        let recent = of_each.saturating_mul(RECENT);
        let keys = [begun, of_each, recent].into_iter().fold(0, usize::saturating_add).saturating_mul(peers);
        let queue = self.limits.queue.saturating_add(self.outlet.events);
        // Whatever has a key in the stored state, and what is to be removed from there.
        let stored =
            [keys, keys, self.limits.remembered, 1, links].into_iter().fold(0, usize::saturating_add);
        [
            Fill::new("requests", self.requests.len(), self.limits.requests),
            Fill::new("commands", self.tasks.len(), command::COMMANDS),
            Fill::new("peers found", self.found.len(), command::FOUND),
            Fill::new("keys that came in", self.inbound.len(), keys),
            Fill::new("ids remembered", self.remembered.len(), self.limits.remembered),
            Fill::new("refusals", self.refusals.len(), responder::REFUSALS),
            Fill::new("queue", queue.saturating_sub(self.outlet.outbox.free()), queue),
            Fill::new("changes", self.journal.waiting(), stored),
        ]
        .into_iter()
    }

    /// How the tables of the link with `hub` stand: the uplink's, then the downlink's, in the order of their numbers. Empty
    /// without such a link.
    #[must_use]
    pub fn tables(&self, hub: HubId) -> Vec<TableStatus> {
        let link = self.links.iter().find(|link| link.link.keys.hub() == hub);
        link.map(|link| link.link.table_statuses()).unwrap_or_default()
    }

    /// How many messages were discarded, by reason.
    #[must_use]
    pub const fn discards(&self) -> &DiscardCounters {
        &self.discards
    }

    /// Takes one whole message. See [`Machine::handle_message`](skex_core::machine::Machine::handle_message).
    ///
    /// `from` is a hint: if its number is the handle of a hub, that hub's keys are tried first.
    ///
    /// Messages that came together may be given one after the other before [`Self::poll_output`] is asked, and calls of the application
    /// beside them, such as requests for many keys: what they have the client say to one hub then shares datagrams and a checkpoint
    /// ([`ClientLimits::datagram`]).
    ///
    /// # Errors
    ///
    /// None in this version; a client does not fail.
    pub fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, ClientError> {
        let now = self.clock.observe(now);
        let Ok(outer) = Outer::decode(message) else {
            return Ok(self.discards.discard(DiscardReason::Malformed));
        };
        // Hubs number their clients each on its own, so several links can have one number; the tag tells.
        let number = outer.client_id();
        let count = self.links.len();
        let mut reason = DiscardReason::UnknownPeer;
        for (as_hinted, link) in
            [true, false].into_iter().flat_map(|hint| (0..count).map(move |link| (hint, link)))
        {
            let is_meant = |(handle, client): (PeerHandle, ClientId)| {
                client.number() == number && (u64::from(handle.number()) == from.number()) == as_hinted
            };
            if !self.links.names(link).is_some_and(is_meant) {
                continue;
            }
            match self.handle_outer(now, rng, link, &outer) {
                Ok(disposition) => {
                    self.expire_inbound(now);
                    // Else no table of another link was used.
                    let all = self.advance_requests(now, rng) || !self.tasks.is_empty();
                    self.tell_failures(if all { 0..self.links.len() } else { link..link.saturating_add(1) });
                    self.advance_tasks(now, rng);
                    return Ok(disposition);
                }
                // The most telling reason of all links that were tried.
                Err(tried) if reason == DiscardReason::UnknownPeer || tried == DiscardReason::Duplicate => {
                    reason = tried
                }
                Err(_) => {}
            }
        }
        Ok(self.discards.discard(reason))
    }

    /// `Err`: not for this link.
    fn handle_outer(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        link: usize,
        outer: &Outer<'_>,
    ) -> Result<Disposition, DiscardReason> {
        let pace = self.limits.pace();
        let hub = self.links.get_mut(link).ok_or(DiscardReason::UnknownPeer)?;
        match outer {
            Outer::HelloReply(reply) => {
                hub.on_hello_reply(now, reply)?;
                self.forget_sent_to(link);
                self.forget_commands_to(link);
                self.fetch_due(now, rng);
                Ok(Disposition::Accepted)
            }
            Outer::HelloRequest(request) => {
                hub.verifies_hello_request(request)?;
                hub.restart(now, pace, rng);
                self.say_hello(now);
                Ok(Disposition::Accepted)
            }
            Outer::Sealed(sealed) => self.handle_sealed(now, rng, link, sealed),
            _ => Err(DiscardReason::Unexpected),
        }
    }

    fn handle_sealed(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        link: usize,
        sealed: &Sealed<'_>,
    ) -> Result<Disposition, DiscardReason> {
        let hub = self.links.get_mut(link).ok_or(DiscardReason::UnknownPeer)?;
        let fresh = !hub.is_confirmed();
        let mut inner = core::mem::take(&mut self.opened);
        let opened = hub.open(sealed, &mut inner);
        let handled = opened.and_then(|()| self.on_opened(now, rng, link, fresh, &inner));
        // A refill's pads are in clear here.
        inner.as_mut_slice().zeroize();
        inner.clear();
        inner.shrink_to(OPENED);
        self.opened = inner;
        handled
    }

    fn on_opened(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        link: usize,
        fresh: bool,
        inner: &[u8],
    ) -> Result<Disposition, DiscardReason> {
        let hub = self.links.get_mut(link).ok_or(DiscardReason::UnknownPeer)?;
        if hub.proves_next_initial_key() {
            self.initial_key_proven(now, link);
        }
        if fresh {
            // The first message without our salt tells the hub that we have heard it.
            self.fetch(now, link);
        }
        let hub = self.links.get_mut(link).ok_or(DiscardReason::UnknownPeer)?;
        hub.fetching.heard(now);
        let Ok(inner) = Inner::decode(inner) else {
            return Ok(self.discards.discard(DiscardReason::Malformed));
        };
        let Inner::Several(several) = &inner else { return Ok(self.on_inner(now, rng, link, &inner)) };
        Ok(each_of(several, |inner| match inner {
            Ok(inner) => self.on_inner(now, rng, link, &inner),
            Err(reason) => self.discards.discard(reason),
        }))
    }

    /// One inner message.
    fn on_inner(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        link: usize,
        inner: &Inner<'_>,
    ) -> Disposition {
        let Some(hub) = self.links.get_mut(link) else {
            return self.discards.discard(DiscardReason::UnknownPeer);
        };
        match inner {
            Inner::LeaseRequest(request) => self.on_lease_request(link, request),
            Inner::LeaseGrant(grant) => {
                let after = self.journal.after();
                match hub.link.lease_granted(grant, after) {
                    Ok(granted) => {
                        if granted == Granted::Whole {
                            hub.lease_retry = None;
                        }
                        self.store_marks(link);
                        Disposition::Accepted
                    }
                    Err(reason) => self.discards.discard(reason),
                }
            }
            Inner::LeaseDenied(denied) => {
                if hub.link.lease_denied(denied) {
                    hub.lease_retry = None;
                    Disposition::Accepted
                } else {
                    self.discards.discard(DiscardReason::Stale)
                }
            }
            Inner::Share(share) => self.on_delivery(now, link, share),
            Inner::Answer(answer) => self.on_answer(link, answer),
            Inner::Outcome(outcome) => self.on_outcome(link, outcome),
            Inner::Confirm(confirm) => {
                // An answer before it in the datagram, and one behind it, count as if each had come alone.
                let key_id = KeyId::new(confirm.key_id);
                self.advance_changed(now, rng, key_id);
                let heard = self.on_confirm(link, confirm);
                self.advance_changed(now, rng, key_id);
                heard
            }
            Inner::Refill(refill) => self.on_refill(link, refill),
            Inner::Fetched(_) => {
                hub.fetching.answered(now, &self.limits);
                Disposition::Accepted
            }
            // Advisory: the retransmission comes anyway.
            Inner::Busy(_) => Disposition::Accepted,
            _ => self.discards.discard(DiscardReason::Unexpected),
        }
    }

    /// The hub wants to send: grant it a lease of the downlink table.
    fn on_lease_request(&mut self, link: usize, request: &LeaseRequest) -> Disposition {
        let after = self.journal.after();
        let table = self.links.get(link).and_then(|hub| hub.link.incoming.get(request.table));
        let refilled = table.is_some_and(|table| table.origin() == Origin::Refill);
        if refilled && self.awaits_out_of_band(link) {
            // The hub repeats its request until then.
            return self.discards.discard(DiscardReason::Busy);
        }
        let Some(hub) = self.links.get_mut(link) else {
            return self.discards.discard(DiscardReason::UnknownPeer);
        };
        match hub.link.answer_lease_request(request, after) {
            Ok(LeaseAnswer::Granted { inner, after: granted }) => {
                if granted == after {
                    self.store_marks(link);
                }
                self.send(link, &inner, granted, TransmitClass::Reply);
                Disposition::Accepted
            }
            Ok(LeaseAnswer::Denied { inner }) => {
                self.send(link, &inner, Barrier::OPEN, TransmitClass::Reply);
                self.discards.discard(DiscardReason::Exhausted)
            }
            Err(reason) => self.discards.discard(reason),
        }
    }

    /// Does what is due. See [`Machine::handle_timeout`](skex_core::machine::Machine::handle_timeout).
    ///
    /// # Errors
    ///
    /// None in this version; a client does not fail.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), ClientError> {
        let now = self.clock.observe(now);
        let pace = self.limits.pace();
        for hub in self.links.iter_mut().filter(|hub| hub.link.is_worn_out()) {
            hub.restart(now, pace, rng);
        }
        if now >= self.earlier_over {
            self.links.iter_mut().for_each(|hub| hub.link.refilled_before = false);
        }
        self.journal.handle_timeout(now);
        self.begin_probes(now, rng);
        self.say_hello(now);
        self.fetch_due(now, rng);
        self.repeat_lease_requests(now, rng);
        self.expire_inbound(now);
        self.advance_requests(now, rng);
        self.tell_failures(0..self.links.len());
        self.advance_tasks(now, rng);
        Ok(())
    }

    /// Learns that a checkpoint is durable. See [`Machine::handle_persisted`](skex_core::machine::Machine::handle_persisted).
    ///
    /// # Errors
    ///
    /// [`ClientError::Receipt`]: not the outstanding checkpoint's receipt. Nothing changed.
    pub fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), ClientError> {
        Ok(self.journal.acknowledge(receipt)?)
    }

    /// The next thing to do. See [`Machine::poll_output`](skex_core::machine::Machine::poll_output).
    pub fn poll_output(&mut self) -> Output<Record, Vec<u8>, ClientEvent> {
        if self.journal.begin_snapshot() {
            self.store_everything();
        }
        if let Some(checkpoint) = self.journal.checkpoint() {
            return Output::Persist(checkpoint);
        }
        while let Some(unsent) = self.journal.release(&mut self.outlet.outbox.queue) {
            match unsent {
                Unsent::Other(Item::Transmit(transmit)) => return Output::Transmit(transmit),
                Unsent::Other(Item::Event(event)) => return Output::Event(*event),
                Unsent::Messages(messages) => {
                    if let Some(transmit) = self.seal(messages) {
                        return Output::Transmit(transmit);
                    }
                }
            }
        }
        match self.erase_retired() {
            Some(event) => Output::Event(event),
            None => Output::Wait(self.deadline()),
        }
    }

    /// What is ready to leave, if the session that it is of is still there.
    fn seal(&mut self, messages: Messages) -> Option<Transmit<Vec<u8>>> {
        let Messages { link, session, to, class, unsealed } = messages;
        let hub = self.links.get_mut(usize::try_from(link).ok()?)?;
        let datagram = hub.seal(session, unsealed)?;
        Some(Transmit::new(to, class, datagram))
    }

    /// Erases a table that was taken out of service, once that is durable.
    fn erase_retired(&mut self) -> Option<ClientEvent> {
        let &(after, link, direction, number) = self.retiring.first()?;
        if !self.journal.is_durable(after) {
            return None;
        }
        self.retiring.remove(0);
        let hub = self.links.get_mut(link)?;
        let erased = hub.link.erase_retired(direction, number);
        let hub = hub.link.keys.hub();
        self.store_marks(link);
        Some(ClientEvent::TableRetired { hub, direction, number, erased })
    }

    fn deadline(&mut self) -> Option<Instant> {
        let tasks = self.tasks.iter().map(Task::deadline).min();
        let others = [self.inbound.deadline(), self.journal.deadline(), self.requests.deadline(), tasks];
        others.into_iter().fold(self.links.deadline(), earlier)
    }

    fn say_hello(&mut self, now: Instant) {
        let pace = self.limits.pace();
        for hub in self.links.iter_mut() {
            if let Some((hello, after)) = hub.hello_due(now, pace) {
                let transmit = Transmit::new(Destination::Peer(hub.handle), TransmitClass::Request, hello);
                // A full queue is a lost datagram: the next interval repeats it.
                self.outlet.outbox.push(after, Item::Transmit(transmit));
            }
        }
    }

    fn fetch_due(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        for link in 0..self.links.len() {
            if !self.links.get(link).is_some_and(|hub| hub.is_open() && hub.fetching.due() <= now) {
                continue;
            }
            let Some(hub) = self.links.get_mut(link) else { continue };
            if hub.may_fetch() {
                self.fetch(now, link);
            } else {
                hub.restart(now, self.limits.pace(), rng);
                self.say_hello(now);
            }
        }
    }

    /// "Send me what waits."
    fn fetch(&mut self, now: Instant, link: usize) {
        let Some(hub) = self.links.get_mut(link) else { return };
        hub.fetching.sent(now, &self.limits);
        if let Some(inner) = encoded(Fetch::LEN, |out| Fetch::new().encode(out)) {
            self.send(link, &inner, Barrier::OPEN, TransmitClass::Request);
        }
    }

    /// Asks for an uplink lease where one can give room for a block, and none was asked for.
    fn ask_for_lease(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        link: usize,
        need: Need,
        origins: Origins,
    ) {
        let Some(pad_elements) = need.pad_elements() else { return };
        let Some(hub) = self.links.get(link) else { return };
        if hub.link.could_have_room(need, origins) {
            self.request_lease(now, rng, link, pad_elements, origins);
        }
    }

    /// Asks for an uplink lease, unless one was asked for.
    fn request_lease(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        link: usize,
        pad_elements: u32,
        origins: Origins,
    ) {
        let (pace, after) = (self.limits.pace(), self.journal.after());
        let Some(hub) = self.links.get_mut(link) else { return };
        // Not before the hub has answered under the envelope: a request that an abandoned envelope carried is lost, and
        // with it what it asked for.
        if !hub.is_confirmed() || hub.lease_retry.is_some() {
            return;
        }
        if let Some((inner, after)) = hub.link.lease_request(pad_elements, origins, after, rng) {
            hub.lease_retry = Some(Backoff::new(now, pace));
            self.store_marks(link);
            self.send(link, &inner, after, TransmitClass::Request);
        }
    }

    fn repeat_lease_requests(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        let (pace, after) = (self.limits.pace(), self.journal.after());
        for link in 0..self.links.len() {
            let Some(hub) = self.links.get_mut(link) else { continue };
            if !hub.lease_retry.as_mut().is_some_and(|retry| retry.take_due(now, pace)) {
                continue;
            }
            if hub.link.outgoing.asking().is_none() {
                // The pause after a grant of less than was asked for is over.
                hub.lease_retry = None;
                continue;
            }
            if let Some((inner, after)) = hub.link.lease_request(0, Origins::Any, after, rng) {
                self.send(link, &inner, after, TransmitClass::Retransmission);
            }
        }
    }

    /// Lets `inner` leave for a hub behind checkpoint `after`.
    fn send(&mut self, link: usize, inner: &[u8], after: u64, class: TransmitClass) {
        if let Some(hub) = self.links.get(link) {
            self.outlet.send((link, hub), inner, after, class);
        }
    }

    fn tell(&mut self, after: u64, event: ClientEvent) {
        self.outlet.tell(after, event);
    }

    /// Tells of tables of these links whose storage has failed, or is ahead of ours, as far as there is room.
    fn tell_failures(&mut self, links: Range<usize>) {
        for hub in self.links.range_mut(links) {
            if self.outlet.has_room() && hub.link.outgoing.is_behind() {
                let event = ClientEvent::RolledBack { hub: hub.link.keys.hub() };
                self.outlet.tell(Barrier::OPEN, event);
            }
            while self.outlet.has_room()
                && let Some((direction, number, error)) = hub.link.untold_failure()
            {
                let hub = hub.link.keys.hub();
                let event = ClientEvent::TableFailed { hub, direction, number, error };
                self.outlet.tell(Barrier::OPEN, event);
            }
        }
    }

    fn store_marks(&mut self, link: usize) {
        let Some(hub) = self.links.get_mut(link) else { return };
        let id = hub.link.keys.hub();
        hub.link.store_marks(marks_key(id), &mut self.journal);
        for (direction, reported) in
            [(Direction::UPLINK, &mut hub.low_reported.0), (Direction::DOWNLINK, &mut hub.low_reported.1)]
        {
            let (low, remaining) = hub.link.low_water(direction);
            if low && !core::mem::replace(reported, low) {
                let uplink = direction == Direction::UPLINK;
                let event = ClientEvent::TableLow { hub: id, uplink, remaining };
                self.outlet.tell(Barrier::OPEN, event);
            }
        }
    }

    /// What a snapshot has to hold.
    fn store_everything(&mut self) {
        for hub in self.links.iter() {
            let id = hub.link.keys.hub();
            hub.link.store_marks(marks_key(id), &mut self.journal);
            let number = hub.link.keys.client().number().to_be_bytes();
            self.journal.set(number_key(id), &number);
            if hub.key_replaced {
                self.journal.set(initial_key(id), hub.link.keys.stored().expose());
            }
        }
        for (key, value) in &self.left_out {
            self.journal.set(*key, value.expose());
        }
        self.store_inbound();
    }
}

/// The earlier of two times, of which either may not be.
fn earlier(left: Option<Instant>, right: Option<Instant>) -> Option<Instant> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (one, other) => one.or(other),
    }
}

fn marks_key(hub: HubId) -> Name {
    Name::of(&[&[STORED_MARKS], hub.as_bytes()])
}

fn initial_key(hub: HubId) -> Name {
    Name::of(&[&[STORED_INITIAL], hub.as_bytes()])
}

fn number_key(hub: HubId) -> Name {
    Name::of(&[&[STORED_NUMBER], hub.as_bytes()])
}

skex_core::machine_by_own_methods!([P: Pad] Client<P>, Record, Vec<u8>, ClientEvent, ClientError);

impl<P> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("tag", &self.tag)
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}
