//! The events of a room that replaces another.

use std::sync::Arc;

use plexus_protocol::id::{EventId, UserId};
use plexus_protocol::join_rule::JoinRule;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::membership::Membership;
use plexus_protocol::power_levels::{PowerLevel, PowerLevels, with_integer_levels};
use plexus_store::DbError;

use super::Upgrade;
use crate::actions::create::{InitialState, NewRoom, Preset};
use crate::model::limits::Authority;
use crate::model::rooms::Rooms;
use crate::read::timeline;
use crate::write::content;
use crate::write::draft::Draft;

/// The state that is copied to the new room.
const COPIED_STATE: [&str; 8] = [
    "m.room.avatar",
    "m.room.encryption",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.name",
    "m.room.server_acl",
    "m.room.topic",
];
/// The default power level of creators, before room version 12.
const CREATOR_LEVEL: i64 = 100;
/// The greatest integer of canonical JSON.
const MAX_LEVEL: i64 = (1 << 53) - 1;

/// Returns the new room. `tombstone` is the event that will replace the old one.
pub(super) async fn new_room(
    rooms: &Rooms,
    upgrade: &Upgrade,
    tombstone: Option<&EventId>,
) -> Result<NewRoom, DbError> {
    let Upgrade { room, sender, version, .. } = upgrade;
    let mut initial_state = copied_state(rooms, upgrade).await?;
    let levels = final_levels(upgrade);
    let power_levels = levels.as_ref().map(|levels| first_levels(upgrade, levels)).unwrap_or_default();
    initial_state.extend(levels.map(|content| state("m.room.power_levels", content)));
    let is_public = room.view().join_rule == JoinRule::Public;
    Ok(NewRoom {
        room_id: None,
        creator: sender.clone(),
        version: *version,
        preset: if is_public { Preset::PublicChat } else { Preset::PrivateChat },
        published: false,
        alias: None,
        name: None,
        topic: None,
        creation_content: creation_content(upgrade, tombstone),
        power_levels,
        initial_state,
        invite: Vec::new(),
        is_direct: false,
        encrypted: false,
        invite_profiles: false,
        creator_profile: Object::new(),
        authority: Authority::Server,
    })
}

fn state(event_type: &str, content: Object) -> InitialState {
    InitialState { event_type: event_type.to_owned(), state_key: String::new(), content }
}

/// Returns the content of the create event: the old room's type and `m.federate`, but not its additional creators,
/// which the request names.
fn creation_content(upgrade: &Upgrade, tombstone: Option<&EventId>) -> Object {
    let Upgrade { room, additional_creators, .. } = upgrade;
    let view = room.view();
    let create = view.event_in_memory("m.room.create", "").map(|pdu| pdu.content().clone()).unwrap_or_default();
    let mut content: Object =
        create.iter().filter(|(key, _)| matches!(*key, "type" | "m.federate")).map(|(k, v)| (k, v.clone())).collect();
    let mut predecessor = Object::from([("room_id", room.id.as_str())]);
    if let Some(tombstone) = tombstone {
        predecessor.insert("event_id", tombstone.as_str());
    }
    content.insert("predecessor", predecessor);
    if !additional_creators.is_empty() {
        let ids: Vec<Value> = additional_creators.iter().map(|id| id.as_str().into()).collect();
        content.insert("additional_creators", ids);
    }
    content
}

/// Returns the copied state: the state that the specification lists, bans, and the child rooms of a space.
async fn copied_state(rooms: &Rooms, upgrade: &Upgrade) -> Result<Vec<InitialState>, DbError> {
    let room = &upgrade.room;
    let view = room.view();
    let is_space = view.is_space();
    let entries: Vec<_> = view
        .state
        .iter()
        .filter(|entry| {
            (entry.state_key.is_empty() && COPIED_STATE.contains(&&*entry.event_type))
                || (is_space && &*entry.event_type == "m.space.child")
                || entry.membership == Some(Membership::Ban)
        })
        .map(Arc::clone)
        .collect();
    let events = timeline::state_events(room, &entries).await?.into_iter().filter(|event| {
        // Children without content have been taken out of the space.
        event.pdu.event_type() != "m.space.child" || !event.pdu.content().is_empty()
    });
    let mut taken: Vec<_> = events
        .map(|event| InitialState {
            event_type: event.pdu.event_type().to_owned(),
            state_key: event.pdu.state_key().unwrap_or_default().to_owned(),
            content: event.pdu.content().clone(),
        })
        .filter(|event| carries_over(rooms, upgrade, event))
        .collect();
    if view.state.get("m.room.guest_access", "").is_none() {
        // New rooms may be open to guests. This one was not.
        taken.push(state("m.room.guest_access", Object::from([("guest_access", "forbidden")])));
    }
    Ok(taken)
}

/// Whether the new room takes a state event over. What nobody may send, but stands in the old room, stays there; a room
/// is not made without the server ACL it had, so such an upgrade fails.
fn carries_over(rooms: &Rooms, upgrade: &Upgrade, event: &InitialState) -> bool {
    let draft = Draft::state(&upgrade.sender, &event.event_type, &event.state_key, event.content.clone());
    event.event_type == "m.room.server_acl" || content::check(&rooms.server_name, None, false, &draft).is_ok()
}

/// The old room's levels, as the new room's version writes them; `None` when it has none. Creators of room version 12
/// are not among them.
fn final_levels(upgrade: &Upgrade) -> Option<Object> {
    let Upgrade { room, sender, version, additional_creators } = upgrade;
    let view = room.view();
    let mut content =
        with_integer_levels(room.version.rules(), view.event_in_memory("m.room.power_levels", "")?.content());
    let mut users = content.get_object("users").cloned().unwrap_or_default();
    if version.rules().auth.privileged_creators {
        users.retain(|user, _| user != sender.as_str() && !additional_creators.iter().any(|it| it.as_str() == user));
    } else if view.power_levels.user(sender) == PowerLevel::Infinite {
        users.insert(sender.as_str(), needed_level(&view.power_levels, &[]));
    }
    content.insert("users", users);
    Some(content)
}

/// Returns the power levels during the creation: they allow the sender to set all copied state.
fn first_levels(upgrade: &Upgrade, levels: &Object) -> Object {
    let Upgrade { room, sender, version, .. } = upgrade;
    let rules = version.rules();
    let mut levels = levels.clone();
    if rules.auth.privileged_creators {
        return levels;
    }
    let view = room.view();
    let members = view.state.of_type("m.room.member").filter(|entry| entry.membership == Some(Membership::Ban));
    let banned: Vec<UserId> = members.filter_map(|entry| UserId::try_from(&*entry.state_key).ok()).collect();
    let parsed = PowerLevels::new(rules, &[], Some(&levels));
    let needed = needed_level(&parsed, &banned);
    if parsed.user(sender) < PowerLevel::Level(needed) {
        let mut users = levels.get_object("users").cloned().unwrap_or_default();
        users.insert(sender.as_str(), needed);
        levels.insert("users", users);
    }
    levels
}

/// Returns the level at which a user can set any state and ban these users.
fn needed_level(levels: &PowerLevels, banned: &[UserId]) -> i64 {
    let number = |level: PowerLevel| match level {
        PowerLevel::Level(level) => level,
        PowerLevel::Infinite => i64::MAX,
    };
    let above = banned.iter().map(|user| number(levels.user(user)).saturating_add(1));
    let events = levels.events().map(|(_, level)| level);
    let others = [number(levels.state_default()), number(levels.ban())];
    above.chain(events).chain(others).fold(CREATOR_LEVEL, i64::max).min(MAX_LEVEL)
}
