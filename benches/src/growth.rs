//! How cost grows.

use core::time::Duration;

use crate::ours::{DskeKey, FirstMessage, Relays, Split};
use crate::peers::Vsss;
use crate::plot::Line;
use crate::work::{Subject, in_rounds};

/// Of the plot of what a relay costs one hub, by the hub's clients.
pub const RELAYS: &str = "dske-clients";

/// How the cost of something grows.
#[derive(Debug)]
pub struct Growth {
    /// Of its plot.
    pub name: &'static str,
    /// What it is that costs.
    pub title: &'static str,
    /// What grows.
    pub of: &'static str,
    /// What it costs, in nanoseconds of processor time.
    pub lines: Vec<Line>,
}

/// Measures how cost grows: with k and n, with the length of a key, with loss, with the clients of a hub, with the peers of a table.
#[must_use]
pub fn growth() -> Vec<Growth> {
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
    let relays = [100, 1000, 10_000, 50_000, 100_000].map(relay);
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
            name: RELAYS,
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
