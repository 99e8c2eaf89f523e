//! Two rotations with their consumers, over a network that loses, repeats and reorders, with crashes of machines and of
//! consumers at any point. After every step: what one end transmits with is installed at the other.
#![allow(clippy::arithmetic_side_effects, reason = "tests")]

extern crate std;

mod world;

use core::time::Duration;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use chacha20::ChaCha8Rng;
use proptest::prelude::*;
use rand_core::{Rng, SeedableRng as _};

use self::world::{GRACE, Law, Step, World};
use super::rules::without;
use super::*;
use crate::machine::PeerHandle;
use crate::record::RecordError;

fn steps() -> impl Strategy<Value = (usize, Step)> {
    let choice = 0..4_usize;
    let step = prop_oneof![
        6 => choice.clone().prop_map(Step::Deliver),
        1 => choice.clone().prop_map(Step::Repeat),
        1 => choice.prop_map(Step::Lose),
        6 => Just(Step::Persist),
        6 => Just(Step::Execute),
        6 => Just(Step::Report),
        1 => Just(Step::Refuse),
        1 => any::<bool>().prop_map(|landed| Step::Crash { landed }),
        1 => Just(Step::ConsumerDies),
        2 => Just(Step::Ready),
        1 => Just(Step::NoKey),
        3 => prop_oneof![Just(1_000), Just(GRACE)].prop_map(Step::Time),
        1 => Just(Step::Seen),
    ];
    (0..2_usize, step)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn what_one_end_transmits_with_the_other_holds_and_it_heals(
        reinstall in any::<bool>(),
        steps in prop::collection::vec(steps(), 0..300),
    ) {
        let mut world = World::established(reinstall);
        for (at, step) in steps {
            let done = world.step(at, step);
            prop_assert!(done.is_ok(), "{done:?} after {step:?} at {at}");
        }
        let healed = world.heals();
        prop_assert!(healed.is_ok(), "{healed:?}");
    }
}

/// Random walks until one breaks the law.
fn walks(walks: u64) -> Law {
    let mut rng = ChaCha8Rng::from_seed([7; 32]);
    for _ in 0..walks {
        let mut world = World::try_established(true)?;
        for _ in 0..120 {
            let at = rng.next_u32() as usize % 2;
            let choice = rng.next_u32() as usize;
            let step = match rng.next_u32() % 32 {
                0..6 => Step::Deliver(choice),
                6 => Step::Repeat(choice),
                7 => Step::Lose(choice),
                8..14 => Step::Persist,
                14..20 => Step::Execute,
                20..25 => Step::Report,
                25 => Step::Crash { landed: choice.is_multiple_of(2) },
                26 | 27 => Step::Ready,
                28 => Step::NoKey,
                29 => Step::ConsumerDies,
                _ => Step::Time(GRACE),
            };
            world.step(at, step)?;
        }
    }
    Ok(())
}

/// Chance finds what happens without these.
#[test]
fn rules_that_walks_miss_when_they_are_removed() {
    walks(300).unwrap();
    for rule in [
        Rule::TransmitWhatPeerHolds,
        Rule::RetireAfterBoth,
        Rule::WithdrawInTwoSteps,
        Rule::DurableBeforeOrder,
    ] {
        let found = without(rule, || walks(20_000));
        assert!(found.is_err(), "nothing misses {rule:?}");
    }
}

/// Both transmit with 2 and hold 1 still, for the grace. The consumer of end 1 dies and gets 1 back first, and end 0 hears
/// of just that.
fn only_the_old_key_is_back() -> Law {
    let mut world = World::established(true);
    for at in [0, 1] {
        world.step(at, Step::Ready)?;
    }
    for _ in 0..40 {
        for at in [0, 1] {
            for step in [Step::Persist, Step::Execute, Step::Report, Step::Deliver(0)] {
                world.step(at, step)?;
            }
        }
    }
    assert!(world.ends.iter().all(|end| end.consumer.transmit == Some(2) && end.consumer.held.len() == 2));
    world.step(1, Step::ConsumerDies)?;
    world.step(1, Step::Persist)?;
    // End 1 hears nothing from now on, installs 1, says so, and retires it when the grace is over.
    for step in [Step::Execute, Step::Report, Step::Persist] {
        world.step(1, step)?;
    }
    assert_eq!(world.ends[1].consumer.held, BTreeSet::from([1]));
    while !world.net[0].is_empty() {
        world.step(0, Step::Deliver(0))?;
    }
    for _ in 0..3 {
        for step in [Step::Persist, Step::Execute, Step::Report] {
            world.step(0, step)?;
        }
    }
    world.settle()
}

/// End 1 alone had 2 and withdrew it. A status from before, in which it offers 2, comes late; end 0 has 2 by then.
fn an_old_offer_comes_late() -> Law {
    let mut world = World::established(true);
    world.step(1, Step::Ready)?;
    for step in [Step::Persist, Step::Execute, Step::Report, Step::Persist] {
        world.step(1, step)?;
    }
    let late = *world.net[0].last().unwrap();
    assert!(Status::decode(&late).unwrap().holds.contains(&2));
    world.settle()?;
    world.step(1, Step::Ready)?;
    world.settle()?;
    // There is no room for 4: 2 is withdrawn, and goes.
    world.step(1, Step::Ready)?;
    world.settle()?;
    assert!(!world.ends[1].consumer.held.contains(&2), "{:?}", world.ends[1].consumer.held);
    world.step(0, Step::Ready)?;
    for step in [Step::Persist, Step::Execute, Step::Report, Step::Persist] {
        world.step(0, step)?;
    }
    assert!(world.ends[0].consumer.held.contains(&2));
    world.net[0].push(late);
    let last = world.net[0].len() - 1;
    world.step(0, Step::Deliver(last))?;
    for step in [Step::Persist, Step::Execute] {
        world.step(0, step)?;
    }
    world.heals()
}

#[test]
fn an_end_does_not_go_back_to_a_key_that_the_other_is_about_to_retire() {
    only_the_old_key_is_back().unwrap();
    assert!(without(Rule::NeverBack, only_the_old_key_is_back).is_err(), "nothing misses the rule");
}

#[test]
fn an_offer_that_was_withdrawn_is_not_taken_when_it_comes_late() {
    an_old_offer_comes_late().unwrap();
    assert!(without(Rule::HeedNewestStatus, an_old_offer_comes_late).is_err(), "nothing misses the rule");
}

/// Every sequence of steps up to a length, from the moment when one end has the next key and the other is about to.
#[test]
fn no_short_sequence_of_steps_breaks_the_law() {
    const STEPS: [Step; 8] = [
        Step::Deliver(0),
        Step::Deliver(1),
        Step::Persist,
        Step::Execute,
        Step::Report,
        Step::Crash { landed: false },
        Step::Ready,
        Step::Time(GRACE),
    ];
    const DEPTH: u32 = 4;
    let all = STEPS.len() * 2;
    let mut tried = 0;
    for number in 0..all.pow(DEPTH) {
        let mut world = World::established(true);
        world.step(0, Step::Ready).unwrap();
        world.step(1, Step::Ready).unwrap();
        let mut rest = number;
        for _ in 0..DEPTH {
            let at = rest % all;
            rest /= all;
            world.step(at % 2, STEPS[at / 2]).unwrap();
        }
        tried += 1;
    }
    assert_eq!(tried, 65_536);
}

#[test]
fn a_rotation_without_faults_goes_in_order() {
    let mut world = World::established(true);
    world.ends.iter_mut().for_each(|end| end.events.clear());
    for at in [0, 1] {
        world.step(at, Step::Ready).unwrap();
    }
    world.settle().unwrap();
    for end in &world.ends {
        assert_eq!(end.events, [RotationEvent::Rotated(2)]);
        assert_eq!((end.consumer.transmit, end.machine.target()), (Some(2), 2));
        assert_eq!(end.consumer.held, BTreeSet::from([2]));
    }
}

#[test]
fn while_the_other_end_lacks_the_key_the_link_stays_on_the_old_one_and_says_so() {
    let mut world = World::established(true);
    world.step(0, Step::Ready).unwrap();
    world.settle().unwrap();
    assert_eq!(world.ends[0].consumer.transmit, Some(1));
    assert_eq!(world.ends[0].consumer.held, BTreeSet::from([1, 2]));
    assert!(world.ends[0].events.contains(&RotationEvent::Overdue(2)));
    // It comes late.
    world.step(1, Step::Ready).unwrap();
    world.settle().unwrap();
    assert!(world.ends.iter().all(|end| end.consumer.transmit == Some(2)));
}

#[test]
fn a_static_key_that_was_lost_is_not_installed_again_and_both_ends_hear_of_it() {
    let mut world = World::established(false);
    world.step(1, Step::ConsumerDies).unwrap();
    world.settle().unwrap();
    assert!(world.ends[1].events.contains(&RotationEvent::Lost(1)));
    assert!(world.ends[0].events.contains(&RotationEvent::PeerLost(1)));
    assert_eq!(world.ends[1].consumer.held, BTreeSet::new());
    world.heals().unwrap();
}

#[test]
fn a_key_that_may_be_installed_again_is() {
    let mut world = World::established(true);
    world.step(1, Step::ConsumerDies).unwrap();
    world.settle().unwrap();
    assert_eq!(world.ends[1].consumer.held, BTreeSet::from([1]));
    assert_eq!(world.ends[1].consumer.transmit, Some(1));
}

/// Everything that can be done without time, until end 0 is about to carry out `stop`.
fn at_once(world: &mut World, stop: Option<RotationEvent>) {
    for _ in 0..40 {
        for at in [0, 1] {
            for step in [Step::Persist, Step::Execute, Step::Report, Step::Deliver(0)] {
                if stop.is_some() && world.ends[0].orders.first() == stop.as_ref() {
                    return;
                }
                world.step(at, step).unwrap();
            }
        }
    }
    assert_eq!(stop, None, "it was not ordered");
}

#[test]
fn what_was_refused_is_ordered_again_although_the_other_end_says_something_meanwhile() {
    for order in [RotationEvent::SwitchTransmit(2), RotationEvent::Retire(1)] {
        let mut world = World::established(true);
        for at in [0, 1] {
            world.step(at, Step::Ready).unwrap();
        }
        if order == RotationEvent::Retire(1) {
            at_once(&mut world, None);
            world.step(1, Step::Time(GRACE)).unwrap();
        }
        at_once(&mut world, Some(order));
        world.step(0, Step::Refuse).unwrap();
        at_once(&mut world, None);
        world.settle().unwrap();
        assert!(world.ends.iter().all(|end| end.consumer.transmit == Some(2)), "{order:?}");
        assert_eq!(world.ends[0].consumer.held, BTreeSet::from([2]), "{order:?}");
    }
}

/// The embedder keeps a key until it is told to retire it, so it has to be told that of each.
#[test]
fn what_is_to_be_retired_is_ordered_to_be_although_the_consumer_lost_it() {
    let mut world = World::established(true);
    for at in [0, 1] {
        world.step(at, Step::Ready).unwrap();
    }
    at_once(&mut world, None);
    world.step(1, Step::Time(GRACE)).unwrap();
    at_once(&mut world, Some(RotationEvent::Retire(1)));
    world.step(0, Step::ConsumerDies).unwrap();
    at_once(&mut world, Some(RotationEvent::Retire(1)));
    world.settle().unwrap();
    assert_eq!(world.ends[0].consumer.held, BTreeSet::from([2]));
    let status = world.ends[0].machine.status();
    assert!(!status.holds.contains(&1) && !status.keeps.contains(&1), "{status:?}");
}

/// The consumer takes longer to install the key again than a status is repeated.
#[test]
fn a_consumer_that_is_slow_to_come_back_transmits_again() {
    let mut world = World::established(true);
    world.step(0, Step::ConsumerDies).unwrap();
    for _ in 0..3 {
        world.step(0, Step::Persist).unwrap();
        world.step(0, Step::Time(1_000)).unwrap();
    }
    world.settle().unwrap();
    assert_eq!(world.ends[0].consumer.held, BTreeSet::from([1]));
    assert_eq!(world.ends[0].consumer.transmit, Some(1));
}

/// End 0 has 2, which the other end passed over, and that has waited for most of a grace when both move from 1 to 3.
#[test]
fn each_generation_stays_for_a_whole_grace() {
    let mut world = World::established(true);
    world.step(0, Step::Ready).unwrap();
    world.step(1, Step::NoKey).unwrap();
    world.step(1, Step::Ready).unwrap();
    at_once(&mut world, None);
    assert_eq!(world.ends[0].consumer.held, BTreeSet::from([1, 2]));
    world.step(0, Step::Time(GRACE - 1_000)).unwrap();
    world.step(0, Step::Ready).unwrap();
    at_once(&mut world, None);
    assert!(world.ends.iter().all(|end| end.consumer.transmit == Some(3)));
    // What the other end sent under 1 a moment ago may be under way for a grace.
    world.step(0, Step::Time(GRACE - 1_000)).unwrap();
    at_once(&mut world, None);
    assert!(world.ends[0].consumer.held.contains(&1), "{:?}", world.ends[0].consumer.held);
    world.step(0, Step::Time(1_000)).unwrap();
    at_once(&mut world, None);
    assert_eq!(world.ends[0].consumer.held, BTreeSet::from([3]));
}

#[test]
fn generations_rise_and_no_report_is_taken_without_an_order() {
    let mut world = World::established(true);
    let machine = &mut world.ends[0].machine;
    let now = world.now;
    assert_eq!(machine.ready(now, 1), Err(RotationError::NotNewer));
    assert_eq!(machine.ready(now, 0), Err(RotationError::NotNewer));
    for generation in [0, 1, 2] {
        assert_eq!(machine.installed(now, generation), Err(RotationError::Unexpected));
        assert_eq!(machine.retired(now, generation), Err(RotationError::Unexpected));
    }
    assert_eq!(machine.switched(now, 2), Err(RotationError::Unexpected));
    assert_eq!(machine.refused(now, RotationEvent::Report), Err(RotationError::Unexpected));
}

#[test]
fn a_status_is_read_as_it_was_written_and_nothing_else_is_one() {
    let status = Status {
        sequence: 1,
        seen: 2,
        target: 9,
        transmit: 8,
        newest: 9,
        holds: [8, 0, u64::MAX],
        keeps: [0, 9, 0],
        wants_answer: true,
    };
    let octets = status.encode();
    assert_eq!(Status::decode(&octets), Some(status));
    assert_eq!(Status::decode(&octets[..STATUS_LEN - 1]), None);
    assert_eq!(Status::decode(&[&octets[..], &[0]].concat()), None);
    for (place, value) in [(0, 2), (1, 2), (25, 7)] {
        let mut other = octets;
        other[place] = value;
        assert_eq!(Status::decode(&other), None, "{place}");
    }
}

#[test]
fn a_record_of_another_machine_or_form_is_refused() {
    let mut world = World::established(true);
    let slots = world.ends[0].slots.each_ref().map(Vec::as_slice);
    let config = RotationConfig::new([2; 8], PeerHandle::new(0));
    let refused = Rotation::restore(config, slots, world.now, &mut world.rng).unwrap_err();
    assert_eq!(refused, RotationError::Record(RecordError::ForeignMachine));
    assert!(Rotation::restore(config, [&[], &[]], world.now, &mut world.rng).unwrap().is_none());
}

/// An end whose machine is stopped after the loss is stored and before it is told.
fn crashes_before_it_tells(world: &mut World, at: usize) {
    assert!(world.ends[at].pending.is_some());
    world.step(at, Step::Crash { landed: true }).unwrap();
}

#[test]
fn that_the_key_in_use_is_lost_is_told_again_after_a_crash_at_each_end() {
    let mut world = World::established(false);
    world.step(1, Step::ConsumerDies).unwrap();
    crashes_before_it_tells(&mut world, 1);
    for step in [Step::Persist, Step::Execute, Step::Report, Step::Persist, Step::Time(1_000)] {
        world.step(1, step).unwrap();
    }
    assert!(world.ends[1].events.contains(&RotationEvent::Lost(1)), "{:?}", world.ends[1].events);
    while !world.net[0].is_empty() && world.ends[0].pending.is_none() {
        world.step(0, Step::Deliver(0)).unwrap();
    }
    crashes_before_it_tells(&mut world, 0);
    world.settle().unwrap();
    assert!(world.ends[0].events.contains(&RotationEvent::PeerLost(1)), "{:?}", world.ends[0].events);
    // Once another key is here, the loss is history.
    world.heals().unwrap();
    for at in [0, 1] {
        world.ends[at].events.clear();
        world.step(at, Step::Crash { landed: true }).unwrap();
    }
    world.settle().unwrap();
    let lost = |event: &RotationEvent| matches!(event, RotationEvent::Lost(_) | RotationEvent::PeerLost(_));
    assert!(!world.ends.iter().any(|end| end.events.iter().any(lost)));
}

#[test]
fn a_status_is_not_repeated_without_end_in_one_moment_whatever_the_configuration() {
    for repeat in [Duration::ZERO, Duration::from_micros(999), Duration::MAX] {
        let mut rng = ChaCha8Rng::from_seed([1; 32]);
        let config = RotationConfig::new([1; 8], PeerHandle::new(0)).repeat(repeat);
        let now = Instant::from_millis(5);
        let mut machine = Rotation::new(config, now, &mut rng);
        machine.ready(now, 1).unwrap();
        let Output::Wait(Some(at)) = (loop {
            match machine.poll_output() {
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
                    machine.handle_persisted(receipt).unwrap();
                }
                Output::Wait(at) => {
                    break Output::<RotationRecord, [u8; STATUS_LEN], RotationEvent>::Wait(at);
                }
                _ => {}
            }
        }) else {
            panic!("nothing is waited for");
        };
        assert!(at > now, "{repeat:?}");
    }
}

#[test]
fn that_the_first_key_is_lost_before_it_is_chosen_is_told_again_after_a_crash() {
    let mut world = World::new(false);
    for at in [0, 1] {
        world.step(at, Step::Ready).unwrap();
    }
    for step in [Step::Persist, Step::Execute, Step::Report, Step::Persist] {
        world.step(1, step).unwrap();
    }
    world.step(1, Step::ConsumerDies).unwrap();
    crashes_before_it_tells(&mut world, 1);
    world.settle().unwrap();
    assert!(world.ends[1].events.contains(&RotationEvent::Lost(1)), "{:?}", world.ends[1].events);
    world.heals().unwrap();
    world.ends[1].events.clear();
    world.step(1, Step::Crash { landed: true }).unwrap();
    world.settle().unwrap();
    assert!(!world.ends[1].events.iter().any(|event| matches!(event, RotationEvent::Lost(_))));
}
