//! `skex hub`: one security hub.

mod enrol;
mod lying;
mod revoke;
mod shards;

use core::num::NonZeroU16;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use skex_core::machine::{DiscardReason, Instant};
use skex_dske::{
    Authorised, ClientStatus, ClientTag, HubClient, HubConfig, HubEvent, KeySuite, Origin, Table, TableError,
};
use skex_wire::dske::Direction;

pub(crate) use lying::LyingPad;
pub(crate) use shards::{Logs, Shards, count};

use crate::command::provision::{parse_size, take_in};
use crate::command::retire::{self, Which};
use crate::config::{Accepts, HubClientFile, HubFile, coordinate, load, replace};
use crate::control::{Orders, Read};
use crate::driver::bind;
use crate::provisioning::{Enrolment, Known, Links, enrolment, import, new_keys, read_key, tables, waiting};
use crate::report::{CountersReport, Report, Reporter};
use crate::store::{DirectoryLock, FilePad, TablesIn, check_begun, erase, table_name, way};

/// Run a security hub.
///
/// It relays shares between its clients until it is stopped; it knows one share of each key, and no key. It may be stopped
/// at any time, a loss of power included.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  skex hub --dir net/hub-1 --listen 0.0.0.0:47100\n  skex hub --dir net/hub-1 revoke alice\n  skex hub --dir net/hub-1 retire alice --uplink 1\n  skex hub --dir net/hub-1 enrol alice --out for-alice.provision"
)]
pub(crate) struct Arguments {
    /// The hub's directory, from `skex provision`.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Listen here, instead of where skex.json says.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Run in so many shards, each on a thread of its own with a log of its own. Decided at the first start, for good; without it,
    /// the hub has as many as before, and one at first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: Option<u16>,
    /// For experiments: hand out wrong shares. Clients must find the key all the same, and name this hub.
    #[arg(long)]
    lie: bool,
    /// Take orders from the standard input and report in JSON.
    #[arg(long, hide = true)]
    steered: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do with a hub's directory, whether a hub runs on it or not.
#[derive(clap::Subcommand)]
enum Action {
    /// End the enrolment of a client at this hub.
    ///
    /// Its session ends, and its keys, tables, and shares that wait are erased here; whatever it sends is dropped in silence. This
    /// cannot be undone. Revoke it at each hub: other hubs go on serving it.
    Revoke {
        /// The client's name here.
        client: String,
    },
    /// Take a table of a client out of service: a copy of it may be in other hands.
    ///
    /// Nothing of it is used any more, and it is erased here. The client does the same. This cannot be undone.
    Retire {
        /// The client's name here.
        client: String,
        #[command(flatten)]
        which: Which,
    },
    /// Enrol a client at this hub: one that was revoked, anew, or one that never was one.
    ///
    /// It gets the next number, another initial key and other tables, in a file to be carried to it. Its tag stays, so that its
    /// peers and other hubs change nothing.
    Enrol {
        /// The client's name here.
        client: String,
        /// Its client tag, from its own skex.json; not needed for one that was revoked.
        #[arg(long, value_name = "TAG")]
        tag: Option<String>,
        /// Octets of each of its two tables.
        #[arg(long, default_value = "1MiB", value_parser = parse_size, value_name = "SIZE")]
        table_size: u64,
        /// The provisioning file to make for the client. Carry it over a way that you trust.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// The name of a machine's log in its directory.
pub(crate) const LOG: &str = "state.log";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let directory = &arguments.dir;
    match &arguments.action {
        Some(Action::Revoke { client }) => return revoke::run(directory, client),
        Some(Action::Retire { client, which }) => {
            let file: HubFile = load(directory)?;
            if !file.enrolled().any(|enrolled| enrolled.name == *client) {
                bail!("{client} is no client of {}", file.name);
            }
            return retire::order(directory, client, which, |_| {
                let file: HubFile = load(directory)?;
                Running::apart(directory, &file)?.retire_tables()
            });
        }
        Some(Action::Enrol { client, tag, table_size, out }) => {
            return enrol::run(directory, client, tag.as_deref(), *table_size, out);
        }
        None => {}
    }
    let file: HubFile = load(directory)?;
    let _lock = DirectoryLock::acquire(directory)?;
    let socket = bind(arguments.listen.as_ref().unwrap_or(&file.listen))?;
    let reporter = Reporter::new(arguments.steered);
    enrol::finish_earlier(directory, reporter)?;
    let mut file: HubFile = load(directory)?;
    let shards = shards::decide(directory, &mut file, arguments.shards.and_then(NonZeroU16::new))?;
    take_in(directory, &file.links()?, &revoke::leaving(directory, &file)?, reporter)?;
    let lie = Arc::new(AtomicBool::new(arguments.lie));
    let mut hub = Running::open(&Own::of(directory, &file, &lie, true)?, socket, reporter)?;
    let address = hub.shards.local_address()?.to_string();
    if shards.get() > 1 {
        hub.reporter.note(format!("this hub has {shards} shards"))?;
    }
    hub.reporter.tell(&Report::Ready { name: file.name, address })?;
    if arguments.lie {
        hub.reporter.note("this hub lies: it hands out wrong shares")?;
    }
    hub.serve(arguments.steered.then(Orders::from_stdin))
}

/// What the machine is made of. Also for `skex status`, with tables that cannot be written.
pub(crate) fn config(own: &Own<'_>) -> Result<HubConfig<LyingPad>> {
    let file = own.file;
    let mut clients = Vec::new();
    let mut further = Vec::new();
    let mut names = Vec::new();
    for (client, (name, known)) in file.enrolled().zip(file.links()?) {
        if own.leaving.contains(&name) {
            continue;
        }
        let (client, others) = hub_client(own, client, &known)?;
        names.push((client.client, name));
        further.extend(others.into_iter().map(|(direction, table)| (client.client, direction, table)));
        clients.push(client);
    }
    let config = HubConfig::new(file.id.hub(), coordinate(file.coordinate)?, clients);
    let mut config = config.context("skex.json of this hub cannot be used")?;
    for name in &own.leaving {
        let (client, tag) = file.enrolment(name).context("who leaves is a client")?;
        config = config.without(client, tag).context("skex.json of this hub cannot be used")?;
    }
    if let Some(suites) = &file.suites {
        let suites: Vec<KeySuite> = suites.iter().map(|name| name.suite()).collect();
        config = config.with_suites(&suites).context("\"suites\" in skex.json of this hub names none")?;
    }
    for (client, name) in names {
        config = config.with_name(client, name.as_bytes()).with_context(|| {
            format!("the name {name} in skex.json of this hub cannot be used, or is another client's too")
        })?;
    }
    for (client, direction, table) in further {
        config = config.with_table(client, direction, table).context("a table of this hub cannot be used")?;
    }
    Ok(config)
}

/// Tables beside the first ones.
type Further = Vec<(Direction, Table<LyingPad>)>;

/// What a hub has, to make its clients of.
pub(crate) struct Own<'a> {
    directory: &'a Path,
    file: &'a HubFile,
    there: TablesIn,
    /// Of the clients that it has, or had.
    tags: BTreeMap<&'a str, ClientTag>,
    /// Clients that an order revokes: of what they had, nothing need be there.
    leaving: BTreeSet<String>,
    lie: &'a Arc<AtomicBool>,
    writable: bool,
}

impl<'a> Own<'a> {
    pub(crate) fn of(
        directory: &'a Path,
        file: &'a HubFile,
        lie: &'a Arc<AtomicBool>,
        writable: bool,
    ) -> Result<Self> {
        let there = TablesIn::directory(directory)?;
        let tags = file.clients.iter().map(|client| (client.name.as_str(), client.tag.client())).collect();
        let leaving = if writable { revoke::leaving(directory, file)? } else { BTreeSet::new() };
        Ok(Self { directory, file, there, tags, leaving, lie, writable })
    }
}

/// A client of the hub as its directory has it, with its first tables, and the further ones.
fn hub_client(
    own: &Own<'_>,
    client: &HubClientFile,
    known: &Known,
) -> Result<(HubClient<LyingPad>, Further)> {
    let name = &client.name;
    let lost = || {
        format!(
            "this hub does not start without what it has of {name}; if that is lost for good, revoke {name}"
        )
    };
    let Enrolment { link, initial_key } = enrolment(own.directory, name, known).with_context(lost)?;
    let mut further = Vec::new();
    let mut table = |direction| -> Result<Table<LyingPad>> {
        let tables = tables(own.directory, &own.there, name, &link, direction, own.writable);
        let (first, others) = tables.with_context(lost)?;
        let lying = |table| as_the_hub_is(table, direction, own.lie);
        further.extend(others.into_iter().map(|table| (direction, lying(table))));
        Ok(lying(first))
    };
    let tag_of = |other: &String| {
        own.tags.get(other.as_str()).copied().with_context(|| {
            format!(
                "skex.json lets {name} accept keys from {other}, who is no client of this hub: correct it, or write \"everyone\""
            )
        })
    };
    let authorised = match &client.accepts_keys_from {
        Accepts::Everyone(_) => Authorised::Everyone,
        Accepts::From(others) => Authorised::Only(others.iter().map(tag_of).collect::<Result<_>>()?),
    };
    let client = HubClient {
        client: link.client,
        tag: link.tag,
        suite: link.suite,
        initial_key,
        uplink: table(Direction::UPLINK)?,
        downlink: table(Direction::DOWNLINK)?,
        authorised,
    };
    Ok((client, further))
}

/// Carries out the orders of other initial keys that lie in the directory of a hub that does not run, whose lock the caller holds.
pub(crate) fn take_new_keys(directory: &Path) -> Result<()> {
    let file: HubFile = load(directory)?;
    let mut hub = Running::apart(directory, &file)?;
    for (name, order) in new_keys(directory)? {
        hub.replace_key(&name, &order)?;
    }
    Ok(())
}

/// A hub that lies does so in what it delivers.
fn as_the_hub_is(table: Table<FilePad>, direction: Direction, lie: &Arc<AtomicBool>) -> Table<LyingPad> {
    let Table { number, origin, pad, .. } = table;
    let pad = if direction == Direction::DOWNLINK {
        LyingPad::new(pad, Arc::clone(lie))
    } else {
        LyingPad::honest(pad)
    };
    Table::new(number, origin, pad)
}

struct Running {
    shards: Shards<LyingPad>,
    reporter: Reporter,
    directory: PathBuf,
    links: Links,
    lie: Arc<AtomicBool>,
    /// Provisioning files and orders that cannot be used, and were complained about.
    refused: Vec<PathBuf>,
    /// What else was complained about.
    told_once: Vec<String>,
    /// What was said last of each client, and of discarded messages.
    told: Vec<String>,
    news_at: Instant,
}

/// How often a hub looks whether there is something new to say.
const PAUSE: Duration = Duration::from_secs(2);

impl Running {
    /// Where no client finds it, to carry out an order.
    fn apart(directory: &Path, file: &HubFile) -> Result<Self> {
        let honest = Arc::new(AtomicBool::new(false));
        Self::open(&Own::of(directory, file, &honest, true)?, bind("127.0.0.1:0")?, Reporter::new(false))
    }

    fn open(own: &Own<'_>, socket: std::net::UdpSocket, reporter: Reporter) -> Result<Self> {
        let Own { directory, file, lie, .. } = *own;
        revoke::finish_earlier(directory, file)?;
        let logs = Logs::read(directory, count(file)?)?;
        check_begun(directory, file.started, logs.contents())?;
        let config = config(own)?;
        let shards = Shards::start(config, logs, socket)?;
        // Every log has a record, and nothing was used before.
        if !file.started {
            replace(directory, &HubFile { started: true, ..load(directory)? })?;
        }
        Ok(Self {
            shards,
            reporter,
            directory: directory.to_owned(),
            links: file.links()?,
            lie: Arc::clone(lie),
            refused: Vec::new(),
            told_once: Vec::new(),
            told: Vec::new(),
            news_at: Instant::ZERO,
        })
    }

    fn name_of(&self, client: ClientTag) -> &str {
        let link = self.links.iter().find(|(_, known)| known.tag == client);
        link.map_or("a client", |(name, _)| name.as_str())
    }

    fn serve(&mut self, mut orders: Option<Orders>) -> Result<()> {
        loop {
            let until = orders.is_none().then_some(self.news_at);
            let order = self.shards.wait(until, orders.as_ref().map(Orders::source))?;
            self.tell_events()?;
            match orders.as_mut().filter(|_| order) {
                Some(orders) => match orders.read()? {
                    Read::End => return Ok(()),
                    Read::Orders(lines) => lines.iter().try_for_each(|line| self.obey(line))?,
                },
                None if until.is_some_and(|until| until <= self.shards.now()) => {
                    self.tell_news()?;
                    self.news_at = self.shards.now().saturating_add(PAUSE);
                }
                None => {}
            }
        }
    }

    fn obey(&mut self, order: &str) -> Result<()> {
        match order {
            "counters" => {
                let counters = self.shards.each(|driver| {
                    let left = driver.machine.status().map(|client| client.downlink_remaining).sum::<u64>();
                    Ok((driver.traffic(), left, driver.syncs()))
                })?;
                let mut sum = CountersReport { traffic: self.shards.strays(), pad_octets_left: 0, syncs: 0 };
                for (traffic, left, syncs) in counters {
                    sum.traffic.add(traffic);
                    sum.pad_octets_left = sum.pad_octets_left.saturating_add(left);
                    sum.syncs = sum.syncs.saturating_add(syncs);
                }
                self.reporter.tell(&Report::Counters(sum))
            }
            "lie" => {
                self.lie.store(true, Ordering::Relaxed);
                self.reporter.note("this hub lies from now on")
            }
            _ => bail!("unknown order: {order}"),
        }
    }

    /// Takes in provisioning files that were put into the directory while the hub runs. What cannot be used is complained about
    /// once, and the hub goes on.
    fn take_provisions(&mut self) -> Result<()> {
        for path in waiting(&self.directory)? {
            if self.refused.contains(&path) {
                continue;
            }
            if let Err(error) = self.take_provision(&path) {
                self.reporter.note(format!("{error:#}"))?;
                self.refused.push(path);
            }
        }
        Ok(())
    }

    fn take_provision(&mut self, path: &Path) -> Result<()> {
        let imported = import(&self.directory, &self.links, path)?;
        let name = imported.link;
        let (_, known) = self.links.iter().find(|(link, _)| *link == name).context("no such client")?;
        let client = enrolment(&self.directory, &name, known)?.link.client;
        for part in &imported.tables {
            let place = self.directory.join(table_name(&name, part.direction, part.number));
            let pad = FilePad::open(&place, (known.hub, known.tag), (part.direction, part.number), true)?;
            let direction = part.direction;
            let table = as_the_hub_is(pad.into_table(|pad| pad), direction, &self.lie);
            if part.origin == Origin::Refill {
                self.shards.call(client, move |hub, now, _| hub.refill(now, client, direction, table))??;
            } else {
                self.shards.call(client, move |hub, _, _| hub.add_table(client, direction, table))??;
            }
        }
        self.reporter.note(format!("{name}: {} new tables", imported.tables.len()))?;
        if imported.extended > 0 {
            self.reporter
                .note(format!("{name}: more of a table came, and is used from the next start on"))?;
        }
        Ok(())
    }

    /// Takes tables out of service, as the orders in the directory say. What cannot be done is complained about once.
    fn take_retirements(&mut self) -> Result<()> {
        if let Err(error) = self.retire_tables() {
            let complaint = format!("{error:#}");
            if !self.told_once.contains(&complaint) {
                self.reporter.note(complaint.clone())?;
                self.told_once.push(complaint);
            }
        }
        Ok(())
    }

    /// The machine has it durably, and has erased the table, before the order goes.
    fn retire_tables(&mut self) -> Result<()> {
        for (name, (direction, number), order) in retire::waiting(&self.directory)? {
            let known = self.links.iter().find(|(link, _)| *link == name);
            let (_, known) = known
                .with_context(|| format!("{} names no client of this hub: remove it", order.display()))?;
            let client = enrolment(&self.directory, &name, known)?.link.client;
            match self.shards.call(client, move |hub, _, _| hub.retire_table(client, direction, number))? {
                // A crash came between the machine's record and the order's end.
                Ok(()) | Err(TableError::Absent(_)) => {}
                Err(error) => return Err(error.into()),
            }
            self.tell_events()?;
            erase(&order)?;
        }
        Ok(())
    }

    /// Gives links other initial keys, as the orders in the directory say. What cannot be done is complained about once.
    fn take_keys(&mut self) -> Result<()> {
        for (name, order) in new_keys(&self.directory)? {
            if self.refused.contains(&order) {
                continue;
            }
            if let Err(error) = self.replace_key(&name, &order) {
                self.reporter.note(format!("{error:#}"))?;
                self.refused.push(order);
            }
        }
        Ok(())
    }

    /// The machine has it durably before the order goes; after a crash between, it is told the same again.
    fn replace_key(&mut self, name: &str, order: &Path) -> Result<()> {
        let known = self.links.iter().find(|(link, _)| link == name);
        let (_, known) =
            known.with_context(|| format!("{} names no client of this hub: remove it", order.display()))?;
        let client = enrolment(&self.directory, name, known)?.link.client;
        let key = read_key(order)?;
        self.shards.call(client, move |hub, _, _| hub.replace_initial_key(client, key))??;
        erase(order)?;
        self.reporter.note(format!("{name} is to have another initial key: in force once it has proven it"))
    }

    /// What the machine has to tell its operator.
    fn tell_events(&mut self) -> Result<()> {
        while let Some(event) = self.shards.next_event() {
            match event {
                HubEvent::Refilled { client, number, .. } => {
                    let name = self.name_of(client);
                    self.reporter.note(format!("{name} has table {number}, which was sent to it"))?;
                }
                HubEvent::TableLow { client, uplink, remaining } => {
                    let (name, way) = (self.name_of(client), if uplink { "from it" } else { "to it" });
                    self.reporter.note(format!(
                        "{name}: only {remaining} octets are left of the tables {way}: make more with `skex provision add`"
                    ))?;
                }
                HubEvent::RolledBack { client } => {
                    let name = self.name_of(client);
                    self.reporter.note(format!(
                        "{name} knows more than this hub of what was used: this hub's log was brought back from a copy, another copy of \
                         its directory runs, or a table is damaged. Stop, and bring the newest log back, or revoke {name} and \
                         enrol it anew"
                    ))?;
                }
                HubEvent::TableFailed { client, uplink, number, error } => {
                    let (name, way) = (self.name_of(client), way(direction(uplink)));
                    self.reporter.note(format!(
                        "{name}: {way} table {number} failed, and no key of this client comes by this hub: {error}; mend or replace \
                         the storage"
                    ))?;
                }
                HubEvent::InitialKeyReplaced { tag, .. } => {
                    let name = self.name_of(tag);
                    self.reporter
                        .note(format!("{name} has proven its other initial key: the old one is gone"))?;
                }
                HubEvent::TableRetired { client, uplink, number, erased } => {
                    let (name, direction) = (self.name_of(client), direction(uplink));
                    retire::note_erasure(&self.directory, name, (direction, number), erased)?;
                    let way = way(direction);
                    let failed = if erased { "" } else { "; its storage failed: destroy it by other means" };
                    self.reporter.note(format!("{name}: {way} table {number} is out of service{failed}"))?;
                }
                HubEvent::ClientRevoked { tag, .. } => self.finish_revocation(tag)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// One line for each client whose state has changed, and one for what was discarded.
    fn tell_news(&mut self) -> Result<()> {
        self.take_revocations()?;
        self.take_enrolments()?;
        self.take_keys()?;
        self.take_retirements()?;
        self.take_provisions()?;
        let mut news: Vec<String> = Vec::new();
        let names: BTreeMap<_, _> = self.links.iter().map(|(name, known)| (known.tag, name)).collect();
        let shards = self.shards.each(|driver| {
            let hub = &driver.machine;
            let discards: Vec<(DiscardReason, u32)> = hub.discards().iter().collect();
            Ok((hub.status().collect::<Vec<_>>(), discards))
        })?;
        let clients: Vec<ClientStatus> = shards.iter().flat_map(|(clients, _)| clients).copied().collect();
        for client in clients {
            let name = names.get(&client.tag).map_or("a client", |name| name.as_str());
            let connected = if client.connected { "connected" } else { "not connected" };
            let waiting = client.waiting;
            news.push(format!("{name}: {connected}, {waiting} shares wait for it"));
        }
        let strays = self.shards.strays().discarded;
        let count = |reason| {
            let all = shards.iter().flat_map(|(_, discards)| discards);
            let count = all.filter(|(of, _)| *of == reason).map(|(_, count)| u64::from(*count)).sum::<u64>();
            count.saturating_add(if reason == DiscardReason::Malformed { strays } else { 0 })
        };
        let discards: Vec<String> = DiscardReason::ALL
            .into_iter()
            .filter(|reason| count(*reason) > 0 && *reason != DiscardReason::Duplicate)
            .map(|reason| format!("{} {reason:?}", count(reason)))
            .collect();
        if !discards.is_empty() {
            news.push(format!("discarded messages: {}", discards.join(", ")));
        }
        for (i, line) in news.iter().enumerate() {
            if self.told.get(i) != Some(line) {
                self.reporter.note(line.clone())?;
            }
        }
        self.told = news;
        Ok(())
    }
}

const fn direction(uplink: bool) -> Direction {
    if uplink { Direction::UPLINK } else { Direction::DOWNLINK }
}
