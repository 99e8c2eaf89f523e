//! What is seen of the demo: a table for people, or JSON lines.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

/// One key, with what its two ends say of it. The names and their order are those of the JSON line.
#[derive(Clone, Debug, Serialize)]
pub(super) struct KeyLine {
    pub(super) event: &'static str,
    pub(super) protocol: &'static str,
    pub(super) key_id: String,
    pub(super) initiator: String,
    pub(super) responder: String,
    pub(super) initiator_fingerprint: String,
    pub(super) responder_fingerprint: String,
    pub(super) hubs_good: Vec<String>,
    pub(super) hubs_silent: Vec<String>,
    pub(super) hubs_lying: Vec<String>,
    pub(super) bytes_on_wire: u64,
    pub(super) psrd_bytes: u64,
    pub(super) micros: u64,
    #[serde(skip)]
    pub(super) messages: u64,
}

impl KeyLine {
    fn is_equal(&self) -> bool {
        self.initiator_fingerprint == self.responder_fingerprint
    }
}

#[derive(Serialize)]
struct ResultLine {
    event: &'static str,
    ok: bool,
    keys: u64,
}

pub(super) struct Show {
    json: bool,
    started: Instant,
    keys: u64,
    different: u64,
    header_is_due: bool,
    progress: bool,
}

impl Show {
    pub(super) fn new(json: bool) -> Self {
        let progress = std::io::stderr().is_terminal();
        Self { json, started: Instant::now(), keys: 0, different: 0, header_is_due: true, progress }
    }

    /// Keys that were made up to now.
    pub(super) const fn keys(&self) -> u64 {
        self.keys
    }

    /// How many of them differ at their two ends.
    pub(super) const fn different(&self) -> u64 {
        self.different
    }

    /// What is being done, on a line that is overwritten by whatever comes next. Only where somebody looks.
    pub(super) fn progress(&self, what: &str) {
        if self.progress {
            let seconds = self.started.elapsed().as_secs_f32();
            eprint!("\r\x1b[K  {seconds:4.1} s  {what} ...");
        }
    }

    fn clear_progress(&self) {
        if self.progress {
            eprint!("\r\x1b[K");
        }
    }

    /// A line of text; none among JSON lines.
    pub(super) fn line(&self, text: &str) -> Result<()> {
        if self.json { Ok(()) } else { self.print(text) }
    }

    pub(super) fn title(&mut self, text: &str) -> Result<()> {
        self.line(&format!("\n{text}\n"))?;
        self.header_is_due = true;
        Ok(())
    }

    fn print(&self, text: &str) -> Result<()> {
        self.clear_progress();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).context("cannot write to the standard output")
    }

    /// Counts a key and, among JSON lines, prints it.
    pub(super) fn count(&mut self, key: &KeyLine) -> Result<()> {
        self.keys = self.keys.saturating_add(1);
        if !key.is_equal() {
            self.different = self.different.saturating_add(1);
        }
        if self.json {
            let line = serde_json::to_string(key).context("cannot write a line")?;
            return self.print(&line);
        }
        Ok(())
    }

    /// A key as a row of the table.
    pub(super) fn row(&mut self, key: &KeyLine) -> Result<()> {
        if core::mem::take(&mut self.header_is_due) {
            self.line(&row([
                "who",
                "key",
                "fingerprint at one end",
                "and the other",
                "messages",
                "wire bytes",
                "pad bytes",
                "time",
            ]))?;
        }
        let relation = if key.is_equal() { "=" } else { "DIFFERS FROM" };
        self.line(&row([
            &format!("{} > {}", key.initiator, key.responder),
            &format!("{}..", key.key_id.get(..10).unwrap_or(&key.key_id)),
            &key.initiator_fingerprint,
            &format!("{relation} {}", key.responder_fingerprint),
            &key.messages.to_string(),
            &key.bytes_on_wire.to_string(),
            &key.psrd_bytes.to_string(),
            &milliseconds(key.micros),
        ]))?;
        let hubs = [("good", &key.hubs_good), ("silent", &key.hubs_silent), ("lying", &key.hubs_lying)];
        let hubs: Vec<String> = hubs
            .iter()
            .filter(|(_, hubs)| !hubs.is_empty())
            .map(|(what, hubs)| format!("{what}: {}", hubs.join(" ")))
            .collect();
        if hubs.is_empty() { Ok(()) } else { self.line(&format!("  {:<13}{}", "", hubs.join("   "))) }
    }

    /// Many keys as a summary.
    pub(super) fn summary(&self, keys: &[KeyLine]) -> Result<()> {
        let sum = |of: fn(&KeyLine) -> u64| keys.iter().map(of).fold(0, u64::saturating_add);
        let count = keys.len() as u64;
        let mut times: Vec<u64> = keys.iter().map(|key| key.micros).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let equal = keys.iter().filter(|key| key.is_equal()).count();
        let mean = |sum: u64| sum.checked_div(count).unwrap_or_default();
        self.line(&format!(
            "  {:<13}{count} handshakes, either end in turn: {equal} keys equal at both ends\n  {:<13}{} messages and {} \
             bytes each, {} in the median, {} at most",
            "",
            "",
            mean(sum(|key| key.messages)),
            mean(sum(|key| key.bytes_on_wire)),
            milliseconds(median),
            milliseconds(times.last().copied().unwrap_or_default())
        ))
    }

    /// The last line.
    pub(super) fn end(&self, played: bool) -> Result<()> {
        self.clear_progress();
        let ok = played && self.different == 0;
        if self.json {
            let result = ResultLine { event: "result", ok, keys: self.keys };
            return self.print(&serde_json::to_string(&result).context("cannot write a line")?);
        }
        let verdict = if ok { "all is well" } else { "NOT ALL IS WELL" };
        self.line(&format!(
            "\n{verdict}: {} keys, {} of them different at their ends, {:.1} seconds",
            self.keys,
            self.different,
            self.started.elapsed().as_secs_f32()
        ))
    }
}

fn row(cells: [&str; 8]) -> String {
    let [who, key, first, second, messages, bytes, pad, time] = cells;
    format!("  {who:<13}{key:<14}{first:<23}{second:<22}{messages:>9}{bytes:>12}{pad:>11}{time:>11}")
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}
