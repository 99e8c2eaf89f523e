//! Two ends with their consumers and stores, and what lies between them.

extern crate std;

use core::time::Duration;
use std::collections::BTreeSet;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng as _;

use crate::machine::{
    DiscardReason, Disposition, Instant, Machine as _, Output, PathId, PeerHandle, PendingReceipt,
};
use crate::rotation::{Rotation, RotationConfig, RotationError, RotationEvent, RotationRecord, STATUS_LEN};

/// What holds keys and moves traffic.
#[derive(Default)]
pub(super) struct Consumer {
    pub(super) held: BTreeSet<u64>,
    pub(super) transmit: Option<u64>,
    /// Lost by a fault, and not installed again: what no rotation can mend.
    pub(super) lost: BTreeSet<u64>,
    /// Installed once: a static key must never be installed again.
    pub(super) ever: BTreeSet<u64>,
}

pub(super) struct End {
    pub(super) machine: Rotation,
    pub(super) slots: [Vec<u8>; 2],
    pub(super) writes: usize,
    pub(super) pending: Option<(RotationRecord, PendingReceipt)>,
    pub(super) consumer: Consumer,
    pub(super) orders: Vec<RotationEvent>,
    pub(super) reports: Vec<RotationEvent>,
    pub(super) events: Vec<RotationEvent>,
    pub(super) given: u64,
}

pub(super) struct World {
    pub(super) ends: [End; 2],
    /// On the way to each end.
    pub(super) net: [Vec<[u8; STATUS_LEN]>; 2],
    pub(super) now: Instant,
    pub(super) rng: ChaCha8Rng,
    pub(super) config: RotationConfig,
    pub(super) sent: usize,
}

pub(super) const GRACE: u64 = 10_000;

/// One thing that happens at one end. Numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Deliver(usize),
    Repeat(usize),
    Lose(usize),
    Persist,
    Execute,
    Report,
    /// The consumer refuses the order that comes next.
    Refuse,
    Crash {
        landed: bool,
    },
    ConsumerDies,
    Ready,
    /// The key never came to this end.
    NoKey,
    Time(u64),
    Seen,
}

pub(super) type Law = Result<(), String>;

impl World {
    pub(super) fn new(reinstall: bool) -> Self {
        let mut rng = ChaCha8Rng::from_seed([3; 32]);
        let config = RotationConfig::new([1; 8], PeerHandle::new(0)).reinstall(reinstall);
        let now = Instant::ZERO;
        let ends = [(), ()].map(|()| End {
            machine: Rotation::new(config, now, &mut rng),
            slots: [vec![], vec![]],
            writes: 0,
            pending: None,
            consumer: Consumer::default(),
            orders: vec![],
            reports: vec![],
            events: vec![],
            given: 0,
        });
        let mut world = Self { ends, net: [vec![], vec![]], now, rng, config, sent: 0 };
        world.drain(0);
        world.drain(1);
        world
    }

    /// A link that works under generation 1.
    pub(super) fn established(reinstall: bool) -> Self {
        Self::try_established(reinstall).unwrap()
    }

    pub(super) fn try_established(reinstall: bool) -> Result<Self, String> {
        let mut world = Self::new(reinstall);
        for at in [0, 1] {
            world.step(at, Step::Ready)?;
        }
        world.settle()?;
        let up = world.ends.iter().all(|end| end.consumer.transmit == Some(1));
        if up { Ok(world) } else { Err("the link does not come up".into()) }
    }

    pub(super) fn drain(&mut self, at: usize) {
        let end = &mut self.ends[at];
        loop {
            match end.machine.poll_output() {
                Output::Persist(checkpoint) => {
                    assert!(end.pending.is_none());
                    end.pending = Some(checkpoint.into_parts());
                }
                Output::Transmit(transmit) => {
                    self.sent += 1;
                    self.net[1 - at].push(transmit.payload);
                }
                Output::Event(
                    order @ (RotationEvent::Install(_)
                    | RotationEvent::SwitchTransmit(_)
                    | RotationEvent::Retire(_)
                    | RotationEvent::Report),
                ) => end.orders.push(order),
                Output::Event(event) => end.events.push(event),
                Output::Wait(_) => break,
            }
        }
    }

    pub(super) fn step(&mut self, at: usize, step: Step) -> Law {
        let now = self.now;
        let end = &mut self.ends[at];
        match step {
            Step::Deliver(choice) | Step::Repeat(choice) if !self.net[at].is_empty() => {
                let place = choice % self.net[at].len();
                let message = self.net[at][place];
                if matches!(step, Step::Deliver(_)) {
                    self.net[at].remove(place);
                }
                let disposition =
                    end.machine.handle_message(now, &mut self.rng, PathId::new(0), &message).unwrap();
                if matches!(
                    disposition,
                    Disposition::Discarded(DiscardReason::Malformed | DiscardReason::Unexpected)
                ) {
                    return Err(format!("{disposition:?}"));
                }
            }
            Step::Lose(choice) if !self.net[at].is_empty() => {
                let place = choice % self.net[at].len();
                self.net[at].remove(place);
            }
            Step::Persist => {
                if let Some((record, receipt)) = end.pending.take() {
                    end.slots[end.writes % 2] = record.as_ref().to_vec();
                    end.writes += 1;
                    end.machine.handle_persisted(receipt.assume_durable()).unwrap();
                }
            }
            Step::Execute if !end.orders.is_empty() => {
                let order = end.orders.remove(0);
                self.execute(at, order)?;
            }
            Step::Report if !end.reports.is_empty() => {
                let report = end.reports.remove(0);
                let answered = match report {
                    RotationEvent::Install(generation) => end.machine.installed(now, generation),
                    RotationEvent::SwitchTransmit(generation) => end.machine.switched(now, generation),
                    RotationEvent::Retire(generation) => end.machine.retired(now, generation),
                    _ => {
                        let holding: Vec<u64> = end.consumer.held.iter().copied().collect();
                        end.machine.consumer_state(now, &holding, end.consumer.transmit);
                        Ok(())
                    }
                };
                // A repeated order has been answered before.
                assert!(matches!(answered, Ok(()) | Err(RotationError::Unexpected)));
            }
            Step::Refuse => {
                let order = end.orders.first().copied();
                if let Some(order) = order.filter(|order| *order != RotationEvent::Report) {
                    end.orders.remove(0);
                    // A repeated order has been answered before.
                    let answered = end.machine.refused(now, order);
                    assert!(matches!(answered, Ok(()) | Err(RotationError::Unexpected)));
                }
            }
            Step::Crash { landed } => self.crash(at, landed),
            Step::ConsumerDies => {
                let consumer = &mut end.consumer;
                consumer.lost.append(&mut consumer.held);
                consumer.transmit = None;
                end.orders.clear();
                end.reports.clear();
                end.machine.consumer_state(now, &[], None);
            }
            Step::Ready => match end.machine.ready(now, end.given + 1) {
                Ok(()) => end.given += 1,
                Err(error) => assert_eq!(error, RotationError::Full),
            },
            Step::NoKey => end.given += 1,
            Step::Time(millis) => {
                self.now = now.saturating_add(Duration::from_millis(millis));
                for at in [0, 1] {
                    self.ends[at].machine.handle_timeout(self.now, &mut self.rng).unwrap();
                    self.drain(at);
                }
            }
            Step::Seen => {
                if let Some(generation) = self.ends[1 - at].consumer.transmit {
                    self.ends[at].machine.peer_seen(now, generation);
                }
            }
            Step::Deliver(_) | Step::Repeat(_) | Step::Lose(_) | Step::Execute | Step::Report => {}
        }
        self.drain(at);
        self.law()
    }

    pub(super) fn execute(&mut self, at: usize, order: RotationEvent) -> Law {
        let end = &mut self.ends[at];
        let consumer = &mut end.consumer;
        match order {
            RotationEvent::Install(generation) => {
                let again = !consumer.ever.insert(generation);
                if again && !consumer.held.contains(&generation) && !self.config.reinstall {
                    return Err(format!("end {at} installs {generation} a second time"));
                }
                consumer.held.insert(generation);
                consumer.lost.remove(&generation);
            }
            RotationEvent::SwitchTransmit(generation) => {
                if !consumer.held.contains(&generation) {
                    return Err(format!("end {at} is to transmit with {generation}, which it does not hold"));
                }
                consumer.transmit = Some(generation);
            }
            RotationEvent::Retire(generation) => {
                if consumer.transmit == Some(generation) {
                    return Err(format!("end {at} is to retire {generation}, which it transmits with"));
                }
                consumer.held.remove(&generation);
            }
            _ => {}
        }
        end.reports.push(order);
        Ok(())
    }

    pub(super) fn crash(&mut self, at: usize, landed: bool) {
        let end = &mut self.ends[at];
        if let Some((record, _)) = end.pending.take()
            && landed
        {
            end.slots[end.writes % 2] = record.as_ref().to_vec();
            end.writes += 1;
        }
        end.orders.clear();
        end.reports.clear();
        let slots = end.slots.each_ref().map(Vec::as_slice);
        let restored = Rotation::restore(self.config, slots, self.now, &mut self.rng).unwrap();
        end.machine = match restored {
            Some(machine) => machine,
            None => Rotation::new(self.config, self.now, &mut self.rng),
        };
        // What was given and did not become durable is gone.
        end.given = end.given.max(end.machine.state.newest);
    }

    /// What one end transmits with, the other has installed: unless its consumer lost it by a fault.
    pub(super) fn law(&self) -> Law {
        for at in [0, 1] {
            let (end, other) = (&self.ends[at].consumer, &self.ends[1 - at].consumer);
            if let Some(generation) = end.transmit
                && !other.held.contains(&generation)
                && !other.lost.contains(&generation)
            {
                return Err(format!(
                    "end {at} transmits with {generation}, the other holds {:?}",
                    other.held
                ));
            }
        }
        Ok(())
    }

    /// No more faults, until nothing is left to do.
    pub(super) fn settle(&mut self) -> Law {
        for _ in 0..80 {
            for at in [0, 1] {
                for _ in 0..8 {
                    for step in [Step::Persist, Step::Execute, Step::Report, Step::Deliver(0)] {
                        self.step(at, step)?;
                    }
                }
            }
            self.step(0, Step::Time(GRACE / 8))?;
        }
        Ok(())
    }

    /// After the faults, each end transmits with what it chose, if it has it still.
    pub(super) fn transmits(&self) -> Law {
        for (at, end) in self.ends.iter().enumerate() {
            let target = end.machine.state.target;
            if end.machine.state.is_installed(target) && end.consumer.transmit != Some(target) {
                return Err(format!(
                    "end {at} chose {target} and transmits with {:?}",
                    end.consumer.transmit
                ));
            }
        }
        Ok(())
    }

    /// After the faults, one key for both: they end on it, with nothing else, and fall silent.
    pub(super) fn heals(&mut self) -> Law {
        self.settle()?;
        self.transmits()?;
        let next = self.ends[0].given.max(self.ends[1].given);
        let mut done = [false; 2];
        for _ in 0..6 {
            for at in [0, 1] {
                if !done[at] {
                    self.ends[at].given = next;
                    self.step(at, Step::Ready)?;
                    done[at] = self.ends[at].given == next + 1;
                }
            }
            self.settle()?;
        }
        let sent = self.sent;
        self.settle()?;
        for end in &self.ends {
            let consumer = &end.consumer;
            if consumer.transmit != Some(next + 1) || consumer.held != BTreeSet::from([next + 1]) {
                return Err(format!(
                    "not healed to {}: {:?} {:?}",
                    next + 1,
                    consumer.held,
                    end.machine.state
                ));
            }
        }
        if self.sent == sent { Ok(()) } else { Err(format!("{} statuses without news", self.sent - sent)) }
    }
}
