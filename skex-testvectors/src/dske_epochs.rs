//! Epochs of the computational suites of DSKE: keys, sealed shares, answers.

use crate::Hex;
use crate::common::{case, file, group};

case! {
    /// The keys that a block gives to an epoch.
    KeysTest {
        /// The direction of the table: 0 uplink, 1 downlink.
        direction: u8,
        /// The client id.
        client_id: u32,
        /// The hub id, 16 octets.
        hub_id: Hex,
        /// The suite of the keys that are to be made: 2 or 3.
        key_suite: u8,
        /// The table.
        table: u16,
        /// The first element of the block.
        index: u32,
        /// E_a, the first two elements of the block.
        answer_secret: Hex,
        /// E_s, the next two.
        share_secret: Hex,
        /// 32 octets.
        answer_key: Hex,
        /// 32 octets.
        share_key: Hex,
    }
}

case! {
    /// An UPLOAD_SEALED or DELIVERY_SEALED, or an ANSWER_SEALED.
    SealedTest {
        /// The share key or the answer key, 32 octets.
        key: Hex,
        /// The direction of the message.
        direction: u8,
        /// The client id.
        client_id: u32,
        /// The hub id, 16 octets.
        hub_id: Hex,
        /// The number in the epoch.
        number: u8,
        /// What is sealed: the share; nothing in an answer.
        plaintext: Hex,
        /// The octets of the message before what is sealed.
        head: Hex,
        /// The nonce, 12 octets.
        nonce: Hex,
        /// Additional data.
        aad: Hex,
        /// The message.
        octets: Hex,
    }
}

group! {
    /// Keys of epochs.
    KeysGroup(KeysTest) {
        /// The code point of the envelope suite, whose hash is used.
        suite: u8,
    }
}

group! {
    /// Messages of epochs.
    SealedGroup(SealedTest) {
        /// The suite of keys: 2 or 3.
        key_suite: u8,
    }
}

file!("dske-epochs", {
    /// Keys.
    Keys(KeysGroup),
    /// Messages.
    Sealed(SealedGroup),
});
