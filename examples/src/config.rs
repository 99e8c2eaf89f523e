//! What a directory is: `skex.json`. Names, addresses and authorisations may be edited; ids and coordinates are what all
//! agreed on. Keys and tables lie beside it, as provisioning files brought them.

use core::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use skex_dske::{ClientId, ClientTag, Coordinate, HubId, KeySuite};
use zeroize::Zeroizing;

use crate::provisioning::{Known, Links};
use crate::store::atomic::{create_private, replace_private, write_private};
use crate::store::unopened;

const NAME: &str = "skex.json";
const FORMAT: u8 = 2;

/// What a directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// `skex hub`.
    Hub,
    /// `skex client`.
    Client,
    /// `skex peer`.
    Peer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hub => "hub",
            Self::Client => "client",
            Self::Peer => "peer",
        })
    }
}

/// What every `skex.json` begins with.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u8,
    role: Role,
}

/// How the shares of a key are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum SuiteName {
    /// One-time pads and one-time tags: no computing power breaks the key.
    #[serde(rename = "one-time")]
    OneTime,
    /// AES-256-GCM under keys from the tables.
    #[serde(rename = "aes-256-gcm")]
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
    /// ChaCha20-Poly1305 under keys from the tables.
    #[serde(rename = "chacha20-poly1305")]
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

impl SuiteName {
    pub(crate) const fn suite(self) -> KeySuite {
        match self {
            Self::OneTime => KeySuite::OneTime,
            Self::Aes256Gcm => KeySuite::Aes256Gcm,
            Self::ChaCha20Poly1305 => KeySuite::ChaCha20Poly1305,
        }
    }

    /// As options and `skex.json` call a suite.
    pub(crate) fn of(suite: KeySuite) -> String {
        let name = Self::value_variants().iter().find(|name| name.suite() == suite);
        let value = name.and_then(clap::ValueEnum::to_possible_value);
        value.map_or_else(|| format!("{suite:?}"), |value| value.get_name().to_owned())
    }
}

/// A hub's directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HubFile {
    pub(crate) name: String,
    pub(crate) id: Id,
    pub(crate) coordinate: u8,
    pub(crate) listen: String,
    /// What it relays; all, if the file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) suites: Option<Vec<SuiteName>>,
    /// How many shards the hub has, decided at its first start; one, if the file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shards: Option<u16>,
    /// Whether it ever ran: without its log it does not start then.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub(crate) started: bool,
    /// In the order of their numbers.
    pub(crate) clients: Vec<HubClientFile>,
}

/// A client as its hub knows it. By its name others find its tag.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HubClientFile {
    pub(crate) name: String,
    pub(crate) tag: Id,
    /// Who may have keys made with this one.
    pub(crate) accepts_keys_from: Accepts,
    /// Whether it was one once: its number is not given again.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub(crate) revoked: bool,
}

/// Clients that may have keys made with another.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Accepts {
    /// Every client of the hub.
    Everyone(Everyone),
    /// Those of these names.
    From(Vec<String>),
}

/// The word for it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Everyone {
    Everyone,
}

/// A client's directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClientFile {
    pub(crate) name: String,
    pub(crate) tag: Id,
    pub(crate) listen: String,
    pub(crate) peers: Vec<PeerName>,
    pub(crate) hubs: Vec<ClientHubFile>,
    /// Those that it goes on without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) without: Vec<ClientHubFile>,
    /// Whether it ever ran: without its log it does not start then.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub(crate) started: bool,
}

/// Another client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PeerName {
    pub(crate) name: String,
    pub(crate) tag: Id,
}

/// A hub as its client knows it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClientHubFile {
    pub(crate) name: String,
    pub(crate) id: Id,
    pub(crate) coordinate: u8,
    pub(crate) address: String,
    /// Of one that a client goes on without: whether nothing of the link is kept.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub(crate) forgotten: bool,
}

/// One end of an unmediated pair.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PeerFile {
    pub(crate) side: SideName,
    pub(crate) id: String,
    pub(crate) peer_id: String,
}

/// Which end of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SideName {
    /// The end that enrolment calls a.
    A,
    /// The end that enrolment calls b.
    B,
}

/// 16 octets in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Id(#[serde(with = "hex")] pub(crate) [u8; 16]);

impl Id {
    pub(crate) const fn hub(self) -> HubId {
        HubId::new(self.0)
    }

    pub(crate) const fn client(self) -> ClientTag {
        ClientTag::new(self.0)
    }
}

/// A hub's coordinate.
pub(crate) fn coordinate(number: u8) -> Result<Coordinate> {
    Coordinate::new(number).context("a hub's coordinate in skex.json is 1 to 255; bring the file back")
}

impl ClientFile {
    /// The links of the client.
    pub(crate) fn links(&self) -> Result<Links> {
        let known = |hub: &ClientHubFile| -> Result<(String, Known)> {
            let (coordinate, tag) = (coordinate(hub.coordinate)?, self.tag.client());
            Ok((hub.name.clone(), Known { hub: hub.id.hub(), coordinate, tag }))
        };
        self.hubs.iter().map(known).collect()
    }
}

impl HubFile {
    /// The clients that were not revoked.
    pub(crate) fn enrolled(&self) -> impl Iterator<Item = &HubClientFile> {
        self.clients.iter().filter(|client| !client.revoked)
    }

    /// The number and tag of the client that has this name now.
    pub(crate) fn enrolment(&self, name: &str) -> Option<(ClientId, ClientTag)> {
        let number = self.clients.iter().position(|client| !client.revoked && client.name == name)?;
        let client = self.clients.get(number)?;
        Some((ClientId::new(u32::try_from(number).ok()?), client.tag.client()))
    }

    /// The links of the hub.
    pub(crate) fn links(&self) -> Result<Links> {
        let coordinate = coordinate(self.coordinate)?;
        let known = |client: &HubClientFile| {
            (client.name.clone(), Known { hub: self.id.hub(), coordinate, tag: client.tag.client() })
        };
        Ok(self.enrolled().map(known).collect())
    }
}

/// What can be the content of a `skex.json`.
pub(crate) trait DirectoryFile: Serialize + DeserializeOwned {
    const ROLE: Role;
}

impl DirectoryFile for HubFile {
    const ROLE: Role = Role::Hub;
}

impl DirectoryFile for ClientFile {
    const ROLE: Role = Role::Client;
}

impl DirectoryFile for PeerFile {
    const ROLE: Role = Role::Peer;
}

/// Writes the `skex.json` of a directory, which must not have one.
pub(crate) fn save<F: DirectoryFile>(directory: &Path, file: &F) -> Result<()> {
    create_private(&directory.join(NAME), &encoded(file)?)
}

/// The same, durable once the file system was synced: for a directory that nobody looks for before.
pub(crate) fn save_unsynced<F: DirectoryFile>(directory: &Path, file: &F) -> Result<()> {
    write_private(&directory.join(NAME), &encoded(file)?)
}

/// Puts another `skex.json` in the place of that of a directory, whose lock the caller holds.
pub(crate) fn replace<F: DirectoryFile>(directory: &Path, file: &F) -> Result<()> {
    replace_private(&directory.join(NAME), &encoded(file)?)
}

fn encoded<F: DirectoryFile>(file: &F) -> Result<Zeroizing<Vec<u8>>> {
    #[derive(Serialize)]
    struct Whole<'a, F> {
        #[serde(flatten)]
        head: Head,
        #[serde(flatten)]
        file: &'a F,
    }
    let whole = Whole { head: Head { format: FORMAT, role: F::ROLE }, file };
    let mut octets = Zeroizing::new(serde_json::to_vec_pretty(&whole).context("cannot write skex.json")?);
    octets.push(b'\n');
    Ok(octets)
}

/// What a directory is for.
pub(crate) fn role_of(directory: &Path) -> Result<Role> {
    head(directory, &read(directory)?)
}

/// Reads the `skex.json` of a directory, which must be of this role.
pub(crate) fn load<F: DirectoryFile>(directory: &Path) -> Result<F> {
    let octets = read(directory)?;
    let role = head(directory, &octets)?;
    if role != F::ROLE {
        bail!(
            "{} is the directory of a {role}, not of a {}: use `skex {role} --dir {}`, or name another directory",
            directory.display(),
            F::ROLE,
            directory.display()
        );
    }
    parse(directory, &octets)
}

fn read(directory: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let octets = fs::read(directory.join(NAME)).map_err(|error| {
        let made = format!(
            "is {} a directory that `skex provision` or `skex peer enrol` made?",
            directory.display()
        );
        unopened(error, &format!("cannot read {}", directory.join(NAME).display()), &made)
    })?;
    Ok(Zeroizing::new(octets))
}

fn head(directory: &Path, octets: &[u8]) -> Result<Role> {
    let head: Head = parse(directory, octets)?;
    if head.format != FORMAT {
        bail!(
            "{} has format {}, and this program knows format {FORMAT}: use the program that wrote it",
            directory.join(NAME).display(),
            head.format
        );
    }
    Ok(head.role)
}

fn parse<T: DeserializeOwned>(directory: &Path, octets: &[u8]) -> Result<T> {
    serde_json::from_slice(octets).map_err(|error| {
        // serde_json may quote what it read, which may be a key.
        let place = format!("line {}, column {}", error.line(), error.column());
        anyhow::anyhow!(
            "{} is damaged or of another program ({place}): bring the file back",
            directory.join(NAME).display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> PeerFile {
        PeerFile { side: SideName::A, id: "alice".to_owned(), peer_id: "bob".to_owned() }
    }

    #[test]
    fn what_was_saved_is_loaded_in_its_role_only() {
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), &peer()).unwrap();
        assert_eq!(role_of(directory.path()).unwrap(), Role::Peer);
        assert_eq!(load::<PeerFile>(directory.path()).unwrap().peer_id, "bob");
        let error = load::<HubFile>(directory.path()).unwrap_err().to_string();
        assert!(error.contains("directory of a peer") && error.contains("skex peer --dir"), "{error}");
        assert!(save(directory.path(), &peer()).is_err(), "never overwritten");
    }

    #[test]
    fn the_error_for_a_damaged_file_names_its_place_and_quotes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), "{\"format\":2,\"role\":\"SECRETSECRET\"}").unwrap();
        let error = format!("{:#}", role_of(directory.path()).unwrap_err());
        assert!(error.contains("line 1") && !error.contains("SECRET"), "{error}");
    }
}
