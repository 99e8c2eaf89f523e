//! A whole first message to a table of peers, from the octets to the answer, in random order of peers: how the cost grows
//! with their number, and what is left of it under load.
#![allow(missing_docs, clippy::unwrap_used)]

mod frame;

use benches::Crowd;
use criterion::{Criterion, criterion_group};
use skex_core::machine::{DiscardReason, Disposition};

const SIZES: [u32; 4] = [100, 1000, 10_000, 100_000];

/// How many messages are timed at once, and how often: the least counts, for others share the machine.
const MESSAGES: u32 = 20_000;
const ROUNDS: usize = 30;

fn first_messages(criterion: &mut Criterion) {
    for (name, loaded, expected) in [
        ("a first message, answered", false, Disposition::Accepted),
        ("a first message under load, a cookie for it", true, Disposition::Discarded(DiscardReason::Busy)),
    ] {
        let mut group = criterion.benchmark_group(format!("table of peers: {name}"));
        for peers in SIZES {
            let mut crowd = Crowd::enrolled(peers, loaded);
            assert_eq!(crowd.first(), expected);
            group.bench_function(format!("{peers} peers"), |bencher| bencher.iter(|| crowd.first()));
        }
        group.finish();
    }
}

/// Time of this thread on a processor, in nanoseconds.
fn on_processor() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// The ratios of the goal: by the time on the processor, the least of the rounds, tables of all sizes in turn.
fn ratios() {
    let mut crowds = SIZES.map(|peers| Crowd::enrolled(peers, false));
    let mut least = [u64::MAX; SIZES.len()];
    // In the first rounds every peer of the largest table gets its first message.
    for round in 0..ROUNDS {
        for (crowd, least) in crowds.iter_mut().zip(&mut least) {
            let Some(before) = on_processor() else { return println!("no time on the processor here") };
            for _ in 0..MESSAGES {
                assert_eq!(crowd.first(), Disposition::Accepted);
            }
            let spent = on_processor().unwrap_or(u64::MAX).saturating_sub(before);
            if round >= 5 {
                *least = spent.min(*least);
            }
        }
    }
    for (peers, spent) in SIZES.iter().zip(least) {
        let (spent, smallest) = (spent as f64, least[0] as f64);
        println!(
            "a first message, answered, {peers} peers: {:.0} ns, {:.2} times",
            spent / f64::from(MESSAGES),
            spent / smallest
        );
    }
}

criterion_group! {
    name = benches;
    config = frame::frame();
    targets = first_messages
}

fn main() {
    if !std::env::args().any(|argument| argument == "--ratios") {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
    ratios();
}
