//! Socket addresses, and the numbers by which the machines know them.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::collections::{BTreeMap, HashMap};
use std::net::ToSocketAddrs as _;

use anyhow::{Context, Result};
use skex_core::machine::{PathId, PeerHandle};

/// IPv6 addresses that are remembered beside the configured ones. Who is forgotten is remembered anew by the next message.
const LEARNED: usize = 65536;

/// Numbers of paths below this one are handles of configured peers; from here on they count IPv6 addresses.
const FIRST_LEARNED: u64 = 1 << 32;

/// Set in the number of a path that is an IPv4 address and port itself: nothing has to be remembered of it.
const IPV4: u64 = 1 << 63;

/// The addresses of configured peers, and those that messages came from.
#[derive(Debug)]
pub(crate) struct Paths {
    peers: Vec<Option<SocketAddr>>,
    handles: HashMap<SocketAddr, u64>,
    numbers: BTreeMap<SocketAddr, u64>,
    addresses: BTreeMap<u64, SocketAddr>,
    next: u64,
}

impl Paths {
    /// The addresses of peers with the handles 0, 1 and so on; `None`: not configured, it will come to us.
    pub(crate) fn new(peers: Vec<Option<SocketAddr>>) -> Self {
        let mut handles = HashMap::new();
        for (handle, address) in (0..).zip(&peers) {
            if let Some(address) = address {
                handles.entry(*address).or_insert(handle);
            }
        }
        Self { peers, handles, numbers: BTreeMap::new(), addresses: BTreeMap::new(), next: FIRST_LEARNED }
    }

    /// Configures the address of peer 0.
    pub(crate) fn set_only_peer(&mut self, address: SocketAddr) {
        *self = Self::new(vec![Some(address)]);
    }

    pub(crate) fn address_of_peer(&self, peer: PeerHandle) -> Option<SocketAddr> {
        *self.peers.get(usize::try_from(peer.number()).ok()?)?
    }

    pub(crate) fn address_of_path(&self, path: PathId) -> Option<SocketAddr> {
        let number = path.number();
        match u32::try_from(number) {
            Ok(peer) => self.address_of_peer(PeerHandle::new(peer)),
            Err(_) if number & IPV4 != 0 => Some(ipv4_of(number)),
            Err(_) => self.addresses.get(&number).copied(),
        }
    }

    /// The path on which a message came: the handle of a configured peer, or a number of its own.
    pub(crate) fn path_of(&mut self, address: SocketAddr) -> PathId {
        if let Some(handle) = self.handles.get(&address) {
            return PathId::new(*handle);
        }
        if let SocketAddr::V4(address) = address {
            return PathId::new(number_of(address));
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

fn number_of(address: SocketAddrV4) -> u64 {
    IPV4 | u64::from(address.ip().to_bits()) << 16 | u64::from(address.port())
}

fn ipv4_of(number: u64) -> SocketAddr {
    let [_, _, a, b, c, d, high, low] = number.to_be_bytes();
    SocketAddr::from((Ipv4Addr::from([a, b, c, d]), u16::from_be_bytes([high, low])))
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
    fn a_flood_of_ipv4_addresses_takes_no_memory_and_makes_nobody_forgotten() {
        let mut paths = Paths::new(Vec::new());
        let first = paths.path_of(address(1));
        for number in 0..100_000_u32 {
            let from = SocketAddr::from((number.to_be_bytes(), 9));
            let path = paths.path_of(from);
            assert_eq!(paths.address_of_path(path), Some(from));
        }
        assert!(paths.addresses.is_empty() && paths.numbers.is_empty());
        assert_eq!(paths.address_of_path(first), Some(address(1)));
        for last in [SocketAddr::from(([0; 4], 0)), SocketAddr::from(([255; 4], 65535))] {
            let path = paths.path_of(last);
            assert_eq!(paths.address_of_path(path), Some(last));
        }
    }

    #[test]
    fn a_flood_of_ipv6_addresses_makes_the_oldest_forgotten_and_nothing_grow() {
        let mut paths = Paths::new(Vec::new());
        let from = |number: u32| {
            let mut host = [0x20; 16];
            host[12..].copy_from_slice(&number.to_be_bytes());
            SocketAddr::from((host, 9))
        };
        let first = paths.path_of(from(u32::MAX));
        for number in 0..u32::try_from(LEARNED).unwrap() {
            paths.path_of(from(number));
        }
        assert_eq!((paths.addresses.len(), paths.numbers.len()), (LEARNED, LEARNED));
        assert_eq!(paths.address_of_path(first), None);
        assert_ne!(paths.path_of(from(u32::MAX)), first);
    }
}
