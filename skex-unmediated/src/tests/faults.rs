//! Loss, repetition, disorder, crossing first messages, crashes and failed writes.

use core::time::Duration;
use std::vec::Vec;

use skex_core::machine::{Destination, DiscardReason, Disposition, Output, PathId};

use super::pair::{Options, Pair, config};
use crate::{Error, Event, Peer, Side};

const BOTH: [Side; 2] = [Side::A, Side::B];

fn variants() -> impl Iterator<Item = Options> {
    [(false, false), (true, false), (false, true), (true, true)]
        .into_iter()
        .map(|(consumer, stateless)| Options { consumer, stateless, ..Options::default() })
}

#[test]
fn any_of_the_four_messages_may_be_lost_or_repeated_any_number_of_times() {
    // For each of the first six messages: 0 deliver, 1 drop, 2 deliver twice.
    for options in variants() {
        for plan in 0..3_usize.pow(6) {
            let mut pair = Pair::new(options);
            pair.a.establish();
            let mut plan_left = plan;
            for _ in 0..30 {
                while let Some((to, message)) = pair.next_message() {
                    let times = [1, 0, 2][plan_left % 3];
                    plan_left /= 3;
                    for _ in 0..times {
                        let _ = pair.end(to).deliver(&message);
                        pair.assert_safe();
                    }
                }
                if pair.agree().is_some() {
                    break;
                }
                pair.confirm_if_consumer();
                if pair.agree().is_some() {
                    break;
                }
                pair.a.wake_soon();
                pair.b.wake_soon();
                if matches!(pair.a.events.last(), Some(Event::Unanswered)) {
                    pair.a.events.clear();
                    pair.a.establish();
                }
            }
            assert!(pair.agree().is_some(), "plan {plan} of {:?}", (options.consumer, options.stateless));
            pair.assert_lives(Side::B);
        }
    }
}

#[test]
fn every_recorded_message_again_in_every_later_state_changes_no_epoch() {
    let mut pair = Pair::new(Options::default());
    for epoch in 0..4_u64 {
        pair.end(BOTH[(epoch % 2) as usize]).establish();
        while let Some((to, message)) = pair.next_message() {
            let _ = pair.end(to).deliver(&message);
            let recorded: Vec<_> = pair.recorded.clone();
            let epochs = (pair.a.epoch(), pair.b.epoch());
            let waiting = (pair.a.sent.clone(), pair.b.sent.clone());
            for (_, old) in &recorded[..recorded.len() - 1] {
                // To both: a message that was sent to one end is reflected to its sender too.
                for side in BOTH {
                    let _ = pair.end(side).deliver(old);
                    pair.assert_safe();
                }
            }
            assert_eq!((pair.a.epoch(), pair.b.epoch()), epochs);
            (pair.a.sent, pair.b.sent) = waiting;
        }
        pair.assert_lives(Side::A);
    }
}

#[test]
fn messages_in_any_order_lead_to_a_session() {
    // Both start, nothing is lost, and what is on its way arrives in the order that the plan says.
    for plan in 0..5_usize.pow(6) {
        let mut pair = Pair::new(Options::default());
        pair.a.establish();
        pair.b.establish();
        let mut plan_left = plan;
        let mut on_the_way = Vec::new();
        loop {
            while let Some(next) = pair.next_message() {
                on_the_way.push(next);
            }
            if on_the_way.is_empty() {
                break;
            }
            let (to, message) = on_the_way.remove(plan_left % 5 % on_the_way.len());
            plan_left /= 5;
            let _ = pair.end(to).deliver(&message);
            pair.assert_safe();
        }
        pair.assert_lives(Side::A);
    }
}

#[test]
fn crossing_first_messages_end_in_one_session_whoever_wins() {
    let mut winners = [0, 0];
    for seed in 0..200 {
        let mut pair = Pair::seeded(Options::default(), seed);
        pair.a.establish();
        pair.b.establish();
        pair.settle();
        pair.assert_safe();
        assert_eq!(pair.agree(), Some(1), "seed {seed}");
        let role = pair.a.peer().session().unwrap().role;
        winners[usize::from(role == crate::Role::Initiator)] += 1;
        assert_eq!(pair.recorded.len(), 5, "two first messages, one of each other");
    }
    assert!(winners.iter().all(|won| *won > 50), "{winners:?}");
}

#[test]
fn a_crash_before_any_step_of_either_end_leaves_a_pair_that_lives() {
    let mut crashes = 0;
    for options in variants() {
        for initiator in BOTH {
            for victim in BOTH {
                for wants in BOTH {
                    for step in 0.. {
                        let mut pair = Pair::new(options);
                        pair.handshake(Side::A);
                        pair.confirm_if_consumer();
                        let done = pair.end(victim).steps;
                        pair.end(victim).crash_at = Some(done + step);
                        pair.handshake(initiator);
                        let crashed = pair.end(victim).peer.is_none();
                        if crashed {
                            pair.end(victim).boot();
                            pair.settle();
                        }
                        pair.assert_safe();
                        pair.assert_lives(wants);
                        if !crashed {
                            assert!(step > 3, "the victim took more than {step} steps");
                            break;
                        }
                        crashes += 1;
                    }
                }
            }
        }
    }
    assert!(crashes > 100, "{crashes}");
}

#[test]
fn two_crashes_anywhere_leave_a_pair_that_lives() {
    for victims in [[Side::A, Side::A], [Side::A, Side::B], [Side::B, Side::A], [Side::B, Side::B]] {
        for first in 0..12 {
            for second in 0..12 {
                let mut pair = Pair::new(Options::default());
                for (victim, step) in victims.into_iter().zip([first, second]) {
                    let done = pair.end(victim).steps;
                    pair.end(victim).crash_at = Some(done + step);
                    pair.handshake(Side::A);
                    pair.a.wake();
                    pair.settle();
                    for side in BOTH {
                        pair.end(side).crash_at = None;
                        if pair.end(side).peer.is_none() {
                            pair.end(side).boot();
                        }
                    }
                    pair.assert_safe();
                }
                pair.assert_lives(Side::B);
            }
        }
    }
}

#[test]
fn nothing_leaves_between_a_failed_write_and_the_next_restoration() {
    for (victim, other) in [(Side::A, Side::B), (Side::B, Side::A)] {
        for landed in [false, true] {
            let mut pair = Pair::new(Options::default());
            pair.a.establish();
            // Deliver until the victim wants to store its move.
            loop {
                let (to, message) = pair.next_message().unwrap();
                // The initiator moves on the second message, the responder on the third.
                let moves = message[0] == if victim == Side::A { 0x12 } else { 0x13 };
                if !moves {
                    let _ = pair.end(to).deliver(&message);
                    continue;
                }
                assert_eq!(to, victim);
                let now = pair.end(to).now;
                let end = pair.end(to);
                let peer = end.peer.as_mut().unwrap();
                let _ = peer.handle_message(now, &mut end.rng, PathId::new(1), &message).unwrap();
                let Output::Persist(checkpoint) = peer.poll_output() else {
                    panic!("it wants to store its move")
                };
                // The write reports an error; whether it landed nobody knows.
                let slot = end.writes % 2;
                let record = checkpoint.record().as_bytes().to_vec();
                assert_eq!(checkpoint.commit_with(|_| Err::<(), _>("disk")).unwrap_err(), "disk");
                if landed {
                    end.slots[slot] = record;
                    end.writes += 1;
                }
                assert!(matches!(peer.poll_output(), Output::Wait(_)), "nothing leaves");
                let busy = peer.handle_message(now, &mut end.rng, PathId::new(1), &message).unwrap();
                assert_eq!(busy, Disposition::Discarded(DiscardReason::Busy));
                break;
            }
            let heard = u64::from(victim == Side::B);
            assert_eq!(pair.end(other).epoch(), heard, "the other end is where it was");
            pair.end(victim).boot();
            pair.settle();
            pair.assert_safe();
            pair.assert_lives(other);
        }
    }
}

#[test]
fn a_restored_end_stores_what_it_read_before_anything_leaves() {
    let mut pair = Pair::new(Options::default());
    pair.a.establish();
    for _ in 0..2 {
        let (to, message) = pair.next_message().unwrap();
        let _ = pair.end(to).deliver(&message);
    }
    assert!(pair.a.peer().is_ahead());
    let (a, config) = (&mut pair.a, config(Side::A, Options::default()));
    let slots = [&a.slots[0][..], &a.slots[1][..]];
    let mut peer = Peer::restore(&config, slots, a.now, &mut a.rng).unwrap();
    let Output::Persist(checkpoint) = peer.poll_output() else { panic!("it wants to store first") };
    assert!(matches!(peer.poll_output(), Output::Wait(_)));
    let refused = peer.export_next(skex_core::Label::EXPORT_RAW, b"").unwrap_err();
    assert_eq!(refused, crate::ExportError::Busy);
    peer.handle_persisted(checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()).unwrap();
    assert!(matches!(peer.poll_output(), Output::Transmit(_)));
}

#[test]
fn a_third_message_is_repeated_for_ever_and_ever_more_rarely() {
    let mut pair = Pair::new(Options::default());
    pair.a.establish();
    for _ in 0..2 {
        let (to, message) = pair.next_message().unwrap();
        let _ = pair.end(to).deliver(&message);
    }
    let mut waits = Vec::new();
    for _ in 0..40 {
        pair.a.sent.clear();
        let before = pair.a.now;
        pair.a.wake();
        if let Some(third) = pair.a.sent.pop_front() {
            assert_eq!(third[0], 0x15, "the long form");
            waits.push(pair.a.now.saturating_since(before));
        }
    }
    assert_eq!(waits[0], Duration::from_secs(1));
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(3600)));
    assert!(waits.iter().filter(|wait| **wait == Duration::from_secs(3600)).count() > 10);
    // Long after, it still heals; the session came too late and is void at both ends.
    pair.a.sent.clear();
    pair.b.now = pair.a.now;
    pair.a.wake();
    pair.settle();
    assert!(matches!(pair.b.events.last(), Some(Event::Void(_))));
    assert!(pair.b.peer().session().is_none());
    assert_eq!((pair.a.epoch(), pair.b.epoch()), (1, 1));
    pair.assert_lives(Side::A);
}

#[test]
fn an_attempt_that_nobody_answers_ends_with_an_event_and_can_be_made_again() {
    let mut pair = Pair::new(Options::default());
    pair.a.establish();
    for _ in 0..5 {
        pair.a.wake();
    }
    assert_eq!(pair.a.sent.len(), 5);
    assert!(pair.a.sent.iter().all(|first| *first == pair.a.sent[0]), "the same bytes each time");
    assert!(matches!(pair.a.events.as_slice(), [Event::Unanswered]));
    assert_eq!(pair.a.drain(), None, "no timer is armed");
    pair.a.sent.clear();
    pair.assert_lives(Side::A);
}

#[test]
fn a_spurious_timeout_and_a_clock_that_runs_backwards_change_nothing() {
    let mut pair = Pair::new(Options::default());
    pair.a.establish();
    let before = pair.a.picture();
    pair.a.timeout();
    let now = skex_core::machine::Instant::ZERO;
    pair.a.peer.as_mut().unwrap().handle_timeout(now, &mut pair.a.rng).unwrap();
    pair.a.drain();
    assert_eq!(pair.a.picture(), before);
}

#[test]
fn a_rolled_back_end_is_told_and_stops() {
    let mut pair = Pair::new(Options::default());
    pair.handshake(Side::A);
    let backup = (pair.a.slots.clone(), pair.a.writes);
    pair.handshake(Side::A);
    (pair.a.slots, pair.a.writes) = backup;
    pair.a.boot();
    pair.a.establish();
    // It was the initiator: it first believes that its third message was lost.
    for _ in 0..3 {
        pair.settle();
        pair.a.wake_soon();
    }
    pair.settle();
    assert!(matches!(pair.a.events.last(), Some(Event::RolledBack)));
    assert_eq!((pair.a.epoch(), pair.b.epoch()), (1, 2), "it fails closed");
    let now = pair.a.now;
    assert_eq!(pair.a.peer.as_mut().unwrap().establish(now, &mut pair.a.rng), Err(Error::RolledBack));
    assert_eq!(pair.agree(), None);
}

#[test]
fn an_older_rollback_is_silence_and_no_more_is_claimed() {
    let mut pair = Pair::new(Options::default());
    pair.handshake(Side::A);
    let backup = (pair.b.slots.clone(), pair.b.writes);
    pair.handshake(Side::A);
    pair.handshake(Side::A);
    (pair.b.slots, pair.b.writes) = backup;
    pair.b.boot();
    pair.b.establish();
    pair.settle();
    for _ in 0..5 {
        pair.b.wake();
        pair.settle();
    }
    assert!(matches!(pair.b.events.last(), Some(Event::Unanswered)));
    assert_eq!((pair.a.epoch(), pair.b.epoch()), (3, 1));
}

#[test]
fn a_peer_that_moved_gets_the_long_third_message_after_a_cookie() {
    let mut pair = Pair::new(Options::default());
    pair.a.establish();
    for _ in 0..2 {
        let (to, message) = pair.next_message().unwrap();
        let _ = pair.end(to).deliver(&message);
    }
    // The third message is lost, and b lives on another path now.
    pair.a.sent.clear();
    pair.b.crash();
    pair.b.boot();
    pair.b.establish();
    let first = pair.b.sent.pop_front().unwrap();
    let (old, new) = (PathId::new(1), PathId::new(2));
    let _ = pair.a.deliver_from(new, &first);
    let cookie = pair.a.sent.pop_front().unwrap();
    assert_eq!((cookie.len(), cookie[0]), (26, 0x16));
    assert_eq!(pair.a.destinations.last(), Some(&Destination::Path(new)));
    let _ = pair.b.deliver(&cookie);
    assert!(pair.b.sent.is_empty(), "nothing authenticates a cookie: it waits for the next repetition");
    pair.b.wake();
    let with_cookie = pair.b.sent.pop_front().unwrap();
    assert_eq!(with_cookie.len(), first.len() + 17);
    // The cookie is for that path only.
    let _ = pair.a.deliver_from(PathId::new(3), &with_cookie);
    assert_eq!(pair.a.sent.pop_front().unwrap()[0], 0x16);
    let _ = pair.a.deliver_from(new, &with_cookie);
    let third = pair.a.sent.pop_front().unwrap();
    assert_eq!(third[0], 0x15);
    assert_eq!(pair.a.destinations.last(), Some(&Destination::Path(new)));
    let _ = pair.b.deliver(&third);
    pair.settle();
    assert_eq!((pair.a.epoch(), pair.b.epoch()), (1, 1));
    // From the learned path no cookie is needed.
    let _ = pair.a.deliver_from(old, &first);
    pair.a.sent.clear();
    pair.assert_lives(Side::B);
}
