//! Bytes that leave the machine, inline.

use core::fmt;

use skex_core::machine::DiscardReason;
use skex_core::{Digest, SecretBytes, Suite};
use skex_wire::unmediated::{MAX_MESSAGE, TAG_LEN};
use skex_wire::{EncodeError, Writer};
use zeroize::Zeroize;

use crate::record::MAX_RECORD;
use crate::schedule::{self, MAC_KEY_LEN};

/// A message to send: at most 256 octets, inline.
#[derive(Clone, Copy)]
pub struct Datagram {
    bytes: [u8; MAX_MESSAGE],
    length: usize,
}

impl Datagram {
    pub(crate) const fn empty() -> Self {
        Self { bytes: [0; MAX_MESSAGE], length: 0 }
    }

    /// Makes it what `write` writes.
    pub(crate) fn write<E>(&mut self, write: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut writer = Writer::new(&mut self.bytes);
        write(&mut writer)?;
        self.length = writer.len();
        Ok(())
    }

    /// Its octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The hash of what `write` writes, and of `further` octets.
#[inline(never)]
pub(crate) fn written_digest<const ROOM: usize>(
    suite: Suite,
    write: &dyn Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    further: &[u8],
) -> Result<Digest, DiscardReason> {
    with_written::<ROOM, _>(write, |written| suite.digest(&[written, further]))
}

/// The tag of what `write` writes, and of `further` octets; written to `tag`.
#[inline(never)]
pub(crate) fn written_mac(
    suite: Suite,
    key: &SecretBytes<MAC_KEY_LEN>,
    write: &dyn Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    further: &[u8],
    tag: &mut [u8; TAG_LEN],
) -> Result<(), DiscardReason> {
    with_written::<MAX_MESSAGE, _>(write, |written| *tag = schedule::mac(suite, key, &[written, further]))
}

/// Runs `then` with what `write` writes: octets that are hashed, and go nowhere. The buffer is in the caller's frame, and the
/// caller is not inlined: the buffer goes with it.
#[inline]
pub(crate) fn with_written<const ROOM: usize, T>(
    write: &dyn Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    then: impl FnOnce(&[u8]) -> T,
) -> Result<T, DiscardReason> {
    let mut bytes = [0; ROOM];
    let mut writer = Writer::new(&mut bytes);
    write(&mut writer).map_err(|_| DiscardReason::Malformed)?;
    let length = writer.len();
    Ok(then(bytes.get(..length).unwrap_or_default()))
}

impl AsRef<[u8]> for Datagram {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datagram({} octets)", self.length)
    }
}

/// A durable record, inline. It holds secrets: it is wiped on drop, and what it is written to is to be kept as a key is.
pub struct Record {
    bytes: [u8; MAX_RECORD],
    length: usize,
}

impl Record {
    pub(crate) const fn empty() -> Self {
        Self { bytes: [0; MAX_RECORD], length: 0 }
    }

    /// Makes it what `write` writes to its front, as many octets as that says.
    pub(crate) fn write<E>(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<(), E> {
        self.length = write(&mut self.bytes)?;
        Ok(())
    }

    /// Its octets, framed and with their checksum.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // As a slice: arrays are wiped octet by octet, slices in bulk.
        self.bytes.as_mut_slice().zeroize();
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({} octets)", self.length)
    }
}
