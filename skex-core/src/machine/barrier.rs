//! The gate between a durable change and everything that depends on it.

use rand_core::CryptoRng;

use super::checkpoint::{Checkpoint, Receipt, ReceiptError};

/// The last number that becomes durable.
const LAST: u64 = u64::MAX - 1;

/// Counts the checkpoints of a machine: which are issued, which are durable.
///
/// A machine embeds one, marks each output with [`after`](Self::after) when it depends on a change that is not yet
/// stored, and lets it go when [`has_reached`](Self::has_reached) says so. A checkpoint's number is the sequence number of
/// its record (`skex_core::record`), which counts on over restarts. The last number that there is never becomes durable: no
/// other one could tell what comes after it, so nothing leaves any more.
#[derive(Debug)]
pub struct Barrier {
    instance: u64,
    issued: u64,
    durable: u64,
}

impl Barrier {
    /// A barrier of its own for a machine of which nothing is stored: see [`resume`](Self::resume).
    pub fn new(rng: &mut dyn CryptoRng) -> Self {
        Self::resume(0, rng)
    }

    /// A barrier of its own for a new instance of a machine, whose newest stored record has the number `sequence`. The
    /// instance's id comes from `rng` (8 octets), so that receipts from before a restart are foreign to it.
    pub fn resume(sequence: u64, rng: &mut dyn CryptoRng) -> Self {
        Self { instance: rng.next_u64(), issued: sequence, durable: sequence.min(LAST) }
    }

    /// What an output with no durable dependency waits for: nothing.
    pub const OPEN: u64 = 0;

    /// The number of the newest checkpoint, or of the record that was there before the first one.
    #[must_use]
    pub const fn issued(&self) -> u64 {
        self.issued
    }

    /// The number of the checkpoint that will carry a change made now.
    #[must_use]
    pub const fn after(&self) -> u64 {
        self.issued.saturating_add(1)
    }

    /// The number of the newest checkpoint that is durable.
    #[cfg(feature = "alloc")]
    pub(super) const fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether a checkpoint is issued and not yet durable.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        self.issued > self.durable
    }

    /// Whether what waits for checkpoint `number` may leave.
    #[must_use]
    pub const fn has_reached(&self, number: u64) -> bool {
        // Test switch: `--cfg skex_without="barrier"` removes the gate, and the tests of the gate must then fail.
        if cfg!(skex_without = "barrier") {
            return true;
        }
        number <= self.durable
    }

    /// Issues the next checkpoint, with the record that `record` makes.
    ///
    /// `None` while another one is outstanding (law 8): `record` is not called then.
    pub fn issue<R>(&mut self, record: impl FnOnce() -> R) -> Option<Checkpoint<R>> {
        if self.is_pending() {
            return None;
        }
        self.issued = self.after();
        Some(Checkpoint::new(record(), self.instance, self.issued))
    }

    /// Takes the receipt of the outstanding checkpoint.
    ///
    /// # Errors
    ///
    /// [`ReceiptError::Foreign`] for another machine's receipt or one from before a restart, [`ReceiptError::Stale`]
    /// for one that is not outstanding. Nothing changes then.
    pub const fn acknowledge(&mut self, receipt: Receipt) -> Result<(), ReceiptError> {
        if receipt.instance != self.instance {
            return Err(ReceiptError::Foreign);
        }
        if receipt.sequence != self.issued || !self.is_pending() {
            return Err(ReceiptError::Stale);
        }
        self.durable = if receipt.sequence < LAST { receipt.sequence } else { LAST };
        Ok(())
    }
}
