//! Laws of the gate between a durable change and what depends on it.

use core::fmt;
use std::collections::BTreeSet;

use skex_core::machine::{Machine, Receipt};

use super::{Broken, Trial};
use crate::world::{Departed, Departure, NodeId, Receipts, World};

/// Law 2, first half: with the receipt of a checkpoint withheld, nothing leaves that did not leave before, except what
/// the trial lets pass; with the receipt given, something does.
///
/// Every node and its first checkpoints after boot are tried, each in a run of its own.
///
/// # Errors
///
/// [`Broken`] with what left early.
pub fn barrier<M: Machine>(trial: &Trial<M>, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    const LAW: &str = "barrier";
    let mut released = 0_usize;
    each_gate(trial, seed, |mut world, node, _, since| {
        let early = after_gate(trial, &world, node, since);
        if let Some(early) = early.into_iter().find(|what| !matches!(what, Departed::Stored(_))) {
            return Err(Broken::new(LAW, format!("{node:?} let go before its receipt: {early:?}")));
        }
        let before = world.departures().len();
        world.release_receipts(node);
        let after = world.departures().get(before..).unwrap_or_default();
        released = released.saturating_add(after.iter().filter(|departure| departure.node == node).count());
        Ok(())
    })?;
    if released == 0 {
        return Err(Broken::new(LAW, "no receipt let anything go: the trial tries nothing"));
    }
    Ok(())
}

/// Law 8: while a checkpoint is outstanding no other one comes out, whatever comes in.
///
/// # Errors
///
/// [`Broken`] with the second checkpoint.
pub fn one_checkpoint<M: Machine>(trial: &Trial<M>, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    const LAW: &str = "one_checkpoint";
    each_gate(trial, seed, |world, node, number, _| match world.held_receipts(node) {
        1 => Ok(()),
        held => Err(Broken::new(
            LAW,
            format!("{node:?} has {held} checkpoints outstanding after number {number} was withheld"),
        )),
    })
}

/// Law 2, second half, and law 8: a receipt of another machine, of an instance from before a restart, or for a
/// checkpoint that is not outstanding is refused and lets nothing go.
///
/// # Errors
///
/// [`Broken`] if one is taken or lets something go.
pub fn receipts<M: Machine>(trial: &Trial<M>, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    const LAW: &str = "receipts";
    let mut stale = 0_usize;
    each_gate(trial, seed, |mut world, node, outstanding, _| {
        let whose = |seed, number| {
            let mut other = withheld(trial, seed, node, number);
            trial.run(&mut other);
            other.take_receipt(node)
        };
        if let Some(receipt) = whose(seed.wrapping_add(1), outstanding) {
            refuses(LAW, &mut world, node, receipt, "of another machine")?;
        }
        // The twin of one seed is the same instance: its other receipts are this machine's own, of other numbers.
        let first = trial.world(seed).checkpoints(node);
        for number in outstanding.saturating_sub(1).max(first)..=outstanding.saturating_add(1) {
            if number == outstanding {
                continue;
            }
            if let Some(receipt) = whose(seed, number) {
                refuses(LAW, &mut world, node, receipt, "that is not outstanding")?;
                stale = stale.saturating_add(1);
            }
        }
        let Some(receipt) = world.take_receipt(node) else { return Ok(()) };
        world.restart(node);
        refuses(LAW, &mut world, node, receipt, "from before the restart")
    })?;
    if stale == 0 {
        return Err(Broken::new(LAW, "no machine issued a second checkpoint: the trial tries too little"));
    }
    Ok(())
}

fn refuses<M: Machine>(
    law: &'static str,
    world: &mut World<M>,
    node: NodeId,
    receipt: Receipt,
    kind: &str,
) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    let before = world.departures().len();
    let answer = world.give_receipt(node, receipt);
    if matches!(answer, Some(Ok(()))) {
        return Err(Broken::new(law, format!("{node:?} took a receipt {kind}")));
    }
    match world.departures().get(before) {
        Some(departure) => {
            Err(Broken::new(law, format!("a receipt {kind} let {:?} of {node:?} go", departure.what)))
        }
        None => Ok(()),
    }
}

/// Runs the trial once for every node and each of its first checkpoints after boot, with the receipts from that one on
/// withheld, and gives `judge` the world, the node, the checkpoint's number and where the departures after it begin.
fn each_gate<M: Machine>(
    trial: &Trial<M>,
    seed: u64,
    mut judge: impl FnMut(World<M>, NodeId, u64, usize) -> Result<(), Broken>,
) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    let fresh = trial.world(seed);
    let mut honest = trial.world(seed);
    trial.run(&mut honest);
    let mut gates = 0_usize;
    for node in fresh.nodes() {
        let first = fresh.checkpoints(node);
        let end = honest.checkpoints(node).min(first.saturating_add(trial.most_gates));
        for number in first..end {
            let mut world = withheld(trial, seed, node, number);
            trial.run(&mut world);
            let since = gate_position(&world, node, number);
            judge(world, node, number, since)?;
            gates = gates.saturating_add(1);
        }
    }
    if gates == 0 {
        return Err(Broken::new("barrier", "no machine stores anything after boot: the trial tries nothing"));
    }
    Ok(())
}

fn withheld<M: Machine>(trial: &Trial<M>, seed: u64, node: NodeId, from: u64) -> World<M>
where
    M::Event: fmt::Debug,
{
    let mut world = trial.world(seed);
    world.set_receipts(node, Receipts::Withheld { from });
    world
}

/// Where in the departures those begin that come after checkpoint `number` of `node`.
fn gate_position<M: Machine>(world: &World<M>, node: NodeId, number: u64) -> usize
where
    M::Event: fmt::Debug,
{
    let is_stored =
        |departure: &Departure| departure.node == node && matches!(departure.what, Departed::Stored(_));
    let skip = usize::try_from(number).unwrap_or(usize::MAX);
    let mut stored = world.departures().iter().enumerate().filter(|(_, departure)| is_stored(departure));
    stored.nth(skip).map_or_else(|| world.departures().len(), |(position, _)| position.saturating_add(1))
}

/// What left `node` since then, without what had left before and what the trial lets pass.
fn after_gate<M: Machine>(trial: &Trial<M>, world: &World<M>, node: NodeId, since: usize) -> Vec<Departed>
where
    M::Event: fmt::Debug,
{
    let (before, after) = world.departures().split_at(since.min(world.departures().len()));
    let bytes_of = |what: &Departed| match what {
        Departed::Sent { bytes, .. } => Some(bytes.clone()),
        Departed::Stored(_) | Departed::Told(_) => None,
    };
    let of_node = |departure: &&Departure| departure.node == node;
    let known: BTreeSet<_> =
        before.iter().filter(of_node).filter_map(|departure| bytes_of(&departure.what)).collect();
    let is_new = |what: &Departed| bytes_of(what).is_none_or(|bytes| !known.contains(&bytes));
    after
        .iter()
        .filter(of_node)
        .map(|departure| departure.what.clone())
        .filter(|what| is_new(what) && !(trial.passes_through)(node, what))
        .collect()
}
