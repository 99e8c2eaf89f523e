//! What the hubs' answers to a look-up amount to: k of them have to say the same (docs/draft-skex-dske.md, "Look-up").

use alloc::collections::BTreeMap;
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
    fn votes(&self) -> (BTreeMap<ClientTag, Vec<usize>>, Vec<usize>) {
        let mut votes: BTreeMap<ClientTag, Vec<usize>> = BTreeMap::new();
        let mut nobody = Vec::new();
        for (link, told) in self.said() {
            match &told.found {
                Some((tag, _)) => votes.entry(*tag).or_default().push(link),
                None if told.status == OutcomeStatus::UNKNOWN => nobody.push(link),
                None => {}
            }
        }
        (votes, nobody)
    }

    /// Whether as many hubs as `threshold` say one thing: the others are waited for a little longer.
    pub(super) fn is_settled(&self, threshold: u8) -> bool {
        let (votes, nobody) = self.votes();
        votes.into_values().chain([nobody]).any(|links| links.len() >= usize::from(threshold))
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
        let Some((&tag, agreed)) = believed.next() else {
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
            tag,
            offer: offer_of(task, tag, threshold),
            assurance: if out_of_band { Assurance::InformationTheoretic } else { Assurance::Computational },
            agreed: hub_ids(agreed),
            contradicted: hub_ids(&contradicted),
        })
    }
}

fn links(task: &Task) -> Vec<usize> {
    task.said().map(|(link, _)| link).collect()
}

/// What `tag` published, as k hubs say alike. A hub alone can only keep it from being known.
fn offer_of(task: &Task, tag: ClientTag, threshold: usize) -> Option<PeerOffer> {
    let mut offers: BTreeMap<&[u8], usize> = BTreeMap::new();
    let said = task.said().filter_map(|(_, told)| told.found.as_ref());
    for (_, offer) in said.filter(|(found, offer)| *found == tag && !offer.is_empty()) {
        let count = offers.entry(offer).or_default();
        *count = count.saturating_add(1);
    }
    let mut agreed = offers.into_iter().filter(|(_, count)| *count >= threshold);
    let (octets, _) = agreed.next()?;
    if agreed.next().is_some() {
        return None;
    }
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
    })
}
