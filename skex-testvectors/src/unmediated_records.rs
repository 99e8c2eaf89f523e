//! The durable record of an unmediated peer, as the implementation of this family writes it (informative).

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Hex;
use crate::common::{case, file, group};

/// What is left of the epoch before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Previous {
    /// Its suite.
    pub suite: u8,
    /// The own pseudonym in it, 8 octets.
    pub own_pseudonym: Hex,
    /// The peer's, 8 octets.
    pub peer_pseudonym: Hex,
    /// k1 of the peer in it, 32 octets.
    pub peer_mac_key: Hex,
}

/// The key of an index that was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Kept {
    /// The index in its chain, without the bit of its owner, modulo the window of 8.
    pub slot: u8,
    /// OK of the index.
    pub output: Hex,
}

/// The chain of the outputs that the peer names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Answering {
    /// XC at the position.
    pub link: Hex,
    /// The position.
    pub position: u32,
    /// The keys of skipped indices, by ascending slot.
    pub kept: Vec<Kept>,
}

/// How the end stands to its peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are those of the specification")]
pub enum Link {
    /// Nothing is owed.
    None {},
    /// It followed as responder. The status is 0 (good) or 1 (void).
    Followed { status: u8, mac3: Hex, mac4: Hex },
    /// It moved first.
    Ahead {
        first_flags: u8,
        initiator_nonce: Hex,
        offer: Vec<u8>,
        second_flags: u8,
        responder_nonce: Hex,
        mac3: Hex,
        guard: Hex,
        mac4_good: Hex,
        mac4_void: Hex,
        /// The extension block of the first message, 16 octets; `None` for none.
        mix_offer: Option<Hex>,
        /// What the second message chooses of it, 1 or 2; `None` for nothing.
        choice: Option<u8>,
    },
}

/// A block of fresh secret material.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Held {
    /// Its 32 octets.
    pub block: Hex,
    /// Whether it was withdrawn: it is neither offered nor chosen, but a third message may need it.
    pub withdrawn: bool,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct State {
    /// The epoch.
    pub epoch: u64,
    /// Its suite.
    pub suite: u8,
    /// The session: 0 none, 1 unconfirmed, 2 live, 3 void.
    pub session_status: u8,
    /// Whether this end was the initiator of its handshake.
    pub initiator: bool,
    /// Whether fresh secret material was mixed into its handshake.
    pub mixed: bool,
    /// Of a recovery: 0 nothing, 1 the lane is held, 2 the recovery lane is open, 3 a recovery is wanted.
    pub recovery: u8,
    /// The session id, 16 octets; zeros in epoch 0.
    pub session_id: Hex,
    /// CK of the epoch.
    pub chain_key: Hex,
    /// The epoch before; `None` in epoch 0.
    pub previous: Option<Previous>,
    /// `None` unless the session is unconfirmed or live.
    pub answering: Option<Answering>,
    /// The link.
    pub link: Link,
    /// The blocks of fresh secret material that are held, at most two.
    pub blocks: Vec<Held>,
}

case! {
    /// Two slots from which an end is restored.
    RestoreTest {
        /// What is in the slots.
        slots: [Hex; 2],
        /// The sequence number of the record that rules; `None` where nothing is restored.
        sequence: Option<u64>,
        /// What the record that rules says; `None` where nothing is restored.
        state: Option<State>,
        /// The first record that the restored end has to store; `None` where nothing is restored.
        rewritten: Option<Hex>,
        /// The third message that the restored end then sends without being asked; `None` if it owes none.
        sends: Option<Hex>,
    }
}

group! {
    /// Ends that are restored.
    RestoreGroup(RestoreTest) {
        /// The side of the end, `a` or `b`.
        side: String,
        /// The name of side a.
        name_a: Hex,
        /// The name of side b.
        name_b: Hex,
        /// The lane.
        lane: u8,
        /// The context.
        context: Hex,
        /// The suite of epoch 0.
        initial_suite: u8,
    }
}

file!("unmediated-records", {
    /// Ends that are restored.
    Restore(RestoreGroup),
});
