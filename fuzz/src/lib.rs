//! What the targets share: how octets become a sequence of operations, and the worlds in which these happen.
//!
//! The world of clients and hubs, the adversary with an enrolment of its own, and the oracle that judges everything that
//! left a machine are those of the scenarios of `skex-dske`: what a test there knows to be wrong, a target finds.
#![forbid(unsafe_code)]

pub mod dske;
mod input;
pub mod unmediated;

pub use input::Input;

#[allow(dead_code, reason = "the scenarios need more of it")]
#[path = "../../skex-dske/tests/scenarios/attacks/liar.rs"]
mod liar;
#[allow(dead_code, reason = "the scenarios need more of it")]
#[path = "../../skex-dske/tests/scenarios/oracle.rs"]
mod oracle;
#[allow(dead_code, reason = "the scenarios need more of it")]
#[path = "../../skex-dske/tests/scenarios/sharded.rs"]
mod sharded;
#[allow(dead_code, reason = "the scenarios need more of it")]
#[path = "../../skex-dske/tests/scenarios/world.rs"]
mod world;
