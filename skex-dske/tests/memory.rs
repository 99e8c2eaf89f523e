//! What a hub keeps in memory for each of its clients, beside their tables: counted at the allocator.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_core,
    missing_docs
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use skex_core::machine::{Instant, Output, PathId};
use skex_core::{Expander, Label, SecretBytes, Suite, extract};
use skex_dske::{
    Authorised, ClientId, ClientTag, Coordinate, Hub, HubClient, HubConfig, HubId, MessageTagKey, Origin,
    Pad, PadError, Table,
};
use skex_wire::dske::{
    Answer, AnswerStatus, BlockPosition, Direction, DskeSuiteId, Fetch, Hello, Inner, InnerType, LeaseGrant,
    LeaseRequest, Outer, SealedHeader, ShareMessage, Terms, tag_prefix,
};
use skex_wire::{SuiteId, Writer};

/// Octets that are allocated now.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is left to the system's allocator; only the lengths are added up.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: u32 = 50_000;

const NOW: Instant = Instant::from_millis(1);

fn tag(client: u32) -> ClientTag {
    let mut tag = [0xc0; 16];
    // Spread, as tags are.
    tag[..4].copy_from_slice(&client.wrapping_mul(0x9e37_79b9).to_be_bytes());
    ClientTag::new(tag)
}

/// A table of 64 Ki elements that takes no memory: each octet follows from its place.
struct Made;

impl Pad for Made {
    fn elements(&self) -> u32 {
        1 << 16
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        let places = u64::from(index) * 16..;
        let octet = |place: u64| (place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        out.iter_mut().zip(places).for_each(|(out, place)| *out = octet(place) | 1);
        Ok(())
    }

    fn erase(&mut self, _: u32, _: u32) -> Result<(), PadError> {
        Ok(())
    }
}

fn suite() -> Suite {
    Suite::from_id(SuiteId::SHA256_AES256GCM).unwrap()
}

const HUB: [u8; 16] = [0xb0; 16];
const INITIAL: [u8; 32] = [7; 32];

fn written(len: usize, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut octets = vec![0; len];
    let mut writer = Writer::new(&mut octets);
    write(&mut writer);
    let len = writer.written().len();
    octets.truncate(len);
    octets
}

/// A client, its messages sealed by hand.
struct Talker {
    id: u32,
    to_hub: SecretBytes<32>,
    to_client: SecretBytes<32>,
    sequence: u32,
}

impl Talker {
    /// Says hello, fetches, and asks for a lease.
    fn new(hub: &mut Hub<Made>, id: u32, rng: &mut ChaCha20Rng) -> Self {
        let salt = [3; 16];
        let keys = Expander::new(suite(), &extract(suite(), &[], &[&INITIAL]));
        let key = suite().mac_key(keys.secret::<32>(Label::DSKE_HELLO, &[&HUB]).expose());
        let hello = written(64, |out| Hello::new(id, salt).encode_untagged(out).unwrap());
        let hello = [hello.as_slice(), &key.tag(&[&[], &hello])].concat();
        let _ = hub.handle_message(NOW, rng, PathId::new(u64::from(id)), &hello).unwrap();
        let replies = drain(hub);
        let Ok(Outer::HelloReply(reply)) = Outer::decode(&replies[0]) else { panic!("no reply") };
        let secret = extract(suite(), &[salt, reply.message.salt].concat(), &[&INITIAL]);
        let context: [&[u8]; 2] = [&id.to_be_bytes(), &HUB];
        let keys = Expander::new(suite(), &secret);
        let to_hub = keys.secret::<32>(Label::DSKE_ENVELOPE_TO_HUB, &context);
        let to_client = keys.secret::<32>(Label::DSKE_ENVELOPE_TO_CLIENT, &context);
        let mut client = Self { id, to_hub, to_client, sequence: 0 };
        let fetch = written(Fetch::LEN, |out| Fetch::new().encode(out).unwrap());
        client.say(hub, rng, Some(salt), &fetch);
        client.say(hub, rng, None, &fetch);
        let request = LeaseRequest::new(0, [9; 16], 0, 2048);
        client.say(hub, rng, None, &written(LeaseRequest::LEN, |out| request.encode(out).unwrap()));
        client
    }

    /// Says it, and gives what the hub sends after that.
    fn say(
        &mut self,
        hub: &mut Hub<Made>,
        rng: &mut ChaCha20Rng,
        salt: Option<[u8; 16]>,
        inner: &[u8],
    ) -> Vec<Vec<u8>> {
        let header = SealedHeader::new(self.id, salt, self.sequence);
        self.sequence += 1;
        let aad = written(64, |out| header.encode(out).unwrap());
        let mut body = inner.to_vec();
        let tag = suite().seal(&self.to_hub, &header.nonce(), &aad, &mut body).unwrap();
        let datagram = [aad.as_slice(), &body, &tag].concat();
        let _ = hub.handle_message(NOW, rng, PathId::new(u64::from(self.id)), &datagram).unwrap();
        drain(hub)
    }

    /// What of it is for this client.
    fn open(&self, sent: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let open = |octets: &Vec<u8>| {
            let Ok(Outer::Sealed(sealed)) = Outer::decode(octets) else { return None };
            let mut inner = sealed.ciphertext.to_vec();
            suite()
                .open(&self.to_client, &sealed.header.nonce(), sealed.aad, &mut inner, &sealed.tag)
                .ok()?;
            (sealed.header.client_id == self.id).then_some(inner)
        };
        sent.iter().filter_map(open).collect()
    }

    /// With the tag of the one-time key at `index` of its table.
    fn tagged(&self, direction: Direction, index: u32, octets: &[u8]) -> Vec<u8> {
        let mut key = [0; 32];
        Made.read(index, &mut key).unwrap();
        let prefix = tag_prefix(direction, self.id, &HUB);
        let tag = MessageTagKey::from_pad(&key).unwrap().tag(&[&prefix, octets]);
        [octets, tag.as_bytes().as_slice()].concat()
    }

    /// The upload of a share for `peer`, in the first block of the lease: a direct one.
    fn upload(&mut self, hub: &mut Hub<Made>, rng: &mut ChaCha20Rng, peer: ClientTag) -> Vec<Vec<u8>> {
        let terms = Terms::new(DskeSuiteId::ITS, 2, 32, 1, &[1, 2], &[0]).unwrap();
        let position = BlockPosition::new(0, 2, 2);
        let share =
            ShareMessage::new(InnerType::UPLOAD, position, [1; 16], *peer.as_bytes(), terms, [2; 16], &[])
                .unwrap();
        let octets = written(256, |out| share.encode_untagged(out).unwrap());
        let octets = self.tagged(Direction::UPLINK, 4, &octets);
        self.say(hub, rng, None, &octets)
    }

    /// Grants what the hub asks for in `sent`, takes the delivery, and answers it.
    fn receive(&mut self, hub: &mut Hub<Made>, rng: &mut ChaCha20Rng, sent: &[Vec<u8>]) {
        let asked = self.open(sent);
        let Some(Ok(Inner::LeaseRequest(request))) = asked.last().map(|inner| Inner::decode(inner)) else {
            panic!("the hub asks for no lease")
        };
        let (start, end) = (request.mark, request.mark + request.want);
        let grant = written(64, |out| {
            LeaseGrant::new(0, request.nonce, start, end).encode_untagged(out).unwrap();
        });
        let grant = self.tagged(Direction::UPLINK, start, &grant);
        let delivered = self.say(hub, rng, None, &grant);
        let delivered = self.open(&delivered);
        let Some(Ok(Inner::Share(share))) = delivered.last().map(|inner| Inner::decode(inner)) else {
            panic!("the hub delivers nothing")
        };
        let index = share.message.position.index;
        let answer = Answer::new(0, index, AnswerStatus::POLICY, None).unwrap();
        let answer = written(64, |out| answer.encode_untagged(out).unwrap());
        let answer = self.tagged(Direction::UPLINK, index, &answer);
        self.say(hub, rng, None, &answer);
    }
}

/// Everything that the hub gives, with a store that is durable at once.
fn drain(hub: &mut Hub<Made>) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    loop {
        match hub.poll_output() {
            Output::Persist(checkpoint) => {
                let stored: Result<_, ()> = checkpoint.commit_with(|_| Ok(()));
                hub.handle_persisted(stored.unwrap()).unwrap();
            }
            Output::Transmit(transmit) => sent.push(transmit.payload),
            Output::Wait(_) => return sent,
            _ => {}
        }
    }
}

/// draft-skex-dske, "Hub": what a client costs beside its tables: enrolled; with a session and a lease of its uplink; and once it
/// has received a share, with a lease of its downlink as well, and what the hub remembers of who spent it.
#[test]
fn a_client_costs_a_hub_at_most_512_octets() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut talkers: Vec<Talker> = Vec::with_capacity(CLIENTS as usize);
    let clients = (0..CLIENTS).map(|client| HubClient {
        client: ClientId::new(client),
        tag: tag(client),
        suite: SuiteId::SHA256_AES256GCM,
        initial_key: SecretBytes::copied_from(&INITIAL),
        uplink: Table::new(0, Origin::OutOfBand, Made),
        downlink: Table::new(0, Origin::OutOfBand, Made),
        authorised: Authorised::Everyone,
    });
    let before = ALLOCATED.load(Ordering::Relaxed);
    let config = HubConfig::new(HubId::new(HUB), Coordinate::new(1).unwrap(), clients.collect()).unwrap();
    let no_records: [&[u8]; 0] = [];
    let mut hub = Hub::restore(config, no_records, Instant::from_millis(0), &mut rng).unwrap();
    drain(&mut hub);
    let a_client = || (ALLOCATED.load(Ordering::Relaxed) - before) as f64 / f64::from(CLIENTS);
    let enrolled = a_client();
    for client in 0..CLIENTS {
        talkers.push(Talker::new(&mut hub, client, &mut rng));
    }
    let granted = ((1 << 16) - 2048) * 16;
    assert!(hub.status().all(|client| client.connected && client.uplink_remaining == granted));
    let initiates = a_client();
    for client in 0..CLIENTS {
        let responder = (client + 1) % CLIENTS;
        let sent = talkers[client as usize].upload(&mut hub, &mut rng, tag(responder));
        talkers[responder as usize].receive(&mut hub, &mut rng, &sent);
    }
    assert_eq!(hub.relayed(), u64::from(CLIENTS));
    assert!(hub.status().all(|client| client.downlink_remaining < (1 << 16) * 16 && client.waiting == 0));
    // What keys cost goes with their lifetime of a second.
    hub.handle_timeout(Instant::from_millis(2000), &mut rng).unwrap();
    drain(&mut hub);
    assert_eq!(hub.fill().find(|fill| fill.table == "keys").map(|fill| fill.held), Some(0));
    let at_work = a_client();
    println!(
        "octets for a client: {enrolled:.1} enrolled, {initiates:.1} with a session and a lease of its uplink, \
         {at_work:.1} with one of its downlink too"
    );
    assert!(at_work <= 512.0, "{at_work} octets");
    assert!(enrolled <= initiates && initiates <= at_work);
}
