//! Storage that fails for a while, or for good, at one table or at all of a disk: nothing stays out of use that works again.

use core::time::Duration;

use skex_dske::{KeyError, KeyRequest, KeySuite, MessageTagKey, Origin};
use skex_wire::Writer;
use skex_wire::dske::{BlockPosition, Command, CommandBody, Direction, Inner, LeaseRequest, tag_prefix};

use crate::attacks::liar::{Liar, pass};
use crate::oracle::Oracle;
use crate::request_under;
use crate::world::{Cast, Lie, Setup, cast};

/// The tables of what hubs receive from client 0, or client 1 from hubs.
fn receiving(cast: &Cast, at_hubs: bool, lie: Lie) {
    for hub in 0..cast.hubs.len() {
        if at_hubs {
            cast.hub_uplinks[hub][0].set_lie(lie);
        } else {
            cast.client_tables[1][hub].1.set_lie(lie);
        }
    }
    for table in cast.further.borrow().iter() {
        if table.uplink == at_hubs {
            if at_hubs { &table.at_hub } else { &table.at_client }.set_lie(lie);
        }
    }
}

/// Ends that receive have leases, and their storage can be read and not written for a second, while a share comes. The share is repeated, and the
/// storage works again: it is taken then.
#[test]
fn a_share_that_comes_while_nothing_can_be_erased_is_taken_later() {
    a_share_comes_while_erasing_fails(Lie::Unwritable);
}

/// The same where zeros are written, and only the flush fails: the block is gone, and the share that it carried cannot come again.
#[test]
fn a_share_whose_block_was_erased_by_an_erasure_that_failed_is_taken() {
    a_share_comes_while_erasing_fails(Lie::Unflushed);
}

fn a_share_comes_while_erasing_fails(lie: Lie) {
    let mut lost = Vec::new();
    for suite in KeySuite::ALL {
        for at_hubs in [true, false] {
            let mut cast = cast(1, &Setup::new(3));
            let first = cast.request(0, 1, request_under(suite, 2));
            cast.settle(5);
            cast.assert_agreed(0, 1, first);
            // For an AEAD: so that an epoch has to be opened anew.
            if suite != KeySuite::OneTime {
                for _ in 0..255 {
                    let id = cast.request(0, 1, request_under(suite, 2));
                    cast.settle(1);
                    cast.assert_agreed(0, 1, id);
                }
            }
            receiving(&cast, at_hubs, lie);
            let held_up = cast.request(0, 1, request_under(suite, 2));
            cast.settle(1);
            receiving(&cast, at_hubs, Lie::None);
            cast.settle(30);
            if cast.key(1, held_up).is_none() {
                lost.push((suite, at_hubs, "the key of that second"));
            }
            let next: Vec<_> = (0..10).map(|_| cast.request(0, 1, request_under(suite, 2))).collect();
            cast.settle(30);
            let came = next.iter().filter(|id| cast.key(1, **id).is_some()).count();
            if came < 10 {
                lost.push((suite, at_hubs, "keys afterwards"));
                eprintln!("{suite:?} {at_hubs}: {came} of 10 keys that were asked for afterwards");
            }
        }
    }
    assert!(lost.is_empty(), "{lost:?}");
}

/// A direction has two tables, of one disk, both used in an earlier session. It can be read and not written for a second while leases are asked for: no
/// table is out of use afterwards.
#[test]
fn two_tables_of_a_disk_that_cannot_be_written_are_not_both_denied() {
    let mut setup = Setup::new(3);
    setup.table_elements = 200;
    setup.client_limits.fetch = Duration::from_secs(600);
    let mut cast = cast(2, &setup);
    for hub in 0..3 {
        for (client, uplink) in [(0, true), (1, false)] {
            cast.provision((hub, client), (uplink, 1), Origin::OutOfBand, 4096, true);
        }
    }
    let mut long = KeyRequest::new(2);
    long.key_len = 4096;
    for request in [long, KeyRequest::new(2)] {
        let id = cast.request(0, 1, request);
        cast.settle(5);
        cast.assert_agreed(0, 1, id);
    }
    // Leases begin anew.
    cast.world.restart(cast.clients[0]);
    cast.settle(5);
    receiving(&cast, true, Lie::Unwritable);
    let held_up = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(2);
    receiving(&cast, true, Lie::None);
    cast.settle(20);
    cast.assert_agreed(0, 1, held_up);
    let id = cast.try_request(0, 1, KeyRequest::new(2)).expect("tables that are neither used up nor broken");
    cast.settle(20);
    cast.assert_agreed(0, 1, id);
}

/// An answer to a request for a lease of table `number`: granted, denied, or none.
fn ask(cast: &mut Cast, liar: &mut Liar, (number, nonce): (u16, u8), mark: u32, want: u32) -> Option<bool> {
    let request = LeaseRequest::new(number, [nonce; 16], mark, want);
    let mut octets = [0; LeaseRequest::LEN];
    request.encode(&mut Writer::new(&mut octets)).unwrap();
    let _ = liar.hear(cast);
    liar.say(cast, &octets);
    pass(cast, 20);
    liar.hear(cast).iter().rev().find_map(|inner| match Inner::decode(inner) {
        Ok(Inner::LeaseGrant(_)) => Some(true),
        Ok(Inner::LeaseDenied(_)) => Some(false),
        _ => None,
    })
}

/// A command in the block at `index` of table `number`, the `floor` below all.
fn command(cast: &mut Cast, liar: &mut Liar, (number, index): (u16, u32), table: &[u8]) {
    command_above(cast, liar, (number, index, 0), table);
}

/// The same with this floor.
fn command_above(cast: &mut Cast, liar: &mut Liar, (number, index, floor): (u16, u32, u32), table: &[u8]) {
    let body = CommandBody::Lookup(b"nobody");
    let message = Command::new(BlockPosition::new(number, index, floor), body).unwrap();
    let mut octets = vec![0; message.encoded_len()];
    let mut out = Writer::new(&mut octets);
    message.encode_untagged(&mut out).unwrap();
    let prefix = tag_prefix(Direction::UPLINK, 2, cast.hub_ids[0].as_bytes());
    let key = &table[index as usize * 16 + 32..index as usize * 16 + 64];
    let tag = MessageTagKey::from_pad(key.try_into().unwrap()).unwrap().tag(&[&prefix, out.written()]);
    out.bytes(tag.as_bytes()).unwrap();
    liar.say(cast, &octets);
    pass(cast, 5);
}

/// The network takes every second one of very many messages of a client, in each of its two tables: the hub can remember no more gaps. It denies no table for that
/// of which it denied the other, for what is missing may come, and a denial holds for the session.
#[test]
fn two_tables_without_memory_for_gaps_are_not_both_denied() {
    let mut setup = Setup::new(2);
    setup.clients = 3;
    let mut cast = cast(6, &setup);
    cast.provision((0, 2), (true, 1), Origin::OutOfBand, 4096, true);
    cast.settle(1);
    let tables = [cast.enrolments[0][2].uplink.clone(), cast.further.borrow()[0].octets.clone()];
    let mut liar = Liar::client(&mut cast, 2, 0);
    let mut answers = Vec::new();
    for (number, octets) in (0..).zip(&tables) {
        assert_eq!(ask(&mut cast, &mut liar, (number, 1), 0, 2050), Some(true));
        for block in (0..512).filter(|block| block % 2 == 1) {
            command(&mut cast, &mut liar, (number, 2 + 4 * block), octets);
        }
        answers.push(ask(&mut cast, &mut liar, (number, 2), 2050, 200));
    }
    // What was missing comes: there is room for leases of both tables.
    for (number, octets) in (0..).zip(&tables) {
        for block in (0..512).filter(|block| block % 2 == 0) {
            command(&mut cast, &mut liar, (number, 2 + 4 * block), octets);
        }
        assert_eq!(ask(&mut cast, &mut liar, (number, 3), 2250, 200), Some(true), "table {number}");
    }
    assert_ne!(answers, [Some(false), Some(false)], "an honest client asks for neither any more");
}

/// The storage that an end sends from writes and cannot flush, for two minutes in which it has something to send. It does not use its table up meanwhile, and goes on when
/// that works again.
#[test]
fn a_table_is_not_used_up_by_trying_while_it_cannot_be_flushed() {
    for (at_hubs, lie) in
        [(true, Lie::Unflushed), (false, Lie::Unflushed), (true, Lie::Unwritable), (false, Lie::Unwritable)]
    {
        let mut cast = cast(12, &Setup::new(3));
        let sending = |cast: &Cast, lie| {
            for hub in 0..3 {
                let own = &cast.client_tables[0][hub].0;
                if at_hubs { &cast.hub_downlinks[hub][1] } else { own }.set_lie(lie);
            }
        };
        let first = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(5);
        cast.assert_agreed(0, 1, first);
        let left = |cast: &mut Cast| {
            let node = cast.clients[usize::from(at_hubs)];
            let left = cast.world.call(node, |party, _, _| {
                let of = |link: skex_dske::LinkStatus| {
                    if at_hubs { link.downlink_remaining } else { link.uplink_remaining }
                };
                party.left().unwrap().status().map(of).collect::<Vec<_>>()
            });
            left.unwrap()
        };
        let before = left(&mut cast);
        sending(&cast, lie);
        // Longer than the rest of the lease.
        let mut long = KeyRequest::new(2);
        long.key_len = 2048;
        let waits = cast.request(0, 1, long);
        for _ in 0..20 {
            let _ = cast.try_request(0, 1, KeyRequest::new(2));
            cast.settle(6);
        }
        let after = left(&mut cast);
        let most = before.iter().zip(&after).map(|(before, after)| (before - after) / 16).max();
        assert!(most < Some(900), "{most:?} elements at the hubs {at_hubs}");
        sending(&cast, Lie::None);
        cast.settle(60);
        if at_hubs {
            cast.assert_agreed(0, 1, waits);
        }
        let id = cast.request(0, 1, KeyRequest::new(3));
        cast.settle(20);
        cast.assert_agreed(0, 1, id);
    }
}

/// A request for a lease comes once more, late: its grant is used, and the key of its tag erased. The table is not taken for one that was denied, so that another, whose
/// storage fails now, is denied for its sake.
#[test]
fn a_request_that_comes_again_when_its_grant_is_used_denies_no_table() {
    let mut setup = Setup::new(2);
    setup.clients = 3;
    let mut cast = cast(6, &setup);
    cast.provision((0, 2), (true, 1), Origin::OutOfBand, 4096, true);
    cast.settle(1);
    let octets = cast.enrolments[0][2].uplink.clone();
    let mut liar = Liar::client(&mut cast, 2, 0);
    assert_eq!(ask(&mut cast, &mut liar, (0, 1), 0, 200), Some(true));
    command_above(&mut cast, &mut liar, (0, 6, 6), &octets);
    assert_eq!(ask(&mut cast, &mut liar, (0, 1), 0, 200), None, "nothing is denied");
    cast.further.borrow()[0].at_hub.set_lie(Lie::Broken);
    assert_eq!(ask(&mut cast, &mut liar, (1, 2), 0, 200), Some(false), "the other works");
}

/// Tables fail and come back at both ends, by reading or by writing, while keys are made and machines start anew. Once every storage works again, each pair
/// gets keys of every suite by all hubs, and nothing is used twice.
#[test]
fn whatever_storage_failed_nothing_stays_out_of_use() {
    let mut stuck = Vec::new();
    for seed in 0..crate::seeds(20) {
        let mut setup = Setup::new(3);
        setup.clients = 3;
        let mut cast = cast(1000 + seed, &setup);
        if seed % 2 == 0 {
            for hub in 0..3 {
                for client in 0..3 {
                    for uplink in [true, false] {
                        cast.provision((hub, client), (uplink, 1), Origin::OutOfBand, 4096, true);
                    }
                }
            }
        }
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut roll = |n: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % n
        };
        cast.settle(2);
        for _ in 0..40 {
            let lie = [Lie::None, Lie::Unwritable, Lie::Broken, Lie::Unflushed][roll(4) as usize];
            let (hub, client) = (roll(3) as usize, roll(3) as usize);
            match roll(4) {
                0 => cast.hub_uplinks[hub][client].set_lie(lie),
                1 => cast.hub_downlinks[hub][client].set_lie(lie),
                2 => cast.client_tables[client][hub].0.set_lie(lie),
                _ => cast.client_tables[client][hub].1.set_lie(lie),
            }
            if seed % 2 == 0 {
                let further = cast.further.borrow();
                let table = &further[roll(further.len() as u64) as usize];
                let lie = [Lie::None, Lie::Unwritable, Lie::Broken, Lie::Unflushed][roll(4) as usize];
                if roll(2) == 0 { &table.at_hub } else { &table.at_client }.set_lie(lie);
            }
            let suite = KeySuite::ALL[roll(3) as usize];
            let (from, to) = (roll(3) as usize, roll(3) as usize);
            if from != to {
                let _ = cast.try_request(from, to, request_under(suite, 2));
            }
            if roll(8) == 0 {
                let node =
                    if roll(2) == 0 { cast.clients[roll(3) as usize] } else { cast.hubs[roll(3) as usize] };
                cast.world.kill(node);
                cast.world.restart(node);
            }
            cast.settle(1 + roll(5));
        }
        for hub in 0..3 {
            for client in 0..3 {
                cast.hub_uplinks[hub][client].set_lie(Lie::None);
                cast.hub_downlinks[hub][client].set_lie(Lie::None);
                cast.client_tables[client][hub].0.set_lie(Lie::None);
                cast.client_tables[client][hub].1.set_lie(Lie::None);
            }
        }
        for table in cast.further.borrow().iter() {
            table.at_hub.set_lie(Lie::None);
            table.at_client.set_lie(Lie::None);
        }
        cast.settle(60);
        for suite in KeySuite::ALL {
            for from in 0..3 {
                for to in 0..3 {
                    if from == to {
                        continue;
                    }
                    match cast.try_request(from, to, request_under(suite, 3)) {
                        Ok(id) => {
                            cast.settle(60);
                            if cast.key(to, id).is_none() {
                                stuck.push((seed, suite, from, to, format!("{:?}", cast.failure(from, id))));
                            }
                        }
                        Err(error) => stuck.push((seed, suite, from, to, format!("{error:?}"))),
                    }
                }
            }
        }
        Oracle::acquit(&cast);
    }
    assert!(stuck.is_empty(), "{} keys: {stuck:?}", stuck.len());
}

/// The storage of a client's tables failed for a second, long ago, and has served keys since. Now the hubs are down, and that is what the error says: it sends nobody
/// to look for a broken disk.
#[test]
fn a_table_that_failed_once_is_not_blamed_for_hubs_that_are_silent() {
    let mut cast = cast(11, &Setup::new(3));
    cast.settle(1);
    let set = |cast: &Cast, lie| (0..3).for_each(|hub| cast.client_tables[0][hub].0.set_lie(lie));
    let first = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, first);
    set(&cast, Lie::Broken);
    let _ = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(1);
    set(&cast, Lie::None);
    cast.settle(30);
    for _ in 0..5 {
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(10);
        cast.assert_agreed(0, 1, id);
    }
    cast.hubs.clone().into_iter().for_each(|hub| cast.world.kill(hub));
    let mut request = KeyRequest::new(2);
    request.lifetime = 20;
    let id = cast.request(0, 1, request);
    cast.settle(30);
    assert_eq!(cast.failure(0, id), Some(KeyError::TooFewHubs));
}
