//! Keys for consumers, over crashes too.

use skex_core::{KeyId, Label};

use super::pair::{Options, Pair};
use super::rules::load_bearing;
use crate::rules::Rule;
use crate::{ExportError, MAX_OUTPUTS, Side, WINDOW};

const LABEL: Label = Label::EXPORT_RAW;

fn established() -> (Pair, KeyId) {
    let mut pair = Pair::new(Options::default());
    pair.handshake(Side::A);
    let session = pair.a.peer().session().unwrap().id;
    (pair, session)
}

#[test]
fn both_ends_name_at_once_and_never_pick_the_same_index() {
    let (mut pair, _) = established();
    let a = pair.a.peer().export_next(LABEL, b"").unwrap();
    let b = pair.b.peer().export_next(LABEL, b"").unwrap();
    assert_ne!(a.index(), b.index());
    assert_ne!(a.secret(), b.secret());
    for _ in 0..100 {
        pair.assert_same_key(Side::A);
        pair.assert_same_key(Side::B);
    }
}

#[test]
fn keys_are_confirmed_as_the_session_is_and_peeked_ones_never() {
    let (mut pair, session) = established();
    let named = pair.a.peer().export_next(LABEL, b"").unwrap();
    assert!(named.is_confirmed());
    assert!(!pair.b.peer().peek_at(session, named.index(), LABEL, b"").unwrap().is_confirmed());
    pair.b.peer().export_at(session, named.index(), LABEL, b"").unwrap();
    pair.b.drain();
    assert!(pair.b.keys.pop().unwrap().is_confirmed());

    let mut pair = Pair::new(Options { consumer: true, ..Options::default() });
    pair.handshake(Side::A);
    let session = pair.a.peer().session().unwrap().id;
    assert!(!pair.a.peer().export_next(LABEL, b"").unwrap().is_confirmed(), "the consumer has not confirmed");
    pair.a.peer().confirm(session).unwrap();
    assert!(pair.a.peer().export_next(LABEL, b"").unwrap().is_confirmed());
}

#[test]
fn label_context_and_session_are_part_of_the_key() {
    let (mut pair, session) = established();
    let named = pair.a.peer().export_next(LABEL, b"one").unwrap();
    for (label, context) in [(LABEL, &b"two"[..]), (Label::EXPORT_TCP_AO, b"one")] {
        let other = pair.b.peer().peek_at(session, named.index(), label, context).unwrap();
        assert_ne!(other.secret(), named.secret());
    }
    assert_eq!(pair.b.peer().peek_at(session, named.index(), LABEL, b"one").unwrap(), named);
}

#[test]
fn an_index_gives_one_key_only_and_a_restart_brings_none_back() {
    let (mut pair, session) = established();
    let named: [_; WINDOW] = core::array::from_fn(|_| pair.a.peer().export_next(LABEL, b"").unwrap());
    let take = |pair: &mut Pair, at: usize| {
        let taken = pair.b.peer().export_at(session, named[at].index(), LABEL, b"");
        pair.b.drain();
        taken
    };
    for at in [6, 2, 4] {
        take(&mut pair, at).unwrap();
        assert_eq!(pair.b.keys.pop().as_ref(), Some(&named[at]));
        assert_eq!(take(&mut pair, at), Err(ExportError::Used));
        pair.b.crash();
        pair.b.boot();
        assert_eq!(take(&mut pair, at), Err(ExportError::Used));
    }
    for at in [0, 1, 3, 5, 7] {
        take(&mut pair, at).unwrap();
        assert_eq!(pair.b.keys.pop().as_ref(), Some(&named[at]), "skipped indices outlive a restart");
    }
}

#[test]
fn a_crash_between_the_key_and_its_erasure_loses_the_key_or_keeps_it_secret_never_both() {
    for step in 0..6 {
        let (mut pair, session) = established();
        let named = pair.a.peer().export_next(LABEL, b"").unwrap();
        pair.b.crash_at = Some(pair.b.steps + step);
        pair.b.peer().export_at(session, named.index(), LABEL, b"").unwrap();
        pair.b.drain();
        let given = pair.b.keys.len();
        if pair.b.peer.is_none() {
            pair.b.boot();
        }
        pair.b.crash_at = None;
        let again = pair.b.peer().export_at(session, named.index(), LABEL, b"").is_ok();
        assert!(!(given == 1 && again), "step {step}: given twice");
        assert_eq!(again, step == 0, "step {step}: only before the write is nothing lost");
    }
}

#[test]
fn after_a_restart_an_end_answers_but_names_nothing_until_the_next_handshake() {
    let (mut pair, session) = established();
    pair.b.crash();
    pair.b.boot();
    assert_eq!(pair.b.peer().export_next(LABEL, b"").unwrap_err(), ExportError::Restarted);
    pair.assert_same_key(Side::A);
    // The initiator's confirmation is not durable: after a start the peer is asked again.
    pair.a.crash();
    pair.a.boot();
    assert_eq!(pair.a.peer().export_next(LABEL, b"").unwrap_err(), ExportError::Unconfirmed);
    pair.settle();
    assert_eq!(pair.a.peer().session().unwrap().id, session);
    assert_eq!(pair.a.peer().export_next(LABEL, b"").unwrap_err(), ExportError::Restarted);
    pair.handshake(Side::B);
    pair.assert_same_key(Side::A);
    pair.assert_same_key(Side::B);
}

#[test]
fn a_windows_worth_of_unanswered_outputs_asks_for_a_new_handshake() {
    load_bearing(Rule::NameWithinWindow, || {
        let (mut pair, session) = established();
        let mut last = 0;
        for _ in 0..WINDOW {
            last = pair.a.peer().export_next(LABEL, b"").unwrap().index();
        }
        // The peer could not answer it.
        assert_eq!(pair.a.peer().export_next(LABEL, b"").unwrap_err(), ExportError::WindowFull);
        pair.a.peer().note_answer(session, last - 3).unwrap();
        assert!(pair.a.peer().export_next(LABEL, b"").is_ok());
        assert_eq!(pair.a.peer().note_answer(session, last + 50), Err(ExportError::TooFar));
    });
}

#[test]
fn forged_indices_and_sessions_move_nothing() {
    let (mut pair, session) = established();
    let before = pair.b.picture();
    let far = u64::from(MAX_OUTPUTS);
    for index in [WINDOW as u64, far, far - 1, u64::from(u32::MAX) + 1, (1 << 63) - 1] {
        assert_eq!(pair.b.peer().export_at(session, index, LABEL, b""), Err(ExportError::TooFar));
        assert_eq!(pair.b.peer().commit_at(session, index), Err(ExportError::TooFar));
    }
    assert_eq!(pair.b.peer().export_at(session, 1 << 63, LABEL, b""), Err(ExportError::OwnIndex));
    let stranger = KeyId::new([0; 16]);
    assert_eq!(pair.b.peer().export_at(stranger, 0, LABEL, b""), Err(ExportError::UnknownSession));
    for _ in 0..3 {
        pair.b.peer().peek_at(session, 5, LABEL, b"").unwrap();
    }
    assert_eq!(pair.b.picture(), before, "nor does looking");
}

#[test]
fn peek_then_commit_takes_the_index_and_a_commit_waits_for_the_store() {
    let (mut pair, session) = established();
    let named = pair.a.peer().export_next(LABEL, b"").unwrap();
    let seen = pair.b.peer().peek_at(session, named.index(), LABEL, b"").unwrap();
    assert_eq!(seen, named);
    let writes = pair.b.writes;
    pair.b.peer().commit_at(session, named.index()).unwrap();
    assert_eq!(pair.b.peer().peek_at(session, 1, LABEL, b"").unwrap_err(), ExportError::Busy);
    pair.b.drain();
    assert_eq!(pair.b.writes, writes + 1);
    assert_eq!(pair.b.peer().peek_at(session, named.index(), LABEL, b"").unwrap_err(), ExportError::Used);
}

#[test]
fn an_initiator_gives_no_key_before_the_confirmation() {
    let mut pair = Pair::new(Options::default());
    pair.a.establish();
    for _ in 0..3 {
        let (to, message) = pair.next_message().unwrap();
        let _ = pair.end(to).deliver(&message);
    }
    assert!(pair.a.peer().is_ahead());
    assert_eq!(pair.a.peer().export_next(LABEL, b"").unwrap_err(), ExportError::Unconfirmed);
    let index = pair.b.peer().export_next(LABEL, b"").unwrap();
    let (session, index) = (index.id(), index.index());
    assert_eq!(pair.a.peer().export_at(session, index, LABEL, b""), Err(ExportError::Unconfirmed));
    assert_eq!(pair.a.peer().peek_at(session, index, LABEL, b"").unwrap_err(), ExportError::Unconfirmed);
    assert_eq!(pair.a.peer().commit_at(session, index), Err(ExportError::Unconfirmed));
    pair.settle();
    pair.a.peer().export_at(session, index, LABEL, b"").unwrap();
    pair.a.drain();
    pair.assert_same_key(Side::A);
}

#[test]
fn keys_of_an_older_session_are_gone_with_it() {
    let (mut pair, session) = established();
    let named = pair.a.peer().export_next(LABEL, b"").unwrap();
    pair.handshake(Side::B);
    let refused = pair.b.peer().export_at(session, named.index(), LABEL, b"");
    assert_eq!(refused, Err(ExportError::UnknownSession));
}

#[test]
fn a_smaller_window_reaches_less_far_and_keeps_fewer_keys() {
    for window in 1..WINDOW as u8 {
        let mut pair = Pair::new(Options { window, ..Options::default() });
        pair.handshake(Side::A);
        let session = pair.b.peer().session().unwrap().id;
        let count = u64::from(window);
        let named: std::vec::Vec<_> =
            (0..window).map(|_| pair.a.peer().export_next(LABEL, b"").unwrap()).collect();
        assert_eq!(pair.a.peer().export_next(LABEL, b"").unwrap_err(), ExportError::WindowFull);
        assert_eq!(pair.b.peer().export_at(session, count, LABEL, b""), Err(ExportError::TooFar));
        // The last first: the keys of those before are kept, and no more is.
        let before = pair.b.durable().len();
        for key in named.iter().rev() {
            pair.b.peer().export_at(session, key.index(), LABEL, b"").unwrap();
            pair.b.drain();
            assert_eq!(pair.b.keys.pop().as_ref(), Some(key));
        }
        assert_eq!(pair.b.durable().len(), before);
        // A key that falls out of the window is erased from the record too.
        let hash = pair.b.peer().suite().hash_len();
        let mut kept = std::vec::Vec::new();
        for step in 1..=4 {
            let index = count * (step + 1) - 1;
            pair.b.peer().export_at(session, index, LABEL, b"").unwrap();
            pair.b.drain();
            kept.push((pair.b.durable().len() - before) / hash);
        }
        assert_eq!(kept, [usize::from(window) - 1; 4]);
    }
}

#[test]
fn what_a_smaller_window_of_a_new_configuration_does_not_reach_is_gone() {
    let (mut pair, session) = established();
    pair.b.peer().export_at(session, 7, LABEL, b"").unwrap();
    pair.b.drain();
    let before = pair.b.durable().len();
    pair.b.options.window = 3;
    pair.b.crash();
    pair.b.boot();
    let hash = pair.b.peer().suite().hash_len();
    assert_eq!(before - pair.b.durable().len(), 5 * hash);
    assert_eq!(pair.b.peer().export_at(session, 4, LABEL, b""), Err(ExportError::Used));
    pair.b.peer().export_at(session, 5, LABEL, b"").unwrap();
}

#[test]
fn a_chain_ends_with_its_last_index() {
    let (mut pair, session) = established();
    let mut last = 0;
    for number in 0..MAX_OUTPUTS {
        let key = pair.a.peer().export_next(LABEL, b"").unwrap();
        assert_eq!(key.index(), u64::from(number));
        last = key.index();
        pair.a.peer().note_answer(session, last).unwrap();
    }
    assert_eq!(pair.a.peer().export_next(LABEL, b"").unwrap_err(), ExportError::Exhausted);
    assert_eq!(last, u64::from(MAX_OUTPUTS) - 1);
    // The other end comes to the same end, one step at a time.
    for index in 0..u64::from(MAX_OUTPUTS) {
        pair.b.peer().commit_at(session, index).unwrap();
        pair.b.drain();
    }
    let beyond = u64::from(MAX_OUTPUTS);
    assert_eq!(pair.b.peer().export_at(session, beyond, LABEL, b""), Err(ExportError::TooFar));
    pair.handshake(Side::A);
    pair.assert_same_key(Side::A);
}
