//! A device that was rolled back comes back by its recovery lane.

use std::vec::Vec;

use skex_core::Label;
use skex_core::machine::{DiscardReason, Disposition};

use super::site::{Site, id, settle, sites};
use crate::{Event, LaneId, RecoveryCause, TableConfig, TableError, TableEvent};

const LANES: [LaneId; 2] = [LaneId::new(PAIR, 0), LaneId::new(PAIR, 1)];
const PAIR: skex_core::machine::PeerHandle = skex_core::machine::PeerHandle::new(1);
const RECOVERY: LaneId = LaneId::new(PAIR, crate::RECOVERY_LANE);

fn recover(site: &mut Site, cause: RecoveryCause) -> Result<(), TableError> {
    let done = site.table.recover(PAIR, cause, site.now, &mut site.rng);
    site.drain();
    done
}

/// Both ends had a handshake on each lane of pair 1, and the device was put back to what it was before the last one.
fn rolled_back(epochs: usize) -> (Site, Site) {
    let (mut hub, mut devices) = sites(2, 2, true);
    for lane in LANES {
        hub.establish(lane);
    }
    settle(&mut hub, &mut devices);
    let before: Vec<_> = LANES.iter().map(|lane| devices.slots[lane].clone()).collect();
    for _ in 0..epochs {
        for lane in LANES {
            hub.establish(lane);
        }
        settle(&mut hub, &mut devices);
    }
    for (lane, slots) in LANES.into_iter().zip(before) {
        devices.slots.insert(lane, slots);
    }
    devices.restart(TableConfig::new(1000));
    devices.events.clear();
    hub.events.clear();
    settle(&mut hub, &mut devices);
    (hub, devices)
}

/// Both ends have one new secret, and all lanes work again under it.
fn heals(hub: &mut Site, devices: &mut Site) {
    let (ours, theirs) = (hub.recovered.pop().unwrap(), devices.recovered.pop().unwrap());
    assert!(hub.recovered.is_empty() && devices.recovered.is_empty());
    assert_eq!(ours, theirs);
    for lane in LANES {
        hub.enrol_anew(lane, ours.secret().expose());
        devices.enrol_anew(lane, theirs.secret().expose());
        assert_eq!([hub.epoch(lane), devices.epoch(lane)], [0, 0]);
    }
    hub.events.clear();
    devices.events.clear();
    // The new records outrank the old ones.
    hub.restart(TableConfig::new(1000));
    devices.restart(TableConfig::new(1000));
    for lane in LANES {
        devices.establish(lane);
        settle(hub, devices);
        assert_eq!([hub.established(lane), devices.established(lane)], [1, 1]);
        let (one, other) = (hub.table.lane(lane).unwrap(), devices.table.lane(lane).unwrap());
        assert!(one.same_chain_for_tests(other));
    }
}

#[test]
fn a_device_that_was_rolled_back_by_one_epoch_recovers_by_itself() {
    let (mut hub, mut devices) = rolled_back(1);
    assert_eq!(recover(&mut devices, RecoveryCause::RolledBack), Err(TableError::NotRolledBack));
    devices.establish(LANES[0]);
    settle(&mut hub, &mut devices);
    assert!(devices.events.iter().any(|event| matches!(event, TableEvent::Lane(_, Event::RolledBack))));
    assert!(matches!(hub.events.as_slice(), [TableEvent::PeerBehind(lane)] if *lane == LANES[0]));

    recover(&mut devices, RecoveryCause::RolledBack).unwrap();
    settle(&mut hub, &mut devices);
    heals(&mut hub, &mut devices);
}

#[test]
fn a_deeper_rollback_takes_the_operators_at_both_ends() {
    let (mut hub, mut devices) = rolled_back(3);
    devices.establish(LANES[0]);
    settle(&mut hub, &mut devices);
    assert!(!devices.table.lane(LANES[0]).unwrap().is_rolled_back());
    assert_eq!(recover(&mut devices, RecoveryCause::RolledBack), Err(TableError::NotRolledBack));
    recover(&mut devices, RecoveryCause::Operator).unwrap();
    settle(&mut hub, &mut devices);
    assert!(devices.recovered.is_empty(), "the hub does not answer");
    assert!(hub.table.counters().count(DiscardReason::Policy) > 0);
    assert_eq!(hub.epoch(RECOVERY), 0);

    hub.table.allow_recovery(PAIR).unwrap();
    devices.wake();
    settle(&mut hub, &mut devices);
    heals(&mut hub, &mut devices);
}

#[test]
fn the_recovery_lane_serves_nothing_else_and_answers_once() {
    let (mut hub, mut devices) = sites(2, 2, true);
    let (table, rng, now) = (&mut hub.table, &mut hub.rng, hub.now);
    let session = skex_core::KeyId::new([0; 16]);
    assert_eq!(table.establish(RECOVERY, now, rng), Err(TableError::RecoveryOnly));
    assert_eq!(table.export_next(RECOVERY, Label::EXPORT_RAW, b""), Err(TableError::RecoveryOnly));
    assert_eq!(table.peek_at(RECOVERY, session, 0, Label::EXPORT_RAW, b""), Err(TableError::RecoveryOnly));
    assert_eq!(table.allow_recovery(id(9, 0).pair()), Err(TableError::NoRecoveryLane));
    // Where fresh material is required, it needs a block of its own.
    for site in [&mut hub, &mut devices] {
        site.table.provide_mix(RECOVERY, &crate::tests::pair::block(1)).unwrap();
        site.drain();
    }

    hub.table.allow_recovery(PAIR).unwrap();
    recover(&mut devices, RecoveryCause::Operator).unwrap();
    settle(&mut hub, &mut devices);
    assert_eq!((hub.recovered.len(), devices.recovered.len()), (1, 1));
    assert!(hub.table.lane(RECOVERY).unwrap().session().unwrap().mixed);
    // Through once, it is shut again.
    recover(&mut devices, RecoveryCause::Operator).unwrap();
    let first = devices.sent.pop_front().unwrap();
    assert_eq!(hub.deliver(&first), Disposition::Discarded(DiscardReason::Policy));
}

#[test]
fn a_recovery_lane_from_other_storage_serves_when_it_comes() {
    let (mut hub, mut devices) = rolled_back(1);
    hub.table.remove(RECOVERY).unwrap();
    devices.table.remove(RECOVERY).unwrap();
    devices.establish(LANES[1]);
    settle(&mut hub, &mut devices);
    assert_eq!(recover(&mut devices, RecoveryCause::RolledBack), Err(TableError::NoRecoveryLane));
    assert!(hub.events.iter().any(|event| matches!(event, TableEvent::PeerBehind(_))));
    hub.restore(RECOVERY).unwrap();
    devices.restore(RECOVERY).unwrap();
    recover(&mut devices, RecoveryCause::RolledBack).unwrap();
    settle(&mut hub, &mut devices);
    heals(&mut hub, &mut devices);
}

#[test]
fn a_responder_that_restarts_in_the_middle_of_a_recovery_still_gets_the_secret() {
    let (mut hub, mut devices) = rolled_back(1);
    hub.table.allow_recovery(PAIR).unwrap();
    recover(&mut devices, RecoveryCause::Operator).unwrap();
    for _ in 0..2 {
        // First, second.
        if let Some(message) = devices.sent.pop_front() {
            let _ = hub.deliver(&message);
        }
        if let Some(message) = hub.sent.pop_front() {
            let _ = devices.deliver(&message);
        }
        if hub.epoch(RECOVERY) == 1 {
            break;
        }
    }
    // The secret was given to the hub once; a start does not give it again.
    assert_eq!(hub.recovered.len(), 1);
    hub.restart(TableConfig::new(1000));
    assert_eq!(hub.recovered.len(), 1);
    settle(&mut hub, &mut devices);
    heals(&mut hub, &mut devices);
}

#[test]
fn an_initiator_that_restarts_in_the_middle_is_told_to_recover_once_more() {
    let (mut hub, mut devices) = rolled_back(1);
    hub.table.allow_recovery(PAIR).unwrap();
    recover(&mut devices, RecoveryCause::Operator).unwrap();
    let first = devices.sent.pop_front().unwrap();
    let _ = hub.deliver(&first);
    let second = hub.sent.pop_front().unwrap();
    let _ = devices.deliver(&second);
    assert_eq!(devices.epoch(RECOVERY), 1);
    devices.restart(TableConfig::new(1000));
    settle(&mut hub, &mut devices);
    assert!(
        devices.events.iter().any(|event| matches!(event, TableEvent::RecoveryLost(pair) if *pair == PAIR))
    );
    assert!(devices.recovered.is_empty());
    hub.recovered.clear();
    // The hub took the lost one for done.
    hub.table.allow_recovery(PAIR).unwrap();
    recover(&mut devices, RecoveryCause::Operator).unwrap();
    settle(&mut hub, &mut devices);
    heals(&mut hub, &mut devices);
}
