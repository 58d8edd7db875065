//! Checks that many endpoints begin with: whose request it is, and which room it may use.

use std::sync::Arc;

use plexus_http::{ApiError, Requester};
use plexus_protocol::id::{RoomAlias, RoomId, UserId};
use plexus_protocol::membership::Membership;
use plexus_rooms::timeline::{self, Access};
use plexus_rooms::{Room, Rooms};
use plexus_service::RoomResolver;

/// 403 unless the user named in the path makes the request.
pub(crate) fn require_self(requester: &Requester, user: &UserId) -> Result<(), ApiError> {
    if requester.user_id == *user {
        return Ok(());
    }
    Err(ApiError::forbidden("This belongs to another user"))
}

/// Returns the room; 403 unless the user is in it.
pub(crate) async fn require_joined(rooms: &Rooms, room_id: &RoomId, user: &UserId) -> Result<Arc<Room>, ApiError> {
    let room = rooms.get(room_id).await?;
    let joined = |room: &Arc<Room>| room.view().state.membership(user.as_str()) == Some(Membership::Join);
    room.filter(joined).ok_or_else(|| not_in_room(user, room_id))
}

fn not_in_room(user: &UserId, room_id: &RoomId) -> ApiError {
    ApiError::forbidden(format!("User {user} not in room {room_id}"))
}

/// Returns the room, and how far the user may read its timeline; 403 when not at all.
pub(crate) async fn readable_room(
    rooms: &Rooms,
    room_id: &RoomId,
    user: &UserId,
) -> Result<(Arc<Room>, Access), ApiError> {
    let forbidden = || not_in_room(user, room_id);
    let room = rooms.get(room_id).await?.ok_or_else(forbidden)?;
    let access = timeline::access(&room, user).await?.ok_or_else(forbidden)?;
    if let Access::Until(_) = access
        && rooms.memberships().of(user).await?.get(room.nid).is_some_and(|membership| membership.forgotten)
    {
        return Err(forbidden());
    }
    Ok((room, access))
}

/// Returns the room of this server that a path names by id or by alias; 404 when there is none.
pub(crate) async fn local_room(
    rooms: &Rooms,
    resolver: &RoomResolver,
    id_or_alias: &str,
) -> Result<Arc<Room>, ApiError> {
    let malformed = |error| ApiError::invalid_param(format!("{id_or_alias}: {error}"));
    if id_or_alias.starts_with('#') {
        let alias = RoomAlias::try_from(id_or_alias).map_err(malformed)?;
        let room = resolver.local_room(&alias).await?;
        return room.ok_or_else(|| ApiError::not_found(format!("Room alias {id_or_alias} not found")));
    }
    let id = RoomId::try_from(id_or_alias).map_err(malformed)?;
    rooms.get(&id).await?.ok_or_else(|| ApiError::not_found("No known servers"))
}

/// 400 for text that the database cannot hold.
pub(crate) fn require_text(name: &'static str, text: &str) -> Result<(), ApiError> {
    if text.contains('\0') {
        return Err(ApiError::invalid_param(format!("{name} must not contain U+0000")));
    }
    Ok(())
}
