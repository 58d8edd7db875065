//! Sending delayed events when they are due.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use plexus_base::{AppServices, Clock};
use plexus_protocol::id::{EventId, RoomId, UserId};
use plexus_protocol::json::Value;
use plexus_rooms::{DELAYED_EVENT_DEVICE, NewEvent, Transaction};
use plexus_store::repo::delayed_events::{DelayedEvent, Finalised};
use plexus_store::repo::{delayed_events as repo, users};
use plexus_store::{Database, DbError, Tx};
use tokio::sync::Notify;

use super::{DelayedSendError, ErrorBody, OvertakenStates, finalise};
use crate::tasks::{RunningTask, TaskHandler, TaskOutcome};
use crate::{ClientEventSender, SendingAccount};

/// The kind of the tasks.
pub(super) const KIND: &str = "send_delayed_event";
/// How many are sent at the same time. Those of one room are sent one after the other.
const MAX_SENDING: u32 = 16;

/// Sends delayed events.
pub struct DelayedEventSender {
    db: Database,
    clock: Clock,
    events: Arc<ClientEventSender>,
    overtaken: Arc<OvertakenStates>,
    app_services: Arc<AppServices>,
    error_body: ErrorBody,
    ended: Notify,
}

impl DelayedEventSender {
    /// Creates the service.
    #[must_use]
    pub fn new(
        db: Database,
        clock: Clock,
        events: Arc<ClientEventSender>,
        overtaken: Arc<OvertakenStates>,
        app_services: Arc<AppServices>,
        error_body: ErrorBody,
    ) -> Self {
        Self { db, clock, events, overtaken, app_services, error_body, ended: Notify::new() }
    }

    /// Returns what notifies waiters when an attempt to send an event has ended.
    pub(super) fn ended(&self) -> &Notify {
        &self.ended
    }

    /// Sends a delayed event once, however often it is called. Returns the event's id; `None` when it has been
    /// finalised otherwise.
    ///
    /// # Errors
    /// See [`DelayedSendError`].
    pub(super) async fn send(&self, delay_id: &str) -> Result<Option<EventId>, DelayedSendError> {
        let delay_id = delay_id.to_owned();
        let (row, delay_id) = self.db.read(move |tx| Ok::<_, DbError>((repo::get(tx, &delay_id)?, delay_id))).await?;
        let Some(row) = row.filter(|row| row.finalised.is_none()) else { return Ok(None) };
        let event = new_event(row)?;
        // A crash may have come between the event and its record here; much may have changed since.
        if let Some(event_id) = self.events.sent_before(&event).await? {
            return Ok(Some(event_id));
        }
        let (sender, event_type, state_key) =
            (event.sender.to_string(), event.event_type.clone(), event.state_key.clone());
        let app_services = Arc::clone(&self.app_services);
        let account = self.db.read(move |tx| {
            let account = sending_account(tx, &app_services, &sender)?;
            match state_key {
                Some(state_key) if repo::is_overtaken(tx, &delay_id, &event_type, &state_key)? => {
                    Err(DelayedSendError::Overtaken)
                }
                _ => Ok(account),
            }
        });
        Ok(Some(self.events.send_for(account.await?, event).await?))
    }

    /// Records how an event ended.
    async fn finalise(&self, delay_id: &str, event_id: Option<EventId>, error: Option<String>) -> Result<(), DbError> {
        let (delay_id, finalised_ts) = (delay_id.to_owned(), self.clock.now_ms());
        let end = Finalised { finalised_ts, event_id: event_id.map(|id| id.to_string()), error };
        let overtaken = Arc::clone(&self.overtaken);
        let write = self.db.write(move |tx| match repo::get(tx, &delay_id)? {
            Some(event) => finalise(tx, &overtaken, &event, end),
            None => Ok(()),
        });
        write.await
    }
}

impl TaskHandler for DelayedEventSender {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn max_running(&self) -> u32 {
        MAX_SENDING
    }

    /// The delayed event's own row says how it ended.
    fn keeps_ended(&self) -> bool {
        false
    }

    fn attempt_ended(&self) {
        self.ended.notify_waiters();
    }

    fn failed(&self, tx: &mut Tx<'_>, task_id: &str, _error: &str) -> Result<(), DbError> {
        let Some(event) = repo::get(tx, task_id)? else { return Ok(()) };
        let error = Some((self.error_body)(DelayedSendError::Failed));
        let end = Finalised { finalised_ts: self.clock.now_ms(), event_id: None, error };
        finalise(tx, &self.overtaken, &event, end)
    }

    fn run(&self, task: RunningTask) -> BoxFuture<'_, TaskOutcome> {
        Box::pin(async move {
            let finalised = match self.send(&task.task_id).await {
                Ok(Some(event_id)) => self.finalise(&task.task_id, Some(event_id), None).await,
                Ok(None) => Ok(()),
                Err(error) if error.may_pass() && !task.is_last_attempt() => {
                    return TaskOutcome::Retry(error.to_string());
                }
                Err(error) => self.finalise(&task.task_id, None, Some((self.error_body)(error))).await,
            };
            match finalised {
                Ok(()) => TaskOutcome::Complete(None),
                Err(error) => TaskOutcome::Retry(error.to_string()),
            }
        })
    }
}

/// Returns the account of a user who may send events.
fn sending_account(
    tx: &mut Tx<'_>,
    app_services: &AppServices,
    user_id: &str,
) -> Result<SendingAccount, DelayedSendError> {
    let user = users::get(tx, user_id)?.filter(|user| !user.deactivated).ok_or(DelayedSendError::Deactivated)?;
    if user.locked {
        return Err(DelayedSendError::Locked);
    }
    if user.suspended {
        return Err(DelayedSendError::Suspended);
    }
    let users::User { is_guest, is_admin, shadow_banned, appservice_id, .. } = user;
    let registrations = app_services.current();
    let service = appservice_id.and_then(|id| registrations.as_ref()?.by_id(&id).cloned());
    let is_rate_limited = service.is_none_or(|service| service.is_limited_as(user_id));
    Ok(SendingAccount { is_guest, is_admin, shadow_banned, is_rate_limited })
}

fn new_event(row: DelayedEvent) -> Result<NewEvent, DbError> {
    let unreadable = |problem: String| DbError::bad_data(format!("delayed_events, delay_id {}", row.delay_id), problem);
    let content = match Value::parse(&row.content) {
        Ok(Value::Object(content)) => content,
        Ok(_) => return Err(unreadable("the content is no object".to_owned())),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    Ok(NewEvent {
        room_id: RoomId::try_from(&*row.room_id).map_err(|error| unreadable(error.to_string()))?,
        sender: UserId::try_from(&*row.user_id).map_err(|error| unreadable(error.to_string()))?,
        event_type: row.event_type,
        state_key: row.state_key,
        content,
        redacts: None,
        origin_server_ts: None,
        sticky_duration_ms: row.sticky_duration_ms,
        // One that is sent again after a crash is there once.
        transaction: Some(Transaction { device_id: DELAYED_EVENT_DEVICE.into(), txn_id: row.delay_id.into() }),
    })
}
