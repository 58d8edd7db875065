//! Which thread an event belongs to (client-server API, "Threaded read receipts").

use plexus_protocol::event::relation::relates_to;
use plexus_protocol::id::EventId;
use plexus_store::{DbError, event_key, repo};

use crate::model::event_lookup;
use crate::model::room::Room;

/// `thread_id` of receipts for the main timeline.
pub const MAIN_THREAD: &str = "main";

/// How many relations are followed from an event towards the root of its thread: a reaction to an edit of a reply takes
/// three. Synapse follows as many.
const MAX_CLIMB: usize = 4;

/// Whether a receipt for an event may name this thread. The root of a thread, and what relates to the root otherwise
/// than by `m.thread`, belong to that thread and to the main timeline. An event that is not known here, or has been
/// redacted, belongs to the main timeline alone.
///
/// # Errors
/// Of the database.
pub async fn is_in_thread(room: &Room, event_id: &EventId, thread: &str) -> Result<bool, DbError> {
    let mut top = event_id.clone();
    for _ in 0..MAX_CLIMB {
        let Some(event) = event_lookup::known_event(room, &top).await? else { break };
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
