//! unmediated-keys.json

use serde_json::{Value, json};
use skex_core::Suite;
use skex_testvectors::Layer;
use skex_testvectors::unmediated_keys::TestGroup;

use super::schedule::{
    Enrolment, Epoch, cookie, expand, extended, filling, first_and_second, first_body, handshake, mac16,
    nonce, reference, second_body, typed,
};
use super::{VERSION, number, other, suite};
use crate::file::{File, Group, flipped};
use crate::primitives::{hash, suite_name};

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "unmediated-keys",
        "Unmediated: enrolment and key schedule",
        VERSION,
        &["The groups of nonces and cookies are informative: an end may make its own in another way."],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("Minimum", "EDGE_CASE", "The shortest or least that there is."),
            ("Maximum", "EDGE_CASE", "The longest or most that there is."),
            (
                "SuiteChange",
                "BASIC",
                "The next epoch has another suite, with a hash of the same or another length.",
            ),
            ("Mixed", "BASIC", "Fresh secret material is offered, and mixed in."),
            ("ShortSecret", "MISSING_CHECK", "An enrolment secret of fewer than 32 octets."),
            ("SameName", "MISSING_CHECK", "Both ends have one name."),
            ("NameLength", "MISSING_CHECK", "A name of no octet, or of more than 255."),
            ("ContextLength", "MISSING_CHECK", "A context of more than 255 octets."),
            ("ModifiedTag", "AUTHENTICATION", "One bit of the tag is flipped."),
            ("ModifiedBody", "AUTHENTICATION", "One bit of what the tag covers is flipped."),
            ("Reflected", "AUTHENTICATION", "The tag is right under the key of the other side."),
            ("OtherTranscript", "AUTHENTICATION", "The tag is right for another first or second message."),
            ("OtherType", "AUTHENTICATION", "The tag is that of another message under the same key."),
        ],
    );
    for suite in Suite::all() {
        let (name, number) = (suite_name(suite), json!({ "suite": number(suite) }));
        let mut add = |kind: &str, what: &str, fill: &dyn Fn(&mut Group)| {
            file.group(kind, &format!("{name} {what}"), number.clone(), fill);
        };
        add("Enrolment", "enrolment", &|group| enrolments(suite, group));
        add("Epoch", "epoch", &|group| epochs(suite, group));
        add("Handshake", "handshake", &|group| handshakes(suite, group));
        add("Tag", "tags", &|group| tags(suite, group));
        add("Nonce", "nonces", &|group| nonces(suite, group));
        add("Offer", "offers", &|group| offers(suite, group));
        add("Cookie", "cookies", &|group| cookies(suite, group));
    }
    file.finish::<TestGroup>()
}

fn enrolments(suite: Suite, group: &mut Group) {
    let long = [b'n'; 255];
    let mut add =
        |name: &str, secret: usize, a: &[u8], b: &[u8], lane: u8, context: &[u8], flag: &str, good: bool| {
            let mut case = group.case(name, "EB and CK_0");
            let secret = case.secret("secret", secret);
            case.hex("nameA", a).hex("nameB", b).set("lane", lane).hex("context", context);
            if good {
                let names = [a.to_vec(), b.to_vec()];
                let enrolment = Enrolment { names, lane, suite, context: context.to_vec() };
                case.hex("binding", &enrolment.binding()).hex("chainKey", &enrolment.chain_key(&secret));
                case.valid(&[flag]);
            } else {
                case.set("binding", Value::Null).set("chainKey", Value::Null);
                case.invalid(Layer::Argument, flag);
            }
        };
    add("alice and bob", 32, b"alice", b"bob", 0, b"", "Normal", true);
    add("bob and alice", 32, b"bob", b"alice", 0, b"", "Normal", true);
    add("lane 1, a context", 32, b"alice", b"bob", 1, b"a tunnel", "Normal", true);
    add("64 octets of secret", 64, b"alice", b"bob", 0, b"", "Normal", true);
    add("short names", 32, b"a", b"b", 0, b"", "Minimum", true);
    add("everything long", 200, &long, b"bob", 255, &[b'c'; 255], "Maximum", true);
    add("31 octets of secret", 31, b"alice", b"bob", 0, b"", "ShortSecret", false);
    add("one name", 32, b"alice", b"alice", 0, b"", "SameName", false);
    add("no name of a", 32, b"", b"bob", 0, b"", "NameLength", false);
    add("no name of b", 32, b"alice", b"", 0, b"", "NameLength", false);
    add("256 octets of name", 32, &[b'n'; 256], b"bob", 0, b"", "NameLength", false);
    add("256 octets of context", 32, b"alice", b"bob", 0, &[b'c'; 256], "ContextLength", false);
}

fn epochs(suite: Suite, group: &mut Group) {
    for (name, number, flag) in
        [("epoch 0", 0, "Minimum"), ("epoch 1", 1, "Normal"), ("the last epoch", u64::MAX, "Maximum")]
    {
        let mut case = group.case(name, "pseudonyms, and keys of first messages");
        let epoch = Epoch { number, suite, chain_key: case.secret("chainKey", suite.hash_len()) };
        case.set("epoch", number);
        case.hex("pseudonymA", &epoch.pseudonym(b'a')).hex("pseudonymB", &epoch.pseudonym(b'b'));
        case.hex("macKeyA", &epoch.mac_key(b'a')).hex("macKeyB", &epoch.mac_key(b'b'));
        case.valid(&[flag]);
    }
}

/// A handshake as it stands in a test of this name.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    epoch: u64,
    initiator: u8,
    flags: [u8; 2],
    offer: &'a [u8],
    next: u8,
    /// How many blocks are offered, and which one is chosen (from 1 on; 0 for none).
    blocks: usize,
    choice: u8,
}

fn handshakes(own: Suite, group: &mut Group) {
    let own_number = number(own);
    let mut add = |name: &str, wanted: &Wanted<'_>, flag: &str| {
        let mut case = group.case(name, "from one chain key to the next, with every value between");
        let mut derive = |field: &str, length| case.derive(&format!("handshake.{field}"), length);
        let binding = derive("binding", 32);
        let epoch = Epoch { number: wanted.epoch, suite: own, chain_key: derive("chainKey", own.hash_len()) };
        // Parts of the bodies, so they are no fields that a reader could derive.
        let nonces = crate::seed::octets("unmediated-keys", &suite_name(own), &format!("{name}.nonces"), 32);
        let own_name = epoch.pseudonym(wanted.initiator);
        let mut first = first_body(wanted.flags[0], &own_name, &nonces[..16], wanted.offer);
        let mut second = second_body(wanted.flags[1], &nonces[..8], &nonces[16..], wanted.next);
        let mut block = None;
        if wanted.choice > 0 {
            block = Some(case.derive("handshake.block", 32));
            // The other place of the offer has a block of which nothing else is said, or is filled.
            let other =
                crate::seed::octets("unmediated-keys", &suite_name(own), &format!("{name}.other"), 32);
            let mut offer = filling(&epoch, wanted.initiator, &nonces[..16]);
            for place in 0..wanted.blocks {
                let chosen = place + 1 == usize::from(wanted.choice);
                let held = block.as_ref().filter(|_| chosen).unwrap_or(&other);
                let of_it = reference(own, held, wanted.epoch, wanted.initiator, &nonces[..16]);
                offer[8 * place..8 * place + 8].copy_from_slice(&of_it);
            }
            first = extended(&first, &offer);
            second = extended(&second, &[wanted.choice]);
        }
        let made = handshake(&binding, &epoch, wanted.initiator, &first, &second, block.as_deref());
        case.set("handshake", made);
        case.valid(&[flag]);
    };
    let basic = |initiator| Wanted {
        epoch: 0,
        initiator,
        flags: [0, 0],
        offer: &[1, 2],
        next: 1,
        blocks: 0,
        choice: 0,
    };
    let offers: [&[u8]; 6] = [&[], &[1], &[2], &[3], &[4], &[5]];
    let same = offers[usize::from(own_number)];
    add("a starts", &Wanted { offer: same, next: own_number, ..basic(b'a') }, "Minimum");
    add("b starts", &Wanted { offer: same, next: own_number, ..basic(b'b') }, "Minimum");
    let flags = Wanted { epoch: 7, flags: [1, 3], offer: &[5, 4, 3, 2, 1], next: own_number, ..basic(b'a') };
    add("all flags", &flags, "Normal");
    for next in Suite::all().map(number).filter(|next| *next != own_number) {
        let wanted = Wanted { epoch: 1 << 40, offer: &[1, 2, 3, 4, 5], next, ..basic(b'b') };
        add(&format!("to {}", suite_name(suite(next))), &wanted, "SuiteChange");
    }
    let mixed = Wanted { offer: same, next: own_number, blocks: 1, choice: 1, ..basic(b'a') };
    add("a block", &mixed, "Mixed");
    let second = Wanted { epoch: 9, flags: [1, 3], blocks: 2, choice: 2, initiator: b'b', ..mixed };
    add("the second of two blocks", &second, "Mixed");
    for next in Suite::all().map(number).filter(|next| *next != own_number) {
        let wanted = Wanted { offer: &[1, 2, 3, 4, 5], next, ..mixed };
        add(&format!("a block, to {}", suite_name(suite(next))), &wanted, "Mixed");
    }
    let private = [0x80, 0x81, 0x82, 0xfd, 0xfe, 0xff, own_number, 0x90];
    let longest = Wanted { epoch: u64::MAX - 1, offer: &private, next: own_number, ..basic(b'a') };
    add("eight suites", &longest, "Maximum");
}

fn tags(suite: Suite, group: &mut Group) {
    let seed = |field: &str, length| {
        crate::seed::octets("unmediated-keys", &suite_name(suite), &format!("tags.{field}"), length)
    };
    let epoch = Epoch { number: 3, suite, chain_key: seed("chainKey", suite.hash_len()) };
    let made = |initiator: u8, nonces: &[u8]| {
        let first = first_body(0, &epoch.pseudonym(initiator), &nonces[..16], &[1, 2]);
        let second = second_body(0, &nonces[..8], &nonces[16..], 1);
        typed(&handshake(&seed("binding", 32), &epoch, initiator, &first, &second, None))
    };
    let right = made(b'a', &seed("nonces", 32));
    let elsewhere = made(b'a', &seed("others", 32));
    let [first, second] = first_and_second(&right);
    let (k1, ms, h1) = (right.mac_key.as_bytes(), right.master_secret.as_bytes(), right.h1.as_bytes());
    // Type, key, what the tag covers behind the body, message.
    let all: [(&str, [&[u8]; 3]); 6] = [
        ("FIRST", [k1, b"", &first]),
        ("SECOND", [ms, b"", &second]),
        ("THIRD", [ms, b"", right.third.as_bytes()]),
        ("THIRD_LONG", [k1, b"", right.long_third.as_bytes()]),
        ("FOURTH", [ms, b"", right.fourth_good.as_bytes()]),
        ("STALE", [k1, h1, right.stale_notice.as_bytes()]),
    ];
    let mut add = |name: String, kind: &str, key: &[u8], after: &[u8], octets: &[u8], flaw: &str| {
        let mut case = group.case(&name, "the tag at the end of a message");
        case.set("messageType", kind).hex("key", key).hex("after", after).hex("octets", octets);
        match flaw {
            "" => case.valid(&["Normal"]),
            flaw => case.invalid(Layer::Authenticate, flaw),
        }
    };
    for (kind, [key, after, octets]) in all {
        let lower = kind.to_lowercase();
        add(lower.clone(), kind, key, after, octets, "");
        let last = octets.len() - 1;
        add(format!("{lower}, tag flipped"), kind, key, after, &flipped(octets, last, 1), "ModifiedTag");
        // The tag of the second message is bound to its body through MS; see "OtherTranscript".
        if kind != "SECOND" {
            add(
                format!("{lower}, body flipped"),
                kind,
                key,
                after,
                &flipped(octets, 3, 0x80),
                "ModifiedBody",
            );
        }
    }
    let reflected = epoch.mac_key(other(b'a'));
    add("first, own key".into(), "FIRST", &reflected, b"", &first, "Reflected");
    let [_, foreign] = first_and_second(&elsewhere);
    add("second, of another".into(), "SECOND", ms, b"", &foreign, "OtherTranscript");
    let foreign = elsewhere.third.as_bytes();
    add("third, of another".into(), "THIRD", ms, b"", foreign, "OtherTranscript");
    let foreign = elsewhere.stale_notice.as_bytes();
    let foreign = [&right.stale_notice.as_bytes()[..10], &foreign[10..]].concat();
    add("stale, of another".into(), "STALE", k1, h1, &foreign, "OtherTranscript");
    let third = right.third.as_bytes();
    let body = &right.fourth_good.as_bytes()[..11];
    let confused = [body, &expand(suite, ms, "m3 mac", body, 16)].concat();
    add("fourth, label of the third".into(), "FOURTH", ms, b"", &confused, "OtherType");
    let confused = [&third[..11], &expand(suite, ms, "m4 mac", &third[..11], 16)].concat();
    add("third, label of the fourth".into(), "THIRD", ms, b"", &confused, "OtherType");
    let body = &right.stale_notice.as_bytes()[..10];
    let confused = [body, &mac16(suite, k1, body)].concat();
    add("stale, without the first".into(), "STALE", k1, h1, &confused, "OtherTranscript");
}

fn nonces(suite: Suite, group: &mut Group) {
    for (name, epoch, slot, flags, next, extension) in [
        ("first", 0, 0, 0, 1, &[][..]),
        ("all flags", 9, 1_000, 3, 5, &[]),
        ("late", u64::MAX - 1, u64::MAX, 0, 2, &[]),
        ("a choice", 1, 7, 0, 1, &[2]),
        ("a refusal", 1, 7, 0, 1, &[0]),
    ] {
        let mut case = group.case(name, "Nr");
        let (boot, h1) = (case.secret("bootKey", 32), hash(suite, &case.secret("first", 46)));
        case.hex("h1", &h1);
        case.set("epoch", epoch).set("slot", slot).set("secondFlags", flags).set("nextSuite", next);
        case.hex("extension", extension);
        case.hex("nonce", &nonce(suite, &boot, (epoch, slot), [flags, next], &h1, extension));
        case.valid(&["Normal"]);
    }
}

fn offers(suite: Suite, group: &mut Group) {
    for (name, number, initiator, count) in
        [("one block", 0, b'a', 1), ("two blocks", 0, b'b', 2), ("a late epoch", u64::MAX - 1, b'a', 2)]
    {
        let mut case = group.case(name, "the extension block of a first message");
        let epoch = Epoch { number, suite, chain_key: case.secret("chainKey", suite.hash_len()) };
        let nonce = case.secret("nonce", 16);
        let blocks: Vec<Vec<u8>> = (0..count).map(|at| case.derive(&format!("blocks[{at}]"), 32)).collect();
        let references: Vec<Vec<u8>> =
            blocks.iter().map(|block| reference(suite, block, number, initiator, &nonce)).collect();
        let filling = filling(&epoch, initiator, &nonce);
        let front = references.concat();
        case.set("epoch", number).set("initiator", super::letter(initiator));
        case.hexes("blocks", &blocks).hexes("references", &references).hex("filling", &filling);
        case.hex("extension", &[&front[..], &filling[front.len()..]].concat());
        case.valid(&["Mixed"]);
    }
}

fn cookies(suite: Suite, group: &mut Group) {
    for (name, path, slot) in [("first", 0, 0), ("late", u64::MAX, u64::MAX)] {
        let mut case = group.case(name, "the cookie for a path");
        let (boot, h1) = (case.secret("bootKey", 32), hash(suite, &case.secret("first", 46)));
        case.hex("h1", &h1);
        case.set("path", path).set("slot", slot);
        case.hex("cookie", &cookie(suite, &boot, path, slot, &h1));
        case.valid(&["Normal"]);
    }
}
