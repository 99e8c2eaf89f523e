//! The unmediated protocol: its key schedule, exporter, exchanges and records.

pub(crate) mod example;
pub(crate) mod exporter;
pub(crate) mod keys;
pub(crate) mod records;
mod schedule;
pub(crate) mod transcripts;

use skex_core::Suite;
use skex_wire::SuiteId;

const VERSION: &str = "draft-skex-unmediated-00";

fn suite(number: u8) -> Suite {
    Suite::from_id(SuiteId::new(number)).expect("a suite of the specification")
}

fn number(suite: Suite) -> u8 {
    suite.id().value()
}

/// The letter of a side as the files write it.
fn letter(side: u8) -> String {
    char::from(side).to_string()
}

fn other(side: u8) -> u8 {
    if side == b'a' { b'b' } else { b'a' }
}
