//! Staged events: received, acknowledged, and not yet added to their rooms. An event that cannot be added is deferred
//! and tried again at growing intervals: events before it may arrive, or the server that has them may be reached again.
//! Meanwhile it delays no other event.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_protocol::event::Pdu;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::model::room::Room;
use plexus_store::repo::received::Staged;
use plexus_store::{Database, DbError, RoomNid, event_key, repo};
use tokio::sync::Notify;

use crate::receive::ReceiveError;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// The pauses, in seconds, after each failure to add an event. After the last one it is dropped; it is fetched again
/// when an event that follows it arrives.
const RETRY_PAUSES: [u64; 10] =
    [10, MINUTE, 5 * MINUTE, 20 * MINUTE, HOUR, 3 * HOUR, 8 * HOUR, 24 * HOUR, 48 * HOUR, 72 * HOUR];
/// How many deferred events of one server are kept. Further ones are dropped at once, to bound the space on disk.
const MAX_DEFERRED_PER_ORIGIN: u32 = 2_000;
/// How long the staged events of a room wait after the database failed.
const DATABASE_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// The staged events of all rooms. Owned by the inbox.
pub(super) struct StagedEvents {
    db: Database,
    clock: Clock,
    /// Rooms where the database failed.
    stalled: Mutex<BTreeSet<RoomNid>>,
    /// Notified when an event was deferred or a room stalled.
    more: Notify,
}

impl StagedEvents {
    pub(crate) fn new(db: Database, clock: Clock) -> Self {
        Self { db, clock, stalled: Mutex::default(), more: Notify::new() }
    }

    /// Calls `wake` for each room with events that are due, and waits until the next may be due.
    pub(crate) async fn next_due(
        &self,
        wake_at: &mut Option<Duration>,
        mut wake: impl FnMut(RoomNid),
    ) -> Result<(), DbError> {
        let more = self.more.notified();
        tokio::pin!(more);
        more.as_mut().enable();
        let now_ms = self.clock.now_ms();
        let due = match self.db.write(move |tx| take_due(tx, now_ms)).await {
            Ok((rooms, next)) => {
                rooms.into_iter().for_each(&mut wake);
                next.map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms).max(1)))
            }
            Err(DbError::Closed) => return Err(DbError::Closed),
            Err(error) => {
                tracing::warn!("deferred events cannot be retried now: {error}");
                Some(DATABASE_RETRY_INTERVAL)
            }
        };
        let now = self.clock.monotonic();
        if wake_at.is_some_and(|at| at <= now) {
            *wake_at = None;
            std::mem::take(&mut *self.stalled.lock()).into_iter().for_each(wake);
        } else if wake_at.is_none() && !self.stalled.lock().is_empty() {
            *wake_at = Some(now + DATABASE_RETRY_INTERVAL);
        }
        let pause = due.into_iter().chain(wake_at.map(|at| at.saturating_sub(now))).min();
        let slept = async {
            match pause {
                Some(pause) => self.clock.sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = more => {}
            () = slept => {}
        }
        Ok(())
    }

    /// Notes that the staged events of a room cannot be added because the database fails. The room is woken later.
    pub(crate) fn stall(&self, room: RoomNid, why: &ReceiveError) {
        tracing::warn!(room, "staged events are retried in {} s: {why}", DATABASE_RETRY_INTERVAL.as_secs());
        self.stalled.lock().insert(room);
        self.more.notify_one();
    }

    /// Defers a staged event that could not be added, or drops it after too many failures.
    pub(crate) async fn defer(&self, room: RoomNid, event: &Staged, why: &ReceiveError) -> Result<(), DbError> {
        let (nid, origin) = (event.staged_nid, event.origin.clone());
        let counts =
            self.db.read(move |tx| repo::received::failures(tx, nid, &origin, MAX_DEFERRED_PER_ORIGIN)).await?;
        let (failures, others) = counts;
        let pause = usize::try_from(failures).ok().and_then(|failures| RETRY_PAUSES.get(failures));
        let (id, origin) = (id_for_log(&event.event_id), &event.origin);
        let Some(pause) = pause.filter(|_| others < MAX_DEFERRED_PER_ORIGIN) else {
            tracing::warn!(
                room,
                event = id,
                origin,
                failures,
                "a received event cannot be added to its room and is dropped: {why}"
            );
            return self.unstage(std::slice::from_ref(event)).await;
        };
        let retry_ms = self.clock.now_ms().saturating_add(pause * 1_000);
        self.db.write(move |tx| repo::received::defer(tx, nid, retry_ms)).await?;
        if why.is_caused_by_event() {
            tracing::error!(
                room,
                event = id,
                staged_nid = nid,
                origin,
                "a received event is tried again in {pause} s: {why}"
            );
        } else {
            tracing::info!(room, event = id, origin, "a received event is tried again in {pause} s: {why}");
        }
        self.more.notify_one();
        Ok(())
    }

    /// Deletes staged events that have been added or refused.
    pub(crate) async fn unstage(&self, staged: &[Staged]) -> Result<(), DbError> {
        let nids: Vec<i64> = staged.iter().map(|event| event.staged_nid).collect();
        if nids.is_empty() { Ok(()) } else { self.db.write(move |tx| repo::received::unstage(tx, &nids)).await }
    }

    /// Returns the events that can be read, and defers the others.
    pub(crate) async fn readable(&self, room: RoomNid, staged: Vec<Staged>) -> Result<Vec<Staged>, DbError> {
        let mut readable = Vec::with_capacity(staged.len());
        for event in staged {
            match &event.json {
                Ok(_) => readable.push(event),
                Err(error) => {
                    let place = format!("staged_pdus, staged_nid {}", event.staged_nid);
                    self.defer(room, &event, &DbError::bad_data(place, error).into()).await?;
                }
            }
        }
        Ok(readable)
    }
}

/// Returns a stored event id for log messages; the room's version need not be known.
pub(super) fn id_for_log(stored: &[u8]) -> String {
    match event_key::decode(stored, RoomVersion::V12) {
        Ok(id) => id.to_string(),
        Err(_) => String::from_utf8_lossy(stored).into_owned(),
    }
}

/// Parses a staged event. Returns `None`, and logs it, if it cannot be read.
pub(super) fn parse(room: &Room, event: &Staged) -> Option<Pdu> {
    let place = format!("staged_pdus, staged_nid {}", event.staged_nid);
    let read = event_key::decode(&event.event_id, room.version)
        .map_err(|error| DbError::bad_data(&place, error))
        .and_then(|id| {
            let json = event.json.as_ref().map_err(|error| DbError::bad_data(&place, error))?;
            Pdu::from_stored(json, id, room.version).map_err(|error| DbError::bad_data(&place, error))
        });
    read.inspect_err(|error| tracing::error!(room = %room.id, "dropped: {error}")).ok()
}

/// Returns the rooms of the events that are due at `now_ms`, and the time at which the next are.
fn take_due(tx: &mut plexus_store::Tx<'_>, now_ms: u64) -> Result<(Vec<RoomNid>, Option<u64>), DbError> {
    // While nothing is due, nothing is written.
    match repo::received::next_retry(tx)? {
        Some(at_ms) if at_ms <= now_ms => {}
        next => return Ok((Vec::new(), next)),
    }
    let rooms = repo::received::take_due(tx, now_ms)?;
    Ok((rooms, repo::received::next_retry(tx)?))
}
