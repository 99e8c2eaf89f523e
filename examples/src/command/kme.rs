//! `skex kme`: a key delivery server over a client of hubs.

mod making;

use core::net::SocketAddr;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(not(feature = "skip-psk"))]
use anyhow::bail;
use anyhow::{Context, Result};
use skex_dske::{ClientLimits, ResponderPolicy};

use crate::bell::bell;
use crate::clock::Clock;
use crate::command::client::{check_request, replace_addresses, start};
use crate::config::{ClientFile, load};
use crate::entropy::Entropy;
use crate::keys::KeyOutlet;
use crate::kme::keeper::Keeper;
use crate::kme::others::Others;
#[cfg(not(feature = "skip-psk"))]
use crate::kme::server::Certificates;
use crate::kme::server::{Shared, serve, tls};
use crate::kme::settings::{PresharedKeys, Settings};
use crate::kme::vault::FileVault;
use crate::report::Reporter;
use crate::store::DirectoryLock;
use making::Making;

/// Deliver keys to encryptors over HTTPS, as ETSI GS QKD 014 and Cisco SKIP have it.
///
/// A key management entity (KME) on top of a client of hubs: it makes keys with the KMEs of other clients ahead of time, and
/// hands each of them once to the SAE here and once to the SAE there that it is for. SAEs (encryptors) show a certificate;
/// the common name (CN) of its subject is the name of the SAE, and kme.json says who may have keys with whom.
#[derive(clap::Args)]
#[command(after_long_help = LONG_HELP)]
pub(crate) struct Arguments {
    /// The client's directory, from `skex provision`. Keys that wait are in its file kme.keys.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The settings; DIR/kme.json otherwise.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer SAEs here, instead of where the settings say.
    #[arg(long, value_name = "HOST:PORT")]
    https: Option<String>,
    /// Listen for hubs here, instead of where skex.json says.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Reach a hub here, instead of where skex.json says; may be given for each hub.
    #[arg(long, value_name = "HUB=HOST:PORT")]
    hub_address: Vec<String>,
}

const LONG_HELP: &str = "\
kme.json, at one end (paths count from the file):
  {
    \"kme\": \"kme-a\",                         the name of this KME
    \"https\": \"192.0.2.1:8443\",
    \"certificate\": \"kme-a.pem\",             chain of this KME, PEM
    \"private_key\": \"kme-a.key\",
    \"client_ca\": \"sae-ca.pem\",              whose signature makes an SAE's certificate good, and another KME's
    \"preshared_keys\": {                     TLS with preshared keys beside; if left out there is none
      \"https\": \"192.0.2.1:8445\",            at an address of its own
      \"file\": \"kme-a.psk\"                  a line SAE:KEY for each, the key 32 to 64 octets in hexadecimal
    },
    \"peers\": [{
      \"client\": \"bob\",                      a client in skex.json, with a KME of its own
      \"kme\": \"kme-b\",
      \"https\": \"192.0.2.2:8443\",           where it answers, for additional SAEs; may be left out
      \"threshold\": 3,                       of the hubs                          (3)
      \"suite\": \"one-time\",                  how shares are protected             (one-time)
      \"ready\": 64,                          keys made ahead                      (64)
      \"held\": 4096                          keys that wait for SAEs here; then the oldest goes  (4096)
    }],
    \"links\": [{
      \"local_sae\": \"sae-a\",                 may have keys ...
      \"remote_sae\": \"sae-b\",                ... with this one, at ...
      \"peer\": \"bob\",                        ... this peer's KME
      \"keys_per_minute\": 600                that the local SAE may begin         (600)
    }],
    \"key_size\": 256,                        bits, if a request does not say      (256)
    \"max_key_size\": 1024,                   up to 8192                           (1024)
    \"max_key_per_request\": 32,              up to 1024                           (32)
    \"max_sae_id_count\": 8                   additional SAEs of a request, up to 64; 0 where no peer has https  (8)
  }
The other end has the same link the other way round, and a held above the ready here. Names of SAEs and KMEs: 1 to 64 of A-Z a-z 0-9 . _ : @ -

ETSI GS QKD 014 v1.1.1:
  GET       /api/v1/keys/{slave SAE}/status
  GET, POST /api/v1/keys/{slave SAE}/enc_keys    number, size, additional_slave_SAE_IDs (then
                                                 size is at most 256); extension_mandatory is refused
  GET, POST /api/v1/keys/{master SAE}/dec_keys   key_ID, key_IDs
  Errors are {\"message\", \"details\"} with 400, 401 or 503. Fields and parameters of other names are ignored.

Cisco SKIP (draft-cisco-skip-02), each SAE with a key provider of its own name:
  GET /capabilities
  GET /key?remoteSystemID={SAE}[&size={bits}]
  GET /key/{keyId}?remoteSystemID={SAE}
  GET /entropy[?minentropy={bits}]
  TLS by certificates, or by preshared keys, whose identities are the names of the SAEs: TLS 1.3 with psk_dhe_ke and SHA-256, or
  TLS 1.2 with DHE-PSK or ECDHE-PSK and an AEAD, or with DHE-PSK-AES256-CBC-SHA384. It is OpenSSL's, and there if skex was built
  with --features skip-psk.

What holds:
  A key is given once to the SAE that begins and once to the one that follows, and to nobody else. It is erased from the
  disk before it leaves, so that no crash and no restart gives it twice; a crash may lose it. A request is granted whole or
  not at all. TLS is 1.2 or 1.3 with certificates of both ends; it is not quantum-safe, so keep SAE and KME in one place.
  Keys are derived with HMAC-SHA-256 from 256-bit keys of DSKE that the other KME has confirmed: computationally secure,
  with 256 bits of strength however long they are. A key with additional SAEs is given when the KME of each has stored it, or to nobody.

Try it, with certificates made by openssl: docs/kme.md";

/// The file of keys, beside the client's own.
const VAULT: &str = "kme.keys";

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let Arguments { dir, config, https, listen, hub_address } = arguments;
    let mut file: ClientFile = load(&dir)?;
    replace_addresses(&mut file.hubs, &hub_address)?;
    // Whatever can be refused is refused before the machine starts.
    let settings = Settings::load(&config.unwrap_or_else(|| dir.join("kme.json")))?;
    for peer in &settings.peers {
        check_request(&file, &peer.client, peer.threshold)?;
    }
    let (tls, others) = (tls(&settings)?, Others::load(&settings)?);
    let (listener, address) = listen_on(https.as_ref().unwrap_or(&settings.https))?;
    let further = settings.preshared_keys.as_ref().map(|keys| further(keys, &settings)).transpose()?;
    let _lock = DirectoryLock::acquire(&dir)?;
    let own = file.tag.client();
    let (vault, stored) = FileVault::open(&dir.join(VAULT), own)?;
    let (reporter, name) = (Reporter::new(false), settings.kme.clone());
    // Of keys that others make no less is demanded than of those that are made here.
    let mut policy = ResponderPolicy::default();
    policy.minimum_threshold = settings.peers.iter().map(|peer| peer.threshold).min().unwrap_or(2);
    let demands = (policy, ClientLimits::default());
    let client = start(&dir, file, listen.as_deref(), demands, KeyOutlet::default(), reporter)?;
    let tags = settings.peers.iter().map(|peer| client.names.tag(&peer.client)).collect::<Result<_>>()?;
    let (wake, wakes) = bell()?;
    let preshared = further.as_ref().map(|(_, address, _)| *address);
    let keeper = Keeper::new(settings, tags, vault, stored);
    let shared = Arc::new(Shared::new(keeper, others, Clock::start(), Entropy::open()?, wake));
    let mut making = Making::new(client, Arc::clone(&shared), wakes);
    // Keys that the client has from before a crash are taken in first: one that was given must be known when it is told again.
    making.take_in_all()?;
    let serving = std::thread::Builder::new().name("https".to_owned()).spawn(move || {
        let further = further.map(|(listener, _, tls)| (listener, tls));
        serve((listener, tls), further, shared)
    });
    let serving = serving.context("cannot start the server")?;
    reporter.note(format!("{name} answers SAEs on https://{address}"))?;
    if let Some(address) = preshared {
        reporter.note(format!("{name} answers SAEs with preshared keys on https://{address}"))?;
    }
    making.run(&serving)?;
    serving.join().map_err(|_| anyhow::anyhow!("the server failed"))?
}

fn listen_on(address: &str) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!(
            "cannot listen on {address}: another process uses the port, or the address is not this machine's"
        )
    })?;
    let address = listener.local_addr().context("the socket has no address")?;
    Ok((listener, address))
}

/// The door of those with preshared keys.
#[cfg(feature = "skip-psk")]
fn further(
    keys: &PresharedKeys,
    settings: &Settings,
) -> Result<(TcpListener, SocketAddr, crate::kme::psk::PresharedKeys)> {
    let tls = crate::kme::psk::PresharedKeys::load(&keys.file, settings)?;
    let (listener, address) = listen_on(&keys.https)?;
    Ok((listener, address, tls))
}

#[cfg(not(feature = "skip-psk"))]
fn further(keys: &PresharedKeys, _: &Settings) -> Result<(TcpListener, SocketAddr, Certificates)> {
    bail!(
        "this skex has no TLS with preshared keys, so nobody could use {} on {}: build it with --features skip-psk, or leave \
         preshared_keys out",
        keys.file.display(),
        keys.https
    )
}
