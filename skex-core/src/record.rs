//! Framing of durable records: what a machine's checkpoint looks like in storage.
//!
//! | field | octets |
//! |---|---|
//! | magic `SKXR` | 4 |
//! | format version, 1 | 1 |
//! | kind ([`RecordKind`]) | 1 |
//! | machine id | 8 |
//! | sequence number, big endian | 8 |
//! | body length, big endian | 4 |
//! | body | so many |
//! | checksum: SHA-256 of everything before, first 16 octets | 16 |
//!
//! So a record takes [`RECORD_OVERHEAD`] octets beside its body. The checksum detects accidents (a torn write, a
//! bad block, the wrong file), **not attackers**: who can write the storage can write a good checksum. Records
//! hold secrets in the clear; protect them as keys.
//!
//! Two slots are written in turn, each new record over the older one, so that a torn write leaves the other.
//! [`newest`] says which one rules. Nothing here allocates.

use skex_wire::Writer;

use crate::suite::sha256;

const MAGIC: [u8; 4] = *b"SKXR";
const VERSION: u8 = 1;
const HEADER_LEN: usize = 26;
const CHECKSUM_LEN: usize = 16;

/// Octets of a record beside its body.
pub const RECORD_OVERHEAD: usize = HEADER_LEN + CHECKSUM_LEN;

skex_wire::codepoint! {
    /// What the body of a record is. One octet; 0x80 to 0xff are for private use.
    pub struct RecordKind(u8) {
        /// An unmediated peer.
        UNMEDIATED_PEER = 1;
        /// A DSKE client.
        DSKE_CLIENT = 2;
        /// A DSKE hub.
        DSKE_HUB = 3;
        /// The rotation of a link's keys.
        ROTATION = 4;
    }
}

/// What stands before the body of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RecordHeader {
    /// What the body is.
    pub kind: RecordKind,
    /// Whose record it is: chosen by the embedder, different for each machine that shares a storage.
    pub machine: [u8; 8],
    /// Counts the records of a machine, from 0 or 1 on, one up for each write.
    pub sequence: u64,
}

impl RecordHeader {
    /// A header.
    #[must_use]
    pub const fn new(kind: RecordKind, machine: [u8; 8], sequence: u64) -> Self {
        Self { kind, machine, sequence }
    }
}

/// A record cannot be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It ends before its stated end.
    #[error("record ends too early")]
    Truncated,
    /// It does not begin as a record does.
    #[error("not a record")]
    BadMagic,
    /// It was written in a format that is not known here, by newer software perhaps.
    #[error("unknown record version")]
    UnknownVersion,
    /// It is a good record of another kind of machine.
    #[error("record of another kind")]
    WrongKind,
    /// It is a good record of another machine.
    #[error("record of another machine")]
    ForeignMachine,
    /// Its checksum is wrong: torn in writing, or damaged since.
    #[error("record damaged")]
    Checksum,
    /// Body and overhead do not fit the buffer, or the body does not fit its length field.
    #[error("record too long for its room")]
    TooLong,
    /// Two good records with the same sequence number differ: two copies of this machine have run.
    #[error("two different records with one sequence number")]
    Conflict,
}

/// Writes a record to the front of `out` and gives its length, [`RECORD_OVERHEAD`] more than the body's.
///
/// # Errors
/// [`RecordError::TooLong`].
pub fn encode(header: RecordHeader, body: &[u8], out: &mut [u8]) -> Result<usize, RecordError> {
    encode_with(header, out, |writer| writer.bytes(body).map_err(|_| RecordError::TooLong))
}

/// Writes a record whose body `write` puts in place, so that no second copy of its secrets is made. Gives the
/// record's length.
///
/// # Errors
/// What `write` gives, for which [`RecordError`] converts; [`RecordError::TooLong`]. What was written of the
/// body is left in `out`.
pub fn encode_with<E: From<RecordError>>(
    header: RecordHeader,
    out: &mut [u8],
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), E>,
) -> Result<usize, E> {
    let room = out.len().checked_sub(CHECKSUM_LEN).ok_or(RecordError::TooLong)?;
    let (head, body) = out
        .get_mut(..room)
        .and_then(|room| room.split_first_chunk_mut::<HEADER_LEN>())
        .ok_or(RecordError::TooLong)?;
    let mut writer = Writer::new(body);
    write(&mut writer)?;
    let body_len = writer.len();
    let stated = u32::try_from(body_len).map_err(|_| RecordError::TooLong)?;
    write_header(header, stated, head).map_err(|_| RecordError::TooLong)?;

    let checked_len = HEADER_LEN.saturating_add(body_len);
    let (checked, after) = out.split_at_mut_checked(checked_len).ok_or(RecordError::TooLong)?;
    let place = after.first_chunk_mut::<CHECKSUM_LEN>().ok_or(RecordError::TooLong)?;
    *place = checksum(checked);
    Ok(checked_len.saturating_add(CHECKSUM_LEN))
}

fn write_header(
    header: RecordHeader,
    body_len: u32,
    out: &mut [u8; HEADER_LEN],
) -> Result<(), skex_wire::EncodeError> {
    let mut writer = Writer::new(out);
    writer.bytes(&MAGIC)?;
    writer.u8(VERSION)?;
    writer.u8(header.kind.value())?;
    writer.bytes(&header.machine)?;
    writer.u64(header.sequence)?;
    writer.u32(body_len)
}

/// Reads the record at the front of `bytes`. What follows it is not looked at: a slot may have a fixed size.
///
/// # Errors
/// [`RecordError::Truncated`], [`RecordError::BadMagic`], [`RecordError::UnknownVersion`],
/// [`RecordError::Checksum`].
pub fn decode(bytes: &[u8]) -> Result<(RecordHeader, &[u8]), RecordError> {
    let mut reader = skex_wire::Reader::new(bytes);
    let truncated = |_| RecordError::Truncated;
    if reader.array::<4>().map_err(truncated)? != MAGIC {
        return Err(RecordError::BadMagic);
    }
    match reader.u8().map_err(truncated)? {
        VERSION => {}
        // Never versions: what a torn write leaves on blank storage.
        0 | 0xff => return Err(RecordError::Checksum),
        _ => return Err(RecordError::UnknownVersion),
    }
    let header = RecordHeader {
        kind: RecordKind::new(reader.u8().map_err(truncated)?),
        machine: reader.array().map_err(truncated)?,
        sequence: reader.u64().map_err(truncated)?,
    };
    let body_len = reader.u32().map_err(truncated)?;
    let body =
        reader.take(usize::try_from(body_len).map_err(|_| RecordError::Truncated)?).map_err(truncated)?;
    let checked = bytes.get(..reader.offset()).ok_or(RecordError::Truncated)?;
    // Not in constant time: it is no authenticator.
    if reader.take(CHECKSUM_LEN).map_err(truncated)? != checksum(checked) {
        return Err(RecordError::Checksum);
    }
    Ok((header, body))
}

/// Reads a record that must be of this kind and machine; gives its sequence number and body.
///
/// # Errors
/// Those of [`decode`], [`RecordError::WrongKind`], [`RecordError::ForeignMachine`].
pub fn decode_own(bytes: &[u8], kind: RecordKind, machine: [u8; 8]) -> Result<(u64, &[u8]), RecordError> {
    let (header, body) = decode(bytes)?;
    if header.kind != kind {
        return Err(RecordError::WrongKind);
    }
    if header.machine != machine {
        return Err(RecordError::ForeignMachine);
    }
    Ok((header.sequence, body))
}

/// The record that rules, of two slots.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Newest<'a> {
    /// Its sequence number. The next record has one more.
    pub sequence: u64,
    /// Its body.
    pub body: &'a [u8],
    /// The slot it is in, 0 or 1. The next record goes to the other one.
    pub slot: usize,
    /// What is in the other slot: `Ok(None)` nothing, `Ok(Some(sequence))` an older record (or the same), `Err` why it
    /// is none. An error is what a write that was cut short leaves, and what a record that was damaged later
    /// leaves: in the second case the present record is not the last that was written.
    pub other: Result<Option<u64>, RecordError>,
}

impl core::fmt::Debug for Newest<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Newest")
            .field("sequence", &self.sequence)
            .field("slot", &self.slot)
            .field("other", &self.other)
            .finish_non_exhaustive()
    }
}

/// Of two slots, the good record with the highest sequence number. `None` where both slots are blank, so that
/// nothing was ever stored.
///
/// A slot is blank where it is missing (an empty slice) or has only zeros or only 0xff (reserved space, erased
/// flash). A slot that is torn or foreign beside a good one does no harm, and is reported in [`Newest::other`].
///
/// # Errors
/// The error of a slot where none is good and one at least is not blank (the first slot's, where both have
/// one). [`RecordError::UnknownVersion`] where either slot has a newer format, and [`RecordError::Conflict`]
/// where two good records share a sequence number and differ: going on would be going back in time.
pub fn newest(
    slots: [&[u8]; 2],
    kind: RecordKind,
    machine: [u8; 8],
) -> Result<Option<Newest<'_>>, RecordError> {
    let [first, second] = slots;
    let read = |slot| if is_blank(slot) { None } else { Some(decode_own(slot, kind, machine)) };
    let (first, second) = (read(first), read(second));
    if [&first, &second].into_iter().any(|read| matches!(read, Some(Err(RecordError::UnknownVersion)))) {
        return Err(RecordError::UnknownVersion);
    }
    let (slot, (sequence, body), other) = match (first, second) {
        (Some(Ok(left)), Some(Ok(right))) if left.0 == right.0 && left.1 != right.1 => {
            return Err(RecordError::Conflict);
        }
        (Some(Ok(left)), Some(Ok(right))) if left.0 < right.0 => (1, right, first),
        (Some(Ok(left)), _) => (0, left, second),
        (_, Some(Ok(right))) => (1, right, first),
        (Some(Err(error)), _) | (None, Some(Err(error))) => return Err(error),
        (None, None) => return Ok(None),
    };
    let other = other.transpose().map(|good| good.map(|(sequence, _)| sequence));
    Ok(Some(Newest { sequence, body, slot, other }))
}

fn is_blank(slot: &[u8]) -> bool {
    slot.iter().all(|&octet| octet == 0) || slot.iter().all(|&octet| octet == 0xff)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    sha256(&[bytes]).first16()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "lengths of the test's own vectors")]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};
    use std::vec::Vec;

    const KIND: RecordKind = RecordKind::UNMEDIATED_PEER;
    const MACHINE: [u8; 8] = *b"machine1";

    fn record_of(kind: RecordKind, machine: [u8; 8], sequence: u64, body: &[u8]) -> Vec<u8> {
        let mut out = std::vec![0; body.len() + RECORD_OVERHEAD];
        assert_eq!(encode(RecordHeader::new(kind, machine, sequence), body, &mut out), Ok(out.len()));
        out
    }

    fn record(sequence: u64, body: &[u8]) -> Vec<u8> {
        record_of(KIND, MACHINE, sequence, body)
    }

    fn ruling(first: &[u8], second: &[u8]) -> Result<Option<(u64, usize)>, RecordError> {
        newest([first, second], KIND, MACHINE).map(|found| found.map(|found| (found.sequence, found.slot)))
    }

    #[test]
    fn the_layout_is_as_documented() {
        let bytes = record(0x0102_0304_0506_0708, b"body");
        assert_eq!(bytes.len(), 4 + RECORD_OVERHEAD);
        assert_eq!(&bytes[..4], b"SKXR");
        assert_eq!(bytes[4..6], [1, 1]);
        assert_eq!(&bytes[6..14], b"machine1");
        assert_eq!(bytes[14..22], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[22..26], [0, 0, 0, 4]);
        assert_eq!(&bytes[26..30], b"body");
        assert_eq!(bytes[30..], Sha256::digest(&bytes[..30])[..16]);
    }

    #[test]
    fn of_two_good_slots_the_higher_sequence_rules_wherever_it_is() {
        let (old, new) = (record(7, b"old"), record(8, b"new"));
        assert_eq!(ruling(&old, &new), Ok(Some((8, 1))));
        assert_eq!(ruling(&new, &old), Ok(Some((8, 0))));
    }

    #[test]
    fn a_write_cut_short_at_any_octet_leaves_the_older_record() {
        let (old, new) = (record(7, b"the older body"), record(8, b"the newer body"));
        let before = record(6, b"the oldest one");
        for cut in 0..new.len() {
            // A file that was truncated first, and a slot overwritten in place.
            assert_eq!(ruling(&old, &new[..cut]), Ok(Some((7, 0))), "cut at {cut}");
            let mixed: Vec<u8> = new[..cut].iter().chain(&before[cut..]).copied().collect();
            let found = newest([&old, &mixed], KIND, MACHINE).unwrap().unwrap();
            assert_eq!((found.sequence, found.slot), (7, 0), "cut at {cut}");
            assert_eq!(found.body, b"the older body");
        }
    }

    #[test]
    fn blank_slots_are_not_torn_ones() {
        assert_eq!(ruling(&[], &[]), Ok(None));
        assert_eq!(ruling(&[0; 100], &[0xff; 100]), Ok(None));
        assert_eq!(ruling(&record(1, b"first")[..20], &[]), Err(RecordError::Truncated));
        assert_eq!(ruling(&[], &record(1, b"first")[..41]), Err(RecordError::Truncated));
        assert_eq!(ruling(&[], &record(1, b"first")), Ok(Some((1, 1))));
    }

    #[test]
    fn foreign_records_never_rule() {
        let foreign = record_of(KIND, *b"machine2", 99, b"foreign");
        let hub = record_of(RecordKind::DSKE_HUB, MACHINE, 99, b"hub");
        assert_eq!(ruling(&foreign, &[]), Err(RecordError::ForeignMachine));
        assert_eq!(ruling(&foreign, &hub), Err(RecordError::ForeignMachine));
        assert_eq!(ruling(&hub, &foreign), Err(RecordError::WrongKind));
        let own = record(1, b"own");
        let found = newest([&foreign, &own], KIND, MACHINE).unwrap().unwrap();
        assert_eq!((found.sequence, found.other), (1, Err(RecordError::ForeignMachine)));
    }

    #[test]
    fn a_newer_format_or_a_second_copy_stops_the_machine_instead_of_going_back() {
        let mut future = record(9, b"future");
        future[4] = 2;
        assert_eq!(ruling(&record(8, b"present"), &future), Err(RecordError::UnknownVersion));
        assert_eq!(ruling(&record(8, b"one copy"), &record(8, b"another")), Err(RecordError::Conflict));
        assert_eq!(ruling(&record(8, b"same"), &record(8, b"same")), Ok(Some((8, 0))));
    }

    #[test]
    fn a_buffer_one_octet_short_is_refused() {
        let header = RecordHeader::new(KIND, MACHINE, 1);
        for room in 0..4 + RECORD_OVERHEAD {
            assert_eq!(encode(header, b"body", &mut std::vec![0; room]), Err(RecordError::TooLong));
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_also_from_a_larger_slot(
            kind: u8, machine: [u8; 8], sequence: u64, body: Vec<u8>, spare in 0_usize..64,
        ) {
            let mut bytes = record_of(RecordKind::new(kind), machine, sequence, &body);
            bytes.resize(bytes.len() + spare, 0xaa);
            let header = RecordHeader::new(RecordKind::new(kind), machine, sequence);
            prop_assert_eq!(decode(&bytes), Ok((header, body.as_slice())));
        }

        #[test]
        fn one_changed_octet_anywhere_is_noticed(body: Vec<u8>, at: prop::sample::Index, by in 1..=255_u8) {
            let mut bytes = record(5, &body);
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn what_is_accepted_has_one_encoding_and_whatever_is_cut_is_refused(
            kind: u8, sequence: u64, body: Vec<u8>, at: prop::sample::Index,
        ) {
            let bytes = record_of(RecordKind::new(kind), MACHINE, sequence, &body);
            let (header, read) = decode(&bytes).unwrap();
            let mut again = std::vec![0; bytes.len()];
            let written = encode(header, read, &mut again).unwrap();
            prop_assert_eq!(&again[..written], bytes.as_slice());
            prop_assert!(decode(&bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, other: Vec<u8>) {
            let _ = newest([&bytes, &other], KIND, MACHINE);
        }
    }
}
