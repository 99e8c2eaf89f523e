//! One log for many machines: each batch is one record, which holds those of all machines that are in it.
//!
//! So a batch is there whole or not at all, whatever part of it a medium wrote before a crash. There are no snapshots of the
//! whole: the log grows, and each machine's own snapshots stand in it. For a process that drives many clients for a while.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use skex_core::record::{self, RECORD_OVERHEAD, RecordHeader, RecordKind};
use skex_dske::Record;
use zeroize::Zeroizing;

use super::{Log, LogContents, Store};

/// A log of the records of many clients.
#[derive(Debug)]
pub(crate) struct LogOfMany {
    log: Log,
    sequence: u64,
}

/// In the place of a machine's id, in the records that hold others.
const MANY: [u8; 8] = *b"many\0\0\0\0";

/// Turned in the first octet of each record of a batch: what is left of a batch that a medium wrote only in part has no
/// beginning of a record in it, and is not taken for good records behind damage.
const TURNED: u8 = 0xff;

/// The records of many machines, by the machine's id.
pub(crate) type Records = BTreeMap<[u8; 8], Vec<Zeroizing<Vec<u8>>>>;

impl LogOfMany {
    /// Opens the log at `path`, or begins one.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (log, contents) = Log::open(path)?;
        let last = contents.records().last().and_then(|octets| record::decode(octets).ok());
        Ok(Self { log, sequence: last.map_or(0, |(header, _)| header.sequence) })
    }

    /// What the log at `path` holds of the machines that are `wanted`.
    pub(crate) fn read(path: &Path, wanted: impl Fn(&[u8; 8]) -> bool) -> Result<Records> {
        let mut records = Records::new();
        for batch in LogContents::read(path)?.records() {
            let (_, body) = record::decode(batch).context("a batch is damaged")?;
            let mut body = Zeroizing::new(body.to_vec());
            let mut rest = body.as_mut_slice();
            while let Some(first) = rest.first_mut() {
                *first ^= TURNED;
                let (header, inner) = record::decode(rest).context("a record in a batch is damaged")?;
                let len = inner.len().saturating_add(RECORD_OVERHEAD);
                let (octets, others) = rest.split_at_mut_checked(len).context("a record is cut short")?;
                if wanted(&header.machine) {
                    records.entry(header.machine).or_default().push(Zeroizing::new(octets.to_vec()));
                }
                rest = others;
            }
        }
        Ok(records)
    }

    fn append<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Result<()> {
        let len = records.iter().map(|record| record.as_ref().len()).fold(0, usize::saturating_add);
        let mut body = Zeroizing::new(Vec::with_capacity(len));
        for record in records {
            let start = body.len();
            body.extend_from_slice(record.as_ref());
            body.get_mut(start).into_iter().for_each(|first| *first ^= TURNED);
        }
        let mut batch = Zeroizing::new(vec![0; body.len().saturating_add(RECORD_OVERHEAD)]);
        self.sequence = self.sequence.saturating_add(1);
        let header = RecordHeader::new(RecordKind::DSKE_CLIENT, MANY, self.sequence);
        record::encode(header, &body, &mut batch).context("a batch is too long")?;
        self.log.append(&batch)
    }
}

impl Store<Record> for LogOfMany {
    fn store(&mut self, records: &[Record]) -> Result<()> {
        self.append(records)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "lengths of the test's own records")]
mod tests {
    use super::*;

    fn record_of(machine: u8, sequence: u64) -> Vec<u8> {
        let mut out = vec![0; 5 + RECORD_OVERHEAD];
        let header = RecordHeader::new(RecordKind::DSKE_CLIENT, [machine; 8], sequence);
        record::encode(header, b"state", &mut out).unwrap();
        out
    }

    fn all(path: &Path) -> Vec<(u8, Vec<Vec<u8>>)> {
        let records = LogOfMany::read(path, |_| true).unwrap();
        let plain = |records: Vec<Zeroizing<Vec<u8>>>| records.iter().map(|octets| octets.to_vec()).collect();
        records.into_iter().map(|(machine, records)| (machine[0], plain(records))).collect()
    }

    #[test]
    fn a_batch_is_there_whole_or_not_at_all_wherever_a_crash_cuts_it_or_leaves_a_hole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.log");
        let mut log = LogOfMany::open(&path).unwrap();
        log.append(&[record_of(1, 1), record_of(2, 1)]).unwrap();
        let first = std::fs::read(&path).unwrap();
        log.append(&[record_of(3, 1), record_of(1, 2), record_of(2, 2)]).unwrap();
        let both = std::fs::read(&path).unwrap();
        let before = vec![(1, vec![record_of(1, 1)]), (2, vec![record_of(2, 1)])];
        let after = vec![
            (1, vec![record_of(1, 1), record_of(1, 2)]),
            (2, vec![record_of(2, 1), record_of(2, 2)]),
            (3, vec![record_of(3, 1)]),
        ];
        assert_eq!(all(&path), after);
        for cut in first.len()..both.len() {
            // The rest was never written, or only what comes before was not.
            let hole = [&first[..], &vec![0; cut + 1 - first.len()], &both[cut + 1..]].concat();
            for octets in [both[..cut].to_vec(), hole] {
                std::fs::write(&path, octets).unwrap();
                let mut log = LogOfMany::open(&path).unwrap();
                assert_eq!(all(&path), before, "cut at {cut}");
                log.append(&[record_of(3, 1), record_of(1, 2), record_of(2, 2)]).unwrap();
                assert_eq!(all(&path), after);
            }
        }
    }
}
