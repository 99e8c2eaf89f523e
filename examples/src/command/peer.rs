//! `skex peer`: keys between two, with nobody's help.

mod mixing;
mod running;

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_core::machine::Output;
use skex_unmediated::{Peer, PeerConfig, Side};

use crate::clock::Clock;
use crate::config::{PeerFile, SideName, load, save};
use crate::control::Orders;
use crate::driver::{Driver, Paths, bind, resolve};
use crate::entropy::Entropy;
use crate::feed::Feed;
use crate::keys::KeyOutlet;
use crate::report::{Report, Reporter};
use crate::store::atomic::{create_private_directory, parent, sync_directory};
use crate::store::{DirectoryLock, SlotContents, Slots, Store as _, erase, read_unspent};
use mixing::Mixing;
use running::Running;

/// Make fresh keys with one other device, with nobody's help.
///
/// Both ends are enrolled once with the same secret; after that each handshake gives fresh keys, and whoever steals a
/// device later cannot compute those of before. A key made by `skex client` is a good secret to enrol with.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  skex peer --dir a enrol --role a --id alice --peer-id bob --secret-file secret\n  skex peer --dir b listen --bind 0.0.0.0:4500\n  skex peer --dir a connect b.example.net:4500 --count 3 --out-dir keys\n  skex peer --dir a connect b.example.net:4500 --block fresh --erase-blocks --require-block"
)]
pub(crate) struct Arguments {
    /// The directory of this end; `enrol` makes it.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make the directory of one end, from a secret that both ends have.
    ///
    /// Another implementation enrols with lane 0, suite 1 and the context "skex program". Of each session, the end that
    /// started takes the first output that it names, and the other end the same, both under the label "skex x1 raw".
    Enrol {
        /// One end is a, the other b; it does not matter which.
        #[arg(long, value_enum)]
        role: SideName,
        /// The name of this end.
        #[arg(long, value_name = "NAME")]
        id: String,
        /// The name of the other end.
        #[arg(long, value_name = "NAME")]
        peer_id: String,
        /// A file of 32 random octets or more, the same at both ends, used for nothing else.
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
        /// Overwrite and remove the secret's file once it is used.
        #[arg(long)]
        erase_secret: bool,
    },
    /// Answer handshakes of the other end.
    Listen {
        /// Listen here.
        #[arg(long, value_name = "HOST:PORT")]
        bind: String,
        /// Stop after so many keys.
        #[arg(long)]
        count: Option<u32>,
        /// Write each key to a new file in this directory.
        #[arg(long, value_name = "DIR")]
        out_dir: Option<PathBuf>,
        #[command(flatten)]
        mixing: Mixing,
    },
    /// Make keys with the other end.
    Connect {
        /// Where the other end listens.
        #[arg(value_name = "HOST:PORT")]
        address: String,
        /// How many handshakes, with one key each.
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// Write each key to a new file in this directory.
        #[arg(long, value_name = "DIR")]
        out_dir: Option<PathBuf>,
        /// Seconds after which to give up, for each handshake.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
        timeout: u32,
        #[command(flatten)]
        mixing: Mixing,
    },
    /// Feed a consumer, key after key: WireGuard and others take what both ends make.
    ///
    /// Run it at both ends. Each key is installed at both before either transmits with it, and the old one goes when both have
    /// left it.
    #[command(
        after_help = "Example, at the end that begins:\n  skex peer --dir a feed --bind 0.0.0.0:4500 --peer b.example.net:4500 --link-bind 0.0.0.0:4501 \\\n      --link-peer b.example.net:4501 --every 3600 wireguard --interface wg0 --public-key KEY"
    )]
    Feed {
        /// Listen here for the other end's handshakes.
        #[arg(long, value_name = "HOST:PORT")]
        bind: String,
        /// Where the other end listens. At one end at least.
        #[arg(long, value_name = "HOST:PORT")]
        peer: Option<String>,
        #[command(flatten)]
        mixing: Mixing,
        #[command(flatten)]
        feed: crate::feed::Arguments,
    },
    /// Take orders from the standard input and report in JSON.
    #[command(hide = true)]
    Steered {
        #[arg(long)]
        bind: String,
    },
}

/// The name of the two slots in their directory.
const SLOTS: &str = "state.slots";

/// The longest file that is taken for a secret.
const LONGEST_SECRET: u64 = 65536;

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let directory = &arguments.dir;
    match arguments.action {
        Action::Enrol { role, id, peer_id, secret_file, erase_secret } => {
            enrol(directory, &PeerFile { side: role, id, peer_id }, &secret_file)?;
            if erase_secret {
                erase(&secret_file).context("enrolled, but the secret is there still")?;
            }
            println!("enrolled: {}", directory.display());
            if !erase_secret {
                println!("erase {} now: who has it can compute the keys", secret_file.display());
            }
            Ok(())
        }
        Action::Listen { bind: address, count, out_dir, mixing } => {
            let outlet = KeyOutlet { directory: out_dir, ..KeyOutlet::default() };
            start(directory, &address, None, outlet, mixing, Reporter::new(false))?.listen(count)
        }
        Action::Connect { address, count, out_dir, timeout, mixing } => {
            let peer = resolve(&address)?;
            let any = if peer.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
            let outlet = KeyOutlet { directory: out_dir, ..KeyOutlet::default() };
            let mut peer = start(directory, any, Some(peer), outlet, mixing, Reporter::new(false))?;
            peer.connect(&address, count, Duration::from_secs(timeout.into()))
        }
        Action::Feed { bind, peer, feed, mixing } => {
            let peer = peer.as_deref().map(resolve).transpose()?;
            let outlet = KeyOutlet {
                directory: Some(crate::feed::inbox(directory)),
                confirmed: true,
                ..KeyOutlet::default()
            };
            let reporter = Reporter::new(feed.steered);
            let mut running = start(directory, &bind, peer, outlet, mixing, reporter)?;
            Feed::open(&feed, directory, running.end(), reporter)?.run(&mut running)
        }
        Action::Steered { bind } => {
            let (outlet, mixing) = (KeyOutlet::default(), Mixing::default());
            start(directory, &bind, None, outlet, mixing, Reporter::new(true))?.steered(Orders::from_stdin())
        }
    }
}

/// What the machine is told at each start. Retransmission begins soon: a handshake is four small messages.
fn config(file: &PeerFile) -> PeerConfig<'_> {
    let side = match file.side {
        SideName::A => Side::A,
        SideName::B => Side::B,
    };
    PeerConfig::new(side, file.id.as_bytes(), file.peer_id.as_bytes())
        .context(b"skex program")
        .retransmit(Duration::from_millis(250), 6)
}

/// Makes a directory. Its `skex.json` comes last: without it the directory is none.
fn enrol(directory: &Path, file: &PeerFile, secret_file: &Path) -> Result<()> {
    let secret = read_unspent(secret_file, LONGEST_SECRET.saturating_add(1))?.with_context(|| {
        format!(
            "the secret in {} was used before, and is erased: enrol both ends with a new one",
            secret_file.display()
        )
    })?;
    if secret.len() as u64 > LONGEST_SECRET {
        bail!("{} is too long for a secret: give 32 random octets", secret_file.display());
    }
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) || directory.is_file() {
        bail!(
            "{} exists already and is not overwritten: to enrol this end anew, name another directory, at the other end \
             too",
            directory.display()
        );
    }
    let mut entropy = Entropy::open()?;
    let mut peer = Peer::enrol(&config(file), &secret, Clock::start().now(), &mut entropy)
        .with_context(|| format!("cannot enrol with the secret {}", secret_file.display()))?;

    create_private_directory(directory)?;
    let _lock = DirectoryLock::acquire(directory)?;
    let mut slots = Slots::create(&directory.join(SLOTS), 1)?;
    loop {
        match peer.poll_output() {
            Output::Persist(checkpoint) => {
                let receipt = checkpoint.commit_with(|record| slots.store(core::slice::from_ref(record)))?;
                peer.handle_persisted(receipt)?;
            }
            Output::Wait(_) => break,
            _ => {}
        }
    }
    save(directory, file)?;
    sync_directory(parent(directory))
}

fn start(
    directory: &Path,
    address: &str,
    peer: Option<core::net::SocketAddr>,
    outlet: KeyOutlet,
    mixing: Mixing,
    reporter: Reporter,
) -> Result<Running> {
    let file: PeerFile = load(directory)?;
    outlet.check()?;
    let blocks = mixing.blocks()?;
    let lock = DirectoryLock::acquire(directory)?;
    let mut entropy = Entropy::open()?;
    let socket = bind(address)?;
    let (slots, contents) = Slots::open(&directory.join(SLOTS))?;
    let clock = Clock::start();
    let config = config(&file).mix(mixing.policy());
    let machine = Peer::restore(&config, contents.slots(0), clock.now(), &mut entropy)
        .context("the stored state of this end cannot be used")?;
    drop(contents);
    let mut driver = Driver::start(machine, slots, socket, Paths::new(vec![peer]), clock, entropy)?;
    let address = driver.local_address()?.to_string();
    reporter.tell(&Report::Ready { name: file.id.clone(), address })?;
    if mixing.withdraws() {
        driver.call(|peer, _, _| peer.withdraw_mixes())?;
    }
    for (path, block) in blocks {
        driver
            .call(|peer, _, _| peer.provide_mix(&block))?
            .with_context(|| format!("cannot take the block {}", path.display()))?;
    }
    Ok(Running::new(driver, lock, file.peer_id, outlet, mixing, reporter))
}

/// The machine as it is stored, for `skex status`. It must not be driven.
pub(crate) fn stored(directory: &Path, file: &PeerFile) -> Result<Peer> {
    let contents = SlotContents::read(&directory.join(SLOTS))?;
    let mut entropy = Entropy::open()?;
    Peer::restore(&config(file), contents.slots(0), Clock::start().now(), &mut entropy)
        .context("the stored state of this end cannot be used")
}
