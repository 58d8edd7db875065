//! A chain cover of the auth graph: an index that decides reachability without walking the graph.
//!
//! Every event is on one chain, with a sequence number; each event of a chain has its predecessor among its auth
//! events. An event continues the chain of its type and state key if the last event of that chain is among its auth
//! events, and begins a new chain otherwise. So an auth chain contains a prefix of each chain; how long it is follows
//! from the links: auth events that are on other chains than the event, without those that say no more than an earlier
//! one. A room has about as many chains as state keys, but an auth chain touches few of them: power levels, join rules,
//! and the members who set these or invited somebody.
//!
//! Chains depend only on the order in which events became part of the graph. Sequence numbers grow with the numbers of
//! the events, so this module compares events instead of their positions.

use std::collections::{BinaryHeap, hash_map::Entry};

use super::{AuthGraph, Node};
use crate::state_res::numbers::NumberMap;

/// The position of an event in the chain cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainPosition {
    /// The number of the chain.
    pub chain: u32,
    /// The sequence number, counted from 0.
    pub sequence: u32,
}

/// A link between chains: an event has an auth event on another chain. All later events of its chain have this auth
/// event in their auth chains too, with everything before it on the other chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainLink {
    /// The event with the auth event.
    pub from: ChainPosition,
    /// The auth event, on another chain.
    pub to: ChainPosition,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Chains {
    positions: Vec<ChainPosition>,
    /// The last event of each chain.
    tips: Vec<Node>,
    /// The links of chains with more than one event, by target chain and then in order; the links of other chains are
    /// their auth events.
    links: NumberMap<u32, Vec<Link>>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    /// The chain of `to`.
    chain: u32,
    from: Node,
    to: Node,
}

/// One event for each chain reached.
pub(in crate::state_res) type ChainMap = NumberMap<u32, Node>;

impl AuthGraph {
    /// Returns the position of an event in the chain cover. An event is in the auth chain of another on the same chain
    /// if its sequence number is smaller, and of one on another chain if links lead there.
    pub fn chain_position(&self, node: Node) -> ChainPosition {
        self.chains.positions[node.index()]
    }

    /// Returns the number of chains.
    pub fn chain_count(&self) -> usize {
        self.chains.tips.len()
    }

    /// Iterates over the links from a chain to others, by target chain. Together with the positions of events these are
    /// the whole index: a store that keeps both can decide reachability without a graph, and a graph to which the
    /// events are added in the same order has the same positions and links.
    pub fn chain_links(&self, chain: u32) -> impl Iterator<Item = ChainLink> {
        let tip = self.chains.tips.get(chain as usize);
        let known = self.chains.links.get(&chain);
        let link =
            move |from: Node, to: Node| ChainLink { from: self.chain_position(from), to: self.chain_position(to) };
        let several = known.into_iter().flatten().map(move |stored| link(stored.from, stored.to));
        let alone = tip.filter(|_| known.is_none());
        several
            .chain(alone.into_iter().flat_map(move |tip| self.auth_events(*tip).iter().map(move |to| link(*tip, *to))))
    }

    pub(in crate::state_res) fn chain_of(&self, node: Node) -> u32 {
        self.chain_position(node).chain
    }

    /// Assigns an event, the latest, to a chain. Its auth events have been assigned before.
    pub(super) fn assign_chain(&mut self, node: Node) {
        let key = self.key_of(node);
        let is_tip = |auth: &Node| self.chains.tips[self.chain_of(*auth) as usize] == *auth;
        let continued = self.auth_events(node).iter().filter(|auth| self.key_of(**auth) == key && is_tip(auth)).max();
        let Some(before) = continued.copied() else {
            let chain = u32::try_from(self.chains.tips.len()).unwrap_or(u32::MAX);
            self.chains.tips.push(node);
            self.chains.positions.push(ChainPosition { chain, sequence: 0 });
            return;
        };
        let ChainPosition { chain, sequence } = self.chain_position(before);
        self.chains.tips[chain as usize] = node;
        self.chains.positions.push(ChainPosition { chain, sequence: sequence + 1 });
        let mut links = self.chains.links.remove(&chain).unwrap_or_default();
        if sequence == 0 {
            self.link(&mut links, chain, before);
        }
        self.link(&mut links, chain, node);
        self.chains.links.insert(chain, links);
    }

    /// Adds the links that the latest event of a chain introduces.
    fn link(&self, links: &mut Vec<Link>, own: u32, from: Node) {
        for &to in self.auth_events(from) {
            let chain = self.chain_of(to);
            if chain == own {
                continue;
            }
            let end = links.partition_point(|link| link.chain <= chain);
            match links[..end].last_mut().filter(|link| link.chain == chain) {
                Some(last) if last.to >= to => {}
                Some(last) if last.from == from => last.to = to,
                _ => links.insert(end, Link { chain, from, to }),
            }
        }
    }

    /// Calls `found` with the last event of each chain that links lead to from `node` or its predecessors on its chain.
    pub(in crate::state_res) fn for_each_link(&self, node: Node, mut found: impl FnMut(Node)) {
        let Some(links) = self.chains.links.get(&self.chain_of(node)) else {
            return self.auth_events(node).iter().copied().for_each(found);
        };
        let mut rest = links.as_slice();
        while let Some(first) = rest.first() {
            let (of_chain, others) = rest.split_at(rest.partition_point(|link| link.chain == first.chain));
            let last = of_chain.partition_point(|link| link.from <= node).checked_sub(1);
            if let Some(link) = last.and_then(|at| of_chain.get(at)) {
                found(link.to);
            }
            rest = others;
        }
    }

    /// Iterates over the links from the chain of `node`, up to `node`, as pairs of events.
    pub(in crate::state_res) fn links_up_to(&self, node: Node) -> impl Iterator<Item = (Node, Node)> {
        let known = self.chains.links.get(&self.chain_of(node));
        let several =
            known.into_iter().flatten().filter(move |link| link.from <= node).map(|link| (link.from, link.to));
        let alone = if known.is_none() { self.auth_events(node) } else { &[] };
        several.chain(alone.iter().map(move |to| (node, *to)))
    }

    /// Returns the previous event on the chain of `node`.
    pub(in crate::state_res) fn previous_on_chain(&self, node: Node) -> Option<Node> {
        let ChainPosition { chain, sequence } = self.chain_position(node);
        let on_chain = || self.auth_events(node).iter().filter(|auth| self.chain_of(**auth) == chain).max();
        if sequence == 0 { None } else { on_chain().copied() }
    }

    /// Returns the last event on each chain among `from` and their auth chains, without events smaller than `least`.
    pub(in crate::state_res) fn reach(&self, from: impl IntoIterator<Item = Node>, least: Option<Node>) -> ChainMap {
        // Whatever leads to an event is greater than it, so the first event visited on a chain is the last one on it.
        let mut next: BinaryHeap<Node> = from.into_iter().collect();
        let mut reached = ChainMap::default();
        while let Some(node) = next.pop() {
            if let Entry::Vacant(vacant) = reached.entry(self.chain_of(node)) {
                vacant.insert(node);
                let not_below = |to: Node| least.is_none_or(|least| to >= least);
                self.for_each_link(node, |to| next.extend(Some(to).filter(|to| not_below(*to))));
            }
        }
        reached
    }
}
