//! The header of a provisioning file, octet by octet.

use alloc::vec::Vec;

use skex_core::{SecretBytes, SecretVec, Suite};
use skex_wire::dske::{Direction, TableOrigin};
use skex_wire::{EncodeError, Reader, SuiteId, Writer};

use super::{LinkIdentity, MAX_PROVISION_PARTS, Provision, ProvisionError, TablePart};
use crate::id::{ClientId, ClientTag, HubId};
use crate::key::Origin;
use crate::share::Coordinate;

const MAGIC: [u8; 7] = *b"SKEXPRV";
const VERSION: u8 = 1;

/// Flag: the initial key is here.
const ENROLS: u8 = 1;

/// Magic 7, version 1, flags 1, link, count 2, checksum 16.
const FIXED_LEN: usize = 27 + LINK_LEN;
const KEY_LEN: usize = 32;
const PART_LEN: usize = 16;
const CHECKSUM_LEN: usize = 16;

/// Hub id 16, coordinate 1, tag 16, client id 4, suite 1.
pub(super) const LINK_LEN: usize = 38;

/// Octets of a header.
pub(super) const fn len(enrols: bool, parts: usize) -> usize {
    let key = if enrols { KEY_LEN } else { 0 };
    FIXED_LEN.saturating_add(key).saturating_add(parts.saturating_mul(PART_LEN))
}

/// Every field of a link's identity.
pub(super) fn encode_link(link: &LinkIdentity, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.bytes(link.hub.as_bytes())?;
    out.u8(link.coordinate.get())?;
    out.bytes(link.tag.as_bytes())?;
    out.u32(link.client.number())?;
    out.u8(link.suite.value())
}

pub(super) fn encode(provision: &Provision) -> SecretVec {
    let Provision { link, initial_key, parts } = provision;
    SecretVec::from_fn(provision.header_len(), |octets| {
        let mut out = Writer::new(octets);
        let mut write = || {
            out.bytes(&MAGIC)?;
            out.u8(VERSION)?;
            out.u8(if initial_key.is_some() { ENROLS } else { 0 })?;
            encode_link(link, &mut out)?;
            if let Some(key) = initial_key {
                out.bytes(key.expose())?;
            }
            // At most MAX_PROVISION_PARTS, by construction.
            out.u16(u16::try_from(parts.len()).unwrap_or(u16::MAX))?;
            for part in parts {
                out.u8(part.direction.value())?;
                out.u8(part.origin.code().value())?;
                out.u16(part.number)?;
                out.u32(part.elements)?;
                out.u32(part.first)?;
                out.u32(part.end)?;
            }
            let checksum = checksum(out.written()).ok_or(EncodeError::BufferTooSmall)?;
            out.bytes(&checksum)
        };
        let written: Result<(), EncodeError> = write();
        debug_assert!(written.is_ok());
    })
}

pub(super) fn decode(octets: &[u8]) -> Result<(Provision, usize), ProvisionError> {
    let torn = |_| ProvisionError::Torn;
    let mut reader = Reader::new(octets);
    if reader.array::<7>().ok() != Some(MAGIC) {
        return Err(ProvisionError::NotProvisioning);
    }
    match reader.u8().map_err(torn)? {
        VERSION => {}
        other => return Err(ProvisionError::Version(other)),
    }
    let flags = reader.u8().map_err(torn)?;
    let mut link = Reader::new(reader.take(LINK_LEN).map_err(torn)?);
    let key = if flags & ENROLS == 0 { None } else { Some(reader.array_ref::<KEY_LEN>().map_err(torn)?) };
    let count = usize::from(reader.u16().map_err(torn)?);
    let parts = reader.take(count.saturating_mul(PART_LEN)).map_err(torn)?;
    let checked = octets.get(..reader.offset()).ok_or(ProvisionError::Torn)?;
    // Against accidents. Whoever alters the file is met by the tags of the chunks.
    if Some(reader.array::<CHECKSUM_LEN>().map_err(torn)?) != checksum(checked) {
        return Err(ProvisionError::Damaged);
    }
    if flags & !ENROLS != 0 || count > MAX_PROVISION_PARTS {
        return Err(ProvisionError::Content);
    }
    let (link, key) = (decode_link(&mut link)?, key.map(SecretBytes::copied_from));
    let mut parts = Reader::new(parts);
    let parts: Vec<TablePart> = (0..count).map(|_| decode_part(&mut parts)).collect::<Result<_, _>>()?;
    Ok((Provision::new(link, key, parts)?, reader.offset()))
}

fn decode_link(reader: &mut Reader<'_>) -> Result<LinkIdentity, ProvisionError> {
    let torn = |_| ProvisionError::Torn;
    Ok(LinkIdentity {
        hub: HubId::new(reader.array().map_err(torn)?),
        coordinate: Coordinate::new(reader.u8().map_err(torn)?).ok_or(ProvisionError::Content)?,
        tag: ClientTag::new(reader.array().map_err(torn)?),
        client: ClientId::new(reader.u32().map_err(torn)?),
        suite: SuiteId::new(reader.u8().map_err(torn)?),
    })
}

fn decode_part(reader: &mut Reader<'_>) -> Result<TablePart, ProvisionError> {
    let torn = |_| ProvisionError::Torn;
    let direction = Direction::new(reader.u8().map_err(torn)?);
    let origin = match TableOrigin::new(reader.u8().map_err(torn)?) {
        TableOrigin::OUT_OF_BAND => Origin::OutOfBand,
        TableOrigin::REFILL => Origin::Refill,
        _ => return Err(ProvisionError::Content),
    };
    let number = reader.u16().map_err(torn)?;
    let elements = reader.u32().map_err(torn)?;
    let first = reader.u32().map_err(torn)?;
    let end = reader.u32().map_err(torn)?;
    Ok(TablePart { direction, number, origin, elements, first, end })
}

/// SHA-256, cut to 16 octets. `None` cannot be: its suite is always compiled in.
fn checksum(octets: &[u8]) -> Option<[u8; CHECKSUM_LEN]> {
    let hash = Suite::from_id(SuiteId::SHA256_AES256GCM)?.hash().chain(octets).finish();
    hash.as_bytes().first_chunk().copied()
}
