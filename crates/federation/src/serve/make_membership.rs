//! Makes templates of the events by which users of other servers join, leave and knock
//! (<https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>,
//! <https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites>,
//! <https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms>).

use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_rooms::actions::membership::restricted;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::rooms::Rooms;
use plexus_rooms::read::summary;
use plexus_rooms::write::build;
use plexus_rooms::write::draft::Draft;

use super::ServeError;
use super::admission::room_for_outsider;
use crate::peers::EventTemplate;
use crate::receive::PduReceiver;

/// `GET /make_join/{roomId}/{userId}`; `versions` are those that the requesting server supports.
pub async fn make_join(
    receiver: &PduReceiver,
    origin: &ServerName,
    room: &RoomId,
    user: &UserId,
    versions: &[String],
) -> Result<EventTemplate, ServeError> {
    make(receiver, origin, (room, user), "join", Some(versions)).await
}

/// `GET /make_leave/{roomId}/{userId}`
pub async fn make_leave(
    receiver: &PduReceiver,
    origin: &ServerName,
    room: &RoomId,
    user: &UserId,
) -> Result<EventTemplate, ServeError> {
    make(receiver, origin, (room, user), "leave", None).await
}

/// `GET /make_knock/{roomId}/{userId}`; `versions` are those that the requesting server supports.
pub async fn make_knock(
    receiver: &PduReceiver,
    origin: &ServerName,
    room: &RoomId,
    user: &UserId,
    versions: &[String],
) -> Result<EventTemplate, ServeError> {
    make(receiver, origin, (room, user), "knock", Some(versions)).await
}

async fn make(
    receiver: &PduReceiver,
    origin: &ServerName,
    (room, user): (&RoomId, &UserId),
    membership: &str,
    versions: Option<&[String]>,
) -> Result<EventTemplate, ServeError> {
    if user.server_name() != origin.as_str() {
        return Err(ServeError::UserOfOtherServer);
    }
    let room = room_for_outsider(&receiver.rooms, origin, room).await?;
    if versions.is_some_and(|known| !known.iter().any(|version| version == room.version.as_str())) {
        return Err(ServeError::IncompatibleVersion(room.version));
    }
    if membership == "join" {
        receiver.writer.limits().check_join_of_room(&room.id)?;
    }
    let mut content = Object::from([("membership", membership)]);
    if membership == "join"
        && let Some(authoriser) = authoriser(&receiver.rooms, &room, user).await?
    {
        content.insert("join_authorised_via_users_server", authoriser.as_str());
    }
    let draft = Draft::state(user, "m.room.member", user.as_str(), content);
    Ok(EventTemplate { room_version: room.version, event: build::template(&receiver.writer, &room, &draft).await? })
}

/// Returns the user of this server that authorizes the join of `user`
/// (<https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms>), or `None` if the join needs none. Memberships
/// are known only in rooms that this server is in.
pub(super) async fn authoriser(rooms: &Rooms, room: &Room, user: &UserId) -> Result<Option<UserId>, ServeError> {
    let view = room.view();
    if !restricted::needs_authoriser(&view, user) {
        return Ok(None);
    }
    // Another server may know members of rooms, or rules, that this one does not know.
    let mut all_known = !summary::has_unknown_allow_rules(&view);
    for allowed in summary::allowed_rooms(&view) {
        let allowed = rooms.get_readable(&allowed).await?.map(|room| room.view());
        let Some(allowed) = allowed.filter(|view| !view.local_joined.is_empty()) else {
            all_known = false;
            continue;
        };
        if allowed.state.membership(user.as_str()) == Some(Membership::Join) {
            return restricted::can_authorise(&view).map(Some).ok_or(ServeError::UnableToGrantJoin);
        }
        all_known &= !allowed.is_partial();
    }
    Err(if all_known { ServeError::NotInAllowedRoom } else { ServeError::UnableToAuthoriseJoin })
}
