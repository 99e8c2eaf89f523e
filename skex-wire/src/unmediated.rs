//! Messages of the unmediated protocol.
//!
//! | type | message | from | octets with two suites, no extension |
//! |---|---|---|---|
//! | 1 | [`FirstMessage`] | initiator | 46 |
//! | 2 | [`SecondMessage`] | responder | 44 |
//! | 3 | [`ThirdMessage`], short | initiator | 27 |
//! | 5 | [`LongThirdMessage`] | initiator | 75 |
//! | 4 | [`FourthMessage`] | responder | 27 |
//! | 6 | [`CookieMessage`] | responder | 26 |
//! | 7 | [`StaleMessage`] | responder | 26 |
//!
//! Octet 0 of each is the version (high four bits) and the type (low four bits), octet 1 the flags. No message is
//! longer than [`MAX_MESSAGE`] octets. Source: `draft-skex-unmediated`, section "Messages".
//!
//! Decoding borrows, and accepts exactly the bytes that encoding writes. So what a tag covers is found by encoding
//! the body again, and a [`LongThirdMessage`] gives back the first and the second message byte for byte.

mod first;
mod fourth;
mod notice;
mod parts;
mod second;
mod third;

#[cfg(test)]
mod tests;

pub use first::FirstMessage;
pub use fourth::{FourthMessage, SessionStatus};
pub use notice::{CookieMessage, StaleMessage};
pub use parts::{Offer, OfferedSuites, Pseudonym};
pub use second::SecondMessage;
pub use third::{LongThirdMessage, ThirdMessage};

use crate::{DecodeError, DecodeErrorKind, Reader};

/// The version of the protocol, in the high four bits of octet 0.
pub const VERSION: u8 = 1;

/// Octets of the longest message.
pub const MAX_MESSAGE: usize = 256;

/// Suites in an offer, at most; there is at least one.
pub const MAX_SUITES: usize = 8;

/// Octets of an extension block, at most.
pub const MAX_EXTENSION: usize = 56;

/// Octets of the reference to a block of fresh secret material.
pub const MIX_REFERENCE_LEN: usize = 8;

/// References in an offer of fresh secret material, always: what is not held is filled up.
pub const MIX_OFFERS: usize = 2;

/// Octets of the extension block of a first message that offers fresh secret material.
pub const MIX_OFFER_LEN: usize = MIX_OFFERS * MIX_REFERENCE_LEN;

/// Octets of a nonce.
pub const NONCE_LEN: usize = 16;

/// Octets of a pseudonym, and of the reference to an attempt.
pub const PSEUDONYM_LEN: usize = 8;

/// Octets of the tag of a message.
pub const TAG_LEN: usize = crate::limits::TAG_LEN;

/// Octets of the guard tag at the end of the long third message.
pub const GUARD_LEN: usize = 8;

/// Octets of a cookie.
pub const COOKIE_LEN: usize = 16;

crate::codepoint! {
    /// Which message, in the low four bits of octet 0.
    pub struct MessageType(u8) {
        /// First message: [`FirstMessage`].
        FIRST = 1;
        /// Second message: [`SecondMessage`].
        SECOND = 2;
        /// Third message, short form: [`ThirdMessage`].
        THIRD = 3;
        /// Fourth message: [`FourthMessage`].
        FOURTH = 4;
        /// Third message, long form: [`LongThirdMessage`].
        THIRD_LONG = 5;
        /// Request to repeat the first message with a cookie: [`CookieMessage`].
        COOKIE = 6;
        /// Notice that the sender of a first message was rolled back: [`StaleMessage`].
        STALE = 7;
    }
}

/// A message, decoded and not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// Type 1.
    First(FirstMessage<'a>),
    /// Type 2.
    Second(SecondMessage<'a>),
    /// Type 3.
    Third(ThirdMessage<'a>),
    /// Type 5.
    LongThird(LongThirdMessage<'a>),
    /// Type 4.
    Fourth(FourthMessage),
    /// Type 6.
    Cookie(CookieMessage),
    /// Type 7.
    Stale(StaleMessage),
}

impl<'a> Message<'a> {
    /// Decodes one whole message.
    ///
    /// # Errors
    /// Whatever is not the one form in which a message of this version is written.
    #[inline(never)]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if bytes.len() > MAX_MESSAGE {
            return Err(reader.error(DecodeErrorKind::BadLength));
        }
        let start = reader.clone();
        let octet = reader.u8()?;
        if octet >> 4 != VERSION {
            return Err(start.error(DecodeErrorKind::UnknownVersion));
        }
        let message = match MessageType::new(octet & 0x0f) {
            MessageType::FIRST => Self::First(FirstMessage::decode_rest(&mut reader)?),
            MessageType::SECOND => Self::Second(SecondMessage::decode_rest(&mut reader)?),
            MessageType::THIRD => Self::Third(ThirdMessage::decode_rest(&mut reader)?),
            MessageType::FOURTH => Self::Fourth(FourthMessage::decode_rest(&mut reader)?),
            MessageType::THIRD_LONG => Self::LongThird(LongThirdMessage::decode_rest(&mut reader)?),
            MessageType::COOKIE => Self::Cookie(CookieMessage::decode_rest(&mut reader)?),
            MessageType::STALE => Self::Stale(StaleMessage::decode_rest(&mut reader)?),
            _ => return Err(start.error(DecodeErrorKind::UnknownType)),
        };
        reader.finish()?;
        Ok(message)
    }

    /// Its type.
    #[must_use]
    pub const fn message_type(&self) -> MessageType {
        match self {
            Self::First(_) => MessageType::FIRST,
            Self::Second(_) => MessageType::SECOND,
            Self::Third(_) => MessageType::THIRD,
            Self::LongThird(_) => MessageType::THIRD_LONG,
            Self::Fourth(_) => MessageType::FOURTH,
            Self::Cookie(_) => MessageType::COOKIE,
            Self::Stale(_) => MessageType::STALE,
        }
    }
}
