//! One module a command.

pub(crate) mod bench;
pub(crate) mod client;
pub(crate) mod demo;
pub(crate) mod hub;
pub(crate) mod kme;
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "a measurement with numbers of its own; whatever is wrong in it ought to stop it"
)]
pub(crate) mod load;
pub(crate) mod peer;
pub(crate) mod provision;
mod retire;
pub(crate) mod status;
