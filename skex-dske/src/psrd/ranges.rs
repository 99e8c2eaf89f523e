//! A bounded set of element ranges.

use alloc::vec::Vec;

/// Half-open ranges, sorted, apart from each other (touching ones are one), at most `BOUND` of them.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// In order, everything is one range; this many gaps are more than a network reorders.
    pub(super) const BOUND: usize = 256;

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether any element of `start..end` is in the set.
    pub(super) fn overlaps(&self, start: u32, end: u32) -> bool {
        let after = self.0.partition_point(|&(_, range_end)| range_end <= start);
        self.0.get(after).is_some_and(|&(range_start, _)| range_start < end)
    }

    /// Whether `start..end` could be added.
    pub(super) fn has_room_for(&self, start: u32, end: u32) -> bool {
        self.0.len() < Self::BOUND || !self.touched(start, end).is_empty()
    }

    /// All ranges that touch or overlap this one: they become one with it.
    fn touched(&self, start: u32, end: u32) -> core::ops::Range<usize> {
        let first = self.0.partition_point(|&(_, range_end)| range_end < start);
        let last = self.0.partition_point(|&(range_start, _)| range_start <= end);
        first..last.max(first)
    }

    /// Adds `start..end`; `false`, and nothing changed, if the set has no room for another range.
    #[must_use]
    pub(super) fn insert(&mut self, start: u32, end: u32) -> bool {
        if start >= end {
            return true;
        }
        let range = self.touched(start, end);
        let touched = self.0.get(range.clone()).unwrap_or_default();
        if touched.is_empty() && self.0.len() >= Self::BOUND {
            return false;
        }
        let merged_start = touched.first().map_or(start, |&(s, _)| s.min(start));
        let merged_end = touched.last().map_or(end, |&(_, e)| e.max(end));
        if self.0.is_empty() {
            // In order there is only ever one, and a hub has many tables.
            self.0.reserve_exact(1);
        }
        self.0.splice(range, [(merged_start, merged_end)]);
        // What a burst out of order took is given back.
        if self.0.len() == 1 {
            self.0.shrink_to(1);
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(ops in proptest::collection::vec((0_u32..200, 1_u32..12), 1..60)) {
            let mut ranges = Ranges::default();
            let mut model = [false; 256];
            for (start, len) in ops {
                let end = start + len;
                let span = start as usize..end as usize;
                prop_assert_eq!(ranges.overlaps(start, end), model[span.clone()].iter().any(|&used| used));
                prop_assert!(ranges.has_room_for(start, end));
                prop_assert!(ranges.insert(start, end));
                model[span].fill(true);
                prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }

    #[test]
    fn a_full_set_refuses_a_new_range_and_still_takes_one_that_touches() {
        let mut ranges = Ranges::default();
        for i in 0..Ranges::BOUND as u32 {
            assert!(ranges.insert(i * 3, i * 3 + 1));
        }
        assert!(!ranges.has_room_for(5000, 5001));
        assert!(!ranges.insert(5000, 5001));
        assert!(!ranges.overlaps(5000, 5001));
        assert!(ranges.has_room_for(1, 3));
        assert!(ranges.insert(1, 3));
    }
}
