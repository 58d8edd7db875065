//! Member events whose JSON cannot be read.

use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::membership::Membership;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::events;
use plexus_store::{DbError, EventNid, Tx, event_key};

use super::bad_event;
use crate::model::timeline_event::TimelineEvent;

/// Returns a redacted member event, made from its row and from the membership in the current state; `None` if there is
/// no row. The authorization of later events depends on it, so that its user can leave. It is neither stored nor sent
/// to other servers.
pub(super) fn member(
    tx: &mut Tx<'_>,
    version: RoomVersion,
    nid: EventNid,
    user: &str,
    membership: Membership,
) -> Result<Option<Arc<TimelineEvent>>, DbError> {
    let Some(row) = events::outline(tx, nid)? else { return Ok(None) };
    let event = Object::from([
        ("auth_events", Value::Array(Vec::new())),
        ("content", Object::from([("membership", membership.as_str())]).into()),
        ("depth", row.depth.max(0).into()),
        ("origin_server_ts", row.origin_server_ts.max(0).into()),
        ("prev_events", Value::Array(Vec::new())),
        ("room_id", row.room_id.into()),
        ("sender", row.sender.into()),
        ("state_key", user.into()),
        ("type", "m.room.member".into()),
    ]);
    let event_id = event_key::decode(&row.event_id, version).map_err(|error| bad_event(nid, error))?;
    let pdu = Pdu::from_stored(&event.to_json(), event_id, version).map_err(|error| bad_event(nid, error))?;
    Ok(Some(Arc::new(TimelineEvent::new(nid, row.position.unwrap_or(0), pdu, None, None))))
}
