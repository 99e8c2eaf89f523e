//! Machines, their disks and the net between them, driven by whatever happens next.

mod log;
mod node;
mod step;

use core::fmt;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::CryptoRng;
use skex_core::machine::{Instant, Machine, PathId, PeerHandle, PendingReceipt, Receipt};

use crate::clock::{Clock, Skew};
use crate::dice::Dice;
use crate::disk::{Disk, Layout, PowerLoss};
use crate::net::{Address, Net};
use node::Node;

pub use log::{Arrived, Departed, Departure, Failure, Happened};
pub use node::{Boot, NodeId, Receipts};

/// Why [`World::drive_until`] gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stalled {
    /// Nothing can happen any more: nothing on its way, no timer armed.
    Idle {
        /// The world's time then.
        at: Instant,
    },
    /// The steps are used up.
    OutOfSteps {
        /// The world's time then.
        at: Instant,
    },
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle { at } => write!(f, "nothing can happen any more at {} ms", at.as_millis()),
            Self::OutOfSteps { at } => write!(f, "out of steps at {} ms", at.as_millis()),
        }
    }
}

impl core::error::Error for Stalled {}

/// A world of machines of type `M` (see [`Either`](crate::Either) for several types in one world).
///
/// All that happens in it follows from its seed and from what the test calls.
pub struct World<M: Machine> {
    clock: Clock,
    net: Net,
    dice: Dice,
    // What a machine draws in calls that the honest run does not contain.
    spare: Dice,
    nodes: Vec<Node<M>>,
    restart_delay: Option<Duration>,
    events: Vec<Happened<M::Event>>,
    arrived: Vec<Arrived>,
    departures: Vec<Departure>,
    failures: Vec<Failure<M::Error>>,
    describe: fn(&M::Event) -> String,
}

impl<M: Machine> World<M>
where
    M::Event: fmt::Debug,
{
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        Self {
            clock: Clock::new(),
            net: Net::new(dice.fork()),
            spare: dice.fork(),
            dice,
            nodes: Vec::new(),
            restart_delay: None,
            events: Vec::new(),
            arrived: Vec::new(),
            departures: Vec::new(),
            failures: Vec::new(),
            describe: |event| format!("{event:?}"),
        }
    }

    /// Adds a node with an empty disk of `layout` and boots it. `boot` restores its machine from what the disk holds,
    /// now and at every restart.
    pub fn add_node(&mut self, layout: Layout, boot: impl FnMut(Boot<'_>) -> M + 'static) -> NodeId {
        let seed = self.dice.below(u64::MAX);
        self.add_node_with(Disk::new(layout, seed), boot)
    }

    /// Adds a node with a disk that holds something already, such as what enrolment left, and boots it.
    pub fn add_node_with(&mut self, disk: Disk, boot: impl FnMut(Boot<'_>) -> M + 'static) -> NodeId {
        let node = NodeId::new(u64::try_from(self.nodes.len()).unwrap_or(u64::MAX));
        self.nodes.push(Node::new(disk, self.dice.fork(), Box::new(boot)));
        self.net.move_node(node, Address::new(node.number()));
        self.restart(node);
        node
    }

    /// `at` calls the node `to` by `handle` from now on. Peers without a route are lost in the net.
    pub fn route(&mut self, at: NodeId, handle: PeerHandle, to: NodeId) {
        let address = self.net.address(to);
        self.route_to(at, handle, address);
    }

    /// As [`route`](Self::route), to an address.
    pub fn route_to(&mut self, at: NodeId, handle: PeerHandle, to: Address) {
        self.node_mut(at).routes.insert(handle, to);
    }

    /// Describes events by `describe` in the log of departures, instead of by their `Debug`, which shows no key.
    pub fn describe_events(&mut self, describe: fn(&M::Event) -> String) {
        self.describe = describe;
    }

    /// Every node, in the order in which they were added.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<M> {
        (0..u64::try_from(self.nodes.len()).unwrap_or(u64::MAX)).map(NodeId::new)
    }

    /// The world's time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The time as `node` has it.
    #[must_use]
    pub fn local_now(&self, node: NodeId) -> Instant {
        self.node(node).skew.local(self.clock.now())
    }

    /// Sets the clock of `node` ahead of the world's by so many milliseconds.
    pub fn set_clock_ahead(&mut self, node: NodeId, millis: u64) {
        self.node_mut(node).skew = Skew::ahead(millis);
    }

    /// Sets the clock of `node` behind the world's by so many milliseconds: it stays at zero until those have passed.
    pub fn set_clock_behind(&mut self, node: NodeId, millis: u64) {
        self.node_mut(node).skew = Skew::behind(millis);
    }

    /// The network.
    #[must_use]
    pub const fn net(&self) -> &Net {
        &self.net
    }

    /// The network, to make it worse or better.
    pub const fn net_mut(&mut self) -> &mut Net {
        &mut self.net
    }

    /// The disk of `node`.
    #[must_use]
    pub fn disk(&self, node: NodeId) -> &Disk {
        &self.node(node).disk
    }

    /// The disk of `node`, to let it fail or to roll it back.
    pub fn disk_mut(&mut self, node: NodeId) -> &mut Disk {
        &mut self.node_mut(node).disk
    }

    /// The machine of `node`, if it runs.
    #[must_use]
    pub fn machine(&self, node: NodeId) -> Option<&M> {
        self.node(node).machine.as_ref()
    }

    /// Calls a verb of the machine of `node`, then drains it. `None` if it does not run.
    pub fn call<T>(
        &mut self,
        node: NodeId,
        verb: impl FnOnce(&mut M, Instant, &mut dyn CryptoRng) -> T,
    ) -> Option<T> {
        let answer = self.call_undrained(node, verb)?;
        self.drain(node);
        Some(answer)
    }

    /// Calls a verb of the machine of `node` and does not poll it. `None` if it does not run.
    pub fn call_undrained<T>(
        &mut self,
        node: NodeId,
        verb: impl FnOnce(&mut M, Instant, &mut dyn CryptoRng) -> T,
    ) -> Option<T> {
        let now = self.local_now(node);
        let node = self.node_mut(node);
        node.machine.as_mut().map(|machine| verb(machine, now, node.dice.rng()))
    }

    /// Calls the machine of `node` as if aside: it draws from another generator, and what it then wants done is
    /// returned and not carried out. Where the call is a no-op by contract, the world goes on as if it had not been.
    pub fn poke<T>(
        &mut self,
        node: NodeId,
        call: impl FnOnce(&mut M, Instant, &mut ChaCha20Rng) -> T,
    ) -> Option<(T, Vec<Departed>)> {
        let now = self.local_now(node);
        let mut spare = self.spare.fork();
        let answer = self.node_mut(node).machine.as_mut().map(|machine| call(machine, now, spare.rng()))?;
        Some((answer, self.drain_aside(node)))
    }

    /// Feeds `message` to the machine of `node` at once, as if it had arrived on `path`, and drains it.
    pub fn deliver(&mut self, node: NodeId, path: PathId, message: &[u8]) {
        self.handle_message(node, path, message);
    }

    /// Everything that the applications were told, in order.
    #[must_use]
    pub fn events(&self) -> &[Happened<M::Event>] {
        &self.events
    }

    /// As [`events`](Self::events), by value; they are forgotten here.
    pub fn take_events(&mut self) -> Vec<Happened<M::Event>> {
        core::mem::take(&mut self.events)
    }

    /// What became of every message that reached a machine, in order.
    #[must_use]
    pub fn arrived(&self) -> &[Arrived] {
        &self.arrived
    }

    /// Everything that left a machine, in order: checkpoints, datagrams, events.
    #[must_use]
    pub fn departures(&self) -> &[Departure] {
        &self.departures
    }

    /// What went wrong by a call or a message: by contract only what a failed machine answers.
    #[must_use]
    pub fn failures(&self) -> &[Failure<M::Error>] {
        &self.failures
    }

    /// Loses the power of `node`: its machine is gone, its disk keeps what `how` says.
    pub fn crash(&mut self, node: NodeId, how: PowerLoss) {
        let restart = self.restart_delay.map(|delay| self.clock.now().saturating_add(delay));
        let node = self.node_mut(node);
        node.stop(restart);
        node.disk.lose_power(how);
    }

    /// Ends the process of `node`: its machine is gone, its disk stays as it reads now.
    pub fn kill(&mut self, node: NodeId) {
        let restart = self.restart_delay.map(|delay| self.clock.now().saturating_add(delay));
        self.node_mut(node).stop(restart);
    }

    /// Boots `node` again from its disk, as it was booted when it was added; ends the machine that it has, if any.
    pub fn restart(&mut self, node: NodeId) {
        let now = self.local_now(node);
        let state = self.node_mut(node);
        state.stop(None);
        state.boot(node, now);
        self.drain(node);
    }

    /// As [`restart`](Self::restart), with another `boot` from now on.
    pub fn restart_with(&mut self, node: NodeId, boot: impl FnMut(Boot<'_>) -> M + 'static) {
        self.node_mut(node).boot = Box::new(boot);
        self.restart(node);
    }

    /// Restarts every node so long after it crashes or its store fails. Without, the test restarts them.
    pub const fn restart_after(&mut self, delay: Duration) {
        self.restart_delay = Some(delay);
    }

    /// Lets `node` lose power at point `number`: before or after it stores a checkpoint, sends a datagram or tells an
    /// event, in the order in which it comes to these points, counted from 0 since it was added.
    pub fn crash_at(&mut self, node: NodeId, number: u64, how: PowerLoss) {
        self.node_mut(node).crash_at = Some((number, how));
    }

    /// How many points, as [`crash_at`](Self::crash_at) counts them, `node` has passed.
    #[must_use]
    pub fn points(&self, node: NodeId) -> u64 {
        self.node(node).points
    }

    /// Whether `node` has a machine that has not failed and is no runaway.
    #[must_use]
    pub fn is_running(&self, node: NodeId) -> bool {
        let node = self.node(node);
        node.machine.is_some() && !node.has_failed && !node.is_runaway
    }

    /// Whether the machine of `node` broke the law of draining: it never came to wait, or a timer never moved on.
    #[must_use]
    pub fn is_runaway(&self, node: NodeId) -> bool {
        self.node(node).is_runaway
    }

    /// How many checkpoints `node` has issued since it was added.
    #[must_use]
    pub fn checkpoints(&self, node: NodeId) -> u64 {
        self.node(node).checkpoints
    }

    /// What the machine of `node` waits for, in its own time.
    #[must_use]
    pub fn deadline(&self, node: NodeId) -> Option<Instant> {
        self.node(node).deadline
    }

    /// When `node` gets the receipts of its checkpoints from now on.
    pub fn set_receipts(&mut self, node: NodeId, receipts: Receipts) {
        self.node_mut(node).receipts = receipts;
    }

    /// How many checkpoints of `node` are written and not acknowledged.
    #[must_use]
    pub fn held_receipts(&self, node: NodeId) -> usize {
        self.node(node).held.len()
    }

    /// Takes the oldest receipt that `node` waits for, and syncs its disk: it has to come back by
    /// [`give_receipt`](Self::give_receipt), here or elsewhere.
    pub fn take_receipt(&mut self, node: NodeId) -> Option<Receipt> {
        let node = self.node_mut(node);
        let (_, pending) = node.held.pop_front()?;
        node.disk.sync();
        Some(pending.assume_durable())
    }

    /// Gives `node` a receipt, its own or not, then drains it. `None` if it does not run.
    pub fn give_receipt(&mut self, node: NodeId, receipt: Receipt) -> Option<Result<(), M::Error>> {
        self.call(node, |machine, _, _| machine.handle_persisted(receipt))
    }

    /// Stores what `node` waits for, and goes back to receipts at once.
    pub fn release_receipts(&mut self, node: NodeId) {
        self.set_receipts(node, Receipts::AtOnce);
        while let Some(receipt) = self.take_receipt(node) {
            self.acknowledge(node, receipt);
        }
    }

    /// Lets happen what happens next. False if nothing can.
    pub fn step(&mut self) -> bool {
        self.step_before(Instant::from_millis(u64::MAX))
    }

    /// Lets happen what happens next, if that is not after `end`; otherwise lets time pass until then and says false.
    pub fn step_until(&mut self, end: Instant) -> bool {
        let happened = self.step_before(end);
        if !happened {
            self.clock.advance_to(end);
        }
        happened
    }

    /// Lets everything happen that does in `duration`, and time pass. False if that takes more than `max_steps`.
    pub fn run_for(&mut self, duration: Duration, max_steps: usize) -> bool {
        let end = self.clock.now().saturating_add(duration);
        (0..max_steps).any(|_| !self.step_until(end))
    }

    /// Steps until `reached` says so.
    ///
    /// # Errors
    ///
    /// [`Stalled`] if nothing can happen any more, or after `max_steps`.
    pub fn drive_until(
        &mut self,
        mut reached: impl FnMut(&Self) -> bool,
        max_steps: usize,
    ) -> Result<(), Stalled> {
        for _ in 0..max_steps {
            if reached(self) {
                return Ok(());
            }
            if !self.step() {
                return Err(Stalled::Idle { at: self.clock.now() });
            }
        }
        if reached(self) { Ok(()) } else { Err(Stalled::OutOfSteps { at: self.clock.now() }) }
    }

    #[expect(
        clippy::expect_used,
        reason = "a test that names a node of another world is wrong and has to stop"
    )]
    fn node(&self, node: NodeId) -> &Node<M> {
        self.nodes.get(node.index()).expect("the node is in this world")
    }

    #[expect(
        clippy::expect_used,
        reason = "a test that names a node of another world is wrong and has to stop"
    )]
    fn node_mut(&mut self, node: NodeId) -> &mut Node<M> {
        self.nodes.get_mut(node.index()).expect("the node is in this world")
    }
}

impl<M: Machine> fmt::Debug for World<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("clock", &self.clock)
            .field("net", &self.net)
            .field("nodes", &self.nodes)
            .field("departures", &self.departures.len())
            .finish_non_exhaustive()
    }
}

/// A receipt that is held, and when it is due.
type Held = (Option<Instant>, PendingReceipt);
