use plexus_protocol::auth::AuthRejection;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{InitialState, MembershipError, Preset, ProfileError, ProfileScope, Profiles, SendError};

use crate::fixture::{Fixture, change, new_room, run, user};

const ALICE: &str = "@alice:localhost";
const BOB: &str = "@bob:localhost";
const CAROL: &str = "@carol:localhost";

#[test]
fn the_life_of_a_member() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PrivateChat).await;
        let id = &room.id;
        let membership = || room.view().state.membership(BOB).map(|kind| kind.as_str());
        assert!(matches!(
            fixture.members.join(change(id, BOB, BOB), false).await,
            Err(MembershipError::Send(SendError::Forbidden(AuthRejection::NotInvited)))
        ));
        fixture.invite(&room, ALICE, BOB).await;
        assert_eq!((membership(), room.view().invited_count), (Some("invite"), 1));
        fixture.join(&room, BOB).await;
        assert_eq!((membership(), room.view().joined_count), (Some("join"), 2));
        assert!(room.view().local_joined.find(|it| it.cmp(&user(BOB))).is_some());
        assert!(matches!(fixture.members.forget(id, &user(BOB)).await, Err(MembershipError::StillInRoom)));
        assert!(matches!(
            fixture.members.kick(change(id, BOB, ALICE)).await,
            Err(MembershipError::Send(SendError::Forbidden(_)))
        ));
        fixture.members.kick(change(id, ALICE, BOB)).await.unwrap();
        assert_eq!((membership(), room.view().joined_count), (Some("leave"), 1));
        assert!(matches!(fixture.members.kick(change(id, ALICE, BOB)).await, Err(MembershipError::TargetNotInRoom)));
        fixture.members.ban(change(id, ALICE, BOB)).await.unwrap();
        assert!(matches!(fixture.members.invite(change(id, ALICE, BOB)).await, Err(MembershipError::Banned)));
        fixture.members.unban(change(id, ALICE, BOB)).await.unwrap();
        assert!(matches!(fixture.members.unban(change(id, ALICE, BOB)).await, Err(MembershipError::NotBanned)));
        fixture.members.forget(id, &user(BOB)).await.unwrap();
        let forgotten = |rooms: plexus_rooms::UserRooms| rooms.get(room.nid).map(|it| it.forgotten);
        assert_eq!(forgotten(fixture.rooms.memberships().of(&user(BOB)).await.unwrap()), Some(true));
        fixture.invite(&room, ALICE, BOB).await;
        assert_eq!(forgotten(fixture.rooms.memberships().of(&user(BOB)).await.unwrap()), Some(false));
    });
}

#[test]
fn restricted_rooms_let_in_members_of_the_allowed_room() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let space = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        let mut new = new_room(ALICE, RoomVersion::V12, Preset::PrivateChat);
        let allow = Object::from([("type", "m.room_membership"), ("room_id", space.id.as_str())]);
        let mut content = Object::from([("join_rule", "restricted")]);
        content.insert("allow", vec![Value::from(allow)]);
        new.initial_state =
            vec![InitialState { event_type: "m.room.join_rules".into(), state_key: String::new(), content }];
        let room = fixture.creator.create(new).await.unwrap();
        assert!(matches!(
            fixture.members.join(change(&room.id, BOB, BOB), false).await,
            Err(MembershipError::NotInAllowedRoom)
        ));
        fixture.join(&space, BOB).await;
        fixture.join(&room, BOB).await;
        assert_eq!(room.view().joined_count, 2);
    });
}

#[test]
fn trusted_private_chats_share_the_power() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        for version in [RoomVersion::V11, RoomVersion::V12] {
            let mut new = new_room(ALICE, version, Preset::TrustedPrivateChat);
            new.invite = vec![user(BOB)];
            let room = fixture.creator.create(new).await.unwrap();
            let view = room.view();
            assert_eq!(view.power_levels.user(&user(BOB)), view.power_levels.user(&user(ALICE)), "{version}");
            assert!(view.power_levels.user(&user(BOB)) > view.power_levels.user(&user(CAROL)));
        }
    });
}

#[test]
fn profiles_are_copied_into_member_events() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let profiles = Profiles::new(fixture.writer.clone());
        profiles.set(&user(BOB), "displayname", Some("Bob".into()), ProfileScope::WithRooms).await.unwrap();
        let room = fixture.room(ALICE, RoomVersion::V12, Preset::PublicChat).await;
        fixture.join(&room, BOB).await;
        let name = || {
            let view = room.view();
            let entry = view.state.get("m.room.member", BOB)?.clone();
            room.state_event_in_memory(&entry)?.pdu.content().get_str("displayname").map(str::to_owned)
        };
        assert_eq!(name().as_deref(), Some("Bob"));
        profiles.set(&user(BOB), "displayname", Some("Robert".into()), ProfileScope::WithRooms).await.unwrap();
        assert_eq!(name().as_deref(), Some("Robert"));
        let later = fixture.room(BOB, RoomVersion::V12, Preset::PublicChat).await;
        let entry = later.view().state.get("m.room.member", BOB).unwrap().clone();
        let own = later.state_event_in_memory(&entry).unwrap();
        assert_eq!(own.pdu.content().get_str("displayname"), Some("Robert"));
        profiles.set(&user(BOB), "displayname", None, ProfileScope::WithRooms).await.unwrap();
        assert_eq!(name(), None);
        assert_eq!(room.view().joined_count, 2);
    });
}

/// At most 65536 bytes, as canonical JSON.
#[test]
fn a_profile_has_a_largest_size() {
    run(|db| async move {
        let fixture = Fixture::new(db);
        let profiles = Profiles::new(fixture.writer.clone());
        let set = async |field: &str, bytes: usize| {
            profiles.set(&user(BOB), field, Some("x".repeat(bytes).into()), ProfileScope::WithRooms).await
        };
        // `"a":"",` and `"b":"",` are 14 bytes.
        let rest = 65_536 - 14 - 30_000;
        set("a", 30_000).await.unwrap();
        assert!(matches!(set("b", rest + 1).await, Err(ProfileError::TooLarge)));
        set("b", rest).await.unwrap();
        assert!(matches!(set("b", rest + 1).await, Err(ProfileError::TooLarge)));
        set("b", rest - 1).await.unwrap();
        set("b", rest).await.unwrap();
    });
}
