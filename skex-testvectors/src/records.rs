//! Durable records: their frame, which of two slots rules, and the log of a DSKE machine.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Hex;
use crate::common::{case, file, group};

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
});
