//! What `kme.json` says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::name::Name;
use crate::config::SuiteName;

/// The longest key that is delivered, in octets: the key's id has twelve bits for it, and nobody needs more.
const LONGEST_KEY: u16 = 1024;
const SHORTEST_KEY: u16 = 8;

/// `kme.json`, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) kme: Name,
    pub(crate) https: String,
    /// Chain and private key of this KME, and whose signature makes an SAE's certificate good: PEM files.
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
    pub(crate) client_ca: PathBuf,
    pub(crate) preshared_keys: Option<PresharedKeys>,
    pub(crate) peers: Vec<PeerSettings>,
    pub(crate) links: Vec<Link>,
    /// Bits, if the request does not say.
    pub(crate) key_size: u32,
    pub(crate) min_key_size: u32,
    pub(crate) max_key_size: u32,
    pub(crate) max_key_per_request: u32,
    max_sae_id_count: u32,
}

/// A second address, where TLS is by preshared keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PresharedKeys {
    pub(crate) https: String,
    /// A line `SAE:KEY` for each.
    pub(crate) file: PathBuf,
}

/// Another client of the hubs, which another KME runs on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerSettings {
    /// Its name in `skex.json`.
    pub(crate) client: String,
    /// The KME's name.
    pub(crate) kme: Name,
    /// Where it answers. Without, no SAE of its can be an additional one of a request here.
    pub(crate) https: Option<String>,
    #[serde(default = "PeerSettings::default_threshold")]
    pub(crate) threshold: u8,
    #[serde(default = "PeerSettings::default_suite")]
    pub(crate) suite: SuiteName,
    /// Keys made ahead, for SAEs here that begin.
    #[serde(default = "PeerSettings::default_ready")]
    pub(crate) ready: u32,
    /// Keys that the other KME made with this one and that wait for SAEs here. The oldest goes where there is no room.
    #[serde(default = "PeerSettings::default_held")]
    pub(crate) held: u32,
}

impl PeerSettings {
    const fn default_threshold() -> u8 {
        3
    }

    const fn default_suite() -> SuiteName {
        SuiteName::OneTime
    }

    const fn default_ready() -> u32 {
        64
    }

    const fn default_held() -> u32 {
        4096
    }
}

/// An SAE here and one there that may have keys together.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) local: Name,
    pub(crate) remote: Name,
    /// Which of the peers the remote SAE is at.
    pub(crate) peer: usize,
    /// Keys that the SAE here may begin in a minute.
    pub(crate) per_minute: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kme: Name,
    https: String,
    certificate: PathBuf,
    private_key: PathBuf,
    client_ca: PathBuf,
    preshared_keys: Option<PresharedKeys>,
    peers: Vec<PeerSettings>,
    links: Vec<LinkFile>,
    #[serde(default = "File::default_key_size")]
    key_size: u32,
    #[serde(default = "File::default_max_key_size")]
    max_key_size: u32,
    #[serde(default = "File::default_max_key_per_request")]
    max_key_per_request: u32,
    #[serde(default = "File::default_max_sae_id_count")]
    max_sae_id_count: u32,
}

impl File {
    const fn default_key_size() -> u32 {
        256
    }

    const fn default_max_key_size() -> u32 {
        1024
    }

    const fn default_max_key_per_request() -> u32 {
        32
    }

    const fn default_max_sae_id_count() -> u32 {
        8
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkFile {
    local_sae: Name,
    remote_sae: Name,
    /// The peer's client.
    peer: String,
    #[serde(default = "LinkFile::default_keys_per_minute")]
    keys_per_minute: u32,
}

impl LinkFile {
    const fn default_keys_per_minute() -> u32 {
        600
    }
}

impl Settings {
    /// Reads the file. Paths in it count from its own directory.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let octets = fs::read(path).with_context(|| {
            format!("cannot read {}: write it as `skex kme --help` shows, or name another", path.display())
        })?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        Self::parse(&octets, base).with_context(|| format!("{} cannot be used", path.display()))
    }

    pub(crate) fn parse(octets: &[u8], base: &Path) -> Result<Self> {
        let file: File = serde_json::from_slice(octets)
            .map_err(|error| anyhow!("{error}; `skex kme --help` shows the whole file"))?;
        let peer_of = |link: LinkFile| {
            let peer = file.peers.iter().position(|peer| peer.client == link.peer);
            let peer = peer.with_context(|| format!("{} is not among the peers", link.peer))?;
            let LinkFile { local_sae: local, remote_sae: remote, keys_per_minute: per_minute, .. } = link;
            Ok(Link { local, remote, peer, per_minute })
        };
        let links = file.links.into_iter().map(peer_of).collect::<Result<_>>()?;
        let settings = Self {
            kme: file.kme,
            https: file.https,
            certificate: base.join(file.certificate),
            private_key: base.join(file.private_key),
            client_ca: base.join(file.client_ca),
            preshared_keys: file
                .preshared_keys
                .map(|keys| PresharedKeys { file: base.join(keys.file), ..keys }),
            peers: file.peers,
            links,
            key_size: file.key_size,
            min_key_size: u32::from(SHORTEST_KEY).saturating_mul(8),
            max_key_size: file.max_key_size,
            max_key_per_request: file.max_key_per_request,
            max_sae_id_count: file.max_sae_id_count,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        let longest = u32::from(LONGEST_KEY).saturating_mul(8);
        if self.max_key_size > longest || !self.is_size(self.key_size) || !self.is_size(self.max_key_size) {
            bail!(
                "key_size and max_key_size are multiples of 8 from {} to {longest}, the first not above the second",
                self.min_key_size
            );
        }
        if !(1..=1024).contains(&self.max_key_per_request) {
            bail!("max_key_per_request is 1 to 1024");
        }
        if self.max_sae_id_count > 64 {
            bail!("max_sae_id_count is 0 to 64");
        }
        if self.links.is_empty() {
            bail!("there are no links: nobody could have a key");
        }
        let (mut clients, mut kmes) = (BTreeSet::new(), BTreeSet::from([&self.kme]));
        for peer in &self.peers {
            if !clients.insert(&peer.client) || !kmes.insert(&peer.kme) {
                bail!("two peers have the client {} or the KME {}", peer.client, peer.kme);
            }
            if peer.ready < self.max_key_per_request || peer.ready > 4096 {
                bail!(
                    "ready of {} is {} to 4096, so that one request can be served",
                    peer.client,
                    self.max_key_per_request
                );
            }
            if !(1..=65536).contains(&peer.held) {
                bail!("held of {} is 1 to 65536", peer.client);
            }
        }
        let mut pairs = BTreeSet::new();
        for link in &self.links {
            if let Some(name) = [&link.local, &link.remote].into_iter().find(|name| kmes.contains(name)) {
                bail!("{name} is a KME and an SAE: a certificate names one of them");
            }
            if link.local == link.remote {
                bail!("{} cannot have keys with itself", link.local);
            }
            if !pairs.insert((&link.local, &link.remote)) {
                bail!("two links are between {} and {}", link.local, link.remote);
            }
            if link.per_minute < self.max_key_per_request {
                bail!(
                    "keys_per_minute of {} with {} is at least max_key_per_request",
                    link.local,
                    link.remote
                );
            }
        }
        Ok(())
    }

    /// How many additional SAEs a request may have: none where no other KME can be reached.
    pub(crate) fn max_sae_id_count(&self) -> u32 {
        if self.peers.iter().any(|peer| peer.https.is_some()) { self.max_sae_id_count } else { 0 }
    }

    /// Whether a key may have so many bits.
    pub(crate) fn is_size(&self, bits: u32) -> bool {
        bits.is_multiple_of(8) && (self.min_key_size..=self.max_key_size).contains(&bits)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::kme) const OF_A: &str = r#"{
        "kme": "kme-a", "https": "127.0.0.1:0",
        "certificate": "kme.pem", "private_key": "kme.key", "client_ca": "ca.pem",
        "peers": [{"client": "bob", "kme": "kme-b", "threshold": 2, "ready": 8, "held": 8}],
        "links": [{"local_sae": "sae-a", "remote_sae": "sae-b", "peer": "bob", "keys_per_minute": 20},
                  {"local_sae": "sae-c", "remote_sae": "sae-d", "peer": "bob", "keys_per_minute": 20}],
        "max_key_per_request": 4
    }"#;

    pub(in crate::kme) const OF_B: &str = r#"{
        "kme": "kme-b", "https": "127.0.0.1:0",
        "certificate": "kme.pem", "private_key": "kme.key", "client_ca": "ca.pem",
        "peers": [{"client": "alice", "kme": "kme-a", "threshold": 2, "ready": 8, "held": 8}],
        "links": [{"local_sae": "sae-b", "remote_sae": "sae-a", "peer": "alice", "keys_per_minute": 20},
                  {"local_sae": "sae-d", "remote_sae": "sae-c", "peer": "alice", "keys_per_minute": 20}],
        "max_key_per_request": 4
    }"#;

    #[test]
    fn paths_count_from_the_file_and_a_slip_is_named() {
        let settings = Settings::parse(OF_A.as_bytes(), Path::new("/etc/skex")).unwrap();
        assert_eq!(settings.client_ca, Path::new("/etc/skex/ca.pem"));
        assert_eq!((settings.key_size, settings.max_key_size), (256, 1024));
        for (from, to, says) in [
            ("\"links\"", "\"link\"", "unknown field"),
            ("\"peer\": \"bob\", \"keys", "\"peer\": \"bub\", \"keys", "bub is not among the peers"),
            ("\"sae-b\"", "\"sae-a\"", "with itself"),
            ("sae-c\", \"remote_sae\": \"sae-d", "sae-a\", \"remote_sae\": \"sae-b", "two links"),
            ("\"ready\": 8", "\"ready\": 2", "ready of bob"),
            ("sae-d", "sae/d", "a name has"),
            ("kme-b", "kme-a", "two peers"),
            ("\"max_key_per_request\": 4", "\"max_key_per_request\": 4, \"key_size\": 100", "multiples of 8"),
            ("\"max_key_per_request\": 4", "\"max_key_per_request\": 0", "1 to 1024"),
            ("\"max_key_per_request\": 4", "\"max_key_per_request\": 4, \"max_sae_id_count\": 65", "0 to 64"),
            ("\"sae-c\"", "\"kme-b\"", "kme-b is a KME and an SAE"),
            ("\"sae-d\"", "\"kme-a\"", "kme-a is a KME and an SAE"),
            ("\"keys_per_minute\": 20", "\"keys_per_minute\": 3", "keys_per_minute of sae-a"),
        ] {
            let text = OF_A.replacen(from, to, 1);
            assert_ne!(text, OF_A);
            let error = format!("{:#}", Settings::parse(text.as_bytes(), Path::new("")).unwrap_err());
            assert!(error.contains(says), "{says:?} is missing in: {error}");
        }
    }
}
