//! What users meet: policies, errors, rotation, and what a key costs.

use core::time::Duration;
use std::sync::mpsc;

use skex_core::machine::{DiscardReason, Instant, Machine};
use skex_core::{Assurance, KeyId};
use skex_dske::{
    ClientError, ClientEvent, Conduct, Coordinate, HubEvent, HubId, KeyError, KeyRequest, Origin, PadError,
    Release, ResponderPolicy, combine,
};
use skex_sim::{Either, Link};
use skex_wire::dske::Direction;

use crate::attacks::liar::{Liar, Share, pass};
use crate::oracle::Oracle;
use crate::world::{Cast, Lie, Setup, cast};

fn taken(cast: &mut Cast, peer: usize, id: KeyId) -> Result<(), ClientError> {
    let (node, peer) = (cast.clients[1], cast.tags[peer]);
    cast.world.call(node, |party, _, _| party.left().unwrap().taken(peer, id)).unwrap()
}

fn short(threshold: u8) -> KeyRequest {
    let mut request = KeyRequest::new(threshold);
    request.lifetime = 20;
    request
}

/// The tables that a client said have failed: hub, direction, number, failure.
fn failed_tables(cast: &Cast, client: usize) -> Vec<(HubId, Direction, u16, PadError)> {
    let of_client = cast.world.events().iter().filter(|happened| happened.node == cast.clients[client]);
    let failed = of_client.filter_map(|happened| match &happened.event {
        Either::Left(ClientEvent::TableFailed { hub, direction, number, error }) => {
            Some((*hub, *direction, *number, *error))
        }
        _ => None,
    });
    failed.collect()
}

/// Storage fails at an initiator before it asks for a lease, or once it has one; and at a responder. Each table is named once, with what
/// it said; a key comes while enough hubs are left, and otherwise the error blames no hub.
#[test]
fn a_table_that_fails_is_named_and_no_hub_is_blamed_for_it() {
    for leased in [false, true] {
        let mut cast = cast(5, &Setup::new(3));
        if leased {
            let id = cast.request(0, 1, short(2));
            cast.settle(5);
            cast.assert_agreed(0, 1, id);
        }
        cast.client_tables[0][0].0.set_lie(Lie::Broken);
        let id = cast.request(0, 1, short(2));
        cast.settle(5);
        cast.assert_agreed(0, 1, id);
        let up = |hub: usize| (cast.hub_ids[hub], Direction::UPLINK, 0, PadError::Storage);
        let (first, second) = (up(0), up(1));
        assert_eq!(failed_tables(&cast, 0), [first]);
        let status = cast.command(0, |client, _, _| client.tables(first.0)).unwrap();
        assert_eq!(status[0].failure, Some(PadError::Storage));
        assert_eq!(status[1].failure, None);

        cast.client_tables[0][1].0.set_lie(Lie::Broken);
        let id = cast.request(0, 1, short(2));
        cast.settle(25);
        assert_eq!(
            (cast.key(0, id), cast.failure(0, id)),
            (None, Some(KeyError::Tables)),
            "leased: {leased}"
        );
        assert_eq!(failed_tables(&cast, 0), [first, second]);
        cast.settle(50);
        assert_eq!(failed_tables(&cast, 0), [first, second], "once");
        Oracle::acquit(&cast);
    }
    let mut cast = cast(6, &Setup::new(3));
    cast.settle(1);
    cast.client_tables[1][2].1.set_lie(Lie::Broken);
    cast.hub_downlinks[1][1].set_lie(Lie::Broken);
    let id = cast.request(0, 1, short(2));
    cast.settle(25);
    assert_eq!(cast.key(1, id), None);
    assert_eq!(failed_tables(&cast, 1), [(cast.hub_ids[2], Direction::DOWNLINK, 0, PadError::Storage)]);
    let at_hubs = cast.world.events().iter().filter_map(|happened| match &happened.event {
        Either::Right(HubEvent::TableFailed { client, uplink, number, error }) => {
            Some((happened.node, *client, *uplink, *number, *error))
        }
        _ => None,
    });
    let at_hubs: Vec<_> = at_hubs.collect();
    assert_eq!(at_hubs, [(cast.hubs[1], cast.tags[1], false, 0, PadError::Storage)]);
}

/// Storage fails for a while: at the receiving ends, when leases are to be granted; and at hubs that have leases, when shares are to leave. A key
/// comes soon after, and nobody has to start anew, or to ask for it.
#[test]
fn a_storage_that_fails_for_a_while_holds_up_a_key_for_little_longer() {
    let mut setup = Setup::new(3);
    setup.client_limits.fetch = Duration::from_secs(600);
    // With one table in each direction, and with two, which lie on the same disk.
    for tables in [1, 2] {
        let mut cast = cast(7, &setup);
        for hub in 0..3 {
            for (client, uplink) in [(0, true), (1, false)].into_iter().filter(|_| tables == 2) {
                cast.provision((hub, client), (uplink, 1), Origin::OutOfBand, 4096, true);
            }
        }
        cast.settle(1);
        let receiving = |cast: &Cast, lie: Lie| {
            for hub in 0..3 {
                cast.hub_uplinks[hub][0].set_lie(lie);
                cast.client_tables[1][hub].1.set_lie(lie);
            }
            for table in cast.further.borrow().iter() {
                if table.uplink { &table.at_hub } else { &table.at_client }.set_lie(lie);
            }
        };
        let sending = |cast: &Cast, lie: Lie| (0..3).for_each(|hub| cast.hub_downlinks[hub][1].set_lie(lie));
        for at_hubs in [false, true] {
            let set = |cast: &Cast, lie| if at_hubs { sending(cast, lie) } else { receiving(cast, lie) };
            set(&cast, Lie::Broken);
            let id = cast.request(0, 1, KeyRequest::new(2));
            cast.settle(1);
            assert_eq!(cast.key(1, id), None);
            set(&cast, Lie::None);
            cast.settle(10);
            cast.assert_agreed(0, 1, id);
        }
        Oracle::acquit(&cast);
    }
}

/// A key is taken at the threshold, while its responder is away. Once that has confirmed it, the initiator is told, once, with what the
/// key may claim; and of a key that was confirmed before it was given, nothing is told beside.
#[test]
fn a_key_that_was_taken_at_the_threshold_is_confirmed_later() {
    let confirmed = |cast: &Cast, id: KeyId| {
        let of_key = cast.world.events().iter().filter_map(|happened| match &happened.event {
            Either::Left(ClientEvent::KeyConfirmed { key_id, peer, assurance }) if *key_id == id => {
                Some((happened.node, *peer, *assurance))
            }
            _ => None,
        });
        of_key.collect::<Vec<_>>()
    };
    let mut cast = cast(7, &Setup::new(3));
    let hubs = cast.hubs.clone();
    cast.world.net_mut().partition(&[cast.clients[1]], &hubs);
    let mut request = KeyRequest::new(2);
    request.release = Release::AtThreshold;
    let id = cast.request(0, 1, request);
    cast.settle(10);
    assert!(cast.key(0, id).is_some() && !cast.keys(0)[0].confirmed);
    assert_eq!(confirmed(&cast, id), []);
    cast.world.net_mut().heal();
    cast.settle(30);
    let told = [(cast.clients[0], cast.tags[1], Assurance::InformationTheoretic)];
    assert_eq!(confirmed(&cast, id), told);
    let next = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(30);
    cast.assert_agreed(0, 1, next);
    assert_eq!((confirmed(&cast, next).len(), confirmed(&cast, id).len()), (0, 1));
}

/// Where nobody lied, nobody is blamed, and no blame is certain.
#[test]
fn no_blame_is_certain_where_nobody_is_blamed() {
    let mut cast = cast(8, &Setup::new(3));
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    for client in [0, 1] {
        assert_eq!(cast.conducts(client, id).unwrap(), [Conduct::Good; 3]);
        assert_eq!(cast.blames_with_certainty(client, id), Some(false));
    }
}

/// An initiator that has its confirmation goes on asking for others, every 15 seconds, as long as the key lives: the same one comes
/// ever more seldom.
#[test]
fn a_confirmation_that_has_come_is_repeated_ever_more_seldom() {
    let mut cast = cast(9, &Setup::new(3));
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    cast.settle(590);
    let stale = cast.command(0, |client, _, _| client.discards().count(DiscardReason::Stale)).unwrap();
    let asked = 590 / 15;
    assert!(stale <= 3 * 11, "{stale} of {} questions", 3 * asked);
}

/// The protocol's premise, and its end: as many hubs as the threshold know the key. One less does not.
#[test]
fn scenario_13_as_many_hubs_as_the_threshold_know_the_key() {
    let mut cast = cast(13, &Setup::new(5));
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    let key = cast.key(0, id).unwrap();
    let shares = Oracle::shares(&cast, 0, id);
    let together = |hubs: &[usize]| {
        let points: Vec<(Coordinate, &[u8])> =
            hubs.iter().map(|&hub| (Coordinate::new(shares[hub].0).unwrap(), &shares[hub].1[..])).collect();
        let mut block = vec![0; points[0].1.len()];
        combine(hubs.len() as u8, &points, &mut block).unwrap();
        block[48..80].to_vec()
    };
    for hubs in [[0, 1, 2], [0, 2, 4], [2, 3, 4]] {
        assert_eq!(together(&hubs), key);
        assert_ne!(together(&hubs[1..]), key);
    }
}

/// The responder's demands are met or there is no key, and the initiator is told; nothing of it stays.
#[test]
fn scenario_59_policies_that_do_not_match() {
    let mut demanding = ResponderPolicy::default();
    (demanding.minimum_threshold, demanding.maximum_lifetime) = (3, 60);
    demanding.minimum_assurance = Assurance::InformationTheoretic;
    let mut too_long = short(3);
    too_long.lifetime = 61;
    for (origin, request, agrees) in [
        (Origin::OutOfBand, short(3), true),
        (Origin::OutOfBand, short(2), false),
        (Origin::OutOfBand, too_long, false),
        (Origin::Refill, short(3), false),
    ] {
        let mut setup = Setup::new(5);
        setup.origin = origin;
        let mut cast = cast(59, &setup);
        cast.demands(1, demanding);
        let id = cast.request(0, 1, request);
        cast.settle(80);
        if agrees {
            cast.assert_agreed(0, 1, id);
        } else {
            assert_eq!((cast.key(0, id), cast.key(1, id)), (None, None));
            assert_eq!(cast.failure(0, id), Some(KeyError::Unconfirmed));
        }
        Oracle::acquit(&cast);
    }
}

/// A key lives shorter than the time that slow hubs have: its report comes with its end, and is not lost.
#[test]
fn a_report_comes_at_the_end_of_a_short_life() {
    let mut setup = Setup::new(3);
    setup.client_limits.settle = Duration::from_secs(250);
    let mut cast = cast(1, &setup);
    cast.world.kill(cast.hubs[2]);
    let id = cast.request(0, 1, short(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    assert_eq!(taken(&mut cast, 0, id), Ok(()));
    assert_eq!((cast.conducts(0, id), cast.conducts(1, id)), (None, None), "the third hub has its time");
    cast.settle(100);
    let conducts = Some(vec![Conduct::Good, Conduct::Good, Conduct::Silent]);
    assert_eq!((&cast.conducts(0, id), &cast.conducts(1, id)), (&conducts, &conducts));
    Oracle::acquit(&cast);
}

/// An initiator gives each hub another story: shares that fit no key, and then other content under the same key id. The
/// responder has no key or one, never a second under the id, and the next honest key is not disturbed.
#[test]
fn scenario_60_an_initiator_that_contradicts_itself() {
    let mut setup = Setup::new(5);
    setup.clients = 3;
    let mut cast = cast(60, &setup);
    cast.settle(1);
    let mut statuses = Vec::new();
    for hub in 0..5 {
        let mut liar = Liar::client(&mut cast, 2, hub);
        let mut share = Share::junk([6; 16], cast.tags[1]);
        share.lifetime = 20;
        share.share = vec![hub as u8; 112];
        liar.share(&mut cast, &share);
        pass(&mut cast, 100);
        share.secret_tag[0] ^= 1;
        liar.share(&mut cast, &share);
        pass(&mut cast, 100);
        statuses.extend(liar.hear(&cast).iter().filter(|inner| inner[0] == 6).map(|answer| answer[7]));
    }
    assert_eq!(statuses, [0, 3].repeat(5), "ACCEPTED, then KEY_ID_IN_USE, at every hub");
    cast.settle(60);
    let id = KeyId::new([6; 16]);
    assert_eq!(cast.key(1, id), None);
    assert_eq!(cast.failure(1, id), Some(KeyError::Undecodable));
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(20);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}

/// Keys that the responder never had, has of somebody else, has taken, or that expired: one clear error, and nothing is
/// written for it.
#[test]
fn scenario_62_a_key_that_is_unknown_taken_or_anothers() {
    let mut setup = Setup::new(3);
    setup.clients = 3;
    let mut cast = cast(62, &setup);
    let id = cast.request(0, 1, short(2));
    cast.settle(5);
    let stored = cast.world.disk(cast.clients[1]).attempts();
    assert_eq!(taken(&mut cast, 0, KeyId::new([1; 16])), Err(ClientError::NoSuchKey));
    assert_eq!(taken(&mut cast, 2, id), Err(ClientError::NoSuchKey));
    assert_eq!(cast.world.disk(cast.clients[1]).attempts(), stored);
    assert_eq!(taken(&mut cast, 0, id), Ok(()));
    assert_eq!(taken(&mut cast, 0, id), Err(ClientError::NoSuchKey));
    // One that came to nothing: its shares wait until the lifetime is over.
    cast.world.kill(cast.clients[1]);
    let lost = cast.request(0, 1, short(2));
    cast.settle(60);
    cast.world.restart(cast.clients[1]);
    cast.settle(30);
    assert_eq!(cast.failure(0, lost), Some(KeyError::Unconfirmed));
    assert_eq!(taken(&mut cast, 0, lost), Err(ClientError::NoSuchKey));
    Oracle::acquit(&cast);
}

/// The initiator has its key at the threshold, and the responder never hears of it: the key says that it is unconfirmed,
/// and a request that waits for the confirmation says that there was none.
#[test]
fn scenario_67_the_initiator_has_a_key_that_the_responder_lacks() {
    for release in [Release::AtThreshold, Release::AtConfirmation] {
        let mut cast = cast(67, &Setup::new(3));
        cast.settle(1);
        cast.world.kill(cast.clients[1]);
        let mut request = short(2);
        request.release = release;
        let id = cast.request(0, 1, request);
        cast.settle(60);
        let keys = cast.keys(0);
        match release {
            Release::AtThreshold => {
                assert!(keys.len() == 1 && !keys[0].confirmed && !keys[0].key.is_confirmed())
            }
            _ => assert!(keys.is_empty() && cast.failure(0, id) == Some(KeyError::Unconfirmed)),
        }
        Oracle::acquit(&cast);
    }
}

/// Four keys every minute, kept for ten: those not taken yet are given again after a restart, those taken never.
#[test]
fn scenario_70_a_rotation_of_four_keys_that_are_kept_for_ten_minutes() {
    let mut cast = cast(70, &Setup::new(3));
    cast.world.net_mut().set_default_link(Link::ideal().latency(20).loss(50));
    let mut batches: Vec<[KeyId; 4]> = Vec::new();
    for _ in 0..12 {
        batches.push([(); 4].map(|()| cast.request(0, 1, KeyRequest::new(2))));
        cast.settle(60);
        if batches.len() > 10 {
            for id in batches[batches.len() - 11] {
                cast.assert_agreed(0, 1, id);
                assert_eq!(taken(&mut cast, 0, id), Ok(()));
            }
        }
    }
    let given = cast.keys(1).len();
    assert_eq!(given, 48);
    cast.world.restart(cast.clients[1]);
    let again: Vec<KeyId> = cast.keys(1)[given..].iter().map(|given| given.key.id()).collect();
    assert_eq!(again.len(), 40);
    assert!(batches[2..].as_flattened().iter().all(|id| again.contains(id)));
    Oracle::acquit(&cast);
}

/// What the specification's table of bytes says, to the octet.
#[test]
fn scenario_72_a_key_costs_the_pads_that_the_specification_says() {
    for (key_len, of_each_hub) in [(16, 160), (32, 176), (64, 208), (4096, 4240)] {
        let mut cast = cast(72, &Setup::new(5));
        let mut request = KeyRequest::new(3);
        request.key_len = key_len;
        let id = cast.request(0, 1, request);
        cast.settle(10);
        cast.assert_agreed(0, 1, id);
        assert_eq!(cast.keys(0)[0].pad_octets, 5 * of_each_hub, "{key_len}");
    }
}

/// The embedder's clock says the last time that there is, once, by mistake. A machine may do nothing sensible then; it comes back.
#[test]
fn the_last_time_that_there_is_does_not_hang_a_machine() {
    let hung = |at_hub: bool| {
        let (done, came) = mpsc::channel();
        std::thread::spawn(move || {
            let mut cast = cast(4, &Setup::new(3));
            let id = cast.request(0, 1, KeyRequest::new(2));
            cast.settle(5);
            assert!(cast.key(1, id).is_some());
            let node = if at_hub { cast.hubs[0] } else { cast.clients[1] };
            // The hub asks client 1 for a lease, longer than what it has left.
            cast.world.kill(if at_hub { cast.clients[1] } else { cast.hubs[0] });
            let mut long = KeyRequest::new(2);
            long.key_len = 4096;
            let _ = cast.request(0, 1, long);
            cast.settle(1);
            let last = Instant::from_millis(u64::MAX);
            cast.world.call(node, |party, _, rng| match party {
                Either::Left(client) => client.handle_timeout(last, rng).unwrap(),
                Either::Right(hub) => {
                    let _ = Machine::handle_timeout(hub, last, rng);
                }
            });
            let _ = done.send(());
        });
        came.recv_timeout(Duration::from_secs(20)).is_err()
    };
    assert_eq!([hung(false), hung(true)], [false, false], "client, hub");
}

/// No bound of requests, or of keys that come in: the client speaks all the same.
#[test]
fn a_client_without_bounds_is_not_silent() {
    for requests in [true, false] {
        let mut setup = Setup::new(3);
        let limits = &mut setup.client_limits;
        *(if requests { &mut limits.requests } else { &mut limits.inbound }) = usize::MAX;
        let mut cast = cast(7, &setup);
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(20);
        cast.assert_agreed(0, 1, id);
    }
}
