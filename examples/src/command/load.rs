//! `skex load`: hubs with very many clients, and tables of peers, driven as hard as this machine can, and what that showed.

mod floor;
mod hub;
mod ledger;
mod measure;
mod memory;
mod pad;
mod peers;
mod roster;
mod show;
mod swarm;
mod udp;

use core::num::NonZeroU16;
use core::time::Duration;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use skex_dske::ClientLimits;

use super::demo::WorkingDirectory;
use floor::{Floor, Provisioning};
use memory::MemoryReport;
use peers::PeersReport;
use roster::Roster;
use udp::UdpReport;

/// Drive hubs with very many enrolled clients, and tables of peers, and measure.
///
/// Real machines, drivers and logs, and tables that are computed instead of stored. Every key is compared at both ends; one
/// that differs or gets lost ends this with an error.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  skex load\n  skex load --only udp --clients 1000 --directory /var/tmp/load --json load.json"
)]
pub(crate) struct Arguments {
    /// Clients that are enrolled at every hub, and at most 10,000 of them peers of a table.
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    clients: u32,
    /// Hubs.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=15))]
    hubs: u8,
    /// How many hubs would have to conspire to break a key.
    #[arg(long, default_value_t = 2, value_name = "K", value_parser = clap::value_parser!(u8).range(2..=15))]
    threshold: u8,
    /// Keys of each phase.
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    keys: u64,
    /// Datagrams of 1000 that are lost, where there is loss.
    #[arg(long, default_value_t = 200, value_name = "PER-MILLE")]
    loss: u16,
    /// Decides all chance in memory.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// One part of it only.
    #[arg(long)]
    only: Option<Part>,
    /// Keep durable state in this directory, which must not exist, and remove it in the end. By default it is among the
    /// temporary files: name one on the disk that is to be measured.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Write all numbers to this file as JSON, for docs/capacity.py.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Shards of each hub, where hubs are processes of their own.
    #[arg(long, default_value_t = NonZeroU16::MIN, value_name = "N")]
    shards: NonZeroU16,
    /// Keys of 256 bits a second that dske-python makes with its demonstration network, 3 of 5, one after the other, for the
    /// comparison. Measure it on the same machine.
    #[arg(long, default_value_t = 8.0, value_name = "KEYS", value_parser = more_than_none)]
    dske_python: f64,
    #[arg(long, hide = true, requires = "listen", requires = "directory")]
    as_hub: Option<u8>,
    #[arg(long, hide = true)]
    listen: Option<String>,
}

/// A part of the load test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// All parties in one thread, without sockets and files, under virtual time.
    Memory,
    /// Hubs and clients over loopback UDP, with durable state.
    Udp,
    /// The same with five hubs of which three suffice, and few clients, beside what others measured.
    Comparison,
    /// No hubs: two tables of unmediated peers over loopback UDP, with durable state, all in one thread.
    Peers,
}

/// All that was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LoadReport {
    clients: u32,
    hubs: u8,
    /// Of each hub over UDP.
    shards: u16,
    threshold: u8,
    loss_per_mille: u16,
    processors: usize,
    /// Keys a second that the comparison is with.
    dske_python: f64,
    memory: Option<MemoryReport>,
    udp: Option<UdpReport>,
    comparison: Option<UdpReport>,
    peers: Option<PeersReport>,
    datagram: Option<Floor>,
    provisioning: Option<Provisioning>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
struct Plan {
    roster: Roster,
    threshold: u8,
    keys: u64,
    loss: u16,
    seed: u64,
    /// Seconds that a key may take, and that hubs know of it.
    lifetime: u16,
    /// Milliseconds that a datagram takes in memory, and half as many more.
    latency: u64,
    /// Keys that are asked for in a virtual millisecond.
    rate: u64,
}

/// Elements of a table of the load test: two mebibytes.
const ELEMENTS: u32 = 1 << 17;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let &Arguments { clients, hubs, threshold, keys, loss, seed, shards, .. } = arguments;
    let roster = Roster { clients, hubs, elements: ELEMENTS, shards };
    if let Arguments { as_hub: Some(number), listen: Some(listen), directory: Some(directory), .. } =
        arguments
    {
        return hub::serve(roster, *number, directory, listen);
    }
    if threshold > hubs {
        bail!("a threshold of {threshold} needs as many hubs at least, and there are {hubs}");
    }
    let plan = Plan { roster, threshold, keys, loss, seed, lifetime: 30, latency: 20, rate: 20 };
    let began = std::time::Instant::now();
    let tell = |what: &str| eprintln!("{:5.1} s  {what}", began.elapsed().as_secs_f32());
    let mut report = LoadReport {
        clients,
        hubs,
        shards: shards.get(),
        threshold,
        loss_per_mille: loss,
        processors: std::thread::available_parallelism().map_or(0, core::num::NonZero::get),
        dske_python: arguments.dske_python,
        ..LoadReport::default()
    };
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    if wanted(Part::Memory) {
        tell("in memory, under virtual time");
        report.memory = Some(memory::run(&plan, tell)?);
    }
    let directory = || WorkingDirectory::make(arguments.directory.as_deref(), "load", false);
    if wanted(Part::Udp) {
        tell("over loopback UDP, with durable state");
        report.datagram = Some(floor::measure()?);
        let directory = directory()?;
        report.provisioning = Some(floor::provisioning(directory.path())?);
        report.udp = Some(udp::run(&plan, directory.path(), tell)?);
    }
    if wanted(Part::Comparison) {
        tell("three of five hubs");
        let roster = Roster { clients: clients.min(COMPARED_CLIENTS), hubs: 5, ..roster };
        report.comparison = Some(udp::compare(&Plan { roster, threshold: 3, ..plan }, directory()?.path())?);
    }
    if wanted(Part::Peers) {
        tell("two tables of peers");
        report.peers = Some(peers::run(clients, directory()?.path(), tell)?);
    }
    tell("done");
    show::show(&report);
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&report).context("cannot write the report")?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    report.verdict()
}

fn more_than_none(text: &str) -> Result<f64> {
    text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0).context("not a number above 0")
}

/// Clients of the comparison.
const COMPARED_CLIENTS: u32 = 5;

impl Plan {
    /// The defaults, but for how often clients ask for what waits: so often that nobody waits for long after a hub's restart, and
    /// so seldom that it is not most of what a hub does.
    fn client_limits(&self) -> ClientLimits {
        let mut limits = ClientLimits::default();
        // One pair may have as many under way as the whole network.
        limits.requests = 4096;
        limits.fetch = Duration::from_millis(u64::from(self.roster.clients) / 4).max(Duration::from_secs(3));
        limits
    }
}

impl LoadReport {
    /// Whether what must never happen did not.
    fn verdict(&self) -> Result<()> {
        let memory = self.memory.iter().map(|memory| (memory.keys, memory.overfull));
        let udp = self.udp.iter().chain(&self.comparison).map(|udp| (udp.keys, udp.overfull));
        for (keys, overfull) in memory.chain(udp) {
            if keys.unequal > 0 || keys.lost > 0 {
                bail!(
                    "{} keys differ and {} are lost: this is a fault of this program",
                    keys.unequal,
                    keys.lost
                );
            }
            if overfull > 0 {
                bail!("{overfull} tables hold more than their bound: this is a fault of this program");
            }
            if keys.equal == 0 {
                bail!("no key came about");
            }
        }
        if let Some(peers) = &self.peers
            && peers.keys.unequal > 0
        {
            bail!("{} keys of peers differ: this is a fault of this program", peers.keys.unequal);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_compared_with_no_keys_at_all() {
        assert_eq!(more_than_none("8.5").unwrap(), 8.5);
        for rate in ["0", "-1", "NaN", "inf", "many"] {
            assert!(more_than_none(rate).is_err(), "{rate}");
        }
    }
}
