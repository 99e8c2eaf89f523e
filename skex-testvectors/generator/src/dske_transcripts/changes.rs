//! Links that change: other initial keys, further tables, tables taken out of service, clients revoked.

use skex_dske::KeySuite;
use skex_testvectors::Layer::{self, Authenticate, Policy, State};

use super::exchange;
use super::refused::{
    Change::{Inside, Retagged, Same},
    First::{Inner, Outer},
    Refused, fresh, opened, refuse, small,
};
use super::scenarios::{Exchanges, kind, make_key, wanted};
use super::witness::Witness;
use super::world::{ALICE, BOB, Flight, Options, World};
use crate::file::{Case, Group, flipped};

const HUB: usize = 2;

/// Octets from the seed for what an end is given in the next step.
fn given(world: &World, case: &mut Case<'_>, field: &str, length: usize) -> Vec<u8> {
    case.derive(&format!("steps[{}].input.{field}", world.steps.len()), length)
}

pub(super) fn all(exchanges: &mut Exchanges<'_>) {
    initial_keys(exchanges);
    third_initial_key(exchanges);
    tables(exchanges);
    let options = Options { hubs: 3, elements: 160, ..Options::default() };
    let comment = "hub-1 revokes bob: hub-2 and hub-3 give the next key; hub-1 knows neither tag nor name, and is silent to bob";
    exchanges.play("a client is revoked", comment, options, "Revoked", |world, _| {
        make_key(world, wanted(2, KeySuite::OneTime));
        world.revoke(HUB, BOB);
        make_key(world, wanted(2, KeySuite::OneTime));
        world.command(ALICE, "LOOKUP", b"bob", |client, now, rng| {
            client.look_up(now, rng, b"bob").expect("room");
        });
        world.settle();
    });
    let comment = "bob is revoked while a share waits for him: it goes, and no key comes of it";
    exchanges.play("revoked before delivery", comment, Options::default(), "Revoked", |world, _| {
        world.settle();
        world.stop(BOB);
        let mut wanted = wanted(2, KeySuite::OneTime);
        wanted.lifetime = 5;
        world.request(ALICE, wanted);
        world.settle();
        world.revoke(HUB, BOB);
        world.start(BOB);
        world.until_time(6000);
    });
}

fn initial_keys(exchanges: &mut Exchanges<'_>) {
    let comment =
        "both ends of alice's link with hub-1 are given another initial key; a probe, a new session, a key";
    exchanges.play("an initial key is replaced", comment, Options::default(), "InitialKey", |world, case| {
        world.settle();
        let key = given(world, case, "key", 32);
        world.replace_initial_key(ALICE, HUB, &key);
        world.settle();
        world.replace_initial_key(HUB, ALICE, &key);
        make_key(world, wanted(2, KeySuite::OneTime));
    });
    let comment =
        "the hub has it first and starts again, with both keys: HELLO_REQUEST, then hellos under either";
    let name = "an initial key is replaced, over a restart";
    exchanges.play(
        name,
        comment,
        Options { elements: 160, ..Options::default() },
        "InitialKey",
        |world, case| {
            world.settle();
            let key = given(world, case, "key", 32);
            world.replace_initial_key(HUB, ALICE, &key);
            world.stop(HUB);
            world.start(HUB);
            make_key(world, wanted(2, KeySuite::OneTime));
            world.replace_initial_key(ALICE, HUB, &key);
            world.settle();
            make_key(world, wanted(2, KeySuite::OneTime));
        },
    );
}

/// Alice is given a third initial key when the second one is proven at the hub, and not yet at her.
fn third_initial_key(exchanges: &mut Exchanges<'_>) {
    let comment = "the hub proves the second key when alice is given a third: her session under the second goes on, and proves nothing";
    let name = "an initial key is replaced before it is proven";
    exchanges.play(name, comment, Options::default(), "InitialKey", |world, case| {
        world.settle();
        let second = given(world, case, "key", 32);
        world.replace_initial_key(ALICE, HUB, &second);
        world.replace_initial_key(HUB, ALICE, &second);
        let reply = world.until(Outer(0x12).of(ALICE));
        world.deliver(&reply);
        let third = given(world, case, "key", 32);
        world.replace_initial_key(ALICE, HUB, &third);
        world.settle();
        world.replace_initial_key(HUB, ALICE, &third);
        make_key(world, wanted(2, KeySuite::OneTime));
        world.until_replaced(1);
    });
}

/// Both ends of alice's uplinks, and of bob's downlinks, are given table 1.
fn further_tables(world: &mut World, case: &mut Case<'_>) {
    for hub in world.hubs() {
        for (client, way) in [(ALICE, 0), (BOB, 1)] {
            let octets = given(world, case, "octets", 16 * 130);
            world.provision(hub, client, way, 1, &octets);
            world.provision(client, hub, way, 1, &octets);
        }
    }
    world.settle();
}

fn long() -> skex_dske::KeyRequest {
    let mut wanted = wanted(2, KeySuite::OneTime);
    wanted.key_len = 256;
    wanted
}

fn tables(exchanges: &mut Exchanges<'_>) {
    let options = Options { elements: 48, ..Options::default() };
    let comment = "a long key passes over the rest of tables 0; a short one finds room in them again";
    exchanges.play("several tables", comment, options, "SeveralTables", |world, case| {
        make_key(world, wanted(2, KeySuite::OneTime));
        further_tables(world, case);
        make_key(world, long());
        make_key(world, wanted(2, KeySuite::OneTime));
    });
    let options = Options { elements: 160, ..Options::default() };
    let comment = "alice's uplink of hub-1 loses table 0: first at the hub, which denies it; then at alice; keys go by table 1";
    exchanges.play("a table is retired", comment, options.clone(), "Retired", |world, case| {
        make_key(world, wanted(2, KeySuite::OneTime));
        further_tables(world, case);
        world.retire(HUB, ALICE, 0, 0);
        make_key(world, wanted(2, KeySuite::OneTime));
        world.retire(ALICE, HUB, 0, 0);
        make_key(world, wanted(2, KeySuite::OneTime));
    });
    let comment = "bob's downlink of hub-1 loses table 0, first at bob, and both ends start again";
    exchanges.play("a downlink is retired", comment, options, "Retired", |world, case| {
        make_key(world, wanted(2, KeySuite::OneTime));
        further_tables(world, case);
        world.retire(BOB, HUB, 1, 0);
        world.retire(HUB, BOB, 1, 0);
        for end in [BOB, HUB] {
            world.stop(end);
            world.start(end);
        }
        make_key(world, wanted(2, KeySuite::OneTime));
    });
}

pub(super) fn refused(group: &mut Group) {
    old_keys(group);
    other_tables(group);
    revoked(group);
}

/// One end refuses what comes after all that `begin` did, and gives.
fn last(
    group: &mut Group,
    (name, comment): (&str, &str),
    (layer, flag): (Layer, &str),
    begin: impl FnOnce(&mut World, &mut Case<'_>) -> Flight,
) {
    exchange(group, name, comment, small(), (Some(layer), flag), |world, case| {
        let flight = begin(world, case);
        world.flying.clear();
        refuse(world, &flight, layer);
    });
}

/// Another initial key at both ends of alice's link with hub-1, proven.
fn replaced(world: &mut World, case: &mut Case<'_>) {
    world.settle();
    let key = given(world, case, "key", 32);
    world.replace_initial_key(HUB, ALICE, &key);
    world.replace_initial_key(ALICE, HUB, &key);
    world.settle();
}

fn old_keys(group: &mut Group) {
    let what = ("HELLO, under the old initial key", "the hub has dropped it");
    last(group, what, (Authenticate, "OldInitialKey"), |world, case| {
        let hello = world.until(Outer(0x11).of(HUB));
        world.deliver(&hello);
        replaced(world, case);
        hello
    });
    let what = ("HELLO_REPLY to a probe, under the present initial key", "the same octets, with that tag");
    last(group, what, (Authenticate, "OldInitialKey"), |world, case| {
        world.settle();
        let key = given(world, case, "key", 32);
        world.replace_initial_key(HUB, ALICE, &key);
        world.replace_initial_key(ALICE, HUB, &key);
        let probe = world.until(Outer(0x11).of(HUB));
        world.deliver(&probe);
        let reply = world.until(Outer(0x12).of(ALICE));
        let octets = Witness::new(world).replied_under(&reply, 0, &probe.octets[5..21]);
        Flight { octets, ..reply }
    });
    let what = (
        "SEALED_FRESH, under the old initial key",
        "sealed with the keys that it gives for the salts of the session",
    );
    last(group, what, (Authenticate, "OldInitialKey"), |world, case| {
        world.settle();
        let key = given(world, case, "key", 32);
        world.replace_initial_key(HUB, ALICE, &key);
        world.replace_initial_key(ALICE, HUB, &key);
        let first = world.until(Outer(0x14).of(HUB));
        world.deliver(&first);
        let octets = Witness::new(world).sealed_under(&first, 0);
        Flight { octets, ..first }
    });
    let what =
        ("SEALED, of the session under the old initial key", "the session has ended with the next one");
    last(group, what, (Authenticate, "OldInitialKey"), |world, case| {
        world.settle();
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let old = world.until(|world, flight| Inner(4).of(HUB)(world, flight));
        replaced(world, case);
        old
    });
}

fn other_tables(group: &mut Group) {
    let mut refused = Refused::new(group, &|world, case| {
        world.settle();
        further_tables(world, case);
        world.request(ALICE, wanted(2, KeySuite::OneTime));
    });
    refused.at(
        HUB,
        Inner(4),
        &[
            (
                "UPLOAD, table 1 without a lease",
                "under a right tag",
                State,
                "OutsideLease",
                Retagged(|upload| flipped(upload, 2, 1)),
            ),
            (
                "UPLOAD, table 2 of two",
                "which is not there",
                State,
                "NoSuchTable",
                Inside(|upload| flipped(upload, 2, 2)),
            ),
        ],
    );
    refused.at(
        ALICE,
        Inner(2),
        &[(
            "LEASE_GRANT, another table",
            "table 1, under a right tag",
            State,
            "NotAsked",
            Retagged(|grant| flipped(grant, 2, 1)),
        )],
    );
    let what = ("UPLOAD, of a retired table", "in the next session; its lease was of the one before");
    last(group, what, (State, "Retired"), |world, case| {
        world.settle();
        further_tables(world, case);
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let upload = world.until(Inner(4).of(HUB));
        let inner = opened(world, &upload);
        world.retire(HUB, ALICE, 0, 0);
        in_next_session(world, HUB, &inner)
    });
    let what = ("LEASE_GRANT, of a retired table", "in the next session; asked for in the one before");
    last(group, what, (State, "Retired"), |world, case| {
        world.settle();
        further_tables(world, case);
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let grant = world.until(Inner(2).of(ALICE));
        let inner = opened(world, &grant);
        world.retire(ALICE, HUB, 0, 0);
        in_next_session(world, ALICE, &inner)
    });
}

/// The same inner message again, to alice or hub-1, in the place of the next one of its type in another session.
fn in_next_session(world: &mut World, to: usize, inner: &[u8]) -> Flight {
    let next = world.until(|world, flight| {
        flight.link() == (ALICE, HUB)
            && flight.to == to
            && flight.octets[0] == 0x13
            && kind(world, flight) == Some(inner[0])
            && fresh(world, flight)
    });
    let octets = Witness::new(world).reseal(&next, inner);
    Flight { octets, ..next }
}

fn revoked(group: &mut Group) {
    let what = ("HELLO, of a client that was revoked", "its number is over");
    last(group, what, (State, "Revoked"), |world, _| {
        let hello = world.until(|_, flight| (flight.from, flight.to) == (BOB, HUB));
        world.settle();
        world.revoke(HUB, BOB);
        hello
    });
    let what = ("SEALED, of a client that was revoked", "its session is over, and nothing says so");
    last(group, what, (State, "Revoked"), |world, _| {
        let sealed = world
            .until(|world, flight| (flight.from, flight.to) == (BOB, HUB) && kind(world, flight).is_some());
        world.settle();
        world.revoke(HUB, BOB);
        sealed
    });
    let mut refused = Refused::new(group, &|world, _| {
        world.settle();
        world.revoke(HUB, BOB);
        world.request(ALICE, wanted(2, KeySuite::OneTime));
    });
    refused.at(
        HUB,
        Inner(4),
        &[("UPLOAD, for a client that was revoked", "answered UNKNOWN_PEER", Policy, "Revoked", Same)],
    );
}
