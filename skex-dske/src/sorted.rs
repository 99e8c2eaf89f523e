//! A map in the order of its keys, of little code: every kind of map is in the program once more, and that of the standard library is 3 kB on
//! a small device.

use alloc::vec::Vec;

/// Short lists of entries, one behind the other: what comes and goes moves a part of one of them.
pub(crate) struct Sorted<K, V> {
    /// None is empty.
    lists: Vec<Vec<(K, V)>>,
    len: usize,
}

/// The most entries of a list.
const LONGEST: usize = 64;

/// A list, and a place in it.
type Place = (usize, usize);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self { lists: Vec::new(), len: 0 }
    }
}

impl<K: Ord, V> Sorted<K, V> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn first(&self) -> Option<&(K, V)> {
        self.lists.first()?.first()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let (list, place) = self.place(key).ok()?;
        Some(&self.lists.get(list)?.get(place)?.1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (list, place) = self.place(key).ok()?;
        Some(&mut self.lists.get_mut(list)?.get_mut(place)?.1)
    }

    /// Adds an entry. What the key had before, which stays where it is.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok((list, place)) => {
                let entry = self.lists.get_mut(list)?.get_mut(place)?;
                Some(core::mem::replace(&mut entry.1, value))
            }
            Err(place) => {
                self.insert_at(place, (key, value));
                None
            }
        }
    }

    #[inline(never)]
    fn insert_at(&mut self, (list, place): Place, entry: (K, V)) {
        self.len = self.len.saturating_add(1);
        let Some(entries) = self.lists.get_mut(list) else { return self.lists.push(alloc::vec![entry]) };
        if entries.len() < LONGEST {
            return entries.insert(place, entry);
        }
        // Keys that come in their order leave full lists behind.
        let middle = if place == LONGEST { LONGEST } else { LONGEST / 2 };
        let mut behind = entries.split_off(middle);
        match place.checked_sub(middle) {
            Some(place) => behind.insert(place, entry),
            None => entries.insert(place, entry),
        }
        self.lists.insert(list.saturating_add(1), behind);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (list, place) = self.place(key).ok()?;
        let entries = self.lists.get_mut(list)?;
        let (_, value) = entries.remove(place);
        if entries.is_empty() {
            self.lists.remove(list);
        }
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.lists.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.lists.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// What `find` makes of the first entry behind a key, or the first of all, of which it makes something.
    pub(crate) fn find_behind<R>(
        &mut self,
        last: Option<&K>,
        mut find: impl FnMut(&K, &mut V) -> Option<R>,
    ) -> Option<R> {
        let (Ok((first, _)) | Err((first, _))) = last.map_or(Ok((0, 0)), |last| self.place(last));
        for list in self.lists.get_mut(first..).unwrap_or_default() {
            for (key, value) in list {
                if last.is_none_or(|last| &*key > last)
                    && let Some(found) = find(key, value)
                {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Where a key is, or would be.
    fn place(&self, key: &K) -> Result<Place, Place> {
        let compared = |entry: &(K, V)| entry.0.cmp(key);
        let begins_before = |list: &Vec<(K, V)>| list.first().is_some_and(|first| compared(first).is_le());
        let list = self.lists.partition_point(begins_before).saturating_sub(1);
        let place = self.lists.get(list).map(Vec::as_slice).unwrap_or_default().binary_search_by(compared);
        place.map(|place| (list, place)).map_err(|place| (list, place))
    }
}

impl<K: Ord + Copy, V> Sorted<K, V> {
    /// The value of a key, which is added where it is not there.
    pub(crate) fn get_or_default(&mut self, key: K) -> Option<&mut V>
    where
        V: Default,
    {
        if let Err(place) = self.place(&key) {
            self.insert_at(place, (key, V::default()));
        }
        self.get_mut(&key)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use core::ops::Bound;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_map_of_the_standard_library(
            steps in proptest::collection::vec((0_u8..4, 0_u16..300), 0..2000), ascending in 0_u16..300,
        ) {
            let (mut sorted, mut model) = (Sorted::default(), BTreeMap::new());
            let steps = (0..ascending).map(|key| (0, key)).chain(steps);
            for (value, (step, key)) in steps.enumerate() {
                match step {
                    0 | 1 => prop_assert_eq!(sorted.insert(key, value), model.insert(key, value)),
                    2 => prop_assert_eq!(sorted.remove(&key), model.remove(&key)),
                    _ => prop_assert_eq!(sorted.get_or_default(key).copied(), Some(*model.entry(key).or_default())),
                }
                prop_assert_eq!(sorted.len(), model.len());
                prop_assert_eq!(sorted.get(&key), model.get(&key));
                prop_assert_eq!(sorted.get_mut(&key), model.get_mut(&key));
                prop_assert_eq!(sorted.first().map(|(key, _)| *key), model.keys().next().copied());
                prop_assert!(sorted.lists.iter().all(|list| (1..=LONGEST).contains(&list.len())));
            }
            prop_assert!(sorted.iter().map(|(key, value)| (key, value)).eq(&model));
            prop_assert!(sorted.iter_mut().eq(model.iter_mut()));
            for last in [0, 64, 150, 299] {
                let odd = |key: &u16, value: &mut usize| (*value % 2 == 1).then_some((*key, *value));
                let mut all = model.range_mut((Bound::Excluded(last), Bound::Unbounded));
                prop_assert_eq!(sorted.find_behind(Some(&last), odd), all.find_map(|(key, value)| odd(key, value)));
            }
        }
    }
}
