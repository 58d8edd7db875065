//! Received events that could not be placed are set aside and tried again, later and later: what they rest on may come,
//! the server that has it may be reached again, or be asked for one more state. Meanwhile they keep nobody waiting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plexus_store::repo::received::Staged;
use plexus_store::{DbError, RoomNid, repo};
use tokio::sync::Notify;

use super::Inbox;
use super::lanes::name_of;
use crate::receive::ReceiveError;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// How long to wait, in seconds, after each time that an event could not be placed. Afterwards it is given up; it is
/// fetched again when an event comes that follows it.
const PAUSES: [u64; 10] =
    [10, MINUTE, 5 * MINUTE, 20 * MINUTE, HOUR, 3 * HOUR, 8 * HOUR, 24 * HOUR, 48 * HOUR, 72 * HOUR];
/// How many events of one server are set aside. There is no room for more on the disk; they are given up at once.
const MAX_SET_ASIDE: u32 = 2_000;
/// After how long a room is looked at again whose events waited because the database failed.
const STALLED_PAUSE: Duration = Duration::from_secs(30);

/// What is tried again. Owned by the inbox's lanes.
#[derive(Default)]
pub(super) struct Retries {
    /// Rooms where the database failed.
    stalled: Mutex<BTreeSet<RoomNid>>,
    /// Notified when there is more.
    more: Notify,
}

impl Inbox {
    /// Tries again what could not be placed, without end.
    pub async fn run_retries(self: Arc<Self>) {
        let clock = &self.receiver.writer.clock;
        let db = &self.receiver.writer.db;
        // When stalled rooms are looked at: a pause after the first of them, however often something is set aside.
        let mut wake_at: Option<Duration> = None;
        loop {
            let more = self.lanes.retries.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            let now_ms = clock.now_ms();
            let due = match db.write(move |tx| take_up(tx, now_ms)).await {
                Ok((rooms, next)) => {
                    rooms.into_iter().for_each(|room| self.wake(room, None));
                    next.map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms).max(1)))
                }
                Err(DbError::Closed) => return,
                Err(error) => {
                    tracing::warn!("events that could not be placed wait longer: {error}");
                    Some(STALLED_PAUSE)
                }
            };
            let now = clock.monotonic();
            if wake_at.is_some_and(|at| at <= now) {
                wake_at = None;
                let stalled = std::mem::take(&mut *self.lanes.retries.stalled.lock());
                stalled.into_iter().for_each(|room| self.wake(room, None));
            } else if wake_at.is_none() && !self.lanes.retries.stalled.lock().is_empty() {
                wake_at = Some(now + STALLED_PAUSE);
            }
            let pause = due.into_iter().chain(wake_at.map(|at| at.saturating_sub(now))).min();
            let slept = async {
                match pause {
                    Some(pause) => clock.sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = more => {}
                () = slept => {}
            }
        }
    }

    /// Has a room looked at again in which staged events cannot be placed because the database fails.
    pub(super) fn stalls(&self, room: RoomNid, why: &ReceiveError) {
        tracing::warn!(room, "staged events wait for {} s: {why}", STALLED_PAUSE.as_secs());
        self.lanes.retries.stalled.lock().insert(room);
        self.lanes.retries.more.notify_one();
    }

    /// Sets a staged event aside that could not be placed; forgets it when that has been so too often.
    pub(super) async fn set_aside(&self, room: RoomNid, event: &Staged, why: &ReceiveError) -> Result<(), DbError> {
        let rooms = &self.receiver.rooms;
        let (nid, origin) = (event.staged_nid, event.origin.clone());
        let counts = rooms.db.read(move |tx| repo::received::failures(tx, nid, &origin, MAX_SET_ASIDE)).await?;
        let (failures, others) = counts;
        let pause = usize::try_from(failures).ok().and_then(|failures| PAUSES.get(failures));
        let (id, origin) = (name_of(&event.event_id), &event.origin);
        let Some(pause) = pause.filter(|_| others < MAX_SET_ASIDE) else {
            tracing::warn!(
                room,
                event = id,
                origin,
                failures,
                "a received event cannot be placed and is given up: {why}"
            );
            return self.done(std::slice::from_ref(event)).await;
        };
        let retry_ms = rooms.clock.now_ms().saturating_add(pause * 1_000);
        rooms.db.write(move |tx| repo::received::set_aside(tx, nid, retry_ms)).await?;
        if why.is_of_one() {
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
        self.lanes.retries.more.notify_one();
        Ok(())
    }
}

/// The rooms of the events that are to be tried again by `now_ms`, and when the next ones are.
fn take_up(tx: &mut plexus_store::Tx<'_>, now_ms: u64) -> Result<(Vec<RoomNid>, Option<u64>), DbError> {
    // Nothing is written while nothing is due.
    match repo::received::next_retry(tx)? {
        Some(at_ms) if at_ms <= now_ms => {}
        next => return Ok((Vec::new(), next)),
    }
    let rooms = repo::received::take_up(tx, now_ms)?;
    Ok((rooms, repo::received::next_retry(tx)?))
}
