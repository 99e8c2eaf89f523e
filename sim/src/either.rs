//! Two kinds of machine in one world.

use core::fmt;

use rand_core::CryptoRng;
use skex_core::machine::{Disposition, Instant, Machine, Output, PathId, Receipt};

/// A machine of one kind or the other, so that client and hub can meet in one world; nest it for three.
///
/// Only their records and payloads have to be of the same types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third side")]
pub enum Either<L, R> {
    /// Of the first kind.
    Left(L),
    /// Of the second kind.
    Right(R),
}

impl<L, R> Either<L, R> {
    /// The first kind, if it is that.
    pub fn left(&mut self) -> Option<&mut L> {
        match self {
            Self::Left(left) => Some(left),
            Self::Right(_) => None,
        }
    }

    /// The second kind, if it is that.
    pub fn right(&mut self) -> Option<&mut R> {
        match self {
            Self::Left(_) => None,
            Self::Right(right) => Some(right),
        }
    }
}

impl<L: fmt::Display, R: fmt::Display> fmt::Display for Either<L, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left(left) => left.fmt(f),
            Self::Right(right) => right.fmt(f),
        }
    }
}

impl<L: core::error::Error, R: core::error::Error> core::error::Error for Either<L, R> {}

impl<L: Machine, R: Machine<Record = L::Record, Payload = L::Payload>> Machine for Either<L, R> {
    type Record = L::Record;
    type Payload = L::Payload;
    type Event = Either<L::Event, R::Event>;
    type Error = Either<L::Error, R::Error>;

    fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        from: PathId,
        message: &[u8],
    ) -> Result<Disposition, Self::Error> {
        match self {
            Self::Left(left) => left.handle_message(now, rng, from, message).map_err(Either::Left),
            Self::Right(right) => right.handle_message(now, rng, from, message).map_err(Either::Right),
        }
    }

    fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), Self::Error> {
        match self {
            Self::Left(left) => left.handle_timeout(now, rng).map_err(Either::Left),
            Self::Right(right) => right.handle_timeout(now, rng).map_err(Either::Right),
        }
    }

    fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), Self::Error> {
        match self {
            Self::Left(left) => left.handle_persisted(receipt).map_err(Either::Left),
            Self::Right(right) => right.handle_persisted(receipt).map_err(Either::Right),
        }
    }

    fn poll_output(&mut self) -> Output<Self::Record, Self::Payload, Self::Event> {
        match self {
            Self::Left(left) => map_event(left.poll_output(), Either::Left),
            Self::Right(right) => map_event(right.poll_output(), Either::Right),
        }
    }
}

fn map_event<R, P, E, F>(output: Output<R, P, E>, map: impl FnOnce(E) -> F) -> Output<R, P, F> {
    match output {
        Output::Persist(checkpoint) => Output::Persist(checkpoint),
        Output::Transmit(transmit) => Output::Transmit(transmit),
        Output::Event(event) => Output::Event(map(event)),
        Output::Wait(deadline) => Output::Wait(deadline),
    }
}
