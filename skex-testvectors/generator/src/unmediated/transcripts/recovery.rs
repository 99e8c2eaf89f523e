//! Recovery lanes, and lanes that are enrolled anew by one.

use skex_core::Label;
use skex_testvectors::Layer;
use skex_unmediated::RECOVERY_LANE;

use super::super::schedule::{consumer_key, step, typed};
use super::super::{other, suite};
use super::world::{Options, PATH, Recovered, World};
use super::{TAPE, exchange, handshake, one, witness};
use crate::file::Group;

pub(super) fn all(group: &mut Group) {
    recovery_lanes(group);
    let mut add = |name: &str, comment: &str, play: fn(&mut World)| {
        exchange(group, name, comment, Options::default(), (None, "Recovery"), play);
    };
    add(
        "enrolled anew",
        "the lane is silent until its release, then in epoch 0 under the new secret",
        |world| {
            handshake(world, b'a');
            let recovered = recovered(world);
            for side in [b'a', b'b'] {
                world.enrol_by_recovery(side, &recovered);
                world.release(side, &recovered);
            }
            handshake(world, b'b');
            world.share_key(b'a', Label::EXPORT_RAW, b"");
        },
    );
    add(
        "enrolled anew, over a restart",
        "it is held still, and enrolling it again changes nothing",
        |world| {
            handshake(world, b'b');
            let recovered = recovered(world);
            for side in [b'a', b'b'] {
                world.enrol_by_recovery(side, &recovered);
                assert!(world.restart(side).is_empty() && world.peer(side).is_held());
                world.enrol_by_recovery(side, &recovered);
            }
            world.release(b'a', &recovered);
            // The other end hears nothing yet.
            let first = one(world.establish(b'a'));
            assert!(world.deliver_from(PATH, b'b', &first).is_empty());
            world.release(b'b', &recovered);
            assert_eq!(one(world.timeout(b'a')), first);
            let second = one(world.deliver(b'b', &first));
            let third = one(world.deliver(b'a', &second));
            let fourth = one(world.deliver(b'b', &third));
            world.deliver(b'a', &fourth);
        },
    );
}

fn recovery_lanes(group: &mut Group) {
    let mut add = |name: &str, comment: &str, play: fn(&mut World)| {
        exchange(group, name, comment, on_recovery_lane(), (None, "Recovery"), play);
    };
    add("a recovery", "a wants it and b allows it; each end concludes it", |world| {
        world.allow(b'b');
        handshake(world, b'a');
        world.conclude(b'a');
        world.conclude(b'b');
    });
    add(
        "both ends want it",
        "the first messages cross; the chain of who began the session gives the secret",
        |world| {
            let of_a = one(world.establish(b'a'));
            let of_b = one(world.establish(b'b'));
            let winner = if of_a[10..22] > of_b[10..22] { b'a' } else { b'b' };
            let loser = other(winner);
            let (first, lost) = if winner == b'a' { (of_a, of_b) } else { (of_b, of_a) };
            assert!(world.deliver(winner, &lost).is_empty());
            let second = one(world.deliver(loser, &first));
            let third = one(world.deliver(winner, &second));
            let fourth = one(world.deliver(loser, &third));
            world.deliver(winner, &fourth);
            world.conclude(loser);
            world.conclude(winner);
        },
    );
    add("wanted over a restart", "it begins anew at the start, and the session outlives one", |world| {
        world.allow(b'b');
        let _lost = world.establish(b'a');
        assert!(world.restart(b'b').is_empty());
        let first = one(world.restart(b'a'));
        let second = one(world.deliver(b'b', &first));
        let _lost = world.deliver(b'a', &second);
        let long = one(world.restart(b'a'));
        let fourth = one(world.deliver(b'b', &long));
        world.deliver(b'a', &fourth);
        assert!(world.restart(b'a').is_empty() && world.restart(b'b').is_empty());
        world.conclude(b'b');
        world.conclude(b'a');
    });
    add("a session that is void", "nothing was recovered: it begins anew at once", |world| {
        world.allow(b'b');
        let first = one(world.establish(b'a'));
        let second = one(world.deliver(b'b', &first));
        let _short = world.deliver(b'a', &second);
        world.restart(b'b');
        let long = one(world.timeout(b'a'));
        let fourth = one(world.deliver(b'b', &long));
        let first = one(world.deliver(b'a', &fourth));
        let second = one(world.deliver(b'b', &first));
        let third = one(world.deliver(b'a', &second));
        let fourth = one(world.deliver(b'b', &third));
        world.deliver(b'a', &fourth);
        world.conclude(b'a');
        world.conclude(b'b');
    });
    add("the fourth message comes late", "the session does not expire", |world| {
        world.allow(b'b');
        let first = one(world.establish(b'a'));
        let second = one(world.deliver(b'b', &first));
        let third = one(world.deliver(b'a', &second));
        let _lost = world.deliver(b'b', &third);
        world.conclude(b'b');
        let mut long = Vec::new();
        while world.now < 2 * 3_600_000 {
            long = one(world.timeout(b'a'));
        }
        let fourth = one(world.deliver(b'b', &long));
        world.deliver(b'a', &fourth);
        world.conclude(b'a');
    });
}

pub(super) fn refused(group: &mut Group) {
    let shut = (Some(Layer::Policy), "Shut");
    exchange(
        group,
        "a first message to a shut lane",
        "nobody allowed it",
        on_recovery_lane(),
        shut,
        |world| {
            let first = one(world.establish(b'a'));
            world.refuse(b'b', &first);
        },
    );
    let comment = "a recovery has gone through; the next one has to be allowed anew";
    exchange(group, "a second recovery", comment, on_recovery_lane(), shut, |world| {
        world.allow(b'b');
        handshake(world, b'a');
        let first = one(world.establish(b'a'));
        world.refuse(b'b', &first);
    });
    let held = (Some(Layer::State), "Held");
    let comment = "authentic under the new secret";
    exchange(group, "a first message to a lane that is held", comment, Options::default(), held, |world| {
        let recovered = recovered(world);
        for side in [b'a', b'b'] {
            world.enrol_by_recovery(side, &recovered);
        }
        world.release(b'a', &recovered);
        let first = one(world.establish(b'a'));
        world.refuse(b'b', &first);
    });
}

fn on_recovery_lane() -> Options {
    Options { lane: RECOVERY_LANE, ..Options::default() }
}

/// A recovery of the pair in `world`, on its recovery lane.
fn recovered(world: &World) -> Recovered {
    let tapes = [vec![0xa5; TAPE], vec![0x5a; TAPE]];
    let mut lane = World::new(on_recovery_lane(), world.secret.clone(), Vec::new(), tapes);
    lane.enrol();
    lane.allow(b'b');
    handshake(&mut lane, b'a');
    let ready = lane.stored();
    lane.conclude(b'a');
    lane.conclude(b'b');
    let handshake = typed(&witness::handshakes(&lane)[0]);
    let suite = suite(handshake.next_suite);
    let [output, _] = step(suite, handshake.export_a.as_bytes(), 0);
    let secret = consumer_key(suite, &output, 0, "skex x1 lane", b"");
    Recovered { secret, ready, over: lane.stored() }
}
