//! Exchanges of which the last message is refused.

use skex_dske::KeySuite;
use skex_testvectors::Layer::{self, Authenticate, Decode, Policy, State};

use super::exchange;
use super::scenarios::{kind, wanted};
use super::witness::Witness;
use super::world::{ALICE, BOB, Flight, Options, World};
use crate::file::{Case, Group, flipped};

const HUB: usize = 2;

/// As little as an exchange needs.
pub(super) fn small() -> Options {
    Options { elements: 48, ..Options::default() }
}

/// The first message of an outer type, or with this inside.
#[derive(Clone, Copy)]
pub(super) enum First {
    Outer(u8),
    Inner(u8),
}
use First::{Inner, Outer};

impl First {
    pub(super) fn of(self, to: usize) -> impl Fn(&World, &Flight) -> bool {
        move |world, flight| {
            flight.to == to
                && match self {
                    Outer(wanted) => flight.octets[0] == wanted,
                    Inner(wanted) => kind(world, flight) == Some(wanted),
                }
        }
    }
}

/// What arrives in the place of a message.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// Nothing is changed.
    Same,
    /// Its octets.
    Octets(fn(&[u8]) -> Vec<u8>),
    /// What is inside, sealed anew.
    Inside(fn(&[u8]) -> Vec<u8>),
    /// The same, with a one-time tag that is right.
    Retagged(fn(&[u8]) -> Vec<u8>),
}
use Change::{Inside, Octets, Retagged, Same};

impl Change {
    pub(super) fn applied(self, world: &World, flight: &Flight) -> Vec<u8> {
        let witness = Witness::new(world);
        match self {
            Same => flight.octets.clone(),
            Octets(change) => change(&flight.octets),
            Inside(change) => witness.reseal(flight, &change(&opened(world, flight))),
            Retagged(change) => {
                let changed = change(&opened(world, flight));
                witness.reseal(flight, &witness.retagged(flight, &changed))
            }
        }
    }
}

/// What is inside a message.
pub(super) fn opened(world: &World, flight: &Flight) -> Vec<u8> {
    let witness = Witness::new(world);
    let opened = witness.opened.iter().rfind(|opened| opened.flight.octets == flight.octets);
    opened.and_then(|opened| opened.inner.clone()).expect("it is sealed")
}

/// Whether a message belongs to the last session of its link.
pub(super) fn fresh(world: &World, flight: &Flight) -> bool {
    let witness = Witness::new(world);
    witness.reseal(flight, &opened(world, flight)) == flight.octets
}

/// The last message, which changes nothing; of `policy`, what is refused may be answered so.
pub(super) fn refuse(world: &mut World, flight: &Flight, layer: Layer) {
    let sent = world.sent.len();
    world.deliver(flight);
    let answered = world.sent.len() - sent;
    if layer == Policy {
        assert!(answered == 1 || !world.accepted, "an answer refuses, or silence");
    } else {
        let says_so = |flight: &Flight| flight.octets[0] == 0x15 || kind(world, flight) == Some(21);
        assert!(
            !world.accepted && world.sent[sent..].iter().all(|(_, flight)| says_so(flight)),
            "nothing changed"
        );
    }
}

/// Name, comment, the layer that refuses, flag, what is changed. The tables of them are read better in lines than in columns.
pub(super) type Row = (&'static str, &'static str, Layer, &'static str, Change);

/// Exchanges up to a message, in whose place another one arrives.
pub(super) struct Refused<'a> {
    group: &'a mut Group,
    pub(super) options: Options,
    /// Behind every name.
    suffix: &'static str,
    /// What the message is part of.
    begin: &'a dyn Fn(&mut World, &mut Case<'_>),
}

impl<'a> Refused<'a> {
    pub(super) fn new(group: &'a mut Group, begin: &'a dyn Fn(&mut World, &mut Case<'_>)) -> Self {
        Self { group, options: small(), suffix: "", begin }
    }

    pub(super) fn at(&mut self, to: usize, first: First, rows: &[Row]) {
        for (name, comment, layer, flag, change) in rows {
            let name = format!("{name}{}", self.suffix);
            let result = (Some(*layer), *flag);
            exchange(self.group, &name, comment, self.options.clone(), result, |world, case| {
                (self.begin)(world, case);
                let flight = world.until(first.of(to));
                let octets = change.applied(world, &flight);
                world.flying.clear();
                refuse(world, &Flight { octets, ..flight }, *layer);
            });
        }
    }
}

/// A key of this suite is asked for.
fn key_of(suite: KeySuite) -> impl Fn(&mut World, &mut Case<'_>) {
    move |world, _| {
        world.request(ALICE, wanted(2, suite));
    }
}

/// One bit of the last octet.
fn last(octets: &[u8]) -> Vec<u8> {
    flipped(octets, octets.len() - 1, 1)
}

/// Other octets from a place on.
fn put(octets: &[u8], from: usize, to: &[u8]) -> Vec<u8> {
    [&octets[..from], to, &octets[from + to.len()..]].concat()
}

pub(super) fn all(group: &mut Group) {
    envelope(group);
    leases(group);
    shares(group);
    several(group);
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
        play(&format!("a {name}'s record damaged"), end, Authenticate, "ModifiedRecord", &torn);
        play(&format!("a {name}'s record missing"), end, State, "Gap", &without_one);
        play(&format!("a {name}'s records out of order"), end, State, "Gap", &shuffled);
    }
    play("a hub's record cut", HUB, Decode, "Length", &|records| {
        let mut records = records.to_vec();
        let _ = records.last_mut().expect("a record").pop();
        records
    });
}

#[rustfmt::skip]
fn envelope(group: &mut Group) {
    let begin = key_of(KeySuite::OneTime);
    let mut refused = Refused::new(group, &begin);
    refused.at(HUB, Outer(0x11), &[
        ("HELLO, version 2", "the first octet", Decode, "Version", Octets(|hello| flipped(hello, 0, 0x30))),
        ("HELLO, type 7", "the first octet", Decode, "Type", Octets(|hello| flipped(hello, 0, 6))),
        ("HELLO, an octet less", "the last one", Decode, "Length", Octets(|hello| hello[..36].to_vec())),
        ("HELLO, tag", "its last bit", Authenticate, "ModifiedTag", Octets(last)),
        ("HELLO, client 1", "a client that the hub has, and not this one", Authenticate, "ModifiedHeader", Octets(|hello| flipped(hello, 4, 1))),
        ("HELLO, client 128", "a number that the hub has not given", State, "UnknownClient", Octets(|hello| flipped(hello, 4, 0x80))),
        ("HELLO_REPLY to the hub", "reflected, with another type", State, "WrongDirection", Octets(|hello| flipped(hello, 0, 3))),
    ]);
    refused.at(ALICE, Outer(0x12), &[("HELLO_REPLY, tag", "its last bit", Authenticate, "ModifiedTag", Octets(last))]);
    refused.at(HUB, Outer(0x14), &[
        ("SEALED_FRESH, ciphertext", "its first bit; no session yet", Authenticate, "ModifiedCiphertext", Octets(|sealed| flipped(sealed, 25, 0x80))),
        ("SEALED_FRESH, salt", "one bit", Authenticate, "ModifiedHeader", Octets(|sealed| flipped(sealed, 5, 1))),
    ]);
    refused.at(HUB, Outer(0x13), &[
        ("SEALED, ciphertext", "its first bit", Authenticate, "ModifiedCiphertext", Octets(|sealed| flipped(sealed, 9, 0x80))),
        ("SEALED, sequence number", "one bit", Authenticate, "ModifiedHeader", Octets(|sealed| flipped(sealed, 8, 0x10))),
    ]);
    refused.at(ALICE, Outer(0x13), &[("SEALED, tag", "its last bit", Authenticate, "ModifiedTag", Octets(last))]);
    refused.at(HUB, Inner(1), &[
        ("inside, an unknown type", "type 15", Decode, "Type", Inside(|request| put(request, 0, &[15]))),
        ("inside, an octet more", "a zero behind a lease request", Decode, "Length", Inside(|request| [request, &[0]].concat())),
    ]);
    let result = (Some(State), "Repeated");
    exchange(group, "SEALED, again", "a message that was taken", small(), result, |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let flight = world.until(Inner(1).of(HUB));
        world.deliver(&flight);
        world.flying.clear();
        refuse(world, &flight, State);
    });
    let result = (Some(State), "NoSession");
    let comment = "the hub has started since; it says so, and drops the message";
    exchange(group, "SEALED, of a session that is over", comment, small(), result, |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let flight = world.until(Inner(1).of(HUB));
        world.flying.clear();
        world.stop(HUB);
        world.start(HUB);
        refuse(world, &flight, State);
    });
}

#[rustfmt::skip]
fn leases(group: &mut Group) {
    let begin = key_of(KeySuite::OneTime);
    Refused::new(group, &begin).at(ALICE, Inner(2), &[
        ("LEASE_GRANT, tag", "its last bit", Authenticate, "ModifiedTag", Inside(last)),
        ("LEASE_GRANT, longer than asked", "an element more, under a right tag", State, "NotAsked", Retagged(|grant| flipped(grant, 26, 1))),
        ("LEASE_GRANT, another nonce", "under a right tag", State, "NotAsked", Retagged(|grant| flipped(grant, 3, 1))),
        ("LEASE_GRANT of one element", "end - start is 1", Decode, "BadValue", Inside(|grant| put(grant, 23, &[0, 0, 0, 1]))),
        ("LEASE_DENIED, another nonce", "in the place of a grant", State, "NotAsked", Inside(|grant| [&[3][..], &flipped(grant, 3, 1)[1..19], &[0; 4]].concat())),
    ]);
    let result = (Some(State), "Repeated");
    let comment = "another nonce, and the mark of before: a repetition that came late";
    exchange(group, "LEASE_REQUEST, an old mark", comment, small(), result, |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let request = world.until(Inner(1).of(HUB));
        let asked = opened(world, &request);
        world.deliver(&request);
        let next = world.until(Inner(4).of(HUB));
        let octets = Witness::new(world).reseal(&next, &flipped(&asked, 3, 1));
        world.flying.clear();
        refuse(world, &Flight { octets, ..next }, State);
    });
}

#[rustfmt::skip]
fn shares(group: &mut Group) {
    let begin = key_of(KeySuite::OneTime);
    Refused::new(group, &begin).at(HUB, Inner(4), &[
        ("UPLOAD, tag", "its last bit", Authenticate, "ModifiedTag", Inside(last)),
        ("UPLOAD, key id", "one bit", Authenticate, "ModifiedMessage", Inside(|upload| flipped(upload, 11, 1))),
        ("UPLOAD, the head of the lease", "one element down, under a right tag", State, "OutsideLease", Retagged(|upload| put(upload, 3, &[0, 0, 0, 1]))),
        ("UPLOAD, beyond the lease", "a block that begins inside, under a right tag", State, "OutsideLease", Retagged(|upload| put(upload, 3, &[0, 0, 0, 40]))),
        ("UPLOAD, table 1", "which is not there", State, "NoSuchTable", Inside(|upload| flipped(upload, 2, 1))),
        ("UPLOAD, threshold 1", "below 2, under a right tag", Decode, "BadValue", Retagged(|upload| flipped(upload, 44, 3))),
        ("UPLOAD, coordinates that descend", "under a right tag", Decode, "BadValue", Retagged(|upload| flipped(upload, 52, 4))),
    ]);
    let result = (Some(State), "UsedBlock");
    let comment = "a block one element further, under a right tag, after the first";
    exchange(group, "UPLOAD, overlapping", comment, small(), result, |world, _| {
        world.request(ALICE, wanted(2, KeySuite::OneTime));
        let first = world.until(Inner(4).of(HUB));
        world.deliver(&first);
        let next = Flight { octets: numbered(&first.octets), ..first.clone() };
        let octets = flipped(&opened(world, &first), 6, 1);
        let witness = Witness::new(world);
        let octets = witness.reseal(&next, &witness.retagged(&next, &octets));
        world.flying.clear();
        refuse(world, &Flight { octets, ..next }, State);
    });
    Refused::new(group, &begin).at(BOB, Inner(5), &[
        ("DELIVERY, tag", "its last bit", Authenticate, "ModifiedTag", Inside(last)),
        ("DELIVERY, share", "its first bit", Authenticate, "ModifiedMessage", Inside(|delivery| flipped(delivery, delivery.len() - 17, 0x80))),
        ("DELIVERY without a share", "under a right tag", Decode, "Length", Retagged(|delivery| [&delivery[..delivery.len() - 128], &delivery[delivery.len() - 16..]].concat())),
    ]);
}

#[rustfmt::skip]
fn several(group: &mut Group) {
    let begin = |world: &mut World, _: &mut Case<'_>| {
        for _ in 0..2 {
            world.request(ALICE, wanted(2, KeySuite::OneTime));
        }
    };
    fn first(several: &[u8]) -> &[u8] {
        &several[..3 + usize::from(u16::from_be_bytes([several[1], several[2]]))]
    }
    Refused::new(group, &begin).at(HUB, Inner(14), &[
        ("SEVERAL, an octet less", "the last one", Decode, "Length", Inside(|several| several[..several.len() - 1].to_vec())),
        ("SEVERAL of one message", "without the second", Decode, "Length", Inside(|several| first(several).to_vec())),
        ("SEVERAL in SEVERAL", "the type of its first message", Decode, "Type", Inside(|several| flipped(several, 3, 4 ^ 14))),
        ("SEVERAL, every tag", "the last bit of each", Authenticate, "ModifiedTag", Inside(|several| last(&flipped(several, first(several).len() - 1, 1)))),
    ]);
}

/// A header with another sequence number, which the sender has not used yet.
fn numbered(octets: &[u8]) -> Vec<u8> {
    flipped(octets, 8, 0x20)
}

#[rustfmt::skip]
fn answers(group: &mut Group) {
    let begin = key_of(KeySuite::OneTime);
    let mut refused = Refused::new(group, &begin);
    refused.at(ALICE, Inner(6), &[
        ("ANSWER, tag", "its last bit", Authenticate, "ModifiedTag", Inside(last)),
        ("ANSWER, status", "ACCEPTED becomes UNKNOWN_PEER", Authenticate, "ModifiedMessage", Inside(|answer| flipped(answer, 7, 1))),
        ("ANSWER, another block", "nothing was sent in it", State, "NotAsked", Inside(|answer| flipped(answer, 6, 0x40))),
    ]);
    refused.at(HUB, Inner(6), &[
        ("ANSWER with confirmation, tag", "its last bit", Authenticate, "ModifiedTag", Inside(last)),
        ("ANSWER, refused with confirmation", "a status beside ACCEPTED", Decode, "BadValue", Retagged(|answer| flipped(answer, 7, 1))),
    ]);
    refused.at(ALICE, Inner(8), &[
        ("CONFIRM, tag", "its last bit: what a lying hub can do", Authenticate, "ModifiedTag", Inside(last)),
        ("CONFIRM, lying", "the first hub is blamed", Authenticate, "ModifiedMessage", Inside(|confirm| flipped(confirm, 34, 1))),
        ("CONFIRM, another key", "one that nobody asked for", State, "UnknownKey", Inside(|confirm| flipped(confirm, 1, 1))),
        ("FETCH to a client", "which never goes this way", State, "WrongDirection", Inside(|_| vec![9])),
    ]);
}

#[rustfmt::skip]
fn sealed(group: &mut Group) {
    for (suite, suffix) in [(KeySuite::Aes256Gcm, ", AES"), (KeySuite::ChaCha20Poly1305, ", ChaCha20")] {
        let begin = key_of(suite);
        let mut refused = Refused { suffix, ..Refused::new(group, &begin) };
        refused.at(HUB, Inner(11), &[
            ("UPLOAD_SEALED, tag", "its last bit", Authenticate, "ModifiedTag", Inside(last)),
            ("UPLOAD_SEALED, number", "sealed under another", Authenticate, "ModifiedMessage", Inside(|upload| flipped(upload, 7, 1))),
            ("UPLOAD_SEALED, behind the lease", "an index above", State, "OutsideLease", Inside(|upload| flipped(upload, 6, 0x20))),
        ]);
        refused.at(BOB, Inner(12), &[
            ("DELIVERY_SEALED, share", "its last bit", Authenticate, "ModifiedCiphertext", Inside(|delivery| flipped(delivery, delivery.len() - 17, 1))),
        ]);
        refused.at(ALICE, Inner(13), &[
            ("ANSWER_SEALED, tag", "its last bit", Authenticate, "ModifiedTag", Inside(last)),
            ("ANSWER_SEALED, number", "nothing was sent under it", State, "NotAsked", Inside(|answer| flipped(answer, 7, 1))),
        ]);
    }
}

#[rustfmt::skip]
fn commands(group: &mut Group) {
    let mut refused = Refused::new(group, &|world, _| {
        world.settle();
        world.command(ALICE, "LOOKUP", b"bob", |client, now, rng| {
            client.look_up(now, rng, b"bob").expect("room");
        });
    });
    refused.at(HUB, Inner(30), &[
        ("LOOKUP, tag", "its last bit", Authenticate, "ModifiedTag", Inside(last)),
        ("LOOKUP, name", "one bit", Authenticate, "ModifiedMessage", Inside(|look_up| flipped(look_up, 11, 1))),
        ("LOOKUP without a name", "a name has an octet at least", Decode, "BadValue", Inside(|look_up| [&look_up[..11], &look_up[14..]].concat())),
        ("LOOKUP, behind the lease", "an index above", State, "OutsideLease", Inside(|look_up| flipped(look_up, 6, 0x20))),
    ]);
    refused.at(ALICE, Inner(34), &[
        ("OUTCOME, tag", "its last bit", Authenticate, "ModifiedTag", Inside(last)),
        ("OUTCOME, client tag", "a lying observer", Authenticate, "ModifiedMessage", Inside(|outcome| flipped(outcome, 8, 1))),
        ("OUTCOME, another block", "nothing was sent in it", State, "NotAsked", Inside(|outcome| flipped(outcome, 6, 0x20))),
    ]);
}

#[rustfmt::skip]
fn refills(group: &mut Group) {
    let mut refused = Refused::new(group, &|world, case| {
        world.settle();
        let path = format!("steps[{}].input.octets", world.steps.len());
        let octets = case.derive(&path, 16 * 70);
        world.refill(HUB, ALICE, 0, 1, &octets);
    });
    refused.at(ALICE, Inner(20), &[
        ("REFILL, not the first part", "from element 1 on", State, "OutOfOrder", Inside(|refill| flipped(refill, 11, 1))),
        ("REFILL of more than the table", "two elements in all", Decode, "BadValue", Inside(|refill| put(refill, 4, &[0, 0, 0, 2]))),
        ("REFILL, direction 2", "there is none", Decode, "BadValue", Inside(|refill| flipped(refill, 1, 2))),
        ("REFILL, no whole element", "an octet less", Decode, "Length", Inside(|refill| refill[..refill.len() - 1].to_vec())),
        ("REFILL, a table too long", "2^17 elements, more than the client takes", Policy, "TooLong", Inside(|refill| put(refill, 4, &[0, 2, 0, 0]))),
    ]);
    refused.at(HUB, Inner(21), &[
        ("REFILLED, another table", "none that is sent", State, "NotAsked", Inside(|refilled| flipped(refilled, 3, 2))),
        ("REFILLED, beyond the end", "of the table", State, "NotAsked", Inside(|refilled| flipped(refilled, 6, 1))),
        ("REFILLED, an octet more", "a zero", Decode, "Length", Inside(|refilled| [refilled, &[0]].concat())),
    ]);
}

fn policies(group: &mut Group) {
    let mut refused = |options, suite, to, first, row: Row| {
        let begin = key_of(suite);
        Refused { options, ..Refused::new(group, &begin) }.at(to, first, &[row]);
    };
    refused(
        Options { suites: vec![KeySuite::OneTime], ..small() },
        KeySuite::Aes256Gcm,
        HUB,
        Inner(11),
        ("a suite that the hub does not relay", "answered POLICY", Policy, "SuiteNotOffered", Same),
    );
    refused(
        Options { hubs: 3, minimum_threshold: 3, ..small() },
        KeySuite::OneTime,
        BOB,
        Inner(5),
        ("a threshold below the responder's", "answered POLICY", Policy, "BelowThreshold", Same),
    );
    refused(
        Options { authorised: false, ..small() },
        KeySuite::OneTime,
        HUB,
        Inner(4),
        ("an initiator that is not authorised", "answered NOT_AUTHORISED", Policy, "NotAuthorised", Same),
    );
}
