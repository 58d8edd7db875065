//! The public description of a room: for the room directory, room summaries and spaces.

use plexus_protocol::visibility::HistoryVisibility;
use serde::Serialize;

use crate::model::room::Room;

/// The public description of a room, as the client-server API writes it
/// (<https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>).
#[derive(Clone, Debug, Serialize)]
pub struct RoomSummary {
    /// `room_id`
    pub room_id: String,
    /// `m.room.name`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `m.room.topic`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// `m.room.canonical_alias`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_alias: Option<String>,
    /// `m.room.avatar`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// The number of joined users.
    pub num_joined_members: u64,
    /// Whether anybody may read the history.
    pub world_readable: bool,
    /// Whether guests may join.
    pub guest_can_join: bool,
    /// `m.room.join_rules`
    pub join_rule: &'static str,
    /// `type` of `m.room.create`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_type: Option<String>,
}

impl RoomSummary {
    /// Returns the summary of a room as it is now.
    #[must_use]
    pub fn of(room: &Room) -> Self {
        let view = room.view();
        let text = |event_type, member| {
            view.content_str(event_type, member).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        Self {
            room_id: room.id.as_str().to_owned(),
            name: text("m.room.name", "name"),
            topic: text("m.room.topic", "topic"),
            canonical_alias: text("m.room.canonical_alias", "alias"),
            avatar_url: text("m.room.avatar", "url"),
            num_joined_members: view.joined_count,
            world_readable: view.history_visibility == HistoryVisibility::WorldReadable,
            guest_can_join: view.guests_can_join,
            join_rule: view.join_rule.as_str(),
            room_type: text("m.room.create", "type"),
        }
    }
}
