//! What policy hooks are asked about new rooms.

use plexus_base::config::PolicyCallback;
use plexus_protocol::id::RoomId;
use serde_json::{Value, json};

use super::{CreateError, NewRoom, Preset};
use crate::model::limits::Authority;
use crate::write::error::SendError;
use crate::write::writer::RoomWriter;

/// Asks whether the room may be created, with its alias. Rooms that the server itself creates are not asked about.
pub(super) async fn require_permitted(writer: &RoomWriter, new: &NewRoom) -> Result<(), CreateError> {
    let Some(hooks) = writer.policy_hooks.as_ref().filter(|_| new.authority != Authority::Server) else {
        return Ok(());
    };
    let is_admin = new.authority.is_administrator();
    if hooks.asks(PolicyCallback::OnCreateRoom) || hooks.asks(PolicyCallback::UserMayCreateRoom) {
        let config = room_config(new);
        hooks.on_create_room(&new.creator, &config, is_admin).await.map_err(refused)?;
        if !is_admin {
            hooks.user_may_create_room(&new.creator, &config).await.map_err(refused)?;
        }
    }
    match &new.alias {
        Some(alias) if !is_admin => hooks.user_may_create_room_alias(&new.creator, alias).await.map_err(refused),
        _ => Ok(()),
    }
}

/// Asks about each invite to the room, which has an id but is not stored yet.
pub(super) async fn require_invites_permitted(
    writer: &RoomWriter,
    new: &NewRoom,
    room_id: &RoomId,
) -> Result<(), CreateError> {
    let Some(hooks) = writer.policy_hooks.as_ref().filter(|_| new.authority.is_subject_to_invite_policy()) else {
        return Ok(());
    };
    for invited in &new.invite {
        hooks.user_may_invite(&new.creator, invited.as_str(), room_id).await.map_err(refused)?;
    }
    Ok(())
}

fn refused(refusal: plexus_net::PolicyRefusal) -> CreateError {
    CreateError::Other(SendError::from(refusal))
}

/// Returns the parameters of the room as a request to create it has them.
fn room_config(new: &NewRoom) -> Value {
    let initial_state = new
        .initial_state
        .iter()
        .map(|event| json!({"type": event.event_type, "state_key": event.state_key, "content": event.content}));
    json!({
        "visibility": if new.published { "public" } else { "private" },
        "preset": match new.preset {
            Preset::PrivateChat => "private_chat",
            Preset::TrustedPrivateChat => "trusted_private_chat",
            Preset::PublicChat => "public_chat",
        },
        "room_version": new.version.as_str(),
        "room_alias_name": new.alias.as_ref().map(|alias| alias.localpart()),
        "name": new.name,
        "topic": new.topic,
        "invite": new.invite,
        "is_direct": new.is_direct,
        "creation_content": new.creation_content,
        "initial_state": initial_state.collect::<Vec<_>>(),
    })
}
