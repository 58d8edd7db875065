//! Rooms and events as answers to clients.

use std::sync::Arc;

use plexus_http::{ApiError, Requester};
use plexus_protocol::id::{RoomAlias, RoomId, UserId};
use plexus_rooms::relations::bundle;
use plexus_rooms::timeline::{self, Access, VisibleEvent};
use plexus_rooms::{ClientFormat, Room, Rooms, TimelineEvent};
use plexus_store::{Position, repo};

/// The format in which a requester reads events outside of /sync.
pub(crate) fn format(requester: &Requester, now_ms: u64) -> ClientFormat<'_> {
    ClientFormat { user: &requester.user_id, device_id: requester.device_id.as_deref(), now_ms, room_id: true }
}

/// Appends a JSON array of timeline events with their aggregations.
pub(crate) async fn push_events(
    out: &mut String,
    room: &Room,
    format: &ClientFormat<'_>,
    events: &[VisibleEvent],
) -> Result<(), ApiError> {
    let plain: Vec<Arc<TimelineEvent>> = events.iter().map(|visible| Arc::clone(&visible.event)).collect();
    let relations = bundle(room, format, &plain).await?;
    out.push('[');
    for (at, visible) in events.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let relations = relations.get(&visible.event.nid).map(String::as_str);
        visible.event.write_client(out, format, Some(visible.membership.as_str()), relations);
    }
    out.push(']');
    Ok(())
}

/// Appends one timeline event with its aggregations.
pub(crate) async fn push_event(
    out: &mut String,
    room: &Room,
    format: &ClientFormat<'_>,
    visible: &VisibleEvent,
) -> Result<(), ApiError> {
    let relations = bundle(room, format, std::slice::from_ref(&visible.event)).await?;
    let relations = relations.get(&visible.event.nid).map(String::as_str);
    visible.event.write_client(out, format, Some(visible.membership.as_str()), relations);
    Ok(())
}

/// Appends a JSON array of state events that the requester may see.
pub(crate) async fn push_state(
    out: &mut String,
    room: &Room,
    format: &ClientFormat<'_>,
    events: Vec<Arc<TimelineEvent>>,
) -> Result<(), ApiError> {
    let events = timeline::state_for(format.user, room, events).await?;
    out.push('[');
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        event.write_client(out, format, None, None);
    }
    out.push(']');
    Ok(())
}

/// The member events of the senders of `events`, for clients that load members lazily: as they are now, or were when
/// the reader left.
pub(crate) async fn members_of_senders(
    room: &Room,
    access: Access,
    events: &[VisibleEvent],
) -> Result<Vec<Arc<TimelineEvent>>, ApiError> {
    let mut senders: Vec<String> = events.iter().map(|visible| visible.event.pdu.sender().to_string()).collect();
    senders.sort_unstable();
    senders.dedup();
    Ok(timeline::members_at(room, access.upto(room.view().position), senders).await?)
}

/// A room and how far the requester may read it; 403 when not at all.
pub(crate) async fn readable_room(
    rooms: &Rooms,
    room_id: &RoomId,
    user: &UserId,
) -> Result<(Arc<Room>, Access), ApiError> {
    let forbidden = || ApiError::forbidden(format!("User {user} not in room {room_id}"));
    let room = rooms.get(room_id).await?.ok_or_else(forbidden)?;
    let access = timeline::access(&room, user).await?.ok_or_else(forbidden)?;
    if let Access::Until(_) = access
        && rooms.memberships().of(user).await?.get(room.nid).is_some_and(|membership| membership.forgotten)
    {
        return Err(forbidden());
    }
    Ok((room, access))
}

/// The token for the place after the event at a position.
pub(crate) fn token(position: Position) -> String {
    format!("s{position}")
}

/// The position of a token from /sync, /messages and their kin.
pub(crate) fn position_of(token: &str) -> Result<Position, ApiError> {
    let token: plexus_delivery::SyncToken =
        token.parse().map_err(|_| ApiError::invalid_param("from or to is not a token of this server"))?;
    Ok(token.position)
}

/// The room that a path names by id or by alias; 404 when there is none.
pub(crate) async fn room_by_id_or_alias(rooms: &Rooms, id_or_alias: &str) -> Result<Arc<Room>, ApiError> {
    let room = if id_or_alias.starts_with('#') {
        let alias = RoomAlias::try_from(id_or_alias)
            .map_err(|error| ApiError::invalid_param(format!("{id_or_alias}: {error}")))?;
        let found = rooms.database().read(move |tx| repo::aliases::get(tx, alias.as_str())).await?;
        match found {
            Some(found) => rooms.get_nid(found.room_nid).await?,
            None => return Err(ApiError::not_found(format!("Room alias {id_or_alias} not found"))),
        }
    } else {
        let id = RoomId::try_from(id_or_alias)
            .map_err(|error| ApiError::invalid_param(format!("{id_or_alias}: {error}")))?;
        rooms.get(&id).await?
    };
    room.ok_or_else(|| ApiError::not_found("No known servers"))
}
