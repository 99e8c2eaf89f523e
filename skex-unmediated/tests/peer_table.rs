//! The laws of `skex_core::machine` for a table of peers, and long random runs of several lanes.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use core::time::Duration;
use std::collections::BTreeMap;

use skex_core::machine::PeerHandle;
use skex_sim::laws::{self, Trial};
use skex_sim::{Batch, Boot, Layout, Link, NodeId, PowerLoss, Receipts, World, for_each_seed};
use skex_unmediated::{
    Event, LaneId, PeerConfig, PeerTable, RestoreError, Side, TableConfig, TableError, TableEvent,
};

const HANDLE: PeerHandle = PeerHandle::new(3);

fn lane(number: u8) -> LaneId {
    LaneId::new(HANDLE, number)
}

/// Two slots for each machine: where a record goes, its own header says.
fn slots_by_machine(record: &[u8]) -> Batch {
    let machine = u64::from_be_bytes(record[6..14].try_into().unwrap()) & !1;
    let slot = u64::from(record[21] & 1);
    vec![(machine | slot, Some(record.to_vec())), (machine | (1 - slot), None)]
}

/// A table with `lanes` lanes of one pair, each as the disk holds it, or enrolled.
fn boot(side: Side, lanes: u8) -> impl FnMut(Boot<'_>) -> PeerTable {
    move |boot| {
        let (own, peer): (&[u8], &[u8]) =
            if side == Side::A { (b"alice", b"bob") } else { (b"bob", b"alice") };
        let mut machines: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
        for (key, record) in boot.disk.records() {
            machines.entry(key & !1).or_default().push(record);
        }
        let mut table = PeerTable::new(TableConfig::new(lanes.into()), boot.now, boot.rng);
        for number in 0..lanes {
            let config = PeerConfig::new(side, own, peer).peer_handle(HANDLE).lane(number);
            let restored = machines.values().find_map(|records| {
                let slots = [records[0], records.get(1).copied().unwrap_or_default()];
                match table.restore(&config, slots, boot.now, boot.rng) {
                    Err(TableError::Restore(RestoreError::Record(_))) => None,
                    other => Some(other.unwrap()),
                }
            });
            if restored.is_none() {
                table.enrol(&config, &[0x5e; 32], boot.now, boot.rng).unwrap();
            }
        }
        table
    }
}

fn world(seed: u64, link: Link, lanes: u8) -> (World<PeerTable>, [NodeId; 2]) {
    let mut world = World::new(seed);
    world.net_mut().set_default_link(link);
    let layout = || Layout::Keyed(slots_by_machine);
    let a = world.add_node(layout(), boot(Side::A, lanes));
    let b = world.add_node(layout(), boot(Side::B, lanes));
    world.route(a, HANDLE, b);
    world.route(b, HANDLE, a);
    (world, [a, b])
}

fn trial(lanes: u8) -> Trial<PeerTable> {
    Trial::new(
        move |seed| world(seed, Link::ideal().latency(20), lanes).0,
        move |_, table, now, rng| {
            for number in 0..lanes {
                let _ = table.establish(lane(number), now, rng);
            }
        },
    )
}

#[test]
fn a_table_of_one_lane_keeps_every_law_of_the_contract() {
    for seed in 0..5 {
        laws::all(&trial(1), seed).unwrap();
    }
}

#[test]
fn a_table_of_several_lanes_keeps_the_laws_with_one_checkpoint_at_a_time_for_each_lane() {
    for seed in 0..5 {
        let trial = trial(3);
        laws::drain(&trial, seed).unwrap();
        laws::determinism(&trial, seed).unwrap();
        laws::junk(&trial, seed).unwrap();
        laws::time(&trial, seed).unwrap();
    }
    // Each lane has its own: that law is told apart by this test.
    assert_eq!(laws::one_checkpoint(&trial(3), 1).unwrap_err().law, "one_checkpoint");
}

/// The epoch in which both ends have one confirmed session on a lane.
fn agree(world: &World<PeerTable>, nodes: [NodeId; 2], number: u8) -> Option<u64> {
    let session = |node| world.machine(node).and_then(|table| table.lane(lane(number))?.session());
    let (a, b) = (session(nodes[0])?, session(nodes[1])?);
    (a.id == b.id && a.confirmed && b.confirmed).then_some(a.epoch)
}

#[test]
fn all_lanes_heal_by_themselves_after_loss_disorder_crashes_and_slow_disks() {
    const LANES: u8 = 3;
    for_each_seed(0..100, |seed| {
        let link =
            Link::ideal().latency(20).jitter(200).loss(300).duplicate(200).reorder(200, 2000).corrupt(20);
        let (mut world, nodes) = world(seed, link, LANES);
        world.restart_after(Duration::from_secs(2));
        for round in 0..12_u64 {
            for (number, node) in nodes.into_iter().enumerate() {
                let number = number as u64;
                world.call(node, |table, now, rng| {
                    for at in 0..LANES {
                        if (seed + round + u64::from(at)) % 3 != number {
                            let _ = table.establish(lane(at), now, rng);
                        }
                    }
                });
                if (seed / 2 + round) % 4 == number {
                    let point = world.points(node) + (seed + round) % 9;
                    world.crash_at(node, point, PowerLoss::Any);
                }
                world.set_receipts(node, Receipts::After(Duration::from_millis((seed * 7 + round) % 30)));
            }
            world.run_for(Duration::from_secs(15), 100_000);
        }
        world.net_mut().set_default_link(Link::ideal().latency(20));
        world.run_for(Duration::from_secs(60), 100_000);
        let epoch = |node, number| world.machine(node).unwrap().lane(lane(number)).unwrap().epoch();
        let before: Vec<u64> =
            (0..LANES).map(|at| nodes.into_iter().map(|node| epoch(node, at)).max().unwrap()).collect();
        assert!(before.iter().all(|epoch| *epoch > 1), "{before:?}: nothing happened");
        for _ in 0..8 {
            world.call(nodes[0], |table, now, rng| {
                for at in 0..LANES {
                    let _ = table.establish(lane(at), now, rng);
                }
            });
            world.run_for(Duration::from_secs(60), 100_000);
        }
        for (at, before) in (0..LANES).zip(before) {
            assert!(agree(&world, nodes, at).is_some_and(|epoch| epoch > before), "lane {at} is dead");
        }
        // In each epoch of each lane one session at most is believed.
        let mut sessions = BTreeMap::new();
        for happened in world.events() {
            if let TableEvent::Lane(lane, Event::Established(session)) = &happened.event
                && session.confirmed
            {
                sessions
                    .entry((*lane, session.epoch))
                    .or_insert_with(Vec::new)
                    .push((happened.node, session.id));
            }
        }
        assert!(!sessions.is_empty() && world.failures().is_empty());
    });
}
