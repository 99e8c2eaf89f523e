//! TLS 1.3 of rustls with aws-lc-rs, both ends in memory: X25519, ECDSA P-256; in full, or resumed.

use std::sync::Arc;

use rcgen::generate_simple_self_signed;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::work::Work;

/// A client and a server.
#[derive(Debug)]
pub struct RustlsPair {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    resumed: bool,
}

impl RustlsPair {
    /// With a full handshake every time, or a resumed one (`psk_dhe_ke`) after the first.
    #[must_use]
    pub fn new(resumed: bool) -> Self {
        let certified = generate_simple_self_signed(["server".to_owned()]).unwrap();
        let certificate = certified.cert.der().clone();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        });
        let versions = [&rustls::version::TLS13];
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider.clone());
        let mut client = client
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder_with_provider(provider);
        let server = server.with_protocol_versions(&versions).unwrap().with_no_client_auth();
        let mut server = server.with_single_cert(vec![certificate], key).unwrap();
        if !resumed {
            client.resumption = Resumption::disabled();
            server.send_tls13_tickets = 0;
        } else {
            server.send_tls13_tickets = 1;
        }
        let pair = Self { client: Arc::new(client), server: Arc::new(server), resumed };
        pair.handshake();
        pair
    }

    fn handshake(&self) -> usize {
        let name = ServerName::try_from("server").unwrap();
        let mut client = ClientConnection::new(self.client.clone(), name).unwrap();
        let mut server = ServerConnection::new(self.server.clone()).unwrap();
        let (mut octets, mut buffer) = (0, Vec::with_capacity(4096));
        while client.wants_write() || server.wants_write() {
            buffer.clear();
            client.write_tls(&mut buffer).unwrap();
            octets += buffer.len();
            server.read_tls(&mut buffer.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            buffer.clear();
            while server.wants_write() {
                server.write_tls(&mut buffer).unwrap();
            }
            octets += buffer.len();
            let mut unread = buffer.as_slice();
            while !unread.is_empty() {
                client.read_tls(&mut unread).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        octets
    }
}

impl Work for RustlsPair {
    fn once(&mut self) -> usize {
        let octets = self.handshake();
        debug_assert!(self.resumed || octets > 500);
        octets
    }
}
