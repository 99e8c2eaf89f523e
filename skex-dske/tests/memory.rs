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
    Authorised, ClientId, ClientTag, Coordinate, Hub, HubClient, HubConfig, HubId, Origin, Pad, PadError,
    Table,
};
use skex_wire::dske::{Fetch, Hello, LeaseRequest, Outer, SealedHeader};
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

/// A client's messages, sealed by hand: a hello, a fresh fetch, an open one, a request for a lease.
fn talk(hub: &mut Hub<Made>, client: u32, rng: &mut ChaCha20Rng) {
    let (now, path) = (Instant::from_millis(1), PathId::new(u64::from(client)));
    let salt = [3; 16];
    let keys = Expander::new(suite(), &extract(suite(), &[], &[&INITIAL]));
    let key = suite().mac_key(keys.secret::<32>(Label::DSKE_HELLO, &[&HUB]).expose());
    let hello = written(64, |out| Hello::new(client, salt).encode_untagged(out).unwrap());
    let hello = [hello.as_slice(), &key.tag(&[&[], &hello])].concat();
    let _ = hub.handle_message(now, rng, path, &hello).unwrap();
    let replies = drain(hub);
    let Ok(Outer::HelloReply(reply)) = Outer::decode(&replies[0]) else { panic!("no reply") };
    let secret = extract(suite(), &[salt, reply.message.salt].concat(), &[&INITIAL]);
    let context: [&[u8]; 2] = [&client.to_be_bytes(), &HUB];
    let to_hub = Expander::new(suite(), &secret).secret::<32>(Label::DSKE_ENVELOPE_TO_HUB, &context);
    let mut inner = vec![0; Fetch::LEN];
    Fetch::new().encode(&mut Writer::new(&mut inner)).unwrap();
    let request = LeaseRequest::new(0, [9; 16], 0, 2048);
    let lease = written(LeaseRequest::LEN, |out| request.encode(out).unwrap());
    for (seq, fresh, inner) in [(0, true, &inner), (1, false, &inner), (2, false, &lease)] {
        let header = SealedHeader::new(client, fresh.then_some(salt), seq);
        let aad = written(64, |out| header.encode(out).unwrap());
        let mut body = inner.clone();
        let tag = suite().seal(&to_hub, &header.nonce(), &aad, &mut body).unwrap();
        let datagram = [aad.as_slice(), &body, &tag].concat();
        let _ = hub.handle_message(now, rng, path, &datagram).unwrap();
        drain(hub);
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

/// draft-skex-dske, "Hub": what a client costs beside its tables, enrolled and at work.
#[test]
fn a_client_costs_a_hub_at_most_512_octets() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let clients = (0..CLIENTS).map(|client| {
        let mut tag = [0xc0; 16];
        // Spread, as tags are.
        tag[..4].copy_from_slice(&client.wrapping_mul(0x9e37_79b9).to_be_bytes());
        HubClient {
            client: ClientId::new(client),
            tag: ClientTag::new(tag),
            suite: SuiteId::SHA256_AES256GCM,
            initial_key: SecretBytes::copied_from(&INITIAL),
            uplink: Table::new(0, Origin::OutOfBand, Made),
            downlink: Table::new(0, Origin::OutOfBand, Made),
            authorised: Authorised::Everyone,
        }
    });
    let before = ALLOCATED.load(Ordering::Relaxed);
    let config = HubConfig::new(HubId::new(HUB), Coordinate::new(1).unwrap(), clients.collect()).unwrap();
    let no_records: [&[u8]; 0] = [];
    let mut hub = Hub::restore(config, no_records, Instant::from_millis(0), &mut rng).unwrap();
    drain(&mut hub);
    let a_client = || (ALLOCATED.load(Ordering::Relaxed) - before) as f64 / f64::from(CLIENTS);
    let enrolled = a_client();
    for client in 0..CLIENTS {
        talk(&mut hub, client, &mut rng);
    }
    assert!(
        hub.status().all(|client| client.connected && client.uplink_remaining == ((1 << 16) - 2048) * 16)
    );
    let at_work = a_client();
    println!(
        "{enrolled:.1} octets for a client that is enrolled, {at_work:.1} for one with a session and a lease"
    );
    assert!(enrolled <= 512.0, "{enrolled} octets a client");
    assert!(at_work <= 512.0, "{at_work} octets a client with a session and a lease");
}
