//! The plaintext of an envelope.

use super::{
    Answer, Busy, Command, Confirm, Fetch, Fetched, InnerType, LeaseDenied, LeaseGrant, LeaseRequest,
    Outcome, Refill, Refilled, Several, ShareMessage, Tagged,
};
use crate::{DecodeError, DecodeErrorKind, Reader};

/// An inner message, told apart by its first octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inner<'a> {
    /// LEASE_REQUEST.
    LeaseRequest(LeaseRequest),
    /// LEASE_GRANT.
    LeaseGrant(Tagged<'a, LeaseGrant>),
    /// LEASE_DENIED.
    LeaseDenied(LeaseDenied),
    /// UPLOAD, DELIVERY, UPLOAD_SEALED or DELIVERY_SEALED.
    Share(Tagged<'a, ShareMessage<'a>>),
    /// ANSWER or ANSWER_SEALED.
    Answer(Tagged<'a, Answer<'a>>),
    /// BUSY.
    Busy(Busy),
    /// CONFIRM.
    Confirm(Confirm<'a>),
    /// FETCH.
    Fetch(Fetch),
    /// FETCHED.
    Fetched(Fetched),
    /// LOOKUP, PUBLISH, WITHDRAW or AUTHORISE.
    Command(Tagged<'a, Command<'a>>),
    /// OUTCOME.
    Outcome(Tagged<'a, Outcome<'a>>),
    /// REFILL.
    Refill(Refill<'a>),
    /// REFILLED.
    Refilled(Refilled),
    /// SEVERAL.
    Several(Several<'a>),
}

impl<'a> Inner<'a> {
    /// Reads a whole inner message.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownType`], or what the message's own decoder says.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let start = Reader::new(bytes);
        match InnerType::new(start.clone().u8()?) {
            InnerType::LEASE_REQUEST => LeaseRequest::decode(bytes).map(Self::LeaseRequest),
            InnerType::LEASE_GRANT => LeaseGrant::decode(bytes).map(Self::LeaseGrant),
            InnerType::LEASE_DENIED => LeaseDenied::decode(bytes).map(Self::LeaseDenied),
            InnerType::UPLOAD
            | InnerType::DELIVERY
            | InnerType::UPLOAD_SEALED
            | InnerType::DELIVERY_SEALED => ShareMessage::decode(bytes).map(Self::Share),
            InnerType::ANSWER | InnerType::ANSWER_SEALED => Answer::decode(bytes).map(Self::Answer),
            InnerType::BUSY => Busy::decode(bytes).map(Self::Busy),
            InnerType::CONFIRM => Confirm::decode(bytes).map(Self::Confirm),
            InnerType::FETCH => Fetch::decode(bytes).map(Self::Fetch),
            InnerType::FETCHED => Fetched::decode(bytes).map(Self::Fetched),
            InnerType::LOOKUP | InnerType::PUBLISH | InnerType::WITHDRAW | InnerType::AUTHORISE => {
                Command::decode(bytes).map(Self::Command)
            }
            InnerType::OUTCOME => Outcome::decode(bytes).map(Self::Outcome),
            InnerType::REFILL => Refill::decode(bytes).map(Self::Refill),
            InnerType::REFILLED => Refilled::decode(bytes).map(Self::Refilled),
            InnerType::SEVERAL => Several::decode(bytes).map(Self::Several),
            _ => Err(start.error(DecodeErrorKind::UnknownType)),
        }
    }
}
