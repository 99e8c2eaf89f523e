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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
pub(super) mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::SeedableRng;
    use skex_core::machine::{Instant, PeerHandle};
    use skex_core::{SecretBytes, SecretVec};
    use skex_testvectors::Layer;
    use skex_testvectors::dske_key::{self, NegotiationHub, NegotiationTerms, NegotiationTest};
    use skex_wire::SuiteId;
    use skex_wire::dske::{Direction, DskeSuiteId, Offer};

    use super::*;
    use crate::client::config::{ClientConfig, HubLink, ResponderPolicy, Table};
    use crate::id::{ClientId, ClientTag, HubId};
    use crate::key::Origin;
    use crate::psrd::MemoryPad;

    fn assurance(information_theoretic: bool) -> Assurance {
        if information_theoretic { Assurance::InformationTheoretic } else { Assurance::Computational }
    }

    fn hubs(coordinates: &[u8]) -> HubSet {
        coordinates.iter().filter_map(|&x| Coordinate::new(x)).collect()
    }

    fn suite(number: u8) -> Option<KeySuite> {
        KeySuite::from_id(DskeSuiteId::new(number))
    }

    fn origin(number: u8) -> Origin {
        if number == 0 { Origin::OutOfBand } else { Origin::Refill }
    }

    /// So many elements that were never used.
    pub(in crate::client) fn table(number: u16, origin: Origin, elements: usize) -> Table<MemoryPad> {
        Table::new(number, origin, MemoryPad::new(SecretVec::from_fn(elements * 16, |octets| octets.fill(1))))
    }

    /// With the hub of this coordinate, all of whose ids are made of it.
    pub(in crate::client) fn link(coordinate: u8, uplink: Table<MemoryPad>) -> HubLink<MemoryPad> {
        HubLink {
            hub: HubId::new([coordinate; 16]),
            coordinate: Coordinate::new(coordinate).unwrap(),
            handle: PeerHandle::new(coordinate.into()),
            client: ClientId::new(0),
            suite: SuiteId::SHA256_AES256GCM,
            initial_key: SecretBytes::try_copied_from(&[coordinate; 32]).unwrap(),
            uplink,
            downlink: table(0, Origin::OutOfBand, 64),
        }
    }

    fn link_with_room(hub: &NegotiationHub) -> HubLink<MemoryPad> {
        let of = hub.room.first().copied();
        let origin = of.map_or(Origin::OutOfBand, origin);
        link(hub.coordinate, table(0, origin, if of.is_some() { 64 } else { 3 }))
    }

    fn client(test: &NegotiationTest) -> Client<MemoryPad> {
        let policy = ResponderPolicy {
            minimum_threshold: test.minimum_threshold,
            minimum_assurance: assurance(test.information_theoretic),
            maximum_lifetime: test.longest_lifetime,
        };
        let links = test.hubs.iter().map(link_with_room).collect();
        let config = ClientConfig::new(ClientTag::new([1; 16]), links, vec![ClientTag::new([2; 16])]);
        let mut config = config.unwrap().with_policy(policy).unwrap();
        for hub in &test.hubs {
            for (number, room) in (1..).zip(hub.room.iter().skip(1)) {
                let id = HubId::new([hub.coordinate; 16]);
                config = config.with_table(id, Direction::UPLINK, table(number, origin(*room), 64)).unwrap();
            }
        }
        let records: Vec<Vec<u8>> = Vec::new();
        Client::restore(config, records, Instant::from_millis(0), &mut ChaCha20Rng::seed_from_u64(1)).unwrap()
    }

    fn offer(test: &NegotiationTest) -> PeerOffer {
        let offer = Offer::decode(test.offer.as_bytes()).unwrap();
        PeerOffer {
            minimum_threshold: offer.minimum_threshold,
            minimum_assurance: assurance(offer.information_theoretic),
            maximum_lifetime: offer.maximum_lifetime,
            suites: offer.suites.iter().filter_map(|&number| suite(number)).collect(),
            coordinates: offer.coordinates.iter().filter_map(|&x| Coordinate::new(x)).collect(),
            said_by: hubs(test.said_by.as_bytes()),
        }
    }

    fn request(terms: &NegotiationTerms) -> KeyRequest {
        let mut request = KeyRequest::new(terms.threshold);
        request.suite = suite(terms.suite).unwrap();
        request.lifetime = terms.lifetime;
        request.hubs = hubs(terms.hubs.as_bytes());
        request.minimum_assurance = assurance(terms.information_theoretic);
        request
    }

    #[test]
    fn terms_are_those_of_the_vectors() {
        let mut tested = 0;
        for group in dske_key::load().unwrap().test_groups {
            let dske_key::TestGroup::Negotiation(group) = group else { continue };
            for test in group.tests {
                tested += 1;
                let found = client(&test).negotiate(&offer(&test), request(&test.wish));
                let counts = test.found.zip(test.needed);
                let wanted = match (&test.terms, counts, &*test.flags) {
                    (Some(terms), None, _) => Ok(request(terms)),
                    (None, Some((agreed, needed)), [flag]) if flag == "TooFewSay" => {
                        Err(NegotiationError::Offer { agreed: agreed.into(), needed: needed.into() })
                    }
                    (None, Some((common, threshold)), [flag]) if flag == "TooFewHubs" => {
                        Err(NegotiationError::Hubs { common: common.into(), threshold })
                    }
                    (None, None, [flag]) if flag == "NoSuite" => Err(NegotiationError::Suite),
                    _ => panic!("{}: no such answer", test.name),
                };
                assert_eq!(found, wanted, "{}", test.name);
                assert_eq!(test.refused_by, found.is_err().then_some(Layer::Policy), "{}", test.name);
            }
        }
        assert!(tested > 30, "{tested}");
    }
}
