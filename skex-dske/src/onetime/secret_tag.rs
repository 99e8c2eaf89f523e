//! The tag that authenticates an established secret.

use core::fmt;

use zeroize::Zeroize;

use super::Tag;
use super::gf128::{Gf128, evaluate};

/// A key of 48 bytes, itself part of the shared secret, that tags or verifies one secret and is spent by it.
///
/// With the key (c, d, e), three elements of GF(2^128), the tag of S_1 .. S_m is
///
/// ```text
/// d + c e + sum over j = 1 .. m of c^(j+1) S_j
/// ```
///
/// (draft-mwag-dske-02). The elements S encode a secret payload and a public context: S_1 is the length of
/// the payload and the length of the context in bytes, 8 bytes each, big-endian; then come the payload and
/// the context, each padded with zeros to whole elements. Lying hubs can only add offsets of their choice to
/// key and payload. For any such offset, chosen after the tag is known, the tag still fits with probability
/// at most `(m + 1) / 2^128`. The term `c e` must not be left out: without it whoever knows S offsets c and d
/// together and is never found out.
pub struct SecretTagKey {
    point: Gf128,
    constant: Gf128,
    linear: Gf128,
}

impl SecretTagKey {
    /// Bytes of a key.
    pub const LEN: usize = 48;

    /// Makes a key of 48 bytes of the shared secret, which must serve no other purpose.
    #[must_use]
    pub fn from_secret(secret: &[u8; Self::LEN]) -> Self {
        let element = |at: usize| {
            let bytes = secret.get(at..).and_then(<[u8]>::first_chunk);
            Gf128::from_bytes(bytes.copied().unwrap_or_default())
        };
        Self { point: element(0), constant: element(16), linear: element(32) }
    }

    /// The tag of `payload` in `context`.
    #[must_use]
    pub fn tag(self, payload: &[u8], context: &[u8]) -> Tag {
        let lengths = [payload.len(), context.len()];
        let [payload_len, context_len] = lengths.map(|len| u64::try_from(len).unwrap_or(u64::MAX));
        Tag::from_bytes(evaluate(&self.point, &self.constant, |polynomial| {
            polynomial.prepend_padding(context.len());
            polynomial.prepend(context);
            polynomial.prepend_padding(payload.len());
            polynomial.prepend(payload);
            polynomial.prepend(&context_len.to_be_bytes());
            polynomial.prepend(&payload_len.to_be_bytes());
            let mut linear = self.linear.to_bytes();
            polynomial.prepend(&linear);
            linear.as_mut_slice().zeroize();
        }))
    }

    /// Whether `tag` is the tag of `payload` in `context`.
    #[must_use]
    pub fn verify(self, payload: &[u8], context: &[u8], tag: &Tag) -> bool {
        self.tag(payload, context) == *tag
    }
}

impl fmt::Debug for SecretTagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretTagKey(..)")
    }
}
