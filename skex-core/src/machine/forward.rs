//! Machines by other means: a type by its own methods, and who holds a machine by reference or in a box: drivers need not care.

use rand_core::CryptoRng;

use super::{Disposition, Instant, Machine, Output, PathId, Receipt};

/// Implements [`Machine`](crate::machine::Machine) for a type by its own methods of the same names, which callers so have without
/// the trait. In brackets its generic parameters; then the type, and its record, payload, event and error.
///
/// For the crates of the family: they name `rand_core` among their dependencies.
#[macro_export]
macro_rules! machine_by_own_methods {
    ([$($generics:tt)*] $machine:ty, $record:ty, $payload:ty, $event:ty, $error:ty) => {
        impl<$($generics)*> $crate::machine::Machine for $machine {
            type Record = $record;
            type Payload = $payload;
            type Event = $event;
            type Error = $error;

            // In each, the type's own method comes before the trait's.
            fn handle_message(
                &mut self,
                now: $crate::machine::Instant,
                rng: &mut dyn ::rand_core::CryptoRng,
                from: $crate::machine::PathId,
                message: &[u8],
            ) -> Result<$crate::machine::Disposition, $error> {
                Self::handle_message(self, now, rng, from, message)
            }

            fn handle_timeout(
                &mut self,
                now: $crate::machine::Instant,
                rng: &mut dyn ::rand_core::CryptoRng,
            ) -> Result<(), $error> {
                Self::handle_timeout(self, now, rng)
            }

            fn handle_persisted(&mut self, receipt: $crate::machine::Receipt) -> Result<(), $error> {
                Self::handle_persisted(self, receipt)
            }

            fn poll_output(&mut self) -> $crate::machine::Output<$record, $payload, $event> {
                Self::poll_output(self)
            }
        }
    };
}

macro_rules! forward {
    ($(#[$attribute:meta])* $holder:ty) => {
        $(#[$attribute])*
        impl<M: Machine + ?Sized> Machine for $holder {
            type Record = M::Record;
            type Payload = M::Payload;
            type Event = M::Event;
            type Error = M::Error;

            fn handle_message(
                &mut self,
                now: Instant,
                rng: &mut dyn CryptoRng,
                from: PathId,
                message: &[u8],
            ) -> Result<Disposition, Self::Error> {
                (**self).handle_message(now, rng, from, message)
            }

            fn handle_timeout(&mut self, now: Instant, rng: &mut dyn CryptoRng) -> Result<(), Self::Error> {
                (**self).handle_timeout(now, rng)
            }

            fn handle_persisted(&mut self, receipt: Receipt) -> Result<(), Self::Error> {
                (**self).handle_persisted(receipt)
            }

            fn poll_output(&mut self) -> Output<Self::Record, Self::Payload, Self::Event> {
                (**self).poll_output()
            }
        }
    };
}

forward!(&mut M);
forward!(
    #[cfg(feature = "alloc")]
    alloc::boxed::Box<M>
);
