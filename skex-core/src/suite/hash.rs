//! Hashing behind a suite.

use hmac::EagerHash;
use hmac::digest::array::{Array, ArraySize};
use hmac::digest::block_api::{Buffer, FixedOutputCore};
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
        let bytes = &mut digest.bytes;
        digest.len = match self.0 {
            State::Sha256(hash) => finish_state(hash, bytes),
            #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
            State::Sha3_256(hash) => finish_state(hash, bytes),
            #[cfg(feature = "sha512-aes256gcm")]
            State::Sha512(hash) => finish_state(hash, bytes),
        };
        digest
    }
}

/// The hash of lists of parts that are all at hand: without a state that moves.
pub(super) fn digest(kind: HashKind, lists: &[&[&[u8]]]) -> Digest {
    let mut digest = Digest { bytes: [0; MAX_HASH_LEN], len: 0 };
    let bytes = &mut digest.bytes;
    digest.len = match kind {
        HashKind::Sha256 => finish(&mut new::<Sha256>(), lists, bytes),
        #[cfg(any(feature = "sha3-256-aes256gcm", feature = "sha3-256-chacha20poly1305"))]
        HashKind::Sha3_256 => finish(&mut new::<Sha3_256>(), lists, bytes),
        #[cfg(feature = "sha512-aes256gcm")]
        HashKind::Sha512 => finish(&mut new::<Sha512>(), lists, bytes),
    };
    digest
}

pub(super) fn new<H: EagerHash>() -> H::Core {
    H::Core::default()
}

/// Feeds a hash or an HMAC that is begun with lists of parts, and writes what comes out; gives its length. All where it
/// lies: a state that is given by value stands on the stack twice.
#[inline(never)]
pub(super) fn finish<C: FixedOutputCore>(
    core: &mut C,
    lists: &[&[&[u8]]],
    bytes: &mut [u8; MAX_HASH_LEN],
) -> u8 {
    let mut buffer = Buffer::<C>::default();
    for list in lists {
        // An empty part would cost as much as a short one.
        for part in list.iter().filter(|part| !part.is_empty()) {
            buffer.digest_blocks(part, |blocks| core.update_blocks(blocks));
        }
    }
    core.finalize_fixed_core(&mut buffer, place(bytes));
    C::OutputSize::U8
}

/// The same of a hash or an HMAC that was fed already.
pub(super) fn finish_state<H: FixedOutput + OutputSizeUser>(state: H, bytes: &mut [u8; MAX_HASH_LEN]) -> u8 {
    state.finalize_into(place(bytes));
    H::OutputSize::U8
}

/// The front of `bytes`, where a primitive writes its output without a copy in between; what lies behind it is zeroed.
#[expect(clippy::expect_used, reason = "the lengths are compared when this is compiled")]
fn place<N: ArraySize>(bytes: &mut [u8; MAX_HASH_LEN]) -> &mut Array<u8, N> {
    const { assert!(N::USIZE <= MAX_HASH_LEN) };
    let (front, back) = bytes.split_at_mut_checked(N::USIZE).expect("no hash is longer than MAX_HASH_LEN");
    back.fill(0);
    front.try_into().expect("cut to this length")
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

    /// The first 16 octets.
    pub(crate) fn first16(&self) -> [u8; 16] {
        let mut first = [0; 16];
        first.copy_from_slice(&self.bytes[..16]);
        first
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
