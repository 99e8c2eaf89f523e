//! HTTPS in front of the [`Keeper`]: TLS with certificates of both ends, HTTP/1.1, and bounds on whatever a client can draw
//! out. Nothing is decided here but who is heard.

use core::convert::Infallible;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{StatusCode, http};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::api::{Answer, LONGEST_BODY, Method, Request, Response, answer};
use super::certificate::sae_of;
use super::keeper::{Keeper, Vault};
use super::name::Name;
use super::others::{Others, Reached};
use super::settings::Settings;
use crate::bell::Hammer;
use crate::clock::Clock;
use crate::entropy::Entropy;

/// Connections whose TLS handshake is under way; others wait in the queue of the operating system.
const HANDSHAKES: usize = 128;
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// Connections of one SAE. Whoever wants more is turned away, and nobody else notices.
const CONNECTIONS_OF_EACH: usize = 16;

/// For the head of a request, and for its body; also how long a connection may lie idle.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// A connection is closed after so long, whatever it does.
const CONNECTION_TIME: Duration = Duration::from_secs(600);

/// Octets of the longest head, and how many header fields it has.
const LONGEST_HEAD: usize = 16384;
const HEADERS: usize = 64;

/// What the server and whoever makes keys share.
pub(crate) struct Shared<V> {
    keeper: Mutex<Keeper<V>>,
    /// The SAEs here and the KMEs of peers, for who must not wait until the keeper's storage has synced.
    known: BTreeSet<Name>,
    others: Others,
    clock: Clock,
    entropy: Entropy,
    /// An octet here says that keys were given, or that storage failed.
    wake: Hammer,
}

impl<V: Vault> Shared<V> {
    pub(crate) fn new(
        keeper: Keeper<V>,
        others: Others,
        clock: Clock,
        entropy: Entropy,
        wake: Hammer,
    ) -> Self {
        let saes = keeper.settings().links.iter().map(|link| link.local.clone());
        let kmes = keeper.settings().peers.iter().map(|peer| peer.kme.clone());
        let known = saes.chain(kmes).collect();
        Self { keeper: Mutex::new(keeper), known, others, clock, entropy, wake }
    }

    /// The keeper. Nobody panicked with it in hand: that ends the program.
    pub(crate) fn keeper(&self) -> std::sync::MutexGuard<'_, Keeper<V>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request<'_>) -> Answer {
        let mut entropy = self.entropy;
        let answer = answer(&mut self.keeper(), self.clock.now(), &mut entropy, request);
        self.wake.ring();
        answer
    }
}

/// TLS of whoever connects.
pub(crate) trait Handshake: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The handshake of a connection, and which SAE it has shown to be. `None`: it failed.
    fn accept(
        &self,
        stream: tokio::net::TcpStream,
    ) -> impl Future<Output = Option<(Self::Stream, Option<Name>)>> + Send;
}

/// TLS with certificates of both ends.
#[derive(Clone)]
pub(crate) struct Certificates(TlsAcceptor);

impl Handshake for Certificates {
    type Stream = TlsStream<tokio::net::TcpStream>;

    async fn accept(&self, stream: tokio::net::TcpStream) -> Option<(Self::Stream, Option<Name>)> {
        let stream = self.0.accept(stream).await.ok()?;
        let chain = stream.get_ref().1.peer_certificates();
        let sae = chain.and_then(<[_]>::first).and_then(|certificate| sae_of(certificate));
        Some((stream, sae))
    }
}

/// What TLS needs, from the files that the settings name.
pub(crate) fn tls(settings: &Settings) -> Result<Certificates> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(settings)?), provider.clone())
        .build()
        .context("the certificates of SAEs cannot be verified")?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&settings.certificate)?, private_key(settings)?)
        .context("certificate and private key do not fit")?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Every connection shows its certificate anew.
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    Ok(Certificates(TlsAcceptor::from(Arc::new(tls))))
}

/// Whose signature makes the certificate of an SAE good, and that of another KME.
pub(super) fn roots(settings: &Settings) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&settings.client_ca)? {
        let file = settings.client_ca.display();
        roots.add(certificate).with_context(|| format!("{file} has a certificate that cannot be a root"))?;
    }
    Ok(roots)
}

pub(super) fn private_key(settings: &Settings) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(&settings.private_key)
        .with_context(|| format!("{} is no private key in PEM", settings.private_key.display()))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let octets = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    let found = found.with_context(|| format!("{} is not PEM", path.display()))?;
    if found.is_empty() {
        bail!("{} has no certificate in PEM", path.display());
    }
    Ok(found)
}

/// Serves until the process ends. Blocks the thread. There may be a further door, with a TLS of its own.
pub(crate) fn serve<V: Vault + Send + 'static>(
    (listener, tls): (TcpListener, Certificates),
    further: Option<(TcpListener, impl Handshake)>,
    shared: Arc<Shared<V>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .context("cannot start the server")?;
    runtime.block_on(async {
        let crowd = Arc::new(Crowd::default());
        if let Some((listener, tls)) = further {
            tokio::spawn(let_in(asynchronous(listener)?, tls, Arc::clone(&crowd), Arc::clone(&shared)));
        }
        let_in(asynchronous(listener)?, tls, crowd, shared).await;
        Ok(())
    })
}

fn asynchronous(listener: TcpListener) -> Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true).context("cannot set the socket up")?;
    tokio::net::TcpListener::from_std(listener).context("cannot set the socket up")
}

/// Lets connections in, for ever.
async fn let_in<V: Vault + Send + 'static>(
    listener: tokio::net::TcpListener,
    tls: impl Handshake,
    crowd: Arc<Crowd>,
    shared: Arc<Shared<V>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    // Nobody closes it.
    while let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // The client is gone, or the process is out of files for the moment.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, crowd, shared) = (tls.clone(), Arc::clone(&crowd), Arc::clone(&shared));
        tokio::spawn(timeout(CONNECTION_TIME, connection(stream, tls, permit, crowd, shared)));
    }
}

/// How many connections each SAE has.
#[derive(Default)]
struct Crowd(Mutex<BTreeMap<Option<Name>, usize>>);

struct Place {
    crowd: Arc<Crowd>,
    sae: Option<Name>,
}

impl Crowd {
    fn enter(self: &Arc<Self>, sae: Option<Name>) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(sae.clone()).or_insert(0);
        if *count >= CONNECTIONS_OF_EACH {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Place { crowd: Arc::clone(self), sae })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.sae) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.sae);
            }
        }
    }
}

/// One connection, from the handshake to its end. What goes wrong concerns nobody but the client.
async fn connection<V: Vault + Send + 'static>(
    stream: tokio::net::TcpStream,
    tls: impl Handshake,
    permit: OwnedSemaphorePermit,
    crowd: Arc<Crowd>,
    shared: Arc<Shared<V>>,
) {
    let Ok(Some((stream, from))) = timeout(HANDSHAKE_TIME, tls.accept(stream)).await else { return };
    drop(permit);
    // Names that nobody has here are counted as one.
    let from = from.filter(|name| shared.known.contains(name));
    let Some(_place) = crowd.enter(from.clone()) else { return };
    let from = Arc::new(from);
    let service = service_fn(|request| {
        let (from, shared) = (Arc::clone(&from), Arc::clone(&shared));
        async move { Ok::<_, Infallible>(respond(request, from, shared).await) }
    });
    let _ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_buf_size(LONGEST_HEAD)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type HttpResponse = http::Response<Full<Bytes>>;

async fn respond<V: Vault + Send + 'static>(
    request: http::Request<Incoming>,
    from: Arc<Option<Name>>,
    shared: Arc<Shared<V>>,
) -> HttpResponse {
    let (head, body) = request.into_parts();
    // A request with two lengths, behind which somebody between us may see another begin (RFC 9112, section 6.3), is the last of its
    // connection: hyper sees to that, and takes the one length away.
    let body = match timeout(REQUEST_TIME, Limited::new(body, LONGEST_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return last(Response::error(413, "the request is too long", &[]));
        }
        Ok(Err(_)) => return last(Response::error(400, "the request is malformed", &[])),
        Err(_) => return last(Response::error(408, "the request took too long", &[])),
    };
    let method = match head.method {
        http::Method::GET => Method::Get,
        http::Method::POST => Method::Post,
        _ => Method::Other,
    };
    let asked = Arc::new(Asked { from, method, uri: head.uri, body });
    let mut reached = Reached::default();
    let done = loop {
        match decide(&asked, reached.peers(), &shared).await {
            Answer::Now(response) => break Ok(response),
            Answer::Reach(peers) => {
                if let Err(refusal) = shared.others.reach(&peers, &mut reached).await {
                    break Err(refusal);
                }
            }
            // It is wiped where a relay fails, and where the SAE goes away while one is under way.
            Answer::After(relays, response) => {
                break shared.others.relay(relays, reached).await.map(|()| response);
            }
        }
    };
    http(done.unwrap_or_else(|refusal| refusal))
}

/// A request whose body is here.
struct Asked {
    from: Arc<Option<Name>>,
    method: Method,
    uri: http::Uri,
    body: Bytes,
}

async fn decide<V: Vault + Send + 'static>(
    asked: &Arc<Asked>,
    reached: BTreeSet<usize>,
    shared: &Arc<Shared<V>>,
) -> Answer {
    let (asked, shared) = (Arc::clone(asked), Arc::clone(shared));
    // Storage is written in there.
    let decided = tokio::task::spawn_blocking(move || {
        let (from, method) = (asked.from.as_ref().as_ref(), asked.method);
        let (path, query) = (asked.uri.path(), asked.uri.query().unwrap_or_default());
        shared.answer(&Request { from, reached: &reached, method, path, query, body: &asked.body })
    });
    decided.await.unwrap_or_else(|_| {
        // As good as a loss of power, which storage survives. Nobody knows what is in memory.
        eprintln!("skex: an answer could not be made; stopping");
        std::process::exit(1)
    })
}

fn http(response: Response) -> HttpResponse {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let response_type = response.content_type;
    // This copy is wiped when it has left; those of HTTP and TLS are theirs.
    let mut answer = http::Response::new(Full::new(Bytes::from_owner(Wiped(response.body))));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(response_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    answer
}

/// What is behind this request is not looked at.
fn last(response: Response) -> HttpResponse {
    let mut answer = http(response);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

struct Wiped(zeroize::Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
