//! All secrets, from one published seed.

use sha2::{Digest as _, Sha256};

/// The seed.
pub(crate) const SEED: &str = "SKEX test vectors, revision 1";

/// `length` octets for one field of one test: the first of SHA-256(seed | file | group | label | i) for i = 0, 1, ...,
/// each part behind its length in one octet, i as 4 octets. The label is the test's name, a full stop, the field.
pub(crate) fn octets(file: &str, group: &str, label: &str, length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for counter in 0_u32.. {
        if out.len() >= length {
            break;
        }
        let mut hash = Sha256::new();
        for part in [SEED, file, group, label] {
            hash.update([u8::try_from(part.len()).expect("parts are short")]);
            hash.update(part);
        }
        hash.update(counter.to_be_bytes());
        out.extend(hash.finalize());
    }
    out.truncate(length);
    out
}
