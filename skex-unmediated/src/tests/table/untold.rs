//! Events of messages that are discarded: they are told all the same.

use skex_core::machine::{DiscardReason, Disposition};

use super::site::{Site, id, secret, sites, with_config};
use crate::tests::pair::block;
use crate::{Event, LaneId, MixPolicy, Side, TableConfig, TableEvent};

const LANE: LaneId = id_of_the_lane();

const fn id_of_the_lane() -> LaneId {
    LaneId::new(skex_core::machine::PeerHandle::new(0), 0)
}

fn provide(site: &mut Site, octet: u8) {
    site.table.provide_mix(LANE, &block(octet)).unwrap();
    site.drain();
}

#[test]
fn a_block_that_a_rollback_took_is_missed_aloud_in_a_table_too() {
    let (mut hub, mut devices) = sites(1, 1, false);
    let before = devices.slots.clone();
    provide(&mut hub, 5);
    provide(&mut devices, 5);
    hub.establish(LANE);
    let _ = devices.deliver(&hub.sent.pop_front().unwrap());
    let _ = hub.deliver(&devices.sent.pop_front().unwrap());
    assert_eq!(hub.epoch(LANE), 1);
    hub.sent.clear();
    devices.slots = before;
    devices.restart(TableConfig::new(1000));
    hub.wake();
    let third = hub.sent.pop_back().unwrap();
    assert_eq!(devices.deliver(&third), Disposition::Discarded(DiscardReason::Exhausted));
    assert!(matches!(devices.events.last(), Some(TableEvent::Lane(LANE, Event::MixLost))));
}

#[test]
fn a_refusal_is_told_in_a_table_too_and_an_attempt_that_ended_with_it_is_found_no_more() {
    let config = TableConfig::new(1000);
    let (mut hub, mut devices) = (Site::new(Side::A, config), Site::new(Side::B, config));
    for site in [&mut hub, &mut devices] {
        let (table, rng) = (&mut site.table, &mut site.rng);
        let now = site.now;
        with_config(site.side, 0, |config| {
            table.enrol(&config.mix(MixPolicy::Require), &secret(0), now, rng).unwrap();
        });
        site.drain();
    }
    assert_eq!(id(0, 0), LANE);
    provide(&mut hub, 1);
    provide(&mut hub, 2);
    provide(&mut devices, 3);
    for withdrawn in [false, true] {
        if withdrawn {
            hub.table.withdraw_mixes(LANE).unwrap();
            hub.drain();
            hub.wake();
            hub.wake();
            hub.wake();
            hub.wake();
            hub.wake();
            hub.sent.clear();
        }
        hub.events.clear();
        hub.establish(LANE);
        let _ = devices.deliver(&hub.sent.pop_front().unwrap());
        let second = devices.sent.pop_front().unwrap();
        assert_eq!(hub.deliver(&second), Disposition::Discarded(DiscardReason::Policy));
        assert!(matches!(hub.events.last(), Some(TableEvent::Lane(LANE, Event::MixRefused))));
        hub.table.check_invariants();
    }
}
