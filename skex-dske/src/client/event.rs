//! What a client tells its application.

use alloc::vec::Vec;

use skex_core::{Assurance, KeyId, OutputKey, SecretVec};
use skex_wire::dske::{AnswerStatus, Direction, OutcomeStatus};

use super::negotiation::HubSet;
use crate::id::{ClientTag, HubId};
use crate::psrd::PadError;
use crate::share::Coordinate;
use crate::suite::KeySuite;

/// Which part this client had in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// It asked for the key.
    Initiator,
    /// The peer asked for it.
    Responder,
}

/// News for the application.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A key is there. As responder: say [`Client::taken`](crate::Client::taken) once it is in safe hands; until then it
    /// is given again after every restart, under the same id.
    KeyEstablished(Established),
    /// All hubs of a key have spoken, or had their time: how each of them behaved.
    Settled {
        /// Which key.
        key_id: KeyId,
        /// With whom.
        peer: ClientTag,
        /// Our part in it.
        role: Role,
        /// Every hub of the key, in the order of coordinates.
        hubs: Vec<HubReport>,
        /// Whether somebody is accused and the shares prove it, given that fewer hubs than the threshold lie: of n' shares that came, at
        /// most n' + 2 - 2k are wrong. With more the key is right all the same, but liars who work together can make
        /// honest hubs look wrong, and nobody can tell from shares alone: expel nobody on one such key. Always false at
        /// the initiator: what it hears of a liar is hearsay.
        blame_is_certain: bool,
    },
    /// The responder has confirmed a key that was given at the threshold, unconfirmed ([`Release::AtThreshold`](crate::Release::AtThreshold)).
    /// Where this has not come by the end of the lifetime, it never will: the responder may not have the key.
    KeyConfirmed {
        /// Which key.
        key_id: KeyId,
        /// With whom.
        peer: ClientTag,
        /// What the key may claim, now that the responder has said by which tables its shares came: perhaps less than when it
        /// was given.
        assurance: Assurance,
    },
    /// A key did not come about, and nothing of it is left. A responder may be told so too early, by a hub that gave the key less time
    /// than others do: then it can still come.
    KeyFailed {
        /// Which key.
        key_id: KeyId,
        /// With whom.
        peer: ClientTag,
        /// Our part in it.
        role: Role,
        /// Why.
        error: KeyError,
    },
    /// The hubs have been asked who has a name.
    LookupEnded {
        /// The name.
        name: Vec<u8>,
        /// Who has it, or why that cannot be said.
        result: Result<FoundPeer, LookupError>,
    },
    /// The hubs have been told something, and every one has answered or had its time.
    CommandEnded {
        /// What they were told.
        command: HubCommand,
        /// What each of them said.
        hubs: Vec<CommandReport>,
    },
    /// A hub has proven that it has the initial key that replaced the old one, which is gone.
    InitialKeyReplaced {
        /// The hub at the other end.
        hub: HubId,
    },
    /// A table came over the network. Store it durably, then say
    /// [`Client::add_table`](crate::Client::add_table) with [`Origin::Refill`](crate::Origin::Refill); before that the hub
    /// does not use it, and after a restart it comes again.
    Refill {
        /// The hub that sent it.
        hub: HubId,
        /// Which way it serves.
        direction: Direction,
        /// Its number.
        number: u16,
        /// Its octets.
        octets: SecretVec,
    },
    /// A table was taken out of service, durably: nothing brings it back. Told again after a start before it was erased, or
    /// after it has grown.
    TableRetired {
        /// The hub at the other end.
        hub: HubId,
        /// Which way it served.
        direction: Direction,
        /// Its number.
        number: u16,
        /// Whether it is erased. If its storage failed, overwrite or destroy that by other means.
        erased: bool,
    },
    /// The storage of a table has failed: nothing that depends on it works, and keys come by other hubs alone. Told once for each
    /// table and start. See also [`TableStatus::failure`](crate::TableStatus::failure).
    TableFailed {
        /// The hub at the other end.
        hub: HubId,
        /// Which way it serves.
        direction: Direction,
        /// Its number.
        number: u16,
        /// What its [`Pad`](crate::Pad) said.
        error: PadError,
    },
    /// What this client has stored of a link is older than what the hub knows: its store was brought back from a copy, or a table is
    /// damaged. A hub that lies can bring this about, of its own link. No pad is used twice while only one end was brought back. Told once a table and
    /// start.
    RolledBack {
        /// The hub at the other end.
        hub: HubId,
    },
    /// Little is left of a table: time for a refill.
    TableLow {
        /// The hub at the other end.
        hub: HubId,
        /// Whether it is the table for messages to the hub.
        uplink: bool,
        /// What is left, in octets.
        remaining: u64,
    },
}

/// A key and what there is to say of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Established {
    /// The key. Its id is the same at both ends.
    pub key: OutputKey,
    /// With whom.
    pub peer: ClientTag,
    /// Our part in it.
    pub role: Role,
    /// Whether the responder's confirmation is there (always, at the responder).
    pub confirmed: bool,
    /// Octets of pre-shared random data that the shares of it spent at this end. Under an AEAD only the first share of an
    /// epoch spends any.
    pub pad_octets: u64,
}

/// Whom a name stands for, as so many hubs say that fewer liars than the policy's minimum threshold cannot make it up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundPeer {
    /// Its tag: keys can be asked for with it now, until the next start.
    pub tag: ClientTag,
    /// What it published, if as many hubs say the same of that; and if some say another thing, more of them than of any other.
    pub offer: Option<PeerOffer>,
    /// What authenticated the answers of those that agree: one-time keys out of band, or some that came by a refill.
    pub assurance: Assurance,
    /// The hubs that say this tag.
    pub agreed: Vec<HubId>,
    /// The hubs that say another, or that they know nobody of that name. Each of them lies, or errs, or the peer is not
    /// enrolled there.
    pub contradicted: Vec<HubId>,
}

/// What a peer says that it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerOffer {
    /// The smallest threshold.
    pub minimum_threshold: u8,
    /// The least assurance.
    pub minimum_assurance: Assurance,
    /// The longest lifetime, in seconds.
    pub maximum_lifetime: u16,
    /// Its suites that are known here too.
    pub suites: Vec<KeySuite>,
    /// The coordinates of its hubs.
    pub coordinates: Vec<Coordinate>,
    /// The hubs that say so, all of them alike. [`Client::negotiate`](crate::Client::negotiate) demands that they are enough; an offer
    /// that came by a better way than hubs is said by [`HubSet::ALL`].
    pub said_by: HubSet,
}

/// Why a look-up found nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// As many hubs as the threshold say that nobody has this name.
    #[error("the hubs know nobody of this name")]
    Unknown {
        /// The hubs that say otherwise. Each of them lies, or errs, or the peer is enrolled at too few.
        contradicted: Vec<HubId>,
    },
    /// Fewer hubs than the threshold say the same.
    #[error("fewer hubs than the threshold say the same of this name; see which are down, and try again")]
    NoAgreement {
        /// Those that said something.
        answered: Vec<HubId>,
    },
    /// As many hubs as the threshold say one thing, and as many another: so many lie, or have the name unknown or squatted.
    #[error("so many hubs contradict each other on this name that neither is to be believed")]
    Contradiction {
        /// Who says each of these things: a tag, in ascending order, or at the end that nobody has the name.
        camps: Vec<Vec<HubId>>,
    },
}

/// What hubs were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubCommand {
    /// What this client accepts.
    Publish {
        /// Whether it was taken back instead.
        withdrawn: bool,
    },
    /// A key of this client's is not to be delivered.
    Withdraw(KeyId),
    /// Whose keys this client accepts.
    Authorise {
        /// Whose.
        peer: ClientTag,
        /// Whether they are to come.
        allowed: bool,
    },
}

/// What one hub said to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandReport {
    /// The hub.
    pub hub: HubId,
    /// Its answer; `None`: it was silent. It may have done it all the same.
    pub outcome: Option<OutcomeStatus>,
}

impl CommandReport {
    pub(crate) const fn new(hub: HubId, outcome: Option<OutcomeStatus>) -> Self {
        Self { hub, outcome }
    }
}

/// How a hub behaved in one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubReport {
    /// The hub.
    pub hub: HubId,
    /// What it did.
    pub conduct: Conduct,
}

impl HubReport {
    pub(crate) const fn new(hub: HubId, conduct: Conduct) -> Self {
        Self { hub, conduct }
    }
}

/// What a hub did with its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Conduct {
    /// What it should.
    Good,
    /// Nothing in time.
    Silent,
    /// It was given no share: a table of ours for it failed, or holds what cannot be used.
    TableFailed,
    /// It delivered another share than the key has at its coordinate (or the initiator gave it another).
    Lying,
    /// It refused.
    Refused(AnswerStatus),
}

/// Why a key did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Fewer hubs than the threshold answered in time.
    #[error(
        "fewer hubs than the threshold answered in time; see which are down, or ask with a lower threshold"
    )]
    TooFewHubs,
    /// So many hubs refused that the threshold cannot be reached.
    #[error("so many hubs refused that the threshold cannot be reached; the first of them said {0}")]
    Refused(AnswerStatus),
    /// The tables of so many hubs failed, or hold what cannot be used, that the threshold cannot be reached.
    #[error(
        "the tables of so many hubs failed here that the threshold cannot be reached; see what was told of each, and mend or replace the storage"
    )]
    Tables,
    /// The responder did not confirm before the lifetime ended.
    #[error(
        "the responder did not confirm before the lifetime ended; it may be down, or its policy refuses us"
    )]
    Unconfirmed,
    /// The key would have less assurance than this end demands: at too many hubs no table out of band is left, or the hub denies it;
    /// or the responder's tables are worse.
    #[error(
        "the key would have less assurance than is demanded: too few hubs have tables out of band left for it, here or at the peer; provision tables"
    )]
    Assurance,
    /// Enough shares came, but too many were wrong: no subset within the work limit gives a key with a right tag.
    #[error("too many of the shares that came were wrong; no key was delivered")]
    Undecodable,
}

/// A call that cannot be carried out. Nothing changed and nothing was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The peer is not among those of the configuration.
    #[error("unknown peer: it is not among the peers of this client's configuration")]
    UnknownPeer,
    /// The threshold is below 2 or above the number of hubs.
    #[error("the threshold must be at least 2 and at most the number of hubs")]
    Threshold,
    /// The key's length is outside 16 octets to 1 MiB.
    #[error("a key has 16 to 1048576 octets")]
    KeyLength,
    /// The suite is not compiled in.
    #[error("the suite of the key is not compiled in")]
    Suite,
    /// The lifetime is zero.
    #[error("the lifetime must be at least one second")]
    Lifetime,
    /// The suite, or the tables that are left at too many hubs, cannot give the least assurance that is asked for, or that this
    /// client's policy demands.
    #[error(
        "the suite, or the tables left at too many hubs, cannot give the assurance that is demanded; ask for one-time pads, or provision tables out of band"
    )]
    Assurance,
    /// The tables of too many hubs have too little left for such a key.
    #[error(
        "pre-shared random data is used up at so many hubs that the threshold cannot be reached; refill the tables"
    )]
    Exhausted,
    /// The name has not 1 to 64 octets.
    #[error("a name has 1 to 64 octets")]
    Name,
    /// Too many requests are under way.
    #[error("too many requests are under way; wait for one of them to end")]
    Busy,
    /// There is no link with this hub.
    #[error("no such hub: it is not among those of this client's configuration")]
    UnknownHub,
    /// There is no such key.
    #[error("no such key")]
    NoSuchKey,
    /// The receipt is not for this machine's outstanding checkpoint.
    #[error(transparent)]
    Receipt(#[from] skex_core::machine::ReceiptError),
}
