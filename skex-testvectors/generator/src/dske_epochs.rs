//! dske-epochs.json

use serde_json::json;
use skex_core::Suite;
use skex_testvectors::Layer;
use skex_testvectors::dske_epochs::TestGroup;
use skex_wire::SuiteId;

use crate::file::{File, Group, flipped, hex};
use crate::primitives::{expand_label, seal, suite_name};

/// Code points of suites of keys, by name.
const KEY_SUITES: [(&str, u8); 2] = [("aes-256-gcm", 2), ("chacha20-poly1305", 3)];

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "dske-epochs",
        "DSKE: epochs of the computational suites",
        "draft-skex-dske-00",
        &[],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("Minimum", "EDGE_CASE", "The first number, or the least of all fields."),
            ("Maximum", "EDGE_CASE", "The last number, or the most of all fields."),
            ("ModifiedTag", "AUTHENTICATION", "The last bit of the tag is flipped."),
            (
                "ModifiedCiphertext",
                "AUTHENTICATION",
                "The last bit of the first octet of ciphertext is flipped.",
            ),
            (
                "ModifiedHeader",
                "AUTHENTICATION",
                "The last bit of the last octet before what is sealed is flipped.",
            ),
            ("OtherNumber", "AUTHENTICATION", "It is sealed under the nonce of the number above."),
            ("OtherDirection", "AUTHENTICATION", "It is sealed for the other direction."),
            ("OtherClient", "AUTHENTICATION", "It is sealed for client 8."),
            ("OtherHub", "AUTHENTICATION", "It is sealed for hub a2 (16 times)."),
            ("Truncated", "MISSING_CHECK", "The message ends an octet too early."),
            ("TrailingBytes", "MISSING_CHECK", "A zero octet behind the end."),
        ],
    );
    for suite in Suite::all() {
        let name = format!("{} keys", suite_name(suite));
        file.group("Keys", &name, json!({ "suite": suite.id().value() }), |group| keys(suite, group));
    }
    for (name, code) in KEY_SUITES {
        let parameters = json!({ "keySuite": code });
        file.group("Sealed", &format!("{name} shares"), parameters.clone(), |group| shares(code, group));
        file.group("Sealed", &format!("{name} answers"), parameters, |group| answers(code, group));
    }
    file.finish::<TestGroup>()
}

/// direction | client id | hub id
fn prefix(direction: u8, client: u32, hub: &[u8]) -> Vec<u8> {
    [&[direction][..], &client.to_be_bytes(), hub].concat()
}

fn keys(hash: Suite, group: &mut Group) {
    let cases = [
        ("uplink", 0_u8, 7_u32, 2_u8, 0_u16, 2_u32, "Normal"),
        ("downlink", 1, 7, 2, 1, 4098, "Normal"),
        ("ChaCha20-Poly1305", 0, 7, 3, 0, 2, "Normal"),
        ("least", 0, 0, 2, 0, 0, "Minimum"),
        ("most", 1, u32::MAX, 3, u16::MAX, u32::MAX, "Maximum"),
    ];
    for (name, direction, client, key_suite, table, index, flag) in cases {
        let mut case = group.case(name, "the keys of the epoch of a block");
        let hub = case.secret("hubId", 16);
        let (answer, share) = (case.secret("answerSecret", 32), case.secret("shareSecret", 32));
        let context =
            [&prefix(direction, client, &hub)[..], &[key_suite], &table.to_be_bytes(), &index.to_be_bytes()]
                .concat();
        case.set("direction", direction).set("clientId", client).set("keySuite", key_suite);
        case.set("table", table).set("index", index);
        case.hex("answerKey", &expand_label(hash, &answer, "skex d1 ep answer", &context, 32));
        case.hex("shareKey", &expand_label(hash, &share, "skex d1 ep share", &context, 32));
        case.valid(&[flag]);
    }
}

const FORGERIES: [&str; 7] = [
    "ModifiedTag",
    "ModifiedCiphertext",
    "ModifiedHeader",
    "OtherNumber",
    "OtherDirection",
    "OtherClient",
    "OtherHub",
];

const HUB: [u8; 16] = [0xa1; 16];
const CLIENT: u32 = 7;

/// Type, table, index and number.
fn head(kind: u8, number: u8) -> Vec<u8> {
    [&[kind][..], &[0, 0], &4098_u32.to_be_bytes(), &[number]].concat()
}

fn shares(key_suite: u8, group: &mut Group) {
    let share = |group: &mut Group, name: &str, kind: u8, number: u8, key_length: u32, flag: &str| {
        let head = [
            &head(kind, number)[..],
            &4098_u32.to_be_bytes(),
            &[0x4b; 16],
            &[0xb0; 16],
            &[key_suite, 3, 5],
            &key_length.to_be_bytes(),
            &600_u16.to_be_bytes(),
            &[1, 2, 3, 4, 5, 0],
            &[0x0f; 16],
        ]
        .concat();
        let length = 16 * (5 + key_length.div_ceil(16)) as usize;
        message(key_suite, group, name, kind - 11, number, &head, length, flag);
    };
    share(group, "UPLOAD_SEALED", 11, 1, 32, "Normal");
    share(group, "DELIVERY_SEALED", 12, 77, 32, "Normal");
    share(group, "UPLOAD_SEALED, least", 11, 0, 16, "Minimum");
    share(group, "DELIVERY_SEALED, last number", 12, 255, 64, "Maximum");
    for flag in FORGERIES.into_iter().chain(["Truncated", "TrailingBytes"]) {
        share(group, &format!("UPLOAD_SEALED, {flag}"), 11, 1, 32, flag);
        share(group, &format!("DELIVERY_SEALED, {flag}"), 12, 77, 32, flag);
    }
}

fn answers(key_suite: u8, group: &mut Group) {
    let plain = |number, status| [&head(13, number)[..], &[status]].concat();
    let confirming = |number| [&head(13, number)[..], &[0, 0, 2], &[0xcc; 16]].concat();
    let mut answer = |name: &str, direction, number, head: &[u8], flag: &str| {
        message(key_suite, group, name, direction, number, head, 0, flag);
    };
    answer("ANSWER_SEALED of a hub", 1, 1, &plain(1, 0), "Normal");
    answer("ANSWER_SEALED, refused", 1, 0, &plain(0, 5), "Minimum");
    answer("ANSWER_SEALED with confirmation", 0, 255, &confirming(255), "Maximum");
    for flag in FORGERIES.into_iter().filter(|flag| *flag != "ModifiedCiphertext") {
        answer(&format!("ANSWER_SEALED, {flag}"), 1, 1, &plain(1, 0), flag);
        answer(&format!("ANSWER_SEALED with confirmation, {flag}"), 0, 7, &confirming(7), flag);
    }
    answer("ANSWER_SEALED, Truncated", 1, 1, &plain(1, 0), "Truncated");
}

fn nonce(number: u8) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[11] = number;
    nonce
}

#[expect(clippy::too_many_arguments, reason = "a message has as many parts")]
fn message(
    key_suite: u8,
    group: &mut Group,
    name: &str,
    direction: u8,
    number: u8,
    head: &[u8],
    length: usize,
    flag: &str,
) {
    let aead = if key_suite == 2 { SuiteId::SHA256_AES256GCM } else { SuiteId::SHA256_CHACHA20POLY1305 };
    let aead = Suite::from_id(aead).expect("compiled in");
    let mut case = group.case(name, "client 7, hub a1 (16 times)");
    let (key, plaintext) = (case.secret("key", 32), case.secret("plaintext", length));
    let right = prefix(direction, CLIENT, &HUB);
    let before = match flag {
        "OtherDirection" => prefix(1 - direction, CLIENT, &HUB),
        "OtherClient" => prefix(direction, CLIENT + 1, &HUB),
        "OtherHub" => prefix(direction, CLIENT, &[0xa2; 16]),
        _ => right.clone(),
    };
    let under = nonce(if flag == "OtherNumber" { number + 1 } else { number });
    let (ciphertext, tag) = seal(aead, &key, &under, &[&before[..], head].concat(), &plaintext);
    let mut octets = [head, &ciphertext[..], &tag].concat();
    match flag {
        "ModifiedTag" => octets = flipped(&octets, octets.len() - 1, 1),
        "ModifiedCiphertext" => octets = flipped(&octets, head.len(), 1),
        "ModifiedHeader" => octets = flipped(&octets, head.len() - 1, 1),
        "Truncated" => octets.truncate(octets.len() - 1),
        "TrailingBytes" => octets.push(0),
        _ => {}
    }
    case.set("direction", direction).set("clientId", CLIENT).set("hubId", hex(&HUB)).set("number", number);
    case.hex("head", head).hex("nonce", &nonce(number)).hex("aad", &[&right[..], head].concat());
    case.hex("octets", &octets);
    match flag {
        "Normal" | "Minimum" | "Maximum" => case.valid(&[flag]),
        "Truncated" | "TrailingBytes" => case.invalid(Layer::Decode, flag),
        _ => case.invalid(Layer::Authenticate, flag),
    }
}
