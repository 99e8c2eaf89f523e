//! Messages of DSKE, octet by octet.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Hex;
use crate::common::{case, file, group};

/// The confirmation in an ANSWER or a CONFIRM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Confirmation {
    /// The bitmap of the responder's table origins.
    pub origins: Hex,
    /// The bitmap of the hubs that lied.
    pub lying: Hex,
    /// The responder's tag, 16 octets.
    pub tag: Hex,
}

/// What a client accepts, in a PUBLISH or an OUTCOME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Offer {
    /// The smallest threshold.
    pub minimum_threshold: u8,
    /// Whether a key must be information-theoretic.
    pub information_theoretic: bool,
    /// The longest lifetime, in seconds.
    pub maximum_lifetime: u16,
    /// The suites, ascending.
    pub suites: Vec<u8>,
    /// The coordinates of its hubs, ascending.
    pub coordinates: Vec<u8>,
}

/// Whom a LOOKUP found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Found {
    /// The client tag, 16 octets.
    pub client: Hex,
    /// What it published there, if anything.
    pub offer: Option<Offer>,
}

/// The terms of a key in an UPLOAD or a DELIVERY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Terms {
    /// The suite.
    pub suite: u8,
    /// The threshold.
    pub threshold: u8,
    /// Octets of the key.
    pub key_length: u32,
    /// Seconds.
    pub lifetime: u16,
    /// The coordinates; their number is the number of hubs.
    pub coordinates: Vec<u8>,
    /// The bitmap of the initiator's table origins.
    pub origins: Hex,
}

/// What an UPLOAD or a DELIVERY holds before its tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ShareFields {
    /// The table.
    pub table: u16,
    /// The first element of the block.
    pub index: u32,
    /// The floor.
    pub floor: u32,
    /// The key id, 16 octets.
    pub key_id: Hex,
    /// The client tag of the other end, 16 octets.
    pub peer: Hex,
    /// The terms.
    pub terms: Terms,
    /// The secret tag o, 16 octets.
    pub secret_tag: Hex,
    /// The share; empty in a direct UPLOAD.
    pub share: Hex,
}

/// The fields of a message, as a decoder gives them. `tag` is what stands at its end, not verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields of the specification's diagrams, by the same names")]
pub enum Message {
    /// Outer message 1.
    Hello { client_id: u32, salt: Hex, tag: Hex },
    /// Outer message 2.
    HelloReply { client_id: u32, salt: Hex, tag: Hex },
    /// Outer message 3.
    Sealed { client_id: u32, seq: u32, ciphertext: Hex, tag: Hex },
    /// Outer message 4.
    SealedFresh { client_id: u32, salt: Hex, seq: u32, ciphertext: Hex, tag: Hex },
    /// Outer message 5.
    HelloRequest { client_id: u32, tag: Hex },
    /// Inner message 1.
    LeaseRequest { table: u16, nonce: Hex, mark: u32, want: u32 },
    /// Inner message 2.
    LeaseGrant { table: u16, nonce: Hex, start: u32, end: u32, tag: Hex },
    /// Inner message 3.
    LeaseDenied { table: u16, nonce: Hex, mark: u32 },
    /// Inner message 4.
    Upload { fields: ShareFields, tag: Hex },
    /// Inner message 5.
    Delivery { fields: ShareFields, tag: Hex },
    /// Inner message 6.
    Answer { table: u16, index: u32, status: u8, confirmation: Option<Confirmation>, tag: Hex },
    /// Inner message 7.
    Busy { table: u16, index: u32 },
    /// Inner message 8.
    Confirm { key_id: Hex, peer: Hex, confirmation: Confirmation },
    /// Inner message 9.
    Fetch {},
    /// Inner message 10.
    Fetched { waiting: u16 },
    /// Inner message 14: the messages in it, not decoded.
    Several { messages: Vec<Hex> },
    /// Inner message 20.
    Refill { direction: u8, table: u16, elements: u32, first: u32, pad: Hex },
    /// Inner message 21.
    Refilled { direction: u8, table: u16, next: u32 },
    /// Inner message 30.
    Lookup { table: u16, index: u32, floor: u32, name: Hex, tag: Hex },
    /// Inner message 31.
    Publish { table: u16, index: u32, floor: u32, offer: Option<Offer>, tag: Hex },
    /// Inner message 32.
    Withdraw { table: u16, index: u32, floor: u32, key_id: Hex, tag: Hex },
    /// Inner message 33.
    Authorise { table: u16, index: u32, floor: u32, allowed: bool, client: Hex, tag: Hex },
    /// Inner message 34.
    Outcome { table: u16, index: u32, status: u8, found: Option<Found>, tag: Hex },
}

case! {
    /// An outer message: a datagram. Its tags are those of the file `dske-envelope`.
    OuterTest {
        /// The datagram.
        octets: Hex,
        /// What it says; `None` where the decoder refuses it.
        message: Option<Message>,
    }
}

case! {
    /// An inner message: the plaintext of an envelope.
    InnerTest {
        /// The direction of the message: 0 uplink, 1 downlink.
        direction: u8,
        /// The one-time key of its tag, 32 octets; `None` for a message without one-time tag.
        tag_key: Option<Hex>,
        /// The octets under the one-time tag; `None` for a message without, or one that the decoder refuses.
        tag_input: Option<Hex>,
        /// The message.
        octets: Hex,
        /// What it says; `None` where the decoder refuses it.
        message: Option<Message>,
    }
}

group! {
    /// Outer messages.
    OuterGroup(OuterTest) {}
}

group! {
    /// Inner messages on one link.
    InnerGroup(InnerTest) {
        /// The client id of the link.
        client_id: u32,
        /// The hub id of the link, 16 octets.
        hub_id: Hex,
        /// The number of hubs of the key that answers and confirmations are about.
        hubs: u8,
    }
}

file!("dske-wire", {
    /// Outer messages.
    Outer(OuterGroup),
    /// Inner messages.
    Inner(InnerGroup),
});
