//! The tables of the specification ("State Machine", "States"), cell by cell: what comes in, in each state.
//!
//! Worlds of one seed that took the same steps are the same to the octet, so what is to come in is made in a copy.

use core::time::Duration;
use std::vec::Vec;

use skex_core::machine::Disposition;
use skex_wire::unmediated::{Message, Pseudonym, TAG_LEN, ThirdMessage};

use super::pair::{End, Options, Pair};
use crate::{Event, Side};

/// The durable link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    None,
    Followed,
    Ahead,
}

/// What is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Idle,
    Attempt,
    Answered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    First,
    FirstOfTheEpochBefore,
    Second,
    ShortThird,
    LongThird,
    ThirdOfTheEpochBefore,
    Fourth,
    Cookie,
    StaleNotice,
    Wish,
    Timeout,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Discarded with nothing changed but a counter.
    Nothing,
    Answers,
    ConfirmsAndAnswers,
    Confirms,
    MovesAhead,
    Follows,
    SendsStaleNotice,
    SendsLongThird,
    SendsFourthAgain,
    TakesCookie,
    Stops,
    Begins,
    Repeats,
    ForgetsAnswer,
}

use Doing::{Answered, Attempt, Idle};
use Input::{
    Cookie, First, FirstOfTheEpochBefore, Fourth, LongThird, Second, ShortThird, StaleNotice,
    ThirdOfTheEpochBefore, Timeout, Wish,
};

/// The message of this type that was sent last.
fn take(end: &mut End, is_it: fn(&Message<'_>) -> bool) -> Vec<u8> {
    let place = end.sent.iter().rposition(|sent| is_it(&Message::decode(sent).unwrap())).unwrap();
    end.sent.remove(place).unwrap()
}

fn take_first(end: &mut End) -> Vec<u8> {
    take(end, |message| matches!(message, Message::First(_)))
}

/// A pair, end A of it in this state, in epoch 2; B is where A's link says. Nothing is on its way, but what A has sent.
fn world(link: Link, doing: Doing) -> Pair {
    let mut pair = Pair::new(Options::default());
    pair.handshake(Side::A);
    match link {
        Link::None => pair.handshake(Side::A),
        Link::Followed => pair.handshake(Side::B),
        Link::Ahead => {
            pair.a.establish();
            for _ in 0..2 {
                let (to, message) = pair.next_message().unwrap();
                let _ = pair.end(to).deliver(&message);
            }
        }
    }
    match doing {
        Idle => {}
        Attempt if link == Link::Ahead => {
            pair.a.establish();
            while !pair.a.sent.iter().any(|sent| matches!(Message::decode(sent), Ok(Message::First(_)))) {
                pair.a.wake_soon();
            }
        }
        Attempt => pair.a.establish(),
        Answered => {
            pair.b.establish();
            let first = take_first(&mut pair.b);
            let _ = pair.a.deliver(&first);
        }
    }
    pair
}

/// B hears of the session that A has, where it has not yet. Its fourth message.
fn catch_up(pair: &mut Pair) -> Option<Vec<u8>> {
    let third =
        pair.a.sent.iter().find(|sent| matches!(Message::decode(sent), Ok(Message::Third(_)))).cloned()?;
    let _ = pair.b.deliver(&third)?;
    Some(take(&mut pair.b, |message| matches!(message, Message::Fourth(_))))
}

/// The third message of B's that A's answer draws, short, and in its long form.
fn thirds(link: Link) -> (Vec<u8>, Vec<u8>) {
    let mut copy = world(link, Answered);
    let second = take(&mut copy.a, |message| matches!(message, Message::Second(_)));
    let _ = copy.b.deliver(&second);
    let short = take(&mut copy.b, |message| matches!(message, Message::Third(_)));
    copy.b.wake_soon();
    (short, take(&mut copy.b, |message| matches!(message, Message::LongThird(_))))
}

/// A message that comes in. It fits the state where one can; else it is the one that fits the state where it is heeded.
fn message(link: Link, doing: Doing, input: Input) -> Vec<u8> {
    let mut copy = world(link, doing);
    match input {
        First => {
            catch_up(&mut copy);
            // Of two that cross, the one of the higher round wins.
            copy.b.peer().set_round_for_tests(9);
            copy.b.establish();
            if doing == Answered {
                copy.b.wake_soon();
            }
            take_first(&mut copy.b)
        }
        FirstOfTheEpochBefore => {
            let mut before = Pair::new(Options::default());
            before.handshake(Side::A);
            before.b.establish();
            take_first(&mut before.b)
        }
        Second | Cookie => {
            let mut copy = world(link, Attempt);
            catch_up(&mut copy);
            copy.b.peer().demand_cookies(input == Cookie);
            let first = take_first(&mut copy.a);
            let _ = copy.b.deliver(&first);
            copy.b.sent.pop_back().unwrap()
        }
        StaleNotice => {
            let first = take_first(&mut world(link, Attempt).a);
            let mut later = world(link, Idle);
            later.settle();
            later.handshake(Side::A);
            let _ = later.b.deliver(&first);
            take(&mut later.b, |message| matches!(message, Message::Stale(_)))
        }
        ShortThird => thirds(link).0,
        LongThird => thirds(link).1,
        ThirdOfTheEpochBefore if link == Link::Followed => {
            let mut before = Pair::new(Options::default());
            before.handshake(Side::A);
            before.handshake(Side::B);
            let is_third =
                |sent: &&(Side, Vec<u8>)| matches!(Message::decode(&sent.1), Ok(Message::Third(_)));
            before.recorded.iter().rfind(is_third).unwrap().1.clone()
        }
        // B never sent one.
        ThirdOfTheEpochBefore => {
            let mut before = Pair::new(Options::default());
            before.handshake(Side::A);
            let own: Pseudonym = before.a.peer().peer_pseudonym();
            let mut message = [0; 64];
            let len = {
                let mut writer = skex_wire::Writer::new(&mut message);
                ThirdMessage::new(own, &[], [0; TAG_LEN]).encode(&mut writer).unwrap();
                writer.len()
            };
            message[..len].to_vec()
        }
        Fourth => match catch_up(&mut copy) {
            Some(fourth) => fourth,
            None => {
                let is_fourth =
                    |sent: &&(Side, Vec<u8>)| matches!(Message::decode(&sent.1), Ok(Message::Fourth(_)));
                copy.recorded.iter().rfind(is_fourth).unwrap().1.clone()
            }
        },
        Wish | Timeout => Vec::new(),
    }
}

fn outcome(link: Link, doing: Doing, input: Input) -> Outcome {
    let message = message(link, doing, input);
    let mut pair = world(link, doing);
    let end = &mut pair.a;
    end.sent.clear();
    end.events.clear();
    let (before, epoch, was_ahead) = (end.picture(), end.epoch(), end.peer().is_ahead());
    assert_eq!(was_ahead, link == Link::Ahead);
    let disposition = match input {
        Wish => {
            end.establish();
            Disposition::Accepted
        }
        Timeout => {
            end.wake_soon();
            Disposition::Accepted
        }
        _ => {
            // The long third message answers at most once a retransmission time.
            end.now = end.now.saturating_add(Duration::from_secs(2));
            end.deliver(&message).unwrap()
        }
    };
    if disposition != Disposition::Accepted {
        assert_eq!(end.picture(), before, "discarded, and something changed: {link:?} {doing:?} {input:?}");
        return Outcome::Nothing;
    }
    let sent =
        |is_it: fn(&Message<'_>) -> bool| end.sent.iter().any(|sent| is_it(&Message::decode(sent).unwrap()));
    let answers = sent(|message| matches!(message, Message::Second(_)));
    let fourth = sent(|message| matches!(message, Message::Fourth(_)));
    let first = sent(|message| matches!(message, Message::First(_)));
    let long = sent(|message| matches!(message, Message::LongThird(_)));
    let short = sent(|message| matches!(message, Message::Third(_)));
    let notice = sent(|message| matches!(message, Message::Stale(_)));
    let (moved, changed, count) = (end.epoch() - epoch, end.picture() != before, end.sent.len());
    let established = end.events.iter().any(|event| matches!(event, Event::Established(_)));
    let peer = end.peer();
    match (moved, peer.is_ahead()) {
        (1, true) if short => Outcome::MovesAhead,
        (1, false) if fourth && established => Outcome::Follows,
        (0, false) if peer.is_rolled_back() && count == 0 => Outcome::Stops,
        (0, false) if was_ahead && answers && established => Outcome::ConfirmsAndAnswers,
        (0, false) if was_ahead && count == 0 && established => Outcome::Confirms,
        (0, ahead) if ahead == was_ahead => match count {
            1 if answers => Outcome::Answers,
            1 if fourth => Outcome::SendsFourthAgain,
            1 if notice => Outcome::SendsStaleNotice,
            1 if long => Outcome::SendsLongThird,
            1 if first && doing == Attempt => Outcome::Repeats,
            1 if first => Outcome::Begins,
            2 if first && long => Outcome::Repeats,
            0 if input == Timeout && changed => Outcome::ForgetsAnswer,
            0 if input == Cookie && changed => Outcome::TakesCookie,
            0 if !changed => Outcome::Nothing,
            _ => panic!("{link:?} {doing:?} {input:?}: {count} sent"),
        },
        state => panic!("{link:?} {doing:?} {input:?}: {state:?}, {count} sent"),
    }
}

/// What the tables say. AHEAD and ANSWERED exclude each other: the first message that is answered confirms. So nobody can make
/// a third message for an end that is AHEAD in its epoch.
fn specified(link: Link, doing: Doing, input: Input) -> Outcome {
    let ahead = link == Link::Ahead;
    match input {
        First if ahead => Outcome::ConfirmsAndAnswers,
        First => Outcome::Answers,
        FirstOfTheEpochBefore if ahead => Outcome::SendsLongThird,
        FirstOfTheEpochBefore => Outcome::SendsStaleNotice,
        Second if doing == Attempt => Outcome::MovesAhead,
        ShortThird if doing == Answered => Outcome::Follows,
        LongThird => Outcome::Follows,
        ThirdOfTheEpochBefore if link == Link::Followed => Outcome::SendsFourthAgain,
        Fourth if ahead => Outcome::Confirms,
        Cookie if doing == Attempt => Outcome::TakesCookie,
        StaleNotice if doing == Attempt => Outcome::Stops,
        Wish if ahead => Outcome::SendsLongThird,
        Wish if doing == Attempt => Outcome::Nothing,
        Wish => Outcome::Begins,
        Timeout if doing == Attempt => Outcome::Repeats,
        Timeout if doing == Answered => Outcome::ForgetsAnswer,
        Timeout if ahead => Outcome::SendsLongThird,
        _ => Outcome::Nothing,
    }
}

#[test]
fn every_input_in_every_state_does_what_the_tables_say() {
    let mut cells = 0;
    for link in [Link::None, Link::Followed, Link::Ahead] {
        for doing in [Idle, Attempt, Answered] {
            if link == Link::Ahead && doing == Answered {
                continue;
            }
            for input in [
                First,
                FirstOfTheEpochBefore,
                Second,
                ShortThird,
                LongThird,
                ThirdOfTheEpochBefore,
                Fourth,
                Cookie,
                StaleNotice,
                Wish,
                Timeout,
            ] {
                if link == Link::Ahead && matches!(input, ShortThird | LongThird) {
                    continue;
                }
                let found = outcome(link, doing, input);
                assert_eq!(found, specified(link, doing, input), "{link:?}, {doing:?}: {input:?}");
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 8 * 11 - 2 * 2);
}
