//! Seeded faults of network, disk and clock, for tests of any machine that keeps the contract of
//! `skex_core::machine`.
#![forbid(unsafe_code)]
