//! Hubs that deliver other shares than they were given.

use skex_dske::KeySuite;
use skex_testvectors::Layer::{Authenticate, Policy};

use super::exchange;
use super::refused::{Change::Inside, First::Inner, opened, refuse};
use super::scenarios::{Exchanges, make_key, wanted};
use super::witness::Witness;
use super::world::{ALICE, BOB, Flight, Options, World};
use crate::file::{Group, flipped};

pub(super) fn all(exchanges: &mut Exchanges<'_>) {
    let options = Options { hubs: 3, liars: 1, ..Options::default() };
    let comment = "hub-1's share is wrong: the first two give no key, the second and third do; it is named";
    exchanges.play("2 of 3, one hub lies", comment, options, "Liars", |world, _| {
        make_key(world, wanted(2, KeySuite::OneTime));
        world.until_time(1000);
    });
    let options = Options { hubs: 5, liars: 2, elements: 96, ..Options::default() };
    let comment =
        "the first two hubs lie, each in its own way; all five shares are needed for three right ones";
    exchanges.play("3 of 5, two hubs lie", comment, options.clone(), "Liars", |world, _| {
        make_key(world, wanted(3, KeySuite::OneTime));
        world.until_time(1000);
    });
    let comment = "the liars' shares come last: the key is there before, and the report names them";
    exchanges.play("3 of 5, two hubs lie late", comment, options, "Liars", |world, _| {
        world.request(ALICE, wanted(3, KeySuite::OneTime));
        let held = hold_back(world);
        world.until_given(2);
        held.iter().for_each(|flight| world.deliver(flight));
        world.until_time(2000);
    });
    let options = Options { hubs: 3, liars: 2, ..Options::default() };
    let comment =
        "as many hubs as the threshold lie: no two shares give a key with a right tag; both ends say so";
    exchanges.play("2 of 3, two hubs lie", comment, options, "TooManyLiars", |world, _| {
        let mut wanted = wanted(2, KeySuite::OneTime);
        wanted.lifetime = 5;
        world.request(ALICE, wanted);
        world.until_time(6000);
    });
}

/// The deliveries of the first two hubs, which stay under way.
fn hold_back(world: &mut World) -> Vec<Flight> {
    [2, 3]
        .map(|hub| world.until(move |world, flight| flight.from == hub && Inner(5).of(BOB)(world, flight)))
        .into()
}

pub(super) fn refused(group: &mut Group) {
    let options = Options { hubs: 3, liars: 1, ..Options::default() };
    let comment = "hub-1 passes on B's confirmation, and takes itself out of it";
    let result = (Some(Authenticate), "ModifiedMessage");
    exchange(group, "CONFIRM, without the liar", comment, options, result, |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let confirm = world.until(Inner(8).of(ALICE));
        let octets = Inside(|confirm| flipped(confirm, 34, 1)).applied(world, &confirm);
        world.flying.clear();
        refuse(world, &Flight { octets, ..confirm }, Authenticate);
    });
    let other = "another one for the same key, after the right one; its share is right";
    for (name, place) in [("secret tag", 56), ("lifetime", 51)] {
        for (kind, to, message) in [(4, 4, "UPLOAD"), (5, BOB, "DELIVERY")] {
            let options = Options { hubs: 3, ..Options::default() };
            let result = (Some(Policy), "OtherContent");
            exchange(group, &format!("{message}, another {name}"), other, options, result, |world, _| {
                world.request(ALICE, wanted(2, KeySuite::OneTime));
                let first = world.until(Inner(kind).of(to));
                world.deliver(&first);
                let octets = in_next_block(world, &first, place);
                world.flying.clear();
                refuse(world, &Flight { octets, ..first }, Policy);
            });
        }
    }
}

/// The same share in the next block, under a number that was not used yet, with one bit changed.
fn in_next_block(world: &World, first: &Flight, place: usize) -> Vec<u8> {
    let witness = Witness::new(world);
    let next = Flight { octets: flipped(&first.octets, 8, 0x20), ..first.clone() };
    let inner = flipped(&witness.moved(first, &opened(world, first)), place, 1);
    witness.reseal(&next, &witness.retagged(&next, &inner))
}
