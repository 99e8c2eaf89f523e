//! All parties in one thread, under virtual time, over a network with faults: what a hub costs without a socket and a disk.

use core::time::Duration;
use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use skex_core::machine::{Destination, Instant, Output, PathId, PendingReceipt};
use skex_dske::{Hub, KeyRequest, Record};
use skex_sim::{Dice, Link};

use super::Plan;
use super::ledger::Keys;
use super::measure::{Quantiles, each, thread_cpu};
use super::pad::SeededPad;
use super::swarm::{Now, Outgoing, Swarm};

/// What the run in memory shows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct MemoryReport {
    /// Without faults: each client has leases at every hub.
    pub(super) steady: Phase,
    /// With the loss that was asked for.
    pub(super) loss: Phase,
    /// With it, and all hubs and a tenth of the clients losing power in the middle.
    pub(super) storm: Phase,
    pub(super) keys: Keys,
    /// Requests that a client's bounds refused.
    pub(super) refused: u64,
    /// Tables of machines that hold more than their bound, at the end: never.
    pub(super) overfull: u64,
}

/// A part of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Phase {
    pub(super) keys: u64,
    pub(super) relays: u64,
    /// CPU of the hubs for a relay: everything that a hub did, divided by the shares that came to their end.
    pub(super) hub_nanos_a_relay: f64,
    /// The same in the best slice of the phase: what the machine gives when nobody disturbs it.
    pub(super) best_nanos_a_relay: Option<f64>,
    /// From the request to the key at the initiator, which then knows that its peer has it; in virtual milliseconds.
    pub(super) latency_millis: Quantiles,
    /// Messages that hubs handled or sent for each of their checkpoints.
    pub(super) messages_a_sync: f64,
    pub(super) hub_syncs_a_key: f64,
}

/// Messages on their way.
struct Flying {
    up: bool,
    hub: u8,
    client: u32,
    octets: Vec<u8>,
}

struct Node {
    hub: Hub<SeededPad>,
    disk: Vec<Vec<u8>>,
    pending: Option<PendingReceipt>,
    deadline: Option<Instant>,
    /// Relays of earlier lives.
    relayed: u64,
}

struct World<'a> {
    plan: &'a Plan,
    swarm: Swarm,
    hubs: Vec<Node>,
    disks: Vec<Vec<Vec<u8>>>,
    flying: BTreeMap<u64, Vec<Flying>>,
    link: Link,
    dice: Dice,
    now: u64,
    costs: Costs,
    slices: Slices,
}

/// CPU of the hubs for a relay in parts of a phase, for the best of them.
#[derive(Clone, Copy, Default)]
struct Slices {
    end: u64,
    cpu: Duration,
    relayed: u64,
    best: Option<f64>,
}

/// Virtual milliseconds of a slice.
const SLICE: u64 = 100;

/// Fewer relays than that say nothing.
const FEWEST: u64 = 1000;

#[derive(Clone, Copy, Default)]
struct Costs {
    cpu: Duration,
    messages: u64,
    syncs: u64,
}

/// Messages of one hub that share a checkpoint, at most: as many as a driver takes from its socket before it looks at the store.
const GATHERED: usize = 1024;

/// Longer than any run in virtual milliseconds that makes progress.
const STEPS: u64 = 1 << 24;

pub(super) fn run(plan: &Plan, mut tell: impl FnMut(&str)) -> Result<MemoryReport> {
    let mut world = World::new(plan)?;
    world.until("every client is connected", |world| world.swarm.unconnected() == 0, 250)?;
    tell("connected");
    world.phase(u64::from(plan.roster.clients), Warm::Ring)?;
    tell("every client has made a key and been given one");
    let steady = world.phase(plan.keys, Warm::Random)?;
    world.link = Link::ideal().latency(plan.latency).jitter(plan.latency / 2).loss(plan.loss);
    let loss = world.phase(plan.keys / 2, Warm::Random)?;
    let storm = world.storm(plan.keys / 2)?;
    let of_hubs = world.hubs.iter().flat_map(|node| node.hub.fill());
    let overfull = of_hubs.filter(|fill| fill.held > fill.bound).count() as u64 + world.swarm.overfull();
    let keys = world.swarm.ledger.close();
    Ok(MemoryReport { steady, loss, storm, keys, refused: world.swarm.refused, overfull })
}

/// Who makes keys with whom.
#[derive(Clone, Copy)]
enum Warm {
    /// Each client with the next.
    Ring,
    /// Random pairs.
    Random,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Result<Self> {
        let roster = plan.roster;
        let mut dice = Dice::new(plan.seed);
        let mut hubs = Vec::new();
        for hub in 0..roster.hubs {
            hubs.push(Node::start(plan, hub, Vec::new(), Instant::ZERO, &mut dice)?);
        }
        let mut request = KeyRequest::new(plan.threshold);
        request.lifetime = plan.lifetime;
        let mut world = Self {
            plan,
            swarm: Swarm::new(roster, request),
            hubs,
            disks: (0..roster.clients).map(|_| Vec::new()).collect(),
            flying: BTreeMap::new(),
            link: Link::ideal().latency(plan.latency).jitter(plan.latency / 2),
            dice,
            now: 0,
            costs: Costs::default(),
            slices: Slices::default(),
        };
        for client in 0..roster.clients {
            let now = world.now();
            world.swarm.boot(client, [[0; 0]; 0], plan.client_limits(), now, world.dice.rng())?;
            world.carry_out()?;
        }
        for hub in 0..world.hubs.len() {
            world.settle(hub, &mut Vec::new())?;
        }
        Ok(world)
    }

    fn now(&self) -> Now {
        Now { instant: Instant::from_millis(self.now), fine: self.now }
    }

    /// Stores what clients want stored, and sends what they want sent.
    fn carry_out(&mut self) -> Result<()> {
        self.swarm.gather(self.now())?;
        while !self.swarm.checkpoints.is_empty() {
            for ((client, life), checkpoint) in core::mem::take(&mut self.swarm.checkpoints) {
                let (record, pending) = checkpoint.into_parts();
                store(&mut self.disks[client as usize], &record);
                self.swarm.stored((client, life), pending.assume_durable(), self.now())?;
            }
        }
        for Outgoing { client, hub, octets } in core::mem::take(&mut self.swarm.outgoing) {
            self.send(Flying { up: true, hub, client, octets });
        }
        Ok(())
    }

    fn send(&mut self, message: Flying) {
        if self.link.copies(&mut self.dice) == 0 {
            return;
        }
        let delay = self.link.delay(&mut self.dice).as_millis() as u64;
        self.flying.entry(self.now + delay.max(1)).or_default().push(message);
    }

    /// Lets happen what happens next.
    fn step(&mut self) -> Result<()> {
        let hubs = self.hubs.iter().filter_map(|node| node.deadline);
        let timers = hubs.chain(self.swarm.deadline()).map(Instant::as_millis);
        let next = timers.chain(self.flying.keys().next().copied()).min();
        self.advance(next.unwrap_or(self.now + 1))
    }

    /// Lets everything happen that does until `then`, which is not after what happens next.
    fn advance(&mut self, then: u64) -> Result<()> {
        self.now = self.now.max(then);
        if self.now >= self.slices.end {
            self.slice();
        }
        let arrived = self.flying.remove(&self.now).unwrap_or_default();
        let (up, down): (Vec<Flying>, Vec<Flying>) = arrived.into_iter().partition(|message| message.up);
        let mut by_hub: Vec<Vec<Flying>> = self.hubs.iter().map(|_| Vec::new()).collect();
        up.into_iter().for_each(|message| by_hub[usize::from(message.hub)].push(message));
        for (hub, messages) in by_hub.into_iter().enumerate() {
            self.serve(hub, messages)?;
        }
        for message in down {
            self.swarm.receive(message.hub, &message.octets, self.now(), self.dice.rng())?;
        }
        self.swarm.tick(self.now(), self.dice.rng())?;
        self.carry_out()
    }

    fn slice(&mut self) {
        let (relayed, cpu) = (self.relayed(), self.costs.cpu);
        let relays = relayed - self.slices.relayed;
        let nanos = each((cpu - self.slices.cpu).as_nanos() as f64, relays);
        let best = self.slices.best.into_iter().chain((relays >= FEWEST).then_some(nanos)).reduce(f64::min);
        self.slices = Slices { end: self.now + SLICE, cpu, relayed, best };
    }

    /// A hub handles what has come to it, as its driver lets it: it goes on while its checkpoint is being stored.
    fn serve(&mut self, hub: usize, messages: Vec<Flying>) -> Result<()> {
        let now = Instant::from_millis(self.now);
        let due = self.hubs[hub].deadline.is_some_and(|deadline| deadline <= now);
        if messages.is_empty() && !due {
            return Ok(());
        }
        let mut sent = Vec::new();
        let began = thread_cpu();
        for batch in messages.chunks(GATHERED) {
            for message in batch {
                let node = &mut self.hubs[hub];
                let from = PathId::new(message.client.into());
                let _ = node.hub.handle_message(now, self.dice.rng(), from, &message.octets)?;
            }
            self.hubs[hub].drain(&mut sent)?;
            self.settle(hub, &mut sent)?;
        }
        if due {
            let node = &mut self.hubs[hub];
            node.hub.handle_timeout(now, self.dice.rng())?;
            node.drain(&mut sent)?;
            self.settle(hub, &mut sent)?;
        }
        self.costs.cpu += thread_cpu().saturating_sub(began);
        self.costs.messages += (messages.len() + sent.len()) as u64;
        for (client, octets) in sent {
            self.send(Flying { up: false, hub: hub as u8, client, octets });
        }
        Ok(())
    }

    /// The store of a hub answers, and what waited leaves, until nothing does.
    fn settle(&mut self, hub: usize, sent: &mut Vec<(u32, Vec<u8>)>) -> Result<()> {
        let node = &mut self.hubs[hub];
        while let Some(pending) = node.pending.take() {
            self.costs.syncs += 1;
            node.hub.handle_persisted(pending.assume_durable())?;
            node.drain(sent)?;
        }
        Ok(())
    }

    fn until(&mut self, what: &str, reached: impl Fn(&Self) -> bool, look_every: u64) -> Result<()> {
        for step in 0..STEPS {
            if step % look_every == 0 && reached(self) {
                return Ok(());
            }
            self.step()?;
        }
        let open = self.swarm.ledger.open_since(self.now);
        let shown = open.get(..open.len().min(10)).unwrap_or_default().join("\n");
        Err(anyhow!(
            "no progress: {what} is not reached at {} virtual milliseconds, {} keys are open\n{shown}",
            self.now,
            open.len()
        ))
    }

    fn relayed(&self) -> u64 {
        self.hubs.iter().map(|node| node.relayed + node.hub.relayed()).sum()
    }

    /// Makes so many keys and waits until both ends have them.
    fn phase(&mut self, keys: u64, who: Warm) -> Result<Phase> {
        let start = Start::of(self);
        self.ask(keys, who)?;
        self.until("that every key is settled", |world| world.swarm.ledger.open() == 0, 1)?;
        Ok(start.phase(self, keys))
    }

    /// Asks for so many keys at the rate of the plan.
    fn ask(&mut self, keys: u64, who: Warm) -> Result<()> {
        let clients = u64::from(self.plan.roster.clients);
        let mut asked = 0;
        while asked < keys {
            for _ in 0..self.plan.rate {
                let (initiator, way) = match who {
                    Warm::Ring => ((asked % clients) as u32, 0),
                    Warm::Random => {
                        (self.dice.below(clients) as u32, self.dice.below(self.plan.roster.degree()))
                    }
                };
                let responder = self.plan.roster.peer(initiator, way);
                let now = self.now();
                self.swarm.ask(initiator, responder, now, self.dice.rng())?;
                asked += 1;
                if asked >= keys {
                    break;
                }
            }
            self.carry_out()?;
            let end = self.now + 1;
            self.until_time(end)?;
        }
        Ok(())
    }

    fn until_time(&mut self, end: u64) -> Result<()> {
        while self.now < end {
            let flying = self.flying.keys().next().copied();
            let timers = self.hubs.iter().filter_map(|node| node.deadline).chain(self.swarm.deadline());
            let next = timers.map(Instant::as_millis).chain(flying).chain([end]).min().unwrap_or(end);
            self.advance(next)?;
        }
        Ok(())
    }

    /// While keys are being made, every hub and a tenth of the clients lose power at once; what they had not stored is gone.
    fn storm(&mut self, keys: u64) -> Result<Phase> {
        let start = Start::of(self);
        self.ask(keys / 2, Warm::Random)?;
        for hub in 0..self.hubs.len() {
            let node = &mut self.hubs[hub];
            let disk = core::mem::take(&mut node.disk);
            let relayed = node.relayed + node.hub.relayed();
            let now = Instant::from_millis(self.now);
            *node = Node { relayed, ..Node::start(self.plan, hub as u8, disk, now, &mut self.dice)? };
            let mut sent = Vec::new();
            self.settle(hub, &mut sent)?;
        }
        let first = self.dice.below(10) as u32;
        for client in (first..self.plan.roster.clients).step_by(10) {
            let now = self.now();
            self.swarm.kill(client, now);
            let records = core::mem::take(&mut self.disks[client as usize]);
            self.swarm.boot(client, &records, self.plan.client_limits(), now, self.dice.rng())?;
            self.carry_out()?;
        }
        self.ask(keys - keys / 2, Warm::Random)?;
        self.until("that every key is settled", |world| world.swarm.ledger.open() == 0, 1)?;
        Ok(start.phase(self, keys))
    }
}

impl Node {
    fn start(plan: &Plan, hub: u8, disk: Vec<Vec<u8>>, now: Instant, dice: &mut Dice) -> Result<Self> {
        let machine = Hub::restore(plan.roster.hub_config(hub)?, &disk, now, dice.rng())?;
        let mut node = Self { hub: machine, disk, pending: None, deadline: None, relayed: 0 };
        node.drain(&mut Vec::new())?;
        Ok(node)
    }

    fn drain(&mut self, sent: &mut Vec<(u32, Vec<u8>)>) -> Result<()> {
        loop {
            match self.hub.poll_output() {
                Output::Persist(checkpoint) => {
                    let (record, pending) = checkpoint.into_parts();
                    store(&mut self.disk, &record);
                    self.pending = Some(pending);
                }
                Output::Transmit(transmit) => {
                    let Destination::Path(path) = transmit.to else { continue };
                    sent.push((path.number() as u32, transmit.payload));
                }
                Output::Event(_) => {}
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return Ok(());
                }
            }
        }
    }
}

/// As a log on a disk.
fn store(disk: &mut Vec<Vec<u8>>, record: &Record) {
    if record.is_snapshot() {
        disk.clear();
    }
    disk.push(record.as_ref().to_vec());
}

/// Where everything stood when a phase began.
struct Start {
    costs: Costs,
    relayed: u64,
}

impl Start {
    fn of(world: &mut World<'_>) -> Self {
        let _ = world.swarm.ledger.take_latencies();
        world.slice();
        world.slices.best = None;
        Self { costs: world.costs, relayed: world.relayed() }
    }

    fn phase(self, world: &mut World<'_>, keys: u64) -> Phase {
        let relays = world.relayed() - self.relayed;
        let cpu = world.costs.cpu.saturating_sub(self.costs.cpu).as_nanos() as f64;
        let syncs = world.costs.syncs - self.costs.syncs;
        Phase {
            keys,
            relays,
            hub_nanos_a_relay: each(cpu, relays),
            best_nanos_a_relay: world.slices.best,
            latency_millis: world.swarm.ledger.take_latencies(),
            messages_a_sync: each((world.costs.messages - self.costs.messages) as f64, syncs),
            hub_syncs_a_key: each(syncs as f64, keys),
        }
    }
}
