//! Code points of DSKE.

crate::codepoint! {
    /// What an outer message is: the low four bits of its first octet.
    pub struct OuterType(u8) {
        /// Client to hub: a new session is wanted.
        HELLO = 1;
        /// Hub to client: the hub's salt.
        HELLO_REPLY = 2;
        /// Either way: an envelope of the current session.
        SEALED = 3;
        /// Client to hub: an envelope of a session that the client has not heard under yet.
        SEALED_FRESH = 4;
        /// Hub to client: an envelope could not be opened; say hello.
        HELLO_REQUEST = 5;
    }
}

crate::codepoint! {
    /// What an inner message is: its first octet.
    pub struct InnerType(u8) {
        /// The sender of a table asks for a lease.
        LEASE_REQUEST = 1;
        /// The receiver of a table grants it.
        LEASE_GRANT = 2;
        /// The table is used up.
        LEASE_DENIED = 3;
        /// A share, initiator to hub.
        UPLOAD = 4;
        /// A share, hub to responder.
        DELIVERY = 5;
        /// The one final answer to an upload or a delivery.
        ANSWER = 6;
        /// Not now; advisory.
        BUSY = 7;
        /// The responder's confirmation, hub to initiator.
        CONFIRM = 8;
        /// A client asks for what waits.
        FETCH = 9;
        /// How much waits.
        FETCHED = 10;
        /// A share, initiator to hub, sealed with an AEAD.
        UPLOAD_SEALED = 11;
        /// A share, hub to responder, sealed with an AEAD.
        DELIVERY_SEALED = 12;
        /// The one final answer to a sealed upload or delivery.
        ANSWER_SEALED = 13;
        /// Several messages about keys.
        SEVERAL = 14;
        /// A part of a new table.
        REFILL = 20;
        /// How much of it has come.
        REFILLED = 21;
        /// A client asks who has a name.
        LOOKUP = 30;
        /// A client says what it accepts.
        PUBLISH = 31;
        /// An initiator takes a key back.
        WITHDRAW = 32;
        /// A responder says who may have keys made with it, and who may not.
        AUTHORISE = 33;
        /// The one final answer to any of these four.
        OUTCOME = 34;
    }
}

crate::codepoint! {
    /// What came of a command.
    pub struct OutcomeStatus(u8) {
        /// It is done, and durable; of a withdrawal: the share never left and never will.
        DONE = 0;
        /// No such name, key or client.
        UNKNOWN = 1;
        /// Withdrawn, but the share had been sent before: the responder may have it.
        SENT = 2;
        /// Too late to withdraw: the responder has answered.
        ANSWERED = 3;
        /// The hub does not keep more of that for this client.
        TOO_MANY = 4;
    }
}

crate::codepoint! {
    /// The final answer to an upload or a delivery.
    pub struct AnswerStatus(u8) {
        /// Stored durably.
        ACCEPTED = 0;
        /// The hub knows no client of that tag.
        UNKNOWN_PEER = 1;
        /// The responder has not authorised the initiator.
        NOT_AUTHORISED = 2;
        /// The initiator used the key id for something else before.
        KEY_ID_IN_USE = 3;
        /// The lifetime is over.
        EXPIRED = 4;
        /// Against the policy of the one who answers.
        POLICY = 5;
        /// The initiator's budget of waiting shares is used up.
        TOO_MANY_WAITING = 6;
        /// The context contradicts what the one who answers knows.
        MALFORMED_CONTEXT = 7;
        /// The initiator has withdrawn the key.
        WITHDRAWN = 8;
    }
}

crate::codepoint! {
    /// How shares and tags are protected. Not the suite of the envelope ([`SuiteId`](crate::SuiteId)).
    pub struct DskeSuiteId(u8) {
        /// One-time pads and one-time tags from pre-shared random data.
        ITS = 1;
        /// AES-256-GCM under keys from pre-shared random data.
        AES256GCM = 2;
        /// ChaCha20-Poly1305 under keys from pre-shared random data.
        CHACHA20POLY1305 = 3;
    }
}

crate::codepoint! {
    /// Which way a message or a table goes. The first octet under a one-time tag.
    pub struct Direction(u8) {
        /// Client to hub.
        UPLINK = 0;
        /// Hub to client.
        DOWNLINK = 1;
    }
}

crate::codepoint! {
    /// Where a table came from: one bit in the messages, one octet in the context.
    pub struct TableOrigin(u8) {
        /// Delivered outside any network that an attacker could record.
        OUT_OF_BAND = 0;
        /// Refilled through an encrypted channel: computational for good.
        REFILL = 1;
    }
}
