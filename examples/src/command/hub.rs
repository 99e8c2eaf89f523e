//! `skex hub`: one security hub.

mod lying;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use skex_core::machine::{DiscardReason, Instant};
use skex_dske::{Authorised, ClientId, Hub, HubClient, HubConfig, Origin, Table};
use skex_wire::SuiteId;

pub(crate) use lying::LyingPad;

use crate::clock::Clock;
use crate::config::{HubClientFile, HubFile, coordinate, load};
use crate::control::{Orders, Read};
use crate::driver::{Driver, Paths, bind};
use crate::entropy::Entropy;
use crate::report::{CountersReport, Report, Reporter};
use crate::store::{Direction, DirectoryLock, FilePad, Log, LogContents, TableIdentity};

/// Run a security hub.
///
/// It relays shares between its clients until it is stopped; it knows one share of each key, and no key. It may be stopped
/// at any time, a loss of power included.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  skex hub --dir net/hub-1 --listen 0.0.0.0:47100")]
pub(crate) struct Arguments {
    /// The hub's directory, from `skex provision`.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Listen here, instead of where skex.json says.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// For experiments: hand out wrong shares. Clients must find the key all the same, and name this hub.
    #[arg(long)]
    lie: bool,
    /// Take orders from the standard input and report in JSON.
    #[arg(long, hide = true)]
    steered: bool,
}

/// The name of a machine's log in its directory.
pub(crate) const LOG: &str = "state.log";

type HubDriver = Driver<Hub<LyingPad>, Log>;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let directory = &arguments.dir;
    let file: HubFile = load(directory)?;
    let _lock = DirectoryLock::acquire(directory)?;
    let entropy = Entropy::open()?;
    let socket = bind(arguments.listen.as_ref().unwrap_or(&file.listen))?;
    let name = file.name.clone();
    let names: Vec<String> = file.clients.iter().map(|client| client.name.clone()).collect();
    let lie = Arc::new(AtomicBool::new(arguments.lie));
    let config = config(directory, file, &lie, true)?;
    let (log, contents) = Log::open(&directory.join(LOG))?;
    let mut hub = Running {
        driver: start(config, log, &contents, socket, entropy)?,
        reporter: Reporter::new(arguments.steered),
        names,
        lie,
        told: Vec::new(),
        news_at: Instant::ZERO,
    };
    drop(contents);
    let address = hub.driver.local_address()?.to_string();
    hub.reporter.tell(&Report::Ready { name, address })?;
    if arguments.lie {
        hub.reporter.note("this hub lies: it hands out wrong shares")?;
    }
    hub.serve(arguments.steered.then(Orders::from_stdin))
}

fn start(
    config: HubConfig<LyingPad>,
    log: Log,
    contents: &LogContents,
    socket: std::net::UdpSocket,
    mut entropy: Entropy,
) -> Result<HubDriver> {
    let clock = Clock::start();
    let hub = Hub::restore(config, contents.records(), clock.now(), &mut entropy)
        .context("the stored state of this hub cannot be used")?;
    Driver::start(hub, log, socket, Paths::new(Vec::new()), clock, entropy)
}

/// What the machine is made of. Also for `skex status`, with tables that cannot be written.
pub(crate) fn config(
    directory: &Path,
    file: HubFile,
    lie: &Arc<AtomicBool>,
    writable: bool,
) -> Result<HubConfig<LyingPad>> {
    let tags: Vec<_> = file.clients.iter().map(|client| (client.name.clone(), client.tag)).collect();
    let mut clients = Vec::new();
    for (number, client) in (0_u32..).zip(file.clients) {
        let HubClientFile { name, tag, suite, initial_key, tables, accepts_keys_from } = client;
        let table = |direction, path: &Path| -> Result<FilePad> {
            let (hub, client) = (file.id.hub(), tag.client());
            let identity = TableIdentity { hub, client, direction, number: 0, elements: tables.elements };
            FilePad::open(&directory.join(path), identity, writable)
        };
        let uplink = LyingPad::honest(table(Direction::Uplink, &tables.uplink)?);
        let downlink = LyingPad::new(table(Direction::Downlink, &tables.downlink)?, Arc::clone(lie));
        let mut authorised = Vec::new();
        for other in &accepts_keys_from {
            let Some((_, tag)) = tags.iter().find(|(name, _)| name == other) else {
                bail!(
                    "skex.json lets {name} accept keys from {other}, who is no client of this hub: correct it"
                );
            };
            authorised.push(tag.client());
        }
        clients.push(HubClient {
            client: ClientId::new(number),
            tag: tag.client(),
            suite: SuiteId::new(suite),
            initial_key: initial_key.0,
            uplink: Table::new(0, Origin::OutOfBand, uplink),
            downlink: Table::new(0, Origin::OutOfBand, downlink),
            authorised: Authorised::Only(authorised),
        });
    }
    HubConfig::new(file.id.hub(), coordinate(file.coordinate)?, clients)
        .context("skex.json of this hub cannot be used")
}

struct Running {
    driver: HubDriver,
    reporter: Reporter,
    names: Vec<String>,
    lie: Arc<AtomicBool>,
    /// What was said last of each client, and of discarded messages.
    told: Vec<String>,
    news_at: Instant,
}

/// How often a hub looks whether there is something new to say.
const PAUSE: Duration = Duration::from_secs(2);

impl Running {
    fn serve(&mut self, mut orders: Option<Orders>) -> Result<()> {
        loop {
            let until = orders.is_none().then_some(self.news_at);
            let order = self.driver.wait(until, orders.as_ref().map(Orders::source))?;
            if self.driver.store_wants_snapshot() {
                self.driver.call(|hub, _, _| hub.compact())?;
            }
            match orders.as_mut().filter(|_| order) {
                Some(orders) => match orders.read()? {
                    Read::End => return Ok(()),
                    Read::Orders(lines) => lines.iter().try_for_each(|line| self.obey(line))?,
                },
                None if until.is_some_and(|until| until <= self.driver.now()) => {
                    self.tell_news()?;
                    self.news_at = self.driver.now().saturating_add(PAUSE);
                }
                None => {}
            }
        }
    }

    fn obey(&self, order: &str) -> Result<()> {
        match order {
            "counters" => self.reporter.tell(&Report::Counters(CountersReport {
                traffic: self.driver.traffic(),
                pad_octets_left: self.driver.machine.status().map(|client| client.downlink_remaining).sum(),
            })),
            "lie" => {
                self.lie.store(true, Ordering::Relaxed);
                self.reporter.note("this hub lies from now on")
            }
            _ => bail!("unknown order: {order}"),
        }
    }

    /// One line for each client whose state has changed, and one for what was discarded.
    fn tell_news(&mut self) -> Result<()> {
        let mut news: Vec<String> = Vec::new();
        for (name, client) in self.names.iter().zip(self.driver.machine.status()) {
            let connected = if client.connected { "connected" } else { "not connected" };
            let waiting = client.waiting;
            news.push(format!("{name}: {connected}, {waiting} shares wait for it"));
        }
        let discards = self.driver.machine.discards();
        let discards: Vec<String> = discards
            .iter()
            .filter(|(reason, count)| *count > 0 && *reason != DiscardReason::Duplicate)
            .map(|(reason, count)| format!("{count} {reason:?}"))
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
