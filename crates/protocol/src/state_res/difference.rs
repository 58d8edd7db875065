//! Auth chains, auth difference and conflicted state subgraph (room version 12, "Definitions"), by the chains of the
//! [`graph`](super::graph), or, where the conflict is a good part of the room, by [`passes`](super::passes) over it.
//! Events are looked at from the greatest number down, so that all that leads to an event has been seen before it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, hash_map::Entry},
};

use super::{
    graph::{AuthGraph, ChainMap, Children, Node},
    numbers::NumberMap,
    state::{Conflict, Split, State, StateSet, split},
};

/// By chains, a conflicted event costs as much as so many events of the room in passes over all of them (measured).
const PASSED_FOR_ONE_IN_DIFFERENCE: usize = 32;
const PASSED_FOR_ONE_IN_SUBGRAPH: usize = 64;

impl AuthGraph {
    /// The auth difference: the events in the auth chain of some states and not in that of all. In order of number.
    ///
    /// Costs what the states differ in and what events have come on top of that, but for comparing the states.
    pub fn auth_difference(&self, states: &[State]) -> Vec<Node> {
        let Split { agreed, conflicts } = split(states);
        self.difference(&agreed, &conflicts, states.len())
    }

    /// The auth difference of so many states that agree on a part.
    pub(super) fn difference(&self, agreed: &State, conflicts: &[Conflict], states: usize) -> Vec<Node> {
        if conflicts.len() * PASSED_FOR_ONE_IN_DIFFERENCE > self.len() {
            return self.difference_by_passes(agreed, conflicts, states);
        }
        let mut descent = Descent {
            graph: self,
            agreed,
            all: StateSet::all(states),
            pending: NumberMap::default(),
            order: BinaryHeap::new(),
            partial: 0,
            common: ChainMap::default(),
            led_to: NumberMap::default(),
        };
        for conflict in conflicts {
            descent.push(conflict.node, &conflict.states);
        }
        let mut difference = descent.run();
        difference.reverse();
        difference
    }

    /// The conflicted state subgraph: all events on paths along auth events between two of these, those included. In
    /// order of number.
    ///
    /// On each chain it is what lies between the first event that leads to one of these and the last that one leads to.
    pub fn conflicted_subgraph(&self, conflicted: &[Node]) -> Vec<Node> {
        if conflicted.len() * PASSED_FOR_ONE_IN_SUBGRAPH > self.len() {
            return self.subgraph_by_passes(conflicted);
        }
        let last = self.reach(conflicted.iter().copied(), conflicted.iter().copied().min());
        let first = self.first_leading_to(conflicted, &last);
        let on_chain = |(chain, last): (&u32, &Node)| {
            let first = first.get(chain).copied();
            let down = std::iter::successors(Some(*last), |node| self.previous_on_chain(*node));
            down.take_while(move |node| first.is_some_and(|first| *node >= first))
        };
        let mut nodes: Vec<Node> = last.iter().flat_map(on_chain).collect();
        nodes.sort_unstable();
        nodes
    }

    /// The auth chain of events, without the events that are not in the chain of another, in order of number.
    pub fn auth_chain(&self, events: &[Node]) -> Vec<Node> {
        let last = self.reach(events.iter().flat_map(|node| self.auth_events(*node)).copied(), None);
        let down = |node: &Node| std::iter::successors(Some(*node), |node| self.previous_on_chain(*node));
        let mut nodes: Vec<Node> = last.values().flat_map(down).collect();
        nodes.sort_unstable();
        nodes
    }

    /// On each of these chains, of which `last` is as far as it goes, the first event that is or leads to one of
    /// `targets`.
    fn first_leading_to(&self, targets: &[Node], last: &ChainMap) -> ChainMap {
        let links = last.values().flat_map(|node| self.links_up_to(*node));
        let mut links: Vec<(u32, Node, Node)> = links.map(|(from, to)| (self.chain_of(to), to, from)).collect();
        links.sort_unstable();
        let mut next: BinaryHeap<Reverse<Node>> = targets.iter().copied().map(Reverse).collect();
        let mut first = ChainMap::default();
        while let Some(Reverse(node)) = next.pop() {
            let chain = self.chain_of(node);
            if let Entry::Vacant(vacant) = first.entry(chain) {
                vacant.insert(node);
                let at = links.partition_point(|(to_chain, to, _)| (*to_chain, *to) < (chain, node));
                let leading_here = links[at..].iter().take_while(|(to_chain, ..)| *to_chain == chain);
                next.extend(leading_here.map(|(_, _, from)| Reverse(*from)));
            }
        }
        first
    }
}

/// Goes down from conflicted events, along single auth events as long as not all states lead there, and along whole
/// chains from there on, until nothing is left that some states lead to and others may not.
struct Descent<'a> {
    graph: &'a AuthGraph,
    /// What leads to an event from here leads to it from all states.
    agreed: &'a State,
    all: StateSet,
    /// The states that lead to events yet to be visited, as far as is known.
    pending: NumberMap<Node, StateSet>,
    order: BinaryHeap<Node>,
    /// How many are pending that not all states are known to lead to.
    partial: usize,
    /// On each chain, the last event that all states lead to.
    common: ChainMap,
    /// Whether what the states agree on is or leads to an event.
    led_to: NumberMap<Node, bool>,
}

impl Descent<'_> {
    fn push(&mut self, node: Node, states: &StateSet) {
        let was_partial = match self.pending.entry(node) {
            Entry::Vacant(vacant) => {
                vacant.insert(states.clone());
                self.order.push(node);
                self.partial += usize::from(*states != self.all);
                return;
            }
            Entry::Occupied(mut known) => {
                let was_partial = *known.get() != self.all;
                known.get_mut().add(states);
                was_partial && *known.get() == self.all
            }
        };
        self.partial -= usize::from(was_partial);
    }

    /// From the greatest number down.
    fn run(&mut self) -> Vec<Node> {
        let mut difference = Vec::new();
        while self.partial > 0
            && let Some(node) = self.order.pop()
        {
            let states = self.pending.remove(&node).unwrap_or_default();
            let partial = states != self.all;
            self.partial -= usize::from(partial);
            let graph = self.graph;
            let chain = graph.chain_of(node);
            if self.common.contains_key(&chain) {
                continue;
            }
            if partial && !self.agreed_leads_to(node) {
                difference.push(node);
                graph.auth_events(node).iter().for_each(|auth| self.push(*auth, &states));
            } else {
                self.common.insert(chain, node);
                let all = self.all.clone();
                graph.for_each_link(node, |to| self.push(to, &all));
            }
        }
        difference
    }

    /// Whether an event has one of those that all states agree on above it. What is found out on the way is kept, so
    /// that no event is looked at twice.
    fn agreed_leads_to(&mut self, node: Node) -> bool {
        if let Some(known) = self.known(node) {
            return known;
        }
        let mut path: Vec<(Node, Children<'_>)> = vec![(node, self.graph.children(node))];
        while let Some((current, children)) = path.last_mut() {
            match children.next().map(|child| (child, self.known(child))) {
                Some((_, Some(true))) => {
                    self.led_to.extend(path.iter().map(|(node, _)| (*node, true)));
                    return true;
                }
                Some((_, Some(false))) => {}
                Some((child, None)) => path.push((child, self.graph.children(child))),
                None => {
                    self.led_to.insert(*current, false);
                    path.pop();
                }
            }
        }
        false
    }

    /// What can be said of an event without looking at those above it.
    fn known(&self, node: Node) -> Option<bool> {
        let graph = self.graph;
        let agreed = self.agreed.get(graph.key_of(node));
        let above = |agreed: Node| agreed >= node && graph.chain_of(agreed) == graph.chain_of(node);
        if agreed.is_some_and(above) { Some(true) } else { self.led_to.get(&node).copied() }
    }
}
