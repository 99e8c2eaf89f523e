//! The handshake where nothing goes wrong.

use std::vec::Vec;

use chacha20::rand_core::SeedableRng;
use skex_core::Suite;

use super::pair::{Options, Pair, config};
use crate::{ConfigError, Error, Event, Peer, PeerConfig, RestoreError, Role, Side};

const BOTH: [Side; 2] = [Side::A, Side::B];

#[test]
fn either_end_starts_and_both_get_the_same_session_and_keys_in_every_suite() {
    for suite in Suite::all() {
        for initiator in BOTH {
            let mut pair = Pair::new(Options { suite: Some(suite), ..Options::default() });
            for epoch in 1..=3 {
                pair.handshake(initiator);
                assert_eq!(pair.agree(), Some(epoch), "{suite:?}");
                pair.assert_safe();
                assert_eq!(pair.end(initiator).peer().session().unwrap().role, Role::Initiator);
                pair.assert_same_key(Side::A);
                pair.assert_same_key(Side::B);
            }
        }
    }
}

#[test]
fn the_messages_have_the_specified_lengths() {
    let lengths = |options: Options| {
        static TWO: std::sync::OnceLock<Vec<Suite>> = std::sync::OnceLock::new();
        let two = TWO.get_or_init(|| Suite::all().take(2).collect());
        let mut pair = Pair::new(Options { only: Some(two), ..options });
        pair.handshake(Side::A);
        (two.len(), pair.recorded.iter().map(|(_, message)| message.len()).collect::<Vec<_>>())
    };
    let (suites, with_fourth) = lengths(Options::default());
    if suites < 2 {
        return;
    }
    assert_eq!(with_fourth, [46, 44, 27, 27]);
    assert_eq!(with_fourth.iter().sum::<usize>(), 144);
    assert_eq!(lengths(Options { stateless: true, ..Options::default() }).1, [46, 44, 75, 27]);
    assert_eq!(lengths(Options { consumer: true, ..Options::default() }).1, [46, 44, 27]);
    assert_eq!(lengths(Options { consumer: true, stateless: true, ..Options::default() }).1, [46, 44, 75]);
}

#[test]
fn a_handshake_costs_each_end_one_write() {
    let mut pair = Pair::new(Options::default());
    for _ in 0..5 {
        let before = (pair.a.writes, pair.b.writes);
        pair.handshake(Side::A);
        assert_eq!((pair.a.writes, pair.b.writes), (before.0 + 1, before.1 + 1));
    }
}

#[test]
fn the_suite_of_the_next_epoch_is_negotiated_and_protects_the_handshake_after() {
    let mut suites: Vec<Suite> = Suite::all().collect();
    suites.reverse();
    let reversed: &'static [Suite] = suites.leak();
    let mut pair = Pair::new(Options { only: Some(reversed), ..Options::default() });
    pair.handshake(Side::A);
    assert_eq!(pair.a.peer().suite(), reversed[0]);
    pair.handshake(Side::B);
    assert_eq!(pair.agree(), Some(2));
    pair.assert_same_key(Side::A);
}

#[test]
fn ends_without_a_common_suite_do_not_meet_and_stay_as_they_are() {
    let one: &'static [Suite] = Suite::all().take(1).collect::<Vec<_>>().leak();
    let rest: &'static [Suite] = Suite::all().skip(1).collect::<Vec<_>>().leak();
    if rest.is_empty() {
        return;
    }
    let mut pair = Pair::new(Options { only: Some(one), ..Options::default() });
    pair.b.options.only = Some(rest);
    pair.b.crash();
    pair.b.boot();
    pair.handshake(Side::A);
    assert_eq!((pair.a.epoch(), pair.b.epoch()), (0, 0));
}

#[test]
fn ten_thousand_epochs_from_alternating_ends() {
    let mut pair = Pair::new(Options::default());
    for epoch in 1..=10_000_u64 {
        pair.handshake(BOTH[(epoch % 2) as usize]);
        assert_eq!(pair.agree(), Some(epoch));
        pair.recorded.clear();
        pair.a.events.clear();
        pair.b.events.clear();
    }
    pair.assert_same_key(Side::A);
}

#[test]
fn the_consumer_confirms_in_place_of_the_fourth_message() {
    let mut pair = Pair::new(Options { consumer: true, ..Options::default() });
    pair.handshake(Side::A);
    let session = pair.a.peer().session().unwrap();
    assert!(!session.confirmed && pair.a.peer().is_ahead());
    pair.assert_same_key(Side::A);
    pair.a.peer().confirm(session.id).unwrap();
    assert!(pair.a.peer().is_ahead(), "the duty to heal goes on");
    assert_eq!(pair.agree(), Some(1));
    pair.handshake(Side::A);
    assert_eq!((pair.a.epoch(), pair.b.epoch()), (2, 2));
    pair.handshake(Side::B);
    assert_eq!((pair.a.epoch(), pair.b.epoch()), (3, 3));
}

#[test]
fn no_octet_of_two_epochs_links_them() {
    let mut pair = Pair::new(Options::default());
    pair.handshake(Side::A);
    let first = core::mem::take(&mut pair.recorded);
    pair.handshake(Side::A);
    for (_, one) in &first {
        for (_, other) in &pair.recorded {
            assert!(!one[2..10].eq(&other[2..10]), "a pseudonym comes again");
        }
    }
}

#[test]
fn bad_enrolments_and_configurations_are_refused() {
    let mut rng = Pair::new(Options::default()).a.rng;
    let now = skex_core::machine::Instant::ZERO;
    let mut refused = |config: PeerConfig<'_>, secret: &[u8]| {
        Peer::enrol(&config, secret, now, &mut rng).map(|_| ()).unwrap_err()
    };
    let good = PeerConfig::new(Side::A, b"alice", b"bob");
    assert_eq!(refused(good, &[1; 31]), ConfigError::ShortSecret);
    assert_eq!(refused(PeerConfig::new(Side::A, b"", b"bob"), &[1; 32]), ConfigError::BadName);
    assert_eq!(refused(PeerConfig::new(Side::A, b"bob", b"bob"), &[1; 32]), ConfigError::SameName);
    assert_eq!(refused(good.suites(&[]), &[1; 32]), ConfigError::NoSuite);
    assert_eq!(
        refused(good.retransmit(core::time::Duration::ZERO, 5), &[1; 32]),
        ConfigError::BadRetransmission
    );
    assert_eq!(refused(good.context(&[0; 256]), &[1; 32]), ConfigError::BadName);
}

#[test]
fn swapped_sides_other_names_and_other_secrets_never_meet() {
    let mut pair = Pair::new(Options::default());
    let now = pair.a.now;
    let mut others = [
        (PeerConfig::new(Side::A, b"alice", b"carol"), [0x5e; 32]),
        (PeerConfig::new(Side::A, b"alice", b"bob").lane(1), [0x5e; 32]),
        (PeerConfig::new(Side::A, b"alice", b"bob").context(b"x"), [0x5e; 32]),
        (PeerConfig::new(Side::A, b"alice", b"bob"), [0x5f; 32]),
        (PeerConfig::new(Side::B, b"alice", b"bob"), [0x5e; 32]),
    ]
    .into_iter();
    for (config, secret) in &mut others {
        pair.a.peer = Some(Peer::enrol(&config, &secret, now, &mut pair.a.rng).unwrap());
        pair.a.drain();
        pair.handshake(Side::A);
        assert_eq!((pair.a.epoch(), pair.b.epoch()), (0, 0));
    }
}

#[test]
fn torn_stale_and_foreign_records_are_refused_clearly() {
    let mut pair = Pair::new(Options::default());
    pair.handshake(Side::A);
    let now = pair.a.now;
    let record = pair.a.slots.iter().find(|slot| slot.first() == Some(&b'S')).unwrap().clone();
    let mut restored = |config: PeerConfig<'_>, slots: [&[u8]; 2]| {
        Peer::restore(&config, slots, now, &mut pair.a.rng).map(|peer| peer.epoch())
    };
    let own = config(Side::A, Options::default());
    assert_eq!(restored(own, [&record, &[]]), Ok(1));
    assert_eq!(restored(own, [&[], &[]]), Err(RestoreError::NotEnrolled));
    assert_eq!(restored(own, [&[0; 600], &[0; 600]]), Err(RestoreError::NotEnrolled));
    assert_eq!(restored(config(Side::B, Options::default()), [&record, &[]]), Err(RestoreError::WrongSide));
    let stranger = PeerConfig::new(Side::A, b"alice", b"carol");
    assert!(matches!(restored(stranger, [&record, &[]]), Err(RestoreError::Record(_))));
    for length in 1..record.len() {
        assert!(restored(own, [&record[..length], &[]]).is_err(), "cut to {length}");
    }
    for bit in 0..record.len() * 8 {
        let mut damaged = record.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(restored(own, [&damaged, &[]]).is_err(), "bit {bit}");
    }
}

#[test]
fn a_session_expires_and_gives_no_more_keys() {
    let mut pair = Pair::new(Options::default());
    pair.handshake(Side::A);
    pair.a.now = pair.a.now.saturating_add(core::time::Duration::from_secs(24 * 3600));
    pair.a.timeout();
    assert!(matches!(pair.a.events.last(), Some(Event::Expired(_))));
    assert!(pair.a.peer().session().is_none());
    // The peer hears of it with the next first message.
    pair.a.establish();
    let (to, first) = pair.next_message().unwrap();
    assert_eq!(to, Side::B);
    let _ = pair.b.deliver(&first);
    assert!(pair.b.events.iter().any(|event| matches!(event, Event::PeerVoid(_))));
    pair.settle();
    assert_eq!(pair.agree(), Some(2));
}

#[test]
fn the_last_epoch_is_reached_and_never_left() {
    let mut pair = Pair::new(Options::default());
    for side in BOTH {
        pair.end(side).peer().set_epoch_for_tests(u64::MAX - 1);
    }
    pair.handshake(Side::A);
    assert_eq!(pair.agree(), Some(u64::MAX));
    pair.assert_same_key(Side::A);
    // A first message of the last epoch, from an end that would go on, draws nothing.
    let now = pair.a.now;
    let mut rng = chacha20::ChaCha20Rng::seed_from_u64(1);
    for side in BOTH {
        let refused = pair.end(side).peer().establish(now, &mut rng);
        assert_eq!(refused, Err(Error::Exhausted));
    }
    pair.settle();
    assert_eq!(pair.agree(), Some(u64::MAX), "the session goes on to its own end");
}

#[test]
fn the_highest_round_is_followed_by_itself_and_ties_are_settled_by_the_nonce() {
    let mut pair = Pair::new(Options::default());
    for side in BOTH {
        pair.end(side).peer().set_round_for_tests(u32::MAX);
    }
    pair.a.establish();
    pair.b.establish();
    pair.settle();
    assert_eq!(pair.agree(), Some(1));
    pair.assert_safe();
}
