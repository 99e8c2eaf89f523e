//! The laws of `skex_core::machine`, as checks that any machine can be put to.
//!
//! A protocol crate describes its machines in a small honest world once, as a [`Trial`], and calls [`all`] or the
//! checks by name. Each gives [`Broken`] with the law and what was seen. A check in which nothing happened that it
//! could have judged is broken too: it would prove nothing.

mod gate;
mod input;
mod restart;
mod run;
mod trial;

use core::fmt;

use skex_core::machine::Machine;

pub use gate::{barrier, one_checkpoint, receipts};
pub use input::{bounds, junk, no_half_step, time};
pub use restart::{every_crash, restart_writes_first};
pub use run::{determinism, drain};
pub use trial::Trial;

/// A law that a machine does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broken {
    /// Its name, as the check is called.
    pub law: &'static str,
    /// What was seen.
    pub seen: String,
}

impl Broken {
    fn new(law: &'static str, seen: impl Into<String>) -> Self {
        Self { law, seen: seen.into() }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the law `{}` is broken: {}", self.law, self.seen)
    }
}

impl core::error::Error for Broken {}

/// Puts `trial` to every law that needs nothing but the trial.
///
/// # Errors
///
/// The first law that is broken.
pub fn all<M: Machine>(trial: &Trial<M>, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    drain(trial, seed)?;
    determinism(trial, seed)?;
    barrier(trial, seed)?;
    receipts(trial, seed)?;
    one_checkpoint(trial, seed)?;
    junk(trial, seed)?;
    time(trial, seed)?;
    bounds(trial, seed)?;
    restart_writes_first(trial, seed)
}
