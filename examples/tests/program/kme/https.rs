//! A client that sends what it is told, octet by octet.

use core::time::Duration;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use super::pki::Identity;

/// Far more than any answer takes.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Https {
    pub(super) address: String,
    authority: String,
}

pub(super) type Connection = StreamOwned<ClientConnection, TcpStream>;

impl Https {
    pub(super) const fn new(address: String, authority: String) -> Self {
        Self { address, authority }
    }

    /// A connection whose handshake is not done yet.
    pub(super) fn connect(&self, identity: Option<&Identity>) -> Connection {
        self.connect_if_up(identity).unwrap()
    }

    fn connect_if_up(&self, identity: Option<&Identity>) -> std::io::Result<Connection> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain: Result<_, _> =
                    CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.unwrap(), key).unwrap()
            }
        };
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Ok(StreamOwned::new(connection, stream))
    }

    /// Sends this and gives all that comes back until the server closes.
    pub(super) fn raw(&self, identity: Option<&Identity>, request: &[u8]) -> std::io::Result<String> {
        let mut connection = self.connect_if_up(identity)?;
        // A server that has heard enough closes while we still write; what it said is there to read.
        let _sent = connection.write_all(request).and_then(|()| connection.flush());
        read_all(&mut connection)
    }

    /// The same, and says that there is no more to come, so that a server that waits for more does not wait for long.
    pub(super) fn raw_half_closed(&self, identity: &Identity, request: &[u8]) -> std::io::Result<String> {
        let mut connection = self.connect_if_up(Some(identity))?;
        let _sent = connection.write_all(request).and_then(|()| connection.flush());
        connection.conn.send_close_notify();
        let _sent = connection.conn.complete_io(&mut connection.sock);
        read_all(&mut connection)
    }

    /// One request, the status and the JSON of the answer.
    #[track_caller]
    pub(super) fn send(&self, identity: &Identity, request: &str) -> (u16, Value) {
        answer(&self.raw(Some(identity), request.as_bytes()).unwrap())
    }

    #[track_caller]
    pub(super) fn get(&self, identity: &Identity, target: &str) -> (u16, Value) {
        self.send(identity, &format!("GET {target} HTTP/1.1\r\nHost: kme\r\nConnection: close\r\n\r\n"))
    }

    #[track_caller]
    pub(super) fn post(&self, identity: &Identity, target: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let head = "Host: kme\r\nConnection: close\r\nContent-Type: application/json";
        let len = body.len();
        self.send(
            identity,
            &format!("POST {target} HTTP/1.1\r\n{head}\r\nContent-Length: {len}\r\n\r\n{body}"),
        )
    }
}

/// Until the server closes, politely or not, once something has come.
pub(super) fn read_all(connection: &mut Connection) -> std::io::Result<String> {
    let mut octets = Vec::new();
    match connection.read_to_end(&mut octets) {
        Err(error) if octets.is_empty() => Err(error),
        _ => Ok(String::from_utf8(octets).unwrap()),
    }
}

/// Status and JSON of an answer that is alone on its connection.
#[track_caller]
pub(super) fn answer(text: &str) -> (u16, Value) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    // What HTTP itself refuses has no body.
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}
