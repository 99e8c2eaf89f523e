//! A client that runs: what it does with the machine's events.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum as _;
use skex_core::machine::Instant;
use skex_core::{KeyId, SecretVec};
use skex_dske::{
    Client, ClientEvent, ClientTag, Conduct, ELEMENT_LEN, Established, HubId, HubReport, HubSet, KeyError,
    KeyRequest, Origin, Role, Table, TableError,
};
use skex_wire::dske::{AnswerStatus, Direction};

use crate::command::retire;
use crate::config::{ClientFile, SuiteName};
use crate::control::{Orders, Read};
use crate::driver::Driver;
use crate::keys::{KeyOutlet, assurance};
use crate::provisioning::{Links, enrolment, new_keys, read_key};
use crate::report::{CountersReport, KeyReport, Report, Reporter, SettledReport};
use crate::store::atomic::sync_directory;
use crate::store::{FilePad, TableIdentity, TableWriter, erase, table_name, way};

/// What people call those whom the machine knows by ids.
pub(crate) struct Names {
    clients: BTreeMap<ClientTag, String>,
    hubs: BTreeMap<HubId, String>,
}

impl Names {
    pub(super) fn of(file: &ClientFile) -> Self {
        Self {
            clients: file.peers.iter().map(|peer| (peer.tag.client(), peer.name.clone())).collect(),
            hubs: file.hubs.iter().map(|hub| (hub.id.hub(), hub.name.clone())).collect(),
        }
    }

    pub(crate) fn client(&self, tag: ClientTag) -> String {
        self.clients.get(&tag).cloned().unwrap_or_else(|| tag.to_string())
    }

    pub(crate) fn tag(&self, name: &str) -> Result<ClientTag> {
        let found = self.clients.iter().find(|(_, known)| *known == name);
        found.map(|(tag, _)| *tag).with_context(|| format!("unknown peer {name}"))
    }

    pub(super) fn hub(&self, id: HubId) -> String {
        self.hubs.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

pub(crate) struct Running {
    pub(crate) driver: Driver<Client<FilePad>>,
    pub(crate) names: Names,
    outlet: KeyOutlet,
    pub(crate) reporter: Reporter,
    home: Home,
    /// When each key of ours was asked for.
    asked: BTreeMap<KeyId, std::time::Instant>,
    /// When to look for orders again.
    look_at: Instant,
    /// Tables that came and could not be stored yet, by hub: each sends one after the other.
    unstored: BTreeMap<HubId, Came>,
    /// When to try that again.
    store_at: Instant,
}

/// A table that came over the network.
struct Came {
    direction: Direction,
    number: u16,
    octets: SecretVec,
}

/// Where the client's tables lie.
pub(super) struct Home {
    pub(super) directory: PathBuf,
    pub(super) links: Links,
}

/// A table that came over the network and is stored.
struct Refilled {
    table: Table<FilePad>,
    path: PathBuf,
    /// Whether its file was not there before.
    is_new: bool,
}

/// How long hubs have to be heard after the last key that was awaited.
const LINGER: Duration = Duration::from_millis(1500);

/// How often a client that waits looks for orders in its directory.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a table waits that could not be stored.
const STORE_AGAIN: Duration = Duration::from_secs(5);

/// What an event means for a command that waits for one.
pub(crate) enum News {
    Established(KeyId, Role),
    Settled(KeyId, Role),
    Failed(KeyId, String),
    Other,
}

impl Running {
    pub(super) const fn new(
        driver: Driver<Client<FilePad>>,
        names: Names,
        outlet: KeyOutlet,
        reporter: Reporter,
        home: Home,
    ) -> Self {
        Self {
            driver,
            names,
            outlet,
            reporter,
            home,
            asked: BTreeMap::new(),
            look_at: Instant::ZERO,
            unstored: BTreeMap::new(),
            store_at: Instant::ZERO,
        }
    }

    /// Makes one key.
    pub(super) fn get(&mut self, peer: &str, request: KeyRequest) -> Result<()> {
        let wanted = self.ask(peer, request)?;
        let mut established = false;
        let end = self.driver.now().saturating_add(Duration::from_secs(request.lifetime.into()));
        // The machine itself gives up at the end of the lifetime; a little later it must have said so.
        let end = end.saturating_add(Duration::from_secs(1));
        while self.driver.now() < end {
            self.driver.wait(Some(end), None)?;
            while let Some(event) = self.driver.next_event() {
                // Keys that others make with this client meanwhile wait in its log for `skex client wait`.
                if is_for_responder(&event) {
                    continue;
                }
                match self.take(event)? {
                    News::Established(key, _) if key == wanted => established = true,
                    News::Settled(key, _) if key == wanted && established => return Ok(()),
                    News::Failed(key, error) if key == wanted => {
                        bail!("no key with {peer}: {error}{}", self.silent_hubs());
                    }
                    _ => {}
                }
            }
        }
        if established {
            return Ok(());
        }
        bail!("no key with {peer} in {} seconds{}", request.lifetime, self.unreachable_hubs())
    }

    fn unreachable_hubs(&self) -> String {
        let silent = self.silent_hubs();
        if silent.is_empty() { "; all hubs answered: is the peer running?".to_owned() } else { silent }
    }

    /// What to say of the hubs that never answered; nothing if all did.
    pub(super) fn silent_hubs(&self) -> String {
        let status = self.driver.machine.status();
        let silent: Vec<String> =
            status.filter(|link| !link.connected).map(|link| self.names.hub(link.hub)).collect();
        if silent.is_empty() {
            String::new()
        } else {
            format!(
                "; no answer at all came from {}: see whether they run, their addresses in skex.json, and whether this \
                 client was revoked there",
                silent.join(", ")
            )
        }
    }

    /// Awaits `count` keys of others, or keys until the process is stopped.
    pub(super) fn wait(&mut self, count: Option<u32>, timeout: Option<Duration>) -> Result<()> {
        let mut end = timeout.map(|timeout| self.driver.now().saturating_add(timeout));
        let (mut unsettled, mut done) = (Vec::new(), 0_u32);
        let mut complete = false;
        loop {
            self.step(end, None)?;
            while let Some(event) = self.driver.next_event() {
                match self.take(event)? {
                    News::Established(key, Role::Responder) => {
                        unsettled.push(key);
                        done = done.saturating_add(1);
                    }
                    News::Settled(key, Role::Responder) => unsettled.retain(|open| *open != key),
                    _ => {}
                }
            }
            if !complete && count.is_some_and(|count| done >= count) {
                // For the late hubs. A key of before this start settles no more.
                complete = true;
                end = Some(self.driver.now().saturating_add(LINGER));
            }
            let over = end.is_some_and(|end| end <= self.driver.now());
            match complete {
                true if over || unsettled.is_empty() => return Ok(()),
                false if over => bail!("{done} keys came in time{}", self.unreachable_hubs()),
                _ => {}
            }
        }
    }

    /// Does as it is told on the standard input, until that ends.
    pub(super) fn steered(&mut self, mut orders: Orders) -> Result<()> {
        loop {
            let order = self.step(None, Some(&orders))?;
            while let Some(event) = self.driver.next_event() {
                self.take(event)?;
            }
            if order {
                match orders.read()? {
                    Read::End => return Ok(()),
                    Read::Orders(lines) => lines.iter().try_for_each(|line| self.obey(line))?,
                }
            }
        }
    }

    fn obey(&mut self, order: &str) -> Result<()> {
        let words: Vec<&str> = order.split(' ').collect();
        match words.as_slice() {
            ["get", peer, threshold, suite] => {
                let mut request = KeyRequest::new(threshold.parse().context("a threshold is a number")?);
                let suite =
                    SuiteName::from_str(suite, false).map_err(|_| anyhow!("unknown suite: {suite}"))?;
                request.suite = suite.suite();
                self.ask(peer, request).map(|_| ())
            }
            ["counters"] => self.reporter.tell(&Report::Counters(CountersReport {
                traffic: self.driver.traffic(),
                pad_octets_left: self.driver.machine.status().map(|link| link.uplink_remaining).sum(),
                syncs: self.driver.syncs(),
            })),
            _ => bail!("unknown order: {order}"),
        }
    }

    pub(super) fn step(&mut self, until: Option<Instant>, orders: Option<&Orders>) -> Result<bool> {
        if orders.is_some() {
            return self.driver.wait(until, orders.map(Orders::source));
        }
        // Not longer than until it is time to look for orders.
        let ready = self.driver.wait(until.into_iter().chain([self.look_at]).min(), None)?;
        if self.look_at <= self.driver.now() {
            self.take_orders()?;
            self.look_at = self.driver.now().saturating_add(PAUSE);
        }
        Ok(ready)
    }

    /// What is looked for now and then: tables that could not be stored when they came are tried again; links are given other initial
    /// keys, and tables taken out of service, as the orders in the directory say. What cannot be done ends the client.
    pub(crate) fn take_orders(&mut self) -> Result<()> {
        self.store_again()?;
        for (name, order) in new_keys(&self.home.directory)? {
            self.replace_key(&name, &order)?;
        }
        for (name, (direction, number), order) in retire::waiting(&self.home.directory)? {
            let known = self.home.links.iter().find(|(link, _)| *link == name);
            let (_, known) = known
                .with_context(|| format!("{} names no hub of this client: remove it", order.display()))?;
            let hub = known.hub;
            let retired =
                self.driver.call(|client, now, rng| client.retire_table(now, rng, hub, direction, number))?;
            match retired {
                // A crash came between the machine's record and the order's end.
                Ok(()) | Err(TableError::Absent(_)) => {}
                Err(error) => return Err(error.into()),
            }
            // Whether it is erased is noted down before the order goes.
            let is_told = |event: &ClientEvent| matches!(event, ClientEvent::TableRetired { .. });
            for told in self.driver.events_that(is_told) {
                self.take(told)?;
            }
            erase(&order)?;
        }
        Ok(())
    }

    /// The machine has it durably before the order goes; after a crash between, it is told the same again.
    pub(super) fn replace_key(&mut self, name: &str, order: &Path) -> Result<()> {
        let Home { directory, links } = &self.home;
        let known = links.iter().find(|(link, _)| link == name);
        let (_, known) =
            known.with_context(|| format!("{} names no hub of this client: remove it", order.display()))?;
        let hub = enrolment(directory, name, known)?.link.hub;
        let key = read_key(order)?;
        self.driver.call(|client, now, rng| client.replace_initial_key(now, rng, hub, key))??;
        erase(order)?;
        self.reporter.note(format!("the link with {name} is to have another initial key"))
    }

    /// The names of hubs.
    pub(super) fn hubs_of(&self, hubs: HubSet) -> impl Iterator<Item = &str> {
        let links = self.home.links.iter().filter(move |(_, known)| hubs.contains(known.coordinate));
        links.map(|(name, _)| name.as_str())
    }

    /// Whether a key of ours is under way.
    pub(super) fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    pub(super) fn ask(&mut self, peer: &str, request: KeyRequest) -> Result<KeyId> {
        let tag = self.names.tag(peer)?;
        let began = std::time::Instant::now();
        let asked = self.driver.call(|client, now, rng| client.request_key(now, rng, tag, request))?;
        let key = asked.map_err(|error| anyhow!("no key with {peer}: {error}"))?;
        self.asked.insert(key, began);
        Ok(key)
    }

    /// Carries out what an event asks for, and tells it.
    pub(crate) fn take(&mut self, event: ClientEvent) -> Result<News> {
        match event {
            ClientEvent::KeyEstablished(established) => self.take_key(established),
            ClientEvent::Settled { key_id, peer, role, hubs, blame_is_certain } => {
                let mut settled = self.settled(&hubs);
                settled.key_id = key_id.to_string();
                settled.peer = self.names.client(peer);
                settled.initiator = role == Role::Initiator;
                settled.blame_is_certain = blame_is_certain;
                self.reporter.tell(&Report::Settled(settled))?;
                Ok(News::Settled(key_id, role))
            }
            ClientEvent::KeyFailed { key_id, peer, error, .. } => {
                self.asked.remove(&key_id);
                let (peer, error) = (self.names.client(peer), why(error));
                let report = Report::Failed { key_id: key_id.to_string(), peer, error: error.clone() };
                self.reporter.tell(&report)?;
                Ok(News::Failed(key_id, error))
            }
            ClientEvent::Refill { hub, direction, number, octets } => {
                let taken = self.take_refill(hub, Came { direction, number, octets })?;
                self.tell_refill(hub, number, taken)?;
                Ok(News::Other)
            }
            ClientEvent::RolledBack { hub } => {
                let hub = self.names.hub(hub);
                self.reporter.note(format!(
                    "{hub} knows more than this client of what was used: this client's log was brought back from a copy, another \
                     copy of its directory runs, or a table is damaged. Stop, and bring the newest log back, or have this \
                     client revoked and enrolled anew there"
                ))?;
                Ok(News::Other)
            }
            ClientEvent::TableFailed { hub, direction, number, error } => {
                let (hub, way) = (self.names.hub(hub), way(direction));
                self.reporter.note(format!(
                    "{hub}: {way} table {number} failed, and no key comes by this hub: {error}; mend or replace the storage"
                ))?;
                Ok(News::Other)
            }
            ClientEvent::KeyConfirmed { key_id, peer, assurance: claimed } => {
                let peer = self.names.client(peer);
                self.reporter.note(format!("{peer} has confirmed key {key_id}: {}", assurance(claimed)))?;
                Ok(News::Other)
            }
            ClientEvent::InitialKeyReplaced { hub } => {
                let hub = self.names.hub(hub);
                self.reporter.note(format!("{hub} has proven its other initial key: the old one is gone"))?;
                Ok(News::Other)
            }
            ClientEvent::TableRetired { hub, direction, number, erased } => {
                let (hub, way) = (self.names.hub(hub), way(direction));
                retire::note_erasure(&self.home.directory, &hub, (direction, number), erased)?;
                let failed = if erased { "" } else { "; its storage failed: destroy it by other means" };
                self.reporter
                    .note(format!("{way} table {number} of the link with {hub} is out of service{failed}"))?;
                Ok(News::Other)
            }
            ClientEvent::TableLow { hub, uplink, remaining } => {
                let (hub, way) = (self.names.hub(hub), if uplink { "to" } else { "from" });
                self.reporter.note(format!(
                    "the table for messages {way} {hub} runs low: {remaining} octets are left; make more with `skex provision add` at the hub"
                ))?;
                Ok(News::Other)
            }
            _ => Ok(News::Other),
        }
    }

    /// A table that came over the network: stored as any other, then added. The hub decides what comes: whatever is wrong with
    /// it must not end a client of others too. The outer error is of the machine's own store.
    fn take_refill(&mut self, hub: HubId, came: Came) -> Result<Result<()>> {
        let direction = came.direction;
        let Refilled { table, path, is_new } = match self.store_refill(hub, &came) {
            Ok(stored) => stored,
            Err(error) => {
                // The hub does not send it again in this session: it is kept until there is room for it.
                self.store_at = self.driver.now().saturating_add(STORE_AGAIN);
                self.unstored.insert(hub, came);
                return Ok(Err(error.context("it is tried again every few seconds")));
            }
        };
        let added = self.driver.call(|client, _, _| client.add_table(hub, direction, table))?;
        if let Err(error) = added {
            let again =
                "mend that and start this client anew: until then this table stays away, and those behind it";
            // Nobody would look for it, and it is secret.
            let erased = if is_new { erase(&path) } else { Ok(()) };
            return Ok(erased.and(Err(error.into())).context(again));
        }
        Ok(Ok(()))
    }

    fn tell_refill(&self, hub: HubId, number: u16, taken: Result<()>) -> Result<()> {
        let hub = self.names.hub(hub);
        self.reporter.note(match taken {
            Ok(()) => format!("{hub} sent table {number}: keys that it carries are computational"),
            Err(error) => format!("{hub} sent table {number}, which is not taken: {error:#}"),
        })
    }

    /// Tables that could not be stored when they came, because a disk was full perhaps.
    fn store_again(&mut self) -> Result<()> {
        if self.store_at > self.driver.now() {
            return Ok(());
        }
        for (hub, came) in core::mem::take(&mut self.unstored) {
            let number = came.number;
            let taken = self.take_refill(hub, came)?;
            // Why it cannot be stored, it was said the first time.
            if !self.unstored.contains_key(&hub) {
                self.tell_refill(hub, number, taken)?;
            }
        }
        Ok(())
    }

    fn store_refill(&self, hub: HubId, came: &Came) -> Result<Refilled> {
        let Came { direction, number, ref octets } = *came;
        let Home { directory, links } = &self.home;
        let (name, known) = links.iter().find(|(_, known)| known.hub == hub).context("no such hub")?;
        let elements = u32::try_from(octets.len() / ELEMENT_LEN)?;
        let (client, origin) = (known.tag, Origin::Refill);
        let identity = TableIdentity { hub, client, direction, number, origin, elements };
        let path = directory.join(table_name(name, direction, number));
        let is_new = TableWriter::held(&path, identity)? == 0;
        if is_new {
            let writer = TableWriter::open(&path, identity, 0)?;
            writer.write(0, octets.expose())?;
            writer.finish(elements)?;
        }
        // Also where an earlier try came to here: the hub uses the table once it is told that it is durable.
        sync_directory(directory)?;
        let table = FilePad::open(&path, (hub, client), (direction, number), true)?.into_table(|pad| pad);
        Ok(Refilled { table, path, is_new })
    }

    fn take_key(&mut self, established: Established) -> Result<News> {
        let Established { key, peer, role, .. } = established;
        let (key_id, index, secrecy) = (key.id(), key.index(), assurance(key.assurance()));
        let began = self.asked.remove(&key_id);
        let micros = began.map_or(0, |began| u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        let (fingerprint, file) = self.outlet.put(key).with_context(|| match role {
            Role::Responder => {
                "the key could not be kept; mend that: it waits, and comes again at the next start"
            }
            _ => "the key could not be kept, and is lost here: ask for another",
        })?;
        if role == Role::Responder {
            // It is in safe hands now, or nobody wants it.
            self.driver
                .call(|client, _, _| client.taken(peer, key_id))?
                .map_err(|error| anyhow!("cannot take the key: {error}"))?;
        }
        self.reporter.tell(&Report::Key(KeyReport {
            key_id: key_id.to_string(),
            index,
            peer: self.names.client(peer),
            initiator: role == Role::Initiator,
            fingerprint: fingerprint.to_string(),
            assurance: secrecy,
            micros,
            file,
            traffic: self.driver.traffic(),
        }))?;
        Ok(News::Established(key_id, role))
    }

    fn settled(&self, hubs: &[HubReport]) -> SettledReport {
        let mut settled = SettledReport::default();
        for report in hubs {
            let list = match report.conduct {
                Conduct::Good => &mut settled.good,
                Conduct::Silent => &mut settled.silent,
                Conduct::Lying => &mut settled.lying,
                Conduct::TableFailed => &mut settled.failed,
                _ => &mut settled.refused,
            };
            list.push(self.names.hub(report.hub));
        }
        settled
    }
}

/// Why a key did not come about; where hubs refused it, in words.
fn why(error: KeyError) -> String {
    let advice = match error {
        KeyError::Refused(AnswerStatus::UNKNOWN_PEER) => {
            ": the peer is no client of these hubs, or was revoked there"
        }
        KeyError::Refused(AnswerStatus::NOT_AUTHORISED) => {
            ": the peer has not authorised this client there; it does so by `skex client authorise`"
        }
        KeyError::Refused(AnswerStatus::POLICY) => {
            ": a hub or the peer takes no keys of this suite, threshold, length or lifetime"
        }
        KeyError::Refused(AnswerStatus::TOO_MANY_WAITING) => {
            ": too many keys wait for the peer; is it running?"
        }
        _ => "",
    };
    format!("{error}{advice}")
}

pub(super) const fn is_for_responder(event: &ClientEvent) -> bool {
    match event {
        ClientEvent::KeyEstablished(established) => matches!(established.role, Role::Responder),
        ClientEvent::Settled { role, .. } | ClientEvent::KeyFailed { role, .. } => {
            matches!(role, Role::Responder)
        }
        _ => false,
    }
}
