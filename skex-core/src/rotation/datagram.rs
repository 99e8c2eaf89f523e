//! Status datagrams: a status on its way between the ends, where the link itself carries none.
//!
//! ```text
//! version (1) | end (1) | zeros (2) | generation (8) | name (16) | status (90) | tag (16)
//! ```
//!
//! The tag is HMAC-SHA-256, of 16 octets, under a raw key with the context `skex link status` that both ends export from the
//! output key of the generation; the name is that key's. What names the end keeps a datagram from being sent back.

use skex_wire::{EncodeError, Reader, Writer};

use super::STATUS_LEN;
use crate::export::{End, ExportError, Exporter, KEY_NAME_LEN};
use crate::suite::sha256_mac_key;
use crate::{MacKey, SecretBytes, TAG_LEN};

/// Octets of a status datagram.
pub const DATAGRAM_LEN: usize = HEAD_LEN + STATUS_LEN + TAG_LEN;

const HEAD_LEN: usize = 4 + 8 + KEY_NAME_LEN;

const VERSION: u8 = 1;

/// What the key is exported for.
const CONTEXT: &[u8] = b"skex link status";

/// What authenticates the statuses that are sent under one generation.
#[derive(Debug)]
pub struct DatagramKey {
    name: [u8; KEY_NAME_LEN],
    secret: SecretBytes<32>,
    mac: MacKey,
}

/// An authentic datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened<'a> {
    /// The generation that the other end gives to the key.
    pub generation: u64,
    /// Its status, for [`Machine::handle_message`](crate::machine::Machine::handle_message).
    pub status: &'a [u8; STATUS_LEN],
}

impl DatagramKey {
    /// The key that goes with an output key, the same at both ends.
    ///
    /// # Errors
    /// [`ExportError::Used`], where the exporter gave raw keys before.
    pub fn export(exporter: &mut Exporter) -> Result<Self, ExportError> {
        let raw = exporter.raw(0, CONTEXT, 32)?;
        let secret = SecretBytes::try_copied_from(raw.key().expose()).ok_or(ExportError::Length)?;
        Ok(Self::new(*raw.name().as_bytes(), secret))
    }

    /// The key that was stored, by its parts.
    #[must_use]
    pub fn new(name: [u8; KEY_NAME_LEN], secret: SecretBytes<32>) -> Self {
        let mac = sha256_mac_key(secret.expose());
        Self { name, secret, mac }
    }

    /// What a datagram names it by.
    #[must_use]
    pub const fn name(&self) -> &[u8; KEY_NAME_LEN] {
        &self.name
    }

    /// The secret, to be stored.
    #[must_use]
    pub const fn secret(&self) -> &SecretBytes<32> {
        &self.secret
    }

    /// A datagram of `from`, for the generation of this key.
    #[must_use]
    pub fn seal(&self, from: End, generation: u64, status: &[u8; STATUS_LEN]) -> [u8; DATAGRAM_LEN] {
        let mut datagram = [0; DATAGRAM_LEN];
        let mut writer = Writer::new(&mut datagram);
        let written: Result<(), EncodeError> = (|| {
            writer.bytes(&[VERSION, end_octet(from), 0, 0])?;
            writer.u64(generation)?;
            writer.bytes(&self.name)?;
            writer.bytes(status)?;
            let tag = self.mac.tag(&[writer.written()]);
            writer.bytes(&tag)
        })();
        debug_assert!(written.is_ok(), "the length is that of the fields");
        datagram
    }

    /// What a datagram of `from` says under this key. `None`: it is not one.
    #[must_use]
    pub fn open<'a>(&self, from: End, datagram: &'a [u8]) -> Option<Opened<'a>> {
        let sealed = Sealed::parse(datagram)?;
        let fits = sealed.end == end_octet(from) && sealed.name == self.name;
        let authentic = fits && self.mac.verify(&[sealed.signed], sealed.tag).is_ok();
        authentic.then_some(Opened { generation: sealed.generation, status: sealed.status })
    }
}

/// The name of the key that a datagram is under. `None` where it has not the form of one.
#[must_use]
pub fn datagram_key_name(datagram: &[u8]) -> Option<[u8; KEY_NAME_LEN]> {
    Sealed::parse(datagram).map(|sealed| sealed.name)
}

const fn end_octet(end: End) -> u8 {
    match end {
        End::A => 1,
        End::B => 2,
    }
}

/// A datagram, taken apart and not yet verified.
struct Sealed<'a> {
    end: u8,
    generation: u64,
    name: [u8; KEY_NAME_LEN],
    status: &'a [u8; STATUS_LEN],
    signed: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

impl<'a> Sealed<'a> {
    fn parse(datagram: &'a [u8]) -> Option<Self> {
        let signed = datagram.get(..HEAD_LEN + STATUS_LEN)?;
        let mut reader = Reader::new(datagram);
        let [version, end, zero, other_zero] = reader.array().ok()?;
        let generation = reader.u64().ok()?;
        let name = reader.array().ok()?;
        let status = reader.array_ref().ok()?;
        let tag = reader.array_ref().ok()?;
        reader.finish().ok()?;
        let good = version == VERSION && zero == 0 && other_zero == 0 && generation > 0;
        good.then_some(Self { end, generation, name, status, signed, tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> DatagramKey {
        DatagramKey::new([7; KEY_NAME_LEN], SecretBytes::copied_from(&[9; 32]))
    }

    #[test]
    fn what_was_sealed_opens_at_the_other_end_and_nowhere_else() {
        let (key, status) = (key(), [3; STATUS_LEN]);
        let datagram = key.seal(End::A, 5, &status);
        assert_eq!(datagram_key_name(&datagram), Some(*key.name()));
        assert_eq!(key.open(End::A, &datagram), Some(Opened { generation: 5, status: &status }));
        assert_eq!(key.open(End::B, &datagram), None, "sent back to its sender");
        let other = DatagramKey::new(*key.name(), SecretBytes::copied_from(&[8; 32]));
        assert_eq!(other.open(End::A, &datagram), None);
    }

    #[test]
    fn no_bit_can_be_turned_and_no_octet_added_or_taken() {
        let key = key();
        let datagram = key.seal(End::B, 1, &[0; STATUS_LEN]);
        for bit in 0..datagram.len() * 8 {
            let mut turned = datagram;
            turned[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(End::B, &turned), None, "bit {bit}");
        }
        for len in 0..datagram.len() {
            assert_eq!(key.open(End::B, &datagram[..len]), None);
        }
        let longer = [&datagram[..], &[0]].concat();
        assert_eq!(key.open(End::B, &longer), None);
    }
}
