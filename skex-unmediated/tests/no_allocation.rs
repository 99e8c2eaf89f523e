//! The machine never allocates: handshakes, restoration and exports under an allocator that counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use skex_core::Label;
use skex_core::machine::{Instant, Output, PathId};
use skex_unmediated::{Datagram, Event, MAX_RECORD, Peer, PeerConfig, Side};

struct Counting;

std::thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct End {
    peer: Peer,
    slot: [u8; MAX_RECORD],
    sent: Option<Datagram>,
    keys: usize,
}

impl End {
    fn drain(&mut self) {
        loop {
            match self.peer.poll_output() {
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint
                        .commit_with(|record| {
                            self.slot = [0; MAX_RECORD];
                            self.slot[..record.as_bytes().len()].copy_from_slice(record.as_bytes());
                            Ok::<(), ()>(())
                        })
                        .unwrap();
                    self.peer.handle_persisted(receipt).unwrap();
                }
                Output::Transmit(transmit) => self.sent = Some(transmit.payload),
                Output::Event(Event::KeyReady(_)) => self.keys += 1,
                Output::Event(_) => {}
                _ => return,
            }
        }
    }
}

#[test]
fn handshakes_restarts_and_exports_allocate_nothing() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let config_a = PeerConfig::new(Side::A, b"alice", b"bob");
    let config_b = PeerConfig::new(Side::B, b"bob", b"alice");
    let now = Instant::ZERO;
    let before = ALLOCATIONS.get();
    let end = |peer| End { peer, slot: [0; MAX_RECORD], sent: None, keys: 0 };
    let mut a = end(Peer::enrol(&config_a, &[7; 32], now, &mut rng).unwrap());
    let mut b = end(Peer::enrol(&config_b, &[7; 32], now, &mut rng).unwrap());
    a.drain();
    b.drain();
    for _ in 0..10 {
        a.peer.establish(now, &mut rng).unwrap();
        a.drain();
        while let Some(message) = a.sent.take() {
            let _ = b.peer.handle_message(now, &mut rng, PathId::new(1), message.as_bytes()).unwrap();
            b.drain();
            if let Some(answer) = b.sent.take() {
                let _ = a.peer.handle_message(now, &mut rng, PathId::new(1), answer.as_bytes()).unwrap();
                a.drain();
            }
        }
        let key = a.peer.export_next(Label::EXPORT_RAW, b"").unwrap();
        b.peer.export_at(key.id(), key.index(), Label::EXPORT_RAW, b"").unwrap();
        b.drain();
        let _ = a.peer.handle_message(now, &mut rng, PathId::new(1), b"junk").unwrap();
        a.peer.handle_timeout(now, &mut rng).unwrap();
        a.drain();
        b.peer = Peer::restore(&config_b, [&b.slot, &[]], now, &mut rng).unwrap();
        b.drain();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!((a.peer.epoch(), b.peer.epoch(), b.keys), (10, 10, 10));
    drop(vec![1]);
    assert!(ALLOCATIONS.get() > before, "the allocator counts");
}
