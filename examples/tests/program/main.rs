//! The program as its operators meet it: every test runs the built binary, on directories and ports of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

mod bad_input;
mod crash;
mod damage;
mod demo;
mod enrolment;
mod feed;
mod hub_sets;
mod keys;
mod kme;
mod load;
mod lost_state;
mod many;
mod provisioning;
mod shards;
mod support;
