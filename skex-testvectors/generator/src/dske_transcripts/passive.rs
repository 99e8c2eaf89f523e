//! What somebody finds who has tables and initial keys of some links and recorded their traffic.

use serde_json::{Value, json};
use skex_dske::KeySuite;
use skex_testvectors::Layer;

use super::scenarios::wanted;
use super::witness::{Opened, Witness, message};
use super::world::{ALICE, BOB, Options, World, coordinate, hub_id, tag};
use super::{cast, links};
use crate::file::{Group, flipped, hex};

pub(super) fn all(group: &mut Group) {
    let suites = [
        (KeySuite::OneTime, "one-time pads", 1),
        (KeySuite::Aes256Gcm, "AES-256-GCM", 1),
        (KeySuite::ChaCha20Poly1305, "ChaCha20-Poly1305", 4),
    ];
    for (suite, name, envelope) in suites {
        for (client, role) in [(ALICE, "initiator"), (BOB, "responder")] {
            let name = format!("{name}, links of the {role}");
            passive(group, &name, suite, envelope, client, 2, "Passive", None);
        }
    }
    for (client, role) in [(ALICE, "initiator"), (BOB, "responder")] {
        for (what, flag, layer) in [
            ("one link", "TooFewLinks", Layer::Argument),
            ("no delivery", "NotCaptured", Layer::State),
            ("another table", "OtherTable", Layer::Authenticate),
            ("another initial key", "OtherInitialKey", Layer::Authenticate),
            ("a damaged share", "ModifiedCiphertext", Layer::Authenticate),
        ] {
            let links = if flag == "TooFewLinks" { 1 } else { 2 };
            let name = format!("links of the {role}, {what}");
            passive(group, &name, KeySuite::OneTime, 1, client, links, flag, Some(layer));
        }
    }
}

/// The links of `client` with the first hubs.
#[expect(clippy::too_many_arguments, reason = "a test has as many parts")]
fn passive(
    group: &mut Group,
    name: &str,
    suite: KeySuite,
    envelope: u8,
    client: usize,
    count: usize,
    flag: &str,
    layer: Option<Layer>,
) {
    let mut case = group.case(name, "2 of 3; the observer knows the roster, and nothing of hub-3");
    let mut world = cast(&mut case, Options { envelope, hubs: 3, ..Options::default() });
    for end in world.hubs().chain(0..2) {
        world.start(end);
    }
    world.request(ALICE, wanted(2, suite));
    world.until_given(2);
    let witness = Witness::new(&world);
    let mut captured: Vec<Value> = Vec::new();
    let kept = |sent: &&Opened| sent.flight.link().0 == client && sent.flight.link().1 < 2 + count;
    let share =
        |sent: &Opened| matches!(message(sent), "UPLOAD" | "UPLOAD_SEALED" | "DELIVERY" | "DELIVERY_SEALED");
    for sent in witness.opened.iter().filter(kept) {
        let hub = world.name(sent.flight.link().1);
        let is_last = sent.flight.link().1 == 3 && share(sent);
        if flag == "NotCaptured" && is_last {
            continue;
        }
        let mut octets = sent.flight.octets.clone();
        if flag == "ModifiedCiphertext" && is_last {
            octets = flipped(&octets, octets.len() - 20, 1);
        }
        captured.push(json!({ "hub": hub, "direction": sent.flight.direction(), "octets": hex(&octets) }));
    }
    write(&mut case, &world, client, count, captured);
    let found = witness.key(0);
    match layer {
        None => {
            case.set("found", found);
            case.valid(&[flag]);
        }
        Some(layer) => {
            case.set("found", Value::Null);
            spoil(&mut case, &world, flag, client);
            case.invalid(layer, flag);
        }
    }
}

fn write(case: &mut crate::file::Case<'_>, world: &World, client: usize, count: usize, captured: Vec<Value>) {
    let all = links(world);
    case.forget_all("links").forget_all("clients").forget_all("hubs");
    let first = client * world.options.hubs;
    // Not where the seed has them: the other client's links come first there.
    let held: Vec<Value> = all[first..first + count].to_vec();
    let roster: Vec<Value> = world
        .hubs()
        .map(|hub| json!({ "name": world.name(hub), "hubId": hex(&hub_id(hub)), "coordinate": coordinate(hub) }))
        .collect();
    case.set("envelopeSuite", world.options.envelope);
    case.set("clientTag", hex(&tag(client)))
        .set("roster", roster)
        .set("links", held)
        .set("captured", captured);
}

/// The one thing that is wrong, where it is not among the messages.
fn spoil(case: &mut crate::file::Case<'_>, world: &World, flag: &str, client: usize) {
    let mut held: Vec<Value> =
        links(world)[client * 3..client * 3 + if flag == "TooFewLinks" { 1 } else { 2 }].to_vec();
    let way = if client == ALICE { "uplink" } else { "downlink" };
    let octets = |value: &Value| -> Vec<u8> {
        let text = value.as_str().expect("octets");
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect()
    };
    match flag {
        "OtherTable" => {
            // In the pad of the first block: behind two elements of the lease and four of the block.
            let table = octets(&held[1][way]["octets"]);
            held[1][way]["octets"] = hex(&flipped(&table, 16 * 6, 1)).into();
        }
        "OtherInitialKey" => {
            let key = octets(&held[1]["initialKey"]);
            held[1]["initialKey"] = hex(&flipped(&key, 0, 1)).into();
        }
        _ => return,
    }
    case.set("links", held);
}
