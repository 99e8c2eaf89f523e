//! A peer that runs: each session gives one key, the first that its initiator names.

use core::time::Duration;
use std::os::fd::BorrowedFd;

use anyhow::{Context, Result, anyhow, bail};
use skex_core::export::End;
use skex_core::machine::{DiscardReason, Instant, PeerHandle};
use skex_core::{KeyId, Label, OutputKey};
use skex_unmediated::{Event, ExportError, Peer, Role, Session, Side, index_owner};

use super::mixing::Mixing;
use crate::control::{Orders, Read};
use crate::driver::{Driver, resolve};
use crate::feed::Source;
use crate::keys::{KeyOutlet, assurance};
use crate::report::{CountersReport, KeyReport, Report, Reporter};
use crate::store::DirectoryLock;

pub(super) struct Running {
    driver: Driver<Peer>,
    _lock: DirectoryLock,
    peer: String,
    outlet: KeyOutlet,
    mixing: Mixing,
    reporter: Reporter,
    /// When the handshake of ours began that is not over.
    began: Option<std::time::Instant>,
    /// A session whose key waits for something to be stored first: the other end began another handshake meanwhile.
    put_off: Option<Session>,
    /// Whether it was said that somebody is not the other end.
    stranger_told: bool,
}

/// What an event means for a command that waits for one.
enum News {
    /// A key, and whether this end asked for it.
    Key {
        initiator: bool,
    },
    Unanswered,
    Other,
}

/// What the keys are for: whoever takes them from their files.
const LABEL: Label = Label::EXPORT_RAW;

impl Running {
    pub(super) const fn new(
        driver: Driver<Peer>,
        lock: DirectoryLock,
        peer: String,
        outlet: KeyOutlet,
        mixing: Mixing,
        reporter: Reporter,
    ) -> Self {
        Self {
            driver,
            _lock: lock,
            peer,
            outlet,
            mixing,
            reporter,
            began: None,
            put_off: None,
            stranger_told: false,
        }
    }

    /// Answers until `count` keys are there, or the process is stopped.
    pub(super) fn listen(&mut self, count: Option<u32>) -> Result<()> {
        let mut done = 0_u32;
        while count.is_none_or(|count| done < count) {
            self.wait(None, None)?;
            for event in self.events() {
                if let News::Key { .. } = self.take(event)? {
                    done = done.saturating_add(1);
                }
            }
        }
        Ok(())
    }

    /// Makes `count` keys, one after the other.
    pub(super) fn connect(&mut self, address: &str, count: u32, timeout: Duration) -> Result<()> {
        for _ in 0..count {
            self.establish()?;
            let end = self.driver.now().saturating_add(timeout);
            self.await_own_key(address, end)?;
        }
        Ok(())
    }

    fn await_own_key(&mut self, address: &str, end: Instant) -> Result<()> {
        while self.driver.now() < end {
            self.wait(Some(end), None)?;
            for event in self.events() {
                match self.take(event)? {
                    News::Key { initiator: true } => return Ok(()),
                    News::Unanswered => bail!(
                        "nobody answered at {address}: is `skex peer listen` running there, enrolled as the other end \
                         with the same secret? Nothing is lost: try again"
                    ),
                    _ => {}
                }
            }
        }
        bail!(
            "no key in time from {address}: is `skex peer listen` running there, enrolled as the other end with the same \
             secret, and neither brought back from a copy? Nothing is lost: try again, and the handshake goes on where it \
             stopped"
        )
    }

    fn establish(&mut self) -> Result<()> {
        self.began = Some(std::time::Instant::now());
        self.repeat().map(|_| ())
    }

    /// Which end of the pair this is, to its consumers.
    pub(super) fn end(&self) -> End {
        if self.driver.machine.side() == Side::A { End::A } else { End::B }
    }

    /// Does as it is told on the standard input, until that ends.
    pub(super) fn steered(&mut self, mut orders: Orders) -> Result<()> {
        loop {
            let order = self.wait(None, Some(orders.source()))?;
            for event in self.events() {
                self.take(event)?;
            }
            if order {
                match orders.read()? {
                    Read::End => return Ok(()),
                    Read::Orders(lines) => lines.iter().try_for_each(|line| self.obey(line))?,
                }
            }
        }
    }

    fn obey(&mut self, order: &str) -> Result<()> {
        match order.split(' ').collect::<Vec<_>>().as_slice() {
            ["peer", address] => {
                self.driver.paths.set_only_peer(resolve(address)?);
                Ok(())
            }
            ["connect"] => self.establish(),
            ["counters"] => {
                let (traffic, syncs) = (self.driver.traffic(), self.driver.syncs());
                self.reporter.tell(&Report::Counters(CountersReport { traffic, pad_octets_left: 0, syncs }))
            }
            _ => bail!("unknown order: {order}"),
        }
    }

    /// See [`Driver::wait`]. Says once if messages come from somebody else than the other end: it waits in vain, perhaps.
    fn wait(&mut self, until: Option<Instant>, orders: Option<BorrowedFd<'_>>) -> Result<bool> {
        let order = self.driver.wait(until, orders)?;
        let strangers = self.driver.machine.discards().count(DiscardReason::UnknownPeer);
        if strangers > 0 && !core::mem::replace(&mut self.stranger_told, true) {
            self.reporter.note(
                "a message came that is not of the other end as it is known here. If no key comes: are both enrolled with the same \
                 secret, and is neither directory brought back from a copy?",
            )?;
        }
        Ok(order)
    }

    /// What happened, and what was put off: where it is still too early, it is put off again. A session that has ended gives nothing.
    fn events(&mut self) -> Vec<Event> {
        let live = self.driver.machine.session().map(|session| session.id);
        let again = self.put_off.take().filter(|session| live == Some(session.id)).map(Event::Established);
        again.into_iter().chain(core::iter::from_fn(|| self.driver.next_event())).collect()
    }

    /// Carries out what an event asks for, and tells it.
    fn take(&mut self, event: Event) -> Result<News> {
        match event {
            // A handshake of before this start came to its end: it gives no key here any more, but the next one does.
            Event::Established(session) if session.role == Role::Initiator && !session.may_name => {
                self.repeat()
            }
            Event::Established(session) if session.role == Role::Initiator => self.name_key(session),
            Event::Established(session) => self.ask_for_key(session),
            Event::Resumed(session) if session.role == Role::Responder => self.ask_for_key(session),
            Event::Resumed(session) => {
                self.reporter.note(format!("session {} is there still", session.id))?;
                Ok(News::Other)
            }
            Event::KeyReady(key) => self.tell_key(key, false),
            Event::Unanswered => {
                self.began = None;
                self.reporter.note("nobody answered")?;
                Ok(News::Unanswered)
            }
            // One end was restarted in the middle of a handshake. Both are in the next epoch; the next handshake is good.
            Event::Void(_) | Event::PeerVoid(_) => {
                self.reporter
                    .note("a handshake was cut in two by a restart, and gives no keys; the next one does")?;
                self.repeat()
            }
            Event::RolledBack => bail!(
                "the peer is ahead: this directory was brought back from an old copy, or copied and run twice; enrol \
                 both ends anew, with a new secret"
            ),
            Event::MixStored => self.blocks_are_stored(),
            Event::MixRefused => {
                self.reporter.note(
                    "one end requires a block, and none is in common: give both ends the same with --block, or --withdraw-blocks \
                     first where two others are held",
                )?;
                Ok(News::Other)
            }
            Event::MixLost => bail!(
                "the peer has used a block that this directory has lost: give it again with --block; without it, only a new enrolment \
                 of both ends helps"
            ),
            _ => Ok(News::Other),
        }
    }

    /// The blocks are durable here: every other copy is one too many.
    fn blocks_are_stored(&self) -> Result<News> {
        for path in self.mixing.after_storing()? {
            self.reporter.note(format!("the block is stored: erase {} now", path.display()))?;
        }
        Ok(News::Other)
    }

    /// Another handshake, if this end still waits for the key of its last one.
    fn repeat(&mut self) -> Result<News> {
        if self.began.is_some() {
            let begun = self.driver.call(|peer, now, rng| peer.establish(now, rng))?;
            begun.map_err(|error| anyhow!("no handshake with {}: {error}", self.peer))?;
        }
        Ok(News::Other)
    }

    /// The initiator names the first key of a session.
    fn name_key(&mut self, session: Session) -> Result<News> {
        self.note_mixed(session)?;
        let named = self.driver.call(|peer, _, _| peer.export_next(LABEL, b""))?;
        if matches!(named, Err(ExportError::Busy)) {
            return Ok(self.put_off(session));
        }
        let key = named.with_context(|| format!("session {} gives no key", session.id))?;
        self.tell_key(key, true)
    }

    /// The responder asks for the same one. It comes as an event, once its erasure is durable.
    fn ask_for_key(&mut self, session: Session) -> Result<News> {
        self.note_mixed(session)?;
        let initiator = self.driver.machine.side().other();
        let (id, index) = (session.id, first_index(initiator));
        match self.driver.call(|peer, _, _| peer.export_at(id, index, LABEL, b""))? {
            Ok(()) => Ok(News::Other),
            Err(ExportError::Used) => {
                self.reporter.tell(&Report::Gone { key_id: id.to_string() })?;
                Ok(News::Other)
            }
            Err(ExportError::Busy) => Ok(self.put_off(session)),
            Err(error) => Err(anyhow!("session {id} gives no key: {error}")),
        }
    }

    /// A later session takes the place of an earlier one, which has ended then.
    const fn put_off(&mut self, session: Session) -> News {
        self.put_off = Some(session);
        News::Other
    }

    fn note_mixed(&self, session: Session) -> Result<()> {
        if session.mixed {
            self.reporter.note(format!("a block was mixed into session {}", session.id))?;
        }
        Ok(())
    }

    fn tell_key(&mut self, key: OutputKey, initiator: bool) -> Result<News> {
        let (id, index, secrecy): (KeyId, u64, String) = (key.id(), key.index(), assurance(key.assurance()));
        let began = if initiator { self.began.take() } else { None };
        let micros = began.map_or(0, |began| u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        let (fingerprint, file) = self.outlet.put(key)?;
        self.reporter.tell(&Report::Key(KeyReport {
            key_id: id.to_string(),
            index,
            peer: self.peer.clone(),
            initiator,
            fingerprint: fingerprint.to_string(),
            assurance: secrecy,
            micros,
            file,
            traffic: self.driver.traffic(),
        }))?;
        Ok(News::Key { initiator })
    }
}

impl Source for Running {
    fn sources(&self) -> [BorrowedFd<'_>; 2] {
        self.driver.sources()
    }

    fn patience(&self) -> Option<Duration> {
        self.driver.patience()
    }

    fn serve(&mut self) -> Result<bool> {
        let now = self.driver.now();
        self.wait(Some(now), None)?;
        let mut came = false;
        for event in self.events() {
            came |= matches!(self.take(event)?, News::Key { .. });
        }
        Ok(came)
    }

    fn establish(&mut self) -> Result<()> {
        // Only who knows where the other end is can begin.
        if self.driver.paths.address_of_peer(PeerHandle::new(0)).is_some() {
            Self::establish(self)?;
        }
        Ok(())
    }
}

/// The first index of a side's own chain.
fn first_index(side: Side) -> u64 {
    if index_owner(0) == side { 0 } else { 1 << 63 }
}
