//! Room upgrades: a room that replaces another (client-server API, "Room Upgrades").

use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::power_levels::PowerLevel;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo;

use crate::build::Draft;
use crate::create::{CreateError, InitialState, NewRoom, Preset, RoomCreator};
use crate::error::SendError;
use crate::limits::Authority;
use crate::membership_kind::MembershipKind;
use crate::registry::Rooms;
use crate::room::{JoinRule, Room};
use crate::timeline;

/// State the new room takes over.
const TAKEN_OVER: [&str; 8] = [
    "m.room.avatar",
    "m.room.encryption",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.name",
    "m.room.server_acl",
    "m.room.topic",
];

/// A room to be replaced.
#[derive(Clone)]
pub struct Upgrade {
    /// The room.
    pub room: Arc<Room>,
    /// Who replaces it.
    pub sender: UserId,
    /// The new room's version.
    pub version: RoomVersion,
    /// Who else is a creator of the new room (room version 12).
    pub additional_creators: Vec<UserId>,
}

/// Replaces the room; answers the new one. The members are not moved: clients follow the tombstone.
pub async fn upgrade(rooms: &Arc<Rooms>, creator: &RoomCreator, upgrade: Upgrade) -> Result<Arc<Room>, CreateError> {
    let Upgrade { room, sender, version, .. } = &upgrade;
    let view = room.view();
    if view.state.membership(sender.as_str()) != Some(MembershipKind::Join)
        || view.power_levels.user(sender) < view.power_levels.event("m.room.tombstone", true)
    {
        return Err(CreateError::Other(SendError::Forbidden(
            plexus_protocol::auth::AuthRejection::InsufficientPower {
                has: view.power_levels.user(sender),
                needs: view.power_levels.event("m.room.tombstone", true),
            },
        )));
    }
    let new = creator.create(new_room(&upgrade).await?).await?;
    let mut content = Object::from([("body", "This room has been replaced")]);
    content.insert("replacement_room", new.id.as_str());
    let tombstone = Draft::state(sender, "m.room.tombstone", "", content);
    rooms.append(room, &tombstone).await.map_err(CreateError::Other)?;
    move_addresses(rooms, room, &new, sender).await?;
    close(rooms, room, sender).await?;
    tracing::info!(old = %room.id, new = %new.id, %version, "room upgraded");
    Ok(new)
}

async fn new_room(upgrade: &Upgrade) -> Result<NewRoom, CreateError> {
    let Upgrade { room, sender, version, additional_creators } = upgrade;
    let view = room.view();
    let create = view.event_in_memory("m.room.create", "").map(|pdu| pdu.content().clone()).unwrap_or_default();
    let mut creation_content: Object =
        create.iter().filter(|(key, _)| matches!(*key, "type" | "m.federate")).map(|(k, v)| (k, v.clone())).collect();
    let mut predecessor = Object::from([("room_id", room.id.as_str())]);
    if !version.rules().create_event_is_room_id
        && let Some(last) = view.extremities().next()
    {
        predecessor.insert("event_id", last.as_str());
    }
    creation_content.insert("predecessor", predecessor);
    if !additional_creators.is_empty() {
        let ids: Vec<Value> = additional_creators.iter().map(|id| id.as_str().into()).collect();
        creation_content.insert("additional_creators", ids);
    }
    let entries: Vec<_> = view
        .state
        .iter()
        .filter(|entry| {
            (entry.state_key.is_empty() && TAKEN_OVER.contains(&&*entry.event_type))
                || &*entry.event_type == "m.space.child"
                || entry.membership == Some(MembershipKind::Ban)
        })
        .map(Arc::clone)
        .collect();
    let initial_state = timeline::state_events(room, &entries)
        .await?
        .into_iter()
        .map(|event| InitialState {
            event_type: event.pdu.event_type().to_owned(),
            state_key: event.pdu.state_key().unwrap_or_default().to_owned(),
            content: event.pdu.content().clone(),
        })
        .collect();
    Ok(NewRoom {
        creator: sender.clone(),
        version: *version,
        preset: if view.join_rule == JoinRule::Public { Preset::PublicChat } else { Preset::PrivateChat },
        published: false,
        alias: None,
        name: None,
        topic: None,
        creation_content,
        power_levels: power_levels(upgrade),
        initial_state,
        invite: Vec::new(),
        is_direct: false,
        encrypted: false,
        invite_profiles: false,
        authority: Authority::Server,
    })
}

/// The old room's levels; in room version 12 creators are not among them, before it the creator must be.
fn power_levels(upgrade: &Upgrade) -> Object {
    let Upgrade { room, sender, version, additional_creators } = upgrade;
    let view = room.view();
    let Some(old) = view.event_in_memory("m.room.power_levels", "") else { return Object::new() };
    let mut content = old.content().clone();
    let mut users = content.get_object("users").cloned().unwrap_or_default();
    if version.rules().auth.privileged_creators {
        users.retain(|user, _| user != sender.as_str() && !additional_creators.iter().any(|it| it.as_str() == user));
        if let Some(Value::Object(events)) = content.get_mut("events")
            && events.get_i64("m.room.tombstone").is_none_or(|level| level < 150)
        {
            events.insert("m.room.tombstone", 150_i64);
        }
    } else if view.power_levels.user(sender) == PowerLevel::Infinite {
        users.insert(sender.as_str(), 100_i64);
    }
    content.insert("users", users);
    content
}

/// Aliases and the place in the room directory move to the new room.
async fn move_addresses(rooms: &Rooms, old: &Room, new: &Arc<Room>, sender: &UserId) -> Result<(), CreateError> {
    let (from, to) = (old.nid, new.nid);
    rooms
        .database()
        .write(move |tx| {
            repo::aliases::move_all(tx, from, to)?;
            if repo::rooms::is_published(tx, from)? {
                repo::rooms::set_published(tx, from, false)?;
                repo::rooms::set_published(tx, to, true)?;
            }
            Ok::<_, plexus_store::DbError>(())
        })
        .await?;
    let view = old.view();
    if let Some(alias) = view.event_in_memory("m.room.canonical_alias", "") {
        let draft = Draft::state(sender, "m.room.canonical_alias", "", alias.content().clone());
        rooms.append(new, &draft).await.map_err(CreateError::Other)?;
    }
    Ok(())
}

/// Ordinary members can no longer speak or invite in the old room. Who may not set power levels leaves them.
async fn close(rooms: &Rooms, old: &Arc<Room>, sender: &UserId) -> Result<(), CreateError> {
    let view = old.view();
    let Some(levels) = view.event_in_memory("m.room.power_levels", "") else { return Ok(()) };
    let users_default = levels.content().get_i64("users_default").unwrap_or(0);
    let closed = users_default.saturating_add(1).max(50);
    let mut content = levels.content().clone();
    for (key, now) in [("events_default", view.power_levels.events_default()), ("invite", view.power_levels.invite())] {
        if now < PowerLevel::Level(closed) {
            content.insert(key, closed);
        }
    }
    match rooms.append(old, &Draft::state(sender, "m.room.power_levels", "", content)).await {
        Ok(_) | Err(SendError::Forbidden(_)) => Ok(()),
        Err(error) => Err(CreateError::Other(error)),
    }
}
