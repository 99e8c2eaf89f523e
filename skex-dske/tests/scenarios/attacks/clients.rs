//! Clients that are enrolled and authorised, and mean ill: what they can spoil for others.

use skex_dske::{Authorised, Conduct, KeyError, KeyRequest, KeySuite};
use skex_sim::{Link, Receipts};
use skex_wire::Writer;
use skex_wire::dske::{
    AnswerStatus, CommandBody, Direction, DskeSuiteId, Inner, InnerType, Refilled, share_elements,
};

use super::liar::{Liar, Share, lease_request_in, pass};
use crate::oracle::Oracle;
use crate::request_under;
use crate::world::{Cast, Setup, cast, tag};

/// Three clients: 0 is honest, 1 responds, 2 means ill.
fn setup(inbound: usize) -> Setup {
    let mut setup = Setup::new(5);
    setup.clients = 3;
    setup.client_limits.inbound = inbound;
    setup
}

fn downlinks(cast: &mut Cast, client: usize) -> Vec<u64> {
    let node = cast.clients[client];
    let status = cast.world.call(node, |party, _, _| {
        let client = party.left().unwrap();
        client.status().map(|link| link.downlink_remaining).collect::<Vec<_>>()
    });
    status.unwrap()
}

/// One initiator makes as many keys as the responder keeps, with the longest lifetime there is.
#[test]
fn an_initiator_with_many_long_keys_keeps_no_other_away() {
    let mut cast = cast(1, &setup(8));
    let mut request = KeyRequest::new(3);
    request.lifetime = u16::MAX;
    for _ in 0..10 {
        let id = cast.try_request(2, 1, request);
        cast.settle(2);
        if let Ok(id) = id {
            let (node, peer) = (cast.clients[1], cast.tags[2]);
            let _ = cast.world.call(node, |party, _, _| party.left().unwrap().taken(peer, id));
        }
    }
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(30);
    cast.assert_agreed(0, 1, id);
}

/// One initiator sends each of many shares through one hub only: none ever becomes a key.
#[test]
fn an_initiator_with_many_incomplete_keys_keeps_no_other_away() {
    let mut cast = cast(2, &setup(10));
    cast.settle(1);
    for hub in 0..5 {
        let mut liar = Liar::client(&mut cast, 2, hub);
        for number in 0..10 {
            let mut junk = Share::junk([16 * hub as u8 + number; 16], cast.tags[1]);
            junk.lifetime = u16::MAX;
            liar.share(&mut cast, &junk);
        }
        pass(&mut cast, 1000);
    }
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(60);
    cast.assert_agreed(0, 1, id);
}

/// Rule 3: the responder's downlink is the responder's. Two initiators make keys until nothing is left for them; there
/// must be something left for the third.
#[test]
fn initiators_cannot_drain_the_downlink_for_others() {
    let mut setup = setup(1024);
    (setup.clients, setup.table_elements) = (4, 512);
    let mut cast = cast(3, &setup);
    cast.two_drain_a_downlink_and_a_third_is_served(3, 100, None);
}

/// The same, with hubs that start anew once the two have spent what they may: a start gives nobody a second part.
#[test]
fn a_start_of_the_hubs_gives_no_initiator_a_second_part() {
    let mut setup = setup(1024);
    (setup.clients, setup.table_elements) = (4, 2048);
    let mut cast = cast(3, &setup);
    cast.two_drain_a_downlink_and_a_third_is_served(3, 240, Some(180));
}

/// A share that is longer than all that may wait for a pair waits all the same, if it is the only one: else such a key
/// could never be had. A second one is refused while the first waits.
#[test]
fn one_large_share_is_always_allowed() {
    let mut setup = setup(1024);
    setup.hub_limits.waiting_octets_per_pair = 100;
    let mut cast = cast(12, &setup);
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    for hub in cast.hubs.clone() {
        cast.world.net_mut().cut(cast.clients[1], hub);
    }
    cast.request(0, 1, KeyRequest::new(3));
    cast.settle(2);
    let second = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(2);
    let too_many = AnswerStatus::TOO_MANY_WAITING;
    assert_eq!(cast.failure(0, second), Some(KeyError::Refused(too_many)));
}

/// Twenty shares wait for a client. Ten short questions in a row must not bring each of them ten times: the questions
/// can come from any address, and so would the answers go to any address.
#[test]
fn a_short_question_does_not_bring_everything_each_time() {
    let mut cast = cast(4, &setup(1024));
    cast.settle(1);
    let mut liar = Liar::client(&mut cast, 1, 0);
    for _ in 0..20 {
        cast.request(0, 1, KeyRequest::new(3));
    }
    pass(&mut cast, 1000);
    let is_delivery = |inner: &&Vec<u8>| inner[0] == 5;
    // Each lease has room for twice as many as the one before: 4, 8, 16.
    let mut waiting = 0;
    for _ in 0..3 {
        let heard = liar.hear(&cast);
        waiting += heard.iter().filter(is_delivery).count();
        let request = lease_request_in(&heard).expect("the hub wants to deliver");
        let end = request.mark + request.want;
        let grant = liar.grant_octets(&cast, request.nonce, request.mark, end, request.mark);
        liar.say(&mut cast, &grant);
        pass(&mut cast, 10);
    }
    waiting += liar.hear(&cast).iter().filter(is_delivery).count();
    assert!(waiting >= 10, "{waiting}");
    for _ in 0..10 {
        liar.fetch(&mut cast);
        pass(&mut cast, 1);
    }
    let brought = liar.hear(&cast).iter().filter(is_delivery).count();
    assert!(brought <= 2 * waiting, "{brought} deliveries of {waiting} that wait");
}

/// A client that knows the key id of another asks first for "the same" key, at every hub, and is delivered first.
/// Carried by the initiator's place in `RelayId` at the hub and in `Client::inbound` at the responder.
#[test]
fn scenario_66_one_key_id_of_two_initiators_is_two_keys() {
    let mut cast = cast(5, &setup(1024));
    let first = cast.request(2, 1, KeyRequest::new(3));
    cast.settle(5);
    cast.assert_agreed(2, 1, first);
    let mut liars: Vec<Liar> = (0..5).map(|hub| Liar::client(&mut cast, 0, hub)).collect();
    for liar in &mut liars {
        liar.ask(&mut cast, [9; 16], 0, 100).unwrap();
    }
    cast.world.net_mut().set_default_link(Link::ideal().latency(10));
    let id = cast.request(2, 1, KeyRequest::new(3));
    for liar in &mut liars {
        liar.share(&mut cast, &Share::junk(*id.as_bytes(), tag(1)));
    }
    cast.settle(10);
    cast.assert_agreed(2, 1, id);
}

/// Rule 3. Carried by `peer.authorised.includes` in `Hub::judge`.
#[test]
fn scenario_60_an_initiator_that_is_not_authorised_spends_nothing_of_the_downlink() {
    let mut setup = setup(1024);
    setup.authorised = Authorised::Only(vec![tag(0)]);
    let mut cast = cast(6, &setup);
    let first = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(5);
    cast.assert_agreed(0, 1, first);
    let before = downlinks(&mut cast, 1);
    let id = cast.request(2, 1, KeyRequest::new(3));
    cast.settle(5);
    assert_eq!(cast.failure(2, id), Some(KeyError::Refused(AnswerStatus::NOT_AUTHORISED)));
    assert_eq!(downlinks(&mut cast, 1), before);
}

/// Rule 4: "busy" spends nothing. The hubs' stores hang, and the hubs take nothing more until they answer.
/// Carried by the place of the check before `open_share` in `Hub::on_upload`.
#[test]
fn busy_hubs_spend_nothing() {
    let mut setup = setup(1024);
    setup.hub_limits.changes = 1;
    let mut cast = cast(7, &setup);
    let first = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(5);
    cast.assert_agreed(0, 1, first);
    let before = downlinks(&mut cast, 1);
    for hub in cast.hubs.clone() {
        cast.world.set_receipts(hub, Receipts::Withheld { from: 0 });
    }
    // The first fills the checkpoint that hangs, the second the one behind it, the third finds the hubs busy.
    let ids: Vec<_> = (0..3).map(|_| cast.request(0, 1, KeyRequest::new(3))).collect();
    cast.settle(3);
    for hub in cast.hubs.clone() {
        cast.world.release_receipts(hub);
    }
    cast.settle(20);
    for id in ids {
        cast.assert_agreed(0, 1, id);
    }
    let spent: Vec<u64> =
        before.iter().zip(downlinks(&mut cast, 1)).map(|(before, after)| before - after).collect();
    assert!(spent.iter().all(|&spent| spent == 0 || spent == 130 * 16), "{spent:?}");
    Oracle::acquit(&cast);
}

/// A responder grants its hub crumbs: leases too small for any message, while shares wait for it. The hub, which has
/// other clients, does not ask for the next one at the speed of the wire, each time with a write to its disk.
#[test]
fn a_client_that_grants_crumbs_is_not_asked_all_the_time() {
    let mut cast = cast(8, &setup(1024));
    cast.settle(1);
    let mut liar = Liar::client(&mut cast, 1, 0);
    cast.request(0, 1, KeyRequest::new(3));
    let before = cast.world.checkpoints(cast.hubs[0]);
    let (mut start, mut crumbs) = (0, 0);
    for _ in 0..200 {
        pass(&mut cast, 5);
        if let Some(request) = liar.lease_request(&cast) {
            let grant = liar.grant_octets(&cast, request.nonce, start, start + 3, start);
            liar.say(&mut cast, &grant);
            (start, crumbs) = (start + 3, crumbs + 1);
        }
    }
    let written = cast.world.checkpoints(cast.hubs[0]) - before;
    assert!(crumbs > 0);
    assert!(crumbs < 30, "asked {crumbs} times, wrote {written} times, in a second");
}

/// Shares at places far ahead of the lease, beyond the table, and below everything: with the rightful tag of that place, and
/// with a wrong one. Nothing is answered, nothing moves, nothing is erased; a share at the next place is taken.
/// Carried by `end <= self.high_water` in `Incoming::open`.
#[test]
fn scenario_32_a_forged_index_far_ahead_moves_and_erases_nothing() {
    let mut cast = cast(32, &setup(1024));
    cast.settle(1);
    let mut liar = Liar::client(&mut cast, 2, 0);
    liar.ask(&mut cast, [1; 16], 0, 60).unwrap();
    let share = Share::junk([3; 16], cast.tags[1]);
    let (table, stored) = (cast.hub_uplinks[0][2].octets(), cast.world.disk(cast.hubs[0]).attempts());
    let answers = |liar: &mut Liar, cast: &Cast| liar.hear(cast).iter().filter(|inner| inner[0] == 6).count();
    for index in [0, 1, 55, 59, 60, 1000, 4085, 4086, u32::MAX - 5, u32::MAX] {
        // A place beyond the table has no key: any tag will do.
        let placed = if index < 4080 { index } else { 100 };
        let mut octets = liar.share_octets(&cast, &share, placed);
        octets[3..7].copy_from_slice(&index.to_be_bytes());
        liar.say(&mut cast, &octets);
        *octets.last_mut().unwrap() ^= 1;
        liar.say(&mut cast, &octets);
    }
    pass(&mut cast, 100);
    assert_eq!(answers(&mut liar, &cast), 0);
    assert!(cast.hub_uplinks[0][2].octets() == table);
    assert_eq!(cast.world.disk(cast.hubs[0]).attempts(), stored);
    liar.share(&mut cast, &share);
    pass(&mut cast, 100);
    assert_eq!(answers(&mut liar, &cast), 1);
}

/// An initiator withdraws a key and uploads it anew, to the letter, in another block: the share is gone, and "accepted" would
/// be a lie. Nor is it accepted where the responder took its authorisation back.
/// Carried by `Relay::withdrawn` in `Hub::judge`.
#[test]
fn a_withdrawn_key_that_is_uploaded_anew_is_refused() {
    let mut cast = cast(13, &setup(1024));
    cast.settle(1);
    cast.world.kill(cast.clients[1]);
    let mut liar = Liar::client(&mut cast, 2, 0);
    liar.ask(&mut cast, [1; 16], 0, 100).unwrap();
    let junk = Share::junk([5; 16], cast.tags[1]);
    let upload = |cast: &mut Cast, liar: &mut Liar| {
        liar.share(cast, &junk);
        pass(cast, 20);
        liar.statuses(cast)
    };
    assert_eq!(upload(&mut cast, &mut liar), [AnswerStatus::ACCEPTED]);
    assert_eq!(upload(&mut cast, &mut liar), [AnswerStatus::ACCEPTED], "in another block");
    liar.command(&mut cast, CommandBody::Withdraw([5; 16]));
    pass(&mut cast, 20);
    assert_eq!(upload(&mut cast, &mut liar), [AnswerStatus::WITHDRAWN]);
    // And after a start of the hub.
    cast.world.restart(cast.hubs[0]);
    let mut liar = Liar::client(&mut cast, 2, 0);
    liar.ask(&mut cast, [2; 16], 200, 100).unwrap();
    assert_eq!(upload(&mut cast, &mut liar), [AnswerStatus::WITHDRAWN]);
    cast.world.restart(cast.clients[1]);
    cast.settle(30);
    assert_eq!(Oracle::delivered(&cast, 2, skex_core::KeyId::new([5; 16]), 0), 0);
    // What the responder had dropped is not accepted either.
    cast.authorise(1, 2, false);
    cast.settle(5);
    assert_eq!(upload(&mut cast, &mut liar), [AnswerStatus::NOT_AUTHORISED]);
    Oracle::acquit(&cast);
}

/// An initiator gives one key id to two receivers, as the keys of a group would have it, with other shares for each: each hub
/// takes it for the first of them alone. Keys of groups do not exist.
#[test]
fn scenario_61_one_name_is_not_given_to_two_receivers() {
    let mut setup = setup(1024);
    setup.clients = 4;
    let mut cast = cast(61, &setup);
    cast.settle(1);
    for hub in 0..5 {
        let mut liar = Liar::client(&mut cast, 2, hub);
        liar.ask(&mut cast, [1; 16], 0, 100).unwrap();
        for (receiver, expected) in
            [(1, AnswerStatus::ACCEPTED), (3, AnswerStatus::KEY_ID_IN_USE), (1, AnswerStatus::ACCEPTED)]
        {
            let mut share = Share::junk([6; 16], cast.tags[receiver]);
            share.share = vec![receiver as u8; 112];
            liar.share(&mut cast, &share);
            pass(&mut cast, 20);
            assert_eq!(liar.statuses(&cast), [expected], "hub {hub}, receiver {receiver}");
        }
    }
    cast.settle(20);
    assert!((0..5).all(|hub| Oracle::delivered(&cast, 2, skex_core::KeyId::new([6; 16]), hub) <= 1));
    assert!(cast.keys(1).is_empty() && cast.keys(3).is_empty());
}

/// A client says again and again that a little of a table has come, and that nothing has. What the hub sends for it, to whatever address that came
/// from, is what it would send by its own repetitions, and not the whole window for each word.
#[test]
fn a_client_that_forgets_what_came_draws_no_window_a_word() {
    let mut cast = cast(9, &setup(8));
    cast.settle(1);
    let mut liar = Liar::client(&mut cast, 2, 0);
    pass(&mut cast, 100);
    liar.say(&mut cast, &[InnerType::FETCH.value()]);
    pass(&mut cast, 20);
    cast.refill((0, 2), (true, 1), 20_000);
    pass(&mut cast, 20);
    let _ = liar.hear(&cast);
    for _ in 0..100 {
        for next in [1, 0] {
            let refilled = Refilled::new(Direction::UPLINK, 1, next);
            let mut octets = [0; Refilled::LEN];
            refilled.encode(&mut Writer::new(&mut octets)).unwrap();
            liar.say(&mut cast, &octets);
            pass(&mut cast, 1);
        }
    }
    let parts = liar.hear(&cast).iter().filter(|inner| inner[0] == InnerType::REFILL.value()).count();
    assert!((1..=40).contains(&parts), "{parts}");
    // And it goes on: a client that has started and forgotten gets the table from its beginning.
    pass(&mut cast, 2000);
    let again = liar.hear(&cast);
    let firsts = again.iter().filter_map(|inner| match Inner::decode(inner) {
        Ok(Inner::Refill(refill)) => Some(refill.first),
        _ => None,
    });
    assert!(firsts.into_iter().any(|first| first == 0));
}

/// A client says of short messages that they carry long shares, the pad of a block being the share, and tags them wrongly. The hub reads no more of its table for each than
/// what tells it so. The block serves afterwards.
#[test]
fn a_forged_upload_of_a_long_share_has_no_table_read() {
    let mut cast = cast(17, &setup(8));
    cast.settle(1);
    let mut liar = Liar::client(&mut cast, 2, 0);
    let mut long = Share::junk([1; 16], cast.tags[1]);
    (long.key_len, long.share) = (48 * 1024, Vec::new());
    liar.ask(&mut cast, [1; 16], 0, long.elements() + 2).unwrap();
    let true_one = liar.share_octets(&cast, &long, liar.next());
    let mut forged = true_one.clone();
    *forged.last_mut().unwrap() ^= 1;
    let table = cast.hub_uplinks[0][2].clone();
    let before = table.octets_read();
    for _ in 0..50 {
        liar.say(&mut cast, &forged);
        pass(&mut cast, 5);
    }
    let read = table.octets_read() - before;
    assert!((1..=50 * 64).contains(&read), "{read} octets were read");
    assert!(liar.statuses(&cast).is_empty());
    liar.say(&mut cast, &true_one);
    pass(&mut cast, 50);
    assert_eq!(liar.statuses(&cast), [AnswerStatus::ACCEPTED]);
    assert!(table.octets_read() - before - read > 48 * 1024);
    Oracle::acquit(&cast);
}

/// A client has used blocks with a gap between each and the next, more than the hub can remember, and asks for leases as often as it can. They are denied, and the hub
/// does not look through its table for each before it says so.
#[test]
fn a_lease_that_cannot_be_granted_has_no_table_read() {
    let mut cast = cast(18, &setup(8));
    cast.settle(1);
    let mut liar = Liar::client(&mut cast, 2, 0);
    liar.ask(&mut cast, [1; 16], 0, 1400).unwrap();
    let mut short = Share::junk([1; 16], cast.tags[1]);
    short.suite = DskeSuiteId::AES256GCM;
    for block in 0..260 {
        let octets = liar.sealed_octets(&cast, &short, liar.next() + 1 + 5 * block, 0);
        liar.say(&mut cast, &octets);
        pass(&mut cast, 5);
    }
    // The head of the lease is a gap of its own.
    assert_eq!(liar.statuses(&cast).len(), 255);
    let (table, mark) = (cast.hub_uplinks[0][2].clone(), liar.end);
    let before = table.octets_read();
    for nonce in 2..50 {
        assert_eq!(liar.ask(&mut cast, [nonce; 16], mark, 2500), None);
    }
    assert_eq!(table.octets_read() - before, 0);
}

/// One initiator sends shares of long keys by one hub or by all, of each key one, so that none is ever complete. What the responder keeps of them holds up no long key of
/// another initiator, and no honest hub of such a key seems silent.
/// Carried by `Client::has_room_for_share`.
#[test]
fn an_initiator_that_leaves_long_keys_incomplete_holds_up_no_other() {
    const LEN: u32 = 4096;
    for hubs in [1, 3] {
        let mut setup = Setup::new(3);
        setup.clients = 3;
        setup.client_limits.incomplete_octets = 4 * LEN as usize;
        let mut cast = cast(31, &setup);
        cast.settle(1);
        let mut long = Share::junk([0; 16], cast.tags[1]);
        (long.suite, long.key_len, long.lifetime) = (DskeSuiteId::AES256GCM, LEN, 3600);
        (long.threshold, long.coordinates) = (2, vec![1, 2, 3]);
        long.share = vec![9; share_elements(LEN).unwrap() as usize * 16];
        for hub in 0..hubs {
            let mut liar = Liar::client(&mut cast, 2, hub);
            for number in 0..6 {
                (long.key_id[0], long.key_id[1]) = (number, hub as u8);
                liar.share(&mut cast, &long);
                pass(&mut cast, 50);
            }
        }
        cast.settle(5);
        let mut request = request_under(KeySuite::Aes256Gcm, 2);
        request.key_len = LEN;
        let id = cast.request(0, 1, request);
        cast.settle(20);
        cast.assert_agreed(0, 1, id);
        assert_eq!(cast.conducts(1, id), Some(vec![Conduct::Good; 3]), "{hubs}");
    }
}
