//! Two clients that never met get the same key, whatever fewer hubs than the threshold do.

use core::time::Duration;

use skex_dske::{Conduct, KeyError, KeyRequest};
use skex_sim::for_each_seed;

use crate::world::{Cast, Setup, cast};

#[test]
fn a_key_through_three_of_five_hubs() {
    let mut cast = cast(1, &Setup::new(5));
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    for client in [0, 1] {
        assert_eq!(cast.conducts(client, id).unwrap(), [Conduct::Good; 5]);
    }
}

#[test]
fn scenario_63_keys_both_ways_at_once_are_two_keys() {
    let mut cast = cast(2, &Setup::new(5));
    let there = cast.request(0, 1, KeyRequest::new(3));
    let back = cast.request(1, 0, KeyRequest::new(3));
    cast.settle(5);
    cast.assert_agreed(0, 1, there);
    cast.assert_agreed(1, 0, back);
    assert_ne!(cast.key(0, there), cast.key(0, back));
}

/// Many keys are asked for while a hub is away: it is said hello to as often as at first repetitions, four times a second, and not for each key. Who
/// has heard nothing for long, and so repeats seldom, says hello at once when a key is asked for.
#[test]
fn keys_that_are_asked_for_hurry_a_hello_but_not_beyond_the_first_pace() {
    let mut cast = cast(3, &Setup::new(3));
    let (away, client) = (cast.hubs[2], cast.clients[0]);
    cast.world.kill(away);
    let address = cast.world.net().address(away);
    let hellos = |cast: &Cast| cast.world.net().sent_by(client).filter(|sent| sent.to == address).count();
    let mut request = KeyRequest::new(2);
    request.lifetime = 1;
    for _ in 0..200 {
        let _ = cast.try_request(0, 1, request);
        cast.world.run_for(Duration::from_millis(10), 1_000_000);
    }
    let said = hellos(&cast);
    assert!((8..=9).contains(&said), "{said} in two seconds");
    cast.settle(60);
    let seldom = hellos(&cast);
    assert!(seldom - said < 12, "{seldom}");
    cast.world.restart(away);
    cast.world.run_for(Duration::from_secs(1), 1_000_000);
    assert_eq!(hellos(&cast), seldom, "it is not its time");
    let id = cast.request(0, 1, KeyRequest::new(3));
    assert_eq!(hellos(&cast), seldom + 1);
    cast.world.run_for(Duration::from_secs(1), 1_000_000);
    cast.assert_agreed(0, 1, id);
}

#[test]
fn scenario_25_one_hub_dead_and_one_lying_are_told_apart() {
    for_each_seed(0..5, |seed| {
        let mut cast = cast(seed, &Setup::new(5));
        cast.world.kill(cast.hubs[1]);
        cast.lie(3, 1);
        let id = cast.request(0, 1, KeyRequest::new(3));
        cast.settle(10);
        cast.assert_agreed(0, 1, id);
        let expected = [Conduct::Good, Conduct::Silent, Conduct::Good, Conduct::Lying, Conduct::Good];
        assert_eq!(cast.conducts(1, id).unwrap(), expected);
        assert_eq!(cast.conducts(0, id).unwrap(), expected);
    });
}

#[test]
fn every_size_from_two_of_three_to_sixteen_of_thirty_one() {
    for (k, n) in [(2, 3), (3, 5), (4, 7), (5, 9), (8, 15), (16, 31)] {
        let mut cast = cast(u64::from(k), &Setup::new(n));
        let id = cast.request(0, 1, KeyRequest::new(k));
        cast.settle(5);
        cast.assert_agreed(0, 1, id);
    }
}

#[test]
fn scenario_53_too_few_hubs_is_an_error_and_not_a_key() {
    let mut cast = cast(4, &Setup::new(5));
    for hub in 0..3 {
        cast.world.kill(cast.hubs[hub]);
    }
    let mut request = KeyRequest::new(3);
    request.lifetime = 20;
    let id = cast.request(0, 1, request);
    cast.settle(30);
    assert_eq!(cast.failure(0, id), Some(KeyError::TooFewHubs));
    assert_eq!((cast.key(0, id), cast.key(1, id)), (None, None));
}
