//! What a datagram carries.

use super::{Hello, HelloRequest, OuterType, Sealed, Tagged, VERSION};
use crate::{DecodeError, DecodeErrorKind, Reader};

/// An outer message, told apart by its first octet: the version in the high four bits, the type in the low four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outer<'a> {
    /// HELLO.
    Hello(Tagged<'a, Hello>),
    /// HELLO_REPLY.
    HelloReply(Tagged<'a, Hello>),
    /// SEALED or SEALED_FRESH.
    Sealed(Sealed<'a>),
    /// HELLO_REQUEST.
    HelloRequest(Tagged<'a, HelloRequest>),
}

impl<'a> Outer<'a> {
    /// Reads a whole outer message.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownVersion`], [`DecodeErrorKind::UnknownType`], or what the message's own decoder says.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let start = Reader::new(bytes);
        match outer_type(&mut start.clone())? {
            OuterType::HELLO => Hello::decode(bytes).map(Self::Hello),
            OuterType::HELLO_REPLY => Hello::decode(bytes).map(Self::HelloReply),
            OuterType::SEALED | OuterType::SEALED_FRESH => Sealed::decode(bytes).map(Self::Sealed),
            OuterType::HELLO_REQUEST => HelloRequest::decode(bytes).map(Self::HelloRequest),
            _ => Err(start.error(DecodeErrorKind::UnknownType)),
        }
    }

    /// The client id, which every outer message carries in clear.
    #[must_use]
    pub const fn client_id(&self) -> u32 {
        match self {
            Self::Hello(hello) => hello.message.client_id,
            Self::HelloReply(reply) => reply.message.client_id,
            Self::Sealed(sealed) => sealed.header.client_id,
            Self::HelloRequest(request) => request.message.client_id,
        }
    }
}

/// The first octet of an outer message.
pub(super) const fn outer_octet(outer_type: OuterType) -> u8 {
    VERSION << 4 | outer_type.value() & 0x0f
}

/// Reads the first octet of an outer message of this version.
pub(super) fn outer_type(reader: &mut Reader<'_>) -> Result<OuterType, DecodeError> {
    let start = reader.clone();
    let octet = reader.u8()?;
    if octet >> 4 == VERSION {
        Ok(OuterType::new(octet & 0x0f))
    } else {
        Err(start.error(DecodeErrorKind::UnknownVersion))
    }
}

/// Reads the first octet of an outer message of this version and the type `expected`.
pub(super) fn expect_outer(reader: &mut Reader<'_>, expected: OuterType) -> Result<(), DecodeError> {
    let start = reader.clone();
    if outer_type(reader)? == expected { Ok(()) } else { Err(start.error(DecodeErrorKind::UnknownType)) }
}
