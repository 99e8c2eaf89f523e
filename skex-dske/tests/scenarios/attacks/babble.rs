//! An enrolled end that says anything: rightly sealed, and then whatever comes to its mind.

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use skex_dske::KeyRequest;
use skex_sim::for_each_seed;

use super::liar::{Liar, Share, pass};
use crate::seeds;
use crate::world::{Cast, Setup, cast};

/// A number that is likely to be at some bound.
fn number(rng: &mut ChaCha20Rng) -> u32 {
    let near = rng.next_u32() % 8;
    match rng.next_u32() % 6 {
        0 => near,
        1 => u32::MAX - near,
        2 => 4096_u32.wrapping_add(near).wrapping_sub(4),
        3 => 130 + near,
        4 => rng.next_u32() % 4096,
        _ => rng.next_u32(),
    }
}

/// Any inner message: what was heard with some octets changed, or one made up.
pub fn anything(rng: &mut ChaCha20Rng, heard: &[Vec<u8>]) -> Vec<u8> {
    if !heard.is_empty() && rng.next_u32().is_multiple_of(2) {
        let mut inner = heard[rng.next_u32() as usize % heard.len()].clone();
        for _ in 0..rng.next_u32() % 3 {
            let at = rng.next_u32() as usize % inner.len();
            inner[at] = rng.next_u32() as u8;
        }
        return inner;
    }
    let inner_type = 1 + (rng.next_u32() % 10) as u8;
    let mut inner = vec![inner_type];
    if inner_type < 9 {
        inner.extend_from_slice(&[0, 0]);
    }
    let lengths = [24, 40, 20, 200, 200, if rng.next_u32().is_multiple_of(2) { 21 } else { 39 }, 4, 48, 0, 2];
    while inner.len() < 3 + lengths[usize::from(inner_type) - 1] {
        inner.extend_from_slice(&number(rng).to_be_bytes());
    }
    let exact = [27, 43, 23, 202, 202, inner.len(), 7, 51, 1, 3][usize::from(inner_type) - 1];
    inner.truncate(exact);
    inner
}

fn babble(cast: &mut Cast, liar: &mut Liar, rng: &mut ChaCha20Rng, junk: &Share) {
    let mut heard = Vec::new();
    for _ in 0..150 {
        let inner = anything(rng, &heard);
        liar.say(cast, &inner);
        if rng.next_u32().is_multiple_of(8) && liar.end.saturating_sub(liar.next()) >= junk.elements() {
            liar.share(cast, junk);
        }
        pass(cast, u64::from(rng.next_u32() % 50));
        heard.extend(liar.hear(cast));
    }
    assert!(cast.world.failures().is_empty(), "{:?}", cast.world.failures());
    assert!(cast.world.nodes().all(|node| !cast.world.is_runaway(node)));
}

#[test]
fn a_hub_that_says_anything_to_an_initiator_and_a_responder_prevents_nothing() {
    for_each_seed(0..seeds(20), |seed| {
        let mut cast = cast(seed, &Setup::new(5));
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        cast.settle(1);
        for client in [0, 1] {
            let mut liar = Liar::hub(&mut cast, 0, client);
            let _ = liar.ask(&mut cast, [1; 16], 0, 500);
            cast.request(0, 1, KeyRequest::new(3));
            let junk = Share::junk([seed as u8; 16], cast.tags[0]);
            babble(&mut cast, &mut liar, &mut rng, &junk);
        }
        let id = cast.request(0, 1, KeyRequest::new(3));
        cast.settle(20);
        cast.assert_agreed(0, 1, id);
    });
}

#[test]
fn a_client_that_says_anything_prevents_nothing() {
    for_each_seed(0..seeds(20), |seed| {
        let mut setup = Setup::new(3);
        setup.clients = 3;
        let mut cast = cast(seed, &setup);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        cast.settle(1);
        for hub in 0..3 {
            let mut liar = Liar::client(&mut cast, 2, hub);
            liar.ask(&mut cast, [1; 16], 0, 500);
            let junk = Share::junk([seed as u8; 16], cast.tags[1]);
            babble(&mut cast, &mut liar, &mut rng, &junk);
        }
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(20);
        cast.assert_agreed(0, 1, id);
    });
}
