//! Two tables of unmediated peers over loopback UDP with durable state: one thread, a socket and a file of slots for each table.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rand_core::CryptoRng;
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::{Deserialize, Serialize};
use skex_core::machine::PeerHandle;
use skex_core::{KeyId, Label, OutputKey};
use skex_unmediated::{Event, LaneId, PeerConfig, PeerTable, Side, TableConfig, TableEvent};

use super::measure::{Quantiles, each, process_cpu};
use crate::clock::Clock;
use crate::driver::{Driver, Paths, bind};
use crate::entropy::Entropy;
use crate::store::{LANES, Slots};

/// What two tables show.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PeersReport {
    /// Of each table.
    pub(super) peers: u32,
    /// The first sessions after the enrolment.
    pub(super) first: Phase,
    /// A new session for each pair, while the one before is in use.
    pub(super) again: Phase,
    /// Reading all slots of both tables after a loss of power, until both have written what they start with.
    pub(super) restart_seconds: f64,
    /// A new session for each pair after that.
    pub(super) after_restart: Phase,
    pub(super) keys: Keys,
}

/// A session for each pair, the same at both ends.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Phase {
    pub(super) handshakes: u64,
    pub(super) seconds: f64,
    /// Both ends, their stores and the operating system for them.
    pub(super) cpu_micros_a_handshake: f64,
    /// Until the initiator knows that the responder has the session.
    pub(super) latency_micros: Quantiles,
    pub(super) datagrams_a_handshake: f64,
    pub(super) octets_a_handshake: f64,
    /// Both ends. A batch takes two syncs: one for what is new, and one for what is overwritten.
    pub(super) syncs_a_handshake: f64,
}

/// Keys of all sessions, one each, compared at both ends.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) equal: u64,
    pub(super) unequal: u64,
}

/// The most peers of a table: each has slots of 16 KiB at either end.
const MOST: u32 = 10_000;

/// Handshakes that are under way at once: fewer than would wait for the first repetition.
const UNDER_WAY: usize = 512;

/// Longer than a machine takes that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

const SYNCS_A_BATCH: u64 = 2;

pub(super) fn run(pairs: u32, directory: &Path, mut tell: impl FnMut(&str)) -> Result<PeersReport> {
    let peers = pairs.min(MOST);
    let mut world = World::enrol(peers, directory)?;
    let mut report = PeersReport { peers, ..PeersReport::default() };
    tell("peers are enrolled");
    report.first = world.phase(&mut report.keys)?;
    report.again = world.phase(&mut report.keys)?;
    tell("each pair of peers has had two sessions");
    let began = Instant::now();
    world = world.restart()?;
    report.restart_seconds = began.elapsed().as_secs_f64();
    report.after_restart = world.phase(&mut report.keys)?;
    tell("and another after a loss of power");
    Ok(report)
}

struct World {
    /// Begins all handshakes, and names all keys.
    a: Site,
    b: Site,
}

/// One table.
struct Site {
    side: Side,
    path: PathBuf,
    driver: Driver<PeerTable>,
    pairs: Vec<Pair>,
}

/// What one end knows of a pair.
#[derive(Default)]
struct Pair {
    /// When the handshake that is to give the session was asked for.
    begun: Option<Instant>,
    session: Option<KeyId>,
    key: Option<OutputKey>,
}

impl World {
    fn enrol(peers: u32, directory: &Path) -> Result<Self> {
        let b = Site::enrol(Side::B, peers, directory, None)?;
        let a = Site::enrol(Side::A, peers, directory, Some(b.driver.local_address()?))?;
        Ok(Self { a, b })
    }

    /// Both lose power, and start again from their slots.
    fn restart(self) -> Result<Self> {
        let Self { a, b } = self;
        let b = b.restart(None)?;
        let a = a.restart(Some(b.driver.local_address()?))?;
        Ok(Self { a, b })
    }

    /// Each pair makes a session, and then a key of it.
    fn phase(&mut self, keys: &mut Keys) -> Result<Phase> {
        let (before, began) = (self.totals(), Instant::now());
        let latencies = self.establish()?;
        let (seconds, after) = (began.elapsed().as_secs_f64(), self.totals());
        let handshakes = latencies.len() as u64;
        let of = |count: fn(&Totals) -> u64| each((count(&after) - count(&before)) as f64, handshakes);
        let phase = Phase {
            handshakes,
            seconds,
            cpu_micros_a_handshake: of(|totals| totals.cpu_nanos) / 1e3,
            latency_micros: Quantiles::of(latencies),
            datagrams_a_handshake: of(|totals| totals.datagrams),
            octets_a_handshake: of(|totals| totals.octets),
            syncs_a_handshake: of(|totals| totals.syncs),
        };
        self.compare(keys)?;
        Ok(phase)
    }

    /// Begins all handshakes, some at once, and waits until both ends have all sessions. How long each took, in microseconds.
    fn establish(&mut self) -> Result<Vec<u64>> {
        let peers = self.a.pairs.len();
        for site in [&mut self.a, &mut self.b] {
            site.pairs.fill_with(Pair::default);
        }
        let (mut begun, mut at_b, mut last) = (0, 0, Instant::now());
        let mut latencies: Vec<u64> = Vec::with_capacity(peers);
        while latencies.len() < peers || at_b < peers {
            let next = peers.min(latencies.len() + UNDER_WAY);
            self.a.begin(begun..next)?;
            begun = next;
            self.wait()?;
            let ended = self.a.take_events()?;
            let now = Instant::now();
            let begun_at = ended.iter().filter_map(|number| self.a.pairs[*number].begun);
            latencies.extend(begun_at.map(|begun| now.duration_since(begun).as_micros() as u64));
            let also = self.b.take_events()?.len();
            at_b += also;
            if ended.len() + also > 0 {
                last = now;
            } else if last.elapsed() > PATIENCE {
                let traffic = [&self.a, &self.b].map(|site| site.driver.traffic());
                bail!(
                    "{} of {peers} handshakes came to their end, and then none: {traffic:?}",
                    latencies.len()
                );
            }
        }
        Ok(latencies)
    }

    /// Waits until either end has something to do, and lets both do it.
    fn wait(&mut self) -> Result<()> {
        let sites = [&self.a, &self.b];
        let patience = sites.iter().filter_map(|site| site.driver.patience()).min();
        let timeout = patience.unwrap_or(PATIENCE).min(PATIENCE);
        let mut sources: Vec<PollFd<'_>> = sites
            .iter()
            .flat_map(|site| site.driver.sources())
            .map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN))
            .collect();
        match rustix::event::poll(&mut sources, Timespec::try_from(timeout).ok().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for messages"),
        }
        for site in [&mut self.a, &mut self.b] {
            site.driver.wait(Some(site.driver.now()), None)?;
        }
        Ok(())
    }

    /// Takes a key of each session at both ends: A names it, and B erases it before it has it.
    fn compare(&mut self, keys: &mut Keys) -> Result<()> {
        for number in 0..self.a.pairs.len() {
            let session = self.a.pairs[number].session;
            if session.is_none() || session != self.b.pairs[number].session {
                bail!("the ends of pair {number} have different sessions: this is a fault of this program");
            }
            let name = |table: &mut PeerTable, _, _: &mut dyn CryptoRng| {
                table.export_next(lane(number), Label::EXPORT_RAW, b"")
            };
            let named = self.a.driver.tell(name)??;
            let (id, index) = (named.id(), named.index());
            self.a.pairs[number].key = Some(named);
            let take = |table: &mut PeerTable, _, _: &mut dyn CryptoRng| {
                table.export_at(lane(number), id, index, Label::EXPORT_RAW, b"")
            };
            self.b.driver.tell(take)??;
        }
        let began = Instant::now();
        self.b.driver.hand_over();
        while self.b.pairs.iter().any(|pair| pair.key.is_none()) {
            if began.elapsed() > PATIENCE {
                bail!("some keys of the sessions did not come");
            }
            self.wait()?;
            self.b.take_events()?;
        }
        for (a, b) in self.a.pairs.iter().zip(&self.b.pairs) {
            let [a, b] = [a, b].map(|pair| pair.key.as_ref().map(OutputKey::secret));
            *if a == b { &mut keys.equal } else { &mut keys.unequal } += 1;
        }
        Ok(())
    }

    fn totals(&self) -> Totals {
        let [a, b] = [&self.a, &self.b].map(|site| (site.driver.traffic(), site.driver.syncs()));
        Totals {
            cpu_nanos: process_cpu().as_nanos() as u64,
            datagrams: a.0.sent_messages + b.0.sent_messages,
            octets: a.0.sent_octets + b.0.sent_octets,
            syncs: (a.1 + b.1) * SYNCS_A_BATCH,
        }
    }
}

/// Since the start.
struct Totals {
    cpu_nanos: u64,
    datagrams: u64,
    octets: u64,
    syncs: u64,
}

impl Site {
    /// A table of new peers. `other` is where all their other ends are: the table tells them apart.
    fn enrol(side: Side, peers: u32, directory: &Path, other: Option<SocketAddr>) -> Result<Self> {
        let path = directory.join(format!("{side:?}.slots"));
        let slots = Slots::create(&path, peers as usize * LANES)?;
        let (clock, mut entropy) = (Clock::start(), Entropy::open()?);
        let mut table = table(peers, &clock, &mut entropy);
        for number in 0..peers {
            let secret = [&[0x5e; 28][..], &number.to_be_bytes()].concat();
            configured(side, number, |config| table.enrol(config, &secret, clock.now(), &mut entropy))?;
        }
        Self::start(side, path, (table, slots), (peers, other), clock, entropy)
    }

    fn restart(self, other: Option<SocketAddr>) -> Result<Self> {
        let Self { side, path, driver, pairs } = self;
        drop(driver);
        let (slots, contents) = Slots::open(&path)?;
        let (peers, clock, mut entropy) = (pairs.len() as u32, Clock::start(), Entropy::open()?);
        let mut table = table(peers, &clock, &mut entropy);
        for number in 0..peers {
            let records = contents.slots(number as usize * LANES);
            configured(side, number, |config| table.restore(config, records, clock.now(), &mut entropy))?;
        }
        Self::start(side, path, (table, slots), (peers, other), clock, entropy)
    }

    fn start(
        side: Side,
        path: PathBuf,
        (table, slots): (PeerTable, Slots),
        (peers, other): (u32, Option<SocketAddr>),
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self> {
        let paths = Paths::new(vec![other; peers as usize]);
        let driver = Driver::start(table, slots, bind("127.0.0.1:0")?, paths, clock, entropy)?;
        Ok(Self { side, path, driver, pairs: (0..peers).map(|_| Pair::default()).collect() })
    }

    /// Begins the handshakes of these pairs.
    fn begin(&mut self, pairs: core::ops::Range<usize>) -> Result<()> {
        for pair in &mut self.pairs[pairs.clone()] {
            pair.begun.get_or_insert_with(Instant::now);
        }
        self.driver.tell(|table, now, rng| {
            pairs.into_iter().try_for_each(|number| table.establish(lane(number), now, rng))
        })??;
        self.driver.hand_over();
        Ok(())
    }

    /// Takes what the table tells. Pairs that have a session now and had none.
    fn take_events(&mut self) -> Result<Vec<usize>> {
        let mut ended = Vec::new();
        while let Some(event) = self.driver.next_event() {
            let TableEvent::Lane(lane, event) = event else { continue };
            let number = lane.pair().number() as usize;
            match event {
                Event::Established(session) if self.side == Side::B || session.may_name => {
                    let before = self.pairs[number].session.replace(session.id);
                    ended.extend(before.is_none().then_some(number));
                }
                // A handshake of before the start came to its end, and its session names nothing. It was taken for what was asked
                // for meanwhile.
                Event::Established(_) if self.pairs[number].begun.is_some() => {
                    self.begin(number..number + 1)?;
                }
                Event::KeyReady(key) => self.pairs[number].key = Some(key),
                Event::Unanswered | Event::Void(_) => bail!("pair {number} came to no session: {event:?}"),
                _ => {}
            }
        }
        Ok(ended)
    }
}

/// Nobody is asked for a cookie: who sends many first messages here is known.
fn table(peers: u32, clock: &Clock, entropy: &mut Entropy) -> PeerTable {
    let config = TableConfig::new(peers).load(u32::MAX, Duration::from_secs(1));
    PeerTable::new(config, clock.now(), entropy)
}

fn configured<T>(side: Side, number: u32, with: impl FnOnce(&PeerConfig<'_>) -> T) -> T {
    let names = [&b"site"[..], &number.to_be_bytes()];
    let (own, peer) = if side == Side::A { (names[0], names[1]) } else { (names[1], names[0]) };
    with(&PeerConfig::new(side, own, peer).peer_handle(PeerHandle::new(number)))
}

fn lane(number: usize) -> LaneId {
    LaneId::new(PeerHandle::new(number as u32), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: u32 = 100;

    #[test]
    fn a_hundred_peers_behind_one_socket_make_sessions_with_few_syncs_and_go_on_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut world = World::enrol(PAIRS, directory.path()).unwrap();
        world.establish().unwrap();
        for site in [&world.a, &world.b] {
            // One by one, every pair would have cost at least two: at its enrolment and in its handshake.
            assert!(site.driver.syncs() < u64::from(PAIRS), "{} batches", site.driver.syncs());
        }
        let sessions = |site: &Site| site.pairs.iter().map(|pair| pair.session.unwrap()).collect::<Vec<_>>();
        let first = sessions(&world.a);
        assert_eq!(first, sessions(&world.b));
        let mut world = world.restart().unwrap();
        world.establish().unwrap();
        let next = sessions(&world.a);
        assert_eq!(next, sessions(&world.b));
        assert!(first.iter().zip(&next).all(|(first, next)| first != next), "all are new");
        let mut keys = Keys::default();
        world.compare(&mut keys).unwrap();
        assert_eq!((keys.equal, keys.unequal), (u64::from(PAIRS), 0));
    }
}
