//! A handshake of two unmediated peers in memory, both ends together, and one key for an application.
//! Beside them what a user would pick instead.
#![allow(missing_docs, clippy::unwrap_used)]

mod frame;

use benches::Pair;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use skex_core::Suite;

fn handshakes(criterion: &mut Criterion) {
    for suite in Suite::all() {
        let name = suite.id().name().unwrap();
        let mut group = criterion.benchmark_group(format!("unmediated, {name}"));
        let mut pair = Pair::enrolled(suite);
        println!("{name}: {} octets a handshake", pair.handshake());
        group.bench_function("handshake, both ends", |bencher| bencher.iter(|| pair.handshake()));
        group.bench_function("one key, both ends", |bencher| {
            bencher.iter_batched_ref(
                || {
                    let mut pair = Pair::enrolled(suite);
                    pair.handshake();
                    pair
                },
                Pair::export,
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

/// Processor time, both ends together.
fn peers(criterion: &mut Criterion) {
    frame::beside(criterion, "instead", benches::subjects::peers());
}

criterion_group! {
    name = benches;
    config = frame::frame();
    targets = handshakes, peers
}
criterion_main!(benches);
