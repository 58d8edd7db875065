//! A persistent sorted set: cheap to clone, compact when small, and cheap to change when large.
//!
//! Elements are in shared leaves. A change copies one leaf and the list of leaves: in a room of 10,000 members it
//! updates a few hundred reference counts.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

/// The maximum number of elements of a leaf.
const MAX_LEAF_LEN: usize = 128;

/// An immutable sorted set whose clones share structure.
#[derive(Debug)]
pub struct SortedSet<T> {
    leaves: Arc<Vec<Arc<Vec<T>>>>,
    len: usize,
}

impl<T> Clone for SortedSet<T> {
    fn clone(&self) -> Self {
        Self { leaves: Arc::clone(&self.leaves), len: self.len }
    }
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self { leaves: Arc::new(Vec::new()), len: 0 }
    }
}

impl<T: Clone> SortedSet<T> {
    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.leaves.iter().flat_map(|leaf| leaf.iter())
    }

    /// Returns the element for which `order` is `Equal`. `order(x)` compares `x` with the element that is looked for.
    pub fn find(&self, order: impl Fn(&T) -> Ordering) -> Option<&T> {
        let leaf = self.leaf_for(&order)?;
        let leaf = self.leaves.get(leaf)?;
        leaf.binary_search_by(order).ok().and_then(|at| leaf.get(at))
    }

    /// Returns the elements in order, from the first for which `order` is not `Less`.
    pub fn iter_from(&self, order: impl Fn(&T) -> Ordering) -> impl Iterator<Item = &T> {
        let first = self.leaves.partition_point(|leaf| leaf.last().is_some_and(|last| order(last) == Ordering::Less));
        let skip = self.leaves.get(first).map_or(0, |leaf| leaf.partition_point(|item| order(item) == Ordering::Less));
        self.leaves.iter().skip(first).flat_map(|leaf| leaf.iter()).skip(skip)
    }

    /// Inserts an element at its place by `order`. Returns the element that it replaces, for which `order` is `Equal`.
    pub fn insert(&mut self, item: T, order: impl Fn(&T) -> Ordering) -> Option<T> {
        let leaves = Arc::make_mut(&mut self.leaves);
        let at = leaves
            .partition_point(|leaf| leaf.last().is_some_and(|last| order(last) == Ordering::Less))
            .min(leaves.len().saturating_sub(1));
        let Some(leaf) = leaves.get_mut(at) else {
            leaves.push(Arc::new(vec![item]));
            self.len = 1;
            return None;
        };
        let items = Arc::make_mut(leaf);
        match items.binary_search_by(order) {
            Ok(place) => Some(std::mem::replace(&mut items[place], item)),
            Err(place) => {
                items.insert(place, item);
                self.len += 1;
                if items.len() > MAX_LEAF_LEN {
                    let upper = items.split_off(MAX_LEAF_LEN / 2);
                    leaves.insert(at + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    /// Removes the element for which `order` is `Equal`, and returns it.
    pub fn remove(&mut self, order: impl Fn(&T) -> Ordering) -> Option<T> {
        let at = self.leaf_for(&order)?;
        let leaves = Arc::make_mut(&mut self.leaves);
        let items = Arc::make_mut(leaves.get_mut(at)?);
        let place = items.binary_search_by(order).ok()?;
        let removed = items.remove(place);
        self.len -= 1;
        if items.is_empty() {
            leaves.remove(at);
        }
        Some(removed)
    }

    /// Returns the elements of two sets without the leaves that both share.
    pub fn unshared<'a>(
        &'a self,
        other: &'a Self,
    ) -> (impl Iterator<Item = &'a T> + 'a, impl Iterator<Item = &'a T> + 'a) {
        let addresses = |set: &Self| set.leaves.iter().map(Arc::as_ptr).collect::<HashSet<_>>();
        let (ours, theirs) = (addresses(self), addresses(other));
        let of = |set: &'a Self, shared: HashSet<*const Vec<T>>| {
            set.leaves.iter().filter(move |leaf| !shared.contains(&Arc::as_ptr(leaf))).flat_map(|leaf| leaf.iter())
        };
        (of(self, theirs), of(other, ours))
    }

    fn leaf_for(&self, order: &impl Fn(&T) -> Ordering) -> Option<usize> {
        let at = self.leaves.partition_point(|leaf| leaf.last().is_some_and(|last| order(last) == Ordering::Less));
        (at < self.leaves.len()).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn behaves_as_a_btree_set() {
        let mut ours = SortedSet::default();
        let mut model = BTreeSet::new();
        let mut seed = 1_u64;
        for step in 0..20_000_u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = (seed >> 33) % 1_000;
            if step % 3 == 0 {
                assert_eq!(ours.remove(|x: &u64| x.cmp(&value)).is_some(), model.remove(&value));
            } else {
                assert_eq!(ours.insert(value, |x| x.cmp(&value)).is_none(), model.insert(value));
            }
        }
        assert_eq!(ours.len(), model.len());
        assert!(ours.iter().eq(model.iter()));
        for value in 0..1_001 {
            assert_eq!(ours.find(|x| x.cmp(&value)).is_some(), model.contains(&value));
            assert!(ours.iter_from(|x| x.cmp(&value)).eq(model.range(value..)));
        }
    }

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut ours = SortedSet::default();
        for value in 0..500 {
            ours.insert(value, |x: &i32| x.cmp(&value));
        }
        let before = ours.clone();
        ours.remove(|x| x.cmp(&250));
        assert_eq!(before.len(), 500);
        assert!(before.find(|x| x.cmp(&250)).is_some());
        assert!(ours.find(|x| x.cmp(&250)).is_none());
        let (more, fewer) = before.unshared(&ours);
        let (more, fewer): (BTreeSet<_>, BTreeSet<_>) = (more.collect(), fewer.collect());
        assert!(more.len() <= MAX_LEAF_LEN && more.difference(&fewer).eq([&&250]) && fewer.is_subset(&more));
    }
}
