//! The laws of `skex_core::machine`, each by its name, on a toy machine made of this crate's parts; and for each the
//! same toy with one rule left out, which the check must catch.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

#[path = "laws/contract.rs"]
mod contract;
#[path = "laws/crash.rs"]
mod crash;
#[path = "laws/parts.rs"]
mod parts;
#[path = "laws/toy.rs"]
mod toy;

use core::time::Duration;

use rand_core::CryptoRng;
use skex_core::machine::{Instant, PeerHandle, TransmitClass};
use skex_sim::laws::{self, Broken, Trial};
use skex_sim::{Departed, Either, Layout, Link, NodeId, World, for_each_seed};
use toy::{Client, Event, Fault, Service};

/// The machines of the toy's world.
type Toy = Either<Client, Service>;

const SERVICE: NodeId = NodeId::new(0);

/// A service and two clients, all with the same fault.
fn world(seed: u64, fault: Fault, layout: Layout, link: Link) -> World<Toy> {
    let mut world = World::new(seed);
    world.net_mut().set_default_link(link);
    world.add_node(layout, move |boot| Either::Right(Service::restore(fault, boot)));
    for _ in 0..2 {
        let client = world.add_node(layout, move |boot| Either::Left(Client::restore(fault, boot)));
        world.route(client, PeerHandle::new(0), SERVICE);
    }
    world
}

/// Every client asks for two numbers, three times.
fn trial(fault: Fault) -> Trial<Toy> {
    let build = move |seed| world(seed, fault, Layout::Log, Link::ideal().latency(20).jitter(10));
    Trial::new(build, asks::<2>).rounds(3, Duration::from_secs(5)).flood(2000, 16).passes_through(is_request)
}

/// The application of a client asks for `N`; a client that still waits for earlier ones refuses.
fn asks<const N: usize>(_: NodeId, machine: &mut Toy, now: Instant, rng: &mut dyn CryptoRng) {
    if let Some(client) = machine.left() {
        let _ = client.ask(now, rng, N);
    }
}

/// A request depends on nothing durable: its nonce is forgotten in a crash and never drawn again.
fn is_request(_: NodeId, what: &Departed) -> bool {
    matches!(what, Departed::Sent { class: TransmitClass::Request | TransmitClass::Retransmission, .. })
}

fn keeps(law: impl Fn(&Trial<Toy>, u64) -> Result<(), Broken>) {
    for_each_seed(0..5, |seed| law(&trial(Fault::None), seed).unwrap());
}

fn catches(name: &str, faults: &[Fault], law: impl Fn(&Trial<Toy>, u64) -> Result<(), Broken>) {
    for &fault in faults {
        let broken = law(&trial(fault), 1).expect_err(&format!("{fault:?} is not caught"));
        assert_eq!(broken.law, name, "{fault:?} is caught elsewhere: {broken}");
    }
}

#[test]
fn law_1_drain() {
    keeps(laws::drain);
    catches("drain", &[Fault::KeepsTalking, Fault::HidesWhatIsReady], laws::drain);
}

#[test]
fn law_2_barrier() {
    keeps(laws::barrier);
    catches("barrier", &[Fault::SendsBeforeDurable, Fault::TellsBeforeDurable], laws::barrier);
}

#[test]
fn law_2_receipts() {
    keeps(laws::receipts);
    catches("receipts", &[Fault::TakesAnyReceipt], laws::receipts);
}

#[test]
fn law_3_no_half_step() {
    let law = |trial: &Trial<Toy>, seed| {
        laws::no_half_step(trial, seed, |_, machine, now, rng| {
            machine.left().is_none_or(|client| client.ask(now, rng, 5).is_err())
        })
    };
    keeps(law);
    catches("no_half_step", &[Fault::HalfRefuses], law);
}

#[test]
fn law_4_junk() {
    keeps(laws::junk);
    let faults = [Fault::AnswersJunkAtLength, Fault::CallsJunkAccepted, Fault::SpendsOnJunk];
    catches("junk", &faults, laws::junk);
}

#[test]
fn law_4_junk_is_never_answered_at_length_even_where_an_answer_is_allowed() {
    let trial = trial(Fault::AnswersJunkAtLength).may_answer_junk(|_, _, _| true);
    let broken = laws::junk(&trial, 1).unwrap_err();
    assert!(broken.seen.contains("bytes"), "{broken}");
}

#[test]
fn law_5_time() {
    keeps(laws::time);
    let faults = [Fault::TimesOutEarly, Fault::FollowsTheClockBack];
    catches("time", &faults, laws::time);
}

#[test]
fn law_5_a_timer_that_stays_due_is_caught() {
    // Nobody answers, so the timer has work to do.
    let silent =
        |fault| Trial::new(move |seed| world(seed, fault, Layout::Log, Link::ideal().loss(1000)), asks::<1>);
    laws::time(&silent(Fault::None), 1).unwrap();
    assert_eq!(laws::time(&silent(Fault::LeavesTheTimerDue), 1).unwrap_err().law, "time");
}

#[test]
fn law_6_determinism() {
    keeps(laws::determinism);
    catches("determinism", &[Fault::HasASecretSource], laws::determinism);
}

#[test]
fn law_7_bounds() {
    keeps(laws::bounds);
    catches("bounds", &[Fault::ForgetsTheBound], laws::bounds);
}

#[test]
fn law_8_one_checkpoint() {
    keeps(laws::one_checkpoint);
    catches("one_checkpoint", &[Fault::SecondCheckpoint], laws::one_checkpoint);
}

#[test]
fn law_9_restart_writes_first() {
    keeps(laws::restart_writes_first);
    let faults = [Fault::SkipsTheFirstWrite, Fault::SendsBeforeTheFirstWrite];
    catches("restart_writes_first", &faults, laws::restart_writes_first);
}

#[test]
fn all_laws_at_once_and_under_loss() {
    for_each_seed(0..3, |seed| {
        laws::all(&trial(Fault::None), seed).unwrap();
        let build = |seed| world(seed, Fault::None, Layout::Slots(2), Link::terrible());
        let lossy = Trial::new(build, asks::<1>).passes_through(is_request);
        laws::all(&lossy, seed).unwrap();
    });
}

#[test]
fn a_trial_that_tries_nothing_proves_nothing() {
    let idle =
        || Trial::new(|seed| world(seed, Fault::None, Layout::Log, Link::ideal()), |_, _: &mut Toy, _, _| {});
    assert!(laws::drain(&idle(), 1).is_err());
    assert!(laws::barrier(&idle(), 1).is_err());
    assert!(laws::receipts(&idle(), 1).is_err());
    assert!(laws::one_checkpoint(&idle(), 1).is_err());
}

/// What every scenario of the toy asserts: no number for two askers, none told twice.
fn no_number_twice(world: &World<Toy>) -> Result<(), String> {
    let mut answers: Vec<_> =
        world.net().sent_by(SERVICE).filter_map(|sent| toy::answer(&sent.bytes)).collect();
    answers.sort_unstable_by_key(|(_, number)| *number);
    if let Some(pair) = answers.windows(2).find(|pair| pair[0].1 == pair[1].1) {
        return Err(format!("number {} went out twice", pair[0].1));
    }
    let mut told: Vec<_> = world
        .events()
        .iter()
        .filter_map(|happened| match happened.event {
            Either::Left(Event::Number(number)) => Some(number),
            _ => None,
        })
        .collect();
    told.sort_unstable();
    match told.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("number {} was told twice", pair[0])),
        None if told.is_empty() => Err("no number was ever told".to_owned()),
        None => Ok(()),
    }
}
