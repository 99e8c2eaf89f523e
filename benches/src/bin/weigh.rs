//! Counts the heap allocations of each subject once, as JSON. Those of Rust's allocator: what C libraries allocate is not
//! seen. A program of its own, because counting costs time that would be measured elsewhere.

use std::collections::BTreeMap;

fn main() {
    let mut counts = BTreeMap::new();
    for mut subject in benches::subjects::subjects() {
        let name = subject.name.clone();
        let work = subject.work();
        work.ready();
        work.go(1);
        // What grows from time to time, a table say, is spread over many.
        let count = if name.contains("1 MiB") { 2 } else { work.limit().min(64).saturating_sub(1) };
        let counted = allocation_counter::measure(|| work.go(count));
        counts.insert(name, counted.count_total.div_ceil(count));
    }
    println!("{}", serde_json::json!(counts));
}
