//! HMAC behind a suite (RFC 2104).

use hmac::{
    EagerHash, Hmac, KeyInit,
    block_api::HmacCore,
    digest::{
        Update,
        block_api::{Buffer, CoreProxy},
        common::KeySizeUser,
    },
};
use sha2::Sha256;
#[cfg(feature = "sha512-aes256gcm")]
use sha2::Sha512;
#[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
use sha3::Sha3_256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::hash::{HashKind, finish, finish_state, new};
use super::{CryptoError, TAG_LEN};
use crate::{HashSecret, MAX_HASH_LEN};

/// An HMAC key, prepared: the two blocks of the key are hashed once, however many messages follow.
///
/// It is as secret as the key, and wiped on drop.
pub struct MacKey(Prepared);

/// The two states of the hash. No block is begun in either, so there is no buffer.
#[allow(clippy::large_enum_variant, reason = "without an allocator there is no box")]
enum Prepared {
    Sha256(HmacCore<Sha256>),
    #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
    Sha3_256(HmacCore<Sha3_256>),
    #[cfg(feature = "sha512-aes256gcm")]
    Sha512(HmacCore<Sha512>),
}

/// An HMAC that is being computed. Its state is wiped on drop.
pub struct Mac(State);

#[allow(clippy::large_enum_variant, reason = "without an allocator there is no box")]
enum State {
    Sha256(Hmac<Sha256>),
    #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
    Sha3_256(Hmac<Sha3_256>),
    #[cfg(feature = "sha512-aes256gcm")]
    Sha512(Hmac<Sha512>),
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed<H: EagerHash>(key: &[u8]) -> HmacCore<H> {
    if key.len() > HmacCore::<H>::key_size() {
        return keyed_by_hash::<H>(key);
    }
    HmacCore::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// A key longer than a block stands for its hash. The library says the same, in the frame of all that key it.
#[cold]
#[inline(never)]
fn keyed_by_hash<H: EagerHash>(key: &[u8]) -> HmacCore<H> {
    let mut hash = HashSecret::with_len(MAX_HASH_LEN);
    hash.fill(|bytes| finish(&mut new::<H>(), &[&[key]], bytes));
    keyed::<H>(hash.expose())
}

fn begun<M: CoreProxy>(core: M::Core) -> M {
    M::compose(core, Buffer::<M::Core>::default())
}

impl MacKey {
    pub(super) fn new(kind: HashKind, key: &[u8]) -> Self {
        // A whole key in each arm: it is made where it is to lie, and not moved there, whatever the longest kind needs.
        match kind {
            HashKind::Sha256 => Self(Prepared::Sha256(keyed(key))),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            HashKind::Sha3_256 => Self(Prepared::Sha3_256(keyed(key))),
            #[cfg(feature = "sha512-aes256gcm")]
            HashKind::Sha512 => Self(Prepared::Sha512(keyed(key))),
        }
    }

    /// Begins a message under this key.
    #[must_use]
    pub fn begin(&self) -> Mac {
        match &self.0 {
            Prepared::Sha256(key) => Mac(State::Sha256(begun(key.clone()))),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            Prepared::Sha3_256(key) => Mac(State::Sha3_256(begun(key.clone()))),
            #[cfg(feature = "sha512-aes256gcm")]
            Prepared::Sha512(key) => Mac(State::Sha512(begun(key.clone()))),
        }
    }

    /// The truncated HMAC of one message in parts.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; TAG_LEN] {
        let mut whole = HashSecret::with_len(MAX_HASH_LEN);
        self.of(&[parts], &mut whole);
        whole.first16()
    }

    /// The whole HMAC of one message in lists of parts, written over `out`: the quick way, without a state that moves.
    pub(crate) fn of(&self, lists: &[&[&[u8]]], out: &mut HashSecret) {
        out.fill(|bytes| match &self.0 {
            Prepared::Sha256(key) => finish(&mut key.clone(), lists, bytes),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            Prepared::Sha3_256(key) => finish(&mut key.clone(), lists, bytes),
            #[cfg(feature = "sha512-aes256gcm")]
            Prepared::Sha512(key) => finish(&mut key.clone(), lists, bytes),
        });
    }

    /// Compares the truncated HMAC of one message in parts, in constant time.
    ///
    /// # Errors
    /// [`CryptoError`] where the tag differs.
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
        verified(self.tag(parts), tag)
    }
}

impl Mac {
    pub(super) fn new(kind: HashKind, key: &[u8]) -> Self {
        MacKey::new(kind, key).begin()
    }

    /// Feeds the next part.
    pub fn update(&mut self, part: &[u8]) {
        match &mut self.0 {
            State::Sha256(mac) => mac.update(part),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            State::Sha3_256(mac) => mac.update(part),
            #[cfg(feature = "sha512-aes256gcm")]
            State::Sha512(mac) => mac.update(part),
        }
    }

    /// Feeds the next part, for chains of calls.
    #[must_use]
    pub fn chain(mut self, part: &[u8]) -> Self {
        self.update(part);
        self
    }

    /// The whole HMAC, as long as the hash.
    #[must_use]
    pub fn finish(self) -> HashSecret {
        let mut out = HashSecret::with_len(MAX_HASH_LEN);
        out.fill(|bytes| match self.0 {
            State::Sha256(mac) => finish_state(mac, bytes),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            State::Sha3_256(mac) => finish_state(mac, bytes),
            #[cfg(feature = "sha512-aes256gcm")]
            State::Sha512(mac) => finish_state(mac, bytes),
        });
        out
    }

    /// The first 16 octets of the HMAC, to be sent as a tag.
    #[must_use]
    pub fn finish_truncated16(self) -> [u8; TAG_LEN] {
        self.finish().first16()
    }

    /// Compares the first 16 octets of the HMAC with a tag, in constant time.
    ///
    /// # Errors
    /// [`CryptoError`] where the tag differs.
    pub fn verify_truncated16(self, tag: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
        verified(self.finish_truncated16(), tag)
    }
}

fn verified(mut expected: [u8; TAG_LEN], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
    let equal = bool::from(expected.ct_eq(tag));
    // The right tag of a forged message is as good as a signature on it.
    expected.zeroize();
    if equal { Ok(()) } else { Err(CryptoError) }
}

/// The whole HMAC of one message in parts under a key that serves no other.
pub(super) fn once(kind: HashKind, key: &[u8], parts: &[&[u8]]) -> HashSecret {
    let mut out = HashSecret::with_len(MAX_HASH_LEN);
    out.fill(|bytes| match kind {
        HashKind::Sha256 => finish(&mut keyed::<Sha256>(key), &[parts], bytes),
        #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
        HashKind::Sha3_256 => finish(&mut keyed::<Sha3_256>(key), &[parts], bytes),
        #[cfg(feature = "sha512-aes256gcm")]
        HashKind::Sha512 => finish(&mut keyed::<Sha512>(key), &[parts], bytes),
    });
    out
}

impl core::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("MacKey(..)")
    }
}

impl core::fmt::Debug for Mac {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Mac(..)")
    }
}
