//! records.json

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use skex_testvectors::Layer;
use skex_testvectors::records::TestGroup;

use crate::file::{Case, File, Group, flipped, hex};

const MACHINE: &[u8; 8] = b"machine1";

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "records",
        "Durable records",
        "SKEX records, format 1",
        &[
            "Groups \"log\", \"marks\" and \"relay\" are informative: how SKEX stores DSKE machines. Nobody else has to.",
        ],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("Empty", "EDGE_CASE", "A body of no octets, or no records."),
            (
                "Spare",
                "EDGE_CASE",
                "Octets behind the record, which are not looked at: a slot may have a fixed size.",
            ),
            ("Truncated", "TORN_WRITE", "The record ends too early."),
            ("BadMagic", "MISSING_CHECK", "It does not begin as a record does."),
            (
                "UnknownVersion",
                "MISSING_CHECK",
                "A later format: going on with an older record would be going back.",
            ),
            ("Checksum", "TORN_WRITE", "The checksum is wrong."),
            ("WrongKind", "MISSING_CHECK", "A good record of another kind of machine."),
            ("ForeignMachine", "MISSING_CHECK", "A good record of another machine."),
            ("Blank", "EDGE_CASE", "Nothing was ever stored: empty, zeros or ones."),
            ("TornWrite", "TORN_WRITE", "The newer record is cut; the older one rules."),
            ("Conflict", "MISSING_CHECK", "Two good records with one sequence number differ."),
            ("Snapshot", "EDGE_CASE", "A snapshot replaces everything before it."),
            ("Gap", "MISSING_CHECK", "A record between two others is missing, or they are out of order."),
            ("Content", "MISSING_CHECK", "An intact record that makes no sense."),
            ("Refilled", "EDGE_CASE", "The bit 64 stands beside another value."),
            ("Retired", "EDGE_CASE", "A table that was taken out of service: mark 2^32 - 1."),
            ("Dropped", "EDGE_CASE", "The highest number of the tables that are gone."),
        ],
    );
    file.group("Frame", "frame", json!({}), frames);
    file.group("Slots", "slots", json!({}), slots);
    file.group("Log", "log", json!({}), logs);
    file.group("Marks", "marks", json!({}), marks);
    file.group("Relay", "relay", json!({}), relays);
    file.finish::<TestGroup>()
}

/// A record with its frame.
pub(crate) fn record(kind: u8, machine: &[u8], sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut out = b"SKXR\x01".to_vec();
    out.push(kind);
    out.extend(machine);
    out.extend(sequence.to_be_bytes());
    out.extend((body.len() as u32).to_be_bytes());
    out.extend(body);
    let checksum = Sha256::digest(&out);
    out.extend(&checksum[..16]);
    out
}

fn own(sequence: u64, body: &[u8]) -> Vec<u8> {
    record(2, MACHINE, sequence, body)
}

fn expecting(case: &mut Case<'_>) {
    case.set("kind", 2).hex("machine", MACHINE);
}

fn frames(group: &mut Group) {
    for (name, kind, sequence, length, spare, flag) in [
        ("unmediated peer", 1, 1, 100, 0, "Normal"),
        ("client", 2, 7, 33, 0, "Normal"),
        ("hub", 3, u64::from(u32::MAX) + 1, 300, 0, "Normal"),
        ("no body", 2, 0, 0, 0, "Empty"),
        ("in a larger slot", 2, 8, 20, 44, "Spare"),
    ] {
        let mut case = group.case(name, "a good record");
        let (machine, body) = (case.secret("machine", 8), case.secret("body", length));
        let mut octets = record(kind, &machine, sequence, &body);
        octets.resize(octets.len() + spare, 0xaa);
        case.set("kind", kind).set("sequence", sequence).hex("octets", &octets);
        case.valid(&[flag]);
    }
    let good = own(7, b"the body");
    let with_version = |version: u8| {
        let mut octets = good[..good.len() - 16].to_vec();
        octets[4] = version;
        let checksum = Sha256::digest(&octets);
        [&octets[..], &checksum[..16]].concat()
    };
    let cut = |length: usize| good[..length].to_vec();
    for (name, octets, layer, flag) in [
        ("nothing", Vec::new(), Layer::Decode, "Truncated"),
        ("cut in the header", cut(20), Layer::Decode, "Truncated"),
        ("cut in the body", cut(30), Layer::Decode, "Truncated"),
        ("cut in the checksum", cut(good.len() - 1), Layer::Decode, "Truncated"),
        ("other magic", flipped(&good, 0, 0x20), Layer::Decode, "BadMagic"),
        ("version 2", with_version(2), Layer::Decode, "UnknownVersion"),
        ("body changed", flipped(&good, 26, 1), Layer::Authenticate, "Checksum"),
        ("sequence number changed", flipped(&good, 21, 1), Layer::Authenticate, "Checksum"),
        ("checksum changed", flipped(&good, good.len() - 1, 1), Layer::Authenticate, "Checksum"),
        ("a hub's", record(3, MACHINE, 7, b"the body"), Layer::State, "WrongKind"),
        ("another machine's", record(2, b"machine2", 7, b"the body"), Layer::State, "ForeignMachine"),
    ] {
        let mut case = group.case(name, "not to be used");
        expecting(&mut case);
        case.hex("octets", &octets).set("sequence", Value::Null).set("body", Value::Null);
        case.invalid(layer, flag);
    }
}

fn slots(group: &mut Group) {
    let (old, new) = (own(7, b"the older body"), own(8, b"the newer body"));
    let cut = new[..new.len() - 5].to_vec();
    let foreign = record(2, b"machine2", 99, b"foreign");
    for (name, slots, rules, flag) in [
        ("newer in the second", [old.clone(), new.clone()], Some((1, 8, "the newer body")), "Normal"),
        ("newer in the first", [new.clone(), old.clone()], Some((0, 8, "the newer body")), "Normal"),
        ("second blank", [old.clone(), vec![0; 64]], Some((0, 7, "the older body")), "Blank"),
        ("first missing", [Vec::new(), new.clone()], Some((1, 8, "the newer body")), "Blank"),
        ("both blank", [vec![0; 64], vec![0xff; 64]], None, "Blank"),
        ("second torn", [old.clone(), cut.clone()], Some((0, 7, "the older body")), "TornWrite"),
        ("first foreign", [foreign.clone(), old.clone()], Some((1, 7, "the older body")), "ForeignMachine"),
        ("one record twice", [new.clone(), new.clone()], Some((0, 8, "the newer body")), "Normal"),
    ] {
        let mut case = group.case(name, "which record rules");
        expecting(&mut case);
        case.hexes("slots", &slots);
        case.set("rules", rules.map(|(slot, ..)| slot))
            .set("sequence", rules.map(|(_, sequence, _)| sequence));
        case.set("body", rules.map(|(.., body)| hex(body.as_bytes())));
        case.valid(&[flag]);
    }
    let later = [&b"SKXR\x02"[..], &new[5..]].concat();
    for (name, slots, layer, flag) in [
        ("two of one number", [own(8, b"one copy"), own(8, b"another")], Layer::State, "Conflict"),
        ("a later format beside a good one", [old.clone(), later], Layer::Decode, "UnknownVersion"),
        ("torn, and none before", [cut, Vec::new()], Layer::Decode, "Truncated"),
        ("foreign alone", [foreign, Vec::new()], Layer::State, "ForeignMachine"),
        ("damaged alone", [Vec::new(), flipped(&old, 30, 1)], Layer::Authenticate, "Checksum"),
    ] {
        let mut case = group.case(name, "going on would be going back in time");
        expecting(&mut case);
        case.hexes("slots", &slots).set("rules", Value::Null);
        case.set("sequence", Value::Null).set("body", Value::Null);
        case.invalid(layer, flag);
    }
}

/// The body of a record of a log; an entry without value is removed.
fn log_body(snapshot: bool, entries: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
    let mut body = vec![u8::from(snapshot)];
    for (name, value) in entries {
        body.push(name.len() as u8);
        body.extend(*name);
        body.extend(value.map_or(u32::MAX, |value| value.len() as u32).to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    body
}

fn logs(group: &mut Group) {
    let change = |sequence, entries: &[(&[u8], Option<&[u8]>)]| own(sequence, &log_body(false, entries));
    let snapshot = |sequence, entries: &[(&[u8], Option<&[u8]>)]| own(sequence, &log_body(true, entries));
    let first = change(1, &[(b"a", Some(b"one")), (b"b", Some(b""))]);
    let second = change(2, &[(b"a", Some(b"two")), (b"c", Some(b"three"))]);
    let third = change(3, &[(b"c", None)]);
    for (name, records, entries, flag) in [
        ("no record", vec![], json!({}), "Empty"),
        ("a change", vec![first.clone()], json!({ "61": hex(b"one"), "62": "" }), "Normal"),
        (
            "changed and removed",
            vec![first.clone(), second.clone(), third.clone()],
            json!({ "61": hex(b"two"), "62": "" }),
            "Normal",
        ),
        (
            "a snapshot behind changes",
            vec![first.clone(), snapshot(2, &[(b"d", Some(b"four"))])],
            json!({ "64": hex(b"four") }),
            "Snapshot",
        ),
        ("a snapshot that skips numbers", vec![first.clone(), snapshot(9, &[])], json!({}), "Snapshot"),
        (
            "a log that begins with a snapshot",
            vec![snapshot(41, &[(b"d", Some(b"four"))]), change(42, &[(b"e", Some(b"5"))])],
            json!({ "64": hex(b"four"), "65": "35" }),
            "Snapshot",
        ),
    ] {
        let mut case = group.case(name, "the entries after the last record");
        expecting(&mut case);
        case.hexes("records", &records).set("entries", entries);
        case.valid(&[flag]);
    }
    let torn = third[..third.len() - 1].to_vec();
    for (name, records, layer, flag) in [
        ("one missing", vec![first.clone(), third.clone()], Layer::State, "Gap"),
        ("out of order", vec![second.clone(), first.clone()], Layer::State, "Gap"),
        ("one twice", vec![first.clone(), first.clone()], Layer::State, "Gap"),
        ("begins with a change above 1", vec![second.clone()], Layer::State, "Gap"),
        ("an old snapshot again", vec![first.clone(), second.clone(), snapshot(2, &[])], Layer::State, "Gap"),
        ("the last one torn", vec![first.clone(), second, torn], Layer::Decode, "Truncated"),
        ("another machine's", vec![record(2, b"machine2", 1, &[0])], Layer::State, "ForeignMachine"),
        ("a hub's", vec![record(3, MACHINE, 1, &[0])], Layer::State, "WrongKind"),
        ("neither change nor snapshot", vec![own(1, &[2])], Layer::Decode, "Content"),
        ("a body of nothing", vec![own(1, &[])], Layer::Decode, "Content"),
        ("a value cut", vec![own(1, b"\0\x01a\0\0\0\x05four")], Layer::Decode, "Content"),
    ] {
        let mut case = group.case(name, "not a state to go on from");
        expecting(&mut case);
        case.hexes("records", &records).set("entries", Value::Null);
        case.invalid(layer, flag);
    }
}

/// direction, whether a lease of a refilled table was granted, number, mark, erased, elements
type Table = (u8, bool, u16, u32, u32, u32);

fn marks(group: &mut Group) {
    let written = |tables: &[Table]| -> Vec<u8> {
        let entry = |(direction, refilled, number, mark, erased, elements): &Table| {
            let head = [direction | if *refilled { 64 } else { 0 }];
            let [mark, erased, elements] = [mark, erased, elements].map(|count| count.to_be_bytes());
            [&head[..], &number.to_be_bytes(), &mark, &erased, &elements].concat()
        };
        tables.iter().flat_map(entry).collect()
    };
    let retired = u32::MAX;
    let cases: [(&str, &[Table], &str); 6] = [
        ("an enrolment, unused", &[(0, false, 0, 0, 0, 4096), (1, false, 0, 0, 0, 4096)], "Normal"),
        ("in use", &[(0, false, 0, 258, 130, 4096), (1, false, 0, 514, 258, 4096)], "Normal"),
        (
            "a refilled table that was leased, and one that was not",
            &[(1, false, 0, 96, 96, 100), (1, true, 1, 130, 0, 4096), (1, false, 2, 0, 0, 4096)],
            "Refilled",
        ),
        ("taken out of service, not erased yet", &[(0, false, 3, retired, 130, 4096)], "Retired"),
        (
            "a refilled one that was leased, taken out of service",
            &[(1, true, 3, retired, 4096, 4096)],
            "Retired",
        ),
        (
            "numbers that are gone, a leased refill among them",
            &[(0, false, 9, 0, 0, 100), (0, false, 8, 0, 0, 0), (1, true, 65535, 0, 0, 0)],
            "Dropped",
        ),
    ];
    for (name, tables, flag) in cases {
        let entry = |(direction, refilled, number, mark, erased, elements): &Table| {
            json!({
                "direction": direction, "refilled": refilled, "number": number, "mark": mark, "erased": erased,
                "elements": elements
            })
        };
        let entries: Vec<Value> = tables.iter().map(entry).collect();
        let mut case = group.case(name, "15 octets a table");
        case.hex("value", &written(tables)).set("tables", entries);
        case.valid(&[flag]);
    }
    let cut = &written(&[(0, false, 0, 258, 130, 4096)])[..14];
    let mut case = group.case("cut", "an octet less");
    case.hex("value", cut).set("tables", Value::Null);
    case.invalid(Layer::Decode, "Truncated");
}

fn relays(group: &mut Group) {
    for (name, hubs, refilled, withdrawn, confirmed, waits, flag) in [
        ("waits", 5_u8, false, None, false, true, "Normal"),
        ("waits, and leaves by refilled tables", 5, true, None, false, true, "Refilled"),
        ("answered", 5, false, None, true, false, "Normal"),
        ("answered, of nine hubs, by refilled tables", 9, true, None, true, false, "Refilled"),
        ("withdrawn before it left", 3, false, Some(0), false, false, "Normal"),
        ("withdrawn after it had left, by refilled tables", 3, true, Some(2), false, false, "Refilled"),
    ] {
        let mut case = group.case(name, "a share that a hub has accepted");
        let secret_tag = case.secret("secretTag", 16);
        let coordinates: Vec<u8> = (1..=hubs).collect();
        let bitmap = usize::from(hubs.div_ceil(8));
        let bits = |first: u8| {
            let mut bits = vec![0; bitmap];
            bits[0] = first;
            bits
        };
        let origins = bits(5);
        let mut value = [&7_u32.to_be_bytes()[..], &599_u32.to_be_bytes(), &[1, 2, hubs]].concat();
        value.extend(32_u32.to_be_bytes());
        value.extend(600_u16.to_be_bytes());
        value.extend([&coordinates[..], &origins, &secret_tag].concat());
        let kind = withdrawn.map_or(if confirmed { bitmap as u8 } else { 0 }, |status| 128 | status);
        value.push(kind | if refilled { 64 } else { 0 });
        case.set("responder", 7).set("left", 599).set("suite", 1).set("threshold", 2);
        case.set("keyLength", 32).set("lifetime", 600).hex("coordinates", &coordinates);
        case.hex("origins", &origins).set("refilled", refilled).set("withdrawn", withdrawn);
        let (said, lying) = (bits(2), bits(1));
        let tag = [0xc7; 16];
        if confirmed {
            value.extend([&said[..], &lying, &tag].concat());
        }
        let told = |octets: &[u8]| confirmed.then(|| hex(octets));
        case.set("confirmedOrigins", told(&said)).set("confirmedLying", told(&lying));
        case.set("confirmedTag", told(&tag));
        let share = case.secret("share", if waits { 112 } else { 0 });
        value.extend(share);
        case.hex("value", &value);
        case.valid(&[flag]);
    }
}
