//! `skex status`: what a directory is, and how it stands. It changes nothing, and may be asked at any time.

use core::sync::atomic::AtomicBool;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use skex_dske::{Client, Hub};

use super::{client, hub, peer};
use crate::clock::Clock;
use crate::config::{ClientFile, HubFile, PeerFile, Role, load, role_of};
use crate::entropy::Entropy;
use crate::store::{LogContents, is_running};

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
    println!("{role} {name}, {running}");
}

fn show_log(directory: &Path) -> Result<LogContents> {
    let contents = LogContents::read(&directory.join(hub::LOG))?;
    match contents.count() {
        0 => println!("state        never started"),
        count => println!("state        {count} records"),
    }
    if contents.torn() > 0 {
        println!("             and {} octets of one that is not whole", contents.torn());
    }
    Ok(contents)
}

/// Of a table: what is left, and up to where it may have been used.
fn left(remaining: u64, elements: u32) -> String {
    let all = u64::from(elements).saturating_mul(skex_dske::ELEMENT_LEN as u64);
    let percent = remaining.saturating_mul(100).checked_div(all).unwrap_or_default();
    format!("{remaining} of {all} octets left ({percent} %), used up to {}", all.saturating_sub(remaining))
}

fn show_hub(directory: &Path) -> Result<()> {
    let file: HubFile = load(directory)?;
    show_head(Role::Hub, &file.name, directory);
    println!("id           {}", file.id.hub());
    println!("coordinate   {}", file.coordinate);
    println!("listens on   {}", file.listen);
    let contents = show_log(directory)?;
    let clients: Vec<_> =
        file.clients.iter().map(|client| (client.name.clone(), client.tables.elements)).collect();
    let config = hub::config(directory, file, &Arc::new(AtomicBool::new(false)), false)?;
    let machine = Hub::restore(config, contents.records(), Clock::start().now(), &mut Entropy::open()?)
        .context("the stored state of this hub cannot be used")?;
    for ((name, elements), client) in clients.iter().zip(machine.status()) {
        println!("client {name}");
        println!("  from it    {}", left(client.uplink_remaining, *elements));
        println!("  to it      {}", left(client.downlink_remaining, *elements));
        println!("  waiting    {} shares", client.waiting);
    }
    Ok(())
}

fn show_client(directory: &Path) -> Result<()> {
    let file: ClientFile = load(directory)?;
    show_head(Role::Client, &file.name, directory);
    println!("tag          {}", file.tag.client());
    let peers: Vec<_> = file.peers.iter().map(|peer| peer.name.clone()).collect();
    println!("peers        {}", peers.join(", "));
    let contents = show_log(directory)?;
    let hubs: Vec<_> =
        file.hubs.iter().map(|hub| (hub.name.clone(), hub.address.clone(), hub.tables.elements)).collect();
    let config = client::config(directory, file, false)?;
    let machine = Client::restore(config, contents.records(), Clock::start().now(), &mut Entropy::open()?)
        .context("the stored state of this client cannot be used")?;
    for ((name, address, elements), link) in hubs.iter().zip(machine.status()) {
        println!("{name} at {address}");
        println!("  to it      {}", left(link.uplink_remaining, *elements));
        println!("  from it    {}", left(link.downlink_remaining, *elements));
    }
    Ok(())
}

fn show_peer(directory: &Path) -> Result<()> {
    let file: PeerFile = load(directory)?;
    show_head(Role::Peer, &file.id, directory);
    let machine = peer::stored(directory, &file)?;
    println!("side         {:?}", machine.side());
    println!("peer         {}", file.peer_id);
    println!("epoch        {} (handshakes since the enrolment)", machine.epoch());
    println!("suite        {:?}", machine.suite().id());
    match machine.session() {
        Some(session) => {
            let confirmed = if session.confirmed { "confirmed" } else { "not confirmed yet" };
            println!("session      {}, {:?}, {confirmed}", session.id, session.role);
        }
        None => println!("session      none"),
    }
    if machine.is_ahead() {
        println!("             the peer may be one handshake behind; the next contact heals it");
    }
    Ok(())
}
