use plexus_base::config;
use plexus_http::{ApiError, Requester};
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{NewRoom, Preset};
use serde_json::{Value, json};

use super::{MAX_INITIAL_STATE, Request, new_room};

/// The room that Alice's request makes on a server with these options.
fn room_with(options: &str, body: Value) -> Result<NewRoom, ApiError> {
    let config = config::parse(&format!("server_name: test.example\n{options}")).expect("a configuration");
    let requester = Requester {
        user_id: UserId::try_from("@alice:test.example".to_owned()).expect("a user id"),
        device_id: None,
        token_id: 1,
        is_guest: false,
        is_admin: false,
        appservice_id: None,
        acting_service: None,
        suspended: false,
        shadow_banned: false,
        puppeted_by: None,
    };
    let server_name = ServerName::try_from("test.example".to_owned()).expect("a server name");
    let request: Request = serde_json::from_value(body).expect("the body of a request");
    new_room(&requester, &server_name, &config, request)
}

fn room(body: Value) -> NewRoom {
    room_with("", body).expect("a room that can be made")
}

#[test]
fn an_empty_body_makes_a_private_room_of_the_default_version() {
    let room = room(json!({}));
    assert_eq!((room.preset, room.published, room.is_direct), (Preset::PrivateChat, false, false));
    assert_eq!((room.alias, room.name, room.topic), (None, None, None));
    assert!(room.invite.is_empty() && room.initial_state.is_empty() && room.creation_content.is_empty());
    let options = "default_room_version: '10'";
    assert_eq!(room_with(options, json!({})).map(|room| room.version).ok(), Some(RoomVersion::V10));
    let own = room_with(options, json!({ "room_version": "11" }));
    assert_eq!(own.map(|room| room.version).ok(), Some(RoomVersion::V11));
}

#[test]
fn the_preset_follows_the_visibility_unless_it_is_given() {
    for (body, expected) in [
        (json!({ "visibility": "private" }), Preset::PrivateChat),
        (json!({ "visibility": "public" }), Preset::PublicChat),
        (json!({ "visibility": "public", "preset": "private_chat" }), Preset::PrivateChat),
        (json!({ "preset": "trusted_private_chat" }), Preset::TrustedPrivateChat),
        (json!({ "preset": "public_chat" }), Preset::PublicChat),
    ] {
        assert_eq!(room(body.clone()).preset, expected, "{body}");
    }
}

#[test]
fn a_room_is_published_where_the_rules_allow_it() {
    let public = json!({ "visibility": "public" });
    assert!(!room(public.clone()).published, "by default nobody may publish a room");
    let open = "room_list_publication_rules: [{action: allow}]";
    assert!(room_with(open, public).is_ok_and(|room| room.published));
    assert!(room_with(open, json!({})).is_ok_and(|room| !room.published));
}

#[test]
fn initial_state_keeps_its_order_and_invites_are_made_once() {
    let state = json!([
        { "type": "m.room.topic", "content": { "topic": "one" } },
        { "type": "org.example", "state_key": "key", "content": {} },
    ]);
    let invite = ["@carol:b", "@alice:test.example", "@bob:a", "@carol:b"];
    let room = room(json!({ "initial_state": state, "invite": invite }));
    let state: Vec<_> = room.initial_state.iter().map(|it| (it.event_type.as_str(), it.state_key.as_str())).collect();
    assert_eq!(state, [("m.room.topic", ""), ("org.example", "key")]);
    let invited: Vec<_> = room.invite.iter().map(UserId::as_str).collect();
    assert_eq!(invited, ["@bob:a", "@carol:b"], "without the creator");
}

#[test]
fn power_levels_of_the_request_replace_those_of_the_preset() {
    let room = room(json!({ "power_level_content_override": { "events_default": 10, "users": {} } }));
    let levels: Value = serde_json::from_str(&room.power_levels.to_json()).expect("JSON");
    assert_eq!((&levels["events_default"], &levels["users"]), (&json!(10), &json!({})));
}

#[test]
fn impossible_rooms_are_refused() {
    let event = json!({ "type": "x", "content": {} });
    let state = |count: usize| json!({ "initial_state": vec![event.clone(); count] });
    assert!(room_with("", state(MAX_INITIAL_STATE)).is_ok());
    for (body, expected) in [
        (state(MAX_INITIAL_STATE + 1), (413, "M_TOO_LARGE")),
        (json!({ "visibility": "odd" }), (400, "M_INVALID_PARAM")),
        (json!({ "preset": "odd" }), (400, "M_BAD_JSON")),
        (json!({ "room_version": "99" }), (400, "M_UNSUPPORTED_ROOM_VERSION")),
        (json!({ "room_alias_name": "" }), (400, "M_INVALID_PARAM")),
        (json!({ "room_alias_name": "a b" }), (400, "M_INVALID_PARAM")),
        (json!({ "invite_3pid": [{}] }), (403, "M_FORBIDDEN")),
    ] {
        let refused = room_with("", body.clone()).map(|_| ()).expect_err("a refusal");
        assert_eq!((refused.status().as_u16(), refused.errcode().unwrap_or_default()), expected, "{body}");
    }
    let denied = room_with("alias_creation_rules: [{action: deny}]", json!({ "room_alias_name": "a" }));
    assert!(denied.is_err_and(|error| error.errcode() == Some("M_FORBIDDEN")));
}
