//! Secret types: wiped on drop, redacted in `Debug`, compared in constant time, with one grep-able exit.
//!
//! | type | octets | for |
//! |---|---|---|
//! | [`SecretBytes<N>`] | exactly `N` | keys of one fixed size |
//! | [`HashSecret`] | the hash length of a suite, 32 or 64 | chain keys, pseudorandom keys, full MACs |
//! | `SecretVec` (feature `alloc`) | chosen once, at creation | keys and pads longer than that |
//!
//! None of them is `Clone`, `Copy`, `Deref`, `AsRef`, `Hash` or `Ord`; `expose` is the only way to the bytes.
//! [`secret_type!`](crate::secret_type) makes one newtype for each role, so that a key in the wrong place does
//! not compile. Long-lived secrets stay in their slot and are overwritten in place.
//!
//! # What is not covered
//!
//! - Copies that the compiler makes when a value moves, and what the primitives leave in registers and in their
//!   own stack frames. Keep secrets in fixed slots and borrow them.
//! - Swap, hibernation images, core dumps, and other readers of the memory.
//! - Bytes that left through `expose`: records that were encoded, and buffers of the caller.
//! - A value that is never dropped (`mem::forget`, a leak, an abort).

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Octets of the longest hash that is compiled in: 64 with feature `sha512-aes256gcm`, otherwise 32.
pub const MAX_HASH_LEN: usize = if cfg!(feature = "sha512-aes256gcm") { 64 } else { 32 };

/// A secret of exactly `N` octets.
pub struct SecretBytes<const N: usize>([u8; N]);

impl<const N: usize> SecretBytes<N> {
    /// A slot of zeros, to be filled in place.
    #[must_use]
    pub const fn zeroed() -> Self {
        Self([0; N])
    }

    /// A secret that `fill` writes in place; it starts as zeros.
    #[must_use]
    pub fn from_fn(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self::zeroed();
        fill(&mut secret.0);
        secret
    }

    /// Takes the octets over and wipes the source.
    #[must_use]
    pub fn take_from(source: &mut [u8; N]) -> Self {
        let secret = Self(*source);
        source.as_mut_slice().zeroize();
        secret
    }

    /// Copies the octets. The source stays the caller's to wipe.
    #[must_use]
    pub const fn copied_from(source: &[u8; N]) -> Self {
        Self(*source)
    }

    /// Copies the octets of a slice, `None` where it does not have exactly `N`.
    #[must_use]
    pub fn try_copied_from(source: &[u8]) -> Option<Self> {
        source.first_chunk::<N>().filter(|_| source.len() == N).map(Self::copied_from)
    }

    /// `N` octets from a generator.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self::from_fn(|bytes| rng.fill_bytes(bytes))
    }

    /// The octets: the single exit.
    #[must_use]
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The octets, to be written in place.
    #[must_use]
    pub const fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// Writes the octets of another secret over this one.
    pub const fn overwrite(&mut self, with: &Self) {
        self.0 = with.0;
    }

    /// Writes zeros over the secret, before its slot is used again or the key is spent.
    pub fn wipe(&mut self) {
        // As a slice: arrays are wiped octet by octet, slices in bulk.
        self.0.as_mut_slice().zeroize();
    }
}

impl<const N: usize> Drop for SecretBytes<N> {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl<const N: usize> ZeroizeOnDrop for SecretBytes<N> {}

impl<const N: usize> PartialEq for SecretBytes<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl<const N: usize> Eq for SecretBytes<N> {}

impl<const N: usize> fmt::Debug for SecretBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes<{N}>(..)")
    }
}

/// A secret as long as a suite's hash: 32 or 64 octets. The length is public.
pub struct HashSecret {
    bytes: [u8; MAX_HASH_LEN],
    // At most MAX_HASH_LEN: every constructor sees to it. What lies beyond is zero.
    len: u8,
}

impl HashSecret {
    /// A slot of zeros, with the length of `suite`'s hash.
    #[must_use]
    pub fn zeroed(suite: crate::Suite) -> Self {
        Self::with_len(suite.hash_len())
    }

    /// Copies the octets of a slice, `None` where its length is not that of `suite`'s hash. The source stays
    /// the caller's to wipe.
    #[must_use]
    pub fn try_copied_from(suite: crate::Suite, source: &[u8]) -> Option<Self> {
        let mut secret = Self::zeroed(suite);
        if source.len() != secret.len() {
            return None;
        }
        secret.expose_mut().copy_from_slice(source);
        Some(secret)
    }

    pub(crate) fn with_len(len: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_HASH_LEN, which is 64")]
        let len = len.min(MAX_HASH_LEN) as u8;
        Self { bytes: [0; MAX_HASH_LEN], len }
    }

    /// Lets a primitive write in place and say the length.
    pub(crate) fn fill(&mut self, write: impl FnOnce(&mut [u8; MAX_HASH_LEN]) -> u8) {
        self.len = write(&mut self.bytes);
    }

    /// The first 16 octets, to be sent as a tag.
    #[must_use]
    pub fn first16(&self) -> [u8; 16] {
        let mut first = [0; 16];
        first.copy_from_slice(&self.bytes[..16]);
        first
    }

    /// Octets: 32 or 64.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Never: a hash has at least 32 octets.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The octets: the single exit.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// The octets, and zeros behind them where the hash is shorter than others: for a reader who knows the length, and need not
    /// wait for the one that was just written.
    pub(crate) const fn whole(&self) -> &[u8; MAX_HASH_LEN] {
        &self.bytes
    }

    /// The octets, to be written in place.
    #[must_use]
    pub fn expose_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        self.bytes.get_mut(..len).unwrap_or_default()
    }

    /// Writes another secret over this one, with its length.
    pub const fn overwrite(&mut self, with: &Self) {
        self.bytes = with.bytes;
        self.len = with.len;
    }

    /// Writes zeros over the secret; its length stays.
    pub fn wipe(&mut self) {
        self.bytes.as_mut_slice().zeroize();
    }
}

impl Drop for HashSecret {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl ZeroizeOnDrop for HashSecret {}

impl PartialEq for HashSecret {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for HashSecret {}

impl fmt::Debug for HashSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashSecret<{}>(..)", self.len)
    }
}

/// A secret of any length, allocated once at its final size: growing would leave copies behind.
#[cfg(feature = "alloc")]
pub struct SecretVec(Box<[u8]>);

#[cfg(feature = "alloc")]
impl SecretVec {
    /// `len` zeros, to be filled in place.
    #[must_use]
    #[expect(
        clippy::slow_vector_initialization,
        reason = "of a few octets, as keys and shares are, allocators are slower to give zeros than we are to write them"
    )]
    pub fn zeroed(len: usize) -> Self {
        let mut zeros = Vec::with_capacity(len);
        zeros.resize(len, 0);
        Self(zeros.into_boxed_slice())
    }

    /// A secret of `len` octets that `fill` writes in place; it starts as zeros.
    #[must_use]
    pub fn from_fn(len: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut secret = Self::zeroed(len);
        fill(&mut secret.0);
        secret
    }

    /// Copies the octets and wipes the source.
    #[must_use]
    pub fn take_from(source: &mut [u8]) -> Self {
        let secret = Self::copied_from(source);
        source.zeroize();
        secret
    }

    /// Takes a vector over, without a copy where it has no spare capacity; otherwise the octets are copied and
    /// the vector is wiped, spare capacity included.
    #[must_use]
    pub fn from_vec(mut source: Vec<u8>) -> Self {
        if source.len() == source.capacity() {
            return Self(source.into_boxed_slice());
        }
        let secret = Self::copied_from(&source);
        source.zeroize();
        secret
    }

    /// Copies the octets. The source stays the caller's to wipe.
    #[must_use]
    pub fn copied_from(source: &[u8]) -> Self {
        Self(Box::from(source))
    }

    /// `len` octets from a generator.
    #[must_use]
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R, len: usize) -> Self {
        Self::from_fn(len, |bytes| rng.fill_bytes(bytes))
    }

    /// Octets. The length is public.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no octets.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The octets: the single exit.
    #[must_use]
    pub const fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The octets, to be written in place.
    #[must_use]
    pub const fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Writes zeros over the secret; its length stays.
    pub fn wipe(&mut self) {
        // As a slice: a box is wiped octet by octet, slices in bulk.
        self.expose_mut().zeroize();
    }
}

#[cfg(feature = "alloc")]
impl Drop for SecretVec {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(feature = "alloc")]
impl ZeroizeOnDrop for SecretVec {}

#[cfg(feature = "alloc")]
impl PartialEq for SecretVec {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(feature = "alloc")]
impl Eq for SecretVec {}

#[cfg(feature = "alloc")]
impl fmt::Debug for SecretVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretVec(..)")
    }
}

/// Makes one newtype for each role of a secret, over any of the secret types.
///
/// The newtype has `new`, `secret`, `secret_mut` and `into_secret`, a redacted `Debug` with its own name, and
/// comparison in constant time. It is wiped on drop because what it holds is.
///
/// ```
/// skex_core::secret_type! {
///     /// Opens the peer's first message.
///     pub struct FirstMessageKey(skex_core::SecretBytes<32>);
/// }
/// let key = FirstMessageKey::new(skex_core::SecretBytes::copied_from(&[7; 32]));
/// assert_eq!(format!("{key:?}"), "FirstMessageKey(..)");
/// assert_eq!(key.secret().expose(), &[7; 32]);
/// ```
#[macro_export]
macro_rules! secret_type {
    ($( $(#[$meta:meta])* $vis:vis struct $name:ident($inner:ty); )+) => { $(
        $(#[$meta])*
        #[derive(PartialEq, Eq)]
        $vis struct $name($inner);

        // Not every role uses every part.
        #[allow(dead_code)]
        impl $name {
            /// The secret in this role.
            #[must_use]
            $vis const fn new(secret: $inner) -> Self {
                Self(secret)
            }

            /// The secret, borrowed; its octets still leave only through `expose`.
            #[must_use]
            $vis const fn secret(&self) -> &$inner {
                &self.0
            }

            /// The secret, to be overwritten in place.
            #[must_use]
            $vis const fn secret_mut(&mut self) -> &mut $inner {
                &mut self.0
            }

            /// The secret without its role.
            #[must_use]
            $vis fn into_secret(self) -> $inner {
                self.0
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(::core::concat!(::core::stringify!($name), "(..)"))
            }
        }
    )+ };
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{format, string::String, vec::Vec};

    secret_type! {
        /// A role, to see what the macro makes of it.
        struct Role(SecretBytes<32>);
    }

    /// Octets whose two-digit hex and decimal forms would be seen at once.
    fn known() -> [u8; 32] {
        core::array::from_fn(|i| 0xa1_u8.wrapping_add(u8::try_from(i).unwrap()))
    }

    fn assert_redacted(shown: &str) {
        let shown = shown.to_ascii_lowercase();
        for byte in known() {
            assert!(!shown.contains(&format!("{byte:02x}")), "{shown} shows {byte:02x}");
            assert!(!shown.contains(&format!("{byte}")), "{shown} shows {byte}");
        }
    }

    fn shown(value: &dyn fmt::Debug) -> Vec<String> {
        [format!("{value:?}"), format!("{value:#?}"), format!("{value:02x?}")].into()
    }

    #[test]
    fn debug_shows_no_octet_of_any_secret_type() {
        let bytes = SecretBytes::copied_from(&known());
        let mut hash = HashSecret::with_len(32);
        hash.expose_mut().copy_from_slice(&known());
        let role = Role::new(SecretBytes::copied_from(&known()));
        let mut values: Vec<&dyn fmt::Debug> = [&bytes as _, &hash as _, &role as _].into();
        #[cfg(feature = "alloc")]
        let vector = SecretVec::copied_from(&known());
        #[cfg(feature = "alloc")]
        values.push(&vector);
        for text in values.iter().flat_map(|value| shown(*value)) {
            assert_redacted(&text);
        }
        assert_eq!(format!("{bytes:?} {hash:?} {role:?}"), "SecretBytes<32>(..) HashSecret<32>(..) Role(..)");
        values.clear();
    }

    #[test]
    fn the_redaction_check_itself_notices_a_leak() {
        assert!(std::panic::catch_unwind(|| assert_redacted(&format!("{:?}", known()))).is_err());
        assert!(std::panic::catch_unwind(|| assert_redacted(&format!("{:02x?}", known()))).is_err());
    }

    #[test]
    fn equal_only_where_every_octet_is() {
        for at in 0..32 {
            let mut other = known();
            other[at] ^= 1;
            assert_ne!(SecretBytes::copied_from(&known()), SecretBytes::copied_from(&other));
            #[cfg(feature = "alloc")]
            assert_ne!(SecretVec::copied_from(&known()), SecretVec::copied_from(&other));
            let (mut left, mut right) = (HashSecret::with_len(32), HashSecret::with_len(32));
            left.expose_mut().copy_from_slice(&known());
            right.expose_mut().copy_from_slice(&other);
            assert_ne!(left, right);
            right.expose_mut().copy_from_slice(&known());
            assert_eq!(left, right);
        }
        assert_eq!(SecretBytes::copied_from(&known()), SecretBytes::copied_from(&known()));
        #[cfg(feature = "alloc")]
        assert_ne!(SecretVec::zeroed(3), SecretVec::zeroed(4));
    }

    #[test]
    fn taking_a_secret_over_wipes_the_source() {
        let mut source = known();
        assert_eq!(SecretBytes::take_from(&mut source).expose(), &known());
        assert_eq!(source, [0; 32]);
        #[cfg(feature = "alloc")]
        {
            let mut source = known();
            assert_eq!(SecretVec::take_from(&mut source).expose(), known());
            assert_eq!(source, [0; 32]);
        }
    }

    #[test]
    fn a_slice_of_another_length_is_no_secret_of_this_one() {
        assert!(SecretBytes::<32>::try_copied_from(&[1; 31]).is_none());
        assert!(SecretBytes::<32>::try_copied_from(&[1; 33]).is_none());
        assert!(SecretBytes::<32>::try_copied_from(&[1; 32]).is_some());
    }
}
