//! What a client is told when it is made.

use alloc::vec::Vec;
use core::time::Duration;

use skex_core::machine::PeerHandle;
use skex_core::{Assurance, SecretBytes};
use skex_wire::SuiteId;
use skex_wire::dske::Direction;

use crate::backoff::Pace;
use crate::id::{ClientId, ClientTag, HubId};
use crate::key::Origin;
use crate::outbox::DATAGRAM;
use crate::share::Coordinate;

/// A table at one end of a link.
#[derive(Debug)]
#[non_exhaustive]
pub struct Table<P> {
    /// Its number within the link and direction.
    pub number: u16,
    /// How it came here.
    pub origin: Origin,
    /// Its bytes.
    pub pad: P,
}

impl<P> Table<P> {
    /// Table `number`, which came by `origin`.
    pub const fn new(number: u16, origin: Origin, pad: P) -> Self {
        Self { number, origin, pad }
    }
}

/// What enrolment at one hub gave a client.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the embedder, who has to think about every field")]
pub struct HubLink<P> {
    /// The hub.
    pub hub: HubId,
    /// The hub's coordinate in this client's roster: the same for everybody who shares keys through it.
    pub coordinate: Coordinate,
    /// How the embedder calls the hub: where messages for it are sent, and, as the number of a path, where its messages
    /// come from as far as the embedder can tell.
    pub handle: PeerHandle,
    /// How the hub calls this client.
    pub client: ClientId,
    /// The suite of the envelope.
    pub suite: SuiteId,
    /// The initial key, 32 octets.
    pub initial_key: SecretBytes<32>,
    /// Client to hub.
    pub uplink: Table<P>,
    /// Hub to client.
    pub downlink: Table<P>,
}

/// What a responder demands of every key, whoever sent it. Nothing in a message can lower it. Of the keys that the client asks for
/// itself, its assurance holds always, and all of it is in what [`Client::negotiate`](crate::Client::negotiate) gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponderPolicy {
    /// Fewest hubs that must cooperate to break a key: at least 2.
    pub minimum_threshold: u8,
    /// The least assurance.
    pub minimum_assurance: Assurance,
    /// The longest lifetime, in seconds.
    pub maximum_lifetime: u16,
}

impl Default for ResponderPolicy {
    /// Threshold 2, any assurance, one day at most.
    fn default() -> Self {
        Self { minimum_threshold: 2, minimum_assurance: Assurance::Computational, maximum_lifetime: u16::MAX }
    }
}

/// Times and bounds of a client. The defaults suit a wide area network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// First interval of every retransmission; it doubles each time.
    pub first_retransmission: Duration,
    /// The longest interval of a retransmission.
    pub longest_retransmission: Duration,
    /// How long a request waits for slow hubs once enough are ready.
    pub grace: Duration,
    /// How long after a key the report on the hubs waits for the last of them.
    pub settle: Duration,
    /// The "send me what waits" to each hub, which also keeps the way through address translators open, leaves when nothing has
    /// come from the hub for so long, and after four times as long in any case; no more often than anything is repeated. The first time in a session it leaves after
    /// a random part of that. It is repeated until it is answered.
    pub fetch: Duration,
    /// How long hubs have to answer a command: a look-up, an offer, a withdrawal, an authorisation.
    pub commands: Duration,
    /// Requests under way at once.
    pub requests: usize,
    /// Keys of other initiators that are incomplete, and keys accepted that the application has not taken: each at most so
    /// many, shared evenly among the peers.
    pub inbound: usize,
    /// Octets of the shares of one hub that wait for those of others, beside shares of up to 1 KiB, which are bounded by
    /// [`inbound`](Self::inbound). One of each initiator is always taken, of any length.
    pub incomplete_octets: usize,
    /// Ids of keys whose lifetime is over, so that no hub can deliver one of them once more: some 60 octets each.
    pub remembered: usize,
    /// Subsets of shares that one key may cost (see `work_limit_covers`).
    pub work_limit: u64,
    /// The longest table that is taken over the network, in elements: it is held in memory until it is stored.
    pub longest_refill: u32,
    /// Datagrams that wait to leave, beside the events: less than 64 counts as 64.
    pub queue: usize,
    /// Octets of a datagram up to which messages for one hub share it, the envelope included: what the paths to hubs carry whole,
    /// without the headers of IP and UDP. 0: each has its own.
    pub datagram: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            first_retransmission: Duration::from_millis(250),
            longest_retransmission: Duration::from_secs(8),
            grace: Duration::from_millis(500),
            settle: Duration::from_millis(500),
            fetch: Duration::from_secs(15),
            commands: Duration::from_secs(30),
            requests: 256,
            inbound: 1024,
            incomplete_octets: 4 << 20,
            remembered: 65536,
            work_limit: 200_000,
            longest_refill: 65536,
            queue: 4096,
            datagram: DATAGRAM,
        }
    }
}

/// Keys that each initiator can have at least, however many there are.
const SMALLEST_PART: usize = 16;

/// So many keys that the application has taken are kept for their repetitions, for each that it may leave waiting.
pub(super) const RECENT: usize = 16;

/// Two a hub, and a table that came.
const TABLES: usize = 3 * skex_wire::dske::MAX_HUBS as usize;

impl ClientLimits {
    /// Keys of one of `peers` initiators that may be incomplete, and that the application may leave untaken: an even part,
    /// and a few at least.
    pub(super) fn inbound_of_each(&self, peers: usize) -> usize {
        let even = self.inbound.checked_div(peers).unwrap_or(0);
        even.max(SMALLEST_PART.min(self.inbound)).max(1)
    }

    /// Keys of one of `peers` initiators that one of `links` hubs may have begun and that are incomplete.
    pub(super) fn begun_of_each(&self, peers: usize, links: usize) -> usize {
        self.inbound_of_each(peers).checked_div(links).unwrap_or(0).max(1)
    }

    /// Room in the queue that only events use: three for each request and each key that can be there, three a hub, one for each command.
    pub(super) fn events(&self, peers: usize) -> usize {
        let of_each = self.inbound_of_each(peers).saturating_mul(RECENT.saturating_add(2));
        let keys = self.requests.saturating_add(of_each.saturating_mul(peers));
        let events = keys.saturating_mul(3).saturating_add(TABLES).saturating_add(super::command::COMMANDS);
        // Without bounds there is room for messages, too.
        events.min(usize::MAX / 2)
    }

    pub(super) fn pace(&self) -> Pace {
        Pace::new(self.first_retransmission, self.longest_retransmission)
    }
}

/// Everything that a client is made of besides its stored state.
#[derive(Debug)]
pub struct ClientConfig<P> {
    pub(super) tag: ClientTag,
    pub(super) links: Vec<HubLink<P>>,
    pub(super) further: Vec<(HubId, Direction, Table<P>)>,
    pub(super) left_out: Vec<HubId>,
    pub(super) forgotten: Vec<HubId>,
    pub(super) peers: Vec<ClientTag>,
    pub(super) policy: ResponderPolicy,
    pub(super) limits: ClientLimits,
}

impl<P> ClientConfig<P> {
    /// The client `tag`, enrolled at the hubs of `links`, talking with `peers` (and accepting keys from them only).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says which rule the configuration breaks.
    pub fn new(tag: ClientTag, links: Vec<HubLink<P>>, peers: Vec<ClientTag>) -> Result<Self, ConfigError> {
        if links.len() < 2 || links.len() > usize::from(skex_wire::dske::MAX_HUBS) {
            return Err(ConfigError::HubCount);
        }
        for (i, link) in links.iter().enumerate() {
            for other in links.iter().skip(i.saturating_add(1)) {
                if link.hub == other.hub || link.coordinate == other.coordinate || link.handle == other.handle
                {
                    return Err(ConfigError::HubTwice);
                }
            }
            if skex_core::Suite::from_id(link.suite).is_none() {
                return Err(ConfigError::Suite);
            }
        }
        if peers.contains(&tag) {
            return Err(ConfigError::OwnPeer);
        }
        let (policy, limits) = (ResponderPolicy::default(), ClientLimits::default());
        Ok(Self {
            tag,
            links,
            further: Vec::new(),
            left_out: Vec::new(),
            forgotten: Vec::new(),
            peers,
            policy,
            limits,
        })
    }

    /// With another policy for keys that others send.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Threshold`] unless the minimum threshold is at least 2 and at most the number of hubs.
    pub fn with_policy(mut self, policy: ResponderPolicy) -> Result<Self, ConfigError> {
        if policy.minimum_threshold < 2 || usize::from(policy.minimum_threshold) > self.links.len() {
            return Err(ConfigError::Threshold);
        }
        self.policy = policy;
        Ok(self)
    }

    /// With another table for the link with `hub`, beside those of its [`HubLink`]. All tables of a link that are not used up
    /// have to be given at every start.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Table`] if there is no such link or the number is taken.
    pub fn with_table(
        mut self,
        hub: HubId,
        direction: Direction,
        table: Table<P>,
    ) -> Result<Self, ConfigError> {
        let link = self.links.iter().find(|link| link.hub == hub).ok_or(ConfigError::Table)?;
        let first = if direction == Direction::UPLINK { &link.uplink } else { &link.downlink };
        let taken = |(id, way, other): &(HubId, Direction, Table<P>)| {
            (*id, *way, other.number) == (hub, direction, table.number)
        };
        if first.number == table.number || self.further.iter().any(taken) {
            return Err(ConfigError::Table);
        }
        self.further.push((hub, direction, table));
        Ok(self)
    }

    /// Without a hub that this client had a link with before: it takes part in nothing any more. What is stored of its tables is kept,
    /// so that the link can come back, with the same tables, in a later configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError::HubTwice`] if the configuration has a link with it.
    pub fn without_hub(mut self, hub: HubId) -> Result<Self, ConfigError> {
        if self.links.iter().any(|link| link.hub == hub) {
            return Err(ConfigError::HubTwice);
        }
        self.left_out.push(hub);
        Ok(self)
    }

    /// As [`without_hub`](Self::without_hub), and nothing secret of the link is kept: not its initial key, where that was
    /// replaced, nor how far its tables were used. What stays is the client's number there, so that the link cannot come back by
    /// this enrolment, but by another, under a higher number. Its tables are the embedder's to erase.
    ///
    /// # Errors
    ///
    /// [`ConfigError::HubTwice`] if the configuration has a link with it.
    pub fn forget_hub(mut self, hub: HubId) -> Result<Self, ConfigError> {
        self = self.without_hub(hub)?;
        self.forgotten.push(hub);
        Ok(self)
    }

    /// With other times and bounds.
    #[must_use]
    pub const fn with_limits(mut self, limits: ClientLimits) -> Self {
        self.limits = limits;
        self
    }
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not 2 to 31 hubs.
    #[error("a client needs 2 to 31 hubs")]
    HubCount,
    /// Two hubs with one id, coordinate or handle.
    #[error("two hubs have the same id, coordinate or handle")]
    HubTwice,
    /// The envelope's suite is unknown or not compiled in.
    #[error("the suite of a link's envelope is unknown or not compiled in")]
    Suite,
    /// No suite of keys, or one that is not compiled in.
    #[error("a suite of keys is not compiled in, or none is named")]
    KeySuite,
    /// The client's own tag is among its peers.
    #[error("a client cannot be its own peer")]
    OwnPeer,
    /// The policy's minimum threshold is below 2 or above the number of hubs.
    #[error("the minimum threshold must be at least 2 and at most the number of hubs")]
    Threshold,
    /// A table is for no link of the configuration, or another has its number.
    #[error("a further table is for a link that is not there, or has the number of another")]
    Table,
    /// A name is taken, has not 1 to 64 octets, or is for a client that is not there.
    #[error("a name has 1 to 64 octets, is for one of the hub's clients, and no other has it")]
    Name,
    /// A client id or tag twice, ids that do not ascend, or one that is not below [`ClientId::LIMIT`](crate::ClientId::LIMIT).
    #[error("client ids must ascend and be below 2^24, and tags must differ")]
    ClientIds,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many peers there are, each can have some keys; and events have room for all of them.
    #[test]
    fn every_initiator_has_a_few_keys_at_least() {
        let limits = ClientLimits::default();
        assert_eq!((limits.inbound_of_each(1), limits.inbound_of_each(4)), (1024, 256));
        assert_eq!((limits.inbound_of_each(64), limits.inbound_of_each(1000)), (16, 16));
        assert_eq!((limits.begun_of_each(1000, 31), limits.begun_of_each(1000, 5)), (1, 3));
        // An embedder that wants less than that gets less.
        let small = ClientLimits { inbound: 2, ..limits };
        assert_eq!((small.inbound_of_each(1), small.inbound_of_each(1000)), (2, 2));
        let keys = 16 * 1000 * (RECENT + 2) + limits.requests;
        assert_eq!(limits.events(1000), 3 * keys + 93 + 8);
    }
}
