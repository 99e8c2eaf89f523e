//! The primitives behind each suite: one known answer each, and the refusals of the AEAD.

use crate::Hex;
use crate::common::{case, file, group};

case! {
    /// A hash.
    HashTest {
        /// What is hashed.
        message: Hex,
        /// The hash.
        digest: Hex,
    }
}

case! {
    /// An HMAC, whole and as the protocols cut it.
    MacTest {
        /// The key, of any length.
        key: Hex,
        /// What is authenticated.
        message: Hex,
        /// The whole HMAC.
        mac: Hex,
        /// Its first 16 octets; for an invalid test, a tag that must not verify.
        tag: Hex,
    }
}

case! {
    /// A message sealed with the AEAD.
    AeadTest {
        /// The key, 32 octets.
        key: Hex,
        /// The nonce, 12 octets.
        nonce: Hex,
        /// Additional data.
        aad: Hex,
        /// The message.
        plaintext: Hex,
        /// The message, encrypted; as long.
        ciphertext: Hex,
        /// The tag, 16 octets.
        tag: Hex,
    }
}

group! {
    /// Hashes of a suite.
    HashGroup(HashTest) {
        /// The code point of the suite.
        suite: u8,
    }
}

group! {
    /// HMACs of a suite.
    MacGroup(MacTest) {
        /// The code point of the suite.
        suite: u8,
    }
}

group! {
    /// Sealed messages of a suite.
    AeadGroup(AeadTest) {
        /// The code point of the suite.
        suite: u8,
    }
}

file!("suites", {
    /// Hash.
    Hash(HashGroup),
    /// HMAC.
    Mac(MacGroup),
    /// AEAD.
    Aead(AeadGroup),
});
