//! What a directory is: `skex.json`, readable by its owner alone, for it holds initial keys.
//!
//! Names, addresses and authorisations may be edited; ids, keys and table lengths are what both ends of a link agreed on.

use core::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skex_core::SecretBytes;
use skex_dske::{ClientTag, Coordinate, HubId};
use zeroize::Zeroizing;

use crate::store::atomic::create_private;

const NAME: &str = "skex.json";
const FORMAT: u8 = 1;

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

/// A hub's directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HubFile {
    pub(crate) name: String,
    pub(crate) id: Id,
    pub(crate) coordinate: u8,
    pub(crate) listen: String,
    /// In the order of their numbers.
    pub(crate) clients: Vec<HubClientFile>,
}

/// A client as its hub knows it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HubClientFile {
    pub(crate) name: String,
    pub(crate) tag: Id,
    pub(crate) suite: u8,
    pub(crate) initial_key: InitialKey,
    pub(crate) tables: TablesFile,
    /// Names of the clients that may have keys made with this one.
    pub(crate) accepts_keys_from: Vec<String>,
}

/// A client's directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClientFile {
    pub(crate) name: String,
    pub(crate) tag: Id,
    pub(crate) listen: String,
    pub(crate) peers: Vec<PeerName>,
    pub(crate) hubs: Vec<ClientHubFile>,
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
    /// How the hub calls this client.
    pub(crate) client_number: u32,
    pub(crate) suite: u8,
    pub(crate) initial_key: InitialKey,
    pub(crate) tables: TablesFile,
}

/// The two tables of a link, each as long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TablesFile {
    pub(crate) uplink: PathBuf,
    pub(crate) downlink: PathBuf,
    pub(crate) elements: u32,
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

/// The initial key of a link, in hexadecimal digits.
#[derive(Debug)]
pub(crate) struct InitialKey(pub(crate) SecretBytes<32>);

impl Serialize for InitialKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(hex::encode(self.0.expose())))
    }
}

impl<'de> Deserialize<'de> for InitialKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl serde::de::Visitor<'_> for Digits {
            type Value = InitialKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            // Read where it lies: no copy to wipe.
            fn visit_str<E: serde::de::Error>(self, digits: &str) -> Result<InitialKey, E> {
                let mut key = SecretBytes::zeroed();
                hex::decode_to_slice(digits, key.expose_mut())
                    .map_err(|_| E::custom("an initial key has 64 hexadecimal digits"))?;
                Ok(InitialKey(key))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

/// A hub's coordinate.
pub(crate) fn coordinate(number: u8) -> Result<Coordinate> {
    Coordinate::new(number).context("a hub's coordinate in skex.json is 1 to 255; bring the file back")
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
    create_private(&directory.join(NAME), &octets)
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
    let octets = fs::read(directory.join(NAME)).with_context(|| {
        format!(
            "cannot read {}: is {} a directory that `skex provision` or `skex peer enrol` made?",
            directory.join(NAME).display(),
            directory.display()
        )
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
    fn an_initial_key_is_written_whole_and_never_shown() {
        let key = InitialKey(SecretBytes::copied_from(&[0xd7; 32]));
        let digits = serde_json::to_string(&key).unwrap();
        assert_eq!(digits, format!("\"{}\"", "d7".repeat(32)));
        assert_eq!(serde_json::from_str::<InitialKey>(&digits).unwrap().0, key.0);
        assert!(!format!("{key:?}").contains("d7"));
    }

    #[test]
    fn the_error_for_a_damaged_file_names_its_place_and_quotes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), "{\"format\":1,\"role\":\"SECRETSECRET\"}").unwrap();
        let error = format!("{:#}", role_of(directory.path()).unwrap_err());
        assert!(error.contains("line 1") && !error.contains("SECRET"), "{error}");
    }
}
