//! Whole exchanges of DSKE: what each end is given, what it draws and does, and every value between; and what somebody
//! finds who has tables and captured messages.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Hex;
use crate::common::{case, file, group};

/// Defines data that the tests are made of.
macro_rules! data {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $field:ident: $type:ty, )* } )*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            #[non_exhaustive]
            pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }
        )*
    };
}

data! {
    /// A client.
    Client {
        /// `alice` or `bob`.
        name: String,
        /// Its client tag.
        tag: Hex,
        /// The smallest threshold that it accepts as a responder.
        minimum_threshold: u8,
        /// Whether it wants information-theoretic keys only.
        information_theoretic: bool,
        /// The longest lifetime that it accepts, in seconds.
        longest_lifetime: u16,
        /// All that it draws.
        random: Hex,
    }
    /// A hub. All its links are with the clients, in their order.
    Hub {
        /// `hub-1` and so on.
        name: String,
        /// Its id.
        hub_id: Hex,
        /// Its coordinate.
        coordinate: u8,
        /// The suites of keys that it relays.
        suites: Vec<u8>,
        /// Whether every client has authorised every other, or none.
        authorised: bool,
        /// What it adds to every share that it delivers; `None` of an honest hub.
        error: Option<Hex>,
        /// All that it draws.
        random: Hex,
    }
    /// A hub, as everybody knows it.
    RosterEntry {
        /// `hub-1` and so on.
        name: String,
        /// Its id.
        hub_id: Hex,
        /// Its coordinate.
        coordinate: u8,
    }
    /// A table.
    Table {
        /// Its number.
        number: u16,
        /// 0 out of band, 1 refill.
        origin: u8,
        /// All elements.
        octets: Hex,
    }
    /// A link as it was provisioned.
    Link {
        /// The client.
        client: String,
        /// The hub.
        hub: String,
        /// The number that the hub gave the client.
        client_id: u32,
        /// K0.
        initial_key: Hex,
        /// From client to hub.
        uplink: Table,
        /// From hub to client.
        downlink: Table,
    }
    /// What an application would like, where terms are negotiated.
    Wish {
        /// The suite.
        suite: u8,
        /// The threshold.
        threshold: u8,
        /// Seconds.
        lifetime: u16,
        /// The coordinates of the hubs; `None`: whichever there are.
        hubs: Option<Hex>,
        /// Whether only an information-theoretic key will do.
        information_theoretic: bool,
    }
    /// Octets that are drawn at once.
    Draw {
        /// `instance`, `salt`, `probe`, `bootKey`, `nonce`, `keyId`, `tagKey`, `key`, `confirmKey` or `share`.
        what: String,
        /// The other end of the link that it is for.
        about: Option<String>,
        /// How many.
        length: u32,
    }
    /// One thing that happens to one end.
    Step {
        /// To which.
        end: String,
        /// The time, in milliseconds.
        time: u64,
        /// What it is given.
        input: Input,
        /// What it takes from its `random`, in this order.
        draws: Vec<Draw>,
        /// What it does, in this order.
        outputs: Vec<Output>,
        /// When it wants to be woken, in milliseconds; `None` for never.
        deadline: Option<u64>,
    }
    /// The envelope of a link between two starts.
    Session {
        /// The client.
        client: String,
        /// The hub.
        hub: String,
        /// `salt_c`.
        salt_c: Hex,
        /// `salt_h`.
        salt_h: Hex,
        /// PRK.
        prk: Hex,
        /// The key of what the client seals.
        uplink_key: Hex,
        /// The key of what the hub seals.
        downlink_key: Hex,
    }
    /// A block that a message used.
    Block {
        /// The client.
        client: String,
        /// The hub.
        hub: String,
        /// 0 uplink, 1 downlink.
        direction: u8,
        /// The table.
        table: u16,
        /// Its first element.
        index: u32,
        /// The key of the answer's tag.
        answer_key: Hex,
        /// The key of the message's tag.
        message_key: Hex,
        /// The pad; none in a command.
        pad: Hex,
    }
    /// An epoch that was opened.
    Epoch {
        /// The client.
        client: String,
        /// The hub.
        hub: String,
        /// 0 uplink, 1 downlink.
        direction: u8,
        /// The table of its block.
        table: u16,
        /// The first element of its block.
        index: u32,
        /// The suite of the keys.
        suite: u8,
        /// The key of answers.
        answer_key: Hex,
        /// The key of shares.
        share_key: Hex,
    }
    /// One hub's share of a block.
    Share {
        /// The hub's coordinate.
        coordinate: u8,
        /// The share.
        share: Hex,
    }
    /// What the responder fixed.
    Confirmation {
        /// Its origins.
        origins: Hex,
        /// Whom it blames.
        lying: Hex,
        /// Its tag.
        tag: Hex,
    }
    /// A key with everything that it is made of.
    Key {
        /// The key id.
        key_id: Hex,
        /// The initiator's tag.
        initiator: Hex,
        /// The responder's tag.
        responder: Hex,
        /// The suite.
        suite: u8,
        /// The threshold.
        threshold: u8,
        /// Octets of the key.
        key_length: u32,
        /// Seconds.
        lifetime: u16,
        /// The initiator's origins.
        origins: Hex,
        /// The context.
        context: Hex,
        /// u.
        tag_key: Hex,
        /// The key.
        key: Hex,
        /// The confirm key.
        confirm_key: Hex,
        /// The secret block.
        block: Hex,
        /// o.
        secret_tag: Hex,
        /// The shares that were sent, or that were found.
        shares: Vec<Share>,
        /// Once there was one.
        confirmation: Option<Confirmation>,
    }
    /// A message in a SEVERAL.
    Contained {
        /// Its name.
        message: String,
        /// The numbers that its sender chose.
        choices: BTreeMap<String, u32>,
        /// Its octets.
        inner: Hex,
    }
    /// A message that somebody recorded.
    Captured {
        /// The hub of the link.
        hub: String,
        /// 0 uplink, 1 downlink.
        direction: u8,
        /// The datagram.
        octets: Hex,
    }
}

/// What an end is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
#[allow(missing_docs, reason = "explained in the README")]
pub enum Input {
    /// It starts, from the records that it stored: none if it is new.
    Start { records: Vec<Hex> },
    /// Its application asks for a key.
    Request {
        peer: Hex,
        suite: u8,
        threshold: u8,
        key_length: u32,
        lifetime: u16,
        hubs: Option<Hex>,
        information_theoretic: bool,
        wish: Option<Wish>,
    },
    /// Its application gives a command; `about` is its body, but for PUBLISH.
    Command { command: String, about: Hex },
    /// A message arrives. `accepted`: it was taken into account.
    Message { from: String, octets: Hex, accepted: bool },
    /// The time has come for which it waited.
    Timeout {},
    /// A hub is to send a table.
    Refill { client: String, direction: u8, table: u16, octets: Hex },
    /// A client has stored a table that came.
    AddTable { hub: String, direction: u8, table: u16, octets: Hex },
    /// It is given a further table of the link with `about`, out of band.
    Provision { about: String, direction: u8, table: u16, octets: Hex },
    /// It takes a table of the link with `about` out of service.
    Retire { about: String, direction: u8, table: u16 },
    /// It is given another initial key of the link with `about`.
    InitialKey { about: String, key: Hex },
    /// A hub revokes a client.
    Revoke { client: String },
}

/// What an end does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
#[allow(missing_docs, reason = "explained in the README")]
pub enum Output {
    /// It makes what has changed durable. Nothing after it leaves before that.
    Store {},
    /// It sends a message. `choices` are the numbers that it chose, `body` what is neither a number nor computed, `messages` what is in
    /// a SEVERAL.
    Send {
        to: String,
        message: String,
        choices: BTreeMap<String, u32>,
        body: Option<Hex>,
        messages: Option<Vec<Contained>>,
        inner: Option<Hex>,
        octets: Hex,
    },
    /// It gives a key to its application.
    Key { key_id: Hex, peer: Hex, initiator: bool, confirmed: bool, information_theoretic: bool, key: Hex },
    /// It tells its application (informative).
    Event { event: String, about: Hex },
}

case! {
    /// An exchange. Of an invalid test the last step gives an end a message that it must refuse.
    ExchangeTest {
        /// The suite of all envelopes.
        envelope_suite: u8,
        /// Alice and bob.
        clients: Vec<Client>,
        /// The hubs.
        hubs: Vec<Hub>,
        /// Every client with every hub.
        links: Vec<Link>,
        /// What happens.
        steps: Vec<Step>,
        /// Every session under which something was sealed.
        sessions: Vec<Session>,
        /// Every block that a message used.
        blocks: Vec<Block>,
        /// Every epoch.
        epochs: Vec<Epoch>,
        /// Every key for which shares were made.
        keys: Vec<Key>,
    }
}

case! {
    /// What is found in recorded traffic.
    PassiveTest {
        /// The suite of all envelopes.
        envelope_suite: u8,
        /// Of whom the observer has links.
        client_tag: Hex,
        /// All hubs of the key.
        roster: Vec<RosterEntry>,
        /// The links of which the observer has everything.
        links: Vec<Link>,
        /// The messages of these links, in order.
        captured: Vec<Captured>,
        /// The key; `None` where the observer must not find one.
        found: Option<Key>,
    }
}

group! {
    /// Exchanges.
    ExchangeGroup(ExchangeTest) {}
}

group! {
    /// Observers.
    PassiveGroup(PassiveTest) {}
}

file!("dske-transcripts", {
    /// Exchanges.
    Exchange(ExchangeGroup),
    /// Observers.
    Passive(PassiveGroup),
});
