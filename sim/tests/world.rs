//! The world does to a machine what it says: every fault seen from a machine small enough to predict.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

use core::time::Duration;

use rand_core::{CryptoRng, Rng as _};
use skex_core::machine::{
    Barrier, Destination, Disposition, Instant, Machine, Outbox, Output, PathId, PeerHandle, Receipt,
    ReceiptError, Timers, Transmit, TransmitClass,
};
use skex_sim::{
    Address, Boot, Departed, Either, Layout, Link, NodeId, PowerLoss, Receipts, Stalled, StoreFault, World,
};

const PEER: PeerHandle = PeerHandle::new(0);
const SECOND: Duration = Duration::from_secs(1);

/// Counts seconds: stores each, then sends it to its peer, and tells what it hears.
#[derive(Debug)]
struct Beacon {
    barrier: Barrier,
    outbox: Outbox<Out, 4>,
    timers: Timers<1>,
    count: u8,
    is_dirty: bool,
}

#[derive(Debug)]
enum Out {
    Send(Destination, u8),
    Tell(u8),
}

impl Beacon {
    fn restore(boot: Boot<'_>) -> Self {
        let mut timers = Timers::new();
        timers.set(0_usize, boot.now.saturating_add(SECOND));
        Self {
            barrier: Barrier::new(boot.rng),
            outbox: Outbox::new(),
            timers,
            count: boot.disk.newest().and_then(|record| record.first().copied()).unwrap_or(0),
            is_dirty: true,
        }
    }
}

impl Machine for Beacon {
    type Record = [u8; 1];
    type Payload = [u8; 1];
    type Event = u8;
    type Error = ReceiptError;

    fn handle_message(
        &mut self,
        _: Instant,
        _: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, ReceiptError> {
        let heard = message.first().copied().unwrap_or(0);
        let _ = self.outbox.push(Barrier::OPEN, Out::Tell(heard));
        if heard < 100 {
            let _ = self.outbox.push(Barrier::OPEN, Out::Send(Destination::Path(from), 100 + heard));
        }
        Ok(Disposition::Accepted)
    }

    fn handle_timeout(&mut self, now: Instant, _: &mut dyn CryptoRng) -> Result<(), ReceiptError> {
        if self.timers.take_expired(0_usize, now) {
            self.count += 1;
            self.is_dirty = true;
            let _ = self.outbox.push(self.barrier.after(), Out::Send(Destination::Peer(PEER), self.count));
            self.timers.set(0_usize, now.saturating_add(SECOND));
        }
        Ok(())
    }

    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), ReceiptError> {
        self.barrier.acknowledge(receipt)
    }

    fn poll_output(&mut self) -> Output<[u8; 1], [u8; 1], u8> {
        if self.is_dirty {
            let count = self.count;
            if let Some(checkpoint) = self.barrier.issue(|| [count]) {
                self.is_dirty = false;
                return Output::Persist(checkpoint);
            }
        }
        match self.outbox.pop(&self.barrier) {
            Some(Out::Send(to, byte)) => {
                let class = if byte < 100 { TransmitClass::Request } else { TransmitClass::Reply };
                Output::Transmit(Transmit::new(to, class, [byte]))
            }
            Some(Out::Tell(byte)) => Output::Event(byte),
            None => Output::Wait(self.timers.next()),
        }
    }
}

fn pair(seed: u64) -> (World<Beacon>, NodeId, NodeId) {
    let mut world = World::new(seed);
    let alice = world.add_node(Layout::Log, Beacon::restore);
    let bob = world.add_node(Layout::Log, Beacon::restore);
    world.route(alice, PEER, bob);
    world.route(bob, PEER, alice);
    (world, alice, bob)
}

fn sent(world: &World<Beacon>, node: NodeId) -> Vec<u8> {
    world.net().sent_by(node).map(|sent| sent.bytes[0]).collect()
}

fn told(world: &World<Beacon>, node: NodeId) -> Vec<u8> {
    world.events().iter().filter(|told| told.node == node).map(|told| told.event).collect()
}

#[test]
fn beacons_count_answer_and_tell() {
    let (mut world, alice, bob) = pair(1);
    assert!(world.run_for(SECOND, 100));
    assert_eq!(world.now(), Instant::from_millis(1000));
    assert_eq!((sent(&world, alice), told(&world, bob)), (vec![1, 101], vec![1, 101]));
    assert_eq!(world.arrived().len(), 4);
    assert_eq!(world.disk(alice).newest(), Some(&[1][..]));
}

#[test]
fn a_crash_at_each_point_happens_there_and_nowhere_else() {
    // Points of Alice's first second: before and after storing, sending, and then two each to tell and to answer.
    let after_boot = pair(1).0.points(NodeId::new(0));
    assert_eq!(after_boot, 2);
    let durable_and_sent = |point, how| {
        let (mut world, alice, _) = pair(1);
        world.crash_at(alice, after_boot + point, how);
        world.run_for(SECOND, 100);
        assert!(!world.is_running(alice));
        (world.disk(alice).newest().unwrap()[0], sent(&world, alice))
    };
    assert_eq!(durable_and_sent(0, PowerLoss::Any), (0, vec![]));
    assert_eq!(durable_and_sent(1, PowerLoss::Any), (1, vec![]));
    assert_eq!(durable_and_sent(2, PowerLoss::Any), (1, vec![]));
    assert_eq!(durable_and_sent(3, PowerLoss::Any), (1, vec![1]));
}

#[test]
fn a_crashed_node_comes_back_with_its_disk_by_itself() {
    let (mut world, alice, _) = pair(1);
    world.restart_after(SECOND * 3);
    world.run_for(SECOND * 2, 100);
    world.crash(alice, PowerLoss::Any);
    world.run_for(SECOND * 3, 100);
    assert!(world.is_running(alice));
    world.run_for(SECOND, 100);
    assert_eq!(world.disk(alice).newest(), Some(&[3][..]));
}

#[test]
fn a_store_that_fails_ends_the_machine_and_each_fault_leaves_its_own() {
    for (fault, restored) in
        [(StoreFault::NotWritten, 0), (StoreFault::Landed, 1), (StoreFault::CachedOnly, 1)]
    {
        let (mut world, alice, _) = pair(1);
        world.disk_mut(alice).fail_next(fault);
        world.run_for(SECOND, 100);
        assert!(!world.is_running(alice));
        assert!(!sent(&world, alice).contains(&1), "no receipt, no message");
        world.restart(alice);
        assert_eq!(world.disk(alice).newest(), Some(&[restored][..]), "written anew");
        world.crash(alice, PowerLoss::Any);
        assert_eq!(world.disk(alice).newest(), Some(&[restored][..]), "and durable now");
    }
}

#[test]
fn a_slow_store_delays_what_depends_on_it_and_nothing_else() {
    let (mut world, alice, _) = pair(1);
    world.set_receipts(alice, Receipts::After(Duration::from_millis(300)));
    world.run_for(Duration::from_millis(1299), 100);
    assert_eq!(sent(&world, alice), [101]);
    world.run_for(Duration::from_millis(1), 100);
    assert_eq!(sent(&world, alice), [101, 1]);
}

#[test]
fn unsynced_bytes_meet_the_fate_that_the_test_names() {
    for (how, left) in [(PowerLoss::Loses, 0), (PowerLoss::Lands, 1)] {
        let (mut world, alice, _) = pair(1);
        world.set_receipts(alice, Receipts::WITHHELD);
        world.run_for(SECOND, 100);
        assert_eq!(world.held_receipts(alice), 1);
        world.crash(alice, how);
        assert_eq!(world.held_receipts(alice), 0);
        assert_eq!(world.disk(alice).newest(), Some(&[left][..]));
    }
}

#[test]
fn a_withheld_receipt_opens_when_it_is_given_to_its_owner() {
    let (mut world, alice, bob) = pair(1);
    world.set_receipts(alice, Receipts::Withheld { from: 2 });
    world.run_for(SECOND * 3, 100);
    assert_eq!(sent(&world, alice), [1, 101, 102, 103]);
    let receipt = world.take_receipt(alice).unwrap();
    assert!(world.give_receipt(bob, receipt).unwrap().is_err());
    let (mut world, alice, _) = pair(1);
    world.set_receipts(alice, Receipts::Withheld { from: 2 });
    world.run_for(SECOND * 3, 100);
    world.release_receipts(alice);
    assert_eq!(sent(&world, alice), [1, 101, 102, 103, 2, 3]);
}

#[test]
fn nodes_have_clocks_of_their_own() {
    let (mut world, alice, bob) = pair(1);
    world.set_clock_ahead(alice, 600);
    assert_eq!(world.local_now(alice), Instant::from_millis(600));
    world.run_for(Duration::from_millis(400), 100);
    assert_eq!(sent(&world, alice), [1]);
    world.set_clock_behind(bob, 1000);
    world.run_for(Duration::from_millis(1599), 100);
    assert!(!sent(&world, bob).contains(&1));
    world.run_for(Duration::from_millis(1), 100);
    assert!(sent(&world, bob).contains(&1));
}

#[test]
fn a_poke_that_changes_nothing_leaves_no_trace() {
    let run = |pokes: bool| {
        let (mut world, alice, bob) = pair(1);
        world.net_mut().set_default_link(Link::terrible());
        while world.now() < Instant::from_millis(20_000) {
            if pokes {
                let (_, departed) = world.poke(alice, |_, _, rng| rng.next_u64()).unwrap();
                assert_eq!(departed, []);
                world
                    .poke(bob, |beacon, _, rng| beacon.handle_timeout(Instant::ZERO, rng))
                    .unwrap()
                    .0
                    .unwrap();
            }
            world.step();
        }
        world.departures().to_vec()
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn the_seed_decides_everything_and_decides_something() {
    let run = |seed| {
        let (mut world, _, _) = pair(seed);
        world.net_mut().set_default_link(Link::terrible());
        world.run_for(SECOND * 20, 10_000);
        (world.departures().to_vec(), world.arrived().to_vec(), world.net().sent().to_vec())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn answers_go_where_the_message_came_from_and_routes_where_they_were_set() {
    let (mut world, alice, bob) = pair(1);
    world.net_mut().move_node(alice, Address::new(70));
    world.run_for(SECOND, 100);
    assert_eq!(told(&world, alice), [101], "Bob knows Alice's new address only from her message");
    world.route_to(bob, PEER, Address::new(70));
    world.run_for(SECOND, 100);
    assert!(told(&world, alice).contains(&2));
}

#[test]
fn driving_stops_where_it_is_told_and_says_why_it_cannot() {
    let (mut world, alice, bob) = pair(1);
    world.drive_until(|world| world.events().len() >= 4, 100).unwrap();
    assert_eq!(
        world.drive_until(|_| false, 10),
        Err(Stalled::OutOfSteps { at: world.now() }),
        "beacons never come to rest"
    );
    world.kill(alice);
    world.kill(bob);
    world.net_mut().lose_in_flight();
    assert_eq!(world.drive_until(|_| false, 10), Err(Stalled::Idle { at: world.now() }));
}

#[test]
fn machines_of_different_kinds_meet_as_either_and_as_objects() {
    type Object = Box<dyn Machine<Record = [u8; 1], Payload = [u8; 1], Event = u8, Error = ReceiptError>>;
    let mut world: World<Either<Beacon, Object>> = World::new(1);
    let alice = world.add_node(Layout::Log, |boot| Either::Left(Beacon::restore(boot)));
    let bob = world.add_node(Layout::Log, |boot| Either::Right(Box::new(Beacon::restore(boot)) as Object));
    world.route(alice, PEER, bob);
    world.run_for(SECOND, 100);
    let events: Vec<_> = world.events().iter().map(|told| (told.node, told.event)).collect();
    assert_eq!(events, [(bob, Either::Right(1)), (alice, Either::Left(101))]);
    assert!(world.departures().iter().any(|left| left.node == bob && left.what == Departed::Stored(vec![1])));
}
