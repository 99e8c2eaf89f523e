//! Make before break: how the two ends of a link move from one exported key to the next without ever being without a key
//! that both hold.
//!
//! Each end runs a [`Rotation`] beside its consumer (a VPN daemon, a kernel, a router). It knows no keys: only
//! *generations*, numbers that both ends give to the same key. It orders what the consumer is to do, hears what became of
//! it, and tells the other end, in a short status, which generations it holds for receiving and which one it transmits with.
//!
//! ```text
//!   ready(n)                       the key of generation n is here            (the embedder)
//!   Install(n)      -> installed   the consumer accepts n beside the old one
//!   status           <->           both say that they hold n
//!   SwitchTransmit(n) -> switched  this end transmits with n
//!   status           <->           both say that they transmit with n
//!   grace
//!   Retire(n - 1)   -> retired     the old key goes
//! ```
//!
//! # Rules
//!
//! 1. An end transmits only with a generation that the other end says it holds.
//! 2. It never goes back to a lower generation. The choice is durable before it is ordered, so a restart does not go back.
//! 3. It retires a generation only after both ends transmit with a higher one, or where the other end can never use it
//!    again and this end does not; and after a grace for what is under way.
//! 4. A status that is older than one already heeded says nothing.
//! 5. A generation that only one end ever got is withdrawn in two steps: no longer offered, then, once the other end has
//!    said that it knows and has not chosen it, retired.
//!
//! From 1, 2, 3 and 5: at every moment, what one end transmits with is installed at the other. Only a consumer that loses
//! its keys breaks that, until they are installed again or, where that must not be, until the next generation.
//!
//! # Status messages
//!
//! They may be lost, repeated and reordered. They MUST be authentic: hand [`Machine::handle_message`] only what came from
//! the other end, under the link's own protection or a key of SKEX's. They hold no secret.
//!
//! A [`DatagramKey`] protects them where nothing else does.
//!
//! What consumers show in their own protocol serves as well: [`Rotation::peer_seen`].
//!
//! Sizes: a status has [`STATUS_LEN`] octets, a record at most [`ROTATION_RECORD_LEN`]. Neither holds a secret. At most
//! [`MAX_GENERATIONS`] generations are held at once.

mod config;
mod datagram;
mod event;
mod rules;
mod state;

use core::time::Duration;

use rand_core::CryptoRng;

pub use self::config::RotationConfig;
pub use self::datagram::{DATAGRAM_LEN, DatagramKey, Opened, datagram_key_name};
pub use self::event::{RotationError, RotationEvent};
use self::rules::{Rule, holds};
use self::state::{Held, Stage, State};
pub use self::state::{ROTATION_RECORD_LEN, RotationRecord, STATUS_LEN, Status};
use crate::machine::{
    Barrier, Clock, Destination, DiscardReason, Disposition, Instant, Machine, Outbox, Output, PathId,
    Receipt, Timers, Transmit, TransmitClass,
};

/// Generations that an end holds at once, at most.
pub const MAX_GENERATIONS: usize = 3;

/// So that time passes between two statuses, whatever the configuration says.
const LEAST_REPEAT: Duration = Duration::from_millis(1);

#[derive(Clone, Copy)]
enum Timer {
    Repeat,
    Grace,
    Overdue,
}

impl From<Timer> for usize {
    fn from(timer: Timer) -> Self {
        timer as Self
    }
}

/// One end's rotation.
#[derive(Debug)]
pub struct Rotation {
    config: RotationConfig,
    state: State,
    barrier: Barrier,
    dirty: bool,
    clock: Clock,
    timers: Timers<3>,
    events: Outbox<RotationEvent, 8>,
    /// What the consumer holds is known; before that nothing is ordered and nothing told.
    known: bool,
    /// Orders that were given, by the place of the generation.
    ordered: [bool; MAX_GENERATIONS],
    report_ordered: bool,
    switch_ordered: bool,
    /// The consumer is known to transmit with the target: not so after it died, whatever it did before.
    switched: bool,
    /// An order was refused, and is to be given again.
    refused: bool,
    tell: Option<TransmitClass>,
    /// The generations for which the grace is running.
    leaving: [u64; MAX_GENERATIONS],
    rotated: u64,
}

impl Rotation {
    /// The rotation of a new link, which has no key yet.
    #[must_use]
    pub fn new(config: RotationConfig, now: Instant, rng: &mut dyn CryptoRng) -> Self {
        let mut rotation = Self::with(config, State::new(), 0, now, rng);
        rotation.known = true;
        rotation
    }

    /// The rotation that was stored, in one of two slots. `None` where nothing was ever stored.
    ///
    /// The event that said that a generation is gone may not have been told before the end of the last start: keys of generations that
    /// [`Self::status`] neither holds nor keeps, and that are not above its newest, are to be erased.
    ///
    /// # Errors
    /// [`RotationError::Record`].
    pub fn restore(
        config: RotationConfig,
        slots: [&[u8]; 2],
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<Self>, RotationError> {
        let found = state::read(slots, config.machine).map_err(RotationError::Record)?;
        Ok(found.map(|(sequence, state)| {
            let mut rotation = Self::with(config, state, sequence, now, rng);
            if state.peer.transmit.min(state.transmit) < state.newest {
                rotation.timers.set(Timer::Overdue, now.saturating_add(config.overdue));
            }
            rotation.tell_losses_again();
            rotation
        }))
    }

    fn with(
        config: RotationConfig,
        state: State,
        record_sequence: u64,
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Self {
        Self {
            config,
            state,
            barrier: Barrier::resume(record_sequence, rng),
            dirty: true,
            clock: Clock::new(now),
            timers: Timers::new(),
            events: Outbox::new(),
            known: false,
            ordered: [false; MAX_GENERATIONS],
            report_ordered: false,
            switch_ordered: false,
            switched: false,
            refused: false,
            tell: None,
            leaving: [0; MAX_GENERATIONS],
            rotated: 0,
        }
    }

    /// The generation that this end transmits with, or is to transmit with; 0 before the first.
    #[must_use]
    pub const fn target(&self) -> u64 {
        self.state.target
    }

    /// What this end says of itself.
    #[must_use]
    pub fn status(&self) -> Status {
        self.state.status()
    }

    /// The highest generation that the other end ever had, as it said last; 0 before it said anything.
    #[must_use]
    pub const fn peer_newest(&self) -> u64 {
        self.state.peer.newest
    }

    /// The key of a generation is here, confirmed, and kept by the embedder until [`RotationEvent::Retire`],
    /// [`RotationEvent::Lost`] or [`RotationEvent::Refused`]. Generations rise; both ends give the same number to the same
    /// key.
    ///
    /// # Errors
    /// [`RotationError::NotNewer`], [`RotationError::Full`].
    pub fn ready(&mut self, now: Instant, generation: u64) -> Result<(), RotationError> {
        if generation <= self.state.newest {
            return Err(RotationError::NotNewer);
        }
        let free = self.state.held.iter().any(|held| held.stage == Stage::Empty);
        let overdue = self.clock.observe(now).saturating_add(self.config.overdue);
        self.change(now, |rotation| {
            if free {
                rotation.state.newest = generation;
                rotation.enter(generation);
                rotation.timers.set(Timer::Overdue, overdue);
            } else {
                rotation.state.withdraw_one();
            }
        });
        if free { Ok(()) } else { Err(RotationError::Full) }
    }

    /// The consumer accepts this generation.
    ///
    /// # Errors
    /// [`RotationError::Unexpected`].
    pub fn installed(&mut self, now: Instant, generation: u64) -> Result<(), RotationError> {
        self.answered(now, generation, Stage::Installing, |rotation, place| {
            rotation.state.set(place, Stage::Installed);
        })
    }

    /// The consumer transmits with this generation.
    ///
    /// # Errors
    /// [`RotationError::Unexpected`].
    pub fn switched(&mut self, now: Instant, generation: u64) -> Result<(), RotationError> {
        if !self.switch_ordered || generation != self.state.target {
            return Err(RotationError::Unexpected);
        }
        self.change(now, |rotation| {
            rotation.state.transmit = generation;
            rotation.switched = true;
        });
        Ok(())
    }

    /// The consumer no longer has this generation.
    ///
    /// # Errors
    /// [`RotationError::Unexpected`].
    pub fn retired(&mut self, now: Instant, generation: u64) -> Result<(), RotationError> {
        self.answered(now, generation, Stage::Retiring, Self::leave)
    }

    /// The consumer refused an order. An installation is given up; a switch or a retirement is ordered again after the
    /// time of a repeated status.
    ///
    /// # Errors
    /// [`RotationError::Unexpected`].
    pub fn refused(&mut self, now: Instant, order: RotationEvent) -> Result<(), RotationError> {
        match order {
            RotationEvent::Install(generation) => {
                self.answered(now, generation, Stage::Installing, |rotation, place| {
                    rotation.leave(place);
                    rotation.note(RotationEvent::Refused(generation));
                })
            }
            RotationEvent::SwitchTransmit(generation) if generation == self.state.target => {
                self.order_again(now);
                Ok(())
            }
            RotationEvent::Retire(generation) if self.state.place(generation, Stage::Retiring).is_some() => {
                self.order_again(now);
                Ok(())
            }
            _ => Err(RotationError::Unexpected),
        }
    }

    /// What the consumer holds and transmits with: in answer to [`RotationEvent::Report`], or because it died, was started
    /// anew or lost its keys. What it holds beside is not this machine's.
    pub fn consumer_state(&mut self, now: Instant, holding: &[u64], transmitting: Option<u64>) {
        let reinstall = self.config.reinstall;
        self.change(now, |rotation| {
            rotation.known = true;
            for place in 0..MAX_GENERATIONS {
                let Some(Held { generation, stage, .. }) = rotation.state.held.get(place).copied() else {
                    continue;
                };
                let there = holding.contains(&generation);
                rotation.set_ordered(place, false);
                match stage {
                    // What is to be retired is ordered to be again, there or not: its key goes with that.
                    Stage::Empty | Stage::Retiring => {}
                    Stage::Installing if there => rotation.state.set(place, Stage::Installed),
                    Stage::Installed | Stage::Withdrawn if there => {}
                    Stage::Installing | Stage::Installed | Stage::Withdrawn if reinstall => {
                        rotation.state.set(place, Stage::Installing);
                    }
                    Stage::Installing | Stage::Installed | Stage::Withdrawn => {
                        rotation.leave(place);
                        rotation.note(RotationEvent::Lost(generation));
                    }
                }
            }
            rotation.switch_ordered = false;
            rotation.switched = false;
            rotation.switched_in_place(transmitting);
        });
    }

    /// Authentic traffic of the other end came in under this generation: what TCP-AO shows as KeyID, MACsec as the
    /// association number, IKEv2 as the PPK_ID. It serves where a status is late.
    pub fn peer_seen(&mut self, now: Instant, generation: u64) {
        if self.state.is_installed(generation) && generation > self.state.peer.transmit {
            self.change(now, |rotation| rotation.state.peer.transmit = generation);
        }
    }

    /// A report closes the order that was given for `generation` in `stage`.
    fn answered(
        &mut self,
        now: Instant,
        generation: u64,
        stage: Stage,
        then: impl FnOnce(&mut Self, usize),
    ) -> Result<(), RotationError> {
        let place = self.state.place(generation, stage).ok_or(RotationError::Unexpected)?;
        if !self.ordered.get(place).copied().unwrap_or(false) {
            return Err(RotationError::Unexpected);
        }
        self.change(now, |rotation| {
            rotation.set_ordered(place, false);
            then(rotation, place);
        });
        Ok(())
    }

    fn enter(&mut self, generation: u64) {
        if let Some(place) = self.state.held.iter().position(|held| held.stage == Stage::Empty) {
            self.state.put(place, Held { generation, stage: Stage::Installing, since: 0 });
            self.set_ordered(place, false);
        }
    }

    fn leave(&mut self, place: usize) {
        self.state.put(place, Held::EMPTY);
        self.set_ordered(place, false);
    }

    fn set_ordered(&mut self, place: usize, ordered: bool) {
        if let Some(flag) = self.ordered.get_mut(place) {
            *flag = ordered;
        }
    }

    fn note(&mut self, event: RotationEvent) {
        // Full only where nobody polls; what is lost then is no order.
        let _ = self.events.push(Barrier::OPEN, event);
    }

    /// That the generation in use is gone, here or there, is stored before it is told; so it is where the first went before it was in
    /// use. Nothing is to be told where a higher one is here.
    fn tell_losses_again(&mut self) {
        let State { target, newest, .. } = self.state;
        if newest == 0 || self.state.held.iter().any(|held| held.generation > target) {
            return;
        }
        let lost = if target == 0 { newest } else { target };
        if !self.state.held.iter().any(|held| held.generation == lost) {
            self.note(RotationEvent::Lost(lost));
        } else if self.state.is_gone_there(target) {
            self.note(RotationEvent::PeerLost(target));
        }
    }

    /// The consumer transmits with the target already, or does not.
    fn switched_in_place(&mut self, transmitting: Option<u64>) {
        if transmitting == Some(self.state.target) && self.state.is_installed(self.state.target) {
            self.state.transmit = self.state.target;
            self.switch_ordered = true;
            self.switched = true;
        }
    }

    /// Makes a change, draws what follows from it, and counts the status up where it says something new.
    fn change(&mut self, now: Instant, change: impl FnOnce(&mut Self)) {
        let now = self.clock.observe(now);
        let before = self.state.status();
        change(self);
        self.choose();
        self.finish();
        self.run_grace(now);
        if !self.state.status().says_the_same(&before) {
            self.state.sequence = self.state.sequence.saturating_add(1);
            self.tell = Some(TransmitClass::Request);
        }
        self.dirty = true;
        self.rearm(now);
    }

    /// Rule 1 and 2: the highest generation that both hold, above the present one.
    fn choose(&mut self) {
        // A switch that was ordered ends first, so that what the consumer transmits with is always known to be one of two.
        let settled = self.state.transmit == self.state.target || !self.state.is_installed(self.state.target);
        if !self.known || !settled {
            return;
        }
        let peer = self.state.peer.holds;
        let common = |held: &&Held| {
            held.stage == Stage::Installed
                && (peer.contains(&held.generation) || !holds(Rule::TransmitWhatPeerHolds))
        };
        let best = self.state.held.iter().filter(common).map(|held| held.generation).max().unwrap_or(0);
        if best > self.state.target || !holds(Rule::NeverBack) && best != 0 && best != self.state.target {
            self.state.target = best;
            self.switch_ordered = false;
            self.switched = false;
        }
    }

    /// Rule 5: what was withdrawn goes once the other end knows, unless it had chosen it before it knew.
    fn finish(&mut self) {
        for place in 0..MAX_GENERATIONS {
            let Some(held) = self.state.held.get(place).copied() else { continue };
            if held.stage != Stage::Withdrawn {
                continue;
            }
            let peer = &self.state.peer;
            let chosen = held.generation == peer.target && !self.state.is_gone_there(held.generation);
            if chosen || held.generation <= peer.transmit {
                self.state.set(place, Stage::Installed);
            } else if peer.seen >= held.since || !holds(Rule::WithdrawInTwoSteps) {
                self.state.set(place, Stage::Retiring);
            }
        }
        let (target, peer) = (self.state.target, self.state.peer.transmit);
        if target != 0 && self.state.transmit == target && peer >= target && self.rotated < target {
            self.rotated = target;
            self.note(RotationEvent::Rotated(target));
            if target >= self.state.newest {
                self.timers.stop(Timer::Overdue);
            }
        }
    }

    /// Rule 3: the grace runs for what both ends have left, anew where one more is left.
    fn run_grace(&mut self, now: Instant) {
        let left = self.state.left();
        if left == [0; MAX_GENERATIONS] {
            self.timers.stop(Timer::Grace);
        } else if left.iter().any(|generation| *generation != 0 && !self.leaving.contains(generation)) {
            self.timers.set(Timer::Grace, now.saturating_add(self.config.grace));
        }
        self.leaving = left;
    }

    fn rearm(&mut self, now: Instant) {
        if self.state.is_answered() && !self.refused {
            self.timers.stop(Timer::Repeat);
        } else if self.timers.deadline(Timer::Repeat).is_none() {
            self.arm_repeat(now);
        }
    }

    fn order_again(&mut self, now: Instant) {
        self.refused = true;
        self.arm_repeat(now);
    }

    fn arm_repeat(&mut self, now: Instant) {
        let at = self.clock.observe(now).saturating_add(self.config.repeat.max(LEAST_REPEAT));
        self.timers.set(Timer::Repeat, at);
    }

    /// The next order to the consumer.
    fn order(&mut self) -> Option<RotationEvent> {
        if !self.known {
            let first = !core::mem::replace(&mut self.report_ordered, true);
            return first.then_some(RotationEvent::Report);
        }
        for (held, ordered) in self.state.held.iter().zip(&mut self.ordered) {
            let order = match held.stage {
                Stage::Installing => RotationEvent::Install(held.generation),
                Stage::Retiring => RotationEvent::Retire(held.generation),
                _ => continue,
            };
            if !core::mem::replace(ordered, true) {
                return Some(order);
            }
        }
        if !self.switch_ordered && self.state.is_installed(self.state.target) {
            self.switch_ordered = true;
            return Some(RotationEvent::SwitchTransmit(self.state.target));
        }
        None
    }
}

impl Machine for Rotation {
    type Record = RotationRecord;
    type Payload = [u8; STATUS_LEN];
    type Event = RotationEvent;
    type Error = RotationError;

    /// A status of the other end. It must be authentic.
    fn handle_message(
        &mut self,
        now: Instant,
        _: &mut dyn CryptoRng,
        _: PathId,
        message: &[u8],
    ) -> Result<Disposition, RotationError> {
        let Some(status) = Status::decode(message) else {
            return Ok(Disposition::Discarded(DiscardReason::Malformed));
        };
        if status.seen > self.state.sequence {
            // It has heard more of this end than this end has said: this end was rolled back, or it is not the peer.
            return Ok(Disposition::Discarded(DiscardReason::Unexpected));
        }
        if status.sequence < self.state.peer.sequence && holds(Rule::HeedNewestStatus) {
            return Ok(Disposition::Discarded(DiscardReason::Stale));
        }
        let news = status.sequence > self.state.peer.sequence || status.seen > self.state.peer.seen;
        if news || !holds(Rule::HeedNewestStatus) {
            let transmit = self.state.target;
            let had = self.state.peer.holds.contains(&transmit);
            self.change(now, |rotation| {
                rotation.state.heed(&status);
                if had && !rotation.state.peer.holds.contains(&transmit) && rotation.state.target == transmit
                {
                    rotation.note(RotationEvent::PeerLost(transmit));
                }
            });
        }
        if status.wants_answer && self.tell.is_none() {
            self.tell = Some(TransmitClass::Reply);
        }
        Ok(if news { Disposition::Accepted } else { Disposition::Discarded(DiscardReason::Duplicate) })
    }

    fn handle_timeout(&mut self, now: Instant, _: &mut dyn CryptoRng) -> Result<(), RotationError> {
        let now = self.clock.observe(now);
        if self.timers.take_expired(Timer::Repeat, now) {
            if !self.state.is_answered() {
                self.tell = Some(TransmitClass::Retransmission);
            }
            // What the consumer refused is ordered again.
            self.refused = false;
            self.switch_ordered = self.switched;
            for (held, ordered) in self.state.held.iter().zip(&mut self.ordered) {
                *ordered &= held.stage != Stage::Retiring;
            }
            self.rearm(now);
        }
        if self.timers.take_expired(Timer::Grace, now) {
            let leaving = core::mem::take(&mut self.leaving);
            self.change(now, |rotation| rotation.state.retire_left(leaving));
        }
        if self.timers.take_expired(Timer::Overdue, now) {
            self.note(RotationEvent::Overdue(self.state.newest));
        }
        Ok(())
    }

    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), RotationError> {
        Ok(self.barrier.acknowledge(receipt)?)
    }

    fn poll_output(&mut self) -> Output<RotationRecord, [u8; STATUS_LEN], RotationEvent> {
        if self.dirty {
            let next = self.barrier.after();
            let issued = self.barrier.issue(|| state::write(&self.state, self.config.machine, next));
            if let Some(checkpoint) = issued {
                self.dirty = false;
                return Output::Persist(checkpoint);
            }
        }
        // Everything that leaves depends on the present state, so all of it waits until that is durable.
        let durable = !self.dirty && !self.barrier.is_pending();
        if durable || !holds(Rule::DurableBeforeOrder) {
            if let Some(order) = self.order() {
                return Output::Event(order);
            }
            if let Some(event) = self.events.pop(&self.barrier) {
                return Output::Event(event);
            }
            if self.known
                && let Some(class) = self.tell.take()
            {
                let to = Destination::Peer(self.config.peer);
                return Output::Transmit(Transmit::new(to, class, self.state.status().encode()));
            }
        }
        Output::Wait(self.timers.next())
    }
}

#[cfg(test)]
mod tests;
