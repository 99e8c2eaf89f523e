//! What is durable: a small table of keyed values, written as a log of changes.
//!
//! A record is either a change (some values set, some removed) or a snapshot, which replaces everything before it. The
//! store keeps the records in order; after a snapshot it may drop the older ones. Format: docs/draft-skex-dske.md,
//! "Records".

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use skex_core::SecretVec;
use skex_core::record::{self, RECORD_OVERHEAD, RecordError, RecordHeader, RecordKind};
use skex_wire::{DecodeError, EncodeError, Reader, Writer};

use crate::few::Few;

/// One durable record of a DSKE machine. It holds secrets: shares that wait, keys not yet handed over.
pub struct Record {
    octets: SecretVec,
    snapshot: bool,
}

impl Record {
    /// Whether it holds the whole state, so that every earlier record can go. The store must not lose both: write it
    /// beside the old ones, sync, and only then drop those.
    #[must_use]
    pub const fn is_snapshot(&self) -> bool {
        self.snapshot
    }
}

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        self.octets.expose()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

/// What is left of a lifetime, as it is stored: rounded up, so that nothing that was stored is over before its time.
pub(crate) fn whole_seconds(left: Duration) -> u32 {
    let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// The records are not a state that a machine can go on from. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A record is torn, altered, of another format or of another machine.
    #[error(
        "{0}; a record at the end of the log that was torn by a crash can be dropped, one that is intact never; if it is of another machine, the store or the configuration was mixed up"
    )]
    Record(#[from] RecordError),
    /// The records are not consecutive: one is missing, or they are out of order.
    #[error("the records are not consecutive: one is missing or they are out of order")]
    Gap,
    /// A record is intact and does not make sense.
    #[error("a record is intact and its content is not that of this machine")]
    Content,
    /// The records are those of another shard, or of a hub with another number of shards.
    #[error(
        "the records are those of another shard, or the hub had another number of shards: start it with the number that it had"
    )]
    Shard,
    /// The stored state names a hub, a client or a table that the configuration does not have.
    #[error(
        "the configuration lacks a hub, a client or a table that the stored state has; bring the configuration back"
    )]
    Configuration,
    /// The configuration has a link that was forgotten: nobody knows how far its tables were used.
    #[error("the configuration has a link that was forgotten; the client has to be enrolled anew at its hub")]
    Forgotten,
}

impl From<DecodeError> for RestoreError {
    fn from(_: DecodeError) -> Self {
        Self::Content
    }
}

/// Whose records these are.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    /// Client or hub.
    pub(crate) kind: RecordKind,
    /// The first octets of its id.
    pub(crate) machine: [u8; 8],
}

/// The name of a value: what it is, then whose; at most that, a client tag and a key id.
pub(crate) type Name = Few<33>;

/// What waits for the next checkpoint.
pub(crate) struct Changes {
    /// Of one name the last word counts.
    changes: Vec<Change>,
    /// So many come first that are in the order of their names, each once.
    settled: usize,
    values: Values,
    /// Octets of values and names at which it is looked for what later changes have overtaken.
    settle_at: usize,
    /// Whether these are a whole state.
    whole: bool,
}

#[derive(Clone, Copy)]
struct Change {
    name: Name,
    /// None: it is removed.
    value: Option<Place>,
}

/// Where a value lies.
#[derive(Clone, Copy)]
struct Place {
    piece: u32,
    start: u32,
    len: u32,
}

/// Values one after the other, in pieces that stay where they are: what grows would leave copies behind.
#[derive(Default)]
struct Values {
    pieces: Vec<SecretVec>,
    /// Octets of the last piece that are taken.
    taken: usize,
    /// Octets of all values.
    octets: usize,
}

/// The first piece; each has twice as many octets, up to the last of these, or as many as its first value.
const PIECES: (usize, usize) = (256, 1024);

impl Values {
    /// Room for a value of `len` octets.
    fn add(&mut self, len: usize) -> Option<(Place, &mut [u8])> {
        let last = self.pieces.last().map_or(0, SecretVec::len);
        if self.pieces.is_empty() || last.saturating_sub(self.taken) < len {
            let usual = last.saturating_mul(2).clamp(PIECES.0, PIECES.1);
            self.pieces.push(SecretVec::zeroed(usual.max(len)));
            self.taken = 0;
        }
        let (start, end) = (self.taken, self.taken.saturating_add(len));
        self.taken = end;
        self.octets = self.octets.saturating_add(len);
        let [piece, from, len] = [self.pieces.len().saturating_sub(1), start, len].map(u32::try_from);
        let place = Place { piece: piece.ok()?, start: from.ok()?, len: len.ok()? };
        Some((place, self.pieces.last_mut()?.expose_mut().get_mut(start..end)?))
    }

    /// Wipes all; the first piece is kept.
    fn clear(&mut self) {
        self.pieces.truncate(usize::from(self.pieces.first().is_some_and(|first| first.len() <= PIECES.0)));
        self.pieces.shrink_to(KEPT);
        self.pieces.iter_mut().for_each(SecretVec::wipe);
        (self.taken, self.octets) = (0, 0);
    }

    fn get(&self, Place { piece, start, len }: Place) -> Option<&[u8]> {
        let [piece, start, len] = [piece, start, len].map(usize::try_from);
        let (start, len) = (start.ok()?, len.ok()?);
        self.pieces.get(piece.ok()?)?.expose().get(start..start.saturating_add(len))
    }
}

/// Octets among which nothing is looked for that was overtaken: few, for a small device with a slow store.
const OVERTAKEN: usize = 1 << 12;

/// Changes for which room is kept.
const KEPT: usize = 4;

impl Changes {
    pub(crate) fn none() -> Self {
        let (changes, values) = (Vec::new(), Values::default());
        Self { changes, settled: 0, values, settle_at: OVERTAKEN, whole: false }
    }

    /// A whole state comes next: what was gathered is dropped.
    pub(crate) fn begin_whole(&mut self) {
        self.clear();
        self.whole = true;
    }

    /// Room for a few is kept for the next ones: mostly there are no more.
    fn clear(&mut self) {
        self.changes.clear();
        self.changes.shrink_to(KEPT);
        self.values.clear();
        (self.settled, self.settle_at, self.whole) = (0, OVERTAKEN, false);
    }

    /// Sets a value of `len` octets, which `write` writes.
    pub(crate) fn set(
        &mut self,
        name: Name,
        len: usize,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) {
        let value = self.values.add(len);
        debug_assert!(value.is_some());
        if let Some((place, octets)) = value {
            let mut out = Writer::new(octets);
            let written = write(&mut out);
            debug_assert!(written.is_ok() && out.remaining() == 0);
            self.push(Change { name, value: Some(place) });
        }
    }

    pub(crate) fn remove(&mut self, name: Name) {
        self.push(Change { name, value: None });
    }

    fn push(&mut self, change: Change) {
        self.changes.push(change);
        // What waits is bounded by what there is, however often it changes.
        if self.octets() >= self.settle_at {
            self.settle();
            let counted = self.changes.iter().filter_map(|change| change.value);
            let octets = counted.map(|value| u64::from(value.len)).fold(0, u64::saturating_add);
            if octets.saturating_mul(2) < self.values.octets as u64 {
                self.drop_overtaken();
            }
            self.settle_at = self.octets().saturating_mul(2).saturating_add(OVERTAKEN);
        }
    }

    fn octets(&self) -> usize {
        self.changes.len().saturating_mul(size_of::<Change>()).saturating_add(self.values.octets)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether so many names wait.
    pub(crate) fn reach(&mut self, names: usize) -> bool {
        // Once they do, nothing is put in order to say so again, however often those names change.
        if self.settled < names && self.changes.len() >= names {
            self.settle();
        }
        self.settled >= names
    }

    /// Names that wait.
    pub(crate) fn names(&self) -> usize {
        let mut names: Vec<&Name> = self.changes.iter().map(|change| &change.name).collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }

    /// Puts them in the order of their names, and leaves the last word for each.
    fn settle(&mut self) {
        if self.changes.len() == self.settled {
            return;
        }
        // Those of one name stay in the order in which they were made.
        self.changes.sort_by(|a, b| Name::cmp(&a.name, &b.name));
        self.changes.dedup_by(|later, earlier| {
            let again = later.name == earlier.name;
            if again {
                *earlier = *later;
            }
            again
        });
        self.settled = self.changes.len();
    }

    /// Wipes what later changes have overtaken: there may be secrets among it.
    pub(crate) fn wipe_overtaken(&mut self) {
        self.settle();
        self.drop_overtaken();
    }

    /// Leaves no other values than those of the changes.
    fn drop_overtaken(&mut self) {
        let all = core::mem::take(&mut self.values);
        for change in &mut self.changes {
            let value = change.value.and_then(|place| all.get(place));
            change.value = value.and_then(|value| {
                let (place, octets) = self.values.add(value.len())?;
                octets.copy_from_slice(value);
                Some(place)
            });
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&Name, Option<&[u8]>)> + Clone {
        let value = |change: &Change| change.value.and_then(|place| self.values.get(place));
        self.changes.iter().map(move |change| (&change.name, value(change)))
    }

    /// Whether these octets stand in memory for it.
    #[cfg(test)]
    pub(crate) fn holds(&self, octets: &[u8]) -> bool {
        let mut pieces = self.values.pieces.iter().map(SecretVec::expose);
        pieces.any(|piece| piece.windows(octets.len()).any(|window| window == octets))
    }

    /// The record of these changes, or of this whole state: a snapshot.
    /// Nothing waits any more.
    pub(crate) fn take_record(&mut self, owner: Owner, sequence: u64) -> Record {
        self.settle();
        let record = record_of(self.iter(), (owner, sequence, self.whole));
        self.clear();
        record
    }
}

fn record_of<'a>(
    values: impl Iterator<Item = (&'a Name, Option<&'a [u8]>)> + Clone,
    (owner, sequence, snapshot): (Owner, u64, bool),
) -> Record {
    let entry_len = |(name, value): (&Name, Option<&[u8]>)| {
        5_usize.saturating_add(name.len()).saturating_add(value.map_or(0, <[u8]>::len))
    };
    let body_len = values.clone().map(entry_len).fold(1, usize::saturating_add);
    let header = RecordHeader::new(owner.kind, owner.machine, sequence);
    let octets = SecretVec::from_fn(RECORD_OVERHEAD.saturating_add(body_len), |octets| {
        let written = record::encode_with(header, octets, |out| {
            let too_long = |_| RecordError::TooLong;
            out.u8(u8::from(snapshot)).map_err(too_long)?;
            for (name, value) in values {
                out.prefixed_u8(name).map_err(too_long)?;
                let Some(value) = value else {
                    out.u32(REMOVED).map_err(too_long)?;
                    continue;
                };
                out.u32(u32::try_from(value.len()).map_err(|_| RecordError::TooLong)?).map_err(too_long)?;
                out.bytes(value).map_err(too_long)?;
            }
            Ok::<(), RecordError>(())
        });
        // The lengths were added up above and every value is far below 4 GiB.
        debug_assert!(written.is_ok());
    });
    Record { octets, snapshot }
}

const REMOVED: u32 = u32::MAX;

/// A state as it was read: keyed values and the sequence number of the last record.
pub(crate) struct Stored {
    changes: Changes,
    pub(crate) sequence: u64,
}

impl Stored {
    /// Reads the log of `owner`, oldest record first. No record at all is a new machine.
    pub(crate) fn read(
        owner: Owner,
        records: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, RestoreError> {
        let mut stored = Self { changes: Changes::none(), sequence: 0 };
        for octets in records {
            let (sequence, body) = record::decode_own(octets.as_ref(), owner.kind, owner.machine)?;
            stored.apply(sequence, body)?;
        }
        stored.changes.settle();
        stored.changes.changes.retain(|change| change.value.is_some());
        Ok(stored)
    }

    fn apply(&mut self, sequence: u64, body: &[u8]) -> Result<(), RestoreError> {
        let mut reader = Reader::new(body);
        let snapshot = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(RestoreError::Content),
        };
        // A snapshot may follow whatever it replaces; a change follows its predecessor.
        let consecutive = Some(sequence) == self.sequence.checked_add(1);
        if !(consecutive || snapshot && sequence > self.sequence) {
            return Err(RestoreError::Gap);
        }
        self.sequence = sequence;
        if snapshot {
            self.changes.clear();
        }
        while !reader.is_empty() {
            let name = Name::copied_from(reader.prefixed_u8()?);
            match reader.u32()? {
                // What has no name was never set.
                REMOVED => name.into_iter().for_each(|name| self.changes.remove(name)),
                len => {
                    let value = reader.take(usize::try_from(len).map_err(|_| RestoreError::Content)?)?;
                    self.changes.set(name.ok_or(RestoreError::Content)?, value.len(), |out| out.bytes(value));
                }
            }
        }
        Ok(())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Takes a value out.
    pub(crate) fn take(&mut self, name: &Name) -> Option<SecretVec> {
        let Changes { changes, values, .. } = &mut self.changes;
        let place = changes.binary_search_by(|change| change.name.cmp(name)).ok()?;
        let value = changes.get_mut(place)?.value.take()?;
        values.get(value).map(SecretVec::copied_from)
    }

    /// Those that were not taken, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &[u8])> {
        self.changes.iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const OWNER: Owner = Owner { kind: RecordKind::DSKE_HUB, machine: [0; 8] };

    #[test]
    fn names_that_were_too_many_are_not_put_in_order_again_to_say_so() {
        let mut changes = Changes::none();
        for name in 0..5_u8 {
            changes.remove(Name::of(&[&[name]]));
        }
        assert!(!changes.reach(6) && changes.reach(5));
        changes.remove(Name::of(&[&[0]]));
        assert!(changes.reach(5));
        assert_eq!((changes.settled, changes.changes.len()), (5, 6));
    }

    proptest! {
        /// Names short enough to come again and again; no length is that of a removal.
        #[test]
        fn a_record_holds_the_last_word_for_each_name_in_their_order(
            made in proptest::collection::vec((proptest::collection::vec(0_u8..3, 0..3), 0_usize..40), 0..2000),
            asked in proptest::collection::vec(1_usize..20, 0..9),
            whole: bool,
        ) {
            let mut changes = Changes::none();
            if whole {
                changes.set(Name::of(&[b"dropped"]), 1, |out| out.u8(1));
                changes.begin_whole();
            }
            let mut model: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
            for (count, (name, len)) in made.iter().enumerate() {
                let value = len.checked_sub(1).map(|len| alloc::vec![count as u8; len]);
                let own = Name::copied_from(name).unwrap();
                match &value {
                    Some(value) => changes.set(own, value.len(), |out| out.bytes(value)),
                    None => changes.remove(own),
                }
                model.insert(name.clone(), value);
                let counted = model.len() * (size_of::<Change>() + 40);
                prop_assert!(changes.octets() <= 4 * counted + OVERTAKEN + size_of::<Change>() + 40);
                if let Some(names) = asked.get(count) {
                    prop_assert_eq!(changes.reach(*names), model.len() >= *names);
                }
            }
            prop_assert_eq!(changes.names(), model.len());
            let record = changes.take_record(OWNER, 1);
            prop_assert!(changes.is_empty() && changes.values.pieces.len() <= 1);
            prop_assert!(changes.values.pieces.iter().all(|piece| piece.expose().iter().all(|octet| *octet == 0)));
            prop_assert_eq!(record.is_snapshot(), whole);
            let (_, body) = record::decode_own(record.as_ref(), OWNER.kind, OWNER.machine).unwrap();
            let mut expected = alloc::vec![u8::from(whole)];
            for (name, value) in model {
                expected.push(name.len() as u8);
                expected.extend(name);
                let len = value.as_ref().map_or(REMOVED, |value| value.len() as u32);
                expected.extend(len.to_be_bytes());
                expected.extend(value.unwrap_or_default());
            }
            prop_assert_eq!(body, expected);
        }
    }
}
