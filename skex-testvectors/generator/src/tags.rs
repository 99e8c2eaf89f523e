//! tags.json

use serde_json::{Value, json};
use skex_testvectors::Layer;
use skex_testvectors::tags::TestGroup;

use crate::field::{message_tag, secret_tag};
use crate::file::{File, flipped, hex};

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "tags",
        "One-time tags over GF(2^128)",
        "draft-skex-dske-00",
        &[],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("SpecificationExample", "BASIC", "An example that the specification prints."),
            ("Padding", "EDGE_CASE", "A length around a multiple of an element."),
            ("Empty", "EDGE_CASE", "Nothing to authenticate."),
            (
                "ZeroPoint",
                "EDGE_CASE",
                "The point c is zero, so that the tag is d. Such a key is as good as any other.",
            ),
            ("ErasedKey", "MISSING_CHECK", "A key of zeros only: a range of a table that was erased."),
            ("ModifiedTag", "AUTHENTICATION", "One bit of the tag is flipped."),
            ("ModifiedMessage", "AUTHENTICATION", "One bit of what is authenticated is flipped."),
            (
                "LengthExtension",
                "AUTHENTICATION",
                "The tag of the same message without the zero octet at its end.",
            ),
            (
                "MovedBoundary",
                "AUTHENTICATION",
                "The tag of another split of the same octets into payload and context.",
            ),
            ("ShiftedKey", "AUTHENTICATION", "The tag that holds if the term c e is left out."),
        ],
    );
    file.group("MessageTag", "message tag", json!({}), |group| {
        let example: Vec<u8> = (0..32).collect();
        let long: Vec<u8> = (0..=32).collect();
        for (name, message) in [
            ("empty example", &b""[..]),
            ("abc", b"abc"),
            ("abc and a zero", b"abc\0"),
            ("33 octets example", &long),
        ] {
            let mut case = group.case(name, "printed in the specification, \"Message tag\"");
            case.hex("key", &example).hex("message", message).hex("tag", &message_tag(&example, message));
            case.valid(&["SpecificationExample"]);
        }
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 80, 128, 207, 1000] {
            let mut case = group.case(&format!("{length} octets"), "a message of this length");
            let (key, message) = (case.secret("key", 32), case.secret("message", length));
            case.hex("tag", &message_tag(&key, &message));
            case.valid(&[match length {
                0 => "Empty",
                207 | 1000 => "Normal",
                _ => "Padding",
            }]);
        }
        let mut case = group.case("c is zero", "c = 0, d = 1: refused by nobody");
        let message = case.secret("message", 20);
        let key = flipped(&[0; 32], 31, 1);
        case.hex("key", &key).hex("tag", &message_tag(&key, &message));
        case.valid(&["ZeroPoint"]);

        let mut case = group.case("key of zeros", "no tag may be made or verified with it");
        case.secret("message", 20);
        case.hex("key", &[0; 32]).set("tag", Value::Null);
        case.invalid(Layer::Key, "ErasedKey");
        for (name, at, mask) in [("first bit of the tag", 0, 0x80), ("last bit of the tag", 15, 1)] {
            let mut case = group.case(name, "flipped");
            let (key, message) = (case.secret("key", 32), case.secret("message", 40));
            case.set("tag", hex(&flipped(&message_tag(&key, &message), at, mask)));
            case.invalid(Layer::Authenticate, "ModifiedTag");
        }
        for (name, at, mask) in [("first bit of the message", 0, 0x80), ("last bit of the message", 39, 1)] {
            let mut case = group.case(name, "flipped after the tag was made");
            let key = case.secret("key", 32);
            let message = case.derive("message", 40);
            case.forget("message").hex("message", &flipped(&message, at, mask));
            case.hex("tag", &message_tag(&key, &message));
            case.invalid(Layer::Authenticate, "ModifiedMessage");
        }
        let mut case =
            group.case("a zero octet more", "the tag is that of the message without its last octet");
        let key = case.secret("key", 32);
        let message = case.derive("message", 20);
        case.forget("message").hex("message", &[&message[..], &[0]].concat());
        case.hex("tag", &message_tag(&key, &message));
        case.invalid(Layer::Authenticate, "LengthExtension");
    });
    file.group("SecretTag", "secret tag", json!({}), |group| {
        let example: Vec<u8> = (0..48).collect();
        for (name, payload, context) in [
            ("example", (0x40..=0x6f).collect(), (0x80..=0x93).collect()),
            ("empty example", Vec::new(), Vec::<u8>::new()),
        ] {
            let mut case = group.case(name, "printed in the specification, \"Secret tag\"");
            case.hex("key", &example).hex("payload", &payload).hex("context", &context);
            case.hex("tag", &secret_tag(&example, &payload, &context));
            case.valid(&["SpecificationExample"]);
        }
        for (payload, context, flag) in [
            (0, 0, "Empty"),
            (64, 148, "Normal"),
            (1, 1, "Padding"),
            (15, 17, "Padding"),
            (48, 0, "Padding"),
            (0, 48, "Padding"),
            (544, 616, "Normal"),
        ] {
            let name = format!("{payload} and {context} octets");
            let mut case = group.case(&name, "payload and context of these lengths");
            let key = case.secret("key", 48);
            let (payload, context) = (case.secret("payload", payload), case.secret("context", context));
            case.hex("tag", &secret_tag(&key, &payload, &context));
            case.valid(&[flag]);
        }
        for (flag, field, comment) in [
            ("ModifiedTag", "tag", "last bit of the tag flipped"),
            ("ModifiedMessage", "payload", "first bit of the payload flipped after the tag was made"),
            ("ModifiedMessage", "context", "first bit of the context flipped after the tag was made"),
            ("ModifiedMessage", "key", "first bit of e flipped after the tag was made"),
        ] {
            let mut case = group.case(&format!("{field} changed"), comment);
            let key = case.secret("key", 48);
            let (payload, context) = (case.secret("payload", 64), case.secret("context", 94));
            let tag = secret_tag(&key, &payload, &context);
            case.hex("tag", &tag);
            let modified = match field {
                "tag" => flipped(&tag, 15, 1),
                "payload" => flipped(&payload, 0, 0x80),
                "context" => flipped(&context, 0, 0x80),
                _ => flipped(&key, 32, 0x80),
            };
            case.forget(field).hex(field, &modified);
            case.invalid(Layer::Authenticate, flag);
        }
        let mut case =
            group.case("boundary moved", "the tag is that of 32 octets of payload and 32 of context");
        let key = case.secret("key", 48);
        let (payload, context) = (case.secret("payload", 16), case.secret("context", 48));
        let all = [payload, context].concat();
        case.hex("tag", &secret_tag(&key, &all[..32], &all[32..]));
        case.invalid(Layer::Authenticate, "MovedBoundary");
        let mut case = group.case("without the term of e", "the tag is d + c^2 S_1 + ..., without c e");
        let key = case.secret("key", 48);
        let (payload, context) = (case.secret("payload", 32), case.secret("context", 16));
        let without = [&key[..32], &[0; 16]].concat();
        case.hex("tag", &secret_tag(&without, &payload, &context));
        case.invalid(Layer::Authenticate, "ShiftedKey");
    });
    file.finish::<TestGroup>()
}
