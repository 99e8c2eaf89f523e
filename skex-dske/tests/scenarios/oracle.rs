//! An oracle that knows every table and every initial key, and sees everything that left a machine.
//!
//! What it holds against a world ([`Oracle::charges`]):
//! - an element of a table that served two different messages: pad bytes under two plaintexts, or a one-time key under
//!   two messages;
//! - two datagrams under one envelope key and number;
//! - two shares, or two answers, under one epoch's key and number; an epoch that outlives a session, or serves two suites;
//! - a one-time tag that is not the one of the original table at that place (so the oracle sees what it thinks it sees);
//! - a share delivered to anybody but the responder for whom it was uploaded;
//! - a key that differs between its ends, between two times that it was given, or from what its shares make;
//! - a key that was given before as many hubs as its threshold had a part in it;
//! - a key that was given twice without a restart in between;
//! - a key that claims more than the tables by which honest ends sent its shares, whether they arrived or not;
//! - anything that left before the record on which it depends was stored (and, with a gate, was durable).
//!
//! What an end in the adversary's hand says is held against nobody; what honest ends say to it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skex_core::machine::Instant;
use skex_core::{Assurance, Expander, KeyId, Label, SecretBytes, Suite, extract};
use skex_dske::{
    ClientEvent, ClientTag, Coordinate, ELEMENT_LEN, MessageVerificationKey, Origin, Role, Tag, combine,
};
use skex_sim::{Departed, Either, NodeId};
use skex_wire::dske::{
    Answer, AnswerStatus, Command, CommandBody, Direction, DskeSuiteId, Inner, InnerType, Outcome,
    OutcomeStatus, Outer, Sealed, ShareMessage, Tagged, block_elements, tag_prefix,
};
use skex_wire::{Reader, SuiteId};

use crate::world::{Cast, Further, each_alone};

/// Octets that several messages share, at most: the limits that clients and hubs begin with.
const DATAGRAM: usize = 1232;

/// A client and a hub, by their numbers in the cast.
type Pair = (usize, usize);

/// A table: of which pair, whether it is the client's to send from, and its number.
pub type TableOf = (Pair, bool, u16);

/// Who asked for a key, and its id.
type Name = (usize, KeyId);

#[derive(Default)]
pub struct Oracle {
    seen: usize,
    /// When what is looked at left, in the world's time.
    now: Instant,
    links: BTreeMap<Pair, Envelopes>,
    /// What each element of each table was used for: an index into `messages`.
    uses: BTreeMap<(TableOf, u32), usize>,
    messages: Vec<Vec<u8>>,
    keys: BTreeMap<Name, Making>,
    /// Which key each share was for, by the block and the number that protected it.
    blocks: BTreeMap<(TableOf, u32, Option<u8>), Name>,
    /// What each command asked, by its block.
    commands: BTreeMap<(TableOf, u32), Vec<u8>>,
    /// By table and block.
    epochs: BTreeMap<(TableOf, u32), Epoch>,
    /// Coordinates and secret tag of each key that was uploaded.
    terms: BTreeMap<Name, (Vec<u8>, [u8; 16])>,
    /// By node and machine: shards of a hub share a disk.
    stores: BTreeMap<(NodeId, [u8; 8]), Store>,
    told: usize,
    /// This node gets no receipt from its checkpoint of this number on.
    gate: Option<(NodeId, u64)>,
    charges: Vec<String>,
    pub counts: Counts,
}

/// That something happened which the oracle could judge.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub datagrams: u64,
    pub grants: u64,
    pub uploads: u64,
    pub deliveries: u64,
    pub answers: u64,
    /// Of the above: messages that were sealed in an epoch, and how many epochs there were.
    pub sealed: u64,
    pub epochs: u64,
    pub repeats: u64,
    pub keys: u64,
    pub outcomes: u64,
}

/// What is durable at a node, read from its records.
#[derive(Default)]
struct Store {
    checkpoints: u64,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Default)]
struct Envelopes {
    /// One end was taken over by the adversary at some time. What that end says since then is seen by nobody here.
    is_adversarys: bool,
    client_salts: BTreeSet<[u8; 16]>,
    sessions: Vec<Session>,
}

struct Session {
    salts: [[u8; 16]; 2],
    to_hub: SecretBytes<32>,
    to_client: SecretBytes<32>,
    /// The number of the last datagram to the hub, and to the client.
    last: [Option<u32>; 2],
}

/// An epoch of a computational suite.
struct Epoch {
    suite: DskeSuiteId,
    /// The session in which it was opened.
    salts: [[u8; 16]; 2],
    /// By number: the messages that were sent under its two keys.
    shares: BTreeMap<u8, Vec<u8>>,
    answers: BTreeMap<u8, Vec<u8>>,
}

/// What was said about one key.
struct Making {
    responder: ClientTag,
    threshold: u8,
    key_len: usize,
    /// When its lifetime is over, counted from the first upload.
    ends: Instant,
    /// By coordinate.
    uploaded: BTreeMap<u8, Vec<u8>>,
    delivered: BTreeSet<u8>,
    /// Whether a share left by a table that had travelled over the network: to a hub, from a hub.
    refilled: [bool; 2],
}

impl Oracle {
    /// The oracle's verdict on everything so far: nothing is wrong.
    pub fn acquit(cast: &Cast) -> Counts {
        let mut oracle = Self::default();
        oracle.watch(cast);
        oracle.judge_keys(cast);
        assert!(oracle.charges.is_empty(), "{:#?}", oracle.charges);
        oracle.counts
    }

    /// Everything that is wrong so far.
    pub fn charges(cast: &Cast) -> Vec<String> {
        let mut oracle = Self::default();
        oracle.watch(cast);
        oracle.judge_keys(cast);
        oracle.charges
    }

    /// As [`Self::acquit`], where `node` gets no receipts from its checkpoint `from` on: how much left of it since then,
    /// or what should not have.
    pub fn behind_gate(cast: &Cast, node: NodeId, from: u64) -> Result<usize, Vec<String>> {
        let mut oracle = Self { gate: Some((node, from)), ..Self::default() };
        oracle.watch(cast);
        oracle.judge_keys(cast);
        let mine = cast.world.departures().iter().filter(|departure| departure.node == node);
        let stored = |what: &Departed| matches!(what, Departed::Stored(_));
        let gate =
            mine.clone().enumerate().filter(|(_, departure)| stored(&departure.what)).nth(from as usize);
        let since = gate.map_or(0, |(at, _)| mine.count() - at - 1);
        if oracle.charges.is_empty() { Ok(since) } else { Err(oracle.charges) }
    }

    /// Every element that served a message so far: of which client, hub and table (true: the uplink).
    pub fn spent(cast: &Cast) -> Vec<(usize, usize, bool, u32)> {
        let mut oracle = Self::default();
        oracle.watch(cast);
        oracle
            .uses
            .keys()
            .map(|&(((client, hub), uplink, _), element)| (client, hub, uplink, element))
            .collect()
    }

    /// The shares of a key as its initiator uploaded them, by coordinate.
    pub fn shares(cast: &Cast, initiator: usize, key_id: KeyId) -> Vec<(u8, Vec<u8>)> {
        let mut oracle = Self::default();
        oracle.watch(cast);
        let making = oracle.keys.remove(&(initiator, key_id)).expect("shares were uploaded");
        making.uploaded.into_iter().collect()
    }

    /// How many blocks hub `hub` spent on the deliveries of a key.
    pub fn delivered(cast: &Cast, initiator: usize, key_id: KeyId, hub: usize) -> usize {
        Self::blocks_of(cast, (initiator, key_id), hub, false)
    }

    /// How many blocks the initiator spent on the uploads of a key to hub `hub`.
    pub fn uploaded(cast: &Cast, initiator: usize, key_id: KeyId, hub: usize) -> usize {
        Self::blocks_of(cast, (initiator, key_id), hub, true)
    }

    fn blocks_of(cast: &Cast, name: Name, hub: usize, uploads: bool) -> usize {
        let mut oracle = Self::default();
        oracle.watch(cast);
        let ours = |(&((pair, uplink, _), ..), &of): (&(TableOf, u32, Option<u8>), &Name)| {
            of == name && pair.1 == hub && uplink == uploads
        };
        oracle.blocks.iter().filter(|&entry| ours(entry)).count()
    }

    /// Whether anything of a table was ever used.
    pub fn used(cast: &Cast, table: TableOf) -> bool {
        let mut oracle = Self::default();
        oracle.watch(cast);
        oracle.uses.range((table, 0)..=(table, u32::MAX)).next().is_some()
    }

    /// So many numbers of tables served.
    pub fn tables_used(cast: &Cast) -> usize {
        let mut oracle = Self::default();
        oracle.watch(cast);
        oracle.uses.keys().map(|&((_, _, number), _)| number).collect::<BTreeSet<_>>().len()
    }

    fn is_adversarys(&self, pair: Pair) -> bool {
        self.links.get(&pair).is_some_and(|link| link.is_adversarys)
    }

    fn charge(&mut self, what: String) {
        self.charges.push(what);
    }

    fn watch(&mut self, cast: &Cast) {
        for &(pair, salts) in &cast.adversary {
            let link = self.links.entry(pair).or_default();
            link.is_adversarys = true;
            link.client_salts.insert(salts[0]);
            link.sessions.push(Session::new(cast, pair, salts));
        }
        for &(pair, salt) in &cast.adversary_hellos {
            self.links.entry(pair).or_default().client_salts.insert(salt);
        }
        let departures = cast.world.departures();
        for departure in departures.get(self.seen..).unwrap_or_default() {
            self.now = departure.at;
            let (bytes, to) = match &departure.what {
                Departed::Sent { bytes, to, .. } => (bytes, to),
                Departed::Stored(record) => {
                    self.on_stored(departure.node, record);
                    continue;
                }
                Departed::Told(_) => {
                    self.on_told(cast);
                    continue;
                }
                _ => unreachable!(),
            };
            self.counts.datagrams += 1;
            let outer = Outer::decode(bytes).expect("a machine sent what is not a message");
            let client = outer.client_id() as usize;
            let (pair, uplink) = match position(&cast.hubs, departure.node) {
                Some(hub) => ((client, hub), false),
                None => {
                    let skex_core::machine::Destination::Peer(hub) = to else {
                        panic!("a client answers a path")
                    };
                    assert_eq!(cast.clients[client], departure.node);
                    ((client, hub.number() as usize), true)
                }
            };
            self.on_datagram(cast, pair, uplink, &outer);
        }
        self.seen = departures.len();
    }

    fn on_stored(&mut self, node: NodeId, record: &[u8]) {
        let (header, _) = skex_core::record::decode(record).expect("a machine stored what is no record");
        let store = self.stores.entry((node, header.machine)).or_default();
        let number = store.checkpoints;
        store.checkpoints += 1;
        if self.gate.is_none_or(|(gated, from)| gated != node || number < from) {
            store.apply(record);
        }
    }

    /// What an application is told stands in the events, in the same order.
    fn on_told(&mut self, cast: &Cast) {
        let happened = &cast.world.events()[self.told];
        self.told += 1;
        let Either::Left(ClientEvent::KeyEstablished(established)) = &happened.event else { return };
        if established.role == Role::Responder {
            let key =
                [&[2], established.peer.as_bytes().as_slice(), established.key.id().as_bytes()].concat();
            self.depends(happened.node, &key, |_| true, "a key was given");
        }
    }

    /// What is durable at `node`: of each of its shards.
    fn stored(&self, node: NodeId) -> impl Iterator<Item = &Store> {
        self.stores.range((node, [0; 8])..=(node, [0xff; 8])).map(|(_, store)| store)
    }

    /// What just left `node` depends on this value of its store.
    fn depends(&mut self, node: NodeId, key: &[u8], good: impl Fn(&[u8]) -> bool, what: &str) {
        if !self.stored(node).any(|store| store.values.get(key).is_some_and(|value| good(value))) {
            self.charge(format!("{node:?}: {what} before that was durable"));
        }
    }

    /// The element before `end` of a table was spent by this end, as sender (`word` 0) or by a grant (`word` 1).
    fn depends_on_mark(
        &mut self,
        cast: &Cast,
        (client, hub): Pair,
        from_client: bool,
        (word, table): (usize, u16),
        end: u32,
    ) {
        let (node, key) = if from_client {
            (cast.clients[client], [&[1], cast.hub_ids[hub].as_bytes().as_slice()].concat())
        } else {
            (cast.hubs[hub], [&[1], (client as u32).to_be_bytes().as_slice()].concat())
        };
        // The table's direction: a sender's own, a granter's other.
        let uplink = from_client == (word == 0);
        let reaches = |value: &[u8]| {
            assert_eq!(value.len() % 15, 0, "entries of 15 octets");
            value.chunks(15).any(|entry| {
                let (direction, number) = (entry[0] & 0x3f, u16::from_be_bytes([entry[1], entry[2]]));
                let mark = u32::from_be_bytes(*entry[3..].first_chunk::<4>().unwrap());
                (direction == 0) == uplink && number == table && mark >= end
            })
        };
        self.depends(node, &key, reaches, ["a share or a request", "a grant"][word]);
    }

    fn on_datagram(&mut self, cast: &Cast, pair: Pair, from_client: bool, outer: &Outer<'_>) {
        let initial = &cast.enrolments[pair.1][pair.0].initial_key;
        let link = self.links.entry(pair).or_default();
        match outer {
            Outer::Hello(hello) => {
                link.client_salts.insert(hello.message.salt);
            }
            Outer::HelloReply(reply) => {
                let key =
                    keys(initial).secret::<32>(Label::DSKE_HELLO_REPLY, &[cast.hub_ids[pair.1].as_bytes()]);
                let key = suite().mac_key(key.expose());
                let asked = link
                    .client_salts
                    .iter()
                    .find(|salt| key.verify(&[salt.as_slice(), reply.untagged], &reply.tag).is_ok());
                let salts = [*asked.expect("a reply to no hello"), reply.message.salt];
                if !link.sessions.iter().any(|session| session.salts == salts) {
                    link.sessions.push(Session::new(cast, pair, salts));
                }
            }
            Outer::Sealed(sealed) => {
                let mut sessions = link.sessions.iter_mut().rev();
                let found = sessions.find_map(|session| Some((session.open(sealed, from_client)?, session)));
                let Some((inner, session)) = found else {
                    return self.charge(format!("{pair:?}: a datagram under an unknown envelope"));
                };
                let salts = session.salts;
                let last = &mut session.last[usize::from(!from_client)];
                if last.replace(sealed.header.seq) >= Some(sealed.header.seq) {
                    self.charge(format!("{pair:?}: two datagrams under one key and number, or out of order"));
                }
                let length = sealed.header.sealed_len(inner.len());
                let each = each_alone(&inner);
                if each.len() > 1 && length > DATAGRAM {
                    self.charge(format!("{pair:?}: several messages in {length} octets"));
                }
                each.iter().for_each(|inner| self.on_inner(cast, pair, from_client, inner, salts));
            }
            _ => {}
        }
    }

    fn on_inner(&mut self, cast: &Cast, pair: Pair, from_client: bool, octets: &[u8], salts: [[u8; 16]; 2]) {
        let inner = Inner::decode(octets).expect("a machine sealed what is not a message");
        match &inner {
            Inner::LeaseRequest(request) => {
                // The mark that it moves, up to the end of the table.
                let table = (pair, from_client, request.table);
                let elements = original(cast, table, |octets| octets.len() / ELEMENT_LEN) as u32;
                let mark = request.mark.saturating_add(request.want).min(elements);
                self.depends_on_mark(cast, pair, from_client, (0, request.table), mark);
            }
            Inner::LeaseGrant(grant) => {
                self.counts.grants += 1;
                let start = grant.message.start;
                let table = (pair, !from_client, grant.message.table);
                self.uses(table, start..start + 2, octets);
                self.verify(cast, table, start, from_client, grant.untagged, grant.tag);
                self.depends_on_mark(cast, pair, from_client, (1, grant.message.table), grant.message.end);
            }
            Inner::Share(share) => self.on_share(cast, pair, from_client, octets, share, salts),
            Inner::Answer(answer) => {
                self.counts.answers += 1;
                let Answer { index, number, .. } = answer.message;
                let table = (pair, !from_client, answer.message.table);
                match number {
                    None => {
                        self.uses(table, index..index + 2, octets);
                        self.verify(cast, table, index, from_client, answer.untagged, answer.tag);
                    }
                    Some(number) => self.on_sealed_answer(cast, table, number, octets, answer),
                }
                let Some(&(initiator, key_id)) = self.blocks.get(&(table, index, number)) else {
                    if self.is_adversarys(pair) {
                        return;
                    }
                    return self.charge(format!("{table:?}: an answer to no share at {index}"));
                };
                if answer.message.status == AnswerStatus::ACCEPTED {
                    let (node, first) = if from_client {
                        (cast.clients[pair.0], cast.tags[initiator].as_bytes().to_vec())
                    } else {
                        (cast.hubs[pair.1], (initiator as u32).to_be_bytes().to_vec())
                    };
                    let key = [&[2], first.as_slice(), key_id.as_bytes()].concat();
                    self.depends(node, &key, |_| true, "a share was accepted");
                }
            }
            Inner::Command(command) => {
                let Command { table, index, .. } = command.message;
                let of = (pair, true, table);
                // The two elements at its head are the outcome's.
                self.uses(of, index + 2..index + 4, octets);
                self.verify(cast, of, index + 2, from_client, command.untagged, command.tag);
                self.depends_on_mark(cast, pair, from_client, (0, table), index + 4);
                self.commands.insert((of, index), octets.to_vec());
            }
            Inner::Outcome(outcome) => self.on_outcome(cast, pair, octets, outcome),
            _ => {}
        }
    }

    fn on_outcome(&mut self, cast: &Cast, pair: Pair, octets: &[u8], outcome: &Tagged<'_, Outcome<'_>>) {
        self.counts.outcomes += 1;
        let Outcome { table: number, index, status, .. } = outcome.message;
        let of = (pair, true, number);
        self.uses(of, index..index + 2, octets);
        self.verify(cast, of, index, false, outcome.untagged, outcome.tag);
        let Some(command) = self.commands.get(&(of, index)).cloned() else {
            if self.is_adversarys(pair) {
                return;
            }
            return self.charge(format!("{of:?}: an outcome of no command at {index}"));
        };
        if status != OutcomeStatus::DONE {
            return;
        }
        let (node, client) = (cast.hubs[pair.1], (pair.0 as u32).to_be_bytes());
        let stored = |kind: u8, more: &[u8]| [&[kind], client.as_slice(), more].concat();
        let Command { body, .. } = Command::decode(&command).unwrap().message;
        // What it says of the store, or what a later one says of the same: one record may carry both.
        let says = |octets: &[u8]| match Command::decode(octets).unwrap().message.body {
            CommandBody::Publish(offer) => {
                let mut offers = self.stored(node).filter_map(|store| store.values.get(&stored(5, &[])));
                match offer {
                    Some(_) => offers.any(|stored| octets[11..].starts_with(stored)),
                    None => offers.next().is_none(),
                }
            }
            CommandBody::Withdraw(key_id) => {
                // The share is not in it any more; or, in shards, none is taken that may still be on its way. Once the lifetime is over, nothing.
                let making = self.keys.get(&(pair.0, KeyId::new(key_id)));
                let is_over = making.is_some_and(|making| self.now >= making.ends);
                let short = |relay: &Vec<u8>| relay.len() < 80;
                is_over
                    || self.stored(node).any(|store| {
                        store.values.contains_key(&stored(10, &key_id))
                            || store.values.get(&stored(2, &key_id)).is_some_and(short)
                    })
            }
            CommandBody::Authorise { client, allowed } => {
                let mut lists =
                    self.stored(node).filter_map(|store| store.values.get(&stored(4, &[]))).peekable();
                let says = |value: &Vec<u8>| {
                    (value[0] == 0) == (value[1..].chunks(16).any(|tag| tag == client) == allowed)
                };
                (lists.peek().is_none() && allowed) || lists.any(says)
            }
            _ => true,
        };
        let is_of_the_same = |later: &[u8]| match (Command::decode(later).unwrap().message.body, &body) {
            (CommandBody::Publish(_), CommandBody::Publish(_)) => true,
            (CommandBody::Authorise { client, .. }, CommandBody::Authorise { client: again, .. }) => {
                client == *again
            }
            _ => false,
        };
        let later = self.commands.iter().filter(|&(&((of, way, table), at), octets)| {
            (of, way) == (pair, true) && (table, at) > (number, index) && is_of_the_same(octets)
        });
        if !says(&command) && !later.into_iter().any(|(_, octets)| says(octets)) {
            self.charge(format!("{node:?}: a command was done before that was durable"));
        }
    }

    fn on_share(
        &mut self,
        cast: &Cast,
        pair: Pair,
        upload: bool,
        octets: &[u8],
        share: &Tagged<'_, ShareMessage<'_>>,
        salts: [[u8; 16]; 2],
    ) {
        let message = &share.message;
        let uploads = [InnerType::UPLOAD, InnerType::UPLOAD_SEALED];
        assert_eq!(upload, uploads.contains(&message.inner_type));
        let terms = &message.terms;
        let start = message.position.index;
        let table = (pair, upload, message.position.table);
        let (plain, elements) = match message.position.number {
            None => {
                assert_eq!(terms.suite, DskeSuiteId::ITS);
                let elements = block_elements(terms.key_len).unwrap();
                // The two elements at its head are the answer's.
                self.uses(table, start + 2..start + elements, octets);
                self.verify(cast, table, start + 2, upload, share.untagged, share.tag);
                let plain: Vec<u8> = original(cast, table, |octets| {
                    let pad = (start as usize + 4) * ELEMENT_LEN..(start + elements) as usize * ELEMENT_LEN;
                    match message.share {
                        [] => octets[pad].to_vec(),
                        masked => octets[pad].iter().zip(masked).map(|(pad, octet)| pad ^ octet).collect(),
                    }
                });
                (plain, elements)
            }
            Some(number) => (self.on_sealed_share(cast, table, number, octets, share, salts), 4),
        };
        let coordinate = pair.1 as u8 + 1;
        let peer = ClientTag::new(message.peer);
        let key_id = KeyId::new(message.key_id);
        self.depends_on_mark(cast, pair, upload, (0, message.position.table), start + elements);
        let initiator = if upload { Some(pair.0) } else { cast.tags.iter().position(|&tag| tag == peer) };
        let initiator = initiator.expect("an enrolled initiator");
        self.blocks.insert((table, start, message.position.number), (initiator, key_id));
        if upload {
            self.counts.uploads += 1;
            let of_key = (terms.coordinates.to_vec(), message.secret_tag);
            self.terms.insert((pair.0, key_id), of_key);
            let making = self.keys.entry((pair.0, key_id)).or_insert_with(|| Making {
                responder: peer,
                threshold: terms.threshold,
                key_len: terms.key_len as usize,
                ends: self.now.saturating_add(Duration::from_secs(u64::from(terms.lifetime))),
                uploaded: BTreeMap::new(),
                delivered: BTreeSet::new(),
                refilled: [false; 2],
            });
            making.refilled[0] |= is_refill(cast, table);
            let earlier = making.uploaded.insert(coordinate, plain.clone());
            if making.responder != peer || earlier.is_some_and(|earlier| earlier != plain) {
                self.charge(format!("{pair:?}: another share or peer under one name"));
            }
        } else {
            self.counts.deliveries += 1;
            let by_the_adversary = self.is_adversarys((initiator, pair.1));
            match self.keys.get_mut(&(initiator, key_id)) {
                Some(making) if making.responder == cast.tags[pair.0] => {
                    making.delivered.insert(coordinate);
                    making.refilled[1] |= is_refill(cast, table);
                }
                None if by_the_adversary => {}
                _ => self.charge(format!("{pair:?}: a share for somebody else, or that nobody uploaded")),
            }
        }
    }

    /// A share under an epoch's key. What it is in clear.
    fn on_sealed_share(
        &mut self,
        cast: &Cast,
        table: TableOf,
        number: u8,
        octets: &[u8],
        share: &Tagged<'_, ShareMessage<'_>>,
        salts: [[u8; 16]; 2],
    ) -> Vec<u8> {
        self.counts.sealed += 1;
        let (suite, index) = (share.message.terms.suite, share.message.position.index);
        // The block serves the epoch as a whole: it is the keys of all its messages, and of nothing else.
        self.uses(table, index..index + 4, &[b"epoch".as_slice(), &[suite.value()]].concat());
        let epoch = self.epochs.entry((table, index)).or_insert_with(|| Epoch {
            suite,
            salts,
            shares: BTreeMap::new(),
            answers: BTreeMap::new(),
        });
        self.counts.epochs += u64::from(epoch.shares.is_empty());
        let same = epoch.shares.entry(number).or_insert_with(|| octets.to_vec()) == octets;
        let lives_on = epoch.salts != salts;
        if !same {
            self.charge(format!("{table:?}: two shares under number {number} of the epoch at {index}"));
        }
        if lives_on {
            self.charge(format!("{table:?}: the epoch at {index} outlives its session"));
        }
        let head = &share.untagged[..share.message.head_len()];
        let aad = [&prefix(cast, table.0, table.1), head].concat();
        let mut plain = share.message.share.to_vec();
        let key = epoch_key(cast, table, index, suite, Label::DSKE_EPOCH_SHARES);
        if aead(suite).open(&key, &nonce(number), &aad, &mut plain, &share.tag).is_err() {
            self.charge(format!("{table:?}: number {number} of the epoch at {index} does not open"));
        }
        plain
    }

    /// An answer under an epoch's other key.
    fn on_sealed_answer(
        &mut self,
        cast: &Cast,
        table: TableOf,
        number: u8,
        octets: &[u8],
        answer: &Tagged<'_, Answer<'_>>,
    ) {
        self.counts.sealed += 1;
        let index = answer.message.index;
        let Some(epoch) = self.epochs.get_mut(&(table, index)) else {
            return self.charge(format!("{table:?}: an answer in no epoch at {index}"));
        };
        let suite = epoch.suite;
        if epoch.answers.entry(number).or_insert_with(|| octets.to_vec()) != octets {
            self.charge(format!("{table:?}: two answers under number {number} of the epoch at {index}"));
        }
        let aad = [&prefix(cast, table.0, !table.1), answer.untagged].concat();
        let key = epoch_key(cast, table, index, suite, Label::DSKE_EPOCH_ANSWERS);
        if aead(suite).open(&key, &nonce(number), &aad, &mut [], &answer.tag).is_err() {
            self.charge(format!("{table:?}: answer {number} in the epoch at {index} is not authentic"));
        }
    }

    /// What was uploaded of a key, as every one of its hubs knows it: its terms, and the secret tag.
    pub fn terms_of(cast: &Cast, initiator: usize, key_id: KeyId) -> (Vec<u8>, [u8; 16]) {
        let mut oracle = Self::default();
        oracle.watch(cast);
        oracle.terms.remove(&(initiator, key_id)).expect("no share of that key was uploaded")
    }

    /// Elements `range` of `table` left in the service of this message.
    fn uses(&mut self, table: TableOf, range: core::ops::Range<u32>, octets: &[u8]) {
        let new = self.messages.len();
        let mut repeats = false;
        for element in range {
            match self.uses.get(&(table, element)) {
                None => {
                    self.uses.insert((table, element), new);
                }
                Some(&before) if self.messages[before] == octets => repeats = true,
                Some(&before) => {
                    let before = self.messages[before].clone();
                    let (was, is) = (before.first(), octets.first());
                    return self.charge(format!(
                        "{table:?}: element {element} served a message of type {was:?} and another of type {is:?}"
                    ));
                }
            }
        }
        self.counts.repeats += u64::from(repeats);
        self.messages.push(octets.to_vec());
    }

    /// The one-time key at `place` of the original table made this tag.
    fn verify(
        &mut self,
        cast: &Cast,
        table: TableOf,
        place: u32,
        from_client: bool,
        untagged: &[u8],
        tag: [u8; 16],
    ) {
        let (client, hub) = table.0;
        let direction = if from_client { Direction::UPLINK } else { Direction::DOWNLINK };
        let prefix = tag_prefix(direction, client as u32, cast.hub_ids[hub].as_bytes());
        let at = place as usize * ELEMENT_LEN;
        let key =
            original(cast, table, |octets| *octets[at..].first_chunk::<32>().expect("inside the table"));
        let key = MessageVerificationKey::from_pad(&key).expect("no table of zeros");
        if !key.verify(&[&prefix, untagged], &Tag::from_bytes(tag)) {
            self.charge(format!("{table:?}: the tag at {place} is not that table's"));
        }
    }

    fn judge_keys(&mut self, cast: &Cast) {
        let mut given: BTreeMap<(NodeId, Name), Vec<Instant>> = BTreeMap::new();
        for happened in cast.world.events() {
            let Either::Left(ClientEvent::KeyEstablished(established)) = &happened.event else { continue };
            self.counts.keys += 1;
            let client = position(&cast.clients, happened.node).expect("hubs are told no keys");
            let peer = cast.tags.iter().position(|&tag| tag == established.peer).expect("an enrolled peer");
            let (initiator, responder) = match established.role {
                Role::Initiator => (client, peer),
                Role::Responder => (peer, client),
                _ => unreachable!(),
            };
            let name = (initiator, established.key.id());
            let Some(making) = self.keys.get(&name) else {
                self.charge(format!("{name:?}: a key of which no share was uploaded"));
                continue;
            };
            let threshold = usize::from(making.threshold);
            // What hubs in the adversary's hand deliver goes unseen: as if they did.
            let unseen =
                (0..cast.hubs.len()).filter(|&hub| client == responder && self.is_adversarys((client, hub)));
            let seen = if client == initiator { making.uploaded.len() } else { making.delivered.len() };
            let parts = seen + unseen.count();
            let right = making.responder == cast.tags[responder];
            let points: Option<Vec<(Coordinate, &[u8])>> = (making.uploaded.iter().take(threshold))
                .map(|(&x, share)| Some((Coordinate::new(x)?, share.as_slice())))
                .collect();
            let made = points.filter(|points| points.len() == threshold).map(|points| {
                let mut block = vec![0; points[0].1.len()];
                combine(making.threshold, &points, &mut block).unwrap();
                block[48..48 + making.key_len].to_vec()
            });
            let same = made.as_deref() == Some(established.key.secret().expose());
            // Before it is confirmed, a key says what the initiator's own tables are worth.
            let refilled = making.refilled[0] || established.confirmed && making.refilled[1];
            let overstated = refilled && established.key.assurance() == Assurance::InformationTheoretic;
            if parts < threshold || !right || !same {
                self.charge(format!(
                    "{name:?} at client {client}: {parts} of {threshold} parts, right responder: {right}, right key: {same}"
                ));
            }
            if overstated {
                self.charge(format!("{name:?}: claims more than the tables of its shares"));
            }
            let times = given.entry((happened.node, name)).or_default();
            if let Some(&before) = times.last() {
                let boots = cast.boots.borrow();
                let mut since = boots.iter().filter(|(node, at)| *node == happened.node && *at >= before);
                if established.role == Role::Initiator || since.next().is_none() {
                    self.charge(format!("{name:?}: given twice to client {client}"));
                }
            }
            times.push(happened.at);
        }
    }
}

impl Store {
    fn apply(&mut self, record: &[u8]) {
        let (_, body) = skex_core::record::decode(record).expect("a machine stored what is no record");
        let mut body = Reader::new(body);
        if body.u8().unwrap() == 1 {
            self.values.clear();
        }
        while !body.is_empty() {
            let key = body.prefixed_u8().unwrap().to_vec();
            match body.u32().unwrap() {
                u32::MAX => {
                    self.values.remove(&key);
                }
                len => {
                    self.values.insert(key, body.take(len as usize).unwrap().to_vec());
                }
            }
        }
    }
}

impl Session {
    fn new(cast: &Cast, pair: Pair, salts: [[u8; 16]; 2]) -> Self {
        let (client, hub) = pair;
        let secret = extract(suite(), salts.as_flattened(), &[&cast.enrolments[hub][client].initial_key]);
        let expander = Expander::new(suite(), &secret);
        let number = (client as u32).to_be_bytes();
        let context: [&[u8]; 2] = [&number, cast.hub_ids[hub].as_bytes()];
        Self {
            salts,
            to_hub: expander.secret(Label::DSKE_ENVELOPE_TO_HUB, &context),
            to_client: expander.secret(Label::DSKE_ENVELOPE_TO_CLIENT, &context),
            last: [None; 2],
        }
    }

    fn open(&self, sealed: &Sealed<'_>, from_client: bool) -> Option<Vec<u8>> {
        let key = if from_client { &self.to_hub } else { &self.to_client };
        let mut inner = sealed.ciphertext.to_vec();
        suite().open(key, &sealed.header.nonce(), sealed.aad, &mut inner, &sealed.tag).ok()?;
        Some(inner)
    }
}

fn prefix(cast: &Cast, (client, hub): Pair, uplink: bool) -> [u8; 21] {
    let direction = if uplink { Direction::UPLINK } else { Direction::DOWNLINK };
    tag_prefix(direction, client as u32, cast.hub_ids[hub].as_bytes())
}

/// A key of the epoch whose block begins at `index`, from the specification: its first two elements make the answers'
/// key, the next two the shares'.
pub fn epoch_key(cast: &Cast, table: TableOf, index: u32, of: DskeSuiteId, label: Label) -> SecretBytes<32> {
    let place = if label == Label::DSKE_EPOCH_ANSWERS { index } else { index + 2 };
    let place = place as usize * ELEMENT_LEN..(place as usize + 2) * ELEMENT_LEN;
    let key =
        original(cast, table, |octets| SecretBytes::<32>::copied_from(octets[place].first_chunk().unwrap()));
    let prefix = prefix(cast, table.0, table.1);
    let (table, index) = (table.2.to_be_bytes(), index.to_be_bytes());
    Expander::from_key(suite(), key.expose()).secret(label, &[&prefix, &[of.value()], &table, &index])
}

/// A suite with the AEAD of this suite of keys.
pub fn aead(of: DskeSuiteId) -> Suite {
    let same = match of {
        DskeSuiteId::AES256GCM => SuiteId::SHA256_AES256GCM,
        DskeSuiteId::CHACHA20POLY1305 => SuiteId::SHA256_CHACHA20POLY1305,
        other => panic!("{other:?} has no epochs"),
    };
    Suite::from_id(same).unwrap()
}

pub fn nonce(number: u8) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[11] = number;
    nonce
}

fn suite() -> Suite {
    Suite::from_id(SuiteId::SHA256_AES256GCM).unwrap()
}

fn keys(initial: &[u8; 32]) -> Expander {
    Expander::new(suite(), &extract(suite(), &[], &[initial]))
}

/// What `read` makes of the octets of a table as they were provisioned.
fn original<T>(cast: &Cast, ((client, hub), uplink, number): TableOf, read: impl FnOnce(&[u8]) -> T) -> T {
    let further = cast.further.borrow();
    let own = |table: &&Further| {
        (table.client, table.hub, table.uplink, table.number) == (client, hub, uplink, number)
    };
    if let Some(table) = further.iter().find(own) {
        return read(&table.octets);
    }
    assert_eq!(number, 0, "a table that nobody provisioned");
    let enrolment = &cast.enrolments[hub][client];
    read(if uplink { &enrolment.uplink } else { &enrolment.downlink })
}

fn is_refill(cast: &Cast, ((client, hub), uplink, number): TableOf) -> bool {
    let further = cast.further.borrow();
    let is_it = |table: &&Further| {
        (table.client, table.hub, table.uplink, table.number) == (client, hub, uplink, number)
    };
    further.iter().find(is_it).is_some_and(|table| table.origin == Origin::Refill)
}

fn position(nodes: &[NodeId], node: NodeId) -> Option<usize> {
    nodes.iter().position(|&other| other == node)
}
