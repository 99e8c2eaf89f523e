//! The table against the simplest model of it: look at every lane.

use std::vec::Vec;

use proptest::prelude::*;
use skex_core::machine::{DiscardReason, Disposition};
use skex_wire::unmediated::Message;

use super::site::{Site, id};
use crate::peer::Tag;
use crate::{LaneId, Side, TableConfig};

const PAIRS: u32 = 4;

/// What may happen to a hub and its devices.
#[derive(Clone, Debug)]
enum Step {
    Enrol(u32),
    Remove(u32),
    Establish(bool, u32),
    /// Delivers the message of this number that is on its way, keeps it on its way or not.
    Deliver(usize, bool),
    Wake(bool),
    Restart(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..PAIRS).prop_map(Step::Enrol),
        1 => (0..PAIRS).prop_map(Step::Remove),
        4 => (any::<bool>(), 0..PAIRS).prop_map(|(side, pair)| Step::Establish(side, pair)),
        12 => (any::<usize>(), any::<bool>()).prop_map(|(at, keep)| Step::Deliver(at, keep)),
        2 => any::<bool>().prop_map(Step::Wake),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

fn lanes(site: &Site) -> Vec<LaneId> {
    (0..PAIRS).map(|pair| id(pair, 0)).filter(|lane| site.table.lane(*lane).is_some()).collect()
}

/// Whom a message names, by looking at every lane.
fn named(site: &Site, message: &[u8]) -> Vec<LaneId> {
    let Ok(decoded) = Message::decode(message) else { return Vec::new() };
    let tag = Tag::of(&decoded);
    lanes(site).into_iter().filter(|lane| site.table.lane(*lane).unwrap().tags().contains(&tag)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_reaches_those_that_it_names_and_changes_no_other(steps in prop::collection::vec(step(), 1..80)) {
        let config = TableConfig::new(PAIRS);
        let mut sites = [Site::new(Side::A, config), Site::new(Side::B, config)];
        for pair in 0..PAIRS {
            for site in &mut sites {
                site.enrol(pair, 0).unwrap();
            }
        }
        // With the number of the site that each is for.
        let mut flying: Vec<(usize, Vec<u8>)> = Vec::new();
        for step in steps {
            match step {
                Step::Enrol(pair) => {
                    let expected = sites[0].table.lane(id(pair, 0)).is_none();
                    prop_assert_eq!(sites[0].enrol(pair, 0).is_ok(), expected);
                }
                Step::Remove(pair) => {
                    let expected = sites[0].table.lane(id(pair, 0)).is_some();
                    prop_assert_eq!(sites[0].table.remove(id(pair, 0)).is_ok(), expected);
                    sites[0].slots.remove(&id(pair, 0));
                }
                Step::Establish(side, pair) => {
                    let site = &mut sites[usize::from(side)];
                    let (now, lane) = (site.now, id(pair, 0));
                    let _ = site.table.establish(lane, now, &mut site.rng);
                    site.drain();
                }
                Step::Deliver(at, keep) if !flying.is_empty() => {
                    let at = at % flying.len();
                    let (to, message) = if keep { flying[at].clone() } else { flying.swap_remove(at) };
                    let site = &mut sites[to];
                    let named = named(site, &message);
                    let others: Vec<_> = lanes(site).into_iter().filter(|lane| !named.contains(lane)).collect();
                    let picture = |site: &Site| -> Vec<_> {
                        others.iter().map(|lane| site.table.lane(*lane).unwrap().fingerprint_for_tests()).collect()
                    };
                    let before = picture(site);
                    let done = site.deliver(&message);
                    let unknown = done == Disposition::Discarded(DiscardReason::UnknownPeer);
                    prop_assert_eq!(unknown, named.is_empty());
                    prop_assert_eq!(before, picture(site));
                }
                Step::Deliver(..) => {}
                Step::Wake(side) => sites[usize::from(side)].wake(),
                Step::Restart(side) => sites[usize::from(side)].restart(config),
            }
            for (from, site) in sites.iter_mut().enumerate() {
                flying.extend(site.sent.drain(..).map(|message| (1 - from, message)));
                site.table.check_invariants();
            }
            // Old ones are lost.
            let surplus = flying.len().saturating_sub(12);
            flying.drain(..surplus);
        }
    }
}
