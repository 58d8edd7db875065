//! Room summaries, and the hierarchy of spaces (<https://spec.matrix.org/v1.19/client-server-api/#spaces>).

use std::sync::Arc;

use plexus_protocol::event::client;
use plexus_protocol::id::{RoomId, ServerName, UserId};
use plexus_protocol::join_rule::JoinRule;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::membership::Membership;
use plexus_protocol::visibility::HistoryVisibility;
use plexus_store::repo::rooms::Network;
use plexus_store::{DbError, RoomNid, repo};
use serde::Serialize;

use crate::model::current_state::SPACE;
use crate::model::memberships::UserRooms;
use crate::model::room::Room;
use crate::model::room_summary::RoomSummary;
use crate::model::room_view::RoomView;
use crate::model::rooms::Rooms;
use crate::read::timeline;

/// The type of allow rule that this server supports.
const MEMBERSHIP_RULE: &str = "m.room_membership";

/// A room summary with the fields that the room directory does not have.
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
    /// The rooms whose members may join a restricted room.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_room_ids: Vec<String>,
}

impl SummaryDetails {
    /// Returns the summary of a room as it is now, with its details.
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

/// Returns the JSON of a room's summary with `children_state`, for hierarchies.
///
/// # Errors
/// When the summary cannot be written as JSON.
pub fn with_children(room: &Room, children: &[SpaceChild]) -> Result<String, serde_json::Error> {
    let mut out = serde_json::to_string(&SummaryDetails::of(room))?;
    out.truncate(out.len().saturating_sub(1));
    let children: Vec<&str> = children.iter().map(|child| child.json.as_str()).collect();
    out.push_str(&format!(",\"children_state\":[{}]}}", children.join(",")));
    Ok(out)
}

/// Returns the rooms whose members may join a restricted room.
pub fn allowed_rooms(view: &RoomView) -> Vec<RoomId> {
    allow_rules(view)
        .filter(|rule| rule.get_str("type") == Some(MEMBERSHIP_RULE))
        .filter_map(|rule| rule.get_str("room_id")?.try_into().ok())
        .collect()
}

/// Whether a restricted room has allow rules of a type that this server does not support.
pub fn has_unknown_allow_rules(view: &RoomView) -> bool {
    allow_rules(view).any(|rule| rule.get_str("type").is_some_and(|of_type| of_type != MEMBERSHIP_RULE))
}

/// Returns the `allow` list of a restricted room
/// (<https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms>).
fn allow_rules(view: &RoomView) -> impl Iterator<Item = &Object> {
    let is_restricted = matches!(view.join_rule, JoinRule::Restricted | JoinRule::KnockRestricted);
    let rules = view.event_in_memory("m.room.join_rules", "").filter(|_| is_restricted);
    rules.and_then(|pdu| pdu.content().get_array("allow")).into_iter().flatten().filter_map(Value::as_object)
}

/// The networks whose rooms are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DirectoryNetworks {
    /// The rooms that are under no network.
    #[default]
    None,
    /// All rooms.
    All,
    /// The rooms that an application service lists under one of its networks.
    One(Network),
}

/// Returns the published rooms of some networks that have members, those with the most members first.
///
/// # Errors
/// When the database fails.
pub async fn published_rooms(rooms: &Rooms, networks: DirectoryNetworks) -> Result<Vec<RoomSummary>, DbError> {
    let published = match networks {
        DirectoryNetworks::None => rooms.db.read(repo::rooms::published).await?,
        DirectoryNetworks::All => rooms.db.read(repo::rooms::published_anywhere).await?,
        DirectoryNetworks::One(network) => rooms.db.read(move |tx| repo::rooms::published_in(tx, &network)).await?,
    };
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

/// Whether the user may see the room's summary: members, invited users and members of allowed rooms may, and everybody
/// if the room can be joined or read without an invite
/// (<https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>). `None` stands for
/// an unauthenticated user.
///
/// # Errors
/// When the database fails.
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

/// Whether a user with these memberships is joined to one of the rooms.
///
/// # Errors
/// When the database fails.
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
    /// The child room.
    pub room_id: RoomId,
    /// Whether the space suggests it.
    pub suggested: bool,
    /// Servers through which it can be joined.
    pub via: Vec<ServerName>,
    /// The JSON of the event for `children_state`: stripped, with `origin_server_ts`.
    pub json: String,
}

/// Returns the children of a space in order
/// (<https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space>). A child event without
/// `via` is a removed child. A room that is not a space has no children.
///
/// # Errors
/// When the database fails.
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

/// Returns the children of a space in order, from the room's type and the events that another server sent. A room that
/// is not a space has no children. Malformed events are left out.
#[must_use]
pub fn parse_children(room_type: Option<&str>, events: Vec<Object>) -> Vec<SpaceChild> {
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

/// The sort key of a child: whether it has no `order`, the `order`, the time of the event, the room's id.
type ChildOrder = (bool, Option<String>, u64, RoomId);

fn child(state_key: Option<&str>, content: &Object, ts: u64, json: String) -> Option<(ChildOrder, SpaceChild)> {
    let via: Option<Vec<&str>> = content.get_array("via")?.iter().map(Value::as_str).collect();
    let via = via.filter(|via| !via.is_empty())?.into_iter().filter_map(|server| server.try_into().ok()).collect();
    let room_id = RoomId::try_from(state_key?).ok()?;
    let order = content.get_str("order").filter(|order| is_order(order)).map(str::to_owned);
    let suggested = content.get_bool("suggested") == Some(true);
    Some(((order.is_none(), order, ts, room_id.clone()), SpaceChild { room_id, suggested, via, json }))
}

fn in_order(mut children: Vec<(ChildOrder, SpaceChild)>) -> Vec<SpaceChild> {
    children.sort_by(|a, b| a.0.cmp(&b.0));
    children.into_iter().map(|(_, child)| child).collect()
}

fn is_order(order: &str) -> bool {
    order.len() <= 50 && order.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}
