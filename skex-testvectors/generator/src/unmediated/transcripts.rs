//! unmediated-transcripts.json

mod mixed;
mod recovery;
mod refused;
mod scenarios;
mod witness;
mod world;

use serde_json::{Value, json};
use skex_testvectors::Layer;
use skex_testvectors::unmediated_transcripts::TestGroup;
use skex_unmediated::MixPolicy;

use self::world::{Options, TRIES, World};
use super::{VERSION, letter};
use crate::file::{File, Group};

/// More than any end here draws.
const TAPE: usize = 1024;

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "unmediated-transcripts",
        "Unmediated: whole exchanges",
        VERSION,
        &[
            "What the ends do is what the implementation did; every octet of it was checked against values that were computed from the specification alone.",
            "Times are in milliseconds. Records (Store) are informative, and so is what an end makes of its BK.",
        ],
        &[
            ("Normal", "BASIC", "A usual exchange."),
            ("ConsumerConfirms", "BASIC", "The consumer of the keys confirms; the fourth message is spared."),
            ("Stateless", "BASIC", "The responder keeps nothing; the third message is long."),
            ("SuiteChange", "BASIC", "The suite of the next epoch is another one."),
            ("Glare", "BASIC", "Both ends start at once."),
            ("Loss", "BASIC", "Messages are lost and sent again."),
            ("Healing", "BASIC", "One end is ahead, and the other follows with the long third message."),
            ("Cookie", "BASIC", "A path has to be proved first."),
            ("Void", "BASIC", "The session is void, and both ends learn it."),
            ("Expired", "BASIC", "The session's time is over."),
            ("RolledBack", "BASIC", "One end was rolled back, and learns it."),
            ("Restart", "BASIC", "An end loses its memory."),
            ("Mixed", "BASIC", "Fresh secret material is offered, and mixed in or not."),
            ("Exporter", "BASIC", "Keys out of order, and over a restart."),
            ("Recovery", "BASIC", "A recovery lane, or a lane that is enrolled anew by one."),
            ("Version", "MISSING_CHECK", "A version that is not known."),
            ("Type", "MISSING_CHECK", "A type that is not known."),
            ("Flags", "MISSING_CHECK", "A flag that is not known."),
            ("Length", "MISSING_CHECK", "An octet missing or left over."),
            ("Offer", "MISSING_CHECK", "An offer of nothing, of no suite, or of one suite twice."),
            ("Status", "MISSING_CHECK", "A status that is not known."),
            ("ModifiedTag", "AUTHENTICATION", "One bit of a tag is flipped."),
            ("ModifiedBody", "AUTHENTICATION", "One bit of what a tag covers is flipped."),
            ("UnknownPseudonym", "MISSING_CHECK", "The pseudonym is not one of the peer's."),
            ("NoSuchAttempt", "MISSING_CHECK", "It answers no attempt that is running."),
            ("NotAnswered", "MISSING_CHECK", "A short third message, and no answer is remembered."),
            ("Repeated", "MISSING_CHECK", "It was taken before and means nothing now."),
            ("NotOffered", "DOWNGRADE", "An authentic second message names a suite that was not offered."),
            (
                "BadChoice",
                "MISSING_CHECK",
                "The extension block of a second or third message is none that it may have.",
            ),
            ("NoBlock", "DOWNGRADE", "A block is required, and none is in common."),
            ("LostBlock", "MISSING_CHECK", "A third message needs a block that this end has lost."),
            ("Shut", "MISSING_CHECK", "The recovery lane is shut."),
            ("Held", "MISSING_CHECK", "The lane is held until a recovery is concluded."),
            ("NoCommonSuite", "DOWNGRADE", "An authentic first message offers nothing that is allowed."),
        ],
    );
    file.group("Exchange", "exchanges", json!({}), scenarios::all);
    file.group("Exchange", "fresh secret material", json!({}), mixed::all);
    file.group("Exchange", "discarded", json!({}), refused::all);
    file.group("Exchange", "fresh secret material, discarded", json!({}), mixed::refused);
    file.group("Exchange", "recovery", json!({}), recovery::all);
    file.group("Exchange", "recovery, discarded", json!({}), recovery::refused);
    file.finish::<TestGroup>()
}

/// Plays an exchange and writes it down.
fn exchange(
    group: &mut Group,
    name: &str,
    comment: &str,
    options: Options,
    result: (Option<Layer>, &str),
    play: impl FnOnce(&mut World),
) {
    let mut case = group.case(name, comment);
    let secret = case.secret("secret", 32);
    let tapes = [0, 1].map(|at| case.derive(&format!("ends[{at}].random"), TAPE));
    let blocks: Vec<Vec<u8>> =
        (0..options.blocks).map(|at| case.derive(&format!("blocks[{at}]"), 32)).collect();
    let mut world = World::new(options, secret, blocks, tapes.clone());
    world.enrol();
    play(&mut world);
    let handshakes = witness::handshakes(&world);
    let ends: Vec<Value> = [b'a', b'b']
        .into_iter()
        .enumerate()
        .map(|(at, side)| {
            json!({
                "side": letter(side),
                "suites": world.options.suites[at],
                "consumerConfirms": world.options.consumer,
                "stateless": world.options.stateless,
                "mix": policy(world.options.mix[at]),
                "tries": TRIES,
                "random": crate::file::hex(&tapes[at][..world.used(at)]),
            })
        })
        .collect();
    case.hex("nameA", &world.enrolment.names[0]).hex("nameB", &world.enrolment.names[1]);
    case.set("lane", world.enrolment.lane).hex("context", &world.enrolment.context);
    case.hexes("blocks", &world.blocks);
    case.set("initialSuite", world.options.initial).set("ends", ends);
    case.set("steps", world.steps).set("handshakes", handshakes);
    match result {
        (None, flag) => case.valid(&[flag]),
        (Some(layer), flag) => case.invalid(layer, flag),
    }
}

fn policy(policy: MixPolicy) -> &'static str {
    match policy {
        MixPolicy::Never => "never",
        MixPolicy::Require => "require",
        _ => "accept",
    }
}

/// The one message of an answer.
fn one(messages: Vec<Vec<u8>>) -> Vec<u8> {
    let [message] = <[Vec<u8>; 1]>::try_from(messages).expect("one message");
    message
}

/// A whole handshake of four messages, nothing lost.
fn handshake(world: &mut World, initiator: u8) {
    let responder = super::other(initiator);
    let first = one(world.establish(initiator));
    let second = one(world.deliver(responder, &first));
    let third = one(world.deliver(initiator, &second));
    for fourth in world.deliver(responder, &third) {
        let none = world.deliver(initiator, &fourth);
        assert!(none.is_empty());
    }
}
