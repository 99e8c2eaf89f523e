//! `skex provision`: the directories of hubs and clients, with their tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rand_core::Rng as _;
use skex_core::SecretBytes;
use skex_dske::{ClientId, ELEMENT_LEN, LinkIdentity, Origin, Provision, TablePart};
use skex_wire::SuiteId;
use skex_wire::dske::Direction;

use crate::command::{client, hub};
use crate::config::{
    Accepts, ClientFile, ClientHubFile, Everyone, HubClientFile, HubFile, Id, PeerName, Role, coordinate,
    load, role_of, save_unsynced,
};
use crate::entropy::Entropy;
use crate::provisioning::{
    End, Imported, Links, await_order, cut, enrolment, import, is_for, is_taken_in, lay, make, new_key_order,
    next_number, read_key, waiting,
};
use crate::report::Reporter;
use crate::store::atomic::{
    check_private, create_private, create_private_directory, parent, replace_private, sync_directory,
    sync_file_system,
};
use crate::store::{DirectoryLock, erase};

/// Make the directories of hubs and clients, with their tables of random octets.
///
/// OUT/hub-1 and so on, and OUT/NAME for each client. Carry each to its machine over a way that you trust, then erase it
/// here: whoever sees the tables of as many hubs as the threshold knows the keys. Names and addresses in each skex.json
/// may be edited.
///
/// Both ends of a link get their keys and tables by the same provisioning file. Later ones bring more tables.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  skex provision --out net --hubs 3 --clients alice,bob --hub-address h1.example.net:4101 \\\n      --hub-address h2.example.net:4101 --hub-address h3.example.net:4101"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    /// Directory to make; it must not exist yet, or be empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// How many hubs, 2 to 31.
    #[arg(long, default_value_t = 5)]
    pub(crate) hubs: u8,
    /// Names of the clients.
    #[arg(long, value_delimiter = ',', default_value = "alice,bob", value_name = "NAME,NAME")]
    pub(crate) clients: Vec<String>,
    /// Names of very many clients, one a line in this file, instead of --clients. Their skex.json do not name all the others: two that
    /// want keys look each other up first (`skex client lookup --remember`), and hubs let every client ask for keys with every other.
    #[arg(long, value_name = "FILE", conflicts_with = "clients")]
    pub(crate) clients_from: Option<PathBuf>,
    /// Octets of each table; a 256-bit key spends 176 of each, and each start of a process some more.
    #[arg(long, default_value = "1MiB", value_parser = parse_size, value_name = "SIZE")]
    pub(crate) table_size: u64,
    /// The hubs listen on this machine, on this port and those that follow.
    #[arg(long, default_value_t = 47100, value_name = "PORT")]
    pub(crate) base_port: u16,
    /// Leave the clients' provisioning files as they are, to be carried alone or cut into portions; each client takes its files
    /// in when it starts.
    #[arg(long)]
    pub(crate) files: bool,
    /// Where clients reach a hub; once for each hub, in order, instead of --base-port.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "base_port")]
    pub(crate) hub_address: Vec<String>,
}

/// What to do with provisioning files, once there is a network.
#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Make more tables for a client of a hub, at the hub.
    ///
    /// The hub takes its side of them at once, or when it starts; the client when its file lies in its directory and it starts.
    Add {
        /// The hub's directory.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The client's name there.
        #[arg(long)]
        client: String,
        /// Octets of each of the two tables.
        #[arg(long, default_value = "1MiB", value_parser = parse_size, value_name = "SIZE")]
        table_size: u64,
        /// The provisioning file to make for the client. Carry it over a way that you trust.
        #[arg(long, value_name = "FILE", required_unless_present = "over_network")]
        out: Option<PathBuf>,
        /// Instead of a file: the hub sends the tables, 1MiB each at most, under its envelope. Keys that they carry are no stronger
        /// than that cipher, for good, and say so.
        #[arg(long, conflicts_with = "out")]
        over_network: bool,
    },
    /// Cut the next portion from a provisioning file, for a client that gets its tables bit by bit.
    ///
    /// What was handed out is overwritten in the file, noted in FILE.handed, and never handed out again.
    Portion {
        /// The provisioning file.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Octets of each table that the portion holds, in steps of 64KiB.
        #[arg(long, default_value = "64KiB", value_parser = parse_size, value_name = "SIZE")]
        size: u64,
        /// The portion to make, a provisioning file of its own.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Give a link another initial key, from outside: first at one of its ends, then at the other.
    ///
    /// The first end makes it and writes it to a file; carry that to the other over a way that nobody else sees, or give both a key
    /// that they made with each other. Until each end has proven that it has the key, the one of before stays in force. Both
    /// may be running, or not.
    Key {
        /// The directory of a hub or a client.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The client's name at the hub, or the hub's at the client.
        #[arg(long, value_name = "NAME")]
        link: String,
        /// Make a key, and write it to this file for the other end.
        #[arg(long, value_name = "FILE", required_unless_present = "from")]
        out: Option<PathBuf>,
        /// Take the key from this file of 32 octets, and erase that.
        #[arg(long, value_name = "FILE", conflicts_with = "out")]
        from: Option<PathBuf>,
    },
    /// Take provisioning files into the directory of a hub or a client, and erase them.
    ///
    /// Files named *.provision that lie in the directory are taken in at every start, too.
    Import {
        /// The directory.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The files; without any, those that lie in the directory.
        files: Vec<PathBuf>,
    },
}

/// Room for a lease with one key of 256 bits.
const SHORTEST_TABLE: u64 = 256;

/// An element has 16 octets.
const ELEMENT_BITS: u32 = ELEMENT_LEN.ilog2();

pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        _ => return Err("write a number of octets, or of KiB, MiB or GiB, like 1MiB".to_owned()),
    };
    let octets = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match octets {
        Some(octets) if (SHORTEST_TABLE..=64 << 30).contains(&octets) => Ok(octets),
        _ => Err(format!("a table has {SHORTEST_TABLE} octets to 64GiB")),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.action {
        None => run_provision(arguments),
        Some(Action::Add { dir, client, table_size, out, .. }) => {
            add(dir, client, *table_size, out.as_deref())
        }
        Some(Action::Portion { from, size, out }) => {
            let portion = cut(from, elements(*size), out)?;
            println!(
                "made {} with the octets {} to {} of each table",
                out.display(),
                octets(portion.from),
                octets(portion.to)
            );
            if portion.last {
                println!("nothing is left in {}: erase it", from.display());
            }
            Ok(())
        }
        Some(Action::Key { dir, link, out, from }) => replace_key(dir, link, out.as_deref(), from.as_deref()),
        Some(Action::Import { dir, files }) => {
            let links = links(dir)?;
            let _lock = DirectoryLock::acquire(dir)?;
            let files = if files.is_empty() { waiting(dir)? } else { files.clone() };
            if files.is_empty() {
                bail!("no provisioning file lies in {}", dir.display());
            }
            for file in files {
                println!("{}", told(&import(dir, &links, &file)?));
            }
            Ok(())
        }
    }
}

/// Another initial key for a link. The order lies in the directory, with the key, until the machine has it durably.
fn replace_key(directory: &Path, link: &str, out: Option<&Path>, from: Option<&Path>) -> Result<()> {
    let known = links(directory)?;
    if !known.iter().any(|(name, _)| name == link) {
        let known: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        bail!("{} has no link with {link}: it has {}", directory.display(), known.join(", "));
    }
    let key = match (out, from) {
        (Some(out), _) => {
            let key = SecretBytes::<32>::generate(&mut Entropy::open()?);
            create_private(out, key.expose())?;
            key
        }
        (None, Some(from)) => read_key(from)?,
        (None, None) => bail!("make a key with --out, or take one with --from"),
    };
    let order = new_key_order(directory, link);
    replace_private(&order, key.expose())?;
    let is_hub = role_of(directory)? == Role::Hub;
    await_order(directory, &order, |_| {
        if is_hub { hub::take_new_keys(directory) } else { client::take_orders(directory) }
    })?;
    if let Some(from) = from {
        erase(from)?;
    }
    println!("the link with {link} has another initial key here: in force once the other end has proven it");
    if let Some(out) = out {
        println!(
            "  carry {} to the other end, over a way that nobody else sees, and there: skex provision key --from",
            out.display()
        );
    }
    Ok(())
}

fn links(directory: &Path) -> Result<Links> {
    match role_of(directory)? {
        Role::Hub => load::<HubFile>(directory)?.links(),
        Role::Client => load::<ClientFile>(directory)?.links(),
        Role::Peer => bail!("{} is the directory of a peer, which has no tables", directory.display()),
    }
}

fn told(imported: &Imported) -> String {
    let Imported { link, enrolled, tables, extended } = imported;
    let enrolled = if *enrolled { "enrolled, " } else { "" };
    format!("{link}: {enrolled}{} new tables, more of {extended}", tables.len())
}

/// Takes in what lies in a directory, whose lock the caller holds. What is for a link that is about to end stays, and goes with it: perhaps
/// nobody can read it any more.
pub(crate) fn take_in(
    directory: &Path,
    links: &Links,
    leaving: &BTreeSet<String>,
    reporter: Reporter,
) -> Result<()> {
    let ending = links.iter().filter(|(name, _)| leaving.contains(name)).map(|(_, known)| known);
    for path in waiting(directory)? {
        if ending.clone().any(|known| is_for(&path, known)) {
            continue;
        }
        reporter.note(told(&import(directory, links, &path)?))?;
    }
    Ok(())
}

/// More tables for a client: out of band by the file `out`, or over the network.
fn add(directory: &Path, name: &str, table_size: u64, out: Option<&Path>) -> Result<()> {
    let file: HubFile = load(directory)?;
    let links = file.links()?;
    let known = links.iter().find(|(link, _)| link == name);
    let (_, known) = known.with_context(|| format!("{name} is no client of {}", file.name))?;
    match out {
        Some(out) => check_private(out)?,
        None if table_size > 1 << 20 => bail!("a table that is sent over the network has 1MiB at most"),
        None => {}
    }
    let mut entropy = Entropy::open()?;
    let own = enrolment(directory, name, known)?;
    // Behind those that wait to be taken in.
    let number = next_number(directory, name)?;
    let here = directory.join(format!("{name}.{number}.provision"));
    let elements = elements(table_size);
    let origin = if out.is_some() { Origin::OutOfBand } else { Origin::Refill };
    let provision = Provision::new(own.link, None, both_tables(number, origin, elements))?;
    if here.exists() {
        bail!("{} waits to be taken in: start the hub, or import it, first", here.display());
    }
    make(&provision, &own.initial_key, &here, out, &mut entropy)?.take_names()?;
    println!("made table {number} in both directions, {table_size} octets each");
    match out {
        Some(out) => carry(out, name),
        None => println!("  the hub sends them to {name} while both run"),
    }
    Ok(())
}

/// Says how the provisioning file `out` gets to its client: a start takes in what has the ending, and nothing else.
pub(crate) fn carry(out: &Path, name: &str) {
    let renamed = if is_taken_in(out) { "" } else { ", under a name that ends in .provision" };
    println!("  carry {} into the directory of {name}, over a way that you trust{renamed}", out.display());
    println!("  it is taken in at the next start there, or at once by `skex provision import`");
}

/// Elements of a table of so many octets.
pub(crate) fn elements(octets: u64) -> u32 {
    u32::try_from(octets >> ELEMENT_BITS).unwrap_or(u32::MAX)
}

fn octets(elements: u32) -> u64 {
    u64::from(elements) << ELEMENT_BITS
}

pub(crate) fn both_tables(number: u16, origin: Origin, elements: u32) -> Vec<TablePart> {
    let table = |direction| TablePart::whole(direction, number, origin, elements);
    [Direction::UPLINK, Direction::DOWNLINK].map(table).to_vec()
}

fn run_provision(arguments: &Arguments) -> Result<()> {
    let names = provision(arguments)?;
    let out = out(arguments)?.display();
    let hubs = usize::from(arguments.hubs);
    let links = hubs.saturating_mul(names.len()) as u64;
    match names.as_slice() {
        few @ ([] | [_] | [_, _] | [_, _, _]) => {
            println!("made {out} with {hubs} hubs and the clients {}", few.join(", "));
        }
        many => println!("made {out} with {hubs} hubs and {} clients", many.len()),
    }
    println!(
        "  {links} links with two tables of {} octets each, {} octets at either end",
        arguments.table_size,
        arguments.table_size.saturating_mul(links).saturating_mul(2)
    );
    println!("next:");
    println!("  carry each directory to its machine, over a way that you trust, and erase it here");
    println!("  start each hub:    skex hub --dir {out}/hub-1");
    if let [first, second, ..] = names.as_slice() {
        if arguments.clients_from.is_some() {
            println!("  two get to know:   skex client --dir {out}/{first} lookup {second} --remember");
            println!("    each other       skex client --dir {out}/{second} lookup {first} --remember");
        }
        println!("  await keys:        skex client --dir {out}/{second} wait");
        let threshold = if hubs < usize::from(client::THRESHOLD) { " --threshold 2" } else { "" };
        println!("  make a key:        skex client --dir {out}/{first} get {second}{threshold}");
    }
    Ok(())
}

/// Everything or nothing: the directory takes its name when it is whole. Gives the names of the clients.
pub(crate) fn provision(arguments: &Arguments) -> Result<Vec<String>> {
    let names = names(arguments)?;
    check(arguments, &names)?;
    let mut entropy = Entropy::open()?;
    let out = out(arguments)?;
    let name = out.file_name().context("name a directory to make, like --out net")?.to_string_lossy();
    let partial = parent(out).join(format!(".{name}.{}.partial", std::process::id()));
    create_private_directory(parent(out))?;
    let made = fill(&partial, arguments, &names, &mut entropy).and_then(|()| {
        fs::rename(&partial, out).with_context(|| format!("cannot give {} its name", out.display()))
    });
    if made.is_err() {
        // Nothing of it was used; what cannot be removed stays under its partial name.
        let _ = fs::remove_dir_all(&partial);
    }
    made?;
    sync_directory(parent(out))?;
    Ok(names)
}

/// The names of the clients.
fn names(arguments: &Arguments) -> Result<Vec<String>> {
    let Some(path) = &arguments.clients_from else { return Ok(arguments.clients.clone()) };
    let lines = fs::read_to_string(path)
        .with_context(|| format!("cannot read the names of clients from {}", path.display()))?;
    Ok(lines.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn out(arguments: &Arguments) -> Result<&PathBuf> {
    arguments.out.as_ref().context("name a directory to make, like --out net")
}

fn check(arguments: &Arguments, names: &[String]) -> Result<()> {
    let out = out(arguments)?;
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) || out.is_file() {
        bail!("{} exists already and is not overwritten: name another directory", out.display());
    }
    if arguments.hubs < 2 || arguments.hubs > skex_wire::dske::MAX_HUBS {
        bail!("there must be 2 to {} hubs", skex_wire::dske::MAX_HUBS);
    }
    if !arguments.hub_address.is_empty() && arguments.hub_address.len() != usize::from(arguments.hubs) {
        bail!("give --hub-address once for each of the {} hubs", arguments.hubs);
    }
    let mut addresses = BTreeSet::new();
    for address in &arguments.hub_address {
        port_of(address)?;
        if !addresses.insert(address) {
            bail!("two hubs cannot have the address {address}: give each hub its own");
        }
    }
    if u16::from(arguments.hubs).checked_add(arguments.base_port).is_none() {
        bail!("there are not enough ports from {} on: choose a lower --base-port", arguments.base_port);
    }
    let mut taken: BTreeSet<String> = (1..=skex_wire::dske::MAX_HUBS).map(hub_name).collect();
    for name in names {
        check_name(name)?;
        if !taken.insert(name.clone()) {
            bail!("the name {name} is taken: give each client a name of its own");
        }
    }
    if names.len() < 2 {
        bail!("there must be two clients at least, like --clients alice,bob");
    }
    Ok(())
}

/// A client's name is also that of files.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) || name.starts_with('.') {
        bail!("a client's name has 1 to 64 letters, digits, dashes, underscores or dots: not {name:?}");
    }
    Ok(())
}

fn hub_name(hub: u8) -> String {
    format!("hub-{hub}")
}

fn port_of(address: &str) -> Result<u16> {
    address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .with_context(|| format!("{address} is no address: write HOST:PORT"))
}

/// Where hub `number` (from 1 on) listens, and where clients reach it.
fn addresses(arguments: &Arguments, number: u8) -> Result<(String, String)> {
    match arguments.hub_address.get(usize::from(number).saturating_sub(1)) {
        Some(address) => Ok((format!("0.0.0.0:{}", port_of(address)?), address.clone())),
        None => {
            let port = arguments.base_port.saturating_add(u16::from(number)).saturating_sub(1);
            let address = format!("127.0.0.1:{port}");
            Ok((address.clone(), address))
        }
    }
}

fn random_id(entropy: &mut Entropy) -> Id {
    let mut octets = [0; 16];
    entropy.fill_bytes(&mut octets);
    Id(octets)
}

/// Durable when this returns.
fn fill(out: &Path, arguments: &Arguments, names: &[String], entropy: &mut Entropy) -> Result<()> {
    let elements = elements(arguments.table_size);
    let tags: Vec<Id> = names.iter().map(|_| random_id(entropy)).collect();
    let everyone = || names.iter().zip(&tags);
    let others = |own: Id| everyone().filter(move |(_, tag)| **tag != own);
    // Of very many clients, no file names all for each.
    let know_each_other = arguments.clients_from.is_none();

    let mut clients = Vec::with_capacity(names.len());
    for (name, &tag) in everyone() {
        create_private_directory(&out.join(name))?;
        let peer = |(name, tag): (&String, &Id)| PeerName { name: name.clone(), tag: *tag };
        clients.push(ClientFile {
            name: name.clone(),
            tag,
            listen: "0.0.0.0:0".to_owned(),
            peers: others(tag).filter(|_| know_each_other).map(peer).collect(),
            hubs: Vec::new(),
            without: Vec::new(),
            started: false,
        });
    }
    for number in 1..=arguments.hubs {
        let (name, id) = (hub_name(number), random_id(entropy));
        let (listen, address) = addresses(arguments, number)?;
        let directory = out.join(&name);
        create_private_directory(&directory)?;
        let as_client = |(name, tag): (&String, &Id)| HubClientFile {
            name: name.clone(),
            tag: *tag,
            accepts_keys_from: if know_each_other {
                Accepts::From(others(*tag).map(|(name, _)| name.clone()).collect())
            } else {
                Accepts::Everyone(Everyone::Everyone)
            },
            revoked: false,
        };
        let hub = HubFile {
            shards: None,
            started: false,
            name,
            id,
            coordinate: number,
            listen,
            suites: None,
            clients: everyone().map(as_client).collect(),
        };
        save_unsynced(&directory, &hub)?;
        for (client_number, client) in (0_u32..).zip(&mut clients) {
            let initial_key = SecretBytes::<32>::generate(entropy);
            let link = LinkIdentity {
                hub: id.hub(),
                coordinate: coordinate(number)?,
                tag: client.tag.client(),
                client: ClientId::new(client_number),
                suite: SuiteId::SHA256_AES256GCM,
            };
            let key = SecretBytes::copied_from(initial_key.expose());
            let provision = Provision::new(link, Some(key), both_tables(0, Origin::OutOfBand, elements))?;
            let at_client = out.join(&client.name);
            let file = at_client.join(format!("{}.provision", hub.name));
            let at_client =
                if arguments.files { End::File(&file) } else { End::Directory(&at_client, &hub.name) };
            lay(&provision, &initial_key, &[End::Directory(&directory, &client.name), at_client], entropy)?;
            client.hubs.push(ClientHubFile {
                name: hub.name.clone(),
                id,
                coordinate: number,
                address: address.clone(),
                forgotten: false,
            });
        }
    }
    for client in &clients {
        save_unsynced(&out.join(&client.name), client)?;
    }
    sync_file_system(out)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(parse_size("1MiB"), Ok(1 << 20));
        assert_eq!(parse_size("64KiB"), Ok(65536));
        assert_eq!(parse_size("4096"), Ok(4096));
        for wrong in ["", "MiB", "1 MiB", "1mib", "-1", "12", "99999999999GiB", "65GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
