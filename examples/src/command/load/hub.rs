//! One hub as a process of its own: the driver and the log that `skex hub` has, with tables that follow from numbers.

use core::net::SocketAddr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::measure::{memory, process_cpu};
use super::roster::Roster;
use crate::command::hub::{Logs, Shards};
use crate::control::{Orders, Read};
use crate::driver::{Traffic, bind};

/// What a hub says of itself.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct HubCounters {
    pub(super) relayed: u64,
    pub(super) cpu_nanos: u64,
    pub(super) syncs: u64,
    pub(super) traffic: Traffic,
    /// Tables of the machine that hold more than their bound.
    pub(super) overfull: u64,
    /// In memory now, at most, and before a client was enrolled.
    pub(super) resident: u64,
    pub(super) resident_peak: u64,
    pub(super) resident_empty: u64,
}

/// Serves until the standard input ends.
pub(super) fn serve(roster: Roster, number: u8, directory: &Path, listen: &str) -> Result<()> {
    let (resident_empty, _) = memory()?;
    let config = roster.hub_config(number)?;
    let mut hub = Shards::start(config, Logs::read(directory, roster.shards)?, bind(listen)?)?;
    say(&hub.local_address()?.to_string())?;
    let mut orders = Orders::from_stdin();
    loop {
        let order = hub.wait(None, Some(orders.source()))?;
        while hub.next_event().is_some() {}
        if !order {
            continue;
        }
        let Read::Orders(lines) = orders.read()? else { return Ok(()) };
        for _ in lines {
            let (resident, resident_peak) = memory()?;
            let cpu_nanos = u64::try_from(process_cpu().as_nanos())?;
            let process =
                HubCounters { cpu_nanos, resident, resident_peak, resident_empty, ..HubCounters::default() };
            let shards = hub.each(|driver| {
                Ok(HubCounters {
                    relayed: driver.machine.relayed(),
                    syncs: driver.syncs(),
                    traffic: driver.traffic(),
                    overfull: driver.machine.fill().filter(|fill| fill.held > fill.bound).count() as u64,
                    ..HubCounters::default()
                })
            })?;
            say(&serde_json::to_string(&shards.into_iter().fold(process, HubCounters::with))?)?;
        }
    }
}

impl HubCounters {
    /// What a shard of this process has counted, too.
    fn with(mut self, shard: Self) -> Self {
        self.relayed += shard.relayed;
        self.syncs += shard.syncs;
        self.traffic.add(shard.traffic);
        self.overfull += shard.overfull;
        self
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to the standard output")
}

/// A hub's process, from outside. It ends with this one.
pub(super) struct HubProcess {
    roster: Roster,
    number: u8,
    within: PathBuf,
    pub(super) address: SocketAddr,
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl HubProcess {
    /// In a directory of its own below this one.
    pub(super) fn start(roster: Roster, number: u8, within: &Path, listen: &str) -> Result<Self> {
        let directory = within.join(format!("hub-{number}"));
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let program = std::env::current_exe().context("this program does not know where it lies")?;
        let mut process = Command::new(program)
            .args(["load", "--as-hub", &number.to_string(), "--listen", listen])
            .args(["--clients", &roster.clients.to_string(), "--hubs", &roster.hubs.to_string()])
            .args(["--shards", &roster.shards.to_string()])
            .arg("--directory")
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start another process")?;
        let (Some(orders), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            bail!("a process was started without its pipes");
        };
        let answers = BufReader::new(answers);
        let address = SocketAddr::from(([0; 4], 0));
        let within = within.to_owned();
        let mut hub = Self { roster, number, within, address, process, orders, answers };
        hub.address = hub.answer()?.parse().context("a hub did not say where it listens")?;
        Ok(hub)
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line).context("cannot read what a hub says")? == 0 {
            bail!("hub {} has ended", self.number);
        }
        Ok(line.trim().to_owned())
    }

    pub(super) fn counters(&mut self) -> Result<HubCounters> {
        writeln!(self.orders, "counters")
            .and_then(|()| self.orders.flush())
            .context("a hub takes no orders")?;
        serde_json::from_str(&self.answer()?).context("a hub did not say how it stands")
    }

    /// kill -9, and another life at the same address.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.process.kill().and_then(|()| self.process.wait()).context("cannot kill a hub")?;
        let listen = self.address.to_string();
        let next = Self::start(self.roster, self.number, &self.within, &listen)?;
        *self = next;
        Ok(())
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
