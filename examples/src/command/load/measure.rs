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

/// What the processors of this machine have done since its start, whoever it was for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Processors {
    idle: u64,
    /// For the network and the disk, which is on no process's account.
    interrupts: u64,
    all: u64,
}

/// Parts of the time of all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Unaccounted {
    pub(super) idle: f64,
    pub(super) interrupts: f64,
}

impl Processors {
    /// Nothing, where the operating system does not say (Linux does).
    pub(super) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        stat.lines().next().map(Self::of).unwrap_or_default()
    }

    /// From the first line of `/proc/stat`: user, nice, system, idle, waiting for a disk, interrupts of both kinds, stolen.
    fn of(line: &str) -> Self {
        let ticks = line.split_whitespace().skip(1).take(8).map_while(|ticks| ticks.parse::<u64>().ok());
        let ticks: Vec<u64> = ticks.collect();
        let of = |range: core::ops::Range<usize>| ticks.get(range).map_or(0, |ticks| ticks.iter().sum());
        Self { idle: of(3..5), interrupts: of(5..7), all: of(0..8) }
    }

    /// Since then.
    pub(super) fn since(self, then: Self) -> Unaccounted {
        let part = |ticks: u64| each(ticks as f64, self.all.saturating_sub(then.all));
        let (idle, interrupts) =
            (self.idle.saturating_sub(then.idle), self.interrupts.saturating_sub(then.interrupts));
        Unaccounted { idle: part(idle), interrupts: part(interrupts) }
    }
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

    #[test]
    fn what_processors_did_meanwhile_is_told_apart() {
        let (before, after) = ("cpu  10 1 5 100 4 0 2 0 0 0", "cpu  30 1 25 140 14 0 12 0 0 0");
        let meanwhile = Processors::of(after).since(Processors::of(before));
        assert_eq!(meanwhile, Unaccounted { idle: 0.5, interrupts: 0.1 });
        assert_eq!(Processors::of("cpu").since(Processors::of("")), Unaccounted::default());
    }
}
