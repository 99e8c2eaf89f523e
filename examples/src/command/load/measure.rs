//! CPU time, memory, and quantiles.

use core::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What this thread has used of a processor.
pub(super) fn thread_cpu() -> Duration {
    duration(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// What this process has used of the processors, all threads together.
pub(super) fn process_cpu() -> Duration {
    duration(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn duration(clock: ClockId) -> Duration {
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// What the process has in memory now, and at most had, in octets.
pub(super) fn memory() -> Result<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024).with_context(|| format!("/proc/self/status lacks {name}"))
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// Of many numbers: how many, and three of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Quantiles {
    pub(super) count: u64,
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) longest: u64,
}

impl Quantiles {
    pub(super) fn of(mut numbers: Vec<u64>) -> Self {
        numbers.sort_unstable();
        let at = |per_cent: usize| numbers.get(numbers.len() * per_cent / 100).copied().unwrap_or(0);
        let longest = numbers.last().copied().unwrap_or(0);
        Self { count: numbers.len() as u64, p50: at(50), p99: at(99), longest }
    }
}

/// `total / parts`, or 0 where there are none.
pub(super) fn each(total: f64, parts: u64) -> f64 {
    if parts == 0 { 0.0 } else { total / parts as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_hundred_numbers_and_of_none() {
        let numbers = (1..=100).rev().collect();
        assert_eq!(Quantiles::of(numbers), Quantiles { count: 100, p50: 51, p99: 100, longest: 100 });
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }
}
