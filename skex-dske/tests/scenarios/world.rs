//! Clients and hubs in one simulated world, with tables that survive crashes as files would.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{CryptoRng, Rng, SeedableRng};
use skex_core::machine::{Instant, PeerHandle};
use skex_core::{KeyId, SecretBytes};
use skex_dske::{
    Authorised, Client, ClientConfig, ClientEvent, ClientId, ClientLimits, ClientTag, Conduct, Coordinate,
    Established, HubClient, HubConfig, HubId, HubLimits, HubLink, KeyRequest, KeySuite, Origin, Pad,
    PadError, ResponderPolicy, RestoreError, Role, Table,
};
use skex_sim::{Boot, Either, Layout, NodeId, World};
use skex_wire::SuiteId;
use skex_wire::dske::{Direction, Inner};

use crate::sharded::{Between, ShardedHub, usual_shards};

pub type Party = Either<Client<SharedPad>, ShardedHub>;

/// A table outside the machine: what a file is to a process.
#[derive(Clone)]
pub struct SharedPad {
    octets: Rc<RefCell<Vec<u8>>>,
    /// A hub that lies has a table that lies: keys are read right, pads come out wrong.
    lies: Rc<RefCell<Lie>>,
    /// Octets that were read of it.
    read: Rc<Cell<u64>>,
}

/// How a table lies.
#[derive(Clone, Copy, Default)]
pub enum Lie {
    #[default]
    None,
    /// One bit is flipped, the same as every other liar flips.
    Bit,
    /// All octets are wrong, in the way of this number.
    Octets(u64),
    /// The storage fails.
    Broken,
    /// It can be read and not written: mounted read-only, or full.
    Unwritable,
    /// What is written stands there, and the flush behind it fails.
    Unflushed,
}

impl SharedPad {
    fn new(octets: Vec<u8>) -> Self {
        Self { octets: Rc::new(RefCell::new(octets)), lies: Rc::default(), read: Rc::default() }
    }

    pub fn set_lying(&self, lies: bool) {
        self.set_lie(if lies { Lie::Bit } else { Lie::None });
    }

    pub fn set_lie(&self, lie: Lie) {
        *self.lies.borrow_mut() = lie;
    }

    pub fn octets(&self) -> Vec<u8> {
        self.octets.borrow().clone()
    }

    pub fn octets_read(&self) -> u64 {
        self.read.get()
    }

    /// Puts a backup of the table in its place.
    pub fn set_octets(&self, octets: &[u8]) {
        *self.octets.borrow_mut() = octets.to_vec();
    }
}

impl Pad for SharedPad {
    fn elements(&self) -> u32 {
        (self.octets.borrow().len() / 16) as u32
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        self.read.set(self.read.get() + out.len() as u64);
        let octets = self.octets.borrow();
        let start = index as usize * 16;
        out.copy_from_slice(octets.get(start..start + out.len()).ok_or(PadError::OutOfRange)?);
        match *self.lies.borrow() {
            Lie::Broken => return Err(PadError::Storage),
            Lie::Bit if out.len() > 50 => out[50] ^= 1,
            Lie::Octets(number) if out.len() > 32 => {
                let mut noise = vec![0; out.len()];
                ChaCha20Rng::seed_from_u64(number).fill_bytes(&mut noise);
                out.iter_mut().zip(noise).for_each(|(octet, noise)| *octet ^= noise);
            }
            _ => {}
        }
        Ok(())
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        if matches!(*self.lies.borrow(), Lie::Broken | Lie::Unwritable) {
            return Err(PadError::Storage);
        }
        let mut octets = self.octets.borrow_mut();
        let range = index as usize * 16..(index as usize + elements as usize) * 16;
        octets.get_mut(range).ok_or(PadError::OutOfRange)?.fill(0);
        if matches!(*self.lies.borrow(), Lie::Unflushed) { Err(PadError::Storage) } else { Ok(()) }
    }
}

/// What one world is made of.
#[derive(Clone)]
pub struct Setup {
    pub hubs: usize,
    pub clients: usize,
    pub table_elements: usize,
    pub origin: Origin,
    pub policy: Option<ResponderPolicy>,
    pub client_limits: ClientLimits,
    pub hub_limits: HubLimits,
    /// What the hubs relay.
    pub suites: Vec<KeySuite>,
    /// What the hubs say of names: hub, client, name.
    pub names: Vec<(usize, usize, &'static str)>,
    /// Whom each client authorises at its hubs.
    pub authorised: Authorised,
    /// At these hubs, the responder (client 1) has a smaller table for what it receives.
    pub peers_known: bool,
    /// Of each hub, and how bad it is between them.
    pub shards: (u16, Between),
}

impl Setup {
    pub fn new(hubs: usize) -> Self {
        Self {
            hubs,
            clients: 2,
            table_elements: 4096,
            origin: Origin::OutOfBand,
            policy: None,
            client_limits: ClientLimits::default(),
            hub_limits: HubLimits::default(),
            suites: KeySuite::ALL.to_vec(),
            names: Vec::new(),
            authorised: Authorised::Everyone,
            peers_known: true,
            shards: (usual_shards(), Between::default()),
        }
    }
}

/// What enrolment gave a client and a hub, before anything was used.
pub struct Enrolment {
    pub initial_key: [u8; 32],
    pub uplink: Vec<u8>,
    pub downlink: Vec<u8>,
}

/// A table that came after the enrolment.
pub struct Further {
    pub client: usize,
    pub hub: usize,
    pub uplink: bool,
    pub number: u16,
    pub origin: Origin,
    /// As it was made.
    pub octets: Vec<u8>,
    pub at_client: SharedPad,
    /// Whether the client's file holds it: of a refill, once it came.
    pub stored: bool,
    pub at_hub: SharedPad,
}

impl Further {
    fn direction(&self) -> Direction {
        if self.uplink { Direction::UPLINK } else { Direction::DOWNLINK }
    }

    fn table(&self, pad: &SharedPad) -> Table<SharedPad> {
        Table::new(self.number, self.origin, pad.clone())
    }
}

/// A client that a hub enrolled anew, under another number.
pub struct Anew {
    pub hub: usize,
    pub client: usize,
    pub number: u32,
    pub initial_key: [u8; 32],
    /// Uplink and downlink.
    pub at_client: (SharedPad, SharedPad),
    pub at_hub: (SharedPad, SharedPad),
}

impl Anew {
    pub fn at_hub(&self) -> HubClient<SharedPad> {
        HubClient {
            client: ClientId::new(self.number),
            tag: tag(self.client),
            suite: SuiteId::SHA256_AES256GCM,
            initial_key: SecretBytes::copied_from(&self.initial_key),
            uplink: Table::new(0, Origin::OutOfBand, self.at_hub.0.clone()),
            downlink: Table::new(0, Origin::OutOfBand, self.at_hub.1.clone()),
            authorised: Authorised::Everyone,
        }
    }
}

/// How the configuration of later starts differs: hub and number of those that were left out, and who was enrolled anew.
#[derive(Default)]
pub struct Revision {
    pub left_out: Vec<(usize, u32)>,
    /// Hub and client, whose tables are lost there: it is revoked at the start.
    pub lost: Vec<(usize, usize)>,
    /// Client and hub, where the client goes without the hub.
    pub without: Vec<(usize, usize)>,
    /// Of these, the ones where nothing of the link is kept.
    pub forgotten: Vec<(usize, usize)>,
    pub anew: Vec<Anew>,
    /// Policies that clients have now.
    pub policies: Vec<(usize, ResponderPolicy)>,
}

pub struct Cast {
    pub revision: Rc<RefCell<Revision>>,
    pub world: World<Party>,
    pub clients: Vec<NodeId>,
    pub hubs: Vec<NodeId>,
    pub tags: Vec<ClientTag>,
    pub hub_ids: Vec<HubId>,
    /// By hub, then client: the hub's copy of the downlink table.
    pub hub_downlinks: Vec<Vec<SharedPad>>,
    /// By hub, then client: the hub's copy of the uplink table.
    pub hub_uplinks: Vec<Vec<SharedPad>>,
    /// By client, then hub: the client's copies (uplink, downlink).
    pub client_tables: Vec<Vec<(SharedPad, SharedPad)>>,
    /// By hub, then client.
    pub enrolments: Vec<Vec<Enrolment>>,
    /// Every table that came later, given again at every start.
    pub further: Rc<RefCell<Vec<Further>>>,
    /// Every start of every node.
    pub boots: Rc<RefCell<Vec<(NodeId, Instant)>>>,
    /// The sessions that an end in the adversary's hand has begun.
    pub adversary: Vec<AdversarySession>,
    /// What clients in its hand said hello with, of which client and hub: the answer may come when it listens no more.
    pub adversary_hellos: Vec<((usize, usize), [u8; 16])>,
}

/// Of which client and hub, and both salts.
pub type AdversarySession = ((usize, usize), [[u8; 16]; 2]);

/// An initial key, the uplink table and the downlink table.
type Provisioned = ([u8; 32], Vec<u8>, Vec<u8>);

pub fn from_last_snapshot(records: &mut Vec<Vec<u8>>) {
    let is_snapshot =
        |record: &Vec<u8>| skex_core::record::decode(record).is_ok_and(|(_, body)| body.first() == Some(&1));
    if let Some(newest) = records.iter().rposition(is_snapshot) {
        records.drain(..newest);
    }
}

/// The records as an embedder gives them to a machine: from the last whole snapshot on, which made the older ones
/// superfluous, and without those at the end of the log that a crash has torn.
fn restored<M>(
    boot: Boot<'_>,
    boots: &RefCell<Vec<(NodeId, Instant)>>,
    shards: u16,
    restore: impl FnOnce(&[Vec<u8>], Instant, &mut dyn CryptoRng) -> Result<M, RestoreError>,
) -> M {
    boots.borrow_mut().push((boot.node, boot.now));
    let mut records: Vec<Vec<u8>> = boot.disk.records().map(|(_, record)| record.to_vec()).collect();
    // Shards look for their own.
    if shards == 1 {
        from_last_snapshot(&mut records);
    }
    while records.last().is_some_and(|last| skex_core::record::decode(last).is_err()) {
        records.pop();
    }
    restore(&records, boot.now, boot.rng).unwrap_or_else(|error| panic!("{error:?}"))
}

pub fn tag(client: usize) -> ClientTag {
    ClientTag::new([0xc0_u8.wrapping_add(client as u8); 16])
}

fn hub_id(hub: usize) -> HubId {
    HubId::new([0xb0 + hub as u8; 16])
}

/// A world of this set-up: hubs 0.. and clients 0.., everybody booted, nothing said yet.
pub fn cast(seed: u64, setup: &Setup) -> Cast {
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x7461_626c_6573);
    let mut world: World<Party> = World::new(seed);
    let mut octets = |elements: usize| {
        let mut octets = vec![0; elements * 16];
        rng.fill_bytes(&mut octets);
        octets
    };
    // By hub, then client: initial key, uplink octets, downlink octets.
    let shared: Vec<Vec<Provisioned>> = (0..setup.hubs)
        .map(|_| {
            (0..setup.clients)
                .map(|_| {
                    let mut initial = [0; 32];
                    initial.copy_from_slice(&octets(2));
                    (initial, octets(setup.table_elements), octets(setup.table_elements))
                })
                .collect()
        })
        .collect();

    let boots: Rc<RefCell<Vec<(NodeId, Instant)>>> = Rc::default();
    let further: Rc<RefCell<Vec<Further>>> = Rc::default();
    let revision: Rc<RefCell<Revision>> = Rc::default();
    let mut hub_downlinks = Vec::new();
    let mut hub_uplinks = Vec::new();
    let mut hubs = Vec::new();
    for (hub, of_hub) in shared.iter().enumerate() {
        let pads: Vec<([u8; 32], SharedPad, SharedPad)> = of_hub
            .iter()
            .map(|(key, up, down)| (*key, SharedPad::new(up.clone()), SharedPad::new(down.clone())))
            .collect();
        hub_downlinks.push(pads.iter().map(|(.., down)| down.clone()).collect());
        hub_uplinks.push(pads.iter().map(|(_, up, _)| up.clone()).collect());
        let shards = setup.shards;
        let (setup, started, further) = (setup.clone(), boots.clone(), further.clone());
        let revision = revision.clone();
        let config = move || {
            let clients = pads.iter().enumerate().map(|(client, (key, up, down))| HubClient {
                client: ClientId::new(client as u32),
                tag: tag(client),
                suite: SuiteId::SHA256_AES256GCM,
                initial_key: SecretBytes::copied_from(key),
                uplink: Table::new(0, setup.origin, up.clone()),
                downlink: Table::new(0, setup.origin, down.clone()),
                authorised: setup.authorised.clone(),
            });
            let coordinate = Coordinate::new(hub as u8 + 1).unwrap();
            let revision = revision.borrow();
            let anew = revision.anew.iter().filter(|anew| anew.hub == hub).map(Anew::at_hub);
            let clients = clients.chain(anew);
            let is_lost = |client: usize| revision.lost.contains(&(hub, client));
            let is_gone =
                |client: u32| revision.left_out.contains(&(hub, client)) || is_lost(client as usize);
            let left_out = |client: &HubClient<_>| is_gone(client.client.number());
            let clients = clients.filter(|client| !left_out(client)).collect();
            let mut config = HubConfig::new(hub_id(hub), coordinate, clients).unwrap();
            for lost in (0..setup.clients).filter(|client| is_lost(*client)) {
                config = config.without(ClientId::new(lost as u32), tag(lost)).unwrap();
            }
            let is_there = |table: &&Further| table.hub == hub && !is_lost(table.client);
            for table in further.borrow().iter().filter(is_there) {
                let client = ClientId::new(table.client as u32);
                config = config.with_table(client, table.direction(), table.table(&table.at_hub)).unwrap();
            }
            // Of a client that was revoked the name is free.
            let is_known = |client: usize| !is_gone(client as u32);
            for (_, client, name) in
                setup.names.iter().filter(|(of, client, _)| *of == hub && is_known(*client))
            {
                config = config.with_name(ClientId::new(*client as u32), name.as_bytes()).unwrap();
            }
            config.with_suites(&setup.suites).unwrap().with_limits(setup.hub_limits)
        };
        let (config, (shards, between)) = (Rc::new(config), shards);
        let boot = move |boot: Boot<'_>| {
            let restore = |records: &[Vec<u8>], now, rng: &mut dyn CryptoRng| {
                let config = config.clone();
                ShardedHub::restore(move || config(), (shards, between, seed ^ hub as u64), records, now, rng)
            };
            Either::Right(restored(boot, &started, shards, restore))
        };
        hubs.push(world.add_node(Layout::Log, boot));
    }

    let mut clients = Vec::new();
    let mut client_tables = Vec::new();
    for client in 0..setup.clients {
        let pads: Vec<([u8; 32], SharedPad, SharedPad)> = shared
            .iter()
            .map(|of_hub| {
                let (key, up, down) = &of_hub[client];
                (*key, SharedPad::new(up.clone()), SharedPad::new(down.clone()))
            })
            .collect();
        client_tables.push(pads.iter().map(|(_, up, down)| (up.clone(), down.clone())).collect());
        let (setup, started, further) = (setup.clone(), boots.clone(), further.clone());
        let revision = revision.clone();
        let config = move || {
            let links = pads.iter().enumerate().map(|(hub, (key, up, down))| HubLink {
                hub: hub_id(hub),
                coordinate: Coordinate::new(hub as u8 + 1).unwrap(),
                handle: PeerHandle::new(hub as u32),
                client: ClientId::new(client as u32),
                suite: SuiteId::SHA256_AES256GCM,
                initial_key: SecretBytes::copied_from(key),
                uplink: Table::new(0, setup.origin, up.clone()),
                downlink: Table::new(0, setup.origin, down.clone()),
            });
            let revision = revision.borrow();
            let links = links.enumerate().map(|(hub, mut link)| {
                let mut anew = revision.anew.iter().filter(|anew| (anew.hub, anew.client) == (hub, client));
                if let Some(anew) = anew.next_back() {
                    link.client = ClientId::new(anew.number);
                    link.initial_key = SecretBytes::copied_from(&anew.initial_key);
                    link.uplink = Table::new(0, setup.origin, anew.at_client.0.clone());
                    link.downlink = Table::new(0, setup.origin, anew.at_client.1.clone());
                }
                link
            });
            let without = |hub: usize| revision.without.contains(&(client, hub));
            let links = links.enumerate().filter(|(hub, _)| !without(*hub)).map(|(_, link)| link);
            let peers = (0..setup.clients).filter(|&peer| peer != client && setup.peers_known).map(tag);
            let mut config = ClientConfig::new(tag(client), links.collect(), peers.collect()).unwrap();
            for hub in (0..setup.hubs).filter(|hub| without(*hub)) {
                let forgotten = revision.forgotten.contains(&(client, hub));
                config = if forgotten {
                    config.forget_hub(hub_id(hub)).unwrap()
                } else {
                    config.without_hub(hub_id(hub)).unwrap()
                };
            }
            let own = |table: &&Further| table.client == client && table.stored && !without(table.hub);
            for table in further.borrow().iter().filter(own) {
                let hub = hub_id(table.hub);
                config = config.with_table(hub, table.direction(), table.table(&table.at_client)).unwrap();
            }
            let own = revision.policies.iter().rev().find(|(of, _)| *of == client).map(|(_, policy)| *policy);
            if let Some(policy) = own.or(setup.policy) {
                config = config.with_policy(policy).unwrap();
            }
            config.with_limits(setup.client_limits)
        };
        let boot = move |boot: Boot<'_>| {
            let restore = |records: &[Vec<u8>], now, rng: &mut dyn CryptoRng| {
                Client::restore(config(), records, now, rng)
            };
            Either::Left(restored(boot, &started, 1, restore))
        };
        clients.push(world.add_node(Layout::Log, boot));
    }
    for &client in &clients {
        for (number, &hub) in hubs.iter().enumerate() {
            world.route(client, PeerHandle::new(number as u32), hub);
        }
    }
    let tags = (0..setup.clients).map(tag).collect();
    let hub_ids = (0..setup.hubs).map(hub_id).collect();
    let enrolment = |(initial_key, uplink, downlink)| Enrolment { initial_key, uplink, downlink };
    let enrolments = shared.into_iter().map(|of_hub| of_hub.into_iter().map(enrolment).collect()).collect();
    Cast {
        revision,
        world,
        clients,
        hubs,
        tags,
        hub_ids,
        hub_downlinks,
        hub_uplinks,
        client_tables,
        enrolments,
        further,
        boots,
        adversary: Vec::new(),
        adversary_hellos: Vec::new(),
    }
}

impl Cast {
    /// Client `from` asks for a key with client `to`.
    pub fn request(&mut self, from: usize, to: usize, request: KeyRequest) -> KeyId {
        self.try_request(from, to, request).unwrap()
    }

    pub fn try_request(
        &mut self,
        from: usize,
        to: usize,
        request: KeyRequest,
    ) -> Result<KeyId, skex_dske::ClientError> {
        let peer = self.tags[to];
        let asked = self.world.call(self.clients[from], |party, now, rng| {
            party.left().unwrap().request_key(now, rng, peer, request)
        });
        asked.unwrap()
    }

    /// Client `client` starts anew with another policy than the set-up's.
    pub fn demands(&mut self, client: usize, policy: ResponderPolicy) {
        self.revision.borrow_mut().policies.push((client, policy));
        self.world.kill(self.clients[client]);
        self.world.restart(self.clients[client]);
    }

    /// As [`Self::try_request`]; `None` if the client is down.
    pub fn try_request_if_up(
        &mut self,
        from: usize,
        to: usize,
        request: KeyRequest,
    ) -> Option<Result<KeyId, skex_dske::ClientError>> {
        let peer = self.tags[to];
        self.world.call(self.clients[from], |party, now, rng| {
            party.left().unwrap().request_key(now, rng, peer, request)
        })
    }

    /// Provisions another table of the link between `hub` and `client`, out of band. Machines that run take it at once
    /// where `live`; all others at their next start.
    pub fn provision(
        &mut self,
        (hub, client): (usize, usize),
        (uplink, number): (bool, u16),
        origin: Origin,
        elements: usize,
        live: bool,
    ) {
        let mut octets = vec![0; elements * 16];
        let seed =
            ((hub as u64) << 32) | ((client as u64) << 20) | (u64::from(number) << 1) | u64::from(uplink);
        ChaCha20Rng::seed_from_u64(seed ^ 0x66_7572_7468).fill_bytes(&mut octets);
        let (at_client, at_hub) = (SharedPad::new(octets.clone()), SharedPad::new(octets.clone()));
        let table = Further { client, hub, uplink, number, origin, octets, at_client, stored: true, at_hub };
        if live {
            let (direction, hub_id) = (table.direction(), self.hub_ids[hub]);
            let (for_client, for_hub) = (table.table(&table.at_client), table.table(&table.at_hub));
            self.world.call(self.clients[client], |party, _, _| {
                party.left().unwrap().add_table(hub_id, direction, for_client).unwrap();
            });
            self.world.call(self.hubs[hub], |party, _, _| {
                let client = ClientId::new(client as u32);
                party.right().unwrap().add_table(client, direction, for_hub).unwrap();
            });
        }
        self.further.borrow_mut().push(table);
    }

    /// New enrolment data for client `client` at hub `hub`, under the number `number`; not in anybody's configuration yet.
    pub fn make_anew(&self, hub: usize, client: usize, number: u32) -> Anew {
        let mut rng = ChaCha20Rng::seed_from_u64(0x616e_6577 ^ ((hub as u64) << 32) ^ u64::from(number));
        let mut octets = |len: usize| {
            let mut octets = vec![0; len];
            rng.fill_bytes(&mut octets);
            octets
        };
        let (up, down) = (octets(4096 * 16), octets(4096 * 16));
        let mut initial_key = [0; 32];
        initial_key.copy_from_slice(&octets(32));
        let pads = || (SharedPad::new(up.clone()), SharedPad::new(down.clone()));
        Anew { hub, client, number, initial_key, at_client: pads(), at_hub: pads() }
    }

    /// Hub `hub` sends client `client` a table over the network.
    pub fn refill(&mut self, (hub, client): (usize, usize), (uplink, number): (bool, u16), elements: usize) {
        let mut octets = vec![0; elements * 16];
        let seed =
            ((hub as u64) << 32) | ((client as u64) << 20) | (u64::from(number) << 1) | u64::from(uplink);
        ChaCha20Rng::seed_from_u64(seed ^ 0x72_6566_696c).fill_bytes(&mut octets);
        let (at_client, at_hub) = (SharedPad::new(Vec::new()), SharedPad::new(octets.clone()));
        let origin = Origin::Refill;
        let table = Further { client, hub, uplink, number, origin, octets, at_client, stored: false, at_hub };
        let (direction, for_hub) = (table.direction(), table.table(&table.at_hub));
        self.further.borrow_mut().push(table);
        self.world.call(self.hubs[hub], |party, now, _| {
            let client = ClientId::new(client as u32);
            party.right().unwrap().refill(now, client, direction, for_hub).unwrap();
        });
    }

    /// What an embedder does with the tables that came to the clients since event `from`: it stores each, then adds it. A
    /// client that is down meanwhile has it at its next start. How many came.
    pub fn store_refills(&mut self, from: usize) -> usize {
        let mut came = Vec::new();
        for happened in &self.world.events()[from..] {
            let Either::Left(ClientEvent::Refill { hub, direction, number, octets }) = &happened.event else {
                continue;
            };
            let client = self.clients.iter().position(|node| *node == happened.node).unwrap();
            let hub = self.hub_ids.iter().position(|id| id == hub).unwrap();
            came.push((client, hub, *direction, *number, octets.expose().to_vec()));
        }
        for (client, hub, direction, number, octets) in &came {
            let mut further = self.further.borrow_mut();
            let own = |table: &&mut Further| {
                (table.client, table.hub, table.direction(), table.number)
                    == (*client, *hub, *direction, *number)
            };
            let table = further.iter_mut().find(own).expect("a table that a hub sent");
            assert!(table.octets == *octets, "a table came as it is");
            if table.stored {
                continue;
            }
            table.stored = true;
            table.at_client.set_octets(octets);
            let for_client = table.table(&table.at_client);
            drop(further);
            let hub = self.hub_ids[*hub];
            self.world.call(self.clients[*client], |party, _, _| {
                party.left().unwrap().add_table(hub, *direction, for_client).unwrap();
            });
        }
        came.len()
    }

    /// Makes hub `hub` lie to client `client`.
    pub fn lie(&self, hub: usize, client: usize) {
        self.hub_downlinks[hub][client].set_lying(true);
    }

    /// Makes hub `hub` lie to client `client` in a way of its own.
    pub fn lie_alone(&self, hub: usize, client: usize) {
        self.hub_downlinks[hub][client].set_lie(Lie::Octets(hub as u64 + 1));
    }

    /// The keys that client `client` has been given, in order.
    pub fn keys(&self, client: usize) -> Vec<&Established> {
        let node = self.clients[client];
        self.world
            .events()
            .iter()
            .filter(|happened| happened.node == node)
            .filter_map(|happened| match &happened.event {
                Either::Left(ClientEvent::KeyEstablished(established)) => Some(established),
                _ => None,
            })
            .collect()
    }

    /// The key `id` at client `client`, if it was given.
    pub fn key(&self, client: usize, id: KeyId) -> Option<Vec<u8>> {
        let mut found = self.keys(client).into_iter().filter(|established| established.key.id() == id);
        found.next().map(|established| established.key.secret().expose().to_vec())
    }

    /// The last report of client `client` on the hubs of key `id`.
    pub fn conducts(&self, client: usize, id: KeyId) -> Option<Vec<Conduct>> {
        let node = self.clients[client];
        self.world.events().iter().rev().filter(|happened| happened.node == node).find_map(|happened| {
            match &happened.event {
                Either::Left(ClientEvent::Settled { key_id, hubs, .. }) if *key_id == id => {
                    Some(hubs.iter().map(|report| report.conduct).collect())
                }
                _ => None,
            }
        })
    }

    /// Whether client `client` called the last blame for key `id` certain.
    pub fn blames_with_certainty(&self, client: usize, id: KeyId) -> Option<bool> {
        let node = self.clients[client];
        self.world.events().iter().rev().filter(|happened| happened.node == node).find_map(|happened| {
            match &happened.event {
                Either::Left(ClientEvent::Settled { key_id, blame_is_certain, .. }) if *key_id == id => {
                    Some(*blame_is_certain)
                }
                _ => None,
            }
        })
    }

    /// Why key `id` failed at client `client`, if it did.
    pub fn failure(&self, client: usize, id: KeyId) -> Option<skex_dske::KeyError> {
        let node = self.clients[client];
        self.world.events().iter().filter(|happened| happened.node == node).find_map(|happened| {
            match &happened.event {
                Either::Left(ClientEvent::KeyFailed { key_id, error, .. }) if *key_id == id => Some(*error),
                _ => None,
            }
        })
    }

    /// Runs until both ends have key `id`, or nothing more can be expected.
    pub fn settle(&mut self, seconds: u64) {
        self.world.run_for(core::time::Duration::from_secs(seconds), 1_000_000);
        assert!(self.world.failures().is_empty(), "{:?}", self.world.failures());
    }

    /// All hubs start anew.
    pub fn restart_hubs(&mut self) {
        self.hubs.iter().for_each(|hub| self.world.restart(*hub));
    }

    /// Clients 2 and 3 make keys of a second's life with client 1, in turn, until nothing is left for them; the hubs start
    /// anew after the round `restart`. There must be something left for client 0.
    pub fn two_drain_a_downlink_and_a_third_is_served(
        &mut self,
        threshold: u8,
        rounds: usize,
        restart: Option<usize>,
    ) {
        let mut request = KeyRequest::new(threshold);
        request.lifetime = 1;
        for round in 0..rounds {
            let _ = self.try_request(2 + round % 2, 1, request);
            self.settle(2);
            if restart == Some(round) {
                for hub in self.hubs.clone() {
                    self.world.kill(hub);
                    self.world.restart(hub);
                }
                self.settle(20);
            }
        }
        let id = self.request(0, 1, KeyRequest::new(threshold));
        self.settle(30);
        self.assert_agreed(0, 1, id);
    }

    /// Both ends have the same key `id`, and each has it once.
    pub fn assert_agreed(&self, initiator: usize, responder: usize, id: KeyId) {
        let ours = self.key(initiator, id).expect("the initiator has the key");
        let theirs = self.key(responder, id).expect("the responder has the key");
        assert_eq!(ours, theirs);
        assert!(ours.iter().any(|&octet| octet != 0));
        let count = |client: usize, role: Role| {
            self.keys(client).iter().filter(|key| key.key.id() == id && key.role == role).count()
        };
        assert_eq!((count(initiator, Role::Initiator), count(responder, Role::Responder)), (1, 1));
    }

    pub fn now(&self) -> Instant {
        self.world.now()
    }
}

/// The messages in an envelope.
pub fn each_alone(inner: &[u8]) -> Vec<Vec<u8>> {
    match Inner::decode(inner) {
        Ok(Inner::Several(several)) => several.messages().map(<[u8]>::to_vec).collect(),
        _ => vec![inner.to_vec()],
    }
}
