//! `skex status`: what a directory is, and how it stands. It changes nothing, and may be asked at any time.

use core::sync::atomic::AtomicBool;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use skex_dske::{Client, Hub, Origin, TableStatus};
use skex_wire::dske::Direction;

use super::{client, hub, peer};
use crate::clock::Clock;
use crate::config::{ClientFile, HubFile, PeerFile, Role, load, role_of};
use crate::entropy::Entropy;
use crate::provisioning::{enrolment, waiting};
use crate::report::say;
use crate::store::{LogContents, check_begun, is_running};

/// Show what a directory is and how it stands, without secrets.
///
/// It only reads, also while a process is running on the directory; what that process does at the moment may then be
/// missing.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  skex status --dir net/alice")]
pub(crate) struct Arguments {
    /// The directory of a hub, a client or a peer.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let directory = &arguments.dir;
    match role_of(directory)? {
        Role::Hub => show_hub(directory),
        Role::Client => show_client(directory),
        Role::Peer => show_peer(directory),
    }
}

fn show_head(role: Role, name: &str, directory: &Path) {
    let running = if is_running(directory) { "running" } else { "not running" };
    say!("{role} {name}, {running}");
}

fn show_log(contents: &LogContents) {
    match contents.count() {
        0 => say!("state        never started"),
        count => say!("state        {count} records"),
    }
    if contents.torn() > 0 {
        say!("             and {} octets of one that is not whole", contents.torn());
    }
}

/// The tables of a link: what is left, and up to where each may have been used.
fn show_tables(statuses: &[TableStatus], uplink: &str, downlink: &str) {
    for (direction, way) in [(Direction::UPLINK, uplink), (Direction::DOWNLINK, downlink)] {
        let of_way = || statuses.iter().filter(move |table| table.direction == direction);
        for table in of_way() {
            let TableStatus { number, len, remaining, origin, .. } = *table;
            let percent = remaining.saturating_mul(100).checked_div(len).unwrap_or_default();
            let used = len.saturating_sub(remaining);
            let came = if origin == Origin::Refill { ", refilled: computational" } else { "" };
            say!(
                "  {way:<10} table {number}: {remaining} of {len} octets left ({percent} %), used up to {used}{came}"
            );
        }
        let (len, left) = of_way().fold((0_u64, 0_u64), |(len, left), table| {
            let live = if table.remaining == 0 { 0 } else { table.len };
            (len.saturating_add(live), left.saturating_add(table.remaining))
        });
        if left < len / LOW_WATER_PART || len == 0 {
            say!("             LOW: make more with `skex provision add` at the hub");
        }
    }
}

/// As the machines see it: less than this part of the tables that are not used up.
const LOW_WATER_PART: u64 = 8;

fn show_waiting(directory: &Path) -> Result<()> {
    for path in waiting(directory)? {
        say!("waiting      {}, to be taken in at the next start", path.display());
    }
    Ok(())
}

fn show_hub(directory: &Path) -> Result<()> {
    let file: HubFile = load(directory)?;
    show_head(Role::Hub, &file.name, directory);
    say!("id           {}", file.id.hub());
    say!("coordinate   {}", file.coordinate);
    say!("listens on   {}", file.listen);
    let logs = hub::Logs::read(directory, hub::count(&file)?)?;
    check_begun(directory, file.started, logs.contents())?;
    logs.contents().for_each(|(_, contents)| show_log(contents));
    show_waiting(directory)?;
    let honest = Arc::new(AtomicBool::new(false));
    let config = hub::config(&hub::Own::of(directory, &file, &honest, false)?)?;
    let machines = logs.restore(config, Clock::start().now(), &mut Entropy::open()?)?;
    let of_machine = |machine| Hub::status(machine).map(move |status| (status.tag, (machine, status)));
    let clients: BTreeMap<_, _> = machines.iter().flat_map(of_machine).collect();
    for (name, known) in file.links()? {
        // A revocation that a crash broke off: the next start brings it to its end.
        let Some((machine, status)) = clients.get(&known.tag) else { continue };
        say!("client {name}");
        let number = enrolment(directory, &name, &known)?.link.client;
        show_tables(&machine.tables(number), "from it", "to it");
        say!("  waiting    {} shares", status.waiting);
    }
    for client in file.clients.iter().filter(|client| client.revoked) {
        say!("revoked      {}", client.name);
    }
    Ok(())
}

fn show_client(directory: &Path) -> Result<()> {
    let file: ClientFile = load(directory)?;
    show_head(Role::Client, &file.name, directory);
    say!("tag          {}", file.tag.client());
    let peers: Vec<_> = file.peers.iter().map(|peer| peer.name.clone()).collect();
    say!("peers        {}", peers.join(", "));
    let contents = LogContents::read(&directory.join(hub::LOG))?;
    check_begun(directory, file.started, [(hub::LOG, &contents)])?;
    show_log(&contents);
    show_waiting(directory)?;
    let config = client::config(directory, &file, false)?;
    let machine = Client::restore(config, contents.records(), Clock::start().now(), &mut Entropy::open()?)
        .context("the stored state of this client cannot be used")?;
    for hub in &file.hubs {
        say!("{} at {}", hub.name, hub.address);
        show_tables(&machine.tables(hub.id.hub()), "to it", "from it");
    }
    Ok(())
}

fn show_peer(directory: &Path) -> Result<()> {
    let file: PeerFile = load(directory)?;
    show_head(Role::Peer, &file.id, directory);
    let machine = peer::stored(directory, &file)?;
    say!("side         {:?}", machine.side());
    say!("peer         {}", file.peer_id);
    say!("epoch        {} (handshakes since the enrolment)", machine.epoch());
    say!("suite        {}", machine.suite().id());
    match machine.session() {
        Some(session) => {
            let confirmed = if session.confirmed { "confirmed" } else { "not confirmed yet" };
            say!("session      {}, {:?}, {confirmed}", session.id, session.role);
        }
        None => say!("session      none"),
    }
    if machine.is_ahead() {
        say!("             the peer may be one handshake behind; the next contact heals it");
    }
    Ok(())
}
