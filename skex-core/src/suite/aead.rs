//! The AEAD behind a suite, detached and in place.

#[cfg(any(
    feature = "sha256-aes256gcm",
    feature = "sha256-chacha20poly1305",
    feature = "sha3-256-aes256gcm",
    feature = "sha3-256-chacha20poly1305",
    feature = "sha512-aes256gcm"
))]
use ::aead::{AeadInOut, Key, KeyInit, array::Array, consts};
#[cfg(any(feature = "sha256-aes256gcm", feature = "sha3-256-aes256gcm", feature = "sha512-aes256gcm"))]
use aes_gcm::{AesGcm, aes::Aes256Enc};
#[cfg(any(feature = "sha256-chacha20poly1305", feature = "sha3-256-chacha20poly1305"))]
use chacha20poly1305::ChaCha20Poly1305;

use super::{AEAD_KEY_LEN, CryptoError, NONCE_LEN, TAG_LEN};
use crate::SecretBytes;

/// AES-256-GCM, without the round keys of decryption: GCM only ever encrypts blocks, and a key is expanded for each message.
#[cfg(any(feature = "sha256-aes256gcm", feature = "sha3-256-aes256gcm", feature = "sha512-aes256gcm"))]
type Aes256Gcm = AesGcm<Aes256Enc, consts::U12>;

/// Which AEAD. Empty, and so is [`Suite`](super::Suite), where no suite is compiled in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AeadKind {
    #[cfg(any(feature = "sha256-aes256gcm", feature = "sha3-256-aes256gcm", feature = "sha512-aes256gcm"))]
    Aes256Gcm,
    #[cfg(any(feature = "sha256-chacha20poly1305", feature = "sha3-256-chacha20poly1305"))]
    ChaCha20Poly1305,
}

impl AeadKind {
    pub(super) const fn confidentiality_limit(self) -> u64 {
        match self {
            #[cfg(any(
                feature = "sha256-aes256gcm",
                feature = "sha3-256-aes256gcm",
                feature = "sha512-aes256gcm"
            ))]
            Self::Aes256Gcm => 1 << 23,
            #[cfg(any(feature = "sha256-chacha20poly1305", feature = "sha3-256-chacha20poly1305"))]
            Self::ChaCha20Poly1305 => 1 << 48,
        }
    }

    pub(super) const fn integrity_limit(self) -> u64 {
        match self {
            #[cfg(any(
                feature = "sha256-aes256gcm",
                feature = "sha3-256-aes256gcm",
                feature = "sha512-aes256gcm"
            ))]
            Self::Aes256Gcm => 1 << 52,
            #[cfg(any(feature = "sha256-chacha20poly1305", feature = "sha3-256-chacha20poly1305"))]
            Self::ChaCha20Poly1305 => 1 << 36,
        }
    }
}

/// An AEAD that is compiled in, where the hash of a suite plays no part.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Aead(pub(super) AeadKind);

// Without any suite there is nothing to match on, and the parameters are not used.
#[cfg_attr(
    not(any(
        feature = "sha256-aes256gcm",
        feature = "sha256-chacha20poly1305",
        feature = "sha3-256-aes256gcm",
        feature = "sha3-256-chacha20poly1305",
        feature = "sha512-aes256gcm"
    )),
    allow(unused_variables, unreachable_code, clippy::needless_pass_by_ref_mut)
)]
impl Aead {
    /// AES-256-GCM (SP 800-38D, RFC 5116); `None` where no suite with it is compiled in.
    #[must_use]
    pub const fn aes256gcm() -> Option<Self> {
        #[cfg(any(
            feature = "sha256-aes256gcm",
            feature = "sha3-256-aes256gcm",
            feature = "sha512-aes256gcm"
        ))]
        return Some(Self(AeadKind::Aes256Gcm));
        #[allow(unreachable_code, reason = "with a suite the line above returns")]
        None
    }

    /// ChaCha20-Poly1305 (RFC 8439); `None` where no suite with it is compiled in.
    #[must_use]
    pub const fn chacha20poly1305() -> Option<Self> {
        #[cfg(any(feature = "sha256-chacha20poly1305", feature = "sha3-256-chacha20poly1305"))]
        return Some(Self(AeadKind::ChaCha20Poly1305));
        #[allow(unreachable_code, reason = "with a suite the line above returns")]
        None
    }

    /// Seals `buffer` in place and gives the tag. A nonce must never be used twice under one key. The key is expanded here and
    /// wiped again, so that who holds many keys holds the 32 octets of each.
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
        match self.0 {
            #[cfg(any(
                feature = "sha256-aes256gcm",
                feature = "sha3-256-aes256gcm",
                feature = "sha512-aes256gcm"
            ))]
            AeadKind::Aes256Gcm => seal::<Aes256Gcm>(key, nonce, aad, buffer),
            #[cfg(any(feature = "sha256-chacha20poly1305", feature = "sha3-256-chacha20poly1305"))]
            AeadKind::ChaCha20Poly1305 => seal::<ChaCha20Poly1305>(key, nonce, aad, buffer),
        }
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
        match self.0 {
            #[cfg(any(
                feature = "sha256-aes256gcm",
                feature = "sha3-256-aes256gcm",
                feature = "sha512-aes256gcm"
            ))]
            AeadKind::Aes256Gcm => open::<Aes256Gcm>(key, nonce, aad, buffer, tag),
            #[cfg(any(feature = "sha256-chacha20poly1305", feature = "sha3-256-chacha20poly1305"))]
            AeadKind::ChaCha20Poly1305 => open::<ChaCha20Poly1305>(key, nonce, aad, buffer, tag),
        }
    }
}

impl core::fmt::Debug for Aead {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Aead(..)")
    }
}

#[cfg(any(
    feature = "sha256-aes256gcm",
    feature = "sha256-chacha20poly1305",
    feature = "sha3-256-aes256gcm",
    feature = "sha3-256-chacha20poly1305",
    feature = "sha512-aes256gcm"
))]
mod generic {
    use super::*;

    /// What the AEADs of all suites have in common.
    pub(super) trait SuiteAead:
        AeadInOut<NonceSize = consts::U12, TagSize = consts::U16> + KeyInit<KeySize = consts::U32>
    {
    }

    impl<A> SuiteAead for A where
        A: AeadInOut<NonceSize = consts::U12, TagSize = consts::U16> + KeyInit<KeySize = consts::U32>
    {
    }

    fn expand<A: SuiteAead>(key: &SecretBytes<AEAD_KEY_LEN>) -> A {
        A::new(<&Key<A>>::from(key.expose()))
    }

    pub(super) fn seal<A: SuiteAead>(
        key: &SecretBytes<AEAD_KEY_LEN>,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG_LEN], CryptoError> {
        expand::<A>(key)
            .encrypt_inout_detached(<&Array<u8, _>>::from(nonce), aad, buffer.into())
            .map(Into::into)
            .map_err(|_| CryptoError)
    }

    pub(super) fn open<A: SuiteAead>(
        key: &SecretBytes<AEAD_KEY_LEN>,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        expand::<A>(key)
            .decrypt_inout_detached(<&Array<u8, _>>::from(nonce), aad, buffer.into(), tag.into())
            .map_err(|_| CryptoError)
    }
}
#[cfg(any(
    feature = "sha256-aes256gcm",
    feature = "sha256-chacha20poly1305",
    feature = "sha3-256-aes256gcm",
    feature = "sha3-256-chacha20poly1305",
    feature = "sha512-aes256gcm"
))]
use generic::{open, seal};
