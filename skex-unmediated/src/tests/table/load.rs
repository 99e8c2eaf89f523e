//! Floods: of first messages, and of forged third ones.

use core::time::Duration;
use std::vec::Vec;

use skex_core::machine::{Destination, DiscardReason, Disposition, PathId};
use skex_wire::unmediated::{Message, MessageType};

use super::site::{PATH, Site, id, settle, sites};
use crate::rules::{Rule, without};
use crate::{Side, TableConfig};

const BUSY: Disposition = Disposition::Discarded(DiscardReason::Busy);

fn message_type(message: &[u8]) -> MessageType {
    Message::decode(message).unwrap().message_type()
}

/// A hub that takes four first messages a second without a cookie, and devices.
fn small(pairs: u32) -> (Site, Site) {
    let config =
        TableConfig::new(100).load(4, Duration::from_secs(1)).forged_thirds(3, Duration::from_secs(1));
    let (mut hub, mut devices) = (Site::new(Side::A, config), Site::new(Side::B, TableConfig::new(100)));
    for pair in 0..pairs {
        hub.enrol(pair, 0).unwrap();
        devices.enrol(pair, 0).unwrap();
    }
    (hub, devices)
}

/// The first message with a cookie among what the devices sent last.
fn take_with_cookie(devices: &mut Site) -> Vec<u8> {
    let has_cookie = |message: &Vec<u8>| match Message::decode(message) {
        Ok(Message::First(first)) => first.cookie.is_some(),
        _ => false,
    };
    devices.sent.drain(..).find(has_cookie).unwrap()
}

/// Copies of one first message, from a thousand paths. The answers of the hub.
fn flood(hub: &mut Site, devices: &mut Site) -> Vec<Vec<u8>> {
    devices.establish(id(0, 0));
    let first = devices.sent.pop_front().unwrap();
    for path in 0..1000 {
        let _ = hub.deliver_from(PathId::new(1000 + path), &first);
    }
    let answers: Vec<_> = hub.sent.drain(..).collect();
    assert!(
        answers.iter().all(|answer| answer.len() <= first.len()),
        "no answer is larger than what drew it"
    );
    answers
}

#[test]
fn a_flood_of_first_messages_gets_cookies_and_an_honest_peer_gets_through() {
    let (mut hub, mut devices) = small(2);
    let answers = flood(&mut hub, &mut devices);
    let second = answers.iter().filter(|answer| message_type(answer) == MessageType::SECOND).count();
    let cookies = answers.iter().filter(|answer| message_type(answer) == MessageType::COOKIE).count();
    assert_eq!((second, cookies), (4, 996));
    let now = hub.now;
    assert!(hub.table.is_under_load(now));
    assert_eq!(hub.table.discards().count(DiscardReason::Busy), 996);

    // The honest one draws a cookie, and sends it with its first repetition.
    devices.establish(id(1, 0));
    settle(&mut hub, &mut devices);
    assert_eq!(hub.established(id(1, 0)), 0);
    devices.wake();
    assert_eq!(message_type(devices.sent.front().unwrap()), MessageType::FIRST);
    settle(&mut hub, &mut devices);
    assert_eq!([hub.established(id(1, 0)), devices.established(id(1, 0))], [1, 1]);

    // Two windows after the flood no cookie is asked for.
    hub.now = hub.now.saturating_add(Duration::from_secs(2));
    let now = hub.now;
    assert!(!hub.table.is_under_load(now));
}

#[test]
fn without_the_cookie_the_same_flood_draws_a_thousand_handshakes() {
    let answers = without(Rule::CookieUnderLoad, || {
        let (mut hub, mut devices) = small(2);
        flood(&mut hub, &mut devices)
    });
    assert!(answers.iter().all(|answer| message_type(answer) == MessageType::SECOND));
}

#[test]
fn a_cookie_is_good_on_its_path_for_its_message_and_for_two_time_slots() {
    let (mut hub, mut devices) = small(2);
    let _ = flood(&mut hub, &mut devices);
    devices.establish(id(1, 0));
    settle(&mut hub, &mut devices);
    devices.wake();
    let with_cookie = take_with_cookie(&mut devices);
    // Another path, one octet of the cookie, the cookie of another message.
    assert_eq!(hub.deliver_from(PathId::new(8), &with_cookie), BUSY);
    let mut altered = with_cookie.clone();
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(hub.deliver(&altered), BUSY);
    let mut forged = with_cookie.clone();
    forged[2 + 8] ^= 1;
    assert_eq!(hub.deliver(&forged), BUSY);
    assert!(hub.sent.drain(..).all(|answer| message_type(&answer) == MessageType::COOKIE));
    // Under load still, the next slot but one.
    hub.now = hub.now.saturating_add(Duration::from_secs(62));
    let without_cookie = &with_cookie[..with_cookie.len() - 17];
    for _ in 0..10 {
        let _ = hub.deliver(without_cookie);
    }
    hub.sent.clear();
    assert_eq!(hub.deliver(&with_cookie), BUSY);
    hub.sent.clear();
    // What was good stays good within its slot.
    let (mut hub, mut devices) = small(2);
    let _ = flood(&mut hub, &mut devices);
    devices.establish(id(1, 0));
    settle(&mut hub, &mut devices);
    devices.wake();
    let with_cookie = take_with_cookie(&mut devices);
    assert_eq!(hub.deliver(&with_cookie), Disposition::Accepted);
    assert_eq!(message_type(&hub.sent[0]), MessageType::SECOND);
}

#[test]
fn a_peer_that_moved_needs_one_cookie_only_under_load_too() {
    let (mut hub, mut devices) = small(2);
    // The hub moves first, and the device does not hear of it.
    hub.establish(id(1, 0));
    let first = hub.sent.pop_front().unwrap();
    let _ = devices.deliver(&first);
    let second = devices.sent.pop_front().unwrap();
    let _ = hub.deliver(&second);
    hub.sent.clear();
    assert_eq!((hub.epoch(id(1, 0)), devices.epoch(id(1, 0))), (1, 0));
    let _ = flood(&mut hub, &mut devices);

    // It moves, and starts in the epoch before. One cookie proves the path for both purposes.
    let elsewhere = PathId::new(44);
    devices.establish(id(1, 0));
    let first = devices.sent.pop_front().unwrap();
    let _ = hub.deliver_from(elsewhere, &first);
    let cookie = hub.sent.pop_front().unwrap();
    assert_eq!(message_type(&cookie), MessageType::COOKIE);
    let _ = devices.deliver(&cookie);
    devices.wake();
    let first = take_with_cookie(&mut devices);
    hub.now = hub.now.saturating_add(Duration::from_millis(1000));
    assert_eq!(hub.deliver_from(elsewhere, &first), Disposition::Accepted);
    let third = hub.sent.pop_front().unwrap();
    assert_eq!(message_type(&third), MessageType::THIRD_LONG);
    assert_eq!(hub.destinations.last(), Some(&Destination::Path(elsewhere)));
}

#[test]
fn forged_third_messages_are_looked_at_so_often_a_path_and_others_are_not_shut_out() {
    let (mut hub, mut devices) = small(1);
    hub.establish(id(0, 0));
    let first = hub.sent.pop_front().unwrap();
    let _ = devices.deliver(&first);
    let second = devices.sent.pop_front().unwrap();
    let _ = hub.deliver(&second);
    hub.wake();
    let thirds: Vec<_> = hub.sent.drain(..).collect();
    let long = thirds.iter().find(|message| message_type(message) == MessageType::THIRD_LONG).unwrap();
    let mut forged = long.clone();
    *forged.last_mut().unwrap() ^= 1;

    // The other way round: the devices are the ones that are flooded.
    let config = TableConfig::new(2).forged_thirds(3, Duration::from_secs(1));
    devices.restart(config);
    let bad = PathId::new(66);
    for _ in 0..3 {
        assert_eq!(devices.deliver_from(bad, &forged), Disposition::Discarded(DiscardReason::Unauthentic));
    }
    for _ in 0..10 {
        assert_eq!(devices.deliver_from(bad, &forged), BUSY);
    }
    assert_eq!(devices.deliver_from(bad, long), BUSY);
    assert_eq!(devices.deliver_from(PATH, long), Disposition::Accepted);
    assert_eq!(devices.epoch(id(0, 0)), 1);
}

#[test]
fn a_table_that_is_to_look_at_no_forged_third_message_takes_those_that_are_not() {
    let (mut hub, mut devices) = small(1);
    devices.restart(TableConfig::new(2).forged_thirds(0, Duration::from_secs(1)));
    hub.establish(id(0, 0));
    settle(&mut hub, &mut devices);
    assert_eq!((hub.epoch(id(0, 0)), devices.epoch(id(0, 0))), (1, 1));
}

#[test]
fn junk_is_discarded_and_counted_and_wakes_nobody() {
    let (mut hub, mut devices) = sites(20, 1, false);
    for pair in 0..20 {
        devices.establish(id(pair, 0));
    }
    let real: Vec<_> = devices.sent.drain(..).collect();
    let mut discarded = 0;
    for message in &real {
        for at in 0..message.len() {
            let mut damaged = message.clone();
            damaged[at] ^= 0x40;
            for junk in [&damaged, &message[..at].to_vec()] {
                assert!(matches!(hub.deliver(junk), Disposition::Discarded(_)), "octet {at}");
                discarded += 1;
            }
        }
    }
    assert!(hub.sent.is_empty() && hub.events.is_empty());
    assert_eq!(hub.drain(), None);
    let counted: u32 = hub.table.discards().iter().map(|(_, count)| count).sum();
    assert_eq!(counted, discarded);
    for message in &real {
        assert_eq!(hub.deliver(message), Disposition::Accepted);
    }
}
