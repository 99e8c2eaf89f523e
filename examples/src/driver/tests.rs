//! One thread, one socket and one file of slots for many peers.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use skex_core::machine::PeerHandle;
use skex_core::{KeyId, Label};
use skex_unmediated::{Event, LaneId, PeerConfig, PeerTable, Side, TableConfig, TableEvent};

use super::*;
use crate::store::{SlotContents, Slots};

const PAIRS: u32 = 100;

/// Long enough for a machine that is busy with something else: a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

struct Site {
    side: Side,
    path: PathBuf,
    driver: Driver<PeerTable>,
    /// The newest session of each peer.
    established: BTreeMap<LaneId, KeyId>,
}

fn with_config<T>(side: Side, pair: u32, with: impl FnOnce(&PeerConfig<'_>) -> T) -> T {
    let names = [&b"site"[..], &pair.to_be_bytes()];
    let (own, peer) = if side == Side::A { (names[0], names[1]) } else { (names[1], names[0]) };
    with(&PeerConfig::new(side, own, peer).peer_handle(PeerHandle::new(pair)))
}

fn start(
    machine: PeerTable,
    path: &Path,
    peer: Option<SocketAddr>,
    clock: Clock,
    entropy: Entropy,
) -> Driver<PeerTable> {
    let (slots, _) = Slots::open(path).unwrap();
    // All peers are at the same address here: the table tells them apart.
    let paths = Paths::new(vec![peer; PAIRS as usize]);
    Driver::start(machine, slots, bind("127.0.0.1:0").unwrap(), paths, clock, entropy).unwrap()
}

impl Site {
    /// A table in which every pair is enrolled.
    fn enrol(side: Side, directory: &Path, peer: Option<SocketAddr>) -> Self {
        let path = directory.join(format!("{side:?}.slots"));
        drop(Slots::create(&path, 2 * PAIRS as usize).unwrap());
        let (clock, mut entropy) = (Clock::start(), Entropy::open().unwrap());
        let mut table = PeerTable::new(TableConfig::new(PAIRS), clock.now(), &mut entropy);
        for pair in 0..PAIRS {
            let secret = [&[0x5e; 28][..], &pair.to_be_bytes()].concat();
            with_config(side, pair, |config| table.enrol(config, &secret, clock.now(), &mut entropy))
                .unwrap();
        }
        let driver = start(table, &path, peer, clock, entropy);
        Self { side, path, driver, established: BTreeMap::new() }
    }

    /// As a power cut leaves it, and started again from its slots.
    fn restart(self, peer: Option<SocketAddr>) -> Self {
        let Self { side, path, driver, .. } = self;
        drop(driver);
        let contents = SlotContents::read(&path).unwrap();
        let (clock, mut entropy) = (Clock::start(), Entropy::open().unwrap());
        let mut table = PeerTable::new(TableConfig::new(PAIRS), clock.now(), &mut entropy);
        for pair in 0..PAIRS {
            let slots = contents.slots(2 * pair as usize);
            with_config(side, pair, |config| table.restore(config, slots, clock.now(), &mut entropy))
                .unwrap();
        }
        let driver = start(table, &path, peer, clock, entropy);
        Self { side, path, driver, established: BTreeMap::new() }
    }

    fn step(&mut self) {
        let until = self.driver.now().saturating_add(Duration::from_millis(5));
        self.driver.wait(Some(until), None).unwrap();
        while let Some(event) = self.driver.next_event() {
            let TableEvent::Lane(lane, Event::Established(session)) = event else { continue };
            if self.side == Side::B || session.may_name {
                self.established.insert(lane, session.id);
            } else {
                // A handshake of before the restart came to its end. The one that was asked for comes next.
                self.driver.call(|table, now, rng| table.establish(lane, now, rng)).unwrap().unwrap();
            }
        }
    }
}

/// Every pair makes a session; A begins.
fn establish(a: &mut Site, b: &mut Site) {
    let begin = |table: &mut PeerTable, now, rng: &mut dyn CryptoRng| {
        for pair in 0..PAIRS {
            table.establish(LaneId::new(PeerHandle::new(pair), 0), now, rng).unwrap();
        }
    };
    a.driver.call(begin).unwrap();
    let began = std::time::Instant::now();
    while a.established.len() < PAIRS as usize || a.established != b.established {
        assert!(began.elapsed() < PATIENCE, "{:?} and {:?}", a.driver.traffic(), b.driver.traffic());
        a.step();
        b.step();
    }
}

#[test]
fn a_hundred_peers_behind_one_socket_make_sessions_with_few_syncs_and_go_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut b = Site::enrol(Side::B, directory.path(), None);
    let mut a = Site::enrol(Side::A, directory.path(), Some(b.driver.local_address().unwrap()));
    establish(&mut a, &mut b);
    for site in [&a, &b] {
        // One by one, every pair would have cost at least two: at its enrolment and in its handshake.
        assert!(site.driver.syncs() < u64::from(PAIRS), "{} batches", site.driver.syncs());
    }
    let first = a.established.clone();
    let mut b = b.restart(None);
    let mut a = a.restart(Some(b.driver.local_address().unwrap()));
    establish(&mut a, &mut b);
    assert!(first.iter().all(|(lane, session)| a.established[lane] != *session), "all are new");
    let keys = |table: &mut PeerTable, _, _: &mut dyn CryptoRng| -> Vec<_> {
        let lanes = (0..PAIRS).map(|pair| LaneId::new(PeerHandle::new(pair), 0));
        lanes.map(|lane| table.export_next(lane, Label::EXPORT_RAW, b"").unwrap().id()).collect()
    };
    assert_eq!(a.driver.call(keys).unwrap().len(), PAIRS as usize);
}
