//! A handshake of two unmediated peers in memory, both ends together, and one key for an application.
//!
//! Peers to measure beside it: snow NNpsk0 and KKpsk0, ML-KEM-768, X25519, TLS 1.3 with a PSK.
#![allow(missing_docs, clippy::unwrap_used)]

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

criterion_group!(benches, handshakes);
criterion_main!(benches);
