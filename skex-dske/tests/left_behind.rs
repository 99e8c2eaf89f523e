//! What is wiped is nowhere in memory: not where it lay, nor where it lay before it was moved, in use or given back. Looked for at the allocator,
//! which gives no octet out twice.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_core,
    missing_docs
)]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::alloc::{GlobalAlloc, Layout};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use skex_core::machine::{Destination, Instant, Machine, Output, PathId, PeerHandle};
use skex_core::{SecretBytes, SecretVec};
use skex_dske::{
    Authorised, Client, ClientConfig, ClientEvent, ClientId, ClientTag, Coordinate, Hub, HubClient,
    HubConfig, HubEvent, HubId, HubLink, KeyRequest, MemoryPad, Origin, Role, Table,
};
use skex_wire::SuiteId;

const OCTETS: usize = 256 << 20;

/// All memory that the process ever has. Nothing is taken back, so what was left behind stays.
#[repr(align(4096))]
struct Memory(UnsafeCell<[u8; OCTETS]>);

// SAFETY: every octet is given to one owner, once.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; OCTETS]));
static GIVEN: AtomicUsize = AtomicUsize::new(0);

struct Never;

// SAFETY: blocks are apart from each other, aligned, and inside of the memory.
unsafe impl GlobalAlloc for Never {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let taken = layout.size() + layout.align();
        let start = GIVEN.fetch_add(taken, Ordering::Relaxed).next_multiple_of(layout.align());
        if start + layout.size() > OCTETS {
            return core::ptr::null_mut();
        }
        MEMORY.0.get().cast::<u8>().wrapping_add(start)
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Never = Never;

/// Octets to be looked for, kept so that they are not found here.
struct Wanted([u8; 16]);

impl Wanted {
    fn of(octets: &[u8]) -> Self {
        Self(core::array::from_fn(|place| !octets[place]))
    }

    /// How often they are in memory.
    fn found(&self) -> usize {
        let given = GIVEN.load(Ordering::Relaxed);
        // SAFETY: within the memory, and nobody else is at work.
        let memory = unsafe { core::slice::from_raw_parts(MEMORY.0.get().cast::<u8>(), given) };
        let first = !self.0[0];
        let places = (0..memory.len() - 16).filter(|&place| memory[place] == first);
        places.filter(|&place| memory[place..place + 16].iter().zip(&self.0).all(|(a, b)| *a == !*b)).count()
    }
}

const HUBS: u8 = 3;
const CLIENTS: u8 = 2;
const ELEMENTS: usize = 2048;

fn generator(hub: u8, client: u8, what: u8) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(u64::from_be_bytes([0, 0, 0, 0, 1, hub, client, what]))
}

fn initial_key(hub: u8, client: u8, number: u8) -> SecretBytes<32> {
    SecretBytes::generate(&mut generator(hub, client, 2 + number))
}

fn table(hub: u8, client: u8, downlink: u8) -> Table<MemoryPad> {
    let octets = SecretVec::generate(&mut generator(hub, client, downlink), ELEMENTS * 16);
    Table::new(0, Origin::OutOfBand, MemoryPad::new(octets))
}

fn tag(client: u8) -> ClientTag {
    ClientTag::new([0xc0 + client; 16])
}

fn hub_client(hub: u8, client: u8) -> HubClient<MemoryPad> {
    HubClient {
        client: ClientId::new(client.into()),
        tag: tag(client),
        suite: SuiteId::SHA256_AES256GCM,
        initial_key: initial_key(hub, client, 0),
        uplink: table(hub, client, 0),
        downlink: table(hub, client, 1),
        authorised: Authorised::Everyone,
    }
}

fn hub(number: u8, rng: &mut ChaCha20Rng) -> Hub<MemoryPad> {
    let mut clients = Vec::with_capacity(CLIENTS.into());
    (0..CLIENTS).for_each(|client| clients.push(hub_client(number, client)));
    let coordinate = Coordinate::new(number + 1).unwrap();
    let config = HubConfig::new(HubId::new([0xb0 + number; 16]), coordinate, clients).unwrap();
    Hub::restore(config, [] as [&[u8]; 0], Instant::from_millis(0), rng).unwrap()
}

fn client(number: u8, rng: &mut ChaCha20Rng) -> Client<MemoryPad> {
    let mut links = Vec::with_capacity(HUBS.into());
    for hub in 0..HUBS {
        links.push(HubLink {
            hub: HubId::new([0xb0 + hub; 16]),
            coordinate: Coordinate::new(hub + 1).unwrap(),
            handle: PeerHandle::new(hub.into()),
            client: ClientId::new(number.into()),
            suite: SuiteId::SHA256_AES256GCM,
            initial_key: initial_key(hub, number, 0),
            uplink: table(hub, number, 0),
            downlink: table(hub, number, 1),
        });
    }
    let config = ClientConfig::new(tag(number), links, vec![tag(1 - number)]).unwrap();
    Client::restore(config, [] as [&[u8]; 0], Instant::from_millis(0), rng).unwrap()
}

struct Net {
    hubs: Vec<Hub<MemoryPad>>,
    clients: Vec<Client<MemoryPad>>,
    now: Instant,
    rng: ChaCha20Rng,
    keys: Vec<(Role, Wanted)>,
    told: Vec<HubEvent>,
}

impl Net {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let hubs = (0..HUBS).map(|number| hub(number, &mut rng)).collect();
        let clients = (0..CLIENTS).map(|number| client(number, &mut rng)).collect();
        Self { hubs, clients, now: Instant::from_millis(1), rng, keys: Vec::new(), told: Vec::new() }
    }

    /// A network without loss and a store that is durable at once, until nothing is under way.
    fn settle(&mut self) {
        loop {
            let mut mail = Vec::new();
            for (number, client) in self.clients.iter_mut().enumerate() {
                client.handle_timeout(self.now, &mut self.rng).unwrap();
                while let Some((to, octets)) = Self::next(client, |client, event| {
                    let ClientEvent::KeyEstablished(made) = event else { return };
                    self.keys.push((made.role, Wanted::of(made.key.secret().expose())));
                    if made.role == Role::Responder {
                        client.taken(made.peer, made.key.id()).unwrap();
                    }
                }) {
                    let Destination::Peer(hub) = to else { panic!("to whom?") };
                    mail.push((false, number as u64, u64::from(hub.number()), octets));
                }
            }
            for (number, hub) in self.hubs.iter_mut().enumerate() {
                hub.handle_timeout(self.now, &mut self.rng).unwrap();
                while let Some((to, octets)) = Self::next(hub, |_, event| self.told.push(event)) {
                    let Destination::Path(client) = to else { panic!("to whom?") };
                    mail.push((true, number as u64, client.number(), octets));
                }
            }
            if mail.is_empty() {
                return;
            }
            for (to_client, from, to, octets) in mail {
                let (now, rng, from) = (self.now, &mut self.rng, PathId::new(from));
                let _ = if to_client {
                    let Some(client) = self.clients.get_mut(to as usize) else { continue };
                    client.handle_message(now, rng, from, &octets).unwrap()
                } else {
                    self.hubs[to as usize].handle_message(now, rng, from, &octets).unwrap()
                };
            }
        }
    }

    /// The next message of a machine that has stored and told everything before.
    fn next<M: Machine<Payload = Vec<u8>>>(
        machine: &mut M,
        mut tell: impl FnMut(&mut M, M::Event),
    ) -> Option<(Destination, Vec<u8>)> {
        loop {
            match machine.poll_output() {
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint.commit_with(|_| Ok::<_, ()>(())).unwrap();
                    machine.handle_persisted(receipt).unwrap();
                }
                Output::Event(event) => tell(machine, event),
                Output::Transmit(transmit) => return Some((transmit.to, transmit.payload)),
                Output::Wait(_) => return None,
            }
        }
    }

    fn run_for(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.settle();
            self.now = self.now.saturating_add(Duration::from_millis(250));
        }
        self.settle();
    }
}

/// One test, for the memory is one.
#[test]
fn what_is_over_is_nowhere_in_memory() {
    let mut net = Net::new();
    let key_of = |hub, client, number| Wanted::of(initial_key(hub, client, number).expose());
    let element = |hub, client, downlink, at: usize| {
        let mut octets = [0; 16];
        let mut generator = generator(hub, client, downlink);
        (0..=at).for_each(|_| generator.fill_bytes(&mut octets));
        Wanted::of(&octets)
    };
    // What is looked for can be found, and once at each end.
    assert_eq!(key_of(1, 1, 0).found(), 2);
    assert_eq!(element(0, 0, 0, 1000).found(), 2);

    // A key, once both applications have it and its records are replaced: also where it waited for the application.
    let Net { now, ref mut rng, .. } = net;
    net.clients[0].request_key(now, rng, tag(1), KeyRequest::new(2)).unwrap();
    net.run_for(65);
    assert_eq!(net.keys.len(), 2);
    for (role, key) in &net.keys {
        assert_eq!(key.found(), 0, "the key that the {role:?} was given");
    }

    // The pads that carried it, and the keys of their messages. (Keys of answers, at 2 and 3, prove nothing once these have come.)
    for (hub, client, downlink) in (0..HUBS).flat_map(|hub| [(hub, 0, 0), (hub, 1, 1)]) {
        let left: Vec<usize> = (0..13)
            .filter(|at| !(2..4).contains(at) && element(hub, client, downlink, *at).found() > 0)
            .collect();
        assert!(left.is_empty(), "hub {hub}, client {client}, downlink {downlink}: {left:?}");
    }

    // An initial key, once another has taken its place at both ends.
    let Net { now, ref mut rng, .. } = net;
    let id = HubId::new([0xb1; 16]);
    net.clients[1].replace_initial_key(now, rng, id, initial_key(1, 1, 1)).unwrap();
    net.hubs[1].replace_initial_key(ClientId::new(1), initial_key(1, 1, 1)).unwrap();
    net.run_for(65);
    assert_eq!(net.told.len(), 1, "{:?}", net.told);
    assert_eq!(key_of(1, 1, 0).found(), 0);
    assert_eq!(key_of(1, 1, 1).found(), 2);
    let Net { now, ref mut rng, .. } = net;
    net.clients[1].replace_initial_key(now, rng, id, initial_key(1, 1, 2)).unwrap();
    net.hubs[1].replace_initial_key(ClientId::new(1), initial_key(1, 1, 2)).unwrap();
    net.run_for(65);
    assert_eq!(key_of(1, 1, 1).found(), 0);

    // Everything of a client that was revoked; the others are where they were, also once there is one more.
    net.clients.pop();
    for hub in 0..HUBS {
        net.hubs[usize::from(hub)].revoke(net.now, ClientId::new(1)).unwrap();
        net.hubs[usize::from(hub)].enrol(hub_client(hub, 2), &[]).unwrap();
    }
    net.run_for(65);
    assert_eq!(key_of(0, 1, 0).found() + key_of(1, 1, 2).found() + key_of(2, 1, 0).found(), 0);
    assert_eq!(key_of(0, 0, 0).found(), 2);
    assert_eq!(element(0, 1, 0, 1000).found(), 0);
}
