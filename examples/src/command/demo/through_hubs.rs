//! Hubs and clients, and the keys that they make.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::child::Child;
use super::show::{KeyLine, Show};
use super::{HUBS, Stage};
use crate::report::SettledReport;

pub(super) struct Network {
    directory: PathBuf,
    hubs: Vec<Child>,
    clients: Vec<Child>,
}

/// What is known of a key once both ends have said all of it.
pub(super) struct Made {
    pub(super) key_id: String,
    pub(super) silent: Vec<String>,
    pub(super) lying: Vec<String>,
}

/// What the processes have done together.
#[derive(Clone, Copy, Default)]
struct Totals {
    messages: u64,
    octets: u64,
    pad_octets_left: u64,
}

impl Network {
    /// Starts every party in its own directory. All listen on ports that the operating system chooses.
    pub(super) fn start(stage: Stage<'_>, directory: &Path, corrupt: bool) -> Result<Self> {
        let mut hubs = Vec::new();
        for number in 1..=HUBS {
            let own = directory.join(format!("hub-{number}"));
            let arguments = ["hub", "--dir", utf8(&own)?, "--listen", "127.0.0.1:0", "--steered"];
            hubs.push(Child::start(stage, &own, arguments)?);
        }
        let mut clients = Vec::new();
        for name in ["alice", "bob"] {
            let own = directory.join(name);
            let mut arguments: Vec<String> =
                ["client", "--dir", utf8(&own)?, "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
            for hub in &hubs {
                arguments.extend(["--hub-address".to_owned(), format!("{}={}", hub.name, hub.address)]);
            }
            let keys = Self::keys_in(&own);
            arguments.extend(["steered", "--out-dir", utf8(&keys)?].map(str::to_owned));
            if corrupt && name == "bob" {
                arguments.push("--corrupt".to_owned());
            }
            clients.push(Child::start(stage, &own, &arguments)?);
        }
        Ok(Self { directory: directory.to_owned(), hubs, clients })
    }

    fn keys_in(client: &Path) -> PathBuf {
        client.join("keys")
    }

    /// Where a client has written a key.
    pub(super) fn key_file(&self, client: &str, key_id: &str) -> PathBuf {
        Self::keys_in(&self.directory.join(client)).join(format!("{key_id}-0.key"))
    }

    /// kill -9 of a hub. What it had done is its directory's; it is not started again.
    pub(super) fn kill_hub(&mut self, name: &str) -> Result<()> {
        let position = self.hubs.iter().position(|hub| hub.name == name);
        self.hubs.remove(position.context("no such hub")?).kill()
    }

    pub(super) fn make_hub_lie(&mut self, name: &str) -> Result<()> {
        let hub = self.hubs.iter_mut().find(|hub| hub.name == name);
        hub.context("no such hub")?.order("lie")
    }

    fn client(&mut self, name: &str) -> Result<&mut Child> {
        self.clients.iter_mut().find(|client| client.name == name).context("no such client")
    }

    fn totals(&mut self) -> Result<Totals> {
        let mut totals = Totals::default();
        for child in self.hubs.iter_mut().chain(&mut self.clients) {
            let counters = child.counters()?;
            totals.messages = totals.messages.saturating_add(counters.traffic.sent_messages);
            totals.octets = totals.octets.saturating_add(counters.traffic.sent_octets);
            totals.pad_octets_left = totals.pad_octets_left.saturating_add(counters.pad_octets_left);
        }
        Ok(totals)
    }

    /// One key, from the first message to the last word about the hubs.
    pub(super) fn key(
        &mut self,
        initiator: &str,
        responder: &str,
        (threshold, suite): (u8, &str),
        show: &mut Show,
    ) -> Result<Made> {
        show.progress(&format!("{initiator} makes a key with {responder}"));
        let before = self.totals()?;
        self.client(initiator)?.order(&format!("get {responder} {threshold} {suite}"))?;
        let first = self.client(initiator)?.next_key(true)?;
        let second = self.client(responder)?.next_key(false)?;
        anyhow::ensure!(first.key_id == second.key_id, "the two ends speak of different keys");
        let reports = [
            self.client(initiator)?.settled(&first.key_id)?,
            self.client(responder)?.settled(&first.key_id)?,
        ];
        let after = self.totals()?;
        let (good, silent, lying) = judge(&reports);
        let key = KeyLine {
            event: "key",
            protocol: "dske",
            key_id: first.key_id,
            initiator: initiator.to_owned(),
            responder: responder.to_owned(),
            initiator_fingerprint: first.fingerprint,
            responder_fingerprint: second.fingerprint,
            hubs_good: good,
            hubs_silent: silent.clone(),
            hubs_lying: lying.clone(),
            bytes_on_wire: after.octets.saturating_sub(before.octets),
            psrd_bytes: before.pad_octets_left.saturating_sub(after.pad_octets_left),
            micros: first.micros,
            messages: after.messages.saturating_sub(before.messages),
        };
        show.count(&key)?;
        show.row(&key)?;
        Ok(Made { key_id: key.key_id, silent, lying })
    }
}

/// Both ends know a part: a hub lies if either end found it lying, and is silent if it served neither.
fn judge(reports: &[SettledReport; 2]) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (mut good, mut silent, mut lying) = (Vec::new(), Vec::new(), Vec::new());
    let [first, _] = reports;
    let mut hubs: Vec<&String> =
        [&first.good, &first.silent, &first.lying, &first.refused].into_iter().flatten().collect();
    hubs.sort();
    for hub in hubs {
        let list = if reports.iter().any(|report| report.lying.contains(hub)) {
            &mut lying
        } else if reports.iter().any(|report| report.good.contains(hub)) {
            &mut good
        } else {
            &mut silent
        };
        list.push(hub.clone());
    }
    (good, silent, lying)
}

/// A path as an argument.
pub(super) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{}: name a directory in UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_ends_together_say_who_was_good_silent_and_lying() {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let initiator = SettledReport {
            good: of(&["hub-1", "hub-3", "hub-5"]),
            silent: of(&["hub-2", "hub-4"]),
            ..SettledReport::default()
        };
        let responder = SettledReport {
            good: of(&["hub-1", "hub-2"]),
            silent: of(&["hub-3", "hub-4"]),
            lying: of(&["hub-5"]),
            ..SettledReport::default()
        };
        let (good, silent, lying) = judge(&[initiator, responder]);
        assert_eq!(good, ["hub-1", "hub-2", "hub-3"]);
        assert_eq!(silent, ["hub-4"]);
        assert_eq!(lying, ["hub-5"]);
    }
}
