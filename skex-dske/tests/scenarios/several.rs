//! Messages that share an envelope: docs/draft-skex-dske.md, "Several messages in one".

use std::cell::RefCell;
use std::rc::Rc;

use skex_core::KeyId;
use skex_core::machine::DiscardReason;
use skex_dske::{Client, ClientEvent, KeyRequest, Release};
use skex_sim::{Address, Departed, Departure, Either, NodeId, Receipts, Verdict};
use skex_wire::dske::{Answer, AnswerStatus, Inner, InnerType, Outer};

use crate::attacks::liar::{Liar, Share, pass};
use crate::oracle::Oracle;
use crate::sharded::{ShardedHub, WHOLE};
use crate::world::{Cast, Setup, SharedPad, cast};

impl Cast {
    /// Client 0 asks for so many keys with client 1, all before it is asked what it wants.
    fn request_at_once(&mut self, count: usize) -> Vec<KeyId> {
        let (client, peer) = (self.clients[0], self.tags[1]);
        let ask = |cast: &mut Self| {
            cast.world.call_undrained(client, |party, now, rng| {
                party.left().unwrap().request_key(now, rng, peer, KeyRequest::new(2)).unwrap()
            })
        };
        let ids = (0..count).map(|_| ask(self).unwrap()).collect();
        // Nothing, but for asking it.
        self.world.call(client, |_, _, _| ()).unwrap();
        ids
    }

    /// Sealed datagrams that have left these machines.
    fn sealed_by(&self, nodes: &[NodeId]) -> usize {
        let is_sealed = |what: &Departed| match what {
            Departed::Sent { bytes, .. } => matches!(Outer::decode(bytes), Ok(Outer::Sealed(_))),
            _ => false,
        };
        let by_them = |departure: &&Departure| nodes.contains(&departure.node) && is_sealed(&departure.what);
        self.world.departures().iter().filter(by_them).count()
    }

    fn sealed(&self) -> usize {
        self.sealed_by(&[&self.clients[..], &self.hubs].concat())
    }

    /// What hub 0 has discarded for each reason.
    fn discarded(&mut self) -> [u32; DiscardReason::ALL.len()] {
        let count = |hub: &ShardedHub| DiscardReason::ALL.map(|reason| hub.discards(reason));
        self.world.call(self.hubs[0], |party, _, _| count(party.right().unwrap())).unwrap()
    }

    /// What client 0 has discarded, for whatever reason.
    fn discarded_by_client(&mut self) -> u32 {
        let count = |party: &mut Either<Client<SharedPad>, ShardedHub>| {
            party.left().unwrap().discards().iter().map(|(_, count)| count).sum()
        };
        self.world.call(self.clients[0], |party, _, _| count(party)).unwrap()
    }
}

/// The frame of these messages, whatever they are.
pub fn several(messages: &[&[u8]]) -> Vec<u8> {
    let framed = messages.iter().flat_map(|message| {
        let length = u16::try_from(message.len()).unwrap();
        [&length.to_be_bytes(), *message].concat()
    });
    [InnerType::SEVERAL.value()].into_iter().chain(framed).collect()
}

/// So many keys between two clients, asked for at once. Every datagram is as it should be: the oracle looks into each.
fn datagrams_of(keys: usize, setup: &Setup) -> usize {
    let mut cast = cast(1, setup);
    // Leases with room for all of them.
    for _ in 0..3 {
        cast.request_at_once(4);
        cast.settle(5);
    }
    let before = cast.sealed();
    let ids = cast.request_at_once(keys);
    cast.settle(5);
    ids.into_iter().for_each(|id| cast.assert_agreed(0, 1, id));
    Oracle::acquit(&cast);
    cast.sealed() - before
}

/// Sixteen keys at once through three hubs are 240 messages. They share datagrams, or each has its own.
#[test]
fn keys_that_are_made_at_once_share_datagrams() {
    let mut setup = Setup::new(3);
    setup.shards = WHOLE;
    let shared = datagrams_of(16, &setup);
    (setup.client_limits.datagram, setup.hub_limits.datagram) = (0, 0);
    let alone = datagrams_of(16, &setup);
    assert!(alone >= 240, "{alone}");
    // Uploads go five in one, and what is short all together.
    assert!(shared <= 80, "{shared}");
}

/// Ends that have different ideas of how long a datagram is understand each other.
#[test]
fn a_receiver_takes_several_messages_whatever_it_sends_itself() {
    for (client, hub) in [(0, 8192), (8192, 0), (300, 1232), (usize::MAX, usize::MAX)] {
        let mut setup = Setup::new(3);
        (setup.client_limits.datagram, setup.hub_limits.datagram) = (client, hub);
        let mut cast = cast(2, &setup);
        for _ in 0..3 {
            cast.request_at_once(4);
            cast.settle(5);
        }
        let ids = cast.request_at_once(40);
        cast.settle(5);
        ids.into_iter().for_each(|id| cast.assert_agreed(0, 1, id));
    }
}

/// A store that is slow gathers what waits for it: the answers and the deliveries leave together.
#[test]
fn what_waits_for_one_checkpoint_leaves_together() {
    let mut setup = Setup::new(3);
    setup.shards = WHOLE;
    let mut cast = cast(3, &setup);
    for _ in 0..3 {
        cast.request_at_once(4);
        cast.settle(5);
    }
    let hub = cast.hubs[0];
    cast.world.set_receipts(hub, Receipts::Withheld { from: 0 });
    // The first is under way to the store when the others come.
    let ids = (0..9).map(|_| cast.request(0, 1, KeyRequest::new(2))).collect::<Vec<_>>();
    pass(&mut cast, 100);
    let before = cast.sealed_by(&[hub]);
    cast.world.set_receipts(hub, Receipts::AtOnce);
    cast.world.release_receipts(hub);
    pass(&mut cast, 1);
    let released = cast.sealed_by(&[hub]) - before;
    // Nine answers and nine deliveries, two of them by themselves, and what is asked for of leases.
    assert!((5..=8).contains(&released), "{released}");
    cast.settle(5);
    ids.into_iter().for_each(|id| cast.assert_agreed(0, 1, id));
    Oracle::acquit(&cast);
}

/// A store is slow, and shares wait for it, when an upload of before comes again: the answer to that is durable, and does not wait behind them.
#[test]
fn an_answer_that_is_repeated_waits_for_nobody_elses_checkpoint() {
    let mut setup = Setup::new(3);
    (setup.shards, setup.clients) = (WHOLE, 3);
    let mut cast = cast(12, &setup);
    cast.request_at_once(4);
    cast.settle(5);
    let hub = cast.hubs[0];
    let mut liar = Liar::client(&mut cast, 2, 0);
    let first = Share::junk([1; 16], cast.tags[1]);
    let place = liar.share(&mut cast, &first);
    let upload = liar.share_octets(&cast, &first, place);
    pass(&mut cast, 50);
    assert_eq!(liar.statuses(&cast), [AnswerStatus::ACCEPTED]);
    cast.world.set_receipts(hub, Receipts::Withheld { from: 0 });
    let ids = (0..3).map(|_| cast.request(0, 1, KeyRequest::new(3))).collect::<Vec<_>>();
    pass(&mut cast, 100);
    liar.say(&mut cast, &upload);
    pass(&mut cast, 50);
    assert_eq!(liar.statuses(&cast), [AnswerStatus::ACCEPTED], "the same again");
    assert!(ids.iter().all(|id| cast.key(0, *id).is_none()), "theirs wait");
    cast.world.set_receipts(hub, Receipts::AtOnce);
    cast.world.release_receipts(hub);
    cast.settle(5);
    ids.into_iter().for_each(|id| cast.assert_agreed(0, 1, id));
    Oracle::acquit(&cast);
}

/// Each message counts as if it had come alone: junk, a copy, and a share that is refused do nothing to the share between them.
#[test]
fn a_message_that_is_refused_changes_nothing_for_those_beside_it() {
    let mut setup = Setup::new(5);
    setup.shards = WHOLE;
    let mut cast = cast(4, &setup);
    let mut liar = Liar::client(&mut cast, 0, 0);
    let first = Share::junk([1; 16], cast.tags[1]);
    liar.share(&mut cast, &first);
    pass(&mut cast, 50);
    assert_eq!(liar.statuses(&cast), [AnswerStatus::ACCEPTED]);
    let next = liar.next();
    let block = Share::junk([2; 16], cast.tags[1]).elements();
    let good = liar.share_octets(&cast, &Share::junk([2; 16], cast.tags[1]), next);
    let unknown = liar.share_octets(&cast, &Share::junk([3; 16], cast.tags[0]), next + block);
    let mut forged = liar.share_octets(&cast, &Share::junk([4; 16], cast.tags[1]), next + 2 * block);
    *forged.last_mut().unwrap() ^= 1;
    let stale = [&[6][..], &[0; 23]].concat();
    let malformed = &good[..good.len() - 1];
    let before = cast.discarded();
    liar.say(&mut cast, &several(&[&stale, malformed, &good, &unknown, &forged, &good, &[4]]));
    pass(&mut cast, 50);
    let mut statuses = liar.statuses(&cast);
    statuses.sort_unstable_by_key(|status| status.value());
    // The copy has the same answer again.
    assert_eq!(statuses, [AnswerStatus::ACCEPTED, AnswerStatus::ACCEPTED, AnswerStatus::NOT_AUTHORISED]);
    let counted = cast.discarded().into_iter().zip(before).map(|(after, before)| after - before);
    let counted = DiscardReason::ALL.into_iter().zip(counted).filter(|(_, count)| *count > 0);
    let expected = [
        (DiscardReason::Malformed, 2),
        (DiscardReason::Unauthentic, 1),
        (DiscardReason::Duplicate, 1),
        (DiscardReason::Stale, 1),
        (DiscardReason::Policy, 1),
    ];
    assert_eq!(counted.collect::<Vec<_>>(), expected);
    // The block of the forged one serves.
    let again = liar.share_octets(&cast, &Share::junk([4; 16], cast.tags[1]), next + 2 * block);
    liar.say(&mut cast, &again);
    pass(&mut cast, 50);
    assert_eq!(liar.statuses(&cast), [AnswerStatus::ACCEPTED]);
}

/// Where the frame is wrong, nothing of it is handled, and nothing is burnt.
#[test]
fn a_wrong_frame_is_dropped_whole() {
    let mut cast = cast(5, &Setup::new(5));
    let mut liar = Liar::client(&mut cast, 0, 0);
    let first = Share::junk([1; 16], cast.tags[1]);
    liar.share(&mut cast, &first);
    pass(&mut cast, 50);
    let _ = liar.hear(&cast);
    let next = liar.next();
    let good = liar.share_octets(&cast, &Share::junk([2; 16], cast.tags[1]), next);
    let busy = [7, 0, 0, 0, 0, 0, 1];
    let whole = several(&[&good, &busy]);
    let long = several(&[&good, &[7; 8192]]);
    for wrong in [
        several(&[&good]),
        several(&[&good, &[9]]),
        several(&[&good, &whole]),
        several(&[&good, &busy, &[]]),
        [&whole[..], &[0]].concat(),
        whole[..whole.len() - 1].to_vec(),
        long,
    ] {
        let before = cast.discarded();
        liar.say(&mut cast, &wrong);
        pass(&mut cast, 50);
        assert_eq!(liar.hear(&cast), [[0; 0]; 0]);
        let (malformed, others) = (cast.discarded()[0], cast.discarded()[1..].to_vec());
        assert_eq!((malformed, &others[..]), (before[0] + 1, &before[1..]));
    }
    // Not even what may not be there in it: BUSY is nothing to a hub, and the share is taken.
    liar.say(&mut cast, &whole);
    pass(&mut cast, 50);
    assert_eq!(liar.statuses(&cast), [AnswerStatus::ACCEPTED]);
}

/// A client hears several messages of a hub that lies: what one of them is worth says nothing of the others.
#[test]
fn a_client_takes_each_message_of_a_hub_for_itself() {
    let mut cast = cast(6, &Setup::new(3));
    cast.settle(1);
    let first = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, first);
    let mut liar = Liar::hub(&mut cast, 0, 0);
    let busy = [7, 0, 0, 0, 0, 0, 1];
    let answer = [&[6][..], &[0; 23]].concat();
    assert!(matches!(Inner::decode(&answer), Ok(Inner::Answer(_))) && Answer::PLAIN_LEN == answer.len());
    let before = cast.discarded_by_client();
    liar.say(&mut cast, &several(&[&busy, &answer, &busy, &[8], &busy]));
    pass(&mut cast, 50);
    // The answer to nothing, and half a confirmation.
    assert_eq!(cast.discarded_by_client() - before, 2);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, id);
}

/// A hub whose queue is as short as can be takes shares that come together: it is not as if it were full behind the first of them.
#[test]
fn the_shortest_queue_has_room_for_several_shares() {
    let mut setup = Setup::new(3);
    setup.hub_limits.queue = 0;
    let mut cast = cast(7, &setup);
    for _ in 0..3 {
        cast.request_at_once(4);
        cast.settle(5);
    }
    let ids = cast.request_at_once(16);
    cast.settle(1);
    ids.into_iter().for_each(|id| cast.assert_agreed(0, 1, id));
    assert_eq!(cast.discarded(), [0; DiscardReason::ALL.len()]);
}

/// A hub has started anew, and what it says of an upload that comes once more stands in one datagram: that it has the share, which reaches the
/// threshold, and what the responder confirmed. The application hears of both, as where they come alone.
#[test]
fn a_key_is_given_at_the_threshold_though_its_confirmation_is_in_the_same_datagram() {
    let mut setup = Setup::new(2);
    setup.shards = WHOLE;
    let mut cast = cast(8, &setup);
    let first = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(5);
    cast.assert_agreed(0, 1, first);
    let ([initiator, responder], [one, other]) =
        ([cast.clients[0], cast.clients[1]], [cast.hubs[0], cast.hubs[1]]);
    for (hub, to) in [(one, responder), (other, responder), (other, initiator)] {
        cast.world.net_mut().cut(hub, to);
    }
    let mut request = KeyRequest::new(2);
    request.release = Release::AtThreshold;
    let id = cast.request(0, 1, request);
    // The initiator has heard one of them.
    cast.settle(2);
    cast.world.net_mut().heal();
    [one, other].into_iter().for_each(|hub| cast.world.net_mut().cut(hub, initiator));
    cast.settle(10);
    assert!(cast.key(1, id).is_some() && cast.key(0, id).is_none());
    cast.world.restart(other);
    cast.world.net_mut().heal();
    cast.world.net_mut().cut(one, initiator);
    // An answer alone, and confirmations without one: of this key and the first.
    let address = cast.world.net().address(initiator);
    let alone = |inner: usize| 9 + inner + 16;
    let is_lost = move |length| [alone(24), alone(51), alone(1 + 2 * (2 + 51))].contains(&length);
    cast.world.net_mut().intercept(move |sent| {
        let is_lost = sent.node == Some(other) && sent.to == address && is_lost(sent.bytes.len());
        if is_lost { Verdict::Drop } else { Verdict::Pass }
    });
    cast.settle(60);
    let told = cast.world.events().iter().filter(|happened| happened.node == initiator);
    let told = told.filter_map(|happened| match &happened.event {
        Either::Left(ClientEvent::KeyEstablished(key)) if key.key.id() == id => Some(key.confirmed),
        Either::Left(ClientEvent::KeyConfirmed { key_id, .. }) if *key_id == id => Some(true),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [false, true]);
}

/// A store is slow, and the responder's next datagram comes from elsewhere: somebody has held it back. A short question does not bring there what waits
/// for the store.
#[test]
fn what_waits_for_the_store_goes_where_the_client_was() {
    let mut setup = Setup::new(3);
    setup.shards = WHOLE;
    let mut cast = cast(9, &setup);
    // Leases with room for what comes.
    for _ in 0..6 {
        cast.request_at_once(8);
        cast.settle(5);
    }
    let (hub, client) = (cast.hubs[0], cast.clients[1]);
    let (own, to, elsewhere) =
        (cast.world.net().address(client), cast.world.net().address(hub), Address::new(77));
    cast.world.set_receipts(hub, Receipts::Withheld { from: 0 });
    let ids = cast.request_at_once(3);
    pass(&mut cast, 100);
    let stolen = Rc::new(RefCell::new(None));
    let into = Rc::clone(&stolen);
    cast.world.net_mut().intercept(move |sent| {
        let steals = sent.node == Some(client) && sent.to == to && into.borrow().is_none();
        if steals {
            *into.borrow_mut() = Some(sent.bytes.clone());
        }
        if steals { Verdict::Drop } else { Verdict::Pass }
    });
    while stolen.borrow().is_none() {
        pass(&mut cast, 100);
    }
    cast.world.net_mut().stop_intercepting();
    let (now, octets) = (cast.now(), stolen.take().unwrap());
    let question = octets.len();
    cast.world.net_mut().inject(now, elsewhere, to, octets);
    pass(&mut cast, 20);
    let said = |cast: &Cast, address| -> usize {
        let to_it = cast.world.net().sent_by(hub).filter(|sent| sent.to == address);
        to_it.map(|sent| sent.bytes.len()).sum()
    };
    let before = said(&cast, own);
    cast.world.set_receipts(hub, Receipts::AtOnce);
    cast.world.release_receipts(hub);
    pass(&mut cast, 100);
    assert!(said(&cast, own) - before > 300);
    assert!(said(&cast, elsewhere) <= question + 2, "{} for {question}", said(&cast, elsewhere));
    cast.settle(30);
    ids.into_iter().for_each(|id| cast.assert_agreed(0, 1, id));
}
