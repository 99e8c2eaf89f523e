//! Terms from an offer, a policy and a wish (draft-skex-dske, "Policy negotiation").

use serde_json::{Value, json};
use skex_testvectors::Layer;

use crate::file::{Group, hex};

const ITS: u8 = 1;
const OUT_OF_BAND: u8 = 0;

#[derive(Clone)]
struct Policy {
    threshold: u8,
    only_its: bool,
    lifetime: u16,
}

#[derive(Clone)]
struct Offer {
    policy: Policy,
    suites: Vec<u8>,
    hubs: Vec<u8>,
    said_by: Vec<u8>,
}

#[derive(Clone)]
struct Terms {
    suite: u8,
    threshold: u8,
    lifetime: u16,
    hubs: Vec<u8>,
    only_its: bool,
}

enum Refused {
    TooFewSay(usize, usize),
    NoSuite,
    TooFewHubs(usize, usize),
}

#[derive(Clone)]
struct Question {
    own: Policy,
    /// Coordinates, with the origins of the tables that have room.
    hubs: Vec<(u8, Vec<u8>)>,
    offer: Offer,
    wish: Terms,
}

impl Question {
    /// An initiator and a responder that have five hubs in common and demand little; 256 bits under one-time pads are wished for.
    fn usual() -> Self {
        let policy = Policy { threshold: 2, only_its: false, lifetime: 65_535 };
        let hubs: Vec<u8> = vec![3, 5, 7, 9, 11];
        Self {
            own: policy.clone(),
            hubs: hubs.iter().map(|&hub| (hub, vec![OUT_OF_BAND])).collect(),
            offer: Offer { policy, suites: vec![1, 2, 3], hubs: hubs.clone(), said_by: hubs.clone() },
            wish: Terms { suite: ITS, threshold: 2, lifetime: 600, hubs, only_its: false },
        }
    }

    fn answer(&self) -> Result<Terms, Refused> {
        let Self { own, hubs, offer, wish } = self;
        let wished: Vec<&(u8, Vec<u8>)> = hubs.iter().filter(|(hub, _)| wish.hubs.contains(hub)).collect();
        let say = wished.iter().filter(|(hub, _)| offer.said_by.contains(hub)).count();
        let have_to = (wished.len() / 2 + 1).max(usize::from(own.threshold.max(wish.threshold)));
        if say < have_to {
            return Err(Refused::TooFewSay(say, have_to));
        }
        let only_its = own.only_its || offer.policy.only_its || wish.only_its;
        let suite = [wish.suite, 1, 2, 3]
            .into_iter()
            .find(|suite| offer.suites.contains(suite) && (*suite == ITS || !only_its))
            .ok_or(Refused::NoSuite)?;
        let serves = |room: &[u8]| room.iter().any(|&origin| origin == OUT_OF_BAND || !only_its);
        let taking_part = wished.iter().filter(|(hub, room)| offer.hubs.contains(hub) && serves(room));
        let hubs: Vec<u8> = taking_part.map(|(hub, _)| *hub).collect();
        let least = own.threshold.max(offer.policy.threshold).max(wish.threshold).max(2);
        if hubs.len() < usize::from(least) {
            return Err(Refused::TooFewHubs(hubs.len(), least.into()));
        }
        let threshold = least.max(hubs.len() as u8 / 2 + 1);
        let lifetime = wish.lifetime.min(offer.policy.lifetime).min(own.lifetime);
        Ok(Terms { suite, threshold, lifetime, hubs, only_its })
    }
}

pub(super) fn all(group: &mut Group) {
    let mut add = |name: &str, comment: &str, change: fn(&mut Question)| {
        let mut question = Question::usual();
        change(&mut question);
        case(group, name, comment, &question);
    };
    add("little is demanded", "more than half of five hubs", |_| {});
    add("threshold, the wish", "", |q| q.wish.threshold = 4);
    add("threshold, the peer's", "", |q| q.offer.policy.threshold = 4);
    add("threshold, the own", "", |q| q.own.threshold = 5);
    add("lifetime, the peer's", "the least of three", |q| q.offer.policy.lifetime = 300);
    add("lifetime, the own", "the least of three", |q| {
        q.offer.policy.lifetime = 500;
        q.own.lifetime = 60;
    });
    add("suite, the wish", "it is offered", |q| q.wish.suite = 3);
    add("suite, not offered", "the first in order that is", |q| {
        q.wish.suite = 2;
        q.offer.suites = vec![1, 3];
    });
    add(
        "suite, one that nobody has",
        "the wish is for ITS, the offer for suite 3 and for one that is unknown",
        |q| {
            q.offer.suites = vec![3, 9];
        },
    );
    add("information-theoretic, the wish", "of assurance, beside a suite that has not got it", |q| {
        q.wish.suite = 2;
        q.wish.only_its = true;
    });
    add("information-theoretic, the peer", "", |q| {
        q.wish.suite = 2;
        q.offer.policy.only_its = true;
    });
    add("information-theoretic, the own policy", "", |q| {
        q.wish.suite = 2;
        q.own.only_its = true;
    });
    add("a refilled table will do", "where nobody demands more", |q| q.hubs[1].1 = vec![1]);
    add("a refilled table will not do", "its hub is left out", |q| {
        q.hubs[1].1 = vec![1];
        q.wish.only_its = true;
    });
    add("a refilled table beside another", "its hub takes part", |q| {
        q.hubs[1].1 = vec![0, 1];
        q.wish.only_its = true;
    });
    add("no room", "a hub without room is left out", |q| q.hubs[0].1 = vec![]);
    add("hubs, some are wished for", "the threshold is that of these", |q| q.wish.hubs = vec![5, 7, 11]);
    add("hubs, a wish for one that is not there", "it counts for nothing", |q| {
        q.wish.hubs = vec![1, 5, 7, 11]
    });
    add("hubs, some in common", "the peer has others, too", |q| q.offer.hubs = vec![1, 5, 9, 11, 200]);
    add("said by just enough", "three of five", |q| q.offer.said_by = vec![3, 7, 11]);
    add("as many as can be", "31 hubs", |q| {
        let all: Vec<u8> = (1..=31).collect();
        q.hubs = all.iter().map(|&hub| (hub, vec![OUT_OF_BAND])).collect();
        (q.offer.hubs, q.offer.said_by, q.wish.hubs) = (all.clone(), all.clone(), all);
    });

    add("said by half", "two of four", |q| {
        q.wish.hubs = vec![3, 5, 7, 9];
        q.offer.said_by = vec![3, 5];
    });
    add("said by fewer than the own threshold", "three of five are more than half", |q| {
        q.own.threshold = 4;
        q.offer.said_by = vec![3, 5, 7];
    });
    add("said by fewer than the threshold that is wished for", "three of five are more than half", |q| {
        q.wish.threshold = 4;
        q.offer.said_by = vec![3, 5, 7];
    });
    add("said by hubs that are not wished for", "they do not count", |q| {
        q.wish.hubs = vec![7, 9, 11];
        q.offer.said_by = vec![3, 5, 7];
    });
    add("said by hubs of others", "they do not count, nor do those that the offer names", |q| {
        q.offer.hubs = vec![1, 2, 3];
        q.offer.said_by = vec![1, 2, 3, 5];
    });
    add("no suite, of those offered", "the own policy demands ITS", |q| {
        q.own.only_its = true;
        q.offer.suites = vec![2, 3];
    });
    add("no suite that is known", "suite 9 alone is offered", |q| q.offer.suites = vec![9]);
    add(
        "fewer hubs in common than the peer's threshold",
        "it demands four of five, of which three are the initiator's",
        |q| {
            q.offer.policy.threshold = 4;
            q.offer.hubs = vec![1, 2, 3, 5, 7];
        },
    );
    add("fewer hubs in common than two", "one hub alone", |q| q.offer.hubs = vec![1, 11]);
    add("fewer hubs with room than the wish", "two of five have none", |q| {
        q.wish.threshold = 4;
        q.hubs[0].1 = vec![];
        q.hubs[4].1 = vec![];
    });
    add(
        "fewer hubs with good tables than the own threshold",
        "the peer demands ITS, and three of five tables are refilled",
        |q| {
            q.own.threshold = 3;
            q.offer.policy.only_its = true;
            for hub in &mut q.hubs[2..] {
                hub.1 = vec![1];
            }
        },
    );
}

fn case(group: &mut Group, name: &str, comment: &str, question: &Question) {
    let Question { own, hubs, offer, wish } = question;
    let comment = if comment.is_empty() { "the greatest, or the strictest, of three holds" } else { comment };
    let mut case = group.case(name, comment);
    case.set("minimumThreshold", own.threshold)
        .set("informationTheoretic", own.only_its)
        .set("longestLifetime", own.lifetime);
    let hubs: Value = hubs.iter().map(|(hub, room)| json!({ "coordinate": hub, "room": room })).collect();
    case.set("hubs", hubs).hex("offer", &offer.octets()).hex("saidBy", &offer.said_by);
    case.set("wish", wish.value());
    let (terms, counts, refused) = match question.answer() {
        Ok(terms) => (terms.value(), None, None),
        Err(Refused::TooFewSay(found, needed)) => (Value::Null, Some((found, needed)), Some("TooFewSay")),
        Err(Refused::NoSuite) => (Value::Null, None, Some("NoSuite")),
        Err(Refused::TooFewHubs(found, needed)) => (Value::Null, Some((found, needed)), Some("TooFewHubs")),
    };
    let (found, needed) = counts.unzip();
    case.set("terms", terms).set("found", json!(found)).set("needed", json!(needed));
    match refused {
        None => case.valid(&["Normal"]),
        Some(cause) => case.invalid(Layer::Policy, cause),
    }
}

impl Offer {
    fn octets(&self) -> Vec<u8> {
        let Self { policy, suites, hubs, .. } = self;
        let mut octets = vec![policy.threshold, policy.only_its.into()];
        octets.extend(policy.lifetime.to_be_bytes());
        for list in [suites, hubs] {
            octets.push(list.len() as u8);
            octets.extend(list);
        }
        octets
    }
}

impl Terms {
    fn value(&self) -> Value {
        json!({
            "suite": self.suite,
            "threshold": self.threshold,
            "lifetime": self.lifetime,
            "hubs": hex(&self.hubs),
            "informationTheoretic": self.only_its,
        })
    }
}
