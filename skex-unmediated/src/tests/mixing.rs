//! Fresh secret material: offered, chosen, required, and never lost unnoticed.

use std::vec::Vec;

use skex_core::machine::{DiscardReason, Disposition};
use skex_core::{Assurance, KeyBytes, KeyId, OutputKey};

use super::pair::{Options, Pair, block, config};
use super::rules::{load_bearing, pass};
use crate::rules::Rule;
use crate::{Error, Event, MixBlock, MixError, MixPolicy, Peer, Side};

const BOTH: [Side; 2] = [Side::A, Side::B];

fn with_block(options: Options) -> Pair {
    Pair::new(Options { block: true, ..options })
}

fn mixed(pair: &mut Pair) -> [bool; 2] {
    BOTH.map(|side| pair.end(side).peer().session().unwrap().mixed)
}

#[test]
fn a_block_that_both_ends_hold_is_mixed_in_once_and_erased_at_both() {
    for options in [Options::default(), Options { stateless: true, ..Options::default() }] {
        for initiator in BOTH {
            let mut pair = with_block(options);
            pair.handshake(initiator);
            assert_eq!(pair.agree(), Some(1));
            assert_eq!(mixed(&mut pair), [true; 2]);
            pair.assert_same_key(Side::A);
            let held = BOTH.map(|side| pair.end(side).peer().mix_blocks());
            assert_eq!(held, [0; 2]);
            pair.handshake(initiator);
            assert_eq!((pair.agree(), mixed(&mut pair)), (Some(2), [false; 2]));
        }
    }
}

#[test]
fn an_offer_costs_sixteen_octets_and_a_choice_one() {
    let suites = skex_core::Suite::all().count();
    for (stateless, third) in [(false, 27), (true, 90 + suites)] {
        let mut pair = with_block(Options { stateless, ..Options::default() });
        pair.handshake(Side::A);
        let lengths: Vec<usize> = pair.recorded.iter().map(|(_, message)| message.len()).collect();
        assert_eq!(lengths, [60 + suites, 45, third, 27]);
    }
}

#[test]
fn what_only_one_end_holds_is_not_chosen_and_waits_for_the_other() {
    for holder in BOTH {
        let mut pair = Pair::new(Options::default());
        pair.end(holder).provide(7);
        pair.end(holder.other()).provide(8);
        for initiator in BOTH {
            pair.handshake(initiator);
            assert_eq!(mixed(&mut pair), [false; 2]);
        }
        pair.end(holder.other()).provide(7);
        pair.handshake(Side::A);
        assert_eq!(mixed(&mut pair), [true; 2]);
        assert_eq!(pair.end(holder).peer().mix_blocks(), 0);
        assert_eq!(pair.end(holder.other()).peer().mix_blocks(), 1);
    }
}

#[test]
fn two_blocks_are_held_in_any_order_and_no_third() {
    let mut pair = Pair::new(Options::default());
    for (a, b) in [(1, 2), (2, 1)] {
        pair.a.provide(a);
        pair.b.provide(b);
        pair.a.provide(a); // Again, as after a crash: nothing changes.
    }
    assert_eq!(pair.a.peer().provide_mix(&block(3)), Err(MixError::Full));
    assert_eq!(pair.a.peer().mix_blocks(), 2);
    for initiator in BOTH {
        pair.handshake(initiator);
        assert_eq!(mixed(&mut pair), [true; 2]);
    }
    pair.handshake(Side::A);
    assert_eq!((pair.agree(), mixed(&mut pair)), (Some(3), [false; 2]));
}

#[test]
fn who_never_mixes_takes_no_block_and_offers_and_chooses_none() {
    let mut pair = with_block(Options::default());
    // The block is from before a change of the configuration.
    pair.b.options.mix = Some(MixPolicy::Never);
    pair.b.crash();
    pair.b.boot();
    assert_eq!(pair.b.peer().provide_mix(&block(2)), Err(MixError::Policy));
    for initiator in BOTH {
        pair.handshake(initiator);
        assert_eq!(mixed(&mut pair), [false; 2]);
    }
}

#[test]
fn who_requires_fresh_material_has_no_session_without() {
    load_bearing(Rule::RequireBlock, || {
        let mut pair = Pair::new(Options::default());
        pair.b.options.mix = Some(MixPolicy::Require);
        pair.b.crash();
        pair.b.boot();
        // It does not start without a block, and is not talked into an epoch without one.
        let now = pair.b.now;
        assert_eq!(pair.b.peer.as_mut().unwrap().establish(now, &mut pair.b.rng), Err(Error::NoBlock));
        pair.handshake(Side::A);
        assert_eq!((pair.a.epoch(), pair.b.epoch()), (0, 0));
        assert_eq!(pair.a.peer().discards().count(DiscardReason::Policy), 1);
        assert!(matches!(pair.a.events.last(), Some(Event::MixRefused)), "the peer says so");
        for _ in 0..5 {
            pair.a.wake();
        }
        pair.a.sent.clear();
        // Nor where the peer does not have it, which it is told.
        pair.b.provide(9);
        pair.handshake(Side::B);
        assert_eq!((pair.a.epoch(), pair.b.epoch()), (0, 0));
        assert!(matches!(pair.b.events.last(), Some(Event::MixRefused)));
        // The same first message, repeated, is answered once the peer has the block.
        pair.a.provide(9);
        pair.b.wake();
        pair.settle();
        assert_eq!((pair.agree(), mixed(&mut pair)), (Some(1), [true; 2]));
        // And what is owed is never refused.
        pair.assert_safe();
    });
}

/// A thief has everything that b stored, and sees the handshakes that follow.
#[test]
fn a_thief_of_the_state_is_locked_out_by_a_block_that_it_does_not_have() {
    for block in [false, true] {
        let mut pair = Pair::new(Options { stateless: true, ..Options::default() });
        pair.handshake(Side::A);
        let stolen = pair.b.slots.clone();
        if block {
            pair.a.provide(3);
            pair.b.provide(3);
        }
        pair.recorded.clear();
        pair.handshake(Side::A);
        let mut thief = Pair::new(Options::default()).b;
        thief.slots = stolen;
        thief.boot();
        for (_, message) in &pair.recorded {
            let _ = thief.deliver(message);
        }
        let follows = thief.peer().same_chain_for_tests(pair.b.peer());
        assert_eq!(follows, !block, "without the block everything follows from the stolen state");
        assert_eq!(matches!(thief.events.last(), Some(Event::MixLost)), block);
    }
}

#[test]
fn a_block_that_was_announced_and_then_withdrawn_is_there_for_the_third_message() {
    load_bearing(Rule::KeepBlock, || {
        for crash in [false, true] {
            let mut pair = with_block(Options::default());
            pair.a.establish();
            pass(&mut pair, 2);
            assert!(pair.a.peer().is_ahead());
            pair.a.sent.clear();
            pair.b.peer().withdraw_mixes();
            pair.b.drain();
            assert_eq!(pair.b.peer().mix_blocks(), 0, "it is offered and chosen no more");
            if crash {
                pair.b.crash();
                pair.b.boot();
            }
            pair.assert_lives(if crash { Side::A } else { Side::B });
        }
    });
}

#[test]
fn a_block_is_durable_before_it_is_announced() {
    load_bearing(Rule::StoreBlock, || {
        let mut pair = Pair::new(Options::default());
        pair.a.provide(5);
        pair.b.provide(5);
        pair.a.establish();
        pass(&mut pair, 2);
        pair.a.sent.clear();
        pair.b.crash();
        pair.b.boot();
        pair.assert_lives(Side::A);
    });
}

#[test]
fn withdrawn_blocks_go_with_the_next_move() {
    let mut pair = Pair::new(Options::default());
    pair.a.provide(1);
    pair.a.provide(2);
    pair.a.peer().withdraw_mixes();
    pair.a.drain();
    // They may be from before the start.
    pair.a.crash();
    pair.a.boot();
    assert_eq!(pair.a.peer().provide_mix(&block(3)), Err(MixError::Full));
    pair.handshake(Side::A);
    assert_eq!(mixed(&mut pair), [false; 2]);
    pair.a.provide(3);
    pair.b.provide(3);
    pair.a.crash();
    pair.a.boot();
    pair.handshake(Side::B);
    assert_eq!(mixed(&mut pair), [true; 2]);
}

/// Both ends require fresh material and hold two blocks each, of which none is in common: no handshake would free them.
#[test]
fn ends_that_require_blocks_and_hold_different_ones_get_others() {
    for restarted in [false, true] {
        let mut pair =
            Pair::new(Options { mix: Some(MixPolicy::Require), one_try: true, ..Options::default() });
        for (side, octets) in [(Side::A, [1, 2]), (Side::B, [3, 4])] {
            let end = pair.end(side);
            octets.iter().for_each(|octet| end.provide(*octet));
        }
        pair.handshake(Side::A);
        assert_eq!((pair.a.epoch(), pair.b.epoch()), (0, 0));
        for side in BOTH {
            let end = pair.end(side);
            if side == Side::A {
                end.wake(); // Its attempt is over.
            }
            end.peer().withdraw_mixes();
            end.drain();
            assert_eq!(end.peer().mix_blocks(), 0);
            if !restarted {
                end.provide(5);
            }
        }
        for side in BOTH.into_iter().filter(|_| restarted) {
            // After a start nobody knows any more that the peer did not move with them.
            ask_for_room(&mut pair, side);
        }
        pair.handshake(Side::B);
        assert_eq!((pair.agree(), mixed(&mut pair)), (Some(1), [true; 2]));
    }
}

/// An end that is restarted, and holds nothing but what was withdrawn, asks its peer whether it may take block 5.
fn ask_for_room(pair: &mut Pair, side: Side) {
    let end = pair.end(side);
    end.crash();
    end.boot();
    assert_eq!(end.peer().provide_mix(&block(5)), Err(MixError::Full));
    pair.handshake(side);
    let end = pair.end(side);
    assert!(matches!(end.events.last(), Some(Event::MixRefused)));
    end.provide(5);
    assert_eq!(end.peer().mix_blocks(), 1);
}

#[test]
fn who_requires_a_block_and_has_no_room_for_one_asks_whether_the_peer_moved() {
    load_bearing(Rule::AskForRoom, || {
        for policy in [MixPolicy::Require, MixPolicy::Accept, MixPolicy::Never] {
            let mut pair = Pair::new(Options::default());
            pair.b.options.mix = Some(policy);
            pair.b.crash();
            pair.b.boot();
            pair.a.options.mix = Some(MixPolicy::Require);
            pair.a.crash();
            pair.a.boot();
            pair.a.provide(1);
            pair.a.provide(2);
            pair.a.peer().withdraw_mixes();
            pair.a.drain();
            ask_for_room(&mut pair, Side::A);
            assert_eq!((pair.a.epoch(), pair.b.epoch()), (0, 0));
            // It asked for nothing else: the next attempt offers the new block.
            pair.recorded.clear();
            pair.handshake(Side::A);
            assert_eq!(pair.recorded[0].1.len(), 60 + skex_core::Suite::all().count());
        }
    });
}

/// The peer moved with a block that was withdrawn here since, and this end was restarted: asking brings the third message.
#[test]
fn who_asks_for_room_is_brought_along_where_the_peer_has_moved() {
    let options = Options { mix: Some(MixPolicy::Require), ..Options::default() };
    let mut pair = with_block(options);
    pair.b.provide(2);
    pair.a.establish();
    pass(&mut pair, 2);
    pair.a.sent.clear();
    pair.b.peer().withdraw_mixes();
    pair.b.crash();
    pair.b.boot();
    pair.b.peer().withdraw_mixes();
    pair.b.drain();
    assert_eq!(pair.b.peer().provide_mix(&block(3)), Err(MixError::Full));
    pair.handshake(Side::B);
    assert_eq!((pair.a.epoch(), pair.b.epoch()), (1, 1));
    pair.b.provide(3);
}

/// A second message that says "none" is no proof that an earlier one does not arrive late, unless the attempt that drew
/// it came after.
#[test]
fn an_old_refusal_makes_no_room() {
    let mut pair = Pair::new(Options { mix: Some(MixPolicy::Require), one_try: true, ..Options::default() });
    pair.a.provide(1);
    pair.b.provide(2);
    pair.a.establish();
    let (_, first) = pair.next_message().unwrap();
    let _ = pair.b.deliver(&first);
    let (_, refusal) = pair.next_message().unwrap();
    // b gets the block, and starts; a answers with it, which ends its own attempt.
    pair.b.provide(1);
    pair.a.wake();
    pair.b.establish();
    let (_, of_b) = pair.next_message().unwrap();
    let _ = pair.a.deliver(&of_b);
    pair.a.peer().withdraw_mixes();
    pair.a.drain();
    pair.a.provide(3);
    let answer = pair.a.deliver(&refusal).unwrap();
    assert!(matches!(answer, Disposition::Discarded(DiscardReason::Stale)));
    assert_eq!(pair.a.peer().provide_mix(&block(4)), Err(MixError::Full));
    pair.settle();
    assert_eq!((pair.agree(), mixed(&mut pair)), (Some(1), [true; 2]));
}

/// A refusal ends an attempt of its sender's, as any answer does. Copies of first messages that draw refusals must not keep an end
/// from starting for ever.
#[test]
fn recorded_first_messages_that_are_refused_do_not_make_an_end_yield_for_ever() {
    load_bearing(Rule::RoundRises, || {
        let mut pair =
            Pair::new(Options { one_try: true, mix: Some(MixPolicy::Require), ..Options::default() });
        pair.b.provide(1);
        let mut recorded = Vec::new();
        for _ in 0..16 {
            pair.b.establish();
            recorded.extend(pair.b.sent.pop_front());
            pair.b.wake();
        }
        // b has taken block 1 back since, and both have block 2.
        pair.b.peer().withdraw_mixes();
        pair.b.drain();
        pair.a.provide(2);
        pair.b.provide(2);
        pair.a.establish();
        for floods in 0.. {
            pair.a.sent.clear();
            for old in &recorded {
                let _ = pair.a.deliver(old);
            }
            if !pair.a.sent.iter().any(|answer| answer[0] == 0x12) {
                break;
            }
            assert!(floods < 2, "it yields again and again");
            pair.a.wake();
        }
        pair.settle();
        pair.assert_lives(Side::A);
    });
}

/// Who moves on a refusal is lost: its peer does not follow.
#[test]
fn a_refusal_moves_nobody_whatever_the_policy() {
    load_bearing(Rule::HeedRefusal, || {
        let mut pair = Pair::new(Options { one_try: true, ..Options::default() });
        pair.b.options.mix = Some(MixPolicy::Require);
        pair.b.crash();
        pair.b.boot();
        pair.handshake(Side::A);
        pair.a.provide(5);
        pair.b.provide(5);
        pair.assert_lives(Side::A);
    });
}

#[test]
fn a_refusal_with_a_bit_flipped_or_cut_short_says_nothing() {
    let mut pair = Pair::new(Options::default());
    pair.b.options.mix = Some(MixPolicy::Require);
    pair.b.crash();
    pair.b.boot();
    pair.a.provide(1);
    pair.a.establish();
    let (_, first) = pair.next_message().unwrap();
    let _ = pair.b.deliver(&first);
    let (_, refusal) = pair.next_message().unwrap();
    let (before, events) = (pair.a.picture(), pair.a.events.len());
    let flipped = (0..refusal.len() * 8).map(|bit| {
        let mut message = refusal.clone();
        message[bit / 8] ^= 1 << (bit % 8);
        message
    });
    for message in flipped.chain((0..refusal.len()).map(|length| refusal[..length].to_vec())) {
        assert!(matches!(pair.a.deliver(&message), Some(Disposition::Discarded(_))));
        assert_eq!((pair.a.picture(), pair.a.events.len()), (before.clone(), events));
    }
    let _ = pair.a.deliver(&refusal);
    assert_eq!(pair.a.events.len(), events + 1);
}

/// Only an end that breaks the rules could have moved so.
#[test]
fn nobody_follows_a_third_message_of_a_refused_handshake() {
    let mut pair = Pair::new(Options::default());
    pair.b.options.mix = Some(MixPolicy::Require);
    pair.b.crash();
    pair.b.boot();
    pair.a.establish();
    let (_, first) = pair.next_message().unwrap();
    let _ = pair.b.deliver(&first);
    let (_, refusal) = pair.next_message().unwrap();
    assert_eq!((refusal.len(), refusal[27], refusal[28]), (45, 1, 0));
    crate::rules::without(Rule::HeedRefusal, || pair.a.deliver(&refusal));
    let (_, third) = pair.next_message().unwrap();
    assert!(matches!(pair.b.deliver(&third), Some(Disposition::Discarded(_))));
    pair.a.wake();
    let (_, long) = pair.next_message().unwrap();
    assert_eq!(pair.b.deliver(&long), Some(Disposition::Discarded(DiscardReason::Policy)));
    assert_eq!(pair.b.epoch(), 0);
}

/// The peer may have moved with it, and a new block must not take its place.
#[test]
fn no_block_takes_the_place_of_one_that_was_chosen_or_is_offered() {
    load_bearing(Rule::KeepBlock, || {
        for moved in BOTH {
            let mut pair = with_block(Options::default());
            pair.a.establish();
            pass(&mut pair, if moved == Side::A { 2 } else { 1 });
            let end = pair.end(if moved == Side::A { Side::B } else { Side::A });
            end.peer().withdraw_mixes();
            end.drain();
            end.provide(8);
            assert_eq!(end.peer().provide_mix(&block(9)), Err(MixError::Full));
            pair.settle();
            assert_eq!((pair.agree(), mixed(&mut pair)), (Some(1), [true; 2]));
        }
    });
}

#[test]
fn a_block_that_a_rollback_took_is_missed_aloud_and_can_be_provided_again() {
    load_bearing(Rule::TellLostBlock, || {
        let mut pair = Pair::new(Options::default());
        let before = (pair.b.slots.clone(), pair.b.writes);
        pair.a.provide(5);
        pair.b.provide(5);
        pair.a.establish();
        pass(&mut pair, 2);
        pair.a.sent.clear();
        pair.b.crash();
        (pair.b.slots, pair.b.writes) = before;
        pair.b.boot();
        pair.a.wake();
        pair.settle();
        assert_eq!((pair.a.epoch(), pair.b.epoch()), (1, 0));
        assert!(matches!(pair.b.events.last(), Some(Event::MixLost)));
        pair.b.provide(5);
        pair.assert_lives(Side::B);
    });
}

#[test]
fn a_crash_before_any_step_of_a_handshake_with_a_block_leaves_a_pair_that_lives() {
    let mut crashes = 0;
    for stateless in [false, true] {
        for victim in BOTH {
            for step in 0.. {
                let mut pair = with_block(Options { stateless, ..Options::default() });
                pair.handshake(Side::B);
                let done = pair.end(victim).steps;
                pair.end(victim).crash_at = Some(done + step);
                if pair.end(victim).peer().provide_mix(&block(4)).is_ok() {
                    pair.end(victim).drain();
                }
                pair.end(victim.other()).provide(4);
                pair.handshake(Side::A);
                let crashed = pair.end(victim).peer.is_none();
                if crashed {
                    pair.end(victim).boot();
                    pair.settle();
                }
                pair.assert_safe();
                pair.assert_lives(Side::A);
                // Both ends hold it still, or neither, or the victim lost it before it was durable.
                let held = BOTH.map(|side| pair.end(side).peer().mix_blocks());
                assert!(held[0] == held[1] || step < 2, "step {step}: {held:?}");
                if !crashed {
                    break;
                }
                crashes += 1;
            }
        }
    }
    assert!(crashes > 20, "{crashes}");
}

#[test]
fn nothing_in_the_offers_of_two_attempts_or_epochs_shows_that_it_is_the_same_block() {
    let mut pair = Pair::new(Options::default());
    pair.a.provide(6);
    let mut offers = Vec::new();
    for _ in 0..6 {
        pair.handshake(Side::A);
        let first = pair.recorded.iter().rev().find(|(_, message)| message[0] == 0x11).unwrap();
        let end = first.1.len() - 16;
        offers.extend([first.1[end - 16..end - 8].to_vec(), first.1[end - 8..end].to_vec()]);
    }
    let count = offers.len();
    offers.sort();
    offers.dedup();
    assert_eq!(offers.len(), count);
}

#[test]
fn a_copy_of_a_first_message_draws_another_nonce_once_another_choice_is_made() {
    let mut pair = Pair::new(Options::default());
    pair.a.provide(6);
    pair.a.establish();
    let (_, first) = pair.next_message().unwrap();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let _ = pair.b.deliver(&first);
        answers.push(pair.b.sent.pop_front().unwrap());
        pair.b.provide(6);
    }
    assert_ne!(answers[0][10..26], answers[1][10..26]);
    // Either may be used; the third message follows from that one.
    let _ = pair.a.deliver(&answers[1]);
    pair.settle();
    assert_eq!((pair.agree(), mixed(&mut pair)), (Some(1), [true; 2]));
}

#[test]
fn a_third_message_with_a_block_of_its_own_is_not_one_of_this_version() {
    for stateless in [false, true] {
        let mut pair = with_block(Options { stateless, ..Options::default() });
        pair.a.establish();
        pass(&mut pair, 2);
        let (_, third) = pair.next_message().unwrap();
        let mut grown = third.clone();
        grown[10] = 1;
        grown.insert(11, 0);
        let before = pair.b.picture();
        let answer = pair.b.deliver(&grown).unwrap();
        assert!(matches!(answer, Disposition::Discarded(_)));
        assert_eq!(pair.b.picture(), before);
        let _ = pair.b.deliver(&third);
        assert_eq!(pair.b.epoch(), 1);
    }
}

/// What DSKE gives is an `OutputKey`. It heals a pair, and it enrols one anew.
#[test]
fn a_key_of_another_establishment_heals_a_pair_or_enrols_it_anew() {
    let key = |octets: &[u8]| {
        let secret = KeyBytes::copied_from(octets).unwrap();
        OutputKey::new(KeyId::new([1; 16]), 0, Assurance::InformationTheoretic, secret)
    };
    let mut pair = Pair::new(Options::default());
    for end in [&mut pair.a, &mut pair.b] {
        let block = MixBlock::try_from(key(&[0x4b; 32])).unwrap();
        end.peer().provide_mix(&block).unwrap();
        end.drain();
        assert!(matches!(end.events.last(), Some(Event::MixStored)));
    }
    pair.handshake(Side::A);
    assert_eq!(mixed(&mut pair), [true; 2]);
    assert_eq!(MixBlock::try_from(key(&[0x4b; 31])).unwrap_err(), MixError::Length);
    assert_eq!(MixBlock::try_from(key(&[0x4b; 64])).unwrap_err(), MixError::Length);
    // Rolled back or cloned: a new enrolment, over the same store.
    for end in [&mut pair.a, &mut pair.b] {
        let (config, now) = (config(end.side, end.options), end.now);
        let secret = key(&[0x4c; 32]);
        end.peer = Some(Peer::enrol(&config, secret.secret().expose(), now, &mut end.rng).unwrap());
        end.drain();
    }
    pair.handshake(Side::B);
    assert_eq!(pair.agree(), Some(1));
}
