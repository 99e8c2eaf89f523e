//! dske-wire.json

/// Joins octets that are written as arrays or vectors.
macro_rules! join {
    ($($part:expr),* $(,)?) => {{
        let mut octets: Vec<u8> = Vec::new();
        $( octets.extend_from_slice(&$part); )*
        octets
    }};
}

mod answers;
mod commands;
mod leases;
mod outer;
mod refills;
mod several;
mod shares;

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
            ("SpecificationExample", "BASIC", "An example that the specification prints."),
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
    file.group("Outer", "outer", json!({}), outer::outer);
    let link = json!({ "clientId": CLIENT_ID, "hubId": hex(&HUB_ID), "hubs": 5 });
    file.group("Inner", "leases", link.clone(), leases::leases);
    file.group("Inner", "shares", link.clone(), shares::shares);
    file.group("Inner", "answers, 5 hubs", link.clone(), answers::answers);
    let link_of_31 = json!({ "clientId": CLIENT_ID, "hubId": hex(&HUB_ID), "hubs": 31 });
    file.group("Inner", "answers, 31 hubs", link_of_31, answers::answers_of_31);
    file.group("Inner", "commands", link.clone(), commands::commands);
    file.group("Inner", "refills", link.clone(), refills::refills);
    file.group("Inner", "several", link, several::several);
    file.finish::<TestGroup>()
}

/// What a one-time tag covers before the message.
fn prefix(direction: u8, client_id: u32, hub_id: &[u8]) -> Vec<u8> {
    join!([direction], client_id.to_be_bytes(), hub_id)
}

/// Ends a test of a message with a one-time tag; `message` lacks the tag.
fn tagged(mut case: Case<'_>, direction: u8, untagged: &[u8], message: Value, result: Tagged<'_>) {
    let key = case.secret("tagKey", 32);
    tagged_with(case, &key, direction, untagged, message, result);
}

fn tagged_with(
    mut case: Case<'_>,
    key: &[u8],
    direction: u8,
    untagged: &[u8],
    mut message: Value,
    result: Tagged<'_>,
) {
    let input = join!(prefix(direction, CLIENT_ID, &HUB_ID), untagged);
    let mut tag = message_tag(key, &input).to_vec();
    match result {
        Tagged::Forged("ModifiedTag") => tag = flipped(&tag, 0, 0x80),
        Tagged::Forged("OtherDirection") => {
            tag = message_tag(key, &join!(prefix(1 - direction, CLIENT_ID, &HUB_ID), untagged)).to_vec();
        }
        Tagged::Forged("OtherClient") => {
            tag = message_tag(key, &join!(prefix(direction, CLIENT_ID + 1, &HUB_ID), untagged)).to_vec();
        }
        Tagged::Forged("OtherHub") => {
            tag = message_tag(key, &join!(prefix(direction, CLIENT_ID, &[0xa2; 16]), untagged)).to_vec();
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
