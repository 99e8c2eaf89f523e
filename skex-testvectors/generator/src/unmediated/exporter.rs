//! unmediated-exporter.json

use serde_json::{Value, json};
use skex_core::Suite;
use skex_testvectors::Layer;
use skex_testvectors::unmediated_exporter::TestGroup;

use super::schedule::{consumer_key, step};
use super::{VERSION, letter, number};
use crate::file::{File, Group, hex};
use crate::labels::EXPORT;
use crate::primitives::suite_name;

const WINDOW: u64 = 8;
const OWNER_B: u64 = 1 << 63;

pub(crate) fn file() -> (&'static str, String) {
    let mut file = File::new(
        "unmediated-exporter",
        "Unmediated: exporter",
        VERSION,
        &["Indices of side b have their top bit set: they do not fit a floating-point number."],
        &[
            ("Normal", "BASIC", "A usual case."),
            ("Maximum", "EDGE_CASE", "The last output of a chain."),
            ("OutOfOrder", "BASIC", "Indices out of order, within the window."),
            ("Peek", "BASIC", "A look at an output changes nothing."),
            ("Used", "KEY_REUSE", "An index that was taken before."),
            ("LeftWindow", "KEY_REUSE", "An index so far behind that its key is gone."),
            ("TooFar", "MISSING_CHECK", "An index further ahead than the window reaches."),
            ("NoSuchIndex", "MISSING_CHECK", "An index that no chain has."),
        ],
    );
    for suite in Suite::all() {
        let (name, number) = (suite_name(suite), json!({ "suite": number(suite) }));
        file.group("Chain", &format!("{name} chains"), number.clone(), |group| chains(suite, group));
        file.group("Key", &format!("{name} keys"), number.clone(), |group| keys(suite, group));
        let parameters = json!({ "suite": number["suite"], "window": WINDOW });
        file.group("Window", &format!("{name} window"), parameters, |group| windows(suite, group));
    }
    file.finish::<TestGroup>()
}

fn base(owner: u8) -> u64 {
    if owner == b'a' { 0 } else { OWNER_B }
}

fn chains(suite: Suite, group: &mut Group) {
    for owner in [b'a', b'b'] {
        let mut case =
            group.case(&format!("chain of {}", letter(owner)), "links and outputs from position 0 on");
        let mut links = vec![case.derive("links[0]", suite.hash_len())];
        let (mut outputs, mut indices) = (Vec::new(), Vec::new());
        for position in 0..10 {
            let [output, next] = step(suite, &links[position as usize], position);
            indices.push(base(owner) + position);
            outputs.push(output);
            links.push(next);
        }
        case.set("owner", letter(owner))
            .hexes("links", &links)
            .set("indices", indices)
            .hexes("outputs", &outputs);
        case.valid(&["Normal"]);
    }
}

fn keys(suite: Suite, group: &mut Group) {
    let mut add = |name: &str, index: u64, label: &str, context: usize, flag: &str| {
        let mut case = group.case(name, "the key for a consumer");
        let (output, context) = (case.secret("output", suite.hash_len()), case.secret("context", context));
        case.set("index", index).set("label", label);
        case.hex("key", &consumer_key(suite, &output, index, label, &context));
        case.valid(&[flag]);
    };
    for (i, rest) in EXPORT.iter().enumerate() {
        let label = &format!("skex x1 {rest}");
        add(&format!("{label} of a"), i as u64, label, 3 * i, "Normal");
    }
    add("raw of b", OWNER_B, "skex x1 raw", 0, "Normal");
    add("the last of b", OWNER_B + 65_535, "skex x1 raw", 300, "Maximum");
}

/// A chain as the end that answers has it, as the specification says it: "Answering".
struct Chain {
    suite: Suite,
    link: Vec<u8>,
    position: u64,
    kept: Vec<(u64, Vec<u8>)>,
}

impl Chain {
    /// OK of output `wanted`; `None` moves nothing.
    fn answer(&mut self, wanted: u64, take: bool) -> Option<Vec<u8>> {
        if wanted < self.position {
            if wanted + WINDOW < self.position {
                return None;
            }
            let at = self.kept.iter().position(|(index, _)| *index == wanted)?;
            return Some(if take { self.kept.remove(at).1 } else { self.kept[at].1.clone() });
        }
        if wanted >= self.position + WINDOW || wanted >= 65_536 {
            return None;
        }
        let (mut link, mut kept) = (self.link.clone(), self.kept.clone());
        for position in self.position..=wanted {
            let [output, next] = step(self.suite, &link, position);
            link = next;
            if position == wanted {
                if take {
                    kept.retain(|(index, _)| index + WINDOW > wanted);
                    (self.link, self.kept, self.position) = (link, kept, wanted + 1);
                }
                return Some(output);
            }
            kept.push((position, output));
        }
        None
    }
}

/// Whether an operation takes, and the index.
type Operations = Vec<(bool, u64)>;

fn take(indices: &[u64]) -> Operations {
    indices.iter().map(|index| (true, *index)).collect()
}

fn windows(suite: Suite, group: &mut Group) {
    let peeks = vec![(false, 2), (false, 2), (true, 2), (false, 0), (true, 0), (true, 1)];
    let long: Operations = take(&(0..40).map(|n| n * 3 + 2).collect::<Vec<_>>());
    for (name, owner, operations, flag) in [
        ("in order", b'a', take(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), "Normal"),
        ("last of the window first", b'b', take(&[7, 0, 3, 1, 2, 6, 5, 4]), "OutOfOrder"),
        ("far on, then back", b'b', take(&[7, 14, 8, 13, 7 + 15, 21]), "OutOfOrder"),
        ("every third", b'a', long, "OutOfOrder"),
        ("looks", b'a', peeks, "Peek"),
    ] {
        window(suite, group, name, owner, &operations, None, flag);
    }
    for (name, owner, operations, flag) in [
        ("taken twice", b'a', take(&[0, 0]), "Used"),
        ("taken twice, out of order", b'b', take(&[4, 2, 2]), "Used"),
        ("a look at what was taken", b'b', vec![(true, 3), (false, 3)], "Used"),
        ("taken twice, before the last", b'a', take(&[3, 4, 3]), "Used"),
        ("left the window", b'a', take(&[7, 8, 0]), "LeftWindow"),
        ("left the window after a leap", b'b', take(&[1, 9, 0]), "LeftWindow"),
        ("one too far", b'a', take(&[8]), "TooFar"),
        ("one too far, later", b'b', take(&[5, 14]), "TooFar"),
        ("a look too far", b'b', vec![(false, 8)], "TooFar"),
        ("beyond all outputs", b'a', take(&[65_536]), "NoSuchIndex"),
        ("a bit of no meaning", b'a', take(&[1 << 62]), "NoSuchIndex"),
    ] {
        window(suite, group, name, owner, &operations, Some(Layer::State), flag);
    }
}

fn window(
    suite: Suite,
    group: &mut Group,
    name: &str,
    owner: u8,
    operations: &Operations,
    refused: Option<Layer>,
    flag: &str,
) {
    let mut case = group.case(name, "which indices an end answers");
    let link = case.secret("link", suite.hash_len());
    let mut chain = Chain { suite, link, position: 0, kept: Vec::new() };
    let mut written: Vec<Value> = Vec::new();
    for (at, (take, index)) in operations.iter().enumerate() {
        let output = chain.answer(*index, *take);
        let last = at + 1 == operations.len();
        assert_eq!(output.is_none(), last && refused.is_some(), "{name}: operation {at}");
        written.push(json!({
            "operation": if *take { "take" } else { "peek" },
            "index": base(owner) + index,
            "output": output.map(|output| hex(&output)),
        }));
    }
    case.set("owner", letter(owner)).set("operations", written);
    match refused {
        None => case.valid(&[flag]),
        Some(layer) => case.invalid(layer, flag),
    }
}
