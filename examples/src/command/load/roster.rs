//! Who is enrolled where. Everything follows from the numbers, so that nothing has to be carried between processes.

use core::num::NonZeroU16;

use anyhow::{Context, Result};
use skex_core::SecretBytes;
use skex_core::machine::PeerHandle;
use skex_dske::{
    Authorised, ClientConfig, ClientId, ClientTag, Coordinate, HubClient, HubConfig, HubId, HubLimits,
    HubLink, Origin, Table,
};
use skex_wire::SuiteId;

use super::pad::{SeededPad, mix};

/// A network for the load test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Roster {
    pub(super) clients: u32,
    pub(super) hubs: u8,
    /// Elements of each table.
    pub(super) elements: u32,
    /// Of each hub that is a process of its own.
    pub(super) shards: NonZeroU16,
}

/// Each client talks with those so many places before and behind it: among many clients as good as anybody.
const OFFSETS: [u32; 4] = [1, 7919, 15_485, 23_456];

const SUITE: SuiteId = SuiteId::SHA256_AES256GCM;

impl Roster {
    pub(super) fn tag(client: u32) -> ClientTag {
        let mut tag = [0; 16];
        tag[..8].copy_from_slice(&mix(u64::from(client)).to_be_bytes());
        tag[8..12].copy_from_slice(&client.to_be_bytes());
        ClientTag::new(tag)
    }

    fn hub_id(hub: u8) -> HubId {
        HubId::new([0xa0 | hub; 16])
    }

    fn coordinate(hub: u8) -> Result<Coordinate> {
        Coordinate::new(hub + 1).context("too many hubs")
    }

    fn initial_key(hub: u8, client: u32) -> SecretBytes<32> {
        let mut key = SecretBytes::zeroed();
        for (octets, part) in key.expose_mut().chunks_mut(8).zip(0_u64..) {
            octets.copy_from_slice(&mix(link_seed(hub, client) ^ mix(part + 100)).to_le_bytes());
        }
        key
    }

    fn table(self, hub: u8, client: u32, direction: u64) -> Table<SeededPad> {
        let pad = SeededPad::new(link_seed(hub, client) ^ mix(direction), self.elements);
        Table::new(0, Origin::OutOfBand, pad)
    }

    pub(super) fn hub_config(self, hub: u8) -> Result<HubConfig<SeededPad>> {
        let client = |client| HubClient {
            client: ClientId::new(client),
            tag: Self::tag(client),
            suite: SUITE,
            initial_key: Self::initial_key(hub, client),
            uplink: self.table(hub, client, 1),
            downlink: self.table(hub, client, 2),
            authorised: Authorised::Everyone,
        };
        let clients = (0..self.clients).map(client).collect();
        let mut limits = HubLimits::default();
        // Few clients make as many keys as many do, and all live for a while.
        limits.keys_per_initiator = 1 << 20;
        Ok(HubConfig::new(Self::hub_id(hub), Self::coordinate(hub)?, clients)?.with_limits(limits))
    }

    pub(super) fn client_config(self, client: u32) -> Result<ClientConfig<SeededPad>> {
        let link = |hub| -> Result<HubLink<SeededPad>> {
            Ok(HubLink {
                hub: Self::hub_id(hub),
                coordinate: Self::coordinate(hub)?,
                handle: PeerHandle::new(hub.into()),
                client: ClientId::new(client),
                suite: SUITE,
                initial_key: Self::initial_key(hub, client),
                uplink: self.table(hub, client, 1),
                downlink: self.table(hub, client, 2),
            })
        };
        let links = (0..self.hubs).map(link).collect::<Result<Vec<_>>>()?;
        let mut peers: Vec<u32> = (0..self.degree()).map(|way| self.peer(client, way)).collect();
        peers.sort_unstable();
        peers.dedup();
        let peers = peers.into_iter().filter(|peer| *peer != client).map(Self::tag).collect();
        Ok(ClientConfig::new(Self::tag(client), links, peers)?)
    }

    /// Ways to choose a peer.
    pub(super) const fn degree(self) -> u64 {
        OFFSETS.len() as u64 * 2
    }

    /// The peer of `client` that this way leads to. Another client, where there are two at least.
    pub(super) fn peer(self, client: u32, way: u64) -> u32 {
        let offset = OFFSETS[(way / 2) as usize % OFFSETS.len()] % self.clients;
        let offset = if offset == 0 { 1 } else { offset };
        let steps = if way.is_multiple_of(2) { offset } else { self.clients - offset };
        (client + steps) % self.clients
    }
}

fn link_seed(hub: u8, client: u32) -> u64 {
    mix(u64::from(client) << 8 | u64::from(hub))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_one_talks_with_talks_with_one() {
        for clients in [2, 3, 10, 50_000] {
            let roster = Roster { clients, hubs: 2, elements: 1, shards: NonZeroU16::MIN };
            for client in [0, 1, clients - 1] {
                for way in 0..roster.degree() {
                    let peer = roster.peer(client, way);
                    assert_ne!(peer, client);
                    assert!((0..roster.degree()).any(|back| roster.peer(peer, back) == client));
                }
            }
        }
    }
}
