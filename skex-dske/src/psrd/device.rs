//! A table on a device that reads and writes whole blocks.

use core::fmt;

use skex_core::SecretVec;

use super::pad::{ELEMENT_LEN, Pad, PadError};

/// A device of blocks: a disk or a part of one, a memory card, a flash chip behind a translation layer.
///
/// It must be the only user of its blocks. What was written is durable once [`Self::flush`] returned.
pub trait BlockDevice {
    /// Octets of a block: a multiple of 16, at most 64 KiB.
    fn block_len(&self) -> usize;

    /// Blocks of the device.
    fn blocks(&self) -> u64;

    /// Reads whole blocks from block `first` on. The length of `out` is a multiple of the block length.
    ///
    /// # Errors
    ///
    /// [`PadError::Storage`] if the device fails.
    fn read(&self, first: u64, out: &mut [u8]) -> Result<(), PadError>;

    /// Writes whole blocks from block `first` on. The length of `octets` is a multiple of the block length.
    ///
    /// # Errors
    ///
    /// [`PadError::Storage`] if the device fails.
    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), PadError>;

    /// Makes everything that was written durable.
    ///
    /// # Errors
    ///
    /// [`PadError::Storage`] if the device fails.
    fn flush(&mut self) -> Result<(), PadError>;
}

/// A table in the blocks of a device, from one block on.
///
/// To erase is to write zeros and flush. A device that writes elsewhere than where it is told (flash does) keeps old
/// octets until it reuses the place: encrypt it as a whole, or destroy it at the end.
pub struct BlockPad<D> {
    device: D,
    first: u64,
    elements: u32,
}

/// Octets of the longest block.
const LONGEST_BLOCK: usize = 65536;

impl<D: BlockDevice> BlockPad<D> {
    /// The table of `elements` elements that begins with block `first` of `device`.
    ///
    /// # Errors
    ///
    /// [`PadError::OutOfRange`] if the device is too short, or its block length is not a multiple of 16 up to 64 KiB.
    pub fn new(device: D, first: u64, elements: u32) -> Result<Self, PadError> {
        let block = device.block_len();
        if block == 0 || block > LONGEST_BLOCK || !block.is_multiple_of(ELEMENT_LEN) {
            return Err(PadError::OutOfRange);
        }
        let needed = (u64::from(elements).saturating_mul(ELEMENT_LEN as u64)).div_ceil(block as u64);
        if first.checked_add(needed).is_none_or(|end| end > device.blocks()) {
            return Err(PadError::OutOfRange);
        }
        Ok(Self { device, first, elements })
    }

    /// The device, when the table is not needed any more.
    #[must_use]
    pub fn into_device(self) -> D {
        self.device
    }

    fn place(&self, index: u32) -> Place {
        let Self { first, elements, .. } = *self;
        Place { first, elements, block_len: self.device.block_len(), index }
    }
}

/// An element of a table, and how the table lies in blocks.
#[derive(Clone, Copy)]
struct Place {
    first: u64,
    elements: u32,
    block_len: usize,
    index: u32,
}

/// Calls `each` for every block that holds a part of the `len` octets from `place` on: the block, the part's place in it, and
/// in the whole.
fn parts(
    place: Place,
    len: usize,
    mut each: impl FnMut(u64, core::ops::Range<usize>, usize) -> Result<(), PadError>,
) -> Result<(), PadError> {
    let out = || PadError::OutOfRange;
    let start = u64::from(place.index).saturating_mul(ELEMENT_LEN as u64);
    let end = start.checked_add(len as u64).ok_or_else(out)?;
    if end > u64::from(place.elements).saturating_mul(ELEMENT_LEN as u64) {
        return Err(PadError::OutOfRange);
    }
    let block_octets = u64::try_from(place.block_len).map_err(|_| out())?;
    let mut done = 0;
    while done < len {
        let at = start.saturating_add(done as u64);
        let block = at.checked_div(block_octets).and_then(|block| block.checked_add(place.first));
        let within = at.checked_rem(block_octets).and_then(|within| usize::try_from(within).ok());
        let (block, within) = (block.ok_or_else(out)?, within.ok_or_else(out)?);
        let part = place.block_len.saturating_sub(within).min(len.saturating_sub(done));
        each(block, within..within.saturating_add(part), done)?;
        done = done.saturating_add(part);
    }
    Ok(())
}

impl<D: BlockDevice> Pad for BlockPad<D> {
    fn elements(&self) -> u32 {
        self.elements
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        let mut block = SecretVec::zeroed(self.device.block_len());
        parts(self.place(index), out.len(), |number, within, done| {
            self.device.read(number, block.expose_mut())?;
            let part = block.expose().get(within).ok_or(PadError::OutOfRange)?;
            let place = out.get_mut(done..).and_then(|rest| rest.get_mut(..part.len()));
            place.ok_or(PadError::OutOfRange)?.copy_from_slice(part);
            Ok(())
        })
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        let len = usize::try_from(elements).ok().and_then(|count| count.checked_mul(ELEMENT_LEN));
        let mut block = SecretVec::zeroed(self.device.block_len());
        let place = self.place(index);
        let device = &mut self.device;
        parts(place, len.ok_or(PadError::OutOfRange)?, |number, within, _| {
            // What else the block holds stays.
            if within.len() < block.len() {
                device.read(number, block.expose_mut())?;
            }
            block.expose_mut().get_mut(within).ok_or(PadError::OutOfRange)?.fill(0);
            device.write(number, block.expose())
        })?;
        self.device.flush()
    }
}

impl<D> fmt::Debug for BlockPad<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockPad")
            .field("first", &self.first)
            .field("elements", &self.elements)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;
    use core::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::psrd::MemoryPad;

    /// It takes whole blocks only, and loses what was not flushed.
    struct Disk {
        block_len: usize,
        durable: Vec<u8>,
        written: Vec<u8>,
        broken: Cell<bool>,
    }

    impl Disk {
        fn new(block_len: usize, octets: Vec<u8>) -> Self {
            Self { block_len, durable: octets.clone(), written: octets, broken: Cell::new(false) }
        }

        fn range(&self, first: u64, len: usize) -> Result<core::ops::Range<usize>, PadError> {
            assert!(len > 0 && len.is_multiple_of(self.block_len), "{len} octets are no whole blocks");
            let start = usize::try_from(first).unwrap() * self.block_len;
            assert!(start + len <= self.written.len(), "outside the device");
            if self.broken.get() { Err(PadError::Storage) } else { Ok(start..start + len) }
        }
    }

    impl BlockDevice for Disk {
        fn block_len(&self) -> usize {
            self.block_len
        }

        fn blocks(&self) -> u64 {
            (self.written.len() / self.block_len) as u64
        }

        fn read(&self, first: u64, out: &mut [u8]) -> Result<(), PadError> {
            out.copy_from_slice(&self.written[self.range(first, out.len())?]);
            Ok(())
        }

        fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), PadError> {
            let range = self.range(first, octets.len())?;
            self.written[range].copy_from_slice(octets);
            Ok(())
        }

        fn flush(&mut self) -> Result<(), PadError> {
            self.durable.clone_from(&self.written);
            Ok(())
        }
    }

    fn octets(len: usize) -> Vec<u8> {
        (0..len).map(|at| u8::try_from(at % 251).unwrap() + 1).collect()
    }

    proptest! {
        #[test]
        fn a_table_on_a_device_is_a_table_in_memory(
            block_len in prop::sample::select(vec![16_usize, 512, 4096]),
            ops in proptest::collection::vec((0_u32..310, 0_u32..80, any::<bool>()), 1..40),
        ) {
            // The table begins with the second block, and others' octets lie on both sides.
            let len = 300 * ELEMENT_LEN;
            let device = octets((len.div_ceil(block_len) + 3) * block_len);
            let table = device[block_len..block_len + len].to_vec();
            let mut memory = MemoryPad::new(SecretVec::from_vec(table));
            let mut pad = BlockPad::new(Disk::new(block_len, device.clone()), 1, 300).unwrap();
            for (index, elements, erase) in ops {
                if erase {
                    prop_assert_eq!(pad.erase(index, elements), memory.erase(index, elements));
                } else {
                    let (mut left, mut right) =
                        (vec![0; elements as usize * ELEMENT_LEN], vec![0; elements as usize * ELEMENT_LEN]);
                    let read = pad.read(index, &mut left);
                    prop_assert_eq!(read, memory.read(index, &mut right));
                    prop_assert!(read.is_err() || left == right);
                }
            }
            let disk = pad.into_device();
            prop_assert!(disk.durable == disk.written, "erased and flushed");
            let end = block_len + len;
            prop_assert_eq!(&disk.durable[..block_len], &device[..block_len]);
            prop_assert_eq!(&disk.durable[end..], &device[end..]);
        }
    }

    #[test]
    fn a_device_that_cannot_hold_the_table_is_refused() {
        for (block_len, blocks, first, elements) in
            [(512, 4, 0, 129), (512, 4, 3, 33), (512, 4, u64::MAX, 1), (24, 4, 0, 1), (0x20000, 1, 0, 1)]
        {
            let disk = Disk::new(block_len, vec![1; block_len * blocks]);
            assert_eq!(BlockPad::new(disk, first, elements).unwrap_err(), PadError::OutOfRange);
        }
    }

    #[test]
    fn a_broken_device_is_told() {
        let mut pad = BlockPad::new(Disk::new(512, vec![1; 1024]), 0, 64).unwrap();
        pad.device.broken.set(true);
        assert_eq!(pad.read(0, &mut [0; 16]), Err(PadError::Storage));
        assert_eq!(pad.erase(0, 1), Err(PadError::Storage));
    }
}
