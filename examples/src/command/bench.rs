//! `skex bench`: what keys cost here, beside what a user would pick instead.

use core::time::Duration;

use anyhow::{Context, Result};
use benches::subjects::{DSKE, EXPORT, HANDSHAKE, RUST_ML_KEM, SNOW, X25519_DALEK, brief};
use benches::work::{in_rounds, in_words, share};

/// What keys cost on this machine, beside what one would pick instead. Takes some seconds.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often each is measured; the shortest time counts.
    #[arg(long, default_value_t = 12)]
    rounds: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut all = brief();
    in_rounds(&mut all, arguments.rounds.max(1), Duration::from_millis(4));
    println!("Processor time of all parties together, in memory, without network and storage:\n");
    for subject in &all {
        println!("  {:<44} {:>10}", subject.name, in_words(subject.nanoseconds()));
    }
    println!("\nOurs beside them:\n");
    let shamir = ["split", "combine"].map(|way| format!("Shamir 3 of 5, {way} 64 B"));
    let vsss = shamir.each_ref().map(|name| format!("{name}, vsss-rs"));
    let pairs = [
        (HANDSHAKE, SNOW),
        (HANDSHAKE, RUST_ML_KEM),
        (EXPORT, X25519_DALEK),
        (DSKE, X25519_DALEK),
        (DSKE, RUST_ML_KEM),
        (&shamir[0], &vsss[0]),
        (&shamir[1], &vsss[1]),
    ];
    for (ours, theirs) in pairs {
        let cost = |name: &str| all.iter().find(|subject| subject.name == name).context("not measured");
        let ratio = cost(ours)?.nanoseconds() / cost(theirs)?.nanoseconds();
        println!("  {ours:<32} costs {:>7} of {theirs}", share(ratio));
    }
    println!("\nAll peers, octets and allocations: cargo bench -p benches --features peers");
    Ok(())
}
