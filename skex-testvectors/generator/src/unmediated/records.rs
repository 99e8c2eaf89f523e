//! unmediated-records.json

use serde_json::{Value, json};
use skex_core::Suite;
use skex_testvectors::Layer;
use skex_testvectors::unmediated_records::{Link, State, TestGroup};

use super::schedule::Enrolment;
use super::{VERSION, letter, suite};
use crate::file::{Case, File, Group, flipped, hex};
use crate::records::record;

const KIND: u8 = 1;

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "unmediated-records",
        "Unmediated: durable records (informative)",
        VERSION,
        &[
            "The specification says what is durable, not how it is written: this is the form of one implementation.",
        ],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("Minimum", "EDGE_CASE", "The shortest record."),
            ("Maximum", "EDGE_CASE", "The window full, eight suites offered, the last epoch."),
            ("Older", "BASIC", "Of two good records the newer rules."),
            ("Torn", "TORN_WRITE", "The newer record is cut; the older one rules, or nothing does."),
            ("Checksum", "TORN_WRITE", "The checksum is wrong."),
            ("Empty", "MISSING_CHECK", "Nothing was ever stored."),
            ("Conflict", "MISSING_CHECK", "Two good records with one sequence number differ."),
            ("ForeignMachine", "MISSING_CHECK", "The record is of another enrolment."),
            ("WrongKind", "MISSING_CHECK", "The record is of another kind of machine."),
            ("WrongSide", "MISSING_CHECK", "The record is that of the other end."),
            ("UnknownVersion", "MISSING_CHECK", "A later layout of the body, or of the frame."),
            ("UnknownSuite", "MISSING_CHECK", "The record needs a suite that nobody has."),
            ("Content", "MISSING_CHECK", "An intact record that makes no sense."),
        ],
    );
    for (name, side, enrolment) in [
        ("side a", b'a', enrolment(0, 1, b"")),
        ("side b, lane 3", b'b', enrolment(3, 5, b"a tunnel")),
        ("side a, recovery lane", b'a', enrolment(255, 1, b"")),
    ] {
        let parameters = json!({
            "side": letter(side),
            "nameA": hex(&enrolment.names[0]),
            "nameB": hex(&enrolment.names[1]),
            "lane": enrolment.lane,
            "context": hex(&enrolment.context),
            "initialSuite": super::number(enrolment.suite),
        });
        file.group("Restore", name, parameters, |group| {
            let mut maker = Maker { side, enrolment, group };
            if maker.enrolment.lane == 255 { maker.recovery_lane() } else { maker.all() }
        });
    }
    file.finish::<TestGroup>()
}

fn enrolment(lane: u8, initial: u8, context: &[u8]) -> Enrolment {
    let names = [b"alice".to_vec(), b"bob".to_vec()];
    Enrolment { names, lane, suite: suite(initial), context: context.to_vec() }
}

/// The parts of a state that a test chooses.
struct Wanted {
    epoch: u64,
    suite: u8,
    /// 0 none, 1 unconfirmed, 2 live, 3 void.
    session: u8,
    initiator: bool,
    /// The indices that were skipped, and the position.
    kept: &'static [u8],
    position: u32,
    link: &'static str,
    offer: &'static [u8],
    mixed: bool,
    /// Whether an offer of blocks is in the long third message, and what it chooses.
    mix: (bool, Option<u8>),
    /// Of each block that is held: whether it was withdrawn.
    blocks: &'static [bool],
    /// 0 nothing, 1 held, 2 open, 3 wanted.
    recovery: u8,
}

const LIVE: Wanted = Wanted {
    epoch: 1,
    suite: 1,
    session: 2,
    initiator: true,
    kept: &[],
    position: 0,
    link: "None",
    offer: &[1, 2],
    mixed: false,
    mix: (false, None),
    blocks: &[],
    recovery: 0,
};

const FRESH: Wanted = Wanted { epoch: 0, session: 0, initiator: false, ..LIVE };

struct Maker<'a> {
    side: u8,
    enrolment: Enrolment,
    group: &'a mut Group,
}

impl Maker<'_> {
    fn all(&mut self) {
        for (name, wanted, flag) in [
            ("epoch 0", FRESH, "Minimum"),
            ("live, initiator", LIVE, "Normal"),
            ("followed", Wanted { initiator: false, link: "Followed", ..LIVE }, "Normal"),
            (
                "followed, void",
                Wanted { initiator: false, session: 3, link: "FollowedVoid", ..LIVE },
                "Normal",
            ),
            ("ahead", Wanted { session: 1, link: "Ahead", ..LIVE }, "Normal"),
            ("ahead, the consumer confirmed", Wanted { link: "Ahead", ..LIVE }, "Normal"),
            ("ahead, expired", Wanted { session: 3, link: "Ahead", ..LIVE }, "Normal"),
            ("void", Wanted { session: 3, ..LIVE }, "Normal"),
            ("another suite, keys kept", Wanted { suite: 4, kept: &[1, 5], position: 6, ..LIVE }, "Normal"),
            (
                "a hash of 64 octets",
                Wanted { suite: 5, kept: &[0, 7], position: 8, link: "Ahead", ..LIVE },
                "Normal",
            ),
            ("epoch 0, a block", Wanted { blocks: &[false], ..FRESH }, "Normal"),
            ("epoch 0, two blocks withdrawn", Wanted { blocks: &[true, true], ..FRESH }, "Normal"),
            ("mixed, and another block", Wanted { mixed: true, blocks: &[false], ..LIVE }, "Normal"),
            ("followed, mixed", Wanted { initiator: false, link: "Followed", mixed: true, ..LIVE }, "Normal"),
            (
                "ahead, the second of two blocks chosen",
                Wanted {
                    session: 1,
                    link: "Ahead",
                    mixed: true,
                    mix: (true, Some(2)),
                    blocks: &[false, true],
                    ..LIVE
                },
                "Normal",
            ),
            (
                "ahead, nothing chosen of what was offered",
                Wanted { session: 1, link: "Ahead", mix: (true, None), blocks: &[false], ..LIVE },
                "Normal",
            ),
            (
                "as long as can be",
                Wanted {
                    epoch: u64::MAX,
                    suite: 5,
                    session: 1,
                    kept: &[0, 1, 2, 3, 4, 5, 6, 7],
                    position: 65_536,
                    link: "Ahead",
                    offer: &[5, 4, 3, 2, 1, 0xfe, 0xff, 0x80],
                    mixed: true,
                    mix: (true, Some(1)),
                    blocks: &[true, false],
                    ..LIVE
                },
                "Maximum",
            ),
        ] {
            self.written_anew(name, &wanted, flag);
        }
        self.written_anew("held", &Wanted { recovery: 1, ..FRESH }, "Normal");
        self.two_slots();
        self.refused();
    }

    /// What a recovery lane stores, and what only others do or only it.
    fn recovery_lane(&mut self) {
        for (name, wanted) in [
            ("shut", FRESH),
            ("open", Wanted { recovery: 2, ..FRESH }),
            ("wanted", Wanted { recovery: 3, ..FRESH }),
            ("ahead, wanted", Wanted { session: 1, link: "Ahead", recovery: 3, ..LIVE }),
            ("followed, the secret is there", Wanted { initiator: false, link: "Followed", ..LIVE }),
            (
                "followed, void, open",
                Wanted { initiator: false, session: 3, link: "FollowedVoid", recovery: 2, ..LIVE },
            ),
            ("concluded", Wanted { position: 1, ..LIVE }),
        ] {
            self.written_anew(name, &wanted, "Normal");
        }
        self.refuse("a recovery lane that is held", &Wanted { recovery: 1, ..FRESH });
    }

    fn written_anew(&mut self, name: &str, wanted: &Wanted, flag: &str) {
        let mut case = self.group.case(name, "written anew before anything else");
        let state = state(&mut case, wanted);
        let (body, machine) = (body(self.side, &typed(&state)), machine(&self.enrolment));
        case.hexes("slots", &[record(KIND, &machine, 7, &body), Vec::new()]).set("sequence", 7);
        case.hex("rewritten", &record(KIND, &machine, 8, &body));
        case.set("sends", long_third(&typed(&state)).map(|octets| hex(&octets))).set("state", state);
        case.valid(&[flag]);
    }

    /// A state that no lane like this has.
    fn refuse(&mut self, name: &str, wanted: &Wanted) {
        let body = body(self.side, &typed(&fixed(wanted)));
        let slots = [record(KIND, &machine(&self.enrolment), 7, &body), Vec::new()];
        let mut case = self.group.case(name, "not a state to go on from");
        case.hexes("slots", &slots).set("sequence", Value::Null).set("state", Value::Null);
        case.set("rewritten", Value::Null).set("sends", Value::Null);
        case.invalid(Layer::Decode, "Content");
    }

    fn two_slots(&mut self) {
        let machine = machine(&self.enrolment);
        for (name, torn, flag) in
            [("the newer in the second", false, "Older"), ("the newer torn", true, "Torn")]
        {
            let mut case = self.group.case(name, "two records, one after the other");
            let rules = state(&mut case, &LIVE);
            let body = body(self.side, &typed(&rules));
            let mut other = body.clone();
            // The session id: another handshake's.
            other[13] ^= 1;
            let (own, sequence) = (record(KIND, &machine, 20, &body), 20);
            let slots = if torn {
                let cut = record(KIND, &machine, 21, &other);
                [own, cut[..cut.len() - 1].to_vec()]
            } else {
                [record(KIND, &machine, 19, &other), own]
            };
            case.hexes("slots", &slots).set("sequence", sequence).set("state", rules);
            case.hex("rewritten", &record(KIND, &machine, 21, &body)).set("sends", Value::Null);
            case.valid(&[flag]);
        }
    }

    fn refused(&mut self) {
        let (side, machine) = (self.side, machine(&self.enrolment));
        let made = |wanted: &Wanted| body(side, &typed(&fixed(wanted)));
        let framed = |body: &[u8]| record(KIND, &machine, 7, body);
        let live = made(&LIVE);
        let changed = |at: usize, value: u8| {
            let mut body = live.clone();
            body[at] = value;
            [framed(&body), Vec::new()]
        };
        let followed = made(&Wanted { initiator: false, link: "Followed", ..LIVE });
        let ahead = made(&Wanted { session: 1, link: "Ahead", ..LIVE });
        let altered = |body: &[u8], from_end: usize, value: u8| {
            let mut body = body.to_vec();
            let at = body.len() - from_end;
            body[at] = value;
            [framed(&body), Vec::new()]
        };
        let good = framed(&live);
        let short = |by: usize| [good[..good.len() - by].to_vec(), Vec::new()];
        let far = Wanted { position: 65_537, ..LIVE };
        let other_name =
            Enrolment { names: [b"alice".to_vec(), b"carol".to_vec()], ..self.enrolment.clone() };
        let other_lane = Enrolment { lane: self.enrolment.lane + 1, ..self.enrolment.clone() };
        let foreign =
            |enrolment: &Enrolment| [record(KIND, &super::records::machine(enrolment), 7, &live), Vec::new()];
        let mut later_frame = good.clone();
        later_frame[4] = 2;
        let longer = [&live[..], &[0]].concat();
        let started = made(&FRESH);
        let holding = made(&Wanted { blocks: &[false], ..LIVE });
        let chosen = made(&Wanted { session: 1, link: "Ahead", mix: (true, Some(1)), ..LIVE });
        let third = [&made(&Wanted { blocks: &[false, false], ..LIVE })[..], &[1], &[7; 32]].concat();
        let mut early = started.clone();
        early[12] = 2;
        self.refuse("held in epoch 1", &Wanted { recovery: 1, ..LIVE });
        self.refuse("open, of no recovery lane", &Wanted { recovery: 2, ..FRESH });
        self.refuse("wanted, of no recovery lane", &Wanted { recovery: 3, ..FRESH });
        self.refuse("no session in epoch 1", &Wanted { session: 0, ..LIVE });
        self.refuse("an initiator in epoch 0", &Wanted { initiator: true, ..FRESH });
        self.refuse("an output kept below the first", &Wanted { kept: &[2], position: 2, ..LIVE });
        let without_offer = Wanted { session: 1, link: "Ahead", mix: (false, Some(1)), ..LIVE };
        self.refuse("a choice without an offer", &without_offer);
        for (name, slots, layer, flag) in [
            ("nothing", [Vec::new(), Vec::new()], Layer::State, "Empty"),
            ("erased", [vec![0; 200], vec![0xff; 200]], Layer::State, "Empty"),
            ("torn", short(1), Layer::Decode, "Torn"),
            ("torn in the frame", short(good.len() - 20), Layer::Decode, "Torn"),
            ("a bit of the chain key", [flipped(&good, 60, 4), Vec::new()], Layer::Authenticate, "Checksum"),
            ("a later frame", [later_frame, Vec::new()], Layer::Decode, "UnknownVersion"),
            ("two of one number", [good.clone(), framed(&followed)], Layer::State, "Conflict"),
            ("another name", foreign(&other_name), Layer::State, "ForeignMachine"),
            ("another lane", foreign(&other_lane), Layer::State, "ForeignMachine"),
            ("of a client", [record(2, &machine, 7, &live), Vec::new()], Layer::State, "WrongKind"),
            ("of the other side", changed(1, super::other(side)), Layer::State, "WrongSide"),
            ("a later layout", changed(0, 2), Layer::Decode, "UnknownVersion"),
            ("side c", changed(1, b'c'), Layer::Decode, "Content"),
            ("a suite of nobody", changed(10, 0x80), Layer::Policy, "UnknownSuite"),
            ("no suite", changed(10, 0), Layer::Policy, "UnknownSuite"),
            ("link 3", changed(11, 3), Layer::Decode, "Content"),
            ("session 4", changed(12, 4), Layer::Decode, "Content"),
            ("a session in epoch 0", [framed(&early), Vec::new()], Layer::Decode, "Content"),
            ("an octet short", [framed(&live[..live.len() - 1]), Vec::new()], Layer::Decode, "Content"),
            ("an octet too long", [framed(&longer), Vec::new()], Layer::Decode, "Content"),
            ("a position that no chain has", [framed(&made(&far)), Vec::new()], Layer::Decode, "Content"),
            ("status 2", altered(&followed, 33, 2), Layer::Decode, "Content"),
            ("an offer of no suite", altered(&ahead, 75, 0), Layer::Decode, "Content"),
            ("a block of no standing", altered(&holding, 33, 0), Layer::Decode, "Content"),
            ("a block of standing 3", altered(&holding, 33, 3), Layer::Decode, "Content"),
            ("half a block", [framed(&holding[..holding.len() - 16]), Vec::new()], Layer::Decode, "Content"),
            ("three blocks", [framed(&third), Vec::new()], Layer::Decode, "Content"),
            ("a refusal as a choice", altered(&chosen, 1, 0), Layer::Decode, "Content"),
            ("choice 3", altered(&chosen, 1, 3), Layer::Decode, "Content"),
            ("an offer of one suite twice", altered(&ahead, 75, 2), Layer::Decode, "Content"),
            ("a flag that no first message has", altered(&ahead, 93, 2), Layer::Decode, "Content"),
            ("a flag that no second message has", altered(&ahead, 73, 4), Layer::Decode, "Content"),
        ] {
            let mut case = self.group.case(name, "not a state to go on from");
            case.hexes("slots", &slots).set("sequence", Value::Null).set("state", Value::Null);
            case.set("rewritten", Value::Null).set("sends", Value::Null);
            case.invalid(layer, flag);
        }
    }
}

/// How the frame names the machine: the front of EB.
pub(super) fn machine(enrolment: &Enrolment) -> Vec<u8> {
    enrolment.binding()[..8].to_vec()
}

fn typed(state: &Value) -> State {
    serde_json::from_value(state.clone()).expect("a state")
}

/// A state whose octets follow from the seed.
fn state(case: &mut Case<'_>, wanted: &Wanted) -> Value {
    state_with(wanted, |path, length| case.derive(&format!("state.{path}"), length))
}

/// A state of constant octets.
fn fixed(wanted: &Wanted) -> Value {
    state_with(wanted, |path, length| vec![path.len() as u8; length])
}

fn state_with(wanted: &Wanted, mut octets: impl FnMut(&str, usize) -> Vec<u8>) -> Value {
    let own: Suite = suite(wanted.suite);
    let mut take = |path: &str, length| hex(&octets(path, length));
    let session_id = if wanted.epoch == 0 { hex(&[0; 16]) } else { take("sessionId", 16) };
    let previous = (wanted.epoch > 0).then(|| {
        json!({
            "suite": 1,
            "ownPseudonym": take("previous.ownPseudonym", 8),
            "peerPseudonym": take("previous.peerPseudonym", 8),
            "peerMacKey": take("previous.peerMacKey", 32),
        })
    });
    let answering = (wanted.session == 1 || wanted.session == 2).then(|| {
        let kept: Vec<Value> = wanted
            .kept
            .iter()
            .enumerate()
            .map(|(at, slot)| {
                json!({ "slot": slot, "output": take(&format!("answering.kept[{at}].output"), own.hash_len()) })
            })
            .collect();
        json!({
            "link": take("answering.link", own.hash_len()),
            "position": wanted.position,
            "kept": kept,
        })
    });
    let link = match wanted.link {
        "None" => json!({ "type": "None" }),
        "Ahead" => json!({
            "type": "Ahead",
            "firstFlags": 0,
            "initiatorNonce": take("link.initiatorNonce", 16),
            "offer": wanted.offer,
            "secondFlags": 2,
            "responderNonce": take("link.responderNonce", 16),
            "mac3": take("link.mac3", 16),
            "guard": take("link.guard", 8),
            "mac4Good": take("link.mac4Good", 16),
            "mac4Void": take("link.mac4Void", 16),
            "mixOffer": wanted.mix.0.then(|| take("link.mixOffer", 16)),
            "choice": wanted.mix.1,
        }),
        followed => json!({
            "type": "Followed",
            "status": u8::from(followed == "FollowedVoid"),
            "mac3": take("link.mac3", 16),
            "mac4": take("link.mac4", 16),
        }),
    };
    let mut block = |(at, withdrawn): (usize, &bool)| json!({ "block": take(&format!("blocks[{at}].block"), 32), "withdrawn": withdrawn });
    let blocks: Vec<Value> = wanted.blocks.iter().enumerate().map(&mut block).collect();
    json!({
        "epoch": wanted.epoch,
        "suite": wanted.suite,
        "sessionStatus": wanted.session,
        "initiator": wanted.initiator,
        "mixed": wanted.mixed,
        "recovery": wanted.recovery,
        "sessionId": session_id,
        "chainKey": take("chainKey", own.hash_len()),
        "previous": previous,
        "answering": answering,
        "link": link,
        "blocks": blocks,
    })
}

/// The body of the record.
fn body(side: u8, state: &State) -> Vec<u8> {
    let mut out = vec![1, side];
    out.extend(state.epoch.to_be_bytes());
    out.push(state.suite);
    out.push(match &state.link {
        Link::None {} => 0,
        Link::Followed { .. } => 1,
        Link::Ahead { mix_offer, choice, .. } => {
            2 | if mix_offer.is_some() { 0x10 } else { 0 } | if choice.is_some() { 0x20 } else { 0 }
        }
        _ => panic!("a link that is not known here"),
    });
    let role = if state.initiator { 0x10 } else { 0 };
    out.push(state.session_status | role | if state.mixed { 0x20 } else { 0 } | state.recovery << 6);
    out.extend(state.session_id.as_bytes());
    out.extend(state.chain_key.as_bytes());
    if let Some(previous) = &state.previous {
        out.push(previous.suite);
        out.extend(previous.own_pseudonym.as_bytes());
        out.extend(previous.peer_pseudonym.as_bytes());
        out.extend(previous.peer_mac_key.as_bytes());
    }
    if let Some(answering) = &state.answering {
        out.extend(answering.link.as_bytes());
        out.extend(answering.position.to_be_bytes());
        out.push(answering.kept.iter().map(|kept| 1 << kept.slot).sum());
        for kept in &answering.kept {
            out.extend(kept.output.as_bytes());
        }
    }
    match &state.link {
        Link::Followed { status, mac3, mac4 } => {
            out.push(*status);
            out.extend(mac3.as_bytes());
            out.extend(mac4.as_bytes());
        }
        Link::Ahead {
            first_flags,
            initiator_nonce,
            offer,
            second_flags,
            responder_nonce,
            mac3,
            guard,
            mac4_good,
            mac4_void,
            mix_offer,
            choice,
        } => {
            out.push(*first_flags);
            out.extend(initiator_nonce.as_bytes());
            out.push(offer.len() as u8);
            out.extend(offer);
            out.push(*second_flags);
            for octets in [responder_nonce, mac3, guard, mac4_good, mac4_void] {
                out.extend(octets.as_bytes());
            }
            out.extend(mix_offer.iter().flat_map(|offer| offer.as_bytes()));
            out.extend(choice);
        }
        _ => {}
    }
    for held in &state.blocks {
        out.push(if held.withdrawn { 2 } else { 1 });
        out.extend(held.block.as_bytes());
    }
    out
}

/// The third message that the end owes.
fn long_third(state: &State) -> Option<Vec<u8>> {
    let Link::Ahead {
        first_flags,
        initiator_nonce,
        offer,
        second_flags,
        responder_nonce,
        mac3,
        guard,
        mix_offer,
        choice,
        ..
    } = &state.link
    else {
        return None;
    };
    let pseudonym = state.previous.as_ref()?.own_pseudonym.as_bytes();
    let mut out = vec![0x15, 0];
    out.extend(pseudonym);
    out.push(0);
    out.extend(mac3.as_bytes());
    out.push(*first_flags);
    out.extend(initiator_nonce.as_bytes());
    out.push(offer.len() as u8);
    out.extend(offer);
    let mix_offer = mix_offer.as_ref().map_or(&[][..], |offer| offer.as_bytes());
    out.push(mix_offer.len() as u8);
    out.extend(mix_offer);
    out.push(*second_flags);
    out.extend(responder_nonce.as_bytes());
    out.extend([state.suite, u8::from(choice.is_some())]);
    out.extend(choice);
    out.extend(guard.as_bytes());
    Some(out)
}
