//! The event nearest to a time, also where this server does not have the room's past (client-server API,
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>).

use std::sync::Arc;
use std::time::Duration;

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::membership::Membership;
use plexus_rooms::model::direction::Direction;
use plexus_rooms::model::room::{Room, RoomView};
use plexus_rooms::model::timeline_event::TimelineEvent;
use plexus_rooms::read::timeline;
use plexus_rooms::write::past::Filled;
use plexus_store::Database;

use super::backfill::{oldest, ways_back};
use super::{PduReceiver, ReceiveError, lookup};
use crate::peers::NearestEvent;

/// How often the room is paged back, by 100 events each time, until the event is here.
const MAX_PAGES: usize = 10;
/// How long all other servers together may take: a user waits.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(20);

/// What is looked for.
#[derive(Clone, Copy)]
struct Wanted<'w> {
    user: &'w UserId,
    /// Unix ms.
    ts: u64,
    direction: Direction,
}

impl Wanted<'_> {
    /// Whether an event at `ts` is in the right direction, and nearer than one at `than`.
    fn is_nearer(&self, ts: u64, than: Option<u64>) -> bool {
        match self.direction {
            Direction::Forward => ts >= self.ts && than.is_none_or(|than| ts < than),
            Direction::Backward => ts <= self.ts && than.is_none_or(|than| ts > than),
        }
    }
}

impl PduReceiver {
    /// The event nearest to a time (Unix ms), if `user` may see it. Other servers are asked if the time lies before the
    /// events that this server has.
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
        let wanted = Wanted { user, ts, direction };
        let here = timeline::event_near(room, ts, direction).await?;
        if !is_conclusive(&self.writer.db, room, wanted, here.as_deref()).await? {
            let request = ask_other_servers(self, room, wanted, here.as_deref());
            if let Ok(found) = tokio::time::timeout(REMOTE_TIMEOUT, request).await
                && let Some(found) = found?
            {
                return Ok(Some(found));
            }
        }
        shown(room, user, here).await
    }
}

/// Whether there can be no nearer event than `here`. Nothing comes before the oldest event that is here once its
/// predecessors are; what is newer than that has come in order.
async fn is_conclusive(
    db: &Database,
    room: &Room,
    wanted: Wanted<'_>,
    here: Option<&TimelineEvent>,
) -> Result<bool, ReceiveError> {
    let is_beyond_the_past = match (wanted.direction, here) {
        (Direction::Backward, Some(_)) | (Direction::Forward, None) => true,
        (Direction::Forward, Some(event)) if event.pdu.origin_server_ts() == wanted.ts => true,
        (Direction::Forward, Some(_)) => timeline::event_near(room, wanted.ts, Direction::Backward).await?.is_some(),
        (Direction::Backward, None) => false,
    };
    // Other servers refuse a server that is not in the room.
    if is_beyond_the_past || room.view().local_joined.is_empty() {
        return Ok(true);
    }
    let oldest = oldest(db, room).await?;
    Ok(lookup::unknown_prev_events(db, room.nid, &oldest).await?.is_empty())
}

async fn ask_other_servers(
    receiver: &PduReceiver,
    room: &Arc<Room>,
    wanted: Wanted<'_>,
    here: Option<&TimelineEvent>,
) -> Result<Option<NearestEvent>, ReceiveError> {
    let known = here.map(|event| event.pdu.origin_server_ts());
    for server in ways_back(&receiver.rooms, room, &oldest(&receiver.writer.db, room).await?) {
        match receiver.peers.timestamp_to_event(&server, &room.id, wanted.ts, wanted.direction).await {
            Ok(near) if wanted.is_nearer(near.origin_server_ts, known) => {
                if let Some(found) = fetch_near(receiver, room, wanted, &server, near, known).await? {
                    return Ok(Some(found));
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(room = %room.id, "{server} has no event near a time: {error}"),
        }
    }
    Ok(None)
}

/// Pages back until the event that a server named is here: the client is about to ask for what is around it. An
/// event that lies too far back is checked and not kept.
async fn fetch_near(
    receiver: &PduReceiver,
    room: &Arc<Room>,
    wanted: Wanted<'_>,
    server: &ServerName,
    near: NearestEvent,
    known: Option<u64>,
) -> Result<Option<NearestEvent>, ReceiveError> {
    for _ in 0..MAX_PAGES {
        if timeline::event(room, &near.event_id).await?.is_some() {
            break;
        }
        if receiver.backfill(room).await? != Filled::Some {
            break;
        }
    }
    if timeline::event(room, &near.event_id).await?.is_some() {
        let nearest = timeline::event_near(room, wanted.ts, wanted.direction).await?;
        return shown(room, wanted.user, nearest).await;
    }
    if !shows_the_past(&room.view(), wanted.user) {
        return Ok(None);
    }
    let Ok(raw) = receiver.peers.event(server, &near.event_id).await else { return Ok(None) };
    let opened = receiver.verifier.open(room, vec![raw]).await.into_iter().find(|pdu| *pdu.event_id() == near.event_id);
    let ts = opened.map(|pdu| pdu.origin_server_ts()).filter(|ts| wanted.is_nearer(*ts, known));
    Ok(ts.map(|origin_server_ts| NearestEvent { origin_server_ts, ..near }))
}

/// The event, if the user may see it.
async fn shown(
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

/// Whether the user sees what was said before this server came into the room.
fn shows_the_past(view: &RoomView, user: &UserId) -> bool {
    let visibility = view.content_str("m.room.history_visibility", "history_visibility").unwrap_or("shared");
    view.state.membership(user.as_str()) == Some(Membership::Join) && matches!(visibility, "shared" | "world_readable")
}
