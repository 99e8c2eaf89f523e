//! Who holds a machine by reference or in a box holds a machine: drivers need not care.

use rand_core::CryptoRng;

use super::{Disposition, Instant, Machine, Output, PathId, Receipt};

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
