//! Room upgrades: replaces a room by another (<https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>).
//!
//! - `replacement`: the events of the new room
//! - `addresses`: its aliases, and its publication in the room directory
//! - `successor`: the settings that users get in the new room when they join it

mod addresses;
mod replacement;
pub mod successor;

use std::sync::Arc;

use plexus_protocol::auth::AuthRejection;
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::membership::Membership;
use plexus_protocol::power_levels::{PowerLevel, with_integer_levels};
use plexus_protocol::rules::RoomVersion;
use plexus_store::DbError;

use crate::actions::create::{CreateError, RoomCreator};
use crate::model::room::Room;
use crate::model::rooms::Rooms;
use crate::write::build::Built;
use crate::write::draft::Draft;
use crate::write::error::SendError;
use crate::write::writer::RoomWriter;
use crate::write::{append, policy};

/// A room to be replaced.
#[derive(Clone)]
pub struct Upgrade {
    /// The room.
    pub room: Arc<Room>,
    /// The user who replaces it.
    pub sender: UserId,
    /// The new room's version.
    pub version: RoomVersion,
    /// The additional creators of the new room (room version 12).
    pub additional_creators: Vec<UserId>,
}

/// Replaces a room, and returns the new one. Members are not moved: clients follow the tombstone. The upgrade goes on
/// if the caller stops waiting. A repeated request of the same user during the upgrade gets the same room; a request of
/// another user gets an error.
///
/// The new room is created first. If the tombstone cannot be sent, the upgrade fails: the old room stays in use, and
/// does not refer to the new one. Later failures are only logged.
///
/// # Errors
/// See [`CreateError`].
pub async fn upgrade(creator: &Arc<RoomCreator>, upgrade: Upgrade) -> Result<Arc<Room>, CreateError> {
    let creator = Arc::clone(creator);
    let background = creator.writer().background.clone();
    let upgrading = background.spawn("room upgrade", async move { run(creator.writer(), &creator, &upgrade).await });
    upgrading.await.unwrap_or(Err(CreateError::Other(SendError::Contended)))
}

async fn run(writer: &Arc<RoomWriter>, creator: &RoomCreator, upgrade: &Upgrade) -> Result<Arc<Room>, CreateError> {
    let Upgrade { room, sender, version, .. } = upgrade;
    // The bans are copied.
    writer.rooms.full_state(room).await.map_err(|error| CreateError::Other(error.into()))?;
    let tombstone = || room.view().event_nid("m.room.tombstone", "");
    let before = tombstone();
    let mut last_tombstone = match room.upgrading.try_lock() {
        Ok(last_tombstone) => last_tombstone,
        Err(_) => {
            let last_tombstone = room.upgrading.lock().await;
            // The other upgrade may have sent its tombstone before this one began.
            let by_other = last_tombstone.is_some() && *last_tombstone == tombstone();
            if by_other || tombstone() != before {
                return replaced_meanwhile(&writer.rooms, upgrade).await?.ok_or(CreateError::UpgradeInProgress);
            }
            last_tombstone
        }
    };
    *last_tombstone = None;
    may_replace(room, sender).map_err(CreateError::Other)?;
    let new = replace(writer, creator, upgrade).await?;
    *last_tombstone = tombstone();
    if let Err(error) = addresses::move_all(&writer.rooms, room, &new).await {
        tracing::warn!(room = %room.id, "the aliases could not be moved in a room upgrade: {error}");
    }
    addresses::move_canonical(writer, room, &new, sender).await;
    successor::joined(&writer.rooms, &new, sender).await;
    if let Err(error) = close(writer, room, sender).await {
        tracing::warn!(room = %room.id, "the power levels of a replaced room could not be raised: {error}");
    }
    tracing::info!(old = %room.id, new = %new.id, %version, "room upgraded");
    Ok(new)
}

/// Returns the room that has replaced the room while this upgrade waited, if the same user requested the same version.
async fn replaced_meanwhile(rooms: &Rooms, upgrade: &Upgrade) -> Result<Option<Arc<Room>>, DbError> {
    let view = upgrade.room.view();
    let tombstone = view.event_in_memory("m.room.tombstone", "").filter(|pdu| *pdu.sender() == upgrade.sender);
    let replacement = tombstone.and_then(|pdu| RoomId::try_from(pdu.content().get_str("replacement_room")?).ok());
    let Some(replacement) = replacement else { return Ok(None) };
    Ok(rooms.get(&replacement).await?.filter(|new| new.version == upgrade.version))
}

/// Checks that the user may send the tombstone.
fn may_replace(room: &Room, sender: &UserId) -> Result<(), SendError> {
    let view = room.view();
    let (has, needs) = (view.power_levels.user(sender), view.power_levels.event("m.room.tombstone", true));
    if view.state.membership(sender.as_str()) == Some(Membership::Join) && has >= needs {
        return Ok(());
    }
    Err(SendError::Forbidden(AuthRejection::InsufficientPower { has, needs }))
}

/// Creates the new room and then sends the tombstone; each names the other.
async fn replace(writer: &Arc<RoomWriter>, creator: &RoomCreator, upgrade: &Upgrade) -> Result<Arc<Room>, CreateError> {
    let Upgrade { room, sender, version, .. } = upgrade;
    if version.rules().create_event_is_room_id {
        // The tombstone names the new room's id, a hash of the create event, which therefore cannot name the tombstone.
        let new = creator.create(replacement::new_room(&writer.rooms, upgrade, None).await?).await?;
        append::append(writer, room, &tombstone(sender, &new.id)).await.map_err(CreateError::Other)?;
        return Ok(new);
    }
    let room_id = creator.new_room_id()?;
    let built = append::build_on_head(writer, room, &tombstone(sender, &room_id)).await.map_err(CreateError::Other)?;
    let Built::Event(pending, _) = built else { return Err(CreateError::Other(SendError::Contended)) };
    let pdu = policy::recommended_here(writer, room, pending.judged.pdu).await.map_err(CreateError::Other)?;
    let mut new = replacement::new_room(&writer.rooms, upgrade, Some(pdu.event_id())).await?;
    new.room_id = Some(room_id);
    let new = creator.create(new).await?;
    append::send_built(writer, room, &pdu, None, true).await.map_err(CreateError::Other)?;
    Ok(new)
}

fn tombstone(sender: &UserId, replacement: &RoomId) -> Draft {
    let mut content = Object::from([("body", "This room has been replaced")]);
    content.insert("replacement_room", replacement.as_str());
    Draft::state(sender, "m.room.tombstone", "", content)
}

/// Raises the power levels of the old room, so that ordinary members can neither send messages nor invite. Nothing
/// changes if the user may not set power levels.
async fn close(writer: &RoomWriter, old: &Arc<Room>, sender: &UserId) -> Result<(), SendError> {
    let view = old.view();
    let Some(levels) = view.event_in_memory("m.room.power_levels", "") else { return Ok(()) };
    let PowerLevel::Level(users_default) = view.power_levels.users_default() else { return Ok(()) };
    let closed = users_default.saturating_add(1).max(50);
    let mut content = with_integer_levels(old.version.rules(), levels.content());
    for (key, now) in [("events_default", view.power_levels.events_default()), ("invite", view.power_levels.invite())] {
        if now < PowerLevel::Level(closed) {
            content.insert(key, closed);
        }
    }
    if content == *levels.content() {
        return Ok(());
    }
    match append::append(writer, old, &Draft::state(sender, "m.room.power_levels", "", content)).await {
        Ok(_) | Err(SendError::Forbidden(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
