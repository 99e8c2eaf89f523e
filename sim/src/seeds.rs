//! Many seeds, and the one that failed by its name.

use core::ops::Range;
use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};

/// Runs `scenario` with every seed in `seeds` and names the seed of the first run that panics.
///
/// To look at that run alone, call the scenario with that seed: nothing else decides what happens in it.
///
/// # Panics
///
/// As `scenario` does.
pub fn for_each_seed(seeds: Range<u64>, mut scenario: impl FnMut(u64)) {
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            // To the standard error of the test, which shows it beside the panic's own message.
            eprintln!("the scenario fails with seed {seed}");
            resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests {
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
}
