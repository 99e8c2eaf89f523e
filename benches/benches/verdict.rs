//! Ours beside the peers in one run: processor time, octets on the wire, heap allocations, and the ratios that the goals
//! speak of. Printed as a table, and written to target/ratios.json and target/plots.
//!
//! All subjects are measured in turn, again and again, in processor time of this process; the shortest round counts.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use core::time::Duration;

use benches::goals::judge;
use benches::growth::{Growth, growth};
use benches::plot::plot;
use benches::subjects::{Measured, subjects};
use benches::work::{Subject, in_rounds, in_words};
use serde_json::{Value, json};

fn measure(mut all: Vec<Subject>) -> Vec<Measured> {
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
    let mut wanted = subjects();
    wanted.retain(|subject| subject.name.contains(&part));
    if wanted.is_empty() {
        eprintln!("nothing that is measured has \"{part}\" in its name; nothing is written");
        std::process::exit(1);
    }
    let all = measure(wanted);
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

    // Of a part nobody asks how it grows.
    let growth = if part.is_empty() { growth() } else { Vec::new() };
    let goals = judge(&all, &growth, &part);
    write(&part, &all, &growth, goals);
}

fn write(part: &str, all: &[Measured], growth: &[Growth], goals: Vec<Value>) {
    let rows = all.iter().map(|row| {
        json!({ "name": row.name, "nanoseconds": row.nanoseconds, "octets": row.octets, "allocations": row.allocations })
    });
    let grown =
        growth.iter().map(|growth| json!({ "title": growth.title, "of": growth.of, "lines": growth.lines }));
    let report = json!({ "part": part, "measured": rows.collect::<Vec<_>>(), "goals": goals, "growth": grown.collect::<Vec<_>>() });
    let target = benches::target();
    let path = target.join("ratios.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report).unwrap() + "\n").unwrap();
    let folder = target.join("plots");
    std::fs::create_dir_all(&folder).unwrap();
    for Growth { name, title, of, lines } in growth {
        let svg = plot(title, of, "processor time", lines);
        std::fs::write(folder.join(name).with_extension("svg"), svg).unwrap();
    }
    println!("\nwritten: {}, {}", path.display(), folder.display());
}
