//! Tables that take no room: each octet follows from a seed and its place.

use skex_dske::{ELEMENT_LEN, Pad, PadError};

/// A table of the load test. Both ends of a link make the same one.
///
/// **It holds no secret**: whoever knows the seed knows all of it. It is there so that 50,000 enrolments take kilobytes and
/// not gigabytes, and it costs a few nanoseconds where a file costs a system call. What was erased in order is known while the
/// process lives; after a start the marks in the log alone say what was used, as they do for a table whose file was brought
/// back. That is safe where no log is ever brought back, and a load test brings none back.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeededPad {
    seed: u64,
    elements: u32,
    /// Everything below was erased.
    erased: u32,
}

impl SeededPad {
    pub(super) const fn new(seed: u64, elements: u32) -> Self {
        Self { seed, elements, erased: 0 }
    }

    fn end(&self, index: u32, elements: u32) -> Result<u32, PadError> {
        index.checked_add(elements).filter(|end| *end <= self.elements).ok_or(PadError::OutOfRange)
    }
}

impl Pad for SeededPad {
    fn elements(&self) -> u32 {
        self.elements
    }

    fn read(&self, index: u32, out: &mut [u8]) -> Result<(), PadError> {
        let elements = u32::try_from(out.len().div_ceil(ELEMENT_LEN)).map_err(|_| PadError::OutOfRange)?;
        self.end(index, elements)?;
        if index < self.erased {
            return Err(PadError::Erased);
        }
        // Never zero, which is what erased elements are.
        let words = (u64::from(index) * 2..).map(|place| mix(self.seed ^ mix(place)) | 1);
        for (octets, word) in out.chunks_mut(8).zip(words) {
            octets.copy_from_slice(&word.to_le_bytes()[..octets.len()]);
        }
        Ok(())
    }

    fn erase(&mut self, index: u32, elements: u32) -> Result<(), PadError> {
        let end = self.end(index, elements)?;
        if index <= self.erased {
            self.erased = self.erased.max(end);
        }
        Ok(())
    }
}

/// A one-to-one mapping that scatters (the finaliser of splitmix64).
pub(super) const fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_read_the_same_however_they_read_it_and_nothing_that_was_erased() {
        let (mut one, other) = (SeededPad::new(7, 100), SeededPad::new(7, 100));
        let (mut whole, mut part) = ([0; 1600], [0; 40]);
        one.read(0, &mut whole).unwrap();
        other.read(30, &mut part).unwrap();
        assert_eq!(whole[480..520], part);
        assert!(whole.chunks(16).all(|element| element.iter().any(|&octet| octet != 0)));
        assert_eq!(other.read(99, &mut [0; 17]), Err(PadError::OutOfRange));
        assert_eq!(one.erase(99, 2), Err(PadError::OutOfRange));
        one.erase(0, 31).unwrap();
        assert_eq!(one.read(30, &mut part), Err(PadError::Erased));
        one.read(31, &mut part).unwrap();
    }
}
