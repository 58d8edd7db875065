//! A chain cover of the auth graph: the index by which reachability is decided without walking the graph.
//!
//! Every event is on one chain, with a number in sequence; each event of a chain has the one before it among its auth
//! events. An event continues the chain of an event of the same type and state key if it has the last of that chain
//! among its auth events, and begins a chain otherwise. So what is in an auth chain is, of each chain, everything up to
//! some event; and which event that is follows from the links: auth events of the events of a chain that are on other
//! chains, without those that say no more than an earlier one. A room has about as many chains as it has state keys,
//! but an auth chain is on few of them: power levels, join rules, and the members who made these or invited somebody.
//!
//! Chains depend on nothing but the order in which events became part of the graph. Numbers in sequence grow with the
//! numbers of the events, so that inside this module events are compared and not their positions.

use std::collections::{BinaryHeap, hash_map::Entry};

use super::{AuthGraph, Node};
use crate::state_res::numbers::NumberMap;

/// Where an event is in the chain cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainPosition {
    /// The number of the chain.
    pub chain: u32,
    /// The number in sequence, from 0 on.
    pub sequence: u32,
}

/// An event of a chain has an auth event on another; what comes after it on its chain therefore has that too, and what
/// is before that on the other chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainLink {
    /// From this event on.
    pub from: ChainPosition,
    /// To this one, on another chain.
    pub to: ChainPosition,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Chains {
    positions: Vec<ChainPosition>,
    /// The last event of each chain.
    tips: Vec<Node>,
    /// The links of chains of more than one event, by target chain and then in order; those of others are their auth
    /// events.
    links: NumberMap<u32, Vec<Link>>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    /// The chain of `to`.
    chain: u32,
    from: Node,
    to: Node,
}

/// For each chain reached, one of its events.
pub(in crate::state_res) type ChainMap = NumberMap<u32, Node>;

impl AuthGraph {
    /// Where an event is in the chain cover, which answers reachability: an event is in the auth chain of another on
    /// the same chain if its number in sequence is smaller, and of one on another chain if links lead there.
    pub fn chain_position(&self, node: Node) -> ChainPosition {
        self.chains.positions[node.index()]
    }

    /// Number of chains.
    pub fn chain_count(&self) -> usize {
        self.chains.tips.len()
    }

    /// All links of a chain to others, by target chain. With the positions of events these are the whole index: a store
    /// that keeps both can answer reachability without a graph, and a graph to which the events are added in the same
    /// order has the same positions and links.
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

    /// Gives an event, the latest, its place. Its auth events have theirs.
    pub(super) fn place(&mut self, node: Node) {
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

    /// Adds to the links of a chain those that its latest event brings.
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

    /// Of each chain that links lead to from an event or those before it on its chain, the last event they lead to.
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

    /// The links of the chain of an event, from it and from those before it, as pairs of events.
    pub(in crate::state_res) fn links_up_to(&self, node: Node) -> impl Iterator<Item = (Node, Node)> {
        let known = self.chains.links.get(&self.chain_of(node));
        let several =
            known.into_iter().flatten().filter(move |link| link.from <= node).map(|link| (link.from, link.to));
        let alone = if known.is_none() { self.auth_events(node) } else { &[] };
        several.chain(alone.iter().map(move |to| (node, *to)))
    }

    /// The event before an event on its chain.
    pub(in crate::state_res) fn previous_on_chain(&self, node: Node) -> Option<Node> {
        let ChainPosition { chain, sequence } = self.chain_position(node);
        let on_chain = || self.auth_events(node).iter().filter(|auth| self.chain_of(**auth) == chain).max();
        if sequence == 0 { None } else { on_chain().copied() }
    }

    /// The last event on each chain among these events and their auth chains, leaving out those smaller than `least`.
    pub(in crate::state_res) fn reach(&self, from: impl IntoIterator<Item = Node>, least: Option<Node>) -> ChainMap {
        // What leads to an event is greater than it: the first event of a chain is the last on it.
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
