//! Both ends agree on hubs, threshold, suite and lifetime before a key is asked for; hubs come and go.

use skex_core::Assurance;
use skex_dske::{
    ClientError, Coordinate, HubSet, KeyError, KeyRequest, KeySuite, NegotiationError, Origin, PeerOffer,
    Release, ResponderPolicy,
};
use skex_sim::PowerLoss;

use crate::oracle::Oracle;
use crate::world::{Cast, Setup, cast, tag};

const BOB: &str = "bob@example";

fn setup(hubs: usize, threshold: u8) -> Setup {
    let mut setup = Setup::new(hubs);
    setup.names = (0..hubs).map(|hub| (hub, 1, BOB)).collect();
    let mut policy = ResponderPolicy::default();
    policy.minimum_threshold = threshold;
    setup.policy = Some(policy);
    setup
}

fn coordinates(hubs: &[u8]) -> Vec<Coordinate> {
    hubs.iter().filter_map(|&x| Coordinate::new(x)).collect()
}

impl Cast {
    fn publish(&mut self) {
        self.command(1, |client, now, rng| client.publish(now, rng)).unwrap().unwrap();
        self.settle(5);
    }

    /// Bob's offer, as client 0 hears it.
    fn offer(&mut self) -> Option<PeerOffer> {
        self.look_up(0, BOB);
        self.settle(40);
        let found = self.lookups(0).pop().unwrap().unwrap();
        assert_eq!(found.tag, tag(1));
        found.offer
    }

    fn negotiate(&mut self, offer: &PeerOffer, wish: KeyRequest) -> Result<KeyRequest, NegotiationError> {
        self.command(0, |client, _, _| client.negotiate(offer, wish)).unwrap()
    }

    /// Client `client` starts anew without these hubs.
    fn goes_without(&mut self, client: usize, hubs: &[usize]) {
        let mut revision = self.revision.borrow_mut();
        revision.without.retain(|(of, _)| *of != client);
        revision.without.extend(hubs.iter().map(|&hub| (client, hub)));
        drop(revision);
        self.world.crash(self.clients[client], PowerLoss::Lands);
        self.world.restart(self.clients[client]);
        self.settle(5);
    }

    fn agrees(&mut self, wanted: KeyRequest) {
        let id = self.request(0, 1, wanted);
        self.settle(30);
        self.assert_agreed(0, 1, id);
    }
}

/// The ends have three of five hubs in common. What they agree on is a key through these three, of a majority's threshold, no
/// weaker than either wants; and such a key arrives.
#[test]
fn a_key_goes_through_the_hubs_that_both_have() {
    let mut cast = cast(1, &setup(5, 2));
    cast.goes_without(0, &[0]);
    cast.goes_without(1, &[4]);
    cast.publish();
    let offer = cast.offer().expect("four hubs say it alike");
    assert_eq!(offer.coordinates, coordinates(&[1, 2, 3, 4]));
    let wanted = cast.negotiate(&offer, KeyRequest::new(2)).unwrap();
    assert_eq!(wanted.hubs, coordinates(&[2, 3, 4]).into_iter().collect::<HubSet>());
    assert_eq!((wanted.threshold, wanted.suite, wanted.lifetime), (2, KeySuite::OneTime, 600));
    assert_eq!(cast.negotiate(&offer, KeyRequest::new(2)).unwrap(), wanted, "the same again");
    cast.agrees(wanted);
    // Without agreement, all hubs of the initiator take part: the responder does not know one of them.
    let mut blind = KeyRequest::new(2);
    blind.lifetime = 20;
    let id = cast.request(0, 1, blind);
    cast.settle(60);
    assert_eq!(cast.failure(0, id), Some(KeyError::Unconfirmed));
    // A wish for fewer hubs is kept; one for a threshold that they do not reach is refused, with what is there.
    let mut wish = KeyRequest::new(2);
    wish.hubs = coordinates(&[1, 3, 4, 5]).into_iter().collect();
    let wanted = cast.negotiate(&offer, wish).unwrap();
    assert_eq!(wanted.hubs, coordinates(&[3, 4]).into_iter().collect::<HubSet>());
    cast.agrees(wanted);
    let error = cast.negotiate(&offer, KeyRequest::new(4));
    assert_eq!(error, Err(NegotiationError::Offer { agreed: 3, needed: 4 }));
    let mut known = offer;
    known.said_by = HubSet::ALL;
    let error = cast.negotiate(&known, KeyRequest::new(4));
    assert_eq!(error, Err(NegotiationError::Hubs { common: 3, threshold: 4 }));
    Oracle::acquit(&cast);
}

/// Fewer hubs than the threshold tell of another offer than the peer's, or are silent. They are not believed: what is agreed on is
/// what the peer published. And an offer that everybody invents is worth no more than the own policy.
#[test]
fn fewer_liars_than_the_threshold_cannot_talk_anybody_down() {
    let mut cast = cast(2, &setup(5, 3));
    // Two hubs go on telling of an old offer, of fewer hubs.
    for (without, deaf) in [(&[4][..], &[2, 3][..]), (&[], &[0, 1])] {
        cast.goes_without(1, without);
        for &hub in deaf {
            cast.world.net_mut().cut(cast.clients[1], cast.hubs[hub]);
        }
        cast.publish();
        cast.settle(40);
        cast.world.net_mut().heal();
        cast.settle(10);
    }
    let truth = cast.offer().expect("three hubs say it alike");
    assert_eq!((truth.minimum_threshold, truth.coordinates.len()), (3, 5));
    for hub in [0, 1] {
        cast.world.kill(cast.hubs[hub]);
    }
    assert_eq!(cast.offer().as_ref(), Some(&truth), "the other three are enough");
    let wanted = cast.negotiate(&truth, KeyRequest::new(2)).unwrap();
    assert_eq!(wanted.threshold, 3);
    // Below the own policy nothing is agreed on, whatever is offered.
    let mut weak = truth.clone();
    (weak.minimum_threshold, weak.minimum_assurance) = (2, Assurance::Computational);
    weak.suites = vec![KeySuite::Aes256Gcm];
    let wanted = cast.negotiate(&weak, KeyRequest::new(2)).unwrap();
    assert_eq!((wanted.threshold, wanted.suite), (3, KeySuite::Aes256Gcm), "this policy allows the suite");
    weak.coordinates = coordinates(&[1, 2]);
    let error = cast.negotiate(&weak, KeyRequest::new(2));
    assert_eq!(error, Err(NegotiationError::Hubs { common: 2, threshold: 3 }));
    // Three silent hubs are too many: there is no offer, and that is not taken for a weak one.
    cast.world.kill(cast.hubs[2]);
    cast.look_up(0, BOB);
    cast.settle(40);
    assert!(cast.lookups(0).pop().unwrap().is_err());
}

/// As many hubs as the initiator's minimum tell of an old offer, of themselves alone, and everybody else is cut off: a key by it
/// would be theirs. That is not the majority of the initiator's own hubs, and is not believed; nor is it when all are heard, and no wish
/// for fewer hubs makes them a majority but one for those hubs. Carried by `needed` in `negotiate`.
#[test]
fn an_offer_is_believed_as_a_majority_of_the_own_hubs_says_it() {
    let mut cast = cast(21, &setup(5, 2));
    cast.goes_without(1, &[2, 3, 4]);
    cast.publish();
    cast.goes_without(1, &[]);
    for hub in [0, 1] {
        cast.world.net_mut().cut(cast.clients[1], cast.hubs[hub]);
    }
    cast.publish();
    cast.settle(40);
    cast.world.net_mut().heal();
    for hub in [2, 3, 4] {
        cast.world.net_mut().cut(cast.clients[0], cast.hubs[hub]);
    }
    let old = cast.offer().expect("two say it alike");
    assert_eq!(old.coordinates, coordinates(&[1, 2]));
    let error = cast.negotiate(&old, KeyRequest::new(2));
    assert_eq!(error, Err(NegotiationError::Offer { agreed: 2, needed: 3 }));
    let mut wish = KeyRequest::new(2);
    wish.hubs = coordinates(&[1, 3, 4]).into_iter().collect();
    assert_eq!(cast.negotiate(&old, wish), Err(NegotiationError::Offer { agreed: 1, needed: 2 }));
    let error = cast.negotiate(&old, KeyRequest::new(4));
    assert_eq!(error, Err(NegotiationError::Offer { agreed: 2, needed: 4 }));
    cast.world.net_mut().heal();
    cast.settle(20);
    let truth = cast.offer().expect("three say it alike");
    assert_eq!((truth.coordinates.len(), truth.said_by), (5, coordinates(&[3, 4, 5]).into_iter().collect()));
    let wanted = cast.negotiate(&truth, KeyRequest::new(2)).unwrap();
    assert_eq!(wanted.threshold, 3);
    cast.agrees(wanted);
    Oracle::acquit(&cast);
}

/// The hubs that tell of the true offer are slower than those that lie: they are waited for.
#[test]
fn a_look_up_waits_for_the_majority_that_makes_an_offer_good() {
    let mut cast = cast(22, &setup(5, 2));
    cast.publish();
    for hub in [2, 3, 4] {
        let slow = skex_sim::Link::ideal().latency(1500);
        cast.world.net_mut().set_link(cast.clients[0], cast.hubs[hub], slow);
    }
    let offer = cast.offer().unwrap();
    assert!(cast.negotiate(&offer, KeyRequest::new(3)).is_ok(), "{:?}", offer.said_by);
    Oracle::acquit(&cast);
}

/// Both towards and from every hub: a second table, which came over the network.
fn with_refilled_tables(cast: &mut Cast) {
    for hub in 0..cast.hubs.len() {
        for client in 0..2 {
            for uplink in [true, false] {
                cast.provision((hub, client), (uplink, 1), Origin::Refill, 4096, true);
            }
        }
    }
    cast.settle(5);
}

fn beyond_computing(threshold: u8) -> KeyRequest {
    let mut wish = KeyRequest::new(threshold);
    wish.minimum_assurance = Assurance::InformationTheoretic;
    wish.lifetime = 60;
    wish
}

/// Both ends agreed on a key beyond computing. Before it is made, hubs deny their tables out of band: no longer would the key be
/// what both wanted. One of them changes nothing, for the others are enough and nothing goes by its refilled table; with two of them no
/// key is made, and the error says why. Carried by `KeyRequest::minimum_assurance`.
#[test]
fn a_hub_that_denies_its_table_out_of_band_does_not_lower_a_key() {
    for denying in [1, 2] {
        let mut cast = cast(23, &setup(3, 2));
        with_refilled_tables(&mut cast);
        cast.publish();
        let offer = cast.offer().unwrap();
        let wanted = cast.negotiate(&offer, beyond_computing(2)).unwrap();
        assert_eq!(wanted.minimum_assurance, Assurance::InformationTheoretic);
        // A start of the client ends its leases.
        for hub in 0..denying {
            cast.hub_uplinks[hub][0].set_octets(&[]);
        }
        cast.goes_without(0, &[]);
        let id = cast.request(0, 1, wanted);
        cast.settle(5);
        if denying == 1 {
            cast.settle(80);
            cast.assert_agreed(0, 1, id);
            assert_eq!(cast.keys(0).pop().unwrap().key.assurance(), Assurance::InformationTheoretic);
        } else {
            assert_eq!(cast.failure(0, id), Some(KeyError::Assurance));
            let refused = cast.try_request(0, 1, wanted);
            assert_eq!(refused, Err(ClientError::Assurance), "as long as they deny it");
        }
        for hub in 0..denying {
            assert!(!Oracle::used(&cast, ((hub, 0), true, 1)), "no share went by it");
        }
        // Whoever does not ask for that gets a key, and it says what it is.
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(20);
        cast.assert_agreed(0, 1, id);
        assert_eq!(cast.keys(0).pop().unwrap().key.assurance(), Assurance::Computational);
        Oracle::acquit(&cast);
    }
}

/// The own policy counts where the request says nothing, and a suite that cannot hold it is refused at once.
#[test]
fn no_request_goes_below_the_own_policy() {
    let mut setup = setup(3, 2);
    setup.policy.as_mut().unwrap().minimum_assurance = Assurance::InformationTheoretic;
    let mut cast = cast(24, &setup);
    with_refilled_tables(&mut cast);
    let refused = cast.try_request(0, 1, crate::request_under(KeySuite::Aes256Gcm, 2));
    assert_eq!(refused, Err(ClientError::Assurance));
    for hub in 0..2 {
        cast.hub_uplinks[hub][0].set_octets(&[]);
        cast.client_tables[0][hub].0.set_octets(&[]);
    }
    assert_eq!(cast.try_request(0, 1, KeyRequest::new(2)), Err(ClientError::Assurance));
    assert!(cast.keys(0).is_empty() && cast.keys(1).is_empty());
    Oracle::acquit(&cast);
}

/// The hubs send to the responder by refilled tables. It says so, truly, and the initiator, which wanted more, is not given the key;
/// unless it took it at the threshold, as one that is not confirmed.
#[test]
fn a_key_that_the_responder_confirms_to_be_worth_less_is_not_given() {
    for release in [Release::AtConfirmation, Release::AtThreshold] {
        let mut cast = cast(25, &setup(3, 2));
        with_refilled_tables(&mut cast);
        for hub in 0..3 {
            cast.hub_downlinks[hub][1].set_octets(&[]);
            cast.client_tables[1][hub].1.set_octets(&[]);
        }
        let mut wanted = beyond_computing(2);
        wanted.release = release;
        let id = cast.request(0, 1, wanted);
        cast.settle(20);
        if release == Release::AtConfirmation {
            assert_eq!((cast.key(0, id), cast.failure(0, id)), (None, Some(KeyError::Assurance)));
        } else {
            assert!(!cast.keys(0)[0].confirmed);
        }
        assert_eq!(cast.keys(1)[0].key.assurance(), Assurance::Computational, "its policy allows that");
        Oracle::acquit(&cast);
    }
}

/// The same responder, whose policy demands more: it refuses what comes by a refilled table. And where it cannot know how the share of
/// a silent hub went, because that hub had a lease of a refilled table before, it waits for the share; with it the key is good, without it there
/// is none. Carried by the same rule in `try_accept`.
#[test]
fn a_responder_accepts_no_key_below_its_policy_because_of_its_own_tables() {
    for comes in [true, false] {
        let mut setup = setup(3, 2);
        let mut cast = cast(26, &setup);
        // A computational policy let the refilled table be leased once; the demand came later.
        cast.provision((0, 1), (false, 1), Origin::Refill, 20, true);
        cast.hub_downlinks[0][1].set_octets(&[]);
        cast.client_tables[1][0].1.set_octets(&[]);
        let id = cast.request(0, 1, KeyRequest::new(3));
        cast.settle(10);
        cast.assert_agreed(0, 1, id);
        cast.provision((0, 1), (false, 2), Origin::OutOfBand, 4096, true);
        setup.policy.as_mut().unwrap().minimum_assurance = Assurance::InformationTheoretic;
        cast.demands(1, setup.policy.unwrap());
        cast.world.kill(cast.hubs[0]);
        cast.settle(5);
        let mut wanted = KeyRequest::new(2);
        wanted.lifetime = 100;
        let id = cast.request(0, 1, wanted);
        cast.settle(20);
        assert_eq!((cast.key(1, id), cast.failure(1, id)), (None, None), "it may come yet");
        if comes {
            cast.world.restart(cast.hubs[0]);
            cast.settle(30);
            cast.assert_agreed(0, 1, id);
            assert_eq!(cast.keys(1).pop().unwrap().key.assurance(), Assurance::InformationTheoretic);
        } else {
            cast.settle(200);
            assert_eq!((cast.key(1, id), cast.failure(1, id)), (None, Some(KeyError::Assurance)));
            assert_eq!(cast.failure(0, id), Some(KeyError::Unconfirmed));
        }
        Oracle::acquit(&cast);
    }
}

/// Where one end wants more than computing power can break, suites and hubs that would not hold it are left out.
#[test]
fn what_is_agreed_on_holds_what_both_demand() {
    let mut setup = setup(4, 2);
    setup.policy.as_mut().unwrap().minimum_assurance = Assurance::InformationTheoretic;
    let mut cast = cast(3, &setup);
    // Towards hub 3 nothing is left but a refilled table.
    cast.hub_uplinks[3][0].set_octets(&[]);
    cast.client_tables[0][3].0.set_octets(&[]);
    cast.provision((3, 0), (true, 1), Origin::Refill, 4096, true);
    cast.publish();
    let offer = cast.offer().unwrap();
    let mut wish = KeyRequest::new(2);
    wish.suite = KeySuite::Aes256Gcm;
    (wish.lifetime, wish.key_len) = (1000, 100);
    let wanted = cast.negotiate(&offer, wish).unwrap();
    assert_eq!((wanted.suite, wanted.lifetime, wanted.key_len), (KeySuite::OneTime, 1000, 100));
    assert_eq!(wanted.hubs, coordinates(&[1, 2, 3]).into_iter().collect::<HubSet>());
    cast.agrees(wanted);
    assert_eq!(cast.keys(0).pop().unwrap().key.assurance(), Assurance::InformationTheoretic);
    let mut other = offer.clone();
    other.suites = vec![KeySuite::ChaCha20Poly1305];
    assert_eq!(cast.negotiate(&other, wish), Err(NegotiationError::Suite));
    // The peer's lifetime is a limit as well.
    other = offer;
    other.maximum_lifetime = 30;
    assert_eq!(cast.negotiate(&other, wish).unwrap().lifetime, 30);
    Oracle::acquit(&cast);
}

/// A hub is taken away from one end while keys go on, and comes back later with the same tables: keys that name it fail clearly,
/// the ends agree on the others, nothing of its tables is used twice, and when it is back it takes part again.
#[test]
fn scenario_65_a_hub_is_taken_away_and_comes_back() {
    let mut cast = cast(65, &setup(4, 2));
    cast.agrees(KeyRequest::new(2));
    // Under way when the hub goes.
    let mut wish = KeyRequest::new(2);
    wish.lifetime = 30;
    let between = cast.request(0, 1, wish);
    cast.goes_without(1, &[3]);
    cast.settle(60);
    match cast.failure(0, between) {
        None => cast.assert_agreed(0, 1, between),
        Some(error) => assert_eq!(error, KeyError::Unconfirmed),
    }
    let id = cast.request(0, 1, wish);
    cast.settle(60);
    assert_eq!(cast.failure(0, id), Some(KeyError::Unconfirmed));
    cast.publish();
    let offer = cast.offer().unwrap();
    let wanted = cast.negotiate(&offer, wish).unwrap();
    assert_eq!(wanted.hubs, coordinates(&[1, 2, 3]).into_iter().collect::<HubSet>());
    cast.agrees(wanted);
    // The other end goes without it too, and starts twice meanwhile: what is stored of the link is kept.
    for _ in 0..2 {
        cast.goes_without(0, &[3]);
        cast.agrees(wanted);
    }
    cast.goes_without(1, &[]);
    cast.goes_without(0, &[]);
    cast.publish();
    let offer = cast.offer().unwrap();
    let mut wanted = cast.negotiate(&offer, wish).unwrap();
    assert_eq!(wanted.threshold, 3, "of four");
    wanted.threshold = 4;
    cast.agrees(wanted);
    Oracle::acquit(&cast);
}
