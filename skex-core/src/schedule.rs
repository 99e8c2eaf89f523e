//! The key schedule: HKDF (RFC 5869) over a suite's HMAC, with labels.
//!
//! `extract(salt, ikm)` is HKDF-Extract. Expansion is HKDF-Expand with
//!
//! ```text
//! info = uint16 output length | uint8 label length | label | uint16 context length | context
//! ```
//!
//! all lengths in octets, big endian. The label says what the output is for and comes from one list
//! ([`Label`]); the context binds it to a transcript, an epoch or a pair of peers. Parts of a context are put
//! together as they are: give them fixed lengths, or length prefixes. The context ends the info, so the info
//! stays unambiguous where a context is longer than its length field can say; the field is then 0xffff.
//!
//! An [`Expander`] keys HMAC once for all outputs of one pseudorandom key. With SHA-256 an output of at most 32
//! octets costs two blocks of hashing while label and context together have at most 49 octets, and three up to 113.
//!
//! Not the `hkdf` crate: its `Hkdf::new` drops the pseudorandom key unwiped, and it needs HMAC keyed anew for
//! each use. The tests compare every suite with it.

mod labels;

pub use labels::Label;

use crate::{CryptoError, HashSecret, MacKey, SecretBytes, Suite};

/// The most octets that one expansion gives with a hash of 32 octets (255 blocks, RFC 5869, section 2.3).
pub const MAX_EXPAND_LEN: usize = 255 * MIN_HASH_LEN;

/// What each hash has at least.
const MIN_HASH_LEN: usize = 32;

/// HKDF-Extract: a pseudorandom key as long as the hash, from key material in parts. An empty salt is a string
/// of zeros as long as the hash.
#[must_use]
pub fn extract(suite: Suite, salt: &[u8], ikm: &[&[u8]]) -> HashSecret {
    suite.mac_of(salt, ikm)
}

/// One labelled expansion into `out`. For more than one output of a key make an [`Expander`].
///
/// # Errors
/// [`CryptoError`] where `out` has more than 255 times the hash length; `out` is untouched then.
pub fn expand(
    suite: Suite,
    prk: &HashSecret,
    label: Label,
    context: &[&[u8]],
    out: &mut [u8],
) -> Result<(), CryptoError> {
    Expander::new(suite, prk).expand(label, context, out)
}

/// A pseudorandom key, prepared to derive many outputs from it. As secret as the key, and wiped on drop.
#[derive(Debug)]
pub struct Expander {
    key: MacKey,
    hash_len: usize,
}

impl Expander {
    /// Prepares a pseudorandom key of `suite`.
    #[must_use]
    pub fn new(suite: Suite, prk: &HashSecret) -> Self {
        Self::from_key(suite, prk.expose())
    }

    /// Prepares a uniform key of at least 32 octets that did not come out of [`extract`].
    #[must_use]
    pub fn from_key(suite: Suite, key: &[u8]) -> Self {
        Self { key: suite.mac_key(key), hash_len: suite.hash_len() }
    }

    /// Prepares a key of HMAC-SHA-256 that is there without any suite.
    pub(crate) const fn from_sha256(key: MacKey) -> Self {
        Self { key, hash_len: 32 }
    }

    /// A secret of `N` octets, at most [`MAX_EXPAND_LEN`] (checked when compiled).
    #[must_use]
    pub fn secret<const N: usize>(&self, label: Label, context: &[&[u8]]) -> SecretBytes<N> {
        SecretBytes::from_fn(|out| self.fixed(label, context, out))
    }

    /// A secret as long as the hash.
    #[must_use]
    pub fn hash_secret(&self, label: Label, context: &[&[u8]]) -> HashSecret {
        let mut out = HashSecret::with_len(self.hash_len);
        self.hash_secret_into(label, context, &mut out);
        out
    }

    /// A secret as long as the hash, written over what `out` held.
    pub fn hash_secret_into(&self, label: Label, context: &[&[u8]], out: &mut HashSecret) {
        self.block(label, context, self.hash_len, &[], 1, out);
    }

    /// `N` octets that are not secret: a pseudonym, a session id. At most [`MAX_EXPAND_LEN`].
    #[must_use]
    pub fn public<const N: usize>(&self, label: Label, context: &[&[u8]]) -> [u8; N] {
        let mut out = [0; N];
        self.fixed(label, context, &mut out);
        out
    }

    /// As many octets as `out` has.
    ///
    /// # Errors
    /// [`CryptoError`] where `out` has more than 255 times the hash length; `out` is untouched then.
    pub fn expand(&self, label: Label, context: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError> {
        if out.len().div_ceil(self.hash_len) > 255 {
            return Err(CryptoError);
        }
        self.blocks(label, context, out);
        Ok(())
    }

    fn fixed<const N: usize>(&self, label: Label, context: &[&[u8]], out: &mut [u8; N]) {
        const { assert!(N <= MAX_EXPAND_LEN) };
        if N > MIN_HASH_LEN {
            return self.blocks(label, context, out);
        }
        // One block, of which a length that the compiler knows is copied.
        let mut block = HashSecret::with_len(self.hash_len);
        self.block(label, context, N, &[], 1, &mut block);
        if let Some(front) = block.whole().first_chunk() {
            *out = *front;
        }
    }

    /// T(1) | T(2) | ..., at most 255 of them.
    fn blocks(&self, label: Label, context: &[&[u8]], out: &mut [u8]) {
        let length = out.len();
        let mut block = HashSecret::with_len(self.hash_len);
        let mut before: &[u8] = &[];
        for (counter, chunk) in (1..=255).zip(out.chunks_mut(self.hash_len)) {
            self.block(label, context, length, before, counter, &mut block);
            // At most the hash's length of it.
            for (to, from) in chunk.iter_mut().zip(block.whole()) {
                *to = *from;
            }
            before = chunk;
        }
    }

    /// T(counter) = HMAC(key, T(counter - 1) | info | counter), where T(0) is empty.
    fn block(
        &self,
        label: Label,
        context: &[&[u8]],
        length: usize,
        before: &[u8],
        counter: u8,
        block: &mut HashSecret,
    ) {
        let context_length = context.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let [high, low] = saturating_u16(length);
        let head = [high, low, label.len_octet()];
        let context_length = saturating_u16(context_length);
        let info: [&[u8]; 4] = [before, &head, label.as_bytes(), &context_length];
        self.key.of(&[&info, context, &[&[counter]]], block);
    }
}

fn saturating_u16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}
