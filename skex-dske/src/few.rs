//! A few octets that need no place of their own on the heap: a hub has very many of these.

use core::borrow::Borrow;
use core::cmp::Ordering;
use core::ops::Deref;

/// At most `N` octets, in place. Public ones: they are neither wiped nor compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Few<const N: usize> {
    /// Zeros behind the last one.
    octets: [u8; N],
    len: u8,
}

impl<const N: usize> Few<N> {
    /// What `parts` are one after the other. A part that is too long is left out, and callers see to it that none is.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut octets = [0; N];
        let mut len = 0_usize;
        for part in parts {
            let end = len.saturating_add(part.len());
            debug_assert!(end <= N);
            if let Some(place) = octets.get_mut(len..end) {
                place.copy_from_slice(part);
                len = end;
            }
        }
        Self { octets, len: u8::try_from(len).unwrap_or(u8::MAX) }
    }

    /// These octets, unless there are more than `N`.
    pub(crate) fn copied_from(octets: &[u8]) -> Option<Self> {
        (octets.len() <= N).then(|| Self::of(&[octets]))
    }
}

impl<const N: usize> Ord for Few<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Most differ at their beginning, and two numbers are compared at once.
        let beginning = |few: &Self| few.octets.first_chunk::<8>().map(|octets| u64::from_be_bytes(*octets));
        let rest = || self.octets.cmp(&other.octets).then_with(|| self.len.cmp(&other.len));
        beginning(self).cmp(&beginning(other)).then_with(rest)
    }
}

impl<const N: usize> PartialOrd for Few<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// In the order of the octets, as slices are: see the test.
impl<const N: usize> Borrow<[u8]> for Few<N> {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl<const N: usize> Deref for Few<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn longer_ones_are_in_the_order_of_their_octets(
            a in proptest::collection::vec(0_u8..2, 0..12), b in proptest::collection::vec(0_u8..2, 0..12),
        ) {
            let few = |octets: &Vec<u8>| Few::<12>::of(&[octets]);
            prop_assert_eq!(few(&a).cmp(&few(&b)), a.cmp(&b));
        }
    }

    #[test]
    fn parts_stand_one_after_the_other_and_are_in_the_order_of_their_octets() {
        let few = |parts: &[&[u8]]| Few::<5>::of(parts);
        assert_eq!(*few(&[b"ab", b"", b"cde"]), *b"abcde");
        assert!(few(&[]).is_empty());
        assert!(few(&[b"ab"]) == few(&[b"a", b"b"]));
        assert!(few(&[b"ab"]) < few(&[b"ab", b"\0"]) && few(&[b"ab\0"]) < few(&[b"b"]));
        assert!(Few::<5>::copied_from(b"abcde").is_some_and(|five| *five == *b"abcde"));
        assert!(Few::<5>::copied_from(b"abcdef").is_none());
    }
}
