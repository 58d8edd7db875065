//! PUT /_matrix/client/v3/directory/list/room/{roomId}

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::room_errors::room_directory_error;
use plexus_http::{ApiError, Auth, Empty, JsonOrEmpty, Path, State, require_not_suspended};
use plexus_protocol::id::RoomId;
use plexus_protocol::membership::Membership;
use plexus_rooms::Rooms;
use plexus_store::{Database, repo};
use serde::Deserialize;

use plexus_service::{DirectoryRules, RoomDirectory};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    visibility: Option<String>,
}

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(db): State<Database>,
    State(directory): State<RoomDirectory>,
    State(config): State<Arc<Config>>,
    Path(room_id): Path<RoomId>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<Empty, ApiError> {
    require_not_suspended(&requester)?;
    let published = match request.visibility.as_deref() {
        None | Some("public") => true,
        Some("private") => false,
        Some(_) => return Err(ApiError::bad_json("visibility must be public or private")),
    };
    let room = rooms.get(&room_id).await?.ok_or_else(|| ApiError::not_found("Unknown room"))?;
    let nid = room.nid;
    let user = &requester.user_id;
    if !requester.is_admin {
        let view = room.view();
        let joined = view.state.membership(user.as_str()) == Some(Membership::Join);
        if !joined || view.power_levels.user(user) < view.power_levels.event("m.room.canonical_alias", true) {
            return Err(ApiError::forbidden(
                "This server requires you to be a moderator in the room to edit its room list entry",
            ));
        }
        let aliases = db.read(move |tx| repo::aliases::of_room(tx, nid)).await?;
        let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
        if published && !DirectoryRules::publication(&config).allow(user, &aliases, room.id.as_str()) {
            return Err(ApiError::forbidden("Not allowed to publish room"));
        }
    }
    directory.set_published(user, &room, published).await.map_err(room_directory_error)?;
    Ok(Empty)
}
