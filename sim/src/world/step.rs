//! One step of a world, and the embedder's loop around a machine.

use core::fmt;

use skex_core::machine::{Checkpoint, Destination, Instant, Machine, Output, PathId, Receipt};

use super::{Arrived, Departed, Departure, Failure, Happened, NodeId, Receipts, World};
use crate::disk::PowerLoss;
use crate::net::Address;

/// More outputs than this without a wait, and the machine counts as a runaway.
const LONGEST_DRAIN: usize = 100_000;

/// More timeouts than this at one instant, each leaving a deadline that has come already, and it does too.
const MOST_IDLE_TIMEOUTS: u32 = 4;

/// What can happen next. At one instant, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Stored(NodeId),
    Delivery,
    Timeout(NodeId),
    Restart(NodeId),
}

impl<M: Machine> World<M>
where
    M::Event: fmt::Debug,
{
    /// Lets happen what happens next, if that is not after `end`.
    pub(super) fn step_before(&mut self, end: Instant) -> bool {
        let Some((at, next)) = self.next().filter(|(at, _)| *at <= end) else { return false };
        self.clock.advance_to(at);
        match next {
            Next::Stored(node) => {
                if let Some(receipt) = self.take_receipt(node) {
                    self.acknowledge(node, receipt);
                }
            }
            Next::Delivery => {
                if let Some(delivery) = self.net.take_next() {
                    self.handle_message(delivery.to, delivery.from.path(), &delivery.bytes);
                }
            }
            Next::Timeout(node) => self.handle_timeout(node),
            Next::Restart(node) => self.restart(node),
        }
        true
    }

    fn next(&self) -> Option<(Instant, Next)> {
        let of_nodes = self.nodes().flat_map(|id| {
            let node = self.node(id);
            let drives = !node.has_failed && !node.is_runaway;
            [
                node.held.front().and_then(|(due, _)| *due).map(|at| (at, Next::Stored(id))),
                node.deadline.filter(|_| drives).map(|at| (node.skew.world(at), Next::Timeout(id))),
                node.restart_at.map(|at| (at, Next::Restart(id))),
            ]
        });
        let of_net = self.net.next_at().map(|at| (at, Next::Delivery));
        // What is due from before happens now, and not ahead of its kind.
        of_nodes.flatten().chain(of_net).map(|(at, next)| (at.max(self.now()), next)).min()
    }

    pub(super) fn handle_message(&mut self, id: NodeId, path: PathId, message: &[u8]) {
        if !self.is_running(id) {
            return;
        }
        let answer =
            self.call_undrained(id, |machine, now, rng| machine.handle_message(now, rng, path, message));
        let (at, from, bytes) = (self.now(), Address::of_path(path), message.to_vec());
        let disposition = answer.and_then(|answer| self.note(id, answer));
        self.arrived.push(Arrived { node: id, at, from, bytes, disposition });
        self.drain(id);
    }

    fn handle_timeout(&mut self, id: NodeId) {
        let answer = self.call_undrained(id, |machine, now, rng| machine.handle_timeout(now, rng));
        answer.and_then(|answer| self.note(id, answer));
        self.drain(id);
        let now = self.local_now(id);
        let node = self.node_mut(id);
        let moves_on = node.deadline.is_none_or(|deadline| deadline > now);
        node.idle_timeouts = if moves_on { 0 } else { node.idle_timeouts.saturating_add(1) };
        node.is_runaway |= node.idle_timeouts > MOST_IDLE_TIMEOUTS;
    }

    pub(super) fn acknowledge(&mut self, id: NodeId, receipt: Receipt) {
        if self.loses_power(id) {
            return;
        }
        let answer = self.call_undrained(id, |machine, _, _| machine.handle_persisted(receipt));
        answer.and_then(|answer| self.note(id, answer));
        self.drain(id);
    }

    /// Polls the machine of `id` and does what it wants, until it waits.
    pub(super) fn drain(&mut self, id: NodeId) {
        for _ in 0..LONGEST_DRAIN {
            let Some(output) = self.node_mut(id).machine.as_mut().map(Machine::poll_output) else { return };
            match output {
                Output::Persist(checkpoint) => self.persist(id, checkpoint),
                Output::Transmit(transmit) => {
                    if self.loses_power(id) {
                        return;
                    }
                    let bytes = transmit.payload.as_ref().to_vec();
                    let sent =
                        Departed::Sent { to: transmit.to, class: transmit.class, bytes: bytes.clone() };
                    self.log(id, sent);
                    if let Some(to) = self.address_of(id, transmit.to) {
                        self.net.send(self.clock.now(), id, to, bytes);
                    }
                    self.loses_power(id);
                }
                Output::Event(event) => {
                    if self.loses_power(id) {
                        return;
                    }
                    let told = Departed::Told((self.describe)(&event));
                    self.log(id, told);
                    self.events.push(Happened { node: id, at: self.clock.now(), event });
                    self.loses_power(id);
                }
                Output::Wait(deadline) => {
                    self.node_mut(id).deadline = deadline;
                    return;
                }
            }
        }
        self.node_mut(id).is_runaway = true;
    }

    /// Polls the machine of `id` until it waits, and says what it wants instead of doing it.
    pub(super) fn drain_aside(&mut self, id: NodeId) -> Vec<Departed> {
        let describe = self.describe;
        let node = self.node_mut(id);
        let mut departed = Vec::new();
        while let Some(output) = node.machine.as_mut().map(Machine::poll_output) {
            if departed.len() >= LONGEST_DRAIN {
                node.is_runaway = true;
                break;
            }
            departed.push(match output {
                Output::Persist(checkpoint) => Departed::Stored(checkpoint.record().as_ref().to_vec()),
                Output::Transmit(sent) => {
                    Departed::Sent { to: sent.to, class: sent.class, bytes: sent.payload.as_ref().to_vec() }
                }
                Output::Event(event) => Departed::Told(describe(&event)),
                Output::Wait(deadline) => {
                    node.deadline = deadline;
                    break;
                }
            });
        }
        departed
    }

    fn persist(&mut self, id: NodeId, checkpoint: Checkpoint<M::Record>) {
        self.log(id, Departed::Stored(checkpoint.record().as_ref().to_vec()));
        if self.loses_power(id) {
            return;
        }
        let now = self.clock.now();
        let node = self.node_mut(id);
        let number = node.checkpoints;
        node.checkpoints = node.checkpoints.saturating_add(1);
        let due = match node.receipts {
            Receipts::After(delay) => Some(now.saturating_add(delay)),
            Receipts::Withheld { from } if number >= from => None,
            Receipts::AtOnce | Receipts::Withheld { .. } => {
                let stored = checkpoint.commit_with(|record| node.disk.store(record));
                match stored {
                    Ok(receipt) => self.acknowledge_within_drain(id, receipt),
                    Err(_) => self.kill(id),
                }
                return;
            }
        };
        let (record, pending) = checkpoint.into_parts();
        if node.disk.write(record).is_err() {
            self.kill(id);
            return;
        }
        node.held.push_back((due, pending));
        self.loses_power(id);
    }

    fn acknowledge_within_drain(&mut self, id: NodeId, receipt: Receipt) {
        if self.loses_power(id) {
            return;
        }
        let answer = self.call_undrained(id, |machine, _, _| machine.handle_persisted(receipt));
        answer.and_then(|answer| self.note(id, answer));
    }

    /// Passes a point at which `id` may be meant to crash; true if it just did.
    fn loses_power(&mut self, id: NodeId) -> bool {
        let how: Option<PowerLoss> = self.node_mut(id).passes_point();
        if let Some(how) = how {
            self.crash(id, how);
        }
        how.is_some()
    }

    fn address_of(&self, id: NodeId, to: Destination) -> Option<Address> {
        match to {
            Destination::Path(path) => Some(Address::of_path(path)),
            Destination::Peer(handle) => self.node(id).routes.get(&handle).copied(),
            _ => unreachable!("skex_core knows no other destination"),
        }
    }

    fn log(&mut self, node: NodeId, what: Departed) {
        self.departures.push(Departure { node, at: self.clock.now(), what });
    }

    /// Keeps what an error says; the machine is not driven on.
    fn note<T>(&mut self, id: NodeId, answer: Result<T, M::Error>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(error) => {
                self.node_mut(id).has_failed = true;
                self.failures.push(Failure { node: id, at: self.clock.now(), error });
                None
            }
        }
    }
}
