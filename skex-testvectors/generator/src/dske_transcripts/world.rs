//! Real clients and hubs, driven step by step, with everything written down.

use core::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::{Value, json};
use skex_core::machine::{Checkpoint, Destination, Disposition, Instant, Output, PathId, PeerHandle};
use skex_core::{Assurance, KeyId, SecretBytes};
use skex_dske::{
    Authorised, Client, ClientConfig, ClientEvent, ClientId, ClientTag, Conduct, Coordinate, Hub, HubClient,
    HubConfig, HubEvent, HubId, HubLink, KeyError, KeyRequest, KeySuite, Origin, Pad, PadError, PeerOffer,
    Record, ResponderPolicy, Role, Table,
};
use skex_sim::Tape;
use skex_wire::SuiteId;
use skex_wire::dske::Direction;

use super::TAPE;
use super::witness::Witness;
use crate::file::hex;

/// Clients before hubs; a client's number at every hub is its place here.
pub(super) const NAMES: [&str; 2] = ["alice", "bob"];
pub(super) const ALICE: usize = 0;
pub(super) const BOB: usize = 1;

/// What a test chooses.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) envelope: u8,
    pub(super) hubs: usize,
    pub(super) elements: u32,
    /// What the hubs relay.
    pub(super) suites: Vec<KeySuite>,
    /// Bob's.
    pub(super) minimum_threshold: u8,
    pub(super) longest_lifetime: u16,
    /// Bob's: the least assurance.
    pub(super) information_theoretic: bool,
    /// So many hubs, the first ones, add something to every share that they deliver.
    pub(super) liars: usize,
    /// So many hubs, the last ones, have no link with bob.
    pub(super) hubs_without_bob: usize,
    /// Whether the hubs let alice ask bob for keys.
    pub(super) authorised: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            envelope: 1,
            hubs: 2,
            elements: 64,
            suites: KeySuite::ALL.to_vec(),
            minimum_threshold: 2,
            longest_lifetime: u16::MAX,
            information_theoretic: false,
            liars: 0,
            hubs_without_bob: 0,
            authorised: true,
        }
    }
}

/// A table outside the machine: what a file is to a process.
#[derive(Clone)]
pub(super) struct SharedPad(Rc<RefCell<Vec<u8>>>);

impl SharedPad {
    fn new(octets: &[u8]) -> Self {
        Self(Rc::new(RefCell::new(octets.to_vec())))
    }
}

impl Pad for SharedPad {
    fn elements(&self) -> u32 {
        (self.0.borrow().len() / 16) as u32
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        let start = index as usize * 16;
        out.copy_from_slice(self.0.borrow().get(start..start + out.len()).ok_or(PadError::OutOfRange)?);
        Ok(())
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        let range = index as usize * 16..(index + elements) as usize * 16;
        self.0.borrow_mut().get_mut(range).ok_or(PadError::OutOfRange)?.fill(0);
        Ok(())
    }
}

enum Machine {
    Client(Client<SharedPad>),
    Hub(Hub<SharedPad>),
}

/// Runs a method that both machines have.
macro_rules! both {
    ($machine:expr, $call:ident ( $($argument:expr),* )) => {
        match $machine {
            Machine::Client(machine) => machine.$call($($argument),*).expect("never an error"),
            Machine::Hub(machine) => machine.$call($($argument),*).expect("never an error"),
        }
    };
}

struct End {
    machine: Option<Machine>,
    records: Vec<Vec<u8>>,
    tape: Tape,
    deadline: Option<u64>,
}

/// A table of a link as both ends got it. What is made of it later is in the copies.
pub(super) struct Provisioned {
    pub(super) client: usize,
    pub(super) hub: usize,
    /// 0 uplink, 1 downlink.
    pub(super) direction: u8,
    pub(super) number: u16,
    pub(super) origin: u8,
    pub(super) octets: Vec<u8>,
    at_client: SharedPad,
    at_hub: SharedPad,
    /// Whether the client has it: of a refill, once it came.
    with_client: bool,
    /// Whether the hub has it; a refill it has from the beginning.
    with_hub: bool,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) octets: Vec<u8>,
}

impl Flight {
    pub(super) fn link(&self) -> (usize, usize) {
        (self.from.min(self.to), self.from.max(self.to))
    }

    pub(super) fn direction(&self) -> u8 {
        u8::from(self.from > self.to)
    }
}

/// What an end drew at once.
pub(super) struct Draw {
    pub(super) end: usize,
    pub(super) step: usize,
    pub(super) octets: Vec<u8>,
    /// Of a client, whether it has a session with each hub, once the step was done.
    pub(super) connected: Vec<bool>,
}

/// A key that somebody asked for.
pub(super) struct Asked {
    pub(super) initiator: usize,
    pub(super) responder: usize,
    pub(super) id: Vec<u8>,
    pub(super) wanted: KeyRequest,
}

pub(super) struct World {
    pub(super) options: Options,
    ends: Vec<End>,
    initial_keys: Vec<Vec<u8>>,
    /// Links and the initial keys that they were given later, in this order.
    further_keys: Vec<((usize, usize), Vec<u8>)>,
    /// What lying hubs add.
    errors: Vec<(usize, Vec<u8>)>,
    /// What the last look-up found.
    pub(super) offer: Option<PeerOffer>,
    pub(super) tables: Vec<Provisioned>,
    pub(super) now: u64,
    pub(super) steps: Vec<Value>,
    /// Every message that was sent, with the step in which it was.
    pub(super) sent: Vec<(usize, Flight)>,
    pub(super) draws: Vec<Draw>,
    pub(super) asked: Vec<Asked>,
    /// Key id and key.
    pub(super) given: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) flying: VecDeque<Flight>,
    /// A table that came to a client and is not added yet.
    came: Option<(usize, usize, u8, u16, Vec<u8>)>,
    pub(super) accepted: bool,
}

pub(super) fn tag(client: usize) -> [u8; 16] {
    [0xc0 + client as u8; 16]
}

pub(super) fn hub_id(hub: usize) -> [u8; 16] {
    [0xb0 + hub as u8 - 1; 16]
}

/// Coordinates are not the places of the hubs in anybody's list: 3, 5, 7, ...
pub(super) fn coordinate(hub: usize) -> u8 {
    2 * hub as u8 - 1
}

fn direction(number: u8) -> Direction {
    if number == 0 { Direction::UPLINK } else { Direction::DOWNLINK }
}

fn origin(number: u8) -> Origin {
    if number == 0 { Origin::OutOfBand } else { Origin::Refill }
}

pub(super) fn assurance(information_theoretic: bool) -> Assurance {
    if information_theoretic { Assurance::InformationTheoretic } else { Assurance::Computational }
}

impl World {
    /// Everybody before the first start. `octets` gives a link's initial key and two tables, by link; `tapes` are longer than
    /// is needed.
    pub(super) fn new(
        options: Options,
        links: &[[Vec<u8>; 3]],
        tapes: Vec<Vec<u8>>,
        errors: Vec<(usize, Vec<u8>)>,
    ) -> Self {
        let mut tables = Vec::new();
        for (place, [_, up, down]) in links.iter().enumerate() {
            for (direction, octets) in [(0, up), (1, down)] {
                tables.push(Provisioned {
                    client: place / options.hubs,
                    hub: 2 + place % options.hubs,
                    direction,
                    number: 0,
                    origin: 0,
                    octets: octets.clone(),
                    at_client: SharedPad::new(octets),
                    at_hub: SharedPad::new(octets),
                    with_client: true,
                    with_hub: true,
                });
            }
        }
        let end =
            |octets| End { machine: None, records: Vec::new(), tape: Tape::new(octets), deadline: None };
        Self {
            options,
            ends: tapes.into_iter().map(end).collect(),
            initial_keys: links.iter().map(|[key, ..]| key.clone()).collect(),
            further_keys: Vec::new(),
            errors,
            offer: None,
            tables,
            now: 0,
            steps: Vec::new(),
            sent: Vec::new(),
            draws: Vec::new(),
            asked: Vec::new(),
            given: Vec::new(),
            flying: VecDeque::new(),
            came: None,
            accepted: false,
        }
    }

    pub(super) fn hubs(&self) -> core::ops::Range<usize> {
        2..2 + self.options.hubs
    }

    /// The hubs that a client has links with.
    pub(super) fn hubs_with(&self, client: usize) -> core::ops::Range<usize> {
        let without = if client == BOB { self.options.hubs_without_bob } else { 0 };
        2..2 + self.options.hubs - without
    }

    pub(super) fn name(&self, end: usize) -> String {
        NAMES.get(end).map_or_else(|| format!("hub-{}", end - 1), |name| (*name).to_owned())
    }

    /// What an end drew until now.
    pub(super) fn random(&self, end: usize) -> &[u8] {
        self.ends[end].tape.drawn()
    }

    pub(super) fn initial_key(&self, client: usize, hub: usize) -> &[u8] {
        &self.initial_keys[client * self.options.hubs + hub - 2]
    }

    /// All initial keys that a link was ever given.
    pub(super) fn initial_keys(&self, link: (usize, usize)) -> Vec<&[u8]> {
        let further = self.further_keys.iter().filter(|(of, _)| *of == link).map(|(_, key)| &key[..]);
        core::iter::once(self.initial_key(link.0, link.1)).chain(further).collect()
    }

    /// What a lying hub adds to every share that it delivers.
    pub(super) fn error(&self, hub: usize) -> Option<&[u8]> {
        self.errors.iter().find(|(liar, _)| *liar == hub).map(|(_, error)| &error[..])
    }

    fn key_of_link(&self, client: usize, hub: usize) -> SecretBytes<32> {
        SecretBytes::try_copied_from(self.initial_key(client, hub)).expect("32 octets")
    }

    /// The tables of a link that one end has: the first of each direction, and the others.
    fn tables_of(&self, client: usize, hub: usize, at_client: bool) -> [Vec<Table<SharedPad>>; 2] {
        [0, 1].map(|way| {
            let of_link = |table: &&Provisioned| {
                (table.client, table.hub, table.direction) == (client, hub, way)
                    && (if at_client { table.with_client } else { table.with_hub })
            };
            let pad =
                |table: &Provisioned| if at_client { table.at_client.clone() } else { table.at_hub.clone() };
            let table = |table: &Provisioned| Table::new(table.number, origin(table.origin), pad(table));
            self.tables.iter().filter(of_link).map(table).collect()
        })
    }

    fn client_config(&self, client: usize) -> ClientConfig<SharedPad> {
        let suite = SuiteId::new(self.options.envelope);
        let mut further = Vec::new();
        let mut links = Vec::new();
        for hub in self.hubs_with(client) {
            let id = HubId::new(hub_id(hub));
            let [mut up, mut down] = self.tables_of(client, hub, true);
            links.push(HubLink {
                hub: id,
                coordinate: Coordinate::new(coordinate(hub)).expect("not zero"),
                handle: PeerHandle::new(hub as u32),
                client: ClientId::new(client as u32),
                suite,
                initial_key: self.key_of_link(client, hub),
                uplink: up.remove(0),
                downlink: down.remove(0),
            });
            further.extend(up.into_iter().map(|table| (id, Direction::UPLINK, table)));
            further.extend(down.into_iter().map(|table| (id, Direction::DOWNLINK, table)));
        }
        let peers = vec![ClientTag::new(tag(1 - client))];
        let mut config = ClientConfig::new(ClientTag::new(tag(client)), links, peers).expect("good options");
        let mut policy = ResponderPolicy::default();
        if client == BOB {
            policy.minimum_threshold = self.options.minimum_threshold;
            policy.maximum_lifetime = self.options.longest_lifetime;
            policy.minimum_assurance = assurance(self.options.information_theoretic);
        }
        config = config.with_policy(policy).expect("a good policy");
        for (hub, direction, table) in further {
            config = config.with_table(hub, direction, table).expect("a good table");
        }
        config
    }

    fn hub_config(&self, hub: usize) -> HubConfig<SharedPad> {
        let mut further = Vec::new();
        let mut clients = Vec::new();
        for client in [ALICE, BOB].into_iter().filter(|client| self.hubs_with(*client).contains(&hub)) {
            let id = ClientId::new(client as u32);
            let [mut up, mut down] = self.tables_of(client, hub, false);
            clients.push(HubClient {
                client: id,
                tag: ClientTag::new(tag(client)),
                suite: SuiteId::new(self.options.envelope),
                initial_key: self.key_of_link(client, hub),
                uplink: up.remove(0),
                downlink: down.remove(0),
                authorised: if self.options.authorised {
                    Authorised::Everyone
                } else {
                    Authorised::Only(Vec::new())
                },
            });
            further.extend(up.into_iter().map(|table| (id, Direction::UPLINK, table)));
            further.extend(down.into_iter().map(|table| (id, Direction::DOWNLINK, table)));
        }
        let at = Coordinate::new(coordinate(hub)).expect("not zero");
        let mut config = HubConfig::new(HubId::new(hub_id(hub)), at, clients).expect("good options");
        config = config.with_suites(&self.options.suites).expect("all are compiled in");
        for (client, name) in
            NAMES.iter().enumerate().filter(|(client, _)| self.hubs_with(*client).contains(&hub))
        {
            config = config.with_name(ClientId::new(client as u32), name.as_bytes()).expect("a good name");
        }
        for (client, direction, table) in further {
            config = config.with_table(client, direction, table).expect("a good table");
        }
        config
    }

    // ---- inputs

    /// Starts an end, from what it stored; what was in memory is lost.
    pub(super) fn start(&mut self, end: usize) {
        let (now, records) = (Instant::from_millis(self.now), self.ends[end].records.clone());
        let machine = if end < 2 {
            let config = self.client_config(end);
            let tape = &mut self.ends[end].tape;
            Machine::Client(Client::restore(config, &records, now, tape).expect("good records"))
        } else {
            let config = self.hub_config(end);
            let tape = &mut self.ends[end].tape;
            Machine::Hub(Hub::restore(config, &records, now, tape).expect("good records"))
        };
        self.ends[end].machine = Some(machine);
        self.finish(end, started(&records));
    }

    pub(super) fn is_up(&self, end: usize) -> bool {
        self.ends[end].machine.is_some()
    }

    /// What an end stored.
    pub(super) fn records(&self, end: usize) -> Vec<Vec<u8>> {
        self.ends[end].records.clone()
    }

    /// An end that is down is to start from records that it must refuse.
    pub(super) fn refuse_start(&mut self, end: usize, records: &[Vec<u8>]) {
        let (now, tape) = (Instant::from_millis(self.now), &mut Tape::new([0; TAPE]));
        let is_refused = if end < 2 {
            Client::restore(self.client_config(end), records, now, tape).is_err()
        } else {
            Hub::restore(self.hub_config(end), records, now, tape).is_err()
        };
        assert!(is_refused, "it starts from damaged records");
        self.steps.push(json!({
            "end": self.name(end),
            "time": self.now,
            "input": started(records),
            "draws": [],
            "outputs": [],
            "deadline": null,
        }));
    }

    /// An end is gone, and hears nothing.
    pub(super) fn stop(&mut self, end: usize) {
        self.ends[end].machine = None;
        self.ends[end].deadline = None;
        self.flying.retain(|flight| flight.to != end);
    }

    pub(super) fn client(
        &mut self,
        client: usize,
    ) -> (&mut Client<SharedPad>, &mut dyn rand_core::CryptoRng, Instant) {
        let now = Instant::from_millis(self.now);
        let End { machine: Some(Machine::Client(machine)), tape, .. } = &mut self.ends[client] else {
            panic!("this client is up")
        };
        (machine, tape, now)
    }

    fn hub(&mut self, hub: usize) -> (&mut Hub<SharedPad>, Instant) {
        let now = Instant::from_millis(self.now);
        let End { machine: Some(Machine::Hub(machine)), .. } = &mut self.ends[hub] else {
            panic!("this hub is up")
        };
        (machine, now)
    }

    pub(super) fn request(&mut self, client: usize, wanted: KeyRequest) -> Vec<u8> {
        self.ask(client, wanted, Value::Null)
    }

    /// Asks for a key by terms near `wish` that the offer found last allows.
    pub(super) fn negotiated(&mut self, client: usize, wish: KeyRequest) -> Vec<u8> {
        let offer = self.offer.clone().expect("an offer");
        let (machine, ..) = self.client(client);
        let wanted = machine.negotiate(&offer, wish).expect("terms for both");
        let stated = json!({
            "suite": wish.suite.id().value(),
            "threshold": wish.threshold,
            "lifetime": wish.lifetime,
            "hubs": self.chosen(wish),
            "informationTheoretic": wish.minimum_assurance == Assurance::InformationTheoretic,
        });
        self.ask(client, wanted, stated)
    }

    /// The coordinates of hubs that are not all.
    fn chosen(&self, wanted: KeyRequest) -> Value {
        let chosen: Vec<u8> = self.hubs_of(wanted).map(coordinate).collect();
        if chosen.len() == self.options.hubs { Value::Null } else { hex(&chosen).into() }
    }

    /// The hubs of a key, in the order of their coordinates.
    pub(super) fn hubs_of(&self, wanted: KeyRequest) -> impl Iterator<Item = usize> {
        self.hubs()
            .filter(move |hub| wanted.hubs.contains(Coordinate::new(coordinate(*hub)).expect("not zero")))
    }

    fn ask(&mut self, client: usize, wanted: KeyRequest, wish: Value) -> Vec<u8> {
        let peer = ClientTag::new(tag(1 - client));
        let (machine, rng, now) = self.client(client);
        let id = machine.request_key(now, rng, peer, wanted).expect("a good request").as_bytes().to_vec();
        self.asked.push(Asked { initiator: client, responder: 1 - client, id: id.clone(), wanted });
        let input = json!({
            "type": "Request",
            "peer": hex(&tag(1 - client)),
            "suite": wanted.suite.id().value(),
            "threshold": wanted.threshold,
            "keyLength": wanted.key_len,
            "lifetime": wanted.lifetime,
            "hubs": self.chosen(wanted),
            "informationTheoretic": wanted.minimum_assurance == Assurance::InformationTheoretic,
            "wish": wish,
        });
        self.finish(client, input);
        id
    }

    /// A client asks for something other than a key.
    pub(super) fn command(
        &mut self,
        client: usize,
        command: &str,
        about: &[u8],
        run: impl FnOnce(&mut Client<SharedPad>, Instant, &mut dyn rand_core::CryptoRng),
    ) {
        let (machine, rng, now) = self.client(client);
        run(machine, now, rng);
        self.finish(client, json!({ "type": "Command", "command": command, "about": hex(about) }));
    }

    /// A hub sends a table to a client.
    pub(super) fn refill(&mut self, hub: usize, client: usize, way: u8, number: u16, octets: &[u8]) {
        let table = Provisioned {
            client,
            hub,
            direction: way,
            number,
            origin: 1,
            octets: octets.to_vec(),
            at_client: SharedPad::new(octets),
            at_hub: SharedPad::new(octets),
            with_client: false,
            with_hub: true,
        };
        let sent = Table::new(number, Origin::Refill, table.at_hub.clone());
        self.tables.push(table);
        let (machine, now) = self.hub(hub);
        machine.refill(now, ClientId::new(client as u32), direction(way), sent).expect("a good table");
        let input = json!({
            "type": "Refill",
            "client": NAMES[client],
            "direction": way,
            "table": number,
            "octets": hex(octets),
        });
        self.finish(hub, input);
    }

    /// A client has stored the table that came.
    pub(super) fn add_table(&mut self) {
        let (client, hub, way, number, octets) = self.came.take().expect("a table came");
        let of_link = |table: &&mut Provisioned| {
            (table.client, table.hub, table.direction, table.number) == (client, hub, way, number)
        };
        let table = self.tables.iter_mut().find(of_link).expect("it was sent");
        assert_eq!(table.octets, octets, "what was sent came");
        table.with_client = true;
        let added = Table::new(number, Origin::Refill, table.at_client.clone());
        let (machine, ..) = self.client(client);
        machine.add_table(HubId::new(hub_id(hub)), direction(way), added).expect("a good table");
        let hub = self.name(hub);
        let input = json!({ "type": "AddTable", "hub": hub, "direction": way, "table": number, "octets": hex(&octets) });
        self.finish(client, input);
    }

    /// One end of a link is given another initial key; the other end is given the same, at its time.
    pub(super) fn replace_initial_key(&mut self, end: usize, other: usize, key: &[u8]) {
        let link = (end.min(other), end.max(other));
        if !self.further_keys.contains(&(link, key.to_vec())) {
            self.further_keys.push((link, key.to_vec()));
        }
        let given = SecretBytes::try_copied_from(key).expect("32 octets");
        if end < 2 {
            let (machine, rng, now) = self.client(end);
            machine.replace_initial_key(now, rng, HubId::new(hub_id(other)), given).expect("a hub of it");
        } else {
            let (machine, _) = self.hub(end);
            machine.replace_initial_key(ClientId::new(other as u32), given).expect("a client of it");
        }
        let input = json!({ "type": "InitialKey", "about": self.name(other), "key": hex(key) });
        self.finish(end, input);
    }

    /// One end of a link is given a further table out of band; the other end is given the same, at its time.
    pub(super) fn provision(&mut self, end: usize, other: usize, way: u8, number: u16, octets: &[u8]) {
        let (client, hub) = (end.min(other), end.max(other));
        let of_link = |table: &Provisioned| {
            (table.client, table.hub, table.direction, table.number) == (client, hub, way, number)
        };
        if !self.tables.iter().any(of_link) {
            self.tables.push(Provisioned {
                client,
                hub,
                direction: way,
                number,
                origin: 0,
                octets: octets.to_vec(),
                at_client: SharedPad::new(octets),
                at_hub: SharedPad::new(octets),
                with_client: false,
                with_hub: false,
            });
        }
        let table = self.tables.iter_mut().find(|table| of_link(table)).expect("it is there");
        let pad = if end < 2 { &table.at_client } else { &table.at_hub };
        let added = Table::new(number, Origin::OutOfBand, pad.clone());
        *(if end < 2 { &mut table.with_client } else { &mut table.with_hub }) = true;
        if end < 2 {
            let (machine, ..) = self.client(end);
            machine.add_table(HubId::new(hub_id(hub)), direction(way), added).expect("a good table");
        } else {
            let (machine, _) = self.hub(end);
            machine.add_table(ClientId::new(client as u32), direction(way), added).expect("a good table");
        }
        let input = json!({
            "type": "Provision", "about": self.name(other), "direction": way, "table": number, "octets": hex(octets),
        });
        self.finish(end, input);
    }

    /// One end of a link takes a table out of service.
    pub(super) fn retire(&mut self, end: usize, other: usize, way: u8, number: u16) {
        if end < 2 {
            let (machine, rng, now) = self.client(end);
            machine
                .retire_table(now, rng, HubId::new(hub_id(other)), direction(way), number)
                .expect("a table that is there");
        } else {
            let (machine, _) = self.hub(end);
            machine
                .retire_table(ClientId::new(other as u32), direction(way), number)
                .expect("a table that is there");
        }
        let input = json!({ "type": "Retire", "about": self.name(other), "direction": way, "table": number });
        self.finish(end, input);
    }

    /// A hub revokes a client.
    pub(super) fn revoke(&mut self, hub: usize, client: usize) {
        let (machine, now) = self.hub(hub);
        machine.revoke(now, ClientId::new(client as u32)).expect("a client of it");
        self.finish(hub, json!({ "type": "Revoke", "client": NAMES[client] }));
    }

    /// An end gets a message.
    pub(super) fn deliver(&mut self, flight: &Flight) {
        let (now, from) = (Instant::from_millis(self.now), PathId::new(flight.from as u64));
        let End { machine, tape, .. } = &mut self.ends[flight.to];
        let disposition =
            both!(machine.as_mut().expect("this end is up"), handle_message(now, tape, from, &flight.octets));
        self.accepted = disposition == Disposition::Accepted;
        let input = json!({
            "type": "Message",
            "from": self.name(flight.from),
            "octets": hex(&flight.octets),
            "accepted": self.accepted,
        });
        self.finish(flight.to, input);
    }

    fn timeout(&mut self, end: usize) {
        let now = Instant::from_millis(self.now);
        let End { machine, tape, .. } = &mut self.ends[end];
        both!(machine.as_mut().expect("this end is up"), handle_timeout(now, tape));
        self.finish(end, json!({ "type": "Timeout" }));
    }

    // ---- the network

    /// Delivers everything that is under way, and what follows from it.
    pub(super) fn settle(&mut self) {
        while let Some(flight) = self.flying.pop_front() {
            if self.ends[flight.to].machine.is_some() {
                self.deliver(&flight);
            }
            if self.came.is_some() {
                self.add_table();
            }
        }
    }

    /// Delivers until the message that `wanted` picks would be next, and takes that one out.
    pub(super) fn until(&mut self, wanted: impl Fn(&Self, &Flight) -> bool) -> Flight {
        for _ in 0..1000 {
            while let Some(flight) = self.flying.pop_front() {
                if wanted(self, &flight) {
                    return flight;
                }
                if self.ends[flight.to].machine.is_some() {
                    self.deliver(&flight);
                }
                if self.came.is_some() {
                    self.add_table();
                }
            }
            assert!(self.tick(), "nothing happens any more");
        }
        panic!("this message never comes")
    }

    /// The next time comes for which an end waits.
    pub(super) fn tick(&mut self) -> bool {
        let next = (0..self.ends.len()).filter_map(|end| Some((self.ends[end].deadline?, end))).min();
        let Some((due, end)) = next else { return false };
        self.now = self.now.max(due);
        self.timeout(end);
        true
    }

    /// Until both ends have the key and the reports are made.
    pub(super) fn until_given(&mut self, times: usize) {
        for _ in 0..200 {
            self.settle();
            if self.given.len() >= times {
                return;
            }
            assert!(self.tick(), "nothing happens any more");
        }
        panic!("no key comes")
    }

    /// Until a look-up has found an offer.
    pub(super) fn until_found(&mut self) {
        self.settle();
        while self.offer.is_none() {
            assert!(self.tick(), "nothing happens any more");
            self.settle();
        }
    }

    /// Until alice has told so often that an initial key was replaced.
    pub(super) fn until_replaced(&mut self, times: usize) {
        let told = |world: &Self| {
            let of_alice = world.steps.iter().filter(|step| step["end"] == NAMES[ALICE]);
            let outputs = of_alice.flat_map(|step| step["outputs"].as_array().into_iter().flatten());
            outputs.filter(|output| output["event"] == "initialKeyReplaced").count()
        };
        self.settle();
        while told(self) < times {
            assert!(self.tick(), "nothing happens any more");
            self.settle();
        }
    }

    /// Until this time, or nobody waits for one.
    pub(super) fn until_time(&mut self, time: u64) {
        loop {
            self.settle();
            let due = self.ends.iter().filter_map(|end| end.deadline).min();
            if due.is_none_or(|due| due > time) || !self.tick() {
                return;
            }
        }
    }

    // ---- outputs

    /// Carries out what the end wants, and writes the step down.
    fn finish(&mut self, end: usize, input: Value) {
        let step = self.steps.len();
        let mut outputs = Vec::new();
        let deadline = loop {
            let machine = self.ends[end].machine.as_mut().expect("this end is up");
            let output = match machine {
                Machine::Client(machine) => match machine.poll_output() {
                    Output::Event(event) => self.client_event(end, event),
                    Output::Persist(checkpoint) => vec![self.store(end, checkpoint)],
                    Output::Transmit(transmit) => vec![self.send(end, step, transmit.to, transmit.payload)],
                    Output::Wait(deadline) => break deadline.map(Instant::as_millis),
                },
                Machine::Hub(machine) => match machine.poll_output() {
                    Output::Event(event) => vec![hub_event(event)],
                    Output::Persist(checkpoint) => vec![self.store(end, checkpoint)],
                    Output::Transmit(transmit) => vec![self.send(end, step, transmit.to, transmit.payload)],
                    Output::Wait(deadline) => break deadline.map(Instant::as_millis),
                },
            };
            outputs.extend(output);
        };
        self.ends[end].deadline = deadline;
        let tape = &mut self.ends[end].tape;
        let lengths = tape.take_draws();
        let mut at = tape.used() - lengths.iter().sum::<usize>();
        let connected = match &self.ends[end].machine {
            Some(Machine::Client(machine)) => machine.status().map(|link| link.connected).collect(),
            _ => Vec::new(),
        };
        let tape = &mut self.ends[end].tape;
        for length in lengths {
            let octets = tape.drawn()[at..at + length].to_vec();
            self.draws.push(Draw { end, step, octets, connected: connected.clone() });
            at += length;
        }
        self.steps.push(json!({
            "end": self.name(end),
            "time": self.now,
            "input": input,
            "draws": [],
            "outputs": outputs,
            "deadline": deadline,
        }));
    }

    fn store(&mut self, end: usize, checkpoint: Checkpoint<Record>) -> Value {
        if checkpoint.record().is_snapshot() {
            self.ends[end].records.clear();
        }
        self.ends[end].records.push(checkpoint.record().as_ref().to_vec());
        let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).expect("stored");
        both!(self.ends[end].machine.as_mut().expect("this end is up"), handle_persisted(receipt));
        json!({ "type": "Store" })
    }

    fn send(&mut self, end: usize, step: usize, to: Destination, octets: Vec<u8>) -> Value {
        let to = match to {
            Destination::Path(path) => path.number() as usize,
            Destination::Peer(handle) => handle.number() as usize,
            other => panic!("a destination that is not known here: {other:?}"),
        };
        let mut flight = Flight { from: end, to, octets };
        if let Some(error) = self.error(end) {
            flight.octets = Witness::new(self).lied(&flight, error);
        }
        let value = json!({ "type": "Send", "to": self.name(to), "octets": hex(&flight.octets) });
        self.sent.push((step, flight.clone()));
        self.flying.push_back(flight);
        value
    }

    fn client_event(&mut self, client: usize, event: ClientEvent) -> Vec<Value> {
        let named = |name: &str, about: &[u8]| json!({ "type": "Event", "event": name, "about": hex(about) });
        let value = match event {
            ClientEvent::KeyEstablished(made) => {
                let (id, key) = (made.key.id().as_bytes().to_vec(), made.key.secret().expose().to_vec());
                self.given.push((id.clone(), key.clone()));
                json!({
                    "type": "Key",
                    "keyId": hex(&id),
                    "peer": hex(made.peer.as_bytes()),
                    "initiator": made.role == Role::Initiator,
                    "confirmed": made.confirmed,
                    "informationTheoretic": made.key.assurance() == Assurance::InformationTheoretic,
                    "key": hex(&key),
                })
            }
            ClientEvent::Settled { key_id, hubs, .. } => {
                let liars = hubs.iter().filter(|report| report.conduct == Conduct::Lying);
                let lied = liars.map(|report| named("lied", report.hub.as_bytes()));
                return core::iter::once(named("settled", key_id.as_bytes())).chain(lied).collect();
            }
            ClientEvent::KeyFailed { key_id, error, .. } => named(failure(error), key_id.as_bytes()),
            ClientEvent::LookupEnded { result: Ok(found), .. } => {
                self.offer = found.offer;
                named("lookedUp", found.tag.as_bytes())
            }
            ClientEvent::InitialKeyReplaced { hub } => named("initialKeyReplaced", hub.as_bytes()),
            ClientEvent::TableRetired { hub, erased: true, .. } => named("tableRetired", hub.as_bytes()),
            ClientEvent::CommandEnded { .. } => named("commandEnded", &[]),
            ClientEvent::TableLow { hub, .. } => named("tableLow", hub.as_bytes()),
            ClientEvent::Refill { hub, direction, number, octets } => {
                let from = self.hubs().find(|at| hub_id(*at) == *hub.as_bytes()).expect("a hub");
                let way = u8::from(direction == Direction::DOWNLINK);
                self.came = Some((client, from, way, number, octets.expose().to_vec()));
                named("tableCame", hub.as_bytes())
            }
            other => panic!("an event that is not known here: {other:?}"),
        };
        vec![value]
    }
}

/// Why there is no key.
fn failure(error: KeyError) -> &'static str {
    match error {
        KeyError::TooFewHubs => "tooFewHubs",
        KeyError::Refused(_) => "refused",
        KeyError::Unconfirmed => "unconfirmed",
        KeyError::Assurance => "tooLittleAssurance",
        KeyError::Undecodable => "undecodable",
        other => panic!("an error that is not known here: {other:?}"),
    }
}

fn started(records: &[Vec<u8>]) -> Value {
    json!({ "type": "Start", "records": records.iter().map(|record| hex(record)).collect::<Vec<_>>() })
}

fn hub_event(event: HubEvent) -> Value {
    let (name, tag) = match event {
        HubEvent::Refilled { client, .. } => ("refilled", client),
        HubEvent::TableLow { client, .. } => ("tableLow", client),
        HubEvent::InitialKeyReplaced { tag, .. } => ("initialKeyReplaced", tag),
        HubEvent::ClientRevoked { tag, .. } => ("clientRevoked", tag),
        HubEvent::TableRetired { client, erased: true, .. } => ("tableRetired", client),
        other => panic!("an event that is not known here: {other:?}"),
    };
    json!({ "type": "Event", "event": name, "about": hex(tag.as_bytes()) })
}

pub(super) fn key_id(octets: &[u8]) -> KeyId {
    KeyId::new(octets.try_into().expect("16 octets"))
}
