//! A whole DSKE key in memory, every party: envelope, encoding, ledger, records, pads, tags, sharing.
//! What a user would pick instead is in `unmediated` and `verdict`.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod frame;

use core::time::Duration;
use std::time::Instant;

use benches::Mesh;
use criterion::{Criterion, criterion_group, criterion_main};

/// A key must live its lifetime before it is forgotten: keys in one batch, then time passes, not measured.
const BATCH: u32 = 64;

fn whole_keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dske, a 256-bit key, all parties");
    for (k, n) in [(2, 3), (3, 5), (7, 13), (16, 31)] {
        group.bench_function(format!("{k} of {n}"), |bencher| {
            bencher.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                let mut left = u32::try_from(count).unwrap();
                while left > 0 {
                    // New tables for each batch, since they are used up.
                    let mut mesh = Mesh::connected(k, n, 8192);
                    mesh.key();
                    let batch = left.min(BATCH);
                    let begun = Instant::now();
                    for _ in 0..batch {
                        mesh.key();
                    }
                    spent = spent.saturating_add(begun.elapsed());
                    left = left.saturating_sub(batch);
                }
                spent
            });
        });
    }
    group.finish();
}

fn sizes(_: &mut Criterion) {
    let mut mesh = Mesh::connected(3, 5, 8192);
    mesh.key();
    let (sent, messages) = (mesh.sent, mesh.messages);
    mesh.key();
    println!("3 of 5, 256 bits: {} octets in {} messages", mesh.sent - sent, mesh.messages - messages);
}

criterion_group! {
    name = benches;
    config = frame::frame();
    targets = sizes, whole_keys
}
criterion_main!(benches);
