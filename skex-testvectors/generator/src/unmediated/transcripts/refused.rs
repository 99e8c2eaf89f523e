//! Messages that an end must discard, each for one cause.

use skex_testvectors::Layer;

use super::super::schedule::{
    first_and_second, first_body, first_body_of, handshake as schedule, mac16, second_body, typed,
};
use super::world::{Options, World};
use super::{exchange, handshake, one};
use crate::file::{Group, flipped};

pub(super) fn all(group: &mut Group) {
    malformed(group);
    unauthentic(group);
    misplaced(group);
    forbidden(group);
}

/// The messages of a handshake that a starts, up to the one numbered `last`; all were sent, that one is not delivered.
pub(super) fn up_to(world: &mut World, last: usize) -> Vec<u8> {
    let first = one(world.establish(b'a'));
    if last == 1 {
        return first;
    }
    let second = one(world.deliver(b'b', &first));
    if last == 2 {
        return second;
    }
    let third = one(world.deliver(b'a', &second));
    if last == 3 {
        return third;
    }
    if last == 5 {
        return one(world.timeout(b'a'));
    }
    one(world.deliver(b'b', &third))
}

/// Who gets the message of this number.
pub(super) fn receiver(number: usize) -> u8 {
    if number.is_multiple_of(2) { b'a' } else { b'b' }
}

type Change = fn(&[u8]) -> Vec<u8>;

fn malformed(group: &mut Group) {
    let cut: Change = |octets| octets[..octets.len() - 1].to_vec();
    let longer: Change = |octets| [octets, &[0]].concat();
    let version: Change = |octets| flipped(octets, 0, 0x30);
    let flag: Change = |octets| flipped(octets, 1, 0x80);
    let mut add = |name: &str, number: usize, flaw: &str, change: Change| {
        let refused = (Some(Layer::Decode), flaw);
        exchange(group, name, "not a message of this version", Options::default(), refused, |world| {
            let message = up_to(world, number);
            world.refuse(receiver(number), &change(&message));
        });
    };
    add("nothing", 1, "Length", |_| Vec::new());
    add("first, version 2", 1, "Version", version);
    add("type 0", 1, "Type", |octets| flipped(octets, 0, 0x01));
    add("type 8", 1, "Type", |octets| flipped(octets, 0, 0x09));
    add("first, an unknown flag", 1, "Flags", flag);
    add("first, cut", 1, "Length", cut);
    add("first, longer", 1, "Length", longer);
    add("first, an offer of nothing", 1, "Offer", |octets| [&octets[..26], &[0, 0], &octets[30..]].concat());
    add("first, an offer of 0x00", 1, "Offer", |octets| flipped(octets, 27, 0x01));
    add("first, one suite twice", 1, "Offer", |octets| flipped(octets, 27, 0x03));
    add("second, version 2", 2, "Version", version);
    add("second, an unknown flag", 2, "Flags", flag);
    add("second, cut", 2, "Length", cut);
    add("second, longer", 2, "Length", longer);
    add("third, an unknown flag", 3, "Flags", flag);
    add("third, cut", 3, "Length", cut);
    add("third, longer", 3, "Length", longer);
    add("long third, an unknown flag", 5, "Flags", flag);
    add("long third, cut", 5, "Length", cut);
    add("long third, longer", 5, "Length", longer);
    add("fourth, an unknown flag", 4, "Flags", flag);
    add("fourth, status 2", 4, "Status", |octets| flipped(octets, 10, 0x02));
    add("fourth, cut", 4, "Length", cut);
    add("fourth, longer", 4, "Length", longer);
}

fn unauthentic(group: &mut Group) {
    let mut add = |name: &str, number: usize, from_end: bool, at: usize, mask: u8| {
        let flaw = if from_end { "ModifiedTag" } else { "ModifiedBody" };
        let refused = (Some(Layer::Authenticate), flaw);
        exchange(group, name, "one bit is not the sender's", Options::default(), refused, |world| {
            let message = up_to(world, number);
            let at = if from_end { message.len() - at } else { at };
            world.refuse(receiver(number), &flipped(&message, at, mask));
        });
    };
    add("first, tag", 1, true, 1, 1);
    add("first, flag", 1, false, 1, 1);
    add("first, nonce", 1, false, 10, 0x80);
    add("first, round", 1, false, 25, 1);
    // 2 becomes 3: an offer still.
    add("first, offer", 1, false, 28, 1);
    add("second, tag", 2, true, 16, 0x80);
    add("second, flag VOID", 2, false, 1, 1);
    add("second, flag STATELESS", 2, false, 1, 2);
    add("second, nonce", 2, false, 25, 1);
    // 1 becomes 2, which was offered too.
    add("second, suite", 2, false, 26, 3);
    add("third, tag", 3, true, 1, 1);
    add("long third, guard", 5, true, 1, 1);
    add("long third, tag", 5, true, 49, 1);
    add("long third, flag of the first", 5, false, 27, 1);
    add("long third, nonce of the first", 5, false, 28, 1);
    add("long third, nonce of the second", 5, false, 49, 1);
    add("fourth, tag", 4, true, 1, 1);
    // Good becomes void.
    add("fourth, status", 4, false, 10, 1);
    let refused = (Some(Layer::Authenticate), "ModifiedTag");
    let comment = "the guard tag is right, the tag of the third message is not";
    exchange(group, "long third, tag behind a guard", comment, Options::default(), refused, |world| {
        let long = flipped(&up_to(world, 5), 12, 1);
        let epoch = world.epoch_0();
        let body = &long[..long.len() - 8];
        let guard = mac16(epoch.suite, &epoch.mac_key(b'a'), body)[..8].to_vec();
        world.refuse(b'b', &[body, &guard].concat());
    });
    let refused = (Some(Layer::Authenticate), "ModifiedTag");
    exchange(group, "stale notice, tag", "it must not stop anybody", Options::default(), refused, |world| {
        let old = world.slots(b'a');
        handshake(world, b'a');
        world.restore(b'a', old);
        let first = one(world.establish(b'a'));
        let notice = one(world.deliver(b'b', &first));
        world.refuse(b'a', &flipped(&notice, 25, 1));
    });
}

fn misplaced(group: &mut Group) {
    let mut add = |name: &str, comment: &str, flaw: &str, play: fn(&mut World)| {
        exchange(group, name, comment, Options::default(), (Some(Layer::State), flaw), play);
    };
    add("first, sent back", "to the end that sent it", "UnknownPseudonym", |world| {
        let first = up_to(world, 1);
        world.refuse(b'a', &first);
    });
    add("first, of another lane", "authentic there", "UnknownPseudonym", |world| {
        let mut elsewhere = world.enrolment.clone();
        elsewhere.lane = 1;
        let mut epoch = world.epoch_0();
        epoch.chain_key = elsewhere.chain_key(&world.secret);
        let body = first_body(0, &epoch.pseudonym(b'a'), &[7; 16], &[1, 2]);
        let tag = mac16(epoch.suite, &epoch.mac_key(b'a'), &body);
        world.refuse(b'b', &[body, tag].concat());
    });
    add("second, of nobody's attempt", "the reference is another's", "NoSuchAttempt", |world| {
        let second = up_to(world, 2);
        world.refuse(b'a', &flipped(&second, 2, 1));
    });
    add("second, twice", "the attempt has come to its end", "Repeated", |world| {
        let second = up_to(world, 2);
        world.deliver(b'a', &second);
        world.refuse(b'a', &second);
    });
    add("second, after giving way", "who answered has no attempt any more", "NoSuchAttempt", |world| {
        let of_a = one(world.establish(b'a'));
        let of_b = one(world.establish(b'b'));
        let from_b = world.deliver(b'b', &of_a);
        let from_a = world.deliver(b'a', &of_b);
        assert!(from_a.is_empty() != from_b.is_empty());
        let (loser, own) = if from_b.is_empty() { (b'a', of_a) } else { (b'b', of_b) };
        let epoch = world.epoch_0();
        let second = second_body(0, &own[10..18], &[9; 16], 1);
        let made = schedule(&world.enrolment.binding(), &epoch, loser, first_body_of(&own), &second, None);
        let [_, second] = first_and_second(&typed(&made));
        world.refuse(loser, &second);
    });
    add("short third, not answered", "the responder has restarted", "NotAnswered", |world| {
        let third = up_to(world, 3);
        world.restart(b'b');
        world.refuse(b'b', &third);
    });
    add("fourth, twice", "nothing is waited for", "Repeated", |world| {
        let fourth = up_to(world, 4);
        world.deliver(b'a', &fourth);
        world.refuse(b'a', &fourth);
    });
    add("fourth, of another pseudonym", "not the one that was sent", "UnknownPseudonym", |world| {
        let fourth = up_to(world, 4);
        world.refuse(b'a', &flipped(&fourth, 2, 1));
    });
    add("third, of another pseudonym", "nobody's", "UnknownPseudonym", |world| {
        let third = up_to(world, 3);
        world.refuse(b'b', &flipped(&third, 9, 1));
    });
    add("cookie, of nobody's attempt", "the reference is another's", "NoSuchAttempt", |world| {
        let first = up_to(world, 1);
        world.refuse(b'a', &[&[0x16, 0], &flipped(&first, 10, 1)[10..18], &[5; 16]].concat());
    });
    add("cookie, twice", "one is taken between two repetitions", "Repeated", |world| {
        let first = up_to(world, 1);
        let cookie = [&[0x16, 0], &first[10..18], &[5; 16]].concat();
        world.deliver(b'a', &cookie);
        world.refuse(b'a', &flipped(&cookie, 25, 1));
    });
    add("stale notice, of nobody's attempt", "the reference is another's", "NoSuchAttempt", |world| {
        let old = world.slots(b'a');
        handshake(world, b'a');
        world.restore(b'a', old);
        let first = one(world.establish(b'a'));
        let notice = one(world.deliver(b'b', &first));
        world.refuse(b'a', &flipped(&notice, 9, 1));
    });
}

fn forbidden(group: &mut Group) {
    let refused = (Some(Layer::Policy), "NotOffered");
    let comment = "only the peer itself could send this";
    exchange(group, "second, a suite not offered", comment, Options::default(), refused, |world| {
        let second = up_to(world, 2);
        let first = world.sent[0].octets.clone();
        let mut body = second[..second.len() - 16].to_vec();
        body[26] = 5;
        let epoch = world.epoch_0();
        let made = schedule(&world.enrolment.binding(), &epoch, b'a', first_body_of(&first), &body, None);
        let [_, forged] = first_and_second(&typed(&made));
        world.refuse(b'a', &forged);
    });
    let options = Options { suites: [vec![1, 2], vec![3]], ..Options::default() };
    let refused = (Some(Layer::Policy), "NoCommonSuite");
    exchange(
        group,
        "first, nothing in common",
        "the responder allows another suite",
        options,
        refused,
        |world| {
            let first = up_to(world, 1);
            world.refuse(b'b', &first);
        },
    );
}
