//! What a DSKE key is made of: its terms, its context, its secret block, its confirmation; and with whom: what hubs say of a name.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Hex;
use crate::common::{case, file, group};

/// A hub of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ContextHub {
    /// Its id, 16 octets.
    pub hub_id: Hex,
    /// Its coordinate.
    pub coordinate: u8,
    /// The origin of the initiator's uplink table there: 0 out of band, 1 refill.
    pub origin: u8,
}

case! {
    /// The context of a key, from what each end knows.
    ContextTest {
        /// The key id, 16 octets.
        key_id: Hex,
        /// The client tag of the initiator, 16 octets.
        initiator: Hex,
        /// The client tag of the responder, 16 octets.
        responder: Hex,
        /// The suite.
        suite: u8,
        /// The threshold.
        threshold: u8,
        /// Octets of the key.
        key_length: u32,
        /// Seconds.
        lifetime: u16,
        /// The hubs, in any order.
        hubs: Vec<ContextHub>,
        /// The octets under the tags.
        context: Hex,
    }
}

case! {
    /// The secret block, its tag, and the confirmation of the responder.
    SecretBlockTest {
        /// The key of the secret tag, 48 octets.
        tag_key: Hex,
        /// The key.
        key: Hex,
        /// The key of the confirmation, 32 octets.
        confirm_key: Hex,
        /// The context.
        context: Hex,
        /// The bitmap of the responder's table origins.
        origins: Hex,
        /// The bitmap of the hubs that lied.
        lying: Hex,
        /// The secret block.
        block: Hex,
        /// The secret tag o.
        secret_tag: Hex,
        /// The tag of the confirmation; for an invalid test, one that must not verify.
        confirmation_tag: Hex,
    }
}

/// A hub of an initiator that negotiates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct NegotiationHub {
    /// Its coordinate.
    pub coordinate: u8,
    /// The origins of the uplink tables there that have room for the key.
    pub room: Vec<u8>,
}

/// Terms that are wished for, or agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct NegotiationTerms {
    /// The suite.
    pub suite: u8,
    /// The threshold.
    pub threshold: u8,
    /// Seconds.
    pub lifetime: u16,
    /// The coordinates of the hubs.
    pub hubs: Hex,
    /// Whether the key has to be information-theoretic.
    pub information_theoretic: bool,
}

case! {
    /// Terms from an offer, a policy and a wish.
    NegotiationTest {
        /// The least threshold of the initiator's policy.
        minimum_threshold: u8,
        /// Whether the initiator's policy allows information-theoretic keys only.
        information_theoretic: bool,
        /// The longest lifetime of the initiator's policy.
        longest_lifetime: u16,
        /// The hubs of the initiator.
        hubs: Vec<NegotiationHub>,
        /// What the peer published, as OUTCOME has it.
        offer: Hex,
        /// The coordinates of the hubs that say so.
        said_by: Hex,
        /// What the application wishes for.
        wish: NegotiationTerms,
        /// The terms.
        terms: Option<NegotiationTerms>,
        /// Where there are none: how many hubs say the offer, or would take part; and how many have to.
        found: Option<u8>,
        /// See `found`.
        needed: Option<u8>,
    }
}

/// What a hub says of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct LookUpAnswer {
    /// Its coordinate.
    pub coordinate: u8,
    /// The origin of the table that the command's block is from.
    pub origin: u8,
    /// The status of its OUTCOME; `None` where none has come.
    pub status: Option<u8>,
    /// Who has the name.
    pub client: Option<Hex>,
    /// What that client published, as OUTCOME has it.
    pub offer: Option<Hex>,
}

case! {
    /// What a client makes of the answers to a look-up.
    LookUpTest {
        /// The least threshold of the client's policy.
        minimum_threshold: u8,
        /// What each of its hubs says.
        answers: Vec<LookUpAnswer>,
        /// How long it waits for more: `no`, `little` or `long`.
        waits: String,
        /// Who has the name; `None` also where nobody has.
        client: Option<Hex>,
        /// The coordinates of the hubs that say what is believed; `None` where nothing is.
        agreed: Option<Hex>,
        /// The coordinates of the hubs that say otherwise.
        otherwise: Option<Hex>,
        /// Whether what was found is as certain as an information-theoretic key.
        information_theoretic: Option<bool>,
        /// What the client published, if enough hubs say so.
        offer: Option<Hex>,
        /// The coordinates of the hubs that say the offer.
        said_by: Option<Hex>,
        /// Where hubs contradict each other: the coordinates of each camp.
        camps: Vec<Hex>,
    }
}

group! {
    /// Contexts.
    ContextGroup(ContextTest) {}
}

group! {
    /// Secret blocks.
    SecretBlockGroup(SecretBlockTest) {}
}

group! {
    /// Negotiations.
    NegotiationGroup(NegotiationTest) {}
}

group! {
    /// Look-ups.
    LookUpGroup(LookUpTest) {}
}

file!("dske-key", {
    /// Contexts.
    Context(ContextGroup),
    /// Secret blocks.
    SecretBlock(SecretBlockGroup),
    /// Negotiations.
    Negotiation(NegotiationGroup),
    /// Look-ups.
    LookUp(LookUpGroup),
});
