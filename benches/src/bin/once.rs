//! Does one piece of our own work so many times, for profiles and instruction counts (benches/count.py).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program for measurements: whatever is wrong ought to stop it"
)]

use benches::ours;
use benches::work::Subject;

fn main() {
    let mut given = std::env::args().skip(1);
    let (Some(name), Some(count)) = (given.next(), given.next()) else {
        return ours::COUNTED.iter().for_each(|name| println!("{name}"));
    };
    let mut subject: Subject = ours::by_name(&name).unwrap_or_else(|| panic!("no subject {name}"));
    let work = subject.work();
    let mut left: u64 = count.parse().unwrap();
    while left > 0 {
        let batch = left.min(work.limit());
        work.ready();
        work.go(batch);
        left = left.saturating_sub(batch);
    }
}
