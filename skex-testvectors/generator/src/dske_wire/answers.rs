//! Inner messages 6 to 10.

use serde_json::{Value, json};
use skex_testvectors::Layer;

use super::{FORGERIES, Tagged, malformed, plain, tagged};
use crate::file::{Group, hex};

fn answer(
    group: &mut Group,
    name: &str,
    status: u8,
    confirmation: Option<(&[u8], &[u8])>,
    result: Tagged<'_>,
) {
    let mut case = group.case(name, "the answer key of the block that is answered is the key of its tag");
    let (mut octets, mut value) = (join!([6, 0, 0, 0, 0, 0x10, 2, status]), Value::Null);
    if let Some((origins, lying)) = confirmation {
        let tag = case.derive("message.confirmation.tag", 16);
        octets.extend(join!(origins, lying, tag));
        value = json!({ "origins": hex(origins), "lying": hex(lying), "tag": hex(&tag) });
    }
    let message =
        json!({ "type": "ANSWER", "table": 0, "index": 4098, "status": status, "confirmation": value });
    // Of a hub without a confirmation; of a responder with one.
    tagged(case, if confirmation.is_some() { 0 } else { 1 }, &octets, message, result);
}

fn confirm(group: &mut Group, name: &str, origins: &[u8], lying: &[u8], result: Result<&str, &str>) {
    let mut case = group.case(name, "under the envelope alone; the tag in it is the responder's");
    let mut part = |field: &str| case.derive(&format!("message.{field}"), 16);
    let (key_id, peer, tag) = (part("keyId"), part("peer"), part("confirmation.tag"));
    let octets = join!([8], key_id, peer, origins, lying, tag);
    let confirmation = json!({ "origins": hex(origins), "lying": hex(lying), "tag": hex(&tag) });
    let message =
        json!({ "type": "CONFIRM", "keyId": hex(&key_id), "peer": hex(&peer), "confirmation": confirmation });
    match result {
        Ok(flag) => plain(case, 1, &octets, message, flag),
        Err(cause) => {
            case.set("direction", 1).set("tagKey", Value::Null).set("tagInput", Value::Null);
            case.hex("octets", &octets).set("message", message);
            case.invalid(Layer::State, cause);
        }
    }
}

pub(super) fn answers(group: &mut Group) {
    let statuses = [
        "ACCEPTED",
        "UNKNOWN_PEER",
        "NOT_AUTHORISED",
        "KEY_ID_IN_USE",
        "EXPIRED",
        "POLICY",
        "TOO_MANY_WAITING",
        "MALFORMED_CONTEXT",
        "WITHDRAWN",
    ];
    for (status, name) in (0..).zip(statuses) {
        answer(group, &format!("ANSWER, {name}"), status, None, Tagged::Good("Normal"));
    }
    for status in [9, 255] {
        answer(group, &format!("ANSWER, status {status}"), status, None, Tagged::Good("UnknownValue"));
    }
    answer(group, "ANSWER with confirmation", 0, Some((&[0], &[0])), Tagged::Good("Normal"));
    answer(group, "ANSWER with all bits", 0, Some((&[0x1f], &[0x1f])), Tagged::Good("Maximum"));
    for cause in FORGERIES {
        answer(group, &format!("ANSWER, {cause}"), 0, None, Tagged::Forged(cause));
    }
    let state = |cause| Tagged::Refused(Layer::State, cause);
    answer(group, "ANSWER, an origin beyond the last hub", 0, Some((&[0x20], &[0])), state("BitmapBits"));
    answer(group, "ANSWER, a liar beyond the last hub", 0, Some((&[0], &[0x80])), state("BitmapBits"));
    answer(group, "ANSWER, bitmaps of 9 hubs", 0, Some((&[0, 0], &[0, 0])), state("BitmapSize"));

    let plain_answer =
        |status: u8, more: usize| join!([6, 0, 0, 0, 0, 0x10, 2, status], vec![0; more], [0x7a; 16]);
    malformed(group, "confirmation beside a refusal", "status POLICY", 0, &plain_answer(5, 18), "BadLength");
    malformed(
        group,
        "bitmaps of different lengths",
        "an odd number of octets",
        0,
        &plain_answer(0, 19),
        "BadLength",
    );
    malformed(group, "bitmaps of 40 hubs", "five octets each", 0, &plain_answer(0, 26), "BadLength");
    malformed(group, "a confirmation without bitmaps", "its tag alone", 0, &plain_answer(0, 16), "BadLength");
    malformed(group, "a confirmation cut", "an octet of confirmation", 0, &plain_answer(0, 1), "Truncated");
    let cut = &plain_answer(0, 0)[..23];
    malformed(group, "ANSWER, cut", "an octet less", 1, cut, "Truncated");

    plain(
        group.case("BUSY", "well formed"),
        1,
        &[7, 0, 0, 0, 0, 0x10, 2],
        json!({ "type": "BUSY", "table": 0, "index": 4098 }),
        "Normal",
    );
    plain(group.case("FETCH", "well formed"), 0, &[9], json!({ "type": "FETCH" }), "Normal");
    for (name, waiting, flag) in [
        ("FETCHED", 258_u16, "Normal"),
        ("FETCHED, none", 0, "Minimum"),
        ("FETCHED, most", u16::MAX, "Maximum"),
    ] {
        let octets = join!([10], waiting.to_be_bytes());
        let message = json!({ "type": "FETCHED", "waiting": waiting });
        plain(group.case(name, "well formed"), 1, &octets, message, flag);
    }
    for (name, octets) in [("BUSY", &[7, 0, 0, 0, 0, 0x10, 2][..]), ("FETCH", &[9]), ("FETCHED", &[10, 0, 0])]
    {
        if octets.len() > 1 {
            malformed(
                group,
                &format!("{name}, cut"),
                "an octet less",
                1,
                &octets[..octets.len() - 1],
                "Truncated",
            );
        }
        let longer = join!(octets, [0]);
        malformed(
            group,
            &format!("{name}, an octet more"),
            "a zero octet behind the end",
            1,
            &longer,
            "TrailingBytes",
        );
    }
    confirm(group, "CONFIRM", &[0], &[2], Ok("Normal"));
    confirm(group, "CONFIRM, an origin beyond the last hub", &[0x20], &[0], Err("BitmapBits"));
    confirm(group, "CONFIRM, a liar beyond the last hub", &[0], &[0x80], Err("BitmapBits"));
    confirm(group, "CONFIRM, bitmaps of 9 hubs", &[0, 0], &[0, 0], Err("BitmapSize"));
    let confirmation = |more: usize| join!([8], [0x4b; 16], [0xb0; 16], vec![0; more]);
    malformed(
        group,
        "CONFIRM, bitmaps of different lengths",
        "an odd number",
        1,
        &confirmation(19),
        "BadLength",
    );
    malformed(group, "CONFIRM, bitmaps of 40 hubs", "five octets each", 1, &confirmation(26), "BadLength");
    malformed(group, "CONFIRM without bitmaps", "the tag alone", 1, &confirmation(16), "BadLength");
    malformed(group, "CONFIRM, cut", "the tag an octet short", 1, &confirmation(15), "Truncated");
    malformed(
        group,
        "CONFIRM, cut in the peer",
        "ends within the peer",
        1,
        &confirmation(0)[..30],
        "Truncated",
    );
}

pub(super) fn answers_of_31(group: &mut Group) {
    let full = [0xff, 0xff, 0xff, 0x7f];
    answer(group, "ANSWER with confirmation", 0, Some((&full, &full)), Tagged::Good("Maximum"));
    let beyond = [0, 0, 0, 0x80];
    answer(
        group,
        "ANSWER, a liar beyond the last hub",
        0,
        Some((&full, &beyond)),
        Tagged::Refused(Layer::State, "BitmapBits"),
    );
    let short = [0, 0, 0];
    answer(
        group,
        "ANSWER, bitmaps of 24 hubs",
        0,
        Some((&short, &short)),
        Tagged::Refused(Layer::State, "BitmapSize"),
    );
    confirm(group, "CONFIRM", &full, &[0; 4], Ok("Maximum"));
    confirm(group, "CONFIRM, bitmaps of 5 hubs", &[0], &[0], Err("BitmapSize"));
}
