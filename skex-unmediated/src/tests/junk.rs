//! What is not authentic changes nothing but a counter.

use std::vec::Vec;

use proptest::prelude::*;
use skex_core::machine::{DiscardReason, Disposition};
use skex_wire::unmediated::Message;

use super::pair::{End, Options, Pair};
use super::rules::load_bearing;
use crate::rules::{Rule, without};
use crate::{PeerConfig, Side};

fn pass(pair: &mut Pair, count: usize) {
    for _ in 0..count {
        let (to, message) = pair.next_message().unwrap();
        let _ = pair.end(to).deliver(&message);
    }
}

/// A pair in which one end waits for a message, and that message.
struct Situation {
    name: &'static str,
    pair: Pair,
    to: Side,
    message: Vec<u8>,
}

fn situation(name: &'static str, mut pair: Pair) -> Situation {
    let (to, message) = pair.next_message().unwrap();
    Situation { name, pair, to, message }
}

fn situations() -> Vec<Situation> {
    let after = |options: Options, epochs: usize, passed: usize| {
        let mut pair = Pair::new(options);
        for _ in 0..epochs {
            pair.handshake(Side::B);
        }
        pair.a.establish();
        pass(&mut pair, passed);
        pair
    };
    let plain = Options::default();
    let stateless = Options { stateless: true, ..plain };
    let mixed = Options { block: true, ..plain };
    let mut all = Vec::from([
        situation("first, in epoch 0", after(plain, 0, 0)),
        situation("first, in epoch 2", after(plain, 2, 0)),
        situation("second", after(plain, 0, 1)),
        situation("second, in epoch 2", after(plain, 2, 1)),
        situation("third, short", after(plain, 1, 2)),
        situation("third, long", after(stateless, 1, 2)),
        situation("fourth", after(plain, 1, 3)),
        situation("first, with an offer", after(mixed, 0, 0)),
        situation("second, with a choice", after(mixed, 0, 1)),
        situation("third, short, mixed", after(mixed, 0, 2)),
        situation("third, long, mixed", after(Options { stateless: true, ..mixed }, 0, 2)),
        situation("fourth, mixed", after(mixed, 0, 3)),
    ]);
    // The third message in its long form, after the responder has followed.
    let mut pair = after(stateless, 1, 2);
    let (to, third) = pair.next_message().unwrap();
    let _ = pair.end(to).deliver(&third);
    pair.b.sent.clear();
    all.push(Situation { name: "third, long, again", pair, to: Side::B, message: third });
    // A first message of the epoch before, where the third message is owed, and where it is not.
    let mut pair = after(plain, 1, 2);
    pair.a.sent.clear();
    pair.b.establish();
    all.push(situation("first, of the epoch before, owed", pair));
    let mut pair = Pair::new(plain);
    pair.handshake(Side::B);
    pair.b.establish();
    let (_, old) = pair.next_message().unwrap();
    pair.a.establish();
    pair.settle();
    all.push(Situation { name: "first, of the epoch before", pair, to: Side::A, message: old });
    // The notice that it draws from a peer that is ahead by one.
    let mut pair = Pair::new(plain);
    pair.handshake(Side::B);
    let backup = (pair.a.slots.clone(), pair.a.writes);
    pair.handshake(Side::B);
    (pair.a.slots, pair.a.writes) = backup;
    pair.a.boot();
    pair.a.establish();
    pass(&mut pair, 1);
    all.push(situation("stale notice", pair));
    all
}

fn assert_ignored(end: &mut End, message: &[u8], what: &str) {
    let before = end.picture();
    let events = end.events.len();
    let disposition = end.deliver(message).unwrap();
    assert!(matches!(disposition, Disposition::Discarded(_)), "{what}: {disposition:?}");
    assert_eq!(end.picture(), before, "{what}");
    assert_eq!(end.events.len(), events, "{what}");
}

#[test]
fn every_message_with_a_bit_flipped_or_cut_short_or_grown_changes_nothing() {
    // With the limit few of them would be looked at.
    without(Rule::LimitThirds, flip_cut_and_grow);
}

fn flip_cut_and_grow() {
    let mut tried = 0;
    for mut at in situations() {
        let end = at.pair.end(at.to);
        for bit in 0..at.message.len() * 8 {
            if at.name == "stale notice" && bit == 0 {
                continue; // That makes a cookie of it, which nothing authenticates.
            }
            let mut message = at.message.clone();
            message[bit / 8] ^= 1 << (bit % 8);
            assert_ignored(end, &message, &std::format!("{}: bit {bit}", at.name));
            tried += 1;
        }
        for length in 0..at.message.len() {
            assert_ignored(end, &at.message[..length], &std::format!("{}: cut to {length}", at.name));
            tried += 1;
        }
        let mut longer = at.message.clone();
        longer.push(0);
        assert_ignored(end, &longer, at.name);
        // The message itself is heeded still.
        let disposition = end.deliver(&at.message).unwrap();
        assert_eq!(disposition, Disposition::Accepted, "{}", at.name);
    }
    assert!(tried > 6000, "{tried}");
}

#[test]
fn messages_of_another_pair_lane_or_context_are_of_nobody() {
    for at in situations() {
        let configs = [
            PeerConfig::new(at.to, b"alice", b"carol"),
            PeerConfig::new(at.to, b"alice", b"bob").lane(1),
            PeerConfig::new(at.to, b"alice", b"bob").context(b"other"),
        ];
        for config in configs {
            let mut end = End::enrolled(at.to, Options::default(), 9);
            let now = end.now;
            end.peer = Some(crate::Peer::enrol(&config, &[1; 32], now, &mut end.rng).unwrap());
            end.drain();
            end.establish();
            assert_ignored(&mut end, &at.message, at.name);
        }
    }
}

#[test]
fn every_message_to_an_end_of_another_pair_in_every_state_changes_nothing() {
    let messages: Vec<_> = situations().into_iter().map(|at| at.message).chain([cookie().message]).collect();
    let mut kinds: Vec<u8> = messages.iter().map(|message| message[0]).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17], "every type there is");
    for options in [Options::default(), Options { block: true, ..Options::default() }] {
        // Another lane is another pair. How many messages are passed on says in which state both ends are.
        for passed in 0..=4 {
            for epochs in [0, 1] {
                let mut pair = Pair::new(Options { lane: 1, ..options });
                for _ in 0..epochs {
                    pair.handshake(Side::B);
                }
                pair.a.establish();
                pass(&mut pair, passed);
                for message in &messages {
                    assert_ignored(&mut pair.a, message, "to a");
                    assert_ignored(&mut pair.b, message, "to b");
                }
            }
        }
    }
}

/// B moved: its first message of the epoch before draws a cookie.
fn cookie() -> Situation {
    let mut pair = Pair::new(Options::default());
    pair.a.establish();
    pass(&mut pair, 2);
    pair.a.sent.clear();
    pair.b.establish();
    let (_, first) = pair.next_message().unwrap();
    let _ = pair.a.deliver_from(skex_core::machine::PathId::new(2), &first);
    situation("cookie", pair)
}

#[test]
fn nothing_but_the_cookie_itself_may_be_changed_in_a_cookie_message() {
    let mut at = cookie();
    let end = at.pair.end(at.to);
    for bit in 0..10 * 8 {
        let mut message = at.message.clone();
        message[bit / 8] ^= 1 << (bit % 8);
        assert_ignored(end, &message, &std::format!("bit {bit}"));
    }
    for length in 0..at.message.len() {
        assert_ignored(end, &at.message[..length], &std::format!("cut to {length}"));
    }
    assert_eq!(end.deliver(&at.message), Some(Disposition::Accepted));
    assert!(end.sent.is_empty(), "it draws nothing at once");
}

#[test]
fn forged_cookies_do_not_take_the_place_of_one_that_was_taken() {
    load_bearing(Rule::OneCookie, || {
        let mut at = cookie();
        let end = at.pair.end(at.to);
        let _ = end.deliver(&at.message);
        let mut forged = at.message.clone();
        *forged.last_mut().unwrap() ^= 1;
        for _ in 0..3 {
            assert_ignored(end, &forged, "a second cookie between two repetitions");
        }
    });
}

#[test]
fn a_message_that_is_sent_back_to_its_sender_changes_nothing() {
    for mut at in situations() {
        let sender = at.to.other();
        assert_ignored(at.pair.end(sender), &at.message, at.name);
    }
}

#[test]
fn counters_say_why_something_was_discarded() {
    let mut pair = Pair::new(Options::default());
    pair.a.establish();
    let (_, first) = pair.next_message().unwrap();
    let mut forged = first.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut unknown = first.clone();
    unknown[2] ^= 1;
    let _ = pair.b.deliver(&[]);
    let _ = pair.b.deliver(&forged);
    let _ = pair.b.deliver(&unknown);
    let _ = pair.b.deliver(&unknown);
    let counters = pair.b.peer().discards();
    assert_eq!(counters.count(DiscardReason::Malformed), 1);
    assert_eq!(counters.count(DiscardReason::Unauthentic), 1);
    assert_eq!(counters.count(DiscardReason::UnknownPeer), 2);
}

#[test]
fn no_answer_to_what_is_not_proved_fresh_is_larger_than_it() {
    load_bearing(Rule::ProvePath, || {
        for mut at in situations() {
            if at.name.starts_with("second") {
                continue; // The third message goes where the second came from, which proved itself.
            }
            let end = at.pair.end(at.to);
            end.sent.clear();
            let _ = end.deliver_from(skex_core::machine::PathId::new(77), &at.message);
            let answered: usize = end.sent.iter().map(Vec::len).sum();
            assert!(answered <= at.message.len(), "{}: {answered} for {}", at.name, at.message.len());
        }
    });
}

proptest! {
    #[test]
    fn any_octets_are_discarded(mut octets in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_u8..9) {
        let mut pair = Pair::new(Options::default());
        pair.handshake(Side::A);
        pair.b.establish();
        if let Some(first) = octets.first_mut() {
            *first = 0x10 | kind;
        }
        // A cookie is heeded by whoever knows the attempt: nobody guesses it.
        let _ = Message::decode(&octets);
        assert_ignored(&mut pair.a, &octets, "random octets");
        assert_ignored(&mut pair.b, &octets, "random octets");
    }
}
