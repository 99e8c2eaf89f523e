//! How everything is measured by criterion, and the peers beside it.
#![allow(dead_code, reason = "each bench takes what it needs")]

use core::time::Duration;

use benches::work::Subject;
use criterion::Criterion;

/// Short: much is measured, and only ratios count.
pub(crate) fn frame() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
}

/// Measures subjects by processor time.
pub(crate) fn beside(criterion: &mut Criterion, group: &str, subjects: Vec<Subject>) {
    let mut group = criterion.benchmark_group(group);
    for mut subject in subjects {
        group.bench_function(subject.name.clone(), |bencher| {
            bencher.iter_custom(|count| subject.work().spend(count))
        });
    }
    group.finish();
}
