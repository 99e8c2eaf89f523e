//! What is measured: one piece of work at a time, ours or a peer's, and the processor time that it takes.

use core::hint::black_box;
use core::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Something that can be done again and again.
pub trait Work {
    /// Once. Gives the octets that it would put on a wire: 0 for what puts none there.
    fn once(&mut self) -> usize;

    /// Makes everything ready for at most [`Self::LIMIT`] times, not measured.
    fn prepare(&mut self) {}

    /// How often it can be done before it has to be made ready again.
    const LIMIT: u64 = u64::MAX;
}

/// As [`Work`], without its type.
pub trait AnyWork {
    /// Processor time for `count` times.
    fn spend(&mut self, count: u64) -> Duration;

    /// Octets on the wire, of once.
    fn octets(&mut self) -> usize;

    /// How often it can be done before it has to be made ready again.
    fn limit(&self) -> u64;

    /// Makes everything ready.
    fn ready(&mut self);

    /// So many times, once it is ready; without a clock, since the one of a process cannot be read under valgrind.
    fn go(&mut self, count: u64);
}

impl<W: Work> AnyWork for W {
    fn spend(&mut self, count: u64) -> Duration {
        let (mut spent, mut left) = (Duration::ZERO, count);
        while left > 0 {
            let batch = left.min(W::LIMIT);
            self.prepare();
            let begun = cpu_time();
            again(self, batch);
            spent += cpu_time() - begun;
            left -= batch;
        }
        spent
    }

    fn octets(&mut self) -> usize {
        self.prepare();
        self.once();
        self.once()
    }

    fn limit(&self) -> u64 {
        W::LIMIT
    }

    fn ready(&mut self) {
        self.prepare();
    }

    fn go(&mut self, count: u64) {
        again(self, count);
    }
}

/// By this name callgrind finds what is measured (benches/count.py).
#[inline(never)]
fn again<W: Work>(work: &mut W, count: u64) {
    for _ in 0..count {
        black_box(work.once());
    }
}

/// Processor time of this process: other programs on the machine do not count.
#[must_use]
pub fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// Something to measure, with a name.
pub struct Subject {
    /// As the tables call it.
    pub name: String,
    work: Box<dyn AnyWork>,
    count: u64,
    best: Duration,
}

impl core::fmt::Debug for Subject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Subject {
    /// Of a name.
    pub fn new(name: impl Into<String>, work: impl Work + 'static) -> Self {
        Self { name: name.into(), work: Box::new(work), count: 0, best: Duration::MAX }
    }

    /// The work, for another way to measure it.
    pub fn work(&mut self) -> &mut dyn AnyWork {
        &mut *self.work
    }

    /// One short measurement, of which the shortest counts.
    fn round(&mut self, wanted: Duration) {
        if self.count == 0 {
            self.count = 1;
            while self.count < 1 << 24 && self.work.spend(self.count) < wanted {
                self.count *= 2;
            }
        }
        let once = self.work.spend(self.count).div_f64(self.count as f64 / 1024.0);
        self.best = self.best.min(once);
    }

    /// Nanoseconds of processor time for once: the shortest of all rounds.
    #[must_use]
    pub fn nanoseconds(&self) -> f64 {
        self.best.as_nanos() as f64 / 1024.0
    }
}

/// Measures all subjects in turn, again and again: what disturbs one round disturbs all, and the shortest counts.
pub fn in_rounds(subjects: &mut [Subject], rounds: u32, wanted: Duration) {
    for _ in 0..rounds {
        for subject in &mut *subjects {
            subject.round(wanted);
        }
    }
}

/// A time as a person says it.
#[must_use]
pub fn in_words(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.2} us", n / 1e3),
        n => format!("{:.2} ms", n / 1e6),
    }
}

/// A ratio as a person says it.
#[must_use]
pub fn share(ratio: f64) -> String {
    if ratio < 0.75 { format!("1/{:.1}", 1.0 / ratio) } else { format!("{ratio:.2} x") }
}
