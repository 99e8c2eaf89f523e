//! Clients that are revoked by a hub's operator, and enrolled anew.

use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use skex_core::machine::PeerHandle;
use skex_core::{Assurance, SecretBytes};
use skex_dske::{
    Client, ClientConfig, ClientId, ConfigError, Coordinate, Hub, HubClient, HubCommand, HubConfig, HubError,
    HubEvent, HubLink, KeyError, KeyRequest, Origin, Release, RestoreError, Table,
};
use skex_sim::{Either, Link, PowerLoss, Receipts, Verdict};
use skex_wire::SuiteId;
use skex_wire::dske::{AnswerStatus, Direction, InnerType, OutcomeStatus};

use crate::attacks::liar::{Liar, pass};
use crate::crash::take;
use crate::oracle::Oracle;
use crate::sharded::WHOLE;
use crate::world::{Cast, Lie, Setup, SharedPad, cast, tag};

impl Cast {
    fn revoke(&mut self, hub: usize, client: u32) -> Option<Result<(), HubError>> {
        self.world
            .call(self.hubs[hub], |party, now, _| party.right().unwrap().revoke(now, ClientId::new(client)))
    }

    /// All hubs revoke a client: by an order, or at a start where its tables are lost.
    fn revoke_everywhere(&mut self, client: usize, lost: bool) {
        for hub in 0..self.hubs.len() {
            if lost {
                self.revision.borrow_mut().lost.push((hub, client));
            } else {
                self.revoke(hub, client as u32).unwrap().unwrap();
            }
        }
        if lost {
            self.restart_hubs();
        }
    }

    /// The clients of which hub `hub` said that they are revoked.
    fn revoked(&self, hub: usize) -> Vec<u32> {
        let events = self.world.events().iter().filter(|happened| happened.node == self.hubs[hub]);
        let revoked = events.filter_map(|happened| match &happened.event {
            Either::Right(HubEvent::ClientRevoked { client, .. }) => Some(client.number()),
            _ => None,
        });
        revoked.collect()
    }

    fn enrol(&mut self, hub: usize, client: HubClient<SharedPad>) -> Result<(), HubError> {
        self.world.call(self.hubs[hub], |party, _, _| party.right().unwrap().enrol(client, &[])).unwrap()
    }
}

fn short(threshold: u8) -> KeyRequest {
    let mut request = KeyRequest::new(threshold);
    request.lifetime = 20;
    request
}

fn is_erased(pad: &SharedPad) -> bool {
    pad.octets().iter().all(|octet| *octet == 0)
}

/// All hubs revoke a client. It has no session any more, nobody gets a key with it, its tables at the hubs are gone, and the
/// others go on.
#[test]
fn a_revoked_client_is_gone() {
    let mut setup = Setup::new(3);
    setup.clients = 3;
    let mut cast = cast(1, &setup);
    let id = cast.request(0, 1, short(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    for hub in 0..3 {
        cast.revoke(hub, 1).unwrap().unwrap();
        assert_eq!(cast.revoke(hub, 1), Some(Err(HubError::UnknownClient)));
        assert_eq!(cast.revoked(hub), [1]);
        assert!(is_erased(&cast.hub_uplinks[hub][1]) && is_erased(&cast.hub_downlinks[hub][1]));
    }
    let (there, back) = (cast.request(0, 1, short(2)), cast.request(1, 0, short(2)));
    cast.settle(60);
    assert_eq!(cast.failure(0, there), Some(KeyError::Refused(AnswerStatus::UNKNOWN_PEER)));
    assert_eq!(cast.failure(1, back), Some(KeyError::TooFewHubs));
    let other = cast.request(0, 2, short(2));
    cast.settle(5);
    cast.assert_agreed(0, 2, other);
    Oracle::acquit(&cast);
}

/// The tables of a client are lost at one hub, of which that has stored whatever a hub stores of a client. It does not start without
/// them; where it is to be revoked it does, also after a crash before that is durable, and once the configuration leaves it out. Its
/// number is never given again.
#[test]
fn a_client_whose_tables_are_lost_is_revoked_at_a_start() {
    let mut setup = Setup::new(2);
    (setup.clients, setup.names) = (3, vec![(0, 1, "bob"), (1, 1, "bob")]);
    let mut cast = cast(12, &setup);
    for (initiator, responder) in [(0, 1), (1, 2)] {
        let id = cast.request(initiator, responder, short(2));
        cast.settle(5);
        cast.assert_agreed(initiator, responder, id);
    }
    cast.authorise(1, 2, false);
    cast.command(1, |client, now, rng| client.publish(now, rng)).unwrap().unwrap();
    cast.settle(5);
    cast.provision((0, 1), (true, 1), Origin::OutOfBand, 64, true);
    let replaced = cast.world.call(cast.hubs[0], |party, _, _| {
        party.right().unwrap().replace_initial_key(ClientId::new(1), SecretBytes::copied_from(&[7; 32]))
    });
    replaced.unwrap().unwrap();
    cast.world.kill(cast.clients[1]);
    let waiting = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    let (hub, tables) = (cast.hubs[0], (cast.hub_uplinks[0][1].clone(), cast.hub_downlinks[0][1].clone()));
    let untouched = (tables.0.octets(), tables.1.octets());
    cast.revision.borrow_mut().lost.push((0, 1));
    // The power goes again, before anything is durable or once it is.
    for how in [PowerLoss::Loses, PowerLoss::Lands] {
        for point in 0..4 {
            cast.world.crash_at(hub, cast.world.points(hub) + point, how);
            cast.world.restart(hub);
            cast.settle(2);
            assert!((how, point) != (PowerLoss::Loses, 0) || cast.revoked(0).is_empty());
        }
    }
    let told = cast.revoked(0).len();
    cast.world.restart(hub);
    cast.settle(2);
    assert_eq!(cast.revoked(0), vec![1; told + 1]);
    let erased = cast.world.events().iter().filter(|happened| {
        matches!(happened.event, Either::Right(HubEvent::ClientRevoked { erased: true, .. }))
    });
    assert_eq!(erased.count(), 0, "it was given no table, and says that none is erased");
    let told = cast.revoked(0).len();
    assert_eq!((tables.0.octets(), tables.1.octets()), untouched);
    assert_eq!(cast.revoke(0, 1), Some(Err(HubError::UnknownClient)));
    for starts in [false, true] {
        if starts {
            let mut revision = cast.revision.borrow_mut();
            revision.lost.clear();
            revision.left_out.push((0, 1));
            drop(revision);
            cast.further.borrow_mut().clear();
            cast.world.restart(hub);
            cast.settle(2);
            assert_eq!(cast.revoked(0).len(), told, "the configuration leaves it out");
        }
        let others = cast.request(0, 2, short(2));
        cast.settle(20);
        cast.assert_agreed(0, 2, others);
        let refused = cast.request(0, 1, short(2));
        cast.settle(60);
        assert_eq!((cast.key(0, refused), cast.key(0, waiting)), (None, None));
    }
    let same = cast.make_anew(0, 1, 1);
    assert_eq!(cast.enrol(0, same.at_hub()), Err(HubError::Enrolment));
    let next = cast.make_anew(0, 1, 3);
    assert_eq!(cast.enrol(0, next.at_hub()), Ok(()));
    Oracle::acquit(&cast);
}

/// What is revoked at a start is no client of the configuration, and what neither is one nor is to be revoked is missing.
#[test]
fn who_is_left_out_of_a_configuration_was_revoked_or_is_to_be() {
    let mut setup = Setup::new(2);
    setup.shards = WHOLE;
    let mut cast = cast(13, &setup);
    cast.settle(1);
    let records: Vec<Vec<u8>> =
        cast.world.disk(cast.hubs[0]).records().map(|(_, record)| record.to_vec()).collect();
    let config = || {
        let client = cast.make_anew(0, 0, 0).at_hub();
        HubConfig::new(cast.hub_ids[0], Coordinate::new(1).unwrap(), vec![client]).unwrap()
    };
    let restored =
        |config| Hub::restore(config, &records, cast.now(), &mut ChaCha20Rng::seed_from_u64(1)).map(drop);
    let (first, second) = (ClientId::new(0), ClientId::new(1));
    assert_eq!(restored(config()), Err(RestoreError::Configuration));
    assert_eq!(restored(config().without(second, tag(1)).unwrap()), Ok(()));
    let other = config().without(ClientId::new(2), tag(2)).unwrap();
    assert_eq!(restored(other), Err(RestoreError::Configuration));
    let refused = [(first, tag(5)), (second, tag(0)), (ClientId::new(ClientId::LIMIT), tag(1))];
    for (client, tag) in refused {
        assert_eq!(config().without(client, tag).map(drop), Err(ConfigError::ClientIds), "{client:?}");
    }
    let twice = config().without(second, tag(1)).unwrap().without(second, tag(1));
    assert_eq!(twice.map(drop), Err(ConfigError::ClientIds));
}

/// A store is slow, and what a hub says without an envelope waits for it, when the client is revoked: its answer to a hello under another initial key,
/// or its plea for one, after a start. Nobody is told anything more.
#[test]
fn nothing_that_waits_for_the_store_leaves_for_a_client_that_is_revoked() {
    for (starts, revokes) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut setup = Setup::new(3);
        setup.shards = WHOLE;
        let mut cast = cast(1, &setup);
        cast.settle(5);
        let (hub, client) = (cast.hubs[0], cast.clients[1]);
        cast.world.set_receipts(hub, Receipts::Withheld { from: 0 });
        if starts {
            cast.world.restart(hub);
        } else {
            let (key, id) = (|| SecretBytes::copied_from(&[7; 32]), cast.hub_ids[0]);
            let replaced = cast
                .world
                .call(hub, |party, _, _| party.right().unwrap().replace_initial_key(ClientId::new(1), key()));
            replaced.unwrap().unwrap();
            let replaced = cast.world.call(client, |party, now, rng| {
                party.left().unwrap().replace_initial_key(now, rng, id, key())
            });
            replaced.unwrap().unwrap();
        }
        cast.settle(20);
        if revokes {
            cast.revoke(0, 1).unwrap().unwrap();
        }
        let address = cast.world.net().address(client);
        let said = |cast: &Cast| cast.world.net().sent_by(hub).filter(|sent| sent.to == address).count();
        let before = said(&cast);
        cast.world.set_receipts(hub, Receipts::AtOnce);
        cast.world.release_receipts(hub);
        cast.settle(5);
        assert_eq!(said(&cast) > before, !revokes, "starts: {starts}");
    }
}

/// The storage of a table fails when its client is revoked, or at the next start, when it is to be erased once more. The operator is told.
#[test]
fn a_table_of_a_revoked_client_that_could_not_be_erased_is_told_of() {
    for downlink in [false, true] {
        let mut cast = cast(1, &Setup::new(3));
        cast.settle(2);
        let table = if downlink { &cast.hub_downlinks[0][1] } else { &cast.hub_uplinks[0][1] }.clone();
        let erased = |cast: &Cast| {
            let told = cast.world.events().iter().filter_map(|happened| match happened.event {
                Either::Right(HubEvent::ClientRevoked { erased, .. }) => Some(erased),
                _ => None,
            });
            told.collect::<Vec<_>>()
        };
        table.set_lie(Lie::Broken);
        cast.revoke(0, 1).unwrap().unwrap();
        assert_eq!(erased(&cast), [false]);
        // The configuration still has it.
        cast.restart_hubs();
        cast.settle(1);
        assert_eq!(erased(&cast), [false, false]);
        table.set_lie(Lie::None);
        cast.restart_hubs();
        cast.settle(1);
        assert_eq!(erased(&cast), [false, false, true]);
        assert!(is_erased(&cast.hub_uplinks[0][1]) && is_erased(&cast.hub_downlinks[0][1]));
    }
}

/// What waited for a revoked client, or came from it, is dropped, and not delivered after a start either.
#[test]
fn what_waits_goes_with_the_client() {
    for (revoked, lost) in [(0, false), (0, true), (1, false), (1, true)] {
        let mut cast = cast(2, &Setup::new(3));
        cast.settle(1);
        cast.world.kill(cast.clients[1]);
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(3);
        cast.revoke_everywhere(revoked as usize, lost);
        cast.restart_hubs();
        cast.world.restart(cast.clients[1]);
        cast.settle(60);
        assert_eq!((cast.key(0, id), cast.key(1, id)), (None, None));
        // The configuration still has it, or still names it as one that is to be revoked: told again.
        assert_eq!(cast.revoked(0), [revoked, revoked]);
        Oracle::acquit(&cast);
    }
}

/// A responder has its share, or part of a key is on its way to it, or nothing of it has left, when all hubs revoke it. The initiator takes the key
/// back, hubs having started in between or not, and is told the truth by each: nobody says that there was no such key.
#[test]
fn what_had_left_for_a_revoked_client_is_told_to_who_takes_the_key_back() {
    let ways = [(false, false), (true, false), (false, true), (true, true)];
    for (sent, (restarts, lost)) in (0..3).flat_map(|sent| ways.map(|way| (sent, way))) {
        let mut cast = cast(3, &Setup::new(3));
        let earlier = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(5);
        cast.assert_agreed(0, 1, earlier);
        if sent < 2 {
            cast.world.kill(cast.clients[1]);
        }
        if sent == 0 {
            // Nor has any hub a session with it.
            cast.restart_hubs();
        }
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(5);
        cast.revoke_everywhere(1, lost);
        cast.settle(30);
        // After a start no hub knows whether a share that waits had left.
        let unsent = if lost { OutcomeStatus::SENT } else { OutcomeStatus::DONE };
        let mut told = [unsent, OutcomeStatus::SENT, OutcomeStatus::ANSWERED][sent];
        if restarts {
            cast.restart_hubs();
            cast.settle(30);
        }
        cast.withdraw(0, id);
        cast.settle(10);
        assert_eq!(
            cast.outcomes(0),
            [(HubCommand::Withdraw(id), vec![Some(told); 3])],
            "{sent} {restarts} {lost}"
        );
        // Nothing of the key is left when its lifetime is over.
        cast.settle(3600);
        cast.withdraw(0, id);
        cast.settle(10);
        told = OutcomeStatus::UNKNOWN;
        let twice = (HubCommand::Withdraw(id), vec![Some(told); 3]);
        assert_eq!(cast.outcomes(0)[1], twice, "{sent} {restarts} {lost}");
        Oracle::acquit(&cast);
    }
}

/// Many keys were confirmed by a responder that all hubs revoke then, and their confirmations are due again. What another responder confirms, of which
/// the first word was lost, comes all the same when the initiator asks.
#[test]
fn what_a_revoked_responder_confirmed_holds_up_no_other_confirmation() {
    let mut setup = Setup::new(2);
    setup.clients = 3;
    let mut cast = cast(7, &setup);
    let mut lasting = KeyRequest::new(2);
    lasting.lifetime = 3600;
    for _ in 0..32 {
        let id = cast.request(0, 1, lasting);
        cast.settle(1);
        cast.assert_agreed(0, 1, id);
    }
    for hub in 0..2 {
        cast.revoke(hub, 1).unwrap().unwrap();
    }
    cast.settle(300);
    let (hubs, own) = (cast.hubs.clone(), cast.world.net().address(cast.clients[0]));
    let over = cast.now().saturating_add(Duration::from_secs(2));
    // Of the length of a CONFIRM.
    cast.world.net_mut().intercept(move |sent| {
        let lost = sent.at < over && sent.to == own && sent.bytes.len() == 76;
        if lost && sent.node.is_some_and(|node| hubs.contains(&node)) { Verdict::Drop } else { Verdict::Pass }
    });
    let id = cast.request(0, 2, short(2));
    cast.settle(1);
    assert!(cast.key(2, id).is_some() && cast.key(0, id).is_none());
    cast.settle(20);
    cast.assert_agreed(0, 2, id);
    Oracle::acquit(&cast);
}

/// An initiator is enrolled anew by all hubs, and takes a key back that it asked for under its old number. The responder has it: no hub says that there was
/// no such key, as long as one may live that was asked for before.
#[test]
fn who_is_enrolled_anew_is_not_told_that_there_was_no_key_before() {
    for restarts in [false, true] {
        let mut cast = cast(8, &Setup::new(3));
        let id = cast.request(0, 1, KeyRequest::new(2));
        cast.settle(5);
        cast.assert_agreed(0, 1, id);
        for hub in 0..3 {
            let anew = cast.make_anew(hub, 0, 2);
            cast.revoke(hub, 0).unwrap().unwrap();
            cast.enrol(hub, anew.at_hub()).unwrap();
            cast.revision.borrow_mut().left_out.push((hub, 0));
            cast.revision.borrow_mut().anew.push(anew);
        }
        cast.world.restart(cast.clients[0]);
        if restarts {
            cast.restart_hubs();
        }
        cast.settle(30);
        cast.withdraw(0, id);
        cast.settle(10);
        let told = |status| (HubCommand::Withdraw(id), vec![Some(status); 3]);
        assert_eq!(cast.outcomes(0), [told(OutcomeStatus::SENT)], "{restarts}");
        cast.settle(70_000);
        cast.withdraw(0, id);
        cast.settle(10);
        assert_eq!(cast.outcomes(0)[1], told(OutcomeStatus::UNKNOWN), "{restarts}");
    }
}

/// Clients that were revoked have no part of anybody's downlink: an initiator gets as many keys as if they had never been there, hubs having started
/// in between or not.
#[test]
fn nothing_of_a_downlink_is_kept_for_those_who_were_revoked() {
    let keys = |revoked: u32, restarts: bool| {
        let mut setup = Setup::new(2);
        setup.table_elements = 512;
        let mut cast = cast(9, &setup);
        cast.settle(1);
        for number in 2..2 + revoked {
            for hub in 0..2 {
                let anew = cast.make_anew(hub, 2, number);
                cast.enrol(hub, anew.at_hub()).unwrap();
                cast.revoke(hub, number).unwrap().unwrap();
            }
        }
        if restarts {
            cast.restart_hubs();
            cast.settle(20);
        }
        let mut agreed = 0;
        while let Ok(id) = cast.try_request(0, 1, short(2)) {
            cast.settle(21);
            agreed += usize::from(cast.key(0, id).is_some() && cast.key(1, id).is_some());
            if cast.failure(0, id).is_some() {
                break;
            }
        }
        agreed
    };
    for restarts in [false, true] {
        let without = keys(0, restarts);
        assert!(without > 20, "{without}");
        for revoked in [1, 3] {
            assert_eq!(keys(revoked, restarts), without, "{revoked} were revoked, {restarts}");
        }
    }
}

/// Of many clients, one has spent its part of a downlink and all that is not kept for others. That one more is enrolled, and is revoked, gives it no second
/// part.
#[test]
fn an_enrolment_gives_nobody_a_second_part_where_there_are_many() {
    let mut setup = Setup::new(2);
    (setup.clients, setup.table_elements) = (67, 512);
    let mut cast = cast(11, &setup);
    cast.settle(1);
    let keys_until_refused = |cast: &mut Cast| {
        let (mut agreed, mut seen) = (0, 0);
        loop {
            let id = cast.request(0, 1, short(2));
            cast.settle(21);
            if let Some(error) = cast.failure(0, id) {
                assert_eq!(error, KeyError::Refused(AnswerStatus::TOO_MANY_WAITING));
                return agreed;
            }
            cast.assert_agreed(0, 1, id);
            agreed += 1;
            take(cast, seen);
            seen = cast.world.events().len();
        }
    };
    let first = keys_until_refused(&mut cast);
    assert!(first > 10, "{first}");
    for hub in 0..2 {
        let anew = cast.make_anew(hub, 67, 67);
        cast.enrol(hub, anew.at_hub()).unwrap();
    }
    assert_eq!(keys_until_refused(&mut cast), 0);
    for hub in 0..2 {
        cast.revoke(hub, 67).unwrap().unwrap();
    }
    assert_eq!(keys_until_refused(&mut cast), 0);
}

/// Three hubs, of which the last reaches client 1 by a table alone that it sent over the network.
fn with_refilled_downlink(seed: u64) -> Cast {
    let mut cast = cast(seed, &Setup::new(3));
    cast.settle(1);
    cast.retire_at_hub(2, 1, Direction::DOWNLINK, 0).unwrap();
    cast.retire_at_client(1, 2, Direction::DOWNLINK, 0).unwrap();
    cast.refill((2, 1), (false, 1), 400);
    cast.settle(20);
    assert_eq!(cast.store_refills(0), 1);
    cast.settle(20);
    cast
}

/// A share leaves for a responder by a table that came over the network, and is lost on its way. The hub enrols the responder anew, with tables out of band, and
/// others deliver the key: it is computational, for whoever recorded the traffic may have that share. The client having started once more in between, or not.
/// A key that is asked for when no such share can be about any more is information-theoretic.
#[test]
fn an_enrolment_anew_does_not_make_better_what_left_before() {
    for (starts, late) in [(1, false), (2, false), (1, true), (2, true)] {
        let mut cast = with_refilled_downlink(12);
        let own = cast.world.net().address(cast.clients[1]);
        // Of the length of a DELIVERY.
        let no_deliveries = move |cast: &mut Cast, from: Option<usize>| {
            let from = from.map(|hub| cast.hubs[hub]);
            cast.world.net_mut().intercept(move |sent| {
                let is_delivery = sent.to == own && sent.bytes.len() == 225;
                let lost = is_delivery && (from.is_none() || sent.node == from);
                if lost { Verdict::Drop } else { Verdict::Pass }
            });
        };
        no_deliveries(&mut cast, None);
        let mut lasting = KeyRequest::new(2);
        lasting.lifetime = 3600;
        let mut id = cast.request(0, 1, lasting);
        cast.settle(5);
        assert_eq!(Oracle::delivered(&cast, 0, id, 2), 1);
        let anew = cast.make_anew(2, 1, 2);
        cast.revoke(2, 1).unwrap().unwrap();
        cast.enrol(2, anew.at_hub()).unwrap();
        cast.revision.borrow_mut().left_out.push((2, 1));
        cast.revision.borrow_mut().anew.push(anew);
        cast.further.borrow_mut().clear();
        for _ in 0..starts {
            cast.world.restart(cast.clients[1]);
            cast.settle(1);
        }
        no_deliveries(&mut cast, Some(2));
        if late {
            (0..2).for_each(|_| cast.settle(66_000));
            id = cast.request(0, 1, lasting);
        }
        cast.settle(60);
        cast.assert_agreed(0, 1, id);
        let assurance = if late { Assurance::InformationTheoretic } else { Assurance::Computational };
        for client in 0..2 {
            let key = cast.keys(client).into_iter().find(|key| key.key.id() == id).unwrap();
            assert_eq!(key.key.assurance(), assurance, "client {client}, {starts} starts, {late}");
        }
    }
}

/// The same, and two hubs hear of the key when its initiator has nearly given it up, and deliver it when they nearly have: twice a lifetime after it was asked for.
/// It is computational all the same.
#[test]
fn a_key_that_comes_late_is_not_made_better_by_an_enrolment_anew() {
    let mut cast = with_refilled_downlink(14);
    let address = |cast: &Cast, node| cast.world.net().address(node);
    let responder = address(&cast, cast.clients[1]);
    let others = [0, 1].map(|hub| address(&cast, cast.hubs[hub]));
    let lose = move |cast: &mut Cast, uploads: bool| {
        cast.world.net_mut().intercept(move |sent| {
            // Of the lengths of a DELIVERY and UPLOAD, and of a direct one.
            let is_share = [225, 113].contains(&sent.bytes.len());
            let lost = sent.to == responder || uploads && others.contains(&sent.to);
            if is_share && lost { Verdict::Drop } else { Verdict::Pass }
        });
    };
    lose(&mut cast, true);
    let mut lasting = KeyRequest::new(2);
    (lasting.lifetime, lasting.release) = (u16::MAX, Release::AtThreshold);
    let id = cast.request(0, 1, lasting);
    cast.settle(5);
    assert_eq!(Oracle::delivered(&cast, 0, id, 2), 1);
    let anew = cast.make_anew(2, 1, 2);
    cast.revoke(2, 1).unwrap().unwrap();
    cast.enrol(2, anew.at_hub()).unwrap();
    cast.revision.borrow_mut().left_out.push((2, 1));
    cast.revision.borrow_mut().anew.push(anew);
    cast.further.borrow_mut().clear();
    cast.world.restart(cast.clients[1]);
    cast.settle(65_500);
    lose(&mut cast, false);
    cast.settle(65_500);
    cast.world.net_mut().stop_intercepting();
    cast.settle(30);
    cast.assert_agreed(0, 1, id);
    let key = cast.keys(1).into_iter().find(|key| key.key.id() == id).unwrap();
    assert_eq!(key.key.assurance(), Assurance::Computational);
}

/// By mistake, a configuration gives the number of a client that was revoked to another. It is refused, and nothing of that one's tables is erased.
#[test]
fn a_number_that_was_taken_from_one_client_is_not_another_ones() {
    let mut setup = Setup::new(2);
    setup.shards = WHOLE;
    let mut cast = cast(10, &setup);
    cast.settle(1);
    cast.revoke(0, 1).unwrap().unwrap();
    cast.settle(1);
    let records: Vec<Vec<u8>> =
        cast.world.disk(cast.hubs[0]).records().map(|(_, record)| record.to_vec()).collect();
    let restored = |other: usize| {
        let (first, second) = (cast.make_anew(0, 0, 0), cast.make_anew(0, other, 1));
        let clients = vec![first.at_hub(), second.at_hub()];
        let config = HubConfig::new(cast.hub_ids[0], Coordinate::new(1).unwrap(), clients).unwrap();
        let restored = Hub::restore(config, &records, cast.now(), &mut ChaCha20Rng::seed_from_u64(1));
        (restored.err(), is_erased(&second.at_hub.0))
    };
    assert_eq!(restored(7), (Some(RestoreError::Configuration), false));
    assert_eq!(restored(1), (None, true), "its own tables are erased");
}

/// A slip in a configuration is an error and no end of the process: a hub keeps a place for each number up to the last.
#[test]
fn a_number_that_no_hub_comes_to_is_refused_and_takes_no_memory() {
    let cast = cast(11, &Setup::new(2));
    let config = |number| {
        let client = cast.make_anew(0, 1, number).at_hub();
        HubConfig::new(cast.hub_ids[0], Coordinate::new(1).unwrap(), vec![client]).map(drop)
    };
    assert_eq!(config(ClientId::LIMIT - 1), Ok(()));
    for number in [ClientId::LIMIT, u32::MAX] {
        assert_eq!(config(number), Err(ConfigError::ClientIds), "{number}");
    }
}

/// Whoever has everything of a revoked client tries everything: hellos, old messages, all under its old keys.
#[test]
fn a_revoked_client_is_answered_with_silence() {
    let mut cast = cast(3, &Setup::new(3));
    let id = cast.request(1, 0, short(2));
    cast.settle(5);
    cast.assert_agreed(1, 0, id);
    let mut liar = Liar::client(&mut cast, 1, 0);
    pass(&mut cast, 100);
    cast.revoke(0, 1).unwrap().unwrap();
    cast.settle(1);
    let hub = cast.hubs[0];
    let (mine, to_hub) = (cast.clients[1], cast.world.net().address(hub));
    let said = cast.world.net().sent_by(hub).filter(|sent| sent.to == cast.world.net().address(mine)).count();
    liar.say(&mut cast, &[InnerType::FETCH.value()]);
    for index in 0..cast.world.net().sent().len() {
        let at = cast.now().saturating_add(Duration::from_millis(index as u64));
        if cast.world.net().sent()[index].node == Some(mine) && cast.world.net().sent()[index].to == to_hub {
            cast.world.net_mut().replay(index, at);
        }
    }
    cast.world.restart(mine);
    cast.settle(60);
    let now = cast.world.net().sent_by(hub).filter(|sent| sent.to == cast.world.net().address(mine)).count();
    assert_eq!(said, now, "the hub said something to a client that it revoked");
}

/// A client is enrolled anew at one hub, then at all: the same tag, new number, key and tables. Peers change nothing, and
/// what the client had of its old enrolment opens nothing.
#[test]
fn a_client_is_enrolled_anew() {
    let mut cast = cast(4, &Setup::new(3));
    let id = cast.request(0, 1, short(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
    let old = cast.world.disk(cast.clients[1]).snapshot();
    for hub in 0..3 {
        let anew = cast.make_anew(hub, 1, 2);
        assert_eq!(cast.enrol(hub, anew.at_hub()), Err(HubError::Enrolment), "its tag is taken");
        cast.revoke(hub, 1).unwrap().unwrap();
        let mut wrong = anew.at_hub();
        wrong.client = ClientId::new(1);
        assert_eq!(cast.enrol(hub, wrong), Err(HubError::Enrolment), "a number is given once");
        cast.enrol(hub, anew.at_hub()).unwrap();
        cast.revision.borrow_mut().left_out.push((hub, 1));
        cast.revision.borrow_mut().anew.push(anew);
        cast.world.restart(cast.clients[1]);
        cast.settle(20);
        for (from, to) in [(0, 1), (1, 0)] {
            let id = cast.request(from, to, short(3));
            cast.settle(20);
            cast.assert_agreed(from, to, id);
        }
    }
    // The hubs come back with the configuration in which the old number is missing.
    cast.restart_hubs();
    cast.settle(30);
    let id = cast.request(0, 1, short(3));
    cast.settle(20);
    cast.assert_agreed(0, 1, id);
    // A backup of the client's records from before all that, beside its new configuration.
    cast.world.disk_mut(cast.clients[1]).roll_back(&old);
    let used: Vec<Vec<u8>> = cast.revision.borrow().anew.iter().map(|anew| anew.at_hub.0.octets()).collect();
    cast.world.restart(cast.clients[1]);
    cast.settle(30);
    for (from, to) in [(0, 1), (1, 0)] {
        let id = cast.request(from, to, short(3));
        cast.settle(30);
        cast.assert_agreed(from, to, id);
    }
    // What was erased was not opened again: the hubs granted what lies behind.
    for (before, anew) in used.iter().zip(&cast.revision.borrow().anew) {
        let after = anew.at_hub.0.octets();
        let erased = |octets: &[u8]| octets.chunks(16).position(|element| element.iter().any(|o| *o != 0));
        assert!(erased(&after) > erased(before));
    }
}

/// A configuration that lacks a client that was not revoked is refused, and so is one with the enrolment of before.
#[test]
fn a_configuration_of_before_is_refused() {
    let mut setup = Setup::new(2);
    setup.shards = WHOLE;
    let mut cast = cast(5, &setup);
    cast.settle(1);
    let records = |cast: &Cast, node| -> Vec<Vec<u8>> {
        cast.world.disk(node).records().map(|(_, record)| record.to_vec()).collect()
    };
    let hub = records(&cast, cast.hubs[0]);
    let none = HubConfig::<SharedPad>::new(cast.hub_ids[0], Coordinate::new(1).unwrap(), Vec::new());
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let now = cast.now();
    let restored = Hub::restore(none.unwrap(), &hub, now, &mut rng);
    assert!(matches!(restored, Err(RestoreError::Configuration)));
    // A client's records are of an enrolment that came later than the one that it is given.
    let links = |number: u32| {
        [0, 1].map(|hub| {
            let table = || Table::new(0, Origin::OutOfBand, cast.make_anew(hub, 1, number).at_client.0);
            HubLink {
                hub: cast.hub_ids[hub],
                coordinate: Coordinate::new(hub as u8 + 1).unwrap(),
                handle: PeerHandle::new(hub as u32),
                client: ClientId::new(number),
                suite: SuiteId::SHA256_AES256GCM,
                initial_key: SecretBytes::copied_from(&[7; 32]),
                uplink: table(),
                downlink: table(),
            }
        })
    };
    let client = records(&cast, cast.clients[1]);
    for (number, refused) in [(0, true), (1, false), (2, false)] {
        let config = ClientConfig::new(cast.tags[1], links(number).into(), Vec::new()).unwrap();
        let restored = Client::restore(config, &client, now, &mut rng);
        assert_eq!(matches!(restored, Err(RestoreError::Configuration)), refused, "{number}");
    }
}

/// Power is lost at every point of a hub while it revokes: afterwards the client is there or gone, and gone for good once
/// that was said.
#[test]
fn a_crash_at_every_point_of_a_revocation() {
    for slow in [false, true] {
        let build = || {
            let mut setup = Setup::new(2);
            // Of shards: `a_revocation_is_told_again_until_every_shard_has_it`.
            (setup.clients, setup.shards) = (3, WHOLE);
            let mut cast = cast(6, &setup);
            if slow {
                cast.world.set_receipts(cast.hubs[0], Receipts::After(Duration::from_millis(30)));
            }
            cast.world.net_mut().set_default_link(Link::ideal().latency(5));
            cast.settle(2);
            cast
        };
        let story = |cast: &mut Cast| {
            let _ = cast.try_request_if_up(0, 1, short(2));
            cast.world.run_for(Duration::from_millis(8), 1_000_000);
            let _ = cast.revoke(0, 1);
            cast.world.run_for(Duration::from_secs(2), 1_000_000);
        };
        let mut honest = build();
        let first = honest.world.points(honest.hubs[0]);
        story(&mut honest);
        let last = honest.world.points(honest.hubs[0]);
        let (mut there, mut gone) = (0, 0);
        for point in first..last {
            for how in [PowerLoss::Loses, PowerLoss::Lands] {
                let mut cast = build();
                cast.world.restart_after(Duration::from_millis(400));
                cast.world.crash_at(cast.hubs[0], point, how);
                story(&mut cast);
                let said = !cast.revoked(0).is_empty();
                cast.world.restart(cast.hubs[0]);
                cast.settle(40);
                let id = cast.request(0, 1, short(2));
                cast.settle(30);
                if cast.revoked(0).is_empty() {
                    assert!(!said);
                    cast.assert_agreed(0, 1, id);
                    there += 1;
                } else {
                    assert_eq!(cast.key(1, id), None);
                    assert!(is_erased(&cast.hub_uplinks[0][1]) && is_erased(&cast.hub_downlinks[0][1]));
                    gone += 1;
                }
                let other = cast.request(0, 2, short(2));
                cast.settle(30);
                cast.assert_agreed(0, 2, other);
                Oracle::acquit(&cast);
            }
        }
        assert!(gone > 0, "{there} and {gone}");
    }
}
