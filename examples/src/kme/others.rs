//! The other KMEs, as this one reaches them: HTTPS with certificates of both ends, for keys of additional SAEs.
//!
//! TLS is not what protects a relay, which is sealed under a key of DSKE: it keeps strangers away from the other KME.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::api::{OCTETS, RELAY_PATH, Response, not_relayed};
use super::certificate::sae_of;
use super::keeper::Relay;
use super::name::Name;
use super::server::{certificates, private_key, roots};
use super::settings::{PeerSettings, Settings};

/// Connections to one KME, which has room for 16 of ours.
const CONNECTIONS_TO_EACH: usize = 8;

/// For reaching a KME, and for its answer.
const TIME: Duration = Duration::from_secs(5);

/// Before it is tried once more: the wrapping key may have come to the other KME just now.
const PAUSE: Duration = Duration::from_millis(300);

/// What is said of an answer, at most.
const LONGEST_ANSWER: usize = 4096;

/// By the number of the peer.
pub(crate) struct Others(Vec<Option<Other>>);

struct Other {
    kme: Name,
    address: String,
    host: ServerName<'static>,
    tls: TlsConnector,
    room: Arc<Semaphore>,
}

/// Connections that are open for one request.
#[derive(Default)]
pub(crate) struct Reached(BTreeMap<usize, Connection>);

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _place: OwnedSemaphorePermit,
}

impl Others {
    /// From the settings and the files that they name.
    pub(crate) fn load(settings: &Settings) -> Result<Self> {
        let others = settings
            .peers
            .iter()
            .map(|peer| peer.https.as_ref().map(|address| Other::load(settings, peer, address)).transpose());
        Ok(Self(others.collect::<Result<_>>()?))
    }

    /// Reaches these peers' KMEs, where that was not done yet.
    ///
    /// # Errors
    /// What the SAE is told.
    pub(crate) async fn reach(
        &self,
        peers: &BTreeMap<usize, Name>,
        reached: &mut Reached,
    ) -> Result<(), Response> {
        // One after the other, and in the same order for all: nobody waits for whom he holds up.
        for (peer, sae) in peers {
            if reached.0.contains_key(peer) {
                continue;
            }
            let other = self.0.get(*peer).and_then(Option::as_ref);
            let connection = match other {
                Some(other) => other.connect().await,
                None => None,
            };
            let Some(connection) = connection else {
                let kme = other.map_or("a KME", |other| other.kme.as_str());
                let why = format!("{sae}: {kme} cannot be reached, or does not hear this KME");
                return Err(not_relayed(
                    "the KME of an additional SAE cannot be reached: no key was spent",
                    &why,
                ));
            };
            reached.0.insert(*peer, connection);
        }
        Ok(())
    }

    /// Brings these to their KMEs.
    ///
    /// # Errors
    /// What the SAE is told, where one was not taken over.
    pub(crate) async fn relay(&self, relays: Vec<Relay>, mut reached: Reached) -> Result<(), Response> {
        for relay in relays {
            let other = self.0.get(relay.peer).and_then(Option::as_ref);
            let kme = other.map_or("a KME", |other| other.kme.as_str());
            let taken = match other {
                Some(other) => other.bring_twice(&relay, &mut reached).await,
                None => Taken::Unknown,
            };
            let why = match taken {
                Taken::Over => continue,
                Taken::Unknown => format!("{}: {kme} did not answer", relay.sae),
                Taken::Refused(status) => format!("{}: {kme} refused it with {status}", relay.sae),
                Taken::Falsely => format!("{}: what {kme} answered is not right", relay.sae),
            };
            let what =
                "the KME of an additional SAE did not take the key over: nobody got it, and it is lost";
            return Err(not_relayed(what, &why));
        }
        Ok(())
    }
}

impl Reached {
    pub(crate) fn peers(&self) -> BTreeSet<usize> {
        self.0.keys().copied().collect()
    }
}

/// What a KME said to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Over,
    Refused(u16),
    /// It says yes, and does not have the wrapping key.
    Falsely,
    Unknown,
}

impl Other {
    fn load(settings: &Settings, peer: &PeerSettings, address: &str) -> Result<Self> {
        let host = address.rsplit_once(':').and_then(|(host, port)| {
            let _port: u16 = port.parse().ok()?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            ServerName::try_from(host.to_owned()).ok()
        });
        let host = host.with_context(|| format!("https of {} is no HOST:PORT", peer.client))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS cannot be set up")?
            .with_root_certificates(roots(settings)?)
            .with_client_auth_cert(certificates(&settings.certificate)?, private_key(settings)?)
            .context("certificate and private key do not fit")?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.resumption = Resumption::disabled();
        Ok(Self {
            kme: peer.kme.clone(),
            address: address.to_owned(),
            host,
            tls: TlsConnector::from(Arc::new(tls)),
            room: Arc::new(Semaphore::new(CONNECTIONS_TO_EACH)),
        })
    }

    async fn connect(&self) -> Option<Connection> {
        let connecting = async {
            let place = Arc::clone(&self.room).acquire_owned().await.ok()?;
            let stream = TcpStream::connect(&self.address).await.ok()?;
            let stream = self.tls.connect(self.host.clone(), stream).await.ok()?;
            let certificate = stream.get_ref().1.peer_certificates()?.first()?;
            // Of the right authority and for this host, and of the right KME.
            (sae_of(certificate).as_ref() == Some(&self.kme)).then_some(())?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
            // It ends with its sender.
            tokio::spawn(connection);
            let mut connection = Connection { sender, _place: place };
            // With TLS 1.3 nobody knows before an answer comes that the other end takes our certificate.
            let (status, _) = self.ask(Method::GET, Bytes::new(), &mut connection).await?;
            (status == 200).then_some(connection)
        };
        timeout(TIME, connecting).await.ok().flatten()
    }

    /// The same message again is answered the same.
    async fn bring_twice(&self, relay: &Relay, reached: &mut Reached) -> Taken {
        match self.bring(relay, reached).await {
            Taken::Over => Taken::Over,
            _ => {
                sleep(PAUSE).await;
                self.bring(relay, reached).await
            }
        }
    }

    async fn bring(&self, relay: &Relay, reached: &mut Reached) -> Taken {
        // Where it was closed meanwhile, another one.
        let open = reached.0.remove(&relay.peer).filter(|connection| !connection.sender.is_closed());
        let connection = match open {
            Some(connection) => Some(connection),
            None => self.connect().await,
        };
        let Some(mut connection) = connection else { return Taken::Unknown };
        let asked = self.ask(Method::POST, Bytes::from(relay.message.clone()), &mut connection);
        let Ok(Some((status, answer))) = timeout(TIME, asked).await else { return Taken::Unknown };
        reached.0.insert(relay.peer, connection);
        match status {
            200 if *answer == relay.answer => Taken::Over,
            200 => Taken::Falsely,
            status => Taken::Refused(status),
        }
    }

    /// Status and body of an answer.
    async fn ask(&self, method: Method, body: Bytes, connection: &mut Connection) -> Option<(u16, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(RELAY_PATH)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, OCTETS)
            .body(Full::new(body))
            .ok()?;
        connection.sender.ready().await.ok()?;
        let (head, body) = connection.sender.send_request(request).await.ok()?.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await.ok()?.to_bytes();
        Some((head.status.as_u16(), body))
    }
}
