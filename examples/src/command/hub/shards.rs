//! The machine of a hub: in one piece on this thread, or in shards on a thread each, to which this one brings datagrams.
//!
//! All shards send by the same socket. Each has a log of its own. How many there are is decided at the first start, for good:
//! see docs/draft-skex-dske.md, "Sharded hubs".

use core::num::NonZeroU16;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use rand_core::CryptoRng;
use rustix::event::{PollFd, PollFlags, Timespec};
use skex_core::machine::Instant;
use skex_dske::{ClientId, Hub, HubConfig, HubEvent, Pad, shard_of};

use super::LOG;
use crate::bell::{Bell, Hammer, bell};
use crate::clock::Clock;
use crate::config::{HubFile, replace};
use crate::driver::{BATCH, Driver, Incoming, Part, Paths, Post, ROUNDS, Socket, Traffic, inbox};
use crate::entropy::Entropy;
use crate::store::{Log, LogContents};

/// Shards at most: more than there are cores in one machine.
const MOST: u16 = 256;

type HubDriver<P> = Driver<Hub<P>>;

/// The name of the log of one of so many shards.
fn log_name(index: u16, shards: NonZeroU16) -> String {
    if shards.get() == 1 { LOG.to_owned() } else { format!("state-{index}.log") }
}

/// How many shards the hub of this directory has, by what it was started with before.
pub(crate) fn count(file: &HubFile) -> Result<NonZeroU16> {
    let count = NonZeroU16::new(file.shards.unwrap_or(1)).filter(|count| count.get() <= MOST);
    count.with_context(|| format!("\"shards\" in skex.json of this hub is no number from 1 to {MOST}"))
}

/// How many shards the hub shall have from now on: `wished`, at its first start; and as before, later.
pub(super) fn decide(directory: &Path, file: &mut HubFile, wished: Option<NonZeroU16>) -> Result<NonZeroU16> {
    let before = count(file)?;
    let Some(wished) = wished.filter(|wished| *wished != before) else { return Ok(before) };
    if file.started || !logs_in(directory)?.is_empty() {
        bail!(
            "{} has run with {before} shards, and their number cannot change: a shard would not know what is used of its clients' \
             tables. Start it with --shards {before}, or without --shards",
            file.name
        );
    }
    file.shards = Some(wished.get());
    replace(directory, file)?;
    Ok(wished)
}

/// The names of the logs that are there, of whatever number of shards.
fn logs_in(directory: &Path) -> Result<BTreeSet<String>> {
    let mut logs = BTreeSet::new();
    let entries = std::fs::read_dir(directory);
    for entry in entries.with_context(|| format!("cannot read {}", directory.display()))? {
        let name = entry.context("cannot read the directory")?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("state-").and_then(|name| name.strip_suffix(".log"));
        if name == LOG || number.is_some_and(|number| number.parse::<u16>().is_ok()) {
            logs.insert(name);
        }
    }
    Ok(logs)
}

/// What all shards of a hub stored.
pub(crate) struct Logs {
    directory: PathBuf,
    shards: NonZeroU16,
    /// By the names of the logs.
    contents: Vec<(String, LogContents)>,
}

impl Logs {
    /// Reads them and changes nothing.
    pub(crate) fn read(directory: &Path, shards: NonZeroU16) -> Result<Self> {
        let names: Vec<String> = (0..shards.get()).map(|index| log_name(index, shards)).collect();
        let there = logs_in(directory)?;
        if there.iter().any(|log| !names.contains(log)) {
            let there: Vec<&str> = there.iter().map(String::as_str).collect();
            bail!(
                "{} is of a hub of {shards} shards by its skex.json, and its logs are {}: bring skex.json or the logs back, as they \
                 were together",
                directory.display(),
                there.join(", ")
            );
        }
        let read = |name: String| LogContents::read(&directory.join(&name)).map(|contents| (name, contents));
        let contents = names.into_iter().map(read).collect::<Result<_>>()?;
        Ok(Self { directory: directory.to_owned(), shards, contents })
    }

    /// Of each shard, in their order.
    pub(crate) fn contents(&self) -> impl Iterator<Item = (&str, &LogContents)> {
        self.contents.iter().map(|(name, contents)| (name.as_str(), contents))
    }

    /// The machines of all shards.
    pub(crate) fn restore<P: Pad>(
        &self,
        config: HubConfig<P>,
        now: Instant,
        entropy: &mut Entropy,
    ) -> Result<Vec<Hub<P>>> {
        let configs = if self.shards.get() == 1 { vec![config] } else { config.into_shards(self.shards) };
        let restored = configs.into_iter().zip(self.contents());
        let restored =
            restored.map(|(config, (_, contents))| Hub::restore(config, contents.records(), now, entropy));
        restored.collect::<Result<_, _>>().context("the stored state of this hub cannot be used")
    }

    /// Opens them for writing.
    fn open(&self) -> Result<Vec<Log>> {
        self.contents().map(|(name, contents)| Log::behind(&self.directory.join(name), contents)).collect()
    }
}

pub(crate) enum Shards<P: Pad> {
    One(Box<HubDriver<P>>),
    Many(Box<Many<P>>),
}

pub(crate) struct Many<P: Pad> {
    socket: Socket,
    clock: Clock,
    shards: Vec<Shard<P>>,
    news: Receiver<(usize, HubEvent)>,
    bell: Bell,
    events: VecDeque<HubEvent>,
    /// Which shards have revoked a client, and whether each has erased its tables.
    revoked: BTreeMap<ClientId, BTreeMap<usize, bool>>,
    /// What was no message of this protocol.
    strays: Traffic,
}

struct Shard<P: Pad> {
    post: Post<Hub<P>>,
    /// Tells what a call brought about.
    thread: Option<JoinHandle<Result<()>>>,
    is_ending: Arc<AtomicBool>,
    telling: Telling,
}

/// Where a shard tells its events.
#[derive(Clone)]
struct Telling {
    index: usize,
    news: Sender<(usize, HubEvent)>,
    hammer: Hammer,
}

impl Telling {
    fn tell<P: Pad>(&self, driver: &mut HubDriver<P>) {
        while let Some(event) = driver.next_event() {
            // Whoever has ended hears nothing.
            let _ = self.news.send((self.index, event));
            self.hammer.ring();
        }
    }
}

/// Says it when a shard ends, however it does.
struct TellingOfEnd(Telling, Arc<AtomicBool>);

impl Drop for TellingOfEnd {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Release);
        self.0.hammer.ring();
    }
}

impl<P: Pad + Send + 'static> Shards<P> {
    /// What was to be durable and sent first is when this returns.
    pub(crate) fn start(config: HubConfig<P>, logs: Logs, socket: UdpSocket) -> Result<Self> {
        let clock = Clock::start();
        let mut entropy = Entropy::open()?;
        let machines = logs.restore(config, clock.now(), &mut entropy)?;
        let mut parts: Vec<_> = machines.into_iter().zip(logs.open()?).collect();
        drop(logs);
        if parts.len() > 1 {
            return Ok(Self::Many(Box::new(Many::start(parts, socket, clock)?)));
        }
        let (machine, log) = parts.pop().context("a hub has one shard at least")?;
        let driver = Driver::start(machine, log, socket, Paths::new(Vec::new()), clock, entropy)?.gathering();
        Ok(Self::One(Box::new(driver)))
    }

    pub(crate) fn local_address(&self) -> Result<core::net::SocketAddr> {
        match self {
            Self::One(driver) => driver.local_address(),
            Self::Many(many) => many.socket.local_address(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::One(driver) => driver.now(),
            Self::Many(many) => many.clock.now(),
        }
    }

    /// See [`Driver::wait`].
    pub(crate) fn wait(&mut self, until: Option<Instant>, orders: Option<BorrowedFd<'_>>) -> Result<bool> {
        match self {
            Self::One(driver) => driver.wait(until, orders),
            Self::Many(many) => many.wait(until, orders),
        }
    }

    /// What is to be told to the operator: of a client that is revoked, once all shards have told it.
    pub(crate) fn next_event(&mut self) -> Option<HubEvent> {
        match self {
            Self::One(driver) => driver.next_event(),
            Self::Many(many) => many.next_event(),
        }
    }

    /// Datagrams that were no messages of this protocol, and came to no shard. Those that come to a hub in one piece, its machine
    /// counts.
    pub(crate) fn strays(&self) -> Traffic {
        match self {
            Self::One(_) => Traffic::default(),
            Self::Many(many) => many.strays,
        }
    }

    /// Asks each shard's driver something.
    pub(crate) fn each<T: Send + 'static>(
        &mut self,
        ask: impl Fn(&mut HubDriver<P>) -> Result<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>> {
        match self {
            Self::One(driver) => Ok(vec![ask(driver)?]),
            Self::Many(many) => (0..many.shards.len()).map(|index| many.ask(index, ask.clone())).collect(),
        }
    }

    /// A verb for the shard of a client; see [`Driver::call`].
    pub(crate) fn call<T: Send + 'static>(
        &mut self,
        client: ClientId,
        verb: impl FnOnce(&mut Hub<P>, Instant, &mut dyn CryptoRng) -> T + Send + 'static,
    ) -> Result<T> {
        match self {
            Self::One(driver) => driver.call(verb),
            Self::Many(many) => {
                let count = u32::try_from(many.shards.len()).unwrap_or(u32::MAX);
                let index = client.number().checked_rem(count).and_then(|index| usize::try_from(index).ok());
                many.ask(index.unwrap_or(0), |driver| driver.call(verb))
            }
        }
    }
}

impl<P: Pad + Send + 'static> Shard<P> {
    /// Does something with the driver, on its thread. What that has to tell is told when this returns.
    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut HubDriver<P>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = channel();
        let telling = self.telling.clone();
        self.post.wait(Incoming::Call(Box::new(move |driver| {
            let answer_of_it = ask(driver)?;
            telling.tell(driver);
            let _ = answer.send(answer_of_it);
            Ok(())
        })))?;
        answered.recv().context("a shard of this hub has ended")
    }
}

impl<P: Pad> Shard<P> {
    /// Waits for the end of a thread that is ending: why it has.
    fn end(&mut self) -> Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => bail!("a shard of this hub has failed: this is a fault of this program"),
            None => Ok(()),
        }
    }
}

impl<P: Pad + Send + 'static> Many<P> {
    fn start(parts: Vec<(Hub<P>, Log)>, socket: UdpSocket, clock: Clock) -> Result<Self> {
        let ends = parts.iter().map(|_| inbox::<Hub<P>>()).collect::<Result<Vec<_>>>()?;
        let (posts, inboxes): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        let (send, news) = channel();
        let (hammer, bell) = bell()?;
        let mut shards = Vec::new();
        for (index, ((machine, log), inbox)) in parts.into_iter().zip(inboxes).enumerate() {
            let own_socket = socket.try_clone().context("cannot share the socket")?;
            let telling = Telling { index, news: send.clone(), hammer: hammer.clone() };
            let others = posts.clone();
            let hand_over = move |hub: &mut Hub<P>| {
                while let Some(hand_over) = hub.poll_hand_over() {
                    let Some(post) = others.get(usize::from(hand_over.to())) else { continue };
                    let octets = hand_over.octets();
                    let take = move |driver: &mut HubDriver<P>| {
                        driver.tell(|hub, now, rng| hub.handed_over(now, rng, &hand_over)).map(drop)
                    };
                    post.leave(Incoming::FromPart(octets, Box::new(take)));
                }
            };
            let is_ending = Arc::new(AtomicBool::new(false));
            let own = TellingOfEnd(telling.clone(), Arc::clone(&is_ending));
            let serve = move || {
                let (paths, entropy) = (Paths::new(Vec::new()), Entropy::open()?);
                let mut driver = Driver::start(machine, log, own_socket, paths, clock, entropy)?.gathering();
                driver.become_part(Part { inbox, hand_over: Box::new(hand_over) })?;
                loop {
                    own.0.tell(&mut driver);
                    let _ = driver.wait(None, None)?;
                }
            };
            let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(serve);
            let thread = Some(thread.context("cannot start the thread of a shard")?);
            let post = posts.get(index).context("one for each")?.clone();
            shards.push(Shard { post, thread, is_ending, telling });
        }
        let mut many = Self {
            socket: Socket::new(socket),
            clock,
            shards,
            news,
            bell,
            events: VecDeque::new(),
            revoked: BTreeMap::new(),
            strays: Traffic::default(),
        };
        // Until all of them are at work.
        for index in 0..many.shards.len() {
            many.ask(index, |_| Ok(()))?;
        }
        Ok(many)
    }

    fn ask<T: Send + 'static>(
        &mut self,
        index: usize,
        ask: impl FnOnce(&mut HubDriver<P>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shard = self.shards.get_mut(index).context("a hub has one shard at least")?;
        // It has ended, or is ending: why says more.
        shard.ask(ask).map_err(|error| shard.end().err().unwrap_or(error))
    }

    fn wait(&mut self, until: Option<Instant>, orders: Option<BorrowedFd<'_>>) -> Result<bool> {
        let timeout = until.map(|until| until.saturating_since(self.clock.now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut sources = vec![
            PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN),
        ];
        sources.extend(orders.map(|orders| PollFd::from_borrowed_fd(orders, PollFlags::IN)));
        match rustix::event::poll(&mut sources, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error).context("cannot wait for messages"),
        }
        let ready = |source: usize| sources.get(source).is_some_and(|source| !source.revents().is_empty());
        let [message, bell, order] = [ready(0), ready(1), ready(2)];
        if bell {
            self.check_shards()?;
        }
        if message {
            self.route()?;
        }
        Ok(order)
    }

    /// Whether one has ended: it says why, and so ends the hub.
    fn check_shards(&mut self) -> Result<()> {
        self.bell.hear();
        for shard in &mut self.shards {
            if shard.is_ending.load(Ordering::Acquire) {
                return shard.end();
            }
        }
        Ok(())
    }

    /// Gives each datagram to the shard of its client.
    fn route(&mut self) -> Result<()> {
        let shards = u16::try_from(self.shards.len()).unwrap_or(u16::MAX);
        for _ in 0..ROUNDS {
            let count = self.socket.receive()?;
            for number in 0..count {
                let Some((from, message)) = self.socket.received(number) else { break };
                let shard = shard_of(message, shards).and_then(|index| self.shards.get(usize::from(index)));
                match shard {
                    Some(shard) => shard.post.leave(Incoming::Datagram(from, message.to_vec())),
                    None => self.strays.count(message, true),
                }
            }
            if count < BATCH {
                break;
            }
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<HubEvent> {
        while let Ok((index, mut event)) = self.news.try_recv() {
            let told = match &mut event {
                HubEvent::ClientRevoked { client, erased, .. } => {
                    let told = self.revoked.entry(*client).or_default();
                    told.insert(index, *erased);
                    *erased = told.values().all(|erased| *erased);
                    told.len() == self.shards.len()
                }
                _ => true,
            };
            if told {
                self.events.push_back(event);
            }
        }
        self.events.pop_front()
    }
}

impl<P: Pad> Drop for Many<P> {
    /// Whoever opens the logs next must not find a shard at work.
    fn drop(&mut self) {
        for shard in &mut self.shards {
            let Some(thread) = shard.thread.take() else { continue };
            let _ = shard.post.wait(Incoming::Call(Box::new(|_| bail!("the hub has ended"))));
            let _ = thread.join();
        }
    }
}
