//! Exchanges that come to their end.

use serde_json::Value;
use skex_core::{KeyId, Suite};
use skex_dske::{ClientTag, KeyRequest, KeySuite};

use super::world::{ALICE, BOB, Options, World, key_id, tag};
use super::{exchange, stored};
use crate::file::{Case, Group};
use crate::primitives::suite_name;

pub(super) fn wanted(threshold: u8, suite: KeySuite) -> KeyRequest {
    let mut wanted = KeyRequest::new(threshold);
    wanted.suite = suite;
    wanted
}

/// A key, and everything that follows.
pub(super) fn make_key(world: &mut World, wanted: KeyRequest) -> Vec<u8> {
    let before = world.given.len();
    let id = world.request(ALICE, wanted);
    world.until_given(before + 2);
    id
}

/// The group, and what the ends of its exchanges stored.
pub(super) struct Exchanges<'a> {
    pub(super) group: &'a mut Group,
    pub(super) stored: &'a mut Vec<Value>,
}

impl Exchanges<'_> {
    pub(super) fn play(
        &mut self,
        name: &str,
        comment: &str,
        options: Options,
        flag: &str,
        play: impl FnOnce(&mut World, &mut Case<'_>),
    ) {
        let world = exchange(self.group, name, comment, options, (None, flag), play);
        self.stored.push(stored(name, &world));
    }
}

pub(super) fn all(exchanges: &mut Exchanges<'_>) {
    for suite in Suite::all() {
        let options = Options { envelope: suite.id().value(), hubs: 3, ..Options::default() };
        let name = format!("2 of 3, one-time pads, {}", suite_name(suite));
        let comment = "hello, session, lease, two forms of upload, relay, delivery, answers, confirmation";
        exchanges.play(&name, comment, options, "Normal", |world, _| {
            make_key(world, wanted(2, KeySuite::OneTime));
        });
    }
    let options = Options { hubs: 5, elements: 96, ..Options::default() };
    exchanges.play("3 of 5, 512 bits", "bitmaps, interpolation", options, "Normal", |world, _| {
        let mut wanted = wanted(3, KeySuite::OneTime);
        wanted.key_len = 64;
        make_key(world, wanted);
    });
    for (suite, name, envelope) in [
        (KeySuite::Aes256Gcm, "AES-256-GCM", 1),
        (KeySuite::ChaCha20Poly1305, "ChaCha20-Poly1305", 4),
        (KeySuite::Aes256Gcm, "AES-256-GCM, keys of SHA-512", 5),
    ] {
        let options = Options { envelope, hubs: 3, ..Options::default() };
        let comment = "the second key takes the next number of each epoch";
        exchanges.play(&format!("2 of 3, {name}"), comment, options, "KeySuite", |world, _| {
            make_key(world, wanted(2, suite));
            make_key(world, wanted(2, suite));
        });
    }
    for (suite, suffix) in [(KeySuite::OneTime, "one-time pads"), (KeySuite::Aes256Gcm, "AES-256-GCM")] {
        let options = Options { hubs: 3, ..Options::default() };
        let comment = "three keys, asked for before there are sessions: what is about them shares datagrams";
        let name = format!("several messages in one, {suffix}");
        exchanges.play(&name, comment, options, "Several", |world, _| {
            for _ in 0..3 {
                world.request(ALICE, wanted(2, suite));
            }
            world.until_given(6);
        });
    }
    let comment = "the first of every message is lost once, from hub-1 and to it";
    exchanges.play("losses", comment, Options::default(), "Loss", |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        lossy(world);
    });
    let comment = "the hub starts again with a share that waits; HELLO_REQUEST, new sessions, another block";
    exchanges.play("a hub restarts", comment, Options::default(), "Restart", |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let _ = world
            .until(|world, flight| flight.to == BOB && kind(world, flight) == Some(5) && flight.from == 2);
        world.stop(2);
        world.start(2);
        world.until_given(2);
    });
    let comment = "the responder starts again with a key that it gave and nobody took; it gives it again";
    exchanges.play("the responder restarts", comment, Options::default(), "Restart", |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let _ = world.until(|world, flight| flight.from == BOB && kind(world, flight) == Some(6));
        world.stop(BOB);
        world.start(BOB);
        world.until_given(3);
    });
    let options = Options { hubs: 3, ..Options::default() };
    exchanges.play("a silent hub", "hub-2 is down from the start", options, "SilentHub", |world, _| {
        world.stop(3);
        make_key(world, wanted(2, KeySuite::OneTime));
    });
    commands(exchanges);
    let options = Options { elements: 48, ..Options::default() };
    let comment = "tables 1 of alice's uplinks come from the hubs; the second key has no room in tables 0";
    exchanges.play("refilled tables", comment, options, "Refill", |world, case| {
        make_key(world, wanted(2, KeySuite::OneTime));
        for hub in world.hubs() {
            let path = format!("steps[{}].input.octets", world.steps.len());
            let octets = case.derive(&path, 16 * 130);
            world.refill(hub, ALICE, 0, 1, &octets);
            world.settle();
        }
        let mut wanted = wanted(2, KeySuite::OneTime);
        wanted.key_len = 256;
        make_key(world, wanted);
    });
}

fn commands(exchanges: &mut Exchanges<'_>) {
    let comment = "bob publishes, alice looks him up; bob forbids alice, and allows her again";
    exchanges.play("commands", comment, Options::default(), "Command", |world, _| {
        world.settle();
        world.command(BOB, "PUBLISH", &[], |client, now, rng| client.publish(now, rng).expect("room"));
        world.settle();
        world.command(ALICE, "LOOKUP", b"bob", |client, now, rng| {
            client.look_up(now, rng, b"bob").expect("room");
        });
        world.settle();
        for allowed in [false, true] {
            let about = [&[u8::from(allowed)][..], &tag(ALICE)].concat();
            world.command(BOB, "AUTHORISE", &about, |client, now, rng| {
                client.authorise(now, rng, ClientTag::new(tag(ALICE)), allowed).expect("room");
            });
            world.settle();
        }
    });
    let comment = "bob is down; alice takes her key back";
    exchanges.play("withdrawal", comment, Options::default(), "Command", |world, _| {
        world.settle();
        world.stop(BOB);
        let id: KeyId = key_id(&world.request(ALICE, wanted(2, KeySuite::OneTime)));
        world.settle();
        world.command(ALICE, "WITHDRAW", id.as_bytes(), |client, now, rng| {
            client.withdraw(now, rng, id).expect("room");
        });
        world.settle();
    });
}

/// The type of what is inside a message.
pub(super) fn kind(world: &World, flight: &super::world::Flight) -> Option<u8> {
    let witness = super::Witness::new(world);
    let opened = witness.opened.iter().rfind(|opened| opened.flight.octets == flight.octets)?;
    opened.inner.as_ref().map(|inner| inner[0])
}

/// Everything arrives, but that the first of each type of message between somebody and hub-1 is lost.
fn lossy(world: &mut World) {
    let mut lost: Vec<(usize, usize, u8, Option<u8>)> = Vec::new();
    for _ in 0..400 {
        while let Some(flight) = world.flying.pop_front() {
            let what = (flight.from, flight.to, flight.octets[0], kind(world, &flight));
            if flight.link().1 == 2 && !lost.contains(&what) {
                lost.push(what);
            } else {
                world.deliver(&flight);
            }
        }
        if world.given.len() == 2 {
            return;
        }
        assert!(world.tick(), "nothing happens any more");
    }
    panic!("no key comes");
}
