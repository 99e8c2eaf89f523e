//! A device with a table of peers, and its store.

use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use skex_core::machine::{Destination, Disposition, Instant, Output, PathId, PeerHandle};

use crate::{Event, LaneId, PeerConfig, PeerTable, Side, TableConfig, TableError, TableEvent};

/// The path on which each site hears the other in these tests, unless they say otherwise.
pub(super) const PATH: PathId = PathId::new(7);

pub(super) fn id(pair: u32, lane: u8) -> LaneId {
    LaneId::new(PeerHandle::new(pair), lane)
}

/// The secret of a pair.
pub(super) fn secret(pair: u32) -> [u8; 32] {
    let mut secret = [0x5e; 32];
    secret[..4].copy_from_slice(&pair.to_be_bytes());
    secret
}

/// Runs `with` with the configuration of a pair.
pub(super) fn with_config<T>(side: Side, pair: u32, with: impl FnOnce(&PeerConfig<'_>) -> T) -> T {
    let hub = b"hub".as_slice();
    let device = pair.to_be_bytes();
    let (own, peer) = if side == Side::A { (hub, device.as_slice()) } else { (device.as_slice(), hub) };
    with(&PeerConfig::new(side, own, peer).peer_handle(PeerHandle::new(pair)))
}

pub(super) struct Site {
    pub(super) side: Side,
    pub(super) table: PeerTable,
    pub(super) slots: BTreeMap<LaneId, [Vec<u8>; 2]>,
    pub(super) sent: VecDeque<Vec<u8>>,
    pub(super) destinations: Vec<Destination>,
    pub(super) events: Vec<TableEvent>,
    /// How often a recovery was told.
    pub(super) recovered: usize,
    pub(super) rng: ChaCha20Rng,
    pub(super) now: Instant,
    pub(super) polls: usize,
    /// Of writes, in two parts each, sendings and events.
    pub(super) steps: usize,
    /// Power is lost before the step of this number.
    pub(super) crash_at: Option<usize>,
    pub(super) is_down: bool,
}

impl Site {
    pub(super) fn new(side: Side, config: TableConfig) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(side == Side::A));
        let now = Instant::ZERO;
        Self {
            side,
            table: PeerTable::new(config, now, &mut rng),
            slots: BTreeMap::new(),
            sent: VecDeque::new(),
            destinations: Vec::new(),
            events: Vec::new(),
            recovered: 0,
            rng,
            now,
            polls: 0,
            steps: 0,
            crash_at: None,
            is_down: false,
        }
    }

    pub(super) fn enrol(&mut self, pair: u32, lane: u8) -> Result<LaneId, TableError> {
        let (table, rng, now) = (&mut self.table, &mut self.rng, self.now);
        let done =
            with_config(self.side, pair, |config| table.enrol(&config.lane(lane), &secret(pair), now, rng));
        self.drain();
        done
    }

    pub(super) fn enrol_pair(&mut self, pair: u32, lanes: u16, recovery: bool) -> Result<(), TableError> {
        let (table, rng, now) = (&mut self.table, &mut self.rng, self.now);
        let done = with_config(self.side, pair, |config| {
            table.enrol_pair(config, lanes, recovery, &secret(pair), now, rng)
        });
        self.drain();
        done
    }

    pub(super) fn enrol_anew(&mut self, lane: LaneId, secret: &[u8]) -> Result<(), TableError> {
        let (table, rng, now) = (&mut self.table, &mut self.rng, self.now);
        let done = with_config(self.side, lane.pair().number(), |config| {
            table.enrol_anew(&config.lane(lane.lane()), secret, now, rng)
        });
        self.drain();
        done
    }

    pub(super) fn restore(&mut self, lane: LaneId) -> Result<LaneId, TableError> {
        let (table, rng, now) = (&mut self.table, &mut self.rng, self.now);
        let slots = &self.slots[&lane];
        let done = with_config(self.side, lane.pair().number(), |config| {
            table.restore(&config.lane(lane.lane()), [&slots[0], &slots[1]], now, rng)
        });
        self.drain();
        done
    }

    /// A new table from nothing but the store.
    pub(super) fn restart(&mut self, config: TableConfig) {
        self.table = PeerTable::new(config, self.now, &mut self.rng);
        self.sent.clear();
        self.is_down = false;
        let lanes: Vec<_> = self.slots.keys().copied().collect();
        for lane in lanes {
            let (table, rng, now) = (&mut self.table, &mut self.rng, self.now);
            let slots = &self.slots[&lane];
            with_config(self.side, lane.pair().number(), |config| {
                table.restore(&config.lane(lane.lane()), [&slots[0], &slots[1]], now, rng).unwrap();
            });
        }
        self.drain();
    }

    /// Whether power is lost here instead of the next step.
    fn crashes(&mut self) -> bool {
        if self.crash_at == Some(self.steps) {
            self.crash_at = None;
            self.is_down = true;
            return true;
        }
        self.steps += 1;
        false
    }

    pub(super) fn establish(&mut self, lane: LaneId) {
        self.try_establish(lane).unwrap();
    }

    pub(super) fn try_establish(&mut self, lane: LaneId) -> Result<(), TableError> {
        let done = self.table.establish(lane, self.now, &mut self.rng);
        self.drain();
        done
    }

    pub(super) fn deliver(&mut self, message: &[u8]) -> Disposition {
        self.deliver_from(PATH, message)
    }

    pub(super) fn deliver_from(&mut self, path: PathId, message: &[u8]) -> Disposition {
        if self.is_down {
            return Disposition::Discarded(skex_core::machine::DiscardReason::Busy);
        }
        let done = self.table.handle_message(self.now, &mut self.rng, path, message).unwrap();
        self.drain();
        done
    }

    /// Carries out what the table wants, until it waits. The answer is until when.
    pub(super) fn drain(&mut self) -> Option<Instant> {
        while !self.is_down {
            self.polls += 1;
            match self.table.poll_output() {
                Output::Persist(checkpoint) => {
                    if self.crashes() {
                        return None;
                    }
                    let slots = self.slots.entry(checkpoint.record().lane()).or_default();
                    slots.rotate_left(1);
                    slots[0] = checkpoint.record().as_bytes().to_vec();
                    slots[1].clear();
                    if self.crashes() {
                        return None;
                    }
                    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
                    self.table.handle_persisted(receipt).unwrap();
                }
                Output::Transmit(_) | Output::Event(_) if self.crashes() => return None,
                Output::Transmit(transmit) => {
                    self.destinations.push(transmit.to);
                    self.sent.push_back(transmit.payload.as_bytes().to_vec());
                }
                Output::Event(event) => {
                    self.recovered += usize::from(matches!(event, TableEvent::Recovered(_)));
                    self.events.push(event);
                }
                Output::Wait(deadline) => return deadline,
            }
            self.table.check_invariants();
        }
        None
    }

    pub(super) fn wake(&mut self) {
        if let Some(deadline) = self.drain() {
            self.now = self.now.max(deadline);
            self.table.handle_timeout(self.now, &mut self.rng).unwrap();
            self.drain();
        }
    }

    pub(super) fn established(&self, lane: LaneId) -> usize {
        let is_established = |event: &&TableEvent| matches!(event, TableEvent::Lane(of, Event::Established(session)) if *of == lane && session.confirmed);
        self.events.iter().filter(is_established).count()
    }

    pub(super) fn epoch(&self, lane: LaneId) -> u64 {
        self.table.lane(lane).unwrap().epoch()
    }
}

/// Delivers everything until nothing is on its way.
pub(super) fn settle(hub: &mut Site, devices: &mut Site) {
    loop {
        if let Some(message) = hub.sent.pop_front() {
            let _ = devices.deliver(&message);
        } else if let Some(message) = devices.sent.pop_front() {
            let _ = hub.deliver(&message);
        } else {
            return;
        }
    }
}

/// A hub, and all devices in one table at the other end, with these pairs and lanes.
pub(super) fn sites(pairs: u32, lanes: u16, recovery: bool) -> (Site, Site) {
    let config = TableConfig::new(1000);
    let (mut hub, mut devices) = (Site::new(Side::A, config), Site::new(Side::B, config));
    for pair in 0..pairs {
        hub.enrol_pair(pair, lanes, recovery).unwrap();
        devices.enrol_pair(pair, lanes, recovery).unwrap();
    }
    (hub, devices)
}
