//! [Auth events selection](https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection).

use crate::{id::UserId, json::Object, rules::RoomVersionRules};

/// Returns the `(type, state_key)` pairs of the state events that authorize an event, in the specification's order.
/// Empty for `m.room.create`.
pub fn auth_event_keys(
    rules: &RoomVersionRules,
    event_type: &str,
    sender: &UserId,
    state_key: Option<&str>,
    content: &Object,
) -> Vec<(String, String)> {
    if event_type == "m.room.create" {
        return Vec::new();
    }
    let key = |event_type: &str, state_key: &str| (event_type.to_owned(), state_key.to_owned());
    let mut keys = Vec::with_capacity(6);
    // In room version 12 and later the room id names the create event.
    if !rules.create_event_is_room_id {
        keys.push(key("m.room.create", ""));
    }
    keys.push(key("m.room.power_levels", ""));
    keys.push(key("m.room.member", sender.as_str()));
    let (true, Some(target)) = (event_type == "m.room.member", state_key) else { return keys };

    if target != sender.as_str() {
        keys.push(key("m.room.member", target));
    }
    let membership = content.get_str("membership");
    if matches!(membership, Some("join" | "invite" | "knock")) {
        keys.push(key("m.room.join_rules", ""));
    }
    if membership == Some("invite")
        && let Some(token) = third_party_token(content)
    {
        keys.push(key("m.room.third_party_invite", token));
    }
    if membership == Some("join")
        && rules.auth.restricted_joins
        && let Some(user) = content.get_str("join_authorised_via_users_server")
        && user != sender.as_str()
        && user != target
    {
        keys.push(key("m.room.member", user));
    }
    keys
}

fn third_party_token(content: &Object) -> Option<&str> {
    content.get_object("third_party_invite")?.get_object("signed")?.get_str("token")
}
