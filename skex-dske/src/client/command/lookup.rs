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
use crate::list::ToList as _;
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

    /// Whether as many hubs as `threshold` say one thing: the others are waited for a little longer. Where that is a tag of which some tell
    /// an offer, only once more than half of all hubs tell the same offer.
    pub(super) fn is_settled(&self, threshold: u8) -> bool {
        let (votes, nobody) = self.votes();
        let enough = |links: &[usize]| links.len() >= usize::from(threshold);
        let believable = || votes.iter().filter(|(_, links)| enough(links));
        if believable().count() == 0 && !enough(&nobody) {
            return false;
        }
        let most = believable().flat_map(|(tag, _)| self.offers(*tag)).map(|(_, links)| links.len()).max();
        most.is_none_or(|most| most > self.asked.len() / 2)
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
                self.found.remove(0);
            }
            self.found.push(found.tag);
        }
        self.tell(Barrier::OPEN, ClientEvent::LookupEnded { name, result });
    }

    fn judge_lookup(&self, task: &Task) -> Result<FoundPeer, LookupError> {
        let threshold = usize::from(self.policy.minimum_threshold);
        let hub_ids = |links: &[usize]| -> Vec<HubId> {
            links.iter().filter_map(|&link| Some(self.links.get(link)?.link.keys.hub())).list()
        };
        let (votes, nobody) = task.votes();
        let said = votes.iter().map(|(tag, links)| (Some(*tag), links)).chain([(None, &nobody)]);
        let believable: Vec<_> = said.filter(|(_, links)| links.len() >= threshold).list();
        let &[(tag, agreed)] = believable.as_slice() else {
            // Two take as many hubs as the threshold that lie, or at which the name is unknown or squatted.
            let camps: Vec<_> = believable.iter().map(|(_, links)| hub_ids(links)).list();
            return Err(if camps.is_empty() {
                LookupError::NoAgreement { answered: hub_ids(&links(task)) }
            } else {
                LookupError::Contradiction { camps }
            });
        };
        let contradicted: Vec<usize> =
            task.said().map(|(link, _)| link).filter(|link| !agreed.contains(link)).list();
        let Some(tag) = tag else {
            return Err(LookupError::Unknown { contradicted: hub_ids(&contradicted) });
        };
        let out_of_band = task
            .said()
            .filter(|(link, _)| agreed.contains(link))
            .all(|(_, told)| told.origin == Origin::OutOfBand);
        Ok(FoundPeer {
            tag,
            offer: self.offer_of(task, tag, threshold),
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
            suites: offer.suites.iter().filter_map(|&id| KeySuite::from_id(DskeSuiteId::new(id))).list(),
            coordinates: offer.coordinates.iter().filter_map(|&x| Coordinate::new(x)).list(),
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
    task.said().map(|(link, _)| link).list()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use alloc::vec;

    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::SeedableRng;
    use skex_core::machine::{Instant, Output};
    use skex_testvectors::dske_key::{self, LookUpTest};
    use skex_testvectors::{Hex, Layer};

    use super::*;
    use crate::client::config::{ClientConfig, ClientLimits, ResponderPolicy};
    use crate::client::negotiation::tests::{link, table};
    use crate::psrd::MemoryPad;

    /// A client whose hubs have told what the test says, and nothing more.
    fn asked(test: &LookUpTest, now: Instant, rng: &mut ChaCha20Rng) -> Client<MemoryPad> {
        let links =
            test.answers.iter().map(|hub| link(hub.coordinate, table(0, Origin::OutOfBand, 64))).collect();
        let policy = ResponderPolicy { minimum_threshold: test.minimum_threshold, ..Default::default() };
        let config = ClientConfig::new(ClientTag::new([1; 16]), links, vec![]).unwrap().with_policy(policy);
        let records: Vec<Vec<u8>> = Vec::new();
        let mut client = Client::restore(config.unwrap(), records, now, rng).unwrap();
        client.look_up(now, rng, b"bob").unwrap();
        let [task] = client.tasks.as_mut_slice() else { panic!("one look-up") };
        for (asked, answer) in task.asked.iter_mut().zip(&test.answers) {
            asked.told = answer.status.map(|status| Told {
                status: OutcomeStatus::new(status),
                found: answer.client.as_ref().map(|client| {
                    let offer = answer.offer.as_ref().map_or(&[][..], Hex::as_bytes);
                    (ClientTag::new(client.array().unwrap()), offer.to_vec())
                }),
                origin: if answer.origin == 0 { Origin::OutOfBand } else { Origin::Refill },
            });
        }
        client
    }

    /// What the look-up came to, if it ends at this time.
    fn result(
        client: &mut Client<MemoryPad>,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Option<Result<FoundPeer, LookupError>> {
        client.handle_timeout(now, rng).unwrap();
        loop {
            match client.poll_output() {
                Output::Event(ClientEvent::LookupEnded { result, .. }) => return Some(result),
                Output::Persist(checkpoint) => {
                    let receipt = checkpoint.commit_with(|_| Ok::<(), ()>(())).unwrap();
                    client.handle_persisted(receipt).unwrap();
                }
                Output::Wait(_) => return None,
                _ => {}
            }
        }
    }

    fn ids(coordinates: &Hex) -> Vec<HubId> {
        coordinates.as_bytes().iter().map(|&x| HubId::new([x; 16])).collect()
    }

    fn offer_of(test: &LookUpTest) -> Option<PeerOffer> {
        let offer = Offer::decode(test.offer.as_ref()?.as_bytes()).unwrap();
        let coordinates =
            |octets: &[u8]| octets.iter().filter_map(|&x| Coordinate::new(x)).collect::<Vec<_>>();
        Some(PeerOffer {
            minimum_threshold: offer.minimum_threshold,
            minimum_assurance: assurance(offer.information_theoretic),
            maximum_lifetime: offer.maximum_lifetime,
            suites: offer.suites.iter().filter_map(|&id| KeySuite::from_id(DskeSuiteId::new(id))).collect(),
            coordinates: coordinates(offer.coordinates),
            said_by: coordinates(test.said_by.as_ref()?.as_bytes()).into_iter().collect(),
        })
    }

    fn assurance(information_theoretic: bool) -> Assurance {
        if information_theoretic { Assurance::InformationTheoretic } else { Assurance::Computational }
    }

    fn wanted(test: &LookUpTest) -> Result<FoundPeer, LookupError> {
        let contradicted = || ids(test.otherwise.as_ref().unwrap());
        match (test.refused_by, &test.client) {
            (None, Some(client)) => Ok(FoundPeer {
                tag: ClientTag::new(client.array().unwrap()),
                offer: offer_of(test),
                assurance: assurance(test.information_theoretic.unwrap()),
                agreed: ids(test.agreed.as_ref().unwrap()),
                contradicted: contradicted(),
            }),
            (None, None) => Err(LookupError::Unknown { contradicted: contradicted() }),
            (Some(Layer::Policy), None) if test.flags == ["Contradiction"] => {
                Err(LookupError::Contradiction { camps: test.camps.iter().map(ids).collect() })
            }
            (Some(Layer::Policy), None) if test.flags == ["NoAgreement"] => {
                let answered = test.answers.iter().filter(|hub| hub.status.is_some());
                let answered = answered.map(|hub| HubId::new([hub.coordinate; 16])).collect();
                Err(LookupError::NoAgreement { answered })
            }
            _ => panic!("{}: no such answer", test.name),
        }
    }

    #[test]
    fn what_hubs_say_of_a_name_amounts_to_what_the_vectors_say() {
        let (mut tested, limits) = (0, ClientLimits::default());
        for group in dske_key::load().unwrap().test_groups {
            let dske_key::TestGroup::LookUp(group) = group else { continue };
            for test in group.tests {
                tested += 1;
                let mut rng = ChaCha20Rng::seed_from_u64(1);
                let start = Instant::from_millis(0);
                let mut client = asked(&test, start, &mut rng);
                let mut found = result(&mut client, start, &mut rng);
                assert_eq!(found.is_some(), test.waits == "no", "{}", test.name);
                if found.is_none() {
                    found = result(&mut client, start.saturating_add(limits.grace), &mut rng);
                    assert_eq!(found.is_some(), test.waits == "little", "{}", test.name);
                }
                let found =
                    found.or_else(|| result(&mut client, start.saturating_add(limits.commands), &mut rng));
                assert_eq!(found, Some(wanted(&test)), "{}", test.name);
            }
        }
        assert!(tested > 40, "{tested}");
    }

    /// Enough hubs say who it is, and the look-up is about to end; then one tells an offer, so that it waits for the others after all, and the
    /// last is silent. It does nothing until something is due.
    #[test]
    fn a_look_up_that_waits_longer_than_it_meant_to_does_not_run_all_the_time() {
        let (limits, start) = (ClientLimits::default(), Instant::from_millis(0));
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let links = (1..=5).map(|coordinate| link(coordinate, table(0, Origin::OutOfBand, 64))).collect();
        let policy = ResponderPolicy { minimum_threshold: 3, ..Default::default() };
        let config = ClientConfig::new(ClientTag::new([1; 16]), links, vec![]).unwrap().with_policy(policy);
        let records: Vec<Vec<u8>> = Vec::new();
        let mut client = Client::restore(config.unwrap(), records, start, &mut rng).unwrap();
        client.look_up(start, &mut rng, b"bob").unwrap();
        let says = |offer: &[u8]| {
            let (status, bob) = (OutcomeStatus::DONE, ClientTag::new([2; 16]));
            Some(Told { status, found: Some((bob, offer.to_vec())), origin: Origin::OutOfBand })
        };
        let asked = |client: &mut Client<MemoryPad>, hub: usize, told| client.tasks[0].asked[hub].told = told;
        (0..3).for_each(|hub| asked(&mut client, hub, says(&[])));
        assert_eq!(result(&mut client, start, &mut rng), None);
        let mut octets = [0; 64];
        let mut out = skex_wire::Writer::new(&mut octets);
        Offer::new(2, false, 600, &[1], &[1, 2]).unwrap().encode(&mut out).unwrap();
        asked(&mut client, 3, says(out.written()));
        let (mut now, mut times) = (start, 0);
        while client.tasks.len() == 1 {
            assert_eq!(result(&mut client, now, &mut rng), None, "{now:?}");
            let Output::Wait(Some(next)) = client.poll_output() else { panic!("it waits for the last hub") };
            assert!(next > now, "at {now:?} it is due again at {next:?}");
            (now, times) = (next, times + 1);
            assert!(times < 1000);
            let _ = client.handle_timeout(now, &mut rng);
        }
        assert_eq!(now, start.saturating_add(limits.commands));
    }
}
