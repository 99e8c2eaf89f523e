//! What a process tells: lines for people, or one JSON object a line for whoever steers it.

use core::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::driver::Traffic;

/// One thing to tell.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Report {
    /// The process listens.
    Ready { name: String, address: String },
    /// A key is there at this end.
    Key(KeyReport),
    /// All hubs of a key have spoken, or had their time.
    Settled(SettledReport),
    /// A key did not come about.
    Failed { key_id: String, peer: String, error: String },
    /// The first key of this session was taken before this start; it is not given twice.
    Gone { key_id: String },
    /// The answer to `counters`.
    Counters(CountersReport),
    /// A step of a rotation, at this end.
    Rotation(RotationReport),
    /// Something that an operator wants to know.
    Note { text: String },
}

/// A key, as the process that holds it describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyReport {
    pub(crate) key_id: String,
    pub(crate) index: u64,
    pub(crate) peer: String,
    pub(crate) initiator: bool,
    pub(crate) fingerprint: String,
    pub(crate) assurance: String,
    /// From the request to the key, at the initiator.
    pub(crate) micros: u64,
    /// Where the key was written to.
    pub(crate) file: Option<String>,
    /// All that has passed the socket of this process up to now.
    pub(crate) traffic: Traffic,
}

/// How the hubs of a key behaved, as one end saw it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SettledReport {
    pub(crate) key_id: String,
    pub(crate) peer: String,
    pub(crate) initiator: bool,
    pub(crate) good: Vec<String>,
    pub(crate) silent: Vec<String>,
    pub(crate) lying: Vec<String>,
    /// Those whose tables failed here.
    pub(crate) failed: Vec<String>,
    pub(crate) refused: Vec<String>,
    pub(crate) blame_is_certain: bool,
}

/// What became of a generation, or of the consumer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RotationReport {
    pub(crate) step: String,
    /// 0 where it is about no generation.
    pub(crate) generation: u64,
    pub(crate) text: String,
}

/// What a process has done since its start.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CountersReport {
    pub(crate) traffic: Traffic,
    /// Octets left in the tables that this process sends from.
    pub(crate) pad_octets_left: u64,
    /// Batches of checkpoints that were made durable: a sync each, or two.
    pub(crate) syncs: u64,
}

/// A line for people. That nobody reads on is no failure: `skex status --dir net/alice | head`.
macro_rules! say {
    ($($text:tt)*) => { $crate::report::say_line(format_args!($($text)*)) };
}
pub(crate) use say;

pub(crate) fn say_line(line: core::fmt::Arguments<'_>) {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("skex: cannot write to the standard output: {error}");
        }
        _ => {}
    }
}

/// Where reports go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reporter {
    json: bool,
}

impl Reporter {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn note(self, text: impl Into<String>) -> Result<()> {
        self.tell(&Report::Note { text: text.into() })
    }

    pub(crate) fn tell(self, report: &Report) -> Result<()> {
        let line = if self.json {
            serde_json::to_string(report).context("cannot write a report")?
        } else {
            report.for_people()
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to the standard output")
    }
}

impl Report {
    fn for_people(&self) -> String {
        match self {
            Self::Ready { name, address } => format!("{name} listens on {address}"),
            Self::Key(key) => key.for_people(),
            Self::Settled(settled) => settled.for_people(),
            Self::Failed { key_id, peer, error } => format!("no key with {peer} ({key_id}): {error}"),
            Self::Gone { key_id } => {
                format!("session {key_id} is there still; its first key was taken before")
            }
            Self::Counters(counters) => {
                let Traffic { sent_messages, received_messages, discarded, .. } = counters.traffic;
                format!("sent {sent_messages}, received {received_messages}, discarded {discarded} messages")
            }
            Self::Rotation(RotationReport { step, generation, text }) => {
                let what =
                    if *generation == 0 { "link".to_owned() } else { format!("generation {generation}") };
                format!("{what}: {step}{}{text}", if text.is_empty() { "" } else { ": " })
            }
            Self::Note { text } => text.clone(),
        }
    }
}

impl KeyReport {
    fn for_people(&self) -> String {
        let asked = if self.initiator { "asked for here" } else { "asked for by the peer" };
        let mut text = format!(
            "key {}\n  peer         {} ({asked})\n  fingerprint  {}\n  secrecy      {}",
            self.key_id, self.peer, self.fingerprint, self.assurance
        );
        let written = match &self.file {
            Some(file) => write!(text, "\n  written to   {file}"),
            None => {
                write!(text, "\n  the key itself was not kept: name a file or directory for it with --out")
            }
        };
        debug_assert!(written.is_ok());
        text
    }
}

impl SettledReport {
    fn for_people(&self) -> String {
        let mut text = format!("hubs of key {}", self.key_id);
        let lists = [
            ("good", &self.good),
            ("silent", &self.silent),
            ("lying", &self.lying),
            ("refusing", &self.refused),
            ("table failed", &self.failed),
        ];
        for (what, hubs) in lists.into_iter().filter(|(_, hubs)| !hubs.is_empty()) {
            text.push_str(&format!("\n  {what:<12} {}", hubs.join(" ")));
        }
        if !self.lying.is_empty() && !self.blame_is_certain {
            text.push_str(if self.initiator {
                "\n  who lies is what the peer says, as it saw it when it took the key"
            } else {
                "\n  so many shares were wrong that liars who work together could have framed others"
            });
        }
        text
    }
}
