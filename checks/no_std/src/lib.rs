//! A static library with a panic handler of its own. If anything below it brings std in, the build ends with E0152
//! (two panic handlers); without the feature `alloc` it also ends if anything needs an allocator.
#![no_std]

#[cfg(feature = "alloc")]
mod bump;

use skex_core::machine::{Clock, Instant};
use skex_core::{AEAD_KEY_LEN, NONCE_LEN, SecretBytes, Suite};
use skex_wire::Reader;
// Nothing of it to call yet: linked, so that its dependencies count.
use skex_unmediated as _;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Calls into each library, so that their code is really generated. Zero: all went well.
#[unsafe(no_mangle)]
pub extern "C" fn skex_no_std_proof(milliseconds: u64) -> i32 {
    let done =
        reads(&milliseconds.to_be_bytes()) && keeps_time(milliseconds) && every_suite_opens_what_it_sealed();
    #[cfg(feature = "alloc")]
    let done = done && two_of_three_shares_give_the_secret() == Some(true);
    if done { 0 } else { 1 }
}

fn reads(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    reader.u32().is_ok() && reader.u64().is_err() && reader.remaining() == 4
}

fn keeps_time(milliseconds: u64) -> bool {
    let mut clock = Clock::new(Instant::from_millis(milliseconds));
    clock.observe(Instant::ZERO) == Instant::from_millis(milliseconds)
}

fn every_suite_opens_what_it_sealed() -> bool {
    Suite::all().all(|suite| {
        let key = SecretBytes::<AEAD_KEY_LEN>::from_fn(|key| key.fill(7));
        let nonce = [0; NONCE_LEN];
        let mut buffer = *b"secret";
        suite
            .seal(&key, &nonce, b"", &mut buffer)
            .and_then(|tag| suite.open(&key, &nonce, b"", &mut buffer, &tag))
            .is_ok()
            && buffer == *b"secret"
    })
}

#[cfg(feature = "alloc")]
fn two_of_three_shares_give_the_secret() -> Option<bool> {
    use skex_dske::{Coordinate, Splitter, combine};

    let [x1, x2, x3] = [Coordinate::new(1)?, Coordinate::new(2)?, Coordinate::new(3)?];
    let first = *b"random";
    let (mut second, mut third, mut secret) = ([0; 6], [0; 6], [0; 6]);
    Splitter::new(2, &[x1, x2, x3]).ok()?.split(b"secret", &[&first], &mut [&mut second, &mut third]).ok()?;
    combine(2, &[(x3, &third), (x1, &first)], &mut secret).ok()?;
    Some(secret == *b"secret")
}
