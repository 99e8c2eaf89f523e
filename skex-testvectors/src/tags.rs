//! One-time tags over GF(2^128).

use crate::Hex;
use crate::common::{case, file, group};

case! {
    /// A tag of a message.
    MessageTagTest {
        /// The key: c, then d, 16 octets each.
        key: Hex,
        /// The message.
        message: Hex,
        /// The tag, 16 octets. For an invalid test, one that must not verify, or `None` where none may be made.
        tag: Option<Hex>,
    }
}

case! {
    /// A tag of a shared secret.
    SecretTagTest {
        /// The key u: c, d, then e, 16 octets each.
        key: Hex,
        /// The payload, secret.
        payload: Hex,
        /// The context, public.
        context: Hex,
        /// The tag, 16 octets; for an invalid test, one that must not verify.
        tag: Hex,
    }
}

group! {
    /// Tags of messages.
    MessageTagGroup(MessageTagTest) {}
}

group! {
    /// Tags of shared secrets.
    SecretTagGroup(SecretTagTest) {}
}

file!("tags", {
    /// Tags of messages.
    MessageTag(MessageTagGroup),
    /// Tags of shared secrets.
    SecretTag(SecretTagGroup),
});
