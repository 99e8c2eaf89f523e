//! Tables and links that are taken out of service: erased once that is durable and not before, and back by no way.

use skex_core::{Assurance, SecretBytes};
use skex_dske::{ClientEvent, ClientId, HubEvent, KeyRequest, Origin, TableError};
use skex_sim::{Either, PowerLoss, Receipts};
use skex_wire::dske::Direction;

use crate::oracle::Oracle;
use crate::sharded::WHOLE;
use crate::world::{Cast, Setup, SharedPad, cast};

const WAYS: [Direction; 2] = [Direction::UPLINK, Direction::DOWNLINK];

impl Cast {
    pub fn retire_at_client(
        &mut self,
        client: usize,
        hub: usize,
        direction: Direction,
        number: u16,
    ) -> Result<(), TableError> {
        let hub = self.hub_ids[hub];
        self.command(client, |client, now, rng| client.retire_table(now, rng, hub, direction, number))
            .unwrap()
    }

    pub fn retire_at_hub(
        &mut self,
        hub: usize,
        client: usize,
        direction: Direction,
        number: u16,
    ) -> Result<(), TableError> {
        let client = ClientId::new(client as u32);
        let retired = self.world.call(self.hubs[hub], |party, _, _| {
            party.right().unwrap().retire_table(client, direction, number)
        });
        retired.unwrap()
    }

    /// The tables that were retired, as clients and hubs told: number, and whether each is erased.
    fn retired(&self) -> Vec<(u16, bool)> {
        let events = self.world.events().iter();
        let retired = events.filter_map(|happened| match &happened.event {
            Either::Left(ClientEvent::TableRetired { number, erased, .. })
            | Either::Right(HubEvent::TableRetired { number, erased, .. }) => Some((*number, *erased)),
            _ => None,
        });
        retired.collect()
    }

    /// The further table `number` of the link of client 0 and hub 0: the client's copy, and the hub's.
    fn copies(&self, uplink: bool, number: u16) -> [SharedPad; 2] {
        let further = self.further.borrow();
        let is_it = |table: &&crate::world::Further| {
            (table.hub, table.client, table.uplink, table.number) == (0, 0, uplink, number)
        };
        let table = further.iter().find(is_it).unwrap();
        [table.at_client.clone(), table.at_hub.clone()]
    }
}

fn is_erased(pad: &SharedPad) -> bool {
    pad.octets().iter().all(|octet| *octet == 0)
}

/// The store is slow, and the power fails. Before the retirement is durable nothing is erased and nothing is said, and a crash
/// undoes it; the table serves again. Once it is durable, the table is erased and the end says so; and where the crash came
/// between the two, the next start does both.
#[test]
fn a_retired_table_is_erased_and_reported_when_that_is_durable() {
    for (way, at_hub) in WAYS.into_iter().zip([false, true]).chain(WAYS.into_iter().zip([true, false])) {
        let uplink = way == Direction::UPLINK;
        let mut cast = cast(1, &Setup::new(3));
        cast.provision((0, 0), (uplink, 1), Origin::OutOfBand, 100, true);
        cast.settle(5);
        let node = if at_hub { cast.hubs[0] } else { cast.clients[0] };
        let pad = cast.copies(uplink, 1)[usize::from(at_hub)].clone();
        let retire = |cast: &mut Cast| {
            let retired =
                if at_hub { cast.retire_at_hub(0, 0, way, 1) } else { cast.retire_at_client(0, 0, way, 1) };
            assert_eq!(retired, Ok(()));
        };
        for how in [PowerLoss::Loses, PowerLoss::Lands] {
            cast.world.set_receipts(node, Receipts::Withheld { from: 0 });
            retire(&mut cast);
            assert!(!is_erased(&pad) && cast.retired().is_empty());
            cast.world.crash(node, how);
            cast.world.set_receipts(node, Receipts::AtOnce);
            cast.world.restart(node);
            cast.settle(5);
            let landed = how == PowerLoss::Lands;
            assert_eq!(is_erased(&pad), landed, "{way:?} {at_hub} {how:?}");
            assert_eq!(cast.retired(), if landed { vec![(1, true)] } else { vec![] });
        }
        // Without a crash between: at once. It is not told a third time.
        cast.provision((0, 0), (uplink, 2), Origin::OutOfBand, 100, true);
        let pad = cast.copies(uplink, 2)[usize::from(at_hub)].clone();
        let retired =
            if at_hub { cast.retire_at_hub(0, 0, way, 2) } else { cast.retire_at_client(0, 0, way, 2) };
        assert_eq!(retired, Ok(()));
        assert!(is_erased(&pad));
        let again =
            if at_hub { cast.retire_at_hub(0, 0, way, 2) } else { cast.retire_at_client(0, 0, way, 2) };
        assert_eq!(again, Err(TableError::Absent(2)));
        for _ in 0..2 {
            cast.world.kill(node);
            cast.world.restart(node);
            cast.settle(5);
        }
        assert_eq!(cast.retired(), [(1, true), (2, true)]);
        let id = cast.request(0, 1, KeyRequest::new(3));
        cast.settle(20);
        cast.assert_agreed(0, 1, id);
        Oracle::acquit(&cast);
    }
}

/// A client holds a part of each table and takes both out of service. Then the next portion comes, from before the theft was known.
/// The hub, which has the whole tables, would go on with them; the client does not, in neither direction, and erases what came.
#[test]
fn a_retired_table_that_grows_by_a_portion_stays_retired() {
    for uplink in [true, false] {
        let way = if uplink { Direction::UPLINK } else { Direction::DOWNLINK };
        let mut setup = Setup::new(2);
        setup.table_elements = 100;
        let mut cast = cast(2, &setup);
        cast.provision((0, 0), (uplink, 1), Origin::OutOfBand, 2000, true);
        let [at_client, _] = cast.copies(uplink, 1);
        let whole = at_client.octets();
        at_client.set_octets(&whole[..500 * 16]);
        cast.settle(2);
        assert_eq!(cast.retire_at_client(0, 0, way, 1), Ok(()));
        assert_eq!(cast.retired(), [(1, true)]);
        cast.settle(2);
        cast.world.kill(cast.clients[0]);
        at_client.set_octets(&[vec![0; 500 * 16], whole[500 * 16..].to_vec()].concat());
        cast.world.restart(cast.clients[0]);
        cast.settle(5);
        assert!(is_erased(&at_client));
        assert_eq!(cast.retired(), [(1, true), (1, true)]);
        // Whatever the hub asks for, and whatever the client needs, until the first tables are used up.
        let ends = if uplink { (0, 1) } else { (1, 0) };
        for _ in 0..12 {
            let mut request = KeyRequest::new(2);
            request.lifetime = 10;
            let _ = cast.try_request(ends.0, ends.1, request);
            cast.settle(12);
        }
        assert!(cast.keys(0).len() > 2);
        assert!(!Oracle::used(&cast, ((0, 0), uplink, 1)));
        Oracle::acquit(&cast);
    }
}

/// A refilled table of which nothing was ever leased is taken out of service: no share can have come by it, and keys that do
/// without that hub's share say what they are worth, also after starts of the responder.
#[test]
fn a_refilled_table_that_never_served_costs_no_assurance() {
    let mut cast = cast(3, &Setup::new(3));
    cast.provision((0, 1), (false, 1), Origin::Refill, 100, true);
    cast.settle(2);
    assert_eq!(cast.retire_at_client(1, 0, Direction::DOWNLINK, 1), Ok(()));
    for _ in 0..3 {
        cast.settle(2);
        cast.world.kill(cast.clients[1]);
        cast.world.restart(cast.clients[1]);
    }
    cast.settle(2);
    cast.world.kill(cast.hubs[0]);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    let made = cast.keys(1);
    assert_eq!(made[0].key.assurance(), Assurance::InformationTheoretic);
    Oracle::acquit(&cast);
}

/// A table that waits to go to its client, or is on its way, is taken out of service at the hub: it is erased, what the client says
/// of it brings nothing back, also after a start, and the refills behind it go on.
#[test]
fn a_refill_that_waits_is_taken_out_of_service() {
    for number in [1, 2] {
        let mut cast = cast(4, &Setup::new(2));
        cast.settle(2);
        let from = cast.world.events().len();
        for table in [1, 2] {
            cast.refill((0, 0), (true, table), 3000);
        }
        cast.world.run_for(core::time::Duration::from_millis(1), 1_000_000);
        assert_eq!(cast.retire_at_hub(0, 0, Direction::UPLINK, number), Ok(()));
        cast.settle(5);
        cast.world.kill(cast.hubs[0]);
        cast.world.restart(cast.hubs[0]);
        cast.settle(20);
        cast.store_refills(from);
        cast.settle(20);
        let from = cast.world.events().len();
        cast.store_refills(from);
        cast.settle(20);
        let [_, at_hub] = cast.copies(true, number);
        assert!(is_erased(&at_hub), "{number}");
        assert_eq!(cast.retired(), [(number, true)]);
        let came = cast.world.events().iter().filter_map(|happened| match &happened.event {
            Either::Right(HubEvent::Refilled { number, .. }) => Some(*number),
            _ => None,
        });
        assert_eq!(came.collect::<Vec<_>>(), [3 - number]);
        assert!(!Oracle::used(&cast, ((0, 0), true, number)));
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(20);
        cast.assert_agreed(0, 1, id);
        Oracle::acquit(&cast);
    }
}

/// A responder takes out of service the tables from which all hubs would deliver, and the hubs do not know. Each is denied a lease, and goes on with
/// its other table at once, though nothing else comes from the responder: a key is there long before the next FETCH.
#[test]
fn a_hub_that_is_denied_a_table_goes_on_with_another_at_once() {
    let mut cast = cast(5, &Setup::new(3));
    for hub in 0..3 {
        cast.provision((hub, 1), (false, 1), Origin::OutOfBand, 256, true);
    }
    cast.settle(2);
    for hub in 0..3 {
        assert_eq!(cast.retire_at_client(1, hub, Direction::DOWNLINK, 0), Ok(()));
    }
    cast.settle(2);
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(4);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}

/// A client forgets a hub whose initial key was replaced: the key that replaced it stands in no record any more. With the same
/// enrolment the link does not come back, for nobody knows how far its tables were used; by another it does, and takes part in keys.
#[test]
fn a_hub_that_was_forgotten_leaves_no_secret_and_comes_back_by_another_enrolment_alone() {
    let mut cast = cast(5, &Setup::new(3));
    cast.settle(2);
    let hub_id = cast.hub_ids[0];
    let key = [0x77; 32];
    let at_client = cast.command(0, |client, now, rng| {
        client.replace_initial_key(now, rng, hub_id, SecretBytes::copied_from(&key))
    });
    assert_eq!(at_client, Some(Ok(())));
    let at_hub = cast.world.call(cast.hubs[0], |party, _, _| {
        party.right().unwrap().replace_initial_key(ClientId::new(0), SecretBytes::copied_from(&key))
    });
    assert_eq!(at_hub, Some(Ok(())));
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(30);
    cast.assert_agreed(0, 1, id);
    let node = cast.clients[0];
    let restart = |cast: &mut Cast, without: bool, forgotten: bool| {
        let link = |is: bool| if is { vec![(0, 0)] } else { Vec::new() };
        {
            let mut revision = cast.revision.borrow_mut();
            (revision.without, revision.forgotten) = (link(without), link(forgotten));
        }
        cast.world.kill(node);
        cast.world.restart(node);
        cast.settle(5);
    };
    // What an embedder has to keep of the client's records.
    let is_stored = |cast: &Cast| {
        let records: Vec<&[u8]> = cast.world.disk(node).records().map(|(_, record)| record).collect();
        let is_snapshot = |record: &&[u8]| skex_core::record::decode(record).unwrap().1[0] == 1;
        let kept = &records[records.iter().rposition(is_snapshot).unwrap()..];
        kept.iter().any(|record| record.windows(32).any(|octets| octets == key))
    };
    restart(&mut cast, true, false);
    assert!(is_stored(&cast), "the link may come back");
    restart(&mut cast, true, true);
    assert!(!is_stored(&cast));
    restart(&mut cast, true, false);
    assert!(!is_stored(&cast));
    // The same enrolment again.
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| restart(&mut cast, false, false)));
    let message = *again.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(message, format!("{:?}", skex_dske::RestoreError::Forgotten));
    // Another.
    let anew = cast.make_anew(0, 0, 2);
    cast.world.call(cast.hubs[0], |party, now, _| {
        party.right().unwrap().revoke(now, ClientId::new(0)).unwrap();
    });
    cast.settle(1);
    cast.world.call(cast.hubs[0], |party, _, _| party.right().unwrap().enrol(anew.at_hub(), &[]).unwrap());
    cast.revision.borrow_mut().left_out.push((0, 0));
    cast.revision.borrow_mut().anew.push(anew);
    restart(&mut cast, false, false);
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(30);
    cast.assert_agreed(0, 1, id);
}

/// The last lease of a table reaches to its end, and most of it is not used yet, when the table is taken out of service: at the end that sends,
/// another table being there or not, with and without a crash before it is erased. It is erased all the same, and that is said.
#[test]
fn a_table_whose_last_lease_is_open_is_erased_when_it_is_retired() {
    for ((at_hub, further), how) in [(false, true), (true, true), (false, false), (true, false)]
        .into_iter()
        .flat_map(|case| [None, Some(PowerLoss::Lands)].map(|how| (case, how)))
    {
        let mut setup = Setup::new(2);
        setup.table_elements = 46;
        let mut cast = cast(6, &setup);
        for hub in 0..2 {
            for (client, uplink) in [(0, true), (1, false)] {
                if further {
                    cast.provision((hub, client), (uplink, 1), Origin::OutOfBand, 400, true);
                }
            }
        }
        cast.settle(2);
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(5);
        cast.assert_agreed(0, 1, id);
        let (node, way, pad) = if at_hub {
            (cast.hubs[0], Direction::DOWNLINK, cast.hub_downlinks[0][1].clone())
        } else {
            (cast.clients[0], Direction::UPLINK, cast.client_tables[0][0].0.clone())
        };
        if how.is_some() {
            cast.world.set_receipts(node, Receipts::Withheld { from: 0 });
        }
        let retired =
            if at_hub { cast.retire_at_hub(0, 1, way, 0) } else { cast.retire_at_client(0, 0, way, 0) };
        assert_eq!(retired, Ok(()));
        if let Some(how) = how {
            assert!(!is_erased(&pad));
            cast.world.crash(node, how);
            cast.world.set_receipts(node, Receipts::AtOnce);
            cast.world.restart(node);
            cast.settle(5);
        }
        assert!(is_erased(&pad), "hub: {at_hub}, another: {further}, {how:?}");
        assert_eq!(cast.retired(), [(0, true)]);
        if further {
            let id = cast.request(0, 1, KeyRequest::new(2));
            cast.settle(20);
            cast.assert_agreed(0, 1, id);
        }
        Oracle::acquit(&cast);
    }
}

/// A table is used up to its last element, and erased, when it is taken out of service: that is said, and no failure of its storage.
#[test]
fn a_table_that_is_used_up_is_retired_without_a_false_alarm() {
    for at_hub in [false, true] {
        let mut setup = Setup::new(2);
        setup.table_elements = 46;
        let mut cast = cast(7, &setup);
        for (hub, client, uplink) in [(0, 0, true), (1, 0, true), (0, 1, false), (1, 1, false)] {
            cast.provision((hub, client), (uplink, 1), Origin::OutOfBand, 400, true);
        }
        cast.settle(2);
        // Four blocks of 11 elements, and the head of the lease.
        for _ in 0..4 {
            let id = cast.request(0, 1, KeyRequest::new(2));
            cast.settle(5);
            cast.assert_agreed(0, 1, id);
        }
        let (retired, pad) = if at_hub {
            let retired = cast.retire_at_hub(0, 0, Direction::UPLINK, 0);
            (retired, cast.hub_uplinks[0][0].clone())
        } else {
            let retired = cast.retire_at_client(0, 0, Direction::UPLINK, 0);
            (retired, cast.client_tables[0][0].0.clone())
        };
        assert_eq!((retired, cast.retired()), (Ok(()), vec![(0, true)]), "{at_hub}");
        assert!(is_erased(&pad));
    }
}

/// A store is slow, and what an end has taken from a table waits for it, when the table is taken out of service there: by its number, or with the
/// client, which the hub revokes. It leaves no more. Without that it does leave.
#[test]
fn what_waits_for_the_store_leaves_no_more_by_a_table_that_is_retired() {
    for (at_hub, how) in [(false, 0), (false, 1), (true, 0), (true, 1), (true, 2)] {
        let mut setup = Setup::new(3);
        setup.shards = WHOLE;
        let mut cast = cast(4, &setup);
        let first = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(10);
        cast.assert_agreed(0, 1, first);
        let (node, client, way) = if at_hub {
            (cast.hubs[0], 1, Direction::DOWNLINK)
        } else {
            (cast.clients[0], 0, Direction::UPLINK)
        };
        let used = |cast: &Cast| {
            let is_of_it =
                |&(of, hub, uplink, _): &(usize, usize, bool, u32)| (of, hub, uplink) == (client, 0, !at_hub);
            Oracle::spent(cast).into_iter().filter(is_of_it).count()
        };
        cast.world.set_receipts(node, Receipts::Withheld { from: 0 });
        // More than what was reserved before.
        for _ in 0..8 {
            cast.request(0, 1, KeyRequest::new(2));
        }
        cast.settle(1);
        let before = used(&cast);
        match (how, at_hub) {
            (0, _) => {}
            (1, false) => assert_eq!(cast.retire_at_client(client, 0, way, 0), Ok(())),
            (1, true) => assert_eq!(cast.retire_at_hub(0, client, way, 0), Ok(())),
            _ => {
                let id = ClientId::new(client as u32);
                let revoked = cast.world.call(node, |party, now, _| party.right().unwrap().revoke(now, id));
                assert_eq!(revoked, Some(Ok(())));
            }
        }
        // The link has another session before the store is done.
        cast.settle(20);
        cast.world.set_receipts(node, Receipts::AtOnce);
        cast.world.release_receipts(node);
        cast.settle(10);
        assert_eq!(used(&cast) > before, how == 0, "hub: {at_hub}, {how}");
        Oracle::acquit(&cast);
    }
}
