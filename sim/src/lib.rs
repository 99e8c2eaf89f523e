//! Seeded faults of network, disk and clock, for tests of any machine that keeps the contract of
//! `skex_core::machine`.
//!
//! A [`World`] holds nodes; a node is a machine, its [`Disk`] and its clock; the [`Net`] lies between them. The world is
//! the embedder's loop: it brings what happens next (a datagram arrives, a deadline comes, a slow store answers, a
//! crashed node boots) to the machine, polls it until it waits, stores, sends, and collects what it tells. Nothing runs
//! beside it, time is virtual, and all chance comes from one seed, so that a failure has a name: its seed.
//!
//! # Writing a scenario
//!
//! ```
//! use core::time::Duration;
//! use skex_core::machine::PeerHandle;
//! use skex_sim::{Layout, Link, PowerLoss, Receipts, World, for_each_seed};
//! # use rand_core::CryptoRng;
//! # use skex_core::machine::*;
//! # /// Says a word until it hears one, and tells so once it has stored it.
//! # struct Talker { barrier: Barrier, out: Queue<Result<Transmit<Vec<u8>>, &'static str>>, dirty: bool, timers: Timers<1>, heard: bool }
//! # impl Talker {
//! #     fn restore(boot: skex_sim::Boot<'_>) -> Self {
//! #         let heard = boot.disk.newest() == Some(b"heard");
//! #         Self { barrier: Barrier::new(boot.rng), out: Queue::new(8), dirty: true, timers: Timers::new(), heard }
//! #     }
//! #     fn talk(&mut self, now: Instant) {
//! #         let to = Destination::Peer(PeerHandle::new(0));
//! #         self.out.push(1, Ok(Transmit::new(to, TransmitClass::Request, b"word".to_vec()))).unwrap();
//! #         self.timers.set(0_usize, now.saturating_add(Duration::from_secs(1)));
//! #     }
//! # }
//! # impl Machine for Talker {
//! #     type Record = &'static [u8];
//! #     type Payload = Vec<u8>;
//! #     type Event = &'static str;
//! #     type Error = ReceiptError;
//! #     fn handle_message(&mut self, _: Instant, _: &mut dyn CryptoRng, _: PathId, word: &[u8]) -> Result<Disposition, ReceiptError> {
//! #         if word != b"word" { return Ok(Disposition::Discarded(DiscardReason::Malformed)); }
//! #         if self.heard { return Ok(Disposition::Discarded(DiscardReason::Duplicate)); }
//! #         self.heard = true;
//! #         self.dirty = true;
//! #         self.out.push(self.barrier.after(), Err("heard")).unwrap();
//! #         Ok(Disposition::Accepted)
//! #     }
//! #     fn handle_timeout(&mut self, now: Instant, _: &mut dyn CryptoRng) -> Result<(), ReceiptError> {
//! #         if self.timers.take_expired(0_usize, now) && now < Instant::from_millis(30_000) { self.talk(now); }
//! #         Ok(())
//! #     }
//! #     fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), ReceiptError> { self.barrier.acknowledge(receipt) }
//! #     fn poll_output(&mut self) -> Output<&'static [u8], Vec<u8>, &'static str> {
//! #         if self.dirty {
//! #             let heard = self.heard;
//! #             if let Some(checkpoint) = self.barrier.issue(|| if heard { &b"heard"[..] } else { b"born" }) {
//! #                 self.dirty = false;
//! #                 return Output::Persist(checkpoint);
//! #             }
//! #         }
//! #         match self.out.pop(&self.barrier) {
//! #             Some(Ok(transmit)) => Output::Transmit(transmit),
//! #             Some(Err(event)) => Output::Event(event),
//! #             None => Output::Wait(self.timers.next()),
//! #         }
//! #     }
//! # }
//!
//! for_each_seed(0..20, |seed| {
//!     // Two nodes on a bad network. Each boots from its disk, now and after every crash.
//!     let mut world = World::new(seed);
//!     world.net_mut().set_default_link(Link::ideal().latency(20).jitter(30).loss(300));
//!     let alice = world.add_node(Layout::Log, Talker::restore);
//!     let bob = world.add_node(Layout::Slots(2), Talker::restore);
//!     world.route(alice, PeerHandle::new(0), bob);
//!     world.route(bob, PeerHandle::new(0), alice);
//!
//!     // Bob's store takes its time, and he loses power when he comes to his fourth point.
//!     world.set_receipts(bob, Receipts::After(Duration::from_millis(5)));
//!     world.crash_at(bob, 3, PowerLoss::Any);
//!     world.restart_after(Duration::from_secs(1));
//!
//!     // The applications act; the world does the rest.
//!     for node in [alice, bob] {
//!         world.call(node, |talker, now, _| talker.talk(now));
//!     }
//!     world.drive_until(|world| world.disk(bob).newest() == Some(b"heard"), 1000).unwrap();
//!
//!     // Oracles read what happened: events, everything sent, everything that left a machine.
//!     assert!(world.net().sent_by(bob).all(|sent| sent.bytes == b"word"));
//!     assert!(world.failures().is_empty());
//! });
//! ```
//!
//! - Different kinds of machines in one world: [`Either`], or `Box<dyn Machine<...>>`, which is a machine as well.
//! - A node that lies or breaks the protocol on purpose: a machine of the test's own, or [`Net::intercept`] and
//!   [`Net::inject`].
//! - What a datagram's [`PathId`](skex_core::machine::PathId) is to a machine is its sender's [`Address`], which the
//!   adversary can forge and which changes when a node moves ([`Net::move_node`]).
//! - A failing store ends the machine, as the contract asks; [`World::restart`] or [`World::restart_after`] brings it
//!   back from whatever the fault left.
//! - The checks of the contract itself, for any machine: [`laws`]. Randomness from a recording, for one machine alone: [`Tape`].
#![forbid(unsafe_code)]

mod clock;
mod dice;
mod disk;
mod either;
pub mod laws;
mod link;
mod net;
mod seeds;
mod tape;
mod world;

pub use clock::Clock;
pub use dice::Dice;
pub use disk::{Batch, Disk, Layout, PowerLoss, Snapshot, StoreFailed, StoreFault};
pub use either::Either;
pub use link::Link;
pub use net::{Address, Net, Sent, Verdict};
pub use seeds::{for_each_seed, for_each_seed_at_once};
pub use tape::Tape;
pub use world::{Arrived, Boot, Departed, Departure, Failure, Happened, NodeId, Receipts, Stalled, World};
