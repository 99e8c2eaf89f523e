//! What comes out of a machine.

use core::fmt;

use super::checkpoint::{Checkpoint, Receipt};
use super::time::Instant;

/// One thing that a machine wants done.
///
/// Exhaustive on purpose: a driver that does not know an order must not compile.
#[must_use = "an output is an order: carry it out"]
#[expect(clippy::exhaustive_enums, reason = "a new kind of order has to break every driver")]
pub enum Output<R, P, E> {
    /// Store this, whole or not at all, and hand the receipt to `handle_persisted`.
    Persist(Checkpoint<R>),
    /// Send this datagram.
    Transmit(Transmit<P>),
    /// Tell the application.
    Event(E),
    /// Nothing more to do until a message arrives or this time has come; `None`: no timer is armed.
    Wait(Option<Instant>),
}

impl<R, P, E> Output<R, P, E> {
    /// Stores the record of a checkpoint where it lies, as [`Checkpoint::commit_with`] does, and leaves
    /// [`Wait`](Self::Wait) in its place: for small stacks, on which a record that moves stands twice. `None` for any other
    /// order, which stays as it is.
    pub fn commit_with<S>(&mut self, store: impl FnOnce(&R) -> Result<(), S>) -> Option<Result<Receipt, S>> {
        let Self::Persist(checkpoint) = self else { return None };
        let stored = store(checkpoint.record());
        let receipt = checkpoint.used_up();
        *self = Self::Wait(None);
        Some(stored.map(|()| receipt))
    }
}

impl<R, P, E: fmt::Debug> fmt::Debug for Output<R, P, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Persist(checkpoint) => f.debug_tuple("Persist").field(checkpoint).finish(),
            Self::Transmit(transmit) => f.debug_tuple("Transmit").field(transmit).finish(),
            Self::Event(event) => f.debug_tuple("Event").field(event).finish(),
            Self::Wait(deadline) => f.debug_tuple("Wait").field(deadline).finish(),
        }
    }
}

/// A datagram to send.
#[non_exhaustive]
pub struct Transmit<P> {
    /// Where to.
    pub to: Destination,
    /// Why, so that a driver can limit or prefer.
    pub class: TransmitClass,
    /// The bytes.
    pub payload: P,
}

impl<P> Transmit<P> {
    /// A datagram of `payload` for `to`.
    pub const fn new(to: Destination, class: TransmitClass, payload: P) -> Self {
        Self { to, class, payload }
    }
}

impl<P> fmt::Debug for Transmit<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transmit").field("to", &self.to).field("class", &self.class).finish_non_exhaustive()
    }
}

/// Where a datagram goes. Both handles are the embedder's own numbers; no machine knows an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Destination {
    /// Back where the message came from that this one answers.
    Path(PathId),
    /// To the configured address of this peer or hub.
    Peer(PeerHandle),
}

/// A way on which messages arrive, as the embedder numbers them (a socket address it has seen, for instance).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(u64);

impl PathId {
    /// The path that the embedder calls `number`.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The embedder's number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// A configured peer or hub, as the embedder numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerHandle(u32);

impl PeerHandle {
    /// The peer that the embedder calls `number`.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The embedder's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Why a datagram is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransmitClass {
    /// A first sending, by our own wish.
    Request,
    /// The same bytes again.
    Retransmission,
    /// An answer to a message that just came in.
    Reply,
}
