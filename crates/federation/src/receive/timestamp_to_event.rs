//! Finds the event nearest to a time, also where this server does not have that part of the room's history
//! (<https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>).

use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::membership::Membership;
use plexus_rooms::model::direction::Direction;
use plexus_rooms::model::room::Room;
use plexus_rooms::model::room_view::RoomView;
use plexus_rooms::model::timeline_event::TimelineEvent;
use plexus_rooms::read::timeline;
use plexus_rooms::write::backfill::BackfillOutcome;
use plexus_store::Database;

use super::backfill::{oldest_events, servers_to_ask};
use super::{PduReceiver, ReceiveError, lookup};
use crate::peers::NearestEvent;

/// How many times 100 past events are fetched to reach the event.
const MAX_PAGES: usize = 10;
/// How long all requests to other servers may take together.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(20);

/// A user's request for the event nearest to a time.
#[derive(Clone, Copy)]
struct TimeQuery<'w> {
    user: &'w UserId,
    /// Unix ms.
    ts: u64,
    direction: Direction,
}

impl TimeQuery<'_> {
    /// Whether an event at `ts` is in the right direction, and nearer than one at `than`.
    fn is_nearer(&self, ts: u64, than: Option<u64>) -> bool {
        match self.direction {
            Direction::Forward => ts >= self.ts && than.is_none_or(|than| ts < than),
            Direction::Backward => ts <= self.ts && than.is_none_or(|than| ts > than),
        }
    }
}

impl PduReceiver {
    /// Returns the event nearest to a time (Unix ms), if `user` may see it. Other servers are asked if the time is
    /// before the events that this server has.
    ///
    /// # Errors
    /// When the database fails.
    #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
    pub async fn timestamp_to_event(
        &self,
        room: &Arc<Room>,
        user: &UserId,
        ts: u64,
        direction: Direction,
    ) -> Result<Option<NearestEvent>, ReceiveError> {
        let query = TimeQuery { user, ts, direction };
        let here = timeline::event_near(room, ts, direction).await?;
        if !is_conclusive(&self.db, room, query, here.as_deref()).await? {
            let request = ask_other_servers(self, room, query, here.as_deref());
            if let Ok(found) = tokio::time::timeout(REMOTE_TIMEOUT, request).await
                && let Some(found) = found?
            {
                return Ok(Some(found));
            }
        }
        if_visible(room, user, here).await
    }
}

/// Whether no event can be nearer than `here`, which is so unless the history before the oldest events is missing and
/// may have a nearer one.
async fn is_conclusive(
    db: &Database,
    room: &Room,
    query: TimeQuery<'_>,
    here: Option<&TimelineEvent>,
) -> Result<bool, ReceiveError> {
    let is_beyond_the_past = match (query.direction, here) {
        (Direction::Backward, Some(_)) | (Direction::Forward, None) => true,
        (Direction::Forward, Some(event)) if event.pdu.origin_server_ts() == query.ts => true,
        (Direction::Forward, Some(_)) => timeline::event_near(room, query.ts, Direction::Backward).await?.is_some(),
        (Direction::Backward, None) => false,
    };
    // Other servers refuse a server that is not in the room.
    if is_beyond_the_past || room.view().local_joined.is_empty() {
        return Ok(true);
    }
    let oldest = oldest_events(db, room).await?;
    Ok(lookup::unknown_prev_events(db, room.nid, &oldest).await?.is_empty())
}

async fn ask_other_servers(
    receiver: &PduReceiver,
    room: &Arc<Room>,
    query: TimeQuery<'_>,
    here: Option<&TimelineEvent>,
) -> Result<Option<NearestEvent>, ReceiveError> {
    let known = here.map(|event| event.pdu.origin_server_ts());
    for server in servers_to_ask(&receiver.rooms, room, &oldest_events(&receiver.db, room).await?) {
        match receiver.peers.timestamp_to_event(&server, &room.id, query.ts, query.direction).await {
            Ok(near) if query.is_nearer(near.origin_server_ts, known) => {
                if let Some(found) = fetch_near(receiver, room, query, &server, near, known).await? {
                    return Ok(Some(found));
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(room = %room.id, "{server} has no event near a time: {error}"),
        }
    }
    Ok(None)
}

/// Fetches past events until the event that a server returned is here, since the client will request the events around
/// it. An event that is too far back is only verified.
async fn fetch_near(
    receiver: &PduReceiver,
    room: &Arc<Room>,
    query: TimeQuery<'_>,
    server: &ServerName,
    near: NearestEvent,
    known: Option<u64>,
) -> Result<Option<NearestEvent>, ReceiveError> {
    for _ in 0..MAX_PAGES {
        if timeline::event(room, &near.event_id).await?.is_some() {
            break;
        }
        if receiver.backfill(room).await? != BackfillOutcome::Added {
            break;
        }
    }
    if timeline::event(room, &near.event_id).await?.is_some() {
        let nearest = timeline::event_near(room, query.ts, query.direction).await?;
        return if_visible(room, query.user, nearest).await;
    }
    if !may_see_earlier_history(&room.view(), query.user) {
        return Ok(None);
    }
    let Ok(raw) = receiver.peers.event(server, &near.event_id).await else { return Ok(None) };
    let opened = receiver
        .verifier
        .parse_and_verify(room, vec![raw])
        .await
        .into_iter()
        .find(|pdu| *pdu.event_id() == near.event_id);
    let ts = opened.map(|pdu| pdu.origin_server_ts()).filter(|ts| query.is_nearer(*ts, known));
    Ok(ts.map(|origin_server_ts| NearestEvent { origin_server_ts, ..near }))
}

/// Returns the event if the user may see it.
async fn if_visible(
    room: &Room,
    user: &UserId,
    event: Option<Arc<TimelineEvent>>,
) -> Result<Option<NearestEvent>, ReceiveError> {
    let visible = timeline::visible(user, room, event.into_iter().collect()).await?.pop();
    Ok(visible.map(|visible| {
        let pdu = &visible.event.pdu;
        NearestEvent { event_id: pdu.event_id().clone(), origin_server_ts: pdu.origin_server_ts() }
    }))
}

/// Whether the user may see events from before this server joined the room.
fn may_see_earlier_history(view: &RoomView, user: &UserId) -> bool {
    let visibility = view.content_str("m.room.history_visibility", "history_visibility").unwrap_or("shared");
    view.state.membership(user.as_str()) == Some(Membership::Join) && matches!(visibility, "shared" | "world_readable")
}
