//! What the hubs' answers to a look-up amount to: k of them have to say the same (docs/draft-skex-dske.md, "Look-up").

use alloc::vec::Vec;

use skex_core::Assurance;
use skex_core::machine::Barrier;
use skex_wire::dske::{DskeSuiteId, Offer, OutcomeStatus};

use super::{Task, Told, What};
use crate::client::Client;
use crate::client::event::{ClientEvent, FoundPeer, LookupError, PeerOffer};
use crate::id::{ClientTag, HubId};
use crate::key::Origin;
use crate::psrd::Pad;
use crate::share::Coordinate;
use crate::suite::KeySuite;

/// Peers that were found and can be asked for keys beside those of the configuration; the oldest goes.
pub(in crate::client) const FOUND: usize = 64;

impl Task {
    fn said(&self) -> impl Iterator<Item = (usize, &Told)> {
        self.asked.iter().enumerate().filter_map(|(link, asked)| Some((link, asked.told.as_ref()?)))
    }

    /// The links whose hubs said each tag, and those whose hubs know nobody.
    fn votes(&self) -> (Vec<(ClientTag, Vec<usize>)>, Vec<usize>) {
        let mut votes = Vec::new();
        let mut nobody = Vec::new();
        for (link, told) in self.said() {
            match &told.found {
                Some((tag, _)) => count(&mut votes, *tag, link),
                None if told.status == OutcomeStatus::UNKNOWN => nobody.push(link),
                None => {}
            }
        }
        (votes, nobody)
    }

    /// Whether as many hubs as `threshold` say one thing: the others are waited for a little longer. Where some of them tell of an
    /// offer, only once more than half of all hubs tell of the same, or have said something else.
    pub(super) fn is_settled(&self, threshold: u8) -> bool {
        let (votes, nobody) = self.votes();
        let enough = |links: &&Vec<usize>| links.len() >= usize::from(threshold);
        if !votes.iter().map(|(_, links)| links).chain([&nobody]).any(|links| enough(&links)) {
            return false;
        }
        let offers = votes.iter().flat_map(|(tag, _)| self.offers(*tag));
        let most = offers.map(|(_, links)| links.len()).max();
        most.is_none_or(|most| most > self.asked.len() / 2 || self.said().count() == self.asked.len())
    }

    /// What is said that `tag` published: by which links.
    fn offers(&self, tag: ClientTag) -> Vec<(&[u8], Vec<usize>)> {
        let mut offers = Vec::new();
        for (link, told) in self.said() {
            if let Some((found, offer)) = &told.found
                && *found == tag
                && !offer.is_empty()
            {
                count(&mut offers, &offer[..], link);
            }
        }
        offers
    }
}

impl<P: Pad> Client<P> {
    pub(super) fn end_lookup(&mut self, task: Task) {
        let result = self.judge_lookup(&task);
        let What::Lookup(name) = task.what else { return };
        if let Ok(found) = &result
            && !self.found.contains(&found.tag)
            && found.tag != self.tag
        {
            if self.found.len() >= FOUND {
                self.found.pop_front();
            }
            self.found.push_back(found.tag);
        }
        self.tell(Barrier::OPEN, ClientEvent::LookupEnded { name, result });
    }

    fn judge_lookup(&self, task: &Task) -> Result<FoundPeer, LookupError> {
        let threshold = usize::from(self.policy.minimum_threshold);
        let hub_ids = |links: &[usize]| -> Vec<HubId> {
            links.iter().filter_map(|&link| Some(self.links.get(link)?.link.keys.hub())).collect()
        };
        let (votes, nobody) = task.votes();
        let mut believed = votes.iter().filter(|(_, links)| links.len() >= threshold);
        let Some((tag, agreed)) = believed.next() else {
            return Err(if nobody.len() >= threshold {
                LookupError::Unknown
            } else {
                LookupError::NoAgreement { answered: hub_ids(&links(task)) }
            });
        };
        // Fewer liars than the threshold cannot bring this about.
        let disbelievers = (nobody.len() >= threshold).then_some(&nobody);
        let other = believed.next().map(|(_, links)| links).or(disbelievers);
        if let Some(other) = other {
            return Err(LookupError::Contradiction { some: hub_ids(agreed), others: hub_ids(other) });
        }
        let contradicted: Vec<usize> =
            task.said().map(|(link, _)| link).filter(|link| !agreed.contains(link)).collect();
        let out_of_band = task
            .said()
            .filter(|(link, _)| agreed.contains(link))
            .all(|(_, told)| told.origin == Origin::OutOfBand);
        Ok(FoundPeer {
            tag: *tag,
            offer: self.offer_of(task, *tag, threshold),
            assurance: if out_of_band { Assurance::InformationTheoretic } else { Assurance::Computational },
            agreed: hub_ids(agreed),
            contradicted: hub_ids(&contradicted),
        })
    }

    /// What `tag` published, as most of at least k hubs say alike. Fewer can only keep it from being known, and whether these are enough is
    /// for the negotiation to say.
    fn offer_of(&self, task: &Task, tag: ClientTag, threshold: usize) -> Option<PeerOffer> {
        let offers = task.offers(tag);
        let (octets, links) = offers.iter().max_by_key(|(_, links)| links.len())?;
        let as_many = offers.iter().filter(|(_, others)| others.len() == links.len()).count();
        if links.len() < threshold || as_many > 1 {
            return None;
        }
        let said_by = links.iter().filter_map(|&link| Some(self.links.get(link)?.coordinate)).collect();
        let offer = Offer::decode(octets).ok()?;
        Some(PeerOffer {
            minimum_threshold: offer.minimum_threshold,
            minimum_assurance: if offer.information_theoretic {
                Assurance::InformationTheoretic
            } else {
                Assurance::Computational
            },
            maximum_lifetime: offer.maximum_lifetime,
            suites: offer.suites.iter().filter_map(|&id| KeySuite::from_id(DskeSuiteId::new(id))).collect(),
            coordinates: offer.coordinates.iter().filter_map(|&x| Coordinate::new(x)).collect(),
            said_by,
        })
    }
}

/// Counts the link to those that said the same, in the order of what was said.
fn count<S: Ord>(counted: &mut Vec<(S, Vec<usize>)>, said: S, link: usize) {
    let at = counted.partition_point(|(other, _)| *other < said);
    match counted.get_mut(at).filter(|(other, _)| *other == said) {
        Some((_, links)) => links.push(link),
        None => counted.insert(at, (said, Vec::from([link]))),
    }
}

fn links(task: &Task) -> Vec<usize> {
    task.said().map(|(link, _)| link).collect()
}
