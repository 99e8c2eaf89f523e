//! What we want, and whether it is so: ratios within one run, and figures that stand beside no other.

use serde_json::{Value, json};

use crate::growth::{Growth, RELAYS};
use crate::subjects::{
    AWS_ML_KEM, DSKE, DSKE_LARGE, EXPORT, HANDSHAKE, HANDSHAKE_SHA3, Measured, SNOW, SPLIT_BY_KEYSTREAM,
};
use crate::work::share;

/// `ours` takes at most `most` times the processor's time that `than` does.
struct Goal {
    ours: &'static str,
    than: &'static str,
    most: f64,
}

const fn goal(ours: &'static str, than: &'static str, most: f64) -> Goal {
    Goal { ours, than, most }
}

const GOALS: &[Goal] = &[
    goal(HANDSHAKE, SNOW, 1.0 / 25.0),
    goal(HANDSHAKE, AWS_ML_KEM, 1.0 / 6.0),
    goal(HANDSHAKE_SHA3, SNOW, 1.0 / 6.0),
    goal(EXPORT, HANDSHAKE, 1.0 / 10.0),
    goal(DSKE, AWS_ML_KEM, 1.0 / 5.0),
    goal(DSKE_LARGE, DSKE, 10.0),
    goal("Shamir 3 of 5, split 64 B", "Shamir 3 of 5, split 64 B, vsss-rs", 0.25 / 2.85),
    goal("Shamir 3 of 5, combine 64 B", "Shamir 3 of 5, combine 64 B, vsss-rs", 0.2),
    goal("Shamir 3 of 5, split 1 MiB", "Shamir 3 of 5, split 1 MiB, vsss-rs", 1.0 / 40.0),
    goal("Shamir 3 of 5, combine 1 MiB", "Shamir 3 of 5, combine 1 MiB, vsss-rs", 1.0 / 13.0),
    goal("decode 16 of 31, 7 liars", "decode 16 of 31, honest", 50.0),
    goal("first message, table of 100,000 peers", "first message, table of 100 peers", 2.0),
];

/// A figure of `ours`, within a bound.
struct Figure {
    ours: &'static str,
    of: &'static str,
    bound: Bound,
    measured: fn(&Measured) -> f64,
}

#[derive(Clone, Copy)]
enum Bound {
    Most(f64),
    Least(f64),
}

const fn figure(
    ours: &'static str,
    of: &'static str,
    bound: Bound,
    measured: fn(&Measured) -> f64,
) -> Figure {
    Figure { ours, of, bound, measured }
}

const FIGURES: &[Figure] = &[
    figure(HANDSHAKE, "octets on the wire", Bound::Most(144.0), |row| row.octets as f64),
    figure(HANDSHAKE, "allocations", Bound::Most(0.0), |row| row.allocations as f64),
    figure(SPLIT_BY_KEYSTREAM, GIB_A_SECOND, Bound::Least(0.8), gib_a_second),
    figure("Shamir 3 of 5, combine 1 MiB", GIB_A_SECOND, Bound::Least(0.9), gib_a_second),
];

const GIB_A_SECOND: &str = "GiB a second";

/// Of a secret of 1 MiB.
fn gib_a_second(row: &Measured) -> f64 {
    1e9 / 1024.0 / row.nanoseconds
}

/// What a relay may cost a hub of 50,000 clients, in microseconds.
const RELAY: (f64, Bound) = (50_000.0, Bound::Most(1.0));

impl Bound {
    fn met(self, measured: f64) -> bool {
        match self {
            Self::Most(most) => measured <= most,
            Self::Least(least) => measured >= least,
        }
    }

    fn in_words(self) -> String {
        match self {
            Self::Most(most) => format!("{most}"),
            Self::Least(least) => format!("{least} up"),
        }
    }

    fn as_json(self) -> (&'static str, f64) {
        match self {
            Self::Most(most) => ("most", most),
            Self::Least(least) => ("least", least),
        }
    }
}

/// Prints the table of all goals whose subjects were measured, and gives the same for ratios.json.
#[must_use]
pub fn judge(all: &[Measured], growth: &[Growth], part: &str) -> Vec<Value> {
    println!("\n{:<50} {:<40} {:>9} {:>9}  verdict", "ours", "beside, or of which", "measured", "goal");
    let of = |name: &str| all.iter().find(|row| row.name == name);
    let mut goals = Vec::new();
    for Goal { ours, than, most } in
        GOALS.iter().filter(|goal| goal.ours.contains(part) && goal.than.contains(part))
    {
        let (Some(mine), Some(theirs)) = (of(ours), of(than)) else {
            if cfg!(feature = "peers") {
                panic!("a goal for what is not measured: {ours}, {than}");
            }
            row(ours, than, "-", &share(*most), "needs --features peers");
            continue;
        };
        let ratio = mine.nanoseconds / theirs.nanoseconds;
        let met = ratio <= *most;
        row(ours, than, &share(ratio), &share(*most), verdict(met));
        goals.push(json!({ "ours": ours, "beside": than, "ratio": ratio, "most": most, "met": met }));
    }
    let mut judged = |ours: &str, of: &str, measured: f64, bound: Bound| {
        row(ours, of, &format!("{measured:.2}"), &bound.in_words(), verdict(bound.met(measured)));
        let (way, bounded) = bound.as_json();
        goals.push(
            json!({ "ours": ours, "of": of, "measured": measured, way: bounded, "met": bound.met(measured) }),
        );
    };
    for Figure { ours, of: what, bound, measured } in FIGURES {
        if let Some(row) = of(ours) {
            judged(ours, what, measured(row), *bound);
        }
    }
    let (clients, bound) = RELAY;
    let relays = growth.iter().filter(|growth| growth.name == RELAYS).flat_map(|growth| &growth.lines);
    for (_, nanoseconds) in relays.flat_map(|(_, points)| points).filter(|point| point.0 == clients) {
        judged("a relay, one hub of 50,000 clients", "microseconds", nanoseconds / 1e3, bound);
    }
    goals
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "NOT MET" }
}

fn row(ours: &str, of: &str, measured: &str, goal: &str, verdict: &str) {
    println!("{ours:<50} {of:<40} {measured:>9} {goal:>9}  {verdict}");
}
