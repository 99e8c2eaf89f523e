//! The honest world in which machines are put to the laws.

use core::fmt;
use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::machine::{Instant, Machine};

use crate::world::{Departed, NodeId, World};

type Build<M> = Box<dyn Fn(u64) -> World<M>>;
type Act<M> = Box<dyn Fn(NodeId, &mut M, Instant, &mut dyn CryptoRng)>;
type May = Box<dyn Fn(NodeId, &Departed) -> bool>;
type Overfull<M> = Box<dyn Fn(&M) -> Option<String>>;
type MayAnswer = Box<dyn Fn(NodeId, &[u8], &Departed) -> bool>;

/// How to build a small honest world, what the applications in it do, and what its protocol allows.
///
/// One run of a trial is: `rounds` times, every node acts, then `pause` passes.
pub struct Trial<M: Machine> {
    pub(super) build: Build<M>,
    pub(super) act: Act<M>,
    pub(super) rounds: usize,
    pub(super) pause: Duration,
    pub(super) most_steps: usize,
    pub(super) passes_through: May,
    pub(super) may_answer_junk: MayAnswer,
    pub(super) most_junk: usize,
    pub(super) flood: usize,
    pub(super) most_outputs: usize,
    pub(super) overfull: Overfull<M>,
    pub(super) most_gates: u64,
}

impl<M: Machine> Trial<M>
where
    M::Event: fmt::Debug,
{
    /// `build` gives the world of a seed with every node booted and every route set; `act` is what the application of a
    /// node does once a round (`establish`, `request_key`), or nothing. It has to bear the machine's refusals.
    ///
    /// Best on links without loss, so that something happens in every round.
    pub fn new(
        build: impl Fn(u64) -> World<M> + 'static,
        act: impl Fn(NodeId, &mut M, Instant, &mut dyn CryptoRng) + 'static,
    ) -> Self {
        Self {
            build: Box::new(build),
            act: Box::new(act),
            rounds: 3,
            pause: Duration::from_secs(20),
            most_steps: 100_000,
            passes_through: Box::new(|_, _| false),
            may_answer_junk: Box::new(|_, _, _| false),
            most_junk: 2000,
            flood: 5000,
            most_outputs: 1024,
            overfull: Box::new(|_| None),
            most_gates: 6,
        }
    }

    /// How often every node acts in a run (3), and how much time passes after it (20 s).
    #[must_use]
    pub const fn rounds(mut self, rounds: usize, pause: Duration) -> Self {
        self.rounds = rounds;
        self.pause = pause;
        self
    }

    /// What may leave while a checkpoint is pending: what depends on no durable change. Bytes that left before always
    /// may. Keep it narrow.
    #[must_use]
    pub fn passes_through(mut self, may: impl Fn(NodeId, &Departed) -> bool + 'static) -> Self {
        self.passes_through = Box::new(may);
        self
    }

    /// What may answer this piece of junk: a cookie, a count for the operator. A datagram must not be larger than the
    /// junk in any case, and goes back where that came from.
    #[must_use]
    pub fn may_answer_junk(mut self, may: impl Fn(NodeId, &[u8], &Departed) -> bool + 'static) -> Self {
        self.may_answer_junk = Box::new(may);
        self
    }

    /// How many pieces of junk a run gets (2000), for machines that count and report them.
    #[must_use]
    pub const fn most_junk(mut self, pieces: usize) -> Self {
        self.most_junk = pieces;
        self
    }

    /// Which of its inner tables holds more than its bound, if the machine can say: asked all through the flood.
    #[must_use]
    pub fn overfull(mut self, overfull: impl Fn(&M) -> Option<String> + 'static) -> Self {
        self.overfull = Box::new(overfull);
        self
    }

    /// How often everything is thrown at an undrained machine (5000), and how many outputs it may then give (1024).
    #[must_use]
    pub const fn flood(mut self, times: usize, most_outputs: usize) -> Self {
        self.flood = times;
        self.most_outputs = most_outputs;
        self
    }

    /// How many checkpoints of a node are withheld, each in a run of its own (6).
    #[must_use]
    pub const fn most_gates(mut self, checkpoints: u64) -> Self {
        self.most_gates = checkpoints;
        self
    }

    /// The world of `seed`.
    #[must_use]
    pub fn world(&self, seed: u64) -> World<M> {
        (self.build)(seed)
    }

    /// The whole run in `world`.
    pub fn run(&self, world: &mut World<M>) {
        self.run_watched(world, |_| {});
    }

    /// The whole run in `world`, with `watch` before every step.
    pub fn run_watched(&self, world: &mut World<M>, mut watch: impl FnMut(&mut World<M>)) {
        for _ in 0..self.rounds {
            for node in world.nodes() {
                self.act(world, node);
            }
            let end = world.now().saturating_add(self.pause);
            for _ in 0..self.most_steps {
                watch(world);
                if !world.step_until(end) {
                    break;
                }
            }
        }
    }

    /// The application of `node` acts.
    pub fn act(&self, world: &mut World<M>, node: NodeId) {
        world.call(node, |machine, now, rng| (self.act)(node, machine, now, rng));
    }
}

impl<M: Machine> fmt::Debug for Trial<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("rounds", &self.rounds)
            .field("pause", &self.pause)
            .finish_non_exhaustive()
    }
}
