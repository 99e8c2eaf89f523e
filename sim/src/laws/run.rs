//! Laws that a whole run shows.

use core::fmt;

use skex_core::machine::Machine;

use super::{Broken, Trial};
use crate::world::{Departed, World};

/// Law 1: after every input, polling comes to a wait, and then has nothing more to say.
///
/// # Errors
///
/// [`Broken`] if it does not, or if a machine of the honest run fails.
pub fn drain<M: Machine>(trial: &Trial<M>, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    const LAW: &str = "drain";
    let mut world = trial.world(seed);
    let mut more = None;
    trial.run_watched(&mut world, |world| {
        for node in world.nodes() {
            if let Some(((), departed)) = world.poke(node, |_, _, _| ())
                && !departed.is_empty()
            {
                more = Some(format!("{node:?} had waited, and then gave {departed:?}"));
            }
        }
    });
    if let Some(seen) = more {
        return Err(Broken::new(LAW, seen));
    }
    for node in world.nodes() {
        if world.is_runaway(node) {
            return Err(Broken::new(LAW, format!("{node:?} never comes to wait")));
        }
    }
    if let Some(failure) = world.failures().first() {
        return Err(Broken::new(
            LAW,
            format!("{:?} fails in an honest run: {}", failure.node, failure.error),
        ));
    }
    if !world.departures().iter().any(|departure| !matches!(departure.what, Departed::Stored(_))) {
        return Err(Broken::new(LAW, "nothing was sent or told in the honest run: the trial tries nothing"));
    }
    Ok(())
}

/// Law 6: two runs of one seed are the same, byte for byte.
///
/// # Errors
///
/// [`Broken`] with the first difference.
pub fn determinism<M: Machine>(trial: &Trial<M>, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    let run = || {
        let mut world = trial.world(seed);
        trial.run(&mut world);
        world
    };
    same("determinism", &run(), &run())
}

/// That what left the machines, and what became of the messages, is the same in both worlds.
pub(super) fn same<M: Machine>(law: &'static str, left: &World<M>, right: &World<M>) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    if left.departures().is_empty() {
        return Err(Broken::new(law, "nothing left any machine: the trial tries nothing"));
    }
    first_difference(law, left.departures(), right.departures())?;
    first_difference(law, left.arrived(), right.arrived())
}

fn first_difference<T: PartialEq + fmt::Debug>(
    law: &'static str,
    left: &[T],
    right: &[T],
) -> Result<(), Broken> {
    let equal = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    if equal == left.len() && equal == right.len() {
        return Ok(());
    }
    let show = |all: &[T]| all.get(equal).map_or_else(|| "nothing".to_owned(), |one| format!("{one:?}"));
    Err(Broken::new(law, format!("entry {equal} is {} in one and {} in the other", show(left), show(right))))
}
