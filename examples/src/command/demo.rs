//! `skex demo`: everything at once, on this machine, each party a process of its own.

mod between_two;
mod child;
mod show;
mod through_hubs;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::provision;
use crate::config::{HubFile, load};
use crate::driver::merge;
use crate::entropy::Entropy;
use crate::provisioning::{Enrolment, enrolment};
use crate::store::atomic::{create_private, create_private_directory};
use between_two::Pair;
use show::Show;
use through_hubs::Network;

/// Watch two devices agree on keys, through five hubs and then with none.
///
/// Five hubs and two clients, each a process with a directory of its own, on this machine: keys both ways through 3 of 5
/// hubs; one hub is killed and another made to lie, and keys come all the same. Then one of those keys enrols an unmediated
/// pair, every hub is stopped, and the two make 200 keys with nobody's help, one of them killed in the middle.
///
/// The exit status is 0 if the two ends of every key have the same fingerprint, and 1 if not.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  skex demo\n  skex demo --json\n  skex demo --dir look-at-me --keep\n  skex demo --capture demo.pcap"
)]
pub(crate) struct Arguments {
    /// Print one JSON object for each key, and the result as the last one.
    #[arg(long)]
    json: bool,
    /// Work in this new directory, instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write every datagram to this new file, for Wireshark, and the keys of the envelopes to FILE.keys, for its dissector.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Leave the directory behind. It holds secrets, of the demo only.
    #[arg(long)]
    keep: bool,
    /// For tests: one end turns a bit of its keys, which must be noticed.
    #[arg(long, hide = true)]
    corrupt_one_end: bool,
}

/// Hubs of the demo, and how many of them must deliver.
const HUBS: u8 = 5;
const THRESHOLD: u8 = 3;

/// Handshakes before one end is killed, and after.
const HANDSHAKES: u32 = 100;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(capture) = &arguments.capture {
        for path in [capture.clone(), keys_beside(capture)] {
            if path.exists() {
                bail!("{} exists already: name a file that does not", path.display());
            }
        }
    }
    let directory = WorkingDirectory::make(arguments.dir.as_deref(), "demo", arguments.keep)?;
    let mut show = Show::new(arguments.json);
    let captures = arguments.capture.as_ref().map(|_| directory.path().join("captures"));
    if let Some(captures) = &captures {
        create_private_directory(captures)?;
    }
    let stage = Stage { directory: directory.path(), captures: captures.as_deref() };
    let played = play(stage, arguments.corrupt_one_end, &mut show);
    if let (Some(captures), Some(out)) = (&captures, &arguments.capture) {
        let packets = merge(captures, out)?;
        write_keys(&directory.path().join("net"), &keys_beside(out))?;
        show.line(&format!("captured: {packets} datagrams in {}", out.display()))?;
    }
    show.end(played.is_ok())?;
    if arguments.keep {
        show.line(&format!("kept: {}", directory.path().display()))?;
    }
    played
}

/// Where the parties live, and where they write what they send.
#[derive(Clone, Copy)]
struct Stage<'a> {
    directory: &'a Path,
    captures: Option<&'a Path>,
}

fn play(stage: Stage<'_>, corrupt: bool, show: &mut Show) -> Result<()> {
    let directory = stage.directory;
    show.title(&format!(
        "Through hubs: 256-bit keys through {THRESHOLD} of {HUBS} hubs, {HUBS} hubs and 2 clients as {} processes",
        HUBS.saturating_add(2)
    ))?;
    show.progress("making the hubs, the clients and their tables");
    let network = directory.join("net");
    provision::provision(&provision::Arguments {
        action: None,
        out: Some(network.clone()),
        files: false,
        hubs: HUBS,
        clients: vec!["alice".to_owned(), "bob".to_owned()],
        clients_from: None,
        table_size: 256 << 10,
        base_port: 1,
        hub_address: Vec::new(),
    })?;
    let mut network = Network::start(stage, &network, corrupt)?;
    let one_time = (THRESHOLD, "one-time");
    network.key("alice", "bob", one_time, show)?;
    network.key("bob", "alice", one_time, show)?;
    stop_if_different(show)?;

    show.title(
        "A computational key: its shares under AES-256-GCM, and 64 octets of each table for 256 such keys",
    )?;
    network.key("alice", "bob", (THRESHOLD, "aes-256-gcm"), show)?;
    stop_if_different(show)?;

    show.title("One-time again, with hub-4 killed and hub-5 lying")?;
    network.kill_hub("hub-4")?;
    network.make_hub_lie("hub-5")?;
    network.key("alice", "bob", one_time, show)?;
    let made = network.key("bob", "alice", one_time, show)?;
    stop_if_different(show)?;
    if made.silent != ["hub-4"] || made.lying != ["hub-5"] {
        bail!("hub-4 was to be seen silent and hub-5 lying, and they were not: is this machine very slow?");
    }

    show.title("Between two: the last key enrols an unmediated pair, and every hub and client is stopped")?;
    let mut pair = Pair::enrol(stage, &network, &made.key_id)?;
    drop(network);
    pair.handshakes(HANDSHAKES, show)?;
    pair.kill_in_the_middle(show)?;
    pair.handshakes(HANDSHAKES, show)?;
    stop_if_different(show)?;

    let keys = show.keys();
    show.title("What was proven")?;
    for line in [
        format!(
            "{keys} keys were made, and the two processes that hold each of them computed the same fingerprint"
        ),
        format!(
            "with one hub of {HUBS} dead and one lying, keys came all the same, and both were named: hub-4 silent, hub-5 \
             lying"
        ),
        "a key made through hubs enrolled a pair that then needed no hub: they were all stopped".to_owned(),
        "kill -9 in the middle of a handshake left the two in step: they went on after the restart"
            .to_owned(),
    ] {
        show.line(&format!("  {line}"))?;
    }
    Ok(())
}

fn stop_if_different(show: &Show) -> Result<()> {
    match show.different() {
        0 => Ok(()),
        different => bail!("{different} keys differ at their two ends"),
    }
}

/// This program again, for another process.
fn this_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().context("this program does not know where it lies")?))
}

fn keys_beside(capture: &Path) -> PathBuf {
    let mut name = capture.as_os_str().to_owned();
    name.push(".keys");
    PathBuf::from(name)
}

/// What the dissector opens envelopes with: a line for each link, of client id, hub id, suite and initial key.
fn write_keys(network: &Path, out: &Path) -> Result<()> {
    let mut lines = String::from(
        "# client id, hub id, envelope suite, initial key. Whoever reads this reads the envelopes.\n",
    );
    for hub in 1..=HUBS {
        let directory = network.join(format!("hub-{hub}"));
        for (name, known) in load::<HubFile>(&directory)?.links()? {
            let Enrolment { link, initial_key } = enrolment(&directory, &name, &known)?;
            let (hub, key) = (hex::encode(link.hub.as_bytes()), hex::encode(initial_key.expose()));
            lines.push_str(&format!("{} {hub} {} {key}\n", link.client.number(), link.suite.value()));
        }
    }
    create_private(out, lines.as_bytes())
}

/// A fresh directory, removed at the end.
pub(super) struct WorkingDirectory {
    path: PathBuf,
    keep: bool,
}

impl WorkingDirectory {
    /// `path`, or one among the temporary files with `name` in its name.
    pub(super) fn make(path: Option<&Path>, name: &str, keep: bool) -> Result<Self> {
        use rand_core::Rng as _;
        let path = match path {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("skex-{name}-{:016x}", Entropy::open()?.next_u64())),
        };
        if path.exists() {
            bail!("{} exists already: name a directory that does not", path.display());
        }
        create_private_directory(&path)?;
        Ok(Self { path, keep })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkingDirectory {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("skex: cannot remove {}: {error}", self.path.display());
        }
    }
}
