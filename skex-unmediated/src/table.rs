//! Many peers behind one socket.
//!
//! ```text
//!   message -> name in it (pseudonym, or reference of an attempt) -> one look-up -> the machine of that lane
//! ```
//!
//! Nothing here scans: not to route, not to poll, not for the next deadline. Nothing is kept of a message that is not
//! authentic, but counts.

mod agenda;
mod config;
mod event;
#[cfg(test)]
mod inspect;
mod lane;
mod load;
mod recovery;
mod routes;
mod verbs;

use alloc::collections::BTreeMap;

use rand_core::CryptoRng;
use skex_core::machine::{
    Clock, DiscardCounters, DiscardReason, Disposition, Instant, Output, PathId, PeerHandle, Receipt,
    ReceiptError,
};
use skex_wire::unmediated::{Message, MessageType};

use self::agenda::Agenda;
use self::lane::{Lane, Lanes};
use self::load::{Load, Sources};
use self::routes::{Candidates, Routes};
use crate::bytes::Datagram;
use crate::config::{PeerConfig, RECOVERY_LANE};
use crate::event::Event;
use crate::peer::{Peer, Tag};

pub use self::config::TableConfig;
pub use self::event::{RecoveryCause, TableError, TableEvent};
pub use self::lane::{LaneId, LaneRecord};

/// Many [`Peer`]s, called by pair and lane, behind one queue of outputs.
///
/// It keeps the laws of every machine (`skex_core::machine`), with one difference: each lane may have a checkpoint
/// outstanding, and their receipts may come back in any order. [`LaneRecord::lane`] says whose two slots a record goes
/// to.
///
/// A message finds its machine by what it names, in one look-up whatever the number of lanes. Under load
/// ([`TableConfig::load`]) a first message costs that look-up and one MAC, until it comes with a cookie for its path.
///
/// It draws 32 octets when it is made; the machines draw as they do alone.
pub struct PeerTable {
    config: TableConfig,
    lanes: Lanes,
    names: BTreeMap<LaneId, u32>,
    routes: Routes,
    agenda: Agenda,
    // Whose checkpoints are outstanding, by instance.
    awaiting: BTreeMap<u64, u32>,
    load: Load,
    sources: Sources,
    discards: DiscardCounters,
    clock: Clock,
    // How often a machine was polled.
    #[cfg(test)]
    asked: usize,
}

impl PeerTable {
    /// An empty table.
    #[must_use]
    pub fn new(config: TableConfig, now: Instant, rng: &mut dyn CryptoRng) -> Self {
        Self {
            lanes: Lanes::new(),
            names: BTreeMap::new(),
            routes: Routes::new(rng),
            agenda: Agenda::new(),
            awaiting: BTreeMap::new(),
            load: Load::new(config.first_messages, config.load_window),
            sources: Sources::new(config.forged_thirds, config.source_buckets, config.source_window, rng),
            discards: DiscardCounters::new(),
            clock: Clock::new(now),
            #[cfg(test)]
            asked: 0,
            config,
        }
    }

    /// Adds a new end of a pair: [`Peer::enrol`]. The handle and the lane of the configuration are its name here.
    ///
    /// # Errors
    /// [`TableError::TableFull`], [`TableError::LaneInUse`], [`TableError::Config`]; nothing changed.
    pub fn enrol(
        &mut self,
        config: &PeerConfig<'_>,
        secret: &[u8],
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<LaneId, TableError> {
        let id = self.check_room(config, 1)?;
        let now = self.clock.observe(now);
        let peer = Peer::enrol(config, secret, now, rng)?;
        self.add(id, peer)
    }

    /// Adds lanes 0 to `lanes - 1` of a pair, all from one enrolment secret, and with `recovery` its recovery lane.
    /// The secret is not needed any more once all their first records are durable.
    ///
    /// # Errors
    /// As [`enrol`](Self::enrol), and [`TableError::RecoveryOnly`] for more than 255 lanes; nothing changed.
    pub fn enrol_pair(
        &mut self,
        config: &PeerConfig<'_>,
        lanes: u16,
        recovery: bool,
        secret: &[u8],
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), TableError> {
        let lanes = u8::try_from(lanes).map_err(|_| TableError::RecoveryOnly)?;
        let numbers = || (0..lanes).chain(recovery.then_some(RECOVERY_LANE));
        for lane in numbers() {
            self.check_room(&config.lane(lane), numbers().count())?;
        }
        // The first is refused if any is: they differ by their numbers only.
        for lane in numbers() {
            self.enrol(&config.lane(lane), secret, now, rng)?;
        }
        Ok(())
    }

    /// Adds an end as it was stored: [`Peer::restore`].
    ///
    /// # Errors
    /// [`TableError::TableFull`], [`TableError::LaneInUse`], [`TableError::Restore`]; nothing changed.
    pub fn restore(
        &mut self,
        config: &PeerConfig<'_>,
        slots: [&[u8]; 2],
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<LaneId, TableError> {
        let id = self.check_room(config, 1)?;
        let now = self.clock.observe(now);
        let peer = Peer::restore(config, slots, now, rng)?;
        self.add(id, peer)
    }

    /// Takes the place of a lane with a new enrolment, in epoch 0: [`Peer::enrol_anew`]. The other end has to do the same.
    ///
    /// # Errors
    /// [`TableError::UnknownLane`], [`TableError::Config`], [`TableError::RecoveryUnderWay`] (a recovery enrolled this lane anew: conclude
    /// it first, or enrol the recovery lane anew before the others); nothing changed.
    pub fn enrol_anew(
        &mut self,
        config: &PeerConfig<'_>,
        secret: &[u8],
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), TableError> {
        let id = config.lane_id();
        let place = self.place(id)?;
        let now = self.clock.observe(now);
        if !id.is_recovery() && self.has_recovered(id.pair()) {
            return Err(TableError::RecoveryUnderWay);
        }
        let lane = self.lanes.get_mut(place).ok_or(TableError::UnknownLane)?;
        lane.peer.enrol_anew(config, secret, now, rng)?;
        lane.forget_recovery();
        // Its receipt is foreign to the new one.
        if let Some(instance) = lane.awaiting.take() {
            self.awaiting.remove(&instance);
        }
        self.touch(place);
        self.tend_recovery(id.pair());
        Ok(())
    }

    /// Takes a lane out. No message reaches it any more; what it still had to say is lost. Its records stay the
    /// embedder's to erase or to restore from.
    ///
    /// # Errors
    /// [`TableError::UnknownLane`].
    pub fn remove(&mut self, id: LaneId) -> Result<(), TableError> {
        let place = self.names.remove(&id).ok_or(TableError::UnknownLane)?;
        let mut lane = self.lanes.remove(place).ok_or(TableError::UnknownLane)?;
        self.agenda.wait(place, &mut lane, None);
        for tag in lane.tags.into_iter().flatten() {
            self.routes.remove(tag, place);
        }
        if let Some(instance) = lane.awaiting {
            self.awaiting.remove(&instance);
        }
        Ok(())
    }

    /// How many lanes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The machine of a lane, to look at.
    #[must_use]
    pub fn lane(&self, id: LaneId) -> Option<&Peer> {
        self.lanes.get(*self.names.get(&id)?).map(|lane| &lane.peer)
    }

    /// The lanes of a pair, in order.
    pub fn lanes_of(&self, pair: PeerHandle) -> impl Iterator<Item = LaneId> + '_ {
        self.names.range(recovery::lanes_of(pair)).map(|(id, _)| *id)
    }

    /// How many messages were discarded, and why, by the table and by all its machines.
    #[must_use]
    pub const fn discards(&self) -> &DiscardCounters {
        &self.discards
    }

    /// Whether first messages need a cookie at `now`.
    #[must_use]
    pub fn is_under_load(&mut self, now: Instant) -> bool {
        let now = self.clock.observe(now);
        self.load.is_over(now)
    }

    /// Takes one whole message that arrived on the path `from`, for whichever machine it is.
    ///
    /// # Errors
    /// None: what arrives is at worst discarded.
    pub fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, TableError> {
        let now = self.clock.observe(now);
        match self.route(now, rng, from, message)? {
            Ok(()) => Ok(Disposition::Accepted),
            Err(reason) => Ok(self.discards.discard(reason)),
        }
    }

    fn route(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Result<(), DiscardReason>, TableError> {
        let Ok(decoded) = Message::decode(message) else { return Ok(Err(DiscardReason::Malformed)) };
        let Some(tag) = Tag::of(&decoded) else { return Ok(Err(DiscardReason::Malformed)) };
        let candidates = self.routes.find(tag);
        if candidates.as_slice().is_empty() {
            return Ok(Err(DiscardReason::UnknownPeer));
        }
        let message_type = decoded.message_type();
        let is_third = matches!(message_type, MessageType::THIRD | MessageType::THIRD_LONG);
        if is_third && self.sources.is_shut(from, now) {
            return Ok(Err(DiscardReason::Busy));
        }
        if message_type == MessageType::FIRST {
            self.load.note(now);
        }
        let done = self.offer(&candidates, now, rng, from, message)?;
        if is_third && done == Err(DiscardReason::Unauthentic) {
            self.sources.note_forged(from, now);
        }
        Ok(done)
    }

    /// Offers a message to one machine after the other, until one takes it. There is more than one only where names
    /// collide.
    fn offer(
        &mut self,
        candidates: &Candidates,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Result<(), DiscardReason>, TableError> {
        // Machines with one name would each ask for a cookie of its own.
        let demanded = self.load.is_over(now) && candidates.as_slice().len() == 1;
        let mut refused = DiscardReason::UnknownPeer;
        for place in candidates.as_slice() {
            let Some(lane) = self.lanes.get_mut(*place) else { continue };
            lane.warm();
            lane.peer.demand_cookies(demanded);
            match lane.peer.handle_message(now, rng, from, message)? {
                Disposition::Discarded(DiscardReason::Busy) => refused = DiscardReason::Busy,
                Disposition::Discarded(reason) => {
                    if refused != DiscardReason::Busy {
                        refused = reason;
                    }
                    // A refusal of the peer's, or a block that is missed, is told all the same.
                    if !lane.peer.has_events() {
                        continue;
                    }
                }
                _ => {
                    let id = lane.id;
                    if lane.peer.owes_stale_notice() {
                        self.note_behind(*place);
                    }
                    self.touch(*place);
                    if id.is_recovery() {
                        self.tend_recovery(id.pair());
                    }
                    return Ok(Ok(()));
                }
            }
            // It may owe a cookie, or an event.
            self.touch(*place);
        }
        Ok(Err(refused))
    }

    /// Does what is due at `now`, in the machines whose time has come. Calling it too early is harmless.
    ///
    /// # Errors
    /// None.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), TableError> {
        let now = self.clock.observe(now);
        while let Some(place) = self.agenda.take_due(now) {
            let Some(lane) = self.lanes.get_mut(place) else { continue };
            lane.deadline = None;
            lane.peer.handle_timeout(now, rng)?;
            self.touch(place);
        }
        Ok(())
    }

    /// Learns that a record of some lane is durable, and releases what waited for it.
    ///
    /// # Errors
    /// [`TableError::Receipt`]: it is not for a checkpoint of a machine in this table. Nothing is released.
    pub fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), TableError> {
        let instance = receipt.instance();
        let place = *self.awaiting.get(&instance).ok_or(ReceiptError::Foreign)?;
        let lane = self.lanes.get_mut(place).ok_or(ReceiptError::Foreign)?;
        lane.peer.handle_persisted(receipt)?;
        lane.awaiting = None;
        let tended = (lane.id.is_recovery() || lane.peer.is_held()).then(|| lane.id.pair());
        self.awaiting.remove(&instance);
        self.touch(place);
        if let Some(pair) = tended {
            self.tend_recovery(pair);
        }
        Ok(())
    }

    /// The next thing to do; poll until [`Output::Wait`]. Its answer changes after any other call.
    pub fn poll_output(&mut self) -> Output<LaneRecord, Datagram, TableEvent> {
        while let Some(place) = self.agenda.first_ready() {
            if let Some(output) = self.poll_lane(place) {
                return output;
            }
        }
        Output::Wait(self.agenda.next_deadline())
    }

    /// The next output of a lane that is ready. `None`: ask again.
    fn poll_lane(&mut self, place: u32) -> Option<Output<LaneRecord, Datagram, TableEvent>> {
        let lane = self.lanes.get_mut(place)?;
        let id = lane.id;
        if core::mem::take(&mut lane.behind_untold) {
            return Some(Output::Event(TableEvent::PeerBehind(id)));
        }
        if core::mem::take(&mut lane.recovered_untold) {
            return Some(Output::Event(TableEvent::Recovered(id.pair())));
        }
        #[cfg(test)]
        {
            self.asked = self.asked.saturating_add(1);
        }
        match lane.peer.poll_output() {
            Output::Persist(checkpoint) => {
                lane.awaiting = Some(checkpoint.instance());
                self.awaiting.insert(checkpoint.instance(), place);
                Some(Output::Persist(checkpoint.map(|record| LaneRecord::new(id, record))))
            }
            Output::Transmit(transmit) => Some(Output::Transmit(transmit)),
            // That is told once the other lanes are enrolled.
            Output::Event(Event::Established(_) | Event::Resumed(_)) if id.is_recovery() => None,
            Output::Event(event) => Some(Output::Event(TableEvent::Lane(id, event))),
            Output::Wait(deadline) => {
                self.agenda.wait(place, lane, deadline);
                None
            }
        }
    }

    /// Whether `more` lanes of this configuration fit, and how the one that it names is called.
    fn check_room(&self, config: &PeerConfig<'_>, more: usize) -> Result<LaneId, TableError> {
        let id = config.lane_id();
        if self.names.contains_key(&id) {
            return Err(TableError::LaneInUse);
        }
        let most = usize::try_from(self.config.max_lanes).unwrap_or(usize::MAX);
        if self.names.len().saturating_add(more) > most {
            return Err(TableError::TableFull);
        }
        Ok(id)
    }

    fn add(&mut self, id: LaneId, peer: Peer) -> Result<LaneId, TableError> {
        let mut lane = Lane::new(id, peer);
        if id.is_recovery() && self.is_recovery_due(id.pair()) {
            lane.peer.allow_recovery();
        }
        let place = self.lanes.insert(lane).ok_or(TableError::TableFull)?;
        self.names.insert(id, place);
        self.touch(place);
        self.tend_recovery(id.pair());
        Ok(id)
    }

    fn place(&self, id: LaneId) -> Result<u32, TableError> {
        self.names.get(&id).copied().ok_or(TableError::UnknownLane)
    }

    /// The machine in this place was given something: its names may have changed, and it may have something to say.
    fn touch(&mut self, place: u32) {
        let Some(lane) = self.lanes.get_mut(place) else { return };
        let tags = lane.peer.tags();
        for (old, new) in lane.tags.iter_mut().zip(tags) {
            if *old != new {
                if let Some(old) = *old {
                    self.routes.remove(old, place);
                }
                if let Some(new) = new {
                    self.routes.insert(new, place);
                }
                *old = new;
            }
        }
        self.agenda.make_ready(place, lane);
    }
}

impl core::fmt::Debug for PeerTable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PeerTable")
            .field("lanes", &self.len())
            .field("routes", &self.routes.len())
            .finish_non_exhaustive()
    }
}

skex_core::machine_by_own_methods!([] PeerTable, LaneRecord, Datagram, TableEvent, TableError);
