//! Many seeds, and the one that failed by its name.

use core::fmt::Write as _;
use core::ops::Range;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::panic::{catch_unwind, resume_unwind};
use std::thread;

/// The environment variable that names the one seed to run.
const ONE_SEED: &str = "SKEX_SEED";

/// Runs `scenario` with every seed in `seeds` and names the seed of the first run that panics.
///
/// To look at that run alone, give its seed in the environment variable `SKEX_SEED`: nothing else decides what happens
/// in it. Then no other seed is run, here and in [`for_each_seed_at_once`].
///
/// # Panics
///
/// As `scenario` does.
pub fn for_each_seed(seeds: Range<u64>, mut scenario: impl FnMut(u64)) {
    for seed in only(seeds, std::env::var(ONE_SEED).ok().as_deref()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            // To the standard error of the test, which shows it beside the panic's own message.
            eprintln!("{}", verdict(seed, thread::current().name()));
            resume_unwind(panic);
        }
    }
}

/// As [`for_each_seed`], on all processors at once and in no order.
///
/// # Panics
///
/// As `scenario` does.
pub fn for_each_seed_at_once(seeds: Range<u64>, scenario: impl Fn(u64) + Sync) {
    let seeds = only(seeds, std::env::var(ONE_SEED).ok().as_deref());
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let test = thread::current().name().map(str::to_owned);
    let run = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
                failed.store(true, Ordering::Relaxed);
                eprintln!("{}", verdict(seed, test.as_deref()));
                resume_unwind(panic);
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, core::num::NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
    });
}

/// The seeds to run: those of a scenario, or the one that somebody wants to look at.
fn only(seeds: Range<u64>, wanted: Option<&str>) -> Range<u64> {
    match wanted.and_then(|seed| seed.parse::<u64>().ok()) {
        Some(seed) => seed..seed.saturating_add(1),
        None => seeds,
    }
}

/// What failed, and how to see it again. The threads of tests bear the names of the tests.
fn verdict(seed: u64, test: Option<&str>) -> String {
    let mut verdict = format!("the scenario fails with seed {seed}; alone: {ONE_SEED}={seed} cargo test");
    if let Some(test) = test.filter(|test| *test != "main") {
        let _ = write!(verdict, " {test}");
    }
    verdict
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_seed_is_run_and_the_first_failure_ends_it() {
        let mut seen = Vec::new();
        for_each_seed(3..6, |seed| seen.push(seed));
        assert_eq!(seen, [3, 4, 5]);

        let mut last = 0;
        let run = catch_unwind(AssertUnwindSafe(|| {
            for_each_seed(0..10, |seed| {
                last = seed;
                assert_ne!(seed, 4);
            });
        }));
        assert!(run.is_err());
        assert_eq!(last, 4);
    }

    #[test]
    fn every_seed_is_run_once_at_once_and_a_failure_is_one() {
        let seen = Mutex::new(Vec::new());
        for_each_seed_at_once(3..60, |seed| seen.lock().unwrap().push(seed));
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen.len(), 57);
        assert_eq!(seen.into_iter().collect::<BTreeSet<u64>>(), (3..60).collect());

        let run = catch_unwind(AssertUnwindSafe(|| {
            for_each_seed_at_once(0..100, |seed| assert_ne!(seed, 40));
        }));
        assert!(run.is_err());
    }

    #[test]
    fn one_seed_can_be_asked_for_and_the_verdict_says_how() {
        assert_eq!((only(0..9, None), only(0..9, Some("17"))), (0..9, 17..18));
        assert_eq!(
            verdict(17, Some("storm::all")),
            "the scenario fails with seed 17; alone: SKEX_SEED=17 cargo test storm::all"
        );
    }
}
