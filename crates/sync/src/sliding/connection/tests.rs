use super::super::required_state::{RequiredState, StatePattern, StateSelection};
use super::*;

fn config(event_type: &str) -> Arc<RequiredState> {
    let include = BTreeSet::from([StatePattern::new(event_type, "")]);
    Arc::new(RequiredState::new([StateSelection { include, exclude: BTreeSet::new() }], false))
}

fn room(nid: RoomNid) -> SentRoom {
    SentRoom { room: Progress::Live, timeline_limit: 20, ..SentRoom::new(nid) }
}

#[test]
fn states_come_back_from_their_stored_form() {
    let mut state = SentState { has_account_data: true, ..SentState::default() };
    for nid in [3, 900, 70_000] {
        let mut room = SentRoom { receipts: Progress::Upto(nid * 5), is_dm: nid == 900, ..room(nid) };
        add_members(&mut room, [nid + 7, nid + 1]);
        state.set_config(&mut room, &config(if nid == 3 { "m.a" } else { "m.b" }));
        state.set(room);
    }
    let back = unpack(&pack(&state)).expect("a state");
    assert!(back.rooms().eq(state.rooms()), "{back:?}");
    assert_eq!((back.members, back.has_account_data), (6, true));
    let config_of = |nid| back.config(back.room(nid).expect("a room")).expect("a config").clone();
    assert!(config_of(3).wants("m.a", "") && config_of(900).wants("m.b", ""));
}

#[test]
fn damaged_states_are_not_read() {
    let mut state = SentState::default();
    state.set(room(5));
    let packed = pack(&state);
    assert!(unpack(&packed[..packed.len() - 1]).is_none());
    assert!(unpack(&[9]).is_none() && unpack(&[]).is_none());
    assert!(unpack(&pack(&SentState::default())).is_some());
}

#[test]
fn many_required_states_are_forgotten_rather_than_kept() {
    let mut state = SentState::default();
    for nid in 1..=1_000 {
        let mut room = room(nid);
        state.set_config(&mut room, &config(&format!("m.{nid}")));
        state.set(room);
    }
    assert!(state.configs.len() <= MAX_CONFIGS);
    let last = state.room(1_000).expect("a room");
    assert!(state.config(last).is_some_and(|config| config.wants("m.1000", "")));
    for room in state.rooms().filter(|room| room.config.is_some()) {
        assert!(state.config(room).is_some_and(|config| config.wants(&format!("m.{}", room.nid), "")));
    }
}

#[test]
fn large_required_states_are_forgotten_rather_than_kept() {
    let mut state = SentState::default();
    for nid in 1..=40 {
        let mut room = room(nid);
        state.set_config(&mut room, &config(&format!("{nid}{}", "x".repeat(MAX_CONFIG_BYTES / 16))));
        state.set(room);
        assert!(state.config_bytes() <= MAX_CONFIG_BYTES);
    }
    assert!(state.room(40).is_some_and(|room| state.config(room).is_some()));
    let large = [config("a"), config(&"b".repeat(MAX_CONFIG_BYTES))];
    assert!(can_keep(std::iter::repeat_n(&large[0], 5_000)));
    assert!(!can_keep(large.iter()));
}

#[test]
fn many_members_are_forgotten_rather_than_kept() {
    let mut state = SentState::default();
    for nid in 1..=300 {
        let mut room = room(nid);
        add_members(&mut room, 1..=150);
        add_members(&mut room, 151..=180);
        assert!(room.has_member(1) && room.has_member(180) && !room.has_member(181));
        add_members(&mut room, 200..=300);
        assert!(!room.has_member(1) && room.has_member(250));
        state.set(room);
    }
    assert!(state.members <= MAX_MEMBERS);
    assert_eq!(state.members, state.rooms().map(|room| room.members.len()).sum::<usize>());
    state.remove(300);
    assert_eq!(state.members, state.rooms().map(|room| room.members.len()).sum::<usize>());
    assert!(state.room(300).is_none());
}
