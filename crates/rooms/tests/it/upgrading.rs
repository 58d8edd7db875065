//! Room upgrades: what the new room begins with, and what becomes of the old one.

use std::sync::Arc;

use plexus_protocol::json::{Object, Value};
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::upgrade::{Upgrade, upgrade};
use plexus_rooms::{CreateError, InitialState, NewRoom, Preset, Room, RoomCreator};

use crate::fixture::{Fixture, change, new_room, run, user};

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";
const CAROL: &str = "@carol:localhost";

/// A public room of Alice's, with these power levels and this state.
async fn room(fixture: &Fixture, version: RoomVersion, levels: &str, state: &[(&str, &str, &str)]) -> Arc<Room> {
    let initial_state = state.iter().map(|(event_type, state_key, content)| InitialState {
        event_type: (*event_type).to_owned(),
        state_key: (*state_key).to_owned(),
        content: Object::parse(content).unwrap(),
    });
    let new = NewRoom {
        power_levels: Object::parse(levels).unwrap(),
        initial_state: initial_state.collect(),
        name: None,
        ..new_room(ALICE, version, Preset::PublicChat)
    };
    fixture.creator.create(new).await.unwrap()
}

async fn upgraded(
    fixture: &Fixture,
    old: &Arc<Room>,
    sender: &str,
    version: RoomVersion,
    additional_creators: &[&str],
) -> Result<Arc<Room>, CreateError> {
    let creator = Arc::new(RoomCreator::new(Arc::clone(&fixture.writer)));
    let additional_creators = additional_creators.iter().map(|id| user(id)).collect();
    upgrade(&creator, Upgrade { room: Arc::clone(old), sender: user(sender), version, additional_creators }).await
}

/// The content of a state event as JSON, empty where there is none.
async fn state(room: &Room, event_type: &str, state_key: &str) -> String {
    match room.view().state.get(event_type, state_key) {
        Some(entry) => room.state_event(entry).await.unwrap().pdu.content().to_json(),
        None => String::new(),
    }
}

async fn users(room: &Room) -> String {
    let levels = Object::parse(&state(room, "m.room.power_levels", "").await).unwrap();
    levels.get_object("users").map(Object::to_json).unwrap_or_default()
}

#[test]
fn state_that_describes_the_room_goes_over() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let copied = [
            ("m.room.avatar", r#"{"url":"mxc://localhost/a"}"#),
            ("m.room.encryption", r#"{"algorithm":"m.megolm.v1.aes-sha2"}"#),
            ("m.room.guest_access", r#"{"guest_access":"can_join"}"#),
            ("m.room.history_visibility", r#"{"history_visibility":"joined"}"#),
            ("m.room.join_rules", r#"{"join_rule":"knock"}"#),
            ("m.room.name", r#"{"name":"Old"}"#),
            ("m.room.server_acl", r#"{"allow":["*"],"deny":["bad.example"]}"#),
            ("m.room.topic", r#"{"topic":"All of it"}"#),
        ];
        let left =
            [("org.example.custom", "", r#"{"by":"alice"}"#), ("m.space.child", "!a:localhost", r#"{"via":["a"]}"#)];
        let all: Vec<_> = copied.iter().map(|(event_type, content)| (*event_type, "", *content)).chain(left).collect();
        let old = room(&fixture, RoomVersion::V11, "{}", &all).await;
        fixture.invite(&old, ALICE, BOB).await;
        fixture.join(&old, BOB).await;
        fixture.members.ban(change(&old.id, ALICE, CAROL)).await.unwrap();
        let new = upgraded(&fixture, &old, ALICE, RoomVersion::V12, &[]).await.unwrap();
        for (event_type, content) in copied {
            assert_eq!(state(&new, event_type, "").await, content, "{event_type}");
        }
        for (event_type, state_key, _) in left {
            assert_eq!(state(&new, event_type, state_key).await, "", "{event_type}");
        }
        assert_eq!(state(&new, "m.room.member", CAROL).await, state(&old, "m.room.member", CAROL).await);
        assert_eq!(state(&new, "m.room.member", BOB).await, "");
        let tombstone = Object::parse(&state(&old, "m.room.tombstone", "").await).unwrap();
        assert_eq!(tombstone.get_str("replacement_room"), Some(new.id.as_str()));
    });
}

/// Creators of room version 12 stand in the create event, not among the power levels, and are named again each time.
#[test]
fn creators_have_levels_where_they_need_them() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let levels = format!(r#"{{"users":{{"{ALICE}":100,"{BOB}":60,"{CAROL}":40}}}}"#);
        let first = room(&fixture, RoomVersion::V11, &levels, &[]).await;
        let second = upgraded(&fixture, &first, ALICE, RoomVersion::V12, &[BOB]).await.unwrap();
        assert_eq!(users(&second).await, format!(r#"{{"{CAROL}":40}}"#));
        let create = Object::parse(&state(&second, "m.room.create", "").await).unwrap();
        assert_eq!(create.get_array("additional_creators"), Some(&[Value::from(BOB)][..]));
        let predecessor = create.get_object("predecessor").unwrap();
        assert_eq!(predecessor.get_str("room_id"), Some(first.id.as_str()));

        let third = upgraded(&fixture, &second, ALICE, RoomVersion::V12, &[]).await.unwrap();
        let create = Object::parse(&state(&third, "m.room.create", "").await).unwrap();
        assert_eq!(create.get("additional_creators"), None);
        assert_eq!(users(&third).await, format!(r#"{{"{CAROL}":40}}"#));

        let fourth = upgraded(&fixture, &third, ALICE, RoomVersion::V10, &[]).await.unwrap();
        assert_eq!(users(&fourth).await, format!(r#"{{"{ALICE}":100,"{CAROL}":40}}"#));
    });
}

/// A creator of room version 12 may do everything; in an older version that takes a level above all others.
#[test]
fn a_creator_gets_the_greatest_level_that_the_room_asks_for() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let levels = r#"{"events":{"m.room.name":120},"ban":110}"#;
        let old = room(&fixture, RoomVersion::V12, levels, &[]).await;
        let new = upgraded(&fixture, &old, ALICE, RoomVersion::V11, &[]).await.unwrap();
        let expected = old.view().power_levels.events().map(|(_, level)| level).max().unwrap().max(120);
        assert_eq!(users(&new).await, format!(r#"{{"{ALICE}":{expected}}}"#));
    });
}

#[test]
fn a_moderator_keeps_the_level_they_had() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let events = r#"{"m.room.tombstone":50,"m.room.server_acl":100}"#;
        let levels = format!(r#"{{"users":{{"{ALICE}":100,"{BOB}":50,"{CAROL}":60}},"events":{events}}}"#);
        let acl = ("m.room.server_acl", "", r#"{"allow":["*"]}"#);
        let old = room(&fixture, RoomVersion::V10, &levels, &[acl]).await;
        fixture.join(&old, BOB).await;
        fixture.members.ban(change(&old.id, ALICE, CAROL)).await.unwrap();
        let before = state(&old, "m.room.power_levels", "").await;
        let new = upgraded(&fixture, &old, BOB, RoomVersion::V11, &[]).await.unwrap();
        assert_eq!(state(&new, "m.room.power_levels", "").await, before);
        assert_eq!(state(&new, "m.room.server_acl", "").await, acl.2);
        assert_eq!(state(&new, "m.room.member", CAROL).await, state(&old, "m.room.member", CAROL).await);
    });
}

#[test]
fn an_upgrade_that_is_refused_leaves_no_room() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let levels = format!(r#"{{"users":{{"{ALICE}":100,"{CAROL}":100}}}}"#);
        let old = room(&fixture, RoomVersion::V11, &levels, &[]).await;
        fixture.join(&old, BOB).await;
        // Bob has no power, Carol is not in the room.
        for (sender, rooms) in [(BOB, 1), (CAROL, 0)] {
            assert!(upgraded(&fixture, &old, sender, RoomVersion::V12, &[]).await.is_err(), "{sender}");
            let memberships = fixture.rooms.memberships().of(&user(sender)).await.unwrap();
            assert_eq!(memberships.joined().count(), rooms, "{sender}");
        }
        assert_eq!(state(&old, "m.room.tombstone", "").await, "");
    });
}

#[test]
fn ordinary_members_are_silent_in_the_old_room() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        for ((users_default, events_default, invite), expected) in
            [((0, 0, 0), (50, 50)), ((0, 60, 49), (60, 50)), ((49, 50, 51), (50, 51)), ((60, 0, 100), (61, 100))]
        {
            let members = format!(r#""events_default":{events_default},"invite":{invite}"#);
            let levels = format!(r#"{{"users":{{"{ALICE}":100}},"users_default":{users_default},{members}}}"#);
            let old = room(&fixture, RoomVersion::V11, &levels, &[]).await;
            let before = old.view().event_nid("m.room.power_levels", "");
            upgraded(&fixture, &old, ALICE, RoomVersion::V12, &[]).await.unwrap();
            let after = Object::parse(&state(&old, "m.room.power_levels", "").await).unwrap();
            let levels = (after.get_i64("events_default").unwrap(), after.get_i64("invite").unwrap());
            assert_eq!(levels, expected);
            let is_unchanged = (events_default, invite) == expected;
            assert_eq!(old.view().event_nid("m.room.power_levels", "") == before, is_unchanged);
        }
    });
}

#[test]
fn a_space_takes_its_children_along() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let kept = ("m.space.child", "!kept:localhost", r#"{"via":["localhost"]}"#);
        let gone = ("m.space.child", "!gone:localhost", "{}");
        let new = NewRoom {
            creation_content: Object::from([("type", "m.space")]),
            initial_state: [kept, gone]
                .map(|(event_type, state_key, content)| InitialState {
                    event_type: event_type.to_owned(),
                    state_key: state_key.to_owned(),
                    content: Object::parse(content).unwrap(),
                })
                .into(),
            ..new_room(ALICE, RoomVersion::V11, Preset::PrivateChat)
        };
        let old = fixture.creator.create(new).await.unwrap();
        let new = upgraded(&fixture, &old, ALICE, RoomVersion::V12, &[]).await.unwrap();
        assert!(new.view().is_space());
        assert_eq!(state(&new, kept.0, kept.1).await, kept.2);
        assert!(new.view().state.get(gone.0, gone.1).is_none());
    });
}
