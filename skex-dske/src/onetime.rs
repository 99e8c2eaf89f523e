//! One-time tags: polynomials over GF(2^128) in a point that is used once (Wegman and Carter, 1981).
//!
//! Both tags are information-theoretically secure, and only as long as a key serves one message. Keys are
//! therefore consumed by the call that makes a tag.

mod gf128;
mod message_tag;
mod secret_tag;

use core::fmt;

use subtle::ConstantTimeEq;

pub use message_tag::{MessageTagKey, MessageVerificationKey, SpentKey};
pub use secret_tag::SecretTagKey;

/// A one-time tag: one element of GF(2^128) in GCM's encoding, 16 bytes. Public.
///
/// Compares in constant time, so that a forger learns nothing from how long a refusal takes.
#[derive(Clone, Copy)]
pub struct Tag([u8; Self::LEN]);

impl Tag {
    /// Bytes of a tag.
    pub const LEN: usize = 16;

    /// The tag with these bytes, as received.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes of the tag, to be sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Tag {}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:032x})", u128::from_be_bytes(self.0))
    }
}
