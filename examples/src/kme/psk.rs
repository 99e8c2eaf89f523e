//! TLS with preshared keys, as encryptors that speak SKIP may have it (draft-cisco-skip-02), by OpenSSL: rustls has none.
//!
//! The identity of a key is the name of the SAE. There is an ephemeral exchange beside every key, so that who learns a key later
//! opens nothing. No tickets and no renegotiation: a key that was taken out at a start opens nothing any more.

use core::pin::Pin;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use openssl::dh::Dh;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslOptions, SslRef, SslSessionCacheMode, SslVersion};
use skex_core::SecretVec;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;
use zeroize::Zeroizing;

use super::name::Name;
use super::server::Handshake;
use super::settings::Settings;

/// Octets of a key. Fewer than 32 are not for keys that are to withstand a quantum computer.
const SHORTEST: usize = 32;
const LONGEST: usize = 64;

/// TLS 1.2: an ephemeral exchange, and an AEAD; last the better one of the two that SKIP recommends (table 1), which have none.
const CIPHERS: &str = "DHE-PSK-AES256-GCM-SHA384:DHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES128-GCM-SHA256:\
                       ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-CBC-SHA384";

/// TLS 1.3: those of SHA-256, which a key is bound to that came by OpenSSL's callback. So the one that SKIP demands, with
/// AES-256-GCM and SHA-384, is not among them.
const SUITES: &str = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";

/// The TLS of whoever has a key of the file.
#[derive(Clone)]
pub(crate) struct PresharedKeys {
    context: SslContext,
    /// Whose key the handshake took.
    taken: Index<Ssl, Option<Name>>,
}

impl PresharedKeys {
    /// From the file that the settings name, with a line `SAE:KEY` for each, the key in hexadecimal.
    pub(crate) fn load(path: &Path, settings: &Settings) -> Result<Self> {
        let mode = fs::metadata(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            bail!("others can read the keys in {}: chmod 600", path.display());
        }
        let text = Zeroizing::new(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
        let keys = parse(&text, settings).with_context(|| format!("{} cannot be used", path.display()))?;
        Self::new(keys).context("TLS with preshared keys cannot be set up")
    }

    fn new(keys: BTreeMap<Name, SecretVec>) -> Result<Self, ErrorStack> {
        let taken = Ssl::new_ex_index()?;
        let mut context = SslContext::builder(SslMethod::tls_server())?;
        context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        context.set_cipher_list(CIPHERS)?;
        context.set_ciphersuites(SUITES)?;
        let dh = Dh::get_2048_256()?;
        context.set_tmp_dh(&dh)?;
        let preference = SslOptions::CIPHER_SERVER_PREFERENCE;
        context.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION | preference);
        context.set_num_tickets(0)?;
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        let keys = Arc::new(keys);
        context.set_psk_server_callback(move |tls: &mut SslRef, identity, out| {
            let name = identity.and_then(|identity| Name::parse(core::str::from_utf8(identity).ok()?));
            let found = name.and_then(|name| keys.get(&name).map(|key| (name, key.expose())));
            let room = found.as_ref().and_then(|(_, key)| out.get_mut(..key.len()));
            // 0 octets: there is none, and the handshake fails.
            let (Some((name, key)), Some(room)) = (found, room) else {
                tls.set_ex_data(taken, None);
                return Ok(0);
            };
            room.copy_from_slice(key);
            tls.set_ex_data(taken, Some(name));
            Ok(key.len())
        });
        Ok(Self { context: context.build(), taken })
    }
}

impl Handshake for PresharedKeys {
    type Stream = SslStream<TcpStream>;

    async fn accept(&self, stream: TcpStream) -> Option<(Self::Stream, Option<Name>)> {
        let mut stream = SslStream::new(Ssl::new(&self.context).ok()?, stream).ok()?;
        Pin::new(&mut stream).accept().await.ok()?;
        let sae = stream.ssl().ex_data(self.taken).cloned().flatten();
        Some((stream, sae))
    }
}

fn parse(text: &[u8], settings: &Settings) -> Result<BTreeMap<Name, SecretVec>> {
    let mut keys = BTreeMap::new();
    for (number, line) in (1..).zip(text.split(|octet| *octet == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        // A name may have colons, a key has none.
        let (name, digits) = match line.iter().rposition(|octet| *octet == b':') {
            Some(place) => (
                line.get(..place).unwrap_or_default(),
                line.get(place.saturating_add(1)..).unwrap_or_default(),
            ),
            None => bail!("line {number} is no SAE:KEY"),
        };
        let name = core::str::from_utf8(name).ok().and_then(Name::parse);
        let name = name.with_context(|| format!("line {number} does not begin with the name of an SAE"))?;
        if !settings.links.iter().any(|link| link.local == name) {
            bail!("{name} in line {number} is no local SAE of a link");
        }
        let mut key = Zeroizing::new(vec![0; digits.len() / 2]);
        if !(SHORTEST..=LONGEST).contains(&key.len()) || hex::decode_to_slice(digits, &mut key).is_err() {
            bail!("the key of {name} has not {SHORTEST} to {LONGEST} octets in hexadecimal");
        }
        if keys.insert(name.clone(), SecretVec::copied_from(&key)).is_some() {
            bail!("{name} has two keys: one each");
        }
    }
    if keys.is_empty() {
        bail!("there is no key in it: a line SAE:KEY for each SAE");
    }
    Ok(keys)
}
