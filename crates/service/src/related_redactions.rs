//! Redacting, together with an event, the events that relate to it
//! ([MSC3912](https://github.com/matrix-org/matrix-spec-proposals/pull/3912)). There may be many, so a scheduled task
//! does it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plexus_base::Clock;
use plexus_protocol::id::{EventId, RoomId, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_rooms::relations::{RelationFilter, related};
use plexus_rooms::timeline::Direction;
use plexus_rooms::{EventSender, NewEvent, PeerError, Room, Rooms, SendError};
use plexus_store::{Database, DbError, Position, repo};

use crate::tasks::{NewTask, RunningTask, TaskHandler, TaskOutcome, TaskScheduler};

/// The kind of the tasks.
const KIND: &str = "redact_related_events";
/// How many tasks run at the same time, each in a room of its own.
const MAX_RUNNING: u32 = 2;
/// The number of related events that are read at a time.
const EVENTS_PER_READ: usize = 100;
/// The most related events that are redacted for one request, the newest: what a busy event collects in years.
const MAX_RELATED: usize = 10_000;
/// The HTTP status of a server that is asked too often.
const TOO_MANY_REQUESTS: u16 = 429;
/// The lowest HTTP status of a server that fails.
const SERVER_ERROR: u16 = 500;
/// How many events an attempt may fail to redact before it ends: the others would hardly do better.
const MAX_FAILED: usize = 20;
/// The relation type that stands for all.
const ANY_REL_TYPE: &str = "*";

/// A redaction that the user has sent, and the relations whose events are to be redacted, too.
#[derive(Debug, Clone)]
pub struct RelatedRedaction {
    /// The room.
    pub room_id: RoomId,
    /// The user who redacts, a local user.
    pub sender: UserId,
    /// The event to which the others relate.
    pub event_id: EventId,
    /// The redaction of that event.
    pub redaction_id: EventId,
    /// The content of the redactions.
    pub content: Object,
    /// The relation types; `*` stands for all.
    pub rel_types: Vec<String>,
}

/// What a task redacts: its parameters.
struct Work {
    room_id: RoomId,
    sender: UserId,
    event_id: EventId,
    content: Object,
    rel_types: Vec<String>,
}

/// An attempt at a task.
struct Attempt<'a> {
    work: &'a Work,
    /// How many more events may be looked at.
    left: usize,
    /// Why events could not be redacted that another attempt may redact.
    failures: Vec<SendError>,
}

/// Schedules the redaction of related events.
#[derive(Clone)]
pub struct RelatedRedactions {
    db: Database,
    clock: Clock,
    tasks: Arc<TaskScheduler>,
    /// `msc3912_enabled`
    enabled: bool,
}

impl RelatedRedactions {
    /// Creates the service. `enabled`: whether clients may ask for it.
    #[must_use]
    pub fn new(db: Database, clock: Clock, tasks: Arc<TaskScheduler>, enabled: bool) -> Self {
        Self { db, clock, tasks, enabled }
    }

    /// Whether clients may ask for it.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Schedules the redaction of the events that relate to one, once for each redaction of that one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schedule(&self, redaction: RelatedRedaction) -> Result<(), DbError> {
        let RelatedRedaction { room_id, sender, event_id, redaction_id, content, rel_types } = redaction;
        let rel_types: Vec<Value> = rel_types.into_iter().map(|rel_type| Value::from(rel_type.as_str())).collect();
        let parameters = Object::from([
            ("sender", Value::from(sender.as_str())),
            ("event_id", Value::from(event_id.as_str())),
            ("content", Value::Object(content)),
            ("rel_types", Value::Array(rel_types)),
        ]);
        let due_ms = self.clock.now_ms();
        let task_id = format!("{KIND}_{redaction_id}");
        let task = NewTask { kind: KIND, due_ms, resource_id: Some(room_id.to_string()), parameters };
        let tasks = Arc::clone(&self.tasks);
        self.db.write(move |tx| tasks.schedule_once(tx, &task_id, task)).await
    }
}

/// Redacts related events.
pub struct RelatedRedactor {
    db: Database,
    rooms: Arc<Rooms>,
    sender: Arc<EventSender>,
}

impl RelatedRedactor {
    /// Creates the service.
    #[must_use]
    pub fn new(db: Database, rooms: Arc<Rooms>, sender: Arc<EventSender>) -> Self {
        Self { db, rooms, sender }
    }

    /// Whether a user may still redact the events of others: the task runs later than the request that was checked.
    async fn may_redact(&self, user: &UserId) -> Result<bool, DbError> {
        let user = user.to_string();
        let user = self.db.read(move |tx| repo::users::get(tx, &user)).await?;
        Ok(user.is_some_and(|user| !user.deactivated && !user.locked && !user.suspended && !user.shadow_banned))
    }

    /// Redacts the events, newest first. Those that the sender may not redact are left. Redacted events are not related
    /// any more: a second run goes on where the first ended.
    async fn redact(&self, work: &Work) -> Result<(), SendError> {
        let Some(room) = self.rooms.get(&work.room_id).await? else { return Ok(()) };
        if !self.may_redact(&work.sender).await? {
            return Ok(());
        }
        let any = work.rel_types.iter().any(|rel_type| rel_type == ANY_REL_TYPE);
        let rel_types = if any { vec![None] } else { work.rel_types.iter().cloned().map(Some).collect() };
        let mut attempt = Attempt { work, left: MAX_RELATED, failures: Vec::new() };
        for rel_type in rel_types {
            self.redact_of_type(&room, rel_type, &mut attempt).await?;
        }
        attempt.failures.pop().map_or(Ok(()), Err)
    }

    async fn redact_of_type(
        &self,
        room: &Room,
        rel_type: Option<String>,
        attempt: &mut Attempt<'_>,
    ) -> Result<(), SendError> {
        let mut upto = room.view().position;
        while attempt.left > 0 {
            let filter = RelationFilter { rel_type: rel_type.clone(), event_type: None, recurse: false };
            let limit = EVENTS_PER_READ.min(attempt.left);
            let (event_id, backward) = (&attempt.work.event_id, Direction::Backward);
            let page = related(room, event_id, filter, Position::MIN, upto, limit, backward).await?;
            for event in &page.events {
                match self.redact_one(attempt.work, event.pdu.event_id()).await {
                    Err(error) if attempt.failures.len() + 1 >= MAX_FAILED => return Err(error),
                    redacted => attempt.failures.extend(redacted.err()),
                }
                upto = event.position - 1;
            }
            attempt.left = attempt.left.saturating_sub(page.events.len());
            if !page.more || page.events.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Redacts an event, unless that is refused.
    ///
    /// # Errors
    /// When another attempt may succeed.
    async fn redact_one(&self, work: &Work, event_id: &EventId) -> Result<(), SendError> {
        let redacted = self.sender.send(NewEvent {
            room_id: work.room_id.clone(),
            sender: work.sender.clone(),
            event_type: "m.room.redaction".to_owned(),
            state_key: None,
            content: work.content.clone(),
            redacts: Some(event_id.clone()),
            origin_server_ts: None,
            transaction: None,
            sticky_duration_ms: None,
        });
        match redacted.await {
            Ok(_) => Ok(()),
            Err(error) if may_pass(&error) => Err(error),
            Err(error) => {
                let room = &work.room_id;
                tracing::debug!(%room, event = %event_id, "a related event is not redacted: {error}");
                Ok(())
            }
        }
    }
}

/// Whether another attempt may succeed.
fn may_pass(error: &SendError) -> bool {
    match error {
        SendError::Contended | SendError::StatePending(_) | SendError::Db(_) => true,
        SendError::Policy(error) => match &**error {
            PeerError::NotAllowed(_) => false,
            PeerError::Refused { status, .. } => *status == TOO_MANY_REQUESTS || *status >= SERVER_ERROR,
            PeerError::Unreachable(_) | PeerError::NoResponse(_) | PeerError::Malformed { .. } => true,
        },
        _ => false,
    }
}

impl TaskHandler for RelatedRedactor {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn max_running(&self) -> u32 {
        MAX_RUNNING
    }

    fn run(&self, task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            let Some(work) = parse(&task) else {
                return TaskOutcome::Failed("the parameters cannot be read".to_owned());
            };
            match self.redact(&work).await {
                Ok(()) => TaskOutcome::Complete(None),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}

fn parse(task: &RunningTask) -> Option<Work> {
    let parameters = &task.parameters;
    let rel_types = parameters.get_array("rel_types")?.iter().filter_map(Value::as_str).map(str::to_owned);
    Some(Work {
        room_id: task.resource_id.as_deref()?.parse().ok()?,
        sender: parameters.get_str("sender")?.parse().ok()?,
        event_id: parameters.get_str("event_id")?.parse().ok()?,
        content: parameters.get_object("content")?.clone(),
        rel_types: rel_types.collect(),
    })
}
