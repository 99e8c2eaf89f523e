//! All parties over loopback UDP with durable state: the hubs a process each, the clients one process, group commit in all.

use core::time::Duration;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::{Deserialize, Serialize};
use skex_dske::{KeyRequest, Record};
use skex_sim::Dice;

use super::Plan;
use super::hub::{HubCounters, HubProcess};
use super::ledger::Keys;
use super::measure::{Processors, Quantiles, Unaccounted, each, process_cpu};
use super::roster::Roster;
use super::swarm::{Life, Now, Outgoing, Swarm};
use crate::clock::Clock;
use crate::driver::{BATCH, Paths, Socket, bind};
use crate::entropy::Entropy;
use crate::store::{Committer, LogOfMany};

/// What the run over UDP shows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct UdpReport {
    /// Memory of one hub's process, in octets a client: enrolled, and with a session and a lease each way.
    pub(super) octets_a_client_enrolled: f64,
    pub(super) octets_a_client_at_work: f64,
    /// The most that a hub's process had in memory.
    pub(super) hub_resident_peak: u64,
    /// Clients that do nothing but ask for what waits.
    pub(super) idle: Idle,
    /// One key after the other, nothing else under way.
    pub(super) alone: Phase,
    /// As many as the machine can.
    pub(super) full: Phase,
    /// With the loss that was asked for.
    pub(super) loss: Phase,
    /// With it, and all hubs killed and a tenth of the clients losing power in the middle.
    pub(super) storm: Phase,
    pub(super) keys: Keys,
    pub(super) refused: u64,
    /// Tables of machines that hold more than their bound, at the end: never.
    pub(super) overfull: u64,
    /// Octets of the tables that a key spent, both ends and all hubs, on the average.
    pub(super) pad_octets_a_key: f64,
}

/// What clients cost that make no key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Idle {
    /// Between two questions of a client to a hub.
    pub(super) fetch_seconds: f64,
    /// A hub's CPU for a client and second.
    pub(super) hub_nanos_a_client_second: f64,
    /// Both ways.
    pub(super) datagrams_a_client_second: f64,
    pub(super) octets_a_client_second: f64,
}

/// A part of the run, until all keys are at both ends; with loss, until all but [`LAST`] are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Phase {
    pub(super) keys: u64,
    pub(super) relays: u64,
    pub(super) seconds: f64,
    /// Until the last key was at both ends, or had failed.
    pub(super) seconds_to_last: f64,
    /// Keys that were under way at once, in the end.
    pub(super) under_way: f64,
    /// CPU of all parties, the stores and the operating system for them included.
    pub(super) cpu_micros_a_key: f64,
    /// What the machine's processors did meanwhile that is in no process's time.
    pub(super) unaccounted: Unaccounted,
    pub(super) keys_a_cpu_second: f64,
    pub(super) hub_nanos_a_relay: f64,
    pub(super) relays_a_core_second: f64,
    pub(super) latency_micros: Quantiles,
    pub(super) datagrams_a_key: f64,
    pub(super) octets_a_key: f64,
    /// Messages that a hub handled or sent for each of its syncs.
    pub(super) messages_a_sync: f64,
    pub(super) hub_syncs_a_key: f64,
    pub(super) client_syncs_a_key: f64,
}

struct World<'a> {
    plan: &'a Plan,
    swarm: Swarm,
    hubs: Vec<HubProcess>,
    socket: Socket,
    paths: Paths,
    committer: Option<Committer<Record, Life>>,
    log: std::path::PathBuf,
    clock: Clock,
    origin: std::time::Instant,
    entropy: Entropy,
    dice: Dice,
    /// Datagrams of 1000 that are lost.
    loss: u16,
    /// When keys were last looked at.
    looked: u64,
    /// Syncs of committers that are no more.
    syncs: u64,
    /// Counters of hubs' lives that are over.
    earlier: Totals,
}

/// Keys that are under way at once where the machine is to do what it can: as many as it makes within [`PACE`].
const WINDOW: Window = Window { now: 64.0, at_least: 1.0, at_most: 4096.0 };

/// Microseconds that a key should take where many are made at once: less than the first retransmission, or datagrams that
/// were only late would be sent again and again.
const PACE: u64 = 100_000;

/// How many keys may be under way.
#[derive(Clone, Copy)]
struct Window {
    now: f64,
    at_least: f64,
    at_most: f64,
}

impl Window {
    /// One key after the other.
    const ALONE: Self = Self { now: 1.0, at_least: 1.0, at_most: 1.0 };

    /// As many all the time: where datagrams are lost on purpose, a key that takes long says nothing of the machine.
    const fn fixed(self) -> Self {
        Self { at_least: self.now, at_most: self.now, ..self }
    }

    /// A key took so long.
    fn learn(&mut self, micros: u64) {
        let change = if micros < PACE { 0.25 } else { -0.5 };
        self.now = (self.now + change).clamp(self.at_least, self.at_most);
    }
}

/// Of so many keys one waits for the last where datagrams are lost: its time is that of a repetition that was lost again and again,
/// and it decided what a whole phase came to.
const LAST: u64 = 100;

/// Keys that are under way when the power goes.
const AT_ONCE: u64 = 512;

/// Keys that are made one after the other.
const ALONE: u64 = 200;

/// Keys of each client with the next before a comparison.
const WARM: u32 = 2;

/// How long every request is refused, with nothing under way, before it is given up: longer than a lease takes to come.
const REFUSED: Duration = Duration::from_secs(10);

/// Microseconds after which keys are looked at that should have come to an end.
const LOOK_EVERY: u64 = 1_000_000;

/// Microseconds beyond the lifetime of a key that a machine may be busy with something else.
const OVERDUE: u64 = 30_000_000;

/// Longer than it takes to connect on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn run(plan: &Plan, directory: &Path, mut tell: impl FnMut(&str)) -> Result<UdpReport> {
    let mut world = World::new(plan, directory)?;
    let clients = plan.roster.clients;
    let enrolled = world.hub_memory()?;
    world.connect()?;
    tell("every client is connected");
    world.make(u64::from(clients), Who::Ring, WINDOW, 0)?;
    tell("every client has made a key and been given one");
    let at_work = world.hub_memory()?;
    world.settle()?;
    let idle = world.idle()?;
    tell("idle clients were watched");
    let mut report = UdpReport {
        idle,
        octets_a_client_enrolled: each(enrolled, clients.into()),
        octets_a_client_at_work: each(at_work, clients.into()),
        alone: world.phase(ALONE.min(plan.keys), Window::ALONE)?.0,
        ..UdpReport::default()
    };
    tell("keys one after the other are made");
    let (full, window) = world.phase(plan.keys, WINDOW)?;
    report.full = full;
    world.loss = plan.loss;
    tell("many at once are made");
    let window = window.fixed();
    report.loss = world.phase(plan.keys / 4, window)?.0;
    tell("with loss");
    report.storm = world.storm(plan.keys / 4, window)?;
    world.close(report)
}

/// Keys one after the other, and as many at once as the machine can: for a comparison.
pub(super) fn compare(plan: &Plan, directory: &Path) -> Result<UdpReport> {
    let mut world = World::new(plan, directory)?;
    world.connect()?;
    for _ in 0..WARM {
        world.make(u64::from(plan.roster.clients), Who::Ring, WINDOW, 0)?;
    }
    world.settle()?;
    let (alone, _) = world.phase(ALONE.min(plan.keys), Window::ALONE)?;
    let (full, _) = world.phase(plan.keys, WINDOW)?;
    world.close(UdpReport { alone, full, ..UdpReport::default() })
}

impl World<'_> {
    fn close(mut self, mut report: UdpReport) -> Result<UdpReport> {
        let hubs = self.hubs()?;
        report.hub_resident_peak = hubs.iter().map(|hub| hub.resident_peak).max().unwrap_or(0);
        report.overfull = hubs.iter().map(|hub| hub.overfull).sum::<u64>() + self.swarm.overfull();
        report.pad_octets_a_key = each(self.swarm.pad_octets as f64, self.swarm.ledger.counts().equal);
        report.keys = self.swarm.ledger.close();
        report.refused = self.swarm.refused;
        Ok(report)
    }
}

/// Who makes keys with whom.
#[derive(Clone, Copy)]
enum Who {
    /// Each client with the next.
    Ring,
    /// Random pairs.
    Random,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, directory: &Path) -> Result<Self> {
        let roster = plan.roster;
        let start = |hub| HubProcess::start(roster, hub, directory, "127.0.0.1:0");
        let hubs = (0..roster.hubs).map(start).collect::<Result<Vec<_>>>()?;
        let paths = Paths::new(hubs.iter().map(|hub| Some(hub.address)).collect());
        let mut request = KeyRequest::new(plan.threshold);
        request.lifetime = plan.lifetime;
        let log = directory.join("clients.log");
        Ok(Self {
            plan,
            swarm: Swarm::new(roster, request),
            hubs,
            socket: Socket::new(bind("127.0.0.1:0")?),
            paths,
            committer: Some(Committer::new(LogOfMany::open(&log)?)?),
            log,
            clock: Clock::start(),
            origin: std::time::Instant::now(),
            entropy: Entropy::open()?,
            dice: Dice::new(plan.seed),
            loss: 0,
            looked: 0,
            syncs: 0,
            earlier: Totals::default(),
        })
    }

    fn now(&self) -> Now {
        Now { instant: self.clock.now(), fine: self.origin.elapsed().as_micros() as u64 }
    }

    /// Starts the clients, so many at a time that no buffer runs over.
    fn connect(&mut self) -> Result<()> {
        for client in 0..self.plan.roster.clients {
            let now = self.now();
            self.swarm.boot(client, [[0; 0]; 0], self.plan.client_limits(), now, &mut self.entropy)?;
            if client % 64 == 63 {
                self.step(Some(Duration::ZERO))?;
            }
        }
        let began = std::time::Instant::now();
        while self.swarm.unconnected() > 0 {
            if began.elapsed() > PATIENCE {
                bail!("{} clients are not connected", self.swarm.unconnected());
            }
            let look_again = std::time::Instant::now();
            while look_again.elapsed() < Duration::from_millis(100) {
                self.step(Some(Duration::from_millis(10)))?;
            }
        }
        Ok(())
    }

    fn committer(&mut self) -> Result<&mut Committer<Record, Life>> {
        self.committer.as_mut().context("the store is closed")
    }

    /// Gives what clients want stored to the store, and what they want sent to the socket.
    fn carry_out(&mut self) -> Result<()> {
        let now = self.now();
        self.swarm.gather(now)?;
        for (life, checkpoint) in core::mem::take(&mut self.swarm.checkpoints) {
            self.committer()?.add(life, checkpoint);
        }
        self.committer()?.start(std::time::Instant::now());
        for Outgoing { hub, octets, .. } in core::mem::take(&mut self.swarm.outgoing) {
            if !self.dice.chance(self.loss) {
                self.socket.send(self.hubs[usize::from(hub)].address, &octets);
            }
        }
        self.socket.flush();
        Ok(())
    }

    /// Waits so long for something to do, at most, and does it.
    fn step(&mut self, patience: Option<Duration>) -> Result<()> {
        self.carry_out()?;
        let now = self.clock.now();
        let due = self.swarm.deadline().map(|due| due.saturating_since(now));
        let committer = self.committer.as_ref().context("the store is closed")?;
        let paced = committer.patience(std::time::Instant::now());
        let timeout = due.into_iter().chain(patience).chain(paced).min();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut sources = [
            PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(committer.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut sources, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for messages"),
        }
        let [message, stored] = sources.each_ref().map(|source| !source.revents().is_empty());
        if stored {
            let receipts = self.committer()?.finished()?;
            let now = self.now();
            for (life, receipt) in receipts {
                self.swarm.stored(life, receipt, now)?;
            }
            self.carry_out()?;
        }
        if message {
            self.receive()?;
        }
        let now = self.now();
        self.swarm.tick(now, &mut self.entropy)?;
        self.carry_out()
    }

    /// Takes what has come, to the last message.
    fn receive(&mut self) -> Result<()> {
        loop {
            let count = self.socket.receive()?;
            let now = self.now();
            for number in 0..count {
                let Some((from, octets)) = self.socket.received(number) else { break };
                let hub = self.paths.path_of(from).number();
                if !self.dice.chance(self.loss)
                    && let Ok(hub) = u8::try_from(hub)
                {
                    self.swarm.receive(hub, octets, now, &mut self.entropy)?;
                }
            }
            self.carry_out()?;
            if count < BATCH {
                return Ok(());
            }
        }
    }

    /// Makes so many keys, `window` under way at once, and waits until both ends have all but `rest` of them. What the window is then.
    fn make(&mut self, keys: u64, who: Who, mut window: Window, rest: u64) -> Result<Window> {
        let clients = u64::from(self.plan.roster.clients);
        let (mut asked, mut refused, mut seen) = (0, None, self.swarm.ledger.latencies());
        while asked < keys || self.swarm.ledger.open() as u64 > rest {
            self.look_for_overdue()?;
            self.swarm.ledger.latencies_since(&mut seen).iter().for_each(|micros| window.learn(*micros));
            while asked < keys && (self.swarm.ledger.open() as f64) < window.now {
                let (initiator, way) = match who {
                    Who::Ring => ((asked % clients) as u32, 0),
                    Who::Random => {
                        (self.dice.below(clients) as u32, self.dice.below(self.plan.roster.degree()))
                    }
                };
                let (responder, now) = (self.plan.roster.peer(initiator, way), self.now());
                if !self.swarm.ask(initiator, responder, now, &mut self.entropy)? {
                    // Others have to end before, or a lease to come.
                    let _ = refused.get_or_insert_with(std::time::Instant::now);
                    break;
                }
                (asked, refused) = (asked + 1, None);
            }
            if self.swarm.ledger.open() > 0 {
                refused = None;
            }
            if refused.is_some_and(|since| since.elapsed() > REFUSED) {
                bail!("every request is refused, of {asked} that were not: the tables are used up");
            }
            self.step(Some(Duration::from_millis(100)))?;
        }
        Ok(window)
    }

    /// A key has a lifetime, and every request an end.
    fn look_for_overdue(&mut self) -> Result<()> {
        let now = self.now().fine;
        if now < self.looked + LOOK_EVERY {
            return Ok(());
        }
        self.looked = now;
        let lifetime = u64::from(self.plan.lifetime) * 1_000_000;
        let overdue = self.swarm.ledger.open_since(now.saturating_sub(lifetime + OVERDUE));
        if !overdue.is_empty() {
            bail!(
                "{} keys are open beyond their lifetime: this is a fault\n{}",
                overdue.len(),
                overdue.join("\n")
            );
        }
        Ok(())
    }

    /// Lets what is still on its way arrive.
    fn settle(&mut self) -> Result<()> {
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(300) {
            self.step(Some(Duration::from_millis(50)))?;
        }
        Ok(())
    }

    fn hubs(&mut self) -> Result<Vec<HubCounters>> {
        self.hubs.iter_mut().map(HubProcess::counters).collect()
    }

    /// What a hub has in memory beyond an empty process, on the average.
    fn hub_memory(&mut self) -> Result<f64> {
        let hubs = self.hubs()?;
        let octets = hubs.iter().map(|hub| hub.resident.saturating_sub(hub.resident_empty)).sum::<u64>();
        Ok(each(octets as f64, hubs.len() as u64))
    }

    fn totals(&mut self) -> Result<Totals> {
        let mut totals = self.earlier;
        for hub in self.hubs()? {
            totals.add(&hub);
        }
        totals.swarm_nanos = process_cpu().as_nanos() as u64;
        totals.client_syncs = self.syncs + self.committer()?.batches();
        totals.keys = self.swarm.ledger.counts().equal;
        totals.processors = Processors::now();
        Ok(totals)
    }

    /// Watches clients that make no key, for twice the time within which each of them asks every hub for what waits.
    fn idle(&mut self) -> Result<Idle> {
        let fetch = self.plan.client_limits().fetch;
        let (before, began) = (self.totals()?, std::time::Instant::now());
        while began.elapsed() < fetch.saturating_mul(2) {
            self.step(Some(Duration::from_millis(50)))?;
        }
        let (seconds, after) = (began.elapsed().as_secs_f64(), self.totals()?);
        let links = u64::from(self.plan.roster.clients) * self.hubs.len() as u64;
        let rate = |count: fn(&Totals) -> u64| each((count(&after) - count(&before)) as f64 / seconds, links);
        Ok(Idle {
            fetch_seconds: fetch.as_secs_f64(),
            hub_nanos_a_client_second: rate(|totals| totals.hub_nanos),
            datagrams_a_client_second: rate(|totals| totals.datagrams),
            octets_a_client_second: rate(|totals| totals.octets),
        })
    }

    fn phase(&mut self, keys: u64, window: Window) -> Result<(Phase, Window)> {
        let _ = self.swarm.ledger.take_latencies();
        let (before, began) = (self.totals()?, std::time::Instant::now());
        self.finish(keys, window, before, began)
    }

    /// Makes the keys of a phase that are left. The phase, and what the window is then.
    fn finish(
        &mut self,
        keys: u64,
        window: Window,
        before: Totals,
        began: std::time::Instant,
    ) -> Result<(Phase, Window)> {
        let rest = if self.loss == 0 { 0 } else { keys / LAST };
        let window = self.make(keys, Who::Random, window, rest)?;
        let phase = Phase { under_way: window.now, ..self.measured(before, began)? };
        self.make(0, Who::Random, window, 0)?;
        let seconds_to_last = began.elapsed().as_secs_f64();
        let latency_micros = self.swarm.ledger.take_latencies();
        Ok((Phase { seconds_to_last, latency_micros, ..phase }, window))
    }

    fn measured(&mut self, before: Totals, began: std::time::Instant) -> Result<Phase> {
        let seconds = began.elapsed().as_secs_f64();
        let after = self.totals()?;
        let of = |count: fn(&Totals) -> u64| count(&after) - count(&before);
        let keys = of(|totals| totals.keys);
        let hub_nanos = of(|totals| totals.hub_nanos);
        let cpu_nanos = hub_nanos + of(|totals| totals.swarm_nanos);
        let relays = of(|totals| totals.relays);
        let datagrams = of(|totals| totals.datagrams);
        let hub_syncs = of(|totals| totals.hub_syncs);
        Ok(Phase {
            keys,
            relays,
            seconds,
            cpu_micros_a_key: each(cpu_nanos as f64 / 1e3, keys),
            unaccounted: after.processors.since(before.processors),
            keys_a_cpu_second: each(keys as f64 * 1e9, cpu_nanos),
            hub_nanos_a_relay: each(hub_nanos as f64, relays),
            relays_a_core_second: each(relays as f64 * 1e9, hub_nanos),
            datagrams_a_key: each(datagrams as f64, keys),
            octets_a_key: each(of(|totals| totals.octets) as f64, keys),
            messages_a_sync: each(datagrams as f64, hub_syncs),
            hub_syncs_a_key: each(hub_syncs as f64, keys),
            client_syncs_a_key: each(of(|totals| totals.client_syncs) as f64, keys),
            ..Phase::default()
        })
    }

    /// While keys are being made, every hub is killed and a tenth of the clients lose power.
    fn storm(&mut self, keys: u64, window: Window) -> Result<Phase> {
        let _ = self.swarm.ledger.take_latencies();
        let (before, began) = (self.totals()?, std::time::Instant::now());
        // The requests of this half are under way when the power goes.
        let half = (keys / 2).min(AT_ONCE);
        for _ in 0..half {
            let clients = u64::from(self.plan.roster.clients);
            let (initiator, way) =
                (self.dice.below(clients) as u32, self.dice.below(self.plan.roster.degree()));
            let (responder, now) = (self.plan.roster.peer(initiator, way), self.now());
            self.swarm.ask(initiator, responder, now, &mut self.entropy)?;
        }
        for _ in 0..20 {
            self.step(Some(Duration::from_millis(1)))?;
        }
        for hub in 0..self.hubs.len() {
            let counters = self.hubs[hub].counters()?;
            self.earlier.add(&counters);
            self.hubs[hub].restart()?;
        }
        self.restart_clients()?;
        Ok(self.finish(keys - half, window, before, began)?.0)
    }

    /// A tenth of the clients loses power, and starts again from what the log holds.
    fn restart_clients(&mut self) -> Result<()> {
        let first = self.dice.below(10) as u32;
        let victims = || (first..self.plan.roster.clients).step_by(10);
        let now = self.now();
        victims().for_each(|client| self.swarm.kill(client, now));
        // The store ends its present batch; what waited is lost with the power, though others live on and store theirs.
        self.swarm.checkpoints.retain(|((client, _), _)| client % 10 != first);
        self.carry_out()?;
        while self.committer()?.is_busy() {
            let receipts = self.committer()?.wait()?;
            let now = self.now();
            for (life, receipt) in receipts {
                self.swarm.stored(life, receipt, now)?;
            }
            self.carry_out()?;
        }
        let machine =
            |client: u32| Roster::tag(client).as_bytes().first_chunk::<8>().copied().unwrap_or_default();
        let wanted = victims().map(machine).collect::<std::collections::BTreeSet<_>>();
        let records = LogOfMany::read(&self.log, |machine| wanted.contains(machine))?;
        let nothing = Vec::new();
        for client in victims() {
            let now = self.now();
            let records = records.get(&machine(client)).unwrap_or(&nothing);
            let records = records.iter().map(|record| record.as_slice());
            self.swarm.boot(client, records, self.plan.client_limits(), now, &mut self.entropy)?;
            if client % 640 == first {
                self.step(Some(Duration::ZERO))?;
            }
        }
        Ok(())
    }
}

/// What all parties have done since their start.
#[derive(Clone, Copy, Default)]
struct Totals {
    /// That are at both ends, and the same.
    keys: u64,
    relays: u64,
    hub_nanos: u64,
    swarm_nanos: u64,
    datagrams: u64,
    octets: u64,
    hub_syncs: u64,
    client_syncs: u64,
    processors: Processors,
}

impl Totals {
    fn add(&mut self, hub: &HubCounters) {
        self.relays += hub.relayed;
        self.hub_nanos += hub.cpu_nanos;
        self.datagrams += hub.traffic.sent_messages + hub.traffic.received_messages;
        self.octets += hub.traffic.sent_octets + hub.traffic.received_octets;
        self.hub_syncs += hub.syncs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shrinks_where_the_machine_is_slow_and_stays_where_datagrams_are_lost_on_purpose() {
        let (mut learning, mut fixed) = (WINDOW, WINDOW.fixed());
        for _ in 0..1000 {
            learning.learn(10 * PACE);
            fixed.learn(10 * PACE);
        }
        assert_eq!((learning.now, fixed.now), (1.0, WINDOW.now));
    }
}
