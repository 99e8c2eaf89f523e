//! Whoever owns the network: holds back, replays, loses.

use core::time::Duration;
use std::collections::BTreeSet;

use skex_dske::{Authorised, KeyError, KeyRequest};
use skex_sim::{Link, PowerLoss, Verdict};
use skex_wire::dske::AnswerStatus;

use super::liar::{Liar, pass};
use crate::oracle::Oracle;
use crate::world::{Cast, Setup, cast};

const HELLO: u8 = 0x11;
const HELLO_REPLY: u8 = 0x12;
const SEALED_FRESH: u8 = 0x14;
const HELLO_REQUEST: u8 = 0x15;

/// Octets that client `client` has left to send to each hub.
fn uplinks(cast: &mut Cast, client: usize) -> Vec<u64> {
    let node = cast.clients[client];
    let status = cast.world.call(node, |party, _, _| {
        let client = party.left().unwrap();
        client.status().map(|link| link.uplink_remaining).collect::<Vec<_>>()
    });
    status.unwrap()
}

/// A client starts, its first sealed message is held back, it starts anew; then the old message is let through between
/// the hub's reply to the new hello and the first message under it: the hub now has a session with nobody.
/// Carried by the bound on fetches in state Fresh (`Connection::may_fetch`).
#[test]
fn a_late_message_of_an_earlier_start_does_not_lock_the_client_out() {
    let mut cast = cast(1, &Setup::new(2));
    cast.world.net_mut().set_default_link(Link::ideal().latency(10));
    let (client, hub) = (cast.clients[0], cast.hubs[0]);
    let to_hub = cast.world.net().address(hub);
    let is_fresh = move |bytes: &[u8]| bytes[0] == SEALED_FRESH;
    cast.world.net_mut().intercept(move |sent| {
        if sent.node == Some(client) && sent.to == to_hub && is_fresh(&sent.bytes) {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    pass(&mut cast, 1000);
    let sent = cast.world.net().sent().iter();
    let held = sent
        .enumerate()
        .find(|(_, sent)| sent.node == Some(client) && sent.to == to_hub && is_fresh(&sent.bytes));
    let held = held.unwrap().0;
    cast.world.net_mut().stop_intercepting();
    cast.world.net_mut().lose_in_flight();
    cast.world.crash(client, PowerLoss::Loses);
    cast.world.restart(client);
    let late = cast.now().saturating_add(Duration::from_millis(25));
    cast.world.net_mut().replay(held, late);
    pass(&mut cast, 1000);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(60);
    cast.assert_agreed(0, 1, id);
}

const fn is_greeting(first: u8) -> bool {
    matches!(first, HELLO | HELLO_REPLY | SEALED_FRESH | HELLO_REQUEST)
}

/// Every hello, every reply to one, every request for one and every first sealed message ever sent comes again, in the
/// middle of a session and after starts of either end. No old key comes back, no session and no lease ends by it.
/// Carried by the generation in `hub_salt` and by "nothing switches before a SEALED_FRESH opens" in `Hub::open`.
#[test]
fn scenario_35_replayed_hellos_and_fresh_envelopes_change_nothing() {
    let mut cast = cast(2, &Setup::new(3));
    let replay = |cast: &mut Cast| {
        let sent = cast.world.net().sent().iter().enumerate();
        let old = sent.filter(|(_, sent)| is_greeting(sent.bytes[0])).map(|(i, _)| i);
        let old: Vec<usize> = old.collect();
        let now = cast.now();
        old.into_iter().for_each(|i| cast.world.net_mut().replay(i, now));
        pass(cast, 500);
    };
    let first = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(3);
    let before = uplinks(&mut cast, 0);
    replay(&mut cast);
    let second = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(3);
    let block = 11 * 16;
    assert_eq!(uplinks(&mut cast, 0), before.iter().map(|left| left - block).collect::<Vec<_>>());
    for node in [cast.hubs[0], cast.clients[0], cast.hubs[1], cast.hubs[0]] {
        cast.world.crash(node, PowerLoss::Loses);
        cast.world.restart(node);
        replay(&mut cast);
        pass(&mut cast, 100);
        replay(&mut cast);
    }
    cast.settle(20);
    let third = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(20);
    let before = uplinks(&mut cast, 0);
    replay(&mut cast);
    let fourth = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(10);
    assert_eq!(uplinks(&mut cast, 0), before.iter().map(|left| left - block).collect::<Vec<_>>());
    for id in [first, second, third, fourth] {
        cast.assert_agreed(0, 1, id);
    }
    Oracle::acquit(&cast);
}

/// What the hubs say to the initiator is lost for a while, from the moment at which the responder has the key. The
/// lifetime is not over by far when it gets through again.
#[test]
fn a_confirmation_that_is_lost_for_a_minute_comes_all_the_same() {
    let mut cast = cast(3, &Setup::new(5));
    cast.world.net_mut().set_default_link(Link::ideal().latency(10));
    cast.settle(1);
    let id = cast.request(0, 1, KeyRequest::new(3));
    let responder = cast.clients[1];
    let has_key = |happened: &skex_sim::Happened<_>| happened.node == responder;
    cast.world.drive_until(|world| world.events().iter().any(has_key), 10_000).unwrap();
    for hub in cast.hubs.clone() {
        cast.world.net_mut().cut(hub, cast.clients[0]);
    }
    cast.settle(60);
    assert!(cast.key(0, id).is_none());
    cast.world.net_mut().heal();
    cast.settle(60);
    cast.assert_agreed(0, 1, id);
}

/// Rule 4: the one answer to a block is repeated to duplicates, refusals as well.
/// Carried by `refusals` in `Hub::on_upload`.
#[test]
fn a_refusal_that_is_lost_is_said_again() {
    let mut setup = Setup::new(5);
    setup.authorised = Authorised::Only(vec![]);
    let mut cast = cast(4, &setup);
    let (client, hubs) = (cast.world.net().address(cast.clients[0]), cast.hubs.clone());
    let mut lost = BTreeSet::new();
    const ANSWER: usize = 24 + 25;
    cast.world.net_mut().intercept(move |sent| {
        let from_hub = sent.node.filter(|node| hubs.contains(node) && sent.to == client);
        match from_hub {
            Some(hub) if sent.bytes.len() == ANSWER && lost.insert(hub) => Verdict::Drop,
            _ => Verdict::Pass,
        }
    });
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(60);
    assert_eq!(cast.failure(0, id), Some(KeyError::Refused(AnswerStatus::NOT_AUTHORISED)));
}

/// A hub starts anew while its client sends more often than once a round trip. The hub's plea for a hello is bound to a
/// message that is not the client's last any more when it arrives.
#[test]
fn a_busy_client_finds_back_to_a_hub_that_started_anew() {
    let mut setup = Setup::new(2);
    setup.table_elements = 1 << 17;
    let mut cast = cast(5, &setup);
    cast.world.net_mut().set_default_link(Link::ideal().latency(50));
    let first = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(3);
    cast.assert_agreed(0, 1, first);
    cast.world.crash(cast.hubs[0], PowerLoss::Loses);
    cast.world.restart(cast.hubs[0]);
    let mut asked = Vec::new();
    for _ in 0..256 {
        asked.extend(cast.try_request(0, 1, KeyRequest::new(2)).ok());
        pass(&mut cast, 31);
    }
    cast.settle(60);
    let arrived = asked.iter().filter(|id| cast.key(0, **id).is_some()).count();
    assert_eq!(arrived, asked.len());
}

/// Rule 0. Who has broken the envelope forges a grant, without the one-time key that authenticates it.
/// Carried by `key.verify` in `Outgoing::granted`.
#[test]
fn a_forged_grant_opens_no_lease() {
    for (forged, uploads) in [(true, 0), (false, 1)] {
        let mut cast = cast(6, &Setup::new(2));
        let mut liar = Liar::hub(&mut cast, 0, 0);
        cast.request(0, 1, KeyRequest::new(2));
        pass(&mut cast, 100);
        let request = liar.lease_request(&cast).unwrap();
        let (start, end) = (request.mark, request.mark + request.want);
        // Rightly made, but with another key of the table: as good as any guess.
        let key_at = if forged { start + 2 } else { start };
        let grant = liar.grant_octets(&cast, request.nonce, start, end, key_at);
        liar.hear(&cast);
        liar.say(&mut cast, &grant);
        pass(&mut cast, 100);
        let is_upload = |inner: &&Vec<u8>| inner[0] == 4;
        assert_eq!(liar.hear(&cast).iter().filter(is_upload).count(), uploads, "forged: {forged}");
    }
}

/// Rule 0. A lost grant is repeated to the letter, and burns nothing.
/// Carried by `last` in `Incoming::grant`.
#[test]
fn a_lost_grant_burns_nothing() {
    const GRANT: usize = 43 + 25;
    let run = |losses: usize| {
        let mut cast = cast(7, &Setup::new(3));
        let hubs = cast.hubs.clone();
        let mut lost = 0;
        cast.world.net_mut().intercept(move |sent| {
            let is_grant = sent.node.is_some_and(|node| hubs.contains(&node)) && sent.bytes.len() == GRANT;
            lost += usize::from(is_grant);
            if is_grant && lost <= losses { Verdict::Drop } else { Verdict::Pass }
        });
        let id = cast.request(0, 1, KeyRequest::new(3));
        cast.settle(10);
        cast.assert_agreed(0, 1, id);
        let counts = Oracle::acquit(&cast);
        (uplinks(&mut cast, 0), counts.grants)
    };
    let (undisturbed, grants) = run(0);
    let (disturbed, repeated) = run(9);
    assert_eq!(undisturbed, disturbed);
    assert_eq!(repeated, grants + 9);
}

/// Hellos and their replies get through, and nothing else from the hub, while a key is asked for. No lease may be spent
/// for each attempt: loss alone must not use a table up.
#[test]
fn losing_all_that_a_hub_seals_burns_no_table() {
    const SEALED: u8 = 0x13;
    let mut cast = cast(8, &Setup::new(2));
    let (hub, client) = (cast.hubs[0], cast.world.net().address(cast.clients[0]));
    cast.world.net_mut().intercept(move |sent| {
        let lost = sent.node == Some(hub) && sent.to == client && sent.bytes[0] == SEALED;
        if lost { Verdict::Drop } else { Verdict::Pass }
    });
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(120);
    cast.world.net_mut().stop_intercepting();
    cast.settle(60);
    cast.assert_agreed(0, 1, id);
    let whole = 4096 * 16;
    assert!(uplinks(&mut cast, 0)[0] > whole * 3 / 4, "{:?} of {whole}", uplinks(&mut cast, 0));
}

/// A round trip takes three seconds.
#[test]
fn a_slow_path_is_a_path() {
    let mut cast = cast(9, &Setup::new(3));
    cast.world.net_mut().set_default_link(Link::ideal().latency(1500));
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(120);
    cast.assert_agreed(0, 1, id);
}

/// A hub's records are put back from a backup while its tables, on a device of their own, stay as they are: erased where
/// the leases were that the network swallowed. The first element that the hub would grant is gone; the link goes on behind.
#[test]
fn scenario_47_a_grant_whose_key_is_erased_does_not_stop_the_link() {
    const GRANT: usize = 43 + 25;
    let mut cast = cast(10, &Setup::new(2));
    let (hub, client) = (cast.hubs[0], cast.clients[0]);
    let kept = cast.world.disk(hub).snapshot();
    let to = cast.world.net().address(client);
    cast.world.net_mut().intercept(move |sent| {
        let grant = sent.node == Some(hub) && sent.to == to && sent.bytes.len() == GRANT;
        if grant { Verdict::Drop } else { Verdict::Pass }
    });
    for _ in 0..2 {
        cast.request(0, 1, KeyRequest::new(2));
        cast.settle(3);
        cast.world.crash(client, PowerLoss::Loses);
        cast.world.restart(client);
        cast.settle(1);
    }
    cast.world.kill(hub);
    cast.world.disk_mut(hub).roll_back(&kept);
    cast.world.restart(hub);
    cast.world.net_mut().stop_intercepting();
    cast.settle(20);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(60);
    cast.assert_agreed(0, 1, id);
}

/// The same at the responder's end, while shares wait for it: whatever its hub does to be granted a lease, attempts that
/// come to nothing spend nothing.
#[test]
fn losing_all_that_a_hub_seals_burns_no_downlink() {
    const SEALED: u8 = 0x13;
    let mut cast = cast(11, &Setup::new(3));
    cast.settle(1);
    cast.world.kill(cast.clients[1]);
    cast.request(0, 1, KeyRequest::new(2));
    cast.settle(2);
    let (hubs, client) = (cast.hubs.clone(), cast.world.net().address(cast.clients[1]));
    cast.world.net_mut().intercept(move |sent| {
        let from_hub = sent.node.is_some_and(|node| hubs.contains(&node));
        if from_hub && sent.to == client && sent.bytes[0] == SEALED { Verdict::Drop } else { Verdict::Pass }
    });
    cast.world.restart(cast.clients[1]);
    cast.settle(120);
    cast.world.net_mut().stop_intercepting();
    cast.settle(60);
    assert_eq!(cast.keys(1).len(), 1);
    let status = cast.world.call(cast.hubs[0], |party, _, _| {
        party.right().unwrap().status().map(|client| client.downlink_remaining).collect::<Vec<_>>()
    });
    let (left, whole) = (status.unwrap()[1], 4096 * 16);
    assert!(left > whole * 3 / 4, "{left} of {whole}");
}

/// Rule 0. A repetition of a request for a lease comes seconds late, when the next one was granted already. It is granted
/// nothing: that would lie above the client's mark, where the hub, put back from an old backup, would sign once more.
/// Carried by `Incoming::is_late`.
#[test]
fn scenario_27_a_request_for_a_lease_that_comes_late_is_granted_nothing() {
    const REQUEST: usize = 27 + 25;
    let mut setup = Setup::new(2);
    setup.table_elements = 1024;
    let mut cast = cast(12, &setup);
    cast.world.net_mut().set_default_link(Link::ideal().latency(200));
    cast.settle(2);
    let (client, hub) = (cast.clients[0], cast.hubs[0]);
    let (kept, table) = (cast.world.disk(hub).snapshot(), cast.hub_uplinks[0][0].octets());
    let to_hub = cast.world.net().address(hub);
    let mut requests = 0;
    cast.world.net_mut().intercept(move |sent| {
        if sent.node != Some(client) || sent.to != to_hub || sent.bytes.len() != REQUEST {
            return Verdict::Pass;
        }
        requests += 1;
        if requests == 2 { Verdict::Delay(Duration::from_secs(10)) } else { Verdict::Pass }
    });
    // The round trip takes longer than the first repetition; four blocks are a lease, and the fifth key asks for another.
    for _ in 0..5 {
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(1);
        cast.settle(1);
        cast.assert_agreed(0, 1, id);
    }
    cast.settle(10);
    let at_hub = cast.world.call(hub, |party, _, _| {
        party.right().unwrap().status().map(|client| client.uplink_remaining).next().unwrap()
    });
    let lease = 2 + 4 * 11;
    assert_eq!(at_hub, Some((1024 - 2 * lease) * 16), "the hub granted what nobody asked for");
    cast.world.net_mut().stop_intercepting();
    cast.hub_uplinks[0][0].set_octets(&table);
    cast.world.disk_mut(hub).roll_back(&kept);
    cast.world.restart(hub);
    for _ in 0..3 {
        cast.request(0, 1, KeyRequest::new(2));
        cast.settle(20);
    }
    Oracle::acquit(&cast);
}
