//! Every message reaches its machine, and no other.

use skex_core::machine::{Destination, DiscardReason, Disposition, Instant, Output, ReceiptError};
use skex_wire::unmediated::Message;

use super::site::{Site, id, secret, settle, sites, with_config};
use crate::{PeerTable, RestoreError, Side, TableConfig, TableError};

#[test]
fn handshakes_of_many_pairs_and_lanes_cross_each_other_from_both_ends() {
    let (mut hub, mut devices) = sites(6, 3, false);
    for round in 1..=4_u64 {
        for pair in 0..6 {
            for lane in 0..3 {
                let starter = if (round + u64::from(pair)) % 2 == 0 { &mut hub } else { &mut devices };
                starter.establish(id(pair, lane));
            }
        }
        settle(&mut hub, &mut devices);
        for pair in 0..6 {
            for lane in 0..3 {
                assert_eq!([hub.epoch(id(pair, lane)), devices.epoch(id(pair, lane))], [round; 2]);
                assert_eq!(hub.established(id(pair, lane)), round as usize);
            }
        }
    }
    assert!(hub.table.discards().iter().all(|(_, count)| count == 0));
}

#[test]
fn lanes_of_one_pair_from_one_secret_have_nothing_in_common() {
    let (mut hub, _) = sites(1, 2, true);
    let names: std::vec::Vec<_> = hub.table.lanes_of(id(0, 0).pair()).collect();
    assert_eq!(names, [id(0, 0), id(0, 1), id(0, 255)]);
    for (one, other) in [(0, 1), (0, 255), (1, 255)] {
        let [one, other] = [one, other].map(|lane| hub.table.lane(id(0, lane)).unwrap());
        assert!(!one.same_chain_for_tests(other));
        assert_ne!(one.peer_pseudonym(), other.peer_pseudonym());
    }
    // The message of one lane is nothing to the other, and its epoch moves alone.
    hub.establish(id(0, 0));
    assert_eq!((hub.sent.len(), hub.epoch(id(0, 1))), (1, 0));
}

#[test]
fn old_and_new_pseudonyms_route_after_a_commit_and_the_ones_before_do_not() {
    let (mut hub, mut devices) = sites(2, 1, false);
    let lane = id(1, 0);
    let mut firsts = std::vec::Vec::new();
    for _ in 0..3 {
        devices.establish(lane);
        firsts.push(devices.sent.front().unwrap().clone());
        settle(&mut hub, &mut devices);
    }
    // Epoch 3 rules, the first message of epoch 2 is of the epoch before; those of 0 and 1 name nobody.
    let unknown = Disposition::Discarded(DiscardReason::UnknownPeer);
    assert_eq!(hub.deliver(&firsts[0]), unknown);
    assert_eq!(hub.deliver(&firsts[1]), unknown);
    assert_eq!(hub.deliver(&firsts[2]), Disposition::Accepted);
    assert_eq!(hub.table.discards().count(DiscardReason::UnknownPeer), 2);
}

#[test]
fn a_removed_lane_is_found_by_nothing_and_its_place_is_used_again() {
    let (mut hub, mut devices) = sites(2, 1, false);
    devices.establish(id(0, 0));
    let first = devices.sent.pop_front().unwrap();
    hub.table.remove(id(0, 0)).unwrap();
    hub.table.check_invariants();
    assert_eq!(hub.deliver(&first), Disposition::Discarded(DiscardReason::UnknownPeer));
    assert_eq!(hub.table.remove(id(0, 0)), Err(TableError::UnknownLane));
    assert_eq!(hub.table.establish(id(0, 0), hub.now, &mut hub.rng), Err(TableError::UnknownLane));
    hub.enrol(5, 0).unwrap();
    assert_eq!(hub.table.len(), 2);
    // The other end's own wait for it ends with nothing, and the pair that is left works.
    devices.establish(id(1, 0));
    settle(&mut hub, &mut devices);
    assert_eq!(hub.established(id(1, 0)), 1);
}

#[test]
fn at_its_bound_the_table_says_so_and_changes_nothing() {
    let mut hub = Site::new(Side::A, TableConfig::new(3));
    hub.enrol_pair(0, 2, false).unwrap();
    assert_eq!(hub.enrol_pair(1, 2, false), Err(TableError::TableFull));
    assert_eq!(hub.enrol_pair(1, 1, true), Err(TableError::TableFull));
    assert_eq!(hub.table.len(), 2);
    assert_eq!(hub.enrol(0, 1), Err(TableError::LaneInUse));
    assert_eq!(hub.enrol_pair(0, 1, false), Err(TableError::LaneInUse));
    assert_eq!(hub.enrol_pair(3, 256, false), Err(TableError::RecoveryOnly));
    assert_eq!(hub.enrol(1, 0), Ok(id(1, 0)));
    assert_eq!(hub.enrol(2, 0), Err(TableError::TableFull));
    hub.slots.insert(id(2, 0), Default::default());
    assert_eq!(hub.restore(id(2, 0)), Err(TableError::TableFull));
    hub.table.remove(id(0, 0)).unwrap();
    assert_eq!(hub.restore(id(2, 0)), Err(TableError::Restore(RestoreError::NotEnrolled)));
    assert_eq!(hub.table.len(), 2);
    assert_eq!(hub.enrol(2, 0), Ok(id(2, 0)));
}

#[test]
fn two_lanes_with_one_pseudonym_both_get_their_messages() {
    for order in [[0, 1], [1, 0]] {
        let mut hub = Site::new(Side::A, TableConfig::new(2));
        let mut devices = Site::new(Side::B, TableConfig::new(2));
        for pair in order {
            hub.enrol(pair, 0).unwrap();
            devices.enrol(pair, 0).unwrap();
        }
        // Pair 0 takes the name that pair 1 has in this epoch.
        let taken = hub.table.lane(id(1, 0)).unwrap().peer_pseudonym();
        hub.table.rename_peer_for_tests(id(0, 0), taken);
        devices.establish(id(1, 0));
        settle(&mut hub, &mut devices);
        assert_eq!([hub.established(id(1, 0)), devices.established(id(1, 0))], [1, 1]);
        assert_eq!(hub.epoch(id(0, 0)), 0);
        // Under load neither is asked for a cookie, for each would ask for its own: they lose nothing.
        let taken = hub.table.lane(id(1, 0)).unwrap().peer_pseudonym();
        hub.table.rename_peer_for_tests(id(0, 0), taken);
        devices.establish(id(1, 0));
        settle(&mut hub, &mut devices);
        assert_eq!(hub.established(id(1, 0)), 2);
    }
}

#[test]
fn the_table_comes_back_whole_from_its_records() {
    let (mut hub, mut devices) = sites(5, 2, false);
    for pair in 0..5 {
        for lane in 0..2 {
            hub.establish(id(pair, lane));
            // Handshakes are cut at every point.
            for _ in 0..pair {
                if let Some(message) = hub.sent.pop_front() {
                    let _ = devices.deliver(&message);
                } else if let Some(message) = devices.sent.pop_front() {
                    let _ = hub.deliver(&message);
                }
            }
            hub.sent.clear();
            devices.sent.clear();
        }
    }
    hub.restart(TableConfig::new(1000));
    devices.restart(TableConfig::new(1000));
    assert_eq!((hub.table.len(), devices.table.len()), (10, 10));
    settle(&mut hub, &mut devices);
    for pair in 0..5 {
        for lane in 0..2 {
            let before = hub.epoch(id(pair, lane)).max(devices.epoch(id(pair, lane)));
            devices.establish(id(pair, lane));
            settle(&mut hub, &mut devices);
            let after = [hub.epoch(id(pair, lane)), devices.epoch(id(pair, lane))];
            assert!(after[0] == after[1] && after[0] > before, "pair {pair}: {after:?}");
        }
    }
}

#[test]
fn only_lanes_with_something_to_say_are_polled_and_only_due_ones_are_woken() {
    let (mut hub, mut devices) = sites(300, 1, false);
    devices.establish(id(17, 0));
    let first = devices.sent.pop_front().unwrap();
    let before = hub.table.asked_for_tests();
    let _ = hub.deliver(&first);
    // The second message, and the wait: one machine, twice, of 300.
    assert_eq!(hub.table.asked_for_tests() - before, 2);
    // Junk asks nobody.
    let before = hub.table.asked_for_tests();
    let _ = hub.deliver(b"junk");
    let _ = hub.deliver(&[0x11; 46]);
    assert_eq!(hub.table.asked_for_tests(), before);
    // Nothing but the answer has a deadline here.
    let deadline = hub.drain().unwrap();
    hub.now = deadline;
    hub.table.handle_timeout(hub.now, &mut hub.rng).unwrap();
    assert_eq!(hub.drain(), None);
    assert_eq!(hub.table.asked_for_tests() - before, 1);
}

#[test]
fn receipts_come_back_in_any_order_and_open_their_own_lane_only() {
    let mut table = PeerTable::new(TableConfig::new(3), Instant::ZERO, &mut rng());
    for pair in 0..3 {
        with_config(Side::A, pair, |config| {
            table.enrol(config, &secret(pair), Instant::ZERO, &mut rng_of(pair)).unwrap();
        });
    }
    let mut receipts = std::vec::Vec::new();
    while let Output::Persist(checkpoint) = table.poll_output() {
        let lane = checkpoint.record().lane();
        receipts.push((lane, checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap()));
    }
    assert_eq!(receipts.len(), 3);
    for pair in 0..3 {
        table.establish(id(pair, 0), Instant::ZERO, &mut rng_of(pair)).unwrap();
    }
    assert!(matches!(table.poll_output(), Output::Wait(Some(_))), "all wait for their receipts");
    // The lane of the first is gone: its receipt is foreign.
    let (lane, receipt) = receipts.remove(0);
    table.remove(lane).unwrap();
    assert_eq!(table.handle_persisted(receipt), Err(TableError::Receipt(ReceiptError::Foreign)));
    while let Some((lane, receipt)) = receipts.pop() {
        table.handle_persisted(receipt).unwrap();
        let Output::Transmit(transmit) = table.poll_output() else { panic!("its first message") };
        let Ok(Message::First(_)) = Message::decode(transmit.payload.as_bytes()) else {
            panic!("a first message")
        };
        assert_eq!(transmit.to, Destination::Peer(lane.pair()));
        assert!(matches!(table.poll_output(), Output::Wait(Some(_))), "and nobody else's");
    }
}

fn rng() -> chacha20::ChaCha20Rng {
    rng_of(99)
}

fn rng_of(seed: u32) -> chacha20::ChaCha20Rng {
    rand_core::SeedableRng::seed_from_u64(seed.into())
}
