//! What liars and silent hubs can and cannot do, for every size up to nine hubs, and the large ones.

use std::collections::BTreeMap;

use skex_dske::{Conduct, KeyError, KeyRequest, combinations};

use crate::oracle::Oracle;
use crate::world::{Cast, Setup, cast};

const WORK_LIMIT: u64 = 200_000;

/// Whether the key must come: b liars among the n - s hubs that deliver, as the specification promises.
fn promised(k: usize, n: usize, liars: usize, silent: usize) -> bool {
    let arrived = n - silent;
    let Some(surplus) = arrived.checked_sub(k) else { return false };
    let subsets = combinations(arrived as u8, k as u8);
    liars < k && (liars <= surplus / 2 || liars <= surplus && subsets <= WORK_LIMIT)
}

/// A key through n hubs, the first of which say nothing to anybody and the next of which lie to the responder.
fn outcome(seed: u64, k: usize, n: usize, liars: usize, silent: usize) -> (Cast, skex_core::KeyId) {
    outcome_with(seed, (k, n), liars, silent, |cast, hub| cast.lie_alone(hub, 1))
}

fn outcome_with(
    seed: u64,
    (k, n): (usize, usize),
    liars: usize,
    silent: usize,
    lie: impl Fn(&Cast, usize),
) -> (Cast, skex_core::KeyId) {
    let mut setup = Setup::new(n);
    setup.table_elements = 256;
    let mut cast = cast(seed, &setup);
    // Where they sit differs from seed to seed.
    let place = |i: usize| (i + seed as usize) % n;
    for hub in 0..silent {
        cast.world.kill(cast.hubs[place(hub)]);
    }
    for hub in silent..silent + liars {
        lie(&cast, place(hub));
    }
    let mut request = KeyRequest::new(k as u8);
    request.lifetime = 5;
    let id = cast.request(0, 1, request);
    cast.settle(8);
    (cast, id)
}

fn expected(seed: u64, n: usize, liars: usize, silent: usize) -> Vec<Conduct> {
    let of = |hub: usize| match (hub + n - seed as usize % n) % n {
        i if i < silent => Conduct::Silent,
        i if i < silent + liars => Conduct::Lying,
        _ => Conduct::Good,
    };
    (0..n).map(of).collect()
}

/// All (k, n, liars, silent) with n up to 9: where it is promised the right key comes, at both ends, and the report
/// of the responder names exactly the liars; where fewer honest shares than the threshold arrive there is none at either end, and an error.
#[test]
fn scenario_51_the_availability_matrix() {
    let mut table: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    let (mut keys, mut errors) = (0, 0);
    for n in 2..=9 {
        for k in 2..=n {
            for silent in 0..=n {
                let mut row = String::new();
                for liars in 0..=n - silent {
                    let seed = (n * 1000 + k * 100 + silent * 10 + liars) as u64;
                    let (cast, id) = outcome(seed, k, n, liars, silent);
                    let (ours, theirs) = (cast.key(0, id), cast.key(1, id));
                    let case = format!("{k} of {n}, {liars} lie, {silent} are silent");
                    if promised(k, n, liars, silent) {
                        cast.assert_agreed(0, 1, id);
                        let truth = expected(seed, n, liars, silent);
                        assert_eq!(cast.conducts(1, id).unwrap(), truth, "{case}");
                        // The confirmation was fixed when the key was found: a liar who came later is not in it.
                        for (said, is) in cast.conducts(0, id).unwrap().iter().zip(&truth) {
                            assert!(said == is || (said, is) == (&Conduct::Good, &Conduct::Lying), "{case}");
                        }
                        keys += 1;
                        row.push('K');
                    } else if n - silent - liars >= k {
                        // As many liars as the threshold could make any key, if they worked together. These do not.
                        cast.assert_agreed(0, 1, id);
                        keys += 1;
                        row.push('r');
                    } else {
                        assert!(ours.is_none() && theirs.is_none(), "{case}: a key that nobody promised");
                        let error = if n - silent < k { KeyError::TooFewHubs } else { KeyError::Unconfirmed };
                        assert_eq!(cast.failure(0, id), Some(error), "{case}");
                        let error = (n - silent >= k).then_some(KeyError::Undecodable);
                        assert_eq!(cast.failure(1, id), error, "{case}");
                        errors += 1;
                        row.push('-');
                    }
                    Oracle::acquit(&cast);
                }
                table.entry((k, n)).or_default().push(row);
            }
        }
    }
    println!(
        "K: the key, right, and the liars named; r: the right key, though as many lie as could make one together;"
    );
    println!("-: a clear error, no key at either end. A group for each number of silent hubs, a column");
    println!("for each number of liars, both from 0.");
    for ((k, n), rows) in table {
        println!("{k} of {n}: {}", rows.join(" "));
    }
    assert!(keys > 300 && errors > 300, "{keys} keys, {errors} errors");
}

#[test]
fn sixteen_of_thirty_one_with_seven_liars_is_right() {
    for seed in 0..3 {
        let (cast, id) = outcome(seed, 16, 31, 7, 0);
        cast.assert_agreed(0, 1, id);
        assert_eq!(cast.conducts(1, id).unwrap(), expected(seed, 31, 7, 0));
        Oracle::acquit(&cast);
    }
}

/// Six lie and nine are silent: beyond half the surplus, and more subsets than are tried while shares may still come. The long search
/// is made once none comes any more.
#[test]
fn sixteen_of_thirty_one_with_six_liars_and_nine_silent_is_right() {
    for seed in 0..3 {
        let (cast, id) = outcome(seed, 16, 31, 6, 9);
        cast.assert_agreed(0, 1, id);
        assert_eq!(cast.conducts(1, id).unwrap(), expected(seed, 31, 6, 9));
        Oracle::acquit(&cast);
    }
}

/// Beyond half the surplus at such a size, no promise holds but one: never a wrong key.
#[test]
fn sixteen_of_thirty_one_with_more_liars_is_right_or_nothing() {
    for liars in [8, 12, 15] {
        let (cast, id) = outcome(liars as u64, 16, 31, liars, 0);
        match (cast.key(0, id), cast.key(1, id)) {
            (None, None) => assert!(cast.failure(0, id).is_some()),
            (Some(ours), Some(theirs)) => assert_eq!(ours, theirs),
            (ours, theirs) => panic!("one end alone: {} {}", ours.is_some(), theirs.is_some()),
        }
        Oracle::acquit(&cast);
    }
}

/// Errors of the same shape cancel where they can: liars who work together. Whatever comes, it is the right key or none,
/// and blame that is called certain falls on no honest hub.
#[test]
fn scenario_11_liars_who_flip_the_same_bit_never_get_an_honest_hub_certainly_blamed() {
    let mut keys = 0;
    for (k, n) in [(2, 5), (3, 5), (3, 7), (4, 7), (4, 9), (5, 9), (8, 15), (16, 31)] {
        for liars in 1..k {
            for seed in 0..2 {
                let (cast, id) = outcome_with(seed, (k, n), liars, 0, |cast, hub| cast.lie(hub, 1));
                Oracle::acquit(&cast);
                if cast.key(1, id).is_none() {
                    assert!(cast.failure(1, id).is_some() && cast.key(0, id).is_none());
                    continue;
                }
                cast.assert_agreed(0, 1, id);
                keys += 1;
                let truth = expected(seed, n, liars, 0);
                for client in [0, 1] {
                    let case = format!("{k} of {n}, {liars} lie, client {client}, seed {seed}");
                    let conducts = cast.conducts(client, id).unwrap();
                    if cast.blames_with_certainty(client, id).unwrap() {
                        for (said, is) in conducts.iter().zip(&truth) {
                            assert!(said != &Conduct::Lying || is == &Conduct::Lying, "{case}: {conducts:?}");
                        }
                    }
                    if client == 1 && liars <= (n - k) / 2 {
                        assert_eq!(conducts, truth, "{case}");
                    }
                }
            }
        }
    }
    assert!(keys > 20, "{keys}");
}
