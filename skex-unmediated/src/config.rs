//! What an enrolment fixes, and what each end chooses for itself.

use core::time::Duration;

use skex_core::machine::PeerHandle;
use skex_core::{Label, Suite};
use skex_wire::SuiteId;
use skex_wire::unmediated::{MAX_SUITES, Offer};

use crate::error::ConfigError;
use crate::exporter::MAX_WINDOW;
use crate::mix::MixPolicy;
use crate::rules::{Rule, holds};

/// Octets of an enrolment secret, at least.
pub(crate) const MIN_SECRET: usize = 32;

/// Octets of the hash that binds an enrolment.
pub(crate) const BINDING_LEN: usize = 32;

/// The lane that is used for nothing but recovery: see [`Peer::establish`](crate::Peer::establish) and `PeerTable::recover`.
pub const RECOVERY_LANE: u8 = 255;

const MAX_NAME: usize = 255;
const MAX_TRIES: u8 = 10;

/// Which of the two ends this is. Enrolment gives one `A` and the other `B`, for good; either may start a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Side {
    /// The end that enrolment calls a.
    A,
    /// The end that enrolment calls b.
    B,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(crate) const fn letter(self) -> u8 {
        match self {
            Self::A => b'a',
            Self::B => b'b',
        }
    }
}

/// What tells an initiator that its session is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Confirmation {
    /// The fourth message.
    FourthMessage,
    /// The consumer of the keys, by [`Peer::confirm`](crate::Peer::confirm): the responder spares the fourth message.
    Consumer,
}

/// What a [`Peer`](crate::Peer) is told at its start.
///
/// The names, the context, the lane and the initial suite are those of the enrolment: the same at both ends and at
/// every start, and part of every key. The rest is each end's own choice.
#[derive(Clone, Copy, Debug)]
pub struct PeerConfig<'a> {
    side: Side,
    own_name: &'a [u8],
    peer_name: &'a [u8],
    context: &'a [u8],
    lane: u8,
    initial_suite: Option<Suite>,
    suites: Option<&'a [Suite]>,
    handle: PeerHandle,
    confirmation: Confirmation,
    mix: MixPolicy,
    window: u8,
    stateless: bool,
    // Times in milliseconds.
    retransmit: u32,
    tries: u8,
    session_life: u32,
    unconfirmed_life: u32,
}

impl<'a> PeerConfig<'a> {
    /// An end `side` called `own_name`, and its peer `peer_name`: 1 to 255 octets each, and different.
    #[must_use]
    pub const fn new(side: Side, own_name: &'a [u8], peer_name: &'a [u8]) -> Self {
        Self {
            side,
            own_name,
            peer_name,
            context: &[],
            lane: 0,
            initial_suite: None,
            suites: None,
            handle: PeerHandle::new(0),
            confirmation: Confirmation::FourthMessage,
            mix: MixPolicy::Accept,
            window: MAX_WINDOW,
            stateless: false,
            retransmit: 1000,
            tries: 5,
            session_life: 24 * 3_600_000,
            unconfirmed_life: 3_600_000,
        }
    }

    /// What the enrolment is for, at most 255 octets, the same at both ends. Default: empty.
    #[must_use]
    pub const fn context(mut self, context: &'a [u8]) -> Self {
        self.context = context;
        self
    }

    /// Which of several chains between the same two this is: independent of each other, from one enrolment secret. 255
    /// is the lane for recovery alone. Default: 0.
    #[must_use]
    pub const fn lane(mut self, lane: u8) -> Self {
        self.lane = lane;
        self
    }

    /// The suite of epoch 0, the same at both ends. Default: the first that is compiled in.
    #[must_use]
    pub const fn initial_suite(mut self, suite: Suite) -> Self {
        self.initial_suite = Some(suite);
        self
    }

    /// What may protect the next epochs, best first, at most 8. Default: all that are compiled in.
    ///
    /// A suite must stay compiled in until the pair has left it.
    #[must_use]
    pub const fn suites(mut self, suites: &'a [Suite]) -> Self {
        self.suites = Some(suites);
        self
    }

    /// How the embedder calls the configured address of the peer. Default: 0.
    #[must_use]
    pub const fn peer_handle(mut self, handle: PeerHandle) -> Self {
        self.handle = handle;
        self
    }

    /// What confirms a session. Default: the fourth message.
    #[must_use]
    pub const fn confirmation(mut self, confirmation: Confirmation) -> Self {
        self.confirmation = confirmation;
        self
    }

    /// Whether handshakes mix fresh secret material in. Default: whenever both ends hold the same block.
    #[must_use]
    pub const fn mix(mut self, policy: MixPolicy) -> Self {
        self.mix = policy;
        self
    }

    /// How far the indices of one chain of outputs may be used out of order, and how many may be unanswered: 1 to
    /// [`WINDOW`](crate::WINDOW), the same at both ends. Each but one adds a hash to the longest record. Default:
    /// [`WINDOW`](crate::WINDOW).
    #[must_use]
    pub const fn window(mut self, outputs: u8) -> Self {
        self.window = outputs;
        self
    }

    /// Whether to keep nothing between the second and the third message, which is then a long one. Default: no.
    #[must_use]
    pub const fn stateless(mut self, stateless: bool) -> Self {
        self.stateless = stateless;
        self
    }

    /// The time to the first retransmission, which doubles each time, and how often a first message is sent before
    /// the attempt is given up (1 to 10). Default: 1 s, 5 times. A cookie goes out with a repetition: who sends once is never
    /// heard by a peer that asks for one.
    #[must_use]
    pub const fn retransmit(mut self, first: Duration, tries: u8) -> Self {
        self.retransmit = millis(first);
        self.tries = tries;
        self
    }

    /// How long a session gives keys, from the handshake or the last start on: 2^32 - 1 ms (49 days) at most, and what is longer is
    /// that. One of 0 is over at the next timeout. Default: 24 h.
    #[must_use]
    pub const fn session_life(mut self, life: Duration) -> Self {
        self.session_life = millis(life);
        self
    }

    /// How long a session that nobody confirmed is kept, within the same bounds: shorter than the fourth message takes, an end that began has no
    /// session. Default: 1 h.
    #[must_use]
    pub const fn unconfirmed_life(mut self, life: Duration) -> Self {
        self.unconfirmed_life = millis(life);
        self
    }

    /// How a table calls the machine of this configuration.
    #[cfg(feature = "alloc")]
    pub(crate) const fn lane_id(&self) -> crate::LaneId {
        crate::LaneId::new(self.handle, self.lane)
    }

    pub(crate) const fn side(&self) -> Side {
        self.side
    }

    pub(crate) fn checked(&self) -> Result<Checked, ConfigError> {
        let names = [self.own_name, self.peer_name];
        if names.iter().any(|name| name.is_empty() || name.len() > MAX_NAME) || self.context.len() > MAX_NAME
        {
            return Err(ConfigError::BadName);
        }
        if self.own_name == self.peer_name {
            return Err(ConfigError::SameName);
        }
        if self.retransmit == 0 || self.tries == 0 || self.tries > MAX_TRIES {
            return Err(ConfigError::BadRetransmission);
        }
        if self.window == 0 || self.window > MAX_WINDOW {
            return Err(ConfigError::BadWindow);
        }
        let initial_suite = self.initial_suite.or_else(|| Suite::all().next()).ok_or(ConfigError::NoSuite)?;
        let settings = Settings {
            handle: self.handle,
            offer: self.offer()?,
            // The recovery lane has no consumer.
            consumer_confirms: self.confirmation == Confirmation::Consumer && self.lane != RECOVERY_LANE,
            is_recovery: self.lane == RECOVERY_LANE,
            initial_suite,
            mix: self.mix,
            window: self.window,
            stateless: self.stateless,
            retransmit: self.retransmit,
            tries: self.tries,
            session_life: self.session_life,
            unconfirmed_life: self.unconfirmed_life,
        };
        Ok(Checked { initial_suite, binding: self.binding(initial_suite), settings })
    }

    fn offer(&self) -> Result<Offer, ConfigError> {
        let mut ids = [SuiteId::new(0); MAX_SUITES];
        let mut count = 0_usize;
        let mut add = |suite: Suite| {
            if let Some(id) = ids.get_mut(count) {
                *id = suite.id();
            }
            count = count.saturating_add(1);
        };
        match self.suites {
            Some(suites) => suites.iter().copied().for_each(&mut add),
            None => Suite::all().for_each(&mut add),
        }
        Offer::new(ids.get(..count).unwrap_or_default()).map_err(|_| ConfigError::NoSuite)
    }

    /// Who is enrolled with whom, for what. Part of every key.
    fn binding(&self, suite: Suite) -> [u8; BINDING_LEN] {
        let (a, b) = match self.side {
            Side::A => (self.own_name, self.peer_name),
            Side::B => (self.peer_name, self.own_name),
        };
        #[expect(clippy::cast_possible_truncation, reason = "checked to be at most 255")]
        let length = |part: &[u8]| [part.len() as u8];
        let (a_len, b_len, context_len) = (length(a), length(b), length(self.context));
        let own = [1, self.lane, 1, suite.id().value()];
        let parts: [&[u8]; 7] = [&a_len, a, &b_len, b, &own, &context_len, self.context];
        let digest = suite.labelled_digest(Label::UNMEDIATED_ENROL, &parts);
        core::array::from_fn(|at| digest.as_bytes().get(at).copied().unwrap_or_default())
    }
}

/// A configuration that was found good.
pub(crate) struct Checked {
    pub(crate) initial_suite: Suite,
    pub(crate) binding: [u8; BINDING_LEN],
    pub(crate) settings: Settings,
}

/// The life of an attempt by default, in milliseconds.
const LEAST_ANSWER_LIFE: u64 = 31_000;

/// What a peer remembers of its configuration. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) handle: PeerHandle,
    pub(crate) offer: Offer,
    pub(crate) consumer_confirms: bool,
    pub(crate) is_recovery: bool,
    pub(crate) initial_suite: Suite,
    pub(crate) mix: MixPolicy,
    pub(crate) window: u8,
    pub(crate) stateless: bool,
    pub(crate) retransmit: u32,
    pub(crate) tries: u8,
    pub(crate) session_life: u32,
    pub(crate) unconfirmed_life: u32,
}

impl Settings {
    /// How long an attempt lives: the sum of all its waits.
    pub(crate) fn attempt_life(&self) -> u64 {
        let waits = (1_u32 << self.tries).saturating_sub(1);
        u64::from(self.retransmit).saturating_mul(u64::from(waits))
    }

    /// How long an answer lives, and a time slot of the responder: as an own attempt, and not shorter for one that is impatient itself.
    pub(crate) fn answer_life(&self) -> u64 {
        self.attempt_life().max(LEAST_ANSWER_LIFE)
    }

    /// The first suite of our own order that `offered` has too.
    pub(crate) fn choose(&self, offered: &skex_wire::unmediated::OfferedSuites<'_>) -> Option<Suite> {
        self.offer
            .offered()
            .iter()
            .filter(|suite| offered.contains(*suite) || !holds(Rule::ChosenWasOffered))
            .find_map(Suite::from_id)
    }
}

const fn millis(duration: Duration) -> u32 {
    let millis = duration.as_millis();
    #[expect(clippy::cast_possible_truncation, reason = "compared with the limit")]
    let millis = if millis > u32::MAX as u128 { u32::MAX } else { millis as u32 };
    millis
}
