//! Timeline and state events as clients read them outside of /sync.

use std::sync::Arc;

use plexus_accounts::Requester;
use plexus_rooms::relations::bundle;
use plexus_rooms::timeline::{self, Access, VisibleEvent};
use plexus_rooms::{ClientFormat, Room, TimelineEvent};
use plexus_store::DbError;

/// Returns the format in which the requester reads events outside of /sync.
#[must_use]
pub fn client_format(requester: &Requester, now_ms: u64) -> ClientFormat<'_> {
    ClientFormat { user: &requester.user_id, device_id: requester.device_id.as_deref(), now_ms, room_id: true }
}

/// Appends a JSON array of timeline events with their aggregations.
///
/// # Errors
/// When the database fails.
pub async fn push_events(
    out: &mut String,
    room: &Room,
    format: &ClientFormat<'_>,
    events: &[VisibleEvent],
) -> Result<(), DbError> {
    let plain: Vec<Arc<TimelineEvent>> = events.iter().map(|visible| Arc::clone(&visible.event)).collect();
    let relations = bundle(room, format, &plain).await?;
    out.push('[');
    for (at, visible) in events.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let relations = relations.get(&visible.event.nid).map(String::as_str);
        visible.event.write_client(out, format, Some(visible.membership.as_str()), relations);
    }
    out.push(']');
    Ok(())
}

/// Appends one timeline event with its aggregations.
///
/// # Errors
/// When the database fails.
pub async fn push_event(
    out: &mut String,
    room: &Room,
    format: &ClientFormat<'_>,
    visible: &VisibleEvent,
) -> Result<(), DbError> {
    let relations = bundle(room, format, std::slice::from_ref(&visible.event)).await?;
    let relations = relations.get(&visible.event.nid).map(String::as_str);
    visible.event.write_client(out, format, Some(visible.membership.as_str()), relations);
    Ok(())
}

/// Appends a JSON array of the state events that the requester may see.
///
/// # Errors
/// When the database fails.
pub async fn push_state(
    out: &mut String,
    room: &Room,
    format: &ClientFormat<'_>,
    events: Vec<Arc<TimelineEvent>>,
) -> Result<(), DbError> {
    let events = timeline::state_for(format.user, room, events).await?;
    out.push('[');
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        event.write_client(out, format, None, None);
    }
    out.push(']');
    Ok(())
}

/// Returns the member events of the senders of `events`, for clients that load members lazily: the current ones, or
/// those of the time when the reader left.
///
/// # Errors
/// When the database fails.
pub async fn members_of_senders(
    room: &Room,
    access: Access,
    events: &[VisibleEvent],
) -> Result<Vec<Arc<TimelineEvent>>, DbError> {
    let mut senders: Vec<String> = events.iter().map(|visible| visible.event.pdu.sender().to_string()).collect();
    senders.sort_unstable();
    senders.dedup();
    timeline::members_at(room, access.upto(room.view().position), senders).await
}
