//! What is lost or held back once is not lost for long: who asks again, how soon, and for whom. Times are those of the simulation.

use core::time::Duration;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use skex_dske::KeyRequest;
use skex_sim::{Link, Verdict};
use skex_wire::dske::{Fetch, Inner};

use super::liar::{Liar, Share, pass};
use crate::oracle::Oracle;
use crate::world::{Cast, Setup, cast};

const HELLO: u8 = 0x11;
const SEALED: u8 = 0x13;
const SEALED_FRESH: u8 = 0x14;
const FETCH: usize = 25 + Fetch::LEN;
const FETCHED: [u8; 3] = [0x0a, 0, 0];

/// A client that starts anew, while the others and the hubs go on.
fn start_anew(cast: &mut Cast, client: usize) {
    cast.world.kill(cast.clients[client]);
    cast.world.restart(cast.clients[client]);
}

/// A hundred keys are confirmed, and all of that is lost. The initiator asks seldom, and one question brings 32 confirmations: each
/// brings those that wait longest, so that four questions bring them all.
/// Carried by the order in `Hub::on_fetch`.
#[test]
fn no_confirmation_starves_behind_others() {
    let mut setup = Setup::new(2);
    setup.client_limits.inbound = 128;
    // Each alone, for they are known by their length.
    setup.hub_limits.datagram = 0;
    let mut cast = cast(1, &setup);
    cast.settle(1);
    let (client, hubs) = (cast.world.net().address(cast.clients[0]), cast.hubs.clone());
    cast.world.net_mut().intercept(move |sent| {
        let is_confirm = sent.bytes.len() == 25 + 51;
        let from_hub = sent.node.is_some_and(|node| hubs.contains(&node));
        if from_hub && sent.to == client && is_confirm { Verdict::Drop } else { Verdict::Pass }
    });
    for _ in 0..100 {
        cast.request(0, 1, KeyRequest::new(2));
    }
    cast.settle(30);
    assert_eq!(cast.keys(1).len(), 100);
    assert_eq!(cast.keys(0).len(), 0);
    cast.world.net_mut().stop_intercepting();
    let mut liar = Liar::client(&mut cast, 0, 0);
    let mut heard = BTreeSet::new();
    for question in 1..=4 {
        // Longer than the longest interval of a repetition: everything is due again.
        pass(&mut cast, 20_000);
        liar.fetch(&mut cast);
        pass(&mut cast, 100);
        let confirmed = liar.hear(&cast);
        let confirmed = confirmed.iter().filter_map(|inner| match Inner::decode(inner) {
            Ok(Inner::Confirm(confirm)) => Some(confirm.key_id),
            _ => None,
        });
        heard.extend(confirmed);
        assert!(heard.len() >= 100.min(question * 32), "{} after question {question}", heard.len());
    }
}

/// A responder's questions do not get through; but it says something else, and the hub knows by that that it was heard: what waits
/// is delivered. Carried by what `Hub::on_sealed` does at the first message without the salt.
#[test]
fn any_message_of_a_responder_brings_what_waits() {
    let mut cast = cast(2, &Setup::new(2));
    cast.settle(1);
    cast.world.kill(cast.clients[1]);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    let responder = cast.clients[1];
    cast.world.net_mut().intercept(move |sent| {
        let is_fetch = sent.bytes[0] == SEALED && sent.bytes.len() == FETCH;
        if sent.node == Some(responder) && is_fetch { Verdict::Drop } else { Verdict::Pass }
    });
    cast.world.restart(responder);
    cast.settle(2);
    assert_eq!(cast.key(1, id), None, "nothing has told the hubs that they were heard");
    // It asks for a key of its own, and so for leases.
    let other = cast.request(1, 0, KeyRequest::new(2));
    cast.settle(4);
    assert!(cast.key(1, id).is_some());
    cast.settle(30);
    cast.assert_agreed(0, 1, id);
    cast.assert_agreed(1, 0, other);
    Oracle::acquit(&cast);
}

/// The first question under a new envelope is lost, the one that tells the hubs that they were heard. It is repeated like any
/// other message, and not after the long interval at which a client keeps its way open.
/// Carried by `Fetching::sent`.
#[test]
fn the_first_question_is_repeated_soon() {
    a_question_that_is_lost_holds_a_key_up_for(3, 10);
}

/// The same where an answer takes longer than the first repetition, so that two come to questions of before the envelope was known to be open: the second
/// is no answer to the one that tells the hubs that they were heard.
/// Carried by `early` in `Fetching::answered`.
#[test]
fn an_answer_to_an_earlier_question_answers_no_later_one() {
    a_question_that_is_lost_holds_a_key_up_for(4, 200);
}

/// So many seconds at most, where a datagram takes so many milliseconds, whatever part of the usual interval is the first. The key waits for a client that
/// starts anew.
fn a_question_that_is_lost_holds_a_key_up_for(seconds: u64, latency: u64) {
    for seed in 0..8 {
        let mut cast = cast(seed, &Setup::new(2));
        cast.world.net_mut().set_default_link(Link::ideal().latency(latency));
        cast.settle(2);
        cast.world.kill(cast.clients[1]);
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(5);
        drop_the_next_question(&mut cast, 1);
        cast.world.restart(cast.clients[1]);
        cast.settle(seconds);
        assert!(cast.key(1, id).is_some(), "{seed}: before the next question of the usual interval, 15 s");
    }
}

/// Hubs that start anew know nobody until they are asked for something. A client that has nothing to say asks them after 15 s, and that is lost: it asks
/// again after a moment, not after 15 s more.
/// Carried by `Fetching::sent`.
#[test]
fn every_question_is_repeated_soon() {
    let mut cast = cast(4, &Setup::new(2));
    cast.world.net_mut().set_default_link(Link::ideal().latency(10));
    cast.settle(5);
    for hub in cast.hubs.clone() {
        cast.world.kill(hub);
        cast.world.restart(hub);
    }
    drop_the_next_question(&mut cast, 1);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(17);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}

/// The first FETCH of a client under an envelope that is known to be open is lost, to each hub.
fn drop_the_next_question(cast: &mut Cast, client: usize) {
    let client = cast.clients[client];
    let mut lost = BTreeSet::new();
    cast.world.net_mut().intercept(move |sent| {
        let is_fetch = sent.bytes[0] == SEALED && sent.bytes.len() == FETCH;
        let drops = sent.node == Some(client) && is_fetch && lost.insert(sent.to);
        if drops { Verdict::Drop } else { Verdict::Pass }
    });
}

/// Twenty clients are started in one moment and have nothing to say. From the first interval on their questions come to a hub one by one; also where they are
/// so far away that each question is repeated and answered twice.
/// Carried by `spread` in `Fetching::answered`, and by what that does where nothing was asked.
#[test]
fn clients_that_were_started_together_do_not_ask_together() {
    for latency in [10, 200] {
        let mut cast = cast(5, &Setup { clients: 20, ..Setup::new(2) });
        cast.world.net_mut().set_default_link(Link::ideal().latency(latency));
        cast.settle(3);
        let seconds = seconds_in_which_a_hub_is_asked(&mut cast);
        assert!(seconds.len() >= 8, "at {latency} ms in seconds {seconds:?}");
    }
}

/// The same where a key waits for each, so that each hears more than an answer.
/// Carried by `interval` in `Fetching::heard`.
#[test]
fn clients_for_which_something_waited_do_not_ask_together() {
    let mut cast = cast(5, &Setup { clients: 20, ..Setup::new(2) });
    cast.world.net_mut().set_default_link(Link::ideal().latency(10));
    cast.settle(2);
    for client in 1..20 {
        cast.world.kill(cast.clients[client]);
        cast.request(0, client, KeyRequest::new(2));
    }
    cast.settle(5);
    for client in 1..20 {
        cast.world.restart(cast.clients[client]);
    }
    cast.settle(2);
    assert!((1..20).all(|client| cast.keys(client).len() == 1));
    let seconds = seconds_in_which_a_hub_is_asked(&mut cast);
    assert!(seconds.len() >= 8, "in seconds {seconds:?}");
}

/// Of the next 15, those in which a client other than the first asks the first hub.
fn seconds_in_which_a_hub_is_asked(cast: &mut Cast) -> BTreeSet<u32> {
    let (first, hub) = (cast.clients[0], cast.world.net().address(cast.hubs[0]));
    let seconds = Rc::new(RefCell::new(BTreeSet::new()));
    for second in 0..15 {
        let seen = Rc::clone(&seconds);
        cast.world.net_mut().intercept(move |sent| {
            let is_fetch = sent.bytes[0] == SEALED && sent.bytes.len() == FETCH;
            if sent.node != Some(first) && sent.to == hub && is_fetch {
                seen.borrow_mut().insert(second);
            }
            Verdict::Pass
        });
        cast.settle(1);
    }
    seconds.take()
}

/// A hub that lies says all the time that it has answered, and nobody has asked. It is asked all the same, once a minute.
/// Carried by `Fetching::answered`.
#[test]
fn answers_to_no_question_keep_nobody_from_asking() {
    let mut cast = cast(4, &Setup::new(2));
    cast.settle(1);
    let mut liar = Liar::hub(&mut cast, 0, 0);
    let asked = |heard: &[Vec<u8>]| {
        heard.iter().filter(|inner| matches!(Inner::decode(inner), Ok(Inner::Fetch(_)))).count()
    };
    let mut in_all = 0;
    for _ in 0..62 {
        liar.say(&mut cast, &FETCHED);
        pass(&mut cast, 5_000);
        in_all += asked(&liar.hear(&cast));
    }
    assert!(in_all >= 5, "{in_all}");
}

/// The answers of a hub are all lost. It is asked as often as it would be asked for anything else, and no more often.
/// Carried by `Fetching::sent`.
#[test]
fn a_hub_that_does_not_answer_is_asked_every_eight_seconds() {
    let mut cast = cast(4, &Setup::new(2));
    cast.world.net_mut().set_default_link(Link::ideal().latency(10));
    cast.settle(1);
    let (client, hub) = (cast.clients[0], cast.hubs[0]);
    let (to_client, to_hub) = (cast.world.net().address(client), cast.world.net().address(hub));
    let asked = Rc::new(RefCell::new(0));
    let seen = Rc::clone(&asked);
    cast.world.net_mut().intercept(move |sent| {
        let is_fetch = sent.bytes[0] == SEALED && sent.bytes.len() == FETCH;
        if sent.node == Some(client) && sent.to == to_hub && is_fetch {
            *seen.borrow_mut() += 1;
        }
        let is_answer =
            sent.node == Some(hub) && sent.to == to_client && sent.bytes.len() == 25 + FETCHED.len();
        if is_answer { Verdict::Drop } else { Verdict::Pass }
    });
    cast.settle(600);
    let asked = asked.take();
    assert!((70..=82).contains(&asked), "{asked}");
}

/// A responder grants less than a hub asks for, as much as one share needs; the hub has two. It waits a little, so that no
/// responder keeps it asking and storing, and asks again, though the responder says nothing more.
/// Carried by the end of the pause in `Hub::repeat_lease_request`.
#[test]
fn a_hub_that_was_granted_too_little_asks_again_by_itself() {
    let mut cast = cast(4, &Setup::new(5));
    cast.settle(1);
    let mut liar = Liar::client(&mut cast, 1, 0);
    for _ in 0..2 {
        cast.request(0, 1, KeyRequest::new(3));
    }
    pass(&mut cast, 500);
    let request = liar.lease_request(&cast).expect("the hub wants to deliver");
    let (start, block) = (request.mark, Share::junk([0; 16], cast.tags[0]).elements());
    let grant = liar.grant_octets(&cast, request.nonce, start, start + 2 + block, start);
    liar.say(&mut cast, &grant);
    pass(&mut cast, 20);
    let deliveries = |heard: &[Vec<u8>]| {
        heard.iter().filter(|inner| matches!(Inner::decode(inner), Ok(Inner::Share(_)))).count()
    };
    assert_eq!(deliveries(&liar.hear(&cast)), 1, "for one there is room");
    pass(&mut cast, 9_000);
    let next = liar.lease_request(&cast).expect("it asks again");
    assert_ne!(next.nonce, request.nonce);
}

/// Sixty keys wait for their confirmation, and ask for it at a hub, each at its own time. The hub's answers to a new envelope are
/// lost: the client gives it up after five questions of its own, and says hello anew, again and again; the sixty do not keep the
/// dead envelope alive. Carried by `is_confirmed` where the initiator polls.
#[test]
fn polls_for_confirmations_keep_no_dead_envelope_alive() {
    let mut cast = cast(5, &Setup::new(2));
    cast.world.net_mut().set_default_link(Link::ideal().latency(10));
    cast.settle(1);
    cast.world.kill(cast.clients[1]);
    for _ in 0..60 {
        cast.request(0, 1, KeyRequest::new(2));
        pass(&mut cast, 133);
    }
    cast.settle(20);
    let (client, hub) = (cast.clients[0], cast.hubs[0]);
    let to_hub = cast.world.net().address(hub);
    cast.world.net_mut().intercept(move |sent| {
        let is_fresh = sent.node == Some(client) && sent.to == to_hub && sent.bytes[0] == SEALED_FRESH;
        if is_fresh { Verdict::Drop } else { Verdict::Pass }
    });
    cast.world.kill(hub);
    cast.world.restart(hub);
    cast.world.run_for(Duration::from_secs(60), 1_000_000);
    let hellos = cast.world.net().sent_by(client).filter(|sent| sent.to == to_hub && sent.bytes[0] == HELLO);
    assert!(hellos.count() >= 5);
    // And when they get through, all is well.
    cast.world.net_mut().stop_intercepting();
    start_anew(&mut cast, 1);
    cast.settle(60);
    assert_eq!(cast.keys(0).len(), 60);
}

/// Who makes keys all the time hears of the hubs all the time, and asks them for what waits once a minute; who makes none asks every
/// 15 seconds. Each question brings confirmations again that came long ago.
/// Carried by `Fetching::heard`.
#[test]
fn a_busy_client_asks_seldom_and_yet_asks() {
    let mut cast = cast(4, &Setup { clients: 3, ..Setup::new(2) });
    cast.settle(5);
    let asked = Rc::new(RefCell::new(BTreeMap::new()));
    let (seen, addresses) = (Rc::clone(&asked), [0, 1, 2].map(|client| cast.clients[client]));
    cast.world.net_mut().intercept(move |sent| {
        if sent.bytes[0] == SEALED && sent.bytes.len() == FETCH {
            let client = addresses.iter().position(|client| sent.node == Some(*client));
            *seen.borrow_mut().entry(client).or_insert(0) += 1;
        }
        Verdict::Pass
    });
    // Two minutes: client 0 makes a key with client 1 every five seconds, and client 2 makes none.
    for _ in 0..24 {
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(5);
        cast.assert_agreed(0, 1, id);
    }
    let asked = asked.borrow();
    let of = |client: usize| asked.get(&Some(client)).copied().unwrap_or(0);
    // Of each of two hubs.
    assert_eq!([of(0), of(1), of(2)], [4, 4, 16]);
    Oracle::acquit(&cast);
}

/// Limits say that nothing is waited for: neither slow hubs nor before the next question to each. Two of three hubs are down, and a key
/// waits for one of them. The client sleeps between what it does, and says no more than others do.
/// Carried by `Fetching::answered` and `Client::advance_request`.
#[test]
fn limits_of_nothing_keep_nobody_awake() {
    let mut setup = Setup::new(3);
    (setup.client_limits.fetch, setup.client_limits.grace) = (Duration::ZERO, Duration::ZERO);
    let mut cast = cast(6, &setup);
    cast.world.kill(cast.hubs[1]);
    cast.world.kill(cast.hubs[2]);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(10);
    assert_eq!(cast.keys(0).len(), 0);
    cast.world.restart(cast.hubs[1]);
    cast.settle(10);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}

/// Nor are there intervals. The client asks each millisecond, and time goes on.
/// Carried by `pace` in `Fetching::answered`.
#[test]
fn limits_of_nothing_at_all_leave_a_millisecond() {
    let mut setup = Setup::new(2);
    (setup.client_limits.fetch, setup.client_limits.first_retransmission) = (Duration::ZERO, Duration::ZERO);
    let mut cast = cast(6, &setup);
    cast.world.net_mut().set_default_link(Link::ideal().latency(0));
    let start = cast.now();
    pass(&mut cast, 100);
    assert_eq!(cast.now(), start.saturating_add_millis(100));
    let from_client = cast.world.net().sent_by(cast.clients[0]).count();
    assert!(from_client <= 2 * 110, "{from_client}");
}

/// Datagrams are lost, late, twice and out of order, hubs start anew, and keys are made all the time. No client leaves a hub unasked for much more than a minute.
/// Carried by `by` in `Fetching`.
#[test]
fn in_no_world_does_a_client_fall_silent() {
    for seed in 0..12 {
        let mut cast = cast(seed, &Setup { clients: 3, ..Setup::new(2) });
        let latency = [1, 10, 200, 900][usize::try_from(seed % 4).unwrap()];
        let loss = [0, 100, 400][usize::try_from(seed % 3).unwrap()];
        let link = Link::ideal().latency(latency).jitter(2 * latency).loss(loss).duplicate(200);
        cast.world.net_mut().set_default_link(link.reorder(100, 3_000));
        let (asked, second) = (Rc::new(RefCell::new(BTreeMap::new())), Rc::new(RefCell::new(0)));
        let (seen, at) = (Rc::clone(&asked), Rc::clone(&second));
        let hubs: Vec<_> = cast.hubs.iter().map(|hub| cast.world.net().address(*hub)).collect();
        cast.world.net_mut().intercept(move |sent| {
            let is_sealed = sent.bytes[0] == SEALED && sent.bytes.len() == FETCH;
            if hubs.contains(&sent.to) && (is_sealed || [HELLO, SEALED_FRESH].contains(&sent.bytes[0])) {
                let last = seen.borrow_mut().insert((sent.node, sent.to), *at.borrow());
                let gap = *at.borrow() - last.unwrap_or(0);
                assert!(gap <= 65, "{gap} s of silence with seed {seed}");
            }
            Verdict::Pass
        });
        for now in 1..=300 {
            *second.borrow_mut() = now;
            let _ = cast.try_request(now % 3, (now + 1) % 3, KeyRequest::new(2));
            if seed % 2 == 0 && now % 45 == 0 {
                let hub = cast.hubs[now % 2];
                cast.world.kill(hub);
                cast.world.restart(hub);
            }
            pass(&mut cast, 1_000);
        }
        let asked = asked.borrow();
        assert_eq!(asked.len(), 6);
        assert!(asked.values().all(|last| 300 - last <= 65), "with seed {seed}");
    }
}
