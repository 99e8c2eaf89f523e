//! What stands in for a device's flash: slots for the records of a peer.

use skex_unmediated::{MAX_RECORD, Record};

/// Two slots, written in turn, so that a write that fails leaves the record before. Once one is whole the other is erased: it holds the
/// chain key of the epoch that was left (docs/draft-skex-unmediated.md, "Rules for Storage").
pub struct Slots {
    octets: [[u8; MAX_RECORD]; 2],
    lengths: [usize; 2],
    next: usize,
}

impl Slots {
    /// Nothing stored.
    #[must_use]
    pub const fn empty() -> Self {
        Self { octets: [[0; MAX_RECORD]; 2], lengths: [0; 2], next: 0 }
    }

    /// Stores a record in the empty slot, and erases the other.
    ///
    /// # Errors
    /// Never; a real flash fails.
    pub fn store(&mut self, record: &Record) -> Result<(), ()> {
        let record = record.as_bytes();
        self.octets[self.next][..record.len()].copy_from_slice(record);
        self.lengths[self.next] = record.len();
        self.next = 1 - self.next;
        self.octets[self.next].fill(0);
        self.lengths[self.next] = 0;
        Ok(())
    }

    /// Whether one record can be read, and no octet of the one before.
    #[must_use]
    pub fn hold_one(&self) -> bool {
        self.lengths[1 - self.next] > 0 && self.octets[self.next].iter().all(|octet| *octet == 0)
    }

    /// Both slots as they are.
    #[must_use]
    pub fn contents(&self) -> [&[u8]; 2] {
        [&self.octets[0][..self.lengths[0]], &self.octets[1][..self.lengths[1]]]
    }
}
