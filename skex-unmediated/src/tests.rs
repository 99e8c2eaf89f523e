//! Two real peers under everything that can happen to them.
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

extern crate std;

mod attacks;
mod exporter;
mod faults;
mod handshake;
mod junk;
mod mixing;
mod orders;
mod pair;
mod rules;
mod search;
mod states;
#[cfg(feature = "alloc")]
mod table;
#[cfg(feature = "all-suites")]
mod vectors;
