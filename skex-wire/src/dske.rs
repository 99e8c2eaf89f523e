//! Messages of distributed symmetric key establishment (DSKE), as `docs/draft-skex-dske.md` lays them out.
//!
//! Two layers. An **outer** message is what a datagram carries: a hello, its reply, the request for one, or a sealed
//! envelope ([`Outer`]). An **inner** message is the plaintext of an envelope ([`Inner`]). Integers are big endian; an
//! [element](ELEMENT_LEN) is 16 octets; positions in a table count elements.
//!
//! Whatever ends in a tag comes from the decoder as [`Tagged`]: the fields, the octets that the tag covers, and the tag,
//! unverified. To write such a message, encode it without the tag, compute the tag over the octets written, append it:
//!
//! ```
//! use skex_wire::Writer;
//! use skex_wire::dske::{LeaseGrant, TAG_LEN};
//!
//! let grant = LeaseGrant::new(0, [7; 16], 1000, 5096);
//! let mut buffer = [0; LeaseGrant::LEN];
//! let mut writer = Writer::new(&mut buffer);
//! grant.encode_untagged(&mut writer)?;
//! let tag = [0xee; TAG_LEN]; // from the one-time key, over `writer.written()`
//! writer.bytes(&tag)?;
//!
//! let read = LeaseGrant::decode(&buffer)?;
//! assert_eq!(read.message, grant);
//! assert_eq!(read.tag, tag);
//! assert_eq!(read.untagged.len() + TAG_LEN, LeaseGrant::LEN);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! A decoder accepts exactly one encoding of each message. Values that a later version may give a meaning (suites,
//! statuses) survive; whether they are acceptable is the receiver's policy.

mod answer;
mod bitmap;
mod busy;
mod code;
mod command;
mod confirm;
mod confirmation;
mod context;
mod fetch;
mod fetched;
mod hello;
mod hello_request;
mod inner;
mod lease_denied;
mod lease_grant;
mod lease_request;
mod offer;
mod outcome;
mod outer;
mod refill;
mod refilled;
mod sealed;
mod several;
mod share;
mod size;
mod tagged;
mod terms;

pub use crate::limits::{
    ELEMENT_LEN, MAX_DSKE_KEY_LEN, MAX_DSKE_MESSAGE_LEN, MAX_HUBS, MAX_NAME_LEN, MAX_SEVERAL_LEN,
    MIN_DSKE_KEY_LEN, TAG_LEN,
};
pub use answer::Answer;
pub use bitmap::{bitmap_bit, bitmap_fits, bitmap_len};
pub use busy::Busy;
pub use code::{AnswerStatus, Direction, DskeSuiteId, InnerType, OutcomeStatus, OuterType, TableOrigin};
pub use command::{Command, CommandBody};
pub use confirm::Confirm;
pub use confirmation::Confirmation;
pub use context::{context_len, encode_context};
pub use fetch::Fetch;
pub use fetched::Fetched;
pub use hello::Hello;
pub use hello_request::HelloRequest;
pub use inner::Inner;
pub use lease_denied::LeaseDenied;
pub use lease_grant::LeaseGrant;
pub use lease_request::LeaseRequest;
pub use offer::Offer;
pub use outcome::{Found, Outcome};
pub use outer::Outer;
pub use refill::Refill;
pub use refilled::Refilled;
pub use sealed::{Sealed, SealedHeader};
pub use several::Several;
pub use share::{BlockPosition, ShareMessage};
pub use size::{block_elements, share_elements};
pub use tagged::{TAG_PREFIX_LEN, Tagged, tag_prefix};
pub use terms::Terms;

/// The version of the protocol, in the high four bits of the first octet of every outer message, and the first octet of
/// the context.
pub const VERSION: u8 = 1;

/// Reads the inner type that begins every inner message.
fn expect_type(reader: &mut crate::Reader<'_>, expected: InnerType) -> Result<(), crate::DecodeError> {
    let start = reader.clone();
    if reader.u8()? == expected.value() {
        Ok(())
    } else {
        Err(start.error(crate::DecodeErrorKind::UnknownType))
    }
}
