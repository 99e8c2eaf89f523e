//! key-schedule.json

use serde_json::{Value, json};
use skex_core::Suite;
use skex_testvectors::Layer;
use skex_testvectors::key_schedule::TestGroup;

use crate::file::{File, hex};
use crate::primitives::{expand, extract, info, suite_name};

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "key-schedule",
        "HKDF with labels",
        "SKEX key schedule, revision 1",
        &[],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("NoSalt", "EDGE_CASE", "An empty salt is a string of zeros as long as the hash."),
            ("LongSalt", "EDGE_CASE", "A salt longer than a block of the hash, which is hashed first."),
            ("NoContext", "EDGE_CASE", "An empty context."),
            ("SeveralBlocks", "EDGE_CASE", "An output longer than the hash."),
            ("Maximum", "EDGE_CASE", "The longest output that HKDF has: 255 times the hash."),
            ("TooLong", "MISSING_CHECK", "An output of one octet more than HKDF has."),
        ],
    );
    for suite in Suite::all() {
        let (name, number) = (suite_name(suite), json!({ "suite": suite.id().value() }));
        let hash = suite.hash_len();
        file.group("Extract", &format!("{name} extract"), number.clone(), |group| {
            for (name, salt, ikm, flag) in [
                ("no salt", 0, 32, "NoSalt"),
                ("32 octets of salt", 32, 32, "Normal"),
                ("200 octets of salt", 200, 32, "LongSalt"),
                ("80 octets of key", 32, 80, "Normal"),
            ] {
                let mut case = group.case(name, "HKDF-Extract");
                let (salt, ikm) = (case.secret("salt", salt), case.secret("ikm", ikm));
                case.hex("prk", &extract(suite, &salt, &ikm));
                case.valid(&[flag]);
            }
        });
        file.group("Expand", &format!("{name} expand"), number, |group| {
            let mut expansion = |name: &str, label: &str, context: usize, length: usize, flag: &str| {
                let mut case = group.case(name, "HKDF-Expand with a label");
                let prk = case.secret("prk", hash);
                let context = case.secret("context", context);
                let info = info(label, &context, length);
                case.set("label", label).set("length", length).hex("info", &info);
                if length <= 255 * hash {
                    case.set("okm", hex(&expand(suite, &prk, &info, length)));
                    case.valid(&[flag]);
                } else {
                    case.set("okm", Value::Null);
                    case.invalid(Layer::Argument, flag);
                }
            };
            expansion("a key", "skex d1 env hub", 20, 32, "Normal");
            expansion("16 octets", "skex d1 salt", 24, 16, "Normal");
            expansion("no context", "skex u1 chain", 0, hash, "NoContext");
            expansion("one octet more than the hash", "skex x1 raw", 100, hash + 1, "SeveralBlocks");
            expansion("three blocks", "skex x1 raw", 7, 3 * hash, "SeveralBlocks");
            if suite.id().value() == 1 {
                expansion("as long as can be", "skex x1 raw", 7, 255 * hash, "Maximum");
            }
            expansion("too long", "skex x1 raw", 7, 255 * hash + 1, "TooLong");
        });
    }
    file.finish::<TestGroup>()
}
