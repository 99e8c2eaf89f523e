//! TCP-AO: master key tuples (RFC 5925), and traffic keys for who needs them (RFC 5926).

use core::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac, digest::FixedOutput};
use sha1::Sha1;

use super::cmac::aes128_cmac;
use super::{Consumer, Direction, End, ExportError, Exporter, KeyName};
use crate::{KeyBytes, SecretBytes};

/// Octets of the MAC in a segment: both algorithms are cut to 96 bits (RFC 5926, section 3.2).
pub const TCP_AO_MAC_LEN: usize = 12;

/// A MAC with its key derivation (RFC 5926).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TcpAoAlgorithm {
    /// HMAC-SHA-1-96 with KDF_HMAC_SHA1. Linux calls it `hmac(sha1)`.
    HmacSha1,
    /// AES-128-CMAC-96 with KDF_AES_128_CMAC. Linux calls it `cmac(aes128)`.
    Aes128Cmac,
}

/// A master key tuple. What belongs to the connection (addresses, ports, whether options are covered) is the
/// embedder's to add, the same at both ends.
#[derive(Debug, PartialEq, Eq)]
pub struct TcpAoMkt {
    name: KeyName,
    send_id: u8,
    recv_id: u8,
    algorithm: TcpAoAlgorithm,
    master: SecretBytes<32>,
}

impl TcpAoMkt {
    /// What names it at both ends, outside TCP-AO.
    #[must_use]
    pub const fn name(&self) -> KeyName {
        self.name
    }

    /// SendID: twice the generation modulo 128, plus one at end B. The other end's RecvID.
    #[must_use]
    pub const fn send_id(&self) -> u8 {
        self.send_id
    }

    /// RecvID: the other end's SendID.
    #[must_use]
    pub const fn recv_id(&self) -> u8 {
        self.recv_id
    }

    /// The algorithms.
    #[must_use]
    pub const fn algorithm(&self) -> TcpAoAlgorithm {
        self.algorithm
    }

    /// The master key: the first 16 octets for AES-128-CMAC, which takes them as they are, or all 32. The single exit.
    #[must_use]
    pub fn expose_master_key(&self) -> &[u8] {
        match self.algorithm {
            TcpAoAlgorithm::Aes128Cmac => self.master.expose().get(..16).unwrap_or_default(),
            TcpAoAlgorithm::HmacSha1 => self.master.expose(),
        }
    }

    /// The traffic key of one direction of one connection: 20 octets for HMAC-SHA-1, 16 for AES-128-CMAC (RFC 5925,
    /// section 5.2; RFC 5926, section 3.1). For a TCP implementation that has no key derivation of its own.
    #[must_use]
    pub fn traffic_key(&self, connection: &TcpAoConnection) -> KeyBytes {
        traffic_key(self.algorithm, self.expose_master_key(), connection)
    }
}

/// One direction of a connection, seen from the sender of its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpAoConnection {
    source: SocketAddr,
    destination: SocketAddr,
    source_isn: u32,
    destination_isn: u32,
}

impl TcpAoConnection {
    /// From `source` to `destination`, with the initial sequence numbers of both: 0 for the destination's in a SYN
    /// without ACK. `None` where the addresses are of two families.
    #[must_use]
    pub const fn new(
        source: SocketAddr,
        destination: SocketAddr,
        source_isn: u32,
        destination_isn: u32,
    ) -> Option<Self> {
        if source.is_ipv4() != destination.is_ipv4() {
            return None;
        }
        Some(Self { source, destination, source_isn, destination_isn })
    }
}

/// KDF(master key, 1 | "TCP-AO" | context | output length in bits).
fn traffic_key(algorithm: TcpAoAlgorithm, master: &[u8], connection: &TcpAoConnection) -> KeyBytes {
    let mut addresses = [0; 32];
    let addresses = addresses_into(connection, &mut addresses);
    let ports = [connection.source.port().to_be_bytes(), connection.destination.port().to_be_bytes()];
    let isns = [connection.source_isn.to_be_bytes(), connection.destination_isn.to_be_bytes()];
    let bits: u16 = match algorithm {
        TcpAoAlgorithm::HmacSha1 => 160,
        TcpAoAlgorithm::Aes128Cmac => 128,
    };
    let input: [&[u8]; 6] =
        [&[1], b"TCP-AO", addresses, ports.as_flattened(), isns.as_flattened(), &bits.to_be_bytes()];
    match algorithm {
        TcpAoAlgorithm::HmacSha1 => KeyBytes::from(&hmac_sha1(master, &input)),
        TcpAoAlgorithm::Aes128Cmac => KeyBytes::from(&match SecretBytes::try_copied_from(master) {
            Some(master) => aes128_cmac(master.expose(), &input),
            // A master key of another length is brought to 16 octets first (RFC 5926, section 3.1.1.2).
            None => aes128_cmac(aes128_cmac(&[0; 16], &[master]).expose(), &input),
        }),
    }
}

fn addresses_into<'a>(connection: &TcpAoConnection, out: &'a mut [u8; 32]) -> &'a [u8] {
    let len = match (connection.source, connection.destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            let both = [source.ip().octets(), destination.ip().octets()];
            if let Some(place) = out.first_chunk_mut::<8>() {
                place.copy_from_slice(both.as_flattened());
            }
            8
        }
        (source, destination) => {
            let octets = |address: SocketAddr| match address {
                SocketAddr::V6(address) => address.ip().octets(),
                SocketAddr::V4(address) => address.ip().to_ipv6_mapped().octets(),
            };
            out.copy_from_slice([octets(source), octets(destination)].as_flattened());
            32
        }
    };
    out.get(..len).unwrap_or_default()
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac_sha1(key: &[u8], message: &[&[u8]]) -> SecretBytes<20> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in message {
        mac.update(part);
    }
    SecretBytes::from_fn(|out| mac.finalize_into(out.into()))
}

impl Exporter {
    /// A master key tuple of one generation. At most 128 generations can be told apart by their ids.
    ///
    /// Parameters: one octet, 1 for HMAC-SHA-1 or 2 for AES-128-CMAC; the generation, eight octets.
    ///
    /// # Errors
    /// [`ExportError::Used`].
    pub fn tcp_ao(
        &mut self,
        number: u32,
        generation: u64,
        algorithm: TcpAoAlgorithm,
    ) -> Result<TcpAoMkt, ExportError> {
        let mut parameters = [0; 9];
        let (which, rest) = parameters.split_at_mut(1);
        which.fill(match algorithm {
            TcpAoAlgorithm::HmacSha1 => 1,
            TcpAoAlgorithm::Aes128Cmac => 2,
        });
        rest.copy_from_slice(&generation.to_be_bytes());
        let claim = self.claim(Consumer::TcpAo, Direction::Both, number, &parameters)?;
        let [.., low] = generation.to_be_bytes();
        let id = |end| low << 1 | u8::from(end == End::B);
        Ok(TcpAoMkt {
            name: KeyName::new(self.name(&claim)),
            send_id: id(self.end()),
            recv_id: id(self.end().other()),
            algorithm,
            master: self.secret(&claim),
        })
    }
}

#[cfg(test)]
mod tests;
