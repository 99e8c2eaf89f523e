//! The one contract of every state machine.
//!
//! A machine never reads a clock, an entropy source, a file or a socket. All that it learns comes in as arguments;
//! all that it wants done comes out of one queue. The embedder's loop is the same for every machine of the family:
//!
//! ```text
//!   handle_message / handle_timeout / handle_persisted / a verb of the application
//!        |
//!        v                      +--> Persist(checkpoint)  store it, then handle_persisted(receipt)
//!   poll_output, again and again +--> Transmit(t)          send t.payload
//!        until Wait              +--> Event(e)             tell the application
//!                                +--> Wait(deadline)       sleep until a message or the deadline
//! ```
//!
//! # Laws
//!
//! Each law has a test, in `tests/laws.rs` for a machine made of this module's parts and, through the same checks, in
//! the protocol crates for their machines.
//!
//! 1. **Drain.** After each input, poll until [`Output::Wait`] before the next one. A machine whose messages share datagrams says so, and
//!    takes several inputs that came together before it is polled.
//! 2. **Barrier.** A message or a key that depends on a durable change leaves the machine only after the [`Receipt`]
//!    for that change came back. The caller cannot send early: it does not hold the bytes. A receipt cannot be made,
//!    copied or used twice.
//! 3. **No half step.** A fatal error leaves the machine failed; any other leaves it exactly as it was.
//! 4. **Junk.** Unauthenticated or malformed input changes nothing but a counter and is
//!    [`Disposition::Discarded`], never an error. No reply to unauthenticated input is larger than that input.
//! 5. **Time.** Time never runs backwards inside ([`Clock`]); calling [`Machine::handle_timeout`] too early or too
//!    often is a no-op. So one call with a time far ahead stays: what has a lifetime is over, and earlier times count as that one.
//!    Take `now` from one monotonic clock.
//! 6. **Determinism.** Same configuration, records, inputs, times and random stream: same outputs, byte for byte.
//! 7. **Bounds.** Every queue and table has a bound from the configuration. At the bound comes a clear error or
//!    [`DiscardReason::Busy`], never growth, never a panic.
//! 8. **One checkpoint at a time.** At most one checkpoint is outstanding. Input that arrives meanwhile is handled
//!    without durable effect, gathered into the next checkpoint within the bound, or discarded as busy. A receipt
//!    from before a restart opens nothing after it: each restored instance has its own id.
//! 9. **Restart.** A restored machine first writes what it read anew, as a new checkpoint, and lets nothing leave
//!    before that is durable: what was read may have come from a cache that is lost later.
//!
//! # A store that fails
//!
//! After a failed or unclear write nobody knows what is durable, and a second attempt may report success for bytes
//! that an earlier failure has lost. So [`Checkpoint::commit_with`] consumes the checkpoint on failure too, and the
//! machine stays silent for good. The way on is to drop it, read the store again and restore: what is valid there rules.

mod barrier;
mod checkpoint;
mod disposition;
mod forward;
mod outbox;
mod output;
mod time;
mod timers;

pub use barrier::Barrier;
pub use checkpoint::{Checkpoint, PendingReceipt, Receipt, ReceiptError};
pub use disposition::{DiscardCounters, DiscardReason, Disposition};
pub use outbox::{Outbox, OutboxFull};
#[cfg(feature = "alloc")]
pub use outbox::{Place, Queue};
pub use output::{Destination, Output, PathId, PeerHandle, Transmit, TransmitClass};
pub use time::{Clock, Instant};
pub use timers::Timers;

use rand_core::CryptoRng;

/// What every machine of the family offers; generic drivers and the simulator work through it.
///
/// The machines have the same methods inherent, so this trait need not be imported to use one of them.
pub trait Machine {
    /// The durable bytes of a checkpoint: an inline array where there is no allocator.
    type Record: AsRef<[u8]>;
    /// The bytes of a datagram.
    type Payload: AsRef<[u8]>;
    /// What the machine tells the application.
    type Event;
    /// What can go wrong by a call, never by a message.
    type Error: core::error::Error;

    /// Takes one whole message that arrived on the path `from`.
    ///
    /// # Errors
    ///
    /// Only for a failed machine. Whatever arrives from the network is at worst [`Disposition::Discarded`].
    fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, Self::Error>;

    /// Does what is due at `now`. Calling it too early is harmless.
    ///
    /// # Errors
    ///
    /// Only for a failed machine.
    fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), Self::Error>;

    /// Learns that a checkpoint is durable and releases what waited for it.
    ///
    /// # Errors
    ///
    /// The receipt belongs to another machine or to an instance from before a restart. Nothing is released.
    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), Self::Error>;

    /// The next thing to do. Its answer changes after any other call; poll until [`Output::Wait`].
    fn poll_output(&mut self) -> Output<Self::Record, Self::Payload, Self::Event>;
}
