//! The machine: one end of a pair, in both roles.
//!
//! ```text
//!  initiator                                   responder
//!     | -- first: pseudonym, nonce, offer, tag --> |   nothing is kept that could be flooded
//!     | <-- second: nonce, choice, tag ----------- |
//!  next epoch is durable                           |
//!     | -- third: tag ---------------------------> |
//!     |                              next epoch is durable
//!     | <-- fourth: status, tag ------------------ |
//! ```
//!
//! The chain key of the old epoch is gone at each end before the other can accept the session. Who moved first keeps
//! the third message, which in its long form lets the peer follow whatever it has forgotten.
//!
//! | durable link | first, this epoch | first, epoch before | second, this attempt | third, this epoch | third, epoch before | fourth |
//! |---|---|---|---|---|---|---|
//! | none | answer | stale notice | move ahead | follow | - | - |
//! | followed | answer | stale notice | move ahead | follow | repeat the fourth | - |
//! | ahead | confirm, then answer | long third | move ahead (consumer confirmed) | follow | - | confirm |
//!
//! Randomness is drawn in this order: at enrolment and restoration 8 octets (the instance of the barrier), then 32 (the
//! key of the responder's nonces and cookies); for each attempt 12 octets of its nonce. Nothing else draws any.

mod exports;
mod initiator;
mod limits;
mod mixing;
mod output;
mod recovery;
mod responder;
#[cfg(feature = "alloc")]
mod tags;
mod timers;

use rand_core::CryptoRng;
use skex_core::machine::{
    Barrier, Clock, Destination, DiscardCounters, DiscardReason, Disposition, Instant, Output, PathId,
    Receipt, Timers,
};
use skex_core::{HashSecret, SecretBytes, Suite};
use skex_wire::unmediated::{COOKIE_LEN, Message, NONCE_LEN, PSEUDONYM_LEN, Pseudonym, TAG_LEN};

use self::limits::Limits;
use self::output::{Due, Events, Sends};
#[cfg(feature = "alloc")]
pub(crate) use self::tags::{MAX_TAGS, Tag};
use self::timers::Timer;
use crate::bytes::{Datagram, Record};
use crate::config::{BINDING_LEN, Checked, MIN_SECRET, PeerConfig, Settings, Side};
use crate::error::{ConfigError, Error, RestoreError};
use crate::event::{Event, Session};
use crate::exporter::NamingChain;
use crate::record::{Link, Recovery, State, Status};
use crate::rules::{Rule, holds};
use crate::schedule::{self, MAC_KEY_LEN};

/// One end of an enrolled pair, on one lane.
///
/// It is enrolled once ([`enrol`](Self::enrol)) and restored at every later start ([`restore`](Self::restore)). Its
/// loop is that of every machine of the family: see `skex_core::machine`, and the example at the head of this crate.
///
/// # What the store must do
///
/// Keep the records of [`Output::Persist`] in two slots, written in turn, and give the receipt once the new record would
/// survive a loss of power **and the record before it cannot be read again** (overwritten or erased, and synced): it
/// holds the chain key of the epoch that is left. After a failed or unclear write drop the machine, read the slots and
/// restore.
pub struct Peer {
    binding: [u8; BINDING_LEN],
    settings: Settings,
    state: State,
    // Derived from the state's chain key.
    own_pseudonym: Pseudonym,
    peer_pseudonym: Pseudonym,
    peer_mac: SecretBytes<MAC_KEY_LEN>,
    // Durable bookkeeping.
    barrier: Barrier,
    // Until what was changed is durable, nothing leaves.
    gated: bool,
    dirty: bool,
    unsaved: bool,
    // Since this start only.
    boot: SecretBytes<32>,
    exchange: Exchange,
    naming: NamingChain,
    // The output whose key waits in its slot until its erasure is durable.
    released_number: Option<u16>,
    consumer_confirmed: bool,
    wanted: bool,
    rolled_back: bool,
    cookies_demanded: bool,
    limits: Limits,
    round: u32,
    highest_round: u32,
    heals: u8,
    // The low half of the time in milliseconds when the long third message left last.
    healed_at: u32,
    learned: PathId,
    has_learned: bool,
    // Where the last answer goes, or went.
    reply_path: PathId,
    // Blocks with which the peer may have moved on, by their slots: those that a second message of this epoch chose, and all
    // that were stored before this start.
    mix_needed: u8,
    due: Due,
    clock: Clock,
    timers: Timers<{ Timer::COUNT }>,
    discards: DiscardCounters,
    // What a test needs that removes `Rule::CurrentAttemptOnly`.
    #[cfg(test)]
    late: Option<Attempt>,
}

#[cfg(not(test))]
const _: () = assert!(size_of::<Peer>() <= if skex_core::MAX_HASH_LEN == 32 { 1024 } else { 1536 });

/// What is going on between the first and the third message. In memory only.
enum Exchange {
    Idle,
    /// We sent a first message.
    Attempt(Attempt),
    /// We answered one.
    Answered(Answered),
}

#[derive(Clone, Copy)]
struct Attempt {
    nonce: [u8; NONCE_LEN],
    flags: u8,
    sent: u8,
    // Which blocks of fresh secret material it offers, by their slots: bit n for slot n.
    mix_slots: u8,
    // Of its first message, the same each time.
    tag: [u8; TAG_LEN],
    cookie: Option<[u8; COOKIE_LEN]>,
    // Whether a cookie was taken since the last retransmission.
    cookie_taken: bool,
    // Whether the peer refused it, for want of a block in common.
    refused: bool,
}

struct Answered {
    suite: Suite,
    // The low half of its number, which tells it from all others while an answer lives.
    slot: u32,
    // The block of fresh secret material that was chosen.
    block: Option<u8>,
    // Written in place, and wiped there when an exchange ends.
    master: HashSecret,
}

impl Peer {
    /// A new end of a pair, in epoch 0. Both ends are enrolled with the same secret, at least 32 uniform octets that
    /// are used for nothing else; the caller wipes its copy once the first record is stored.
    ///
    /// Its first output is the record to store. It overwrites whatever was stored for this pair before.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn enrol(
        config: &PeerConfig<'_>,
        secret: &[u8],
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, ConfigError> {
        Self::enrol_after(0, config, secret, now, rng)
    }

    /// As [`enrol`](Self::enrol), where records up to `sequence` are in the slots: the new one outranks them.
    fn enrol_after(
        sequence: u64,
        config: &PeerConfig<'_>,
        secret: &[u8],
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, ConfigError> {
        let checked = config.checked()?;
        if secret.len() < MIN_SECRET {
            return Err(ConfigError::ShortSecret);
        }
        let mut peer = Self::new(config.side(), checked, sequence, now, rng);
        let chain = &mut peer.state.chain;
        chain.overwrite(&schedule::first_chain_key(peer.state.suite, &peer.binding, secret));
        peer.begin();
        Ok(peer)
    }

    /// Takes the place of this end with a new one, enrolled with a new secret, in epoch 0: after a rollback, or to heal.
    /// The other end has to do the same. All sessions of this end are over.
    ///
    /// Its first output is the record to store; it outranks those that the slots hold. On an error nothing changed.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn enrol_anew(
        &mut self,
        config: &PeerConfig<'_>,
        secret: &[u8],
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), ConfigError> {
        let now = self.clock.observe(now);
        *self = Self::enrol_after(self.barrier.issued(), config, secret, now, rng)?;
        Ok(())
    }

    /// This end as it was stored: the two slots of its store, as they are read; an empty slice for one that is missing.
    ///
    /// Its first output is the same state to store again, as a new record: nothing leaves before that is durable.
    ///
    /// # Errors
    /// [`RestoreError`] says what is wrong with the configuration or the slots.
    pub fn restore(
        config: &PeerConfig<'_>,
        slots: [&[u8]; 2],
        now: Instant,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, RestoreError> {
        let checked = config.checked()?;
        let newest = State::newest(&checked.binding, slots)?;
        let mut peer = Self::new(config.side(), checked, newest.sequence, now, rng);
        peer.state.read(newest.body)?;
        if !peer.state.recovery.fits(peer.settings.is_recovery, peer.state.epoch) {
            return Err(RestoreError::Content);
        }
        peer.begin();
        peer.resume(rng);
        Ok(peer)
    }

    /// In epoch 0, with its chain key still zero. The octets of a variant that is not in use are whatever the stack held, for as long as the
    /// machine lives, and another machine's chain key may have stood there: so it begins with its longest variants, all zero, and
    /// secrets are written when it is there.
    fn new(side: Side, checked: Checked, sequence: u64, now: Instant, rng: &mut dyn CryptoRng) -> Self {
        let barrier = Barrier::resume(sequence, rng);
        let suite = checked.initial_suite;
        let mut peer = Self {
            binding: checked.binding,
            state: State::enrolled(side, suite, checked.settings.offer),
            settings: checked.settings,
            own_pseudonym: Pseudonym::new([0; PSEUDONYM_LEN]),
            peer_pseudonym: Pseudonym::new([0; PSEUDONYM_LEN]),
            peer_mac: SecretBytes::zeroed(),
            barrier,
            gated: false,
            dirty: false,
            unsaved: false,
            boot: SecretBytes::generate(rng),
            exchange: Exchange::Answered(Answered {
                suite,
                slot: 0,
                block: Some(0),
                master: HashSecret::zeroed(suite),
            }),
            naming: NamingChain::none(suite),
            released_number: None,
            consumer_confirmed: false,
            wanted: false,
            rolled_back: false,
            cookies_demanded: false,
            limits: Limits::new(),
            round: 0,
            highest_round: 0,
            heals: 0,
            healed_at: 0,
            learned: PathId::new(0),
            has_learned: false,
            reply_path: PathId::new(0),
            mix_needed: 0,
            due: Due::nothing(suite),
            clock: Clock::new(now),
            timers: Timers::new(),
            discards: DiscardCounters::new(),
            #[cfg(test)]
            late: None,
        };
        peer.exchange = Exchange::Idle;
        peer
    }

    /// What follows from the state, and its record.
    fn begin(&mut self) {
        self.mix_needed = self.state.blocks.held().fold(0, |slots, (slot, _)| slots | (1 << slot));
        self.naming.set_window(self.settings.window);
        self.state.answering.set_window(self.settings.window);
        self.enter_epoch();
        self.begin_rounds();
        self.commit(Rule::RewriteOnRestore);
    }

    /// What a restored end owes: its session is told again, a third message that is owed is sent again, and a recovery that is
    /// wanted begins again.
    fn resume(&mut self, rng: &mut dyn CryptoRng) {
        if self.state.session.status.has_keys() {
            self.due.events.insert(Events::RESUMED);
            self.arm_session_life();
        }
        if self.owes_third() {
            self.due.sends.insert(Sends::THIRD_LONG);
            self.arm_heal();
        } else if self.state.recovery == Recovery::Wanted && holds(Rule::RecoveryIsDurable) {
            self.start_attempt(self.clock.now(), rng);
        }
    }

    /// Prepares what the new chain key gives: both pseudonyms, and the key of the peer's first messages.
    fn enter_epoch(&mut self) {
        let keys = self.chain_keys();
        let (own, peer) = (self.state.side, self.state.side.other());
        self.own_pseudonym = schedule::pseudonym(&keys, own, self.state.epoch);
        self.peer_pseudonym = schedule::pseudonym(&keys, peer, self.state.epoch);
        self.peer_mac.overwrite(&schedule::mac_key(&keys, peer, self.state.epoch));
    }

    /// Which side of the enrolment this end is.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.state.side
    }

    /// The epoch: how many handshakes this pair has completed since its enrolment, as this end knows it.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.state.epoch
    }

    /// The suite that protects the next handshake.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.state.suite
    }

    /// The session of this epoch, unless it is void or over.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        let session = &self.state.session;
        session.status.has_keys().then(|| Session {
            id: session.id,
            epoch: self.state.epoch,
            suite: self.state.suite,
            role: session.role,
            confirmed: session.status == Status::Live,
            may_name: self.naming.is_live(),
            mixed: session.mixed,
        })
    }

    /// Whether this end moved to its epoch and does not know yet that the peer has followed.
    #[must_use]
    pub const fn is_ahead(&self) -> bool {
        matches!(self.state.link, Link::Ahead(_))
    }

    /// Whether the peer has proved that this end was rolled back or cloned.
    #[must_use]
    pub const fn is_rolled_back(&self) -> bool {
        self.rolled_back
    }

    /// How many messages were discarded, and why.
    #[must_use]
    pub const fn discards(&self) -> &DiscardCounters {
        &self.discards
    }

    /// The pseudonym under which the peer's messages of this epoch come.
    #[must_use]
    pub const fn peer_pseudonym(&self) -> Pseudonym {
        self.peer_pseudonym
    }

    /// Whether first messages have to bring a cookie from now on: under load, say. One without draws a cookie, bound to
    /// the path on which it came, and costs no more than that; its sender repeats it with the cookie.
    pub const fn demand_cookies(&mut self, demanded: bool) {
        self.cookies_demanded = demanded;
    }

    /// Wants a new session: starts a handshake, or hurries the one that is not finished. The answer is an event. The next session that
    /// is confirmed fulfils it, even one that a handshake of before a start had begun: where its
    /// [`may_name`](crate::Session::may_name) is `false` and keys are to be named, ask again.
    ///
    /// Where fresh secret material is required and all that is held was withdrawn, no session comes of it: it asks whether
    /// there is room for another block, and [`Event::MixRefused`] says so.
    ///
    /// On the recovery lane ([`RECOVERY_LANE`](crate::RECOVERY_LANE)) it begins a recovery, which is wanted from then on until it has
    /// gone through: only where another lane of the pair [was rolled back](Self::is_rolled_back), or the operator wishes it.
    ///
    /// # Errors
    /// [`Error::RolledBack`], [`Error::Held`], [`Error::Exhausted`], [`Error::NoBlock`].
    pub fn establish(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let now = self.clock.observe(now);
        if self.rolled_back {
            return Err(Error::RolledBack);
        }
        if self.is_held() && holds(Rule::HoldRecovered) {
            return Err(Error::Held);
        }
        if self.state.epoch == u64::MAX {
            return Err(Error::Exhausted);
        }
        if !self.may_start() {
            return Err(Error::NoBlock);
        }
        self.want_recovery();
        if self.is_ahead() && !self.consumer_confirmed {
            self.wanted = true;
            self.heal(now);
            self.stop_waiting(now, rng);
        } else if !matches!(self.exchange, Exchange::Attempt(_)) {
            if self.has_yielded() {
                // Who does not wait for what may come of it must not yield to copies for ever.
                self.raise_round();
            }
            self.start_attempt(now, rng);
        }
        Ok(())
    }

    /// Takes one whole message that arrived on the path `from`.
    ///
    /// # Errors
    /// None: what arrives is at worst discarded.
    pub fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, Error> {
        let now = self.clock.observe(now);
        let done = self.on_message(now, rng, from, message);
        Ok(match done {
            Ok(()) => Disposition::Accepted,
            Err(reason) => self.discards.discard(reason),
        })
    }

    // Not inlined, neither this nor what each message does: the frame of one is gone when another is handled, or outputs are
    // polled.
    #[inline(never)]
    fn on_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<(), DiscardReason> {
        if self.rolled_back && holds(Rule::StopRolledBack) {
            return Err(DiscardReason::Stale);
        }
        let held = self.is_held() && holds(Rule::HoldRecovered);
        if held || self.dirty || self.barrier.is_pending() {
            return Err(DiscardReason::Busy);
        }
        if !holds(Rule::LearnAuthentic) {
            self.learn(from);
        }
        // Borrowed where it was decoded: one that moves stands on the stack twice.
        let decoded = Message::decode(message);
        let Ok(message) = &decoded else { return Err(DiscardReason::Malformed) };
        match message {
            Message::First(first) => self.on_first(now, from, first),
            Message::Second(second) => self.on_second(now, from, second),
            Message::Third(_) | Message::LongThird(_) if self.is_shut_for_thirds(now, from) => {
                Err(DiscardReason::Busy)
            }
            Message::Third(third) => {
                let done = self.on_third(now, from, third);
                self.count_third(from, done)
            }
            Message::LongThird(third) => {
                let done = self.on_long_third(now, from, third);
                self.count_third(from, done)
            }
            Message::Fourth(fourth) => self.on_fourth(now, rng, from, fourth),
            Message::Cookie(cookie) => self.on_cookie(cookie),
            Message::Stale(stale) => self.on_stale(stale),
            _ => Err(DiscardReason::Malformed),
        }
    }

    /// Does what is due at `now`. Calling it too early is harmless.
    ///
    /// # Errors
    /// None.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), Error> {
        let now = self.clock.observe(now);
        self.on_timeout(now, rng);
        Ok(())
    }

    /// Learns that a record is durable, and releases what waited for it.
    ///
    /// # Errors
    /// [`Error::Receipt`]: it is another machine's, or from before a start. Nothing is released.
    pub fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), Error> {
        self.barrier.acknowledge(receipt)?;
        self.gated &= self.dirty;
        Ok(())
    }

    /// The next thing to do; poll until [`Output::Wait`]. Its answer changes after any other call.
    pub fn poll_output(&mut self) -> Output<Record, Datagram, Event> {
        let mut output = Output::Wait(None);
        self.poll_output_into(&mut output);
        output
    }

    /// The same, written over `output`: on a small stack there is one of them then, and no copy.
    /// [`Output::commit_with`] stores a record where it lies.
    pub fn poll_output_into(&mut self, output: &mut Output<Record, Datagram, Event>) {
        self.next_output(output);
    }

    /// Marks the state as changed. What is sent or told from now on waits until it is durable. Not inlined: it is said in many places.
    #[inline(never)]
    fn commit(&mut self, rule: Rule) {
        self.dirty = true;
        self.unsaved = false;
        self.gated |= holds(rule);
    }

    /// Whether what is sent or told would depend on a change that is not durable.
    const fn is_gated(&self) -> bool {
        self.gated && (self.dirty || self.barrier.is_pending())
    }

    /// Ends the session of this epoch: its keys are gone for good.
    fn end_session(&mut self) {
        self.state.session.status = Status::Void;
        self.state.answering.wipe();
        self.naming.wipe();
        self.released_number = None;
        self.timers.stop(Timer::SessionLife);
    }

    /// Whether the peer may still need our third message.
    fn owes_third(&self) -> bool {
        self.is_ahead() && holds(Rule::KeepThird)
    }

    /// Time, in slots. Not inlined: a division of 64 bits is long where there is none.
    #[inline(never)]
    fn slot(&self, now: Instant) -> u64 {
        now.as_millis().checked_div(self.settings.answer_life()).unwrap_or_default()
    }

    fn forget_exchange(&mut self) {
        #[cfg(test)]
        if let Exchange::Attempt(attempt) = self.exchange {
            self.late = Some(attempt);
        }
        self.exchange = Exchange::Idle;
        self.timers.stop(Timer::Exchange);
    }

    /// Where to send on our own account; every second repetition goes to the configured address.
    fn towards_peer(&self, repetition: u8) -> Destination {
        if self.has_learned && repetition.is_multiple_of(2) {
            Destination::Path(self.learned)
        } else {
            Destination::Peer(self.settings.handle)
        }
    }

    /// The peer was heard on this path, authentically, and in answer to us.
    const fn learn(&mut self, from: PathId) {
        self.learned = from;
        self.has_learned = true;
    }

    /// How long an answer to this repetition is waited for, in milliseconds: twice as long each time.
    fn wait_after(&self, repetition: u8) -> u64 {
        let factor = 1_u32.checked_shl(u32::from(repetition)).unwrap_or(u32::MAX);
        u64::from(self.settings.retransmit).saturating_mul(u64::from(factor))
    }
}

impl core::fmt::Debug for Peer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Peer")
            .field("side", &self.state.side)
            .field("epoch", &self.state.epoch)
            .field("ahead", &self.is_ahead())
            .finish_non_exhaustive()
    }
}

skex_core::machine_by_own_methods!([] Peer, Record, Datagram, Event, Error);

#[cfg(test)]
impl Peer {
    /// Whether two ends have the same chain key.
    pub(crate) fn same_chain_for_tests(&self, other: &Self) -> bool {
        self.state.suite == other.state.suite && self.state.chain == other.state.chain
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn rename_peer_for_tests(&mut self, pseudonym: Pseudonym) {
        self.peer_pseudonym = pseudonym;
    }

    /// Everything that an input may change, beside counters and the clock.
    pub(crate) fn fingerprint_for_tests(&self) -> std::string::String {
        use std::format;
        let exchange = match &self.exchange {
            Exchange::Idle => std::string::String::from("idle"),
            Exchange::Attempt(attempt) => {
                format!("{:?} {} {:?} {}", attempt.nonce, attempt.sent, attempt.cookie, attempt.mix_slots)
            }
            Exchange::Answered(answered) => {
                let secret = answered.master.expose();
                format!("{:?} {} {:?} {secret:?}", answered.suite, answered.slot, answered.block)
            }
        };
        let mut record = Record::empty();
        self.state.write_record(&self.binding, 0, &mut record).unwrap();
        format!(
            "{:?} {exchange} {:?} {} {} {} {} {} {} {} {:?} {} {} {:?} {:?} {}",
            record.as_bytes(),
            self.naming.is_live(),
            self.dirty,
            self.unsaved,
            self.consumer_confirmed,
            self.wanted,
            self.rolled_back,
            self.round,
            self.highest_round,
            self.learned,
            self.has_learned,
            self.heals,
            self.healed_at,
            self.timers,
            self.mix_needed,
        )
    }

    /// As if so many epochs had been.
    pub(crate) fn set_epoch_for_tests(&mut self, epoch: u64) {
        self.state.epoch = epoch;
        self.enter_epoch();
    }

    /// As if so many rounds had been.
    pub(crate) const fn set_round_for_tests(&mut self, round: u32) {
        self.round = round;
        self.highest_round = round;
    }
}
