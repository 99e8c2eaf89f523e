//! TCP-AO (RFC 5925): what both of its consumers take, and the one that sets it on sockets.

mod relay;
mod socket;

use core::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail};
use skex_core::SecretVec;
use skex_core::export::{Exporter, TcpAoAlgorithm};

use super::{Consumer, Failure, Holding, Known, Material};
use crate::driver::resolve;
use relay::Relay;

/// Feed a relay of this program's, which carries TCP connections to the other end under TCP-AO of the Linux kernel.
///
/// For services that know nothing of TCP-AO. What does not come under a key of the link is not accepted, and nothing is sent
/// without one. Connections stay up while keys change. TCP-AO authenticates; it hides nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Accept connections of the other end here.
    #[arg(long, value_name = "HOST:PORT", requires = "deliver")]
    accept: Option<String>,
    /// Give them to this service.
    #[arg(long, value_name = "HOST:PORT", requires = "accept")]
    deliver: Option<String>,
    /// Accept connections for the other end here. Without authentication: let it be on this machine.
    #[arg(long, value_name = "HOST:PORT", requires = "carry")]
    listen: Option<String>,
    /// Carry them to this address of the other end.
    #[arg(long, value_name = "HOST:PORT", requires = "listen")]
    carry: Option<String>,
    /// The address of the other end.
    #[arg(long, value_name = "ADDRESS")]
    peer_address: IpAddr,
    #[command(flatten)]
    algorithm: AlgorithmArgument,
}

/// Which algorithm, the same at both ends.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct AlgorithmArgument {
    /// The algorithm, the same at both ends.
    #[arg(long, value_enum, default_value = "hmac-sha1")]
    algorithm: Algorithm,
}

/// The algorithms of RFC 5926.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Algorithm {
    /// HMAC-SHA-1-96.
    HmacSha1,
    /// AES-128-CMAC-96.
    #[value(name = "aes-128-cmac")]
    Aes128Cmac,
}

/// What the material of a generation holds: SendID, RecvID, algorithm, master key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct MasterKey<'a> {
    pub(super) send_id: u8,
    pub(super) recv_id: u8,
    pub(super) algorithm: Algorithm,
    pub(super) key: &'a [u8],
}

impl AlgorithmArgument {
    /// The master key tuple of a generation.
    pub(super) fn derive(self, exporter: &mut Exporter, generation: u64) -> Result<Material> {
        let (algorithm, code) = match self.algorithm {
            Algorithm::HmacSha1 => (TcpAoAlgorithm::HmacSha1, 1),
            Algorithm::Aes128Cmac => (TcpAoAlgorithm::Aes128Cmac, 2),
        };
        let tuple = exporter.tcp_ao(0, generation, algorithm)?;
        let parts: [&[u8]; 2] = [&[tuple.send_id(), tuple.recv_id(), code], tuple.expose_master_key()];
        let len = parts.iter().map(|part| part.len()).sum();
        let secret = SecretVec::from_fn(len, |out| {
            for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
                *to = *from;
            }
        });
        Ok(Material { name: tuple.name().to_string(), secret })
    }
}

impl<'a> MasterKey<'a> {
    pub(super) fn of(material: &'a Material) -> Result<Self, Failure> {
        let read = || {
            let (&[send_id, recv_id, code], key) = material.secret.expose().split_first_chunk()?;
            let algorithm = match (code, key.len()) {
                (1, 32) => Algorithm::HmacSha1,
                (2, 16) => Algorithm::Aes128Cmac,
                _ => return None,
            };
            Some(Self { send_id, recv_id, algorithm, key })
        };
        read().ok_or_else(|| Failure::Refused("the stored key is not one for TCP-AO".to_owned()))
    }
}

/// The relay, and the keys of its sockets.
pub(super) struct TcpAo {
    relay: Relay,
    algorithm: AlgorithmArgument,
}

impl TcpAo {
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let address = |text: &Option<String>| text.as_deref().map(resolve).transpose();
        let [accept, deliver, listen, carry] =
            [&arguments.accept, &arguments.deliver, &arguments.listen, &arguments.carry].map(address);
        let inward: Option<(SocketAddr, SocketAddr)> = accept?.zip(deliver?);
        let outward = listen?.zip(carry?);
        if inward.is_none() && outward.is_none() {
            bail!("nothing to carry: give --accept and --deliver, or --listen and --carry, or all four");
        }
        if let Some((_, carry)) = outward.filter(|(_, carry)| carry.ip() != arguments.peer_address) {
            bail!("{} is not the address of the other end, {}", carry.ip(), arguments.peer_address);
        }
        let relay = Relay::start(arguments.peer_address, inward, outward)?;
        Ok(Self { relay, algorithm: arguments.algorithm })
    }
}

impl Consumer for TcpAo {
    fn name(&self) -> String {
        format!("TCP-AO to {}", self.relay.peer())
    }

    fn target(&self) -> Option<String> {
        // The relay listens: the second cannot.
        None
    }

    fn derive(&self, exporter: &mut Exporter, generation: u64) -> Result<Material> {
        self.algorithm.derive(exporter, generation)
    }

    fn install(&mut self, key: Known<'_>) -> Result<(), Failure> {
        self.relay.add(key.generation, MasterKey::of(key.material)?)
    }

    fn switch_transmit(&mut self, key: Known<'_>) -> Result<(), Failure> {
        self.relay.use_key(key.generation)
    }

    fn confirm(&mut self, key: Known<'_>) -> Result<bool, Failure> {
        self.relay.is_used(MasterKey::of(key.material)?.send_id)
    }

    fn retire(&mut self, key: Known<'_>) -> Result<(), Failure> {
        self.relay.remove(key.generation)
    }

    /// The sockets live and die with this program, so it knows.
    fn holding(&mut self, _: &[Known<'_>]) -> Result<Holding, Failure> {
        let (generations, transmitting) = self.relay.holding();
        Ok(Holding { generations, transmitting })
    }
}
