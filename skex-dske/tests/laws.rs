//! The laws of `skex_core::machine`, for clients and hubs; and that nothing leaves before that is durable on which it
//! depends.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_core,
    clippy::alloc_instead_of_core,
    missing_debug_implementations,
    unreachable_pub,
    missing_docs
)]

#[path = "scenarios/oracle.rs"]
mod oracle;
#[path = "scenarios/sharded.rs"]
mod sharded;
#[path = "scenarios/world.rs"]
mod world;

use core::time::Duration;

use skex_core::machine::{Destination, TransmitClass};
use skex_dske::{ClientEvent, Fill, KeyRequest};
use skex_sim::laws::{self, Trial};
use skex_sim::{Departed, Either, NodeId, PowerLoss, Receipts};

use crate::oracle::Oracle;
use crate::world::{Cast, Party, Setup, cast, tag};

const HUBS: usize = 3;

/// How many seeds a law is put to: so many, or as many times more as the environment variable `SKEX_SEEDS` says.
fn seeds(usual: u64) -> u64 {
    let times = std::env::var("SKEX_SEEDS").ok().and_then(|times| times.parse::<u64>().ok());
    usual * times.unwrap_or(1)
}

/// Three hubs and two clients that are content with little.
fn setup() -> Setup {
    let mut setup = Setup::new(HUBS);
    setup.client_limits.requests = 8;
    setup.client_limits.inbound = 16;
    setup.client_limits.queue = 256;
    setup.hub_limits.queue = 512;
    setup
}

/// Both clients ask for a key in every round, and have taken those that they were given.
fn trial() -> Trial<Party> {
    let act = |node: NodeId, party: &mut Party, now, rng: &mut dyn rand_core::CryptoRng| {
        let Some(client) = party.left() else { return };
        let me = node.number() as usize - HUBS;
        // It may be refused: the laws also flood it with requests.
        let _ = client.request_key(now, rng, tag(1 - me), KeyRequest::new(2));
    };
    Trial::new(|seed| cast(seed, &setup()).world, act)
        .rounds(3, Duration::from_secs(20))
        .most_junk(600)
        .flood(3000, 4096)
        .most_gates(5)
        .passes_through(depends_on_nothing)
        .overfull(overfull)
        .may_answer_junk(asks_for_a_hello)
}

/// The first table of a party that holds more than it says it can.
fn overfull(party: &Party) -> Option<String> {
    let tables: Vec<Fill> = match party {
        Either::Left(client) => client.fill().collect(),
        Either::Right(hub) => hub.fill(),
    };
    tables.iter().find(|table| table.held > table.bound).map(|table| format!("{table:?}"))
}

/// Octets of the inner message, and whether the outer one is an envelope at all.
fn inner_len(datagram: &[u8]) -> Option<usize> {
    match datagram[0] & 0xf {
        3 => Some(datagram.len() - 25),
        4 => Some(datagram.len() - 41),
        _ => None,
    }
}

/// What may leave while a checkpoint is pending, as far as can be seen from outside the envelope: hellos; fetches,
/// counts, busies, requests for leases and their denial, told by their lengths; retransmissions of what left before;
/// reports. A share in an earlier lease and its answer do not depend on the checkpoint of another link either, which
/// only the oracle of `the_gate_protects` can tell from one that does. What is never let pass here is a grant and a
/// responder's key.
fn depends_on_nothing(node: NodeId, what: &Departed) -> bool {
    const GRANT: usize = 43;
    match what {
        Departed::Sent { class: TransmitClass::Retransmission, .. } => true,
        Departed::Sent { bytes, .. } => inner_len(bytes) != Some(GRANT),
        Departed::Told(event) => !(event.contains("KeyEstablished") && event.contains("Responder")),
        _ => (node.number() as usize) < HUBS,
    }
}

/// A hub without an envelope for a client asks for a hello, whoever sent what it could not open: 21 octets.
fn asks_for_a_hello(node: NodeId, junk: &[u8], what: &Departed) -> bool {
    const HELLO_REQUEST: u8 = 0x15;
    let sealed = junk.first().is_some_and(|first| matches!(first, 0x13 | 0x14));
    let asks = matches!(what, Departed::Sent { bytes, to: Destination::Path(_), .. } if bytes[0] == HELLO_REQUEST && bytes.len() == 21);
    (node.number() as usize) < HUBS && sealed && asks
}

macro_rules! laws {
    ($($law:ident)*) => {
        $(
            #[test]
            fn $law() {
                for seed in 0..seeds(2) {
                    laws::$law(&trial(), seed).unwrap();
                }
            }
        )*
    };
}

laws! { drain determinism barrier receipts one_checkpoint junk time bounds restart_writes_first }

/// Every call that is refused leaves a client as it was.
#[test]
fn a_refused_call_does_nothing() {
    laws::no_half_step(&trial(), 1, |_, party, now, rng| {
        let Some(client) = party.left() else { return true };
        let mut refused = true;
        for (peer, threshold, key_len, lifetime) in [
            (9, 2, 32, 600),
            (1, 1, 32, 600),
            (1, 4, 32, 600),
            (1, 2, 15, 600),
            (1, 2, 1 << 21, 600),
            (1, 2, 32, 0),
        ] {
            let mut request = KeyRequest::new(threshold);
            (request.key_len, request.lifetime) = (key_len, lifetime);
            refused &= client.request_key(now, rng, tag(peer), request).is_err();
        }
        refused & client.taken(tag(9), skex_core::KeyId::new([0; 16])).is_err()
    })
    .unwrap();
}

/// Law 2 with the oracle's eyes: it opens every envelope and reads every record. With the receipts of a node withheld
/// from any of its checkpoints on, no share leaves under a lease, no grant, no acceptance and no responder's key whose
/// record is not durable.
#[test]
fn the_gate_protects() {
    let run = |cast: &mut Cast| {
        for _ in 0..3 {
            let _ = cast.try_request(0, 1, KeyRequest::new(2));
            let _ = cast.try_request(1, 0, KeyRequest::new(2));
            cast.world.run_for(Duration::from_secs(10), 1_000_000);
        }
    };
    let mut let_go = 0;
    for seed in 0..seeds(3) {
        let mut honest = cast(seed, &setup());
        run(&mut honest);
        Oracle::acquit(&honest);
        for node in honest.world.nodes() {
            for from in 1..honest.world.checkpoints(node) {
                let mut cast = cast(seed, &setup());
                cast.world.set_receipts(node, Receipts::Withheld { from });
                run(&mut cast);
                match Oracle::behind_gate(&cast, node, from) {
                    Ok(left) => let_go += left,
                    Err(charges) => panic!("seed {seed}, {node:?}, checkpoint {from}: {charges:#?}"),
                }
                // With the receipts, everybody goes on.
                cast.world.release_receipts(node);
                let id = cast.request(0, 1, KeyRequest::new(2));
                cast.settle(30);
                cast.assert_agreed(0, 1, id);
                Oracle::acquit(&cast);
            }
        }
    }
    assert!(let_go > 0, "nothing left behind any gate: nothing was tried");
}

/// A slow store changes when things happen and nothing else.
#[test]
fn a_slow_store_delays_and_breaks_nothing() {
    for seed in 0..5 {
        let mut cast = cast(seed, &setup());
        for node in cast.world.nodes() {
            cast.world.set_receipts(node, Receipts::After(Duration::from_millis(seed * 97)));
        }
        let there = cast.request(0, 1, KeyRequest::new(2));
        let back = cast.request(1, 0, KeyRequest::new(2));
        cast.settle(30);
        cast.assert_agreed(0, 1, there);
        cast.assert_agreed(1, 0, back);
        Oracle::acquit(&cast);
    }
}

/// Every party loses power at every point of a run of the laws; a later key agrees.
#[test]
fn every_crash_of_everybody() {
    let crashes = laws::every_crash(
        &trial().rounds(1, Duration::from_secs(40)),
        1,
        PowerLoss::Any,
        Duration::from_millis(700),
        |world| {
            let last_round = |happened: &&skex_sim::Happened<_>| happened.at.as_millis() >= 40_000;
            let mut keys: std::collections::BTreeMap<Vec<u8>, Vec<Vec<u8>>> =
                std::collections::BTreeMap::new();
            for happened in world.events().iter().filter(last_round) {
                if let Either::Left(ClientEvent::KeyEstablished(established)) = &happened.event {
                    let secrets = keys.entry(established.key.id().as_bytes().to_vec()).or_default();
                    secrets.push(established.key.secret().expose().to_vec());
                }
            }
            let agreed = keys
                .values()
                .filter(|secrets| secrets.len() >= 2 && secrets.iter().all(|s| *s == secrets[0]));
            if agreed.count() >= 2 { Ok(()) } else { Err(format!("{} keys at both ends", keys.len())) }
        },
    );
    assert!(crashes.unwrap() > 100);
}
