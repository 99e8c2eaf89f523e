//! dske-wire.json

use serde_json::{Value, json};
use skex_testvectors::Layer;
use skex_testvectors::dske_wire::TestGroup;

use crate::field::message_tag;
use crate::file::{Case, File, Group, flipped, hex};

const HUB_ID: [u8; 16] = [0xa1; 16];
const CLIENT_ID: u32 = 7;

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "dske-wire",
        "DSKE: messages",
        "draft-skex-dske-00",
        &[
            "The limit of 2 MiB for an outer message is not tested here: such a message would not be readable.",
        ],
        &[
            ("Normal", "BASIC", "A usual message."),
            ("Minimum", "EDGE_CASE", "The least that a field or a length may have."),
            ("Maximum", "EDGE_CASE", "The most that a field or a length may have."),
            (
                "UnknownValue",
                "EDGE_CASE",
                "A code point that this revision does not know and a decoder keeps.",
            ),
            ("Truncated", "MISSING_CHECK", "The message ends too early."),
            ("TrailingBytes", "MISSING_CHECK", "Octets behind the end of the message."),
            ("UnknownVersion", "MISSING_CHECK", "Another version than 1."),
            ("UnknownType", "MISSING_CHECK", "A type that there is not."),
            (
                "BadLength",
                "MISSING_CHECK",
                "A length outside its limits, or one that contradicts another field.",
            ),
            ("BadValue", "MISSING_CHECK", "A value outside its limits."),
            ("NonCanonical", "MISSING_CHECK", "A value in another form than the only one that is allowed."),
            ("ModifiedTag", "AUTHENTICATION", "One bit of the one-time tag is flipped."),
            ("OtherDirection", "AUTHENTICATION", "The tag is one for the other direction."),
            ("OtherClient", "AUTHENTICATION", "The tag is one for another client id."),
            ("OtherHub", "AUTHENTICATION", "The tag is one for another hub id."),
            ("BitmapSize", "MISSING_CHECK", "Bitmaps for another number of hubs than the key has."),
            ("BitmapBits", "MISSING_CHECK", "A bit beyond the last hub of the key."),
            (
                "UnknownSuite",
                "MISSING_CHECK",
                "Another suite than the one-time one in a one-time block: authentic, and to be answered with POLICY.",
            ),
        ],
    );
    file.group("Outer", "outer", json!({}), outer);
    let link = json!({ "clientId": CLIENT_ID, "hubId": hex(&HUB_ID), "hubs": 5 });
    file.group("Inner", "leases", link.clone(), leases);
    file.group("Inner", "shares", link.clone(), shares);
    file.group("Inner", "answers, 5 hubs", link, answers);
    let link = json!({ "clientId": CLIENT_ID, "hubId": hex(&HUB_ID), "hubs": 31 });
    file.group("Inner", "answers, 31 hubs", link, answers_of_31);
    file.finish::<TestGroup>()
}

/// Joins octets that are written as arrays or vectors.
macro_rules! join {
    ($($part:expr),* $(,)?) => {{
        let mut octets: Vec<u8> = Vec::new();
        $( octets.extend_from_slice(&$part); )*
        octets
    }};
}

// Outer messages.

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

fn outer(group: &mut Group) {
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

// Inner messages.

/// What a one-time tag covers before the message.
fn prefix(direction: u8, client_id: u32, hub_id: &[u8]) -> Vec<u8> {
    join!([direction], client_id.to_be_bytes(), hub_id)
}

/// Ends a test of a message with a one-time tag; `message` lacks the tag.
fn tagged(mut case: Case<'_>, direction: u8, untagged: &[u8], mut message: Value, result: Tagged<'_>) {
    let key = case.secret("tagKey", 32);
    let input = join!(prefix(direction, CLIENT_ID, &HUB_ID), untagged);
    let mut tag = message_tag(&key, &input).to_vec();
    match result {
        Tagged::Forged("ModifiedTag") => tag = flipped(&tag, 0, 0x80),
        Tagged::Forged("OtherDirection") => {
            tag = message_tag(&key, &join!(prefix(1 - direction, CLIENT_ID, &HUB_ID), untagged)).to_vec();
        }
        Tagged::Forged("OtherClient") => {
            tag = message_tag(&key, &join!(prefix(direction, CLIENT_ID + 1, &HUB_ID), untagged)).to_vec();
        }
        Tagged::Forged("OtherHub") => {
            tag = message_tag(&key, &join!(prefix(direction, CLIENT_ID, &[0xa2; 16]), untagged)).to_vec();
        }
        _ => {}
    }
    message["tag"] = hex(&tag).into();
    case.set("direction", direction).hex("tagInput", &input).set("message", message);
    case.hex("octets", &join!(untagged, tag));
    match result {
        Tagged::Good(flag) => case.valid(&[flag]),
        Tagged::Forged(cause) => case.invalid(Layer::Authenticate, cause),
        Tagged::Refused(layer, cause) => case.invalid(layer, cause),
    }
}

#[derive(Clone, Copy)]
enum Tagged<'a> {
    Good(&'a str),
    Forged(&'a str),
    Refused(Layer, &'a str),
}

const FORGERIES: [&str; 4] = ["ModifiedTag", "OtherDirection", "OtherClient", "OtherHub"];

/// A test of a message without a one-time tag.
fn plain(mut case: Case<'_>, direction: u8, octets: &[u8], message: Value, flag: &str) {
    case.set("direction", direction).set("tagKey", Value::Null).set("tagInput", Value::Null);
    case.hex("octets", octets).set("message", message);
    case.valid(&[flag]);
}

/// A test of octets that are no message.
fn malformed(group: &mut Group, name: &str, comment: &str, direction: u8, octets: &[u8], flag: &str) {
    let mut case = group.case(name, comment);
    case.set("direction", direction).set("tagKey", Value::Null).set("tagInput", Value::Null);
    case.hex("octets", octets).set("message", Value::Null);
    case.invalid(Layer::Decode, flag);
}

fn leases(group: &mut Group) {
    for (name, direction, table, mark, want, flag) in [
        ("LEASE_REQUEST", 0, 0, 4096, 512, "Normal"),
        ("LEASE_REQUEST, downlink", 1, 0x0102, 0x0304_0506, 0x0708_090a, "Normal"),
        ("LEASE_REQUEST, least", 0, 0, 0, 0, "Minimum"),
        ("LEASE_REQUEST, most", 0, u16::MAX, u32::MAX, u32::MAX, "Maximum"),
    ] {
        let mut case = group.case(name, "well formed");
        let nonce = case.derive("message.nonce", 16);
        let octets = join!([1], table.to_be_bytes(), nonce, mark.to_be_bytes(), want.to_be_bytes());
        let message = json!({ "type": "LEASE_REQUEST", "table": table, "nonce": hex(&nonce), "mark": mark, "want": want });
        plain(case, direction, &octets, message, flag);
    }
    let mut case = group.case("LEASE_DENIED", "well formed");
    let nonce = case.derive("message.nonce", 16);
    let octets = join!([3, 0, 1], nonce, [0, 0, 0x20, 0]);
    let message = json!({ "type": "LEASE_DENIED", "table": 1, "nonce": hex(&nonce), "mark": 8192 });
    plain(case, 1, &octets, message, "Normal");

    let grant = |group: &mut Group, name: &str, start: u32, end: u32, result| {
        let mut case = group.case(name, "its tag's key is the two elements at the start of the lease");
        let nonce = case.derive("message.nonce", 16);
        let octets = join!([2, 0, 0], nonce, start.to_be_bytes(), end.to_be_bytes());
        let message =
            json!({ "type": "LEASE_GRANT", "table": 0, "nonce": hex(&nonce), "start": start, "end": end });
        tagged(case, 1, &octets, message, result);
    };
    grant(group, "LEASE_GRANT", 4096, 4608, Tagged::Good("Normal"));
    grant(group, "LEASE_GRANT, least", 4096, 4098, Tagged::Good("Minimum"));
    grant(group, "LEASE_GRANT, most", 0, u32::MAX, Tagged::Good("Maximum"));
    for cause in FORGERIES {
        grant(group, &format!("LEASE_GRANT, {cause}"), 4096, 4608, Tagged::Forged(cause));
    }

    let lease = |start: u32, end: u32| {
        join!([2, 0, 0], [0x0e; 16], start.to_be_bytes(), end.to_be_bytes(), [0x7a; 16])
    };
    let short = [("by one", 4097), ("by none", 4096), ("below itself", 4095)];
    for (name, end) in short {
        let name = format!("LEASE_GRANT, ends {name}");
        malformed(group, &name, "end - start is less than 2", 1, &lease(4096, end), "BadValue");
    }
    let request = join!([1, 0, 0], [0x0e; 16], [0; 8]);
    let denied = join!([3, 0, 0], [0x0e; 16], [0; 4]);
    for (kind, octets) in
        [("LEASE_REQUEST", request), ("LEASE_GRANT", lease(4096, 4608)), ("LEASE_DENIED", denied)]
    {
        let cut = &octets[..octets.len() - 1];
        if kind == "LEASE_GRANT" {
            // The tag is what stands at the end, so that the fields before it are what is too short.
            malformed(group, &format!("{kind}, cut"), "an octet less", 1, cut, "Truncated");
        } else {
            malformed(group, &format!("{kind}, cut"), "an octet less", 0, cut, "Truncated");
        }
        let longer = join!(octets, [0]);
        malformed(
            group,
            &format!("{kind}, an octet more"),
            "a zero octet behind the end",
            1,
            &longer,
            "TrailingBytes",
        );
    }
    for kind in [0_u8, 15, 255] {
        malformed(group, &format!("type {kind}"), "no such type", 0, &join!([kind], [0; 26]), "UnknownType");
    }
    malformed(group, "nothing", "an inner message without octets", 0, &[], "Truncated");
}

/// An UPLOAD or a DELIVERY.
struct Share<'a> {
    kind: u8,
    position: (u16, u32, u32),
    suite: u8,
    threshold: u8,
    key_length: u32,
    lifetime: u16,
    coordinates: &'a [u8],
    origins: &'a [u8],
    direct: bool,
}

const UPLOAD: Share<'_> = Share {
    kind: 4,
    position: (0, 4098, 4098),
    suite: 1,
    threshold: 3,
    key_length: 32,
    lifetime: 600,
    coordinates: &[1, 2, 3, 4, 5],
    origins: &[0],
    direct: false,
};

const DELIVERY: Share<'_> = Share { kind: 5, ..UPLOAD };

impl Share<'_> {
    fn head(&self, key_id: &[u8], peer: &[u8]) -> Vec<u8> {
        let (table, index, floor) = self.position;
        let n = self.coordinates.len() as u8;
        join!(
            [self.kind],
            table.to_be_bytes(),
            index.to_be_bytes(),
            floor.to_be_bytes(),
            key_id,
            peer,
            [self.suite, self.threshold, n],
            self.key_length.to_be_bytes(),
            self.lifetime.to_be_bytes(),
            self.coordinates,
            self.origins,
        )
    }

    fn share_length(&self) -> usize {
        if self.direct { 0 } else { 80 + (self.key_length as usize).next_multiple_of(16) }
    }

    fn test(&self, group: &mut Group, name: &str, result: Tagged<'_>) {
        let mut case = group.case(name, "the message key of its block is the key of its tag");
        let mut part = |field: &str, length| case.derive(&format!("message.fields.{field}"), length);
        let (key_id, peer) = (part("keyId", 16), part("peer", 16));
        let (secret_tag, share) = (part("secretTag", 16), part("share", self.share_length()));
        let octets = join!(self.head(&key_id, &peer), secret_tag, share);
        let (table, index, floor) = self.position;
        let message = json!({
            "type": if self.kind == 4 { "UPLOAD" } else { "DELIVERY" },
            "fields": {
                "table": table, "index": index, "floor": floor, "keyId": hex(&key_id), "peer": hex(&peer),
                "terms": {
                    "suite": self.suite, "threshold": self.threshold, "keyLength": self.key_length,
                    "lifetime": self.lifetime, "coordinates": self.coordinates, "origins": hex(self.origins),
                },
                "secretTag": hex(&secret_tag), "share": hex(&share),
            },
        });
        tagged(case, self.kind - 4, &octets, message, result);
    }

    /// Octets with a tag that nobody looks at; the share has `length` octets.
    fn octets(&self, length: usize) -> Vec<u8> {
        join!(self.head(&[0x4b; 16], &[0xb0; 16]), [0x0f; 16], vec![0x55; length], [0x7a; 16])
    }

    fn malformed(&self, group: &mut Group, name: &str, flag: &str) {
        self.malformed_with(group, name, self.share_length(), flag);
    }

    fn malformed_with(&self, group: &mut Group, name: &str, length: usize, flag: &str) {
        malformed(
            group,
            name,
            "the rest of the message is as it should be",
            self.kind - 4,
            &self.octets(length),
            flag,
        );
    }
}

fn shares(group: &mut Group) {
    let all: Vec<u8> = (1..=32).collect();
    UPLOAD.test(group, "UPLOAD", Tagged::Good("Normal"));
    Share { direct: true, ..UPLOAD }.test(group, "UPLOAD, direct", Tagged::Good("Normal"));
    Share { origins: &[0x15], ..UPLOAD }.test(group, "UPLOAD, refilled tables", Tagged::Good("Normal"));
    let least = Share {
        position: (0, 0, 0),
        threshold: 2,
        key_length: 16,
        lifetime: 1,
        coordinates: &[1, 2],
        ..UPLOAD
    };
    least.test(group, "UPLOAD, least", Tagged::Good("Minimum"));
    let most = Share {
        position: (u16::MAX, u32::MAX, u32::MAX),
        threshold: 31,
        key_length: 1 << 20,
        lifetime: u16::MAX,
        coordinates: &all[..31],
        origins: &[0xff, 0xff, 0xff, 0x7f],
        direct: true,
        ..UPLOAD
    };
    most.test(group, "UPLOAD, most, direct", Tagged::Good("Maximum"));
    Share { coordinates: &[7, 99, 253, 254, 255], ..UPLOAD }.test(
        group,
        "UPLOAD, high coordinates",
        Tagged::Good("Maximum"),
    );
    Share { key_length: 17, ..UPLOAD }.test(group, "UPLOAD, 17 octets of key", Tagged::Good("Normal"));
    DELIVERY.test(group, "DELIVERY", Tagged::Good("Normal"));
    Share { coordinates: &all[..9], origins: &[0, 1], ..DELIVERY }.test(
        group,
        "DELIVERY, 9 hubs",
        Tagged::Good("Normal"),
    );
    for cause in FORGERIES {
        UPLOAD.test(group, &format!("UPLOAD, {cause}"), Tagged::Forged(cause));
        DELIVERY.test(group, &format!("DELIVERY, {cause}"), Tagged::Forged(cause));
    }
    for suite in [0, 2, 3, 4, 255] {
        let name = format!("UPLOAD, suite {suite}");
        Share { suite, ..UPLOAD }.test(group, &name, Tagged::Refused(Layer::Policy, "UnknownSuite"));
    }

    Share { threshold: 0, ..UPLOAD }.malformed(group, "threshold 0", "BadValue");
    Share { threshold: 1, ..UPLOAD }.malformed(group, "threshold 1", "BadValue");
    Share { threshold: 6, ..UPLOAD }.malformed(group, "threshold above n", "BadValue");
    Share { threshold: 2, coordinates: &all[..32], origins: &[0; 4], ..UPLOAD }
        .malformed(group, "32 hubs", "BadValue");
    Share { key_length: 15, ..UPLOAD }.malformed(group, "15 octets of key", "BadLength");
    Share { key_length: 0, ..UPLOAD }.malformed(group, "no key", "BadLength");
    Share { key_length: (1 << 20) + 1, direct: true, ..UPLOAD }.malformed(
        group,
        "a key above 1 MiB",
        "BadLength",
    );
    Share { lifetime: 0, ..UPLOAD }.malformed(group, "no lifetime", "BadValue");
    Share { coordinates: &[0, 2, 3, 4, 5], ..UPLOAD }.malformed(group, "coordinate zero", "NonCanonical");
    Share { coordinates: &[1, 3, 2, 4, 5], ..UPLOAD }.malformed(
        group,
        "coordinates out of order",
        "NonCanonical",
    );
    Share { coordinates: &[1, 2, 2, 4, 5], ..UPLOAD }.malformed(group, "coordinate twice", "NonCanonical");
    Share { origins: &[0x20], ..UPLOAD }.malformed(group, "an origin beyond the last hub", "NonCanonical");
    UPLOAD.malformed_with(group, "share an octet short", 111, "BadLength");
    UPLOAD.malformed_with(group, "share an octet long", 113, "BadLength");
    UPLOAD.malformed_with(group, "share of one octet", 1, "BadLength");
    UPLOAD.malformed_with(group, "share of a longer key", 128, "BadLength");
    DELIVERY.malformed_with(group, "direct DELIVERY", 0, "BadLength");
    let octets = UPLOAD.octets(112);
    malformed(group, "cut in the terms", "ends after the threshold", 0, &octets[..45], "Truncated");
    malformed(
        group,
        "cut in the coordinates",
        "ends after the second coordinate",
        0,
        &octets[..54],
        "Truncated",
    );
    malformed(group, "cut in the secret tag", "ends within o", 0, &octets[..70], "Truncated");
}

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

fn answers(group: &mut Group) {
    let statuses = [
        "ACCEPTED",
        "UNKNOWN_PEER",
        "NOT_AUTHORISED",
        "KEY_ID_IN_USE",
        "EXPIRED",
        "POLICY",
        "TOO_MANY_WAITING",
        "MALFORMED_CONTEXT",
    ];
    for (status, name) in (0..).zip(statuses) {
        answer(group, &format!("ANSWER, {name}"), status, None, Tagged::Good("Normal"));
    }
    for status in [8, 255] {
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

fn answers_of_31(group: &mut Group) {
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
