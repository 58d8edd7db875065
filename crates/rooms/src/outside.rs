//! Rooms this server is not in: it knows of them what came with invites and knocks, and the end of those. Their current state is
//! nothing but the member events of its users.

use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::RoomId;
use plexus_protocol::rules::RoomVersion;
use plexus_store::repo::events::Verdict;
use plexus_store::repo::rooms::RoomRow;
use plexus_store::repo::state_snapshots::SnapshotRef;
use plexus_store::{DbError, pdu_json, repo};

use crate::model::current_state;
use crate::model::current_state::StateChange;
use crate::model::registry::Rooms;
use crate::model::room::Room;
use crate::model::state_map::StateEntry;
use crate::model::timeline_event::TimelineEvent;
use crate::receive::ReceiveError;
use crate::write::build::known_type;
use crate::write::persist::{Append, PendingEvent, Sending};

impl Rooms {
    /// The room with an id, made known if it is not. A room of which nothing but its id and version is known takes the
    /// version given.
    pub(crate) async fn known_or_new(&self, id: &RoomId, version: RoomVersion) -> Result<Arc<Room>, DbError> {
        if let Some(room) = self.get(id).await? {
            if room.version == version || !room.view().tip.extremities.is_empty() {
                return Ok(room);
            }
            // Whoever invited named the wrong version.
            let nid = room.nid;
            self.db.write(move |tx| repo::rooms::set_version(tx, nid, version.as_str())).await?;
            self.shared.forget(nid);
            return self.must_be_there(id).await;
        }
        let row = RoomRow {
            room_nid: self.nids.take(1).await?,
            room_id: id.as_str().to_owned(),
            room_version: version.as_str().to_owned(),
            revision: 0,
            extremities: Vec::new(),
            depth: 0,
            snapshot_nid: SnapshotRef::EMPTY.nid,
            position: 0,
            published: false,
        };
        self.db.write(move |tx| repo::rooms::insert(tx, &row)).await?;
        self.must_be_there(id).await
    }

    async fn must_be_there(&self, id: &RoomId) -> Result<Arc<Room>, DbError> {
        self.get(id).await?.ok_or_else(|| DbError::bad_data(format!("rooms, room_id {id}"), "the room is gone"))
    }

    /// Sets the membership of one of our users in a room this server is not in, as an event says that is no part of the room's
    /// graph here.
    pub(crate) async fn set_from_outside(&self, room: &Arc<Room>, pdu: &Pdu) -> Result<(), ReceiveError> {
        let Some(state_key) = pdu.state_key() else { return Err(ReceiveError::MissingEvents) };
        let _one_at_a_time = room.intake.lock().await;
        let known = self.known(std::slice::from_ref(pdu.event_id())).await?;
        let known = known.get(pdu.event_id());
        let mut head = self.settled_head(room).await?;
        let nid = match known {
            Some(known) => known.event_nid,
            None => self.nids.take(2).await?,
        };
        let event = Arc::new(TimelineEvent::new(nid, 0, pdu.clone(), None, None));
        let event_type = known_type(&head.current.state, pdu.event_type());
        let entry = Arc::new(StateEntry::of(event_type, state_key.into(), &event));
        let replaced = head.current.state.get(pdu.event_type(), state_key).map(|entry| entry.nid);
        let change = StateChange::set(entry, replaced);
        let server_name = self.server_name.as_str();
        let mut next = head.clone();
        next.current = Arc::new(current_state::with_changes(&head.current, [&change], room.version, server_name));
        let pending = PendingEvent {
            nid,
            pdu: pdu.clone(),
            packed: pdu_json::pack(pdu.json()).map_err(DbError::from)?,
            stored: known.is_some(),
            in_timeline: false,
            verdict: Verdict::Accepted,
            snapshot_before: None,
            snapshots: Vec::new(),
            changes: vec![change],
            replaced: None,
            _kept: Some(event),
            transaction: None,
            redacted_by: None,
            redacts: None,
            tip: next.tip.clone(),
            current: Arc::clone(&next.current),
            sending: Sending::No,
            missing: None,
        };
        let permit = self.persister.reserve().await?;
        let epoch = head.epoch;
        *head = next;
        let events = vec![pending];
        let append = Append { room: Arc::clone(room), epoch, events, creation: None, entered: None };
        let committed = permit.send(append);
        drop(head);
        committed.await.map_err(|_| DbError::Closed)??;
        Ok(())
    }
}
