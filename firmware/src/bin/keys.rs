//! Two DSKE clients, each on a fixed heap of its own, and their hubs: keys from request to confirmation.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use cortex_m_rt::entry;
use skex_core::machine::{Destination, Output, PathId};
use skex_dske::{Client, ClientEvent, Hub, KeyRequest};
use skex_firmware::dske::{FlashPad, HUBS, TAGS, THRESHOLD, client_config, hub_config};
use skex_firmware::heap::{Account, high_water, on_behalf_of};
use skex_firmware::random::Repeatable;
use skex_firmware::stack::depth_of;
use skex_firmware::{NOW, fail, heap, print, succeed};

const KEYS: usize = 5;

const ACCOUNTS: [Account; 2] = [Account::Initiator, Account::Responder];

/// A message on its way between a client and a hub.
struct Flying {
    client: usize,
    hub: usize,
    up: bool,
    octets: Vec<u8>,
}

struct World {
    clients: Vec<Client<FlashPad>>,
    hubs: Vec<Hub<FlashPad>>,
    flying: VecDeque<Flying>,
    /// The keys that the initiator has, and how many of them the responder has too.
    keys: Vec<[u8; 32]>,
    shared: usize,
    rng: Repeatable,
}

#[entry]
fn main() -> ! {
    heap::start();
    let mut world = None;
    let start = depth_of(|| world = World::new());
    let Some(mut world) = world else { fail() };
    let connecting = depth_of(|| world.settle());
    let mut requested = true;
    let keys = depth_of(|| {
        for _ in 0..KEYS {
            let request = on_behalf_of(ACCOUNTS[0], || {
                world.clients[0].request_key(NOW, &mut world.rng, TAGS[1], KeyRequest::new(THRESHOLD))
            });
            requested &= request.is_ok();
            world.settle();
        }
    });
    if !requested || world.shared != KEYS {
        fail();
    }
    print("keys", world.shared);
    print("heap_initiator", high_water(Account::Initiator));
    print("heap_responder", high_water(Account::Responder));
    print("stack_start", start);
    print("stack_connecting", connecting);
    print("stack_key", keys);
    succeed()
}

impl World {
    fn new() -> Option<Self> {
        let no_records: [&[u8]; 0] = [];
        let mut rng = Repeatable::new(4);
        let mut hubs = Vec::new();
        for hub in 0..HUBS {
            hubs.push(Hub::restore(hub_config(hub)?, no_records, NOW, &mut rng).ok()?);
        }
        let mut clients = Vec::with_capacity(ACCOUNTS.len());
        for (client, account) in ACCOUNTS.into_iter().enumerate() {
            let restored = on_behalf_of(account, || {
                Client::restore(client_config(client)?, no_records, NOW, &mut rng).ok()
            });
            clients.push(restored?);
        }
        Some(Self { clients, hubs, flying: VecDeque::new(), keys: Vec::new(), shared: 0, rng })
    }

    /// Carries messages until none is on its way.
    fn settle(&mut self) {
        for client in 0..ACCOUNTS.len() {
            self.drain_client(client);
        }
        for hub in 0..HUBS {
            self.drain_hub(hub);
        }
        while let Some(Flying { client, hub, up, octets }) = self.flying.pop_front() {
            // A path has the number of the other end.
            if up {
                let from = PathId::new(client as u64);
                if self.hubs[hub].handle_message(NOW, &mut self.rng, from, &octets).is_err() {
                    fail();
                }
                self.drain_hub(hub);
            } else {
                let from = PathId::new(hub as u64);
                let (machine, rng) = (&mut self.clients[client], &mut self.rng);
                if on_behalf_of(ACCOUNTS[client], || machine.handle_message(NOW, rng, from, &octets)).is_err()
                {
                    fail();
                }
                self.drain_client(client);
            }
        }
    }

    fn drain_client(&mut self, client: usize) {
        let machine = &mut self.clients[client];
        loop {
            let output = on_behalf_of(ACCOUNTS[client], || machine.poll_output());
            match output {
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(()));
                    if !receipt.is_ok_and(|receipt| machine.handle_persisted(receipt).is_ok()) {
                        fail();
                    }
                }
                Output::Transmit(transmit) => {
                    let Some(hub) = number(transmit.to) else { fail() };
                    // A driver would hand the octets to its network, and free them.
                    self.flying.push_back(Flying { client, hub, up: true, octets: transmit.payload.clone() });
                }
                Output::Event(ClientEvent::KeyEstablished(established)) => {
                    let Ok(key) = <[u8; 32]>::try_from(established.key.secret().expose()) else { fail() };
                    if client == 0 {
                        self.shared += usize::from(self.keys.contains(&key));
                        continue;
                    }
                    self.keys.push(key);
                    let id = established.key.id();
                    if on_behalf_of(ACCOUNTS[1], || machine.taken(established.peer, id)).is_err() {
                        fail();
                    }
                }
                Output::Event(_) => {}
                Output::Wait(_) => return,
            }
        }
    }

    fn drain_hub(&mut self, hub: usize) {
        let machine = &mut self.hubs[hub];
        loop {
            match machine.poll_output() {
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(()));
                    if !receipt.is_ok_and(|receipt| machine.handle_persisted(receipt).is_ok()) {
                        fail();
                    }
                }
                Output::Transmit(transmit) => {
                    let Some(client) = number(transmit.to) else { fail() };
                    self.flying.push_back(Flying { client, hub, up: false, octets: transmit.payload });
                }
                Output::Event(_) => {}
                Output::Wait(_) => return,
            }
        }
    }
}

/// Peers and paths have the number of the other end.
fn number(to: Destination) -> Option<usize> {
    match to {
        Destination::Peer(handle) => Some(handle.number() as usize),
        Destination::Path(path) => usize::try_from(path.number()).ok(),
        _ => None,
    }
}
