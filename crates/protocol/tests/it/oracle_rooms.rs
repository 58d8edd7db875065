//! Authorization and state resolution on randomly grown rooms, compared with ruma's where ruma has the rules.
//!
//! The rooms leave out intentional differences:
//! - a room without `m.room.join_rules`: the specification is silent, other servers treat it as `invite`, ruma lets
//!   nobody in, not even invited users;
//! - one of the seven levels added to power levels, or removed: rule 10.6, "if the current value is higher than the
//!   sender's current power level", does not apply to an absent value; ruma uses the default.

use std::{borrow::Borrow, collections::HashMap};

use plexus_protocol::{auth, event::Pdu, rules::RoomVersion};
use ruma_events::StateEventType;
use ruma_state_res::utils::event_id_set::EventIdSet;

use crate::{
    random_room::RandomRoom,
    room::StateMap,
    ruma_pdu::{Events, RumaId, RumaPdu, fetch, id, rules},
};

type RumaState = ruma_state_res::StateMap<RumaId>;

fn grow(version: RoomVersion, seed: u64) -> RandomRoom {
    let mut room = RandomRoom::new(version, seed);
    for _ in 0..60 {
        room.step();
    }
    room
}

fn ruma_events(room: &RandomRoom) -> Events {
    let event = |pdu: &Pdu| {
        let mut event = RumaPdu::from(pdu);
        event.rejected = room.room.rejected.contains(pdu.event_id());
        event
    };
    room.room.events.values().map(|pdu| (id(pdu.event_id()), event(pdu))).collect()
}

fn ruma_state(state: &StateMap) -> RumaState {
    state.iter().map(|((kind, key), event)| ((kind.as_str().into(), key.clone()), id(event))).collect()
}

/// Every event tried in a room, allowed or not, has the same result.
#[test]
fn authorization_agrees_with_ruma() {
    let mut allowed = 0;
    let mut refused = 0;
    for seed in 0..crate::cases() / 50 {
        let version = RoomVersion::ALL[seed as usize % RoomVersion::ALL.len()];
        let room = grow(version, seed);
        let events = ruma_events(&room);
        let rules = rules(version).authorization;
        for (event, state, ours) in &room.attempts {
            let event = &events[&id(event.event_id())];
            let lookup = |kind: &StateEventType, key: &str| {
                let event = state.get(&(kind.to_string(), key.to_owned()))?;
                events.get(&id(event)).cloned()
            };
            let theirs = ruma_state_res::check_state_dependent_auth_rules(&rules, event, lookup);
            let create = ruma_events::TimelineEventType::RoomCreate;
            let theirs = if *ruma_state_res::Event::event_type(event) == create {
                ruma_state_res::check_state_independent_auth_rules(&rules, event, fetch(&events))
            } else {
                theirs
            };
            assert_eq!(ours.is_ok(), theirs.is_ok(), "seed {seed} version {version}: {ours:?}, ruma {theirs:?}");
            if ours.is_ok() { allowed += 1 } else { refused += 1 }
        }
    }
    assert!(allowed > 100 && refused > 100, "{allowed} allowed, {refused} refused");
}

/// Events that were allowed at their state name auth events that suffice.
#[test]
fn state_independent_checks_agree_with_ruma() {
    for seed in 0..crate::cases() / 50 {
        let version = RoomVersion::ALL[seed as usize % RoomVersion::ALL.len()];
        let room = grow(version, seed);
        let events = ruma_events(&room);
        for (event, _, _) in &room.attempts {
            let ours = auth::check_state_independent(version.rules(), event, &|id| room.room.lookup(id));
            let theirs = ruma_state_res::check_state_independent_auth_rules(
                &rules(version).authorization,
                &events[&id(event.event_id())],
                fetch(&events),
            );
            assert_eq!(ours.is_ok(), theirs.is_ok(), "seed {seed} version {version}: {ours:?}, ruma {theirs:?}");
        }
    }
}

/// Returns the auth chains of a state's events, including the events, as ruma's callers compute them.
fn auth_chain(events: &Events, from: impl Iterator<Item = RumaId>) -> EventIdSet<RumaId> {
    let mut chain = EventIdSet::new();
    let mut next: Vec<RumaId> = from.collect();
    while let Some(event) = next.pop() {
        if chain.insert(event.clone()) {
            next.extend(ruma_state_res::Event::auth_events(&events[&event]).cloned());
        }
    }
    chain
}

/// By its definition: for each pair, the events above one and below the other.
fn conflicted_subgraph(events: &Events, conflicted: &RumaStates) -> EventIdSet<RumaId> {
    let all: Vec<&RumaId> = conflicted.values().flatten().collect();
    let below = auth_chain(events, all.iter().map(|event| (*event).clone()));
    let leads_back = |event: &RumaId| {
        let chain = auth_chain(events, [event.clone()].into_iter());
        all.iter().any(|conflicted| chain.contains((*conflicted).borrow()))
    };
    below.into_iter().filter(leads_back).collect()
}

type RumaStates = HashMap<(StateEventType, String), Vec<RumaId>>;

fn resolve_with_ruma(version: RoomVersion, events: &Events, states: &[StateMap]) -> RumaState {
    let rules = rules(version);
    let states: Vec<RumaState> = states.iter().map(ruma_state).collect();
    let chains = states.iter().map(|state| auth_chain(events, state.values().cloned())).collect();
    let v2 = rules.state_res.v2_rules().unwrap();
    ruma_state_res::resolve(&rules.authorization, v2, states.iter(), chains, fetch(events), |conflicted| {
        Some(conflicted_subgraph(events, conflicted))
    })
    .unwrap()
}

#[test]
fn resolution_agrees_with_ruma() {
    let (mut conflicts, mut rejected) = (0, 0);
    for seed in 0..crate::cases() / 5 {
        // Version 1 has an algorithm of its own, which ruma lacks.
        let version = RoomVersion::ALL[1 + seed as usize % (RoomVersion::ALL.len() - 1)];
        let room = grow(version, seed);
        let states = room.states();
        let ours = ruma_state(&room.room.resolve(&states));
        let theirs = resolve_with_ruma(version, &ruma_events(&room), &states);
        assert_eq!(ours, theirs, "seed {seed} version {version}");
        conflicts += usize::from(states.windows(2).any(|pair| pair[0] != pair[1]));
        rejected += usize::from(states.iter().flat_map(StateMap::values).any(|id| room.room.rejected.contains(id)));
    }
    assert!(rejected > 20, "only {rejected} rooms with rejected events in their states");
    assert!(conflicts > 50, "only {conflicts} conflicts");
}

/// In every version; for ruma's versions the comparison shows it as well.
#[test]
fn resolution_does_not_depend_on_order() {
    for seed in 0..crate::cases() / 10 {
        let version = RoomVersion::ALL[seed as usize % RoomVersion::ALL.len()];
        let room = grow(version, seed);
        let mut states = room.states();
        let resolved = room.room.resolve(&states);
        for turn in 0..states.len() {
            states.rotate_left(1);
            if turn % 2 == 0 {
                states.reverse();
            }
            assert_eq!(room.room.resolve(&states), resolved, "seed {seed} version {version}");
        }
        // Repeating a state changes nothing.
        states.extend(states.clone());
        assert_eq!(room.room.resolve(&states), resolved, "seed {seed} version {version}");
        // A resolved state is stable.
        assert_eq!(room.room.resolve(std::slice::from_ref(&resolved)), resolved);
    }
}
