//! The scheduled tasks of messages that carry their own expiry (MSC2228).

use plexus_protocol::event::Pdu;
use plexus_protocol::json::{Object, Value};
use plexus_store::EventNid;
use plexus_store::repo::scheduled_tasks::{ScheduledTask, TaskStatus};

use crate::model::room::Room;

/// The kind of the scheduled tasks that delete the content.
pub const EXPIRY_TASK: &str = "expire_event";

/// The member of the content with the time of expiry, Unix ms.
const SELF_DESTRUCT_AFTER: &str = "org.matrix.self_destruct_after";
/// The parameter of the tasks.
pub(super) const EVENT_NID: &str = "event_nid";

/// Returns the task that deletes the content of a message, if that names a time. The content of a redaction is shown
/// with the event that it redacts, and stays.
pub(crate) fn task(room: &Room, nid: EventNid, pdu: &Pdu) -> Option<ScheduledTask> {
    if pdu.state_key().is_some() || pdu.event_type() == "m.room.redaction" {
        return None;
    }
    let due_ms = pdu.content().get(SELF_DESTRUCT_AFTER).and_then(Value::as_u64)?;
    Some(ScheduledTask {
        task_id: format!("{EXPIRY_TASK}_{nid}"),
        kind: EXPIRY_TASK.to_owned(),
        status: TaskStatus::Scheduled,
        timestamp_ms: due_ms.min(i64::MAX.unsigned_abs()),
        resource_id: Some(room.id.to_string()),
        parameters: Value::Object(Object::from([(EVENT_NID, nid)])).to_json(),
        result: None,
        error: None,
        attempts: 0,
    })
}
