//! What a hub is told when it is made.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use skex_core::SecretBytes;
use skex_wire::SuiteId;
use skex_wire::dske::{Direction, MAX_NAME_LEN};

use super::roster::Roster;
use super::shard::Shard;
use crate::backoff::Pace;
use crate::client::{ConfigError, Table};
use crate::id::{ClientId, ClientTag, HubId};
use crate::list::ToList as _;
use crate::outbox::DATAGRAM;
use crate::suite::KeySuite;

/// Who may have keys made with a client, until that says otherwise itself (`Client::authorise`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authorised {
    /// Every client of this hub.
    Everyone,
    /// These only.
    Only(Vec<ClientTag>),
}

/// A client as its hub knows it.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the embedder, who has to think about every field")]
pub struct HubClient<P> {
    /// Its number here: numbers count from zero.
    pub client: ClientId,
    /// Who it is.
    pub tag: ClientTag,
    /// The suite of the envelope.
    pub suite: SuiteId,
    /// The initial key, 32 octets.
    pub initial_key: SecretBytes<32>,
    /// Client to hub.
    pub uplink: Table<P>,
    /// Hub to client: spent only for initiators that this client has authorised.
    pub downlink: Table<P>,
    /// Those initiators.
    pub authorised: Authorised,
}

/// Times and bounds of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubLimits {
    /// First interval of every retransmission; it doubles each time.
    pub first_retransmission: Duration,
    /// The longest interval of a retransmission.
    pub longest_retransmission: Duration,
    /// Keys of one initiator whose lifetime is not over.
    pub keys_per_initiator: usize,
    /// Shares of one initiator that wait for one responder.
    pub waiting_per_pair: usize,
    /// Octets of the shares of one initiator that wait for one responder.
    pub waiting_octets_per_pair: usize,
    /// Shares that wait for one responder.
    pub waiting_per_responder: usize,
    /// The longest key that is relayed, in octets.
    pub longest_key: u32,
    /// The longest lifetime, in seconds.
    pub longest_lifetime: u16,
    /// Datagrams that wait to leave: less than 128 counts as 128.
    pub queue: usize,
    /// Octets of a datagram up to which messages for one client share it, the envelope included: what the paths to clients carry
    /// whole, without the headers of IP and UDP. 0: each has its own.
    pub datagram: usize,
    /// Changes that one checkpoint gathers at most, one at least; beyond, uploads are answered busy, also those that come in one datagram:
    /// a few for each should have room.
    pub changes: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            first_retransmission: Duration::from_millis(250),
            longest_retransmission: Duration::from_secs(8),
            keys_per_initiator: 4096,
            waiting_per_pair: 256,
            waiting_octets_per_pair: 1 << 20,
            waiting_per_responder: 1024,
            longest_key: 65536,
            longest_lifetime: u16::MAX,
            queue: 65536,
            datagram: DATAGRAM,
            changes: 65536,
        }
    }
}

impl HubLimits {
    pub(super) fn pace(&self) -> Pace {
        Pace::new(self.first_retransmission, self.longest_retransmission)
    }
}

/// Everything that a hub is made of besides its stored state.
#[derive(Debug)]
pub struct HubConfig<P> {
    pub(super) id: HubId,
    pub(super) coordinate: crate::share::Coordinate,
    pub(super) clients: Vec<HubClient<P>>,
    pub(super) further: BTreeMap<ClientId, Vec<(Direction, Table<P>)>>,
    pub(super) names: BTreeMap<Vec<u8>, ClientId>,
    pub(super) suites: Vec<KeySuite>,
    pub(super) limits: HubLimits,
    pub(super) shard: Shard,
    /// Who is revoked at this start, of whom nothing else is there.
    pub(super) leaving: BTreeMap<ClientId, ClientTag>,
    /// Of all shards; none: the clients are all there are.
    pub(super) roster: Option<Arc<Roster>>,
}

impl<P> HubConfig<P> {
    /// The hub `id` with its coordinate in everybody's roster and its clients, in the order of their numbers, which count from
    /// zero; only those of clients that were revoked are missing.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says which rule the configuration breaks.
    pub fn new(
        id: HubId,
        coordinate: crate::share::Coordinate,
        clients: Vec<HubClient<P>>,
    ) -> Result<Self, ConfigError> {
        let mut tags = alloc::collections::BTreeSet::new();
        let mut numbers = None;
        for client in &clients {
            let is_number = client.client.number() < ClientId::LIMIT && numbers < Some(client.client);
            if !is_number || !tags.insert(client.tag) {
                return Err(ConfigError::ClientIds);
            }
            numbers = Some(client.client);
            if skex_core::Suite::from_id(client.suite).is_none() {
                return Err(ConfigError::Suite);
            }
        }
        let suites = KeySuite::ALL.into_iter().filter(|suite| suite.is_available()).collect();
        Ok(Self {
            id,
            coordinate,
            clients,
            further: BTreeMap::new(),
            names: BTreeMap::new(),
            suites,
            limits: HubLimits::default(),
            shard: Shard::WHOLE,
            leaving: BTreeMap::new(),
            roster: None,
        })
    }

    /// The configurations of the shards of this hub, so many as `shards`, each for a [`Hub`](crate::Hub) of its own with a store of
    /// its own. To be called last.
    ///
    /// The shard of a client is its number modulo `shards` ([`shard_of`](crate::shard_of)). **The number of shards of a hub that has
    /// ever run never changes**: a client would come to a shard that does not know what is used of its tables. A shard refuses the
    /// records of another layout ([`RestoreError::Shard`](crate::RestoreError::Shard)), but cannot know that there were any: restore
    /// all shards before the first is given a datagram, and let none run if one is refused.
    #[must_use]
    pub fn into_shards(mut self, shards: NonZeroU16) -> Vec<Self> {
        let count = shards.get();
        let roster = self.roster();
        let Self { id, coordinate, clients, further, suites, limits, leaving, .. } = self;
        let config = |index| Self {
            id,
            coordinate,
            clients: Vec::new(),
            further: BTreeMap::new(),
            names: BTreeMap::new(),
            suites: suites.clone(),
            limits,
            shard: Shard::new(index, count),
            leaving: leaving.clone(),
            roster: Some(Arc::clone(&roster)),
        };
        let mut configs: Vec<Self> = (0..count).map(config).collect();
        for client in clients {
            if let Some(config) = configs.iter_mut().find(|config| config.shard.owns(client.client)) {
                config.clients.push(client);
            }
        }
        for (client, tables) in further {
            if let Some(config) = configs.iter_mut().find(|config| config.shard.owns(client)) {
                config.further.insert(client, tables);
            }
        }
        configs
    }

    /// Relaying shares of these suites only; without this, of all that are compiled in.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySuite`] for a suite that is not compiled in, or none at all.
    pub fn with_suites(mut self, suites: &[KeySuite]) -> Result<Self, ConfigError> {
        if suites.is_empty() || !suites.iter().all(|suite| suite.is_available()) {
            return Err(ConfigError::KeySuite);
        }
        self.suites = suites.to_vec();
        Ok(self)
    }

    /// With another table for the link with `client`, beside those of its [`HubClient`]. All tables of a link that are not
    /// used up have to be given at every start.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Table`] if there is no such client or the number is taken.
    pub fn with_table(
        mut self,
        client: ClientId,
        direction: Direction,
        table: Table<P>,
    ) -> Result<Self, ConfigError> {
        let link = self.enrolled(client).ok_or(ConfigError::Table)?;
        let first = if direction == Direction::UPLINK { &link.uplink } else { &link.downlink };
        let mut others = self.further.get(&client).into_iter().flatten();
        if first.number == table.number
            || others.any(|(way, other)| (*way, other.number) == (direction, table.number))
        {
            return Err(ConfigError::Table);
        }
        self.further.entry(client).or_default().push((direction, table));
        Ok(self)
    }

    /// With a name for `client`, by which others find its tag: 1 to 64 octets. A name is one client's: it cannot be taken by
    /// another. A client can have several.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Name`] if the name is taken or of another length, there is no such client, or this is a shard's part.
    pub fn with_name(mut self, client: ClientId, name: &[u8]) -> Result<Self, ConfigError> {
        let enrolled = self.roster.is_none() && self.enrolled(client).is_some();
        let fits = !name.is_empty() && name.len() <= MAX_NAME_LEN;
        if !enrolled || !fits || self.names.contains_key(name) {
            return Err(ConfigError::Name);
        }
        self.names.insert(name.to_vec(), client);
        Ok(self)
    }

    /// Without a client that is to be revoked: its initial key or a table is lost, and the hub could not start. It is revoked
    /// ([`Hub::revoke`](crate::Hub::revoke)) before anything is taken or leaves, and [`HubEvent::ClientRevoked`](crate::HubEvent::ClientRevoked) says so once that
    /// is durable, with `erased` false: what is left of its tables has to be erased by other means. A crash before can undo it: it is
    /// left out again then, in the same way. Of a hub in shards, before [`into_shards`](Self::into_shards).
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClientIds`] if the number or the tag is a client's of this configuration, or the number is none.
    pub fn without(mut self, client: ClientId, tag: ClientTag) -> Result<Self, ConfigError> {
        let is_others = |other: &HubClient<P>| other.client == client || other.tag == tag;
        if client.number() >= ClientId::LIMIT
            || self.clients.iter().any(is_others)
            || self.leaving.insert(client, tag).is_some()
        {
            return Err(ConfigError::ClientIds);
        }
        Ok(self)
    }

    /// Who is a client until those have left who are revoked at this start.
    pub(super) fn roster(&mut self) -> Arc<Roster> {
        let names = core::mem::take(&mut self.names);
        self.roster.take().unwrap_or_else(|| {
            let enrolled = self.clients.iter().map(|client| (client.client, client.tag));
            let mut all = enrolled.chain(self.leaving.iter().map(|(id, tag)| (*id, *tag))).list();
            all.sort_unstable_by_key(|(id, _)| *id);
            Arc::new(Roster::new(all.into_iter(), names))
        })
    }

    fn enrolled(&self, client: ClientId) -> Option<&HubClient<P>> {
        let place = self.clients.binary_search_by_key(&client, |link| link.client).ok()?;
        self.clients.get(place)
    }

    /// With other times and bounds.
    #[must_use]
    pub const fn with_limits(mut self, limits: HubLimits) -> Self {
        self.limits = limits;
        self
    }
}
