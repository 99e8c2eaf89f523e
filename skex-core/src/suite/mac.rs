//! HMAC behind a suite (RFC 2104).

use hmac::{
    Hmac, KeyInit,
    digest::{FixedOutput, OutputSizeUser, Update, array::Array, array::ArraySize, typenum::Unsigned},
};
use sha2::Sha256;
#[cfg(feature = "sha512-aes256gcm")]
use sha2::Sha512;
#[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
use sha3::Sha3_256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::{CryptoError, TAG_LEN, hash::HashKind};
use crate::{HashSecret, MAX_HASH_LEN};

/// An HMAC key, prepared: the two blocks of the key are hashed once, however many messages follow.
///
/// It is as secret as the key, and wiped on drop.
pub struct MacKey(State);

/// An HMAC that is being computed. Its state is wiped on drop.
pub struct Mac(State);

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "without an allocator there is no box")]
enum State {
    Sha256(Hmac<Sha256>),
    #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
    Sha3_256(Hmac<Sha3_256>),
    #[cfg(feature = "sha512-aes256gcm")]
    Sha512(Hmac<Sha512>),
}

impl State {
    fn new(kind: HashKind, key: &[u8]) -> Self {
        match kind {
            HashKind::Sha256 => Self::Sha256(keyed(key)),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            HashKind::Sha3_256 => Self::Sha3_256(keyed(key)),
            #[cfg(feature = "sha512-aes256gcm")]
            HashKind::Sha512 => Self::Sha512(keyed(key)),
        }
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl MacKey {
    pub(super) fn new(kind: HashKind, key: &[u8]) -> Self {
        Self(State::new(kind, key))
    }

    /// Begins a message under this key.
    #[must_use]
    pub fn begin(&self) -> Mac {
        Mac(self.0.clone())
    }

    /// The truncated HMAC of one message in parts.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; TAG_LEN] {
        let mut whole = HashSecret::with_len(MAX_HASH_LEN);
        self.of(parts.iter().copied(), &mut whole);
        whole.first16()
    }

    /// The whole HMAC of one message in parts, written over `out`: the quick way, without a state that moves. A part may be
    /// in `out` no more than in any other place that is written meanwhile.
    pub(crate) fn of<'a>(&self, mut parts: impl Iterator<Item = &'a [u8]>, out: &mut HashSecret) {
        out.fill(|bytes| match &self.0 {
            State::Sha256(key) => finish_parts(key.clone(), &mut parts, bytes),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            State::Sha3_256(key) => finish_parts(key.clone(), &mut parts, bytes),
            #[cfg(feature = "sha512-aes256gcm")]
            State::Sha512(key) => finish_parts(key.clone(), &mut parts, bytes),
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
        Self(State::new(kind, key))
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
        self.finish_into(&mut out);
        out
    }

    /// The whole HMAC, written over `out`, which takes the length of the hash.
    pub fn finish_into(self, out: &mut HashSecret) {
        out.fill(|bytes| match self.0 {
            State::Sha256(mac) => finish_state(mac, bytes),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            State::Sha3_256(mac) => finish_state(mac, bytes),
            #[cfg(feature = "sha512-aes256gcm")]
            State::Sha512(mac) => finish_state(mac, bytes),
        });
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
    let mut parts = parts.iter().copied();
    out.fill(|bytes| match kind {
        HashKind::Sha256 => finish_parts(keyed::<Hmac<Sha256>>(key), &mut parts, bytes),
        #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
        HashKind::Sha3_256 => finish_parts(keyed::<Hmac<Sha3_256>>(key), &mut parts, bytes),
        #[cfg(feature = "sha512-aes256gcm")]
        HashKind::Sha512 => finish_parts(keyed::<Hmac<Sha512>>(key), &mut parts, bytes),
    });
    out
}

// Not inlined, here and in `hash`: a state that is given by value and inlined stands on the stack twice.
#[inline(never)]
fn finish_parts<'a, M: Update + FixedOutput + OutputSizeUser>(
    mut mac: M,
    parts: &mut impl Iterator<Item = &'a [u8]>,
    bytes: &mut [u8; MAX_HASH_LEN],
) -> u8 {
    for part in parts {
        mac.update(part);
    }
    finish_state(mac, bytes)
}

fn finish_state<M: FixedOutput + OutputSizeUser>(mac: M, bytes: &mut [u8; MAX_HASH_LEN]) -> u8 {
    mac.finalize_into(place(bytes));
    M::OutputSize::U8
}

/// The front of `bytes`, where a primitive writes its output without a copy in between; what lies behind it is zeroed.
#[expect(clippy::expect_used, reason = "the lengths are compared when this is compiled")]
pub(super) fn place<N: ArraySize>(bytes: &mut [u8; MAX_HASH_LEN]) -> &mut Array<u8, N> {
    const { assert!(N::USIZE <= MAX_HASH_LEN) };
    let (front, back) = bytes.split_at_mut_checked(N::USIZE).expect("no hash is longer than MAX_HASH_LEN");
    back.fill(0);
    front.try_into().expect("cut to this length")
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
