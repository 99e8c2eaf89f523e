//! What can be wrong with bytes, and with the room for them.
//!
//! Both errors are small, `Copy`, and carry no byte of the input: an error may be logged without showing what
//! an attacker, or a secret, put there.

use core::fmt;

/// The bytes are not what the specification allows at this place.
///
/// Anybody can cause this error, so it changes nothing but a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at octet {offset}")]
#[non_exhaustive]
pub struct DecodeError {
    /// What was wrong.
    pub kind: DecodeErrorKind,
    /// Where: octets from the start of what the reader was given.
    pub offset: usize,
}

impl DecodeError {
    /// An error of `kind`, `offset` octets from the start of the input.
    #[must_use]
    pub const fn new(kind: DecodeErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends before the value does.
    Truncated,
    /// The input goes on after the value.
    TrailingBytes,
    /// A version that is not known here.
    UnknownVersion,
    /// A message or field type that is not known here.
    UnknownType,
    /// A value with a shorter or other form that is the only one allowed.
    NonCanonical,
    /// A length outside its limits.
    BadLength,
    /// A value outside its limits.
    BadValue,
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "input ends too early",
            Self::TrailingBytes => "bytes after the end",
            Self::UnknownVersion => "unknown version",
            Self::UnknownType => "unknown type",
            Self::NonCanonical => "not the canonical form",
            Self::BadLength => "length outside its limits",
            Self::BadValue => "value outside its limits",
        })
    }
}

/// A value could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The buffer has less room than the value needs.
    #[error("buffer too small")]
    BufferTooSmall,
    /// The value is longer than its length field can say, or than its limit.
    #[error("value too long for its length field")]
    ValueTooLong,
}
