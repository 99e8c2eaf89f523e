//! Whoever owns the network changes, turns round and redirects everything that is sent, beside the original: nothing of it
//! is taken, and nothing is burnt that was not authenticated.

use core::time::Duration;

use skex_core::machine::PathId;
use skex_dske::KeyRequest;
use skex_sim::{Address, Dice, Link, Sent, Verdict};

use crate::oracle::Oracle;
use crate::world::{Cast, Setup, cast};

/// What comes beside a datagram: from where, to where, what.
type Copies = Vec<(Address, Address, Vec<u8>)>;

/// What stands in the tables at every end.
fn tables(cast: &Cast) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for of_client in &cast.client_tables {
        all.extend(of_client.iter().flat_map(|(up, down)| [up.octets(), down.octets()]));
    }
    for pads in cast.hub_uplinks.iter().chain(&cast.hub_downlinks) {
        all.extend(pads.iter().map(|pad| pad.octets()));
    }
    all
}

/// Two keys each way, where everything sent is followed by `copies` of it that arrive before it. So many copies.
fn run(copies: &dyn Fn(&Cast, &Sent) -> Copies) -> (Cast, usize) {
    let mut setup = Setup::new(3);
    setup.table_elements = 1024;
    let mut cast = cast(28, &setup);
    cast.world.net_mut().set_default_link(Link::ideal().latency(20));
    let (mut seen, mut made) = (0, 0);
    for _ in 0..2 {
        let ids = [(0, 1), (1, 0)].map(|(from, to)| (from, to, cast.request(from, to, KeyRequest::new(2))));
        let end = cast.now().saturating_add(Duration::from_secs(20));
        loop {
            let new: Vec<Sent> = cast.world.net().sent()[seen..].to_vec();
            for sent in new.iter().filter(|sent| sent.node.is_some()) {
                let now = cast.now();
                for (from, to, bytes) in copies(&cast, sent) {
                    cast.world.net_mut().inject(now, from, to, bytes);
                    made += 1;
                }
            }
            seen = cast.world.net().sent().len();
            if !cast.world.step_until(end) {
                break;
            }
        }
        for (from, to, id) in ids {
            cast.assert_agreed(from, to, id);
        }
    }
    assert!(cast.world.failures().is_empty());
    Oracle::acquit(&cast);
    (cast, made)
}

/// The same keys come, and the same octets are left, as if nobody had meddled.
fn changes_nothing(copies: &dyn Fn(&Cast, &Sent) -> Copies) -> usize {
    let (honest, _) = run(&|_, _| Vec::new());
    let (meddled, made) = run(copies);
    assert_eq!(honest.world.events().len(), meddled.world.events().len());
    assert!(tables(&honest) == tables(&meddled), "something was burnt");
    made
}

#[test]
fn scenario_28_a_bit_is_flipped_in_every_octet_of_every_message() {
    let made = changes_nothing(&|_, sent| {
        let flipped = |at: usize| {
            let mut bytes = sent.bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            (sent.from, sent.to, bytes)
        };
        (0..sent.bytes.len()).map(flipped).collect()
    });
    assert!(made > 5000, "{made}");
}

#[test]
fn scenario_29_every_message_comes_back_to_its_sender() {
    assert!(changes_nothing(&|_, sent| vec![(sent.to, sent.from, sent.bytes.clone())]) > 100);
}

#[test]
fn scenario_30_every_message_goes_to_everybody_else_as_well() {
    let made = changes_nothing(&|cast, sent| {
        let others = cast.world.nodes().map(|node| cast.world.net().address(node));
        others.filter(|&to| to != sent.to).map(|to| (sent.from, to, sent.bytes.clone())).collect()
    });
    assert!(made > 500, "{made}");
}

/// For a while the initiator gets, whenever a hub says something, what the hub before it said.
#[test]
fn scenario_31_responses_in_flight_change_places() {
    let mut cast = cast(31, &Setup::new(5));
    cast.world.net_mut().set_default_link(Link::ideal().latency(20));
    cast.settle(1);
    let (hubs, client) = (cast.hubs.clone(), cast.world.net().address(cast.clients[0]));
    let mut before = None;
    cast.world.net_mut().intercept(move |sent| {
        if sent.to != client || !sent.node.is_some_and(|node| hubs.contains(&node)) {
            return Verdict::Pass;
        }
        match before.replace(sent.bytes.clone()) {
            Some(bytes) => Verdict::Replace(bytes),
            None => Verdict::Drop,
        }
    });
    let ids = [(0, 1); 4].map(|(from, to)| cast.request(from, to, KeyRequest::new(3)));
    cast.settle(10);
    cast.world.net_mut().stop_intercepting();
    cast.settle(30);
    for id in ids {
        cast.assert_agreed(0, 1, id);
    }
    Oracle::acquit(&cast);
}

/// Inner messages in clear, and in a seal that is none: who skips the envelope is not heard.
#[test]
fn scenario_37_what_comes_without_its_envelope_is_dropped() {
    const SEALED: u8 = 0x13;
    let made = changes_nothing(&|_, sent| {
        if sent.bytes[0] != SEALED {
            return Vec::new();
        }
        let fetch = [9];
        let lease = [&[1, 0, 0][..], &[7; 16], &[0, 0, 0, 0, 0, 0, 0, 66]].concat();
        let denied = [&[3, 0, 0][..], &[7; 16], &[0; 4]].concat();
        let inner = [fetch.to_vec(), lease, denied, sent.bytes[9..sent.bytes.len() - 16].to_vec()];
        let in_clear = inner.iter().cloned();
        let not_sealed = inner.iter().map(|inner| [&sent.bytes[..9], inner, &[0; 16]].concat());
        in_clear.chain(not_sealed).map(|bytes| (sent.from, sent.to, bytes)).collect()
    });
    assert!(made > 500, "{made}");
}

/// Octets of every length and type, at everybody: counted, and not one is answered at greater length.
#[test]
fn scenario_38_datagrams_of_chance_do_nothing() {
    let mut cast = cast(38, &Setup::new(3));
    cast.settle(1);
    let mut dice = Dice::new(38);
    let (keys, before) = (cast.world.events().len(), tables(&cast));
    let lengths = (0..400).chain([65_507, 2_097_152, 2_097_153]);
    for len in lengths {
        for node in cast.world.nodes() {
            let mut bytes = dice.bytes(len);
            if let Some(first) = bytes.first_mut() {
                *first = 0x10 | *first & 7;
            }
            let sent = cast.world.net().sent().len();
            cast.world.deliver(node, PathId::new(99), &bytes);
            let answers = &cast.world.net().sent()[sent..];
            assert!(answers.iter().all(|answer| answer.bytes.len() <= len), "{len}");
        }
    }
    assert_eq!(cast.world.events().len(), keys);
    assert!(tables(&cast) == before);
    let id = cast.request(0, 1, KeyRequest::new(2));
    cast.settle(20);
    cast.assert_agreed(0, 1, id);
    Oracle::acquit(&cast);
}
