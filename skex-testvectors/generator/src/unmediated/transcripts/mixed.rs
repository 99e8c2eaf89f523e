//! Exchanges with fresh secret material, and messages that an end must discard because of it.

use skex_core::Label;
use skex_testvectors::Layer;
use skex_unmediated::MixPolicy;

use super::super::schedule::{
    extended, first_and_second, first_body_of, handshake as schedule, mac16, second_body, typed,
};
use super::refused::{receiver, up_to};
use super::world::{Options, World};
use super::{exchange, handshake, one};
use crate::file::{Group, flipped};

const RAW: Label = Label::EXPORT_RAW;

fn with(blocks: usize) -> Options {
    Options { blocks, ..Options::default() }
}

fn required(blocks: usize) -> Options {
    Options { mix: [MixPolicy::Require; 2], ..with(blocks) }
}

pub(super) fn all(group: &mut Group) {
    usual(group);
    policies(group);
    withdrawn(group);
}

fn usual(group: &mut Group) {
    let mut add = |name: &str, comment: &str, options: Options, play: fn(&mut World)| {
        exchange(group, name, comment, options, (None, "Mixed"), play);
    };
    add("a block", "mixed in once, and gone", with(1), |world| {
        world.provide_both(0);
        handshake(world, b'a');
        assert!(world.peer(b'a').session().is_some_and(|session| session.mixed));
        world.share_key(b'a', RAW, b"");
        handshake(world, b'b');
        assert!(world.peer(b'a').session().is_some_and(|session| !session.mixed));
    });
    let stateless = Options { stateless: true, ..with(1) };
    add("a block, stateless responder", "the third message is long", stateless, |world| {
        world.provide_both(0);
        handshake(world, b'b');
        assert!(world.sent.iter().any(|sent| sent.octets[0] == 0x15 && sent.octets.len() == 92));
    });
    let consumer = Options { consumer: true, ..with(1) };
    add("a block, three messages", "the consumer confirms", consumer, |world| {
        world.provide_both(0);
        handshake(world, b'a');
        world.share_key(b'a', RAW, b"");
        world.confirm(b'a');
    });
    add("two blocks", "in other orders at the two ends", with(2), |world| {
        world.provide_both(0);
        world.provide(b'a', 1);
        world.provide(b'b', 1);
        handshake(world, b'a');
        handshake(world, b'b');
        world.share_key(b'b', RAW, b"");
        handshake(world, b'a');
    });
    add("the second of two", "the responder holds that one alone", with(2), |world| {
        world.provide(b'a', 0);
        world.provide(b'a', 1);
        world.provide(b'b', 1);
        handshake(world, b'a');
        // The other waits.
        world.provide(b'b', 0);
        handshake(world, b'a');
    });
    add("no block in common", "each end has another", with(2), |world| {
        world.provide(b'a', 0);
        world.provide(b'b', 1);
        handshake(world, b'a');
        handshake(world, b'b');
        assert_eq!(world.peer(b'a').mix_blocks(), 1);
    });
    let suites = [vec![1, 5], vec![5, 1]];
    add("a block, and suites change", "a block for each hash", Options { suites, ..with(2) }, |world| {
        for (number, initiator) in [(0, b'a'), (1, b'b')] {
            world.provide_both(number);
            handshake(world, initiator);
            world.share_key(b'a', RAW, b"");
        }
    });
    add("a block, everything lost once", "a repetition has the same octets", with(1), |world| {
        world.provide_both(0);
        let first = one(world.establish(b'a'));
        assert_eq!(one(world.timeout(b'a')), first);
        let second = one(world.deliver(b'b', &first));
        assert_eq!(one(world.deliver(b'b', &first)), second);
        let _short = world.deliver(b'a', &second);
        let long = one(world.timeout(b'a'));
        let fourth = one(world.deliver(b'b', &long));
        world.deliver(b'a', &fourth);
        world.share_key(b'b', RAW, b"");
    });
    add(
        "a block, and the responder forgets",
        "the block is in its record: it follows, void",
        with(1),
        |world| {
            let long = behind(world);
            assert!(world.restart(b'b').is_empty());
            let fourth = one(world.deliver(b'b', &long));
            world.deliver(b'a', &fourth);
            assert_eq!(world.peer(b'b').mix_blocks(), 0);
            handshake(world, b'b');
        },
    );
    add("a block, and the initiator restarts", "it owes a third message with a choice", with(1), |world| {
        let long = behind(world);
        assert_eq!(one(world.restart(b'a')), long);
        let fourth = one(world.deliver(b'b', &long));
        world.deliver(b'a', &fourth);
    });
}

fn policies(group: &mut Group) {
    let mut add = |name: &str, comment: &str, options: Options, play: fn(&mut World)| {
        exchange(group, name, comment, options, (None, "Mixed"), play);
    };
    let never = Options { mix: [MixPolicy::Accept, MixPolicy::Never], ..with(1) };
    add("one end never mixes", "it chooses nothing", never, |world| {
        world.provide(b'a', 0);
        handshake(world, b'a');
        handshake(world, b'b');
    });
    add("required, and there", "by both ends", required(1), |world| {
        world.provide_both(0);
        handshake(world, b'a');
    });
    let one_end = Options { mix: [MixPolicy::Accept, MixPolicy::Require], ..with(1) };
    add("refused, then provided", "a repetition is answered with a choice", one_end, |world| {
        world.provide(b'a', 0);
        let first = one(world.establish(b'a'));
        let refusal = one(world.deliver(b'b', &first));
        assert_eq!((refusal.len(), refusal[28]), (45, 0));
        world.discard_aloud(b'a', &refusal, "mixRefused");
        world.provide(b'b', 0);
        assert_eq!(one(world.timeout(b'a')), first);
        let second = one(world.deliver(b'b', &first));
        let third = one(world.deliver(b'a', &second));
        let fourth = one(world.deliver(b'b', &third));
        world.deliver(b'a', &fourth);
        world.share_key(b'a', RAW, b"");
    });
    let one_end = Options { mix: [MixPolicy::Require, MixPolicy::Accept], ..with(1) };
    add("chosen is nothing, then provided", "the attempt goes on", one_end, |world| {
        world.provide(b'a', 0);
        let first = one(world.establish(b'a'));
        let plain = one(world.deliver(b'b', &first));
        assert_eq!(plain.len(), 44);
        world.discard_aloud(b'a', &plain, "mixRefused");
        world.provide(b'b', 0);
        let first = one(world.timeout(b'a'));
        let second = one(world.deliver(b'b', &first));
        let third = one(world.deliver(b'a', &second));
        let fourth = one(world.deliver(b'b', &third));
        world.deliver(b'a', &fourth);
    });
}

fn withdrawn(group: &mut Group) {
    let mut add = |name: &str, comment: &str, options: Options, play: fn(&mut World)| {
        exchange(group, name, comment, options, (None, "Mixed"), play);
    };
    add("withdrawn, and needed all the same", "the peer has moved with it", with(1), |world| {
        let long = behind(world);
        world.withdraw(b'b');
        assert!(world.restart(b'b').is_empty());
        let fourth = one(world.deliver(b'b', &long));
        world.deliver(b'a', &fourth);
    });
    add("withdrawn and provided again", "it counts again", with(1), |world| {
        world.provide_both(0);
        world.withdraw(b'a');
        handshake(world, b'b');
        // The commit erased it at a. At b it waits.
        world.provide(b'a', 0);
        handshake(world, b'a');
    });
    add("another in its place", "a block that nobody chose gives way", with(3), |world| {
        world.provide_both(0);
        world.provide(b'a', 1);
        world.withdraw(b'a');
        world.provide(b'a', 2);
        world.provide(b'b', 2);
        handshake(world, b'a');
    });
    add("room is asked for", "all was withdrawn before a restart", required(3), |world| {
        world.provide(b'a', 0);
        world.provide(b'a', 1);
        world.withdraw(b'a');
        assert!(world.restart(b'a').is_empty());
        let first = one(world.establish(b'a'));
        assert_eq!(first.len(), 46);
        let refusal = one(world.deliver(b'b', &first));
        world.discard_aloud(b'a', &refusal, "mixRefused");
        world.provide(b'a', 2);
        world.provide(b'b', 2);
        handshake(world, b'a');
    });
    let comment = "of an end that insists: its attempt has the higher round, was refused, and gives way";
    add("room is asked for again", comment, required(3), |world| {
        world.provide(b'a', 0);
        world.provide(b'a', 1);
        world.withdraw(b'a');
        assert!(world.restart(b'a').is_empty());
        world.provide(b'b', 2);
        for round in 0..2 {
            let insisting = one(world.establish(b'b'));
            assert_eq!(insisting[22..26], [0, 0, 0, round]);
            let refusal = one(world.deliver(b'a', &insisting));
            world.discard_aloud(b'b', &refusal, "mixRefused");
            let asking = one(world.establish(b'a'));
            // It offers nothing, and at first its round is no lower.
            assert_eq!(asking.len(), 46);
            let refusal = one(world.deliver(b'b', &asking));
            world.discard_aloud(b'a', &refusal, "mixRefused");
        }
        world.provide(b'a', 2);
        handshake(world, b'b');
    });
    add("lost by a rollback, and provided again", "the application is told", with(1), |world| {
        let old = world.slots(b'b');
        let long = behind(world);
        world.restore(b'b', old);
        world.discard_aloud(b'b', &long, "mixLost");
        world.provide(b'b', 0);
        let long = one(world.timeout(b'a'));
        let fourth = one(world.deliver(b'b', &long));
        world.deliver(b'a', &fourth);
    });
}

pub(super) fn refused(group: &mut Group) {
    let mut add = |name: &str, options: Options, why: (Layer, &str), play: fn(&mut World)| {
        exchange(group, name, "a block is offered", options, (Some(why.0), why.1), play);
    };
    let (wrong, body) = (Layer::Authenticate, "ModifiedBody");
    add("first, a bit of the offer", with(1), (wrong, body), |world| {
        let first = mixed_up_to(world, 1);
        world.refuse(b'b', &flipped(&first, 30, 1));
    });
    add("first, the offer stripped", with(1), (wrong, body), |world| {
        let first = mixed_up_to(world, 1);
        world.refuse(b'b', &[&first[..29], &[0], &first[46..]].concat());
    });
    add("second, the choice stripped", with(1), (wrong, body), |world| {
        let second = mixed_up_to(world, 2);
        world.refuse(b'a', &[&second[..27], &[0], &second[29..]].concat());
    });
    add("second, the choice made a refusal", with(1), (wrong, body), |world| {
        let second = mixed_up_to(world, 2);
        world.refuse(b'a', &flipped(&second, 28, 1));
    });
    add("second, the other choice", with(2), (wrong, body), |world| {
        world.provide(b'a', 1);
        let second = mixed_up_to(world, 2);
        world.refuse(b'a', &flipped(&second, 28, 3));
    });
    add("long third, a bit of the offer", with(1), (wrong, body), |world| {
        let long = mixed_up_to(world, 5);
        world.refuse(b'b', &flipped(&long, 50, 1));
    });
    let bad = (Layer::Policy, "BadChoice");
    add("second, a choice of what was not offered", with(1), bad, |world| {
        let second = mixed_up_to(world, 2);
        world.refuse(b'a', &flipped(&second, 28, 3));
    });
    add("second, choice 3", with(1), bad, |world| {
        let second = mixed_up_to(world, 2);
        world.refuse(b'a', &flipped(&second, 28, 2));
    });
    add("second, two octets", with(1), bad, |world| {
        let second = mixed_up_to(world, 2);
        world.refuse(b'a', &[&second[..27], &[2, 1, 1], &second[29..]].concat());
    });
    add("third, a block of its own", with(1), bad, |world| {
        let third = mixed_up_to(world, 3);
        world.refuse(b'b', &[&third[..10], &[1, 0], &third[11..]].concat());
    });
    add(
        "long third, a refusal",
        Options { mix: [MixPolicy::Accept, MixPolicy::Require], ..with(1) },
        bad,
        |world| {
            world.provide(b'a', 0);
            let first = one(world.establish(b'a'));
            let refusal = one(world.deliver(b'b', &first));
            // Only the peer itself could send this, and it would have broken the rules.
            let epoch = world.epoch_0();
            let (first, second) = (first_body_of(&first), &refusal[..refusal.len() - 16]);
            let made = schedule(&world.enrolment.binding(), &epoch, b'a', first, second, None);
            world.refuse(b'b', typed(&made).long_third.as_bytes());
        },
    );
    let none = (Layer::Policy, "NoBlock");
    add(
        "second, a refusal",
        Options { mix: [MixPolicy::Accept, MixPolicy::Require], ..with(1) },
        none,
        |world| {
            world.provide(b'a', 0);
            let first = one(world.establish(b'a'));
            let refusal = one(world.deliver(b'b', &first));
            world.discard_aloud(b'a', &refusal, "mixRefused");
        },
    );
    add(
        "second, nothing chosen",
        Options { mix: [MixPolicy::Require, MixPolicy::Accept], ..with(1) },
        none,
        |world| {
            world.provide(b'a', 0);
            let first = one(world.establish(b'a'));
            let plain = one(world.deliver(b'b', &first));
            world.discard_aloud(b'a', &plain, "mixRefused");
        },
    );
    let lost = (Layer::State, "LostBlock");
    add("long third, the block is lost", with(1), lost, |world| {
        let old = world.slots(b'b');
        let long = behind(world);
        world.restore(b'b', old);
        world.discard_aloud(b'b', &long, "mixLost");
    });
    let wrong = (Layer::Authenticate, "ModifiedTag");
    add("second, without what is mixed in", with(1), wrong, |world| {
        let second = mixed_up_to(world, 2);
        let first = world.sent[0].octets.clone();
        let body = second[..second.len() - 16].to_vec();
        assert_eq!(body, extended(&second_body(0, &second[2..10], &second[10..26], 1), &[1]));
        let epoch = world.epoch_0();
        let made = schedule(&world.enrolment.binding(), &epoch, b'a', first_body_of(&first), &body, None);
        let [_, forged] = first_and_second(&typed(&made));
        world.refuse(receiver(2), &forged);
    });
    add("long third, without what is mixed in", with(1), wrong, |world| {
        let long = mixed_up_to(world, 5);
        let [first, second] = [0, 1].map(|at| world.sent[at].octets.clone());
        let epoch = world.epoch_0();
        let (first, second) = (first_body_of(&first), &second[..second.len() - 16]);
        let made = schedule(&world.enrolment.binding(), &epoch, b'a', first, second, None);
        let mac3 = typed(&made).third.as_bytes()[11..].to_vec();
        let body = [&long[..11], &mac3, &long[27..long.len() - 8]].concat();
        let guard = mac16(epoch.suite, &epoch.mac_key(b'a'), &body)[..8].to_vec();
        world.refuse(b'b', &[body, guard].concat());
    });
}

/// As `up_to`, with block 0 at both ends.
fn mixed_up_to(world: &mut World, last: usize) -> Vec<u8> {
    world.provide_both(0);
    up_to(world, last)
}

/// a moves with block 0; its third message is lost. The long one.
fn behind(world: &mut World) -> Vec<u8> {
    mixed_up_to(world, 5)
}
