//! Delayed events (MSC4140), as accepted and in the unstable forms that clients use.

pub(crate) mod get_all_delayed_events;
pub(crate) mod get_delayed_event;
pub(crate) mod send_delayed_event;
pub(crate) mod update_delayed_event;

use http::StatusCode;
use plexus_http::room_errors::delayed_send_error;
use plexus_http::{ApiError, JsonBody, Requester};
use plexus_rooms::NewEvent;
use plexus_service::DelayedEvents;
use plexus_service::delayed_events::{DelayedEventError, DelayedSendError, NewDelayedEvent};
use plexus_store::DbError;
use plexus_store::repo::delayed_events::DelayedEvent;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::access::require_text;
use crate::sending::{Sent, number};

/// The form in which a client uses delayed events: the names in errors depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The proposal as it was accepted.
    Stable,
    /// The same with unstable names.
    Unstable,
    /// A parameter of the query of `/send` and `/state`.
    Query,
}

/// A delayed event as its owner sees it.
#[derive(Debug, Serialize)]
pub(crate) struct DelayedEventInfo {
    delay_id: String,
    room_id: String,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<String>,
    delay_ms: u64,
    delayed_since_ts: u64,
    content: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finalised: Option<FinalisedInfo>,
}

#[derive(Debug, Serialize)]
struct FinalisedInfo {
    finalised_ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<RawValue>>,
}

/// A delayed event, with the names that its times had before the proposal was accepted, too.
#[derive(Debug, Serialize)]
pub(crate) struct UnstableInfo {
    delay: u64,
    running_since: u64,
    #[serde(flatten)]
    event: DelayedEventInfo,
}

impl TryFrom<DelayedEvent> for UnstableInfo {
    type Error = ApiError;

    fn try_from(event: DelayedEvent) -> Result<Self, ApiError> {
        let (delay, running_since) = (event.delay_ms, event.delayed_since_ts);
        Ok(Self { delay, running_since, event: event.try_into()? })
    }
}

impl TryFrom<DelayedEvent> for DelayedEventInfo {
    type Error = ApiError;

    fn try_from(event: DelayedEvent) -> Result<Self, ApiError> {
        let json = |text: String| {
            RawValue::from_string(text).map_err(|error| {
                let place = format!("delayed_events, delay_id {}", event.delay_id);
                ApiError::from(DbError::bad_data(place, error))
            })
        };
        let finalised = match event.finalised {
            Some(end) => {
                let error = end.error.map(json).transpose()?;
                Some(FinalisedInfo { finalised_ts: end.finalised_ts, event_id: end.event_id, error })
            }
            None => None,
        };
        Ok(Self {
            content: json(event.content)?,
            delay_id: event.delay_id,
            room_id: event.room_id,
            event_type: event.event_type,
            state_key: event.state_key,
            delay_ms: event.delay_ms,
            delayed_since_ts: event.delayed_since_ts,
            finalised,
        })
    }
}

/// The parameter of the query that delays an event. Clients schedule events so that do not use MSC4140's own endpoint
/// yet.
#[derive(Debug, Deserialize)]
pub(crate) struct Delay {
    #[serde(rename = "org.matrix.msc4140.delay", default, deserialize_with = "number")]
    delay: Option<i64>,
}

impl Delay {
    /// Returns the delay in ms, if the request has one.
    pub(crate) fn ms(&self) -> Result<Option<u64>, ApiError> {
        self.delay.map(positive_delay).transpose()
    }
}

/// Returns a delay in ms. MSC4140: "A positive non-zero number of milliseconds".
pub(crate) fn positive_delay(delay_ms: i64) -> Result<u64, ApiError> {
    let delay = u64::try_from(delay_ms).ok().filter(|delay| *delay > 0);
    delay.ok_or_else(|| ApiError::invalid_param("The delay must be a positive number of milliseconds"))
}

/// Schedules an event whose request delays it by [`Delay`].
pub(crate) async fn delayed_by(
    requester: &Requester,
    delayed: &DelayedEvents,
    event: NewEvent,
    delay_ms: u64,
) -> Result<JsonBody<Sent>, ApiError> {
    let event = NewDelayedEvent {
        sender: event.sender,
        is_suspended: requester.suspended,
        is_rate_limited: requester.is_rate_limited(),
        endpoint: "send",
        transaction: event.transaction,
        room_id: event.room_id,
        event_type: event.event_type,
        state_key: event.state_key,
        content: event.content,
        delay_ms,
        sticky_duration_ms: event.sticky_duration_ms,
    };
    Ok(JsonBody(Sent::Later { delay_id: schedule(delayed, event, Form::Query).await? }))
}

/// Schedules an event; returns its delay id.
pub(crate) async fn schedule(delayed: &DelayedEvents, event: NewDelayedEvent, form: Form) -> Result<String, ApiError> {
    require_text("eventType", &event.event_type)?;
    require_text("state_key", event.state_key.as_deref().unwrap_or_default())?;
    require_text("txnId", event.transaction.as_ref().map_or("", |transaction| &transaction.txn_id))?;
    delayed.schedule(event).await.map_err(|error| delayed_event_error(error, form))
}

/// Returns the client's error. Clients of the unstable forms do not know 409: an event that is not scheduled any more
/// does not exist for them.
pub(crate) fn delayed_event_error(error: DelayedEventError, form: Form) -> ApiError {
    let text = error.to_string();
    match error {
        DelayedEventError::Disallowed => ApiError::forbidden(text),
        DelayedEventError::DelayTooLong { max_delay_ms } => too_long(text, max_delay_ms, form),
        DelayedEventError::Limited(error) => error.into(),
        DelayedEventError::NotInRoom => ApiError::forbidden(text),
        DelayedEventError::NotFound => ApiError::not_found(text),
        DelayedEventError::TooLarge => ApiError::too_large(text),
        DelayedEventError::Content(_) => ApiError::bad_json(text),
        DelayedEventError::Conflict | DelayedEventError::Send(DelayedSendError::Overtaken) if form != Form::Stable => {
            ApiError::not_found(text)
        }
        DelayedEventError::Conflict => ApiError::new(StatusCode::CONFLICT, "M_UNKNOWN", text),
        DelayedEventError::Send(error) => delayed_send_error(error),
        DelayedEventError::Db(error) => error.into(),
    }
}

fn too_long(text: String, max_delay_ms: u64, form: Form) -> ApiError {
    match form {
        Form::Stable => ApiError::bad_request("M_DELAY_TOO_LARGE", text).with("max_delay", max_delay_ms),
        Form::Unstable => ApiError::bad_request("ORG.MATRIX.MSC4140_DELAY_TOO_LARGE", text)
            .with("org.matrix.msc4140.max_delay", max_delay_ms),
        // matrix-js-sdk takes the longest delay from these fields.
        Form::Query => ApiError::unknown(text)
            .with("org.matrix.msc4140.errcode", "M_MAX_DELAY_EXCEEDED")
            .with("org.matrix.msc4140.max_delay", max_delay_ms),
    }
}
