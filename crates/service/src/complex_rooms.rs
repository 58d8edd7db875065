//! Rooms of other servers that turn out to be too complex (`limit_remote_rooms`) when their state is complete.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plexus_base::Clock;
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::Object;
use plexus_rooms::{ComplexityTasks, MembershipChanger};
use plexus_store::{Database, DbError};

use crate::tasks::{NewTask, RunningTask, TaskHandler, TaskOutcome, TaskScheduler};

/// The kind of the tasks.
const KIND: &str = "leave_complex_room";
/// How many rooms are judged at the same time: most of them only wait.
const MAX_RUNNING: u32 = 4;
/// How long until a room is looked at again whose state is not complete.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Schedules the judgement of rooms.
pub struct ComplexRoomTasks {
    db: Database,
    clock: Clock,
    tasks: Arc<TaskScheduler>,
}

impl ComplexRoomTasks {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, clock: Clock, tasks: Arc<TaskScheduler>) -> Self {
        Self { db, clock, tasks }
    }
}

impl ComplexityTasks for ComplexRoomTasks {
    fn schedule<'a>(&'a self, room: &'a RoomId, user: &'a UserId) -> BoxFuture<'a, Result<(), DbError>> {
        Box::pin(async move {
            let (due_ms, parameters) = (self.clock.now_ms(), Object::from([("user_id", user.as_str())]));
            let task = NewTask { kind: KIND, due_ms, resource_id: Some(room.to_string()), parameters };
            let tasks = Arc::clone(&self.tasks);
            self.db.write(move |tx| tasks.schedule(tx, task).map(drop)).await
        })
    }
}

/// Has users leave rooms that are too complex.
pub struct ComplexRoomLeaver {
    members: Arc<MembershipChanger>,
}

impl ComplexRoomLeaver {
    /// Creates the service.
    #[must_use]
    pub fn new(members: Arc<MembershipChanger>) -> Self {
        Self { members }
    }
}

impl TaskHandler for ComplexRoomLeaver {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn max_running(&self) -> u32 {
        MAX_RUNNING
    }

    fn keeps_ended(&self) -> bool {
        false
    }

    fn run(&self, task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            let room = task.resource_id.as_deref().and_then(|room| room.parse::<RoomId>().ok());
            let user = task.parameters.get_str("user_id").and_then(|user| user.parse::<UserId>().ok());
            let (Some(room), Some(user)) = (room, user) else {
                return TaskOutcome::Failed("the parameters cannot be read".to_owned());
            };
            match self.members.leave_if_too_complex(&room, &user).await {
                Ok(true) => TaskOutcome::Complete(None),
                Ok(false) => TaskOutcome::Later(RETRY_INTERVAL),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}
