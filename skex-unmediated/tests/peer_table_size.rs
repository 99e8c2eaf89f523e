//! A hundred thousand peers: what they take in memory, and that each is still found.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::alloc::System;

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use skex_core::machine::{DiscardReason, Disposition, Instant, Output, PathId, PeerHandle};
use skex_unmediated::{
    Event, LaneId, Peer, PeerConfig, PeerTable, Side, TableConfig, TableError, TableEvent,
};

/// Octets on the heap now.
static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PEERS: u32 = 100_000;
/// One in so many has a handshake.
const SAMPLE: usize = 100;

fn name(pair: u32) -> [u8; 4] {
    pair.to_be_bytes()
}

fn secret(pair: u32) -> [u8; 32] {
    let mut secret = [0x5e; 32];
    secret[..4].copy_from_slice(&name(pair));
    secret
}

/// Stores everything at once; the messages that leave, and how many sessions were told.
fn drain(table: &mut PeerTable) -> (Vec<Vec<u8>>, usize) {
    let (mut sent, mut sessions) = (Vec::new(), 0);
    loop {
        match table.poll_output() {
            Output::Persist(checkpoint) => {
                table.handle_persisted(checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()).unwrap();
            }
            Output::Transmit(transmit) => sent.push(transmit.payload.as_bytes().to_vec()),
            Output::Event(TableEvent::Lane(_, Event::Established(_))) => sessions += 1,
            Output::Event(other) => panic!("{other:?}"),
            Output::Wait(_) => return (sent, sessions),
        }
    }
}

#[test]
fn a_hundred_thousand_peers_are_enrolled_bounded_and_found() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let now = Instant::ZERO;
    let before = LIVE.load(Ordering::Relaxed);
    let mut hub = PeerTable::new(TableConfig::new(PEERS), now, &mut rng);
    for pair in 0..PEERS {
        let device = name(pair);
        let config = PeerConfig::new(Side::A, b"hub", &device).peer_handle(PeerHandle::new(pair));
        hub.enrol(&config, &secret(pair), now, &mut rng).unwrap();
    }
    let enrolled = LIVE.load(Ordering::Relaxed) - before;
    assert_eq!(drain(&mut hub), (vec![], 0));
    let config = PeerConfig::new(Side::A, b"hub", b"one more").peer_handle(PeerHandle::new(PEERS));
    assert_eq!(hub.enrol(&config, &secret(PEERS), now, &mut rng), Err(TableError::TableFull));

    let mut devices = PeerTable::new(TableConfig::new(PEERS), now, &mut rng);
    let sample: Vec<u32> = (0..PEERS).step_by(SAMPLE).collect();
    for pair in &sample {
        let device = name(*pair);
        let config = PeerConfig::new(Side::B, &device, b"hub").peer_handle(PeerHandle::new(*pair));
        let lane = devices.enrol(&config, &secret(*pair), now, &mut rng).unwrap();
        devices.establish(lane, now, &mut rng).unwrap();
    }
    let (mut flying, _) = drain(&mut devices);
    assert_eq!(flying.len(), sample.len());
    let mut sessions = [0, 0];
    for round in 0..4 {
        let to = if round % 2 == 0 { &mut hub } else { &mut devices };
        for message in core::mem::take(&mut flying) {
            let taken = to.handle_message(now, &mut rng, PathId::new(1), &message).unwrap();
            assert_eq!(taken, Disposition::Accepted);
        }
        let (sent, told) = drain(to);
        flying = sent;
        sessions[round % 2] += told;
    }
    assert_eq!(sessions, [sample.len(); 2]);
    for pair in sample {
        let lane = LaneId::new(PeerHandle::new(pair), 0);
        let [ours, theirs] = [&hub, &devices].map(|table| table.lane(lane).unwrap().session().unwrap().id);
        assert_eq!(ours, theirs);
    }
    let junk = hub.handle_message(now, &mut rng, PathId::new(1), &[0x14; 27]).unwrap();
    assert_eq!(junk, Disposition::Discarded(DiscardReason::Malformed));

    let busy = LIVE.load(Ordering::Relaxed) - before;
    let each = enrolled / PEERS as usize;
    println!(
        "{PEERS} peers: {each} octets each, of these {} the machine itself; {busy} octets in all at the end, with {} \
         devices at the other side",
        size_of::<Peer>(),
        devices.len(),
    );
    assert!(each <= size_of::<Peer>() + 400, "{each} octets a peer");
}
