//! Scenarios: real clients and hubs in a simulated world.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_core,
    clippy::alloc_instead_of_core,
    missing_debug_implementations,
    unreachable_pub,
    missing_docs
)]

mod agreement;
mod attacks;
mod commands;
mod crash;
mod enrolment;
mod initial_key;
mod matrix;
mod meddling;
mod negotiation;
mod network;
mod oracle;
mod refill;
mod retirement;
mod semantics;
mod several;
mod sharded;
mod shards;
mod snapshots;
mod storage;
mod storm;
mod suites;
mod table;
mod tables;
mod verdicts;
mod world;

/// A request for a 256-bit key of this threshold under a suite.
fn request_under(suite: skex_dske::KeySuite, threshold: u8) -> skex_dske::KeyRequest {
    let mut request = skex_dske::KeyRequest::new(threshold);
    request.suite = suite;
    request
}

/// How many seeds a scenario runs: so many, or as many times more as the environment variable `SKEX_SEEDS` says.
fn seeds(usual: u64) -> u64 {
    let times = std::env::var("SKEX_SEEDS").ok().and_then(|times| times.parse::<u64>().ok());
    usual * times.unwrap_or(1)
}
