//! SEVERAL.

use super::{InnerType, expect_type};
use crate::limits::MAX_SEVERAL_LEN;
use crate::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

/// Messages about keys that share an envelope: two or more. Each counts as if it had come alone, in their order.
///
/// Its frame is checked and that each message may be here, by its first octet; what else is in them is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Several<'a> {
    /// Each with its length before it.
    framed: &'a [u8],
}

impl<'a> Several<'a> {
    /// Octets before the first message's length.
    pub const HEAD_LEN: usize = 1;

    /// Octets of the length of each message.
    pub const FRAME_LEN: usize = 2;

    /// Whether a message may be in it: a share, an answer to one, BUSY or CONFIRM. By its first octet.
    #[must_use]
    pub fn admits(message: &[u8]) -> bool {
        message.first().is_some_and(|first| {
            matches!(
                InnerType::new(*first),
                InnerType::UPLOAD
                    | InnerType::DELIVERY
                    | InnerType::ANSWER
                    | InnerType::BUSY
                    | InnerType::CONFIRM
                    | InnerType::UPLOAD_SEALED
                    | InnerType::DELIVERY_SEALED
                    | InnerType::ANSWER_SEALED
            )
        })
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`DecodeError`] unless `bytes` are exactly one SEVERAL: two messages at least, each of them one that may be here, and
    /// [`MAX_SEVERAL_LEN`] octets at most.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if bytes.len() > MAX_SEVERAL_LEN {
            return Err(reader.error(DecodeErrorKind::BadLength));
        }
        expect_type(&mut reader, InnerType::SEVERAL)?;
        let several = Self { framed: reader.clone().rest() };
        let mut count = 0_usize;
        while !reader.is_empty() || count < 2 {
            let start = reader.clone();
            let message = reader.prefixed_u16(MAX_SEVERAL_LEN)?;
            if message.is_empty() {
                return Err(start.error(DecodeErrorKind::BadLength));
            }
            if !Self::admits(message) {
                return Err(start.error(DecodeErrorKind::UnknownType));
            }
            count = count.saturating_add(1);
        }
        Ok(several)
    }

    /// The messages, not decoded.
    pub fn messages(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.framed);
        core::iter::from_fn(move || reader.prefixed_u16(MAX_SEVERAL_LEN).ok())
    }

    /// Octets of the message.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.framed.len().saturating_add(Self::HEAD_LEN)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u8(InnerType::SEVERAL.value())?;
        writer.bytes(self.framed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::dske::Busy;

    fn busy(index: u32) -> [u8; Busy::LEN] {
        let mut octets = [0; Busy::LEN];
        Busy::new(1, index).encode(&mut Writer::new(&mut octets)).unwrap();
        octets
    }

    fn several(messages: &[&[u8]]) -> Vec<u8> {
        let mut octets = [0; 2 * MAX_SEVERAL_LEN];
        let mut writer = Writer::new(&mut octets);
        writer.u8(InnerType::SEVERAL.value()).unwrap();
        messages.iter().for_each(|message| writer.prefixed_u16(message, usize::MAX).unwrap());
        writer.written().to_vec()
    }

    #[test]
    fn messages_come_in_their_order() {
        let (first, second) = (busy(1), busy(2));
        let octets = several(&[&first, &second]);
        assert_eq!(octets.len(), Several::HEAD_LEN + 2 * (Several::FRAME_LEN + Busy::LEN));
        let read = Several::decode(&octets).unwrap();
        assert_eq!(read.messages().collect::<Vec<_>>(), [first, second]);
        let mut written = [0; 64];
        let mut writer = Writer::new(&mut written);
        read.encode(&mut writer).unwrap();
        assert_eq!((writer.written(), read.encoded_len()), (&*octets, octets.len()));
    }

    #[test]
    fn a_frame_that_is_not_right_is_refused_whole() {
        let busy = busy(1);
        let kind = |octets: &[u8]| Several::decode(octets).unwrap_err().kind;
        assert_eq!(kind(&several(&[])), DecodeErrorKind::Truncated);
        assert_eq!(kind(&several(&[&busy])), DecodeErrorKind::Truncated);
        assert_eq!(kind(&several(&[&busy, &[]])), DecodeErrorKind::BadLength);
        let whole = several(&[&busy, &busy]);
        (1..whole.len()).for_each(|end| assert_eq!(kind(&whole[..end]), DecodeErrorKind::Truncated));
        assert_eq!(kind(&[&*whole, &[0]].concat()), DecodeErrorKind::Truncated);
        // No SEVERAL in another, and nothing that is not about keys.
        for first in (0..=u8::MAX).filter(|first| !matches!(first, 4..=8 | 11..=13)) {
            assert_eq!(kind(&several(&[&busy, &[first, 0]])), DecodeErrorKind::UnknownType, "{first}");
        }
        let long = [InnerType::UPLOAD.value(); MAX_SEVERAL_LEN];
        let fits = MAX_SEVERAL_LEN - Several::HEAD_LEN - 2 * Several::FRAME_LEN - Busy::LEN;
        assert!(Several::decode(&several(&[&busy, &long[..fits]])).is_ok());
        assert_eq!(kind(&several(&[&busy, &long[..=fits]])), DecodeErrorKind::BadLength);
    }
}
