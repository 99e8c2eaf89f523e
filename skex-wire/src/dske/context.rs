//! The full context of a key. Never on the wire: each end builds it from what it knows, and the secret tag and the
//! confirm tag cover it.

use super::{Terms, VERSION, bitmap_bit};
use crate::{EncodeError, Writer};

/// Octets of the context of a key of `hubs` hubs.
#[must_use]
pub const fn context_len(hubs: u8) -> usize {
    18usize.saturating_mul(hubs as usize).saturating_add(58)
}

/// Writes the full context: version, suite, key id, initiator's tag, responder's tag, threshold, number of hubs, key
/// length, lifetime; then, in ascending order of coordinates, each hub's id, coordinate and the origin of the
/// initiator's table there.
///
/// `hub_ids` gives the hubs in the order of `terms.coordinates`, from the writer's own roster: never from a message.
///
/// # Errors
/// [`EncodeError::BufferTooSmall`]; [`EncodeError::ValueTooLong`] unless there are as many ids as coordinates.
pub fn encode_context<'h>(
    writer: &mut Writer<'_>,
    key_id: &[u8; 16],
    initiator: &[u8; 16],
    responder: &[u8; 16],
    terms: &Terms<'_>,
    hub_ids: impl IntoIterator<Item = &'h [u8; 16]>,
) -> Result<(), EncodeError> {
    writer.u8(VERSION)?;
    writer.u8(terms.suite.value())?;
    writer.bytes(key_id)?;
    writer.bytes(initiator)?;
    writer.bytes(responder)?;
    writer.u8(terms.threshold)?;
    writer.u8(terms.hubs())?;
    writer.u32(terms.key_len)?;
    writer.u16(terms.lifetime)?;
    let mut hub_ids = hub_ids.into_iter();
    for (i, x) in (0..=u8::MAX).zip(terms.coordinates) {
        writer.bytes(hub_ids.next().ok_or(EncodeError::ValueTooLong)?)?;
        writer.u8(*x)?;
        writer.u8(u8::from(bitmap_bit(terms.origins, i)))?;
    }
    if hub_ids.next().is_some() { Err(EncodeError::ValueTooLong) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::dske::DskeSuiteId;
    use std::vec;

    #[test]
    fn the_context_is_as_long_as_said_and_in_order() {
        let terms = Terms::new(DskeSuiteId::ITS, 2, 32, 600, &[1, 5, 9], &[0b010]).unwrap();
        let hubs = [[0xa1; 16], [0xa2; 16], [0xa3; 16]];
        let mut buffer = [0; context_len(3)];
        let mut writer = Writer::new(&mut buffer);
        encode_context(&mut writer, &[1; 16], &[2; 16], &[3; 16], &terms, &hubs).unwrap();
        assert_eq!(writer.remaining(), 0);
        assert_eq!(buffer[..2], [1, 1]);
        assert_eq!(buffer[50..58], [2, 3, 0, 0, 0, 32, 2, 88]);
        assert_eq!(buffer[58..74], [0xa1; 16]);
        assert_eq!(buffer[74..76], [1, 0]);
        assert_eq!(buffer[92..94], [5, 1]);
        assert_eq!(buffer[110..112], [9, 0]);
    }

    #[test]
    fn a_hub_too_few_or_too_many_is_refused() {
        let terms = Terms::new(DskeSuiteId::ITS, 2, 32, 600, &[1, 5], &[0]).unwrap();
        for hubs in [vec![[0; 16]; 1], vec![[0; 16]; 3]] {
            let mut buffer = [0; 256];
            let mut writer = Writer::new(&mut buffer);
            assert!(encode_context(&mut writer, &[1; 16], &[2; 16], &[3; 16], &terms, &hubs).is_err());
        }
    }
}
