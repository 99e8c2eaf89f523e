//! The unmediated key schedule: enrolment, epochs, handshakes, and every tag.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Hex;
use crate::common::{case, file, group};

/// A handshake, from the chain key of the epoch that it ends to that of the one that it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Handshake {
    /// The epoch that it ends.
    pub epoch: u64,
    /// The suite of that epoch.
    pub suite: u8,
    /// EB, 32 octets.
    pub binding: Hex,
    /// CK of that epoch, as long as the hash of its suite.
    pub chain_key: Hex,
    /// The side of the initiator, `a` or `b`.
    pub initiator: String,
    /// The initiator's pseudonym, 8 octets.
    pub pseudonym: Hex,
    /// The key k1 of the initiator, 32 octets.
    pub mac_key: Hex,
    /// The body of the first message.
    pub first_body: Hex,
    /// MAC1, 16 octets.
    pub mac1: Hex,
    /// H1.
    pub h1: Hex,
    /// The body of the second message.
    pub second_body: Hex,
    /// H2.
    pub h2: Hex,
    /// TH.
    pub transcript_hash: Hex,
    /// The block of fresh secret material that the second message chooses, 32 octets; `None` for none.
    pub block: Option<Hex>,
    /// What is mixed in of it, as long as the hash; `None` for no block.
    pub mix_key: Option<Hex>,
    /// MS.
    pub master_secret: Hex,
    /// MAC2, 16 octets.
    pub mac2: Hex,
    /// The third message, short form, 27 octets: MAC3 are the last 16.
    pub third: Hex,
    /// The third message, long form: the guard tag is the last 8 octets.
    pub long_third: Hex,
    /// The fourth message that says good, 27 octets: MAC4 are the last 16.
    pub fourth_good: Hex,
    /// The fourth message that says void, 27 octets.
    pub fourth_void: Hex,
    /// The stale notice that this first message would draw, 26 octets.
    pub stale_notice: Hex,
    /// The suite of the next epoch, which the second message names.
    pub next_suite: u8,
    /// The session id, 16 octets.
    pub session_id: Hex,
    /// XC of side a at position 0, as long as the hash of the next suite.
    pub export_a: Hex,
    /// XC of side b at position 0.
    pub export_b: Hex,
    /// CK of the next epoch.
    pub next_chain_key: Hex,
}

case! {
    /// An enrolment.
    EnrolmentTest {
        /// The enrolment secret ES.
        secret: Hex,
        /// The name of side a.
        name_a: Hex,
        /// The name of side b.
        name_b: Hex,
        /// The lane.
        lane: u8,
        /// The context.
        context: Hex,
        /// EB, 32 octets; `None` where the enrolment is refused.
        binding: Option<Hex>,
        /// CK of epoch 0; `None` where the enrolment is refused.
        chain_key: Option<Hex>,
    }
}

case! {
    /// What an epoch has before any handshake.
    EpochTest {
        /// The epoch.
        epoch: u64,
        /// Its chain key.
        chain_key: Hex,
        /// The pseudonym of side a, 8 octets.
        pseudonym_a: Hex,
        /// The pseudonym of side b, 8 octets.
        pseudonym_b: Hex,
        /// k1 of side a, 32 octets.
        mac_key_a: Hex,
        /// k1 of side b, 32 octets.
        mac_key_b: Hex,
    }
}

case! {
    /// A handshake.
    HandshakeTest {
        /// Every value of it.
        handshake: Handshake,
    }
}

case! {
    /// A tag.
    TagTest {
        /// Of which message: `FIRST`, `SECOND`, `THIRD`, `THIRD_LONG` (its guard tag), `FOURTH` or `STALE`.
        message_type: String,
        /// The key: k1 of the initiator, or MS for `SECOND`, `THIRD` and `FOURTH`.
        key: Hex,
        /// H1 for `STALE`, otherwise empty.
        after: Hex,
        /// The message with its tag.
        octets: Hex,
    }
}

case! {
    /// A responder's nonce (informative).
    NonceTest {
        /// BK, 32 octets.
        boot_key: Hex,
        /// The epoch.
        epoch: u64,
        /// The time slot.
        slot: u64,
        /// The flags of the second message.
        second_flags: u8,
        /// The suite that the second message names.
        next_suite: u8,
        /// The octets that H1 is the hash of: a first message, here any.
        first: Hex,
        /// H1.
        h1: Hex,
        /// The extension block of the second message.
        extension: Hex,
        /// Nr, 16 octets.
        nonce: Hex,
    }
}

case! {
    /// What a first message offers of fresh secret material.
    OfferTest {
        /// The epoch.
        epoch: u64,
        /// Its chain key.
        chain_key: Hex,
        /// The side of the initiator, `a` or `b`.
        initiator: String,
        /// Ni, 16 octets.
        nonce: Hex,
        /// The blocks, one or two, of 32 octets.
        blocks: Vec<Hex>,
        /// The reference to each, 8 octets.
        references: Vec<Hex>,
        /// What fills places for which there is no block, 16 octets before references overwrite the front.
        filling: Hex,
        /// The extension block.
        extension: Hex,
    }
}

case! {
    /// A cookie (informative).
    CookieTest {
        /// BK, 32 octets.
        boot_key: Hex,
        /// The number of the path.
        path: u64,
        /// The time slot.
        slot: u64,
        /// The octets that H1 is the hash of: a first message, here any.
        first: Hex,
        /// H1.
        h1: Hex,
        /// The cookie, 16 octets.
        cookie: Hex,
    }
}

group! {
    /// Enrolments.
    EnrolmentGroup(EnrolmentTest) {
        /// The suite of epoch 0.
        suite: u8,
    }
}

group! {
    /// Epochs.
    EpochGroup(EpochTest) {
        /// The suite of the epochs.
        suite: u8,
    }
}

group! {
    /// Handshakes.
    HandshakeGroup(HandshakeTest) {
        /// The suite of the epochs that they end.
        suite: u8,
    }
}

group! {
    /// Tags.
    TagGroup(TagTest) {
        /// The suite of the epochs.
        suite: u8,
    }
}

group! {
    /// Responders' nonces (informative).
    NonceGroup(NonceTest) {
        /// The suite of the epochs.
        suite: u8,
    }
}

group! {
    /// Offers of fresh secret material.
    OfferGroup(OfferTest) {
        /// The suite of the epochs.
        suite: u8,
    }
}

group! {
    /// Cookies (informative).
    CookieGroup(CookieTest) {
        /// The suite of the epoch in which the cookie is made.
        suite: u8,
    }
}

file!("unmediated-keys", {
    /// Enrolments.
    Enrolment(EnrolmentGroup),
    /// Epochs.
    Epoch(EpochGroup),
    /// Handshakes.
    Handshake(HandshakeGroup),
    /// Tags.
    Tag(TagGroup),
    /// Responders' nonces (informative).
    Nonce(NonceGroup),
    /// Offers of fresh secret material.
    Offer(OfferGroup),
    /// Cookies (informative).
    Cookie(CookieGroup),
});
