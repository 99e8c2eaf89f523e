//! Each rule's attack: it fails while the rule holds, and succeeds, so that a check notices, once the rule is removed.
//!
//! | what attacks taught | rules | attack here, or in the module named |
//! |---|---|---|
//! | one attempt, commit before speak | `AnswerEndsAttempt`, `CurrentAttemptOnly`, `ConfirmBeforeAnswer`, `CommitBeforeThird`, `CommitBeforeFourth`, `KeepThird` | `who_answers_..`, `a_second_message_for_..`, `the_confirmation_is_..`, `the_initiator_moves_..`, `the_responder_moves_..`, `who_is_ahead_..`; `search` |
//! | 1 freshness without a ring | `NonceFromFirst`, `FollowAlways`, `StaleIsVoid` | `copies_of_a_first_..`, `a_third_message_that_is_late_..`, `a_flood_of_copies_..` |
//! | 2 exporter | `OneOutputAnIndex`, `EraseBeforeKey`, `NameWithinWindow` | `an_index_gives_..`, `a_key_leaves_..`; `exporter` |
//! | 3 mix | `KeepBlock`, `StoreBlock`, `RequireBlock`, `HeedRefusal`, `AskForRoom`, `TellLostBlock` | `mixing`; `search` |
//! | 4 confirmation by the consumer | `HealAfterConfirmation`, `TellVoid` | `a_reflected_message_..`, `who_has_a_void_session_..` |
//! | 5 a failed or unclear write | `RewriteOnRestore` | `what_was_read_is_..`; `faults`: `nothing_leaves_between_..` |
//! | 6 every octet under a tag | `HeedStatus`, `HeedVoidFlag`, `ChosenWasOffered`, `ExpireUnconfirmed` | `an_initiator_heeds_..`, `the_void_flag_..`, `a_suite_that_was_not_..`, `a_session_that_nobody_..`; `junk` |
//! | 7 rollback is not concluded from counting | `ProveStale`, `StaleOnlyIfFollowed`, `StopRolledBack` | `replayed_pseudonyms_..`, `nobody_is_told_..`, `who_knows_that_..`; `faults`: `a_rolled_back_end_..` |
//! | 8 glare under replay | `RoundRises` | `recorded_first_messages_..` |
//! | 9 cost of forgery | `Guard`, `LearnAuthentic`, `LimitThirds`, `ProvePath`, `OneCookie`, `CookieUnderLoad` | `a_forged_long_..`, `nobody_else_decides_..`, `forged_third_messages_..`; `junk`; `table::load` |
//! | recovery is one step | `ShutRecovery`, `RecoveryIsDurable`, `ConfirmRecovery`, `RecoveryNeverExpires`, `VoidIsNoRecovery`, `HoldRecovered` | `table::recovery` |

use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::panic::catch_unwind;

use skex_core::machine::{Destination, DiscardReason, Disposition, Instant, PathId};
use skex_core::{Label, Suite};

use super::pair::{Options, Pair};
use crate::rules::{Rule, without};
use crate::{Event, ExportError, Side};

/// The attack must be caught without the rule, and harmless with it.
pub(super) fn load_bearing(rule: Rule, attack: impl Fn()) {
    attack();
    assert!(is_missed(rule, attack), "nothing notices that {rule:?} is gone");
}

/// Whether the attack is caught without the rule.
pub(super) fn is_missed(rule: Rule, attack: impl Fn()) -> bool {
    let hook = std::panic::take_hook();
    std::panic::set_hook(std::boxed::Box::new(|_| {}));
    let caught = catch_unwind(AssertUnwindSafe(|| without(rule, &attack))).is_err();
    std::panic::set_hook(hook);
    caught
}

/// Passes messages on: `count` of them, whoever sent them.
pub(super) fn pass(pair: &mut Pair, count: usize) {
    for _ in 0..count {
        let (to, message) = pair.next_message().unwrap();
        let _ = pair.end(to).deliver(&message);
    }
}

fn ahead(options: Options) -> Pair {
    let mut pair = Pair::new(options);
    pair.a.establish();
    pass(&mut pair, 2);
    assert!(pair.a.peer().is_ahead());
    pair
}

/// What comes of it otherwise (both ends commit, apart) is found by the exhaustive search.
#[test]
fn who_answers_a_crossing_first_message_gives_up_its_own() {
    load_bearing(Rule::AnswerEndsAttempt, || {
        for seed in 0..20 {
            let mut pair = Pair::seeded(Options::default(), seed);
            pair.a.establish();
            pair.b.establish();
            pass(&mut pair, 2);
            let loser = if pair.a.sent.is_empty() { Side::B } else { Side::A };
            let end = pair.end(loser);
            assert_eq!(end.sent.len(), 1, "one end answers, and only one");
            end.sent.clear();
            end.now = end.now.saturating_add(Duration::from_secs(1));
            end.timeout();
            assert!(end.sent.is_empty(), "it goes on with its own attempt");
        }
    });
}

#[test]
fn a_second_message_for_an_attempt_that_is_over_is_not_accepted() {
    load_bearing(Rule::CurrentAttemptOnly, || {
        for seed in 0..8 {
            let mut pair = Pair::seeded(Options::default(), seed);
            // A starts; b answers; the answer is held back.
            pair.a.establish();
            pass(&mut pair, 1);
            let held = pair.b.sent.pop_front().unwrap();
            // A's attempt ends, it answers b's, and b commits.
            for _ in 0..5 {
                pair.a.wake();
            }
            pair.a.sent.clear();
            pair.b.establish();
            pass(&mut pair, 2);
            assert!(pair.b.peer().is_ahead());
            pair.b.sent.clear();
            let _ = pair.a.deliver(&held);
            pair.assert_safe();
            pair.assert_lives(Side::A);
        }
    });
}

#[test]
fn the_confirmation_is_durable_before_a_second_message_leaves() {
    load_bearing(Rule::ConfirmBeforeAnswer, || {
        let mut pair = Pair::new(Options::default());
        pair.handshake(Side::A);
        // B starts; a, whose confirmation is not written yet, answers and loses power; b commits.
        pair.b.establish();
        pass(&mut pair, 1);
        let second = pair.a.sent.pop_front().unwrap();
        pair.a.crash();
        let _ = pair.b.deliver(&second);
        pair.b.sent.clear();
        pair.a.boot();
        assert_eq!(pair.b.epoch(), 2);
        assert!(!pair.a.peer().is_ahead(), "a believes that b may be behind");
        pair.assert_lives(Side::A);
    });
}

#[test]
fn the_initiator_moves_durably_before_its_third_message() {
    load_bearing(Rule::CommitBeforeThird, || {
        for step in 0..6 {
            let mut pair = Pair::new(Options::default());
            pair.a.establish();
            pass(&mut pair, 1);
            let second = pair.b.sent.pop_front().unwrap();
            // What leaves while the write is under way is on the wire.
            let (now, rng) = (pair.a.now, &mut pair.a.rng);
            let peer = pair.a.peer.as_mut().unwrap();
            let _ = peer.handle_message(now, rng, PathId::new(1), &second).unwrap();
            let _write_that_never_lands = peer.poll_output();
            if let skex_core::machine::Output::Transmit(third) = peer.poll_output() {
                let _ = pair.b.deliver(third.payload.as_bytes());
            }
            pair.a.crash();
            pair.a.boot();
            pair.b.sent.clear();
            pair.assert_safe();
            pair.assert_lives(if step % 2 == 0 { Side::A } else { Side::B });
        }
    });
}

#[test]
fn the_responder_moves_durably_before_its_fourth_message() {
    load_bearing(Rule::CommitBeforeFourth, || {
        let mut pair = ahead(Options::default());
        let third = pair.a.sent.pop_front().unwrap();
        let (now, rng) = (pair.b.now, &mut pair.b.rng);
        let peer = pair.b.peer.as_mut().unwrap();
        let _ = peer.handle_message(now, rng, PathId::new(1), &third).unwrap();
        let _write_that_never_lands = peer.poll_output();
        if let skex_core::machine::Output::Transmit(fourth) = peer.poll_output() {
            let _ = pair.a.deliver(fourth.payload.as_bytes());
        }
        pair.b.crash();
        pair.b.boot();
        pair.assert_safe();
        pair.assert_lives(Side::A);
    });
}

#[test]
fn who_is_ahead_keeps_its_third_message() {
    load_bearing(Rule::KeepThird, || {
        let mut pair = ahead(Options::default());
        pair.a.sent.clear();
        pair.assert_lives(Side::B);
    });
}

#[test]
fn a_third_message_that_is_late_moves_the_epoch_and_makes_a_void_session() {
    for rule in [Rule::FollowAlways, Rule::StaleIsVoid] {
        load_bearing(rule, || {
            let mut pair = ahead(Options::default());
            pair.a.sent.clear();
            pair.b.now = Instant::from_millis(1_000_000);
            pair.a.wake();
            pair.settle();
            assert_eq!(pair.b.epoch(), 1);
            assert!(matches!(pair.b.events.as_slice(), [Event::Void(_)]));
            assert_eq!(pair.agree(), None);
            pair.assert_lives(Side::A);
        });
    }
}

/// Copies come between the second message and the third.
#[test]
fn copies_of_a_first_message_do_not_void_its_session() {
    load_bearing(Rule::NonceFromFirst, || {
        let mut pair = Pair::new(Options::default());
        pair.a.establish();
        let (_, first) = pair.next_message().unwrap();
        for _ in 0..3 {
            let _ = pair.b.deliver(&first);
        }
        let second = pair.b.sent.pop_front().unwrap();
        pair.b.sent.clear();
        let _ = pair.a.deliver(&second);
        pair.settle();
        pair.a.wake_soon();
        pair.settle();
        assert_eq!(pair.agree(), Some(1));
    });
}

#[test]
fn who_has_a_void_session_says_so_where_the_consumer_confirms() {
    load_bearing(Rule::TellVoid, || {
        let mut pair = ahead(Options { consumer: true, ..Options::default() });
        assert!(pair.a.peer().session().is_some(), "its consumer has keys already");
        pair.a.sent.clear();
        pair.b.crash();
        pair.b.boot();
        pair.a.wake();
        pair.settle();
        assert!(pair.a.peer().session().is_none() && pair.b.peer().session().is_none());
    });
}

/// The third message never arrives: nobody knows whether the peer will ever have these keys.
#[test]
fn a_session_that_nobody_confirms_expires() {
    load_bearing(Rule::ExpireUnconfirmed, || {
        let mut pair = ahead(Options { consumer: true, ..Options::default() });
        assert!(pair.a.peer().export_next(Label::EXPORT_RAW, b"").is_ok());
        pair.a.now = pair.a.now.saturating_add(Duration::from_secs(3600));
        pair.a.timeout();
        assert!(matches!(pair.a.events.last(), Some(Event::Expired(_))));
        assert_eq!(
            pair.a.peer().export_next(Label::EXPORT_RAW, b"").unwrap_err(),
            ExportError::UnknownSession
        );
        assert!(pair.a.peer().is_ahead(), "the peer is brought along all the same");
        pair.assert_lives(Side::B);
    });
}

/// Its record is from before a key was given; then the peer proves that it is behind.
#[test]
fn who_knows_that_it_was_rolled_back_gives_no_key_again() {
    load_bearing(Rule::StopRolledBack, || {
        let mut pair = Pair::new(Options::default());
        pair.handshake(Side::A);
        let backup = (pair.b.slots.clone(), pair.b.writes);
        let key = pair.a.peer().export_next(Label::EXPORT_RAW, b"").unwrap();
        pair.b.peer().export_at(key.id(), key.index(), Label::EXPORT_RAW, b"").unwrap();
        pair.b.drain();
        pair.handshake(Side::A);
        (pair.b.slots, pair.b.writes) = backup;
        pair.b.boot();
        pair.b.establish();
        pair.settle();
        assert!(pair.b.peer().is_rolled_back());
        let again = pair.b.peer().export_at(key.id(), key.index(), Label::EXPORT_RAW, b"");
        assert_eq!(again, Err(ExportError::UnknownSession));
        for (to, message) in pair.recorded.clone() {
            if to == Side::B {
                let taken = pair.b.deliver(&message);
                assert_eq!(taken, Some(Disposition::Discarded(DiscardReason::Stale)));
            }
        }
        assert!(pair.b.sent.is_empty());
        // Nor after a restart, although it has to hear the proof anew.
        pair.b.boot();
        assert!(pair.b.peer().session().is_none());
    });
}

#[test]
fn an_initiator_heeds_that_its_session_is_void() {
    load_bearing(Rule::HeedStatus, || {
        let mut pair = ahead(Options::default());
        pair.a.sent.clear();
        pair.b.crash();
        pair.b.boot();
        pair.a.wake();
        pair.settle();
        assert_eq!((pair.a.epoch(), pair.b.epoch()), (1, 1));
        assert!(pair.a.peer().session().is_none(), "one end believes in a void session");
    });
}

#[test]
fn the_void_flag_of_a_first_message_ends_the_session_that_waits_for_confirmation() {
    load_bearing(Rule::HeedVoidFlag, || {
        let mut pair = ahead(Options::default());
        pair.a.sent.clear();
        pair.b.crash();
        pair.b.boot();
        pair.a.wake();
        let (_, third) = pair.next_message().unwrap();
        let _ = pair.b.deliver(&third);
        // The fourth message, which says void, is lost; b starts.
        pair.b.sent.clear();
        pair.b.establish();
        pass(&mut pair, 1);
        assert!(pair.a.peer().session().is_none());
        assert!(pair.a.believed.is_empty());
    });
}

#[test]
fn a_reflected_message_of_the_consumer_does_not_cost_the_pair_its_life() {
    load_bearing(Rule::HealAfterConfirmation, || {
        let mut pair = ahead(Options { consumer: true, ..Options::default() });
        pair.a.sent.clear();
        // The consumer at a takes its own message, sent back, for the peer's.
        let session = pair.a.peer().session().unwrap().id;
        pair.a.peer().confirm(session).unwrap();
        pair.a.drain();
        pair.assert_safe();
        pair.assert_lives(Side::B);
    });
    let mut pair = ahead(Options { consumer: true, ..Options::default() });
    pair.a.sent.clear();
    let session = pair.a.peer().session().unwrap().id;
    pair.a.peer().confirm(session).unwrap();
    pair.assert_lives(Side::A);
}

#[test]
fn an_index_gives_one_output() {
    load_bearing(Rule::OneOutputAnIndex, || {
        let mut pair = Pair::new(Options::default());
        pair.handshake(Side::A);
        let session = pair.b.peer().session().unwrap().id;
        for index in [1, 0] {
            pair.b.peer().export_at(session, index, Label::EXPORT_RAW, b"").unwrap();
            pair.b.drain();
        }
        let again = pair.b.peer().export_at(session, 0, Label::EXPORT_RAW, b"");
        assert_eq!(again, Err(ExportError::Used));
    });
}

#[test]
fn a_key_leaves_after_its_erasure_is_durable() {
    load_bearing(Rule::EraseBeforeKey, || {
        let mut pair = Pair::new(Options::default());
        pair.handshake(Side::A);
        let session = pair.b.peer().session().unwrap().id;
        pair.b.peer().export_at(session, 0, Label::EXPORT_RAW, b"").unwrap();
        let peer = pair.b.peer();
        let _write_that_never_lands = peer.poll_output();
        assert!(matches!(peer.poll_output(), skex_core::machine::Output::Wait(_)), "the key came too early");
    });
}

#[test]
fn recorded_first_messages_do_not_make_an_end_yield_for_ever() {
    load_bearing(Rule::RoundRises, || {
        // B made first messages in this epoch that came to nothing, and is gone. Some beat whatever a draws.
        let mut pair = Pair::new(Options::default());
        let recorded = pair.recorded_firsts();
        pair.a.establish();
        for floods in 0.. {
            pair.a.sent.clear();
            for old in &recorded {
                let _ = pair.a.deliver(old);
            }
            if !pair.a.sent.iter().any(|answer| answer[0] == 0x12) {
                break; // A's own first message beats all of them.
            }
            assert!(floods < 2, "it yields again and again");
            // Nothing comes of what it answered, and it tries again.
            pair.a.wake();
            assert_eq!(pair.a.sent.back().map(|sent| sent[0]), Some(0x11));
        }
    });
}

#[test]
fn a_forged_long_third_message_costs_one_mac() {
    load_bearing(Rule::Guard, || {
        let mut pair = Pair::new(Options { stateless: true, ..Options::default() });
        pair.a.establish();
        pass(&mut pair, 2);
        let (_, third) = pair.next_message().unwrap();
        // Only the guard tag is wrong: with the rule it decides.
        let mut forged = third.clone();
        *forged.last_mut().unwrap() ^= 1;
        let _ = pair.b.deliver(&forged);
        assert_eq!(pair.b.epoch(), 0);
    });
}

#[test]
fn forged_third_messages_cost_so_many_macs_a_second_and_shut_nobody_else_out() {
    load_bearing(Rule::LimitThirds, || {
        for stateless in [false, true] {
            let mut pair = Pair::new(Options { stateless, ..Options::default() });
            pair.a.establish();
            pass(&mut pair, 2);
            let (_, third) = pair.next_message().unwrap();
            let mut forged = third.clone();
            *forged.last_mut().unwrap() ^= 1;
            for path in 0..1000 {
                let _ = pair.b.deliver_from(PathId::new(1000 + path), &forged);
            }
            let counters = pair.b.peer().discards();
            assert_eq!(counters.count(DiscardReason::Unauthentic), 16);
            assert_eq!(counters.count(DiscardReason::Busy), 984);
            let _ = pair.b.deliver(&third);
            assert_eq!(pair.b.epoch(), 1, "where it is expected it is looked at");
        }
    });
    // Even a flood that is sent as from there ends with the second.
    let mut pair = ahead(Options::default());
    let (_, third) = pair.next_message().unwrap();
    let mut forged = third.clone();
    *forged.last_mut().unwrap() ^= 1;
    for _ in 0..1000 {
        let _ = pair.b.deliver(&forged);
    }
    let _ = pair.b.deliver(&third);
    assert_eq!(pair.b.epoch(), 0);
    pair.a.wake();
    pair.b.now = pair.a.now;
    pair.settle();
    assert_eq!(pair.agree(), Some(1));
}

#[test]
fn nobody_else_decides_where_messages_go() {
    load_bearing(Rule::LearnAuthentic, || {
        let mut pair = Pair::new(Options::default());
        pair.handshake(Side::A);
        let attacker = PathId::new(666);
        let first = pair.recorded[0].1.clone();
        for end in [&mut pair.a, &mut pair.b] {
            let _ = end.deliver_from(attacker, &first);
            let _ = end.deliver_from(attacker, b"junk");
            end.sent.clear();
            end.destinations.clear();
            end.establish();
            assert!(!end.destinations.contains(&Destination::Path(attacker)));
        }
    });
}

#[test]
fn what_was_read_is_durable_again_before_anything_leaves() {
    load_bearing(Rule::RewriteOnRestore, || {
        // The record of the move was read from a cache; it is lost when power fails again.
        let mut pair = Pair::new(Options::default());
        pair.a.establish();
        pass(&mut pair, 1);
        let lost = (pair.a.slots.clone(), pair.a.writes);
        let second = pair.b.sent.pop_front().unwrap();
        let _ = pair.a.deliver(&second);
        pair.a.sent.clear();
        pair.a.crash();
        let config = super::pair::config(Side::A, Options::default());
        let slots = [&pair.a.slots[0][..], &pair.a.slots[1][..]];
        let mut peer = crate::Peer::restore(&config, slots, pair.a.now, &mut pair.a.rng).unwrap();
        let _write_that_never_lands = peer.poll_output();
        if let skex_core::machine::Output::Transmit(third) = peer.poll_output() {
            let _ = pair.b.deliver(third.payload.as_bytes());
        }
        (pair.a.slots, pair.a.writes) = lost;
        pair.a.boot();
        pair.b.sent.clear();
        pair.assert_safe();
        pair.assert_lives(Side::A);
    });
}

#[test]
fn replayed_pseudonyms_of_the_epoch_before_prove_nothing() {
    load_bearing(Rule::ProveStale, || {
        let mut pair = Pair::new(Options::default());
        pair.handshake(Side::A);
        pair.handshake(Side::A);
        let old = pair.recorded[4].1.clone();
        assert_eq!(old[0], 0x11);
        // Somebody repeats the first message that began this epoch, and b tells its sender that it is behind.
        for _ in 0..10 {
            let _ = pair.b.deliver(&old);
        }
        let notice = pair.b.sent.pop_front().unwrap();
        assert_eq!(notice[0], 0x17);
        pair.b.sent.clear();
        // But a is not behind, whatever reaches it.
        pair.a.establish();
        let _ = pair.a.deliver(&notice);
        assert!(!pair.a.peer().is_rolled_back());
        pair.settle();
        assert_eq!(pair.agree(), Some(3));
    });
}

#[test]
fn a_suite_that_was_not_offered_is_not_accepted_from_a_peer_that_chooses_it() {
    let suites: [Option<Suite>; 2] = core::array::from_fn(|at| Suite::all().nth(at));
    let [Some(_), Some(_)] = suites else { return };
    static FIRST: std::sync::LazyLock<std::vec::Vec<Suite>> =
        std::sync::LazyLock::new(|| Suite::all().take(1).collect());
    static SECOND: std::sync::LazyLock<std::vec::Vec<Suite>> =
        std::sync::LazyLock::new(|| Suite::all().skip(1).take(1).collect());
    load_bearing(Rule::ChosenWasOffered, || {
        let mut pair = Pair::new(Options { only: Some(&FIRST), ..Options::default() });
        pair.b.options.only = Some(&SECOND);
        pair.b.options.suite = suites[0];
        pair.b.crash();
        pair.b.boot();
        pair.a.establish();
        let (_, first) = pair.next_message().unwrap();
        let _ = without(Rule::ChosenWasOffered, || pair.b.deliver(&first));
        let second = pair.b.sent.pop_front().unwrap();
        let _ = pair.a.deliver(&second);
        assert_eq!(pair.a.epoch(), 0);
    });
}

#[test]
fn nobody_is_told_to_be_rolled_back_while_the_third_message_is_owed() {
    load_bearing(Rule::StaleOnlyIfFollowed, || {
        let mut pair = ahead(Options::default());
        pair.a.sent.clear();
        pair.b.establish();
        pair.settle();
        assert!(!pair.b.peer().is_rolled_back());
        pair.assert_lives(Side::B);
    });
}

#[test]
fn a_flood_of_copies_of_one_first_message_neither_voids_the_session_nor_costs_memory() {
    let mut pair = Pair::new(Options::default());
    pair.a.establish();
    let (_, first) = pair.next_message().unwrap();
    let _ = pair.b.deliver(&first);
    let second = pair.b.sent.pop_front().unwrap();
    let mut seconds = 1;
    for _ in 1..10_000 {
        let _ = pair.b.deliver(&first);
        let answer = pair.b.sent.pop_front().unwrap();
        if answer == second {
            seconds += 1;
        } else {
            assert_eq!(answer[0], 0x16, "too many in a second: a cookie");
        }
    }
    assert_eq!(seconds, 16);
    pair.b.now = pair.b.now.saturating_add(Duration::from_secs(1));
    let _ = pair.b.deliver(&first);
    assert_eq!(pair.b.sent.pop_front().as_ref(), Some(&second), "the same answer to the same message");
    let _ = pair.a.deliver(&second);
    pair.settle();
    assert_eq!(pair.agree(), Some(1));
}
