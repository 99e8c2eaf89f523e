//! Ours beside the peers in one run: processor time, octets on the wire, heap allocations, and the ratios that the goals
//! speak of. Printed as a table, and written to target/ratios.json and target/plots.
//!
//! All subjects are measured in turn, again and again, in processor time of this process; the shortest round counts.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use core::time::Duration;

use benches::ours::{DskeKey, FirstMessage, Relays, Split};
use benches::peers::Vsss;
use benches::plot::{Line, plot};
use benches::subjects::{AWS_ML_KEM, DSKE, DSKE_LARGE, EXPORT, HANDSHAKE, HANDSHAKE_SHA3, SNOW, subjects};
use benches::work::{Subject, in_rounds, in_words, share};
use serde_json::{Value, json};

/// `ours` costs at most `most` times `than`.
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

struct Measured {
    name: String,
    nanoseconds: f64,
    octets: usize,
    allocations: u64,
}

fn measure(of: &str) -> Vec<Measured> {
    let mut all = subjects();
    all.retain(|subject| subject.name.contains(of));
    in_rounds(&mut all, 24, Duration::from_millis(4));
    let weights = weights();
    let mut measured = Vec::new();
    for subject in &mut all {
        let allocations = weights.get(&subject.name).and_then(Value::as_u64);
        measured.push(Measured {
            name: subject.name.clone(),
            nanoseconds: subject.nanoseconds(),
            octets: subject.work().octets(),
            allocations: allocations.unwrap(),
        });
    }
    measured
}

/// Allocations are counted by another program: what counts them costs time.
fn weights() -> Value {
    let weighed = std::process::Command::new(env!("CARGO_BIN_EXE_weigh")).output().unwrap();
    assert!(weighed.status.success(), "{}", String::from_utf8_lossy(&weighed.stderr));
    serde_json::from_slice(&weighed.stdout).unwrap()
}

fn main() {
    // `cargo test --benches` only asks whether it starts.
    let mut arguments = std::env::args().skip(1);
    if !arguments.any(|argument| argument == "--bench") {
        return;
    }
    let part = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let all = measure(&part);
    println!(
        "\n{:<48} {:>12} {:>9} {:>12}",
        "once, all parties together", "processor", "octets", "allocations"
    );
    for row in &all {
        let octets = if row.octets == 0 { "-".to_owned() } else { row.octets.to_string() };
        println!("{:<48} {:>12} {octets:>9} {:>12}", row.name, in_words(row.nanoseconds), row.allocations);
    }
    println!(
        "allocations are those of Rust's allocator: what OpenSSL and aws-lc allocate in C is not counted"
    );

    println!("\n{:<40} {:<40} {:>9} {:>9}  verdict", "ours", "beside", "measured", "goal");
    let of = |name: &str| all.iter().find(|row| row.name == name);
    let mut goals = Vec::new();
    for goal in GOALS.iter().filter(|goal| [goal.ours, goal.than].iter().all(|name| name.contains(&part))) {
        let (Some(ours), Some(than)) = (of(goal.ours), of(goal.than)) else {
            println!(
                "{:<40} {:<40} {:>9} {:>9}  needs --features peers",
                goal.ours,
                goal.than,
                "-",
                share(goal.most)
            );
            continue;
        };
        let ratio = ours.nanoseconds / than.nanoseconds;
        let verdict = if ratio <= goal.most { "met" } else { "NOT MET" };
        println!(
            "{:<40} {:<40} {:>9} {:>9}  {verdict}",
            goal.ours,
            goal.than,
            share(ratio),
            share(goal.most)
        );
        goals.push(json!({ "ours": goal.ours, "beside": goal.than, "ratio": ratio, "most": goal.most, "met": ratio <= goal.most }));
    }
    write(&all, goals);
}

/// How the cost of something grows.
struct Growth {
    name: &'static str,
    title: &'static str,
    of: &'static str,
    lines: Vec<Line>,
}

/// How cost grows: with k and n, with the length of a key, with loss, with the clients of a hub, with the peers of a table.
fn growth() -> Vec<Growth> {
    let measured = |name, title, of, lines: Vec<(&str, Vec<(f64, Subject)>)>| {
        let lines = lines.into_iter().map(|(line, subjects)| {
            let (places, mut subjects): (Vec<f64>, Vec<Subject>) = subjects.into_iter().unzip();
            in_rounds(&mut subjects, 6, Duration::from_millis(2));
            let costs = subjects.iter().map(Subject::nanoseconds);
            (line.to_owned(), places.into_iter().zip(costs).collect())
        });
        Growth { name, title, of, lines: lines.collect() }
    };
    let dske = |k, n, length| Subject::new("", DskeKey::of_length(k, n, length));
    let grid = [(2, 3), (3, 5), (7, 13), (16, 31)];
    let by_hubs = grid.map(|(k, n)| (n as f64, dske(k, n, 32))).into();
    let lengths = [32_u32, 256, 4096, 65_536];
    let key = |k, n| lengths.map(|length| (f64::from(length), dske(k, n, length))).into();
    let lossy =
        [0, 1, 5, 10, 20].map(|loss| (f64::from(loss), Subject::new("", DskeKey::new(3, 5).with_loss(loss))));
    // One hub after the other: each with its clients takes much memory, and gives it back.
    let relay = |clients: usize| {
        let mut relays = Relays::among(clients);
        // The first ones make everything ready. Then each client has its turn, and all count: some pay for what a hub does now
        // and then.
        let batches = (clients / Relays::AT_ONCE).max(20);
        let spent: Duration = (0..batches + 4).map(|_| relays.batch()).skip(4).sum();
        (clients as f64, spent.as_nanos() as f64 / (batches * Relays::AT_ONCE) as f64)
    };
    let relays = [100, 1000, 10_000, 100_000].map(relay);
    let table = [100, 1000, 10_000, 100_000]
        .map(|peers| (f64::from(peers), Subject::new("", FirstMessage::new(peers))));
    let shamir = |length: usize| (length as f64, Subject::new("", Split::new(3, 5, length)));
    let theirs = |length: usize| (length as f64, Subject::new("", Vsss::new(length, false)));
    let secrets = [64, 1024, 16_384, 1 << 20];
    vec![
        measured(
            "dske-hubs",
            "A DSKE key, all parties",
            "hubs (2 of 3, 3 of 5, 7 of 13, 16 of 31)",
            vec![("256 bits", by_hubs)],
        ),
        measured("dske-length", "A DSKE key, all parties", "octets of the key", vec![("3 of 5", key(3, 5))]),
        measured(
            "dske-loss",
            "A DSKE key, 3 of 5, all parties",
            "per cent of messages lost",
            vec![("256 bits", lossy.into())],
        ),
        Growth {
            name: "dske-clients",
            title: "A relay, one hub",
            of: "clients, all of which make keys",
            lines: vec![("256 bits".to_owned(), relays.into())],
        },
        measured(
            "table-peers",
            "A first message, answered",
            "peers in the table",
            vec![("random order", table.into())],
        ),
        measured(
            "shamir-length",
            "Shamir, 3 of 5, split",
            "octets of the secret",
            vec![("ours", secrets.map(shamir).into()), ("vsss-rs", secrets.map(theirs).into())],
        ),
    ]
}

fn write(all: &[Measured], goals: Vec<Value>) {
    let rows = all.iter().map(|row| {
        json!({ "name": row.name, "nanoseconds": row.nanoseconds, "octets": row.octets, "allocations": row.allocations })
    });
    let growth = growth();
    let grown =
        growth.iter().map(|growth| json!({ "title": growth.title, "of": growth.of, "lines": growth.lines }));
    let report =
        json!({ "measured": rows.collect::<Vec<_>>(), "goals": goals, "growth": grown.collect::<Vec<_>>() });
    let target = benches::target();
    let path = target.join("ratios.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report).unwrap() + "\n").unwrap();
    let folder = target.join("plots");
    std::fs::create_dir_all(&folder).unwrap();
    for Growth { name, title, of, lines } in growth {
        let svg = plot(title, of, "processor time", &lines);
        std::fs::write(folder.join(name).with_extension("svg"), svg).unwrap();
    }
    println!("\nwritten: {}, {}", path.display(), folder.display());
}
