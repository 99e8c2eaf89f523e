//! Hubs that lie, fewer than the threshold: what they can prevent, and what they cannot.

use core::time::Duration;

use skex_core::KeyId;
use skex_core::machine::DiscardReason;
use skex_dske::{ClientEvent, Conduct, KeyRequest, KeySuite, Origin, Pad, Role};
use skex_sim::{Departed, Either, Receipts, Verdict};
use skex_wire::Writer;
use skex_wire::dske::{Direction, DskeSuiteId, Refill, share_elements};

use super::liar::{Liar, Share, pass};
use crate::request_under;
use crate::world::{Cast, Setup, cast};

/// The responder's application takes key `id`.
fn take(cast: &mut Cast, id: KeyId) {
    let (node, peer) = (cast.clients[1], cast.tags[0]);
    let taken = cast.world.call(node, |party, _, _| party.left().unwrap().taken(peer, id));
    taken.unwrap().unwrap();
}

/// Hubs make the tables. One of them leaves zeros behind the head of the first lease, where the client's messages take
/// their one-time keys from, and is among the first of the client's hubs.
#[test]
fn a_hub_that_provisions_zeros_fails_alone() {
    let mut cast = cast(1, &Setup::new(5));
    let (uplink, _) = &cast.client_tables[0][0];
    uplink.clone().erase(2, 4094).unwrap();
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
}

/// One hub speaks first of a key, and gives it a second to live. Two honest shares come at once, the third later.
/// Carried by `Arrived::expires` in the responder: each share lives by what its own hub said.
#[test]
fn a_hub_that_gives_a_key_a_second_ends_nothing() {
    let mut cast = cast(2, &Setup::new(5));
    cast.settle(1);
    let mut liar = Liar::hub(&mut cast, 0, 1);
    liar.ask(&mut cast, [1; 16], 0, 200).unwrap();
    for hub in [3, 4] {
        cast.world.net_mut().cut(cast.hubs[hub], cast.clients[1]);
    }
    let id = cast.request(0, 1, KeyRequest::new(3));
    let mut hasty = Share::junk(*id.as_bytes(), cast.tags[0]);
    hasty.lifetime = 1;
    liar.share(&mut cast, &hasty);
    cast.settle(5);
    assert!(cast.key(1, id).is_none());
    cast.world.net_mut().heal();
    cast.settle(20);
    cast.assert_agreed(0, 1, id);
}

/// One hub speaks first of every key, and gives each eighteen hours. The key's own lifetime is what counts: the
/// responder's table must not fill with them.
#[test]
fn a_hub_that_gives_keys_a_day_does_not_fill_the_table() {
    let mut setup = Setup::new(5);
    setup.client_limits.inbound = 5;
    let mut cast = cast(3, &setup);
    cast.settle(1);
    let mut liar = Liar::hub(&mut cast, 0, 1);
    liar.ask(&mut cast, [1; 16], 0, 400).unwrap();
    let mut request = KeyRequest::new(3);
    request.lifetime = 20;
    for round in 0..8 {
        let id = cast.request(0, 1, request);
        let mut slow = Share::junk(*id.as_bytes(), cast.tags[0]);
        slow.lifetime = u16::MAX;
        liar.share(&mut cast, &slow);
        cast.settle(200);
        assert!(cast.key(1, id).is_some(), "key {round}");
        take(&mut cast, id);
    }
}

/// One hub opens groups that never become keys, many more than there is room for.
/// Carried by the quota of each hub in `Client::has_room_for_inbound`.
#[test]
fn scenario_21_a_hub_that_makes_up_keys_keeps_none_away() {
    let mut setup = Setup::new(5);
    setup.client_limits.inbound = 10;
    let mut cast = cast(4, &setup);
    let mut liar = Liar::hub(&mut cast, 0, 1);
    liar.ask(&mut cast, [1; 16], 0, 600).unwrap();
    for number in 0..40 {
        let junk = Share::junk([number; 16], cast.tags[0]);
        liar.share(&mut cast, &junk);
    }
    pass(&mut cast, 100);
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(10);
    cast.assert_agreed(0, 1, id);
    let (node, busy) = (cast.clients[1], DiscardReason::Busy);
    let refused = cast.world.call(node, |party, _, _| party.left().unwrap().discards().count(busy)).unwrap();
    assert!(refused >= 30, "the table has no bound: {refused}");
}

/// One hub begins keys of the greatest length, with the longest lifetime; under an AEAD that costs it four elements each. The client keeps a
/// few of them, and an honest key of that length comes by the other hubs.
/// Carried by `Client::has_room_for_share`.
#[test]
fn a_hub_that_begins_long_keys_does_not_fill_the_memory() {
    const LEN: u32 = 1 << 20;
    let mut setup = Setup::new(3);
    setup.client_limits.incomplete_octets = 4 * LEN as usize + 100;
    let mut cast = cast(10, &setup);
    cast.settle(1);
    let mut liar = Liar::hub(&mut cast, 0, 1);
    let mut long = Share::junk([0; 16], cast.tags[0]);
    (long.suite, long.key_len, long.lifetime) = (DskeSuiteId::AES256GCM, LEN, u16::MAX);
    (long.threshold, long.coordinates) = (2, vec![1, 2, 3]);
    long.share = vec![9; share_elements(LEN).unwrap() as usize * 16];
    for number in 0..20 {
        long.key_id[0] = number;
        liar.share(&mut cast, &long);
        pass(&mut cast, 5);
    }
    let incomplete = |cast: &mut Cast| {
        let held = cast.world.call(cast.clients[1], |party, _, _| {
            let mut fills = party.left().unwrap().fill();
            fills.find(|fill| fill.table == "keys that came in").unwrap().held
        });
        held.unwrap()
    };
    assert_eq!(incomplete(&mut cast), 3, "four and their tags are longer");
    let mut request = request_under(KeySuite::Aes256Gcm, 2);
    request.key_len = 65536;
    for request in [request, KeyRequest::new(2)] {
        let id = cast.request(0, 1, request);
        cast.settle(10);
        cast.assert_agreed(0, 1, id);
    }
}

/// Two of five hubs tell stories of their own of a key that comes: before the others, again, and otherwise. The shares of the others count for theirs, and they alone are
/// not blamed.
#[test]
fn hubs_that_tell_other_stories_first_spoil_nothing_and_are_named() {
    for delay in [0, 1, 20, 200] {
        for suite in [KeySuite::OneTime, KeySuite::Aes256Gcm] {
            let mut cast = cast(77 + delay, &Setup::new(5));
            cast.settle(1);
            let mut liars = [0, 1].map(|hub| Liar::hub(&mut cast, hub, 1));
            for liar in &mut liars {
                let _ = liar.ask(&mut cast, [9; 16], 0, 300);
            }
            let id = cast.request(0, 1, request_under(suite, 3));
            pass(&mut cast, delay);
            for round in 0..3 {
                for (number, liar) in (0..).zip(&mut liars) {
                    let mut story = Share::junk(*id.as_bytes(), cast.tags[0]);
                    if suite != KeySuite::OneTime {
                        story.suite = DskeSuiteId::AES256GCM;
                    }
                    story.secret_tag = [number + 1; 16];
                    story.lifetime = if round == 1 { 1 } else { 600 };
                    story.threshold = if round == 2 { 2 } else { 3 };
                    liar.share(&mut cast, &story);
                }
                pass(&mut cast, delay);
            }
            cast.settle(30);
            let key = cast.key(1, id);
            assert!(key.is_some(), "{suite:?} {delay}");
            assert_eq!(key, cast.key(0, id), "{suite:?} {delay}");
            let conducts = cast.conducts(1, id).unwrap();
            let expected = [Conduct::Lying, Conduct::Lying, Conduct::Good, Conduct::Good, Conduct::Good];
            assert_eq!(conducts, expected, "{suite:?} {delay}");
        }
    }
}

/// One hub is silent. Keys that are there and confirmed are over, whatever it may still say.
#[test]
fn a_silent_hub_does_not_use_up_the_requests() {
    let mut setup = Setup::new(5);
    setup.client_limits.requests = 4;
    let mut cast = cast(5, &setup);
    cast.settle(1);
    cast.world.kill(cast.hubs[4]);
    for round in 0..12 {
        let asked = cast.try_request(0, 1, KeyRequest::new(3));
        let id = asked.unwrap_or_else(|error| panic!("request {round}: {error}"));
        cast.settle(5);
        cast.assert_agreed(0, 1, id);
    }
}

/// A key is delivered once. One hub keeps its share for ever, which only a liar does; a second, honest one gets its
/// share late, because the network holds it back, and is kept from the responder until that has forgotten the key.
/// With a threshold of two, these two make the key again.
#[test]
fn a_key_is_not_delivered_again_when_the_responder_has_forgotten_it() {
    let mut cast = cast(6, &Setup::new(3));
    cast.settle(2);
    let (client, responder) = (cast.clients[0], cast.clients[1]);
    let (liar, late) = (cast.hubs[0], cast.hubs[2]);
    let to_late = cast.world.net().address(late);
    cast.world.net_mut().intercept(move |sent| {
        let is_upload = sent.bytes.len() > 100;
        if sent.node == Some(client) && sent.to == to_late && is_upload {
            return Verdict::Delay(Duration::from_secs(25));
        }
        Verdict::Pass
    });
    // The liar has to keep its share: we take its state from before the responder's answer.
    cast.world.net_mut().cut(responder, liar);
    cast.world.net_mut().cut(late, responder);
    let mut request = KeyRequest::new(2);
    request.lifetime = 30;
    let id = cast.request(0, 1, request);
    cast.settle(4);
    // The answer cannot pass, nor can a grant: heal the way for the grant first if there was none.
    let kept = cast.world.disk(liar).snapshot();
    cast.world.net_mut().heal();
    cast.world.net_mut().cut(late, responder);
    cast.settle(6);
    cast.assert_agreed(0, 1, id);
    take(&mut cast, id);
    cast.settle(27);
    cast.world.net_mut().heal();
    cast.world.kill(liar);
    cast.world.disk_mut(liar).roll_back(&kept);
    cast.world.restart(liar);
    cast.settle(25);
    let times = cast.keys(1).iter().filter(|established| established.key.id() == id).count();
    assert_eq!(times, 1, "the same key was delivered again");
}

/// The bytes of a key that the application has taken are gone from what is stored, not only from what a restart reads:
/// a thief of the disk reads everything. (Records before the last snapshot may be dropped by the store.)
#[test]
fn a_key_that_was_taken_does_not_stay_in_the_log() {
    let mut cast = cast(7, &Setup::new(3));
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    let key = cast.key(1, id).unwrap();
    let node = cast.clients[1];
    let in_log = |cast: &Cast| {
        let mut records: Vec<&Vec<u8>> = Vec::new();
        for departure in cast.world.departures().iter().filter(|departure| departure.node == node) {
            if let Departed::Stored(record) = &departure.what {
                let (_, body) = skex_core::record::decode(record).unwrap();
                if body[0] == 1 {
                    records.clear();
                }
                records.push(record);
            }
        }
        records.iter().any(|record| record.windows(key.len()).any(|window| window == key))
    };
    assert!(in_log(&cast), "before it is taken, it has to be there");
    take(&mut cast, id);
    cast.settle(120);
    assert!(!in_log(&cast));
}

/// The responder's store is slow: still, the application hears of a key before it hears how the hubs behaved in it.
#[test]
fn a_key_comes_before_its_report_however_slow_the_store() {
    let mut cast = cast(8, &Setup::new(3));
    cast.settle(1);
    // The lease first: its grant waits for the store as well.
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(3);
    cast.assert_agreed(0, 1, id);
    cast.world.set_receipts(cast.clients[1], Receipts::After(Duration::from_secs(2)));
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(10);
    let node = cast.clients[1];
    let mut told = cast.world.events().iter().filter(|happened| happened.node == node);
    let first = told.find_map(|happened| match &happened.event {
        Either::Left(ClientEvent::KeyEstablished(established)) if established.key.id() == id => Some("key"),
        Either::Left(ClientEvent::Settled { key_id, role: Role::Responder, .. }) if *key_id == id => {
            Some("report")
        }
        _ => None,
    });
    assert_eq!(first, Some("key"));
}

/// A hub grants crumbs: leases too small for any message. It is not asked for the next one at the speed of the wire,
/// each time with a write to the disk.
#[test]
fn a_hub_that_grants_crumbs_is_not_asked_all_the_time() {
    let mut cast = cast(9, &Setup::new(5));
    cast.settle(1);
    let mut liar = Liar::hub(&mut cast, 0, 0);
    let before = cast.world.checkpoints(cast.clients[0]);
    let id = cast.request(0, 1, KeyRequest::new(3));
    let (mut start, mut crumbs) = (0, 0);
    for _ in 0..200 {
        pass(&mut cast, 5);
        if let Some(request) = liar.lease_request(&cast) {
            let grant = liar.grant_octets(&cast, request.nonce, start, start + 3, start);
            liar.say(&mut cast, &grant);
            (start, crumbs) = (start + 3, crumbs + 1);
        }
    }
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    let written = cast.world.checkpoints(cast.clients[0]) - before;
    assert!(crumbs < 30, "asked {crumbs} times, wrote {written} times, in a second");
}

/// A hub begins with a table of the uplink of so many elements, and sends these.
fn begin_refill(cast: &mut Cast, liar: &mut Liar, (number, elements): (u16, u32), pad: &[u8]) {
    let refill = Refill::new(Direction::UPLINK, number, elements, 0, pad).unwrap();
    let mut octets = vec![0; refill.encoded_len()];
    refill.encode(&mut Writer::new(&mut octets)).unwrap();
    liar.say(cast, &octets);
}

/// How much client 0 has discarded for that reason.
fn discarded(cast: &mut Cast, reason: DiscardReason) -> u32 {
    let client = cast.clients[0];
    cast.world.call(client, |party, _, _| party.left().unwrap().discards().count(reason)).unwrap()
}

/// A hub sends a client more tables than a link can have. The client gathers none that it could not add: its application, which
/// serves it for all its hubs, never meets one.
/// Carried by `Link::check_new` in `Client::on_refill`.
#[test]
fn a_hub_that_refills_without_end_is_not_listened_to() {
    let mut cast = cast(18, &Setup::new(2));
    cast.settle(1);
    for number in 1..64 {
        cast.provision((0, 0), (true, number), Origin::OutOfBand, 64, true);
    }
    let mut liar = Liar::hub(&mut cast, 0, 0);
    for number in [64, 65] {
        begin_refill(&mut cast, &mut liar, (number, 4), &[7; 16 * 4]);
        pass(&mut cast, 100);
    }
    let is_refill =
        |event: &Either<ClientEvent, _>| matches!(event, Either::Left(ClientEvent::Refill { .. }));
    assert!(!cast.world.events().iter().any(|happened| is_refill(&happened.event)));
    assert_eq!(discarded(&mut cast, DiscardReason::Policy), 2);
}

/// A hub begins with one long table after the other, by a short message for each. The client makes room for the first, and for another
/// no more often than an honest hub repeats something.
/// Carried by `Gathering::stays_until`.
#[test]
fn a_hub_that_begins_with_one_table_after_the_other_has_no_memory_made_for_each() {
    let mut cast = cast(19, &Setup::new(2));
    cast.settle(1);
    let mut liar = Liar::hub(&mut cast, 0, 0);
    for message in 0..100 {
        begin_refill(&mut cast, &mut liar, (1 + message % 2, 65_536), &[7; 16]);
        pass(&mut cast, 10);
    }
    let discarded = discarded(&mut cast, DiscardReason::Busy);
    assert!(discarded > 45, "{discarded}");
    // What an honest hub sends is taken all the same, the same hub's too.
    cast.world.kill(cast.hubs[0]);
    cast.world.restart(cast.hubs[0]);
    cast.refill((0, 0), (true, 3), 200);
    cast.settle(30);
    assert_eq!(cast.store_refills(0), 1);
    let (client, hub) = (cast.clients[0], cast.hub_ids[0]);
    let tables = cast.world.call(client, |party, _, _| party.left().unwrap().tables(hub)).unwrap();
    assert!(tables.iter().any(|table| table.number == 3), "{tables:?}");
}
