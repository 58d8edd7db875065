//! DELETE /_matrix/client/v3/directory/room/{roomAlias}

use std::sync::Arc;

use plexus_base::AppServices;
use plexus_http::{ApiError, Auth, Empty, Path, State, require_not_suspended};
use plexus_protocol::id::{RoomAlias, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_rooms::{EventSender, NewEvent, Room, Rooms};
use plexus_store::{Database, repo};

use super::{require_alias_allowed, require_local};

pub(crate) async fn handle(
    Auth(requester): Auth,
    State(rooms): State<Arc<Rooms>>,
    State(db): State<Database>,
    State(sender): State<Arc<EventSender>>,
    State(app_services): State<Arc<AppServices>>,
    Path(alias): Path<RoomAlias>,
) -> Result<Empty, ApiError> {
    require_not_suspended(&requester)?;
    require_local(&alias, rooms.server_name())?;
    require_alias_allowed(&app_services, &requester, &alias)?;
    let text = alias.as_str().to_owned();
    let found = db.read(move |tx| repo::aliases::get(tx, &text)).await?;
    let found = found.ok_or_else(|| ApiError::not_found(format!("Room alias {alias} not found.")))?;
    let room = rooms.get_nid(found.room_nid).await?;
    let user = &requester.user_id;
    // Allowed to its creator, an administrator, and users who may set the canonical alias (as in Synapse).
    let powerful = room.as_ref().is_some_and(|room| {
        let view = room.view();
        view.power_levels.user(user) >= view.power_levels.event("m.room.canonical_alias", true)
    });
    let is_service = requester.acting_service.is_some();
    if found.creator != user.as_str() && !requester.is_admin && !powerful && !is_service {
        return Err(ApiError::forbidden("You don't have permission to delete the alias."));
    }
    let text = alias.as_str().to_owned();
    db.write(move |tx| repo::aliases::delete(tx, &text)).await?;
    if let (Some(room), true) = (room, powerful && !requester.shadow_banned) {
        remove_from_canonical(&sender, &room, user, alias.as_str()).await;
    }
    Ok(Empty)
}

/// Removes the alias from `m.room.canonical_alias`. If that fails, the alias is deleted all the same.
async fn remove_from_canonical(sender: &EventSender, room: &Room, user: &UserId, alias: &str) {
    let view = room.view();
    let Some(event) = view.event_in_memory("m.room.canonical_alias", "") else { return };
    let mut content: Object = event.content().clone();
    if content.get_str("alias") == Some(alias) {
        content.remove("alias");
    }
    if let Some(Value::Array(others)) = content.get_mut("alt_aliases") {
        others.retain(|other| other.as_str() != Some(alias));
    }
    if content == *event.content() {
        return;
    }
    let event = NewEvent {
        room_id: room.id.clone(),
        sender: user.clone(),
        event_type: "m.room.canonical_alias".to_owned(),
        state_key: Some(String::new()),
        content,
        redacts: None,
        origin_server_ts: None,
        sticky_duration_ms: None,
        transaction: None,
    };
    if let Err(error) = sender.send(event).await {
        tracing::info!(%user, alias, "a deleted alias stays in m.room.canonical_alias: {error}");
    }
}
