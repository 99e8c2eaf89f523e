//! Threshold sharing over GF(2^8): making shares, taking them together, and decoding when some are wrong.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Hex;
use crate::common::{case, file, group};

/// A share of the hub at a coordinate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Share {
    /// The hub's coordinate.
    pub coordinate: u8,
    /// Its octets.
    pub share: Hex,
}

case! {
    /// Shares made of a block and of direct shares.
    SplitTest {
        /// Shares that give the block back.
        threshold: u8,
        /// All coordinates, those of the direct shares first.
        coordinates: Vec<u8>,
        /// The block that is shared.
        secret: Hex,
        /// The direct shares: one less than the threshold.
        direct: Vec<Hex>,
        /// The shares that follow, of the coordinates behind the direct ones; `None` where there are none.
        following: Option<Vec<Hex>>,
    }
}

case! {
    /// Shares taken together, all of them right.
    CombineTest {
        /// Shares that give the block back: the first so many are used.
        threshold: u8,
        /// The shares.
        shares: Vec<Share>,
        /// The block; `None` where there is none.
        secret: Option<Hex>,
    }
}

case! {
    /// Shares of which some are wrong.
    DecodeTest {
        /// Shares that give the block back.
        threshold: u8,
        /// Subsets that may be tried beyond error location.
        work_limit: u64,
        /// What the secret tag covers beside the payload.
        context: Hex,
        /// The secret tag: the first 48 octets of the block are its key, the others its payload.
        secret_tag: Hex,
        /// The shares, in the order in which they came.
        shares: Vec<Share>,
        /// The block; `None` where none is found.
        secret: Option<Hex>,
        /// The coordinates of the wrong shares, in the order of the shares; `None` where no block is found.
        culprits: Option<Vec<u8>>,
        /// Whether so few are wrong that the shares prove it; `None` where no block is found.
        blame_is_certain: Option<bool>,
    }
}

group! {
    /// Making shares.
    SplitGroup(SplitTest) {}
}

group! {
    /// Taking shares together.
    CombineGroup(CombineTest) {}
}

group! {
    /// Decoding.
    DecodeGroup(DecodeTest) {}
}

file!("shamir", {
    /// Making shares.
    Split(SplitGroup),
    /// Taking shares together.
    Combine(CombineGroup),
    /// Decoding.
    Decode(DecodeGroup),
});
