//! Inner messages 30 to 34: commands and their outcomes.

use serde_json::{Value, json};

use super::{FORGERIES, Tagged, malformed, tagged, tagged_with};
use crate::file::{Case, Group, hex};

/// Table 0, and index and floor 4098.
const COMMAND_HEAD: [u8; 10] = [0, 0, 0, 0, 0x10, 2, 0, 0, 0x10, 2];
const OUTCOME_HEAD: [u8; 6] = [0, 0, 0, 0, 0x10, 2];
const DONE: u8 = 0;
/// A tag whose first octet passes for a last coordinate, so that what is missing is at the end.
const ONES: [u8; 16] = [0xff; 16];

#[derive(Clone, Copy)]
struct Offer<'a> {
    threshold: u8,
    information_theoretic: u8,
    lifetime: u16,
    suites: &'a [u8],
    coordinates: &'a [u8],
}

const OFFER: Offer<'_> = Offer {
    threshold: 3,
    information_theoretic: 1,
    lifetime: 600,
    suites: &[1],
    coordinates: &[1, 2, 3, 4, 5],
};

impl Offer<'_> {
    fn octets(&self) -> Vec<u8> {
        join!(
            [self.threshold, self.information_theoretic],
            self.lifetime.to_be_bytes(),
            [self.suites.len() as u8],
            self.suites,
            [self.coordinates.len() as u8],
            self.coordinates,
        )
    }

    fn fields(&self) -> Value {
        json!({
            "minimumThreshold": self.threshold, "informationTheoretic": self.information_theoretic == 1,
            "maximumLifetime": self.lifetime, "suites": self.suites, "coordinates": self.coordinates,
        })
    }
}

pub(super) fn commands(group: &mut Group) {
    let all: Vec<u8> = (1..=32).collect();
    let least =
        Offer { threshold: 2, information_theoretic: 0, lifetime: 1, suites: &[1], coordinates: &[1, 2] };
    let most = Offer {
        threshold: 31,
        information_theoretic: 1,
        lifetime: u16::MAX,
        suites: &[1, 2, 3, 4, 5, 253, 254, 255],
        coordinates: &all[..31],
    };
    example(group);
    look_ups(group);
    publications(group, &least, &most);
    withdrawals(group);
    authorisations(group);
    heads(group);
    outcomes(group, &least, &most);
    for (name, offer, flag) in bad_offers(&all) {
        let octets = offer.octets();
        refused(
            group,
            31,
            &format!("PUBLISH, {name}"),
            "the rest of the offer is as it should be",
            &octets,
            flag,
        );
        let found = join!([0xb0; 16], octets);
        not_found(
            group,
            &format!("OUTCOME, {name}"),
            "the rest of the offer is as it should be",
            DONE,
            &found,
            flag,
        );
    }
}

/// "Examples" of the specification: who is "bob"?
fn example(group: &mut Group) {
    let specified = Tagged::Good("SpecificationExample");
    let key = |first: u8| -> Vec<u8> { (first..first + 32).collect() };
    let mut case = group.case("LOOKUP of bob", "the message key of its block is the key of its tag");
    case.hex("tagKey", &key(0x20));
    let (octets, message) = command(30, b"bob", json!({ "name": hex(b"bob") }));
    tagged_with(case, &key(0x20), 0, &octets, message, specified);
    let mut case = group.case("OUTCOME, bob", "the answer key of the command's block is the key of its tag");
    case.hex("tagKey", &key(0));
    let found = json!({ "client": hex(&[0xb0; 16]), "offer": null });
    let (octets, message) = outcome(DONE, &[0xb0; 16], found);
    tagged_with(case, &key(0), 1, &octets, message, specified);
}

/// The octets before the tag and the fields of a command.
fn command(kind: u8, body: &[u8], body_fields: Value) -> (Vec<u8>, Value) {
    let name = ["LOOKUP", "PUBLISH", "WITHDRAW", "AUTHORISE"][usize::from(kind - 30)];
    let mut message = json!({ "type": name, "table": 0, "index": 4098, "floor": 4098 });
    let fields = message.as_object_mut().expect("an object");
    fields.extend(body_fields.as_object().expect("an object").clone());
    (join!([kind], COMMAND_HEAD, body), message)
}

/// A test of a command whose body `make` derives.
fn test(
    group: &mut Group,
    kind: u8,
    name: &str,
    make: impl FnOnce(&mut Case<'_>) -> (Vec<u8>, Value),
    result: Tagged<'_>,
) {
    let mut case = group.case(name, "the message key of its block is the key of its tag");
    let (body, fields) = make(&mut case);
    let (octets, message) = command(kind, &body, fields);
    tagged(case, 0, &octets, message, result);
}

/// A command that a decoder refuses. Its tag is zeros, so that no octet of it makes up for one that is missing.
fn refused(group: &mut Group, kind: u8, name: &str, comment: &str, body: &[u8], flag: &str) {
    malformed(group, name, comment, 0, &join!([kind], COMMAND_HEAD, body, [0; 16]), flag);
}

fn look_ups(group: &mut Group) {
    let look_up = |group: &mut Group, test_name: &str, name: &[u8], result| {
        test(group, 30, test_name, |_| (name.to_vec(), json!({ "name": hex(name) })), result);
    };
    look_up(group, "LOOKUP, one octet", b"b", Tagged::Good("Minimum"));
    look_up(group, "LOOKUP, 64 octets", &[b'b'; 64], Tagged::Good("Maximum"));
    look_up(group, "LOOKUP, any octets", &[0, 0x0a, 0x80, 0xff], Tagged::Good("Normal"));
    for cause in FORGERIES {
        look_up(group, &format!("LOOKUP, {cause}"), b"bob", Tagged::Forged(cause));
    }
    refused(group, 30, "LOOKUP, no name", "nothing between floor and tag", &[], "BadLength");
    refused(group, 30, "LOOKUP, 65 octets", "a name too long by one", &[b'b'; 65], "BadLength");
}

fn publications(group: &mut Group, least: &Offer<'_>, most: &Offer<'_>) {
    let publish = |group: &mut Group, name: &str, offer: &Offer<'_>, result| {
        test(group, 31, name, |_| (offer.octets(), json!({ "offer": offer.fields() })), result);
    };
    publish(group, "PUBLISH", &OFFER, Tagged::Good("Normal"));
    publish(group, "PUBLISH, least", least, Tagged::Good("Minimum"));
    publish(group, "PUBLISH, most", most, Tagged::Good("Maximum"));
    let nothing = |_: &mut Case<'_>| (Vec::new(), json!({ "offer": null }));
    test(group, 31, "PUBLISH, nothing any more", nothing, Tagged::Good("Normal"));
    for cause in FORGERIES {
        publish(group, &format!("PUBLISH, {cause}"), &OFFER, Tagged::Forged(cause));
    }
    let octets = OFFER.octets();
    refused(group, 31, "PUBLISH, one octet", "an offer of its threshold alone", &octets[..1], "BadLength");
    let cut = &octets[..octets.len() - 1];
    let octets_of_cut = join!([31], COMMAND_HEAD, cut, ONES);
    malformed(group, "PUBLISH, cut", "the last coordinate is missing", 0, &octets_of_cut, "Truncated");
    let longer = join!(octets, [0]);
    refused(group, 31, "PUBLISH, an octet more", "a zero octet behind the offer", &longer, "TrailingBytes");
    let many = join!(octets[..4], [255], octets[5..]);
    refused(group, 31, "PUBLISH, 255 suites", "far fewer follow", &many, "Truncated");
}

fn withdrawals(group: &mut Group) {
    let withdraw = |group: &mut Group, name: &str, result| {
        let make = |case: &mut Case<'_>| {
            let key_id = case.derive("message.keyId", 16);
            let fields = json!({ "keyId": hex(&key_id) });
            (key_id, fields)
        };
        test(group, 32, name, make, result);
    };
    withdraw(group, "WITHDRAW", Tagged::Good("Normal"));
    for cause in FORGERIES {
        withdraw(group, &format!("WITHDRAW, {cause}"), Tagged::Forged(cause));
    }
    refused(group, 32, "WITHDRAW, cut", "15 octets of key id", &[0x4b; 15], "Truncated");
    refused(group, 32, "WITHDRAW, an octet more", "17 octets of key id", &[0x4b; 17], "TrailingBytes");
    refused(group, 32, "WITHDRAW, no key id", "nothing between floor and tag", &[], "Truncated");
}

fn authorisations(group: &mut Group) {
    let authorise = |group: &mut Group, name: &str, allowed: bool, result| {
        let make = |case: &mut Case<'_>| {
            let client = case.derive("message.client", 16);
            let fields = json!({ "allowed": allowed, "client": hex(&client) });
            (join!([u8::from(allowed)], client), fields)
        };
        test(group, 33, name, make, result);
    };
    authorise(group, "AUTHORISE, allowed", true, Tagged::Good("Normal"));
    authorise(group, "AUTHORISE, not allowed", false, Tagged::Good("Normal"));
    for cause in FORGERIES {
        authorise(group, &format!("AUTHORISE, {cause}"), true, Tagged::Forged(cause));
    }
    for allowed in [2, 255] {
        let name = format!("AUTHORISE, allowed {allowed}");
        refused(group, 33, &name, "neither 0 nor 1", &join!([allowed], [0xb0; 16]), "BadValue");
    }
    let body = |length| join!([1], vec![0xb0; length]);
    refused(group, 33, "AUTHORISE, cut", "15 octets of client tag", &body(15), "Truncated");
    refused(group, 33, "AUTHORISE, an octet more", "17 octets of client tag", &body(17), "TrailingBytes");
}

/// Commands that end before their bodies begin.
fn heads(group: &mut Group) {
    for (kind, name) in (30_u8..).zip(["LOOKUP", "PUBLISH", "WITHDRAW", "AUTHORISE"]) {
        let octets = join!([kind], COMMAND_HEAD);
        let comment = "ends within the floor";
        malformed(group, &format!("{name}, head"), comment, 0, &octets[..10], "Truncated");
    }
}

fn outcome(status: u8, found: &[u8], fields: Value) -> (Vec<u8>, Value) {
    let message = json!({ "type": "OUTCOME", "table": 0, "index": 4098, "status": status, "found": fields });
    (join!([34], OUTCOME_HEAD, [status], found), message)
}

/// An outcome that a decoder refuses; its tag is zeros.
fn not_found(group: &mut Group, name: &str, comment: &str, status: u8, found: &[u8], flag: &str) {
    malformed(group, name, comment, 1, &join!([34], OUTCOME_HEAD, [status], found, [0; 16]), flag);
}

fn outcomes(group: &mut Group, least: &Offer<'_>, most: &Offer<'_>) {
    let comment = "the answer key of the command's block is the key of its tag";
    let plain = |group: &mut Group, name: &str, status, result| {
        let case = group.case(name, comment);
        let (octets, message) = outcome(status, &[], Value::Null);
        tagged(case, 1, &octets, message, result);
    };
    let statuses = ["DONE", "UNKNOWN", "SENT", "ANSWERED", "TOO_MANY"];
    for (status, name) in (0..).zip(statuses) {
        plain(group, &format!("OUTCOME, {name}"), status, Tagged::Good("Normal"));
    }
    for status in [5, 255] {
        plain(group, &format!("OUTCOME, status {status}"), status, Tagged::Good("UnknownValue"));
    }
    for cause in FORGERIES {
        plain(group, &format!("OUTCOME, {cause}"), DONE, Tagged::Forged(cause));
    }
    let found = |group: &mut Group, name: &str, offer: Option<&Offer<'_>>, result| {
        let mut case = group.case(name, comment);
        let client = case.derive("message.found.client", 16);
        let octets = join!(client, offer.map(Offer::octets).unwrap_or_default());
        let fields = json!({ "client": hex(&client), "offer": offer.map(Offer::fields) });
        let (octets, message) = outcome(DONE, &octets, fields);
        tagged(case, 1, &octets, message, result);
    };
    found(group, "OUTCOME, found", None, Tagged::Good("Normal"));
    found(group, "OUTCOME, found with offer", Some(&OFFER), Tagged::Good("Normal"));
    found(group, "OUTCOME, found with the least offer", Some(least), Tagged::Good("Minimum"));
    found(group, "OUTCOME, found with the most of an offer", Some(most), Tagged::Good("Maximum"));
    for cause in FORGERIES {
        found(group, &format!("OUTCOME, found with offer, {cause}"), Some(&OFFER), Tagged::Forged(cause));
    }

    let client = [0xb0; 16];
    for (status, name) in [(1, "UNKNOWN"), (2, "SENT"), (3, "ANSWERED"), (4, "TOO_MANY"), (5, "status 5")] {
        let name = format!("OUTCOME, found beside {name}");
        not_found(group, &name, "somebody is found with DONE alone", status, &client, "BadLength");
    }
    let (bare, offered) = ("OUTCOME, found, cut", join!(client, OFFER.octets()));
    not_found(group, bare, "15 octets of client tag", DONE, &client[..15], "BadLength");
    let longer = join!(client, [2]);
    not_found(group, "OUTCOME, found, an octet more", "an offer of one octet", DONE, &longer, "BadLength");
    let cut = &offered[..offered.len() - 1];
    let octets_of_cut = join!([34], OUTCOME_HEAD, [DONE], cut, ONES);
    malformed(group, "OUTCOME, offer cut", "the last coordinate is missing", 1, &octets_of_cut, "Truncated");
    let longer = join!(offered, [0]);
    not_found(group, "OUTCOME, offer and more", "a zero octet behind it", DONE, &longer, "TrailingBytes");
    let octets = join!([34], OUTCOME_HEAD, [DONE], [0x7a; 15]);
    malformed(group, "OUTCOME, cut", "an octet less", 1, &octets, "Truncated");
    malformed(group, "OUTCOME, head", "ends within the index", 1, &octets[..5], "Truncated");
}

/// Offers with one flaw each.
fn bad_offers(all: &[u8]) -> Vec<(&'static str, Offer<'_>, &'static str)> {
    vec![
        ("threshold 0", Offer { threshold: 0, ..OFFER }, "BadValue"),
        ("threshold 1", Offer { threshold: 1, ..OFFER }, "BadValue"),
        ("threshold above the hubs", Offer { threshold: 6, ..OFFER }, "BadValue"),
        ("assurance 2", Offer { information_theoretic: 2, ..OFFER }, "BadValue"),
        ("no lifetime", Offer { lifetime: 0, ..OFFER }, "BadValue"),
        ("no suite", Offer { suites: &[], ..OFFER }, "BadLength"),
        ("9 suites", Offer { suites: &all[..9], ..OFFER }, "BadLength"),
        ("suite zero", Offer { suites: &[0, 1], ..OFFER }, "BadValue"),
        ("suites out of order", Offer { suites: &[2, 1], ..OFFER }, "NonCanonical"),
        ("suite twice", Offer { suites: &[1, 1], ..OFFER }, "NonCanonical"),
        ("one hub", Offer { threshold: 2, coordinates: &[1], ..OFFER }, "BadLength"),
        ("32 hubs", Offer { coordinates: &all[..32], ..OFFER }, "BadLength"),
        ("coordinate zero", Offer { coordinates: &[0, 2, 3, 4, 5], ..OFFER }, "BadValue"),
        ("coordinates out of order", Offer { coordinates: &[1, 3, 2, 4, 5], ..OFFER }, "NonCanonical"),
        ("coordinate twice", Offer { coordinates: &[1, 2, 2, 4, 5], ..OFFER }, "NonCanonical"),
    ]
}
