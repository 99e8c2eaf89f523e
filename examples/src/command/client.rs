//! `skex client`: keys through hubs.

mod asking;
mod feeding;
mod roster;
pub(crate) mod running;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use skex_core::Assurance;
use skex_core::machine::PeerHandle;
use skex_dske::{Client, ClientConfig, ClientLimits, HubLink, KeyRequest, Release, ResponderPolicy, Table};
use skex_wire::dske::Direction;

use crate::clock::Clock;
use crate::command::hub::LOG;
use crate::command::provision::take_in;
use crate::command::retire::{self, Which};
use crate::config::{ClientFile, ClientHubFile, SuiteName, load, replace};
use crate::control::Orders;
use crate::driver::{Driver, Paths, bind, resolve};
use crate::entropy::Entropy;
use crate::feed::Feed;
use crate::keys::KeyOutlet;
use crate::provisioning::{Enrolment, enrolment, tables};
use crate::report::{Report, Reporter};
use crate::store::{DirectoryLock, FilePad, Log, LogContents, TablesIn, check_begun};
use asking::Question;
use feeding::Feeding;
use running::{Home, Names, Running};

/// Make keys with other clients through hubs, or await them; ask hubs who somebody is, and tell them what to accept.
///
/// A key goes to a file that --out or --out-dir names, readable by you alone; the terminal sees a fingerprint of it, the
/// same at both ends.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  skex client --dir net/alice get bob --threshold 3 --out key-with-bob\n  skex client --dir net/bob wait --count 1 --out-dir keys\n  skex client --dir net/alice lookup carol --remember\n  skex client --dir net/alice get carol --agree --out key-with-carol"
)]
pub(crate) struct Arguments {
    /// The client's directory, from `skex provision`.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Listen here, instead of where skex.json says.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Reach a hub here, instead of where skex.json says; may be given for each hub.
    #[arg(long, value_name = "HUB=HOST:PORT")]
    hub_address: Vec<String>,
    #[command(subcommand)]
    action: Action,
}

/// Of a key, where nothing else is said.
pub(crate) const THRESHOLD: u8 = 3;

#[derive(clap::Subcommand)]
enum Action {
    /// Make a key with another client.
    Get {
        /// The other client's name.
        peer: String,
        /// How many hubs must deliver, and how many would have to work together to know the key.
        #[arg(long, short = 'k', default_value_t = THRESHOLD)]
        threshold: u8,
        /// Octets of the key, 16 to 32768.
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(16..=32768))]
        key_len: u32,
        /// How the key's shares are protected. All but one-time spend next to nothing of the tables, and make a computational
        /// key.
        #[arg(long, value_enum, default_value_t = SuiteName::OneTime)]
        suite: SuiteName,
        /// Look the peer up first, and make the key as both ends accept it: through the hubs that both have, of a threshold that is
        /// more than half of them and at least yours and the peer's. The peer has to have said `publish`.
        #[arg(long)]
        agree: bool,
        /// No key rather than one that only the strength of ciphers protects.
        #[arg(long)]
        information_theoretic: bool,
        /// When you get the key: once as many hubs as the threshold have their shares, or once the peer confirms it.
        #[arg(long, value_enum, default_value_t = ReleaseName::Confirm)]
        release: ReleaseName,
        /// Write the key to this new file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Seconds after which to give up.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
        timeout: u16,
    },
    /// Await keys that other clients make with this one.
    Wait {
        /// Stop after so many keys.
        #[arg(long)]
        count: Option<u32>,
        /// Write each key to a new file in this directory.
        #[arg(long, value_name = "DIR")]
        out_dir: Option<PathBuf>,
        /// Seconds after which to give up.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        timeout: Option<u32>,
    },
    /// Feed a consumer, key after key: WireGuard and others take what both ends make.
    ///
    /// Run it at both ends. Each key is installed at both before either transmits with it, and the old one goes when both have
    /// left it. Keys of other clients wait for `skex client wait`.
    #[command(
        after_help = "Example, at the end that asks for keys:\n  skex client --dir alice feed bob --link-bind 0.0.0.0:4501 \\\n      --link-peer bob.example.net:4501 --every 3600 wireguard --interface wg0 --public-key KEY"
    )]
    Feed {
        /// The other client's name.
        peer: String,
        /// How many hubs must deliver, and how many would have to work together to know a key.
        #[arg(long, short = 'k', default_value_t = THRESHOLD)]
        threshold: u8,
        /// How a key's shares are protected. A consumer's key is computational, whatever its shares were.
        #[arg(long, value_enum, default_value_t = SuiteName::OneTime)]
        suite: SuiteName,
        #[command(flatten)]
        feed: crate::feed::Arguments,
    },
    #[command(flatten)]
    Ask(Question),
    /// Take a table of the link with a hub out of service: a copy of it may be in other hands.
    ///
    /// Nothing of it is used any more, and it is erased here. The hub's operator does the same. This cannot be undone.
    Retire {
        /// The hub's name in skex.json.
        hub: String,
        #[command(flatten)]
        which: Which,
    },
    /// Go on without a hub: it takes part in no key any more.
    ///
    /// What is known of its tables is kept, so that `with` brings it back.
    Without {
        /// The hub's name in skex.json.
        hub: String,
        /// Keep nothing: its initial key and its tables are erased here. It comes back by another enrolment alone.
        #[arg(long)]
        forget: bool,
    },
    /// Take a hub in again that this client went on without.
    With {
        /// The hub's name in skex.json.
        hub: String,
    },
    /// Take orders from the standard input and report in JSON.
    #[command(hide = true)]
    Steered {
        #[arg(long)]
        out_dir: Option<PathBuf>,
        /// Turn a bit of each key, as a broken device might.
        #[arg(long)]
        corrupt: bool,
    },
}

/// When the initiator gets its key.
#[derive(Clone, Copy, clap::ValueEnum)]
enum ReleaseName {
    /// As many hubs as the threshold have their shares.
    Threshold,
    /// The peer confirms.
    Confirm,
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let Arguments { dir, listen, hub_address, action } = arguments;
    let mut file: ClientFile = load(&dir)?;
    replace_addresses(&mut file.hubs, &hub_address)?;
    // Whatever can be refused is refused before the machine starts, and so before anything is spent.
    let outlet = match &action {
        Action::Get { peer, threshold, out, .. } => {
            check_request(&file, peer, *threshold)?;
            KeyOutlet { file: out.clone(), ..KeyOutlet::default() }
        }
        Action::Wait { out_dir, .. } => KeyOutlet { directory: out_dir.clone(), ..KeyOutlet::default() },
        Action::Feed { peer, threshold, .. } => {
            check_request(&file, peer, *threshold)?;
            KeyOutlet { directory: Some(crate::feed::inbox(&dir)), confirmed: true, ..KeyOutlet::default() }
        }
        Action::Ask(question) => {
            question.check(&file)?;
            KeyOutlet::default()
        }
        Action::Retire { hub, which } => {
            if !file.hubs.iter().any(|known| known.name == *hub) {
                bail!("{} has no hub {hub}", file.name);
            }
            return retire::order(&dir, hub, which, |_| take_orders(&dir));
        }
        Action::Without { hub, forget } => return roster::leave(&dir, hub, *forget),
        Action::With { hub } => return roster::take_back(&dir, hub),
        Action::Steered { out_dir, corrupt } => {
            KeyOutlet { directory: out_dir.clone(), corrupt: *corrupt, ..KeyOutlet::default() }
        }
    };
    outlet.check()?;
    let _lock = DirectoryLock::acquire(&dir)?;
    let steered = match &action {
        Action::Feed { feed, .. } => feed.steered,
        Action::Steered { .. } => true,
        _ => false,
    };
    let (name, reporter) = (file.name.clone(), Reporter::new(steered));
    let mut limits = ClientLimits::default();
    match &action {
        Action::Ask(question) => limits.commands = question.timeout(),
        Action::Get { agree: true, .. } => limits.commands = asking::AGREEMENT,
        _ => {}
    }
    let demands = (ResponderPolicy::default(), limits);
    let mut client = start(&dir, file, listen.as_deref(), demands, outlet, reporter)?;
    match action {
        Action::Get {
            peer,
            threshold,
            key_len,
            suite,
            release,
            timeout,
            agree,
            information_theoretic,
            ..
        } => {
            let mut request = KeyRequest::new(threshold);
            request.suite = suite.suite();
            request.key_len = key_len;
            request.lifetime = timeout;
            request.release = match release {
                ReleaseName::Threshold => Release::AtThreshold,
                ReleaseName::Confirm => Release::AtConfirmation,
            };
            if information_theoretic {
                request.minimum_assurance = Assurance::InformationTheoretic;
            }
            if agree {
                request = client.agree(&peer, request)?;
            }
            client.get(&peer, request)
        }
        Action::Wait { count, timeout, .. } => {
            client.wait(count, timeout.map(|seconds| Duration::from_secs(seconds.into())))
        }
        Action::Feed { peer, threshold, suite, feed } => {
            let mut request = KeyRequest::new(threshold);
            request.suite = suite.suite();
            request.release = Release::AtConfirmation;
            // A peer that is away gets the next one.
            request.lifetime = 30;
            let end = feeding::end(&name, &peer);
            let mut feeding = Feeding::new(client, &peer, request)?;
            Feed::open(&feed, &dir, end, reporter)?.run(&mut feeding)
        }
        Action::Ask(question) => client.ask_hubs(&question, &dir),
        // Done before anything was started.
        Action::Retire { .. } | Action::Without { .. } | Action::With { .. } => Ok(()),
        Action::Steered { .. } => client.steered(Orders::from_stdin()),
    }
}

pub(crate) fn replace_addresses(hubs: &mut [ClientHubFile], replacements: &[String]) -> Result<()> {
    for replacement in replacements {
        let (name, address) = replacement
            .split_once('=')
            .with_context(|| format!("{replacement}: write HUB=HOST:PORT, like hub-1=127.0.0.1:47100"))?;
        let hub = hubs.iter_mut().find(|hub| hub.name == name);
        hub.with_context(|| format!("there is no hub {name} in skex.json"))?.address = address.to_owned();
    }
    Ok(())
}

pub(crate) fn check_request(file: &ClientFile, peer: &str, threshold: u8) -> Result<()> {
    if !file.peers.iter().any(|known| known.name == peer) {
        let known: Vec<&str> = file.peers.iter().map(|known| known.name.as_str()).collect();
        bail!(
            "unknown peer {peer}: {} knows {}; `skex client lookup {peer} --remember` asks the hubs for others",
            file.name,
            known.join(", ")
        );
    }
    if threshold < 2 || usize::from(threshold) > file.hubs.len() {
        bail!(
            "the threshold {threshold} does not fit: {} has {} hubs; choose --threshold 2 to {}",
            file.name,
            file.hubs.len(),
            file.hubs.len()
        );
    }
    Ok(())
}

pub(crate) fn start(
    directory: &Path,
    file: ClientFile,
    listen: Option<&str>,
    (policy, limits): (ResponderPolicy, ClientLimits),
    outlet: KeyOutlet,
    reporter: Reporter,
) -> Result<Running> {
    let addresses = file.hubs.iter().map(address).collect();
    let names = Names::of(&file);
    let socket = bind(listen.unwrap_or(&file.listen))?;
    let name = file.name.clone();
    let links = file.links()?;
    take_in(directory, &links, &BTreeSet::new(), reporter)?;
    let config = config(directory, &file, true)?.with_limits(limits);
    let config = config.with_policy(policy).context("what this client demands of keys cannot be had")?;
    let driver = drive(directory, file.started, config, socket, Paths::new(addresses))?;
    let address = driver.local_address()?.to_string();
    reporter.tell(&Report::Ready { name, address })?;
    let home = Home { directory: directory.to_owned(), links };
    let mut client = Running::new(driver, names, outlet, reporter, home);
    client.take_orders()?;
    Ok(client)
}

/// Carries out the orders that lie in the directory of a client that does not run, whose lock the caller holds. Nothing leaves
/// meanwhile.
pub(crate) fn take_orders(directory: &Path) -> Result<()> {
    let file: ClientFile = load(directory)?;
    let links = file.links()?;
    let nowhere = Paths::new(links.iter().map(|_| None).collect());
    let config = config(directory, &file, true)?;
    let driver = drive(directory, file.started, config, bind("127.0.0.1:0")?, nowhere)?;
    let home = Home { directory: directory.to_owned(), links };
    let mut client = Running::new(driver, Names::of(&file), KeyOutlet::default(), Reporter::new(false), home);
    client.take_orders()?;
    // What the log held goes with the old log.
    client.driver.call(|client, _, _| client.compact())
}

/// The machine, from its log, and what drives it.
fn drive(
    directory: &Path,
    has_started: bool,
    config: ClientConfig<FilePad>,
    socket: UdpSocket,
    paths: Paths,
) -> Result<Driver<Client<FilePad>>> {
    let place = directory.join(LOG);
    let contents = LogContents::read(&place)?;
    check_begun(directory, has_started, [(LOG, &contents)])?;
    let (clock, mut entropy) = (Clock::start(), Entropy::open()?);
    let client = Client::restore(config, contents.records(), clock.now(), &mut entropy)
        .context("the stored state of this client cannot be used")?;
    let log = Log::behind(&place, &contents)?;
    drop(contents);
    let driver = Driver::start(client, log, socket, paths, clock, entropy)?.gathering();
    // The log has a record. What was sent meanwhile used nothing.
    if !has_started {
        replace(directory, &ClientFile { started: true, ..load(directory)? })?;
    }
    Ok(driver)
}

/// Where a hub is. One that cannot be looked up now is as good as one that is down: the others may be enough.
fn address(hub: &ClientHubFile) -> Option<SocketAddr> {
    let address = resolve(&hub.address);
    if let Err(error) = &address {
        eprintln!("skex: going on without {}: {error}", hub.name);
    }
    address.ok()
}

/// What the machine is made of. Also for `skex status`, with tables that cannot be written.
pub(crate) fn config(directory: &Path, file: &ClientFile, writable: bool) -> Result<ClientConfig<FilePad>> {
    let (mut links, mut further) = (Vec::new(), Vec::new());
    let there = TablesIn::directory(directory)?;
    for (handle, (name, known)) in (0_u32..).zip(file.links()?) {
        let Enrolment { link, initial_key } = enrolment(directory, &name, &known)?;
        let mut table = |direction| -> Result<Table<FilePad>> {
            let (first, others) = tables(directory, &there, &name, &link, direction, writable)?;
            further.extend(others.into_iter().map(|table| (link.hub, direction, table)));
            Ok(first)
        };
        links.push(HubLink {
            hub: link.hub,
            coordinate: link.coordinate,
            handle: PeerHandle::new(handle),
            client: link.client,
            suite: link.suite,
            initial_key,
            uplink: table(Direction::UPLINK)?,
            downlink: table(Direction::DOWNLINK)?,
        });
    }
    let peers = file.peers.iter().map(|peer| peer.tag.client()).collect();
    let config = ClientConfig::new(file.tag.client(), links, peers);
    let mut config = config.context("skex.json of this client cannot be used")?;
    for hub in &file.without {
        let id = hub.id.hub();
        config = if hub.forgotten { config.forget_hub(id) } else { config.without_hub(id) }.with_context(
            || format!("{} is among the hubs of this client, and among those it does without", hub.name),
        )?;
    }
    for (hub, direction, table) in further {
        config = config.with_table(hub, direction, table).context("a table of this client cannot be used")?;
    }
    Ok(config)
}
