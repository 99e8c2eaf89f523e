//! Keys on disk, until they are handed out.
//!
//! A file of slots of equal length. Each, of a key of DSKE or of a relayed key, holds a framed record (`skex_core::record`) or zeros. A key is handed out after its
//! slot was overwritten with zeros and the file was synced: this marks it as taken and erases it in one. A slot that a crash
//! left half written holds nothing: what was half written was never acknowledged, what was half erased was never given.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use skex_core::record::{self, RecordHeader, RecordKind};
use skex_core::{Assurance, KeyBytes, KeyId, OutputKey};
use skex_dske::ClientTag;
use skex_wire::{DecodeError, Reader, Writer};
use zeroize::Zeroizing;

use super::keeper::{KEY_LEN, Kept, Part, Relayed, Slot, Stored, Vault};
use super::naming::{Delivery, DeliveryId};
use crate::store::atomic::{parent, private, sync_directory};

const SLOT_LEN: usize = 128;
const SLOT_OCTETS: u64 = SLOT_LEN as u64;
const BLANK: [u8; SLOT_LEN] = [0; SLOT_LEN];

/// Of those for private use.
const KIND_OF_FILE: RecordKind = RecordKind::new(0x80);
const KIND_OF_KEY: RecordKind = RecordKind::new(0x81);
const KIND_OF_RELAYED: RecordKind = RecordKind::new(0x82);

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct FileVault {
    file: File,
    machine: [u8; 8],
    /// Slots that hold nothing, and the first behind the end.
    free: BTreeSet<u32>,
    end: u32,
    sequence: u64,
}

impl FileVault {
    /// Opens the file of this client, or begins one. Gives the keys in it, oldest first.
    pub(crate) fn open(path: &Path, own: ClientTag) -> Result<(Self, Vec<(Slot, Stored)>)> {
        let machine = own.as_bytes().first_chunk().copied().unwrap_or_default();
        let file = private(OpenOptions::new().read(true).write(true).create(true).truncate(false))
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut vault = Self { file, machine, free: BTreeSet::new(), end: 1, sequence: 0 };
        let cannot_read = || format!("cannot read {}", path.display());
        let len = vault.file.metadata().with_context(cannot_read)?.len();
        if len < SLOT_OCTETS {
            // New, or never begun whole.
            vault.begin().with_context(|| format!("cannot write {}", path.display()))?;
            sync_directory(parent(path))?;
            return Ok((vault, Vec::new()));
        }
        let mut slot = Zeroizing::new(BLANK);
        vault.file.read_exact_at(slot.as_mut(), 0).with_context(cannot_read)?;
        if record::decode_own(slot.as_ref(), KIND_OF_FILE, machine).is_err() {
            bail!("{} is not the key store of this client: bring the right file back", path.display());
        }
        vault.end = u32::try_from(len / SLOT_OCTETS).context("the key store is too long")?;
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        for number in 1..vault.end {
            vault.file.read_exact_at(slot.as_mut(), offset(Slot(number))).with_context(cannot_read)?;
            if *slot == BLANK {
                vault.free.insert(number);
                continue;
            }
            let of_kind = |kind| record::decode_own(slot.as_ref(), kind, machine);
            let (sequence, stored) = match (of_kind(KIND_OF_KEY), of_kind(KIND_OF_RELAYED)) {
                (Ok((sequence, body)), _) => (sequence, decode(body).map(Stored::Key)),
                (_, Ok((sequence, body))) => (sequence, decode_relayed(body).map(Stored::Relayed)),
                _ => {
                    damaged.push(Slot(number));
                    continue;
                }
            };
            let stored = stored.with_context(|| {
                format!("{} was written by another version of this program", path.display())
            })?;
            vault.sequence = vault.sequence.max(sequence);
            found.push((sequence, Slot(number), stored));
        }
        if !damaged.is_empty() {
            eprintln!(
                "skex: {}: {} keys were half written or half erased in a crash; they are given to nobody",
                path.display(),
                damaged.len()
            );
            vault.erase(&damaged)?;
        }
        found.sort_unstable_by_key(|(sequence, ..)| *sequence);
        Ok((vault, found.into_iter().map(|(_, slot, stored)| (slot, stored)).collect()))
    }

    fn begin(&self) -> std::io::Result<()> {
        let mut slot = BLANK;
        let header = RecordHeader::new(KIND_OF_FILE, self.machine, 0);
        record::encode(header, b"skex kme", &mut slot).map_err(std::io::Error::other)?;
        self.file.write_all_at(&slot, 0)?;
        self.file.sync_all()
    }
}

fn offset(slot: Slot) -> u64 {
    u64::from(slot.0).saturating_mul(SLOT_OCTETS)
}

impl Vault for FileVault {
    fn put(&mut self, keys: &[Stored]) -> Result<Vec<Slot>> {
        let (mut free, mut end, mut sequence) = (self.free.iter().copied(), self.end, self.sequence);
        let mut slots = Vec::with_capacity(keys.len());
        for stored in keys {
            let number = free.next().unwrap_or_else(|| {
                let number = end;
                end = end.saturating_add(1);
                number
            });
            sequence = sequence.checked_add(1).context("the key store is used up")?;
            let mut slot = Zeroizing::new(BLANK);
            let header = |kind| RecordHeader::new(kind, self.machine, sequence);
            match stored {
                Stored::Key(kept) => {
                    record::encode_with(header(KIND_OF_KEY), slot.as_mut(), |writer| encode(kept, writer))
                }
                Stored::Relayed(relayed) => {
                    record::encode_with(header(KIND_OF_RELAYED), slot.as_mut(), |writer| {
                        encode_relayed(relayed, writer)
                    })
                }
            }?;
            self.file
                .write_all_at(slot.as_ref(), offset(Slot(number)))
                .context("a key could not be stored")?;
            slots.push(Slot(number));
        }
        self.file.sync_data().context("a key could not be stored")?;
        (self.sequence, self.end) = (sequence, end);
        slots.iter().for_each(|slot| {
            self.free.remove(&slot.0);
        });
        Ok(slots)
    }

    fn erase(&mut self, slots: &[Slot]) -> Result<()> {
        for slot in slots {
            self.file.write_all_at(&BLANK, offset(*slot)).context("a key could not be erased")?;
        }
        self.file.sync_data().context("a key could not be erased")?;
        self.free.extend(slots.iter().map(|slot| slot.0));
        Ok(())
    }
}

/// Version 1: version (1) | part (1) | assurance (1) | peer (16) | key id (16) | index (8) | secret (32).
fn encode(kept: &Kept, writer: &mut Writer<'_>) -> Result<(), record::RecordError> {
    let too_long = |_| record::RecordError::TooLong;
    let part = match kept.part {
        Part::Made => 1,
        Part::Received => 2,
    };
    let assurance = u8::from(kept.key.assurance() == Assurance::InformationTheoretic);
    writer.bytes(&[1, part, assurance]).map_err(too_long)?;
    writer.bytes(kept.peer.as_bytes()).map_err(too_long)?;
    writer.bytes(kept.key.id().as_bytes()).map_err(too_long)?;
    writer.u64(kept.key.index()).map_err(too_long)?;
    writer.bytes(kept.key.secret().expose()).map_err(too_long)
}

fn decode(body: &[u8]) -> Result<Kept> {
    let mut reader = Reader::new(body);
    let read = || -> Result<_, DecodeError> {
        let head: [u8; 3] = reader.array()?;
        let (peer, id) = (ClientTag::new(reader.array()?), KeyId::new(reader.array()?));
        let (index, secret) = (reader.u64()?, KeyBytes::copied_from(reader.take(KEY_LEN)?));
        reader.finish()?;
        Ok((head, peer, id, index, secret))
    };
    let (head, peer, id, index, secret) = read()?;
    let part = match head {
        [1, 1, _] => Part::Made,
        [1, 2, _] => Part::Received,
        _ => bail!("an unknown version or part"),
    };
    let assurance = match head {
        [_, _, 1] => Assurance::InformationTheoretic,
        _ => Assurance::Computational,
    };
    // Only confirmed keys are taken in.
    let key = OutputKey::new(id, index, assurance, secret.context("no key")?).confirmed();
    Ok(Kept { peer, part, key })
}

/// Version 1: version (1) | pair (16) | answer (16) | key_ID (16) | key.
fn encode_relayed(relayed: &Relayed, writer: &mut Writer<'_>) -> Result<(), record::RecordError> {
    let Relayed { pair, answer, delivery } = relayed;
    [&[1][..], pair, answer, delivery.id.as_bytes(), delivery.key.expose()]
        .into_iter()
        .try_for_each(|part| writer.bytes(part))
        .map_err(|_| record::RecordError::TooLong)
}

fn decode_relayed(body: &[u8]) -> Result<Relayed> {
    let mut reader = Reader::new(body);
    let mut read = || -> Result<_, DecodeError> {
        Ok((reader.u8()?, reader.array()?, reader.array()?, DeliveryId::from_bytes(reader.array()?)))
    };
    let (1, pair, answer, id) = read()? else { bail!("an unknown version") };
    let octets = usize::from(id.place_and_octets().1);
    let key = KeyBytes::copied_from(reader.rest()).filter(|key| key.len() == octets).context("no key")?;
    Ok(Relayed { pair, answer, delivery: Delivery { id, key } })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const OWN: ClientTag = ClientTag::new([9; 16]);

    fn kept(octet: u8, part: Part) -> Kept {
        let secret = KeyBytes::copied_from(&[octet; KEY_LEN]).unwrap();
        let id = KeyId::new([octet; 16]);
        let key = OutputKey::new(id, 0, Assurance::InformationTheoretic, secret).confirmed();
        Kept { peer: ClientTag::new([1; 16]), part, key }
    }

    fn put(vault: &mut FileVault, octet: u8, part: Part) -> Slot {
        vault.put(&[Stored::Key(kept(octet, part))]).unwrap()[0]
    }

    /// With an id that says 32 octets.
    fn relayed(octet: u8) -> Stored {
        let key = KeyBytes::copied_from(&[octet; 32]).unwrap();
        let mut id = [octet; 16];
        (id[6], id[7]) = (0x80, 32);
        let delivery = Delivery { id: DeliveryId::from_bytes(id), key };
        Stored::Relayed(Relayed { pair: [octet; 16], answer: [octet; 16], delivery })
    }

    fn octets(found: &[(Slot, Stored)]) -> Vec<u8> {
        let octet = |stored: &Stored| match stored {
            Stored::Key(kept) => kept.key.secret().expose()[0],
            Stored::Relayed(relayed) => relayed.delivery.key.expose()[0],
        };
        found.iter().map(|(_, stored)| octet(stored)).collect()
    }

    #[test]
    fn keys_come_back_in_their_order_and_the_erased_ones_are_gone_from_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kme.keys");
        let (mut vault, found) = FileVault::open(&path, OWN).unwrap();
        assert!(found.is_empty());
        let slots: Vec<Slot> = (1..=5).map(|octet| put(&mut vault, octet, Part::Received)).collect();
        vault.erase(&slots[1..3]).unwrap();
        assert!(!fs::read(&path).unwrap().windows(8).any(|window| window == [2; 8]), "erased");
        put(&mut vault, 6, Part::Made);
        drop(vault);
        let (mut vault, found) = FileVault::open(&path, OWN).unwrap();
        assert_eq!(octets(&found), [1, 4, 5, 6], "the newest took the place of an older one");
        let (Stored::Key(first), Stored::Key(last)) = (&found[0].1, &found[3].1) else { panic!() };
        assert_eq!((last.part, first.part), (Part::Made, Part::Received));
        assert_eq!(first.key.assurance(), Assurance::InformationTheoretic);
        put(&mut vault, 7, Part::Made);
        drop(vault);
        assert_eq!(octets(&FileVault::open(&path, OWN).unwrap().1), [1, 4, 5, 6, 7]);
    }

    #[test]
    fn relayed_keys_come_back_whole_beside_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kme.keys");
        let (mut vault, _) = FileVault::open(&path, OWN).unwrap();
        let first = put(&mut vault, 1, Part::Received);
        put(&mut vault, 2, Part::Made);
        vault.erase(&[first]).unwrap();
        let slots = vault.put(&[relayed(3), relayed(4)]).unwrap();
        assert_eq!(slots, [Slot(1), Slot(3)], "the first in the place of what was erased");
        assert_eq!(vault.put(&[]).unwrap(), []);
        drop(vault);
        let (mut vault, found) = FileVault::open(&path, OWN).unwrap();
        assert_eq!(octets(&found), [2, 3, 4]);
        let (Stored::Relayed(back), Stored::Relayed(put)) = (&found[1].1, relayed(3)) else { panic!() };
        assert_eq!((back.pair, back.answer, &back.delivery), (put.pair, put.answer, &put.delivery));
        vault.erase(&slots).unwrap();
        assert!(!fs::read(&path).unwrap().windows(8).any(|window| window == [3; 8]), "erased");
        // The longest that is relayed fits; a longer one is no reason to write half of it.
        let mut long = relayed(5);
        let Stored::Relayed(ref mut key) = long else { panic!() };
        key.delivery.key = KeyBytes::copied_from(&[5; 64]).unwrap();
        assert!(vault.put(&[long]).is_err());
        drop(vault);
        assert_eq!(octets(&FileVault::open(&path, OWN).unwrap().1), [2]);
    }

    /// After a write that was torn at any octet, of a key or of zeros, the key is there whole or not at all.
    #[test]
    fn a_slot_that_a_crash_left_half_written_holds_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kme.keys");
        let (mut vault, _) = FileVault::open(&path, OWN).unwrap();
        put(&mut vault, 1, Part::Made);
        vault.put(&[relayed(2)]).unwrap();
        drop(vault);
        let whole = fs::read(&path).unwrap();
        for at in 0..SLOT_LEN {
            // The first octets of the second slot are written, the rest is not: storing, and erasing.
            for erasing in [false, true] {
                let mut torn = whole.clone();
                let slot = &mut torn[2 * SLOT_LEN..];
                if erasing {
                    slot[..at].fill(0)
                } else {
                    slot[at..].fill(0)
                }
                fs::write(&path, &torn).unwrap();
                let found = octets(&FileVault::open(&path, OWN).unwrap().1);
                let is_whole = torn == whole;
                assert_eq!(found, if is_whole { vec![1, 2] } else { vec![1] }, "{at} {erasing}");
            }
        }
        // A file that ends within its last slot.
        for len in 2 * SLOT_LEN..3 * SLOT_LEN {
            fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(octets(&FileVault::open(&path, OWN).unwrap().1), [1]);
        }
    }

    #[test]
    fn a_file_of_something_else_or_of_another_client_is_refused_and_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kme.keys");
        let (mut vault, _) = FileVault::open(&path, OWN).unwrap();
        put(&mut vault, 1, Part::Made);
        let before = fs::read(&path).unwrap();
        assert!(FileVault::open(&path, ClientTag::new([8; 16])).is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
        fs::write(&path, [b'x'; 300]).unwrap();
        assert!(FileVault::open(&path, OWN).is_err());
        assert_eq!(fs::read(&path).unwrap(), [b'x'; 300]);
    }
}
