//! What a relay costs a hub, everything that it does for one counted, with few and with many clients enrolled: two hubs, keys of
//! 256 bits under one-time pads.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod frame;

use core::time::Duration;

use benches::Mesh;
use criterion::{Criterion, criterion_group, criterion_main};

const HUBS: u32 = 2;

/// Keys that each client makes before there are new tables.
const KEYS: usize = 16;

fn relays(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dske, a relay, one hub");
    for (clients, enrolled) in [(2, 2), (500, 1000), (500, 50_000)] {
        let ready = || {
            let mut mesh = Mesh::among(2, 2, 1024, clients, enrolled);
            // Leases are there from the first key on.
            (0..clients).for_each(|client| mesh.key_of(client));
            mesh.hub_time = Some(Duration::ZERO);
            mesh
        };
        let (mut mesh, mut made) = (ready(), 0);
        group.bench_function(format!("{enrolled} clients enrolled"), |bencher| {
            bencher.iter_custom(|keys| {
                let mut spent = Duration::ZERO;
                for _ in 0..keys {
                    if made == KEYS * clients {
                        spent += mesh.hub_time.unwrap();
                        (mesh, made) = (ready(), 0);
                    }
                    // From one to another that is far away.
                    mesh.key_of(made * 211 % clients);
                    made += 1;
                }
                spent += mesh.hub_time.replace(Duration::ZERO).unwrap();
                spent / HUBS
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
