//! What this machine takes for a datagram alone, with the socket that the driver has, and for a table alone.

use std::path::Path;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::measure::{each, process_cpu, thread_cpu};
use crate::command::provision;
use crate::config::{ClientFile, load};
use crate::driver::{Socket, bind};
use crate::provisioning::{import, waiting};

/// CPU of one datagram over loopback, both ends on one thread, the best of several rounds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Floor {
    pub(super) send_nanos: f64,
    pub(super) receive_nanos: f64,
    /// What a hub could relay in a second of a core if it did nothing but receive two datagrams a relay and send two.
    pub(super) relays_a_core_second: f64,
}

const ROUNDS: u32 = 50;

/// Datagrams of a round: no buffer runs over by so many.
const DATAGRAMS: usize = 128;

/// Octets of a share on its way, about.
const LEN: usize = 256;

pub(super) fn measure() -> Result<Floor> {
    let (mut from, mut to): (Socket, Socket) =
        (Socket::new(bind("127.0.0.1:0")?), Socket::new(bind("127.0.0.1:0")?));
    let target = to.local_address()?;
    let mut best = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        (0..DATAGRAMS).for_each(|_| from.send(target, &[7; LEN]));
        let began = thread_cpu();
        let sent = from.flush();
        let between = thread_cpu();
        let mut received = 0;
        while received < DATAGRAMS {
            let count = to.receive()?;
            ensure!(count > 0, "datagrams over loopback were lost");
            received += count;
        }
        let ended = thread_cpu();
        let datagrams = DATAGRAMS as u64;
        ensure!(sent.messages == datagrams, "datagrams over loopback could not be sent");
        let nanos = |from: core::time::Duration, to: core::time::Duration| {
            each(to.saturating_sub(from).as_nanos() as f64, datagrams)
        };
        best = [best[0].min(nanos(began, between)), best[1].min(nanos(between, ended))];
    }
    let [send_nanos, receive_nanos] = best;
    let relays_a_core_second = 1e9 / (2.0 * send_nanos + 2.0 * receive_nanos);
    Ok(Floor { send_nanos, receive_nanos, relays_a_core_second })
}

/// CPU for a table: made from the operating system's entropy, stored at the hub, carried in a provisioning file, taken in at
/// the client.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Provisioning {
    pub(super) nanos_a_kibioctet: f64,
}

/// Octets of each table of the measurement.
const TABLE: u64 = 8 << 20;

/// Two hubs, two clients, two directions.
const TABLES: u64 = 8;

pub(super) fn provisioning(directory: &Path) -> Result<Provisioning> {
    let began = process_cpu();
    let out = directory.join("provisioned");
    let names = provision::provision(&provision::Arguments {
        action: None,
        out: Some(out.clone()),
        files: true,
        hubs: 2,
        clients: vec!["a".to_owned(), "b".to_owned()],
        clients_from: None,
        table_size: TABLE,
        base_port: 1,
        hub_address: Vec::new(),
    })?;
    for name in names {
        let directory = out.join(name);
        let links = load::<ClientFile>(&directory)?.links()?;
        waiting(&directory)?.iter().try_for_each(|path| import(&directory, &links, path).map(drop))?;
    }
    let nanos = process_cpu().saturating_sub(began).as_nanos() as f64;
    Ok(Provisioning { nanos_a_kibioctet: each(nanos, TABLE * TABLES / 1024) })
}
