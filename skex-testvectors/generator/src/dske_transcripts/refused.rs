//! Exchanges of which the last message is refused.

use skex_dske::KeySuite;
use skex_testvectors::Layer;

use super::exchange;
use super::scenarios::{kind, wanted};
use super::witness::Witness;
use super::world::{ALICE, BOB, Flight, Options, World};
use crate::file::{Group, flipped};

/// The first message of an outer type, to this end.
fn outer(first: u8, to: usize) -> impl Fn(&World, &Flight) -> bool {
    move |_, flight| flight.to == to && flight.octets[0] == first
}

/// The first message with this inside, to this end.
fn inner(wanted: u8, to: usize) -> impl Fn(&World, &Flight) -> bool {
    move |world, flight| flight.to == to && kind(world, flight) == Some(wanted)
}

/// What is inside a message.
fn opened(world: &World, flight: &Flight) -> Vec<u8> {
    let witness = Witness::new(world);
    let opened = witness.opened.iter().rfind(|opened| opened.flight.octets == flight.octets);
    opened.and_then(|opened| opened.inner.clone()).expect("it is sealed")
}

const HUB: usize = 2;

/// As little as an exchange needs.
fn small() -> Options {
    Options { elements: 48, ..Options::default() }
}

/// An exchange up to a message; another one arrives in its place.
struct Refusal {
    name: String,
    comment: &'static str,
    layer: Layer,
    flag: &'static str,
    options: Options,
    suite: KeySuite,
}

impl Refusal {
    fn new(name: &str, comment: &'static str, layer: Layer, flag: &'static str) -> Self {
        Self { name: name.to_owned(), comment, layer, flag, options: small(), suite: KeySuite::OneTime }
    }

    fn under(self, suite: KeySuite) -> Self {
        Self { suite, ..self }
    }

    fn play(
        self,
        group: &mut Group,
        wanted_message: impl Fn(&World, &Flight) -> bool,
        change: impl Fn(&World, &Flight) -> Vec<u8>,
    ) {
        let result = (Some(self.layer), self.flag);
        exchange(group, &self.name, self.comment, self.options, result, |world, _| {
            world.request(ALICE, wanted(2, self.suite));
            let flight = world.until(wanted_message);
            let octets = change(world, &flight);
            world.flying.clear();
            refuse(world, &Flight { octets, ..flight }, self.layer);
        });
    }
}

/// The last message, which changes nothing; of `policy`, what is refused may be answered so.
fn refuse(world: &mut World, flight: &Flight, layer: Layer) {
    let sent = world.sent.len();
    world.deliver(flight);
    let answered = world.sent.len() - sent;
    if layer == Layer::Policy {
        assert!(answered == 1 || !world.accepted, "an answer refuses, or silence");
    } else {
        let says_so = |flight: &Flight| flight.octets[0] == 0x15 || kind(world, flight) == Some(21);
        assert!(
            !world.accepted && world.sent[sent..].iter().all(|(_, flight)| says_so(flight)),
            "nothing changed"
        );
    }
}

/// The message with its inside changed; sealed anew.
fn inside(change: impl Fn(Vec<u8>) -> Vec<u8>) -> impl Fn(&World, &Flight) -> Vec<u8> {
    move |world, flight| Witness::new(world).reseal(flight, &change(opened(world, flight)))
}

/// The same, with a one-time tag that is right.
fn retagged(change: impl Fn(Vec<u8>) -> Vec<u8>) -> impl Fn(&World, &Flight) -> Vec<u8> {
    move |world, flight| {
        let witness = Witness::new(world);
        witness.reseal(flight, &witness.retagged(flight, &change(opened(world, flight))))
    }
}

fn last(octets: &[u8]) -> Vec<u8> {
    flipped(octets, octets.len() - 1, 1)
}

pub(super) fn all(group: &mut Group) {
    envelope(group);
    leases(group);
    shares(group);
    answers(group);
    sealed(group);
    commands(group);
    refills(group);
    policies(group);
    starts(group);
}

/// A start from records that are not what was stored. `skex-testvectors`' file `records` has the causes one by one.
fn starts(group: &mut Group) {
    let torn = |records: &[Vec<u8>]| {
        let mut records = records.to_vec();
        let last = records.last_mut().expect("a record");
        *last = flipped(last, last.len() - 17, 1);
        records
    };
    let shuffled = |records: &[Vec<u8>]| {
        let mut records = records.to_vec();
        let last = records.len() - 1;
        records.swap(last - 1, last);
        records
    };
    let without_one = |records: &[Vec<u8>]| {
        let mut records = records.to_vec();
        records.remove(records.len() - 2);
        records
    };
    type Spoil<'a> = &'a dyn Fn(&[Vec<u8>]) -> Vec<Vec<u8>>;
    let mut play = |name: &str, end: usize, layer, flag: &str, spoil: Spoil<'_>| {
        let comment = "after a key was made; nothing is taken from the records";
        exchange(group, name, comment, small(), (Some(layer), flag), |world, _| {
            world.request(ALICE, wanted(2, KeySuite::OneTime));
            world.until_given(2);
            let records = spoil(&world.records(end));
            world.stop(end);
            world.refuse_start(end, &records);
        });
    };
    for (name, end) in [("hub", HUB), ("client", BOB)] {
        play(&format!("a {name}'s record damaged"), end, Layer::Authenticate, "ModifiedRecord", &torn);
        play(&format!("a {name}'s record missing"), end, Layer::State, "Gap", &without_one);
        play(&format!("a {name}'s records out of order"), end, Layer::State, "Gap", &shuffled);
    }
    play("a hub's record cut", HUB, Layer::Decode, "Length", &|records| {
        let mut records = records.to_vec();
        let _ = records.last_mut().expect("a record").pop();
        records
    });
}

fn envelope(group: &mut Group) {
    let new = Refusal::new;
    new("HELLO, version 2", "the first octet", Layer::Decode, "Version").play(
        group,
        outer(0x11, HUB),
        |_, flight| flipped(&flight.octets, 0, 0x30),
    );
    new("HELLO, type 7", "the first octet", Layer::Decode, "Type").play(
        group,
        outer(0x11, HUB),
        |_, flight| flipped(&flight.octets, 0, 6),
    );
    new("HELLO, an octet less", "the last one", Layer::Decode, "Length").play(
        group,
        outer(0x11, HUB),
        |_, flight| flight.octets[..36].to_vec(),
    );
    new("HELLO, tag", "its last bit", Layer::Authenticate, "ModifiedTag").play(
        group,
        outer(0x11, HUB),
        |_, flight| last(&flight.octets),
    );
    new(
        "HELLO, client 1",
        "a client that the hub has, and not this one",
        Layer::Authenticate,
        "ModifiedHeader",
    )
    .play(group, outer(0x11, HUB), |_, flight| flipped(&flight.octets, 4, 1));
    new("HELLO, client 128", "a number that the hub has not given", Layer::State, "UnknownClient").play(
        group,
        outer(0x11, HUB),
        |_, flight| flipped(&flight.octets, 4, 0x80),
    );
    new("HELLO_REPLY to the hub", "reflected, with another type", Layer::State, "WrongDirection").play(
        group,
        outer(0x11, HUB),
        |_, flight| flipped(&flight.octets, 0, 3),
    );
    new("HELLO_REPLY, tag", "its last bit", Layer::Authenticate, "ModifiedTag").play(
        group,
        outer(0x12, ALICE),
        |_, flight| last(&flight.octets),
    );
    new(
        "SEALED_FRESH, ciphertext",
        "its first bit; no session yet",
        Layer::Authenticate,
        "ModifiedCiphertext",
    )
    .play(group, outer(0x14, HUB), |_, flight| flipped(&flight.octets, 25, 0x80));
    new("SEALED_FRESH, salt", "one bit", Layer::Authenticate, "ModifiedHeader").play(
        group,
        outer(0x14, HUB),
        |_, flight| flipped(&flight.octets, 5, 1),
    );
    new("SEALED, ciphertext", "its first bit", Layer::Authenticate, "ModifiedCiphertext").play(
        group,
        outer(0x13, HUB),
        |_, flight| flipped(&flight.octets, 9, 0x80),
    );
    new("SEALED, sequence number", "one bit", Layer::Authenticate, "ModifiedHeader").play(
        group,
        outer(0x13, HUB),
        |_, flight| flipped(&flight.octets, 8, 0x10),
    );
    new("SEALED, tag", "its last bit", Layer::Authenticate, "ModifiedTag").play(
        group,
        outer(0x13, ALICE),
        |_, flight| last(&flight.octets),
    );
    new("inside, an unknown type", "type 15", Layer::Decode, "Type").play(
        group,
        inner(1, HUB),
        inside(|octets| [&[15][..], &octets[1..]].concat()),
    );
    new("inside, an octet more", "a zero behind a lease request", Layer::Decode, "Length").play(
        group,
        inner(1, HUB),
        inside(|octets| [&octets[..], &[0]].concat()),
    );
    let result = (Some(Layer::State), "Repeated");
    exchange(group, "SEALED, again", "a message that was taken", small(), result, |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let flight = world.until(inner(1, HUB));
        world.deliver(&flight);
        world.flying.clear();
        refuse(world, &flight, Layer::State);
    });
    let result = (Some(Layer::State), "NoSession");
    let comment = "the hub has started since; it says so, and drops the message";
    exchange(group, "SEALED, of a session that is over", comment, small(), result, |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let flight = world.until(inner(1, HUB));
        world.flying.clear();
        world.stop(HUB);
        world.start(HUB);
        refuse(world, &flight, Layer::State);
    });
}

fn leases(group: &mut Group) {
    let new = Refusal::new;
    let lease =
        |octets: Vec<u8>, from: usize, to: &[u8]| [&octets[..from], to, &octets[from + to.len()..]].concat();
    new("LEASE_GRANT, tag", "its last bit", Layer::Authenticate, "ModifiedTag").play(
        group,
        inner(2, ALICE),
        inside(|octets| last(&octets)),
    );
    new("LEASE_GRANT, longer than asked", "an element more, under a right tag", Layer::State, "NotAsked")
        .play(group, inner(2, ALICE), retagged(|octets| flipped(&octets, 26, 1)));
    new("LEASE_GRANT, another nonce", "under a right tag", Layer::State, "NotAsked").play(
        group,
        inner(2, ALICE),
        retagged(|octets| flipped(&octets, 3, 1)),
    );
    new("LEASE_GRANT of one element", "end - start is 1", Layer::Decode, "BadValue").play(
        group,
        inner(2, ALICE),
        inside(move |octets| lease(octets, 23, &[0, 0, 0, 1])),
    );
    new("LEASE_DENIED, another nonce", "in the place of a grant", Layer::State, "NotAsked").play(
        group,
        inner(2, ALICE),
        inside(|octets| [&[3][..], &flipped(&octets, 3, 1)[1..19], &[0; 4]].concat()),
    );
    let result = (Some(Layer::State), "Repeated");
    let comment = "another nonce, and the mark of before: a repetition that came late";
    exchange(group, "LEASE_REQUEST, an old mark", comment, small(), result, |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let request = world.until(inner(1, HUB));
        let asked = opened(world, &request);
        world.deliver(&request);
        let next = world.until(inner(4, HUB));
        let octets = Witness::new(world).reseal(&next, &flipped(&asked, 3, 1));
        world.flying.clear();
        refuse(world, &Flight { octets, ..next }, Layer::State);
    });
}

fn shares(group: &mut Group) {
    let new = Refusal::new;
    new("UPLOAD, tag", "its last bit", Layer::Authenticate, "ModifiedTag").play(
        group,
        inner(4, HUB),
        inside(|octets| last(&octets)),
    );
    new("UPLOAD, key id", "one bit", Layer::Authenticate, "ModifiedMessage").play(
        group,
        inner(4, HUB),
        inside(|octets| flipped(&octets, 11, 1)),
    );
    new("UPLOAD, the head of the lease", "one element down, under a right tag", Layer::State, "OutsideLease")
        .play(group, inner(4, HUB), retagged(|octets| [&octets[..3], &[0, 0, 0, 1], &octets[7..]].concat()));
    new(
        "UPLOAD, beyond the lease",
        "a block that begins inside, under a right tag",
        Layer::State,
        "OutsideLease",
    )
    .play(group, inner(4, HUB), retagged(|octets| [&octets[..3], &[0, 0, 0, 40], &octets[7..]].concat()));
    new("UPLOAD, table 1", "which is not there", Layer::State, "NoSuchTable").play(
        group,
        inner(4, HUB),
        inside(|octets| flipped(&octets, 2, 1)),
    );
    new("UPLOAD, threshold 1", "below 2, under a right tag", Layer::Decode, "BadValue").play(
        group,
        inner(4, HUB),
        retagged(|octets| flipped(&octets, 44, 3)),
    );
    new("UPLOAD, coordinates that descend", "under a right tag", Layer::Decode, "BadValue").play(
        group,
        inner(4, HUB),
        retagged(|octets| flipped(&octets, 52, 4)),
    );
    let result = (Some(Layer::State), "UsedBlock");
    let comment = "a block one element further, under a right tag, after the first";
    exchange(group, "UPLOAD, overlapping", comment, small(), result, |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let first = world.until(inner(4, HUB));
        world.deliver(&first);
        let next = Flight { octets: numbered(&first.octets), ..first.clone() };
        let octets = flipped(&opened(world, &first), 6, 1);
        let witness = Witness::new(world);
        let octets = witness.reseal(&next, &witness.retagged(&next, &octets));
        world.flying.clear();
        refuse(world, &Flight { octets, ..next }, Layer::State);
    });
    new("DELIVERY, tag", "its last bit", Layer::Authenticate, "ModifiedTag").play(
        group,
        inner(5, BOB),
        inside(|octets| last(&octets)),
    );
    new("DELIVERY, share", "its first bit", Layer::Authenticate, "ModifiedMessage").play(
        group,
        inner(5, BOB),
        inside(|octets| flipped(&octets, octets.len() - 17, 0x80)),
    );
    new("DELIVERY without a share", "under a right tag", Layer::Decode, "Length").play(
        group,
        inner(5, BOB),
        retagged(|octets| [&octets[..octets.len() - 16 - 112], &octets[octets.len() - 16..]].concat()),
    );
}

/// A header with another sequence number, which the sender has not used yet.
fn numbered(octets: &[u8]) -> Vec<u8> {
    flipped(octets, 8, 0x20)
}

fn answers(group: &mut Group) {
    let new = Refusal::new;
    new("ANSWER, tag", "its last bit", Layer::Authenticate, "ModifiedTag").play(
        group,
        inner(6, ALICE),
        inside(|octets| last(&octets)),
    );
    new("ANSWER, status", "ACCEPTED becomes UNKNOWN_PEER", Layer::Authenticate, "ModifiedMessage").play(
        group,
        inner(6, ALICE),
        inside(|octets| flipped(&octets, 7, 1)),
    );
    new("ANSWER, another block", "nothing was sent in it", Layer::State, "NotAsked").play(
        group,
        inner(6, ALICE),
        inside(|octets| flipped(&octets, 6, 0x40)),
    );
    new("ANSWER with confirmation, tag", "its last bit", Layer::Authenticate, "ModifiedTag").play(
        group,
        inner(6, HUB),
        inside(|octets| last(&octets)),
    );
    new("ANSWER, refused with confirmation", "a status beside ACCEPTED", Layer::Decode, "BadValue").play(
        group,
        inner(6, HUB),
        retagged(|octets| flipped(&octets, 7, 1)),
    );
    new("CONFIRM, tag", "its last bit: what a lying hub can do", Layer::Authenticate, "ModifiedTag").play(
        group,
        inner(8, ALICE),
        inside(|octets| last(&octets)),
    );
    new("CONFIRM, lying", "the first hub is blamed", Layer::Authenticate, "ModifiedMessage").play(
        group,
        inner(8, ALICE),
        inside(|octets| flipped(&octets, 34, 1)),
    );
    new("CONFIRM, another key", "one that nobody asked for", Layer::State, "UnknownKey").play(
        group,
        inner(8, ALICE),
        inside(|octets| flipped(&octets, 1, 1)),
    );
    new("FETCH to a client", "which never goes this way", Layer::State, "WrongDirection").play(
        group,
        inner(8, ALICE),
        inside(|_| vec![9]),
    );
}

fn sealed(group: &mut Group) {
    for (suite, name) in [(KeySuite::Aes256Gcm, "AES"), (KeySuite::ChaCha20Poly1305, "ChaCha20")] {
        let new = |what: &str, comment, layer, flag| {
            Refusal::new(&format!("{what}, {name}"), comment, layer, flag).under(suite)
        };
        new("UPLOAD_SEALED, tag", "its last bit", Layer::Authenticate, "ModifiedTag").play(
            group,
            inner(11, HUB),
            inside(|octets| last(&octets)),
        );
        new("UPLOAD_SEALED, number", "sealed under another", Layer::Authenticate, "ModifiedMessage").play(
            group,
            inner(11, HUB),
            inside(|octets| flipped(&octets, 7, 1)),
        );
        new("UPLOAD_SEALED, behind the lease", "an index above", Layer::State, "OutsideLease").play(
            group,
            inner(11, HUB),
            inside(|octets| flipped(&octets, 6, 0x20)),
        );
        new("DELIVERY_SEALED, share", "its last bit", Layer::Authenticate, "ModifiedCiphertext").play(
            group,
            inner(12, BOB),
            inside(|octets| flipped(&octets, octets.len() - 17, 1)),
        );
        new("ANSWER_SEALED, tag", "its last bit", Layer::Authenticate, "ModifiedTag").play(
            group,
            inner(13, ALICE),
            inside(|octets| last(&octets)),
        );
        new("ANSWER_SEALED, number", "nothing was sent under it", Layer::State, "NotAsked").play(
            group,
            inner(13, ALICE),
            inside(|octets| flipped(&octets, 7, 1)),
        );
    }
}

fn commands(group: &mut Group) {
    let mut play = |name: &str,
                    comment: &str,
                    layer,
                    flag: &str,
                    to: usize,
                    wanted: u8,
                    change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        exchange(group, name, comment, small(), (Some(layer), flag), |world, _| {
            world.settle();
            world.command(ALICE, "LOOKUP", b"bob", |client, now, rng| {
                client.look_up(now, rng, b"bob").expect("room");
            });
            let flight = world.until(inner(wanted, to));
            let octets = inside(change)(world, &flight);
            world.flying.clear();
            refuse(world, &Flight { octets, ..flight }, layer);
        });
    };
    play("LOOKUP, tag", "its last bit", Layer::Authenticate, "ModifiedTag", HUB, 30, &|octets| last(&octets));
    play("LOOKUP, name", "one bit", Layer::Authenticate, "ModifiedMessage", HUB, 30, &|octets| {
        flipped(&octets, 11, 1)
    });
    play(
        "LOOKUP without a name",
        "a name has an octet at least",
        Layer::Decode,
        "BadValue",
        HUB,
        30,
        &|octets| [&octets[..11], &octets[14..]].concat(),
    );
    play("LOOKUP, behind the lease", "an index above", Layer::State, "OutsideLease", HUB, 30, &|octets| {
        flipped(&octets, 6, 0x20)
    });
    play("OUTCOME, tag", "its last bit", Layer::Authenticate, "ModifiedTag", ALICE, 34, &|octets| {
        last(&octets)
    });
    play(
        "OUTCOME, client tag",
        "a lying observer",
        Layer::Authenticate,
        "ModifiedMessage",
        ALICE,
        34,
        &|octets| flipped(&octets, 8, 1),
    );
    play(
        "OUTCOME, another block",
        "nothing was sent in it",
        Layer::State,
        "NotAsked",
        ALICE,
        34,
        &|octets| flipped(&octets, 6, 0x20),
    );
}

fn refills(group: &mut Group) {
    let mut play = |name: &str,
                    comment: &str,
                    layer,
                    flag: &str,
                    to: usize,
                    wanted: u8,
                    change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        exchange(group, name, comment, small(), (Some(layer), flag), |world, case| {
            world.settle();
            let path = format!("steps[{}].input.octets", world.steps.len());
            let octets = case.derive(&path, 16 * 70);
            world.refill(HUB, ALICE, 0, 1, &octets);
            let flight = world.until(inner(wanted, to));
            let octets = inside(change)(world, &flight);
            world.flying.clear();
            refuse(world, &Flight { octets, ..flight }, layer);
        });
    };
    play(
        "REFILL, not the first part",
        "from element 1 on",
        Layer::State,
        "OutOfOrder",
        ALICE,
        20,
        &|octets| flipped(&octets, 11, 1),
    );
    play(
        "REFILL of more than the table",
        "two elements in all",
        Layer::Decode,
        "BadValue",
        ALICE,
        20,
        &|octets| [&octets[..4], &[0, 0, 0, 2], &octets[8..]].concat(),
    );
    play("REFILL, direction 2", "there is none", Layer::Decode, "BadValue", ALICE, 20, &|octets| {
        flipped(&octets, 1, 2)
    });
    play("REFILL, no whole element", "an octet less", Layer::Decode, "Length", ALICE, 20, &|octets| {
        octets[..octets.len() - 1].to_vec()
    });
    play(
        "REFILL, a table too long",
        "2^17 elements, more than the client takes",
        Layer::Policy,
        "TooLong",
        ALICE,
        20,
        &|octets| [&octets[..4], &[0, 2, 0, 0], &octets[8..]].concat(),
    );
    play("REFILLED, another table", "none that is sent", Layer::State, "NotAsked", HUB, 21, &|octets| {
        flipped(&octets, 3, 2)
    });
    play("REFILLED, beyond the end", "of the table", Layer::State, "NotAsked", HUB, 21, &|octets| {
        flipped(&octets, 6, 1)
    });
    play("REFILLED, an octet more", "a zero", Layer::Decode, "Length", HUB, 21, &|octets| {
        [&octets[..], &[0]].concat()
    });
}

fn policies(group: &mut Group) {
    let refusal = |name: &str, comment, flag, options, suite| Refusal {
        name: name.to_owned(),
        comment,
        layer: Layer::Policy,
        flag,
        options,
        suite,
    };
    let same = |_: &World, flight: &Flight| flight.octets.clone();
    let options = Options { suites: vec![KeySuite::OneTime], ..small() };
    refusal(
        "a suite that the hub does not relay",
        "answered POLICY",
        "SuiteNotOffered",
        options,
        KeySuite::Aes256Gcm,
    )
    .play(group, inner(11, HUB), same);
    let options = Options { hubs: 3, minimum_threshold: 3, ..small() };
    refusal(
        "a threshold below the responder's",
        "answered POLICY",
        "BelowThreshold",
        options,
        KeySuite::OneTime,
    )
    .play(group, inner(5, BOB), same);
    let options = Options { authorised: false, ..small() };
    refusal(
        "an initiator that is not authorised",
        "answered NOT_AUTHORISED",
        "NotAuthorised",
        options,
        KeySuite::OneTime,
    )
    .play(group, inner(4, HUB), same);
}
