//! What a relay costs a hub, everything that it does for one counted, with few and with many clients: two hubs, keys of 256 bits
//! under one-time pads, many at once.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod frame;

use benches::ours::Relays;
use criterion::{Criterion, criterion_group, criterion_main};

fn relays(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dske, a relay, one hub");
    for clients in [100, 1000, 50_000] {
        let mut relays = Relays::among(clients);
        group.bench_function(format!("{clients} clients"), |bencher| {
            bencher.iter_custom(|count| {
                // The first ones make everything ready.
                let batches = count.div_ceil(Relays::AT_ONCE as u64).max(4);
                let spent: core::time::Duration = (0..batches).map(|_| relays.batch()).sum();
                spent.div_f64(batches as f64 * Relays::AT_ONCE as f64 / count as f64)
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = frame::frame();
    targets = relays
}
criterion_main!(benches);
