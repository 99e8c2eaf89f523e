//! Hashing behind a suite.

use hmac::digest::{FixedOutput, OutputSizeUser, Update, typenum::Unsigned};
use sha2::Sha256;
#[cfg(feature = "sha512-aes256gcm")]
use sha2::Sha512;
#[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
use sha3::Sha3_256;

use crate::MAX_HASH_LEN;

/// Which hash. SHA-256 is always there: records and fingerprints need it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum HashKind {
    Sha256,
    #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
    Sha3_256,
    #[cfg(feature = "sha512-aes256gcm")]
    Sha512,
}

impl HashKind {
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            Self::Sha3_256 => 32,
            #[cfg(feature = "sha512-aes256gcm")]
            Self::Sha512 => 64,
        }
    }
}

/// A hash that is being computed. Its state is wiped on drop.
///
/// Cloning it forks the hash: the parts fed so far are shared.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "without an allocator there is no box")]
enum State {
    Sha256(Sha256),
    #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
    Sha3_256(Sha3_256),
    #[cfg(feature = "sha512-aes256gcm")]
    Sha512(Sha512),
}

impl Hasher {
    pub(super) fn new(kind: HashKind) -> Self {
        Self(match kind {
            HashKind::Sha256 => State::Sha256(Sha256::default()),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            HashKind::Sha3_256 => State::Sha3_256(Sha3_256::default()),
            #[cfg(feature = "sha512-aes256gcm")]
            HashKind::Sha512 => State::Sha512(Sha512::default()),
        })
    }

    /// Feeds the next part.
    pub fn update(&mut self, part: &[u8]) {
        match &mut self.0 {
            State::Sha256(hash) => hash.update(part),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            State::Sha3_256(hash) => hash.update(part),
            #[cfg(feature = "sha512-aes256gcm")]
            State::Sha512(hash) => hash.update(part),
        }
    }

    /// Feeds the next part, for chains of calls.
    #[must_use]
    pub fn chain(mut self, part: &[u8]) -> Self {
        self.update(part);
        self
    }

    /// The hash of all parts.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut digest = Digest { bytes: [0; MAX_HASH_LEN], len: 0 };
        let (bytes, len) = (&mut digest.bytes, &mut digest.len);
        match self.0 {
            State::Sha256(hash) => finish_into(hash, bytes, len),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            State::Sha3_256(hash) => finish_into(hash, bytes, len),
            #[cfg(feature = "sha512-aes256gcm")]
            State::Sha512(hash) => finish_into(hash, bytes, len),
        }
        digest
    }
}

/// The hash of parts that are all at hand: without a state that moves.
pub(super) fn digest<'a>(kind: HashKind, mut parts: impl Iterator<Item = &'a [u8]>) -> Digest {
    let mut digest = Digest { bytes: [0; MAX_HASH_LEN], len: 0 };
    let Digest { bytes, len } = &mut digest;
    match kind {
        HashKind::Sha256 => of_parts(Sha256::default(), &mut parts, bytes, len),
        #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
        HashKind::Sha3_256 => of_parts(Sha3_256::default(), &mut parts, bytes, len),
        #[cfg(feature = "sha512-aes256gcm")]
        HashKind::Sha512 => of_parts(Sha512::default(), &mut parts, bytes, len),
    }
    digest
}

#[inline(never)]
fn of_parts<'a, H: Update + FixedOutput + OutputSizeUser>(
    mut hash: H,
    parts: &mut impl Iterator<Item = &'a [u8]>,
    bytes: &mut [u8; MAX_HASH_LEN],
    len: &mut u8,
) {
    for part in parts {
        hash.update(part);
    }
    finish_into(hash, bytes, len);
}

fn finish_into<H: FixedOutput + OutputSizeUser>(hash: H, bytes: &mut [u8; MAX_HASH_LEN], len: &mut u8) {
    hash.finalize_into(super::mac::place(bytes));
    *len = H::OutputSize::U8;
}

impl core::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Hasher(..)")
    }
}

/// A finished hash, 32 or 64 octets, of something public (a transcript). Keep hashes of secrets in a
/// [`HashSecret`](crate::HashSecret) instead: this one is printed, copied and not wiped.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    bytes: [u8; MAX_HASH_LEN],
    len: u8,
}

impl Digest {
    /// Octets: 32 or 64.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a hash is never empty")]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl core::fmt::Debug for Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Digest(")?;
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}
