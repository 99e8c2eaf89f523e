//! One end of a link: its consumer, its keys and its rotation.

use core::time::Duration;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use skex_core::export::End;
use skex_core::machine::{Instant, PeerHandle};
use skex_core::rotation::{MAX_GENERATIONS, Rotation, RotationConfig, RotationError, RotationEvent};

use super::channel::{Channel, ChannelEvent};
use super::keys::{Held, Keys, Waiting};
use crate::clock::Clock;
use crate::consumer::{Consumer, Failure, Known};
use crate::driver::{Driver, Paths, bind, resolve};
use crate::entropy::Entropy;
use crate::report::{Report, Reporter, RotationReport};
use crate::store::Slots;

/// How the link is set up.
pub(super) struct Settings<'a> {
    pub(super) bind: &'a str,
    pub(super) peer: Option<&'a str>,
    pub(super) every: Option<Duration>,
    pub(super) grace: Option<Duration>,
}

/// How often a consumer is asked that is away, or that is to confirm.
const OFTEN: Duration = Duration::from_millis(500);

/// How often a consumer is looked at that seems well.
const WATCH: Duration = Duration::from_secs(2);

/// How long a key may take, before another is made.
const KEY_TIME: Duration = Duration::from_secs(5);

/// What names the records: there is one rotation in its file.
const MACHINE: [u8; 8] = *b"skexlink";

pub(super) struct Link {
    driver: Driver<Channel>,
    keys: Keys,
    held: Vec<Held>,
    waiting: Vec<Waiting>,
    consumer: Box<dyn Consumer>,
    end: End,
    reporter: Reporter,
    every: Option<Duration>,
    /// Why the consumer is away, as it was told.
    away: Option<String>,
    /// The rotation knows what the consumer holds.
    is_known: bool,
    /// When to look at the consumer again.
    look: Instant,
    /// The generation that the consumer was told to transmit with, and was not seen to use yet.
    unconfirmed: Option<u64>,
    /// When to make the next key.
    next_key: Option<Instant>,
    /// How often in a row a key was made in vain.
    in_vain: u32,
    /// The last refusal that was told, so that each is told once.
    refused: Option<String>,
}

impl Link {
    pub(super) fn open(
        directory: &Path,
        end: End,
        consumer: Box<dyn Consumer>,
        settings: Settings<'_>,
        reporter: Reporter,
    ) -> Result<Self> {
        let keys = Keys::open(directory, end)?;
        let mut entropy = Entropy::open()?;
        let clock = Clock::start();
        let address = settings.peer.map(resolve).transpose()?;
        let peer = PeerHandle::new(0);
        let socket = bind(settings.bind)?;
        let habits = consumer.habits();
        let config = RotationConfig::new(MACHINE, peer)
            .reinstall(habits.reinstall)
            .grace(settings.grace.unwrap_or(habits.grace));
        let path = directory.join("rotation.slots");
        if !path.try_exists().unwrap_or(true) {
            drop(Slots::create(&path, 1)?);
        }
        let (slots, contents) = Slots::open(&path)?;
        let restored = Rotation::restore(config, contents.slots(0), clock.now(), &mut entropy)
            .context("the stored state of the link cannot be used")?;
        let rotation = match restored {
            Some(rotation) => rotation,
            None => Rotation::new(config, clock.now(), &mut entropy),
        };
        let channel = Channel::new(rotation, end, peer);
        let driver = Driver::start(channel, slots, socket, Paths::new(vec![address]), clock, entropy)?;
        let address = driver.local_address()?.to_string();
        reporter.tell(&Report::Ready { name: format!("link for {}", consumer.name()), address })?;
        let now = driver.now();
        Ok(Self {
            driver,
            keys,
            held: Vec::new(),
            waiting: Vec::new(),
            consumer,
            end,
            reporter,
            every: settings.every,
            away: None,
            is_known: false,
            look: now,
            unconfirmed: None,
            next_key: settings.every.map(|_| now),
            in_vain: 0,
            refused: None,
        })
    }

    /// Takes up what was there at the last end of the program.
    pub(super) fn begin(&mut self) -> Result<()> {
        let status = self.driver.machine.rotation.status();
        for held in self.keys.held()? {
            let generation = held.generation;
            let kept = status.holds.contains(&generation) || status.keeps.contains(&generation);
            if generation > status.newest {
                // The program ended between the key's file and the rotation's record.
                self.take(held)?;
            } else if kept {
                self.driver.machine.add(&held.status, Some(generation));
                self.held.push(held);
            } else {
                self.keys.erase(generation)?;
            }
        }
        // A generation counts as one that is in use if the schedule is only to go on.
        if let (Some(every), true) = (self.every, status.transmit != 0) {
            self.next_key = Some(self.driver.now().saturating_add(every));
        }
        self.serve()
    }

    pub(super) fn sources(&self) -> [BorrowedFd<'_>; 2] {
        self.driver.sources()
    }

    /// How long the link can be left alone.
    pub(super) fn patience(&self) -> Duration {
        let now = self.driver.now();
        let own = [self.next_key, Some(self.look)].into_iter().flatten();
        let own = own.map(|due| due.saturating_since(now));
        own.chain(self.driver.patience()).min().unwrap_or(WATCH)
    }

    /// Does what is due, without waiting.
    pub(super) fn serve(&mut self) -> Result<()> {
        let now = self.driver.now();
        self.driver.wait(Some(now), None)?;
        self.take_inbox()?;
        if self.driver.now() >= self.look {
            self.look_at_consumer()?;
        }
        while let Some(event) = self.driver.next_event() {
            match event {
                ChannelEvent::Rotation(event) => self.obey(event)?,
                ChannelEvent::Numbered { name, generation } => self.number(name, generation)?,
                ChannelEvent::RolledBack => self.tell(
                    "rolled back",
                    0,
                    "the other end knows more of this link than this end: its directory `link` was lost, or is an old copy; \
                     stop both ends, remove the directory `link` of both, and start them again",
                )?,
            }
        }
        Ok(())
    }

    pub(super) fn want_key(&mut self) {
        self.next_key = Some(self.driver.now());
    }

    /// Whether a key is to be made now. Asked again only after it had its time.
    pub(super) fn wants_key(&mut self) -> Result<bool> {
        let now = self.driver.now();
        if self.next_key.is_none_or(|due| due > now) {
            return Ok(false);
        }
        let room = self.has_room()?;
        self.next_key = Some(now.saturating_add(if room { KEY_TIME } else { OFTEN }));
        Ok(room)
    }

    /// Whether another generation can be taken. If not, the rotation is made to look for room.
    fn has_room(&mut self) -> Result<bool> {
        let status = self.driver.machine.rotation.status();
        let here = status.holds.iter().chain(&status.keeps).filter(|generation| **generation != 0).count();
        if here < MAX_GENERATIONS {
            return Ok(true);
        }
        let next = status.newest.saturating_add(1);
        let _full = self.driver.call(|channel, now, _| channel.rotation.ready(now, next))?;
        Ok(false)
    }

    /// Keys that the protocol brought. End A numbers them; end B hears their numbers.
    fn take_inbox(&mut self) -> Result<()> {
        let here = fs::read_dir(self.keys.inbox()).context("cannot read the inbox of the link")?.count();
        if here != self.waiting.len() {
            self.waiting = self.keys.waiting(&self.held)?;
            self.driver.machine.forget_waiting();
            if self.end == End::B {
                self.waiting.iter().for_each(|waiting| self.driver.machine.add(&waiting.status, None));
            }
        }
        while self.end == End::A && !self.waiting.is_empty() && self.has_room()? {
            let waiting = self.waiting.remove(0);
            let rotation = &self.driver.machine.rotation;
            let newest = rotation.status().newest.max(rotation.peer_newest());
            let generation = newest.saturating_add(1);
            self.adopt(waiting, generation)?;
        }
        Ok(())
    }

    fn number(&mut self, name: [u8; 16], generation: u64) -> Result<()> {
        let Some(place) = self.waiting.iter().position(|waiting| *waiting.status.name() == name) else {
            return Ok(());
        };
        let passed_over = generation <= self.driver.machine.rotation.status().newest;
        if !passed_over && !self.has_room()? {
            // The number is said again.
            return Ok(());
        }
        let waiting = self.waiting.remove(place);
        if passed_over {
            self.keys.erase_waiting(&waiting)?;
            self.driver.machine.forget_name(&name);
            return Ok(());
        }
        self.adopt(waiting, generation)
    }

    fn adopt(&mut self, waiting: Waiting, generation: u64) -> Result<()> {
        let held = self.keys.adopt(waiting, generation, self.consumer.as_ref())?;
        self.take(held)
    }

    /// A key that has a generation, in its file.
    fn take(&mut self, held: Held) -> Result<()> {
        let generation = held.generation;
        let name = held.material.name.clone();
        let ready = self.driver.call(|channel, now, _| channel.ready(now, &held.status, generation))?;
        self.held.push(held);
        match ready {
            Ok(()) => {
                self.next_key = self.every.map(|every| self.driver.now().saturating_add(every));
                self.tell("key", generation, &name)
            }
            Err(RotationError::Full) => {
                self.drop_key(generation)?;
                self.next_key = self.next_key.map(|_| self.driver.now().saturating_add(KEY_TIME));
                self.tell("put off", generation, "earlier rotations are not finished")
            }
            Err(error) => Err(anyhow!("generation {generation}: {error}")),
        }
    }

    fn drop_key(&mut self, generation: u64) -> Result<()> {
        self.driver.machine.forget(generation);
        self.held.retain(|held| held.generation != generation);
        self.keys.erase(generation)
    }

    /// Carries an order out, and answers it.
    fn obey(&mut self, event: RotationEvent) -> Result<()> {
        match event {
            RotationEvent::Install(generation) => {
                let done = self.with_key(generation, |consumer, key| consumer.install(key));
                if matches!(done, Some(Ok(()))) {
                    self.in_vain = 0;
                }
                self.answer(event, done, |rotation, now| rotation.installed(now, generation))
            }
            // An order that another one has overtaken.
            RotationEvent::SwitchTransmit(generation)
                if generation != self.driver.machine.rotation.target() =>
            {
                Ok(())
            }
            RotationEvent::SwitchTransmit(generation) => {
                let done = self.with_key(generation, |consumer, key| consumer.switch_transmit(key));
                if matches!(done, Some(Ok(()))) {
                    self.unconfirmed = Some(generation);
                    self.look = self.driver.now();
                }
                self.answer(event, done, |rotation, now| rotation.switched(now, generation))
            }
            RotationEvent::Retire(generation) => {
                // Without its key nothing can be told to the consumer, and nothing more be kept.
                let done = self.with_key(generation, |consumer, key| consumer.retire(key)).unwrap_or(Ok(()));
                if done.is_ok() {
                    self.drop_key(generation)?;
                }
                self.answer(event, Some(done), |rotation, now| rotation.retired(now, generation))
            }
            RotationEvent::Report => self.look_at_consumer(),
            RotationEvent::Rotated(generation) => {
                self.tell("rotated", generation, "both ends transmit with it")
            }
            RotationEvent::Overdue(generation) => {
                self.want_key_if_pacing();
                self.tell("overdue", generation, "the other end lacks the key, or is not reached")
            }
            RotationEvent::Lost(generation) => {
                self.drop_key(generation)?;
                self.want_key();
                self.tell(
                    "lost",
                    generation,
                    "the consumer lost it, and must not get it again: making another",
                )
            }
            RotationEvent::Refused(generation) => {
                self.drop_key(generation)?;
                self.want_key_later();
                self.tell("given up", generation, "making another key")
            }
            RotationEvent::PeerLost(generation) => {
                self.want_key();
                self.tell("lost by the peer", generation, "making another key")
            }
            _ => Ok(()),
        }
    }

    /// A key that was made in vain: the next one has more time, up to a minute.
    fn want_key_later(&mut self) {
        let delay = Duration::from_secs(1_u64 << self.in_vain.min(6));
        self.in_vain = self.in_vain.saturating_add(1);
        self.next_key = Some(self.driver.now().saturating_add(delay));
    }

    fn want_key_if_pacing(&mut self) {
        if self.every.is_some() {
            self.want_key();
        }
    }

    /// `None`: the key is not here any more.
    fn with_key(
        &mut self,
        generation: u64,
        order: impl FnOnce(&mut dyn Consumer, Known<'_>) -> Result<(), Failure>,
    ) -> Option<Result<(), Failure>> {
        let held = self.held.iter().find(|held| held.generation == generation)?;
        Some(order(self.consumer.as_mut(), held.known()))
    }

    fn answer(
        &mut self,
        order: RotationEvent,
        done: Option<Result<(), Failure>>,
        answer: impl FnOnce(&mut Rotation, Instant) -> Result<(), RotationError>,
    ) -> Result<()> {
        let (step, generation) = words(order);
        match done {
            Some(Ok(())) => {
                self.refused = None;
                match self.driver.call(|channel, now, _| answer(&mut channel.rotation, now))? {
                    Ok(()) => self.tell(step, generation, ""),
                    // The rotation went on while the order was on its way.
                    Err(RotationError::Unexpected) => Ok(()),
                    Err(error) => Err(anyhow!("generation {generation}: {error}")),
                }
            }
            Some(Err(Failure::Away(why))) => self.is_away(why),
            Some(Err(Failure::Refused(why))) => self.refuse(order, &format!("the consumer refuses: {why}")),
            None => self.refuse(order, "its key is not here any more"),
        }
    }

    fn refuse(&mut self, order: RotationEvent, why: &str) -> Result<()> {
        match self.driver.call(|channel, now, _| channel.rotation.refused(now, order))? {
            Ok(()) | Err(RotationError::Unexpected) => {}
            Err(error) => return Err(anyhow!("{error}")),
        }
        let (step, generation) = words(order);
        let text = format!("not {step}: {why}");
        if self.refused.as_ref() != Some(&text) {
            self.refused = Some(text.clone());
            self.tell("refused", generation, &text)?;
        }
        Ok(())
    }

    fn is_away(&mut self, why: String) -> Result<()> {
        self.look = self.driver.now().saturating_add(OFTEN);
        if self.away.as_ref() == Some(&why) {
            return Ok(());
        }
        let text = format!("{} is away: {why}", self.consumer.name());
        self.away = Some(why);
        self.tell("away", 0, &text)
    }

    /// Sees what the consumer holds, and tells the rotation where it is not what it should be.
    fn look_at_consumer(&mut self) -> Result<()> {
        self.look = self.driver.now().saturating_add(WATCH);
        let known: Vec<Known<'_>> = self.held.iter().map(Held::known).collect();
        let holding = match self.consumer.holding(&known) {
            Ok(holding) => holding,
            Err(Failure::Away(why) | Failure::Refused(why)) => return self.is_away(why),
        };
        let came_back = self.away.take().is_some();
        let rotation = &self.driver.machine.rotation;
        let status = rotation.status();
        let lost = status.holds.iter().any(|held| *held != 0 && !holding.generations.contains(held));
        let strays = status.transmit == status.target
            && status.target != 0
            && holding.transmitting != Some(status.target);
        if came_back || lost || strays || !self.is_known {
            self.is_known = true;
            self.driver.call(|channel, now, _| {
                channel.rotation.consumer_state(now, &holding.generations, holding.transmitting);
            })?;
            let mut text = format!("{} holds {:?}", self.consumer.name(), holding.generations);
            if let Some(transmitting) = holding.transmitting {
                text.push_str(&format!(", transmits with {transmitting}"));
            }
            self.tell(if came_back { "back" } else { "seen" }, status.target, &text)?;
        }
        self.confirm()
    }

    /// Sees whether the consumer uses what it was told to.
    fn confirm(&mut self) -> Result<()> {
        let Some(generation) = self.unconfirmed else { return Ok(()) };
        let Some(held) = self.held.iter().find(|held| held.generation == generation) else {
            self.unconfirmed = None;
            return Ok(());
        };
        match self.consumer.confirm(held.known()) {
            Ok(true) => {
                self.unconfirmed = None;
                let text = format!("{} is seen to use it", self.consumer.name());
                self.tell("in use", generation, &text)
            }
            Ok(false) => {
                self.look = self.driver.now().saturating_add(OFTEN);
                Ok(())
            }
            Err(Failure::Away(why) | Failure::Refused(why)) => self.is_away(why),
        }
    }

    fn tell(&self, step: &str, generation: u64, text: &str) -> Result<()> {
        let (step, text) = (step.to_owned(), text.to_owned());
        self.reporter.tell(&Report::Rotation(RotationReport { step, generation, text }))
    }
}

fn words(order: RotationEvent) -> (&'static str, u64) {
    match order {
        RotationEvent::Install(generation) => ("installed", generation),
        RotationEvent::SwitchTransmit(generation) => ("switched", generation),
        RotationEvent::Retire(generation) => ("retired", generation),
        _ => ("done", 0),
    }
}
