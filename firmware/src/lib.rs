//! What the images share: the end of a run, the depth of the stack, slots for records, random octets.
#![no_std]

#[cfg(feature = "dske")]
extern crate alloc;

#[cfg(feature = "dske")]
pub mod dske;
pub mod flash;
#[cfg(feature = "dske")]
pub mod heap;
pub mod parts;
pub mod posing;
pub mod random;
pub mod stack;

use cortex_m_semihosting::debug;
use skex_core::machine::Instant;

/// What the images do takes no time that they would see.
pub const NOW: Instant = Instant::ZERO;

/// Ends the run: all went as it must.
pub fn succeed() -> ! {
    loop {
        debug::exit(debug::EXIT_SUCCESS);
    }
}

/// Ends the run: it did not. A panic comes here too, without its text, which would cost flash.
pub fn fail() -> ! {
    loop {
        debug::exit(debug::EXIT_FAILURE);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    fail()
}

/// Prints a figure for `run.py`.
pub fn print(name: &str, octets: usize) {
    cortex_m_semihosting::hprintln!("{} {}", name, octets);
}
