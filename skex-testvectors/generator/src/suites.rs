//! suites.json

use serde_json::json;
use skex_core::Suite;
use skex_testvectors::Layer;
use skex_testvectors::suites::TestGroup;

use crate::file::{File, flipped};
use crate::primitives::{hash, mac, seal, suite_name};

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "suites",
        "Hash, HMAC and AEAD of each suite",
        "SKEX suites, revision 1",
        &[
            "A sanity check of what a suite number means; the primitives have files of their own elsewhere (Wycheproof, CAVP).",
        ],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("Empty", "EDGE_CASE", "Nothing to hash, authenticate or encrypt."),
            ("LongKey", "EDGE_CASE", "An HMAC key longer than a block of the hash, which is hashed first."),
            ("ModifiedTag", "AUTHENTICATION", "One bit of the tag is flipped."),
            ("ModifiedCiphertext", "AUTHENTICATION", "One bit of the ciphertext is flipped."),
            ("ModifiedAad", "AUTHENTICATION", "One bit of the additional data is flipped."),
            ("ModifiedNonce", "AUTHENTICATION", "One bit of the nonce is flipped."),
            ("ModifiedMessage", "AUTHENTICATION", "One bit of the message is flipped."),
        ],
    );
    for suite in Suite::all() {
        let (name, number) = (suite_name(suite), json!({ "suite": suite.id().value() }));
        file.group("Hash", &format!("{name} hash"), number.clone(), |group| {
            for length in [0, 3, 200] {
                let mut case = group.case(&format!("{length} octets"), "a hash");
                let message = case.secret("message", length);
                case.hex("digest", &hash(suite, &message));
                case.valid(&[if length == 0 { "Empty" } else { "Normal" }]);
            }
        });
        file.group("Mac", &format!("{name} mac"), number.clone(), |group| {
            for (name, key, message, flag) in
                [("usual", 32, 40, "Normal"), ("empty", 32, 0, "Empty"), ("long key", 200, 40, "LongKey")]
            {
                let mut case = group.case(name, "an HMAC");
                let (key, message) = (case.secret("key", key), case.secret("message", message));
                let whole = mac(suite, &key, &message);
                case.hex("mac", &whole).hex("tag", &whole[..16]);
                case.valid(&[flag]);
            }
            for (flag, comment) in [
                ("ModifiedTag", "last bit of the tag flipped"),
                ("ModifiedMessage", "first bit of the message flipped"),
            ] {
                let mut case = group.case(flag, comment);
                let (key, message) = (case.secret("key", 32), case.derive("message", 40));
                let whole = mac(suite, &key, &message);
                let mut tag = whole[..16].to_vec();
                if flag == "ModifiedTag" {
                    tag = flipped(&tag, 15, 1);
                    case.hex("message", &message);
                    case.hex("mac", &whole);
                } else {
                    let modified = flipped(&message, 0, 0x80);
                    case.forget("message").hex("message", &modified).hex("mac", &mac(suite, &key, &modified));
                }
                case.hex("tag", &tag);
                case.invalid(Layer::Authenticate, flag);
            }
        });
        file.group("Aead", &format!("{name} aead"), number, |group| {
            for (name, aad, plaintext, flag) in [
                ("usual", 9, 40, "Normal"),
                ("empty", 0, 0, "Empty"),
                ("only aad", 9, 0, "Empty"),
                ("only plaintext", 0, 65, "Normal"),
            ] {
                let mut case = group.case(name, "a sealed message");
                let (key, nonce) = (case.secret("key", 32), case.secret("nonce", 12));
                let (aad, plaintext) = (case.secret("aad", aad), case.secret("plaintext", plaintext));
                let (ciphertext, tag) = seal(suite, &key, &nonce, &aad, &plaintext);
                case.hex("ciphertext", &ciphertext).hex("tag", &tag);
                case.valid(&[flag]);
            }
            for (flag, field) in [
                ("ModifiedTag", "tag"),
                ("ModifiedCiphertext", "ciphertext"),
                ("ModifiedAad", "aad"),
                ("ModifiedNonce", "nonce"),
            ] {
                let mut case =
                    group.case(flag, &format!("sealed, then the first bit of the {field} was flipped"));
                let key = case.secret("key", 32);
                let (nonce, aad) = (case.secret("nonce", 12), case.secret("aad", 9));
                let plaintext = case.secret("plaintext", 24);
                let (ciphertext, tag) = seal(suite, &key, &nonce, &aad, &plaintext);
                case.hex("ciphertext", &ciphertext).hex("tag", &tag);
                let original = match field {
                    "tag" => &tag,
                    "ciphertext" => &ciphertext,
                    "aad" => &aad,
                    _ => &nonce,
                };
                let modified = flipped(original, 0, 0x80);
                case.forget(field).hex(field, &modified);
                case.invalid(Layer::Authenticate, flag);
            }
        });
    }
    file.finish::<TestGroup>()
}
