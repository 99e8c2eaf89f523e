//! The toy under crashes, failing stores and bad networks: the same number is never handed out twice.

use core::time::Duration;

use skex_core::machine::Instant;
use skex_sim::laws::{self, Trial};
use skex_sim::{Dice, Layout, Link, PowerLoss, Receipts, World, for_each_seed};

use super::toy::Fault;
use super::{SERVICE, Toy, asks, no_number_twice, trial, world};

/// The toy's trial with a store that answers later.
fn with_a_slow_store(fault: Fault) -> Trial<Toy> {
    let build = move |seed| {
        let mut world = world(seed, fault, Layout::Log, Link::ideal().latency(20).jitter(10));
        for node in world.nodes() {
            world.set_receipts(node, Receipts::After(Duration::from_millis(15)));
        }
        world
    };
    Trial::new(build, asks::<2>).rounds(3, Duration::from_secs(5))
}

#[test]
fn a_crash_at_any_point_hands_no_number_out_twice() {
    for how in [PowerLoss::Loses, PowerLoss::Lands, PowerLoss::Tears] {
        for trial in [trial(Fault::None), with_a_slow_store(Fault::None)] {
            let downtime = Duration::from_secs(1);
            let crashes = laws::every_crash(&trial, 1, how, downtime, no_number_twice).unwrap();
            assert!(crashes > 60, "only {crashes}");
        }
    }
}

#[test]
fn without_the_gate_some_crash_hands_a_number_out_twice() {
    for trial in [trial(Fault::SendsBeforeDurable), with_a_slow_store(Fault::SendsBeforeDurable)] {
        let downtime = Duration::from_secs(1);
        let broken = laws::every_crash(&trial, 1, PowerLoss::Loses, downtime, no_number_twice).unwrap_err();
        assert!(broken.seen.contains("went out twice"), "{broken}");
    }
}

/// A minute of everything at once.
fn bad_minute(seed: u64, fault: Fault) -> World<Toy> {
    let mut dice = Dice::new(seed);
    let mut world = world(seed, fault, Layout::Log, Link::terrible());
    world.restart_after(Duration::from_millis(300));
    for node in world.nodes() {
        world.disk_mut(node).set_fault_rate(50);
        let delay = Duration::from_millis(dice.below(40));
        world.set_receipts(node, Receipts::After(delay));
    }
    while world.now() < Instant::from_millis(60_000) {
        for node in world.nodes() {
            world.call(node, |machine, now, rng| asks::<1>(node, machine, now, rng));
            if dice.chance(30) {
                world.crash(node, PowerLoss::Any);
            }
        }
        let now = world.now();
        world.net_mut().replay_any(now);
        assert!(world.run_for(Duration::from_millis(dice.below(800)), 100_000));
    }
    world
}

#[test]
fn a_bad_minute_hands_no_number_out_twice() {
    for_each_seed(0..60, |seed| {
        let world = bad_minute(seed, Fault::None);
        no_number_twice(&world).unwrap();
        assert!(world.failures().is_empty(), "{:?}", world.failures());
    });
}

#[test]
fn without_the_gate_some_bad_minute_hands_a_number_out_twice() {
    let caught =
        (0..10).filter(|seed| no_number_twice(&bad_minute(*seed, Fault::SendsBeforeDurable)).is_err());
    assert!(caught.count() > 0);
}

#[test]
fn a_rolled_back_service_is_seen_to_repeat_itself() {
    // The toy has no defence against an old backup; the point is that the oracle sees it.
    let trial = trial(Fault::None);
    let mut world = trial.world(1);
    let snapshot = world.disk(SERVICE).snapshot();
    trial.run(&mut world);
    no_number_twice(&world).unwrap();
    world.kill(SERVICE);
    world.disk_mut(SERVICE).roll_back(&snapshot);
    world.restart(SERVICE);
    trial.run(&mut world);
    assert!(no_number_twice(&world).unwrap_err().contains("twice"));
}
