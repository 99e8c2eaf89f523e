//! The client under the server: it makes keys as they are given out, and takes in those that others make.

use core::time::Duration;
use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Result, anyhow, bail};
use skex_core::KeyId;
use skex_core::machine::Instant;
use skex_dske::{ClientEvent, ClientTag, Conduct, Established, KeyRequest, Role};

use crate::bell::Bell;
use crate::command::client::running::Running;
use crate::kme::keeper::{Arrival, KEY_LEN, Kept, Part};
use crate::kme::server::Shared;
use crate::kme::vault::FileVault;

/// Keys that a peer is asked for at once.
const AT_ONCE: usize = 16;

/// How often it is seen whether `skex provision key` left an order in the client's directory.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a request waits for a peer that is down. Each one that fails has spent what its shares took, so few are made: after
/// a failure one at a time, ever more slowly.
const LIFETIME: u16 = 600;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

pub(super) struct Making {
    client: Running,
    shared: Arc<Shared<FileVault>>,
    wakes: Bell,
    asked: BTreeMap<KeyId, ClientTag>,
    /// Peers with which the last key did not come about.
    failing: BTreeMap<ClientTag, Pause>,
}

struct Pause {
    until: Instant,
    length: Duration,
}

impl Making {
    pub(super) const fn new(client: Running, shared: Arc<Shared<FileVault>>, wakes: Bell) -> Self {
        Self { client, shared, wakes, asked: BTreeMap::new(), failing: BTreeMap::new() }
    }

    /// Until the program is stopped, or something fails.
    pub(super) fn run(&mut self, serving: &JoinHandle<Result<()>>) -> Result<()> {
        let mut look_at = Instant::ZERO;
        while !serving.is_finished() {
            if self.shared.keeper().is_broken() {
                bail!("a key could not be erased; mend the disk and start again: none is given twice");
            }
            let again = self.ask()?;
            let until = again.into_iter().chain([look_at]).min();
            self.client.driver.wait(until, Some(self.wakes.as_fd()))?;
            if look_at <= self.client.driver.now() {
                self.client.take_orders()?;
                look_at = self.client.driver.now().saturating_add(PAUSE);
            }
            // However often it was rung: one look at what is missing answers it all.
            self.wakes.hear();
            self.take_in_all()?;
        }
        Ok(())
    }

    /// Asks for the keys that are missing. Gives the time at which to try again.
    fn ask(&mut self) -> Result<Option<Instant>> {
        let now = self.client.driver.now();
        let missing: Vec<(ClientTag, KeyRequest, usize)> = {
            let keeper = self.shared.keeper();
            let wanted = keeper.missing().map(|(tag, peer, count)| {
                let mut request = KeyRequest::new(peer.threshold);
                request.suite = peer.suite.suite();
                request.key_len = u32::try_from(KEY_LEN).unwrap_or(u32::MAX);
                request.lifetime = LIFETIME;
                (tag, request, count)
            });
            wanted.collect()
        };
        for (tag, request, count) in missing {
            let pending = self.asked.values().filter(|asked| **asked == tag).count();
            let most = match self.failing.get(&tag) {
                Some(pause) if pause.until > now => 0,
                Some(_) => 1,
                None => AT_ONCE,
            };
            for _ in pending..count.min(most) {
                match self
                    .client
                    .driver
                    .call(|client, now, rng| client.request_key(now, rng, tag, request))?
                {
                    Ok(key) => {
                        self.asked.insert(key, tag);
                    }
                    Err(error) => {
                        self.failed(tag, &error.to_string())?;
                        break;
                    }
                }
            }
        }
        Ok(self.failing.values().map(|pause| pause.until).filter(|until| *until > now).min())
    }

    pub(super) fn take_in_all(&mut self) -> Result<()> {
        while let Some(event) = self.client.driver.next_event() {
            self.take(event)?;
        }
        Ok(())
    }

    fn take(&mut self, event: ClientEvent) -> Result<()> {
        match event {
            ClientEvent::KeyEstablished(established) => self.take_in(established),
            ClientEvent::KeyFailed { key_id, peer, role: Role::Initiator, error } => {
                self.asked.remove(&key_id);
                self.failed(peer, &error.to_string())
            }
            ClientEvent::KeyFailed { .. } => Ok(()),
            // A line for each key that came about as it should would bury the others.
            ClientEvent::Settled { ref hubs, .. } if hubs.iter().all(|hub| hub.conduct == Conduct::Good) => {
                Ok(())
            }
            other => self.client.take(other).map(|_| ()),
        }
    }

    fn take_in(&mut self, established: Established) -> Result<()> {
        let Established { key, peer, role, .. } = established;
        let (id, part) = match role {
            Role::Initiator => (key.id(), Part::Made),
            _ => (key.id(), Part::Received),
        };
        self.asked.remove(&id);
        let arrival = self.shared.keeper().take_in(Kept { peer, part, key })?;
        if arrival == Arrival::Foreign {
            // It waits in the client's log for `skex client wait`.
            return Ok(());
        }
        if part == Part::Received {
            // It is in safe hands now, or nobody wants it. Only then is it given to anybody: told again after a crash, it
            // would be a key that nobody had yet.
            let taken = self.client.driver.call(|client, _, _| client.taken(peer, id))?;
            taken.map_err(|error| anyhow!("cannot take the key: {error}"))?;
        }
        match arrival {
            Arrival::Stored(slot) => self.shared.keeper().open(slot),
            Arrival::Known | Arrival::Foreign => {}
            Arrival::Unusable => {
                let peer = self.client.names.client(peer);
                self.client.reporter.note(format!("a key with {peer} is none of a KME's, and is dropped"))?;
            }
        }
        if part == Part::Made && self.failing.remove(&peer).is_some() {
            let peer = self.client.names.client(peer);
            self.client.reporter.note(format!("keys with {peer} come about again"))?;
        }
        Ok(())
    }

    fn failed(&mut self, peer: ClientTag, why: &str) -> Result<()> {
        let now = self.client.driver.now();
        let length = self.failing.get(&peer).map_or(FIRST_PAUSE, |pause| {
            // Those that failed together are one failure.
            let is_over = pause.until <= now;
            if is_over { pause.length.saturating_mul(2).min(LONGEST_PAUSE) } else { pause.length }
        });
        self.failing.insert(peer, Pause { until: now.saturating_add(length), length });
        let peer = self.client.names.client(peer);
        self.client
            .reporter
            .note(format!("no key with {peer}: {why}; trying again in {} s", length.as_secs()))
    }
}
