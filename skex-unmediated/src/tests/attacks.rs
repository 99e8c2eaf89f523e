//! Attacks by a hostile reader of the code, each with the flaw that it once found or did not.

use core::time::Duration;
use std::vec::Vec;

use skex_core::machine::{Destination, DiscardReason, Disposition, Instant, Output, PathId, ReceiptError};
use skex_core::record::{self, RecordHeader};
use skex_wire::unmediated::Message;

use super::pair::{End, Options, Pair, SECRET, block, config};
use super::rules::{load_bearing, pass};
use crate::rules::Rule;
use crate::{Error, Event, MAX_RECORD, MixPolicy, Peer, Side};

const PATH: PathId = PathId::new(1);

fn ahead(options: Options) -> Pair {
    let mut pair = Pair::new(options);
    pair.a.establish();
    pass(&mut pair, 2);
    pair
}

/// The stored record of an end, as if it had this number.
fn numbered(end: &End, sequence: u64) -> Vec<u8> {
    let stored = end.slots.iter().find(|slot| slot.first() == Some(&b'S')).unwrap();
    let (header, body) = record::decode(stored).unwrap();
    let mut out = std::vec![0; MAX_RECORD];
    let len =
        record::encode(RecordHeader::new(header.kind, header.machine, sequence), body, &mut out).unwrap();
    out.truncate(len);
    out
}

#[test]
fn where_the_numbers_of_records_end_nothing_leaves_that_is_not_durable() {
    for left in 0..4 {
        let mut pair = Pair::new(Options::default());
        let stored = numbered(&pair.a, u64::MAX - left);
        pair.a.slots = [stored, Vec::new()];
        let slots = [&pair.a.slots[0][..], &[]];
        let mut peer =
            Peer::restore(&config(Side::A, Options::default()), slots, Instant::ZERO, &mut pair.a.rng)
                .unwrap();
        let mut last = u64::MAX - left;
        for anew in [false, true, true] {
            if anew {
                let config = config(Side::A, Options::default());
                peer.enrol_anew(&config, &SECRET, Instant::ZERO, &mut pair.a.rng).unwrap();
            }
            peer.establish(Instant::ZERO, &mut pair.a.rng).unwrap();
            match peer.poll_output() {
                Output::Persist(checkpoint) => {
                    let (header, _) = record::decode(checkpoint.record().as_bytes()).unwrap();
                    assert!(header.sequence > last, "a number that was there");
                    last = header.sequence;
                    assert!(
                        matches!(peer.poll_output(), Output::Wait(_)),
                        "{left} left: out before it is durable"
                    );
                    peer.handle_persisted(checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()).unwrap();
                }
                Output::Wait(_) => assert!(!peer.is_settled(), "silent for good, and says that all is well"),
                _ => panic!("{left} left: out without a record"),
            }
        }
    }
}

#[test]
fn a_receipt_from_before_an_enrolment_opens_nothing_of_it() {
    let mut pair = Pair::new(Options::default());
    let peer = pair.a.peer.as_mut().unwrap();
    peer.provide_mix(&block(1)).unwrap();
    let Output::Persist(before) = peer.poll_output() else { panic!("the block") };
    let before = before.commit_with(|_| Ok::<(), ()>(())).unwrap();
    peer.enrol_anew(&config(Side::A, Options::default()), &[9; 32], Instant::ZERO, &mut pair.a.rng).unwrap();
    peer.establish(Instant::ZERO, &mut pair.a.rng).unwrap();
    let Output::Persist(checkpoint) = peer.poll_output() else { panic!("the enrolment") };
    assert_eq!(peer.handle_persisted(before), Err(Error::Receipt(ReceiptError::Foreign)));
    assert!(matches!(peer.poll_output(), Output::Wait(_)));
    peer.handle_persisted(checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()).unwrap();
    assert!(matches!(peer.poll_output(), Output::Transmit(_)));
}

#[test]
fn what_is_done_to_blocks_between_the_first_and_the_second_message_changes_neither() {
    for chosen in [1, 2] {
        let mut pair = Pair::new(Options::default());
        pair.a.provide(1);
        pair.a.provide(2);
        pair.b.provide(chosen);
        pair.a.establish();
        pass(&mut pair, 1);
        let first = pair.recorded[0].1.clone();
        pair.a.peer().withdraw_mixes();
        pair.a.drain();
        // There is no place for it: both are offered.
        assert!(pair.a.peer().provide_mix(&block(3)).is_err());
        pair.a.provide(2);
        pair.a.now = Instant::from_millis(1000);
        pair.a.timeout();
        assert_eq!(pair.a.sent.pop_front(), Some(first), "its repetitions have the same octets");
        pair.settle();
        assert_eq!(pair.agree(), Some(1));
        assert!(pair.a.peer().session().unwrap().mixed && pair.b.peer().session().unwrap().mixed);
        pair.assert_lives(Side::B);
    }
}

/// B, in the epoch before, is where A never heard it.
fn draws_long_third(a: &mut End, first: &[u8], b: &mut End) -> bool {
    let path = PathId::new(9);
    a.sent.clear();
    a.destinations.clear();
    let _ = a.deliver_from(path, first);
    let Some(answer) = a.sent.pop_front() else { return false };
    if matches!(Message::decode(&answer), Ok(Message::LongThird(_))) {
        return true;
    }
    assert!(matches!(Message::decode(&answer), Ok(Message::Cookie(_))));
    let _ = b.deliver(&answer);
    b.now = b.now.saturating_add(Duration::from_secs(1));
    b.timeout();
    let again = b.sent.pop_back().unwrap();
    let _ = a.deliver_from(path, &again);
    a.sent.iter().any(|sent| matches!(Message::decode(sent), Ok(Message::LongThird(_))))
}

#[test]
fn whatever_the_clock_and_the_retransmission_time_a_peer_that_is_behind_is_helped_at_once() {
    let hour = 3_600_000;
    for start in [0, 1, u64::from(u32::MAX) - 1, 1 << 32, (1 << 33) - 500, u64::MAX - 10 * hour] {
        for millis in [1, 1000, hour, 1 << 31, u64::from(u32::MAX) - 1, u64::from(u32::MAX), u64::MAX] {
            for waited in [0, 1, 999, hour / 2] {
                let mut pair = ahead(Options::default());
                pair.a.sent.clear();
                pair.a.now = Instant::from_millis(start);
                let config = config(Side::A, Options::default()).retransmit(Duration::from_millis(millis), 1);
                let slots = [&pair.a.slots[0][..], &pair.a.slots[1][..]];
                let peer = Peer::restore(&config, slots, pair.a.now, &mut pair.a.rng).unwrap();
                pair.a.peer = Some(peer);
                pair.a.drain();
                pair.b.establish();
                let first = pair.b.sent.pop_back().unwrap();
                pair.a.now = pair.a.now.saturating_add(Duration::from_millis(waited));
                let (a, b) = (&mut pair.a, &mut pair.b);
                assert!(draws_long_third(a, &first, b), "started at {start}, {millis} ms, after {waited} ms");
            }
        }
    }
}

#[test]
fn a_third_message_goes_to_where_the_peer_was_heard_every_second_time_for_ever() {
    let mut pair = ahead(Options::default());
    pair.a.destinations.clear();
    for _ in 0..600 {
        pair.a.sent.clear();
        // The session that nobody confirms expires among them.
        pair.a.wake();
    }
    let late = &pair.a.destinations[pair.a.destinations.len() - 100..];
    let learned = late.iter().filter(|to| matches!(to, Destination::Path(PATH))).count();
    assert_eq!(learned, 50, "of 100, to the path where it was heard");
}

#[test]
fn who_sends_a_copy_of_a_first_message_from_elsewhere_shuts_nobody_out_by_forged_thirds() {
    for stateless in [false, true] {
        let mut pair = Pair::new(Options { stateless, ..Options::default() });
        pair.handshake(Side::A);
        pair.a.establish();
        pass(&mut pair, 2);
        let first = pair.recorded[pair.recorded.len() - 2].1.clone();
        let (_, third) = pair.next_message().unwrap();
        let mut forged = third.clone();
        *forged.last_mut().unwrap() ^= 1;
        // Its answer goes to the attacker's path. The peer's was learned before.
        let attacker = PathId::new(666);
        assert_eq!(pair.b.deliver_from(attacker, &first), Some(Disposition::Accepted));
        pair.b.sent.clear();
        for _ in 0..100 {
            let _ = pair.b.deliver_from(attacker, &forged);
        }
        assert_eq!(pair.b.peer().discards().count(DiscardReason::Busy), 84);
        assert_eq!(pair.b.deliver(&third), Some(Disposition::Accepted), "the peer is shut out");
        assert_eq!(pair.b.epoch(), 2);
    }
}

#[test]
fn an_attempt_that_begins_while_a_stateless_answer_waits_for_the_store_is_not_lost() {
    for stateless in [false, true] {
        let mut pair = ahead(Options { stateless, ..Options::default() });
        let third = pair.next_message().unwrap().1;
        let _ = pair.b.deliver(&third);
        // The fourth message is lost. The first one of the new epoch confirms, and its answer waits for that to be durable.
        pair.b.sent.clear();
        pair.b.establish();
        let first = pair.b.sent.pop_front().unwrap();
        let now = pair.a.now;
        let peer = pair.a.peer.as_mut().unwrap();
        assert_eq!(peer.handle_message(now, &mut pair.a.rng, PATH, &first), Ok(Disposition::Accepted));
        let Output::Persist(checkpoint) = peer.poll_output() else { panic!("the confirmation") };
        assert!(matches!(peer.poll_output(), Output::Wait(_)));
        peer.establish(now, &mut pair.a.rng).unwrap();
        peer.handle_persisted(checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()).unwrap();
        pair.a.drain();
        let types: Vec<u8> = pair.a.sent.iter().map(|sent| sent[0]).collect();
        assert_eq!(types, [0x12, 0x11], "the answer, and then the own attempt");
        pair.settle();
        assert!(pair.agree() > Some(1));
    }
}

#[test]
fn a_held_lane_is_not_released_by_a_lane_that_is_none_for_recovery() {
    let mut pair = Pair::new(Options::default());
    let mut recovery = Pair::new(Options { lane: crate::RECOVERY_LANE, ..Options::default() });
    recovery.b.peer().allow_recovery();
    recovery.b.drain();
    recovery.handshake(Side::A);
    pair.a.peer().enrol_by_recovery(recovery.a.peer()).unwrap();
    pair.a.drain();
    let mut other = Pair::new(Options { lane: 1, ..Options::default() });
    assert_eq!(pair.a.peer().release(other.a.peer()), Err(Error::Held));
    assert!(pair.a.peer().is_held());
}

#[test]
fn what_is_told_of_a_session_is_never_told_of_the_one_that_took_its_place() {
    let mut pair = Pair::new(Options::default());
    pair.handshake(Side::A);
    let day = Duration::from_secs(24 * 3600);
    for end in [&mut pair.a, &mut pair.b] {
        end.now = Instant::ZERO.saturating_add(day.saturating_sub(Duration::from_millis(500)));
    }
    pair.a.establish();
    pass(&mut pair, 1);
    let (_, second) = pair.next_message().unwrap();
    pair.a.now = pair.a.now.saturating_add(Duration::from_millis(500));
    let (now, peer) = (pair.a.now, pair.a.peer.as_mut().unwrap());
    peer.handle_timeout(now, &mut pair.a.rng).unwrap();
    let Output::Persist(checkpoint) = peer.poll_output() else { panic!("the session is over") };
    peer.handle_persisted(checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()).unwrap();
    // The end of the session is still to be told when the next one is there.
    let _ = peer.handle_message(now, &mut pair.a.rng, PATH, &second).unwrap();
    let id = peer.session().unwrap().id;
    pair.a.events.clear();
    pair.a.drain();
    pair.settle();
    assert_eq!(pair.agree(), Some(2));
    assert!(!pair.a.events.iter().any(|event| matches!(event, Event::Expired(over) if *over == id)));
    assert!(matches!(pair.a.events.last(), Some(Event::Established(session)) if session.id == id));
}

#[test]
fn recorded_first_messages_do_not_make_an_end_yield_for_ever_whose_application_asks_again_and_again() {
    load_bearing(Rule::RoundRises, || {
        let mut pair = Pair::new(Options::default());
        let recorded = pair.recorded_firsts();
        for times in 0.. {
            pair.a.establish();
            pair.a.sent.clear();
            for old in &recorded {
                let _ = pair.a.deliver(old);
            }
            if !pair.a.sent.iter().any(|answer| answer[0] == 0x12) {
                break; // Its own first message beats all of them.
            }
            assert!(times < 2, "it yields again and again");
            // Sooner than an answer ends.
            pair.a.now = pair.a.now.saturating_add(Duration::from_secs(10));
            pair.a.timeout();
        }
    });
}

#[test]
fn who_asks_for_room_gets_it_from_a_peer_that_insists_on_an_attempt_that_was_refused() {
    let mut pair = Pair::new(Options { mix: Some(MixPolicy::Require), one_try: true, ..Options::default() });
    pair.a.provide(1);
    pair.a.provide(2);
    // After a start the peer may have moved with either.
    pair.a.crash();
    pair.a.boot();
    pair.a.peer().withdraw_mixes();
    pair.a.drain();
    assert!(pair.a.peer().provide_mix(&block(3)).is_err());
    pair.b.provide(3);
    pair.b.peer().set_round_for_tests(8);
    for _ in 0..3 {
        // It is refused, and goes on; and its first message beats any other.
        pair.b.establish();
        pass(&mut pair, 2);
        pair.a.wake();
        pair.a.establish();
        pair.settle();
        if pair.a.peer().provide_mix(&block(3)).is_ok() {
            pair.a.drain();
            return pair.assert_lives(Side::B);
        }
        pair.a.wake();
        pair.b.wake();
    }
    panic!("it never gets room");
}

/// Whether a first message was sent.
fn began(end: &End) -> bool {
    end.sent.iter().any(|sent| matches!(Message::decode(sent), Ok(Message::First(_))))
}

#[test]
fn no_attempt_begins_where_the_consumer_has_confirmed_the_session_that_was_wanted() {
    let mut pair = ahead(Options { consumer: true, ..Options::default() });
    for _ in 0..2 {
        pair.a.establish();
    }
    let session = pair.a.peer().session().unwrap();
    pair.a.peer().confirm(session.id).unwrap();
    for _ in 0..3 {
        pair.a.wake();
    }
    assert!(!began(&pair.a), "a new session would end the one that was confirmed");
    assert_eq!(pair.a.peer().session().map(|session| session.id), Some(session.id));
}

#[test]
fn the_attempt_beside_a_third_message_ends_where_the_consumer_confirms() {
    let mut pair = ahead(Options { consumer: true, ..Options::default() });
    pair.settle();
    for _ in 0..3 {
        pair.a.establish();
    }
    assert!(began(&pair.a));
    let session = pair.a.peer().session().unwrap();
    pair.a.peer().confirm(session.id).unwrap();
    pair.settle();
    assert_eq!(pair.agree(), Some(1), "the session that was confirmed, and no other");
}

#[test]
fn no_long_third_message_is_drawn_right_after_one_that_went_with_a_first_message() {
    let mut pair = ahead(Options::default());
    pair.b.establish();
    let of_the_epoch_before = pair.b.sent.pop_back().unwrap();
    for _ in 0..3 {
        pair.a.establish();
    }
    pair.a.sent.clear();
    pair.a.wake();
    assert!(began(&pair.a) && pair.a.sent.len() == 2, "a first message, and the long third one with it");
    pair.a.sent.clear();
    let busy = Some(Disposition::Discarded(DiscardReason::Busy));
    assert_eq!(pair.a.deliver(&of_the_epoch_before), busy);
    pair.a.now = pair.a.now.saturating_add(Duration::from_secs(1));
    assert_eq!(pair.a.deliver(&of_the_epoch_before), Some(Disposition::Accepted));
}

#[test]
fn a_copy_of_a_third_message_teaches_no_path() {
    let mut pair = Pair::new(Options::default());
    pair.handshake(Side::A);
    let third = pair.recorded[2].1.clone();
    let attacker = PathId::new(666);
    assert_eq!(pair.b.deliver_from(attacker, &third), Some(Disposition::Accepted));
    pair.b.destinations.clear();
    pair.b.establish();
    assert_eq!(pair.b.destinations, [Destination::Path(PATH)]);
}

#[test]
fn a_cookie_goes_out_with_every_repetition_until_another_is_taken() {
    let mut pair = Pair::new(Options::default());
    pair.b.peer().demand_cookies(true);
    pair.a.establish();
    pass(&mut pair, 2);
    for _ in 0..3 {
        pair.a.wake();
        let Some(Ok(Message::First(first))) = pair.a.sent.back().map(|sent| Message::decode(sent)) else {
            panic!("no repetition");
        };
        assert!(first.cookie.is_some());
    }
}

#[test]
fn a_session_lives_for_49_days_at_most_and_one_of_no_time_is_over_at_the_next_timeout() {
    for (life, lived) in [(Duration::MAX, u64::from(u32::MAX)), (Duration::ZERO, 0)] {
        let mut pair = Pair::new(Options::default());
        pair.handshake(Side::A);
        let config = config(Side::A, Options::default()).session_life(life);
        let slots = [&pair.a.slots[0][..], &pair.a.slots[1][..]];
        pair.a.peer = Some(Peer::restore(&config, slots, pair.a.now, &mut pair.a.rng).unwrap());
        pair.b.establish();
        pair.settle();
        assert!(pair.a.peer().session().is_some());
        pair.a.wake();
        assert!(pair.a.peer().session().is_none());
        assert_eq!(pair.a.now, Instant::from_millis(lived));
    }
}

/// A's application wanted a session while A was ahead; that came to nothing, and it was told so.
#[test]
fn an_end_that_did_not_yield_begins_nothing_for_an_answer_that_came_to_nothing() {
    let mut pair = ahead(Options::default());
    pair.a.establish();
    pair.b.crash();
    pair.b.boot();
    pair.settle();
    assert!(pair.a.events.iter().any(|event| matches!(event, Event::Void(_))));
    assert_eq!((pair.a.epoch(), pair.b.epoch()), (1, 1));
    pair.b.establish();
    let first = pair.b.sent.pop_back().unwrap();
    assert_eq!(pair.a.deliver(&first), Some(Disposition::Accepted));
    pair.a.sent.clear();
    pair.a.wake();
    assert!(!began(&pair.a));
}

/// Its session expired before the peer followed, or the session was live before the start: the answer to the third message tells nothing.
#[test]
fn a_session_that_is_wanted_comes_where_the_one_that_the_peer_followed_into_is_no_news() {
    let mut pair = ahead(Options::default());
    pair.a.sent.clear();
    pair.a.now = pair.a.now.saturating_add(Duration::from_secs(3_600));
    pair.a.timeout();
    assert!(matches!(pair.a.events.last(), Some(Event::Expired(_))));
    pair.a.sent.clear();
    pair.a.establish();
    pair.settle();
    assert_eq!(pair.agree(), Some(2), "the wish is lost: {:?}", pair.a.events);
}

#[test]
fn a_session_that_is_wanted_after_a_start_comes_where_the_consumer_had_confirmed() {
    let mut pair = ahead(Options { consumer: true, ..Options::default() });
    let session = pair.a.peer().session().unwrap();
    pair.a.peer().confirm(session.id).unwrap();
    // Any later change stores it with that.
    pair.a.peer().provide_mix(&block(7)).unwrap();
    pair.a.drain();
    pair.a.sent.clear();
    pair.a.crash();
    pair.a.boot();
    pair.a.sent.clear();
    pair.a.establish();
    pair.settle();
    // The consumer does without a fourth message: a third one that comes again draws it.
    pair.a.wake();
    pair.settle();
    assert_eq!(pair.a.epoch(), 2, "the wish is lost: {:?}", pair.a.events);
}

#[test]
fn a_session_that_is_wanted_comes_where_nothing_comes_of_the_first_message_that_said_that_the_peer_followed()
{
    let mut pair = ahead(Options::default());
    let third = pair.a.sent.pop_back().unwrap();
    pair.b.deliver(&third);
    pair.b.sent.clear();
    pair.a.now = pair.a.now.saturating_add(Duration::from_secs(3_600));
    pair.a.timeout();
    pair.a.establish();
    pair.b.establish();
    let first = pair.b.sent.pop_back().unwrap();
    assert_eq!(pair.a.deliver(&first), Some(Disposition::Accepted));
    assert!(!pair.a.peer().is_ahead());
    pair.a.sent.clear();
    pair.b.crash();
    pair.b.boot();
    pair.a.wake();
    assert!(began(&pair.a));
    pair.settle();
    assert_eq!(pair.agree(), Some(2));
}

/// It is due by its own time, and beside a first message.
#[test]
fn a_third_message_that_is_due_twice_at_once_leaves_once_and_counts_once() {
    let mut pair = ahead(Options::default());
    for _ in 0..3 {
        pair.a.establish();
    }
    pair.a.sent.clear();
    pair.a.destinations.clear();
    for _ in 0..2 {
        pair.a.now = pair.a.now.saturating_add(Duration::from_secs(60));
        pair.a.timeout();
    }
    let thirds = pair.a.sent.iter().zip(&pair.a.destinations);
    let thirds = thirds.filter(|(sent, _)| matches!(Message::decode(sent), Ok(Message::LongThird(_))));
    let learned: Vec<bool> = thirds.map(|(_, to)| matches!(to, Destination::Path(_))).collect();
    assert_eq!(learned, [true, false], "every second one goes to the configured address");
}

#[test]
fn a_session_that_is_wanted_of_an_end_that_is_ahead_waits_for_a_block_where_one_is_required() {
    let mut pair = ahead(Options { mix: Some(MixPolicy::Require), block: true, ..Options::default() });
    pair.a.provide(2);
    pair.a.establish();
    pair.a.peer().withdraw_mixes();
    pair.a.drain();
    for _ in 0..3 {
        pair.a.wake();
    }
    assert!(!began(&pair.a));
    pair.a.provide(3);
    pair.a.wake();
    assert!(began(&pair.a), "the wish is lost");
}
