//! The world of the images with DSKE: two clients, and hubs, with tables in what stands in for flash.

use alloc::vec::Vec;
use core::cell::UnsafeCell;

use skex_core::SecretBytes;
use skex_core::machine::PeerHandle;
use skex_dske::{
    Authorised, ClientConfig, ClientId, ClientTag, Coordinate, HubClient, HubConfig, HubId, HubLink, Origin,
    Pad, PadError, Table,
};
use skex_wire::SuiteId;

/// Hubs, and how many of them must cooperate.
pub const HUBS: usize = 5;
/// The threshold.
pub const THRESHOLD: u8 = 3;
/// What names the clients.
pub const TAGS: [ClientTag; 2] = [ClientTag::new([0xc0; 16]), ClientTag::new([0xc1; 16])];

const CLIENTS: usize = 2;
const ELEMENT: usize = 16;
/// Elements of a table.
const ELEMENTS: usize = 1024;

/// One copy of a table: by end, client, hub, direction.
const TABLES: usize = 2 * CLIENTS * HUBS * 2;

struct Flash(UnsafeCell<[[u8; ELEMENTS * ELEMENT]; TABLES]>);

// SAFETY: one thread; each `FlashPad` is the only one of its table, and no reference outlives a call.
unsafe impl Sync for Flash {}

static FLASH: Flash = Flash(UnsafeCell::new([[0; ELEMENTS * ELEMENT]; TABLES]));

/// A table in flash: none of it is on the heap.
pub struct FlashPad(usize);

impl FlashPad {
    fn octets(&self, index: u32, len: usize) -> Result<&mut [u8], PadError> {
        // SAFETY: see `Flash`.
        let tables = unsafe { &mut *FLASH.0.get() };
        let start = index as usize * ELEMENT;
        tables[self.0].get_mut(start..start + len).ok_or(PadError::OutOfRange)
    }
}

impl Pad for FlashPad {
    fn elements(&self) -> u32 {
        ELEMENTS as u32
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        out.copy_from_slice(self.octets(index, out.len())?);
        Ok(())
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        self.octets(index, elements as usize * ELEMENT)?.fill(0);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Holder {
    Client = 0,
    Hub = 1,
}

/// Both ends of a link have the same octets in their tables.
fn table(holder: Holder, client: usize, hub: usize, down: bool) -> Table<FlashPad> {
    let link = (client * HUBS + hub) * 2 + usize::from(down);
    let pad = FlashPad(holder as usize * (TABLES / 2) + link);
    let mut rng = crate::random::Repeatable::new(0x7ab1e + link as u64);
    if let Ok(octets) = pad.octets(0, ELEMENTS * ELEMENT) {
        rand_core::Rng::fill_bytes(&mut rng, octets);
    }
    Table::new(0, Origin::OutOfBand, pad)
}

fn initial_key(client: usize, hub: usize) -> SecretBytes<32> {
    SecretBytes::from_fn(|key| key.fill((client * HUBS + hub + 1) as u8))
}

fn hub_id(hub: usize) -> HubId {
    HubId::new([0xa0 + hub as u8; 16])
}

/// A client; `None` where its configuration is refused.
#[must_use]
pub fn client_config(client: usize) -> Option<ClientConfig<FlashPad>> {
    let link = |hub: usize| {
        Some(HubLink {
            hub: hub_id(hub),
            coordinate: Coordinate::new(hub as u8 + 1)?,
            handle: PeerHandle::new(hub as u32),
            client: ClientId::new(client as u32),
            suite: SuiteId::SHA256_AES256GCM,
            initial_key: initial_key(client, hub),
            uplink: table(Holder::Client, client, hub, false),
            downlink: table(Holder::Client, client, hub, true),
        })
    };
    let links: Option<Vec<_>> = (0..HUBS).map(link).collect();
    ClientConfig::new(TAGS[client], links?, [TAGS[1 - client]].into()).ok()
}

/// A hub of both clients.
#[must_use]
pub fn hub_config(hub: usize) -> Option<HubConfig<FlashPad>> {
    let client = |client: usize| HubClient {
        client: ClientId::new(client as u32),
        tag: TAGS[client],
        suite: SuiteId::SHA256_AES256GCM,
        initial_key: initial_key(client, hub),
        uplink: table(Holder::Hub, client, hub, false),
        downlink: table(Holder::Hub, client, hub, true),
        authorised: Authorised::Everyone,
    };
    HubConfig::new(hub_id(hub), Coordinate::new(hub as u8 + 1)?, (0..CLIENTS).map(client).collect()).ok()
}
