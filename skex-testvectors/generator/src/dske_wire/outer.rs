//! Outer messages.

use serde_json::{Value, json};
use skex_testvectors::Layer;

use super::CLIENT_ID;
use crate::file::{Case, Group, hex};

/// The octets and the fields of an outer message; `more` is what a SEALED carries.
fn outer_message(case: &mut Case<'_>, kind: &str, seq: u32, more: usize) -> (Vec<u8>, Value) {
    let id = CLIENT_ID.to_be_bytes();
    let mut part = |field: &str, length| case.derive(&format!("message.{field}"), length);
    match kind {
        "HELLO" | "HELLO_REPLY" => {
            let (salt, tag) = (part("salt", 16), part("tag", 16));
            let first = if kind == "HELLO" { 0x11 } else { 0x12 };
            let message =
                json!({ "type": kind, "clientId": CLIENT_ID, "salt": hex(&salt), "tag": hex(&tag) });
            (join!([first], id, salt, tag), message)
        }
        "HELLO_REQUEST" => {
            let tag = part("tag", 16);
            (join!([0x15], id, tag), json!({ "type": kind, "clientId": CLIENT_ID, "tag": hex(&tag) }))
        }
        "SEALED" => {
            let (ciphertext, tag) = (part("ciphertext", more), part("tag", 16));
            let octets = join!([0x13], id, seq.to_be_bytes(), ciphertext, tag);
            let message = json!({
                "type": kind, "clientId": CLIENT_ID, "seq": seq, "ciphertext": hex(&ciphertext), "tag": hex(&tag),
            });
            (octets, message)
        }
        _ => {
            let salt = part("salt", 16);
            let (ciphertext, tag) = (part("ciphertext", more), part("tag", 16));
            let octets = join!([0x14], id, salt, seq.to_be_bytes(), ciphertext, tag);
            let message = json!({
                "type": kind, "clientId": CLIENT_ID, "salt": hex(&salt), "seq": seq,
                "ciphertext": hex(&ciphertext), "tag": hex(&tag),
            });
            (octets, message)
        }
    }
}

pub(super) fn outer(group: &mut Group) {
    for (name, kind, seq, more, flag) in [
        ("HELLO", "HELLO", 0, 0, "Normal"),
        ("HELLO_REPLY", "HELLO_REPLY", 0, 0, "Normal"),
        ("HELLO_REQUEST", "HELLO_REQUEST", 0, 0, "Normal"),
        ("SEALED", "SEALED", 258, 202, "Normal"),
        ("SEALED, one octet inside", "SEALED", 0, 1, "Minimum"),
        ("SEALED, the last number", "SEALED", u32::MAX, 24, "Maximum"),
        ("SEALED_FRESH", "SEALED_FRESH", 0, 27, "Normal"),
        ("SEALED_FRESH, one octet inside", "SEALED_FRESH", 3, 1, "Minimum"),
    ] {
        let mut case = group.case(name, "well formed");
        let (octets, message) = outer_message(&mut case, kind, seq, more);
        case.hex("octets", &octets).set("message", message);
        case.valid(&[flag]);
    }
    let kinds = ["HELLO", "HELLO_REPLY", "HELLO_REQUEST", "SEALED", "SEALED_FRESH"];
    let refused = |group: &mut Group, name: &str, comment: &str, octets: &[u8], flag: &str| {
        let mut case = group.case(name, comment);
        case.hex("octets", octets).set("message", Value::Null);
        case.invalid(Layer::Decode, flag);
    };
    let scratch = |kind: &str, more| {
        // The octets of a refused message carry no secrets and stand for themselves.
        let filled = |length: usize, octet: u8| vec![octet; length];
        let id = CLIENT_ID.to_be_bytes();
        match kind {
            "HELLO" => join!([0x11], id, filled(16, 0x5c), filled(16, 0x7a)),
            "HELLO_REPLY" => join!([0x12], id, filled(16, 0x54), filled(16, 0x7a)),
            "HELLO_REQUEST" => join!([0x15], id, filled(16, 0x7a)),
            "SEALED" => join!([0x13], id, [0; 4], filled(more, 0xc7), filled(16, 0x7a)),
            _ => join!([0x14], id, filled(16, 0x5c), [0; 4], filled(more, 0xc7), filled(16, 0x7a)),
        }
    };
    for kind in kinds {
        let octets = scratch(kind, 0);
        let comment =
            "the shortest message of this type without its last octet; an envelope needs one octet inside";
        refused(group, &format!("{kind}, cut"), comment, &octets[..octets.len() - 1], "Truncated");
        if kind.starts_with("SEALED") {
            refused(
                group,
                &format!("{kind}, nothing inside"),
                "an envelope without ciphertext",
                &octets,
                "Truncated",
            );
        } else {
            let longer = join!(octets, [0]);
            refused(
                group,
                &format!("{kind}, an octet more"),
                "a zero octet behind the tag",
                &longer,
                "TrailingBytes",
            );
        }
        let mut other = scratch(kind, 1);
        other[0] = other[0] & 0x0f | 0x20;
        refused(
            group,
            &format!("{kind}, version 2"),
            "version 2 in the first octet",
            &other,
            "UnknownVersion",
        );
    }
    let octets = scratch("HELLO", 0);
    for kind in [0_u8, 6, 15] {
        let other = join!([0x10 | kind], octets[1..]);
        refused(group, &format!("type {kind}"), "a HELLO with another type", &other, "UnknownType");
    }
    refused(
        group,
        "version 0",
        "a HELLO with another version",
        &join!([0x01], octets[1..]),
        "UnknownVersion",
    );
    refused(group, "nothing", "a datagram without octets", &[], "Truncated");
    refused(group, "one octet", "a datagram of the first octet only", &[0x11], "Truncated");
}
