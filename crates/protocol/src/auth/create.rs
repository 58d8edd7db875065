//! [Rule 1](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules): `m.room.create`.

use super::AuthRejection;
use crate::{
    event::Pdu,
    id::UserId,
    json::Value,
    rules::{RoomVersion, RoomVersionRules},
};

pub(super) fn check(rules: &RoomVersionRules, event: &Pdu) -> Result<(), AuthRejection> {
    let content = event.content();
    // 1.1. Previous events.
    if !event.prev_events().is_empty() {
        return Err(AuthRejection::CreateHasPrevEvents);
    }
    // 1.2. Room id.
    if rules.create_event_is_room_id {
        if event.member_json("room_id").is_some() {
            return Err(AuthRejection::CreateHasRoomId);
        }
    } else if event.room_id().server_name() != Some(event.sender().server_name()) {
        return Err(AuthRejection::CreateRoomIdOfOtherServer);
    }
    // 1.3. Room version.
    let version = content.get("room_version");
    let known = |version: &Value| version.as_str().is_some_and(|v| v.parse::<RoomVersion>().is_ok());
    if version.is_some_and(|version| !known(version)) {
        return Err(AuthRejection::UnknownRoomVersion);
    }
    // 1.4 of versions 1 to 10.
    if !rules.auth.creator_is_sender && !content.contains_key("creator") {
        return Err(AuthRejection::MissingCreator);
    }
    // 1.4. Additional creators.
    let is_user_id = |id: &Value| id.as_str().is_some_and(|id| id.parse::<UserId>().is_ok());
    let valid = |creators: &Value| creators.as_array().is_some_and(|ids| ids.iter().all(is_user_id));
    if rules.auth.privileged_creators && content.get("additional_creators").is_some_and(|ids| !valid(ids)) {
        return Err(AuthRejection::InvalidAdditionalCreators);
    }
    // 1.5. Otherwise, allow.
    Ok(())
}
