//! Auth chains, auth difference and conflicted state subgraph
//! ([Definitions](https://spec.matrix.org/v1.19/rooms/v12/#definitions)), computed from the chains of the
//! [`graph`](super::graph) or, when the conflict is a large part of the room, by [`passes`](super::passes) over it.
//! Events are visited from the greatest number down, so that an event is visited after all events that lead to it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, hash_map::Entry},
};

use super::{
    graph::{AuthGraph, ChainMap, Children, Node},
    numbers::NumberMap,
    passes,
    state::{Conflict, Split, State, StateSet, split},
};

/// How many events of the room a pass visits in the time that chains need for one conflicted event (measured).
const PASSED_PER_DIFFERENCE_EVENT: usize = 32;
const PASSED_PER_SUBGRAPH_EVENT: usize = 64;

impl AuthGraph {
    /// Returns the auth difference: the events in the auth chain of some states but not of all, in order of number.
    ///
    /// Apart from comparing the states, the cost depends on their differences and the events added since.
    pub fn auth_difference(&self, states: &[State]) -> Vec<Node> {
        let Split { agreed, conflicts } = split(states);
        self.difference(&agreed, &conflicts, states.len())
    }

    /// Returns the auth difference of `states` states that share the entries of `agreed`.
    pub(super) fn difference(&self, agreed: &State, conflicts: &[Conflict], states: usize) -> Vec<Node> {
        if conflicts.len() * PASSED_PER_DIFFERENCE_EVENT > self.len() {
            return passes::difference(self, agreed, conflicts, states);
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

    /// Returns the conflicted state subgraph: all events on paths through auth events between two of `conflicted`,
    /// including these, in order of number.
    ///
    /// On each chain these are the events between the first that leads to one of `conflicted` and the last that one of
    /// them leads to.
    pub fn conflicted_subgraph(&self, conflicted: &[Node]) -> Vec<Node> {
        if conflicted.len() * PASSED_PER_SUBGRAPH_EVENT > self.len() {
            return passes::subgraph(self, conflicted);
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

    /// Returns the events in the auth chains of `events`, without `events` that are in no other's auth chain, in order
    /// of number.
    pub fn auth_chain(&self, events: &[Node]) -> Vec<Node> {
        let last = self.reach(events.iter().flat_map(|node| self.auth_events(*node)).copied(), None);
        let down = |node: &Node| std::iter::successors(Some(*node), |node| self.previous_on_chain(*node));
        let mut nodes: Vec<Node> = last.values().flat_map(down).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Returns for each chain of `last`, up to the event given there, the first event that is or leads to one of
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

/// Walks down from conflicted events: along single auth events while not all states lead there, along whole chains
/// after that, until every remaining event is reached from all states or from none.
struct Descent<'a> {
    graph: &'a AuthGraph,
    /// Whatever leads to an event in here leads to it from all states.
    agreed: &'a State,
    all: StateSet,
    /// The states that are known to lead to events still to visit.
    pending: NumberMap<Node, StateSet>,
    order: BinaryHeap<Node>,
    /// The number of pending events that not all states are known to lead to.
    partial: usize,
    /// On each chain, the last event that all states lead to.
    common: ChainMap,
    /// Whether an agreed event is or leads to an event, as far as known.
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

    /// Visits pending events from the greatest number down.
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

    /// Whether an agreed event leads to `node`. Intermediate results are kept, so that no event is examined twice.
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

    /// Returns what is known about `node` without examining the events that lead to it.
    fn known(&self, node: Node) -> Option<bool> {
        let graph = self.graph;
        let agreed = self.agreed.get(graph.key_of(node));
        let above = |agreed: Node| agreed >= node && graph.chain_of(agreed) == graph.chain_of(node);
        if agreed.is_some_and(above) { Some(true) } else { self.led_to.get(&node).copied() }
    }
}
