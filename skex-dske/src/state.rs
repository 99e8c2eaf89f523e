//! What is durable: a small table of keyed values, written as a log of changes.
//!
//! A record is either a change (some values set, some removed) or a snapshot, which replaces everything before it. The
//! store keeps the records in order; after a snapshot it may drop the older ones. Format: docs/draft-skex-dske.md,
//! "Records".

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use skex_core::SecretVec;
use skex_core::record::{self, RECORD_OVERHEAD, RecordError, RecordHeader, RecordKind};
use skex_wire::{DecodeError, Reader};

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
    changes: Vec<(Name, Option<SecretVec>)>,
    /// So many come first that are in the order of their names, each once.
    settled: usize,
    /// Whether these are a whole state.
    whole: bool,
}

/// Changes that are gathered before it is looked for those that later ones have overtaken, beside twice as many as there are names.
const UNSETTLED: usize = 1024;

impl Changes {
    pub(crate) const fn none() -> Self {
        Self { changes: Vec::new(), settled: 0, whole: false }
    }

    /// A whole state that is to come.
    pub(crate) fn whole() -> Self {
        Self { whole: true, ..Self::none() }
    }

    pub(crate) fn set(&mut self, name: Name, value: Option<SecretVec>) {
        // What waits is bounded by what there is, however often it changes.
        if self.changes.len() >= self.settled.saturating_mul(2).saturating_add(UNSETTLED) {
            self.settle();
        }
        self.changes.push((name, value));
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether so many names wait.
    pub(crate) fn reach(&mut self, names: usize) -> bool {
        self.changes.len() >= names && {
            self.settle();
            self.settled >= names
        }
    }

    /// Names that wait.
    pub(crate) fn names(&self) -> usize {
        let mut names: Vec<&Name> = self.changes.iter().map(|(name, _)| name).collect();
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
        self.changes.sort_by(|(a, _), (b, _)| Name::cmp(a, b));
        self.changes.dedup_by(|(later, value), (earlier, last)| {
            let again = later == earlier;
            if again {
                core::mem::swap(value, last);
            }
            again
        });
        self.settled = self.changes.len();
    }

    /// The record of these changes, or of this whole state: a snapshot.
    pub(crate) fn into_record(mut self, owner: Owner, sequence: u64) -> Record {
        self.settle();
        let values = self.changes.iter().map(|(name, value)| (name, value.as_ref()));
        record_of(values, (owner, sequence, self.whole))
    }
}

fn record_of<'a>(
    values: impl Iterator<Item = (&'a Name, Option<&'a SecretVec>)> + Clone,
    (owner, sequence, snapshot): (Owner, u64, bool),
) -> Record {
    let entry_len = |(name, value): (&Name, Option<&SecretVec>)| {
        5_usize.saturating_add(name.len()).saturating_add(value.map_or(0, SecretVec::len))
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
                out.bytes(value.expose()).map_err(too_long)?;
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
    pub(crate) values: BTreeMap<Name, SecretVec>,
    pub(crate) sequence: u64,
}

impl Stored {
    /// Reads the log of `owner`, oldest record first. No record at all is a new machine.
    pub(crate) fn read(
        owner: Owner,
        records: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, RestoreError> {
        let mut stored = Self { values: BTreeMap::new(), sequence: 0 };
        for octets in records {
            let (sequence, body) = record::decode_own(octets.as_ref(), owner.kind, owner.machine)?;
            let mut body = Reader::new(body);
            let snapshot = match body.u8()? {
                0 => false,
                1 => true,
                _ => return Err(RestoreError::Content),
            };
            // A snapshot may follow whatever it replaces; a change follows its predecessor.
            let consecutive = Some(sequence) == stored.sequence.checked_add(1);
            if !(consecutive || snapshot && sequence > stored.sequence) {
                return Err(RestoreError::Gap);
            }
            stored.sequence = sequence;
            if snapshot {
                stored.values.clear();
            }
            stored.apply(body)?;
        }
        Ok(stored)
    }

    fn apply(&mut self, mut reader: Reader<'_>) -> Result<(), RestoreError> {
        while !reader.is_empty() {
            let key = reader.prefixed_u8()?;
            match reader.u32()? {
                REMOVED => {
                    self.values.remove(key);
                }
                len => {
                    let value = reader.take(usize::try_from(len).map_err(|_| RestoreError::Content)?)?;
                    let name = Name::copied_from(key).ok_or(RestoreError::Content)?;
                    self.values.insert(name, SecretVec::copied_from(value));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWNER: Owner = Owner { kind: RecordKind::DSKE_HUB, machine: [0; 8] };

    proptest! {
        /// Names short enough to come again and again; no length is that of a removal.
        #[test]
        fn a_record_holds_the_last_word_for_each_name_in_their_order(
            made in proptest::collection::vec((proptest::collection::vec(0_u8..3, 0..3), 0_usize..40), 0..4000),
            asked in proptest::collection::vec(1_usize..20, 0..9),
            whole: bool,
        ) {
            let mut changes = if whole { Changes::whole() } else { Changes::none() };
            let mut model: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
            for (count, (name, len)) in made.iter().enumerate() {
                let value = len.checked_sub(1).map(|len| alloc::vec![count as u8; len]);
                let secret = value.as_ref().map(|value| SecretVec::copied_from(value));
                changes.set(Name::copied_from(name).unwrap(), secret);
                model.insert(name.clone(), value);
                prop_assert!(changes.changes.len() <= 2 * model.len() + UNSETTLED);
                if let Some(names) = asked.get(count) {
                    prop_assert_eq!(changes.reach(*names), model.len() >= *names);
                }
            }
            prop_assert_eq!(changes.names(), model.len());
            let record = changes.into_record(OWNER, 1);
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
