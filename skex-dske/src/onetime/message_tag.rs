//! The tag of a message between a client and a hub.

use core::fmt;

use super::Tag;
use super::gf128::{Gf128, evaluate};

/// A key of 32 bytes that tags or verifies one message, and is spent by it.
///
/// With the key (c, d), two elements of GF(2^128), the tag of the message y_2 .. y_s is
///
/// ```text
/// d + sum over j = 1 .. s of c^j y_j
/// ```
///
/// (draft-mwag-dske-02). The first element y_1 is our addition: 8 zero bytes and the length of the message in
/// bytes as 8 bytes, big-endian. The others are the message, padded with zeros to whole elements. Without the
/// length a message and the same message with zeros after it would have one tag. A forger who saw one tag
/// succeeds with probability at most `s / 2^128` a try.
pub struct MessageTagKey(Elements);

/// The receiver's side of a [`MessageTagKey`]: verifies as often as there are candidates for the one message.
///
/// Every forged message that is tried has its own chance of at most `s / 2^128`; the caller limits the tries.
pub struct MessageVerificationKey(Elements);

/// The pad bytes for a key were all zero: they were used and erased before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the one-time key was erased")]
#[non_exhaustive]
pub struct SpentKey;

impl MessageTagKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// Makes a key of 32 bytes of pad, which must serve no other purpose.
    ///
    /// # Errors
    /// [`SpentKey`] if they are all zero.
    pub fn from_pad(pad: &[u8; Self::LEN]) -> Result<Self, SpentKey> {
        Elements::from_pad(pad).map(Self)
    }

    /// The tag of the message that `parts` make one after the other.
    #[must_use]
    pub fn tag(self, parts: &[&[u8]]) -> Tag {
        self.0.tag(parts)
    }

    /// Whether `tag` is the tag of the message that `parts` make one after the other.
    #[must_use]
    pub fn verify(self, parts: &[&[u8]], tag: &Tag) -> bool {
        self.0.tag(parts) == *tag
    }
}

impl MessageVerificationKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// Makes a key of 32 bytes of pad, which must serve no other purpose.
    ///
    /// # Errors
    /// [`SpentKey`] if they are all zero.
    pub fn from_pad(pad: &[u8; Self::LEN]) -> Result<Self, SpentKey> {
        Elements::from_pad(pad).map(Self)
    }

    /// Whether `tag` is the tag of the message that `parts` make one after the other.
    #[must_use]
    pub fn verify(&self, parts: &[&[u8]], tag: &Tag) -> bool {
        self.0.tag(parts) == *tag
    }
}

impl fmt::Debug for MessageTagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageTagKey(..)")
    }
}

impl fmt::Debug for MessageVerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageVerificationKey(..)")
    }
}

/// The pair (c, d).
struct Elements {
    point: Gf128,
    constant: Gf128,
}

impl Elements {
    fn from_pad(pad: &[u8; 32]) -> Result<Self, SpentKey> {
        let ([point, constant], _) = pad.as_chunks() else { return Err(SpentKey) };
        let key = Self { point: Gf128::from_bytes(*point), constant: Gf128::from_bytes(*constant) };
        if key.point.is_zero() & key.constant.is_zero() { Err(SpentKey) } else { Ok(key) }
    }

    fn tag(&self, parts: &[&[u8]]) -> Tag {
        let length = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        Tag::from_bytes(evaluate(&self.point, &self.constant, |polynomial| {
            polynomial.prepend_padding(length);
            for part in parts.iter().rev() {
                polynomial.prepend(part);
            }
            polynomial.prepend(&u128::try_from(length).unwrap_or(u128::MAX).to_be_bytes());
        }))
    }
}
