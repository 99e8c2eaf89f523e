//! Programs that take keys: one trait over all of them, and an adapter each.
//!
//! An adapter does to its consumer what a rotation orders (docs/draft-skex-integration.md, "Rotation"), and looks at what
//! the consumer really holds and uses. It keeps nothing that a restart would lose: what it needs to know it reads from the
//! consumer, or it is in the [`Material`] that the feed keeps.
//!
//! Keys go to a consumer through a pipe, a socket or a private file: never in arguments, never in an error, never in a log.

mod bird;
mod hexadecimal;
mod macsec;
mod mka;
mod program;
mod psk_file;
mod strongswan;
mod tcp_ao;
mod wireguard;

use core::fmt;
use core::time::Duration;
use std::path::Path;

use anyhow::Result;
use skex_core::SecretVec;
use skex_core::export::Exporter;

/// What one generation is for one consumer: its public name, and the octets that the consumer takes.
///
/// Both are the adapter's own: where a consumer takes two keys, they stand one behind the other.
#[derive(Debug)]
pub(crate) struct Material {
    /// ASCII; for logs, and for consumers that name keys.
    pub(crate) name: String,
    pub(crate) secret: SecretVec,
}

/// A generation and what it is for the consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) generation: u64,
    pub(crate) material: &'a Material,
}

/// What a consumer was seen to hold, of the generations that were asked about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    /// Accepted for receiving.
    pub(crate) generations: Vec<u64>,
    /// Transmitted with.
    pub(crate) transmitting: Option<u64>,
}

/// How a consumer is to be rotated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Whether a key that the consumer lost may be given to it again. Never where it counts packets from 1 on.
    pub(crate) reinstall: bool,
    /// How long an old key stays after both ends have moved on.
    pub(crate) grace: Duration,
}

impl Default for Habits {
    fn default() -> Self {
        Self { reinstall: true, grace: Duration::from_secs(10) }
    }
}

/// Why a consumer did not do it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is not there, or gives no sense: it may have died. It is asked again what it holds until it answers.
    Away(String),
    /// It is there, and does not take this. An installation is given up, and another key made; everything else is tried
    /// again.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) => write!(f, "the consumer is away: {why}"),
            Self::Refused(why) => write!(f, "the consumer refuses: {why}"),
        }
    }
}

/// A program, or a kernel, that takes keys. Each call may be repeated, and a repetition does no harm.
pub(crate) trait Consumer {
    /// For logs.
    fn name(&self) -> String;

    /// What two directories must not feed at once, by a name that this machine has for nothing else. `None`: the adapter holds
    /// something that there is once, and none of it can be opened twice.
    fn target(&self) -> Option<String>;

    fn habits(&self) -> Habits {
        Habits::default()
    }

    /// What a generation is for this consumer. Called once for each generation; both ends get the same names and fitting keys.
    fn derive(&self, exporter: &mut Exporter, generation: u64) -> Result<Material>;

    /// Accept this generation for receiving, beside the others.
    fn install(&mut self, key: Known<'_>) -> Result<(), Failure>;

    /// Transmit with this generation, which is installed at both ends.
    fn switch_transmit(&mut self, key: Known<'_>) -> Result<(), Failure>;

    /// Whether the consumer is seen to work with this generation: the peer used it too, or traffic went under it.
    fn confirm(&mut self, key: Known<'_>) -> Result<bool, Failure>;

    /// Forget this generation. One that the consumer does not have is forgotten already.
    fn retire(&mut self, key: Known<'_>) -> Result<(), Failure>;

    /// What the consumer holds of `known`, in truth and not as it was told: asked after a start, after it was away, and from
    /// time to time.
    fn holding(&mut self, known: &[Known<'_>]) -> Result<Holding, Failure>;
}

/// An interface by its name: each network namespace has its own.
fn interface_target(kind: &str, interface: &str, peer: &str) -> String {
    let network = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    format!("{kind} {} {interface} {peer}", network.display())
}

/// A file or a socket: one, whichever way leads to it.
fn path_target(kind: &str, path: &Path, part: &str) -> String {
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
    let path = path.file_name().map_or_else(|| parent.clone(), |name| parent.join(name));
    format!("{kind} {} {part}", path.display())
}

/// Which consumer, and how to reach it.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Choice {
    Wireguard(wireguard::Arguments),
    PskFile(psk_file::Arguments),
    #[command(name = "strongswan")]
    StrongSwan(strongswan::Arguments),
    TcpAo(tcp_ao::Arguments),
    Bird(bird::Arguments),
    Macsec(macsec::Arguments),
    Mka(mka::Arguments),
}

impl Choice {
    /// The adapter. What can be refused before anything starts is.
    pub(crate) fn open(&self) -> Result<Box<dyn Consumer>> {
        Ok(match self {
            Self::Wireguard(arguments) => Box::new(wireguard::Wireguard::open(arguments)?),
            Self::PskFile(arguments) => Box::new(psk_file::PskFile::open(arguments)?),
            Self::StrongSwan(arguments) => Box::new(strongswan::StrongSwan::open(arguments)?),
            Self::TcpAo(arguments) => Box::new(tcp_ao::TcpAo::open(arguments)?),
            Self::Bird(arguments) => Box::new(bird::Bird::open(arguments)?),
            Self::Macsec(arguments) => Box::new(macsec::Macsec::open(arguments)?),
            Self::Mka(arguments) => Box::new(mka::Mka::open(arguments)?),
        })
    }
}
