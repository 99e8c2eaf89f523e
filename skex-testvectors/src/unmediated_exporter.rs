//! The exporter of the unmediated protocol: chains, keys of consumers, and which indices an end answers.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Hex;
use crate::common::{case, file, group};

/// Something that is asked of the chain of the outputs that the peer names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Operation {
    /// `take`, which uses the index up, or `peek`, which changes nothing.
    pub operation: String,
    /// The index.
    pub index: u64,
    /// OK of the index; `None` where it is refused.
    pub output: Option<Hex>,
}

case! {
    /// The first links of a chain.
    ChainTest {
        /// The side that names its outputs, `a` or `b`.
        owner: String,
        /// XC of the positions from 0 on.
        links: Vec<Hex>,
        /// The indices of the outputs at these positions.
        indices: Vec<u64>,
        /// OK at these positions.
        outputs: Vec<Hex>,
    }
}

case! {
    /// The key for a consumer.
    KeyTest {
        /// OK of the index.
        output: Hex,
        /// The index.
        index: u64,
        /// The label of the consumer.
        label: String,
        /// The context.
        context: Hex,
        /// The key.
        key: Hex,
    }
}

case! {
    /// What an end answers, in this order. Of an invalid test the last operation is the one to refuse.
    WindowTest {
        /// The side that names the outputs, `a` or `b`.
        owner: String,
        /// XC at position 0.
        link: Hex,
        /// The operations.
        operations: Vec<Operation>,
    }
}

group! {
    /// Chains.
    ChainGroup(ChainTest) {
        /// The suite of the session.
        suite: u8,
    }
}

group! {
    /// Keys for consumers.
    KeyGroup(KeyTest) {
        /// The suite of the session.
        suite: u8,
    }
}

group! {
    /// Answers.
    WindowGroup(WindowTest) {
        /// The suite of the session.
        suite: u8,
        /// How far the indices may be used out of order.
        window: u32,
    }
}

file!("unmediated-exporter", {
    /// Chains.
    Chain(ChainGroup),
    /// Keys for consumers.
    Key(KeyGroup),
    /// Answers.
    Window(WindowGroup),
});
