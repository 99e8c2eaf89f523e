//! The oracle can convict: each of its charges, brought by a fact that is changed behind its back.

use skex_dske::KeyRequest;

use crate::oracle::Oracle;
use crate::world::{Cast, Setup, cast};

/// A key from client 0 to client 1 through three hubs, given twice to the responder because it was restarted.
fn a_blameless_world() -> Cast {
    let mut cast = cast(1, &Setup::new(3));
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    cast.world.restart(cast.clients[1]);
    let counts = Oracle::acquit(&cast);
    assert_eq!((counts.uploads, counts.deliveries, counts.keys), (3, 3, 3));
    assert!(counts.grants >= 6 && counts.answers >= 6);
    cast
}

fn charged(cast: &Cast, with: &str) {
    let charges = Oracle::charges(cast);
    assert!(charges.iter().any(|charge| charge.contains(with)), "{with}: {charges:#?}");
}

#[test]
fn of_a_tag_that_is_not_the_tables() {
    let mut cast = a_blameless_world();
    // The head of the first lease, and the tag key of the first block behind it.
    cast.enrolments[0][0].uplink[3] ^= 1;
    charged(&cast, "the tag at 0 is not");
    cast.enrolments[0][0].uplink[3] ^= 1;
    cast.enrolments[0][0].uplink[4 * 16] ^= 1;
    charged(&cast, "the tag at 4 is not");
}

#[test]
fn of_a_key_that_its_shares_do_not_make() {
    let mut cast = a_blameless_world();
    // The pad of the first block: two elements of the lease, four of keys, three of the secret tag's key.
    cast.enrolments[0][0].uplink[9 * 16] ^= 1;
    charged(&cast, "right key: false");
}

#[test]
fn of_a_key_for_somebody_else() {
    let mut cast = a_blameless_world();
    cast.tags[1] = cast.tags[0];
    cast.tags[0] = crate::world::tag(1);
    charged(&cast, "for somebody else");
}

#[test]
fn of_a_key_that_is_given_twice() {
    let cast = a_blameless_world();
    let restart = cast.boots.borrow_mut().pop();
    assert_eq!(restart.unwrap().0, cast.clients[1]);
    charged(&cast, "given twice");
}

#[test]
fn of_what_leaves_before_its_record_is_durable() {
    let cast = a_blameless_world();
    for (node, what) in
        [(cast.hubs[0], "a grant"), (cast.clients[0], "a share"), (cast.clients[1], "a key was given")]
    {
        let charges = Oracle::behind_gate(&cast, node, 1).expect_err(what);
        let early = |charge: &String| charge.contains(what) && charge.contains("before that was durable");
        assert!(charges.iter().any(early), "{what}: {charges:#?}");
    }
}
