//! The keys that both protocols yield: an identity, an index, an assurance, and the secret.

use core::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroize;

#[cfg(feature = "alloc")]
use crate::SecretVec;
use crate::{Label, SecretBytes};

/// The longest secret that needs no allocator, in octets.
pub const MAX_INLINE_KEY_LEN: usize = 64;

/// What names a key, the same at both ends: 16 octets. The unmediated protocol puts its session id here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// The id with these octets.
    #[must_use]
    pub const fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// What the secrecy of a key rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Assurance {
    /// On the strength of ciphers and hashes.
    Computational,
    /// On nothing but the secrecy of what was shared before (and, in DSKE, on fewer than k lying hubs).
    InformationTheoretic,
}

impl Assurance {
    /// What a key has that was made from both: the weaker of the two.
    #[must_use]
    pub fn weakest(self, other: Self) -> Self {
        self.min(other)
    }
}

/// The octets of an output key: up to [`MAX_INLINE_KEY_LEN`] inline, longer ones (feature `alloc`) on the heap, and all that
/// [`Self::on_heap`] makes.
/// Wiped on drop, like all secrets.
#[derive(Debug)]
pub struct KeyBytes(Storage);

enum Storage {
    // The length is at most MAX_INLINE_KEY_LEN: every constructor sees to it.
    Inline {
        bytes: SecretBytes<MAX_INLINE_KEY_LEN>,
        len: u8,
    },
    #[cfg(feature = "alloc")]
    Heap(SecretVec),
}

impl KeyBytes {
    /// A key of `len` octets that `fill` writes in place; it starts as zeros. `None` where `len` is 0, or above
    /// [`MAX_INLINE_KEY_LEN`] without the feature `alloc`.
    #[must_use]
    pub fn from_fn(len: usize, fill: impl FnOnce(&mut [u8])) -> Option<Self> {
        let mut key = match u8::try_from(len) {
            Ok(0) => return None,
            Ok(inline) if len <= MAX_INLINE_KEY_LEN => {
                Self(Storage::Inline { bytes: SecretBytes::zeroed(), len: inline })
            }
            #[cfg(feature = "alloc")]
            _ => Self(Storage::Heap(SecretVec::zeroed(len))),
            #[cfg(not(feature = "alloc"))]
            _ => return None,
        };
        fill(key.expose_mut());
        Some(key)
    }

    /// Copies the octets. The source stays the caller's to wipe. `None` as for [`Self::from_fn`].
    #[must_use]
    pub fn copied_from(source: &[u8]) -> Option<Self> {
        Self::from_fn(source.len(), |bytes| bytes.copy_from_slice(source))
    }

    /// Copies the octets to the heap, however few they are: a key that is moved, into a queue and out of it perhaps, leaves no copy where it was.
    /// The source stays the caller's to wipe. `None` where there are no octets.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn on_heap(source: &[u8]) -> Option<Self> {
        (!source.is_empty()).then(|| Self(Storage::Heap(SecretVec::copied_from(source))))
    }

    /// Octets. The length is public.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a key is never empty")]
    pub const fn len(&self) -> usize {
        match &self.0 {
            Storage::Inline { len, .. } => *len as usize,
            #[cfg(feature = "alloc")]
            Storage::Heap(bytes) => bytes.len(),
        }
    }

    /// The octets: the single exit.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Storage::Inline { bytes, len } => bytes.expose().get(..usize::from(*len)).unwrap_or_default(),
            #[cfg(feature = "alloc")]
            Storage::Heap(bytes) => bytes.expose(),
        }
    }

    fn expose_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Storage::Inline { bytes, len } => {
                bytes.expose_mut().get_mut(..usize::from(*len)).unwrap_or_default()
            }
            #[cfg(feature = "alloc")]
            Storage::Heap(bytes) => bytes.expose_mut(),
        }
    }
}

impl<const N: usize> From<&SecretBytes<N>> for KeyBytes {
    /// Copies a secret of at most [`MAX_INLINE_KEY_LEN`] octets, and at least one (checked when compiled).
    fn from(secret: &SecretBytes<N>) -> Self {
        const { assert!(N > 0 && N <= MAX_INLINE_KEY_LEN) };
        let mut bytes = SecretBytes::zeroed();
        for (to, from) in bytes.expose_mut().iter_mut().zip(secret.expose()) {
            *to = *from;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
        Self(Storage::Inline { bytes, len: N as u8 })
    }
}

impl PartialEq for KeyBytes {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.expose(), other.expose()).into()
    }
}

impl Eq for KeyBytes {}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// A key that a protocol established. Whoever holds it may use it once, for one purpose: exporters take it by
/// value.
///
/// Two are equal if they are the same key; whether it is confirmed is what one end knows of it.
#[derive(Debug)]
pub struct OutputKey {
    id: KeyId,
    index: u64,
    assurance: Assurance,
    confirmed: bool,
    secret: KeyBytes,
}

impl OutputKey {
    /// A key with its identity: `id` and `index` together name it at both ends. It is not confirmed.
    #[must_use]
    pub const fn new(id: KeyId, index: u64, assurance: Assurance, secret: KeyBytes) -> Self {
        Self { id, index, assurance, confirmed: false, secret }
    }

    /// The same key, of which the peer has shown that it holds it. Only the protocol that made the key says so, or
    /// an embedder whose own protocol verified the peer under the key.
    #[must_use]
    pub fn confirmed(self) -> Self {
        Self { confirmed: true, ..self }
    }

    /// Whether the peer has shown that it holds this key. Only such a key can be exported
    /// ([`Exporter`](crate::export::Exporter)).
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// The identity of the exchange that made it.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Which key of that exchange it is.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// What its secrecy rests on.
    #[must_use]
    pub const fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// The secret, borrowed.
    #[must_use]
    pub const fn secret(&self) -> &KeyBytes {
        &self.secret
    }

    /// The secret alone: the key is used up.
    #[must_use]
    pub fn into_secret(self) -> KeyBytes {
        self.secret
    }

    /// Eight octets to compare at the two ends, by an operator or in a log: the front of SHA-256 over the length
    /// of the label, the label, the id, the index (eight octets, big endian) and the secret.
    ///
    /// It is one-way, and shows nothing that ciphers do not protect. But it is a hash of the key: where it is
    /// shown to somebody, the key is no longer information-theoretically secret from them.
    #[must_use]
    pub fn fingerprint(&self, label: Label) -> Fingerprint {
        let mut whole: [u8; 32] = Sha256::new()
            .chain_update([label.len_octet()])
            .chain_update(label.as_bytes())
            .chain_update(self.id.as_bytes())
            .chain_update(self.index.to_be_bytes())
            .chain_update(self.secret.expose())
            .finalize()
            .into();
        let mut first = [0; 8];
        first.copy_from_slice(&whole[..8]);
        whole.zeroize();
        Fingerprint(first)
    }
}

impl PartialEq for OutputKey {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.index, self.assurance) == (other.id, other.index, other.assurance)
            && self.secret == other.secret
    }
}

impl Eq for OutputKey {}

/// Eight octets that are equal at two ends that hold the same key. Shown as four groups of four hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i] = self.0;
        write!(f, "{a:02x}{b:02x} {c:02x}{d:02x} {e:02x}{g:02x} {h:02x}{i:02x}")
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{format, string::ToString, vec::Vec};

    fn key(octet: u8, index: u64) -> OutputKey {
        let secret = KeyBytes::copied_from(&[octet; 32]).unwrap();
        OutputKey::new(KeyId::new([9; 16]), index, Assurance::Computational, secret)
    }

    #[test]
    fn a_key_made_from_both_has_the_weaker_assurance() {
        use Assurance::{Computational, InformationTheoretic};
        assert_eq!(InformationTheoretic.weakest(InformationTheoretic), InformationTheoretic);
        assert_eq!(InformationTheoretic.weakest(Computational), Computational);
        assert_eq!(Computational.weakest(InformationTheoretic), Computational);
    }

    #[test]
    fn fingerprints_are_equal_for_the_same_key_under_the_same_label_only() {
        let one = key(0xd7, 0).fingerprint(Label::FINGERPRINT);
        assert_eq!(one, key(0xd7, 0).fingerprint(Label::FINGERPRINT));
        assert_ne!(one, key(0xd7, 1).fingerprint(Label::FINGERPRINT));
        assert_ne!(one, key(0xd6, 0).fingerprint(Label::FINGERPRINT));
        assert_ne!(one, key(0xd7, 0).fingerprint(Label::EXPORT_RAW));
    }

    /// Computed with Python's hashlib.
    #[test]
    fn a_fingerprint_is_the_front_of_the_labelled_hash() {
        assert_eq!(key(0xd7, 3).fingerprint(Label::FINGERPRINT).to_string(), "59db 689c 1b0a d0e2");
    }

    #[test]
    fn a_key_is_confirmed_by_word_only_and_stays_the_same_key() {
        assert!(!key(0xd7, 0).is_confirmed());
        assert!(key(0xd7, 0).confirmed().is_confirmed());
        assert_eq!(key(0xd7, 0), key(0xd7, 0).confirmed());
    }

    #[test]
    fn a_fingerprint_is_read_aloud_in_groups() {
        assert_eq!(
            Fingerprint([0, 1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd]).to_string(),
            "0001 2345 6789 abcd"
        );
    }

    #[test]
    fn debug_of_a_key_shows_its_name_and_nothing_of_its_secret() {
        for shown in [format!("{:?}", key(0xd7, 3)), format!("{:#02x?}", key(0xd7, 3))] {
            assert!(!shown.contains("d7") && !shown.contains("215"), "{shown}");
            assert!(shown.contains(&KeyId::new([9; 16]).to_string()));
        }
    }

    #[test]
    fn keys_are_as_long_as_asked_for() {
        assert!(KeyBytes::copied_from(&[]).is_none());
        for len in (1..=MAX_INLINE_KEY_LEN).chain(cfg!(feature = "alloc").then_some(1 << 20)) {
            let octets: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
            assert_eq!(KeyBytes::copied_from(&octets).unwrap().expose(), octets);
        }
        assert_eq!(KeyBytes::copied_from(&[1; MAX_INLINE_KEY_LEN + 1]).is_some(), cfg!(feature = "alloc"));
    }
}
