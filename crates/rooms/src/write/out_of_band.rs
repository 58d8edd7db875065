//! Out-of-band memberships: invites and knocks of local users in rooms that this server is not in. The current state of
//! such a room contains only the member events of local users.

use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::RoomId;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::events::Verdict;
use plexus_store::repo::rooms::RoomRow;
use plexus_store::repo::state_snapshots::SnapshotRef;
use plexus_store::{DbError, repo};

use crate::model::current_state::{self, StateChange};
use crate::model::event_lookup;
use crate::model::room::Room;
use crate::model::state_map::{StateEntry, shared_type};
use crate::model::timeline_event::TimelineEvent;
use crate::write::error::AddError;
use crate::write::head_lock;
use crate::write::pending::{Append, JudgedEvent, PendingEvent};
use crate::write::writer::RoomWriter;

/// Returns the room with an id, and stores it first if it is not known. A room without events gets the given version.
///
/// # Errors
/// When the database fails.
pub async fn known_or_new(writer: &RoomWriter, id: &RoomId, version: RoomVersion) -> Result<Arc<Room>, DbError> {
    if let Some(room) = writer.rooms.get(id).await? {
        if room.version == version || !room.view().tip.extremities.is_empty() {
            return Ok(room);
        }
        // An earlier invite named the wrong version.
        let nid = room.nid;
        writer.db.write(move |tx| repo::rooms::set_version(tx, nid, version.as_str())).await?;
        return must_be_there(writer, id).await;
    }
    let row = RoomRow {
        room_nid: writer.nids.take(1).await?,
        room_id: id.as_str().to_owned(),
        room_version: version.as_str().to_owned(),
        revision: 0,
        extremities: Vec::new(),
        depth: 0,
        snapshot_nid: SnapshotRef::EMPTY.nid,
        position: 0,
        published: false,
    };
    writer.db.write(move |tx| repo::rooms::insert(tx, &row)).await?;
    must_be_there(writer, id).await
}

async fn must_be_there(writer: &RoomWriter, id: &RoomId) -> Result<Arc<Room>, DbError> {
    writer.rooms.get(id).await?.ok_or_else(|| DbError::bad_data(format!("rooms, room_id {id}"), "the room is missing"))
}

/// Sets the membership of a local user by an event that is not added to the room's graph.
///
/// # Errors
/// See [`AddError`].
pub async fn set_membership(writer: &RoomWriter, room: &Arc<Room>, pdu: &Pdu) -> Result<(), AddError> {
    let Some(state_key) = pdu.state_key() else { return Err(AddError::MissingEvents) };
    let _one_at_a_time = room.adding.lock().await;
    let known = event_lookup::known(&writer.db, std::slice::from_ref(pdu.event_id())).await?;
    let known = known.get(pdu.event_id());
    let mut head = head_lock::settled_head(writer, room).await?;
    let nid = match known {
        Some(known) => known.event_nid,
        None => writer.nids.take(2).await?,
    };
    let event = Arc::new(TimelineEvent::new(nid, 0, pdu.clone(), None, None));
    let event_type = shared_type(&head.current.state, pdu.event_type());
    let entry = Arc::new(StateEntry::of(event_type, state_key.into(), &event));
    let replaced = head.current.state.get(pdu.event_type(), state_key).map(|entry| entry.nid);
    let change = StateChange::set(entry, replaced);
    let server_name = writer.server_name.as_str();
    let mut next = head.clone();
    next.current = Arc::new(current_state::with_changes(&head.current, [&change], room.version, server_name));
    let judged = JudgedEvent::new(nid, pdu.clone(), known.is_some(), Verdict::Accepted)?;
    let pending = PendingEvent { changes: vec![change], _kept: Some(event), ..PendingEvent::new(judged, &next) };
    let permit = writer.persister.reserve().await?;
    let epoch = head.epoch;
    *head = next;
    let events = vec![pending];
    let append = Append { room: Arc::clone(room), epoch, events, creation: None, entered: None };
    let committed = permit.send(append);
    drop(head);
    committed.await.map_err(|_| DbError::Closed)??;
    Ok(())
}
