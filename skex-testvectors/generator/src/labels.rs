//! labels.json

use serde_json::json;
use skex_testvectors::labels::TestGroup;

use crate::file::File;
use crate::primitives::info;

const SHARED: &[&str] = &["fingerprint"];
const UNMEDIATED: &[&str] = &[
    "enrol", "th", "kid a", "kid b", "m1 mac a", "m1 mac b", "mix none", "hs", "mix ref", "mix key",
    "m2 mac", "m3 mac", "m4 mac", "chain", "export a", "export b", "sid", "output", "next", "nonce",
    "cookie",
];
const DSKE: &[&str] =
    &["hi client", "hi hub", "hi again", "salt", "env hub", "env cl", "provision", "ep share", "ep answer"];
/// What follows `skex x1 ` in the labels of consumers.
pub(crate) const EXPORT: &[&str] = &[
    "raw", "ike ppk", "tls epsk", "mac cak", "tcp ao", "wg psk", "lane", "root", "salt", "name", "tls psk",
    "mac sak", "edhoc",
];

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "labels",
        "Labels and info of HKDF-Expand",
        "SKEX labels, revision 1",
        &["Labels are case sensitive. Each begins with its protocol and revision."],
        &[("Label", "KEY_SEPARATION", "A label, with the info of an expansion under it.")],
    );
    let groups =
        [("shared", "skex c1 ", SHARED), ("unmediated", "skex u1 ", UNMEDIATED), ("dske", "skex d1 ", DSKE)];
    for (name, prefix, labels) in groups.into_iter().chain([("export", "skex x1 ", EXPORT)]) {
        file.group("Label", name, json!({ "prefix": prefix }), |group| {
            for (i, rest) in labels.iter().enumerate() {
                let label = format!("{prefix}{rest}");
                let mut case = group.case(&rest.replace(' ', "-"), &format!("the label \"{label}\""));
                case.set("label", label.as_str()).hex("octets", label.as_bytes());
                // Contexts of every length from 0 on, so that the length field is seen at work.
                let context = case.secret("context", i);
                case.set("length", 32).hex("info", &info(&label, &context, 32));
                case.valid(&["Label"]);
            }
        });
    }
    file.finish::<TestGroup>()
}
