//! Key schedule and AEAD of each suite.
#![allow(missing_docs, clippy::unwrap_used)]

mod frame;

use core::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use skex_core::{Expander, Label, SecretBytes, Suite, extract};

fn schedule(criterion: &mut Criterion) {
    for suite in Suite::all() {
        let name = suite.id().name().unwrap();
        let mut group = criterion.benchmark_group(format!("schedule, {name}"));
        group.bench_function("extract", |bencher| {
            bencher.iter(|| extract(suite, black_box(&[1; 32]), &[black_box(&[2; 32])]));
        });
        let prk = extract(suite, &[1; 32], &[&[2; 32]]);
        group.bench_function("prepare a key", |bencher| {
            bencher.iter(|| Expander::new(suite, black_box(&prk)));
        });
        let keys = Expander::new(suite, &prk);
        group.bench_function("one output of 32 octets", |bencher| {
            bencher.iter(|| keys.secret::<32>(Label::EXPORT_RAW, &[black_box(&[3; 32])]));
        });
        let key = SecretBytes::<32>::copied_from(&[4; 32]);
        let mut buffer = [0; 64];
        group.bench_function("seal 64 octets", |bencher| {
            bencher.iter(|| suite.seal(black_box(&key), &[5; 12], &[6; 9], black_box(&mut buffer)).unwrap());
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = frame::frame();
    targets = schedule
}
criterion_main!(benches);
