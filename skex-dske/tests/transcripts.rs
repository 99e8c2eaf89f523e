//! The published exchanges, against real clients and hubs through their public interface: each end gets what the file
//! says, draws what the file says, and must do what the file says, octet by octet. And what a passive client finds.
#![cfg(feature = "all-suites")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

#[path = "transcripts/passive.rs"]
mod passive;
#[path = "transcripts/released.rs"]
mod released;

use core::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use skex_core::machine::{
    Checkpoint, Destination, DiscardReason, Disposition, Instant, Output, PathId, PeerHandle,
};
use skex_core::record::RecordError;
use skex_core::{Assurance, KeyId, SecretBytes};
use skex_dske::{
    Authorised, Client, ClientConfig, ClientEvent, ClientId, ClientTag, Conduct, Coordinate, Hub, HubClient,
    HubConfig, HubEvent, HubId, HubLink, KeyError, KeyRequest, KeySuite, Origin, Pad, PadError, PeerOffer,
    Record, ResponderPolicy, RestoreError, Role, Table,
};
use skex_sim::Tape;
use skex_testvectors::dske_transcripts::{self, ExchangeTest, Input, Output as Wanted, Step, TestGroup};
use skex_testvectors::{Hex, Layer};
use skex_wire::SuiteId;
use skex_wire::dske::{Direction, DskeSuiteId};

/// A table outside the machine.
#[derive(Clone)]
struct SharedPad(Rc<RefCell<Vec<u8>>>);

impl SharedPad {
    fn new(octets: &Hex) -> Self {
        Self(Rc::new(RefCell::new(octets.as_bytes().to_vec())))
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
            Machine::Client(machine) => machine.$call($($argument),*).unwrap(),
            Machine::Hub(machine) => machine.$call($($argument),*).unwrap(),
        }
    };
}

/// Tables of a link, by direction and number, with the origin.
type Tables = BTreeMap<(u8, u16), (u8, SharedPad)>;

/// One end of an exchange.
struct Player<'a> {
    test: &'a ExchangeTest,
    name: String,
    machine: Option<Machine>,
    records: Vec<Vec<u8>>,
    tape: Tape,
    /// By the other end.
    tables: BTreeMap<String, Tables>,
    /// What a look-up found last.
    offer: Option<PeerOffer>,
    lies: bool,
    /// Hubs that a report named, and that are still to be told.
    lied: VecDeque<[u8; 16]>,
}

/// The other end of a link.
enum Other {
    Hub(HubId),
    Client(ClientId),
}

fn assurance(information_theoretic: bool) -> Assurance {
    if information_theoretic { Assurance::InformationTheoretic } else { Assurance::Computational }
}

/// Suite, threshold, lifetime, hubs, whether only an information-theoretic key will do.
type Terms<'a> = (u8, u8, u16, Option<&'a Hex>, bool);

fn request((suite, threshold, lifetime, hubs, information_theoretic): Terms<'_>, key_len: u32) -> KeyRequest {
    let mut request = KeyRequest::new(threshold);
    request.suite = KeySuite::from_id(DskeSuiteId::new(suite)).unwrap();
    (request.key_len, request.lifetime) = (key_len, lifetime);
    request.minimum_assurance = assurance(information_theoretic);
    if let Some(hubs) = hubs {
        request.hubs = hubs.as_bytes().iter().map(|x| Coordinate::new(*x).unwrap()).collect();
    }
    request
}

fn array<const N: usize>(octets: &Hex) -> [u8; N] {
    octets.array().unwrap()
}

fn direction(number: u8) -> Direction {
    if number == 0 { Direction::UPLINK } else { Direction::DOWNLINK }
}

fn table(number: u16, origin: u8, pad: &SharedPad) -> Table<SharedPad> {
    Table::new(number, if origin == 0 { Origin::OutOfBand } else { Origin::Refill }, pad.clone())
}

/// The places of the ends, which are their paths too.
fn place(test: &ExchangeTest, name: &str) -> usize {
    let client = test.clients.iter().position(|client| client.name == name);
    client.unwrap_or_else(|| test.clients.len() + test.hubs.iter().position(|hub| hub.name == name).unwrap())
}

fn name(test: &ExchangeTest, place: usize) -> &str {
    test.clients.get(place).map_or_else(|| &test.hubs[place - test.clients.len()].name, |client| &client.name)
}

impl<'a> Player<'a> {
    fn new(test: &'a ExchangeTest, at: usize) -> Self {
        let client = test.clients.get(at);
        let random =
            client.map_or_else(|| &test.hubs[at - test.clients.len()].random, |client| &client.random);
        let name = name(test, at).to_owned();
        let mut tables: BTreeMap<String, Tables> = BTreeMap::new();
        for link in &test.links {
            let other = if link.client == name { &link.hub } else { &link.client };
            if link.client == name || link.hub == name {
                let given = [(0, &link.uplink), (1, &link.downlink)];
                let given = given
                    .map(|(way, table)| ((way, table.number), (table.origin, SharedPad::new(&table.octets))));
                tables.insert(other.clone(), given.into());
            }
        }
        let tape = Tape::new(random.as_bytes());
        let lies = test.hubs.iter().any(|hub| hub.name == name && hub.error.is_some());
        Self {
            test,
            name,
            machine: None,
            lies,
            records: Vec::new(),
            tape,
            tables,
            offer: None,
            lied: VecDeque::new(),
        }
    }

    fn tables(&self, other: &str) -> [Vec<Table<SharedPad>>; 2] {
        [0, 1].map(|way| {
            let of_way = self.tables[other].iter().filter(|((of, _), _)| *of == way);
            of_way.map(|((_, number), (origin, pad))| table(*number, *origin, pad)).collect()
        })
    }

    fn start_client(&mut self, now: Instant) -> Result<Machine, RestoreError> {
        let own = self.test.clients.iter().find(|client| client.name == self.name).unwrap();
        let (mut links, mut further) = (Vec::new(), Vec::new());
        for link in self.test.links.iter().filter(|link| link.client == self.name) {
            let hub = self.test.hubs.iter().find(|hub| hub.name == link.hub).unwrap();
            let id = HubId::new(array(&hub.hub_id));
            let [mut up, mut down] = self.tables(&link.hub);
            links.push(HubLink {
                hub: id,
                coordinate: Coordinate::new(hub.coordinate).unwrap(),
                handle: PeerHandle::new(place(self.test, &link.hub) as u32),
                client: ClientId::new(link.client_id),
                suite: SuiteId::new(self.test.envelope_suite),
                initial_key: SecretBytes::copied_from(&array(&link.initial_key)),
                uplink: up.remove(0),
                downlink: down.remove(0),
            });
            further.extend(up.into_iter().map(|table| (id, Direction::UPLINK, table)));
            further.extend(down.into_iter().map(|table| (id, Direction::DOWNLINK, table)));
        }
        let others = self.test.clients.iter().filter(|client| client.name != self.name);
        let peers = others.map(|client| ClientTag::new(array(&client.tag))).collect();
        let mut policy = ResponderPolicy::default();
        policy.minimum_threshold = own.minimum_threshold;
        policy.maximum_lifetime = own.longest_lifetime;
        policy.minimum_assurance = assurance(own.information_theoretic);
        let config = ClientConfig::new(ClientTag::new(array(&own.tag)), links, peers).unwrap();
        let mut config = config.with_policy(policy).unwrap();
        for (hub, way, table) in further {
            config = config.with_table(hub, way, table).unwrap();
        }
        Client::restore(config, &self.records, now, &mut self.tape).map(Machine::Client)
    }

    fn start_hub(&mut self, now: Instant) -> Result<Machine, RestoreError> {
        let own = self.test.hubs.iter().find(|hub| hub.name == self.name).unwrap();
        let (mut clients, mut further) = (Vec::new(), Vec::new());
        for link in self.test.links.iter().filter(|link| link.hub == self.name) {
            let client = self.test.clients.iter().find(|client| client.name == link.client).unwrap();
            let id = ClientId::new(link.client_id);
            let [mut up, mut down] = self.tables(&link.client);
            clients.push(HubClient {
                client: id,
                tag: ClientTag::new(array(&client.tag)),
                suite: SuiteId::new(self.test.envelope_suite),
                initial_key: SecretBytes::copied_from(&array(&link.initial_key)),
                uplink: up.remove(0),
                downlink: down.remove(0),
                authorised: if own.authorised { Authorised::Everyone } else { Authorised::Only(Vec::new()) },
            });
            further.extend(up.into_iter().map(|table| (id, Direction::UPLINK, table)));
            further.extend(down.into_iter().map(|table| (id, Direction::DOWNLINK, table)));
        }
        let at = Coordinate::new(own.coordinate).unwrap();
        let mut config = HubConfig::new(HubId::new(array(&own.hub_id)), at, clients).unwrap();
        let suites: Vec<KeySuite> =
            own.suites.iter().map(|suite| KeySuite::from_id(DskeSuiteId::new(*suite)).unwrap()).collect();
        config = config.with_suites(&suites).unwrap();
        for link in self.test.links.iter().filter(|link| link.hub == self.name) {
            config = config.with_name(ClientId::new(link.client_id), link.client.as_bytes()).unwrap();
        }
        for (client, way, table) in further {
            config = config.with_table(client, way, table).unwrap();
        }
        Hub::restore(config, &self.records, now, &mut self.tape).map(Machine::Hub)
    }

    fn client(&mut self) -> (&mut Client<SharedPad>, &mut Tape) {
        let Some(Machine::Client(client)) = &mut self.machine else { panic!("a client that is up") };
        (client, &mut self.tape)
    }

    fn play(&mut self, step: &Step, at: &str) -> Option<Layer> {
        let now = Instant::from_millis(step.time);
        self.tape.take_draws();
        let mut refused = None;
        match &step.input {
            Input::Start { records } => {
                let records: Vec<Vec<u8>> = records.iter().map(|record| record.as_bytes().to_vec()).collect();
                let is_client = self.test.clients.iter().any(|client| client.name == self.name);
                // What this version stored itself: the files of an earlier one may differ here, and must restore.
                let is_own = records == self.records;
                self.records = records;
                let started = if is_client { self.start_client(now) } else { self.start_hub(now) };
                match started {
                    Ok(machine) => self.machine = Some(machine),
                    Err(error) => return Some(layer_of_restore(error)),
                }
                assert!(is_own, "{at}: other records than in the file");
            }
            Input::Message { from, octets, accepted } => {
                let from = PathId::new(place(self.test, from) as u64);
                let machine = self.machine.as_mut().expect("this end is up");
                let done = both!(machine, handle_message(now, &mut self.tape, from, octets.as_bytes()));
                assert_eq!(done == Disposition::Accepted, *accepted, "{at}: {done:?}");
                if let Disposition::Discarded(reason) = done {
                    refused = Some(layer_of(reason));
                }
            }
            Input::Timeout {} => both!(self.machine.as_mut().unwrap(), handle_timeout(now, &mut self.tape)),
            input => self.ask(input, now),
        }
        self.drain(step, at);
        let wanted: Vec<usize> = step.draws.iter().map(|draw| draw.length as usize).collect();
        assert_eq!(self.tape.take_draws(), wanted, "{at}: octets drawn");
        refused
    }

    fn ask(&mut self, input: &Input, now: Instant) {
        match input {
            Input::Request {
                peer,
                suite,
                threshold,
                key_length,
                lifetime,
                hubs,
                information_theoretic,
                wish,
            } => {
                let terms = (*suite, *threshold, *lifetime, hubs.as_ref(), *information_theoretic);
                let wanted = request(terms, *key_length);
                let peer = ClientTag::new(array(peer));
                let offer = self.offer.take();
                let (client, tape) = self.client();
                if let Some(wish) = wish {
                    let terms = (
                        wish.suite,
                        wish.threshold,
                        wish.lifetime,
                        wish.hubs.as_ref(),
                        wish.information_theoretic,
                    );
                    let negotiated =
                        client.negotiate(&offer.expect("an offer was found"), request(terms, *key_length));
                    assert_eq!(negotiated, Ok(wanted));
                }
                client.request_key(now, tape, peer, wanted).unwrap();
            }
            Input::Command { command, about } => {
                let about = about.as_bytes();
                let (client, tape) = self.client();
                match command.as_str() {
                    "LOOKUP" => client.look_up(now, tape, about).unwrap(),
                    "PUBLISH" => client.publish(now, tape).unwrap(),
                    "WITHDRAW" => {
                        client.withdraw(now, tape, KeyId::new(about.try_into().unwrap())).unwrap();
                    }
                    "AUTHORISE" => {
                        let peer = ClientTag::new(about[1..].try_into().unwrap());
                        client.authorise(now, tape, peer, about[0] == 1).unwrap();
                    }
                    other => panic!("a command that is not known here: {other}"),
                }
            }
            Input::Refill { client, direction: way, table: number, octets } => {
                let link = self
                    .test
                    .links
                    .iter()
                    .find(|link| link.hub == self.name && link.client == *client)
                    .unwrap();
                let pad = SharedPad::new(octets);
                self.tables.get_mut(client).unwrap().insert((*way, *number), (1, pad.clone()));
                let Some(Machine::Hub(hub)) = &mut self.machine else { panic!("a hub that is up") };
                hub.refill(now, ClientId::new(link.client_id), direction(*way), table(*number, 1, &pad))
                    .unwrap();
            }
            Input::AddTable { hub, direction: way, table: number, octets } => {
                let id = self.test.hubs.iter().find(|entry| entry.name == *hub).unwrap();
                let pad = SharedPad::new(octets);
                self.tables.get_mut(hub).unwrap().insert((*way, *number), (1, pad.clone()));
                let added = table(*number, 1, &pad);
                self.client().0.add_table(HubId::new(array(&id.hub_id)), direction(*way), added).unwrap();
            }
            Input::Provision { about, direction: way, table: number, octets } => {
                let pad = SharedPad::new(octets);
                self.tables.get_mut(about).unwrap().insert((*way, *number), (0, pad.clone()));
                let added = table(*number, 0, &pad);
                match self.other(about) {
                    Other::Hub(hub) => self.client().0.add_table(hub, direction(*way), added).unwrap(),
                    Other::Client(client) => self.hub().add_table(client, direction(*way), added).unwrap(),
                }
            }
            Input::Retire { about, direction: way, table: number } => match self.other(about) {
                Other::Hub(hub) => {
                    let (client, tape) = self.client();
                    client.retire_table(now, tape, hub, direction(*way), *number).unwrap();
                }
                Other::Client(client) => self.hub().retire_table(client, direction(*way), *number).unwrap(),
            },
            Input::InitialKey { about, key } => {
                let key = SecretBytes::copied_from(&array(key));
                match self.other(about) {
                    Other::Hub(hub) => {
                        let (client, tape) = self.client();
                        client.replace_initial_key(now, tape, hub, key).unwrap();
                    }
                    Other::Client(client) => self.hub().replace_initial_key(client, key).unwrap(),
                }
            }
            Input::Revoke { client } => {
                let Other::Client(client) = self.other(client) else { panic!("a hub revokes clients") };
                self.hub().revoke(now, client).unwrap();
            }
            other => panic!("an input that is not known here: {other:?}"),
        }
    }

    fn hub(&mut self) -> &mut Hub<SharedPad> {
        let Some(Machine::Hub(hub)) = &mut self.machine else { panic!("a hub that is up") };
        hub
    }

    /// The other end of a link.
    fn other(&self, name: &str) -> Other {
        if let Some(hub) = self.test.hubs.iter().find(|hub| hub.name == name) {
            return Other::Hub(HubId::new(array(&hub.hub_id)));
        }
        let of_link = |link: &&dske_transcripts::Link| link.hub == self.name && link.client == name;
        Other::Client(ClientId::new(self.test.links.iter().find(of_link).unwrap().client_id))
    }

    /// What the end does must be what the file says.
    fn drain(&mut self, step: &Step, at: &str) {
        let mut wanted = step.outputs.iter();
        loop {
            if let Some(liar) = self.lied.pop_front() {
                assert_eq!(Some(Did::Event(named("lied", &liar))), wanted.next().map(Did::from), "{at}");
                continue;
            }
            let found = match self.machine.as_mut().unwrap() {
                Machine::Client(machine) => match machine.poll_output() {
                    Output::Event(event) => Some(self.client_did(event)),
                    Output::Persist(checkpoint) => Some(self.store(checkpoint)),
                    Output::Transmit(transmit) => Some(self.sent(transmit.to, transmit.payload)),
                    Output::Wait(deadline) => {
                        assert_eq!(deadline.map(Instant::as_millis), step.deadline, "{at}: deadline");
                        None
                    }
                },
                Machine::Hub(machine) => match machine.poll_output() {
                    Output::Event(event) => Some(Did::Event(hub_event(&event))),
                    Output::Persist(checkpoint) => Some(self.store(checkpoint)),
                    Output::Transmit(transmit) => Some(self.sent(transmit.to, transmit.payload)),
                    Output::Wait(deadline) => {
                        assert_eq!(deadline.map(Instant::as_millis), step.deadline, "{at}: deadline");
                        None
                    }
                },
            };
            let (found, wanted) = match (found, wanted.next()) {
                // This hub is honest. What a lying one sends in the place of a delivery differs from where it is sealed.
                (Some(Did::Send(to, octets)), Some(Wanted::Send { to: other, message, octets: lie, .. }))
                    if self.lies && message == "DELIVERY" =>
                {
                    let head = |octets: &[u8]| (octets.len(), octets[..9].to_vec());
                    assert_eq!((to, head(&octets)), (other.clone(), head(lie.as_bytes())), "{at}");
                    continue;
                }
                (found, wanted) => (found, wanted.map(Did::from)),
            };
            assert_eq!(found, wanted, "{at}");
            if found.is_none() {
                return;
            }
        }
    }

    fn store(&mut self, checkpoint: Checkpoint<Record>) -> Did {
        if checkpoint.record().is_snapshot() {
            self.records.clear();
        }
        self.records.push(checkpoint.record().as_ref().to_vec());
        let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
        both!(self.machine.as_mut().unwrap(), handle_persisted(receipt));
        Did::Store
    }

    fn client_did(&mut self, event: ClientEvent) -> Did {
        if let ClientEvent::Settled { hubs, .. } = &event {
            let liars = hubs.iter().filter(|report| report.conduct == Conduct::Lying);
            self.lied.extend(liars.map(|report| *report.hub.as_bytes()));
        }
        let did = Did::Event(client_event(&event));
        if let ClientEvent::LookupEnded { result: Ok(found), .. } = event {
            self.offer = found.offer;
        }
        did
    }

    fn sent(&self, to: Destination, octets: Vec<u8>) -> Did {
        let to = match to {
            Destination::Path(path) => path.number() as usize,
            Destination::Peer(handle) => handle.number() as usize,
            other => panic!("a destination that is not known here: {other:?}"),
        };
        Did::Send(name(self.test, to).to_owned(), octets)
    }
}

/// What an end did, as the file has it.
#[derive(Debug, PartialEq, Eq)]
enum Did {
    Store,
    Send(String, Vec<u8>),
    Event(Wanted),
}

impl From<&Wanted> for Did {
    fn from(wanted: &Wanted) -> Self {
        match wanted {
            Wanted::Store {} => Self::Store,
            Wanted::Send { to, octets, .. } => Self::Send(to.clone(), octets.as_bytes().to_vec()),
            other => Self::Event(other.clone()),
        }
    }
}

/// An output of the file.
fn output(json: &str) -> Wanted {
    serde_json::from_str(json).expect("an output of the vectors")
}

fn named(event: &str, about: &[u8]) -> Wanted {
    let about = Hex::new(about.to_vec());
    output(&format!(r#"{{ "type": "Event", "event": "{event}", "about": "{about}" }}"#))
}

fn client_event(event: &ClientEvent) -> Wanted {
    match event {
        ClientEvent::KeyEstablished(made) => output(&format!(
            r#"{{ "type": "Key", "keyId": "{}", "peer": "{}", "initiator": {}, "confirmed": {}, "informationTheoretic": {}, "key": "{}" }}"#,
            Hex::new(made.key.id().as_bytes().to_vec()),
            Hex::new(made.peer.as_bytes().to_vec()),
            made.role == Role::Initiator,
            made.confirmed,
            made.key.assurance() == Assurance::InformationTheoretic,
            Hex::new(made.key.secret().expose().to_vec()),
        )),
        ClientEvent::Settled { key_id, .. } => named("settled", key_id.as_bytes()),
        ClientEvent::KeyFailed { key_id, error, .. } => named(failure(*error), key_id.as_bytes()),
        ClientEvent::InitialKeyReplaced { hub } => named("initialKeyReplaced", hub.as_bytes()),
        ClientEvent::TableRetired { hub, erased: true, .. } => named("tableRetired", hub.as_bytes()),
        ClientEvent::LookupEnded { result, .. } => named("lookedUp", result.as_ref().unwrap().tag.as_bytes()),
        ClientEvent::CommandEnded { .. } => named("commandEnded", &[]),
        ClientEvent::TableLow { hub, .. } => named("tableLow", hub.as_bytes()),
        ClientEvent::Refill { hub, .. } => named("tableCame", hub.as_bytes()),
        other => panic!("an event that is not known here: {other:?}"),
    }
}

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

fn hub_event(event: &HubEvent) -> Wanted {
    match event {
        HubEvent::Refilled { client, .. } => named("refilled", client.as_bytes()),
        HubEvent::TableLow { client, .. } => named("tableLow", client.as_bytes()),
        HubEvent::InitialKeyReplaced { tag, .. } => named("initialKeyReplaced", tag.as_bytes()),
        HubEvent::ClientRevoked { tag, .. } => named("clientRevoked", tag.as_bytes()),
        HubEvent::TableRetired { client, erased: true, .. } => named("tableRetired", client.as_bytes()),
        other => panic!("an event that is not known here: {other:?}"),
    }
}

fn layer_of(reason: DiscardReason) -> Layer {
    match reason {
        DiscardReason::Malformed => Layer::Decode,
        DiscardReason::Unauthentic => Layer::Authenticate,
        DiscardReason::Policy => Layer::Policy,
        _ => Layer::State,
    }
}

fn layer_of_restore(error: RestoreError) -> Layer {
    match error {
        RestoreError::Record(RecordError::Checksum) => Layer::Authenticate,
        RestoreError::Record(RecordError::ForeignMachine | RecordError::WrongKind)
        | RestoreError::Gap
        | RestoreError::Configuration => Layer::State,
        _ => Layer::Decode,
    }
}

/// Whether the last thing that happened was that a share was answered with a refusal.
fn answers_a_refusal(step: &Step) -> bool {
    step.outputs.iter().any(|output| {
        matches!(output, Wanted::Send { message, choices, .. } if message.starts_with("ANSWER") && choices["status"] != 0)
    })
}

/// All that a test of the file says, played by clients and hubs. The layer at which they refused the last message.
fn play(test: &ExchangeTest) -> Option<Layer> {
    let count = test.clients.len() + test.hubs.len();
    let mut players: Vec<Player<'_>> = (0..count).map(|at| Player::new(test, at)).collect();
    let mut refused = None;
    for (number, step) in test.steps.iter().enumerate() {
        let at = format!("{} {}, step {number}", test.tc_id, test.name);
        refused = players[place(test, &step.end)].play(step, &at);
    }
    for player in &players {
        assert!(player.tape.is_used_up(), "{}: {} drew all", test.tc_id, player.name);
    }
    refused.or_else(|| test.steps.last().is_some_and(answers_a_refusal).then_some(Layer::Policy))
}

#[test]
fn every_end_does_in_every_exchange_what_the_vectors_say() {
    let (mut played, mut messages, mut otherwise) = (0, 0, Vec::new());
    for group in dske_transcripts::load().unwrap().test_groups {
        if let TestGroup::Exchange(group) = group {
            for test in &group.tests {
                let refused = play(test);
                // That a valid exchange ends with a message that is late is no refusal of it.
                if test.refused_by.is_some() && refused != test.refused_by {
                    otherwise.push(format!("{} {}: by {refused:?}", test.tc_id, test.name));
                }
                played += 1;
                messages +=
                    test.steps.iter().filter(|step| matches!(step.input, Input::Message { .. })).count();
            }
        }
    }
    assert!(otherwise.is_empty(), "refused at another layer than in the file: {otherwise:#?}");
    assert!(played > 80 && messages > 2000, "only {played} exchanges with {messages} messages");
}

#[test]
fn an_exchange_with_one_octet_of_randomness_changed_is_another_exchange() {
    let mut file = dske_transcripts::load().unwrap();
    let TestGroup::Exchange(group) = &mut file.test_groups[0] else { panic!("another group") };
    let test = &mut group.tests[0];
    let mut random = test.clients[0].random.as_bytes().to_vec();
    // In the first salt.
    random[10] ^= 1;
    test.clients[0].random = Hex::new(random);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let played = std::panic::catch_unwind(|| play(test));
    std::panic::set_hook(hook);
    let why = *played.expect_err("the first hello differs").downcast::<String>().unwrap();
    assert!(why.contains("Send"), "{why}");
}
