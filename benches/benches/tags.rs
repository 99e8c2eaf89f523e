//! One-time tags, beside the HMAC that a computational design would use.
#![allow(missing_docs, clippy::unwrap_used)]

mod frame;

use core::hint::black_box;

use benches::{generator, octets};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use skex_core::Suite;
use skex_dske::{MessageTagKey, SecretTagKey};

fn tags(criterion: &mut Criterion) {
    let mut rng = generator(1);
    for length in [24, 128, 1024, 1 << 20] {
        let message = octets(&mut rng, length);
        let key = octets(&mut rng, 48);
        let mut group = criterion.benchmark_group("tag");
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::new("message tag", length), |bencher| {
            let key = key.first_chunk().unwrap();
            bencher.iter(|| MessageTagKey::from_pad(black_box(key)).unwrap().tag(&[black_box(&message)]));
        });
        group.bench_function(BenchmarkId::new("secret tag", length), |bencher| {
            let key = key.first_chunk().unwrap();
            bencher.iter(|| SecretTagKey::from_secret(black_box(key)).tag(black_box(&message), &[7; 148]));
        });
        let suite = Suite::all().next().unwrap();
        group.bench_function(BenchmarkId::new("HMAC-SHA-256", length), |bencher| {
            bencher.iter(|| suite.mac(black_box(&key)).chain(black_box(&message)).finish_truncated16());
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = frame::frame();
    targets = tags
}
criterion_main!(benches);
