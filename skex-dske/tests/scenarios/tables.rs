//! Several tables in a direction: one is used up, the next goes on, and nothing serves twice.

use core::time::Duration;

use skex_core::Assurance;
use skex_dske::{ClientError, HubEvent, KeyRequest, Origin, Release};
use skex_sim::{Dice, Either, Link, PowerLoss, Verdict, for_each_seed};

use crate::oracle::Oracle;
use crate::seeds;
use crate::world::{Cast, Setup, cast};
use skex_wire::dske::Direction;

/// Tables of so few elements that a lease and a few keys use them up.
fn small(hubs: usize) -> Setup {
    let mut setup = Setup::new(hubs);
    setup.table_elements = 100;
    setup
}

fn provision_all(cast: &mut Cast, number: u16, origin: Origin, elements: usize, live: bool) {
    for hub in 0..cast.hubs.len() {
        for client in 0..cast.clients.len() {
            for uplink in [true, false] {
                cast.provision((hub, client), (uplink, number), origin, elements, live);
            }
        }
    }
}

/// Asks for keys until the tables are used up: so many came.
fn use_up(cast: &mut Cast) -> usize {
    let mut made = 0;
    loop {
        match cast.try_request(0, 1, KeyRequest::new(2)) {
            Ok(id) => {
                cast.settle(20);
                if cast.key(0, id).is_none() {
                    return made;
                }
                cast.assert_agreed(0, 1, id);
                made += 1;
            }
            Err(error) => {
                assert_eq!(error, ClientError::Exhausted);
                return made;
            }
        }
        assert!(made < 100, "the tables are endless");
    }
}

/// Scenarios 39 and 41: exhausted to the end, refused at once, and going on by tables that come while everything runs.
#[test]
fn scenario_39_a_used_up_table_gives_way_to_one_that_comes_later() {
    let mut cast = cast(1, &small(3));
    let first = use_up(&mut cast);
    assert!(first > 2, "{first}");
    provision_all(&mut cast, 1, Origin::OutOfBand, 100, true);
    let second = use_up(&mut cast);
    assert!(second + 2 > first, "{second} after {first}");
    provision_all(&mut cast, 2, Origin::OutOfBand, 200, true);
    assert!(use_up(&mut cast) > first);
    let counts = Oracle::acquit(&cast);
    assert!(counts.keys as usize >= 2 * (2 * first));
}

/// Nothing is left of the downlinks of client 1, which makes keys of its own all the time and so asks for what waits once a minute. A
/// share waits for it, tables come at the client and then at the hubs, and nobody sends it another: it comes all the same, and soon.
/// Carried by `Hub::add_table`.
#[test]
fn a_table_that_comes_later_serves_what_waits_for_a_busy_client() {
    let mut cast = cast(19, &Setup { clients: 3, ..Setup::new(2) });
    for hub in 0..2 {
        cast.hub_downlinks[hub][1].set_octets(&[]);
        cast.client_tables[1][hub].1.set_octets(&[]);
    }
    let pass = |cast: &mut Cast, seconds: u64| {
        for _ in 0..seconds / 5 {
            let id = cast.request(1, 2, KeyRequest::new(2));
            cast.settle(5);
            cast.assert_agreed(1, 2, id);
        }
    };
    cast.settle(2);
    pass(&mut cast, 20);
    let id = cast.request(0, 1, KeyRequest::new(2));
    pass(&mut cast, 5);
    for hub in 0..2 {
        cast.provision((hub, 1), (false, 1), Origin::OutOfBand, 4096, true);
    }
    assert_eq!(cast.key(1, id), None);
    pass(&mut cast, 10);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}

/// Tables that were there from the start are used in the order of their numbers, one after the other.
#[test]
fn several_tables_serve_in_their_order() {
    let mut cast = cast(2, &small(3));
    for number in [3, 1, 2] {
        provision_all(&mut cast, number, Origin::OutOfBand, 100, true);
    }
    let made = use_up(&mut cast);
    assert!(made > 12, "{made}");
    Oracle::acquit(&cast);
}

/// A key that fits no rest of the first table takes the second; short keys still use the first.
#[test]
fn a_long_key_takes_the_next_table() {
    let mut cast = cast(3, &small(3));
    provision_all(&mut cast, 1, Origin::OutOfBand, 4096, true);
    let mut long = KeyRequest::new(2);
    long.key_len = 4096;
    for request in [long, KeyRequest::new(2), long, KeyRequest::new(2)] {
        let id = cast.request(0, 1, request);
        cast.settle(20);
        cast.assert_agreed(0, 1, id);
    }
    Oracle::acquit(&cast);
}

/// Keys of a refilled table say computational, from whichever end it is seen; those before it do not.
#[test]
fn a_refilled_table_is_seen_in_every_key_that_it_served() {
    let mut cast = cast(4, &small(3));
    provision_all(&mut cast, 1, Origin::Refill, 4096, true);
    let mut kinds = Vec::new();
    for _ in 0..12 {
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(20);
        cast.assert_agreed(0, 1, id);
        let claims: Vec<Assurance> = (0..2)
            .flat_map(|client| {
                let keys = cast.keys(client);
                keys.iter()
                    .filter(|made| made.key.id() == id)
                    .map(|made| made.key.assurance())
                    .collect::<Vec<_>>()
            })
            .collect();
        assert!(claims.iter().all(|claim| *claim == claims[0]), "{claims:?}");
        // What really carried it.
        kinds.push(claims[0]);
    }
    let turn = kinds.iter().position(|kind| *kind == Assurance::Computational).expect("the first tables end");
    assert!(turn > 2, "{kinds:?}");
    assert!(kinds[turn..].iter().all(|kind| *kind == Assurance::Computational), "{kinds:?}");
    Oracle::acquit(&cast);
}

/// A table that only one end has yet costs nothing: the other denies it, and keys go on by those that both have.
#[test]
fn scenario_48_a_table_at_one_end_only_does_no_harm() {
    let mut cast = cast(5, &small(3));
    for hub in 0..3 {
        for client in 0..2 {
            for uplink in [true, false] {
                // Noted for the next start of both, and given to nobody yet.
                cast.provision((hub, client), (uplink, 1), Origin::OutOfBand, 4096, false);
            }
        }
    }
    // The hubs start anew and have it; the clients do not.
    for &hub in &cast.hubs.clone() {
        cast.world.crash(hub, PowerLoss::Lands);
        cast.world.restart(hub);
    }
    let made = use_up(&mut cast);
    assert!(made > 2, "{made}");
    for &client in &cast.clients.clone() {
        cast.world.crash(client, PowerLoss::Lands);
        cast.world.restart(client);
    }
    cast.settle(20);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(20);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}

/// Scenario 43 over the change of tables: crashes at random moments, lost and reordered messages.
#[test]
fn crashes_around_the_change_of_tables_spend_nothing_twice() {
    let mut changed = 0;
    for_each_seed(0..seeds(30), |seed| {
        let mut dice = Dice::new(seed ^ 0x7461_626c);
        let mut cast = cast(seed, &small(3));
        cast.world.net_mut().set_default_link(Link::ideal().latency(20).jitter(60));
        provision_all(&mut cast, 1, Origin::OutOfBand, 200, true);
        provision_all(&mut cast, 2, Origin::Refill, 4096, true);
        for _ in 0..14 {
            let mut request = KeyRequest::new(2);
            request.lifetime = 60;
            request.release = Release::AtThreshold;
            let from = dice.index(2);
            let _ = cast.try_request_if_up(from, 1 - from, request);
            cast.world.run_for(Duration::from_millis(dice.below(1500)), 1_000_000);
            let nodes = [cast.clients.clone(), cast.hubs.clone()].concat();
            let node = nodes[dice.index(nodes.len())];
            if dice.below(2) == 0 {
                cast.world.crash(node, PowerLoss::Any);
                cast.world.restart(node);
            }
        }
        cast.settle(120);
        Oracle::acquit(&cast);
        changed += usize::from(Oracle::tables_used(&cast) > 1);
    });
    assert!(changed > 10, "{changed}");
}

/// B said "out of band" of a hub whose share had not come. What the hub sends then must not come by a refilled table, or a
/// recording and a broken cipher would be worth one share more than the key's assurance says. The hub heard of the key later than B, and so keeps the share for
/// longer than B's lifetime of it.
#[test]
fn a_share_that_was_claimed_out_of_band_does_not_come_by_a_refilled_table() {
    for starts in [false, true] {
        let mut setup = small(3);
        setup.client_limits.settle = Duration::from_secs(250);
        let mut cast = cast(6, &setup);
        // Hub 2 hears nothing of the key while B accepts it by the two others.
        cast.world.kill(cast.hubs[2]);
        let mut request = KeyRequest::new(2);
        request.lifetime = 300;
        request.release = Release::AtThreshold;
        let id = cast.request(0, 1, request);
        cast.settle(5);
        let claimed = cast.keys(1).iter().find(|made| made.key.id() == id).unwrap().key.assurance();
        assert_eq!(claimed, Assurance::InformationTheoretic);
        // Its downlink to B comes to have nothing but a refilled table.
        cast.hub_downlinks[2][1].set_octets(&[]);
        cast.provision((2, 1), (false, 1), Origin::Refill, 4096, true);
        cast.settle(60);
        cast.world.restart(cast.hubs[2]);
        cast.settle(100);
        assert_eq!(Oracle::uploaded(&cast, 0, id, 2), 1, "the hub has it");
        assert_eq!(Oracle::delivered(&cast, 0, id, 2), 0);
        if starts {
            // Which forgets whose share is missing.
            cast.world.kill(cast.clients[1]);
            cast.world.restart(cast.clients[1]);
        }
        cast.settle(650);
        assert_eq!(Oracle::delivered(&cast, 0, id, 2), 0, "the hub has forgotten it");
        // Another key may use it, once nothing of the kind is awaited any more.
        let mut later = KeyRequest::new(3);
        later.lifetime = 60;
        let later = cast.request(0, 1, later);
        cast.settle(30);
        cast.assert_agreed(0, 1, later);
        let made = cast.keys(1);
        let made = made.iter().find(|made| made.key.id() == later).unwrap();
        assert_eq!(made.key.assurance(), Assurance::Computational);
        Oracle::acquit(&cast);
    }
}

/// Hub 0's downlink to the responder: nothing is left of the first table, then come a refilled one with room for one share and a
/// large one out of band.
fn with_a_small_refill(seed: u64, hubs: usize) -> Cast {
    let mut cast = cast(seed, &Setup::new(hubs));
    cast.hub_downlinks[0][1].set_octets(&[]);
    cast.client_tables[1][0].1.set_octets(&[]);
    cast.provision((0, 1), (false, 1), Origin::Refill, 20, true);
    cast.provision((0, 1), (false, 2), Origin::OutOfBand, 4096, true);
    cast.settle(2);
    cast
}

fn assert_computational(cast: &Cast, id: skex_core::KeyId) {
    for client in 0..2 {
        let made = cast.keys(client);
        let made = made.iter().find(|made| made.key.id() == id).unwrap();
        assert_eq!(made.key.assurance(), Assurance::Computational, "client {client}");
    }
}

/// A share comes by a refilled table, which is used up by it and goes with the session. It does not come by one out of band
/// after that, and the key says what it is worth.
#[test]
fn a_share_that_came_by_a_refilled_table_does_not_come_by_a_better_one() {
    let mut cast = with_a_small_refill(8, 3);
    for hub in [1, 2] {
        cast.world.net_mut().cut(cast.clients[1], cast.hubs[hub]);
    }
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    assert_eq!(Oracle::delivered(&cast, 0, id, 0), 1);
    cast.world.kill(cast.hubs[0]);
    cast.world.restart(cast.hubs[0]);
    cast.settle(60);
    assert_eq!(Oracle::delivered(&cast, 0, id, 0), 1);
    cast.world.net_mut().heal();
    cast.settle(60);
    cast.assert_agreed(0, 1, id);
    assert_computational(&cast, id);
    Oracle::acquit(&cast);
}

/// The delivery by the refilled table is lost: whoever recorded it has the share, once the cipher is broken. So the share does not
/// come out of band later, and count as if that were all; with two hubs, there is no key at all. What the hub gets next comes out
/// of band. Carried by `Relay::origin` in the hub.
#[test]
fn a_share_that_was_lost_by_a_refilled_table_does_not_come_by_a_better_one() {
    let mut cast = with_a_small_refill(9, 2);
    let hears = cast.world.net().address(cast.clients[1]);
    let hub = cast.hubs[0];
    cast.world.net_mut().intercept(move |sent| {
        let is_delivery = sent.node == Some(hub) && sent.to == hears && sent.bytes.len() > 200;
        if is_delivery { Verdict::Drop } else { Verdict::Pass }
    });
    let mut request = KeyRequest::new(2);
    request.lifetime = 100;
    let id = cast.request(0, 1, request);
    cast.settle(5);
    assert_eq!(Oracle::delivered(&cast, 0, id, 0), 1);
    cast.world.net_mut().stop_intercepting();
    for _ in 0..2 {
        cast.world.kill(hub);
        cast.world.restart(hub);
        cast.settle(20);
    }
    cast.settle(300);
    assert_eq!(Oracle::delivered(&cast, 0, id, 0), 1);
    assert_eq!(cast.key(1, id), None);
    let later = cast.request(0, 1, request);
    cast.settle(20);
    cast.assert_agreed(0, 1, later);
    let made = cast.keys(1).pop().unwrap().key.assurance();
    assert_eq!(made, Assurance::InformationTheoretic, "all of it came out of band");
    Oracle::acquit(&cast);
}

/// The same, and the key is made of the shares of two other hubs: what was lost counts in it as well. So it does after a start of
/// the responder, and when the refilled table is gone. Carried by `Link::refilled`, and by what is durable of it.
#[test]
fn a_share_that_was_lost_by_a_refilled_table_counts_though_it_never_came() {
    let mut cast = with_a_small_refill(10, 3);
    let hears = cast.world.net().address(cast.clients[1]);
    let (hub, responder) = (cast.hubs[0], cast.clients[1]);
    cast.world.net_mut().intercept(move |sent| {
        if sent.to == hears && sent.bytes.len() > 200 { Verdict::Drop } else { Verdict::Pass }
    });
    let mut request = KeyRequest::new(2);
    request.lifetime = 300;
    let id = cast.request(0, 1, request);
    cast.settle(5);
    for node in [hub, responder, hub, responder] {
        cast.world.kill(node);
        cast.world.restart(node);
        cast.settle(10);
    }
    cast.world.kill(hub);
    cast.world.net_mut().stop_intercepting();
    cast.settle(30);
    cast.assert_agreed(0, 1, id);
    assert_computational(&cast, id);
    Oracle::acquit(&cast);
}

/// The same, and the table that was dropped last was out of band; the configuration gives it still. That a lease of the refilled one was granted counts after
/// any number of starts, and any time. Carried by what `Link::with_tables` reads of a table that was dropped.
#[test]
fn that_a_table_was_refilled_is_known_when_a_better_one_was_dropped_after_it() {
    let mut cast = with_a_small_refill(13, 3);
    let (hub, responder) = (cast.hubs[0], cast.clients[1]);
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    assert_computational(&cast, id);
    cast.provision((0, 1), (false, 3), Origin::OutOfBand, 4096, true);
    cast.retire_at_client(1, 0, Direction::DOWNLINK, 2).unwrap();
    cast.retire_at_hub(0, 1, Direction::DOWNLINK, 2).unwrap();
    for node in [hub, responder, hub, responder] {
        cast.world.kill(node);
        cast.world.restart(node);
        cast.settle(10);
        let id = cast.request(0, 1, KeyRequest::new(3));
        cast.settle(5);
        cast.assert_agreed(0, 1, id);
    }
    let id = cast.hub_ids[0];
    let left = cast.world.call(responder, |party, _, _| party.left().unwrap().tables(id)).unwrap();
    let downlink = left.iter().filter(|table| table.direction == Direction::DOWNLINK);
    assert_eq!(downlink.map(|table| table.number).collect::<Vec<_>>(), [3]);
    (0..2).for_each(|_| cast.settle(66_000));
    cast.world.kill(hub);
    let later = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, later);
    assert_computational(&cast, later);
    Oracle::acquit(&cast);
}

/// The responder has a share out of band, said so, and its answer is lost: the hub does not send the share once more by a refilled
/// table, for what was said of it would be true no longer. Carried by `Relay::origin` in the hub.
#[test]
fn a_share_that_came_out_of_band_is_not_repeated_by_a_refilled_table() {
    let mut cast = cast(11, &small(2));
    cast.settle(2);
    let (hub, responder) = (cast.hubs[0], cast.clients[1]);
    let hears = cast.world.net().address(hub);
    cast.world.net_mut().intercept(move |sent| {
        if sent.node == Some(responder) && sent.to == hears && sent.bytes.len() == 42 + 25 {
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    assert_eq!(cast.keys(1)[0].key.assurance(), Assurance::InformationTheoretic);
    cast.world.net_mut().stop_intercepting();
    cast.world.kill(hub);
    cast.hub_downlinks[0][1].set_octets(&[]);
    cast.client_tables[1][0].1.set_octets(&[]);
    cast.provision((0, 1), (false, 1), Origin::Refill, 4096, true);
    cast.world.restart(hub);
    cast.settle(60);
    assert_eq!(Oracle::delivered(&cast, 0, id, 0), 1);
    let later = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(20);
    cast.assert_agreed(0, 1, later);
    assert_computational(&cast, later);
    Oracle::acquit(&cast);
}

/// The same at A's end: the context claims the origin of the table at each hub, and a share never goes by a worse one.
#[test]
fn an_upload_that_was_claimed_out_of_band_does_not_go_by_a_refilled_table() {
    let mut setup = small(3);
    setup.client_limits.settle = Duration::from_secs(250);
    let mut cast = cast(7, &setup);
    cast.world.kill(cast.hubs[2]);
    let mut request = KeyRequest::new(2);
    request.lifetime = 300;
    let id = cast.request(0, 1, request);
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    let claimed = cast.keys(0).iter().find(|made| made.key.id() == id).unwrap().key.assurance();
    assert_eq!(claimed, Assurance::InformationTheoretic);
    // Nothing is left of the uplink to hub 2 but a refilled table.
    cast.hub_uplinks[2][0].set_octets(&[]);
    cast.client_tables[0][2].0.set_octets(&[]);
    cast.provision((2, 0), (true, 1), Origin::Refill, 4096, true);
    cast.world.restart(cast.hubs[2]);
    cast.settle(100);
    assert_eq!(Oracle::uploaded(&cast, 0, id, 2), 0);
    let later = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(30);
    cast.assert_agreed(0, 1, later);
    assert_eq!(Oracle::uploaded(&cast, 0, later, 2), 1);
    Oracle::acquit(&cast);
}

/// More is left than the low-water mark, and less than one key needs: the request fails at once, spends nothing, and shorter
/// keys still come.
#[test]
fn scenario_40_less_than_one_request_is_left() {
    let mut cast = cast(40, &small(3));
    let first = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, first);
    let mut long = KeyRequest::new(2);
    long.key_len = 16 * 80;
    let before: Vec<Vec<u8>> = cast.client_tables[0].iter().map(|(up, _)| up.octets()).collect();
    assert_eq!(cast.try_request(0, 1, long), Err(ClientError::Exhausted));
    cast.settle(5);
    let after: Vec<Vec<u8>> = cast.client_tables[0].iter().map(|(up, _)| up.octets()).collect();
    assert!(before == after);
    assert!(use_up(&mut cast) > 1);
    // What comes out of band serves the long key.
    provision_all(&mut cast, 1, Origin::OutOfBand, 1000, true);
    let id = cast.request(0, 1, long);
    cast.settle(20);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}

/// Nothing is left of the tables that one client sends from: it still says hello, fetches, answers, confirms and is
/// confirmed to; and the hubs tell that there is little.
#[test]
fn scenario_42_control_goes_on_when_a_table_is_used_up() {
    let mut cast = cast(42, &small(3));
    assert!(use_up(&mut cast) > 2);
    let initiator = cast.tags[0];
    let told = cast.world.events().iter().filter(|happened| match &happened.event {
        Either::Right(HubEvent::TableLow { client, uplink: true, .. }) => *client == initiator,
        _ => false,
    });
    assert_eq!(told.count(), 3, "each hub tells its operator, once");
    for node in [cast.clients[0], cast.hubs[1]] {
        cast.world.crash(node, PowerLoss::Lands);
        cast.world.restart(node);
    }
    cast.settle(20);
    assert_eq!(cast.try_request(0, 1, KeyRequest::new(2)), Err(ClientError::Exhausted));
    for _ in 0..2 {
        let id = cast.request(1, 0, KeyRequest::new(2));
        cast.settle(20);
        cast.assert_agreed(1, 0, id);
    }
    Oracle::acquit(&cast);
}

/// Both ends of every link send at the same moment, again and again: each from a table of its own.
#[test]
fn scenario_46_both_ends_send_at_once() {
    let mut cast = cast(46, &Setup::new(3));
    cast.world.net_mut().set_default_link(Link::ideal().latency(50));
    for _ in 0..10 {
        let ids = [(0, 1), (1, 0)].map(|(from, to)| (from, to, cast.request(from, to, KeyRequest::new(2))));
        cast.settle(2);
        for (from, to, id) in ids {
            cast.assert_agreed(from, to, id);
        }
    }
    let spent = Oracle::spent(&cast);
    for hub in 0..3 {
        for client in 0..2 {
            for uplink in [true, false] {
                let of_table = spent.iter().filter(|&&(c, h, up, _)| (c, h, up) == (client, hub, uplink));
                // Heads of three leases, and ten blocks but for answer keys that nothing left for.
                assert!((90..=120).contains(&of_table.count()));
            }
        }
    }
    Oracle::acquit(&cast);
}

/// A table that was used up, and taken away at both ends, comes back from a backup: it is not taken again, whatever the configuration
/// says. Carried by the highest number that was dropped, which is durable (`Link::gone`).
#[test]
fn a_used_up_table_that_comes_back_from_a_backup_is_not_taken() {
    let mut setup = small(2);
    // Two leases, and not room for another.
    setup.table_elements = 94;
    let mut cast = cast(12, &setup);
    provision_all(&mut cast, 1, Origin::OutOfBand, 1000, true);
    let originals: Vec<Vec<u8>> = (0..2).map(|hub| cast.enrolments[hub][0].uplink.clone()).collect();
    for _ in 0..12 {
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(10);
        cast.assert_agreed(0, 1, id);
    }
    for round in 0..3 {
        for (hub, original) in originals.iter().enumerate().filter(|_| round > 0) {
            cast.client_tables[0][hub].0.set_octets(original);
        }
        cast.world.kill(cast.clients[0]);
        cast.world.restart(cast.clients[0]);
        cast.settle(10);
        let hubs = cast.hub_ids.clone();
        let tables = cast.command(0, |client, _, _| hubs.map_to_tables(client));
        assert_eq!(tables.unwrap(), [vec![1], vec![1]], "round {round}");
        // A lease makes durable what went.
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(10);
        cast.assert_agreed(0, 1, id);
    }
    Oracle::acquit(&cast);
}

trait Tables {
    fn map_to_tables(&self, client: &skex_dske::Client<crate::world::SharedPad>) -> Vec<Vec<u16>>;
}

impl Tables for Vec<skex_dske::HubId> {
    /// The numbers of the tables towards each hub.
    fn map_to_tables(&self, client: &skex_dske::Client<crate::world::SharedPad>) -> Vec<Vec<u16>> {
        let uplinks = |hub: &skex_dske::HubId| {
            let tables = client.tables(*hub).into_iter();
            tables.filter(|table| table.direction == Direction::UPLINK).map(|table| table.number).collect()
        };
        self.iter().map(uplinks).collect()
    }
}

/// A copy of a table is stolen before it was used. Both operators take it out of service, one after the other and while keys are
/// made: it is erased at both ends, nothing of it is ever used, and the link goes on with the others.
#[test]
fn scenario_50_a_stolen_table_is_taken_out_of_service() {
    for hub_first in [true, false] {
        let mut cast = cast(50, &small(3));
        provision_all(&mut cast, 1, Origin::OutOfBand, 500, true);
        provision_all(&mut cast, 2, Origin::OutOfBand, 1000, true);
        let first = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(5);
        cast.assert_agreed(0, 1, first);
        let hub_id = cast.hub_ids[0];
        let at_hub = |cast: &mut Cast| {
            let retired = cast.world.call(cast.hubs[0], |party, _, _| {
                let hub = party.right().unwrap();
                hub.retire_table(skex_dske::ClientId::new(0), Direction::UPLINK, 1)
            });
            assert_eq!(retired, Some(Ok(())));
        };
        let at_client = |cast: &mut Cast| {
            let retired = cast
                .command(0, |client, now, rng| client.retire_table(now, rng, hub_id, Direction::UPLINK, 1));
            assert_eq!(retired, Some(Ok(())));
        };
        let retire = |cast: &mut Cast, hub: bool| if hub { at_hub(cast) } else { at_client(cast) };
        retire(&mut cast, hub_first);
        for _ in 0..5 {
            let id = cast.request(0, 1, KeyRequest::new(3));
            cast.settle(30);
            cast.assert_agreed(0, 1, id);
        }
        retire(&mut cast, !hub_first);
        cast.settle(5);
        for node in [cast.hubs[0], cast.clients[0]] {
            cast.world.crash(node, PowerLoss::Loses);
            cast.world.restart(node);
            cast.settle(5);
        }
        for _ in 0..20 {
            let id = cast.request(0, 1, KeyRequest::new(3));
            cast.settle(30);
            cast.assert_agreed(0, 1, id);
        }
        {
            let further = cast.further.borrow();
            let stolen = |table: &&crate::world::Further| {
                (table.hub, table.client, table.uplink, table.number) == (0, 0, true, 1)
            };
            let stolen = further.iter().find(stolen).unwrap();
            for pad in [&stolen.at_client, &stolen.at_hub] {
                assert!(pad.octets().iter().all(|octet| *octet == 0));
            }
        }
        assert!(!Oracle::used(&cast, ((0, 0), true, 1)), "nothing of it was ever used");
        assert!(Oracle::used(&cast, ((0, 0), true, 2)) && Oracle::used(&cast, ((0, 1), true, 1)));
        let again =
            cast.command(0, |client, now, rng| client.retire_table(now, rng, hub_id, Direction::UPLINK, 1));
        assert_eq!(again, Some(Err(skex_dske::TableError::Absent(1))));
        Oracle::acquit(&cast);
    }
}
