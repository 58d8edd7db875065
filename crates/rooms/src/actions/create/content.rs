//! The content of the first events of a room.

use plexus_protocol::id::UserId;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::rules::RoomVersion;

use super::{NewRoom, Preset};

/// Returns the content of `m.room.create`. `creation_content` cannot set the version or, before version 11, the
/// creator.
pub(super) fn create(new: &NewRoom) -> Object {
    let auth = &new.version.rules().auth;
    let mut content = new.creation_content.clone();
    content.insert("room_version", new.version.as_str());
    if auth.creator_is_sender {
        content.remove("creator");
    } else {
        content.insert("creator", new.creator.as_str());
    }
    if auth.privileged_creators {
        // Users with the creator's power level are creators (room version 12).
        if new.preset == Preset::TrustedPrivateChat && !new.invite.is_empty() {
            let mut creators: Vec<Value> =
                content.get_array("additional_creators").map(<[Value]>::to_vec).unwrap_or_default();
            for invited in &new.invite {
                if *invited != new.creator && !creators.iter().any(|it| it.as_str() == Some(invited.as_str())) {
                    creators.push(invited.as_str().into());
                }
            }
            content.insert("additional_creators", creators);
        }
    } else {
        content.remove("additional_creators");
    }
    content
}

/// Returns the default power levels of a new room, as in Synapse.
pub fn default_power_levels(version: RoomVersion, creator: &UserId) -> Object {
    let privileged = version.rules().auth.privileged_creators;
    let mut users = Object::new();
    if !privileged {
        users.insert(creator.as_str(), 100_i64);
    }
    // Only creators may replace a room: the level is above all ordinary levels (room version 12).
    let tombstone = if privileged { 150_i64 } else { 100_i64 };
    let events = Object::from([
        ("m.room.avatar", 50_i64),
        ("m.room.canonical_alias", 50),
        ("m.room.encryption", 100),
        ("m.room.history_visibility", 100),
        ("m.room.name", 50),
        ("m.room.power_levels", 100),
        ("m.room.server_acl", 100),
        ("m.room.tombstone", tombstone),
    ]);
    let levels = [
        ("ban", 50_i64),
        ("events_default", 0),
        ("historical", 100),
        ("invite", 50),
        ("kick", 50),
        ("redact", 50),
        ("state_default", 50),
        ("users_default", 0),
    ];
    let mut content: Object = levels.into_iter().collect();
    content.insert("events", events);
    content.insert("users", users);
    content
}

/// Returns the content of `m.room.power_levels`: the defaults, the changes of the preset, then those of the creator.
pub(super) fn power_levels(new: &NewRoom) -> Object {
    let mut content = default_power_levels(new.version, &new.creator);
    if new.preset != Preset::PublicChat {
        content.insert("invite", 0_i64);
    }
    if new.preset == Preset::TrustedPrivateChat
        && !new.version.rules().auth.privileged_creators
        && let Some(users) = content.get_mut("users").and_then(Value::as_object_mut)
    {
        for invited in &new.invite {
            users.insert(invited.as_str(), 100_i64);
        }
    }
    for (key, value) in new.power_levels.iter() {
        content.insert(key, value.clone());
    }
    content
}

/// Returns the join rule, history visibility and guest access of a preset.
pub(super) fn preset(new: &NewRoom) -> [(&'static str, Object); 3] {
    let (join_rule, guest_access) = match new.preset {
        Preset::PublicChat => ("public", "forbidden"),
        Preset::PrivateChat | Preset::TrustedPrivateChat => ("invite", "can_join"),
    };
    [
        ("m.room.join_rules", Object::from([("join_rule", join_rule)])),
        ("m.room.history_visibility", Object::from([("history_visibility", "shared")])),
        ("m.room.guest_access", Object::from([("guest_access", guest_access)])),
    ]
}

/// Returns the content of `m.room.topic`, with the text also in its extensible form.
pub(super) fn topic(topic: &str) -> Object {
    let body = Object::from([("body", topic)]);
    let mut content = Object::from([("topic", topic)]);
    content.insert("m.topic", Object::from([("m.text", vec![Value::from(body)])]));
    content
}
