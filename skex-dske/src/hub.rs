//! A security hub: it relays shares between its clients and knows one share of each key.

mod asked;
mod budget;
mod clients;
mod command;
mod config;
mod confirmation;
mod delivery;
mod enrolment;
mod hand_over;
mod lease;
mod refill;
mod relay;
mod roster;
mod session;
mod shard;
mod upload;
mod waiting;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use skex_core::machine::{
    Barrier, Clock, Destination, DiscardCounters, DiscardReason, Disposition, Instant, Output, PathId, Queue,
    Receipt, ReceiptError, Transmit, TransmitClass,
};
use skex_core::record::RecordKind;
use skex_core::{SecretBytes, SecretVec, Suite};
use skex_wire::dske::{Direction, Inner, Outer, Sealed};
use skex_wire::{EncodeError, Writer};

use asked::{Asked, STORED_ASKED, STORED_TAKEN_BACK};
use budget::STORED_SPENT;
use clients::Clients;
use command::{Allowed, STORED_ALLOWED, STORED_OFFER, Said};
pub use config::{Authorised, HubClient, HubConfig, HubLimits};
pub use enrolment::HubRoster;
pub use hand_over::HandOver;
pub use shard::shard_of;

use crate::backoff::{Backoff, later};
use crate::client::Table;
use crate::envelope::{EnvelopeKeys, Side, take_initial_keys};
use crate::fill::{Fill, LEAST_QUEUE};
use crate::id::{ClientId, ClientTag, HubId};
use crate::journal::Journal;
use crate::key::LONGEST_LIFETIME;
use crate::link::{Link, TableError, TableStatus};
use crate::outbox::{Messages, Outbox, Unsent};
use crate::psrd::{ELEMENT_LEN, Pad, PadError};
use crate::several::each_of;
use crate::share::Coordinate;
use crate::state::{Name, Owner, Record, RestoreError, Stored};
use crate::suite::KeySuite;
use enrolment::Leaving;
use relay::{Relay, RelayId, STORED_RELAY};
use roster::Roster;
use session::STORED_INITIAL;
use shard::{Shard, shard_key};
use waiting::Waiting;

/// One hub and all its clients, or a shard of it and the clients of that ([`HubConfig::into_shards`]). `P` is where their
/// tables lie.
///
/// A shard is driven like a hub, by datagrams that [`shard_of`] gives to it; and what it has for the other shards
/// ([`Self::poll_hand_over`]) has to come to those ([`Self::handed_over`]).
pub struct Hub<P> {
    coordinate: Coordinate,
    /// What it relays.
    suites: Vec<KeySuite>,
    limits: HubLimits,
    /// Whose hub it is.
    id: HubId,
    shard: Shard,
    clients: Clients<P>,
    /// The clients of all shards.
    roster: Arc<Roster>,
    /// What clients published, encoded.
    offers: BTreeMap<ClientId, Vec<u8>>,
    /// Of initiators of every shard, for responders of this one.
    relays: BTreeMap<RelayId, Box<Relay>>,
    /// Of initiators of this shard, for responders of others.
    asked: BTreeMap<RelayId, Asked>,
    /// Keys that an initiator of another shard has taken back, and of which no share had come: until when none is taken.
    taken_back: BTreeMap<RelayId, Instant>,
    /// The relays whose share waits for a responder.
    waiting: Waiting,
    /// Elements of a responder's downlink for which shares were accepted, by part.
    spent: BTreeMap<(ClientId, u8), u32>,
    timers: BTreeSet<(Instant, Timer)>,
    /// Lives for one start only.
    boot_key: SecretBytes<32>,
    clock: Clock,
    journal: Journal,
    outbox: Outbox<Transmit<Vec<u8>>>,
    /// Where messages are opened, one after the other: none has an allocation of its own.
    opened: Vec<u8>,
    hand_overs: Queue<HandOver>,
    /// Clients that were revoked, until that is durable.
    leaving: Queue<Leaving<P>>,
    /// Tables that were taken out of service and are erased behind a checkpoint. At most those that are there.
    retiring: VecDeque<(u64, ClientId, Direction, u16)>,
    /// The numbers that were taken from clients, with their tags.
    revoked: BTreeMap<ClientId, ClientTag>,
    /// Their tags: until when a key may live that a client of this tag asked for under such a number, of which nothing is known any more.
    forgotten: BTreeMap<ClientTag, Instant>,
    /// Tables that go to clients over the network.
    refills: BTreeMap<ClientId, refill::Refills<P>>,
    /// At most three a client, one a refill and two a table: each is told once. Each with the checkpoint that it waits for.
    events: VecDeque<(u64, HubEvent)>,
    discards: DiscardCounters,
    relayed: u64,
}

struct Client<P> {
    link: Link<P>,
    /// Whose keys it accepts; none: everybody's.
    allowed: Option<Box<Allowed>>,
    /// Where its last authentic message came from, once it has a session.
    path: PathId,
    /// Whether it has sent a message without its salt: it has heard us under this envelope.
    confirmed: bool,
    lease_retry: Option<Box<Backoff>>,
    /// Keys whose lifetime is not over.
    keys: u32,
    said: Option<Box<Said>>,
    /// Whether its initial key is another than that of the configuration, or is to be.
    key_replaced: bool,
    /// Whether the operator was told that little is left: of the uplink, and of the downlink.
    low_reported: [bool; 2],
    /// Whether what waits for it is delivered once more, because a table failed.
    retries: bool,
}

impl<P: Pad> Client<P> {
    /// Lets `inner` leave behind checkpoint `after`. Without an envelope, or with a full queue, it is as good as lost on the way.
    fn send(&self, inner: &[u8], after: u64, class: TransmitClass, outbox: &mut Outbox<Transmit<Vec<u8>>>) {
        self.send_written(inner.len(), |out| out.bytes(inner), after, class, outbox);
    }

    /// The same of a message of `len` octets that `write` puts where it is sealed.
    fn send_written(
        &self,
        len: usize,
        write: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
        after: u64,
        class: TransmitClass,
        outbox: &mut Outbox<Transmit<Vec<u8>>>,
    ) {
        if let Some(session) = self.link.session_number() {
            let to = Destination::Path(self.path);
            let link = (self.link.keys.client().number(), session, to);
            outbox.send(link, false, (after, class), len, write);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Delivery(RelayId),
    Expiry(RelayId),
    Lease(ClientId),
    Refill(ClientId),
    Added(ClientId),
    Failed(ClientId),
}

const STORED_MARKS: u8 = 1;

/// Octets of the room for opened messages that are kept: a message of the longest key has more.
const OPENED: usize = 4096;

/// What a hub tells its operator. A hub has no application: everything else is in [`Hub::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubEvent {
    /// A client was revoked, durably. Told again after a start, while the configuration still has it.
    ClientRevoked {
        /// Its number, which nobody gets again.
        client: ClientId,
        /// Who it was.
        tag: ClientTag,
        /// Whether its tables are erased. If the storage of one failed, overwrite or destroy that by other means. Of a hub in shards, its own shard
        /// has them, and the others say `true`.
        erased: bool,
    },
    /// A client has proven that it has the initial key that replaced the old one, which is gone.
    InitialKeyReplaced {
        /// Its number.
        client: ClientId,
        /// Who it is.
        tag: ClientTag,
    },
    /// A client has a table that was sent to it, and it may be used.
    Refilled {
        /// Whose table.
        client: ClientTag,
        /// Whether it is for messages from the client.
        uplink: bool,
        /// Its number.
        number: u16,
    },
    /// A table was taken out of service, durably: nothing brings it back. Told again after a start before it was erased, or
    /// after it has grown.
    TableRetired {
        /// Whose table.
        client: ClientTag,
        /// Whether it was for messages from the client.
        uplink: bool,
        /// Its number.
        number: u16,
        /// Whether it is erased. If its storage failed, overwrite or destroy that by other means.
        erased: bool,
    },
    /// The storage of a table has failed: no key of this client comes by this hub. Told once for each table and start. See also
    /// [`TableStatus::failure`](crate::TableStatus::failure).
    TableFailed {
        /// Whose table.
        client: ClientTag,
        /// Whether it is for messages from the client.
        uplink: bool,
        /// Its number.
        number: u16,
        /// What its [`Pad`] said.
        error: PadError,
    },
    /// What this hub, or shard, has stored of a client is older than what the client knows: its store was brought back from a copy, or
    /// a table is damaged. A client that lies can bring this about, of its own link. No pad is used twice while only one end was brought back. Told
    /// once a table and start.
    RolledBack {
        /// The client that knows more.
        client: ClientTag,
    },
    /// Little is left of the tables of a client in one direction: time for a refill. Told once, until a table is added.
    TableLow {
        /// Whose tables.
        client: ClientTag,
        /// Whether they are those for messages from the client.
        uplink: bool,
        /// What is left, in octets.
        remaining: u64,
    },
}

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
    /// There is no client of this number.
    #[error("no such client: it was never enrolled, or it is revoked")]
    UnknownClient,
    /// Too much waits to become durable.
    #[error("too much waits to become durable; let the store catch up")]
    Busy,
    /// The client cannot be enrolled.
    #[error(
        "a client is enrolled under the next number, with a tag and names that no other has, and a suite that is compiled in"
    )]
    Enrolment,
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
        mut config: HubConfig<P>,
        records: impl IntoIterator<Item = impl AsRef<[u8]>>,
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, RestoreError> {
        let roster = config.roster();
        let HubConfig {
            id, coordinate, mut clients, mut further, suites, mut limits, shard, leaving, ..
        } = config;
        // With less it would answer nothing, and nobody would know why.
        limits.queue = limits.queue.max(LEAST_QUEUE.saturating_add(upload::QUEUE_RESERVE));
        limits.changes = limits.changes.max(1);
        let owner = Owner { kind: RecordKind::DSKE_HUB, machine: shard.machine(id) };
        let mut stored = Stored::read(owner, records)?;
        shard.check(&mut stored)?;
        let journal = Journal::new(owner, stored.sequence, rng);
        let boot_key = SecretBytes::generate(rng);
        let mut hub = Self {
            coordinate,
            suites,
            limits,
            id,
            shard,
            clients: Clients::up_to(shard, clients.last().map(|client| client.client)),
            roster,
            offers: BTreeMap::new(),
            relays: BTreeMap::new(),
            asked: BTreeMap::new(),
            taken_back: BTreeMap::new(),
            waiting: Waiting::default(),
            spent: BTreeMap::new(),
            timers: BTreeSet::new(),
            boot_key,
            clock: Clock::new(now),
            journal,
            outbox: Outbox::new(limits.queue, usize::MAX, limits.datagram),
            opened: Vec::new(),
            hand_overs: Queue::new(limits.queue),
            leaving: Queue::new(enrolment::LEAVING),
            retiring: VecDeque::new(),
            revoked: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            refills: BTreeMap::new(),
            events: VecDeque::new(),
            discards: DiscardCounters::new(),
            relayed: 0,
        };
        let revoked = enrolment::revoked(&stored)?;
        hub.leave_out(&revoked)?;
        for &id in leaving.keys() {
            let _ = (stored.take(&marks_key(id)), stored.take(&command::key(STORED_INITIAL, id)));
        }
        let initial_keys = take_initial_keys(clients.iter_mut().map(|client| &mut client.initial_key));
        for (mut client, initial_key) in clients.into_iter().zip(initial_keys.expose().as_chunks::<32>().0) {
            client.initial_key = SecretBytes::copied_from(initial_key);
            let id = client.client;
            let others = further.remove(&id).unwrap_or_default();
            if revoked.contains_key(&id) {
                // A crash came before its tables were erased.
                hub.erase_again(client, others.into_iter().map(|(_, table)| table));
                continue;
            }
            let marks = stored.take(&marks_key(id));
            let initial = stored.take(&command::key(STORED_INITIAL, id));
            hub.add_client(client, others, marks.as_ref(), initial.as_ref())?;
        }
        // Whoever is missing was revoked.
        let given = (0..hub.roster.next_number().number()).map(ClientId::new);
        let mut own = given.filter(|id| shard.owns(*id));
        if !own.all(|id| hub.client(id).is_some() || revoked.contains_key(&id) || leaving.contains_key(&id)) {
            return Err(RestoreError::Configuration);
        }
        // Lifetimes count anew from a start.
        hub.forgotten = revoked.values().map(|tag| (*tag, now.saturating_add(LONGEST_LIFETIME))).collect();
        hub.revoked = revoked;
        // What was spent comes last: whom a client has authorised since says how its downlink is divided.
        let (spent, values): (Vec<_>, Vec<_>) =
            stored.iter().partition(|(key, _)| key.first() == Some(&STORED_SPENT));
        for (key, value) in values.into_iter().chain(spent) {
            match key.split_first() {
                Some((&STORED_RELAY, id)) => hub.restore_relay(id, value, now)?,
                Some((&STORED_SPENT, part)) => hub.restore_spent(part, value)?,
                Some((&STORED_ALLOWED, client)) => hub.restore_allowed(client, value)?,
                Some((&STORED_OFFER, client)) => hub.restore_offer(client, value)?,
                Some((&STORED_ASKED, id)) => hub.restore_asked(id, value, now)?,
                Some((&STORED_TAKEN_BACK, id)) => hub.restore_taken_back(id, value, now)?,
                Some((&enrolment::STORED_REVOKED, _)) => {}
                Some((&(STORED_MARKS | STORED_INITIAL), _)) => return Err(RestoreError::Configuration),
                _ => return Err(RestoreError::Content),
            }
        }
        for id in leaving.into_keys() {
            if !hub.revoked.contains_key(&id) {
                hub.revoke(now, id).map_err(|_| RestoreError::Configuration)?;
            }
            // Wherever its tables are, this hub was not given them.
            if shard.owns(id) {
                hub.tell_unerased(id);
            }
        }
        Ok(hub)
    }

    fn add_client(
        &mut self,
        client: HubClient<P>,
        further: Vec<(Direction, Table<P>)>,
        marks: Option<&SecretVec>,
        initial: Option<&SecretVec>,
    ) -> Result<(), RestoreError> {
        let suite = Suite::from_id(client.suite).ok_or(RestoreError::Configuration)?;
        let keys = EnvelopeKeys::new(suite, client.initial_key, client.client, self.id);
        let keys = keys.with_stored(initial)?;
        let mut tables = vec![(Direction::UPLINK, client.uplink), (Direction::DOWNLINK, client.downlink)];
        tables.extend(further);
        let (link, waiting) = Link::new(Side::Hub, keys).with_tables(marks, tables)?;
        // A crash came before they were erased, or they have grown since.
        let retiring = link.retiring().into_iter();
        let retiring = retiring.map(|(direction, number)| (Barrier::OPEN, client.client, direction, number));
        self.retiring.extend(retiring);
        if !waiting.is_empty() {
            self.refills.insert(client.client, refill::Refills::new(waiting));
        }
        let added = Client {
            link,
            allowed: match client.authorised {
                Authorised::Everyone => None,
                Authorised::Only(tags) => Some(Box::new(Allowed::only(tags))),
            },
            path: PathId::new(0),
            confirmed: false,
            lease_retry: None,
            keys: 0,
            said: None,
            key_replaced: initial.is_some(),
            low_reported: [false; 2],
            retries: false,
        };
        self.clients.put(client.client, added).then_some(()).ok_or(RestoreError::Configuration)
    }

    fn restore_relay(&mut self, key: &[u8], value: &[u8], now: Instant) -> Result<(), RestoreError> {
        let id = relay::id_of(key)?;
        let relay = Relay::decode(value, now)?;
        let has_responder = match relay.share {
            Some(_) => self.has_enrolled(relay.responder),
            None => self.shard.owns(relay.responder) && self.was_enrolled(relay.responder),
        };
        if !has_responder || self.roster.tag(id.0).is_none() {
            return Err(RestoreError::Configuration);
        }
        self.count_key(id.0);
        self.timers.insert((relay.expires, Timer::Expiry(id)));
        if relay.share.is_some() {
            self.waiting.insert(relay.responder, id);
        }
        self.relays.insert(id, Box::new(relay));
        Ok(())
    }

    /// Writes the whole state at the next checkpoint, so that the store can drop older records.
    pub const fn compact(&mut self) {
        self.journal.compact();
    }

    /// Adds a table to the link with `client`: one that goes to it out of band while this hub runs. The client adds the same. An end
    /// that asks for a lease of it before the other has it is denied that, and uses it from the next session on.
    ///
    /// # Errors
    ///
    /// [`TableError`] says why not. Nothing changed.
    pub fn add_table(
        &mut self,
        client: ClientId,
        direction: Direction,
        table: Table<P>,
    ) -> Result<(), TableError> {
        self.client_mut(client).ok_or(TableError::UnknownLink)?.link.add_table(direction, table)?;
        self.table_added(client);
        if self.waiting.of(client).next().is_some() {
            // Nothing need come from the client that would remind of what waits. By then it has the table too.
            let due = later(self.clock.now(), self.limits.pace().longest);
            self.timers.insert((due, Timer::Added(client)));
        }
        Ok(())
    }

    /// Takes a table of the link with `client` out of service, for good: a copy of it was lost or stolen, perhaps; also one that is
    /// on its way to the client. Nothing of it is used from now on. Once that is durable it is erased, and
    /// [`HubEvent::TableRetired`] says so; before, a crash can undo it. A portion that it grows by changes nothing any more, and is
    /// erased at the next start. The client's session ends. The client does the same; as long as only one end has, the other is denied
    /// leases of it.
    ///
    /// # Errors
    ///
    /// [`TableError::UnknownLink`], [`TableError::Absent`]; of one on its way, [`TableError::TooMany`]. Nothing changed.
    pub fn retire_table(
        &mut self,
        client: ClientId,
        direction: Direction,
        number: u16,
    ) -> Result<(), TableError> {
        let own = self.clients.get_mut(client).ok_or(TableError::UnknownLink)?;
        if let Some(refills) = self.refills.get_mut(&client)
            && let Some(table) = refills.recall(&own.link, direction, number)?
        {
            own.link.add_table(direction, table)?;
        }
        own.link.retire_table(direction, number)?;
        // What waits for the store is of the session that ends here, and leaves no more.
        own.link.end();
        (own.confirmed, own.lease_retry) = (false, None);
        self.end_deliveries_to(client);
        self.end_refill_to(client);
        self.end_answers_to(client);
        self.retiring.push_back((self.journal.after(), client, direction, number));
        self.store_marks(client);
        Ok(())
    }

    /// Erases a table that was taken out of service, once that is durable.
    fn erase_retired(&mut self) -> Option<HubEvent> {
        while self.retiring.front().is_some_and(|(after, ..)| self.journal.is_durable(*after)) {
            let (_, id, direction, number) = self.retiring.pop_front()?;
            // A client that was revoked meanwhile has no tables any more.
            let Some(client) = self.clients.get_mut(id) else { continue };
            let erased = client.link.erase_retired(direction, number);
            let (client, uplink) = (self.roster.tag(id)?, direction == Direction::UPLINK);
            self.store_marks(id);
            return Some(HubEvent::TableRetired { client, uplink, number, erased });
        }
        None
    }

    fn table_added(&mut self, id: ClientId) {
        if let Some(client) = self.client_mut(id) {
            client.low_reported = [false; 2];
        }
        // Every initiator has its part of what is there now.
        self.forget_spent(id);
        self.store_marks(id);
    }

    /// How the clients stand, in the order of their numbers.
    pub fn status(&self) -> impl Iterator<Item = ClientStatus> + '_ {
        let octets = |elements: u32| u64::from(elements).saturating_mul(ELEMENT_LEN as u64);
        self.clients.iter().filter_map(move |client| {
            let id = client.link.keys.client();
            Some(ClientStatus {
                tag: self.roster.tag(id)?,
                connected: client.link.session.is_some(),
                uplink_remaining: octets(client.link.incoming.remaining()),
                downlink_remaining: octets(client.link.outgoing.remaining()),
                waiting: self.waiting.of(id).count(),
            })
        })
    }

    /// How full the tables of this hub are.
    pub fn fill(&self) -> impl Iterator<Item = Fill> {
        let (clients, all) = (self.clients.len(), self.roster.len());
        let keys = self.limits.keys_per_initiator.saturating_mul(all);
        let said = || self.clients.iter().filter_map(|client| client.said.as_deref());
        let refusals = said().map(|said| said.refusals.len()).fold(0, usize::saturating_add);
        let outcomes = said().map(|said| said.outcomes.len()).fold(0, usize::saturating_add);
        let withdrawn = said().map(|said| said.withdrawn.len()).fold(0, usize::saturating_add);
        let queue = self.limits.queue.saturating_sub(self.outbox.free());
        let hand_overs = self.limits.queue.saturating_sub(self.hand_overs.free());
        let timers = keys.saturating_mul(3).saturating_add(clients.saturating_mul(4));
        [
            Fill::new("keys", self.relays.len(), keys),
            Fill::new("keys at other shards", self.asked.len(), keys),
            Fill::new("keys of other shards, taken back", self.taken_back.len(), keys),
            Fill::new("hand-overs", hand_overs, self.limits.queue),
            Fill::new(
                "shares that wait",
                self.waiting.len(),
                self.limits.waiting_per_responder.saturating_mul(clients),
            ),
            Fill::new("timers", self.timers.len(), timers),
            Fill::new("refusals", refusals, upload::REFUSALS.saturating_mul(clients)),
            Fill::new("outcomes of commands", outcomes, command::OUTCOMES.saturating_mul(clients)),
            Fill::new("keys withdrawn early", withdrawn, command::WITHDRAWN.saturating_mul(clients)),
            Fill::new(
                "clients that leave",
                enrolment::LEAVING.saturating_sub(self.leaving.free()),
                enrolment::LEAVING,
            ),
            Fill::new("offers", self.offers.len(), clients),
            Fill::new("queue", queue, self.limits.queue),
        ]
        .into_iter()
    }

    /// How the tables of the link with `client` stand: the uplink's, then the downlink's, in the order of their numbers. Empty
    /// without such a client.
    #[must_use]
    pub fn tables(&self, client: ClientId) -> Vec<TableStatus> {
        self.client(client).map(|client| client.link.table_statuses()).unwrap_or_default()
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

    /// The client with this tag, of whatever shard.
    fn client_of(&self, tag: ClientTag) -> Option<ClientId> {
        self.roster.of_tag(tag)
    }

    fn client(&self, id: ClientId) -> Option<&Client<P>> {
        self.clients.get(id)
    }

    fn client_mut(&mut self, id: ClientId) -> Option<&mut Client<P>> {
        self.clients.get_mut(id)
    }

    /// Takes one whole message. See [`Machine::handle_message`](skex_core::machine::Machine::handle_message).
    ///
    /// Messages that came together may be given one after the other before [`Self::poll_output`] is asked, and calls of the application
    /// beside them: what they have the hub say to one client then shares datagrams and a checkpoint ([`HubLimits::datagram`]).
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
        self.tell_failures(id);
        Ok(handled.unwrap_or_else(|reason| self.discards.discard(reason)))
    }

    /// Tells of tables of a client whose storage has failed.
    fn tell_failures(&mut self, id: ClientId) {
        let (Some(tag), Some(client)) = (self.roster.tag(id), self.clients.get_mut(id)) else { return };
        if client.link.outgoing.is_behind() {
            self.events.push_back((Barrier::OPEN, HubEvent::RolledBack { client: tag }));
        }
        while let Some((direction, number, error)) = client.link.untold_failure() {
            let (client, uplink) = (tag, direction == Direction::UPLINK);
            let event = HubEvent::TableFailed { client, uplink, number, error };
            self.events.push_back((Barrier::OPEN, event));
        }
    }

    fn on_sealed(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        id: ClientId,
        from: PathId,
        sealed: &Sealed<'_>,
    ) -> Result<Disposition, DiscardReason> {
        let mut inner = core::mem::take(&mut self.opened);
        let opened = self.open(id, from, sealed, &mut inner);
        let confirms = sealed.header.salt.is_none();
        let handled = opened.and_then(|()| self.on_opened(now, rng, id, from, confirms, &inner));
        inner.shrink_to(OPENED);
        self.opened = inner;
        handled
    }

    fn on_opened(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        id: ClientId,
        from: PathId,
        confirms: bool,
        inner: &[u8],
    ) -> Result<Disposition, DiscardReason> {
        let client = self.client_mut(id).ok_or(DiscardReason::UnknownPeer)?;
        client.path = from;
        if confirms && !core::mem::replace(&mut client.confirmed, true) {
            self.deliver_waiting(now, rng, id);
            self.send_refill(now, id);
        }
        let inner = Inner::decode(inner).map_err(|_| DiscardReason::Malformed)?;
        let Inner::Several(several) = &inner else { return self.on_inner(now, rng, id, &inner) };
        Ok(each_of(several, |inner| {
            let handled = inner.and_then(|inner| self.on_inner(now, rng, id, &inner));
            handled.unwrap_or_else(|reason| self.discards.discard(reason))
        }))
    }

    /// One inner message.
    fn on_inner(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        id: ClientId,
        inner: &Inner<'_>,
    ) -> Result<Disposition, DiscardReason> {
        match inner {
            Inner::LeaseRequest(request) => self.on_lease_request(id, request),
            Inner::LeaseGrant(grant) => self.on_lease_grant(now, rng, id, grant),
            Inner::LeaseDenied(denied) => self.on_lease_denied(now, rng, id, denied),
            Inner::Share(share) => self.on_upload(now, rng, id, share),
            Inner::Command(command) => self.on_command(now, id, command),
            Inner::Answer(answer) => self.on_answer(now, id, answer),
            Inner::Refilled(refilled) => self.on_refilled(now, rng, id, refilled),
            Inner::Fetch(_) => {
                self.on_fetch(now, rng, id);
                Ok(Disposition::Accepted)
            }
            _ => Err(DiscardReason::Unexpected),
        }
    }

    /// Does what is due. See [`Machine::handle_timeout`](skex_core::machine::Machine::handle_timeout).
    ///
    /// # Errors
    ///
    /// None in this version; a hub does not fail.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), HubError> {
        let now = self.clock.observe(now);
        self.journal.handle_timeout(now);
        while self.timers.first().is_some_and(|(due, _)| *due <= now)
            && let Some((_, timer)) = self.timers.pop_first()
        {
            match timer {
                Timer::Delivery(id) => self.repeat_delivery(now, rng, id),
                Timer::Expiry(id) => self.expire(now, id),
                Timer::Lease(id) => self.repeat_lease_request(now, rng, id),
                Timer::Refill(id) => self.repeat_refill(now, id),
                Timer::Added(id) => self.deliver_waiting(now, rng, id),
                Timer::Failed(id) => self.deliver_again(now, rng, id),
            }
        }
        Ok(())
    }

    /// An initiator of this shard has one key more whose lifetime is not over.
    fn count_key(&mut self, initiator: ClientId) {
        if let Some(client) = self.client_mut(initiator) {
            client.keys = client.keys.saturating_add(1);
        }
    }

    fn expire(&mut self, now: Instant, id: RelayId) {
        let ends = [
            self.relays.get(&id).map(|relay| relay.expires),
            self.asked.get(&id).map(|asked| asked.expires),
            self.taken_back.get(&id).copied(),
        ];
        let Some(expires) = ends.into_iter().flatten().max() else { return };
        if expires > now {
            self.timers.insert((expires, Timer::Expiry(id)));
            return;
        }
        if self.relays.get(&id).is_some_and(|relay| relay.share.is_some()) {
            self.journal.wipe_soon(now);
        }
        self.remove_relay(id);
    }

    /// Learns that a checkpoint is durable. See [`Machine::handle_persisted`](skex_core::machine::Machine::handle_persisted).
    ///
    /// # Errors
    ///
    /// [`HubError::Receipt`]: not the outstanding checkpoint's receipt. Nothing changed.
    pub fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), HubError> {
        Ok(self.journal.acknowledge(receipt)?)
    }

    /// The next thing to do. See [`Machine::poll_output`](skex_core::machine::Machine::poll_output).
    pub fn poll_output(&mut self) -> Output<Record, Vec<u8>, HubEvent> {
        if self.journal.begin_snapshot() {
            self.store_everything();
        }
        if let Some(checkpoint) = self.journal.checkpoint() {
            return Output::Persist(checkpoint);
        }
        while let Some(unsent) = self.journal.release(&mut self.outbox.queue) {
            let transmit = match unsent {
                Unsent::Messages(messages) => self.seal(messages),
                Unsent::Other(transmit) => Some(transmit),
            };
            if let Some(transmit) = transmit {
                return Output::Transmit(transmit);
            }
        }
        if let Some(leaving) = self.journal.release(&mut self.leaving) {
            return Output::Event(leaving.go());
        }
        if let Some(event) = self.erase_retired() {
            return Output::Event(event);
        }
        if self.events.front().is_some_and(|(after, _)| self.journal.is_durable(*after))
            && let Some((_, event)) = self.events.pop_front()
        {
            return Output::Event(event);
        }
        let timer = self.timers.first().map(|(due, _)| *due);
        Output::Wait(timer.into_iter().chain(self.journal.deadline()).min())
    }

    /// The next thing that another shard has to be told. To be asked for until there is none, each time that
    /// [`Self::poll_output`] says to wait. Which shard it is for, it says ([`HandOver::to`]).
    ///
    /// Hand-overs hold shares in clear: they belong in the memory of the process that runs all shards, and nowhere else. One that
    /// is lost, or comes twice, late or out of order, does no harm: what depended on it is handed over again when the client asks
    /// again.
    pub fn poll_hand_over(&mut self) -> Option<HandOver> {
        self.journal.release(&mut self.hand_overs)
    }

    /// Lets `inner` leave for a client behind checkpoint `after`.
    fn send(&mut self, id: ClientId, inner: &[u8], after: u64, class: TransmitClass) {
        if let Some(client) = self.clients.get(id) {
            client.send(inner, after, class, &mut self.outbox);
        }
    }

    /// What is ready to leave, if the session that it is of is still there.
    fn seal(&mut self, messages: Messages) -> Option<Transmit<Vec<u8>>> {
        let Messages { link, session, to, class, unsealed } = messages;
        let client = self.clients.get_mut(ClientId::new(link))?;
        // The client's next message finds no session here, and it says hello anew.
        if client.link.is_worn_out() {
            client.link.end();
        }
        let datagram = client.link.seal(session, unsealed)?;
        Some(Transmit::new(to, class, datagram))
    }

    fn reply(&mut self, to: PathId, after: u64, datagram: Vec<u8>) {
        let transmit = Transmit::new(Destination::Path(to), TransmitClass::Reply, datagram);
        self.outbox.push(after, transmit);
    }

    fn store_marks(&mut self, id: ClientId) {
        let (Some(tag), Some(client)) = (self.roster.tag(id), self.clients.get_mut(id)) else {
            return;
        };
        client.link.store_marks(marks_key(id), &mut self.journal);
        for (direction, reported) in
            [Direction::UPLINK, Direction::DOWNLINK].into_iter().zip(&mut client.low_reported)
        {
            let (low, remaining) = client.link.low_water(direction);
            if low && !core::mem::replace(reported, low) {
                let (client, uplink) = (tag, direction == Direction::UPLINK);
                self.events.push_back((Barrier::OPEN, HubEvent::TableLow { client, uplink, remaining }));
            }
        }
    }

    /// What a snapshot has to hold.
    fn store_everything(&mut self) {
        let now = self.clock.now();
        for client in self.clients.iter() {
            client.link.store_marks(marks_key(client.link.keys.client()), &mut self.journal);
        }
        if !self.shard.is_whole() {
            self.journal.set(shard_key(), &self.shard.stored());
        }
        self.store_asked(now);
        self.store_spent();
        self.store_commands();
        self.store_revoked();
        self.store_initial_keys();
        for (id, relay) in &self.relays {
            relay.store(now, *id, &mut self.journal);
        }
    }
}

fn marks_key(client: ClientId) -> Name {
    command::key(STORED_MARKS, client)
}

skex_core::machine_by_own_methods!([P: Pad] Hub<P>, Record, Vec<u8>, HubEvent, HubError);

impl<P> fmt::Debug for Hub<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("clients", &self.clients.len())
            .field("relays", &self.relays.len())
            .finish_non_exhaustive()
    }
}
