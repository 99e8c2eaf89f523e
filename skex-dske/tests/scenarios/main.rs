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
mod world;
