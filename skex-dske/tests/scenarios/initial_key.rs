//! Initial keys of links that are replaced from outside, at one end before the other, with loss and crashes in between.

use core::time::Duration;

use chacha20::rand_core::CryptoRng;
use skex_core::SecretBytes;
use skex_core::machine::{Machine as _, Output, PathId};
use skex_dske::{ClientError, ClientEvent, ClientId, HubError, HubEvent, HubId, KeyRequest};
use skex_sim::{Departed, Either, Link, NodeId, PowerLoss, Receipts, for_each_seed};

use crate::seeds;
use crate::sharded::{ShardedHub, WHOLE};
use crate::world::{Cast, Setup, cast};

impl Cast {
    /// Client 0 is given another initial key for its link with hub 0.
    fn at_client(&mut self, key: u8) {
        let hub = self.hub_ids[0];
        let _ = self.command(0, |client, now, rng| {
            client.replace_initial_key(now, rng, hub, SecretBytes::copied_from(&[key; 32])).unwrap();
        });
    }

    fn at_hub(&mut self, key: u8) {
        let _ = self.world.call(self.hubs[0], |party, _, _| {
            let key = SecretBytes::copied_from(&[key; 32]);
            party.right().unwrap().replace_initial_key(ClientId::new(0), key).unwrap();
        });
    }

    /// How often the client and the hub said that the new key is in force.
    fn replaced(&self) -> (usize, usize) {
        let count = |node, is: fn(&_) -> bool| {
            self.world.events().iter().filter(|happened| happened.node == node && is(&happened.event)).count()
        };
        let client = count(self.clients[0], |event| {
            matches!(event, Either::Left(ClientEvent::InitialKeyReplaced { .. }))
        });
        let hub =
            count(self.hubs[0], |event| matches!(event, Either::Right(HubEvent::InitialKeyReplaced { .. })));
        (client, hub)
    }

    /// A key that needs every hub.
    fn a_key(&mut self) {
        let mut request = KeyRequest::new(2);
        request.lifetime = 30;
        let id = self.request(0, 1, request);
        self.settle(30);
        self.assert_agreed(0, 1, id);
    }

    /// Whether this end has heard the other.
    fn is_connected(&self, client: bool) -> bool {
        let node = if client { self.clients[0] } else { self.hubs[0] };
        match self.world.machine(node).unwrap() {
            Either::Left(client) => client.status().next().unwrap().connected,
            Either::Right(hub) => hub.status().next().unwrap().connected,
        }
    }
}

/// The hub loses power at every point while the new key is proven: it says once, and after it is durable, that the old one is gone.
/// Carried by what `HubEvent::InitialKeyReplaced` waits for.
#[test]
fn a_hub_says_that_the_old_key_is_gone_once_that_is_durable() {
    let build = || {
        let mut cast = cast(9, &Setup::new(2));
        cast.settle(5);
        // A store that takes its time: what is told too early is told between the write and its receipt.
        let hub = cast.hubs[0];
        cast.world.set_receipts(hub, Receipts::After(Duration::from_millis(30)));
        cast.at_client(7);
        cast.at_hub(7);
        cast
    };
    let mut honest = build();
    let hub = honest.hubs[0];
    let first = honest.world.points(hub);
    honest.settle(20);
    assert_eq!(honest.replaced(), (1, 1));
    for point in first..honest.world.points(hub) {
        let mut cast = build();
        cast.world.restart_after(Duration::from_millis(400));
        cast.world.crash_at(hub, point, PowerLoss::Loses);
        cast.settle(60);
        assert_eq!(cast.replaced().0, 1, "point {point}");
        assert!(cast.replaced().1 <= 1, "point {point}: said, and taken back");
    }
}

#[test]
fn both_ends_are_given_another_key_in_either_order() {
    for client_first in [true, false] {
        let mut cast = cast(1, &Setup::new(2));
        cast.a_key();
        let sides: [fn(&mut Cast, u8); 2] =
            if client_first { [Cast::at_client, Cast::at_hub] } else { [Cast::at_hub, Cast::at_client] };
        sides[0](&mut cast, 7);
        // The link goes on under the old key, also over a start of either end.
        cast.a_key();
        assert_eq!(cast.replaced(), (0, 0));
        for node in [cast.hubs[0], cast.clients[0]] {
            cast.world.restart(node);
            cast.settle(20);
            cast.a_key();
        }
        assert_eq!(cast.replaced(), (0, 0));
        sides[1](&mut cast, 7);
        cast.settle(40);
        assert_eq!(cast.replaced(), (1, 1), "client first: {client_first}");
        cast.a_key();
        for node in [cast.hubs[0], cast.clients[0]] {
            cast.world.restart(node);
            cast.settle(20);
            cast.a_key();
        }
        // The same again changes nothing.
        cast.at_client(7);
        cast.at_hub(7);
        cast.settle(40);
        assert_eq!(cast.replaced(), (1, 1));
    }
}

/// Once the new key was proven the old one opens nothing: an end that is given back its state of before is not heard.
#[test]
fn the_old_key_never_comes_back() {
    for client in [true, false] {
        let mut cast = cast(2, &Setup::new(2));
        cast.a_key();
        let node = if client { cast.clients[0] } else { cast.hubs[0] };
        let before = cast.world.disk(node).snapshot();
        cast.at_client(7);
        cast.at_hub(7);
        cast.settle(40);
        assert_eq!(cast.replaced(), (1, 1));
        cast.world.disk_mut(node).roll_back(&before);
        cast.world.restart(node);
        cast.settle(60);
        assert!(!cast.is_connected(client));
        // Until it is given the new one again.
        if client {
            cast.at_client(7)
        } else {
            cast.at_hub(7)
        }
        cast.settle(40);
        cast.a_key();
    }
}

/// Different keys at both ends: the old one stays in force, and a right one heals that.
#[test]
fn different_keys_leave_the_old_one_in_force() {
    let mut cast = cast(3, &Setup::new(2));
    cast.at_client(7);
    cast.at_hub(8);
    cast.settle(60);
    cast.a_key();
    assert_eq!(cast.replaced(), (0, 0));
    cast.at_client(8);
    cast.settle(60);
    assert_eq!(cast.replaced(), (1, 1));
    cast.a_key();
}

#[test]
fn keys_for_strangers_are_refused() {
    let mut cast = cast(4, &Setup::new(2));
    let refused = cast.command(0, |client, now, rng| {
        client.replace_initial_key(now, rng, HubId::new([9; 16]), SecretBytes::copied_from(&[7; 32]))
    });
    assert_eq!(refused.unwrap(), Err(ClientError::UnknownHub));
    let refused = cast.world.call(cast.hubs[0], |party, _, _| {
        let key = SecretBytes::copied_from(&[7; 32]);
        party.right().unwrap().replace_initial_key(ClientId::new(9), key)
    });
    assert_eq!(refused.unwrap(), Err(HubError::UnknownClient));
}

/// Several replacements, one after the other, on a terrible net: the last stands.
#[test]
fn many_replacements_on_a_terrible_net() {
    for_each_seed(0..seeds(10), |seed| {
        let mut cast = cast(seed, &Setup::new(2));
        cast.world.net_mut().set_default_link(Link::terrible());
        for key in 1..5 {
            if seed % 2 == 0 {
                cast.at_client(key);
                cast.at_hub(key);
            } else {
                cast.at_hub(key);
                cast.at_client(key);
            }
            cast.world.run_for(Duration::from_millis(seed * 400), 1_000_000);
        }
        cast.settle(120);
        cast.world.net_mut().set_default_link(Link::ideal());
        cast.settle(60);
        cast.a_key();
        for node in [cast.hubs[0], cast.clients[0]] {
            cast.world.restart(node);
        }
        cast.settle(60);
        cast.a_key();
    });
}

/// Power is lost at every point of either end while the key is replaced: the operator says the same again, and the link lives
/// under the new key.
#[test]
fn a_replacement_with_a_crash_at_every_point() {
    let build = || {
        let mut cast = cast(5, &Setup::new(2));
        cast.world.net_mut().set_default_link(Link::ideal().latency(10));
        cast.settle(2);
        cast
    };
    for client_first in [true, false] {
        let replace = |cast: &mut Cast| {
            if client_first {
                cast.at_client(7);
                cast.at_hub(7);
            } else {
                cast.at_hub(7);
                cast.at_client(7);
            }
            cast.world.run_for(Duration::from_secs(10), 1_000_000);
        };
        let mut honest = build();
        let nodes = [honest.hubs[0], honest.clients[0]];
        let first = nodes.map(|node| honest.world.points(node));
        replace(&mut honest);
        assert_eq!(honest.replaced(), (1, 1));
        let mut crashes = 0;
        for (node, first) in nodes.into_iter().zip(first) {
            for point in first..honest.world.points(node) {
                for how in [PowerLoss::Loses, PowerLoss::Lands] {
                    let mut cast = build();
                    cast.world.restart_after(Duration::from_millis(400));
                    cast.world.crash_at(node, point, how);
                    replace(&mut cast);
                    // Before anything is said again, the ends understand each other, whatever was lost.
                    cast.settle(30);
                    assert!(cast.is_connected(true) && cast.is_connected(false), "{node:?} at {point}");
                    cast.at_client(7);
                    cast.at_hub(7);
                    cast.settle(60);
                    // One of them may have stored that, and lost its power before it told.
                    let (client, hub) = cast.replaced();
                    assert!(client + hub > 0, "{node:?} at {point}: {client}, {hub}");
                    cast.a_key();
                    nodes.into_iter().for_each(|node| cast.world.restart(node));
                    cast.settle(30);
                    cast.a_key();
                    crashes += 1;
                }
            }
        }
        assert!(crashes > 10, "{crashes}");
    }
}

/// A hub that was busy takes the hellos that a client said under either key together. It answers them in their order, the newer key first:
/// a client that is there for a moment would else take up the older one, and prove nothing.
#[test]
fn hellos_that_came_together_are_answered_in_their_order() {
    let (mut cast, hellos) = unheard(10, true);
    let hub = cast.hubs[0];
    let answers = |cast: &mut Cast, together: bool| {
        let before = cast.world.departures().len();
        for hello in &hellos {
            let take = |hub: &mut ShardedHub, now, rng: &mut dyn CryptoRng| {
                let _ = hub.handle_message(now, rng, PathId::new(9), hello).unwrap();
            };
            if together {
                cast.world.call_undrained(hub, |party, now, rng| take(party.right().unwrap(), now, rng));
            } else {
                cast.world.call(hub, |party, now, rng| take(party.right().unwrap(), now, rng));
            }
        }
        cast.world.call(hub, |_, _, _| ());
        left(cast, hub, before, 0x12)
    };
    let one_by_one = answers(&mut cast, false);
    assert!(one_by_one.len() >= 2 && one_by_one[0] != one_by_one[1]);
    assert_eq!(answers(&mut cast, true), one_by_one);
}

/// The next initial key becomes durable after a hello under it was taken, and before another hello is.
#[test]
fn a_hello_that_waits_for_its_key_is_answered_before_those_that_came_behind_it() {
    for is_reversed in [false, true] {
        let (mut cast, mut hellos) = unheard(11, false);
        if is_reversed {
            hellos.reverse();
        }
        let answers = |hub: &mut ShardedHub| {
            let output = core::iter::from_fn(|| match hub.poll_output() {
                Output::Wait(_) => None,
                output => Some(output),
            });
            let sent = output.filter_map(|output| match output {
                Output::Transmit(transmit) if transmit.payload[0] == 0x12 => Some(transmit.payload),
                _ => None,
            });
            sent.collect::<Vec<_>>()
        };
        let (between, one_by_one) = cast
            .world
            .call_undrained(cast.hubs[0], |party, now, rng| {
                let hub = party.right().unwrap();
                hub.replace_initial_key(ClientId::new(0), SecretBytes::copied_from(&[7; 32])).unwrap();
                let receipt = loop {
                    match hub.poll_output() {
                        Output::Persist(checkpoint) => break checkpoint.into_parts().1.assume_durable(),
                        Output::Wait(_) => panic!("nothing to store"),
                        _ => {}
                    }
                };
                let (first, behind) = hellos.split_first().unwrap();
                let _ = hub.handle_message(now, rng, PathId::new(9), first).unwrap();
                hub.handle_persisted(receipt).unwrap();
                for hello in behind {
                    let _ = hub.handle_message(now, rng, PathId::new(9), hello).unwrap();
                }
                let between = answers(hub);
                let one_by_one = hellos.iter().flat_map(|hello| {
                    let _ = hub.handle_message(now, rng, PathId::new(9), hello).unwrap();
                    answers(hub)
                });
                (between, one_by_one.collect::<Vec<_>>())
            })
            .unwrap();
        assert!(one_by_one.len() >= 2 && one_by_one[0] != one_by_one[1]);
        assert_eq!(between, one_by_one, "reversed: {is_reversed}");
    }
}

/// A client and a hub that do not hear each other, where the client was given another initial key and started, and the hub perhaps
/// was given it too; and the client's hellos under either key. (Those for the other hub are nothing to this one.)
fn unheard(seed: u64, at_hub: bool) -> (Cast, Vec<Vec<u8>>) {
    let mut setup = Setup::new(2);
    setup.shards = WHOLE;
    let mut cast = cast(seed, &setup);
    cast.settle(5);
    let (client, hub) = (cast.clients[0], cast.hubs[0]);
    cast.world.net_mut().cut(client, hub);
    if at_hub {
        cast.at_hub(7);
    }
    cast.at_client(7);
    cast.world.kill(client);
    let before = cast.world.departures().len();
    cast.world.restart(client);
    cast.world.run_for(Duration::from_millis(700), 1_000_000);
    let hellos = left(&cast, client, before, 0x11);
    (cast, hellos)
}

/// What left a machine since then, if it is of this type.
fn left(cast: &Cast, node: NodeId, from: usize, first: u8) -> Vec<Vec<u8>> {
    let since = cast.world.departures().iter().skip(from).filter(|departure| departure.node == node);
    let octets = since.filter_map(|departure| match &departure.what {
        Departed::Sent { bytes, .. } if bytes[0] == first => Some(bytes.clone()),
        _ => None,
    });
    octets.collect()
}
