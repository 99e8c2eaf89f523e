//! Offers, and keys by terms that follow from them.

use skex_dske::{Coordinate, KeySuite};
use skex_testvectors::Layer::Policy;

use super::refused::{
    Change::Same,
    First::{self, Inner},
    Refused, Row,
};
use super::scenarios::{Exchanges, wanted};
use super::world::{ALICE, BOB, Options, World, assurance, coordinate};
use crate::file::Group;

/// Bob is enrolled at three of four hubs, and wants information-theoretic keys through three of them, for five minutes at most.
fn demanding() -> Options {
    Options {
        hubs: 4,
        hubs_without_bob: 1,
        minimum_threshold: 3,
        longest_lifetime: 300,
        information_theoretic: true,
        ..Options::default()
    }
}

fn publish_and_look_up(world: &mut World) {
    world.settle();
    world.command(BOB, "PUBLISH", &[], |client, now, rng| client.publish(now, rng).expect("room"));
    world.settle();
    world
        .command(ALICE, "LOOKUP", b"bob", |client, now, rng| client.look_up(now, rng, b"bob").expect("room"));
    world.until_found();
}

pub(super) fn all(exchanges: &mut Exchanges<'_>) {
    let comment = "alice wishes for 2 of 4 under AES, for ten minutes; bob's offer makes it 3 of 3, one-time pads, five minutes";
    exchanges.play("a demanding offer", comment, demanding(), "Negotiated", |world, _| {
        publish_and_look_up(world);
        world.negotiated(ALICE, wanted(2, KeySuite::Aes256Gcm));
        world.until_given(2);
    });
    let comment = "alice wishes for three of five hubs, a threshold of 2 and an information-theoretic key, for a minute; bob takes anything";
    let options = Options { hubs: 5, elements: 96, ..Options::default() };
    exchanges.play("a modest offer", comment, options, "Negotiated", |world, _| {
        publish_and_look_up(world);
        let mut wish = wanted(2, KeySuite::ChaCha20Poly1305);
        wish.lifetime = 60;
        wish.minimum_assurance = assurance(true);
        wish.hubs =
            [3, 4, 6].map(|hub| Coordinate::new(coordinate(hub)).expect("not zero")).into_iter().collect();
        world.negotiated(ALICE, wish);
        world.until_given(2);
    });
    let comment = "alice asks without having looked bob up, by terms of her own, through three of four hubs";
    let options = Options { hubs: 4, ..Options::default() };
    exchanges.play("hubs of the initiator's choice", comment, options, "Negotiated", |world, _| {
        let mut wanted = wanted(2, KeySuite::OneTime);
        wanted.hubs =
            [2, 4, 5].map(|hub| Coordinate::new(coordinate(hub)).expect("not zero")).into_iter().collect();
        world.request(ALICE, wanted);
        world.until_given(2);
    });
}

pub(super) fn refused(group: &mut Group) {
    let bob = || Options { hubs: 3, ..Options::default() };
    let mut play = |options: Options, begin: &dyn Fn(&mut World), first: First, row: Row| {
        let begin = |world: &mut World, _: &mut crate::file::Case<'_>| begin(world);
        let mut refused = Refused::new(group, &begin);
        refused.options = options;
        refused.at(BOB, first, &[row]);
    };
    let request = |suite| move |world: &mut World| drop(world.request(ALICE, wanted(2, suite)));
    play(
        Options { information_theoretic: true, ..bob() },
        &request(KeySuite::Aes256Gcm),
        Inner(12),
        (
            "less assurance than the responder's",
            "a computational suite; answered POLICY",
            Policy,
            "TooLittleAssurance",
            Same,
        ),
    );
    play(
        Options { longest_lifetime: 599, ..bob() },
        &request(KeySuite::OneTime),
        Inner(5),
        (
            "a lifetime longer than the responder's",
            "by a second; answered POLICY",
            Policy,
            "LifetimeTooLong",
            Same,
        ),
    );
    play(
        Options { hubs_without_bob: 1, ..bob() },
        &request(KeySuite::OneTime),
        Inner(5),
        (
            "a hub that the responder does not have",
            "one of three; answered POLICY",
            Policy,
            "UnknownHub",
            Same,
        ),
    );
}
