//! Laws of what comes in: junk, time, misuse and floods.

use core::fmt;
use std::collections::BTreeMap;

use rand_core::CryptoRng;
use skex_core::machine::{Destination, Disposition, Instant, Machine, PathId};

use super::run::same;
use super::{Broken, Trial};
use crate::dice::Dice;
use crate::link::damage;
use crate::world::{Arrived, Departed, NodeId, Receipts, World};

/// The path from which junk comes: nobody's address.
const STRANGER: PathId = PathId::new(u64::MAX);

/// Law 4: random bytes and damaged copies of real messages are discarded, draw no reply but what the trial allows and
/// none that is larger, and change nothing: the run goes on as if they had not come.
///
/// # Errors
///
/// [`Broken`] with the junk that did something.
pub fn junk<M: Machine>(trial: &Trial<M>, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    const LAW: &str = "junk";
    let honest = honest_run(trial, seed);
    let mut dice = Dice::new(seed);
    let mut world = trial.world(seed);
    let mut given = 0_usize;
    let mut broken = None;
    trial.run_watched(&mut world, |world| {
        for node in world.nodes() {
            // More in every state than there are states, and some left for the last one.
            for _ in 0..8 {
                if broken.is_none() && given < trial.most_junk && world.is_running(node) {
                    given = given.saturating_add(1);
                    let message = piece_of_junk(&mut dice, node, honest.arrived());
                    broken = give_junk(trial, LAW, world, node, &message, |now| now).err();
                }
            }
        }
    });
    broken.map_or_else(|| same(LAW, &honest, &world), Err)
}

/// Law 5: a timeout before the deadline and a time from the past do nothing, and timers move on.
///
/// # Errors
///
/// [`Broken`] with what it did.
pub fn time<M: Machine>(trial: &Trial<M>, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    const LAW: &str = "time";
    let honest = honest_run(trial, seed);
    let mut world = trial.world(seed);
    let mut broken = None;
    trial.run_watched(&mut world, |world| {
        for node in world.nodes() {
            let now = world.local_now(node);
            if world.deadline(node).is_some_and(|deadline| deadline <= now) {
                continue;
            }
            let past = Instant::from_millis(now.as_millis() / 2);
            for then in [now, past, Instant::ZERO, now] {
                let early =
                    world.poke(node, |machine, _, rng| machine.handle_timeout(then, rng).map_err(drop));
                match early {
                    None => {}
                    Some((Ok(()), departed)) if departed.is_empty() => {}
                    Some(did) => {
                        broken = Some(Broken::new(
                            LAW,
                            format!("a timeout at {then:?}, with {now:?} seen, did {did:?} at {node:?}"),
                        ));
                    }
                }
            }
            if let Err(early) = give_junk(trial, LAW, world, node, &[], |_| Instant::ZERO) {
                broken = Some(early);
            }
        }
    });
    if let Some(broken) = broken {
        return Err(broken);
    }
    if let Some(node) = world.nodes().find(|node| honest.is_runaway(*node)) {
        return Err(Broken::new(LAW, format!("a timer of {node:?} is due again and again at one instant")));
    }
    same(LAW, &honest, &world)?;
    clocks_set_back(trial, LAW, seed)
}

/// With every clock set back after a run, no machine of another run arms a timer for a time that it has seen pass.
fn clocks_set_back<M: Machine>(trial: &Trial<M>, law: &'static str, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    let mut world = honest_run(trial, seed);
    // What each machine has certainly seen: the time of its last message.
    let last = |node| messages_to(node, world.arrived()).last().map(|arrived| arrived.at);
    let seen: BTreeMap<_, _> = world.nodes().filter_map(|node| Some((node, last(node)?))).collect();
    let back = world.now().as_millis();
    for node in world.nodes() {
        world.set_clock_behind(node, back);
    }
    let mut broken = None;
    trial.run_watched(&mut world, |world| {
        for (&node, &seen) in &seen {
            let deadline = world.deadline(node);
            if world.local_now(node) < seen && deadline.is_some_and(|deadline| deadline < seen) {
                let seen = format!("{node:?} has seen {seen:?} pass and waits for {deadline:?}");
                broken = Some(Broken::new(law, seen));
            }
        }
    });
    broken.map_or(Ok(()), Err)
}

/// Law 3, for what does not fail the machine: `misuse`, called in every state, leaves it as it was. It returns whether
/// it was refused; where it was not, the check does not judge it and gives up.
///
/// # Errors
///
/// [`Broken`] with what it did.
pub fn no_half_step<M: Machine>(
    trial: &Trial<M>,
    seed: u64,
    misuse: impl Fn(NodeId, &mut M, Instant, &mut dyn CryptoRng) -> bool,
) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    const LAW: &str = "no_half_step";
    let honest = honest_run(trial, seed);
    let mut world = trial.world(seed);
    let mut broken = None;
    trial.run_watched(&mut world, |world| {
        for node in world.nodes() {
            match world.poke(node, |machine, now, rng| misuse(node, machine, now, rng)) {
                None => {}
                Some((true, departed)) if departed.is_empty() => {}
                Some((refused, departed)) => {
                    broken = Some(Broken::new(
                        LAW,
                        format!("misuse at {node:?}: refused is {refused}, and {departed:?} left"),
                    ));
                }
            }
        }
    });
    broken.map_or_else(|| same(LAW, &honest, &world), Err)
}

/// Law 7: with everything thrown at it, again and again, undrained and with its receipts withheld, a machine neither
/// panics nor gathers more outputs than the trial says, nor holds more inside than it says itself ([`Trial::overfull`]).
///
/// # Errors
///
/// [`Broken`] with the number of outputs. A panic is not caught.
pub fn bounds<M: Machine>(trial: &Trial<M>, seed: u64) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    const LAW: &str = "bounds";
    let honest = honest_run(trial, seed);
    for drains in [false, true] {
        let mut dice = Dice::new(seed);
        let mut world = trial.world(seed);
        for node in world.nodes() {
            world.set_receipts(node, Receipts::WITHHELD);
            let real: Vec<_> = messages_to(node, honest.arrived()).cloned().collect();
            let before = world.departures().len();
            for number in 0..trial.flood {
                let message = match real.get(number.checked_rem(real.len()).unwrap_or(0)) {
                    Some(arrived) if dice.chance(800) => arrived.bytes.clone(),
                    _ => piece_of_junk(&mut dice, node, honest.arrived()),
                };
                let from = PathId::new(dice.below(64));
                let overfull = world.call_undrained(node, |machine, now, rng| {
                    (trial.act)(node, machine, now, rng);
                    // Refusals are for the law of junk to judge; here only what gathers counts.
                    drop(machine.handle_message(now, rng, from, &message));
                    drop(machine.handle_timeout(now, rng));
                    (trial.overfull)(machine)
                });
                if let Some(table) = overfull.flatten() {
                    return Err(Broken::new(LAW, format!("{node:?}, flooded: {table}")));
                }
                if drains {
                    world.call(node, |_, _, _| ());
                }
            }
            world.call(node, |_, _, _| ());
            let stored = count(&world, before, node, |what| matches!(what, Departed::Stored(_)));
            world.release_receipts(node);
            let others = count(&world, before, node, |what| !matches!(what, Departed::Stored(_)));
            // What leaves while the flood goes on is no matter of bounds, so there only the checkpoint counts.
            let (outputs, most) = if drains { (stored, 1) } else { (others, trial.most_outputs) };
            if outputs > most || world.is_runaway(node) {
                let seen = format!("{node:?} gave {outputs} outputs after a flood, {most} are allowed");
                return Err(Broken::new(LAW, seen));
            }
        }
    }
    Ok(())
}

fn count<M: Machine>(world: &World<M>, from: usize, node: NodeId, what: impl Fn(&Departed) -> bool) -> usize
where
    M::Event: fmt::Debug,
{
    let departures = world.departures().get(from..).unwrap_or_default();
    departures.iter().filter(|departure| departure.node == node && what(&departure.what)).count()
}

fn honest_run<M: Machine>(trial: &Trial<M>, seed: u64) -> World<M>
where
    M::Event: fmt::Debug,
{
    let mut world = trial.world(seed);
    trial.run(&mut world);
    world
}

fn messages_to(node: NodeId, arrived: &[Arrived]) -> impl Iterator<Item = &Arrived> {
    arrived.iter().filter(move |arrived| arrived.node == node)
}

/// Random bytes, or a real message to `node` that was damaged.
fn piece_of_junk(dice: &mut Dice, node: NodeId, arrived: &[Arrived]) -> Vec<u8> {
    let real: Vec<_> = messages_to(node, arrived).collect();
    let length = dice.index(400);
    match real.get(dice.index(real.len())) {
        Some(arrived) if dice.chance(800) => {
            let mut bytes = arrived.bytes.clone();
            damage(dice, &mut bytes);
            bytes
        }
        _ => dice.bytes(length),
    }
}

fn give_junk<M: Machine>(
    trial: &Trial<M>,
    law: &'static str,
    world: &mut World<M>,
    node: NodeId,
    message: &[u8],
    when: impl Fn(Instant) -> Instant,
) -> Result<(), Broken>
where
    M::Event: fmt::Debug,
{
    let given = world.poke(node, |machine, now, rng| {
        machine.handle_message(when(now), rng, STRANGER, message).map_err(drop)
    });
    let Some((disposition, departed)) = given else { return Ok(()) };
    let broken = |seen: String| Err(Broken::new(law, format!("{node:?}, given {message:02x?}: {seen}")));
    if !matches!(disposition, Ok(Disposition::Discarded(_))) {
        return broken(format!("{disposition:?}"));
    }
    let mut answered = 0_usize;
    for what in &departed {
        if let Departed::Sent { to, bytes, .. } = what {
            answered = answered.saturating_add(bytes.len());
            if *to != Destination::Path(STRANGER) {
                return broken(format!("an answer to {to:?}"));
            }
        }
        if !(trial.may_answer_junk)(node, message, what) {
            return broken(format!("{what:?} left"));
        }
    }
    if answered > message.len() {
        return broken(format!("an answer of {answered} bytes"));
    }
    Ok(())
}
