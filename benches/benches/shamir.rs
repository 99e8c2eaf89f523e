//! Sharing and taking together, over threshold, number of hubs and length.
//! Beside them vsss-rs, sharks and blahaj.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod frame;

use core::hint::black_box;

use benches::{generator, octets};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use skex_dske::{Coordinate, Splitter, combine, decode, split};

fn coordinates(count: u8) -> Vec<Coordinate> {
    (1..=count).map(|x| Coordinate::new(x).unwrap()).collect()
}

fn grid(criterion: &mut Criterion) {
    let mut rng = generator(1);
    for (k, n) in [(2, 3), (3, 5), (7, 13), (16, 31)] {
        for length in [64, 112, 1024, 1 << 20] {
            if length > 1024 && n > 5 {
                continue;
            }
            let name = BenchmarkId::new(format!("{k} of {n}"), length);
            let secret = octets(&mut rng, length);
            let mut out = vec![vec![0; length]; n as usize];

            let mut group = criterion.benchmark_group("shamir split, generator included");
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(name.clone(), |bencher| {
                let places = coordinates(n);
                let mut shares: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
                bencher.iter(|| split(&mut rng, k, &places, black_box(&secret), &mut shares).unwrap());
            });
            group.finish();

            let mut group = criterion.benchmark_group("shamir split, direct shares given");
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(name.clone(), |bencher| {
                let splitter = Splitter::new(k, &coordinates(n)).unwrap();
                let (direct, following) = out.split_at_mut(splitter.direct());
                let direct: Vec<&[u8]> = direct.iter().map(Vec::as_slice).collect();
                let mut following: Vec<&mut [u8]> = following.iter_mut().map(Vec::as_mut_slice).collect();
                bencher.iter(|| splitter.split(black_box(&secret), &direct, &mut following).unwrap());
            });
            group.finish();

            let mut group = criterion.benchmark_group("shamir combine");
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(name, |bencher| {
                let shares: Vec<_> = coordinates(n).into_iter().zip(out.iter().map(Vec::as_slice)).collect();
                let mut block = vec![0; length];
                bencher.iter(|| combine(k, black_box(&shares), &mut block).unwrap());
                assert_eq!(block, secret);
            });
            group.finish();
        }
    }
}

/// Decoding with liars in front, against the honest case.
fn liars(criterion: &mut Criterion) {
    let mut rng = generator(2);
    let mut group = criterion.benchmark_group("shamir decode, 112 octets");
    for (k, n, lying) in [(3, 5, 0), (3, 5, 1), (3, 5, 2), (16, 31, 0), (16, 31, 7)] {
        let secret = octets(&mut rng, 112);
        let mut out = vec![vec![0; 112]; n as usize];
        let mut shares: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
        split(&mut rng, k, &coordinates(n), &secret, &mut shares).unwrap();
        for share in &mut shares[..lying] {
            let error = octets(&mut rng, 112);
            share.iter_mut().zip(error).for_each(|(octet, error)| *octet ^= error);
        }
        let shares: Vec<_> = coordinates(n).into_iter().zip(out.iter().map(Vec::as_slice)).collect();
        group.bench_function(format!("{k} of {n}, {lying} lie"), |bencher| {
            bencher.iter(|| decode(k, black_box(&shares), 200_000, |block| block == secret).unwrap());
        });
    }
    group.finish();
}

/// Of crates that do the same: split and combine, 3 of 5.
fn peers(criterion: &mut Criterion) {
    frame::beside(criterion, "shamir, other crates", benches::subjects::shamir());
}

criterion_group! {
    name = benches;
    config = frame::frame();
    targets = grid, liars, peers
}
criterion_main!(benches);
