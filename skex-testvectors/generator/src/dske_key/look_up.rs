//! What a client makes of the answers to a look-up (draft-skex-dske, "Look-up", "Offers").

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use skex_testvectors::Layer;

use crate::file::{Group, hex};

const DONE: u8 = 0;
const UNKNOWN: u8 = 1;
const TOO_MANY: u8 = 4;

/// Two clients, and what one of them may have published.
const BOB: u8 = 0xb0;
const MALLORY: u8 = 0xc0;
const STRICT: &[u8] = &[3, 1, 0x03, 0x84, 1, 1, 3, 1, 2, 3];
const LAX: &[u8] = &[2, 0, 0xff, 0xff, 2, 1, 2, 3, 1, 2, 3];
const OTHER: &[u8] = &[2, 0, 0x02, 0x58, 1, 1, 2, 1, 2];

/// What a hub says.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    /// This tag has the name, and published this.
    Tag(u8, Option<&'static [u8]>),
    Nobody,
    /// A status that does not belong to a look-up.
    TooMany,
    /// Nothing.
    Silent,
}

use Says::{Nobody, Silent, Tag, TooMany};

const fn bob() -> Says {
    Tag(BOB, None)
}

const fn mallory() -> Says {
    Tag(MALLORY, None)
}

const fn offers(offer: &'static [u8]) -> Says {
    Tag(BOB, Some(offer))
}

pub(super) fn all(group: &mut Group) {
    let add = |group: &mut Group, name: &str, comment: &str, threshold: u8, says: &[Says]| {
        case(group, name, comment, threshold, says, &[]);
    };
    for (name, comment, threshold, says) in [
        ("all say the same", "five hubs", 3, &[bob(); 5][..]),
        ("as many as the threshold", "the others are silent", 3, &[bob(), Silent, bob(), Silent, bob()]),
        ("two say another tag", "fewer than the threshold", 3, &[bob(), mallory(), bob(), mallory(), bob()]),
        ("two know nobody", "fewer than the threshold", 3, &[Nobody, bob(), bob(), bob(), Nobody]),
        ("two say different things", "another tag, and nobody", 3, &[mallory(), bob(), bob(), Nobody, bob()]),
        (
            "one says otherwise and one is silent",
            "three are left",
            3,
            &[bob(), bob(), mallory(), Silent, bob()],
        ),
        (
            "a status that is none of a look-up's",
            "TOO_MANY: it says otherwise, but not that nobody has the name",
            2,
            &[TooMany, bob(), bob(), TooMany],
        ),
        ("all know nobody", "five hubs", 3, &[Nobody; 5]),
        ("as many as the threshold know nobody", "", 3, &[Nobody, Silent, Nobody, Nobody, Silent]),
        ("nobody, and two say a tag", "they are named", 3, &[Nobody, bob(), Nobody, bob(), Nobody]),
        (
            "nobody, and two say different tags",
            "they are named",
            3,
            &[bob(), mallory(), Nobody, Nobody, Nobody],
        ),
        ("nobody answers", "all hubs are silent", 2, &[Silent; 3]),
        ("one answers", "fewer than the threshold, which nobody contradicts", 2, &[Silent, bob(), Silent]),
        (
            "liars are all that is heard",
            "one fewer than the threshold",
            3,
            &[mallory(), mallory(), Silent, Silent, Silent],
        ),
        (
            "liars beside a silent hub",
            "as many honest ones are left",
            3,
            &[mallory(), bob(), Silent, bob(), mallory()],
        ),
        ("all answered, and none has enough", "", 3, &[bob(), mallory(), Nobody, bob(), mallory()]),
        (
            "enough that know nobody if TOO_MANY counted",
            "it does not",
            3,
            &[Nobody, TooMany, Nobody, TooMany],
        ),
        ("two tags", "as many say each as the threshold", 2, &[bob(), mallory(), bob(), mallory()]),
        ("two tags, one hub silent", "", 2, &[bob(), mallory(), Silent, bob(), mallory()]),
        ("a tag and nobody", "", 2, &[bob(), Nobody, bob(), Nobody, bob()]),
        (
            "a majority against enough",
            "five against two",
            2,
            &[bob(), bob(), mallory(), bob(), mallory(), bob(), bob()],
        ),
        ("three camps", "two tags, and nobody", 2, &[Nobody, mallory(), bob(), Nobody, bob(), mallory()]),
        (
            "two camps, and one hub beside them",
            "it is in none",
            2,
            &[bob(), Nobody, mallory(), bob(), mallory()],
        ),
        ("an offer, all say it", "", 3, &[offers(STRICT); 5]),
        (
            "an offer, two say another",
            "fewer than the threshold; of the tag they say the same",
            3,
            &[offers(STRICT), offers(LAX), offers(STRICT), offers(LAX), offers(STRICT)],
        ),
        ("an offer, two say none", "", 3, &[offers(STRICT), bob(), offers(STRICT), bob(), offers(STRICT)]),
        (
            "an offer, fewer say it than the threshold",
            "there is none",
            3,
            &[offers(LAX), bob(), bob(), bob(), offers(LAX)],
        ),
        (
            "two offers, one said by more",
            "both by as many as the threshold",
            2,
            &[offers(LAX), offers(STRICT), offers(STRICT), offers(LAX), offers(STRICT)],
        ),
        (
            "two offers, said by as many",
            "there is none",
            2,
            &[offers(LAX), offers(STRICT), offers(STRICT), offers(LAX)],
        ),
        (
            "two offers, said by as many, and one by fewer",
            "there is none",
            2,
            &[offers(OTHER), offers(LAX), offers(STRICT), offers(STRICT), offers(LAX)],
        ),
        (
            "an offer said by hubs that are not believed",
            "it does not count",
            3,
            &[
                offers(STRICT),
                Tag(MALLORY, Some(STRICT)),
                offers(STRICT),
                Tag(MALLORY, Some(STRICT)),
                offers(STRICT),
            ],
        ),
        (
            "an offer of another tag",
            "the one believed has none",
            3,
            &[bob(), Tag(MALLORY, Some(LAX)), bob(), Tag(MALLORY, Some(LAX)), bob()],
        ),
        (
            "an offer, half of the hubs say it",
            "more than half have to before the others are waited for no longer",
            2,
            &[offers(STRICT), Silent, offers(STRICT), Silent],
        ),
        (
            "an offer, more than half of the hubs say it",
            "",
            2,
            &[offers(STRICT), Silent, offers(STRICT), Silent, offers(STRICT)],
        ),
        (
            "an offer, and another, beside a silent hub",
            "neither is said by more than half",
            2,
            &[offers(STRICT), offers(LAX), offers(STRICT), Silent, bob()],
        ),
        (
            "an offer of another tag beside silent hubs",
            "nobody waits for more of it",
            2,
            &[bob(), Tag(MALLORY, Some(LAX)), bob(), Silent, Silent],
        ),
    ] {
        add(group, name, comment, threshold, says);
    }
    let mut many = [offers(STRICT); 31];
    many[16..].fill(Tag(MALLORY, Some(LAX)));
    add(group, "as many as can be", "31 hubs, 15 of which say otherwise", 16, &many);
    let says = [bob(), bob(), bob()];
    case(group, "a refilled table", "of a hub that is believed", 2, &says, &[1]);
    let says = [bob(), bob(), mallory()];
    case(group, "a refilled table of a hub that says otherwise", "it takes nothing away", 2, &says, &[2]);
    let says = [bob(), bob(), Silent];
    case(group, "a refilled table of a silent hub", "it takes nothing away", 2, &says, &[2]);
    case(group, "nobody, by refilled tables", "", 2, &[Nobody; 3], &[0, 1, 2]);
}

/// `refilled`: the hubs whose tables came over the network.
fn case(group: &mut Group, name: &str, comment: &str, threshold: u8, says: &[Says], refilled: &[usize]) {
    let comment = if comment.is_empty() { "see the name" } else { comment };
    let mut case = group.case(name, comment);
    let coordinate = |hub: usize| 2 * hub as u8 + 1;
    let origin = |hub: usize| u8::from(refilled.contains(&hub));
    let answers: Value = says.iter().enumerate().map(|(hub, says)| {
        let (status, client, offer) = match says {
            Tag(tag, offer) => (Some(DONE), Some(hex(&[*tag; 16])), offer.map(hex)),
            Nobody => (Some(UNKNOWN), None, None),
            TooMany => (Some(TOO_MANY), None, None),
            Silent => (None, None, None),
        };
        json!({ "coordinate": coordinate(hub), "origin": origin(hub), "status": status, "client": client, "offer": offer })
    }).collect();
    case.set("minimumThreshold", threshold).set("answers", answers);

    // Nobody stands behind every tag.
    let mut said: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (hub, says) in says.iter().enumerate() {
        match says {
            Tag(tag, _) => said.entry((*tag).into()).or_default().push(hub),
            Nobody => said.entry(u16::MAX).or_default().push(hub),
            TooMany | Silent => {}
        }
    }
    said.retain(|_, hubs| hubs.len() >= usize::from(threshold));
    let offers_of = |hubs: &[usize]| {
        let mut offers: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for &hub in hubs {
            if let Tag(_, Some(offer)) = says[hub] {
                offers.entry(offer).or_default().push(hub);
            }
        }
        offers
    };
    let told: Vec<usize> =
        said.values().flat_map(|hubs| offers_of(hubs).into_values()).map(|hubs| hubs.len()).collect();
    let waits = if !says.contains(&Silent) {
        "no"
    } else if said.is_empty() || !told.is_empty() && told.iter().all(|&count| 2 * count <= says.len()) {
        "long"
    } else {
        "little"
    };
    let coordinates = |hubs: &[usize]| hex(&hubs.iter().map(|&hub| coordinate(hub)).collect::<Vec<u8>>());
    let all: Vec<Vec<usize>> = said.values().cloned().collect();
    let camps: Vec<String> =
        if all.len() > 1 { all.iter().map(|hubs| coordinates(hubs)).collect() } else { Vec::new() };
    case.set("waits", waits).set("camps", camps);
    let [agreed] = &*all else {
        for field in ["client", "agreed", "otherwise", "informationTheoretic", "offer", "saidBy"] {
            case.set(field, Value::Null);
        }
        let cause = if all.is_empty() { "NoAgreement" } else { "Contradiction" };
        return case.invalid(Layer::Policy, cause);
    };
    let believed: BTreeSet<usize> = agreed.iter().copied().collect();
    let otherwise: Vec<usize> =
        (0..says.len()).filter(|hub| !believed.contains(hub) && says[*hub] != Silent).collect();
    case.set("agreed", coordinates(agreed)).set("otherwise", coordinates(&otherwise));
    let Tag(tag, _) = says[agreed[0]] else {
        for field in ["client", "informationTheoretic", "offer", "saidBy"] {
            case.set(field, Value::Null);
        }
        return case.valid(&["Nobody"]);
    };
    let offers = offers_of(agreed);
    let most = offers.values().map(Vec::len).max().unwrap_or(0);
    let mut best = offers.iter().filter(|(_, hubs)| hubs.len() == most && most >= usize::from(threshold));
    let offer = best.next().filter(|_| best.next().is_none());
    case.hex("client", &[tag; 16]);
    case.set("informationTheoretic", agreed.iter().all(|&hub| origin(hub) == 0));
    case.set("offer", json!(offer.map(|(offer, _)| hex(offer))));
    case.set("saidBy", json!(offer.map(|(_, hubs)| coordinates(hubs))));
    case.valid(&[if otherwise.is_empty() { "Normal" } else { "Dissent" }]);
}
