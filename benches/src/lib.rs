//! What the criterion benches in `benches/benches` measure: whole protocols in memory, driven without a network.
//!
//! Only ratios within one run count; the peers are measured beside ours for that reason.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    clippy::exhaustive_structs,
    reason = "set-up for benches: whatever is wrong in it ought to stop it"
)]

mod crowd;
pub mod goals;
pub mod growth;
pub mod keystream;
pub mod mesh;
pub mod ours;
mod pair;
pub mod peers;
pub mod plot;
pub mod subjects;
pub mod work;

pub use crowd::Crowd;
pub use mesh::Mesh;
pub use pair::Pair;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// A generator whose numbers are the same in every run.
#[must_use]
pub fn generator(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// `length` octets from a generator.
#[must_use]
pub fn octets(rng: &mut impl Rng, length: usize) -> Vec<u8> {
    let mut octets = vec![0; length];
    rng.fill_bytes(&mut octets);
    octets
}

/// Where cargo builds: the folder for reports.
#[must_use]
pub fn target() -> std::path::PathBuf {
    let program = std::env::current_exe().unwrap();
    // target/release/deps/name
    program.ancestors().nth(3).unwrap().to_owned()
}
