//! dske-envelope.json

use serde_json::{Value, json};
use skex_core::Suite;
use skex_testvectors::Layer;
use skex_testvectors::dske_envelope::TestGroup;

use crate::file::{File, Group, flipped, hex};
use crate::primitives::{expand_label, extract, mac, seal, suite_name};

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "dske-envelope",
        "DSKE: envelope",
        "draft-skex-dske-00",
        &[
            "Group \"salt\" is informative: a hub may make its salt in any way that is a function of the same inputs.",
        ],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("SpecificationExample", "BASIC", "An example that the specification prints."),
            ("Minimum", "EDGE_CASE", "One octet inside."),
            ("Maximum", "EDGE_CASE", "The last sequence number."),
            ("ModifiedTag", "AUTHENTICATION", "One bit of the tag is flipped."),
            ("ModifiedHeader", "AUTHENTICATION", "One bit of what stands in clear is flipped."),
            ("ModifiedCiphertext", "AUTHENTICATION", "One bit of the ciphertext is flipped."),
            (
                "OtherBefore",
                "AUTHENTICATION",
                "The tag is one for another salt_c, or for another message that could not be opened.",
            ),
            ("Reflected", "AUTHENTICATION", "The message is sealed with the key of the other direction."),
        ],
    );
    for suite in Suite::all() {
        let (name, number) = (suite_name(suite), json!({ "suite": suite.id().value() }));
        file.group("Keys", &format!("{name} keys"), number.clone(), |group| keys(suite, group));
        file.group("Hello", &format!("{name} hellos"), number.clone(), |group| hellos(suite, group));
        file.group("Sealed", &format!("{name} sealed"), number.clone(), |group| sealed(suite, group));
        file.group("Salt", &format!("{name} salt"), number, |group| salt(suite, group));
    }
    file.finish::<TestGroup>()
}

/// prk0, hello, reply, request, prk, uplink, downlink.
pub(crate) fn derived(suite: Suite, k0: &[u8], hub: &[u8], client: u32, salts: [&[u8]; 2]) -> [Vec<u8>; 7] {
    let prk0 = extract(suite, b"", k0);
    let prk = extract(suite, &salts.concat(), k0);
    let link = [&client.to_be_bytes()[..], hub].concat();
    [
        prk0.clone(),
        expand_label(suite, &prk0, "skex d1 hi client", hub, 32),
        expand_label(suite, &prk0, "skex d1 hi hub", hub, 32),
        expand_label(suite, &prk0, "skex d1 hi again", hub, 32),
        prk.clone(),
        expand_label(suite, &prk, "skex d1 env hub", &link, 32),
        expand_label(suite, &prk, "skex d1 env cl", &link, 32),
    ]
}

fn keys(suite: Suite, group: &mut Group) {
    let fields = ["prk0", "helloKey", "replyKey", "requestKey", "prk", "uplinkKey", "downlinkKey"];
    let example: Vec<u8> = (0..32).collect();
    if suite.id().value() == 1 {
        let mut case = group.case("example", "printed in the specification, \"Outer messages\"");
        case.hex("initialKey", &example).hex("hubId", &[0xa1; 16]).set("clientId", 7);
        case.hex("saltC", &[0x5c; 16]).hex("saltH", &[0x54; 16]);
        let keys = derived(suite, &example, &[0xa1; 16], 7, [&[0x5c; 16], &[0x54; 16]]);
        for (field, key) in fields.into_iter().zip(keys) {
            case.hex(field, &key);
        }
        case.valid(&["SpecificationExample"]);
    }
    for client in [0, u32::MAX] {
        let mut case = group.case(&format!("client {client}"), "keys of a link and a session");
        let (k0, hub) = (case.secret("initialKey", 32), case.secret("hubId", 16));
        let (salt_c, salt_h) = (case.secret("saltC", 16), case.secret("saltH", 16));
        case.set("clientId", client);
        for (field, key) in fields.into_iter().zip(derived(suite, &k0, &hub, client, [&salt_c, &salt_h])) {
            case.hex(field, &key);
        }
        case.valid(&["Normal"]);
    }
}

fn hellos(suite: Suite, group: &mut Group) {
    let first_octet = |kind: &str| match kind {
        "HELLO" => 0x11,
        "HELLO_REPLY" => 0x12,
        _ => 0x15,
    };
    if suite.id().value() == 1 {
        let k0: Vec<u8> = (0..32).collect();
        let keys = derived(suite, &k0, &[0xa1; 16], 7, [&[0x5c; 16], &[0x54; 16]]);
        for (kind, key, before, salt) in
            [("HELLO", &keys[1], &[][..], 0x5c), ("HELLO_REPLY", &keys[2], &[0x5c; 16], 0x54)]
        {
            let mut case =
                group.case(&format!("{kind}, example"), "printed in the specification, \"Outer messages\"");
            let message = [&[first_octet(kind), 0, 0, 0, 7][..], &[salt; 16]].concat();
            let tag = &mac(suite, key, &[before, &message].concat())[..16];
            case.set("messageType", kind).hex("key", key).hex("before", before);
            case.hex("octets", &[&message, tag].concat());
            case.valid(&["SpecificationExample"]);
        }
    }
    for kind in ["HELLO", "HELLO_REPLY", "HELLO_REQUEST"] {
        for flag in ["Normal", "ModifiedTag", "ModifiedHeader", "OtherBefore"] {
            if (kind, flag) == ("HELLO", "OtherBefore") {
                continue;
            }
            let name = if flag == "Normal" { kind.to_owned() } else { format!("{kind}, {flag}") };
            let mut case = group.case(&name, "client 7; the tag covers `before`, then the message");
            let key = case.secret("key", 32);
            let before = case.secret("before", if kind == "HELLO" { 0 } else { 16 });
            // Not a field of its own: the salt in the message.
            let salt = if kind == "HELLO_REQUEST" { Vec::new() } else { before_salt(&key) };
            let message = [&[first_octet(kind), 0, 0, 0, 7][..], &salt].concat();
            let tag = &mac(suite, &key, &[&before[..], &message].concat())[..16];
            let octets = [&message, tag].concat();
            case.set("messageType", kind);
            match flag {
                "ModifiedTag" => case.hex("octets", &flipped(&octets, octets.len() - 1, 1)),
                "ModifiedHeader" => case.hex("octets", &flipped(&octets, 4, 1)),
                "OtherBefore" => {
                    case.forget("before").hex("octets", &octets).hex("before", &flipped(&before, 0, 0x80))
                }
                _ => case.hex("octets", &octets),
            };
            if flag == "Normal" {
                case.valid(&[flag]);
            } else {
                case.invalid(Layer::Authenticate, flag);
            }
        }
    }
}

/// The salt in a hello of these tests: the first half of its key with every bit flipped.
fn before_salt(key: &[u8]) -> Vec<u8> {
    key[..16].iter().map(|octet| !octet).collect()
}

fn sealed(suite: Suite, group: &mut Group) {
    for (name, fresh, seq, length, flag) in [
        ("SEALED", false, 258, 202, "Normal"),
        ("SEALED, one octet inside", false, 0, 1, "Minimum"),
        ("SEALED, the last number", false, u32::MAX, 24, "Maximum"),
        ("SEALED_FRESH", true, 0, 27, "Normal"),
        ("SEALED, tag", false, 5, 24, "ModifiedTag"),
        ("SEALED, ciphertext", false, 5, 24, "ModifiedCiphertext"),
        ("SEALED, sequence number", false, 5, 24, "ModifiedHeader"),
        ("SEALED, client id", false, 5, 24, "ModifiedHeader"),
        ("SEALED_FRESH, salt", true, 5, 24, "ModifiedHeader"),
        ("SEALED, reflected", false, 5, 24, "Reflected"),
    ] {
        let mut case = group.case(name, "client 7");
        let key = case.secret("key", 32);
        let salt = fresh.then(|| case.secret("saltC", 16));
        let inner = case.secret("inner", length);
        let mut header = vec![if fresh { 0x14 } else { 0x13 }, 0, 0, 0, 7];
        header.extend(salt.iter().flatten());
        header.extend(seq.to_be_bytes());
        let nonce = [&[0; 8][..], &seq.to_be_bytes()].concat();
        let sealing = if flag == "Reflected" { flipped(&key, 0, 0x80) } else { key };
        let (ciphertext, tag) = seal(suite, &sealing, &nonce, &header, &inner);
        let octets = [&header[..], &ciphertext, &tag].concat();
        let at = match name {
            "SEALED, sequence number" => 8,
            "SEALED, client id" => 4,
            "SEALED_FRESH, salt" => 5,
            _ if flag == "ModifiedTag" => octets.len() - 1,
            _ => header.len(),
        };
        let octets = if flag.starts_with("Modified") { flipped(&octets, at, 1) } else { octets };
        if !fresh {
            case.set("saltC", Value::Null);
        }
        case.set("clientId", 7)
            .set("seq", seq)
            .hex("nonce", &nonce)
            .hex("aad", &header)
            .set("octets", hex(&octets));
        if matches!(flag, "Normal" | "Minimum" | "Maximum") {
            case.valid(&[flag]);
        } else {
            case.invalid(Layer::Authenticate, flag);
        }
    }
}

fn salt(suite: Suite, group: &mut Group) {
    for generation in [0_u32, 1] {
        let mut case = group.case(&format!("generation {generation}"), "Expand of the boot key, 16 octets");
        let (boot_key, salt_c) = (case.secret("bootKey", 32), case.secret("saltC", 16));
        let context = [&7_u32.to_be_bytes()[..], &salt_c, &generation.to_be_bytes()].concat();
        case.set("clientId", 7).set("generation", generation);
        case.hex("saltH", &expand_label(suite, &boot_key, "skex d1 salt", &context, 16));
        case.valid(&["Normal"]);
    }
}
