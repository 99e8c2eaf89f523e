//! A whole first message to a table of peers, from the octets to the answer, in random order of peers: how the cost grows
//! with their number, and what is left of it under load.
#![allow(missing_docs, clippy::unwrap_used)]

use benches::Crowd;
use criterion::{Criterion, criterion_group, criterion_main};
use skex_core::machine::{DiscardReason, Disposition};

fn first_messages(criterion: &mut Criterion) {
    for (name, loaded, expected) in [
        ("a first message, answered", false, Disposition::Accepted),
        ("a first message under load, a cookie for it", true, Disposition::Discarded(DiscardReason::Busy)),
    ] {
        let mut group = criterion.benchmark_group(format!("table of peers: {name}"));
        for peers in [100, 1000, 10_000, 100_000] {
            let mut crowd = Crowd::enrolled(peers, loaded);
            assert_eq!(crowd.first(), expected);
            group.bench_function(format!("{peers} peers"), |bencher| bencher.iter(|| crowd.first()));
        }
        group.finish();
    }
}

criterion_group!(benches, first_messages);
criterion_main!(benches);
