//! Tables that travel over the network: whole, once, durable before they are used, and labelled for good.

use core::time::Duration;

use skex_core::Assurance;
use skex_dske::{ClientError, ClientId, HubEvent, KeyRequest, Origin, Release, Table, TableError};
use skex_sim::{Dice, Either, Link, PowerLoss, Receipts, for_each_seed};
use skex_wire::dske::Direction;

use crate::oracle::Oracle;
use crate::seeds;
use crate::world::{Cast, Lie, Setup, cast};

fn small(hubs: usize) -> Setup {
    let mut setup = Setup::new(hubs);
    setup.table_elements = 100;
    setup
}

fn refill_all(cast: &mut Cast, number: u16, elements: usize) {
    for hub in 0..cast.hubs.len() {
        for client in 0..cast.clients.len() {
            for uplink in [true, false] {
                cast.refill((hub, client), (uplink, number), elements);
            }
        }
    }
}

/// Runs for so many seconds, and stores what comes as it comes.
fn run(cast: &mut Cast, seconds: u64) {
    for _ in 0..seconds * 4 {
        let from = cast.world.events().len();
        cast.world.run_for(Duration::from_millis(250), 1_000_000);
        cast.store_refills(from);
    }
    assert!(cast.world.failures().is_empty(), "{:?}", cast.world.failures());
}

fn refilled(cast: &Cast) -> usize {
    let events = cast.world.events().iter();
    events.filter(|happened| matches!(happened.event, Either::Right(HubEvent::Refilled { .. }))).count()
}

/// Scenarios 40 and 42: at exhaustion a refill still goes through, for it costs no pad; keys go on, and say what they are.
#[test]
fn scenario_42_a_used_up_link_is_refilled_and_its_keys_say_so() {
    let mut cast = cast(1, &small(3));
    loop {
        match cast.try_request(0, 1, KeyRequest::new(2)) {
            Ok(_) => run(&mut cast, 10),
            Err(error) => break assert_eq!(error, ClientError::Exhausted),
        }
    }
    let before = cast.keys(0).len();
    assert!(before > 2);
    assert!(cast.keys(0).iter().all(|made| made.key.assurance() == Assurance::InformationTheoretic));
    refill_all(&mut cast, 1, 1500);
    run(&mut cast, 20);
    assert_eq!(refilled(&cast), 3 * 2 * 2);
    for _ in 0..3 {
        let id = cast.request(0, 1, KeyRequest::new(2));
        run(&mut cast, 10);
        cast.assert_agreed(0, 1, id);
    }
    let made = cast.keys(0);
    assert_eq!(made.len(), before + 3);
    assert!(made[before..].iter().all(|made| made.key.assurance() == Assurance::Computational));
    Oracle::acquit(&cast);
}

/// Nothing is used before the client has it durably: where nobody stores it, the hub goes on waiting.
#[test]
fn a_table_that_is_not_stored_is_not_used() {
    let mut cast = cast(2, &small(2));
    refill_all(&mut cast, 1, 200);
    cast.settle(60);
    assert_eq!(refilled(&cast), 0);
    assert!(cast.store_refills(0) > 0);
    cast.settle(20);
    assert!(refilled(&cast) > 0);
    cast.store_refills(0);
    run(&mut cast, 60);
    assert_eq!(refilled(&cast), 2 * 2 * 2, "one after the other");
    Oracle::acquit(&cast);
}

/// The storage of a table that is on its way fails for a while, when the first window of it is sent. It comes whole all the same, in the same session.
#[test]
fn a_table_whose_storage_fails_for_a_while_comes_afterwards() {
    let mut cast = cast(5, &small(2));
    cast.settle(2);
    cast.refill((0, 0), (true, 1), 3000);
    let at_hub = cast.further.borrow()[0].at_hub.clone();
    at_hub.set_lie(Lie::Broken);
    cast.settle(2);
    at_hub.set_lie(Lie::None);
    run(&mut cast, 20);
    assert_eq!(refilled(&cast), 1);
    Oracle::acquit(&cast);
}

/// The hub loses power at every point while a table is added: it says once, and after that is durable, that the client has it.
/// Carried by what `HubEvent::Refilled` waits for.
#[test]
fn a_hub_says_that_a_table_was_added_once_that_is_durable() {
    let build = || {
        let mut cast = cast(6, &small(2));
        cast.settle(2);
        cast.refill((0, 0), (true, 1), 100);
        cast.settle(1);
        assert_eq!(refilled(&cast), 0, "it came, and is not stored yet");
        cast
    };
    let said_by = |cast: &mut Cast, point: Option<u64>| {
        let hub = cast.hubs[0];
        // A store that takes its time: what is told too early is told between the write and its receipt.
        cast.world.set_receipts(hub, Receipts::After(Duration::from_millis(30)));
        let first = cast.world.points(hub);
        cast.world.restart_after(Duration::from_millis(400));
        if let Some(point) = point {
            cast.world.crash_at(hub, first + point, PowerLoss::Loses);
        }
        assert_eq!(cast.store_refills(0), 1);
        run(cast, 20);
        cast.world.points(hub) - first
    };
    let mut honest = build();
    let points = said_by(&mut honest, None);
    assert_eq!(refilled(&honest), 1);
    let mut crashes = 0;
    for point in 0..points {
        let mut cast = build();
        said_by(&mut cast, Some(point));
        // A crash after it was durable and before it was said leaves it unsaid.
        assert!(refilled(&cast) <= 1, "point {point}: said, and taken back");
        crashes += 1;
    }
    assert!(crashes > 2);
}

/// Scenarios 43 and 48: lost, repeated and reordered parts, starts of both ends at any time, a start of the client between the
/// whole table and its storage. Every table arrives once, as it was, and no byte of it serves twice.
#[test]
fn scenario_48_a_refill_survives_loss_and_starts_of_both_ends() {
    let mut done = 0;
    for_each_seed(0..seeds(25), |seed| {
        let mut dice = Dice::new(seed ^ 0x7265_6669);
        let mut cast = cast(seed, &small(2));
        cast.world.net_mut().set_default_link(Link::ideal().latency(20).jitter(100).loss(100).duplicate(100));
        refill_all(&mut cast, 1, 2000);
        let mut stored = 0;
        for _ in 0..40 {
            cast.world.run_for(Duration::from_millis(dice.below(800)), 1_000_000);
            if dice.below(8) == 0 {
                let nodes = [cast.clients.clone(), cast.hubs.clone()].concat();
                let node = nodes[dice.index(nodes.len())];
                cast.world.crash(node, PowerLoss::Any);
                // What was told to the application of a process that is gone is lost with it, now and then.
                if dice.below(2) == 0 {
                    stored = cast.world.events().len();
                }
                cast.world.restart(node);
            }
            let from = core::mem::replace(&mut stored, cast.world.events().len());
            cast.store_refills(from);
            let mut request = KeyRequest::new(2);
            (request.lifetime, request.release) = (30, Release::AtThreshold);
            let _ = cast.try_request_if_up(0, 1, request);
        }
        cast.world.net_mut().set_default_link(Link::ideal());
        run(&mut cast, 120);
        Oracle::acquit(&cast);
        done += usize::from(refilled(&cast) >= 8);
    });
    assert!(done * 5 >= seeds(25) as usize * 4, "{done}");
}

#[test]
fn what_is_no_refill_is_not_sent_or_taken_as_one() {
    let mut cast = cast(3, &small(2));
    cast.provision((0, 0), (true, 1), Origin::OutOfBand, 100, true);
    let pad = cast.further.borrow()[0].at_hub.clone();
    let ids = cast.hub_ids.clone();
    cast.world.call(cast.hubs[0], |party, now, _| {
        let hub = party.right().unwrap();
        let client = ClientId::new(0);
        let mut send = |number, origin, client| {
            hub.refill(now, client, Direction::UPLINK, Table::new(number, origin, pad.clone()))
        };
        assert_eq!(send(2, Origin::OutOfBand, client), Err(TableError::Origin));
        assert_eq!(send(1, Origin::Refill, client), Err(TableError::Number(1)));
        assert_eq!(send(0, Origin::Refill, client), Err(TableError::Number(0)));
        assert_eq!(send(2, Origin::Refill, ClientId::new(9)), Err(TableError::UnknownLink));
        assert_eq!(send(2, Origin::Refill, client), Ok(()));
        assert_eq!(send(2, Origin::Refill, client), Err(TableError::Number(2)));
    });
    cast.settle(10);
    // It came over the network, whatever the embedder says.
    let pad = cast.further.borrow()[0].at_client.clone();
    let mislabelled = Table::new(2, Origin::OutOfBand, pad);
    cast.world.call(cast.clients[0], |party, _, _| {
        let client = party.left().unwrap();
        assert_eq!(client.add_table(ids[0], Direction::UPLINK, mislabelled), Err(TableError::Origin));
    });
}

/// A table that is longer than the client takes is left alone, and costs neither memory nor sense.
#[test]
fn a_refill_beyond_the_limit_is_not_gathered() {
    let mut setup = small(2);
    setup.client_limits.longest_refill = 100;
    let mut cast = cast(4, &setup);
    cast.refill((0, 0), (true, 1), 101);
    run(&mut cast, 30);
    assert_eq!((refilled(&cast), cast.store_refills(0)), (0, 0));
    let id = cast.request(0, 1, KeyRequest::new(2));
    run(&mut cast, 10);
    cast.assert_agreed(0, 1, id);
}

/// Scenario 64: what was on its way to a client that is revoked goes with the rest, and the hub stops sending.
#[test]
fn a_refill_ends_with_the_revocation_of_its_client() {
    let mut cast = cast(5, &small(2));
    cast.refill((0, 0), (true, 1), 3000);
    cast.settle(2);
    cast.world.call(cast.hubs[0], |party, now, _| {
        party.right().unwrap().revoke(now, ClientId::new(0)).unwrap();
    });
    cast.settle(30);
    assert!(cast.further.borrow()[0].at_hub.octets().iter().all(|octet| *octet == 0));
    assert_eq!(refilled(&cast), 0);
}

/// A refill waits for a client that is away, under a number lower than that of tables that come out of band meanwhile; one of these is taken out of
/// service at both ends. What waits behind the refill is not held up for good.
#[test]
fn a_refill_whose_number_was_passed_holds_up_no_other() {
    let mut cast = cast(5, &Setup::new(3));
    cast.settle(1);
    cast.world.kill(cast.clients[1]);
    cast.refill((0, 1), (false, 1), 200);
    cast.refill((0, 1), (false, 4), 200);
    for number in [2, 3] {
        cast.provision((0, 1), (false, number), Origin::OutOfBand, 200, false);
        let table = cast.further.borrow().last().unwrap().at_hub.clone();
        cast.world.call(cast.hubs[0], |party, _, _| {
            let table = Table::new(number, Origin::OutOfBand, table);
            let client = ClientId::new(1);
            party.right().unwrap().add_table(client, Direction::DOWNLINK, table).unwrap();
        });
    }
    cast.settle(1);
    let (client, hub, id) = (cast.clients[1], cast.hubs[0], cast.hub_ids[0]);
    let down = Direction::DOWNLINK;
    cast.world.call(hub, |party, _, _| {
        party.right().unwrap().retire_table(ClientId::new(1), down, 2).unwrap();
    });
    cast.settle(1);
    cast.world.restart(client);
    cast.world.call(client, |party, now, rng| {
        party.left().unwrap().retire_table(now, rng, id, down, 2).unwrap();
    });
    for _ in 0..120 {
        cast.settle(1);
        let _ = cast.store_refills(0);
    }
    let told = cast.world.events().iter().filter_map(|happened| match &happened.event {
        Either::Right(HubEvent::Refilled { number, .. }) => Some((*number, true)),
        Either::Right(HubEvent::TableRetired { number, erased: true, .. }) => Some((*number, false)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(2, false), (1, false), (4, true)]);
}
