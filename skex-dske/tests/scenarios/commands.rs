//! What clients ask of their hubs beside relaying: names, offers, withdrawals, authorisations; among liars, losses and crashes.

use core::time::Duration;

use skex_core::{Assurance, KeyId};
use skex_dske::{
    Authorised, Client, ClientError, ClientEvent, CommandReport, Conduct, FoundPeer, HubCommand, KeyError,
    KeyRequest, LookupError, Release, ResponderPolicy,
};
use skex_sim::{Either, Link, PowerLoss, Receipts, Verdict, for_each_seed};
use skex_wire::dske::{AnswerStatus, OutcomeStatus};

use crate::oracle::Oracle;
use crate::seeds;
use crate::world::{Cast, Setup, SharedPad, cast, tag};

const BOB: &str = "bob@example";

/// Everybody's hubs know client 1 as bob.
fn with_bob(hubs: usize) -> Setup {
    let mut setup = Setup::new(hubs);
    setup.names = (0..hubs).map(|hub| (hub, 1, BOB)).collect();
    setup
}

/// As [`with_bob`], with a third client as whom these hubs know bob.
fn with_mallory(hubs: usize, liars: &[usize], threshold: u8) -> Setup {
    let mut setup = Setup::new(hubs);
    setup.clients = 3;
    setup.names = (0..hubs).map(|hub| (hub, if liars.contains(&hub) { 2 } else { 1 }, BOB)).collect();
    let mut policy = ResponderPolicy::default();
    policy.minimum_threshold = threshold;
    setup.policy = Some(policy);
    setup
}

impl Cast {
    pub fn command<T>(
        &mut self,
        client: usize,
        call: impl FnOnce(&mut Client<SharedPad>, skex_core::machine::Instant, &mut dyn rand_core::CryptoRng) -> T,
    ) -> Option<T> {
        self.world.call(self.clients[client], |party, now, rng| call(party.left().unwrap(), now, rng))
    }

    pub fn look_up(&mut self, client: usize, name: &str) {
        self.command(client, |client, now, rng| client.look_up(now, rng, name.as_bytes())).unwrap().unwrap();
    }

    fn events_of(&self, client: usize) -> impl Iterator<Item = &ClientEvent> {
        let node = self.clients[client];
        self.world.events().iter().filter(move |happened| happened.node == node).filter_map(|happened| {
            match &happened.event {
                Either::Left(event) => Some(event),
                _ => None,
            }
        })
    }

    /// What each look-up of this client came to.
    pub fn lookups(&self, client: usize) -> Vec<Result<FoundPeer, LookupError>> {
        let ended = self.events_of(client).filter_map(|event| match event {
            ClientEvent::LookupEnded { result, .. } => Some(result.clone()),
            _ => None,
        });
        ended.collect()
    }

    /// What the hubs said to each command of this client.
    pub fn outcomes(&self, client: usize) -> Vec<(HubCommand, Vec<Option<OutcomeStatus>>)> {
        let ended = self.events_of(client).filter_map(|event| match event {
            ClientEvent::CommandEnded { command, hubs } => {
                Some((*command, hubs.iter().map(|CommandReport { outcome, .. }| *outcome).collect()))
            }
            _ => None,
        });
        ended.collect()
    }

    pub fn withdraw(&mut self, client: usize, id: KeyId) {
        self.command(client, |client, now, rng| client.withdraw(now, rng, id)).unwrap().unwrap();
    }

    pub fn authorise(&mut self, client: usize, peer: usize, allowed: bool) {
        let peer = self.tags[peer];
        let told = self.command(client, |client, now, rng| client.authorise(now, rng, peer, allowed));
        told.unwrap().unwrap();
    }
}

fn short(threshold: u8) -> KeyRequest {
    let mut request = KeyRequest::new(threshold);
    request.lifetime = 20;
    request
}

/// A client that knows nobody finds a peer by its name, and has a key with it.
#[test]
fn a_peer_is_found_by_its_name_and_asked_for_a_key() {
    let mut setup = with_bob(5);
    setup.clients = 2;
    let mut cast = cast(1, &setup);
    cast.look_up(0, BOB);
    cast.settle(5);
    let found = cast.lookups(0).pop().unwrap().unwrap();
    assert_eq!((found.tag, found.offer, found.assurance), (tag(1), None, Assurance::InformationTheoretic));
    assert_eq!(found.agreed, cast.hub_ids);
    assert!(found.contradicted.is_empty());
    let id = cast.request(0, 1, KeyRequest::new(3));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    assert_eq!(Oracle::acquit(&cast).outcomes, 5);
}

/// Whom a client does not have in its configuration it can ask only after it was found.
#[test]
fn a_stranger_can_be_asked_once_it_was_found() {
    let mut setup = with_bob(3);
    setup.peers_known = false;
    let mut cast = cast(2, &setup);
    cast.settle(1);
    assert_eq!(cast.try_request(0, 1, short(2)), Err(ClientError::UnknownPeer));
    cast.look_up(0, BOB);
    cast.settle(5);
    let id = cast.request(0, 1, short(2));
    cast.settle(40);
    // The responder accepts from its own peers alone, whoever found it.
    assert_eq!((cast.key(0, id), cast.key(1, id)), (None, None));
    assert_eq!(cast.failure(0, id), Some(KeyError::Unconfirmed));
    Oracle::acquit(&cast);
}

#[test]
fn a_name_that_nobody_has() {
    let mut cast = cast(3, &with_bob(3));
    cast.look_up(0, "carol@example");
    cast.settle(5);
    assert_eq!(cast.lookups(0), [Err(LookupError::Unknown { contradicted: Vec::new() })]);
    for name in [String::new(), "x".repeat(65)] {
        let refused = cast.command(0, |client, now, rng| client.look_up(now, rng, name.as_bytes()));
        assert_eq!(refused.unwrap(), Err(ClientError::Name));
    }
    Oracle::acquit(&cast);
}

/// Rule 5: a name that is squatted at the hubs where its owner is absent, k - 1 of them, is not believed; the liars are named.
#[test]
fn scenario_20_fewer_hubs_than_the_threshold_cannot_give_a_name_to_another() {
    for (hubs, threshold, liars) in
        [(3, 2, vec![1]), (5, 3, vec![0, 4]), (5, 3, vec![0]), (7, 4, vec![1, 2, 6])]
    {
        let mut cast = cast(4, &with_mallory(hubs, &liars, threshold));
        cast.look_up(0, BOB);
        cast.settle(5);
        let found = cast.lookups(0).pop().unwrap().unwrap();
        assert_eq!(found.tag, tag(1));
        let named: Vec<_> = liars.iter().map(|&hub| cast.hub_ids[hub]).collect();
        assert_eq!(found.contradicted, named);
        Oracle::acquit(&cast);
    }
}

/// k - 1 liars and so many silent hubs that fewer than k honest ones are left: no tag at all is believed.
#[test]
fn liars_among_silent_hubs_are_not_believed_either() {
    let mut cast = cast(5, &with_mallory(5, &[0, 1], 3));
    cast.world.kill(cast.hubs[3]);
    cast.look_up(0, BOB);
    cast.settle(60);
    let answered = [0, 1, 2, 4].map(|hub| cast.hub_ids[hub]).to_vec();
    assert_eq!(cast.lookups(0), [Err(LookupError::NoAgreement { answered })]);
    Oracle::acquit(&cast);
}

/// Two tags with k votes each: more hubs lie than the threshold allows for, and both are refused.
#[test]
fn two_tags_with_enough_votes_each_are_both_refused() {
    let mut cast = cast(6, &with_mallory(5, &[1, 3], 2));
    cast.look_up(0, BOB);
    cast.settle(5);
    let ids = |hubs: &[usize]| hubs.iter().map(|&hub| cast.hub_ids[hub]).collect::<Vec<_>>();
    let contradiction = LookupError::Contradiction { camps: vec![ids(&[0, 2, 4]), ids(&[1, 3])] };
    assert_eq!(cast.lookups(0), [Err(contradiction)]);
    assert_eq!(cast.try_request(0, 1, short(2)).err(), None, "client 1 is in the configuration");
    Oracle::acquit(&cast);
}

/// A bad net, answers that come twice and late: each look-up ends once, and every outcome is repeated to the letter.
#[test]
fn commands_on_a_terrible_net_end_once_each() {
    for_each_seed(0..seeds(20), |seed| {
        let mut cast = cast(seed, &with_bob(3));
        cast.world.net_mut().set_default_link(Link::terrible());
        for _ in 0..4 {
            cast.look_up(0, BOB);
            cast.command(1, |client, now, rng| client.publish(now, rng)).unwrap().unwrap();
            cast.settle(40);
        }
        let lookups = cast.lookups(0);
        assert_eq!(lookups.len(), 4);
        assert!(lookups.iter().all(|result| result.as_ref().is_ok_and(|found| found.tag == tag(1))));
        assert_eq!(cast.outcomes(1).len(), 4);
        Oracle::acquit(&cast);
    });
}

/// Everything that was ever said comes again: an outcome answers its own command alone, and changes nothing a second time.
#[test]
fn replayed_commands_and_outcomes_change_nothing() {
    let mut cast = cast(7, &with_bob(3));
    cast.look_up(0, BOB);
    cast.authorise(1, 0, false);
    cast.settle(5);
    cast.authorise(1, 0, true);
    cast.look_up(0, "carol@example");
    cast.settle(5);
    for index in 0..cast.world.net().sent().len() {
        let at = cast.now().saturating_add(Duration::from_millis(index as u64));
        cast.world.net_mut().replay(index, at);
    }
    cast.settle(20);
    assert_eq!((cast.lookups(0).len(), cast.outcomes(1).len()), (2, 2));
    // The second authorisation stands.
    let id = cast.request(0, 1, short(2));
    cast.settle(10);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}

/// What a client publishes is told to whoever looks it up, once k hubs say the same; and no more when it is taken back.
#[test]
fn what_a_peer_accepts_is_found_with_it() {
    let mut setup = with_bob(5);
    let mut policy = ResponderPolicy::default();
    (policy.minimum_threshold, policy.maximum_lifetime) = (3, 900);
    policy.minimum_assurance = Assurance::InformationTheoretic;
    setup.policy = Some(policy);
    let mut cast = cast(8, &setup);
    cast.command(1, |client, now, rng| client.publish(now, rng)).unwrap().unwrap();
    cast.settle(5);
    assert_eq!(
        cast.outcomes(1),
        [(HubCommand::Publish { withdrawn: false }, vec![Some(OutcomeStatus::DONE); 5])]
    );
    // It is durable.
    cast.restart_hubs();
    cast.look_up(0, BOB);
    cast.settle(30);
    let offer = cast.lookups(0).pop().unwrap().unwrap().offer.unwrap();
    assert_eq!((offer.minimum_threshold, offer.maximum_lifetime), (3, 900));
    assert_eq!(offer.minimum_assurance, Assurance::InformationTheoretic);
    assert_eq!(offer.suites, [skex_dske::KeySuite::OneTime]);
    assert_eq!(offer.coordinates.len(), 5);
    cast.command(1, |client, now, rng| client.unpublish(now, rng)).unwrap().unwrap();
    cast.settle(5);
    cast.look_up(0, BOB);
    cast.settle(5);
    assert_eq!(cast.lookups(0).pop().unwrap().unwrap().offer, None);
    Oracle::acquit(&cast);
}

/// Of two commands of which the last one holds, the second waits for the outcome of the first, however slow the hub's disk is.
#[test]
fn the_end_of_a_publication_waits_for_the_publication() {
    let mut cast = cast(10, &with_bob(3));
    cast.settle(2);
    for hub in cast.hubs.clone() {
        cast.world.set_receipts(hub, Receipts::After(Duration::from_secs(2)));
    }
    cast.command(1, |client, now, rng| client.publish(now, rng)).unwrap().unwrap();
    cast.command(1, |client, now, rng| client.unpublish(now, rng)).unwrap().unwrap();
    // Another peer's authorisation does not wait for this one's.
    cast.authorise(1, 0, true);
    cast.settle(5);
    let done = vec![Some(OutcomeStatus::DONE); 3];
    let authorised = HubCommand::Authorise { peer: tag(0), allowed: true };
    assert_eq!(
        cast.outcomes(1),
        [(HubCommand::Publish { withdrawn: false }, done.clone()), (authorised, done.clone())]
    );
    cast.settle(20);
    assert!(cast.outcomes(1).contains(&(HubCommand::Publish { withdrawn: true }, done)));
    Oracle::acquit(&cast);
}

/// Found by fuzzing the network: the first of two commands is held back, and comes when the second is done, or long after its own
/// time. It must not undo the second: that waits for its outcome, or leaves in another session.
#[test]
fn an_authorisation_that_is_held_back_does_not_undo_what_was_said_later() {
    for (late, given_up) in [(3, 1), (90, 31)] {
        let mut cast = cast(11, &Setup::new(3));
        cast.settle(2);
        // Two keys, and it has room for a third and the commands without another lease.
        for _ in 0..2 {
            let id = cast.request(1, 0, KeyRequest::new(2));
            cast.settle(5);
            cast.assert_agreed(1, 0, id);
        }
        cast.authorise(1, 0, false);
        cast.settle(20);
        let client = cast.clients[1];
        cast.world.net_mut().intercept(move |sent| {
            let held = Verdict::Delay(Duration::from_secs(late));
            if sent.node == Some(client) { held } else { Verdict::Pass }
        });
        // Its uploads are on their way too, so that the floor stays below the command.
        let other = cast.request(1, 0, KeyRequest::new(2));
        cast.authorise(1, 0, true);
        cast.settle(given_up);
        cast.world.net_mut().intercept(|_| Verdict::Pass);
        cast.authorise(1, 0, false);
        cast.settle(100);
        cast.assert_agreed(1, 0, other);
        let [_, (_, allowed), (withdrawn, done)] = &cast.outcomes(1)[..] else { panic!("three commands") };
        assert_eq!(allowed.iter().all(Option::is_some), given_up == 1, "{late}");
        assert_eq!(*withdrawn, HubCommand::Authorise { peer: tag(0), allowed: false }, "{late}");
        assert!(done.iter().all(|status| *status == Some(OutcomeStatus::DONE)), "{late}");
        let id = cast.request(0, 1, short(2));
        cast.settle(60);
        assert_eq!((cast.key(0, id), cast.key(1, id)), (None, None), "{late}: what was said last holds");
        Oracle::acquit(&cast);
    }
}

/// A key that is taken back before its shares were delivered never reaches the responder.
#[test]
fn a_withdrawn_key_does_not_arrive() {
    let mut cast = cast(9, &Setup::new(3));
    cast.settle(2);
    cast.world.kill(cast.clients[1]);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(2);
    for hub in cast.hubs.clone() {
        // Its session with the responder is gone, and with it what was sent in vain.
        cast.world.restart(hub);
    }
    cast.settle(30);
    cast.withdraw(0, id);
    cast.settle(5);
    // After a start a hub does not know any more what it had sent before.
    let sent = Some(OutcomeStatus::SENT);
    assert_eq!(cast.outcomes(0), [(HubCommand::Withdraw(id), vec![sent; 3])]);
    cast.world.restart(cast.clients[1]);
    cast.settle(60);
    assert_eq!((cast.key(0, id), cast.key(1, id), cast.failure(0, id)), (None, None, None));
    Oracle::acquit(&cast);
}

/// Hubs that have no way to the responder yet say that nothing was sent; the share is gone from their stores, and a replay
/// of the upload or of the withdrawal brings nothing back.
#[test]
fn what_was_not_sent_is_withdrawn_for_good() {
    let mut cast = cast(10, &Setup::new(3));
    cast.world.kill(cast.clients[1]);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(2);
    cast.withdraw(0, id);
    cast.settle(5);
    assert_eq!(cast.outcomes(0), [(HubCommand::Withdraw(id), vec![Some(OutcomeStatus::DONE); 3])]);
    for index in 0..cast.world.net().sent().len() {
        let at = cast.now().saturating_add(Duration::from_millis(index as u64));
        cast.world.net_mut().replay(index, at);
    }
    cast.settle(5);
    cast.restart_hubs();
    cast.world.restart(cast.clients[1]);
    cast.settle(60);
    assert_eq!(cast.key(1, id), None);
    // Again, after all that: the same is said.
    cast.withdraw(0, id);
    cast.settle(30);
    assert_eq!(cast.outcomes(0)[1].1, vec![Some(OutcomeStatus::DONE); 3]);
    Oracle::acquit(&cast);
}

/// The network holds the uploads back until the key was withdrawn: when they come, they are refused.
/// Carried by `Said::withdrawn` in the hub.
#[test]
fn an_upload_that_is_held_back_until_the_withdrawal_is_refused() {
    let mut cast = cast(11, &Setup::new(3));
    let first = cast.request(0, 1, short(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, first);
    let (client, hubs) = (cast.clients[0], cast.hubs.clone());
    cast.world.net_mut().intercept(move |sent| {
        if sent.node == Some(client) && sent.bytes.len() > 100 {
            return Verdict::Delay(Duration::from_secs(3));
        }
        Verdict::Pass
    });
    // Another key, whose uploads are on their way too, so that the floor stays below both.
    let other = cast.request(0, 1, short(2));
    let id = cast.request(0, 1, short(2));
    cast.world.run_for(Duration::from_millis(200), 1_000_000);
    cast.withdraw(0, id);
    cast.settle(30);
    cast.assert_agreed(0, 1, other);
    assert_eq!(cast.outcomes(0), [(HubCommand::Withdraw(id), vec![Some(OutcomeStatus::UNKNOWN); 3])]);
    assert_eq!(cast.key(1, id), None);
    for hub in hubs {
        let discards = cast.world.machine(hub).map(|party| match party {
            Either::Right(hub) => hub.discards(skex_core::machine::DiscardReason::Policy),
            Either::Left(_) => 0,
        });
        assert!(discards.unwrap() >= 1, "the upload came and was refused");
    }
    Oracle::acquit(&cast);
}

/// The network lets the shares through, and holds the withdrawal back until the hubs have forgotten the key. The responder has it, and that hubs
/// know nothing of it any more is not taken for "it never left".
#[test]
fn a_withdrawal_that_is_held_back_until_the_key_is_forgotten_is_not_believed() {
    for hold in [Duration::from_secs(4), Duration::from_secs(10)] {
        let mut cast = cast(14, &Setup::new(3));
        // So that there are leases.
        let first = cast.request(0, 1, short(2));
        cast.settle(30);
        cast.assert_agreed(0, 1, first);
        let mut request = KeyRequest::new(2);
        request.lifetime = 5;
        let id = cast.request(0, 1, request);
        let (client, hubs) = (cast.clients[0], cast.hubs.clone());
        let addresses = hubs.iter().map(|hub| cast.world.net().address(*hub)).collect::<Vec<_>>();
        let own = cast.world.net().address(client);
        let over = cast.now().saturating_add(hold);
        // Uploads pass, and nothing else of this client, before that time.
        cast.world.net_mut().intercept(move |sent| {
            let withdrawal =
                addresses.contains(&sent.to) && sent.node == Some(client) && sent.bytes.len() < 100;
            if sent.at < over && (sent.to == own || withdrawal) { Verdict::Drop } else { Verdict::Pass }
        });
        cast.world.run_for(Duration::from_millis(500), 1_000_000);
        cast.withdraw(0, id);
        cast.settle(60);
        assert!(cast.key(1, id).is_some() && cast.key(0, id).is_none());
        let outcomes = cast.outcomes(0);
        let [(HubCommand::Withdraw(of), said)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!(*of, id);
        for outcome in said {
            assert!(matches!(outcome, None | Some(OutcomeStatus::ANSWERED)), "{hold:?}: {outcomes:?}");
        }
        Oracle::acquit(&cast);
    }
}

/// Too late: the responder has the key, and the hubs say that it answered.
#[test]
fn a_key_that_was_answered_cannot_be_withdrawn() {
    let mut cast = cast(12, &Setup::new(3));
    let mut request = KeyRequest::new(2);
    request.release = Release::AtThreshold;
    let id = cast.request(0, 1, request);
    cast.settle(5);
    cast.withdraw(0, id);
    cast.settle(5);
    assert_eq!(cast.outcomes(0), [(HubCommand::Withdraw(id), vec![Some(OutcomeStatus::ANSWERED); 3])]);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}

/// A responder wants no more of an initiator: what waits goes, what comes is refused; and it can change its mind.
#[test]
fn scenario_64_an_initiator_loses_its_authorisation_and_gets_it_back() {
    for start in [Authorised::Everyone, Authorised::Only(vec![tag(0), tag(1)])] {
        let mut setup = Setup::new(3);
        setup.authorised = start;
        let mut cast = cast(13, &setup);
        let first = cast.request(0, 1, short(2));
        cast.settle(5);
        cast.assert_agreed(0, 1, first);
        cast.authorise(1, 0, false);
        cast.settle(5);
        let command = HubCommand::Authorise { peer: tag(0), allowed: false };
        assert_eq!(cast.outcomes(1), [(command, vec![Some(OutcomeStatus::DONE); 3])]);
        // It is durable.
        cast.restart_hubs();
        cast.settle(30);
        let id = cast.request(0, 1, short(2));
        cast.settle(10);
        let refused = KeyError::Refused(AnswerStatus::NOT_AUTHORISED);
        assert_eq!((cast.key(1, id), cast.failure(0, id)), (None, Some(refused)));
        // Nobody else suffers.
        let back = cast.request(1, 0, short(2));
        cast.settle(10);
        cast.assert_agreed(1, 0, back);
        cast.authorise(1, 0, true);
        cast.settle(5);
        let id = cast.request(0, 1, short(2));
        cast.settle(10);
        cast.assert_agreed(0, 1, id);
        assert_eq!(cast.conducts(0, id).unwrap(), [Conduct::Good; 3]);
        Oracle::acquit(&cast);
    }
}

/// Rule 3, where the initiators were authorised by commands: a start of the hubs gives nobody a second part of the downlink.
/// Carried by the order in which a hub restores authorisations and what was spent.
#[test]
fn a_start_gives_no_second_part_to_initiators_that_were_authorised_by_command() {
    let mut setup = Setup::new(3);
    (setup.clients, setup.table_elements) = (4, 2048);
    setup.authorised = Authorised::Only(vec![tag(2)]);
    let mut cast = cast(20, &setup);
    for initiator in [3, 0] {
        cast.authorise(1, initiator, true);
        cast.settle(5);
    }
    cast.two_drain_a_downlink_and_a_third_is_served(2, 240, Some(180));
}

/// What waits of an initiator when it loses its authorisation is dropped with it.
#[test]
fn shares_that_wait_go_with_the_authorisation() {
    let mut cast = cast(14, &Setup::new(3));
    cast.settle(1);
    let (clients, hubs) = (cast.clients.clone(), cast.hubs.clone());
    let deaf = clients[1];
    cast.world.net_mut().intercept(move |sent| {
        // The responder hears no delivery.
        if sent.node != Some(deaf) && sent.bytes.len() > 200 { Verdict::Drop } else { Verdict::Pass }
    });
    for &hub in &hubs {
        cast.world.net_mut().cut(clients[0], hub);
    }
    cast.world.net_mut().heal();
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(3);
    cast.authorise(1, 0, false);
    cast.settle(3);
    cast.world.net_mut().stop_intercepting();
    cast.settle(60);
    assert_eq!(cast.key(1, id), None);
    Oracle::acquit(&cast);
}

/// Power is lost at every point of everybody while names are looked up, offers published, initiators authorised and keys
/// withdrawn: every command can be given again, and nothing is used twice or said before it is durable.
#[test]
fn commands_with_a_crash_at_every_point() {
    let build = || {
        let mut setup = with_bob(2);
        setup.table_elements = 2048;
        let mut cast = cast(15, &setup);
        cast.world.net_mut().set_default_link(Link::ideal().latency(10));
        cast
    };
    let commands = |cast: &mut Cast| {
        let _ = cast.command(0, |client, now, rng| client.look_up(now, rng, BOB.as_bytes()));
        let _ = cast.command(1, |client, now, rng| client.publish(now, rng));
        let peer = tag(0);
        let _ = cast.command(1, |client, now, rng| client.authorise(now, rng, peer, false));
        let _ = cast.try_request_if_up(1, 0, short(2));
        cast.world.run_for(Duration::from_secs(2), 1_000_000);
        let asked = cast.try_request_if_up(1, 0, short(2));
        if let Some(Ok(id)) = asked {
            let _ = cast.command(1, |client, now, rng| client.withdraw(now, rng, id));
        }
        cast.world.run_for(Duration::from_secs(2), 1_000_000);
    };
    let mut honest = build();
    let first: Vec<u64> = honest.world.nodes().map(|node| honest.world.points(node)).collect();
    commands(&mut honest);
    let mut crashes = 0;
    for (node, first) in honest.world.nodes().zip(first) {
        for point in first..honest.world.points(node) {
            let mut cast = build();
            cast.world.restart_after(Duration::from_millis(400));
            cast.world.crash_at(node, point, PowerLoss::Any);
            commands(&mut cast);
            // All again, and to the end.
            cast.settle(40);
            cast.authorise(1, 0, false);
            cast.look_up(0, BOB);
            cast.settle(40);
            assert_eq!(cast.outcomes(1).pop().unwrap().1, vec![Some(OutcomeStatus::DONE); 2]);
            assert_eq!(cast.lookups(0).pop().unwrap().unwrap().tag, tag(1));
            cast.authorise(1, 0, true);
            cast.settle(10);
            let id = cast.request(0, 1, short(2));
            cast.settle(10);
            cast.assert_agreed(0, 1, id);
            Oracle::acquit(&cast);
            crashes += 1;
        }
    }
    assert!(crashes > 60, "{crashes}");
}

/// At the bound comes an error, and a command that no table has room for fails at once.
#[test]
fn commands_have_a_bound() {
    let mut cast = cast(16, &with_bob(2));
    for _ in 0..8 {
        cast.look_up(0, BOB);
    }
    let more = cast.command(0, |client, now, rng| client.look_up(now, rng, BOB.as_bytes())).unwrap();
    assert_eq!(more, Err(ClientError::Busy));
    cast.settle(10);
    assert_eq!(cast.lookups(0).len(), 8);
    Oracle::acquit(&cast);
}
