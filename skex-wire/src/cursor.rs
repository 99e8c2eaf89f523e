//! Bounds-checked reading and writing over borrowed slices: the one place where wire bytes are taken apart.
//!
//! Integers are big endian. Neither cursor allocates, and neither moves when a step fails: after an error the
//! position is where it was before the call.

use crate::{DecodeError, DecodeErrorKind, EncodeError};

/// Reads values from the front of a slice.
///
/// The borrowed slices that it returns live as long as the input, not as long as the reader. It has no `Debug`
/// output of its bytes, which may be secret.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `input`.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { rest: input, total: input.len() }
    }

    /// Octets not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Octets read so far.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.total.wrapping_sub(self.rest.len())
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// An error of `kind` at the present offset.
    #[must_use]
    pub const fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(kind, self.offset())
    }

    /// The next `n` octets.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] where fewer are left.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) =
            self.rest.split_at_checked(n).ok_or_else(|| self.error(DecodeErrorKind::Truncated))?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` octets, borrowed.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] where fewer are left.
    #[inline]
    pub fn array_ref<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (head, tail) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| self.error(DecodeErrorKind::Truncated))?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` octets, copied. Secrets are better read with [`Self::array_ref`], which leaves no copy.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] where fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.array_ref().copied()
    }

    /// The next octets, as many as `out` has, copied over what it held: a secret goes to its slot, and nowhere else.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] where fewer are left; `out` is untouched then.
    #[inline(never)]
    pub fn read_into(&mut self, out: &mut [u8]) -> Result<(), DecodeError> {
        out.copy_from_slice(self.take(out.len())?);
        Ok(())
    }

    /// One octet.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] at the end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let (octet, tail) = self.rest.split_first().ok_or_else(|| self.error(DecodeErrorKind::Truncated))?;
        self.rest = tail;
        Ok(*octet)
    }

    /// Two octets, big endian.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] where fewer are left.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four octets, big endian.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] where fewer are left.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight octets, big endian.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] where fewer are left.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length of one octet, then so many octets (at most 255).
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] where fewer are left.
    #[inline]
    pub fn prefixed_u8(&mut self) -> Result<&'a [u8], DecodeError> {
        let mut ahead = self.clone();
        let length = ahead.u8()?;
        let value = ahead.take(usize::from(length))?;
        *self = ahead;
        Ok(value)
    }

    /// A length of two octets, then so many octets, at most `max`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::BadLength`] where the length is above `max`, [`DecodeErrorKind::Truncated`] where
    /// fewer are left.
    #[inline]
    pub fn prefixed_u16(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let mut ahead = self.clone();
        let length = usize::from(ahead.u16()?);
        if length > max {
            return Err(self.error(DecodeErrorKind::BadLength));
        }
        let value = ahead.take(length)?;
        *self = ahead;
        Ok(value)
    }

    /// Everything that is left. The reader is at the end afterwards.
    #[inline]
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// Ends the reading: everything must have been read.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TrailingBytes`] where something is left.
    #[inline]
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(DecodeErrorKind::TrailingBytes)) }
    }
}

impl core::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reader")
            .field("offset", &self.offset())
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

/// Writes values to the front of a borrowed buffer.
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// A writer at the start of `buffer`.
    #[must_use]
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Octets written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Octets of room left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.buffer.len().saturating_sub(self.length)
    }

    /// What was written so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    /// Ends the writing and gives what was written, for as long as the buffer lives.
    #[must_use]
    pub fn into_written(self) -> &'a mut [u8] {
        self.buffer.get_mut(..self.length).unwrap_or_default()
    }

    /// The next `n` octets of the buffer, as room to fill in place. What they held before is left there.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    #[inline]
    pub fn reserve(&mut self, n: usize) -> Result<&mut [u8], EncodeError> {
        let start = self.length;
        let end = start.checked_add(n).ok_or(EncodeError::BufferTooSmall)?;
        let room = self.buffer.get_mut(start..end).ok_or(EncodeError::BufferTooSmall)?;
        self.length = end;
        Ok(room)
    }

    /// The bytes as they are.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    // A small machine has it once; elsewhere octets whose number is known are moved without a call.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.reserve(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// One octet.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    #[inline]
    pub fn u8(&mut self, value: u8) -> Result<(), EncodeError> {
        self.bytes(&[value])
    }

    /// Two octets, big endian.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    #[inline]
    pub fn u16(&mut self, value: u16) -> Result<(), EncodeError> {
        self.bytes(&value.to_be_bytes())
    }

    /// Four octets, big endian.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    #[inline]
    pub fn u32(&mut self, value: u32) -> Result<(), EncodeError> {
        self.bytes(&value.to_be_bytes())
    }

    /// Eight octets, big endian.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    #[inline]
    pub fn u64(&mut self, value: u64) -> Result<(), EncodeError> {
        self.bytes(&value.to_be_bytes())
    }

    /// A length of one octet, then the bytes.
    ///
    /// # Errors
    /// [`EncodeError::ValueTooLong`] above 255 octets, [`EncodeError::BufferTooSmall`].
    #[inline]
    pub fn prefixed_u8(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let length = u8::try_from(bytes.len()).map_err(|_| EncodeError::ValueTooLong)?;
        self.prefixed(&[length], bytes)
    }

    /// A length of two octets, then the bytes.
    ///
    /// # Errors
    /// [`EncodeError::ValueTooLong`] above `max` or 65,535 octets, [`EncodeError::BufferTooSmall`].
    #[inline]
    pub fn prefixed_u16(&mut self, bytes: &[u8], max: usize) -> Result<(), EncodeError> {
        if bytes.len() > max {
            return Err(EncodeError::ValueTooLong);
        }
        let length = u16::try_from(bytes.len()).map_err(|_| EncodeError::ValueTooLong)?;
        self.prefixed(&length.to_be_bytes(), bytes)
    }

    fn prefixed(&mut self, prefix: &[u8], bytes: &[u8]) -> Result<(), EncodeError> {
        let start = self.length;
        self.bytes(prefix)?;
        self.bytes(bytes).inspect_err(|_| self.length = start)
    }
}

impl core::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Writer")
            .field("len", &self.length)
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{format, vec, vec::Vec};

    #[derive(Debug, Clone)]
    enum Value {
        U8(u8),
        U16(u16),
        U32(u32),
        U64(u64),
        Bytes(Vec<u8>),
        PrefixedU8(Vec<u8>),
        PrefixedU16(Vec<u8>),
    }

    fn value() -> impl Strategy<Value = Value> {
        let bytes = |max| prop::collection::vec(any::<u8>(), 0..=max);
        prop_oneof![
            any::<u8>().prop_map(Value::U8),
            any::<u16>().prop_map(Value::U16),
            any::<u32>().prop_map(Value::U32),
            any::<u64>().prop_map(Value::U64),
            bytes(40).prop_map(Value::Bytes),
            bytes(255).prop_map(Value::PrefixedU8),
            bytes(600).prop_map(Value::PrefixedU16),
        ]
    }

    fn write(writer: &mut Writer<'_>, value: &Value) -> Result<(), EncodeError> {
        match value {
            Value::U8(value) => writer.u8(*value),
            Value::U16(value) => writer.u16(*value),
            Value::U32(value) => writer.u32(*value),
            Value::U64(value) => writer.u64(*value),
            Value::Bytes(value) => writer.bytes(value),
            Value::PrefixedU8(value) => writer.prefixed_u8(value),
            Value::PrefixedU16(value) => writer.prefixed_u16(value, 600),
        }
    }

    /// Reads a value of the same form and says whether it is the same.
    fn reads_back(reader: &mut Reader<'_>, value: &Value) -> Result<bool, DecodeError> {
        Ok(match value {
            Value::U8(value) => reader.u8()? == *value,
            Value::U16(value) => reader.u16()? == *value,
            Value::U32(value) => reader.u32()? == *value,
            Value::U64(value) => reader.u64()? == *value,
            Value::Bytes(value) => reader.take(value.len())? == value.as_slice(),
            Value::PrefixedU8(value) => reader.prefixed_u8()? == value.as_slice(),
            Value::PrefixedU16(value) => reader.prefixed_u16(600)? == value.as_slice(),
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_one_octet_less_is_not(values in prop::collection::vec(value(), 1..12)) {
            let mut buffer = vec![0; 8192];
            let mut writer = Writer::new(&mut buffer);
            for value in &values {
                write(&mut writer, value).unwrap();
            }
            let bytes = writer.written().to_vec();
            let mut reader = Reader::new(&bytes);
            for value in &values {
                prop_assert_eq!(reads_back(&mut reader, value), Ok(true));
            }
            prop_assert_eq!(reader.offset(), bytes.len());
            prop_assert_eq!(reader.finish(), Ok(()));

            if let Some(short) = bytes.len().checked_sub(1) {
                let mut reader = Reader::new(&bytes[..short]);
                let mut failed = None;
                for value in &values {
                    let before = reader.offset();
                    if let Err(error) = reads_back(&mut reader, value) {
                        prop_assert_eq!(error.kind, DecodeErrorKind::Truncated);
                        prop_assert_eq!(reader.offset(), before, "a failed step moved the reader");
                        failed = Some(error);
                        break;
                    }
                }
                // Only an empty value at the end reads from nothing.
                prop_assert!(failed.is_some() || reader.is_empty());
            }

            let mut exact = vec![0; bytes.len()];
            let mut writer = Writer::new(&mut exact);
            prop_assert!(values.iter().all(|value| write(&mut writer, value).is_ok()));
            prop_assert_eq!(&*writer.into_written(), &bytes);
            if let Some(short) = bytes.len().checked_sub(1) {
                let mut room = vec![0; short];
                let mut writer = Writer::new(&mut room);
                for value in &values {
                    let before = writer.len();
                    if let Err(error) = write(&mut writer, value) {
                        prop_assert_eq!(error, EncodeError::BufferTooSmall);
                        prop_assert_eq!(writer.len(), before, "a failed step moved the writer");
                        return Ok(());
                    }
                }
                prop_assert!(false, "everything fitted into one octet less");
            }
        }
    }

    #[test]
    fn integers_are_big_endian() {
        let mut buffer = [0; 15];
        let mut writer = Writer::new(&mut buffer);
        writer.u8(1).unwrap();
        writer.u16(0x0203).unwrap();
        writer.u32(0x0405_0607).unwrap();
        writer.u64(0x0809_0a0b_0c0d_0e0f).unwrap();
        assert_eq!(writer.written(), (1..16).collect::<Vec<u8>>());
    }

    #[test]
    fn a_length_above_its_maximum_is_an_error_at_the_place_of_the_length() {
        let bytes = [9, 0, 4, 1, 2, 3, 4];
        let mut reader = Reader::new(&bytes);
        reader.u8().unwrap();
        assert_eq!(reader.prefixed_u16(3), Err(DecodeError::new(DecodeErrorKind::BadLength, 1)));
        assert_eq!(reader.offset(), 1);
        assert_eq!(reader.prefixed_u16(4), Ok(&bytes[3..]));
        let mut buffer = [0; 512];
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(writer.prefixed_u16(&[0; 4], 3), Err(EncodeError::ValueTooLong));
        assert_eq!(writer.prefixed_u8(&[0; 256]), Err(EncodeError::ValueTooLong));
        assert!(writer.is_empty());
    }

    #[test]
    fn bytes_after_the_end_are_an_error_at_the_end() {
        let mut reader = Reader::new(&[1, 2, 3]);
        reader.u16().unwrap();
        assert_eq!(reader.clone().finish(), Err(DecodeError::new(DecodeErrorKind::TrailingBytes, 2)));
        assert_eq!(reader.rest(), [3]);
        assert_eq!(reader.offset(), 3);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn debug_shows_positions_and_no_bytes() {
        let mut buffer = [0xd7; 4];
        let mut writer = Writer::new(&mut buffer);
        writer.u8(0xd7).unwrap();
        let shown = format!("{writer:?} {:?}", Reader::new(&[0xd7]));
        assert!(!shown.contains("d7") && !shown.contains("215"), "{shown}");
    }
}
