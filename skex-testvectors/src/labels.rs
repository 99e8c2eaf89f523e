//! Labels of derived keys, and how a label, a context and a length make the info of an expansion.

use alloc::string::String;

use crate::Hex;
use crate::common::{case, file, group};

case! {
    /// A label, with an example of its use.
    LabelTest {
        /// The label, ASCII.
        label: String,
        /// Its octets.
        octets: Hex,
        /// What it binds its output to.
        context: Hex,
        /// Octets of output.
        length: u32,
        /// The info of HKDF-Expand.
        info: Hex,
    }
}

group! {
    /// Labels of one protocol.
    LabelGroup(LabelTest) {
        /// What all labels of the group begin with.
        prefix: String,
    }
}

file!("labels", {
    /// Labels.
    Label(LabelGroup),
});
