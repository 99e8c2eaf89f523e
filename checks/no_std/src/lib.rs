//! A static library with a panic handler of its own. If anything below it brings std in, the build ends with E0152
//! (two panic handlers); without the feature `alloc` it also ends if anything needs an allocator.
#![no_std]

#[cfg(feature = "alloc")]
mod bump;

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use skex_core::machine::{Clock, Instant, Output};
use skex_core::{AEAD_KEY_LEN, NONCE_LEN, SecretBytes, Suite};
use skex_unmediated::{Peer, PeerConfig, Side};
use skex_wire::Reader;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Calls into each library, so that their code is really generated. Zero: all went well.
#[unsafe(no_mangle)]
pub extern "C" fn skex_no_std_proof(milliseconds: u64) -> i32 {
    let done =
        reads(&milliseconds.to_be_bytes()) && keeps_time(milliseconds) && every_suite_opens_what_it_sealed();
    // A peer needs a suite.
    let done =
        done && (Suite::all().next().is_none() || a_peer_stores_itself_and_sends(milliseconds) == Some(true));
    #[cfg(feature = "alloc")]
    let done = done && two_of_three_shares_give_the_secret() == Some(true);
    #[cfg(feature = "alloc")]
    let done = done && (Suite::all().next().is_none() || a_table_finds_a_lane(milliseconds) == Some(true));
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

/// Enrols a peer, takes its first record, and after the receipt its first message.
fn a_peer_stores_itself_and_sends(milliseconds: u64) -> Option<bool> {
    let now = Instant::from_millis(milliseconds);
    let mut rng = Counter(milliseconds);
    let mut peer = Peer::enrol(&PeerConfig::new(Side::A, b"a", b"b"), &[7; 32], now, &mut rng).ok()?;
    let Output::Persist(checkpoint) = peer.poll_output() else { return None };
    let (mut slot, mut stored) = ([0; skex_unmediated::MAX_RECORD], 0);
    let receipt = checkpoint.commit_with(|record| {
        let bytes = record.as_bytes();
        slot.get_mut(..bytes.len()).ok_or(())?.copy_from_slice(bytes);
        stored = bytes.len();
        Ok::<(), ()>(())
    });
    peer.handle_persisted(receipt.ok()?).ok()?;
    peer.establish(now, &mut rng).ok()?;
    let Output::Transmit(first) = peer.poll_output() else { return None };
    Some(stored > 0 && !first.payload.as_bytes().is_empty())
}

/// Enrols a pair of two lanes, and hands the table a message for nobody.
#[cfg(feature = "alloc")]
fn a_table_finds_a_lane(milliseconds: u64) -> Option<bool> {
    use skex_core::machine::PathId;
    use skex_unmediated::{PeerTable, TableConfig};

    let now = Instant::from_millis(milliseconds);
    let mut rng = Counter(milliseconds);
    let mut table = PeerTable::new(TableConfig::new(2), now, &mut rng);
    let config = PeerConfig::new(Side::A, b"a", b"b");
    table.enrol_pair(&config, 2, false, &[7; 32], now, &mut rng).ok()?;
    let _ = table.handle_message(now, &mut rng, PathId::new(1), &[0x11; 46]).ok()?;
    Some(table.len() == 2 && matches!(table.poll_output(), Output::Persist(_)))
}

/// No generator at all: a proof of building has no secrets.
struct Counter(u64);

impl TryRng for Counter {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0 = self.0.wrapping_add(1);
        Ok(self.0 as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(1);
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Infallible> {
        for octet in octets {
            self.0 = self.0.wrapping_add(1);
            *octet = self.0 as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for Counter {}

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
