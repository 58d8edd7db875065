//! Looks up events by id.

use std::collections::HashMap;
use std::sync::Arc;

use plexus_protocol::id::EventId;
use plexus_store::repo::events::GraphNode;
use plexus_store::{Database, DbError, event_key, repo};

use crate::model::room::Room;
use crate::model::stored_events;
use crate::model::timeline_event::TimelineEvent;

/// Returns the events that are stored, with outliers and rejected events.
pub async fn known(db: &Database, ids: &[EventId]) -> Result<HashMap<EventId, GraphNode>, DbError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: Vec<Vec<u8>> = ids.iter().map(event_key::encode).collect();
    let wanted = keys.clone();
    let rows = db.read(move |tx| repo::events::known(tx, &wanted)).await?;
    let mut rows: HashMap<Vec<u8>, GraphNode> = rows.into_iter().map(|row| (row.event_id.clone(), row)).collect();
    Ok(ids.iter().zip(keys).filter_map(|(id, key)| Some((id.clone(), rows.remove(&key)?))).collect())
}

/// Returns an event of the room by id. Its position is 0 when it is not in the timeline.
pub(crate) async fn event_of_room(room: &Room, event_id: &EventId) -> Result<Option<Arc<TimelineEvent>>, DbError> {
    if let Some(event) = room.view().recent.iter().find(|event| event.pdu.event_id() == event_id) {
        return Ok(Some(Arc::clone(event)));
    }
    let (key, nid, version) = (event_key::encode(event_id), room.nid, room.version);
    let found = room
        .db
        .read(move |tx| match repo::events::find(tx, &key)? {
            Some(place) if place.room_nid == nid => Ok(stored_events::by_nids(tx, version, &[place.event_nid])?.pop()),
            _ => Ok::<_, DbError>(None),
        })
        .await?;
    Ok(found.filter(|event| event.pdu.event_id() == event_id))
}
