//! One party: a process that takes orders and reports, and that never outlives the demo.

use core::time::Duration;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use anyhow::{Context, Result, bail};

use super::{Stage, this_program};
use crate::driver::CAPTURE;
use crate::report::{CountersReport, KeyReport, Report, SettledReport};

/// How long a report may take. Everything here takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Child {
    pub(super) name: String,
    pub(super) address: String,
    process: Process,
    orders: ChildStdin,
    reports: Receiver<Report>,
    /// Reports that nobody has asked for yet.
    waiting: VecDeque<Report>,
    complaints: PathBuf,
}

impl Child {
    /// Starts a process, and returns once it listens. What it complains of goes to a file beside `directory`.
    pub(super) fn start<A: AsRef<OsStr>>(
        stage: Stage<'_>,
        directory: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let complaints = directory.with_extension("complaints");
        let file = File::options().create(true).append(true).open(&complaints);
        let file = file.with_context(|| format!("cannot open {}", complaints.display()))?;
        let mut process = this_program()?
            .args(arguments)
            .envs(stage.captures.map(|captures| (CAPTURE, captures)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .context("cannot start another process")?;
        let (Some(orders), Some(told)) = (process.stdin.take(), process.stdout.take()) else {
            bail!("a process was started without its pipes");
        };
        let (sender, reports) = channel();
        std::thread::spawn(move || pass_on(told, &sender));
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let waiting = VecDeque::new();
        let mut child = Self { name, address: String::new(), process, orders, reports, waiting, complaints };
        child.address = child.until("that it listens", |report| match report {
            Report::Ready { address, .. } => Some(address.clone()),
            _ => None,
        })?;
        Ok(child)
    }

    pub(super) fn order(&mut self, order: &str) -> Result<()> {
        let written = writeln!(self.orders, "{order}").and_then(|()| self.orders.flush());
        written.with_context(|| format!("{} takes no orders any more: {}", self.name, self.complaint()))
    }

    /// kill -9.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.kill().and_then(|()| self.process.wait()).context("cannot kill a process")?;
        Ok(())
    }

    pub(super) fn counters(&mut self) -> Result<CountersReport> {
        self.order("counters")?;
        self.until("its counters", |report| match report {
            Report::Counters(counters) => Some(*counters),
            _ => None,
        })
    }

    /// The next key that this end asked for, or that its peer did.
    pub(super) fn next_key(&mut self, initiator: bool) -> Result<KeyReport> {
        self.until("a key", |report| match report {
            Report::Key(key) if key.initiator == initiator => Some(key.clone()),
            _ => None,
        })
    }

    pub(super) fn settled(&mut self, key_id: &str) -> Result<SettledReport> {
        self.until("how the hubs behaved", |report| match report {
            Report::Settled(settled) if settled.key_id == key_id => Some(settled.clone()),
            _ => None,
        })
    }

    /// The first report that `wanted` takes; the others wait.
    pub(super) fn until<T>(&mut self, what: &str, wanted: impl Fn(&Report) -> Option<T>) -> Result<T> {
        for position in 0..self.waiting.len() {
            if let Some(found) = self.waiting.get(position).and_then(&wanted) {
                self.waiting.remove(position);
                return Ok(found);
            }
        }
        loop {
            let report = match self.reports.recv_timeout(PATIENCE) {
                Ok(report) => report,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not say {what} in {} seconds", self.name, PATIENCE.as_secs())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended before it said {what}: {}", self.name, self.complaint())
                }
            };
            if let Some(found) = wanted(&report) {
                return Ok(found);
            }
            match report {
                Report::Note { .. } => {}
                Report::Failed { peer, error, .. } => bail!("{}: no key with {peer}: {error}", self.name),
                other => self.waiting.push_back(other),
            }
        }
    }

    /// The last line that it complained of.
    fn complaint(&self) -> String {
        let complaints = std::fs::read_to_string(&self.complaints).unwrap_or_default();
        complaints.lines().last().unwrap_or("it did not say why").to_owned()
    }
}

fn pass_on(told: impl std::io::Read, reports: &Sender<Report>) {
    for line in BufReader::new(told).lines() {
        let Ok(line) = line else { return };
        let report = serde_json::from_str(&line).unwrap_or(Report::Note { text: line });
        if reports.send(report).is_err() {
            return;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
