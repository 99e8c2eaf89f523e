//! Laws of machines that come back, and crashes at every point.

use core::fmt;
use core::time::Duration;

use skex_core::machine::Machine;

use super::{Broken, Trial};
use crate::disk::PowerLoss;
use crate::world::{Departed, NodeId, Receipts, World};

/// Law 9: a restored machine first writes what it read anew, and nothing leaves before that is durable; then it works.
///
/// # Errors
///
/// [`Broken`] with what left early, or if the world never gets anywhere again.
pub fn restart_writes_first<M: Machine>(trial: &Trial<M>, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    const LAW: &str = "restart_writes_first";
    for node in trial.world(seed).nodes() {
        let mut world = trial.world(seed);
        trial.run(&mut world);
        world.crash(node, PowerLoss::Any);
        world.set_receipts(node, Receipts::WITHHELD);
        let before = world.departures().len();
        world.restart(node);
        trial.run(&mut world);
        let after = world.departures().get(before..).unwrap_or_default();
        let mut left =
            after.iter().filter(|departure| departure.node == node).map(|departure| &departure.what);
        if !matches!(left.next(), Some(Departed::Stored(_))) {
            return Err(Broken::new(LAW, format!("{node:?} did not begin with a checkpoint")));
        }
        if let Some(early) = left.next() {
            return Err(Broken::new(LAW, format!("{node:?} let go before it wrote: {early:?}")));
        }
        let before = world.departures().len();
        world.release_receipts(node);
        trial.run(&mut world);
        let after = world.departures().get(before..).unwrap_or_default();
        if !after.iter().any(|departure| departure.node == node) {
            return Err(Broken::new(LAW, format!("{node:?} never did anything again")));
        }
    }
    Ok(())
}

/// Lets every node lose power at every point of an honest run where it stores, sends or tells, restarts it `downtime`
/// later, runs the trial once more, and asks `judge` what it thinks of the world. Gives the number of crashes.
///
/// What was written and not yet synced at that moment has the fate `how`; with receipts at once there is nothing such.
///
/// # Errors
///
/// [`Broken`] with what `judge` said, the node and the point.
pub fn every_crash<M: Machine>(
    trial: &Trial<M>,
    seed: u64,
    how: PowerLoss,
    downtime: Duration,
    mut judge: impl FnMut(&World<M>) -> Result<(), String>,
) -> Result<u64, Broken>
where
    M::Event: fmt::Debug,
{
    let fresh = trial.world(seed);
    let mut honest = trial.world(seed);
    trial.run(&mut honest);
    let mut crashes = 0_u64;
    for node in fresh.nodes() {
        for point in fresh.points(node)..honest.points(node) {
            let mut world = trial.world(seed);
            world.restart_after(downtime);
            world.crash_at(node, point, how);
            trial.run(&mut world);
            trial.run(&mut world);
            judge(&world).map_err(|seen| said(node, point, &seen))?;
            crashes = crashes.saturating_add(1);
        }
    }
    Ok(crashes)
}

fn said(node: NodeId, point: u64, seen: &str) -> Broken {
    Broken::new("every_crash", format!("after {node:?} crashed at point {point}: {seen}"))
}
