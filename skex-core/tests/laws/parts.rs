//! The parts of `skex_core::machine` against models as simple as can be.

use core::time::Duration;
use std::collections::BTreeMap;

use chacha20::ChaCha20Rng;
use proptest::collection::vec;
use proptest::prelude::*;
use rand_core::SeedableRng as _;
use skex_core::machine::{
    Barrier, Clock, DiscardCounters, DiscardReason, Disposition, Instant, Outbox, Queue, Receipt,
    ReceiptError, Timers,
};

fn barrier(seed: u64) -> Barrier {
    Barrier::new(&mut ChaCha20Rng::seed_from_u64(seed))
}

fn issue(barrier: &mut Barrier) -> Option<Receipt> {
    Some(barrier.issue(|| ())?.into_parts().1.assume_durable())
}

/// Issues the next checkpoint and acknowledges it.
fn pass(barrier: &mut Barrier) {
    let receipt = issue(barrier).unwrap();
    barrier.acknowledge(receipt).unwrap();
}

#[test]
fn a_barrier_lets_go_what_waits_for_nothing() {
    assert!(barrier(1).has_reached(Barrier::OPEN));
}

#[test]
fn a_barrier_opens_at_the_receipt_and_not_before() {
    let mut barrier = barrier(1);
    let gate = barrier.after();
    assert!(!barrier.has_reached(gate));
    let receipt = issue(&mut barrier).unwrap();
    assert!(barrier.is_pending() && !barrier.has_reached(gate));
    assert!(barrier.after() > gate, "a change made now is not in the checkpoint that is out");
    assert!(issue(&mut barrier).is_none(), "one checkpoint at a time");
    barrier.acknowledge(receipt).unwrap();
    assert!(!barrier.is_pending() && barrier.has_reached(gate) && !barrier.has_reached(barrier.after()));
}

#[test]
fn a_receipt_from_before_a_restart_is_foreign() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut before = Barrier::new(&mut rng);
    let receipt = issue(&mut before).unwrap();
    let mut after = Barrier::new(&mut rng);
    let own = issue(&mut after).unwrap();
    assert_eq!(after.acknowledge(receipt), Err(ReceiptError::Foreign));
    assert!(after.is_pending());
    after.acknowledge(own).unwrap();
}

#[test]
fn a_receipt_that_is_not_outstanding_is_stale() {
    // Two barriers of one seed are the same instance, so each has the other's receipts.
    let (mut barrier, mut twin) = (barrier(1), barrier(1));
    let first = issue(&mut twin).unwrap();
    assert_eq!(barrier.acknowledge(first), Err(ReceiptError::Stale), "nothing is outstanding yet");
    pass(&mut barrier);
    let mut twin = self::barrier(1);
    let first = issue(&mut twin).unwrap();
    assert_eq!(barrier.acknowledge(first), Err(ReceiptError::Stale), "the first is durable already");
    let second = issue(&mut barrier).unwrap();
    let mut twin = self::barrier(1);
    let first = issue(&mut twin).unwrap();
    assert_eq!(barrier.acknowledge(first), Err(ReceiptError::Stale), "the second is outstanding");
    barrier.acknowledge(second).unwrap();
}

/// An answer that is repeated comes for the checkpoint that it waited for first. Where that is durable, it waits for nothing; where it is not, in a
/// queue, for what came before it for a later one.
#[test]
fn what_comes_for_an_earlier_checkpoint_than_something_before_it_waits_in_a_queue_alone_and_not_for_what_is_durable()
 {
    let mut barrier = barrier(1);
    let (mut queue, mut outbox) = (Queue::new(4), Outbox::<u32, 4>::new());
    let first = barrier.after();
    let receipt = issue(&mut barrier).unwrap();
    for (after, item) in [(barrier.after(), 1), (first, 2)] {
        queue.push(after, item).unwrap();
        outbox.push(after, item).unwrap();
    }
    barrier.acknowledge(receipt).unwrap();
    assert_eq!((queue.pop(&barrier), outbox.pop(&barrier)), (None, Some(2)));
    let repeated = queue.push(first, 3).unwrap();
    assert_eq!(queue.waiting_mut(repeated, first), Some(&mut 3));
    assert_eq!(queue.waiting_mut(repeated, Barrier::OPEN), Some(&mut 3));
    assert_eq!((queue.pop(&barrier), queue.pop(&barrier)), (Some(3), None));
    pass(&mut barrier);
    assert_eq!((queue.pop(&barrier), queue.pop(&barrier)), (Some(1), Some(2)));
}

proptest! {
    #[test]
    fn a_barrier_counts_as_its_model(steps in vec(0..4_u8, 0..40)) {
        let (mut barrier, mut other) = (barrier(1), barrier(2));
        let (mut issued, mut durable) = (0_u64, 0_u64);
        let mut outstanding = None;
        for step in steps {
            match step {
                0 => {
                    let receipt = issue(&mut barrier);
                    prop_assert_eq!(receipt.is_some(), issued == durable);
                    if let Some(receipt) = receipt {
                        issued += 1;
                        outstanding = Some(receipt);
                    }
                }
                1 => if let Some(receipt) = outstanding.take() {
                    prop_assert_eq!(barrier.acknowledge(receipt), Ok(()));
                    durable = issued;
                },
                2 => if let Some(receipt) = issue(&mut other) {
                    prop_assert_eq!(barrier.acknowledge(receipt), Err(ReceiptError::Foreign));
                },
                _ => pass_if_idle(&mut other),
            }
            prop_assert_eq!(barrier.is_pending(), issued > durable);
            prop_assert_eq!(barrier.after(), issued + 1);
            for number in 0..issued + 3 {
                prop_assert_eq!(barrier.has_reached(number), number <= durable);
            }
        }
    }

    #[test]
    fn an_outbox_gives_the_first_that_may_leave(steps in vec((0..5_u8, 0..4_u64), 0..60)) {
        let mut barrier = barrier(1);
        let mut durable = 0_u64;
        let mut outbox = Outbox::<u32, 5>::new();
        let mut model = Vec::<(u64, u32)>::new();
        for (item, (step, ahead)) in (0..).zip(steps) {
            match step {
                0 | 1 => {
                    let after = (durable + ahead).saturating_sub(1);
                    let answer = outbox.push(after, item);
                    prop_assert_eq!(answer.is_ok(), model.len() < 5);
                    if answer.is_ok() {
                        model.push((after, item));
                    }
                }
                2 => {
                    let first = model.iter().position(|(after, _)| *after <= durable);
                    prop_assert_eq!(outbox.pop(&barrier), first.map(|position| model.remove(position).1));
                }
                3 => {
                    pass(&mut barrier);
                    durable += 1;
                }
                _ => {
                    outbox.discard(|item| u64::from(*item) % 3 == ahead);
                    model.retain(|(_, item)| u64::from(*item) % 3 != ahead);
                }
            }
            prop_assert_eq!(outbox.free(), 5 - model.len());
            prop_assert_eq!(outbox.is_empty(), model.is_empty());
        }
    }

    #[test]
    fn a_queue_gives_the_first_that_may_leave(bound in 0..6_usize, steps in vec((0..6_u8, any::<bool>()), 0..60)) {
        let mut barrier = barrier(1);
        let mut queue = Queue::new(bound);
        let mut model = Vec::<(u64, u32)>::new();
        // Where each item waits: with what it waits for, until something is discarded.
        let mut places = Vec::new();
        for (item, (step, is_open)) in (0..).zip(steps) {
            match step {
                0..=2 => {
                    let after = if is_open { Barrier::OPEN } else { barrier.after() };
                    let place = queue.push(after, item);
                    prop_assert_eq!(place.is_ok(), model.len() < bound);
                    if let Ok(place) = place {
                        places.push((place, after, item));
                        model.push((after, item));
                    }
                }
                3 => {
                    let first = model.iter().position(|(after, _)| barrier.has_reached(*after));
                    prop_assert_eq!(queue.pop(&barrier), first.map(|position| model.remove(position).1));
                }
                4 => {
                    queue.discard(|item| item % 3 == 0);
                    model.retain(|(_, item)| item % 3 != 0);
                    for (place, after, _) in places.drain(..) {
                        prop_assert_eq!(queue.waiting_mut(place, after), None);
                    }
                }
                _ => pass(&mut barrier),
            }
            for (place, after, mut item) in places.iter().copied() {
                let waits = model.contains(&(after, item));
                prop_assert_eq!(queue.waiting_mut(place, after), waits.then_some(&mut item));
                prop_assert_eq!(queue.waiting_mut(place, after.max(barrier.issued()) + 1), None);
            }
            prop_assert_eq!(queue.free(), bound - model.len());
            prop_assert_eq!(queue.is_empty(), model.is_empty());
        }
    }

    #[test]
    fn timers_are_a_map_of_deadlines(steps in vec((0..4_u8, 0..5_usize, 0..50_u64), 0..60)) {
        let mut timers = Timers::<3>::default();
        let mut model = BTreeMap::new();
        for (step, timer, millis) in steps {
            let at = Instant::from_millis(millis);
            match step {
                0 | 1 => {
                    timers.set(timer, at);
                    // Names beyond the three do not exist.
                    if timer < 3 {
                        model.insert(timer, at);
                    }
                }
                2 => {
                    timers.stop(timer);
                    model.remove(&timer);
                }
                _ => {
                    let expired = model.get(&timer).is_some_and(|deadline| *deadline <= at);
                    prop_assert_eq!(timers.take_expired(timer, at), expired);
                    if expired {
                        model.remove(&timer);
                    }
                }
            }
            prop_assert_eq!(timers.next(), model.values().min().copied());
            for timer in 0..5 {
                prop_assert_eq!(timers.deadline(timer), model.get(&timer).copied());
            }
        }
    }

    #[test]
    fn a_clock_shows_the_latest_time_seen(times in vec(any::<u64>(), 0..20)) {
        let mut clock = Clock::new(Instant::ZERO);
        let mut latest = 0;
        for millis in times {
            // What is later than the end of time is that.
            latest = latest.max(millis.min(1 << 63));
            prop_assert_eq!(clock.observe(Instant::from_millis(millis)).as_millis(), latest);
            prop_assert_eq!(clock.now().as_millis(), latest);
        }
    }

    #[test]
    fn instants_count_as_wide_numbers_and_stop_at_their_ends(
        start in any::<u64>(),
        seconds in any::<u64>(),
        nanos in 0..1_000_000_000_u32,
    ) {
        let duration = Duration::new(seconds, nanos);
        let expected = (u128::from(start) + duration.as_millis()).min(u128::from(u64::MAX));
        let later = Instant::from_millis(start).saturating_add(duration);
        prop_assert_eq!(u128::from(later.as_millis()), expected);
        let since = later.saturating_since(Instant::from_millis(start));
        prop_assert_eq!(since.as_millis(), expected - u128::from(start));
        prop_assert_eq!(Instant::from_millis(start).saturating_since(later), Duration::ZERO);
    }
}

fn pass_if_idle(barrier: &mut Barrier) {
    if !barrier.is_pending() {
        pass(barrier);
    }
}

#[test]
fn counters_count_each_reason_by_itself() {
    let mut counters = DiscardCounters::new();
    for (times, reason) in (1..).zip(DiscardReason::ALL) {
        for _ in 0..times {
            assert_eq!(counters.discard(reason), Disposition::Discarded(reason));
        }
    }
    for (times, reason) in (1..).zip(DiscardReason::ALL) {
        assert_eq!(counters.count(reason), times);
    }
    assert_eq!(counters.iter().map(|(_, count)| count).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
}
