//! Socket addresses, and the numbers by which the machines know them.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::net::ToSocketAddrs as _;

use anyhow::{Context, Result};
use skex_core::machine::{PathId, PeerHandle};

/// Addresses that are remembered beside the configured ones. Who is forgotten is remembered anew by the next message.
const LEARNED: usize = 65536;

/// Numbers of paths below this one are handles of configured peers.
const FIRST_LEARNED: u64 = 1 << 32;

/// The addresses of configured peers, and those that messages came from.
#[derive(Debug)]
pub(crate) struct Paths {
    peers: Vec<Option<SocketAddr>>,
    numbers: BTreeMap<SocketAddr, u64>,
    addresses: BTreeMap<u64, SocketAddr>,
    next: u64,
}

impl Paths {
    /// The addresses of peers with the handles 0, 1 and so on; `None`: not configured, it will come to us.
    pub(crate) const fn new(peers: Vec<Option<SocketAddr>>) -> Self {
        Self { peers, numbers: BTreeMap::new(), addresses: BTreeMap::new(), next: FIRST_LEARNED }
    }

    /// Configures the address of peer 0.
    pub(crate) fn set_only_peer(&mut self, address: SocketAddr) {
        self.peers = vec![Some(address)];
    }

    pub(crate) fn address_of_peer(&self, peer: PeerHandle) -> Option<SocketAddr> {
        *self.peers.get(usize::try_from(peer.number()).ok()?)?
    }

    pub(crate) fn address_of_path(&self, path: PathId) -> Option<SocketAddr> {
        match u32::try_from(path.number()) {
            Ok(peer) => self.address_of_peer(PeerHandle::new(peer)),
            Err(_) => self.addresses.get(&path.number()).copied(),
        }
    }

    /// The path on which a message came: the handle of a configured peer, or a number of its own.
    pub(crate) fn path_of(&mut self, address: SocketAddr) -> PathId {
        if let Some(peer) = self.peers.iter().position(|peer| *peer == Some(address)) {
            return PathId::new(peer as u64);
        }
        if let Some(number) = self.numbers.get(&address) {
            return PathId::new(*number);
        }
        if self.addresses.len() >= LEARNED
            && let Some((_, forgotten)) = self.addresses.pop_first()
        {
            self.numbers.remove(&forgotten);
        }
        let number = self.next;
        self.next = self.next.saturating_add(1);
        self.numbers.insert(address, number);
        self.addresses.insert(number, address);
        PathId::new(number)
    }
}

/// Looks an address up, `HOST:PORT`.
pub(crate) fn resolve(address: &str) -> Result<SocketAddr> {
    address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()).with_context(|| {
        format!("{address} is no address: write HOST:PORT, with a name that can be looked up")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn configured_peers_keep_their_handles_and_others_get_a_number_each() {
        let mut paths = Paths::new(vec![None, Some(address(1))]);
        assert_eq!(paths.path_of(address(1)), PathId::new(1));
        let (one, other) = (paths.path_of(address(2)), paths.path_of(address(3)));
        assert_ne!(one, other);
        assert_eq!(paths.path_of(address(2)), one);
        assert_eq!(paths.address_of_path(other), Some(address(3)));
        assert_eq!(paths.address_of_path(PathId::new(1)), Some(address(1)));
        assert_eq!(paths.address_of_peer(PeerHandle::new(0)), None);
        assert_eq!(paths.address_of_peer(PeerHandle::new(7)), None);
    }

    #[test]
    fn a_flood_of_addresses_makes_the_oldest_forgotten_and_nothing_grow() {
        let mut paths = Paths::new(Vec::new());
        let first = paths.path_of(address(1));
        for number in 0..u32::try_from(LEARNED).unwrap() {
            paths.path_of(SocketAddr::from((number.to_be_bytes(), 9)));
        }
        assert_eq!((paths.addresses.len(), paths.numbers.len()), (LEARNED, LEARNED));
        assert_eq!(paths.address_of_path(first), None);
        assert_ne!(paths.path_of(address(1)), first);
    }
}
