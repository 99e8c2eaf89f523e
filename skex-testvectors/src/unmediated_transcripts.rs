//! Whole exchanges of the unmediated protocol: what each end is given, what it does, and every value between.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Hex;
use crate::common::{case, file, group};
use crate::unmediated_keys::Handshake;

/// An end, and what it chooses for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct End {
    /// `a` or `b`.
    pub side: String,
    /// What may protect the next epochs, best first.
    pub suites: Vec<u8>,
    /// Whether the consumer confirms: the fourth message is spared.
    pub consumer_confirms: bool,
    /// Whether it keeps nothing between the second and the third message.
    pub stateless: bool,
    /// Whether handshakes mix fresh secret material in: `never`, `accept` or `require`.
    pub mix: String,
    /// How often a first message is sent; the first repetition is after 1000 ms.
    pub tries: u8,
    /// All that it draws, in this order. At each start: 8 octets that are not seen on the wire, and BK (32). For
    /// each attempt: the first 12 octets of Ni.
    pub random: Hex,
}

/// What an end is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
#[allow(missing_docs, reason = "explained in the README")]
pub enum Input {
    /// It is enrolled.
    Enrol {},
    /// It starts again, from what its two slots hold.
    Restore { slots: [Hex; 2] },
    /// From now on first messages have to bring a cookie, or no more: it is under load, or not.
    Load { demanded: bool },
    /// Its application wants a session.
    Establish {},
    /// Its application provides the block of this number.
    Provide { block: u32 },
    /// Its application withdraws all blocks.
    Withdraw {},
    /// Its operator opens it: it is a recovery lane.
    Allow {},
    /// All other lanes of the pair were enrolled with what this recovery lane gave: the secret is erased.
    Conclude {},
    /// The recovery lane of this end has stored this record, and gives this secret: the lane is enrolled anew with it, and
    /// held.
    EnrolByRecovery { record: Hex, secret: Hex },
    /// The recovery lane of this end has stored this record, which gives nothing any more: the lane is released.
    Release { record: Hex },
    /// A message arrives on a path. `accepted`: it was authentic and taken into account.
    Message { path: u64, octets: Hex, accepted: bool },
    /// The time has come for which it waited.
    Timeout {},
    /// The consumer verified the peer under a key of the session.
    Confirm { session_id: Hex },
    /// It names its next output, and gets the key at once.
    Name { label: String, context: Hex, index: u64, key: Hex },
    /// It answers an output that the peer named. The key is among the outputs.
    Answer { index: u64, label: String, context: Hex },
}

/// What an end does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
#[allow(missing_docs, reason = "explained in the README")]
pub enum Output {
    /// It stores a record (informative). Nothing after it leaves before that is durable.
    Store { record: Hex },
    /// It sends a message, to a path that it answers or has learned, or (`None`) to the configured address.
    Send { path: Option<u64>, octets: Hex },
    /// It tells its application. The session is there unless the event is about none.
    Event { event: String, session_id: Option<Hex> },
    /// The key of an output that the peer named.
    Key { index: u64, key: Hex },
}

/// One thing that happens to one end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Step {
    /// To which end, `a` or `b`.
    pub end: String,
    /// The time, in milliseconds.
    pub time: u64,
    /// What it is given.
    pub input: Input,
    /// How many octets it draws from its `random`.
    pub draws: u32,
    /// What it does, in this order.
    pub outputs: Vec<Output>,
    /// When it wants to be woken, in milliseconds; `None` for never.
    pub deadline: Option<u64>,
    /// Its epoch afterwards.
    pub epoch: u64,
}

case! {
    /// An exchange. Of an invalid test the last step gives an end a message that it must discard, with nothing
    /// changed.
    ExchangeTest {
        /// The enrolment secret.
        secret: Hex,
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
        /// The blocks of fresh secret material that the ends are provided with, by their numbers.
        blocks: Vec<Hex>,
        /// Both ends, a first.
        ends: [End; 2],
        /// What happens.
        steps: Vec<Step>,
        /// The handshakes by which an end moved to its next epoch, in this order, with every value.
        handshakes: Vec<Handshake>,
    }
}

group! {
    /// Exchanges.
    ExchangeGroup(ExchangeTest) {}
}

file!("unmediated-transcripts", {
    /// Exchanges.
    Exchange(ExchangeGroup),
});
