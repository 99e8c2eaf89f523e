//! The envelope of a DSKE link: keys, hellos, sealed messages.

use alloc::string::String;

use crate::Hex;
use crate::common::{case, file, group};

case! {
    /// The keys of a session and of the hellos that lead to it.
    KeysTest {
        /// The initial key K0, 32 octets.
        initial_key: Hex,
        /// The hub id, 16 octets.
        hub_id: Hex,
        /// The client id.
        client_id: u32,
        /// The client's salt, 16 octets.
        salt_c: Hex,
        /// The hub's salt, 16 octets.
        salt_h: Hex,
        /// The pseudorandom key of the hello keys.
        prk0: Hex,
        /// 32 octets.
        hello_key: Hex,
        /// 32 octets.
        reply_key: Hex,
        /// 32 octets.
        request_key: Hex,
        /// The pseudorandom key of the session.
        prk: Hex,
        /// 32 octets.
        uplink_key: Hex,
        /// 32 octets.
        downlink_key: Hex,
    }
}

case! {
    /// A HELLO, HELLO_REPLY or HELLO_REQUEST.
    HelloTest {
        /// Which: `HELLO`, `HELLO_REPLY` or `HELLO_REQUEST`.
        message_type: String,
        /// The key of its tag, 32 octets.
        key: Hex,
        /// What the tag covers before the message: nothing, salt_c, or the AEAD tag of the message not opened.
        before: Hex,
        /// The message.
        octets: Hex,
    }
}

case! {
    /// A SEALED or SEALED_FRESH.
    SealedTest {
        /// The key of its direction, 32 octets.
        key: Hex,
        /// The client id.
        client_id: u32,
        /// The client's salt for a SEALED_FRESH; `None` for a SEALED.
        salt_c: Option<Hex>,
        /// The sequence number.
        seq: u32,
        /// The inner message.
        inner: Hex,
        /// The nonce, 12 octets.
        nonce: Hex,
        /// Additional data.
        aad: Hex,
        /// The message.
        octets: Hex,
    }
}

case! {
    /// A hub's salt as the specification suggests to make it (informative).
    SaltTest {
        /// The boot key, 32 octets.
        boot_key: Hex,
        /// The client id.
        client_id: u32,
        /// The client's salt, 16 octets.
        salt_c: Hex,
        /// The generation.
        generation: u32,
        /// The hub's salt, 16 octets.
        salt_h: Hex,
    }
}

group! {
    /// Keys of a link.
    KeysGroup(KeysTest) {
        /// The code point of the envelope suite.
        suite: u8,
    }
}

group! {
    /// Hellos of a link.
    HelloGroup(HelloTest) {
        /// The code point of the envelope suite.
        suite: u8,
    }
}

group! {
    /// Sealed messages of a link.
    SealedGroup(SealedTest) {
        /// The code point of the envelope suite.
        suite: u8,
    }
}

group! {
    /// Salts of a hub.
    SaltGroup(SaltTest) {
        /// The code point of the envelope suite.
        suite: u8,
    }
}

file!("dske-envelope", {
    /// Keys.
    Keys(KeysGroup),
    /// Hellos.
    Hello(HelloGroup),
    /// Sealed messages.
    Sealed(SealedGroup),
    /// Salts.
    Salt(SaltGroup),
});
