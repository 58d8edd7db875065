//! Serves the hierarchy of spaces (<https://spec.matrix.org/v1.19/server-server-api/#spaces>).

use std::sync::Arc;

use plexus_protocol::id::{RoomId, ServerName};
use plexus_protocol::join_rule::JoinRule;
use plexus_protocol::membership::Membership;
use plexus_protocol::visibility::HistoryVisibility;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;
use plexus_rooms::read::summary::{self, SpaceChild};
use plexus_store::DbError;

use super::ServeError;

/// How many children of a space are returned.
const MAX_CHILDREN: usize = 50;

/// A space and its children, one level deep.
pub struct Hierarchy {
    /// The space.
    pub room: Arc<Room>,
    /// The `m.space.child` events of all children, also of children in neither list below.
    pub children: Vec<SpaceChild>,
    /// The children that users of the requesting server can join or read.
    pub accessible: Vec<Arc<Room>>,
    /// The children that they cannot join or read.
    pub inaccessible: Vec<RoomId>,
}

/// `GET /hierarchy/{roomId}`
pub async fn hierarchy(
    rooms: &Rooms,
    origin: &ServerName,
    room: &RoomId,
    suggested_only: bool,
) -> Result<Hierarchy, ServeError> {
    let room = rooms.get(room).await?.ok_or(ServeError::UnknownRoom)?;
    if !is_accessible(rooms, &room, origin).await? {
        return Err(ServeError::UnknownRoom);
    }
    let mut children = summary::space_children(&room).await?;
    children.retain(|child| child.suggested || !suggested_only);
    children.truncate(MAX_CHILDREN);
    let (mut accessible, mut inaccessible) = (Vec::new(), Vec::new());
    for child in &children {
        // The state of a room that this server is not in may be outdated.
        let known = rooms.get_readable(&child.room_id).await?.filter(|room| !room.view().local_joined.is_empty());
        let Some(child) = known else { continue };
        if is_accessible(rooms, &child, origin).await? {
            accessible.push(child);
        } else {
            inaccessible.push(child.id.clone());
        }
    }
    Ok(Hierarchy { room, children, accessible, inaccessible })
}

/// Whether users of the server can join or read the room.
async fn is_accessible(rooms: &Rooms, room: &Room, origin: &ServerName) -> Result<bool, DbError> {
    let view = room.view();
    if !view.allows_server(origin) {
        return Ok(false);
    }
    if view.servers.contains(origin.as_str())
        || matches!(view.join_rule, JoinRule::Public | JoinRule::Knock | JoinRule::KnockRestricted)
        || view.history_visibility == HistoryVisibility::WorldReadable
    {
        return Ok(true);
    }
    let invited = |entry: &&Arc<plexus_rooms::StateEntry>| {
        entry.membership == Some(Membership::Invite)
            && entry.state_key.split_once(':').is_some_and(|(_, server)| server == origin.as_str())
    };
    if view.state.of_type("m.room.member").any(|entry| invited(&entry)) {
        return Ok(true);
    }
    for allowed in summary::allowed_rooms(&view) {
        if rooms.get_readable(&allowed).await?.is_some_and(|room| room.view().servers.contains(origin.as_str())) {
            return Ok(true);
        }
    }
    Ok(false)
}
