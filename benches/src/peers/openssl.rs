//! OpenSSL with an external pre-shared key, both ends in memory: neither has forward secrecy.

use core::cell::RefCell;
use std::io::{Read, Write};
use std::{collections::VecDeque, io, rc::Rc};

use openssl::ssl::{
    HandshakeError, MidHandshakeSslStream, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions,
    SslSessionCacheMode, SslStream, SslVersion,
};

use crate::work::Work;

const KEY: [u8; 32] = [7; 32];

/// One end of a connection in memory.
struct Pipe {
    incoming: Rc<RefCell<VecDeque<u8>>>,
    outgoing: Rc<RefCell<VecDeque<u8>>>,
    sent: Rc<RefCell<usize>>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut incoming = self.incoming.borrow_mut();
        if incoming.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { incoming.read(buffer) }
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        *self.sent.borrow_mut() += octets.len();
        self.outgoing.borrow_mut().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Pair([SslContext; 2]);

impl Pair {
    fn new(version: SslVersion, prepare: impl Fn(&mut SslContextBuilder, bool)) -> Self {
        Self([false, true].map(|server| {
            let mut context = SslContextBuilder::new(SslMethod::tls()).unwrap();
            context.set_min_proto_version(Some(version)).unwrap();
            context.set_max_proto_version(Some(version)).unwrap();
            // Nothing for a next time: neither a ticket nor a session that is remembered.
            context.set_options(SslOptions::NO_TICKET);
            context.set_session_cache_mode(SslSessionCacheMode::OFF);
            prepare(&mut context, server);
            if server {
                context.set_num_tickets(0).unwrap();
                context.set_psk_server_callback(|_, _, key| {
                    key[..32].copy_from_slice(&KEY);
                    Ok(32)
                });
            } else {
                context.set_psk_client_callback(|_, _, identity, key| {
                    identity[..7].copy_from_slice(b"client\0");
                    key[..32].copy_from_slice(&KEY);
                    Ok(32)
                });
            }
            context.build()
        }))
    }

    fn handshake(&self) -> usize {
        let [up, down] = [(); 2].map(|()| Rc::new(RefCell::new(VecDeque::new())));
        let sent = Rc::new(RefCell::new(0));
        let pipe = |incoming: &Rc<_>, outgoing: &Rc<_>| Pipe {
            incoming: Rc::clone(incoming),
            outgoing: Rc::clone(outgoing),
            sent: Rc::clone(&sent),
        };
        let [client, server] = self.0.each_ref().map(|context| Ssl::new(context).unwrap());
        let mut client = goes_on(client.connect(pipe(&down, &up)));
        let mut server = goes_on(server.accept(pipe(&up, &down)));
        loop {
            client = match client {
                End::Going(end) => goes_on(end.handshake()),
                done => done,
            };
            server = match server {
                End::Going(end) => goes_on(end.handshake()),
                done => done,
            };
            if let (End::Done(client), End::Done(_)) = (&client, &server) {
                assert!(client.ssl().peer_tmp_key().is_err(), "the server sent no key of its own");
                return *sent.borrow();
            }
        }
    }
}

enum End {
    Going(MidHandshakeSslStream<Pipe>),
    Done(SslStream<Pipe>),
}

fn goes_on(result: Result<SslStream<Pipe>, HandshakeError<Pipe>>) -> End {
    match result {
        Ok(stream) => End::Done(stream),
        Err(HandshakeError::WouldBlock(end)) => End::Going(end),
        Err(_) => panic!("the handshake failed"),
    }
}

/// TLS 1.3 with an external key, `psk_ke`: OpenSSL chooses it where it is allowed and both ends have no group in common. The client
/// makes a key of its own for the group that the server does not have, as it does wherever it allows others too.
pub struct OpensslPsk13(Pair);

impl Default for OpensslPsk13 {
    fn default() -> Self {
        Self(Pair::new(SslVersion::TLS1_3, |context, server| {
            context.set_ciphersuites("TLS_AES_128_GCM_SHA256").unwrap();
            let allow = SslOptions::from_bits_retain(1 << 10); // SSL_OP_ALLOW_NO_DHE_KEX
            context.set_options(allow);
            context.set_groups_list(if server { "P-256" } else { "X25519" }).unwrap();
        }))
    }
}

impl Work for OpensslPsk13 {
    fn once(&mut self) -> usize {
        self.0.handshake()
    }
}

/// TLS 1.2, plain `PSK`: the cheapest exchange by symmetric keys alone that is deployed.
pub struct OpensslPsk12(Pair);

impl Default for OpensslPsk12 {
    fn default() -> Self {
        Self(Pair::new(SslVersion::TLS1_2, |context, _| {
            context.set_cipher_list("PSK-AES128-GCM-SHA256").unwrap();
        }))
    }
}

impl Work for OpensslPsk12 {
    fn once(&mut self) -> usize {
        self.0.handshake()
    }
}

impl core::fmt::Debug for OpensslPsk13 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OpensslPsk13")
    }
}

impl core::fmt::Debug for OpensslPsk12 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OpensslPsk12")
    }
}
