//! A key delivery server: ETSI GS QKD 014 (v1.1.1) and Cisco SKIP in front of keys that DSKE makes.
//!
//! Everything here but [`server`], [`others`], `psk` and [`vault`] is without sockets, files and clocks: a request goes in, a response comes
//! out. The rules of who gets which key are in [`keeper`] alone, and both interfaces go through it.

pub(crate) mod api;
pub(crate) mod certificate;
mod etsi;
mod json;
pub(crate) mod keeper;
mod name;
mod naming;
pub(crate) mod others;
#[cfg(feature = "skip-psk")]
pub(crate) mod psk;
mod relay;
pub(crate) mod server;
pub(crate) mod settings;
mod skip;
pub(crate) mod vault;
