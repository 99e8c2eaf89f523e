//! dske-transcripts.json

mod changes;
mod liars;
mod negotiation;
mod passive;
mod refused;
mod scenarios;
mod witness;
mod world;

use serde_json::{Value, json};
use skex_testvectors::Layer;
use skex_testvectors::dske_transcripts::TestGroup;

use self::scenarios::Exchanges;
use self::witness::Witness;
use self::world::{BOB, NAMES, Options, World, coordinate, hub_id, tag};
use crate::file::{Case, File, Group, hex};

/// More than any end here draws.
const TAPE: usize = 2048;

pub(crate) fn file() -> (&'static str, String) {
    played().0
}

/// What the ends of all exchanges that come to their end stored last, for later versions to restore.
pub(crate) fn released() -> String {
    serde_json::to_string_pretty(&played().1).expect("serializable") + "\n"
}

fn played() -> ((&'static str, String), Vec<Value>) {
    let mut stored = Vec::new();
    let mut file = File::new(
        "dske-transcripts",
        "DSKE: whole exchanges",
        "draft-skex-dske-00",
        &[
            "What clients and hubs do is what the implementation did; every octet of it was explained by values that were computed from the specification alone.",
            "Times are in milliseconds. When an end sends, how long a lease it asks for, and when it stores what it has to, is its own affair; what it then sends is not.",
        ],
        &[
            ("Normal", "BASIC", "A usual exchange."),
            ("KeySuite", "BASIC", "A computational suite: two keys in one epoch."),
            ("Several", "BASIC", "Messages about keys share datagrams."),
            ("Loss", "BASIC", "Messages are lost and sent again."),
            ("Restart", "BASIC", "An end loses its memory; what was under way goes on in other blocks."),
            ("SilentHub", "BASIC", "One hub is down."),
            ("Command", "BASIC", "Look-up, offer, withdrawal, authorisation."),
            ("Refill", "BASIC", "A table comes over the network; a key uses it."),
            ("InitialKey", "BASIC", "Both ends are given another initial key."),
            ("SeveralTables", "BASIC", "A direction has several tables."),
            ("Retired", "MISSING_CHECK", "A table is taken out of service, or was."),
            ("Revoked", "MISSING_CHECK", "A hub revokes a client, or has."),
            ("Liars", "BASIC", "Fewer hubs than the threshold deliver wrong shares."),
            ("TooManyLiars", "BASIC", "As many hubs as the threshold deliver wrong shares."),
            ("Negotiated", "BASIC", "Terms follow from an offer and a wish."),
            ("OtherContent", "MISSING_CHECK", "The same key id came with other content before."),
            ("TooLittleAssurance", "DOWNGRADE", "A key of less assurance than the responder demands."),
            ("LifetimeTooLong", "MISSING_CHECK", "A lifetime beyond the responder's longest."),
            ("UnknownHub", "MISSING_CHECK", "A coordinate that the responder's roster lacks."),
            (
                "OldInitialKey",
                "AUTHENTICATION",
                "Under an initial key that another replaces, or has replaced.",
            ),
            ("Version", "MISSING_CHECK", "A version that is not known."),
            ("Type", "MISSING_CHECK", "A type that is not known."),
            ("Length", "MISSING_CHECK", "An octet missing or left over."),
            ("BadValue", "MISSING_CHECK", "A value that the encoding does not allow."),
            ("ModifiedTag", "AUTHENTICATION", "One bit of a tag is flipped."),
            ("ModifiedHeader", "AUTHENTICATION", "One bit of what stands in clear is flipped."),
            ("ModifiedCiphertext", "AUTHENTICATION", "One bit of the ciphertext is flipped."),
            ("ModifiedMessage", "AUTHENTICATION", "One bit of what a one-time tag covers is flipped."),
            ("UnknownClient", "MISSING_CHECK", "A client id that the hub has not given."),
            ("WrongDirection", "MISSING_CHECK", "A message that never goes this way."),
            ("Repeated", "MISSING_CHECK", "It was taken before and means nothing now."),
            ("NoSession", "MISSING_CHECK", "No session that is there opens it."),
            ("NotAsked", "MISSING_CHECK", "The answer to what was not asked."),
            ("OutsideLease", "MISSING_CHECK", "A block that no lease of the session holds, or its head."),
            ("UsedBlock", "MISSING_CHECK", "A block that overlaps one that was used."),
            ("NoSuchTable", "MISSING_CHECK", "A table that the receiver does not have."),
            ("OutOfOrder", "MISSING_CHECK", "A part of a table that is not the next."),
            ("UnknownKey", "MISSING_CHECK", "A key that the receiver did not ask for."),
            ("TooLong", "MISSING_CHECK", "A table beyond the receiver's limit."),
            (
                "SuiteNotOffered",
                "DOWNGRADE",
                "An authentic upload names a suite that the hub does not relay.",
            ),
            (
                "BelowThreshold",
                "DOWNGRADE",
                "An authentic delivery is below the responder's minimum threshold.",
            ),
            ("NotAuthorised", "MISSING_CHECK", "The responder has not authorised the initiator."),
            ("ModifiedRecord", "AUTHENTICATION", "One bit of a stored record is flipped."),
            ("Gap", "MISSING_CHECK", "Stored records that do not follow each other."),
            ("Passive", "BASIC", "Tables and captured messages of a threshold of links give the key."),
            ("TooFewLinks", "MISSING_CHECK", "One link fewer than the threshold."),
            ("NotCaptured", "MISSING_CHECK", "A message that is needed was not captured."),
            ("OtherTable", "AUTHENTICATION", "One bit of a table is another."),
            ("OtherInitialKey", "AUTHENTICATION", "One bit of an initial key is another."),
        ],
    );
    file.group("Exchange", "exchanges", json!({}), |group| {
        let exchanges = &mut Exchanges { group, stored: &mut stored };
        scenarios::all(exchanges);
        changes::all(exchanges);
        liars::all(exchanges);
        negotiation::all(exchanges);
    });
    file.group("Exchange", "refused", json!({}), |group| {
        refused::all(group);
        changes::refused(group);
        liars::refused(group);
        negotiation::refused(group);
    });
    file.group("Passive", "passive client", json!({}), passive::all);
    (file.finish::<TestGroup>(), stored)
}

/// Everybody of a test before the first start.
fn cast(case: &mut Case<'_>, options: Options) -> World {
    let table = options.elements as usize * 16;
    let links: Vec<[Vec<u8>; 3]> = (0..2 * options.hubs - options.hubs_without_bob)
        .map(|i| {
            [("initialKey", 32), ("uplink.octets", table), ("downlink.octets", table)]
                .map(|(field, length)| case.derive(&format!("links[{i}].{field}"), length))
        })
        .collect();
    let clients = (0..2).map(|i| format!("clients[{i}].random"));
    let hubs = (0..options.hubs).map(|i| format!("hubs[{i}].random"));
    let paths: Vec<String> = clients.chain(hubs).collect();
    let tapes = paths.iter().map(|path| case.derive(path, TAPE)).collect();
    let liars = 2..2 + options.liars;
    // As long as the shares of a key of 256 bits.
    let errors = liars.map(|hub| (hub, case.derive(&format!("hubs[{}].error", hub - 2), 7 * 16))).collect();
    World::new(options, &links, tapes, errors)
}

/// Plays an exchange and writes it down. Gives the world as it is then.
fn exchange(
    group: &mut Group,
    name: &str,
    comment: &str,
    options: Options,
    result: (Option<Layer>, &str),
    play: impl FnOnce(&mut World, &mut Case<'_>),
) -> World {
    let mut case = group.case(name, comment);
    let mut world = cast(&mut case, options);
    for end in world.hubs().chain(0..2) {
        world.start(end);
    }
    play(&mut world, &mut case);
    write(&mut case, &world);
    match result {
        (None, flag) => case.valid(&[flag]),
        (Some(layer), flag) => case.invalid(layer, flag),
    }
    world
}

fn write(case: &mut Case<'_>, world: &World) {
    let witness = Witness::new(world);
    for (field, value) in ends(world) {
        case.set(field, value);
    }
    case.set("steps", witness.steps()).set("sessions", witness.sessions()).set("blocks", witness.blocks());
    case.set("epochs", witness.epochs()).set("keys", witness.keys());
}

/// What everybody is, and was provisioned with.
fn ends(world: &World) -> [(&'static str, Value); 4] {
    let client = |client: usize| {
        json!({
            "name": NAMES[client],
            "tag": hex(&tag(client)),
            "minimumThreshold": if client == BOB { world.options.minimum_threshold } else { 2 },
            "informationTheoretic": client == BOB && world.options.information_theoretic,
            "longestLifetime": if client == BOB { world.options.longest_lifetime } else { u16::MAX },
            "random": hex(world.random(client)),
        })
    };
    let hub = |hub: usize| {
        json!({
            "name": world.name(hub),
            "hubId": hex(&hub_id(hub)),
            "coordinate": coordinate(hub),
            "suites": world.options.suites.iter().map(|suite| suite.id().value()).collect::<Vec<u8>>(),
            "authorised": world.options.authorised,
            "error": world.error(hub).map(hex),
            "random": hex(world.random(hub)),
        })
    };
    [
        ("envelopeSuite", world.options.envelope.into()),
        ("clients", (0..2).map(client).collect()),
        ("hubs", world.hubs().map(hub).collect()),
        ("links", links(world).into()),
    ]
}

/// What the ends that are up stored, and all tables that they have, each at both ends as it came.
fn stored(name: &str, world: &World) -> Value {
    let table = |table: &world::Provisioned| {
        json!({
            "client": world.name(table.client),
            "hub": world.name(table.hub),
            "direction": table.direction,
            "number": table.number,
            "origin": table.origin,
            "octets": hex(&table.octets),
        })
    };
    let end = |end: usize| {
        let records = world.records(end).iter().map(|record| hex(record)).collect::<Vec<_>>();
        json!({ "name": world.name(end), "time": world.now, "records": records })
    };
    let refills = world.tables.iter().filter(|table| table.number != 0).map(table).collect::<Vec<Value>>();
    let stored = (0..2).chain(world.hubs()).filter(|at| world.is_up(*at)).map(end).collect::<Vec<Value>>();
    let mut entry = json!({ "name": name, "refills": refills, "stored": stored });
    entry.as_object_mut().expect("an object").extend(ends(world).map(|(field, value)| (field.into(), value)));
    entry
}

/// What the ends of each link were provisioned with.
fn links(world: &World) -> Vec<Value> {
    let table = |client: usize, hub: usize, direction: u8| {
        let of_link = |table: &&world::Provisioned| {
            (table.client, table.hub, table.direction, table.number) == (client, hub, direction, 0)
        };
        let table = world.tables.iter().find(of_link).expect("a table");
        json!({ "number": table.number, "origin": table.origin, "octets": hex(&table.octets) })
    };
    let link = |client: usize, hub: usize| {
        json!({
            "client": world.name(client),
            "hub": world.name(hub),
            "clientId": client,
            "initialKey": hex(world.initial_key(client, hub)),
            "uplink": table(client, hub, 0),
            "downlink": table(client, hub, 1),
        })
    };
    (0..2).flat_map(|client| world.hubs_with(client).map(move |hub| link(client, hub))).collect()
}
