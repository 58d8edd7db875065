//! The thread of an event (<https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts>).

use plexus_protocol::event::relation::relates_to;
use plexus_protocol::id::EventId;
use plexus_store::{DbError, event_key, repo};

use crate::model::event_lookup;
use crate::model::room::Room;

/// `thread_id` of receipts for the main timeline.
pub const MAIN_THREAD: &str = "main";

/// The maximum number of relations between an event and the root of its thread, as in Synapse: a reaction to an edit of
/// a reply needs three.
const MAX_RELATIONS_TO_ROOT: usize = 4;

/// Whether a receipt for an event may name this thread. The root of a thread, and events that relate to the root other
/// than by `m.thread`, belong to the thread and to the main timeline. An unknown or redacted event belongs to the main
/// timeline only.
///
/// # Errors
/// When the database fails.
pub async fn is_in_thread(room: &Room, event_id: &EventId, thread: &str) -> Result<bool, DbError> {
    let mut top = event_id.clone();
    for _ in 0..MAX_RELATIONS_TO_ROOT {
        let Some(event) = event_lookup::event_of_room(room, &top).await? else { break };
        let relation = relates_to(event.pdu.content()).filter(|_| event.pdu.state_key().is_none());
        let Some((target, rel_type)) = relation else { break };
        if rel_type == "m.thread" {
            return Ok(target.as_str() == thread);
        }
        top = target;
    }
    if thread == MAIN_THREAD {
        return Ok(true);
    }
    if top.as_str() != thread {
        return Ok(false);
    }
    let (nid, root) = (room.nid, event_key::encode(&top));
    room.db.read(move |tx| repo::relations::is_thread_root(tx, nid, &root)).await
}
