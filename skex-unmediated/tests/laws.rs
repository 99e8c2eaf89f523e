//! The laws of `skex_core::machine`, and long random runs over bad networks and bad disks.
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
use skex_core::{KeyId, SecretBytes};
use skex_sim::laws::{self, Trial};
use skex_sim::{Boot, Layout, Link, NodeId, PowerLoss, Receipts, World, for_each_seed};
use skex_unmediated::{Event, MixBlock, MixPolicy, Peer, PeerConfig, Side};

fn boot(side: Side) -> impl FnMut(Boot<'_>) -> Peer {
    move |boot| {
        let (own, peer): (&[u8], &[u8]) =
            if side == Side::A { (b"alice", b"bob") } else { (b"bob", b"alice") };
        let config = PeerConfig::new(side, own, peer).mix(MixPolicy::Accept);
        let records: Vec<&[u8]> = boot.disk.records().map(|(_, record)| record).collect();
        match records.as_slice() {
            [] => Peer::enrol(&config, &[0x5e; 32], boot.now, boot.rng).unwrap(),
            [one] => Peer::restore(&config, [one, &[]], boot.now, boot.rng).unwrap(),
            [one, two, ..] => Peer::restore(&config, [one, two], boot.now, boot.rng).unwrap(),
        }
    }
}

fn world(seed: u64, link: Link) -> (World<Peer>, [NodeId; 2]) {
    let mut world = World::new(seed);
    world.net_mut().set_default_link(link);
    let a = world.add_node(Layout::Slots(2), boot(Side::A));
    let b = world.add_node(Layout::Slots(2), boot(Side::B));
    world.route(a, PeerHandle::new(0), b);
    world.route(b, PeerHandle::new(0), a);
    (world, [a, b])
}

fn trial() -> Trial<Peer> {
    Trial::new(
        |seed| world(seed, Link::ideal().latency(20)).0,
        |_, peer, now, rng| {
            let _ = peer.establish(now, rng);
        },
    )
}

#[test]
fn a_peer_keeps_every_law_of_the_contract() {
    for seed in 0..10 {
        laws::all(&trial(), seed).unwrap();
    }
}

#[test]
fn a_call_that_is_refused_changes_nothing() {
    let misuse = |_: NodeId, peer: &mut Peer, _, _: &mut dyn rand_core::CryptoRng| {
        let stranger = KeyId::new([0; 16]);
        peer.confirm(stranger).is_err()
            && peer.export_at(stranger, 0, skex_core::Label::EXPORT_RAW, b"").is_err()
            && peer.commit_at(stranger, 0).is_err()
            && peer.note_answer(stranger, 0).is_err()
    };
    laws::no_half_step(&trial(), 1, misuse).unwrap();
}

/// Both ends are in one epoch with one session.
fn agree(world: &World<Peer>, nodes: [NodeId; 2]) -> Option<u64> {
    let [a, b] = nodes.map(|node| world.machine(node).and_then(Peer::session));
    let (a, b) = (a?, b?);
    (a.id == b.id && a.confirmed && b.confirmed).then_some(a.epoch)
}

/// How many seeds: so many, or as many times more as the environment variable `SKEX_SEEDS` says.
fn seeds(usual: u64) -> u64 {
    let times = std::env::var("SKEX_SEEDS").ok().and_then(|times| times.parse::<u64>().ok());
    usual * times.unwrap_or(1)
}

/// At most one step apart, and in one epoch one chain: as the records say it, which both ends write before they speak.
fn one_chain_an_epoch(world: &World<Peer>, nodes: [NodeId; 2]) {
    let [a, b] = nodes.map(|node| {
        let record = world.disk(node).newest()?;
        // Behind the frame's 26 octets: the epoch and its suite, and the chain key.
        Some((u64::from_be_bytes(record[28..36].try_into().unwrap()), record[36], record[55..87].to_vec()))
    });
    let (Some(a), Some(b)) = (a, b) else { return };
    assert!(a.0.abs_diff(b.0) <= 1, "epochs {} and {}", a.0, b.0);
    assert!(a.0 != b.0 || a == b, "two chain keys in epoch {}", a.0);
}

/// What was told of sessions: at most one is believed in an epoch.
fn one_session_an_epoch(world: &World<Peer>) {
    let mut believed: BTreeMap<(u64, NodeId), KeyId> = BTreeMap::new();
    for happened in world.events() {
        match &happened.event {
            Event::Established(session) | Event::Resumed(session) => {
                believed.insert((session.epoch, happened.node), session.id);
            }
            Event::Void(id) | Event::PeerVoid(id) => believed.retain(|_, known| known != id),
            _ => {}
        }
    }
    let mut by_epoch: BTreeMap<u64, KeyId> = BTreeMap::new();
    for ((epoch, _), id) in believed {
        assert_eq!(*by_epoch.entry(epoch).or_insert(id), id, "two sessions of epoch {epoch}");
    }
}

#[test]
fn long_random_runs_with_loss_repetition_disorder_crashes_and_slow_disks_always_heal() {
    let mut sessions_with_a_block = 0;
    for_each_seed(0..seeds(1000), |seed| {
        let link = Link::ideal()
            .latency(20)
            .jitter(200)
            .loss(300)
            .duplicate(200)
            .reorder(200, 2000)
            .corrupt(20)
            .replay(100);
        let (mut world, nodes) = world(seed, link);
        world.restart_after(Duration::from_secs(2));
        for round in 0..25_u64 {
            for (number, node) in nodes.into_iter().enumerate() {
                if (seed + round) % 3 != number as u64 {
                    world.call(node, |peer, now, rng| {
                        let _ = peer.establish(now, rng);
                    });
                }
                // Blocks come to both ends, to one alone, or to none, and are sometimes given up.
                if (seed + round) % 7 < 2 || (seed + 3 * round) % 11 == number as u64 {
                    let block =
                        MixBlock::new(SecretBytes::copied_from(&[u8::try_from(round).unwrap() + 1; 32]));
                    world.call(node, |peer, _, _| {
                        if peer.provide_mix(&block).is_err() {
                            peer.withdraw_mixes();
                        }
                    });
                }
                if (seed / 2 + round) % 4 == number as u64 {
                    let point = world.points(node) + (seed + round) % 5;
                    world.crash_at(node, point, PowerLoss::Any);
                }
                let wait = Duration::from_millis((seed * 7 + round) % 30);
                world.set_receipts(node, Receipts::After(wait));
            }
            world.run_for(Duration::from_secs(15), 100_000);
            one_session_an_epoch(&world);
            one_chain_an_epoch(&world, nodes);
        }
        // The adversary stops.
        world.net_mut().set_default_link(Link::ideal().latency(20));
        world.run_for(Duration::from_secs(60), 100_000);
        let before = nodes.iter().filter_map(|node| world.machine(*node)).map(Peer::epoch).max().unwrap();
        assert!(before > 3, "{before} epochs: nothing happened");
        let mixed = |event: &Event| matches!(event, Event::Established(session) if session.mixed);
        sessions_with_a_block += world.events().iter().filter(|happened| mixed(&happened.event)).count();
        for _ in 0..8 {
            world.call(nodes[0], |peer, now, rng| {
                let _ = peer.establish(now, rng);
            });
            world.run_for(Duration::from_secs(60), 100_000);
        }
        assert!(agree(&world, nodes).is_some_and(|epoch| epoch > before), "no new session after {before}");
        one_session_an_epoch(&world);
        assert!(world.failures().is_empty());
    });
    assert!(sessions_with_a_block > 1000, "{sessions_with_a_block} sessions had a block mixed in");
}
