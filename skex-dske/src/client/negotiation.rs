//! Terms that both ends of a key accept: hubs, threshold, suite, lifetime (docs/draft-skex-dske.md, "Policy negotiation").

use skex_core::Assurance;

use super::Client;
use super::event::PeerOffer;
use super::hub_link::Connection;
use super::initiator::KeyRequest;
use crate::key::Origins;
use crate::psrd::Pad;
use crate::share::Coordinate;
use crate::suite::{KeySuite, Need};

/// Some of the hubs, by their coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HubSet([u64; 4]);

impl HubSet {
    /// Whichever there are.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// Whether the hub of this coordinate is among them.
    #[must_use]
    pub fn contains(&self, coordinate: Coordinate) -> bool {
        let x = coordinate.get();
        self.0.get(usize::from(x >> 6)).is_some_and(|word| word >> (x & 63) & 1 == 1)
    }
}

impl FromIterator<Coordinate> for HubSet {
    fn from_iter<T: IntoIterator<Item = Coordinate>>(coordinates: T) -> Self {
        let mut set = Self([0; 4]);
        for x in coordinates.into_iter().map(Coordinate::get) {
            if let Some(word) = set.0.get_mut(usize::from(x >> 6)) {
                *word |= 1 << (x & 63);
            }
        }
        set
    }
}

/// There are no terms that both ends accept. Nothing was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// Too few of this client's hubs say the offer alike: so many could lie.
    #[error(
        "{agreed} of the hubs wished for say this offer alike, and {needed} have to; look the peer up again when more hubs answer"
    )]
    Offer {
        /// So many say it.
        agreed: usize,
        /// The greatest of this client's minimum threshold, the threshold wished for, and more than half of its hubs that are wished for.
        needed: usize,
    },
    /// No suite is offered that this end has and that is good enough for both.
    #[error("the peer offers no suite that is compiled in here and that is good enough for both policies")]
    Suite,
    /// Too few hubs are common to both, wanted, and have room in a table that is good enough.
    #[error(
        "{common} hubs serve both ends with tables that are good enough, and the threshold is at least {threshold}; enrol both at more hubs, or refill"
    )]
    Hubs {
        /// So many.
        common: usize,
        /// The highest of the thresholds that this end, the peer and the wish demand.
        threshold: u8,
    },
}

impl<P: Pad> Client<P> {
    /// The terms of a key with a peer that offers `offer`, near `wish`: its suite if both policies allow it, else the first of
    /// [`KeySuite::ALL`] that they do; the hubs of `wish` that both have and whose tables are good enough; at least its
    /// threshold and those of both policies, and more than half of the hubs; at most its lifetime. The same input gives the same
    /// terms, and none are below the own policy, whatever the offer says. They go to [`request_key`](Self::request_key), and hold until
    /// the key is there: what both ends demand of its assurance is among them.
    ///
    /// # Errors
    ///
    /// [`NegotiationError`] says what both ends do not have in common.
    pub fn negotiate(&self, offer: &PeerOffer, wish: KeyRequest) -> Result<KeyRequest, NegotiationError> {
        let policy = &self.policy;
        let wished = self.links.iter().filter(|hub| wish.hubs.contains(hub.coordinate));
        let agreed = wished.clone().filter(|hub| offer.said_by.contains(hub.coordinate)).count();
        // Counted among the own hubs: those that the offer names are what liars would choose.
        let half = wished.clone().count() / 2;
        let needed = half.saturating_add(1).max(usize::from(policy.minimum_threshold.max(wish.threshold)));
        if agreed < needed {
            return Err(NegotiationError::Offer { agreed, needed });
        }
        let minima = [policy.minimum_assurance, offer.minimum_assurance];
        let minimum_assurance = minima.into_iter().fold(wish.minimum_assurance, Assurance::max);
        let acceptable = |suite: &KeySuite| {
            suite.is_available() && offer.suites.contains(suite) && suite.assurance() >= minimum_assurance
        };
        let mut suites = [wish.suite].into_iter().chain(KeySuite::ALL);
        let suite = suites.find(acceptable).ok_or(NegotiationError::Suite)?;

        let need = Need { suite, key_len: wish.key_len };
        // One refilled table makes the whole key computational: a hub without another is left out rather.
        let origins = Origins::for_at_least(minimum_assurance);
        let serves = |hub: &&Connection<P>| {
            offer.coordinates.contains(&hub.coordinate) && hub.link.could_have_room(need, origins)
        };
        let hubs = wished.filter(serves).map(|hub| hub.coordinate);
        let common = hubs.clone().count();
        let minima = [policy.minimum_threshold, offer.minimum_threshold, wish.threshold];
        let least = minima.into_iter().fold(2, u8::max);
        if usize::from(least) > common {
            return Err(NegotiationError::Hubs { common, threshold: least });
        }
        let majority = u8::try_from(common / 2).unwrap_or(u8::MAX).saturating_add(1);
        let lifetimes = [policy.maximum_lifetime, offer.maximum_lifetime];
        let lifetime = lifetimes.into_iter().fold(wish.lifetime, u16::min).max(1);
        let (threshold, hubs) = (least.max(majority), hubs.collect());
        Ok(KeyRequest { suite, threshold, lifetime, hubs, minimum_assurance, ..wish })
    }
}
