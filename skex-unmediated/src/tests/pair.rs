//! Two peers, their stores, and what lies between them.

use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use skex_core::machine::{Destination, Disposition, Instant, Output, PathId};
use skex_core::{KeyId, Label, OutputKey, SecretBytes, Suite};

use crate::{Error, Event, MixBlock, MixPolicy, Peer, PeerConfig, Side};

/// A block that no step of a test provides.
const NEW: u8 = 0xee;

pub(super) const SECRET: [u8; 32] = [0x5e; 32];

/// What a test chooses of both configurations.
#[derive(Clone, Copy, Default)]
pub(super) struct Options {
    pub(super) suite: Option<Suite>,
    pub(super) consumer: bool,
    pub(super) stateless: bool,
    pub(super) only: Option<&'static [Suite]>,
    /// First messages are not repeated, so that an attempt ends with its first timeout.
    pub(super) one_try: bool,
    pub(super) lane: u8,
    /// Of the exporter; 0 is the default.
    pub(super) window: u8,
    pub(super) mix: Option<MixPolicy>,
    /// Both ends hold one block of fresh secret material from the enrolment on.
    pub(super) block: bool,
}

/// A block of fresh secret material.
pub(super) fn block(octet: u8) -> MixBlock {
    MixBlock::new(SecretBytes::copied_from(&[octet; 32]))
}

pub(super) fn config(side: Side, options: Options) -> PeerConfig<'static> {
    let (own, peer): (&[u8], &[u8]) = if side == Side::A { (b"alice", b"bob") } else { (b"bob", b"alice") };
    let mut config = PeerConfig::new(side, own, peer).stateless(options.stateless).lane(options.lane);
    if let Some(suite) = options.suite {
        config = config.initial_suite(suite);
    }
    if let Some(suites) = options.only {
        config = config.suites(suites);
    }
    if options.one_try {
        config = config.retransmit(core::time::Duration::from_secs(1), 1);
    }
    if let Some(policy) = options.mix {
        config = config.mix(policy);
    }
    if options.window > 0 {
        config = config.window(options.window);
    }
    if options.consumer {
        config = config.confirmation(crate::Confirmation::Consumer);
    }
    config
}

/// One end with its store. It crashes when its budget of steps is used up.
pub(super) struct End {
    pub(super) side: Side,
    pub(super) options: Options,
    pub(super) peer: Option<Peer>,
    pub(super) slots: [Vec<u8>; 2],
    pub(super) rng: ChaCha20Rng,
    pub(super) now: Instant,
    pub(super) sent: VecDeque<Vec<u8>>,
    pub(super) destinations: Vec<Destination>,
    pub(super) events: Vec<Event>,
    pub(super) keys: Vec<OutputKey>,
    /// Sessions that were told as good and not taken back, by epoch.
    pub(super) believed: BTreeMap<u64, KeyId>,
    /// The epoch of the last session that was told as confirmed.
    pub(super) accepted: u64,
    pub(super) writes: usize,
    pub(super) steps: usize,
    /// Crash before the step of this number: each part of a write, each sending, each event is one.
    pub(super) crash_at: Option<usize>,
}

impl End {
    pub(super) fn enrolled(side: Side, options: Options, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed * 2 + u64::from(side == Side::B));
        let peer = Peer::enrol(&config(side, options), &SECRET, Instant::ZERO, &mut rng).unwrap();
        let mut end = Self {
            side,
            options,
            peer: Some(peer),
            slots: [Vec::new(), Vec::new()],
            rng,
            now: Instant::ZERO,
            sent: VecDeque::new(),
            destinations: Vec::new(),
            events: Vec::new(),
            keys: Vec::new(),
            believed: BTreeMap::new(),
            accepted: 0,
            writes: 0,
            steps: 0,
            crash_at: None,
        };
        end.drain();
        if options.block {
            end.provide(1);
        }
        end
    }

    /// Provides a block of fresh secret material.
    pub(super) fn provide(&mut self, octet: u8) {
        self.peer().provide_mix(&block(octet)).unwrap();
        self.drain();
    }

    pub(super) fn peer(&mut self) -> &mut Peer {
        self.peer.as_mut().expect("this end is up")
    }

    /// Whether to crash here instead of taking the next step.
    fn crashes(&mut self) -> bool {
        if self.crash_at == Some(self.steps) {
            self.crash();
            return true;
        }
        self.steps += 1;
        false
    }

    pub(super) fn crash(&mut self) {
        self.peer = None;
        self.crash_at = None;
    }

    pub(super) fn boot(&mut self) {
        let config = config(self.side, self.options);
        let slots = [&self.slots[0][..], &self.slots[1][..]];
        self.peer = Some(Peer::restore(&config, slots, self.now, &mut self.rng).unwrap());
        self.drain();
    }

    /// Carries out what the machine wants.
    pub(super) fn drain(&mut self) -> Option<Instant> {
        loop {
            let output = self.peer.as_mut()?.poll_output();
            match output {
                Output::Persist(checkpoint) => {
                    if self.crash_at == Some(self.steps) {
                        self.leak();
                    }
                    if self.crashes() {
                        return None;
                    }
                    let slot = self.writes % 2;
                    self.slots[slot] = checkpoint.record().as_bytes().to_vec();
                    self.writes += 1;
                    if self.crashes() {
                        return None;
                    }
                    self.slots[1 - slot].fill(0);
                    if self.crashes() {
                        return None;
                    }
                    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
                    self.peer().handle_persisted(receipt).unwrap();
                }
                Output::Transmit(transmit) => {
                    if self.crashes() {
                        return None;
                    }
                    self.destinations.push(transmit.to);
                    self.sent.push_back(transmit.payload.as_bytes().to_vec());
                }
                Output::Event(event) => {
                    if self.crashes() {
                        return None;
                    }
                    self.note(event);
                }
                Output::Wait(deadline) => return deadline,
            }
        }
    }

    /// A write is under way and will never land: what leaves meanwhile is on the wire.
    fn leak(&mut self) {
        while let Some(peer) = self.peer.as_mut() {
            match peer.poll_output() {
                Output::Transmit(transmit) => self.sent.push_back(transmit.payload.as_bytes().to_vec()),
                Output::Event(event) => self.note(event),
                Output::Persist(_) | Output::Wait(_) => return,
            }
        }
    }

    /// What the store holds, without its sequence number.
    pub(super) fn durable(&self) -> &[u8] {
        let whole = self.slots.iter().find(|slot| slot.first() == Some(&b'S'));
        whole.map(|slot| &slot[26..slot.len() - 16]).unwrap_or_default()
    }

    /// Whose chain keys can be read from the store.
    fn stored_epochs(&self) -> impl Iterator<Item = u64> + '_ {
        // Behind the frame's 26 octets and two of the body's.
        let whole = self.slots.iter().filter(|slot| slot.first() == Some(&b'S'));
        whole.map(|slot| u64::from_be_bytes(slot[28..36].try_into().unwrap()))
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::KeyReady(key) => self.keys.push(key),
            event => {
                match &event {
                    Event::Established(session) | Event::Resumed(session) => {
                        self.believed.insert(session.epoch, session.id);
                        if session.confirmed {
                            self.accepted = self.accepted.max(session.epoch);
                        }
                    }
                    Event::PeerVoid(id) | Event::Void(id) | Event::Expired(id) => {
                        self.believed.retain(|_, believed| believed != id);
                    }
                    _ => {}
                }
                self.events.push(event);
            }
        }
    }

    pub(super) fn establish(&mut self) {
        let now = self.now;
        if let Some(peer) = self.peer.as_mut() {
            // Where a block is required and none is held, nothing begins.
            assert!(matches!(peer.establish(now, &mut self.rng), Ok(()) | Err(Error::NoBlock)));
            self.drain();
        }
    }

    /// The application has a new block, which the peer's has too. It withdraws others where there is no place for it.
    fn provide_new(&mut self) {
        if self.peer().provide_mix(&block(NEW)).is_err() {
            self.peer().withdraw_mixes();
            self.drain();
            // If there is no place still, the next attempt asks for one.
            let _ = self.peer().provide_mix(&block(NEW));
        }
        self.drain();
    }

    pub(super) fn deliver(&mut self, message: &[u8]) -> Option<Disposition> {
        self.deliver_from(PathId::new(1), message)
    }

    pub(super) fn deliver_from(&mut self, path: PathId, message: &[u8]) -> Option<Disposition> {
        let now = self.now;
        let disposition = self.peer.as_mut()?.handle_message(now, &mut self.rng, path, message).unwrap();
        self.drain();
        Some(disposition)
    }

    /// Lets the time come for which this end waits.
    pub(super) fn wake(&mut self) {
        if let Some(deadline) = self.drain() {
            self.now = self.now.max(deadline);
            self.timeout();
        }
    }

    /// The same, where that time is near.
    pub(super) fn wake_soon(&mut self) {
        let near = self.now.saturating_add(core::time::Duration::from_secs(600));
        if self.drain().is_some_and(|deadline| deadline <= near) {
            self.wake();
        }
    }

    pub(super) fn timeout(&mut self) {
        let now = self.now;
        if let Some(peer) = self.peer.as_mut() {
            peer.handle_timeout(now, &mut self.rng).unwrap();
            self.drain();
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.peer.as_ref().map_or(0, Peer::epoch)
    }

    /// Everything that an input could have changed, as far as it is not counters.
    pub(super) fn picture(&self) -> std::string::String {
        let peer = self.peer.as_ref().expect("this end is up");
        std::format!("{} {:?} {:?}", peer.fingerprint_for_tests(), self.slots, self.sent)
    }
}

/// Both ends.
pub(super) struct Pair {
    pub(super) a: End,
    pub(super) b: End,
    /// Every message that was sent, with its receiver.
    pub(super) recorded: Vec<(Side, Vec<u8>)>,
}

impl Pair {
    pub(super) fn new(options: Options) -> Self {
        Self::seeded(options, 1)
    }

    pub(super) fn seeded(options: Options, seed: u64) -> Self {
        Self {
            a: End::enrolled(Side::A, options, seed),
            b: End::enrolled(Side::B, options, seed),
            recorded: Vec::new(),
        }
    }

    pub(super) fn end(&mut self, side: Side) -> &mut End {
        if side == Side::A { &mut self.a } else { &mut self.b }
    }

    /// The next message on its way, if one is.
    pub(super) fn next_message(&mut self) -> Option<(Side, Vec<u8>)> {
        let next = match (self.a.sent.pop_front(), Side::B) {
            (Some(message), to) => Some((to, message)),
            (None, _) => self.b.sent.pop_front().map(|message| (Side::A, message)),
        };
        self.recorded.extend(next.clone());
        next
    }

    /// Delivers everything until nothing is on its way.
    pub(super) fn settle(&mut self) {
        while let Some((to, message)) = self.next_message() {
            let _ = self.end(to).deliver(&message);
        }
    }

    pub(super) fn handshake(&mut self, initiator: Side) {
        self.end(initiator).establish();
        self.settle();
    }

    /// First messages of this epoch that b made and that came to nothing. Some beat whatever a draws.
    pub(super) fn recorded_firsts(&mut self) -> Vec<Vec<u8>> {
        let mut recorded = Vec::new();
        for _ in 0..64 {
            self.b.establish();
            recorded.extend(self.b.sent.pop_front());
            for _ in 0..5 {
                self.b.wake();
            }
            self.b.sent.clear();
        }
        recorded
    }

    pub(super) fn assert_lives(&mut self, wants: Side) {
        if let Err(broken) = self.check_lives(wants) {
            panic!("{broken}");
        }
    }

    /// Both ends are up and honest, and nothing is lost any more: a new session must come of it.
    pub(super) fn check_lives(&mut self, wants: Side) -> Result<(), std::string::String> {
        for end in [&mut self.a, &mut self.b] {
            end.crash_at = None;
            if end.peer.is_none() {
                end.boot();
            }
            end.now = end.now.saturating_add(core::time::Duration::from_secs(1));
        }
        let before = self.a.epoch().max(self.b.epoch());
        for _ in 0..40 {
            if self.a.options.mix == Some(MixPolicy::Require) {
                self.a.provide_new();
                self.b.provide_new();
                // Who has no place for it asks, even if it does not want a session.
                self.end(wants.other()).establish();
                self.settle();
            }
            self.end(wants).establish();
            self.settle();
            self.confirm_if_consumer();
            self.check_safe()?;
            if self.agree().is_some_and(|epoch| epoch > before) {
                return Ok(());
            }
            self.a.wake_soon();
            self.b.wake_soon();
        }
        Err(std::format!("no new session: {:?} {:?}", self.a.peer, self.b.peer))
    }

    /// Where the consumer confirms, it does so as soon as both ends have the session.
    pub(super) fn confirm_if_consumer(&mut self) {
        for side in [Side::A, Side::B] {
            let other = self.end(side.other()).peer.as_ref().and_then(Peer::session);
            let end = self.end(side);
            let Some(peer) = end.peer.as_mut().filter(|_| end.options.consumer) else { continue };
            if let (Some(own), Some(other)) = (peer.session(), other)
                && own.id == other.id
            {
                peer.confirm(own.id).unwrap();
                end.drain();
            }
        }
    }

    /// The epoch of a session that both ends have.
    pub(super) fn agree(&self) -> Option<u64> {
        let (a, b) = (self.a.peer.as_ref()?.session()?, self.b.peer.as_ref()?.session()?);
        (a.id == b.id && a.epoch == b.epoch && a.confirmed && b.confirmed).then_some(a.epoch)
    }

    /// What must hold at any time.
    pub(super) fn assert_safe(&self) {
        if let Err(broken) = self.check_safe() {
            panic!("{broken}");
        }
    }

    pub(super) fn check_safe(&self) -> Result<(), &'static str> {
        if let (Some(a), Some(b)) = (&self.a.peer, &self.b.peer) {
            if a.epoch().abs_diff(b.epoch()) > 1 {
                return Err("the ends are more than one step apart");
            }
            if a.epoch() == b.epoch() && !a.same_chain_for_tests(b) {
                return Err("the ends are in one epoch with different chain keys");
            }
            if a.is_ahead() && b.is_ahead() && a.epoch() == b.epoch() {
                return Err("both ends are ahead");
            }
            for (end, other) in [(a, b), (b, a)] {
                if end.epoch() > other.epoch() && !end.is_ahead() {
                    return Err("a gap that nobody can heal");
                }
            }
        }
        // A chain key is gone, at both ends, before the session after it is accepted at either.
        let accepted = self.a.accepted.max(self.b.accepted);
        for end in [&self.a, &self.b] {
            let epoch_in_memory = end.peer.as_ref().map(Peer::epoch);
            if end.stored_epochs().chain(epoch_in_memory).any(|epoch| epoch < accepted) {
                return Err("a chain key outlives the acceptance of the session after it");
            }
        }
        for (epoch, id) in &self.a.believed {
            if self.b.believed.get(epoch).is_some_and(|other| other != id) {
                return Err("two different sessions are believed in one epoch");
            }
        }
        Ok(())
    }

    /// Both ends derive one key that the owner names.
    pub(super) fn assert_same_key(&mut self, owner: Side) {
        let key = self.end(owner).peer().export_next(Label::EXPORT_RAW, b"test").unwrap();
        let other = self.end(owner.other());
        other.peer().export_at(key.id(), key.index(), Label::EXPORT_RAW, b"test").unwrap();
        other.drain();
        assert_eq!(other.keys.pop().as_ref(), Some(&key));
        self.end(owner).peer().note_answer(key.id(), key.index()).unwrap();
    }
}
