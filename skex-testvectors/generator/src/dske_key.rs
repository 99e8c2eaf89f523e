//! dske-key.json

mod look_up;
mod negotiation;

use serde_json::{Value, json};
use skex_testvectors::Layer;
use skex_testvectors::dske_key::TestGroup;

use crate::field::{message_tag, secret_tag};
use crate::file::{File, Group, flipped, hex};

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "dske-key",
        "DSKE: terms, context, secret block, confirmation, look-up",
        "draft-skex-dske-00",
        &[],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("SpecificationExample", "BASIC", "An example that the specification prints."),
            ("Order", "EDGE_CASE", "The hubs are given in another order than that of their coordinates."),
            ("Maximum", "EDGE_CASE", "The most hubs, the longest key, the longest lifetime."),
            ("Padding", "EDGE_CASE", "A key that is no multiple of an element."),
            ("ModifiedTag", "AUTHENTICATION", "One bit of the confirmation's tag is flipped."),
            ("ModifiedBitmap", "AUTHENTICATION", "A hub changed one bit of a bitmap."),
            ("OtherContext", "AUTHENTICATION", "The confirmation is for another context."),
            (
                "TooFewSay",
                "DOWNGRADE",
                "Too few of the hubs that are wished for say the offer: so many could lie.",
            ),
            ("NoSuite", "DOWNGRADE", "No suite is offered that is good enough for both ends."),
            ("TooFewHubs", "DOWNGRADE", "Fewer hubs serve both ends than the threshold."),
            ("Dissent", "BASIC", "Fewer hubs than the threshold say otherwise, and are named."),
            ("Nobody", "BASIC", "As many hubs as the threshold say that nobody has the name."),
            ("NoAgreement", "MISSING_CHECK", "Fewer hubs than the threshold say the same."),
            (
                "Contradiction",
                "MISSING_CHECK",
                "As many hubs as the threshold say one thing, and as many another: none is believed, and all are named.",
            ),
        ],
    );
    file.group("Context", "context", json!({}), contexts);
    file.group("SecretBlock", "secret block", json!({}), blocks);
    file.group("Negotiation", "negotiation", json!({}), negotiation::all);
    file.group("LookUp", "look-up", json!({}), look_up::all);
    file.finish::<TestGroup>()
}

/// What a context is made of.
struct Terms {
    suite: u8,
    threshold: u8,
    key_length: u32,
    lifetime: u16,
}

fn context(parties: [&[u8]; 3], terms: &Terms, hubs: &[(Vec<u8>, u8, u8)]) -> Vec<u8> {
    let mut hubs = hubs.to_vec();
    hubs.sort_by_key(|(_, coordinate, _)| *coordinate);
    let mut context = vec![1, terms.suite];
    context.extend(parties.concat());
    context.extend([terms.threshold, hubs.len() as u8]);
    context.extend(terms.key_length.to_be_bytes());
    context.extend(terms.lifetime.to_be_bytes());
    for (id, coordinate, origin) in hubs {
        context.extend(id);
        context.extend([coordinate, origin]);
    }
    context
}

fn example_context() -> Vec<u8> {
    let terms = Terms { suite: 1, threshold: 2, key_length: 32, lifetime: 600 };
    context([&[0x4b; 16], &[0xa0; 16], &[0xb0; 16]], &terms, &example_hubs())
}

fn example_hubs() -> Vec<(Vec<u8>, u8, u8)> {
    vec![(vec![0xa1; 16], 1, 0), (vec![0xa2; 16], 5, 1), (vec![0xa3; 16], 9, 0)]
}

fn contexts(group: &mut Group) {
    let hub_values = |hubs: &[(Vec<u8>, u8, u8)]| -> Value {
        hubs.iter()
            .map(|(id, coordinate, origin)| json!({ "hubId": hex(id), "coordinate": coordinate, "origin": origin }))
            .collect()
    };
    let mut case = group.case("example", "printed in the specification, \"Terms and context of a key\"");
    case.hex("keyId", &[0x4b; 16]).hex("initiator", &[0xa0; 16]).hex("responder", &[0xb0; 16]);
    case.set("suite", 1).set("threshold", 2).set("keyLength", 32).set("lifetime", 600);
    case.set("hubs", hub_values(&example_hubs())).hex("context", &example_context());
    case.valid(&["SpecificationExample"]);

    let all: Vec<u8> = (1..=31).collect();
    for (name, coordinates, threshold, key_length, lifetime, flag) in [
        ("2 of 2", &[1, 2][..], 2, 16, 1, "Normal"),
        ("3 of 5", &[1, 2, 3, 4, 5], 3, 32, 600, "Normal"),
        ("hubs in another order", &[9, 255, 1], 2, 64, 3600, "Order"),
        ("16 of 31", &all, 16, 1 << 20, 65_535, "Maximum"),
    ] {
        let mut case = group.case(name, "every other hub has a refilled table");
        let parties = ["keyId", "initiator", "responder"].map(|field| case.secret(field, 16));
        let hub = |(i, &coordinate): (usize, &u8)| {
            (case.derive(&format!("hubs[{i}].hubId"), 16), coordinate, i as u8 % 2)
        };
        let hubs: Vec<(Vec<u8>, u8, u8)> = coordinates.iter().enumerate().map(hub).collect();
        let terms = Terms { suite: 1, threshold, key_length, lifetime };
        case.set("suite", 1)
            .set("threshold", threshold)
            .set("keyLength", key_length)
            .set("lifetime", lifetime);
        case.set("hubs", hub_values(&hubs));
        case.hex("context", &context([&parties[0], &parties[1], &parties[2]], &terms, &hubs));
        case.valid(&[flag]);
    }
}

fn blocks(group: &mut Group) {
    let block = |tag_key: &[u8], key: &[u8], confirm_key: &[u8]| {
        let padding = vec![0; key.len().next_multiple_of(16) - key.len()];
        [tag_key, key, &padding, confirm_key].concat()
    };
    let mut case = group.case("example", "printed in the specification, \"Test vectors\"");
    let (tag_key, key): (Vec<u8>, Vec<u8>) = ((0..0x30).collect(), (0x40..0x60).collect());
    let confirm_key: Vec<u8> = (0x60..0x80).collect();
    let whole = block(&tag_key, &key, &confirm_key);
    case.hex("tagKey", &tag_key).hex("key", &key).hex("confirmKey", &confirm_key);
    case.hex("context", &example_context()).hex("origins", &[0]).hex("lying", &[2]).hex("block", &whole);
    case.hex("secretTag", &secret_tag(&tag_key, &whole[48..], &example_context()));
    case.hex("confirmationTag", &message_tag(&confirm_key, &[&example_context()[..], &[0, 2]].concat()));
    case.valid(&["SpecificationExample"]);

    for (name, key_length, hubs, flag) in [
        ("128 bits, 3 hubs", 16, 3, "Normal"),
        ("136 bits, 5 hubs", 17, 5, "Padding"),
        ("256 bits, 5 hubs", 32, 5, "Normal"),
        ("512 bits, 13 hubs", 64, 13, "Normal"),
        ("1000 octets, 31 hubs", 1000, 31, "Padding"),
    ] {
        secret_block(group, name, key_length, hubs, &block).valid(&[flag]);
    }
    let mut case = secret_block(group, "tag changed", 32, 5, &block);
    case.change("confirmationTag", |tag| flipped(&tag, 15, 1));
    case.invalid(Layer::Authenticate, "ModifiedTag");
    let mut case = secret_block(group, "an origin changed", 32, 5, &block);
    case.change("origins", |bitmap| flipped(&bitmap, 0, 1));
    case.invalid(Layer::Authenticate, "ModifiedBitmap");
    let mut case = secret_block(group, "a liar changed", 32, 5, &block);
    case.change("lying", |bitmap| flipped(&bitmap, 0, 1));
    case.invalid(Layer::Authenticate, "ModifiedBitmap");
    // The secret tag covers the context too, so a test of the confirmation alone has it right for the new one.
    let mut case = secret_block(group, "another context", 32, 5, &block);
    case.change("context", |context| flipped(&context, 57, 1));
    let (block, context) = (case.octets("block"), case.octets("context"));
    case.hex("secretTag", &secret_tag(&block[..48], &block[48..], &context));
    case.invalid(Layer::Authenticate, "OtherContext");
}

fn secret_block<'a>(
    group: &'a mut Group,
    name: &str,
    key_length: usize,
    hubs: usize,
    block: &impl Fn(&[u8], &[u8], &[u8]) -> Vec<u8>,
) -> crate::file::Case<'a> {
    let mut case = group.case(name, "a secret block of a key of this length, with so many hubs");
    let tag_key = case.secret("tagKey", 48);
    let key = case.secret("key", key_length);
    let confirm_key = case.secret("confirmKey", 32);
    let context = case.secret("context", 58 + 18 * hubs);
    let bitmap = |mut octets: Vec<u8>| {
        let last = octets.len() - 1;
        octets[last] &= 0xff >> (8 * octets.len() - hubs);
        octets
    };
    // Not derived as they stand: the bits beyond the last hub are zero.
    let (origins, lying) = (case.derive("origins", hubs.div_ceil(8)), case.derive("lying", hubs.div_ceil(8)));
    let (origins, lying) = (bitmap(origins), bitmap(lying));
    case.forget("origins").forget("lying").hex("origins", &origins).hex("lying", &lying);
    let whole = block(&tag_key, &key, &confirm_key);
    case.hex("block", &whole).hex("secretTag", &secret_tag(&tag_key, &whole[48..], &context));
    case.hex("confirmationTag", &message_tag(&confirm_key, &[context, origins, lying].concat()));
    case
}
