//! Suites: what a [`SuiteId`] means. Lengths, usage limits, and the primitives behind it.
//!
//! | suite | hash, HMAC, HKDF (octets) | AEAD (key, nonce, tag octets) | feature |
//! |---|---|---|---|
//! | 1 | SHA-256 (32) | AES-256-GCM (32, 12, 16) | `sha256-aes256gcm` |
//! | 2 | SHA-256 (32) | ChaCha20-Poly1305 (32, 12, 16) | `sha256-chacha20poly1305` |
//! | 3 | SHA3-256 (32) | AES-256-GCM (32, 12, 16) | `sha3-256-aes256gcm` |
//! | 4 | SHA3-256 (32) | ChaCha20-Poly1305 (32, 12, 16) | `sha3-256-chacha20poly1305` |
//! | 5 | SHA-512 (64) | AES-256-GCM (32, 12, 16) | `sha512-aes256gcm` |
//!
//! Sources: SHA-2 FIPS 180-4; SHA-3 FIPS 202; HMAC RFC 2104 and FIPS 198-1; AES-GCM SP 800-38D and RFC 5116;
//! ChaCha20-Poly1305 RFC 8439. The primitives are those of RustCrypto; nothing here is written by hand.
//!
//! A [`Suite`] exists only where it is compiled in, so everything on it works. It is a small `Copy` value: keep
//! it beside the keys that belong to it.

mod aead;
mod hash;
mod mac;

use skex_wire::SuiteId;

use self::aead::AeadKind;
use self::hash::HashKind;
pub use self::{
    aead::Aead,
    hash::{Digest, Hasher},
    mac::{Mac, MacKey},
};
use crate::{HashSecret, Label, SecretBytes};

/// Octets of a tag: of the AEADs, and of an HMAC where it is truncated.
pub const TAG_LEN: usize = skex_wire::limits::TAG_LEN;

/// Octets of an AEAD nonce.
pub const NONCE_LEN: usize = skex_wire::limits::AEAD_NONCE_LEN;

/// Octets of an AEAD key.
pub const AEAD_KEY_LEN: usize = skex_wire::limits::AEAD_KEY_LEN;

/// A primitive refused: a tag did not verify, or a length is outside what the primitive allows.
///
/// It says no more on purpose: what exactly failed is nobody's business but the operator's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("cryptographic operation refused")]
#[non_exhaustive]
pub struct CryptoError;

/// An HMAC-SHA-256 key whatever suites are compiled in, for what does not depend on the suite of a protocol.
pub(crate) fn sha256_mac_key(key: &[u8]) -> MacKey {
    MacKey::new(HashKind::Sha256, key)
}

/// SHA-256 of parts, whatever suites are compiled in.
pub(crate) fn sha256(parts: &[&[u8]]) -> Digest {
    hash::digest(HashKind::Sha256, &[parts])
}

/// A suite that is compiled in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Suite(Kind);

/// Which suite: one octet at most, for machines hold several. Empty where none is compiled in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    #[cfg(feature = "sha256-aes256gcm")]
    Sha256Aes256Gcm,
    #[cfg(feature = "sha256-chacha20poly1305")]
    Sha256ChaCha20Poly1305,
    #[cfg(feature = "sha3-256-aes256gcm")]
    Sha3_256Aes256Gcm,
    #[cfg(feature = "sha3-256-chacha20poly1305")]
    Sha3_256ChaCha20Poly1305,
    #[cfg(feature = "sha512-aes256gcm")]
    Sha512Aes256Gcm,
}

impl Kind {
    /// Its code point, and what it is made of.
    const fn parts(self) -> (SuiteId, HashKind, AeadKind) {
        match self {
            #[cfg(feature = "sha256-aes256gcm")]
            Self::Sha256Aes256Gcm => (SuiteId::SHA256_AES256GCM, HashKind::Sha256, AeadKind::Aes256Gcm),
            #[cfg(feature = "sha256-chacha20poly1305")]
            Self::Sha256ChaCha20Poly1305 => {
                (SuiteId::SHA256_CHACHA20POLY1305, HashKind::Sha256, AeadKind::ChaCha20Poly1305)
            }
            #[cfg(feature = "sha3-256-aes256gcm")]
            Self::Sha3_256Aes256Gcm => (SuiteId::SHA3_256_AES256GCM, HashKind::Sha3_256, AeadKind::Aes256Gcm),
            #[cfg(feature = "sha3-256-chacha20poly1305")]
            Self::Sha3_256ChaCha20Poly1305 => {
                (SuiteId::SHA3_256_CHACHA20POLY1305, HashKind::Sha3_256, AeadKind::ChaCha20Poly1305)
            }
            #[cfg(feature = "sha512-aes256gcm")]
            Self::Sha512Aes256Gcm => (SuiteId::SHA512_AES256GCM, HashKind::Sha512, AeadKind::Aes256Gcm),
        }
    }
}

#[allow(unreachable_code, unused_variables, reason = "without any suite there is none to ask")]
impl Suite {
    /// The suite behind a code point; `None` where it is unknown or not compiled in.
    #[must_use]
    pub const fn from_id(id: SuiteId) -> Option<Self> {
        Some(Self(match id {
            #[cfg(feature = "sha256-aes256gcm")]
            SuiteId::SHA256_AES256GCM => Kind::Sha256Aes256Gcm,
            #[cfg(feature = "sha256-chacha20poly1305")]
            SuiteId::SHA256_CHACHA20POLY1305 => Kind::Sha256ChaCha20Poly1305,
            #[cfg(feature = "sha3-256-aes256gcm")]
            SuiteId::SHA3_256_AES256GCM => Kind::Sha3_256Aes256Gcm,
            #[cfg(feature = "sha3-256-chacha20poly1305")]
            SuiteId::SHA3_256_CHACHA20POLY1305 => Kind::Sha3_256ChaCha20Poly1305,
            #[cfg(feature = "sha512-aes256gcm")]
            SuiteId::SHA512_AES256GCM => Kind::Sha512Aes256Gcm,
            _ => return None,
        }))
    }

    /// The suites that are compiled in, in the order of their code points.
    pub fn all() -> impl Iterator<Item = Self> {
        SuiteId::KNOWN.iter().copied().filter_map(Self::from_id)
    }

    /// The code point.
    #[must_use]
    pub const fn id(self) -> SuiteId {
        self.0.parts().0
    }

    const fn hash_kind(self) -> HashKind {
        self.0.parts().1
    }

    const fn aead(self) -> Aead {
        Aead(self.0.parts().2)
    }

    /// Octets of the hash: 32 or 64.
    #[must_use]
    pub const fn hash_len(self) -> usize {
        self.hash_kind().len()
    }

    /// Messages that may be sealed under one AEAD key, each of at most 2^16 octets.
    ///
    /// 2^23 for AES-256-GCM (RFC 9001, section 6.6), which keeps an attacker's advantage below 2^-57; 2^48 for
    /// ChaCha20-Poly1305, which has no limit of its own below the count of nonces.
    #[must_use]
    pub const fn confidentiality_limit(self) -> u64 {
        self.aead().0.confidentiality_limit()
    }

    /// Messages that may fail to open under one AEAD key before the key must go.
    ///
    /// 2^52 for AES-256-GCM, 2^36 for ChaCha20-Poly1305 (RFC 9001, section 6.6).
    #[must_use]
    pub const fn integrity_limit(self) -> u64 {
        self.aead().0.integrity_limit()
    }

    /// A hash, to be fed in parts.
    #[must_use]
    pub fn hash(self) -> Hasher {
        Hasher::new(self.hash_kind())
    }

    /// The hash of parts that are all at hand.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Digest {
        hash::digest(self.hash_kind(), &[parts])
    }

    /// As [`digest`](Self::digest), beginning with the label: what [`labelled_hash`](Self::labelled_hash) begins.
    #[inline(never)]
    #[must_use]
    pub fn labelled_digest(self, label: Label, parts: &[&[u8]]) -> Digest {
        hash::digest(self.hash_kind(), &[&[&[label.len_octet()], label.as_bytes()], parts])
    }

    /// A hash that begins with the label: one octet of its length, then its octets.
    #[must_use]
    pub fn labelled_hash(self, label: Label) -> Hasher {
        let mut hasher = self.hash();
        hasher.update(&[label.len_octet()]);
        hasher.update(label.as_bytes());
        hasher
    }

    /// An HMAC under `key` (of any length), to be fed in parts. For more than one message prepare a
    /// [`MacKey`] instead.
    #[must_use]
    pub fn mac(self, key: &[u8]) -> Mac {
        Mac::new(self.hash_kind(), key)
    }

    /// The whole HMAC of one message in parts, under a key that serves no other.
    #[must_use]
    pub fn mac_of(self, key: &[u8], parts: &[&[u8]]) -> HashSecret {
        mac::once(self.hash_kind(), key, parts)
    }

    /// An HMAC key, prepared once for many messages: beginning a message from it costs a copy of the state and
    /// spares two blocks of hashing.
    #[must_use]
    pub fn mac_key(self, key: &[u8]) -> MacKey {
        MacKey::new(self.hash_kind(), key)
    }

    /// Seals `buffer` in place and gives the tag. A nonce must never be used twice under one key.
    ///
    /// # Errors
    /// [`CryptoError`] where a length is outside what the AEAD allows (never below 2^32 octets).
    pub fn seal(
        self,
        key: &SecretBytes<AEAD_KEY_LEN>,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        self.aead().seal(key, nonce, aad, buffer)
    }

    /// Opens `buffer` in place. On an error it holds nothing that was decrypted.
    ///
    /// # Errors
    /// [`CryptoError`] where the tag does not verify.
    pub fn open(
        self,
        key: &SecretBytes<AEAD_KEY_LEN>,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        self.aead().open(key, nonce, aad, buffer, tag)
    }
}

impl core::fmt::Debug for Suite {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Suite({})", self.id().name().unwrap_or("?"))
    }
}
