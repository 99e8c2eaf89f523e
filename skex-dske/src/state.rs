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

/// What waits for the next checkpoint.
pub(crate) enum Changes {
    /// The last word for each name, so that there are never more than names.
    Since(BTreeMap<Name, Option<SecretVec>>),
    /// A whole state: gathered without a search for each value, of which there are very many.
    Whole(Vec<(Name, Option<SecretVec>)>),
}

/// The name of a value: what it is, then whose; at most that, a client tag and a key id.
pub(crate) type Name = Few<33>;

impl Changes {
    pub(crate) const fn none() -> Self {
        Self::Since(BTreeMap::new())
    }

    pub(crate) fn set(&mut self, name: Name, value: Option<SecretVec>) {
        match self {
            Self::Since(changes) => drop(changes.insert(name, value)),
            Self::Whole(values) => values.push((name, value)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Since(changes) => changes.len(),
            Self::Whole(values) => values.len(),
        }
    }

    /// The record of these changes, or of this whole state: a snapshot.
    pub(crate) fn into_record(self, owner: Owner, sequence: u64) -> Record {
        match self {
            Self::Since(changes) => record_of(
                changes.iter().map(|(name, value)| (name, value.as_ref())),
                (owner, sequence, false),
            ),
            Self::Whole(mut values) => {
                // The last word for each name, as it is in a map. They come in long runs that are in order already.
                values.reverse();
                values.sort_by_key(|(name, _)| *name);
                values.dedup_by(|(a, _), (b, _)| a == b);
                record_of(values.iter().map(|(name, value)| (name, value.as_ref())), (owner, sequence, true))
            }
        }
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
