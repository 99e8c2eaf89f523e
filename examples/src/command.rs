//! One module a command.

pub(crate) mod bench;
pub(crate) mod client;
pub(crate) mod demo;
pub(crate) mod hub;
pub(crate) mod kme;
pub(crate) mod peer;
pub(crate) mod provision;
pub(crate) mod status;
