//! Durable records: their frame, which of two slots rules, and the log of a DSKE machine.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Hex;
use crate::common::{case, file, group};

/// What is durable of one table of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct TableMarks {
    /// 0 uplink, 1 downlink.
    pub direction: u8,
    /// Whether it is a table of origin 1 of which a lease was granted, or one of those dropped was.
    pub refilled: bool,
    /// Its number.
    pub number: u16,
    /// Mark, or high water; 2^32 - 1 once it was taken out of service.
    pub mark: u32,
    /// Everything below is erased.
    pub erased: u32,
    /// Its length in elements.
    pub elements: u32,
}

case! {
    /// A record and its frame.
    FrameTest {
        /// The kind that the reader expects.
        kind: u8,
        /// The machine id that the reader expects, 8 octets.
        machine: Hex,
        /// The record, as read from storage.
        octets: Hex,
        /// Its sequence number; `None` where it is refused.
        sequence: Option<u64>,
        /// Its body; `None` where it is refused.
        body: Option<Hex>,
    }
}

case! {
    /// Two slots, written in turn.
    SlotsTest {
        /// The kind that the reader expects.
        kind: u8,
        /// The machine id that the reader expects, 8 octets.
        machine: Hex,
        /// What is in the slots.
        slots: [Hex; 2],
        /// The slot that rules, 0 or 1; `None` where both are blank, or the store is refused.
        rules: Option<u8>,
        /// The sequence number of the record that rules.
        sequence: Option<u64>,
        /// Its body.
        body: Option<Hex>,
    }
}

case! {
    /// A log of records of a DSKE machine, oldest first (informative).
    LogTest {
        /// The kind that the reader expects.
        kind: u8,
        /// The machine id that the reader expects, 8 octets.
        machine: Hex,
        /// The records.
        records: Vec<Hex>,
        /// The entries after the last record, by name (hexadecimal); `None` where the log is refused.
        entries: Option<BTreeMap<String, Hex>>,
    }
}

case! {
    /// The value of an entry: the marks of all tables of a link (informative).
    MarksTest {
        /// The value.
        value: Hex,
        /// The tables, in the order of the value; `None` where it is refused.
        tables: Option<Vec<TableMarks>>,
    }
}

case! {
    /// The value of an entry: a share that a hub has accepted (informative).
    RelayTest {
        /// The value.
        value: Hex,
        /// The client id of the responder.
        responder: u32,
        /// Seconds of its lifetime that were left.
        left: u32,
        /// The suite.
        suite: u8,
        /// The threshold.
        threshold: u8,
        /// Octets of the key.
        key_length: u32,
        /// Seconds.
        lifetime: u16,
        /// The coordinates of the key's hubs.
        coordinates: Hex,
        /// The bitmap of the initiator's table origins.
        origins: Hex,
        /// The secret tag, 16 octets.
        secret_tag: Hex,
        /// Whether it leaves by tables of origin 1.
        refilled: bool,
        /// The status of a withdrawal, if the share was withdrawn.
        withdrawn: Option<u8>,
        /// The bitmap of the responder's table origins, once it has confirmed.
        confirmed_origins: Option<Hex>,
        /// The bitmap of the hubs that lied, as it confirmed.
        confirmed_lying: Option<Hex>,
        /// The tag of the confirmation, 16 octets.
        confirmed_tag: Option<Hex>,
        /// The share, until the responder has answered; empty after that.
        share: Hex,
    }
}

group! {
    /// Marks.
    MarksGroup(MarksTest) {}
}

group! {
    /// Relays.
    RelayGroup(RelayTest) {}
}

group! {
    /// Frames.
    FrameGroup(FrameTest) {}
}

group! {
    /// Slots.
    SlotsGroup(SlotsTest) {}
}

group! {
    /// Logs.
    LogGroup(LogTest) {}
}

file!("records", {
    /// Frames.
    Frame(FrameGroup),
    /// Slots.
    Slots(SlotsGroup),
    /// Logs.
    Log(LogGroup),
    /// Marks.
    Marks(MarksGroup),
    /// Relays.
    Relay(RelayGroup),
});
