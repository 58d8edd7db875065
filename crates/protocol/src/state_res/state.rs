//! A room state over an [`AuthGraph`], and the differences between several.

use std::sync::Arc;

use smallvec::SmallVec;

use super::graph::{AuthGraph, Key, Node};
use crate::id::EventId;

/// How many entries each tree node has, as a power of two.
const BITS: u32 = 5;
const WIDTH: usize = 1 << BITS;

/// A room state: one event for each type and state key, by number.
///
/// Cloning is cheap. A clone changed with [`State::set`] shares all but a few hundred bytes with the original, and
/// shared parts cost nothing when states are compared or resolved. So build the first state of a room from its events
/// and derive the others from it.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// By key, most significant digits first.
    root: Option<Tree>,
    /// The number of digits of a key.
    height: u32,
    len: usize,
}

#[derive(Debug, Clone)]
enum Tree {
    Leaf(Arc<[Option<Node>; WIDTH]>),
    Branch(Arc<[Option<Tree>; WIDTH]>),
}

impl State {
    /// Builds the state of these events; the last of several with the same type and state key counts.
    ///
    /// # Errors
    /// The events that are not in the graph.
    pub fn new<'a>(graph: &AuthGraph, events: impl IntoIterator<Item = &'a EventId>) -> Result<Self, Vec<EventId>> {
        let mut unknown = Vec::new();
        let mut state = Self::default();
        for id in events {
            match graph.node(id) {
                Some(node) => _ = state.set(graph, node),
                None => unknown.push(id.clone()),
            }
        }
        if unknown.is_empty() { Ok(state) } else { Err(unknown) }
    }

    /// Builds the state of these events; the last of several with the same type and state key counts.
    pub fn from_nodes(graph: &AuthGraph, nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut state = Self::default();
        for node in nodes {
            state.set(graph, node);
        }
        state
    }

    /// Sets an event and returns the previous one of the same type and state key.
    pub fn set(&mut self, graph: &AuthGraph, node: Node) -> Option<Node> {
        self.put(graph.key_of(node), node)
    }

    pub(super) fn put(&mut self, key: Key, node: Node) -> Option<Node> {
        while self.height == 0 || u64::from(key.number()) >= 1 << (BITS * self.height) {
            self.root = Self::lift(self.root.take(), self.height);
            self.height += 1;
        }
        let before = replace(&mut self.root, self.height, key.number(), Some(node));
        self.len += usize::from(before.is_none());
        before
    }

    /// Removes and returns the event of a type and state key.
    pub fn unset(&mut self, key: Key) -> Option<Node> {
        self.get(key)?;
        self.len -= 1;
        replace(&mut self.root, self.height, key.number(), None)
    }

    /// Returns the event of a type and state key.
    pub fn get(&self, key: Key) -> Option<Node> {
        if u64::from(key.number()) >= 1 << (BITS * self.height) {
            return None;
        }
        let mut tree = self.root.as_ref()?;
        let mut level = self.height;
        loop {
            level -= 1;
            match tree {
                Tree::Leaf(values) => return values[digit(key.number(), level)],
                Tree::Branch(children) => tree = children[digit(key.number(), level)].as_ref()?,
            }
        }
    }

    /// Iterates over all entries, in order of key number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Key, Node)> {
        let path = self.root.iter().map(|root| (root, 0, 0)).collect();
        Entries { path, height: self.height, left: self.len }
    }

    /// Iterates over the ids of all events.
    pub fn event_ids<'a>(&'a self, graph: &'a AuthGraph) -> impl Iterator<Item = &'a EventId> {
        self.iter().map(|(_, node)| graph.id(node))
    }

    /// Returns the keys for which the states have different events, or only one has an event, in order of number.
    /// Shared parts cost nothing.
    pub fn changed_keys(&self, other: &Self) -> Vec<Key> {
        let mut keys: Vec<Key> = conflicts(&[self, other]).into_iter().map(|conflict| conflict.key).collect();
        keys.dedup();
        keys
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the result of a resolution: entries of `self` win over those of `resolved`.
    pub(super) fn merged_over(mut self, resolved: impl IntoIterator<Item = (Key, Node)>) -> Self {
        for (key, node) in resolved {
            if self.get(key).is_none() {
                self.put(key, node);
            }
        }
        self
    }

    /// Returns a tree with one more digit.
    fn lift(tree: Option<Tree>, height: u32) -> Option<Tree> {
        let tree = tree.filter(|_| height > 0)?;
        let mut children = <[Option<Tree>; WIDTH]>::default();
        children[0] = Some(tree);
        Some(Tree::Branch(Arc::new(children)))
    }
}

impl Tree {
    fn value(&self, at: usize) -> Option<Node> {
        match self {
            Self::Leaf(values) => values[at],
            Self::Branch(_) => None,
        }
    }

    fn child(&self, at: usize) -> Option<&Self> {
        match self {
            Self::Leaf(_) => None,
            Self::Branch(children) => children[at].as_ref(),
        }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && conflicts(&[self, other]).is_empty()
    }
}

impl Eq for State {}

fn digit(key: u32, level: u32) -> usize {
    (key >> (BITS * level)) as usize % WIDTH
}

/// Replaces an entry of a tree with `levels` levels.
fn replace(tree: &mut Option<Tree>, levels: u32, key: u32, value: Option<Node>) -> Option<Node> {
    let level = levels - 1;
    let tree = tree.get_or_insert_with(|| match level {
        0 => Tree::Leaf(Arc::default()),
        _ => Tree::Branch(Arc::default()),
    });
    match tree {
        Tree::Leaf(values) => std::mem::replace(&mut Arc::make_mut(values)[digit(key, level)], value),
        Tree::Branch(children) => replace(&mut Arc::make_mut(children)[digit(key, level)], level, key, value),
    }
}

struct Entries<'a> {
    /// From the root down: a tree, the number of its first key, and the index of its next entry.
    path: SmallVec<[(&'a Tree, u32, usize); 4]>,
    height: u32,
    left: usize,
}

impl Iterator for Entries<'_> {
    type Item = (Key, Node);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let depth = u32::try_from(self.path.len()).unwrap_or(u32::MAX);
            let (tree, first, next) = self.path.last_mut()?;
            let at = *next;
            *next += 1;
            if at == WIDTH {
                self.path.pop();
                continue;
            }
            let number = *first + ((at as u32) << (BITS * (self.height - depth)));
            match tree {
                Tree::Leaf(values) => {
                    if let Some(node) = values[at] {
                        self.left -= 1;
                        return Some((Key::from_number(number), node));
                    }
                }
                Tree::Branch(children) => self.path.extend(children[at].as_ref().map(|child| (child, number, 0))),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// A subset of the states.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct StateSet(SmallVec<[u64; 2]>);

impl StateSet {
    fn none(of: usize) -> Self {
        Self(SmallVec::from_elem(0, of.div_ceil(64)))
    }

    pub(super) fn all(of: usize) -> Self {
        let mut set = Self::none(of);
        (0..of).for_each(|state| set.insert(state));
        set
    }

    fn insert(&mut self, state: usize) {
        self.0[state / 64] |= 1 << (state % 64);
    }

    /// Iterates over the set as words of 64 states.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }

    pub(super) fn add(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(own, other)| *own |= other);
    }
}

/// A value of a key on which states differ, and the states that have it.
#[derive(Debug, Clone)]
pub(super) struct Conflict {
    pub(super) key: Key,
    pub(super) node: Node,
    pub(super) states: StateSet,
}

/// The entries on which states agree, and the others.
#[derive(Debug, Default)]
pub(super) struct Split {
    pub(super) agreed: State,
    /// Every distinct value of every other key, in order of key and number.
    pub(super) conflicts: Vec<Conflict>,
}

/// Compares states, skipping shared parts.
pub(super) fn split(states: &[State]) -> Split {
    let conflicts = conflicts(&states.iter().collect::<Vec<_>>());
    let mut agreed = states.first().cloned().unwrap_or_default();
    for values in conflicts.chunk_by(|a, b| a.key == b.key) {
        values.first().map(|conflict| agreed.unset(conflict.key));
    }
    Split { agreed, conflicts }
}

fn conflicts(states: &[&State]) -> Vec<Conflict> {
    let height = states.iter().map(|state| state.height).max().unwrap_or(0);
    let lifted = |state: &&State| (state.height..height).fold(state.root.clone(), State::lift);
    let roots: Vec<Option<Tree>> = states.iter().map(lifted).collect();
    let roots: Vec<Option<&Tree>> = roots.iter().map(Option::as_ref).collect();
    let mut found = Vec::new();
    compare(&roots, 0, height, &mut found);
    found
}

/// Adds the differences of trees with `levels` levels whose first key is `first`.
fn compare(trees: &[Option<&Tree>], first: u32, levels: u32, found: &mut Vec<Conflict>) {
    if trees.windows(2).all(|pair| same(pair[0], pair[1])) {
        return;
    }
    for at in 0..WIDTH {
        let number = first + ((at as u32) << (BITS * (levels - 1)));
        if levels == 1 {
            compare_entry(trees, at, Key::from_number(number), found);
        } else {
            let children: SmallVec<[Option<&Tree>; 8]> =
                trees.iter().map(|tree| tree.and_then(|tree| tree.child(at))).collect();
            compare(&children, number, levels - 1, found);
        }
    }
}

/// Whether two trees are known to have the same entries without descending.
fn same(one: Option<&Tree>, other: Option<&Tree>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(Tree::Leaf(one)), Some(Tree::Leaf(other))) => Arc::ptr_eq(one, other) || one == other,
        (Some(Tree::Branch(one)), Some(Tree::Branch(other))) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

fn compare_entry(leaves: &[Option<&Tree>], at: usize, key: Key, found: &mut Vec<Conflict>) {
    let value = |leaf: &Option<&Tree>| leaf.and_then(|leaf| leaf.value(at));
    let one = leaves.first().and_then(value);
    if leaves.iter().all(|leaf| value(leaf) == one) {
        return;
    }
    let mut values: SmallVec<[(Node, usize); 8]> =
        leaves.iter().enumerate().filter_map(|(state, leaf)| Some((value(leaf)?, state))).collect();
    values.sort_unstable();
    for same in values.chunk_by(|a, b| a.0 == b.0) {
        let mut states = StateSet::none(leaves.len());
        same.iter().for_each(|(_, state)| states.insert(*state));
        found.extend(same.first().map(|(node, _)| Conflict { key, node: *node, states }));
    }
}
