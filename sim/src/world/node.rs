//! One node: a machine or the lack of one, and what survives it.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use rand_core::CryptoRng;
use skex_core::machine::{Instant, Machine, PeerHandle};

use super::Held;
use crate::clock::Skew;
use crate::dice::Dice;
use crate::disk::{Disk, PowerLoss};
use crate::net::Address;

/// A node of a world, by the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The node of this number; the first one added is 0.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// What a node boots with.
#[non_exhaustive]
pub struct Boot<'a> {
    /// Which node.
    pub node: NodeId,
    /// Its time.
    pub now: Instant,
    /// Its disk as it reads now.
    pub disk: &'a Disk,
    /// Its randomness.
    pub rng: &'a mut dyn CryptoRng,
}

impl fmt::Debug for Boot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boot").field("node", &self.node).field("now", &self.now).finish_non_exhaustive()
    }
}

/// When a node gets the receipts of its checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receipts {
    /// At once: the store blocks.
    AtOnce,
    /// So much later: the store answers when it has synced, and the world goes on meanwhile.
    After(Duration),
    /// When the test takes them and gives them, from the checkpoint of this number on, counted from 0 since the node
    /// was added; those before at once.
    Withheld {
        /// The first one withheld.
        from: u64,
    },
}

impl Receipts {
    /// None from now on.
    pub const WITHHELD: Self = Self::Withheld { from: 0 };
}

pub(super) struct Node<M> {
    pub(super) machine: Option<M>,
    pub(super) boot: Box<dyn FnMut(Boot<'_>) -> M>,
    pub(super) disk: Disk,
    pub(super) dice: Dice,
    pub(super) skew: Skew,
    pub(super) routes: BTreeMap<PeerHandle, Address>,
    // In the node's own time.
    pub(super) deadline: Option<Instant>,
    pub(super) receipts: Receipts,
    pub(super) held: VecDeque<Held>,
    pub(super) checkpoints: u64,
    pub(super) points: u64,
    pub(super) crash_at: Option<(u64, PowerLoss)>,
    pub(super) restart_at: Option<Instant>,
    pub(super) idle_timeouts: u32,
    pub(super) has_failed: bool,
    pub(super) is_runaway: bool,
}

impl<M: Machine> Node<M> {
    pub(super) fn new(disk: Disk, dice: Dice, boot: Box<dyn FnMut(Boot<'_>) -> M>) -> Self {
        Self {
            machine: None,
            boot,
            disk,
            dice,
            skew: Skew::default(),
            routes: BTreeMap::new(),
            deadline: None,
            receipts: Receipts::AtOnce,
            held: VecDeque::new(),
            checkpoints: 0,
            points: 0,
            crash_at: None,
            restart_at: None,
            idle_timeouts: 0,
            has_failed: false,
            is_runaway: false,
        }
    }

    /// Drops the machine and what it waits for.
    pub(super) fn stop(&mut self, restart_at: Option<Instant>) {
        self.machine = None;
        self.deadline = None;
        self.held.clear();
        self.restart_at = restart_at;
    }

    pub(super) fn boot(&mut self, node: NodeId, now: Instant) {
        self.has_failed = false;
        self.is_runaway = false;
        self.idle_timeouts = 0;
        let rng = self.dice.rng();
        self.machine = Some((self.boot)(Boot { node, now, disk: &self.disk, rng }));
    }

    /// Passes a point; true if the node is to lose power here.
    pub(super) fn passes_point(&mut self) -> Option<PowerLoss> {
        let here = self.points;
        self.points = self.points.saturating_add(1);
        self.crash_at.take_if(|(number, _)| *number == here).map(|(_, how)| how)
    }
}

impl<M> fmt::Debug for Node<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("runs", &self.machine.is_some())
            .field("deadline", &self.deadline)
            .field("checkpoints", &self.checkpoints)
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}
