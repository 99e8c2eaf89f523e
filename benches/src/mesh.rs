//! DSKE clients and their hubs.

use core::fmt;
use core::hint::black_box;
use core::time::Duration;
use std::collections::VecDeque;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::Rng;
use skex_core::SecretBytes;
use skex_core::SecretVec;
use skex_core::machine::{Destination, Disposition, Instant, Output, PathId, PeerHandle};
use skex_dske::{
    Authorised, Client, ClientConfig, ClientEvent, ClientId, ClientTag, Coordinate, Hub, HubClient,
    HubConfig, HubId, HubLink, KeyRequest, MemoryPad, Origin, Pad, PadError, Role, Table,
};
use skex_wire::SuiteId;

/// What one link shares: initial key, and the seeds of uplink and downlink.
type Shared = (Vec<u8>, u64, u64);

/// A table that a mesh can have.
pub trait MeshPad: Pad {
    /// The table of a seed, the same at both ends.
    fn of(seed: u64, elements: usize) -> Self;
}

impl MeshPad for MemoryPad {
    fn of(seed: u64, elements: usize) -> Self {
        Self::new(SecretVec::copied_from(&crate::octets(&mut crate::generator(seed), 16 * elements)))
    }
}

/// A table that takes no room, so that many clients can have long ones: each octet follows from a seed and its place. It holds no
/// secret, and is erased from its beginning alone.
#[derive(Clone, Copy, Debug)]
pub struct ComputedPad {
    seed: u64,
    elements: u32,
    erased: u32,
}

impl MeshPad for ComputedPad {
    fn of(seed: u64, elements: usize) -> Self {
        Self { seed, elements: elements as u32, erased: 0 }
    }
}

impl Pad for ComputedPad {
    fn elements(&self) -> u32 {
        self.elements
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        if index < self.erased {
            return Err(PadError::Erased);
        }
        // A multiplication that scatters, and never zero, which is what erased elements are.
        let octets = |place: u64| {
            let word = (self.seed ^ place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1).to_le_bytes()
        };
        let (words, rest) = out.as_chunks_mut::<8>();
        let places = u64::from(index) * 2..;
        places.clone().zip(&mut *words).for_each(|(place, word)| *word = octets(place));
        let last = octets(places.start + words.len() as u64);
        rest.copy_from_slice(&last[..rest.len()]);
        Ok(())
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        if index <= self.erased {
            self.erased = self.erased.max(index + elements);
        }
        Ok(())
    }
}

/// Messages that a hub takes at once, at most, as its driver does: what it answers has to find room.
const GATHERED: usize = 1024;

/// A message on its way: from the client to the hub, or back.
struct Flying {
    client: usize,
    hub: usize,
    up: bool,
    octets: Vec<u8>,
}

/// Clients and their hubs, with tables in memory, stores that are always durable, and a wire without loss.
pub struct Mesh<P = MemoryPad> {
    clients: Vec<Client<P>>,
    hubs: Vec<Hub<P>>,
    flying: VecDeque<Flying>,
    keys: Vec<Vec<SecretVec>>,
    rng: ChaCha20Rng,
    now: Instant,
    threshold: u8,
    tags_apart: usize,
    /// Octets of a key.
    pub key_len: u32,
    /// Of a hundred messages, so many are lost.
    pub loss: u32,
    /// Octets that were sent.
    pub sent: usize,
    /// Messages that were sent.
    pub messages: usize,
    /// Processor time that the hubs took, where that is measured: as long as this is not `None`.
    pub hub_time: Option<Duration>,
}

impl<P> fmt::Debug for Mesh<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("hubs", &self.hubs.len()).finish_non_exhaustive()
    }
}

fn tag(client: usize) -> ClientTag {
    let mut tag = [0xc0; 16];
    tag[8..].copy_from_slice(&(client as u64).to_be_bytes());
    ClientTag::new(tag)
}

fn hub_id(hub: usize) -> HubId {
    HubId::new([0xa0 + hub as u8; 16])
}

impl Mesh {
    /// Two clients and their hubs, everybody up and connected, tables of `elements` elements.
    #[must_use]
    pub fn connected(threshold: u8, hubs: usize, elements: usize) -> Self {
        Self::among(threshold, hubs, elements, 2, 2)
    }
}

impl<P: MeshPad> Mesh<P> {
    /// As [`Mesh::connected`], with `clients` that make keys, each with the next, among as many that are `enrolled` and never say
    /// anything.
    #[must_use]
    pub fn among(threshold: u8, hubs: usize, elements: usize, clients: usize, enrolled: usize) -> Self {
        // The number of a client at the hubs: they lie among the others.
        let apart = enrolled / clients;
        let elements = |number: usize| {
            let is_one = number.is_multiple_of(apart) && number / apart < clients;
            if is_one { elements } else { 1 }
        };
        let mut rng: ChaCha20Rng = crate::generator(2);
        let now = Instant::ZERO;
        // By hub, then client.
        let shared: Vec<Vec<Shared>> = (0..hubs)
            .map(|_| {
                let mut link = || (crate::octets(&mut rng, 32), rng.next_u64(), rng.next_u64());
                (0..enrolled).map(|_| link()).collect()
            })
            .collect();
        let key = |octets: &[u8]| SecretBytes::try_copied_from(octets).unwrap();
        let pad =
            |number: usize, seed: &u64| Table::new(0, Origin::OutOfBand, P::of(*seed, elements(number)));
        let suite = SuiteId::SHA256_AES256GCM;
        let coordinate = |hub: usize| Coordinate::new(hub as u8 + 1).unwrap();
        let no_records: [&[u8]; 0] = [];
        let hub = |(number, links): (usize, &Vec<Shared>)| {
            let clients = links.iter().enumerate().map(|(client, (initial, up, down))| HubClient {
                client: ClientId::new(client as u32),
                tag: tag(client),
                suite,
                initial_key: key(initial),
                uplink: pad(client, up),
                downlink: pad(client, down),
                authorised: Authorised::Everyone,
            });
            HubConfig::new(hub_id(number), coordinate(number), clients.collect()).unwrap()
        };
        let configs: Vec<_> = shared.iter().enumerate().map(hub).collect();
        let hubs: Vec<_> = configs
            .into_iter()
            .map(|config| Hub::restore(config, no_records, now, &mut rng).unwrap())
            .collect();
        let client = |client: usize| {
            let number = client * apart;
            let links = shared.iter().enumerate().map(|(hub, links)| {
                let (initial, up, down) = &links[number];
                HubLink {
                    hub: hub_id(hub),
                    coordinate: coordinate(hub),
                    handle: PeerHandle::new(hub as u32),
                    client: ClientId::new(number as u32),
                    suite,
                    initial_key: key(initial),
                    uplink: pad(number, up),
                    downlink: pad(number, down),
                }
            });
            let peer = |other: usize| tag(other % clients * apart);
            let mut peers = vec![peer(client + 1), peer(client + clients - 1)];
            peers.dedup();
            ClientConfig::new(tag(number), links.collect(), peers).unwrap()
        };
        let configs: Vec<_> = (0..clients).map(client).collect();
        let clients: Vec<_> = configs
            .into_iter()
            .map(|config| Client::restore(config, no_records, now, &mut rng).unwrap())
            .collect();
        let keys = clients.iter().map(|_| Vec::new()).collect();
        let mut mesh = Self {
            clients,
            hubs,
            flying: VecDeque::new(),
            keys,
            rng,
            now,
            threshold,
            tags_apart: apart,
            key_len: 32,
            loss: 0,
            sent: 0,
            messages: 0,
            hub_time: None,
        };
        mesh.settle();
        assert!(mesh.clients.iter().all(|client| client.status().all(|link| link.connected)));
        mesh
    }

    /// How many clients make keys.
    #[must_use]
    pub const fn clients(&self) -> usize {
        self.clients.len()
    }

    fn drain_client(&mut self, number: usize) {
        let client = &mut self.clients[number];
        loop {
            match client.poll_output() {
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint.commit_with(|record| {
                        black_box(record.as_ref());
                        Ok::<(), ()>(())
                    });
                    client.handle_persisted(receipt.unwrap()).unwrap();
                }
                Output::Transmit(transmit) => {
                    let hub = match transmit.to {
                        Destination::Peer(handle) => handle.number() as usize,
                        Destination::Path(path) => path.number() as usize,
                        _ => panic!("a destination that this driver does not know"),
                    };
                    self.flying.push_back(Flying { client: number, hub, up: true, octets: transmit.payload });
                }
                Output::Event(event) => {
                    let done = match event {
                        ClientEvent::KeyEstablished(established) => {
                            let key = SecretVec::copied_from(established.key.secret().expose());
                            self.keys[number].push(key);
                            (established.role == Role::Responder).then_some(established)
                        }
                        _ => None,
                    };
                    if let Some(established) = done {
                        client.taken(established.peer, established.key.id()).unwrap();
                    }
                }
                Output::Wait(_) => return,
            }
        }
    }

    fn drain_hub(&mut self, number: usize) {
        let hub = &mut self.hubs[number];
        loop {
            match hub.poll_output() {
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint.commit_with(|record| {
                        black_box(record.as_ref());
                        Ok::<(), ()>(())
                    });
                    hub.handle_persisted(receipt.unwrap()).unwrap();
                }
                Output::Transmit(transmit) => {
                    let client = match transmit.to {
                        Destination::Peer(handle) => handle.number() as usize,
                        Destination::Path(path) => path.number() as usize,
                        _ => panic!("a destination that this driver does not know"),
                    };
                    let octets = transmit.payload;
                    self.flying.push_back(Flying { client, hub: number, up: false, octets });
                }
                Output::Wait(_) => return,
                _ => {}
            }
        }
    }

    /// Carries messages until none is on its way. Each hub takes what has come to it at once, as its driver does: so it costs one
    /// checkpoint, and the clock of the process, which is slow, is read twice for many messages.
    fn settle(&mut self) {
        for client in 0..self.clients.len() {
            self.drain_client(client);
        }
        self.carry();
    }

    fn carry(&mut self) {
        for hub in 0..self.hubs.len() {
            self.drain_hub(hub);
        }
        while !self.flying.is_empty() {
            let mut arriving: Vec<Vec<Flying>> = self.hubs.iter().map(|_| Vec::new()).collect();
            while let Some(message) = self.flying.pop_front() {
                self.sent += message.octets.len();
                self.messages += 1;
                if self.loss > 0 && self.rng.next_u32() % 100 < self.loss {
                    continue;
                }
                if message.up {
                    arriving[message.hub].push(message);
                } else {
                    self.receive(&message);
                }
            }
            for (hub, messages) in arriving.iter().enumerate() {
                messages.chunks(GATHERED).for_each(|messages| self.serve(hub, messages));
            }
        }
    }

    // A path has the number of the other end.

    fn receive(&mut self, &Flying { client, hub, ref octets, .. }: &Flying) {
        let from = PathId::new(hub as u64);
        let taken = self.clients[client].handle_message(self.now, &mut self.rng, from, octets);
        let _: Disposition = black_box(taken.unwrap());
        self.drain_client(client);
    }

    /// What is due at a hub, and what has come to it. By this name callgrind finds it (benches/count.py).
    #[inline(never)]
    fn serve(&mut self, hub: usize, messages: &[Flying]) {
        let begun = self.hub_time.map(|_| crate::work::cpu_time());
        self.hubs[hub].handle_timeout(self.now, &mut self.rng).unwrap();
        for message in messages {
            let from = PathId::new(message.client as u64);
            let taken = self.hubs[hub].handle_message(self.now, &mut self.rng, from, &message.octets);
            let _: Disposition = black_box(taken.unwrap());
        }
        self.drain_hub(hub);
        if let (Some(spent), Some(begun)) = (&mut self.hub_time, begun) {
            *spent += crate::work::cpu_time() - begun;
        }
    }

    /// Lets time pass, so that everybody forgets the keys whose lifetime is over.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
        for client in &mut self.clients {
            client.handle_timeout(self.now, &mut self.rng).unwrap();
        }
        for hub in &mut self.hubs {
            hub.handle_timeout(self.now, &mut self.rng).unwrap();
        }
        self.settle();
    }

    /// Lets time pass for the hubs alone: clients that have nothing to do need not be asked.
    pub fn wait_at_hubs(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
        for hub in 0..self.hubs.len() {
            self.serve(hub, &[]);
        }
        self.carry();
    }

    /// One key from request to confirmation, all parties.
    pub fn key(&mut self) {
        self.keys_of(&[0], 60);
    }

    /// The same of other clients, each with the next one, all at once; a key lives `lifetime` seconds.
    pub fn keys_of(&mut self, initiators: &[usize], lifetime: u16) {
        let mut ends = Vec::new();
        for &initiator in initiators {
            let responder = (initiator + 1) % self.clients.len();
            let mut request = KeyRequest::new(self.threshold);
            request.lifetime = lifetime;
            request.key_len = self.key_len;
            let peer = tag(responder * self.tags_apart);
            self.clients[initiator].request_key(self.now, &mut self.rng, peer, request).unwrap();
            ends.extend([initiator, responder]);
        }
        ends.iter().for_each(|end| self.drain_client(*end));
        self.carry();
        // What was lost is sent again.
        while self.loss > 0 && ends.iter().any(|end| self.keys[*end].is_empty()) {
            self.wait(Duration::from_millis(100));
        }
        let mut made: Vec<SecretVec> =
            ends.iter().flat_map(|end| core::mem::take(&mut self.keys[*end])).collect();
        made.sort_unstable_by(|a, b| a.expose().cmp(b.expose()));
        let paired = made.chunks(2).all(|keys| matches!(keys, [ours, theirs] if ours == theirs));
        assert!(paired && made.len() == ends.len(), "of each key two, and no other");
    }
}
