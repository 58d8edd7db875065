//! What a room looks like from outside: the room directory, room summaries, spaces.

use std::sync::Arc;

use plexus_protocol::event::client;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::join_rule::JoinRule;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::membership::Membership;
use plexus_protocol::visibility::HistoryVisibility;
use plexus_store::{DbError, RoomNid, repo};
use serde::Serialize;

use crate::model::current_state::SPACE;
use crate::model::memberships::UserRooms;
use crate::model::room::Room;
use crate::model::room_summary::RoomSummary;
use crate::model::room_view::RoomView;
use crate::model::rooms::Rooms;
use crate::read::timeline;

/// The type of the allow rules that this server knows.
const MEMBERSHIP_RULE: &str = "m.room_membership";

/// What only summaries and hierarchies tell.
#[derive(Clone, Debug, Serialize)]
pub struct SummaryDetails {
    /// The summary.
    #[serde(flatten)]
    pub summary: RoomSummary,
    /// The room's version.
    pub room_version: &'static str,
    /// `algorithm` of `m.room.encryption`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// For a restricted room the rooms whose members it lets in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_room_ids: Vec<String>,
}

impl SummaryDetails {
    /// The summary of a room as it is now, with its details.
    #[must_use]
    pub fn of(room: &Room) -> Self {
        let view = room.view();
        Self {
            summary: RoomSummary::of(room),
            room_version: room.version.as_str(),
            encryption: view.content_str("m.room.encryption", "algorithm").map(str::to_owned),
            allowed_room_ids: allowed_rooms(&view).into_iter().map(String::from).collect(),
        }
    }
}

/// The summary of a room with the events that make it a space, as hierarchies have it; JSON.
pub fn with_children(room: &Room, children: &[SpaceChild]) -> Result<String, serde_json::Error> {
    let mut out = serde_json::to_string(&SummaryDetails::of(room))?;
    out.truncate(out.len().saturating_sub(1));
    let children: Vec<&str> = children.iter().map(|child| child.json.as_str()).collect();
    out.push_str(&format!(",\"children_state\":[{}]}}", children.join(",")));
    Ok(out)
}

/// The rooms whose members a restricted room lets in.
pub fn allowed_rooms(view: &RoomView) -> Vec<RoomId> {
    allow_rules(view)
        .filter(|rule| rule.get_str("type") == Some(MEMBERSHIP_RULE))
        .filter_map(|rule| rule.get_str("room_id")?.try_into().ok())
        .collect()
}

/// Whether a restricted room has allow rules of a type that this server does not know.
pub fn has_unknown_allow_rules(view: &RoomView) -> bool {
    allow_rules(view).any(|rule| rule.get_str("type").is_some_and(|of_type| of_type != MEMBERSHIP_RULE))
}

/// The `allow` list of a restricted room (client-server API, "Restricted rooms").
fn allow_rules(view: &RoomView) -> impl Iterator<Item = &Object> {
    let is_restricted = matches!(view.join_rule, JoinRule::Restricted | JoinRule::KnockRestricted);
    let rules = view.event_in_memory("m.room.join_rules", "").filter(|_| is_restricted);
    rules.and_then(|pdu| pdu.content().get_array("allow")).into_iter().flatten().filter_map(Value::as_object)
}

/// Every room in the room directory that has members, those with the most members first.
pub async fn published_rooms(rooms: &Rooms) -> Result<Vec<RoomSummary>, DbError> {
    let published = rooms.db.read(repo::rooms::published).await?;
    let mut summaries = Vec::with_capacity(published.len());
    for (nid, revision) in published {
        let summary = summary(rooms, nid, revision).await?;
        summaries.extend(summary.filter(|room| room.num_joined_members > 0));
    }
    summaries.sort_by(|a, b| b.num_joined_members.cmp(&a.num_joined_members).then_with(|| a.room_id.cmp(&b.room_id)));
    Ok(summaries)
}

/// Returns the summary of a room at `revision`, the room's newest in the database, or later; `None` if there is no such
/// room or it cannot be read.
async fn summary(rooms: &Rooms, nid: RoomNid, revision: i64) -> Result<Option<RoomSummary>, DbError> {
    if let Some(summary) = rooms.summaries.get(nid, revision) {
        return Ok(Some(summary));
    }
    let Some(room) = rooms.get_readable_nid(nid).await? else { return Ok(None) };
    // Read before the view, so that it is never newer than the summary.
    let revision = room.revision();
    let summary = RoomSummary::of(&room);
    rooms.summaries.insert(nid, revision, summary.clone());
    Ok(Some(summary))
}

/// Whether the user (or, with `None`, anybody) may be shown the room's summary: members and invited users, and everybody
/// where the room can be entered or read without an invite (client-server API, "Room summaries", "Spaces").
pub async fn is_accessible(rooms: &Rooms, room: &Room, user: Option<&UserId>) -> Result<bool, DbError> {
    let view = room.view();
    if matches!(view.join_rule, JoinRule::Public | JoinRule::Knock | JoinRule::KnockRestricted)
        || view.history_visibility == HistoryVisibility::WorldReadable
    {
        return Ok(true);
    }
    let Some(user) = user else { return Ok(false) };
    if matches!(view.state.membership(user.as_str()), Some(Membership::Join | Membership::Invite)) {
        return Ok(true);
    }
    let allowed = allowed_rooms(&view);
    if allowed.is_empty() {
        return Ok(false);
    }
    is_in_one_of(rooms, &rooms.memberships().of(user).await?, &allowed).await
}

/// Whether somebody with these memberships is joined to one of the rooms.
pub async fn is_in_one_of(rooms: &Rooms, joined: &UserRooms, ids: &[RoomId]) -> Result<bool, DbError> {
    for id in ids {
        if let Some(room) = rooms.get_readable(id).await?
            && joined.get(room.nid).is_some_and(|membership| membership.kind == Membership::Join)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One child of a space, from its `m.space.child` event.
#[derive(Clone, Debug)]
pub struct SpaceChild {
    /// The child.
    pub room_id: RoomId,
    /// Whether the space suggests it.
    pub suggested: bool,
    /// Servers that are said to be in it.
    pub via: Vec<ServerName>,
    /// The event as `children_state` has it: stripped, with `origin_server_ts`.
    pub json: String,
}

/// A space's children in order: by `order`, then by when the event was sent, then by id (client-server API, "Ordering
/// of children within a space"). Children without `via` are removed ones. A room that is no space has none, whatever
/// its state says.
pub async fn space_children(room: &Room) -> Result<Vec<SpaceChild>, DbError> {
    let view = room.view();
    if !view.is_space() {
        return Ok(Vec::new());
    }
    let entries: Vec<_> = view.state.of_type("m.space.child").map(Arc::clone).collect();
    let mut children = Vec::with_capacity(entries.len());
    for event in timeline::state_events(room, &entries).await? {
        let pdu = &event.pdu;
        let mut json = client::stripped_json(pdu);
        json.truncate(json.len().saturating_sub(1));
        json.push_str(&format!(",\"origin_server_ts\":{}}}", pdu.origin_server_ts()));
        children.extend(child(pdu.state_key(), pdu.content(), pdu.origin_server_ts(), json));
    }
    Ok(in_order(children))
}

/// A room's children in order, from the type and the events that another server sent: none unless the room is a space.
/// Malformed events are left out.
#[must_use]
pub fn told_children(room_type: Option<&str>, events: Vec<Object>) -> Vec<SpaceChild> {
    if room_type != Some(SPACE) {
        return Vec::new();
    }
    let children = events.into_iter().filter_map(|mut event| {
        event.retain(|name, _| matches!(name, "content" | "origin_server_ts" | "sender" | "state_key" | "type"));
        let ts = event.get("origin_server_ts").and_then(Value::as_u64)?;
        let is_one = event.get_str("type") == Some("m.space.child") && event.get_str("sender").is_some();
        child(event.get_str("state_key").filter(|_| is_one), event.get_object("content")?, ts, event.to_json())
    });
    in_order(children.collect())
}

/// What children are ordered by: whether they have no `order`, that, when the event was sent, the room's id.
type Place = (bool, Option<String>, u64, RoomId);

fn child(state_key: Option<&str>, content: &Object, ts: u64, json: String) -> Option<(Place, SpaceChild)> {
    let via: Option<Vec<&str>> = content.get_array("via")?.iter().map(Value::as_str).collect();
    let via = via.filter(|via| !via.is_empty())?.into_iter().filter_map(|server| server.try_into().ok()).collect();
    let room_id = RoomId::try_from(state_key?).ok()?;
    let order = content.get_str("order").filter(|order| is_order(order)).map(str::to_owned);
    let suggested = content.get_bool("suggested") == Some(true);
    Some(((order.is_none(), order, ts, room_id.clone()), SpaceChild { room_id, suggested, via, json }))
}

fn in_order(mut children: Vec<(Place, SpaceChild)>) -> Vec<SpaceChild> {
    children.sort_by(|a, b| a.0.cmp(&b.0));
    children.into_iter().map(|(_, child)| child).collect()
}

fn is_order(order: &str) -> bool {
    order.len() <= 50 && order.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}
