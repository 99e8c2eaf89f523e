//! Exchanges that lead to something.

use skex_core::{Label, Suite};

use super::super::{number, other};
use super::world::{Options, PATH, World};
use super::{exchange, handshake, one};
use crate::file::Group;
use crate::primitives::suite_name;

const RAW: Label = Label::EXPORT_RAW;

pub(super) fn all(group: &mut Group) {
    usual(group);
    faults(group);
    restarts(group);
    let mut add = |name: &str, comment: &str, play: fn(&mut World)| {
        exchange(group, name, comment, Options::default(), (None, "Exporter"), play);
    };
    add("keys out of order", "indices of both chains within the window, over a restart", keys_out_of_order);
    for suite in Suite::all() {
        let (name, comment) = (format!("four messages, {}", suite_name(suite)), "one suite and no other");
        exchange(group, &name, comment, Options::only(suite), (None, "Normal"), |world| {
            handshake(world, b'b');
            world.share_key(b'a', RAW, b"");
            world.share_key(b'b', Label::EXPORT_TLS13_EPSK, b"one");
        });
    }
}

fn usual(group: &mut Group) {
    let mut add = |name: &str, comment: &str, options: Options, flag: &str, play: fn(&mut World)| {
        exchange(group, name, comment, options, (None, flag), play);
    };
    let usual = Options::default;
    add(
        "four messages",
        "printed in the specification: a starts, and a key of each chain",
        usual(),
        "Normal",
        |world| {
            handshake(world, b'a');
            world.share_key(b'a', RAW, b"example");
            world.share_key(b'b', Label::EXPORT_IKEV2_PPK, b"");
        },
    );
    add("b starts, then a", "two epochs", usual(), "Normal", |world| {
        handshake(world, b'b');
        handshake(world, b'a');
        world.share_key(b'a', RAW, b"");
    });
    let consumer = Options { consumer: true, ..usual() };
    add(
        "three messages",
        "the consumer confirms at the initiator",
        consumer.clone(),
        "ConsumerConfirms",
        |world| {
            handshake(world, b'a');
            world.share_key(b'a', RAW, b"");
            world.confirm(b'a');
            // The next first message under the new epoch ends the duty to heal.
            handshake(world, b'b');
        },
    );
    let comment = "its first message goes alone; its repetition beside the third message, which was lost";
    add("the consumer confirmed too early", comment, consumer.clone(), "ConsumerConfirms", |world| {
        let first = one(world.establish(b'a'));
        let second = one(world.deliver(b'b', &first));
        let _lost = world.deliver(b'a', &second);
        world.confirm(b'a');
        let next = one(world.establish(b'a'));
        let both = world.timeout(b'a');
        assert_eq!((both[0].clone(), both[1][0], both.len()), (next, 0x15, 2));
        assert!(world.deliver(b'b', &both[1]).is_empty());
        let second = one(world.deliver(b'b', &both[0]));
        let third = one(world.deliver(b'a', &second));
        world.deliver(b'b', &third);
        world.share_key(b'b', RAW, b"");
    });
    let stateless = Options { stateless: true, ..usual() };
    add("stateless responder", "the third message is long", stateless, "Stateless", |world| {
        handshake(world, b'a');
        assert!(world.sent.iter().any(|sent| sent.octets[0] == 0x15 && sent.octets.len() == 75));
    });
    let both = Options { stateless: true, ..consumer };
    add("stateless responder, three messages", "the consumer confirms, too", both, "Stateless", |world| {
        handshake(world, b'a');
        world.confirm(b'a');
    });
    let suites = [vec![1, 5], vec![5, 1]];
    let changing = Options { suites, ..usual() };
    add(
        "suites change",
        "to a longer hash and back: the responder's order decides",
        changing,
        "SuiteChange",
        |world| {
            for (initiator, suite) in [(b'a', 5), (b'b', 1), (b'a', 5), (b'a', 5)] {
                handshake(world, initiator);
                assert_eq!(number(world.peer(b'a').suite()), suite);
                world.share_key(b'b', RAW, b"");
            }
        },
    );
    let suites = [vec![1, 2, 3, 4, 5], vec![4]];
    let other = Options { suites, lane: 9, ..usual() };
    add("another hash of one length", "lane 9", other, "SuiteChange", |world| {
        handshake(world, b'a');
        assert_eq!(number(world.peer(b'a').suite()), 4);
    });
}

fn faults(group: &mut Group) {
    let mut add = |name: &str, comment: &str, flag: &str, play: fn(&mut World)| {
        exchange(group, name, comment, Options::default(), (None, flag), play);
    };
    add("glare", "both ends start; the first messages cross", "Glare", |world| {
        let (winner, second) = glare(world);
        finish(world, winner, &second);
    });
    add(
        "glare, and the winner is gone",
        "who gave way starts again with a round above the winner's",
        "Glare",
        |world| {
            let (winner, _lost) = glare(world);
            let loser = other(winner);
            let first = one(world.timeout(loser));
            assert_eq!(first[22..26], [0, 0, 0, 1]);
            let second = one(world.deliver(winner, &first));
            finish(world, loser, &second);
        },
    );
    let comment = "who gave way does not wait: its next attempt beats every one that it has seen, and copies of old ones";
    add("glare, and the applications insist", comment, "Glare", |world| {
        let (winner, _lost) = glare(world);
        let loser = other(winner);
        let old = world.sent.iter().find(|sent| sent.side == winner).expect("it began").octets.clone();
        let first = one(world.establish(loser));
        assert!(world.deliver(loser, &old).is_empty());
        let _lost = one(world.deliver(winner, &first));
        let first = one(world.establish(winner));
        let _lost = one(world.deliver(loser, &first));
        let _lost = one(world.deliver(loser, &old));
        let first = one(world.establish(loser));
        assert_eq!(first[22..26], [0, 0, 0, 3]);
        let second = one(world.deliver(winner, &first));
        finish(world, loser, &second);
    });
    let comment = "and nobody hears the next attempt: the one after it has its round";
    add("glare, and the round stays", comment, "Glare", |world| {
        let (winner, _lost) = glare(world);
        let loser = other(winner);
        let lost = one(world.establish(loser));
        while !world.timeout(loser).is_empty() {}
        let first = one(world.establish(loser));
        assert!(first[10..22] != lost[10..22] && first[22..26] == lost[22..26]);
        let second = one(world.deliver(winner, &first));
        finish(world, loser, &second);
    });
    let comment = "after a start; its next first message is answered, and does not put off the end of the answer before";
    add("glare, and the winner begins anew", comment, "Glare", |world| {
        let (winner, _lost) = glare(world);
        let loser = other(winner);
        let _lost = world.timeout(winner);
        assert!(world.restart(winner).is_empty());
        let again = one(world.establish(winner));
        let _lost = one(world.deliver(loser, &again));
        let first = one(world.timeout(loser));
        assert_eq!(world.now, 31_000);
        assert_eq!(first[22..26], [0, 0, 0, 1]);
        let second = one(world.deliver(winner, &first));
        finish(world, loser, &second);
    });
    add("everything lost once", "each message is lost once and sent again", "Loss", |world| {
        let first = one(world.establish(b'a'));
        assert_eq!(one(world.timeout(b'a')), first);
        let second = one(world.deliver(b'b', &first));
        assert_eq!(one(world.timeout(b'a')), first);
        assert_eq!(one(world.deliver(b'b', &first)), second);
        let short = one(world.deliver(b'a', &second));
        assert_eq!(short.len(), 27);
        let long = one(world.timeout(b'a'));
        let fourth = one(world.deliver(b'b', &long));
        assert_eq!(one(world.timeout(b'a')), long);
        assert_eq!(one(world.deliver(b'b', &long)), fourth);
        world.deliver(b'a', &fourth);
    });
    add("nobody answers", "a first message is sent five times", "Loss", |world| {
        let first = one(world.establish(b'a'));
        for _ in 1..5 {
            assert_eq!(one(world.timeout(b'a')), first);
        }
        assert!(world.timeout(b'a').is_empty());
    });
    add("an old first message", "of an end that is behind draws the long third one", "Healing", |world| {
        let first = ahead(world);
        let long = one(world.deliver(b'a', &first));
        let fourth = one(world.deliver(b'b', &long));
        world.deliver(b'a', &fourth);
    });
    add(
        "a new session while ahead",
        "it is asked for with a first message beside the third",
        "Healing",
        |world| {
            let _lost = ahead(world);
            let long = one(world.establish(b'a'));
            let fourth = one(world.deliver(b'b', &long));
            world.deliver(b'a', &fourth);
            handshake(world, b'b');
        },
    );
    add("a path that was not learned", "gets a cookie before the long third message", "Cookie", |world| {
        let first = ahead(world);
        let cookie = one(world.deliver_from(PATH + 1, b'a', &first));
        assert_eq!(cookie.len(), 26);
        assert!(world.deliver(b'b', &cookie).is_empty());
        let again = one(world.timeout(b'b'));
        assert_eq!(again.len(), 63);
        let long = one(world.deliver_from(PATH + 1, b'a', &again));
        let fourth = one(world.deliver(b'b', &long));
        world.deliver_from(PATH + 1, b'a', &fourth);
    });
    add(
        "paths change",
        "a cookie is for one path; the next one is taken after a repetition",
        "Cookie",
        |world| {
            let first = ahead(world);
            let cookie = one(world.deliver_from(PATH + 1, b'a', &first));
            assert!(world.deliver(b'b', &cookie).is_empty());
            let again = one(world.timeout(b'b'));
            let cookie = one(world.deliver_from(PATH + 2, b'a', &again));
            assert!(world.deliver(b'b', &cookie).is_empty());
            let again = one(world.timeout(b'b'));
            let long = one(world.deliver_from(PATH + 2, b'a', &again));
            let fourth = one(world.deliver(b'b', &long));
            world.deliver_from(PATH + 2, b'a', &fourth);
        },
    );
    add(
        "under load",
        "a first message without a cookie draws one, and counts as discarded",
        "Cookie",
        |world| {
            world.load(b'b', true);
            let first = one(world.establish(b'a'));
            let cookie = one(world.deliver_from(PATH, b'b', &first));
            assert_eq!(cookie[0], 0x16);
            assert!(world.deliver(b'a', &cookie).is_empty());
            let again = one(world.timeout(b'a'));
            let second = one(world.deliver(b'b', &again));
            finish(world, b'a', &second);
            world.load(b'b', false);
            handshake(world, b'a');
        },
    );
    add(
        "nobody answers while ahead",
        "after two repetitions an attempt runs beside the third message",
        "Healing",
        |world| {
            let _lost = ahead(world);
            let long = one(world.establish(b'a'));
            assert_eq!(one(world.timeout(b'a')), long);
            let both = world.establish(b'a');
            assert_eq!(both.iter().map(|message| message[0]).collect::<Vec<_>>(), [0x11, 0x15]);
            let fourth = one(world.deliver(b'b', &both[1]));
            // The session that is confirmed ends the attempt.
            world.deliver(b'a', &fourth);
            world.share_key(b'a', RAW, b"");
        },
    );
    let comment = "a session is wanted once: the third repetition begins an attempt by itself";
    add("nobody answers while ahead, and nobody asks again", comment, "Healing", |world| {
        let _lost = ahead(world);
        let long = one(world.establish(b'a'));
        assert_eq!(one(world.timeout(b'a')), long);
        let both = world.timeout(b'a');
        assert_eq!(both.iter().map(|message| message[0]).collect::<Vec<_>>(), [0x11, 0x15]);
        let fourth = one(world.deliver(b'b', &both[1]));
        world.deliver(b'a', &fourth);
        handshake(world, b'b');
    });
    add("a third message too late", "the slot of the second is over: the session is void", "Void", |world| {
        let first = one(world.establish(b'a'));
        let second = one(world.deliver(b'b', &first));
        let _lost = world.deliver(b'a', &second);
        let mut long = Vec::new();
        while world.now < 62_000 {
            long = one(world.timeout(b'a'));
        }
        let fourth = one(world.deliver(b'b', &long));
        assert_eq!(fourth[10], 1);
        world.deliver(b'a', &fourth);
        handshake(world, b'b');
        world.share_key(b'a', RAW, b"");
    });
    add("expiry", "the session ends at one end, and the next first message says so", "Expired", |world| {
        handshake(world, b'a');
        assert!(world.timeout(b'b').is_empty());
        handshake(world, b'b');
        let void = |sent: &super::world::Sent| sent.octets[0] == 0x11 && sent.octets[1] == 1;
        assert!(world.sent.iter().any(void));
    });
}

fn restarts(group: &mut Group) {
    let mut add = |name: &str, comment: &str, flag: &str, play: fn(&mut World)| {
        exchange(group, name, comment, Options::default(), (None, flag), play);
    };
    add(
        "the responder forgets",
        "it restarts before the third message: the session is void",
        "Void",
        |world| {
            let first = one(world.establish(b'a'));
            let second = one(world.deliver(b'b', &first));
            let _short = world.deliver(b'a', &second);
            assert!(world.restart(b'b').is_empty());
            let long = one(world.timeout(b'a'));
            let fourth = one(world.deliver(b'b', &long));
            world.deliver(b'a', &fourth);
            // Both say in the next handshake that they have no session.
            handshake(world, b'a');
            world.share_key(b'b', RAW, b"");
        },
    );
    add("the responder restarts after it followed", "the same fourth message", "Restart", |world| {
        let first = one(world.establish(b'a'));
        let second = one(world.deliver(b'b', &first));
        let third = one(world.deliver(b'a', &second));
        let fourth = one(world.deliver(b'b', &third));
        assert!(world.restart(b'b').is_empty());
        let long = one(world.timeout(b'a'));
        assert_eq!(one(world.deliver(b'b', &long)), fourth);
        world.deliver(b'a', &fourth);
    });
    add("the initiator restarts ahead", "it sends the long third message at its start", "Restart", |world| {
        let first = one(world.establish(b'a'));
        let second = one(world.deliver(b'b', &first));
        let _short = world.deliver(b'a', &second);
        let long = one(world.restart(b'a'));
        let fourth = one(world.deliver(b'b', &long));
        world.deliver(b'a', &fourth);
    });
    let comment = "what it sends at its start is no repetition: the third one after it begins an attempt";
    add("the initiator restarts ahead, and nobody answers", comment, "Restart", |world| {
        let first = one(world.establish(b'a'));
        let second = one(world.deliver(b'b', &first));
        let _short = world.deliver(b'a', &second);
        let long = one(world.restart(b'a'));
        assert_eq!(one(world.establish(b'a')), long);
        assert_eq!(one(world.timeout(b'a')), long);
        let both = world.timeout(b'a');
        assert_eq!(both.iter().map(|message| message[0]).collect::<Vec<_>>(), [0x11, 0x15]);
        let fourth = one(world.deliver(b'b', &both[1]));
        world.deliver(b'a', &fourth);
    });
    add("the initiator restarts before it moved", "the attempt is forgotten", "Restart", |world| {
        let first = one(world.establish(b'a'));
        let second = one(world.deliver(b'b', &first));
        assert!(world.restart(b'a').is_empty());
        world.deliver_from(PATH, b'a', &second);
        handshake(world, b'a');
    });
    add("rolled back", "an old record is restored: the peer proves it", "RolledBack", |world| {
        let old = world.slots(b'a');
        handshake(world, b'a');
        assert!(world.restore(b'a', old).is_empty());
        let first = one(world.establish(b'a'));
        let notice = one(world.deliver(b'b', &first));
        assert_eq!(notice.len(), 26);
        world.deliver(b'a', &notice);
        assert!(world.peer(b'a').is_rolled_back());
    });
    let comment = "its session is over, durably, and it heeds nothing any more";
    add("rolled back, with a session", comment, "RolledBack", rolled_back_with_a_session);
}

/// What is restored has a session.
fn rolled_back_with_a_session(world: &mut World) {
    handshake(world, b'b');
    world.share_key(b'b', RAW, b"");
    let old = world.slots(b'a');
    handshake(world, b'b');
    assert!(world.restore(b'a', old).is_empty());
    let first = one(world.establish(b'a'));
    let notice = one(world.deliver(b'b', &first));
    world.deliver(b'a', &notice);
    assert!(world.peer(b'a').session().is_none());
    // It heeds nothing any more.
    world.refuse(b'a', &notice);
    // After a start it has to learn it anew.
    assert!(world.restart(b'a').is_empty());
    let first = one(world.establish(b'a'));
    let notice = one(world.deliver(b'b', &first));
    world.deliver(b'a', &notice);
}

fn keys_out_of_order(world: &mut World) {
    handshake(world, b'a');
    let indices = [(); 4].map(|()| world.name(b'a', RAW, b"four"));
    world.answer(b'b', indices[3], RAW, b"four");
    world.answer(b'b', indices[1], RAW, b"four");
    assert!(world.restart(b'b').is_empty());
    world.answer(b'b', indices[0], RAW, b"four");
    let index = world.name(b'a', Label::EXPORT_MACSEC_CAK, b"");
    world.answer(b'b', index, Label::EXPORT_MACSEC_CAK, b"");
    world.answer(b'b', indices[2], RAW, b"four");
    // After its start b names nothing before the next handshake.
    handshake(world, b'b');
    world.share_key(b'b', RAW, b"");
}

/// Both ends start, and their first messages cross. Who wins, and the second message of the other.
fn glare(world: &mut World) -> (u8, Vec<u8>) {
    let of_a = one(world.establish(b'a'));
    let of_b = one(world.establish(b'b'));
    let from_b = world.deliver(b'b', &of_a);
    let from_a = world.deliver(b'a', &of_b);
    assert_eq!(of_a[10..22] > of_b[10..22], !from_b.is_empty());
    if from_b.is_empty() { (b'b', one(from_a)) } else { (b'a', one(from_b)) }
}

/// The rest of a handshake after its second message.
fn finish(world: &mut World, initiator: u8, second: &[u8]) {
    let third = one(world.deliver(initiator, second));
    let fourth = one(world.deliver(other(initiator), &third));
    assert!(world.deliver(initiator, &fourth).is_empty());
}

/// a is ahead, its third message lost; a first message of b, which is behind.
fn ahead(world: &mut World) -> Vec<u8> {
    let first = one(world.establish(b'a'));
    let second = one(world.deliver(b'b', &first));
    let _lost = world.deliver(b'a', &second);
    one(world.establish(b'b'))
}
