//! A device that was rolled back comes back by its recovery lane.

use std::vec::Vec;

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use skex_core::Label;
use skex_core::machine::{DiscardReason, Disposition, Instant};

use super::site::{Site, id, settle, sites};
use crate::rules::Rule;
use crate::tests::pair::{Options, Pair};
use crate::tests::rules::load_bearing;
use crate::{Error, Event, LaneId, RecoveryCause, Side, TableConfig, TableError, TableEvent};

pub(super) const LANES: [LaneId; 2] = [LaneId::new(PAIR, 0), LaneId::new(PAIR, 1)];
pub(super) const PAIR: skex_core::machine::PeerHandle = skex_core::machine::PeerHandle::new(1);
pub(super) const RECOVERY: LaneId = LaneId::new(PAIR, crate::RECOVERY_LANE);

fn recover(site: &mut Site, cause: RecoveryCause) -> Result<(), TableError> {
    let done = site.table.recover(PAIR, cause, site.now, &mut site.rng);
    site.drain();
    done
}

/// What an application does of its own accord: who was rolled back recovers, and what has recovered is concluded.
fn react(site: &mut Site) {
    for event in core::mem::take(&mut site.events) {
        match event {
            TableEvent::Lane(lane, Event::RolledBack) if !lane.is_recovery() => {
                let _ = recover(site, RecoveryCause::RolledBack);
            }
            TableEvent::Lane(RECOVERY, Event::Unanswered) => {
                let _ = recover(site, RecoveryCause::RolledBack);
            }
            TableEvent::Recovered(PAIR) => {
                let _ = site.table.conclude_recovery(PAIR);
                site.drain();
            }
            _ => {}
        }
    }
}

fn agree(hub: &Site, devices: &Site, lane: LaneId) -> bool {
    let (Some(one), Some(other)) = (hub.table.lane(lane), devices.table.lane(lane)) else { return false };
    let (Some(ours), Some(theirs)) = (one.session(), other.session()) else { return false };
    ours.id == theirs.id && ours.confirmed && theirs.confirmed && one.same_chain_for_tests(other)
}

/// Nothing is lost any more, and nobody but the applications acts: a new session comes of it on every lane.
pub(super) fn heal(hub: &mut Site, devices: &mut Site) -> bool {
    let epochs: Vec<_> = LANES.iter().map(|lane| (*lane, hub.slots[lane].clone())).collect();
    for round in 0..24 {
        for site in [&mut *hub, &mut *devices] {
            if site.is_down {
                site.restart(TableConfig::new(1000));
            }
        }
        for lane in LANES {
            let _ = devices.try_establish(lane);
        }
        settle(hub, devices);
        for site in [&mut *hub, &mut *devices] {
            react(site);
        }
        settle(hub, devices);
        let moved = epochs.iter().all(|(lane, slots)| hub.slots[lane] != *slots);
        if !hub.is_down && !devices.is_down && moved && LANES.iter().all(|lane| agree(hub, devices, *lane)) {
            return true;
        }
        for site in [&mut *hub, &mut *devices] {
            if round % 4 == 3 {
                // As long as the third message waits at most.
                site.now = site.now.saturating_add(core::time::Duration::from_secs(3600));
            }
            site.wake();
        }
    }
    false
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
    assert_eq!((hub.recovered, devices.recovered), (1, 1));
    for site in [&mut *hub, &mut *devices] {
        for lane in LANES {
            assert_eq!(site.epoch(lane), 0);
            assert_eq!(site.try_establish(lane), Err(TableError::Peer(Error::Held)), "silent until then");
            assert_eq!(site.enrol_anew(lane, &[1; 32]), Err(TableError::RecoveryUnderWay));
        }
        site.table.conclude_recovery(PAIR).unwrap();
        site.drain();
        assert_eq!(site.table.conclude_recovery(PAIR), Err(TableError::RecoveryUnderWay), "once");
    }
    // The new records outrank the old ones.
    hub.restart(TableConfig::new(1000));
    devices.restart(TableConfig::new(1000));
    hub.events.clear();
    devices.events.clear();
    for lane in LANES {
        devices.establish(lane);
        settle(hub, devices);
        assert_eq!([hub.established(lane), devices.established(lane)], [1, 1]);
        assert!(agree(hub, devices, lane));
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
    load_bearing(Rule::ShutRecovery, || {
        let (mut hub, mut devices) = rolled_back(3);
        devices.establish(LANES[0]);
        settle(&mut hub, &mut devices);
        assert!(!devices.table.lane(LANES[0]).unwrap().is_rolled_back());
        assert_eq!(recover(&mut devices, RecoveryCause::RolledBack), Err(TableError::NotRolledBack));
        recover(&mut devices, RecoveryCause::Operator).unwrap();
        settle(&mut hub, &mut devices);
        assert_eq!(devices.recovered, 0, "the hub does not answer");
        assert!(hub.table.discards().count(DiscardReason::Policy) > 0);
        assert_eq!(hub.epoch(RECOVERY), 0);

        hub.table.allow_recovery(PAIR).unwrap();
        hub.drain();
        devices.wake();
        settle(&mut hub, &mut devices);
        heals(&mut hub, &mut devices);
    });
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
    assert_eq!(table.conclude_recovery(PAIR), Err(TableError::RecoveryUnderWay));
    // Where fresh material is required, it needs a block of its own.
    for site in [&mut hub, &mut devices] {
        site.table.provide_mix(RECOVERY, &crate::tests::pair::block(1)).unwrap();
        site.drain();
    }

    hub.table.allow_recovery(PAIR).unwrap();
    hub.drain();
    recover(&mut devices, RecoveryCause::Operator).unwrap();
    settle(&mut hub, &mut devices);
    assert_eq!((hub.recovered, devices.recovered), (1, 1));
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

/// While its secret is not erased, a lane that comes late, or a recovery lane that comes last, changes nothing.
#[test]
fn lanes_come_into_the_table_in_any_order_in_the_middle_of_a_recovery() {
    for order in [[LANES[0], LANES[1], RECOVERY], [RECOVERY, LANES[1], LANES[0]]] {
        let (mut hub, mut devices) = rolled_back(1);
        devices.establish(LANES[0]);
        settle(&mut hub, &mut devices);
        recover(&mut devices, RecoveryCause::RolledBack).unwrap();
        settle(&mut hub, &mut devices);
        for site in [&mut hub, &mut devices] {
            for lane in order {
                site.table.remove(lane).unwrap();
            }
            site.recovered = 0;
            for lane in order {
                site.restore(lane).unwrap();
                if lane != RECOVERY {
                    assert_eq!(site.try_establish(lane), Err(TableError::Peer(Error::Held)));
                }
            }
        }
        for site in [&mut hub, &mut devices] {
            assert!(site.recovered > 0);
            site.recovered = 1;
        }
        heals(&mut hub, &mut devices);
    }
}

/// The lanes lie in other storage, and come later: the secret is still needed.
#[test]
fn a_recovery_is_not_concluded_while_no_other_lane_is_there() {
    let (mut hub, mut devices) = world(true);
    settle(&mut hub, &mut devices);
    for site in [&mut hub, &mut devices] {
        for lane in LANES {
            site.table.remove(lane).unwrap();
        }
        assert_eq!(site.table.conclude_recovery(PAIR), Err(TableError::RecoveryUnderWay));
        for lane in LANES {
            site.restore(lane).unwrap();
        }
    }
    settle(&mut hub, &mut devices);
    assert!(heal(&mut hub, &mut devices));
}

/// Its epochs count from 0 again, and the one of the next recovery is that of the one before.
#[test]
fn a_recovery_goes_through_after_its_lane_alone_was_enrolled_anew() {
    let (mut hub, mut devices) = world(true);
    settle(&mut hub, &mut devices);
    assert!(heal(&mut hub, &mut devices));
    for site in [&mut hub, &mut devices] {
        site.enrol_anew(RECOVERY, &[0x77; 32]).unwrap();
        site.table.allow_recovery(PAIR).unwrap();
        site.drain();
        site.recovered = 0;
    }
    recover(&mut devices, RecoveryCause::Operator).unwrap();
    settle(&mut hub, &mut devices);
    assert_eq!((hub.recovered, devices.recovered), (1, 1));
    assert!(heal(&mut hub, &mut devices));
}

/// The worlds of the tests below: a rollback that a stale notice proves, and a deeper one, for which both operators have spoken.
fn world(deep: bool) -> (Site, Site) {
    let (mut hub, mut devices) = rolled_back(if deep { 3 } else { 1 });
    if deep {
        hub.table.allow_recovery(PAIR).unwrap();
        hub.drain();
        // The write of the wish is the operator's to see done.
        devices.table.recover(PAIR, RecoveryCause::Operator, devices.now, &mut devices.rng).unwrap();
        devices.drain();
    }
    (hub, devices)
}

fn side<'a>(hub: &'a mut Site, devices: &'a mut Site, which: Side) -> &'a mut Site {
    if which == Side::A { hub } else { devices }
}

/// Power is lost before any step of a recovery, at either end; then nobody acts but the applications. How many crashes.
fn crash_everywhere(deep: bool) -> usize {
    let mut crashes = 0;
    for victim in [Side::A, Side::B] {
        for step in 0.. {
            let (mut hub, mut devices) = world(deep);
            let end = side(&mut hub, &mut devices, victim);
            end.crash_at = Some(end.steps + step);
            assert!(heal(&mut hub, &mut devices), "{victim:?} crashed at step {step}, deep: {deep}");
            if side(&mut hub, &mut devices, victim).crash_at.is_some() {
                break;
            }
            crashes += 1;
        }
    }
    crashes
}

#[test]
fn a_crash_before_any_step_of_a_recovery_heals_by_itself() {
    let crashes = crash_everywhere(false) + crash_everywhere(true);
    assert!(crashes > 100, "{crashes}");
}

/// The same with two crashes, of one end or of both, within the steps of a recovery.
#[test]
fn two_crashes_at_any_two_steps_of_a_recovery_heal_by_themselves() {
    let mut worlds = 0;
    for (first, second) in [(Side::A, Side::B), (Side::B, Side::A), (Side::A, Side::A), (Side::B, Side::B)] {
        for step in (0..).step_by(1) {
            let mut crashed = false;
            for next in 0.. {
                let (mut hub, mut devices) = world(false);
                let end = side(&mut hub, &mut devices, first);
                end.crash_at = Some(end.steps + step);
                // Both run until the first crash; the second one is counted from there.
                let healed = heal_until_down(&mut hub, &mut devices, first);
                crashed = side(&mut hub, &mut devices, first).is_down;
                if healed || !crashed {
                    break;
                }
                let end = side(&mut hub, &mut devices, second);
                end.crash_at = Some(end.steps + next);
                assert!(heal(&mut hub, &mut devices), "{first:?} at {step}, {second:?} {next} later");
                worlds += 1;
                if side(&mut hub, &mut devices, second).crash_at.is_some() {
                    break;
                }
            }
            if !crashed {
                break;
            }
        }
    }
    std::println!("{worlds} worlds with two crashes");
    assert!(worlds > 1000, "{worlds}");
}

/// As `heal`, but comes back when this end is down.
fn heal_until_down(hub: &mut Site, devices: &mut Site, which: Side) -> bool {
    for _ in 0..24 {
        for lane in LANES {
            let _ = devices.try_establish(lane);
        }
        settle(hub, devices);
        for site in [&mut *hub, &mut *devices] {
            react(site);
        }
        settle(hub, devices);
        if side(hub, devices, which).is_down {
            return false;
        }
        if LANES.iter().all(|lane| agree(hub, devices, *lane)) {
            return true;
        }
        for site in [&mut *hub, &mut *devices] {
            site.wake();
        }
    }
    true
}

/// Messages lost, repeated and out of order, restarts and wishes at any time: a failing seed is printed.
#[test]
fn a_recovery_in_a_storm_heals_once_it_is_over() {
    for seed in 0..1000 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut below = |most: usize| usize::try_from(rng.next_u32()).unwrap() % most;
        let (mut hub, mut devices) = world(seed % 2 == 1);
        let mut flying: Vec<(Side, Vec<u8>)> = Vec::new();
        for _ in 0..80 {
            let which = if below(2) == 0 { Side::A } else { Side::B };
            let end = side(&mut hub, &mut devices, which);
            match below(12) {
                0 => end.restart(TableConfig::new(1000)),
                1 => end.crash_at = Some(end.steps + below(12)),
                2 => end.wake(),
                3 => react(end),
                4 => drop(end.try_establish(LANES[below(2)])),
                5 => drop(recover(end, RecoveryCause::RolledBack)),
                // Any message that was ever sent arrives, perhaps not for the first time.
                _ if !flying.is_empty() => {
                    let (to, message) = flying[below(flying.len())].clone();
                    let _ = side(&mut hub, &mut devices, to).deliver(&message);
                }
                _ => {}
            }
            for (from, to) in [(Side::A, Side::B), (Side::B, Side::A)] {
                let end = side(&mut hub, &mut devices, from);
                flying.extend(end.sent.drain(..).map(|message| (to, message)));
                if end.is_down {
                    end.restart(TableConfig::new(1000));
                }
            }
        }
        hub.crash_at = None;
        devices.crash_at = None;
        assert!(heal(&mut hub, &mut devices), "seed {seed}");
    }
}

/// The responder restarts between its second message and the third: the session of the recovery lane is void at both ends. Who
/// began recovers again, and the other answers, although nobody allows it once more.
#[test]
fn a_recovery_whose_session_is_void_is_begun_again() {
    load_bearing(Rule::VoidIsNoRecovery, || {
        let (mut hub, mut devices) = world(true);
        let first = devices.sent.pop_front().unwrap();
        let _ = hub.deliver(&first);
        let second = hub.sent.pop_front().unwrap();
        let _ = devices.deliver(&second);
        devices.sent.clear();
        hub.restart(TableConfig::new(1000));
        assert!(heal(&mut hub, &mut devices));
        assert_eq!((hub.epoch(RECOVERY), devices.epoch(RECOVERY)), (2, 2));
    });
}

/// A day passes between the move of the initiator and the fourth message.
#[test]
fn a_recovery_does_not_expire_at_one_end() {
    load_bearing(Rule::RecoveryNeverExpires, || {
        let (mut hub, mut devices) = world(true);
        let first = devices.sent.pop_front().unwrap();
        let _ = hub.deliver(&first);
        let second = hub.sent.pop_front().unwrap();
        let _ = devices.deliver(&second);
        let third = devices.sent.pop_front().unwrap();
        let _ = hub.deliver(&third);
        react(&mut hub);
        hub.sent.clear();
        for _ in 0..60 {
            devices.wake();
            devices.sent.clear();
        }
        assert!(devices.now.as_millis() > 24 * 3_600_000);
        assert!(heal(&mut hub, &mut devices));
        assert_eq!((hub.epoch(RECOVERY), devices.epoch(RECOVERY)), (1, 1));
    });
}

#[test]
fn that_a_recovery_is_wanted_and_its_secret_outlive_a_restart() {
    load_bearing(Rule::RecoveryIsDurable, || {
        let (mut hub, mut devices) = world(true);
        devices.sent.clear();
        devices.restart(TableConfig::new(1000));
        assert!(heal(&mut hub, &mut devices));
    });
}

/// The initiator's power fails once its application was told, and the peer is not heard again: there is nobody to ask.
#[test]
fn a_recovery_that_was_told_is_not_taken_back_by_a_restart() {
    load_bearing(Rule::ConfirmRecovery, || {
        let (mut hub, mut devices) = world(true);
        settle(&mut hub, &mut devices);
        assert_eq!(devices.recovered, 1);
        devices.restart(TableConfig::new(1000));
        assert_eq!(devices.recovered, 2, "told again");
        devices.table.conclude_recovery(PAIR).unwrap();
        devices.drain();
        for lane in LANES {
            devices.try_establish(lane).unwrap();
        }
    });
}

/// Else a lane would have sessions whose keys the secret in the recovery lane's record rebuilds, and a crash would enrol it
/// anew after it had moved.
#[test]
fn lanes_are_silent_until_the_secret_is_erased() {
    load_bearing(Rule::HoldRecovered, || {
        let (mut hub, mut devices) = world(true);
        settle(&mut hub, &mut devices);
        assert_eq!((hub.recovered, devices.recovered), (1, 1));
        for lane in LANES {
            let _ = devices.try_establish(lane);
        }
        settle(&mut hub, &mut devices);
        for lane in LANES {
            assert_eq!(
                (hub.epoch(lane), devices.epoch(lane)),
                (0, 0),
                "no session before the secret is gone"
            );
        }
        assert!(heal(&mut hub, &mut devices));
    });
}

/// Both ends are rolled back, and both recover.
#[test]
fn two_ends_that_recover_at_once_heal() {
    let (mut hub, mut devices) = rolled_back(3);
    for site in [&mut hub, &mut devices] {
        recover(site, RecoveryCause::Operator).unwrap();
    }
    assert!(heal(&mut hub, &mut devices));
}

/// A second recovery begins before the first is concluded at one end.
#[test]
fn a_recovery_that_overtakes_another_heals() {
    for slow in [Side::A, Side::B] {
        let (mut hub, mut devices) = world(true);
        settle(&mut hub, &mut devices);
        let fast = side(&mut hub, &mut devices, if slow == Side::A { Side::B } else { Side::A });
        react(fast);
        let end = side(&mut hub, &mut devices, slow);
        end.events.clear();
        hub.table.allow_recovery(PAIR).unwrap();
        hub.drain();
        recover(&mut devices, RecoveryCause::Operator).unwrap();
        settle(&mut hub, &mut devices);
        assert_eq!((hub.epoch(RECOVERY), devices.epoch(RECOVERY)), (2, 2));
        assert!(heal(&mut hub, &mut devices));
    }
}

/// Else who was told that its block is stored would have lost it.
#[test]
fn blocks_that_are_provided_to_held_lanes_stay_over_a_restart() {
    let (mut hub, mut devices) = world(true);
    settle(&mut hub, &mut devices);
    for site in [&mut hub, &mut devices] {
        site.table.provide_mix(LANES[0], &crate::tests::pair::block(3)).unwrap();
        site.drain();
        site.restart(TableConfig::new(1000));
    }
    assert!(heal(&mut hub, &mut devices));
    for site in [&hub, &devices] {
        assert!(site.table.lane(LANES[0]).unwrap().session().unwrap().mixed);
    }
}

/// A table is not needed for it: the same with machines alone, as a device without an allocator has them.
#[test]
fn machines_alone_recover() {
    let lane = |lane| Options { lane, ..Options::default() };
    let mut pair = Pair::new(lane(0));
    let mut recovery = Pair::new(lane(crate::RECOVERY_LANE));
    pair.handshake(Side::A);
    assert_eq!(pair.a.peer().enrol_by_recovery(recovery.a.peer()), Err(Error::NotRecovered));
    recovery.b.peer().allow_recovery();
    recovery.b.drain();
    recovery.handshake(Side::A);
    for (end, recovery) in [(&mut pair.a, &mut recovery.a), (&mut pair.b, &mut recovery.b)] {
        assert!(recovery.peer().has_recovered());
        let session = recovery.peer().session().unwrap().id;
        assert!(recovery.peer().export_at(session, 0, Label::EXPORT_LANE, b"").is_err());
        assert!(recovery.peer().export_next(Label::EXPORT_LANE, b"").is_err());
        for _ in 0..2 {
            end.peer().enrol_by_recovery(recovery.peer()).unwrap();
            end.drain();
        }
        assert!(end.peer().is_held() && end.peer().is_settled());
        assert_eq!(end.peer().release(recovery.peer()), Err(Error::Held));
        recovery.peer().conclude_recovery().unwrap();
        assert_eq!(end.peer().release(recovery.peer()), Err(Error::Held), "that is not durable yet");
        recovery.drain();
        end.peer().release(recovery.peer()).unwrap();
        end.drain();
    }
    pair.handshake(Side::B);
    assert_eq!(pair.agree(), Some(1));
}

#[test]
fn a_recovery_begins_at_the_time_of_the_table_although_the_clock_ran_backwards() {
    let (_, mut devices) = sites(2, 1, true);
    devices.now = Instant::from_millis(1_000_000);
    devices.table.handle_timeout(devices.now, &mut devices.rng).unwrap();
    devices.table.recover(PAIR, RecoveryCause::Operator, Instant::ZERO, &mut devices.rng).unwrap();
    assert!(devices.drain() > Some(devices.now), "a first message is repeated a second later, not at once");
}
