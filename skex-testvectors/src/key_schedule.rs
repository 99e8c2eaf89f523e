//! HKDF with labels, for each suite.

use alloc::string::String;

use crate::Hex;
use crate::common::{case, file, group};

case! {
    /// HKDF-Extract.
    ExtractTest {
        /// The salt; empty for none.
        salt: Hex,
        /// Input key material.
        ikm: Hex,
        /// The pseudorandom key, as long as the hash.
        prk: Hex,
    }
}

case! {
    /// HKDF-Expand with a label.
    ExpandTest {
        /// The pseudorandom key.
        prk: Hex,
        /// The label, ASCII.
        label: String,
        /// What the output is bound to.
        context: Hex,
        /// Octets of output.
        length: u32,
        /// The info that label, context and length make.
        info: Hex,
        /// The output; `None` where there can be none.
        okm: Option<Hex>,
    }
}

group! {
    /// Extractions of a suite.
    ExtractGroup(ExtractTest) {
        /// The code point of the suite.
        suite: u8,
    }
}

group! {
    /// Expansions of a suite.
    ExpandGroup(ExpandTest) {
        /// The code point of the suite.
        suite: u8,
    }
}

file!("key-schedule", {
    /// HKDF-Extract.
    Extract(ExtractGroup),
    /// HKDF-Expand with a label.
    Expand(ExpandGroup),
});
