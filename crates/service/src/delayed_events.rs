//! Delayed events ([MSC4140]): events that the server sends for users at a later time, unless they are cancelled first.
//!
//! A delayed event is a row of `delayed_events`, sent by a scheduled task of the same id. What can be done with it is
//! decided by the task: only while that is scheduled can the event be restarted or cancelled.
//!
//! - `error`: why one is not sent
//! - `sending`: sending them when they are due
//! - `overtaken`: cancelling state events whose state another user has set meanwhile
//!
//! [MSC4140]: https://github.com/matrix-org/matrix-spec-proposals/pull/4140

mod error;
mod overtaken;
mod sending;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::background::{catch_panic, panic_message};
use plexus_base::{Background, Clock, LimitExceeded};
use plexus_protocol::event::{MAX_FIELD, MAX_PDU};
use plexus_protocol::id::{RoomId, UserId};
use plexus_protocol::json::{Object, Value};
use plexus_protocol::membership::Membership;
use plexus_rooms::{Rooms, Transaction};
use plexus_store::repo::delayed_events::{self as repo, DelayRequest, DelayedEvent, Finalised};
use plexus_store::{Database, DbError, RoomNid, Tx};

use crate::RateLimits;
use crate::tasks::{NewTask, TaskScheduler, write_until_stored};

pub use error::{DelayedSendError, ErrorBody};
pub use overtaken::OvertakenStates;
pub use sending::DelayedEventSender;

/// How long sent and cancelled events are kept, as the proposal recommends.
const FINALISED_RETENTION: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How many sent and cancelled events of one user are kept: as many as are scheduled by default, since each may be as
/// large as an event.
const MAX_FINALISED_PER_USER: u32 = 100;
/// How long a request to send an event now waits for another of the room that is being sent.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// The most old events that are deleted when one is finalised.
const MAX_DELETED: u32 = 100;

/// The limits of delayed events.
#[derive(Debug, Clone, Copy)]
pub struct DelayedEventLimits {
    /// The longest delay; `None`: no delayed events are accepted.
    pub max_delay: Option<Duration>,
    /// The most events that a user may have scheduled.
    pub max_scheduled: u32,
}

impl DelayedEventLimits {
    /// Whether any delayed event is accepted.
    #[must_use]
    pub fn accepts_any(&self) -> bool {
        self.max_delay_ms().is_some()
    }

    /// Returns the longest delay in ms; `None`: no delayed events are accepted.
    #[must_use]
    pub fn max_delay_ms(&self) -> Option<u64> {
        let max_delay = self.max_delay.filter(|_| self.max_scheduled > 0)?;
        Some(u64::try_from(max_delay.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A request to send an event later.
#[derive(Debug)]
pub struct NewDelayedEvent {
    /// The user who sends it.
    pub sender: UserId,
    /// Whether the user's account is suspended: only a repeated request is accepted.
    pub is_suspended: bool,
    /// Whether the rate limits of users apply.
    pub is_rate_limited: bool,
    /// The name of the endpoint that was used, within which transaction ids are unique.
    pub endpoint: &'static str,
    /// How the user's device named the request.
    pub transaction: Option<Transaction>,
    /// The room.
    pub room_id: RoomId,
    /// The `type`.
    pub event_type: String,
    /// Makes it a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: Object,
    /// The delay in ms, more than 0.
    pub delay_ms: u64,
    /// Makes it sticky for so many ms once it is sent.
    pub sticky_duration_ms: Option<u64>,
}

/// Why something was not done with a delayed event.
#[derive(Debug, thiserror::Error)]
pub enum DelayedEventError {
    /// This server accepts no delayed events.
    #[error("Sending delayed events has been disallowed")]
    Disallowed,
    /// The delay is too long.
    #[error("The requested delay exceeds the allowed maximum of {max_delay_ms} ms")]
    DelayTooLong {
        /// The longest one.
        max_delay_ms: u64,
    },
    /// The user does too much, or has too many events scheduled.
    #[error(transparent)]
    Limited(#[from] LimitExceeded),
    /// The user is not in the room; whether there is one is not said.
    #[error("User not in room")]
    NotInRoom,
    /// Type, state key or content is longer than those of events may be.
    #[error("The event is too large")]
    TooLarge,
    /// The content cannot be that of an event.
    #[error("The content cannot be sent: {0}")]
    Content(String),
    /// There is no such delayed event.
    #[error("Delayed event not found")]
    NotFound,
    /// It has ended otherwise, or is being sent.
    #[error("The delayed event has been sent or cancelled already")]
    Conflict,
    /// It could not be sent now.
    #[error(transparent)]
    Send(#[from] DelayedSendError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Schedules and manages delayed events.
#[derive(Clone)]
pub struct DelayedEvents {
    db: Database,
    clock: Clock,
    rooms: Arc<Rooms>,
    background: Background,
    tasks: Arc<TaskScheduler>,
    rate_limits: Arc<RateLimits>,
    overtaken: Arc<OvertakenStates>,
    sender: Arc<DelayedEventSender>,
    limits: DelayedEventLimits,
}

/// The parts of [`DelayedEvents`].
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct DelayedEventsParts {
    pub db: Database,
    pub clock: Clock,
    pub rooms: Arc<Rooms>,
    pub background: Background,
    pub tasks: Arc<TaskScheduler>,
    pub rate_limits: Arc<RateLimits>,
    pub overtaken: Arc<OvertakenStates>,
    pub sender: Arc<DelayedEventSender>,
    pub limits: DelayedEventLimits,
}

/// What is to be done when an event is to be sent now.
enum SendNow {
    /// Its task was taken.
    Taken(Box<DelayedEvent>),
    /// It has been sent already.
    Sent,
    /// It cannot be taken while it is being sent, or another one of the room is.
    MustWait,
}

impl DelayedEvents {
    /// Creates the service.
    #[must_use]
    pub fn new(parts: DelayedEventsParts) -> Self {
        let DelayedEventsParts { db, clock, rooms, background, tasks, rate_limits, overtaken, sender, limits } = parts;
        Self { db, clock, rooms, background, tasks, rate_limits, overtaken, sender, limits }
    }

    /// Returns the limits of new delayed events.
    #[must_use]
    pub fn limits(&self) -> DelayedEventLimits {
        self.limits
    }

    /// Schedules an event; returns its delay id. Whether the user may send it is checked when it is sent. A repeated
    /// request returns the same id.
    ///
    /// # Errors
    /// See [`DelayedEventError`].
    pub async fn schedule(&self, event: NewDelayedEvent) -> Result<String, DelayedEventError> {
        let max_delay_ms = self.limits.max_delay_ms().ok_or(DelayedEventError::Disallowed)?;
        let NewDelayedEvent { sender, room_id, event_type, state_key, is_suspended, is_rate_limited, .. } = event;
        let NewDelayedEvent { delay_ms, sticky_duration_ms, .. } = event;
        let content = Value::Object(event.content);
        let request = event.transaction.map(|it| DelayRequest {
            device_id: it.device_id.to_string(),
            endpoint: event.endpoint.to_owned(),
            txn_id: it.txn_id.to_string(),
        });
        let row = DelayedEvent {
            delay_id: String::new(),
            user_id: sender.to_string(),
            request,
            room_id: room_id.to_string(),
            event_type,
            state_key,
            content: content.to_json(),
            delay_ms,
            sticky_duration_ms,
            delayed_since_ts: self.clock.now_ms(),
            finalised: None,
        };
        let again = row.clone();
        if let Some(delay_id) = self.db.read(move |tx| repo::of_request(tx, &again)).await? {
            return Ok(delay_id);
        }
        if is_suspended {
            return Err(DelayedSendError::Suspended.into());
        }
        if is_rate_limited {
            self.rate_limits.message.check(&sender)?;
        }
        if delay_ms > max_delay_ms {
            return Err(DelayedEventError::DelayTooLong { max_delay_ms });
        }
        let longest = row.event_type.len().max(row.state_key.as_ref().map_or(0, String::len));
        if longest > MAX_FIELD || row.content.len() > MAX_PDU {
            return Err(DelayedEventError::TooLarge);
        }
        let room = self.rooms.get(&room_id).await?.ok_or(DelayedEventError::NotInRoom)?;
        let memberships = self.rooms.memberships().of(&sender).await?;
        if memberships.get(room.nid).is_none_or(|membership| membership.kind != Membership::Join) {
            return Err(DelayedEventError::NotInRoom);
        }
        if room.version.rules().strict_canonical_json {
            content.to_canonical_json().map_err(|error| DelayedEventError::Content(error.to_string()))?;
        }
        self.store(row, room.nid).await
    }

    /// Stores a delayed event with its task, unless the user has too many.
    async fn store(&self, event: DelayedEvent, room: RoomNid) -> Result<String, DelayedEventError> {
        let (this, position) = (self.clone(), self.db.committed());
        self.db
            .write(move |tx| {
                if let Some(delay_id) = repo::of_request(tx, &event)? {
                    return Ok(delay_id);
                }
                this.check_count(tx, &event)?;
                let task = NewTask {
                    kind: sending::KIND,
                    due_ms: event.due_ms(),
                    resource_id: Some(event.room_id.clone()),
                    parameters: Object::new(),
                };
                let delay_id = this.tasks.schedule(tx, task)?;
                if let Some(state_key) = &event.state_key {
                    this.overtaken.watch(room, &event.event_type, state_key);
                }
                repo::insert(tx, &DelayedEvent { delay_id: delay_id.clone(), ..event }, position)?;
                Ok(delay_id)
            })
            .await
    }

    /// Fails when the user has as many events scheduled as is allowed.
    fn check_count(&self, tx: &mut Tx<'_>, event: &DelayedEvent) -> Result<(), DelayedEventError> {
        let due = repo::due_times(tx, &event.user_id)?;
        // There is room again when so many have been sent: more than one if the limit was lowered.
        let surplus = (due.len() + 1).saturating_sub(self.limits.max_scheduled as usize);
        let Some(free_at) = surplus.checked_sub(1).and_then(|last| due.get(last)) else { return Ok(()) };
        let wait_ms = free_at.saturating_sub(event.delayed_since_ts);
        Err(LimitExceeded { retry_after: Duration::from_millis(wait_ms) }.into())
    }

    /// Returns the user's scheduled events, the next to be sent first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn scheduled(&self, user: &UserId) -> Result<Vec<DelayedEvent>, DbError> {
        let user = user.to_string();
        self.db.read(move |tx| repo::scheduled(tx, &user)).await
    }

    /// Returns an event of the user's, scheduled or finalised.
    ///
    /// # Errors
    /// When there is none, or the database fails.
    pub async fn get(&self, user: &UserId, delay_id: String) -> Result<DelayedEvent, DelayedEventError> {
        let user = user.clone();
        self.db.read(move |tx| find(tx, &delay_id, Some(&user))).await
    }

    /// Starts the delay of an event again. With `owner` it must be that user's.
    ///
    /// # Errors
    /// See [`DelayedEventError`].
    pub async fn restart(&self, owner: Option<UserId>, delay_id: String) -> Result<(), DelayedEventError> {
        let (this, now_ms) = (self.clone(), self.clock.now_ms());
        self.db
            .write(move |tx| {
                let event = find(tx, &delay_id, owner.as_ref())?;
                if !this.tasks.reschedule(tx, &delay_id, now_ms.saturating_add(event.delay_ms))? {
                    return Err(DelayedEventError::Conflict);
                }
                Ok(repo::restart(tx, &delay_id, now_ms)?)
            })
            .await
    }

    /// Cancels an event. With `owner` it must be that user's.
    ///
    /// # Errors
    /// See [`DelayedEventError`].
    pub async fn cancel(&self, owner: Option<UserId>, delay_id: String) -> Result<(), DelayedEventError> {
        let (this, now_ms) = (self.clone(), self.clock.now_ms());
        self.db
            .write(move |tx| {
                let event = find(tx, &delay_id, owner.as_ref())?;
                match &event.finalised {
                    Some(end) if end.event_id.is_none() => Ok(()),
                    Some(_) => Err(DelayedEventError::Conflict),
                    None if !this.tasks.withdraw(tx, &delay_id)? => Err(DelayedEventError::Conflict),
                    None => {
                        let end = Finalised { finalised_ts: now_ms, event_id: None, error: None };
                        Ok(finalise(tx, &this.overtaken, &event, end)?)
                    }
                }
            })
            .await
    }

    /// Sends an event now, after another one of the room that is being sent. With `owner` it must be that user's. An
    /// event that cannot be sent stays scheduled.
    ///
    /// # Errors
    /// See [`DelayedEventError`].
    pub async fn send(&self, owner: Option<UserId>, delay_id: String) -> Result<(), DelayedEventError> {
        let this = self.clone();
        // What has begun is completed even if the client goes away.
        let sent = self.background.spawn("a delayed event sent early", async move {
            let mut deadline = pin!(this.clock.sleep(MAX_WAIT));
            loop {
                let mut ended = pin!(this.sender.ended().notified());
                ended.as_mut().enable();
                match this.take(owner.clone(), &delay_id).await? {
                    SendNow::Taken(event) => return this.send_taken(*event).await,
                    SendNow::MustWait => {}
                    SendNow::Sent => return Ok(()),
                }
                tokio::select! {
                    () = ended => {}
                    () = &mut deadline => return Err(DelayedSendError::Failed.into()),
                }
            }
        });
        sent.await.unwrap_or(Err(DelayedEventError::Db(DbError::Closed)))
    }

    async fn take(&self, owner: Option<UserId>, delay_id: &str) -> Result<SendNow, DelayedEventError> {
        let (tasks, delay_id) = (Arc::clone(&self.tasks), delay_id.to_owned());
        self.db
            .write(move |tx| {
                let event = find(tx, &delay_id, owner.as_ref())?;
                match &event.finalised {
                    Some(end) if end.event_id.is_some() => Ok(SendNow::Sent),
                    Some(_) => Err(DelayedEventError::Conflict),
                    None if tasks.take(tx, &delay_id)? => Ok(SendNow::Taken(Box::new(event))),
                    None => Ok(SendNow::MustWait),
                }
            })
            .await
    }

    async fn send_taken(&self, event: DelayedEvent) -> Result<(), DelayedEventError> {
        let sent = catch_panic(self.sender.send(&event.delay_id)).await.unwrap_or_else(|panic| {
            tracing::error!("a bug: the sending of a delayed event panicked: {}", panic_message(&*panic));
            Err(DelayedSendError::Failed)
        });
        let (tasks, finalised_ts) = (Arc::clone(&self.tasks), self.clock.now_ms());
        let overtaken = Arc::clone(&self.overtaken);
        let event_id = sent.as_ref().map(|event_id| event_id.as_ref().map(ToString::to_string)).map_err(drop);
        write_until_stored(&self.db, &self.clock, move |tx| match event_id.clone() {
            Ok(event_id) => {
                tasks.delete_taken(tx, &event.delay_id)?;
                finalise(tx, &overtaken, &event, Finalised { finalised_ts, event_id, error: None })
            }
            Err(()) => tasks.release(tx, &event.delay_id, event.due_ms()),
        })
        .await;
        self.sender.ended().notify_waiters();
        Ok(sent.map(drop)?)
    }
}

fn find(tx: &mut Tx<'_>, delay_id: &str, owner: Option<&UserId>) -> Result<DelayedEvent, DelayedEventError> {
    let event = repo::get(tx, delay_id)?.filter(|event| owner.is_none_or(|owner| owner.as_str() == event.user_id));
    event.ok_or(DelayedEventError::NotFound)
}

/// Records how an event ended, and deletes old ones.
fn finalise(tx: &mut Tx<'_>, overtaken: &OvertakenStates, event: &DelayedEvent, end: Finalised) -> Result<(), DbError> {
    repo::finalise(tx, &event.delay_id, &end)?;
    overtaken.unwatch(tx, event)?;
    repo::keep_newest_finalised(tx, &event.user_id, MAX_FINALISED_PER_USER)?;
    let before = end.finalised_ts.saturating_sub(FINALISED_RETENTION.as_millis() as u64);
    repo::delete_finalised(tx, before, MAX_DELETED)
}
