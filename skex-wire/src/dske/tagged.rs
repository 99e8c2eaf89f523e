//! A message whose last 16 octets are a tag over what comes before.

use super::{Direction, TAG_LEN};
use crate::{DecodeError, Reader};

/// A decoded message with its tag, **not verified**, and the octets that the tag covers.
///
/// Decoding verifies nothing: until the receiver has compared the tag, every field is the attacker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tagged<'a, M> {
    /// The fields.
    pub message: M,
    /// Every octet of the message before its tag.
    pub untagged: &'a [u8],
    /// The tag as received.
    pub tag: [u8; TAG_LEN],
}

impl<'a, M> Tagged<'a, M> {
    /// Splits the tag off `bytes`, then lets `decode` read all that is left.
    pub(super) fn decode_with(
        bytes: &'a [u8],
        decode: impl FnOnce(&mut Reader<'a>) -> Result<M, DecodeError>,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let length = bytes.len().checked_sub(TAG_LEN);
        let untagged = match length {
            Some(length) => reader.clone().take(length)?,
            None => return Err(reader.error(crate::DecodeErrorKind::Truncated)),
        };
        let message = decode(&mut reader)?;
        let tag = reader.array()?;
        reader.finish()?;
        Ok(Self { message, untagged, tag })
    }
}

/// Octets of [`tag_prefix`].
pub const TAG_PREFIX_LEN: usize = 21;

/// What stands before the octets of a message under every one-time tag: the direction of the message, the client's id
/// at the hub, the hub's id. They are not on the wire, and bind a tag to its link.
#[must_use]
pub fn tag_prefix(direction: Direction, client_id: u32, hub_id: &[u8; 16]) -> [u8; TAG_PREFIX_LEN] {
    let mut prefix = [0; TAG_PREFIX_LEN];
    let [a, b, c, d] = client_id.to_be_bytes();
    if let Some((front, hub)) = prefix.split_first_chunk_mut() {
        *front = [direction.value(), a, b, c, d];
        hub.copy_from_slice(hub_id);
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_direction_then_client_then_hub() {
        let prefix = tag_prefix(Direction::DOWNLINK, 0x0102_0304, &[9; 16]);
        assert_eq!(prefix[..5], [1, 1, 2, 3, 4]);
        assert_eq!(prefix[5..], [9; 16]);
    }
}
