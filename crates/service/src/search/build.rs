//! Indexing events that are older than the index.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plexus_protocol::json::{Object, Value};
use plexus_store::repo::{rooms, search_sources};
use plexus_store::{Database, DbError, Tx};

use super::index::{BUILD_TASK, SearchIndex};
use crate::tasks::{RunningTask, TaskHandler, TaskOutcome, TaskStopped};

/// How many event numbers are looked at before the progress is stored.
const NUMBERS_PER_STEP: i64 = 1_000;
/// How many events of a room are looked at before the progress is stored.
const ROOM_EVENTS_PER_STEP: u32 = 1_000;
/// The member of the progress: the events from this number, or in a room position, on are indexed.
const DOWN_TO: &str = "down_to";

/// Indexes the events of all rooms, or of the room that the task is about, newest first.
pub struct SearchIndexBuild {
    db: Database,
    /// `None` while no index is kept: then nothing is to be done.
    index: Option<Arc<SearchIndex>>,
}

/// Why a build ends early.
enum Ended {
    Stopped,
    Failed(DbError),
}

impl From<DbError> for Ended {
    fn from(error: DbError) -> Self {
        Self::Failed(error)
    }
}

impl From<TaskStopped> for Ended {
    fn from(TaskStopped: TaskStopped) -> Self {
        Self::Stopped
    }
}

impl SearchIndexBuild {
    /// Creates the handler.
    #[must_use]
    pub fn new(db: Database, index: Option<Arc<SearchIndex>>) -> Self {
        Self { db, index }
    }

    async fn build(&self, index: &SearchIndex, task: &mut RunningTask) -> Result<(), Ended> {
        let room = match task.resource_id.clone() {
            None => None,
            Some(id) => match self.db.read(move |tx| rooms::by_id(tx, &id)).await? {
                Some(room) => Some(room.room_nid),
                None => return Ok(()),
            },
        };
        let mut before = match task.progress.as_ref().and_then(|progress| progress.get_i64(DOWN_TO)) {
            Some(before) => before,
            None if room.is_some() => i64::MAX,
            None => self.db.read(search_sources::newest_event).await? + 1,
        };
        loop {
            let (events, down_to) = match room {
                None => {
                    let from = before - NUMBERS_PER_STEP;
                    (self.db.read(move |tx| search_sources::missing(tx, from, before)).await?, from)
                }
                Some(room) => {
                    let older =
                        move |tx: &mut Tx<'_>| search_sources::older_in_room(tx, room, before, ROOM_EVENTS_PER_STEP);
                    let older = self.db.read(older).await?;
                    let Some((down_to, _)) = older.last().copied() else { return Ok(()) };
                    (older.into_iter().map(|(_, event)| event).collect(), down_to)
                }
            };
            index.index(events).await?;
            before = down_to;
            if room.is_none() && before <= 0 {
                return Ok(());
            }
            task.store_progress(Object::from([(DOWN_TO, Value::from(before))])).await??;
        }
    }

    async fn outcome(&self, mut task: RunningTask) -> TaskOutcome {
        let Some(index) = &self.index else { return TaskOutcome::Complete(None) };
        match self.build(index, &mut task).await {
            Ok(()) => TaskOutcome::Complete(None),
            Err(Ended::Stopped) => TaskOutcome::Failed(TaskStopped.to_string()),
            Err(Ended::Failed(error)) => TaskOutcome::Retry(error.to_string()),
        }
    }
}

impl TaskHandler for SearchIndexBuild {
    fn kind(&self) -> &'static str {
        BUILD_TASK
    }

    fn max_running(&self) -> u32 {
        1
    }

    fn run(&self, task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(self.outcome(task))
    }
}
