//! GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, State};
use plexus_service::{DelayedEvents, RateLimits};
use serde::Serialize;

use crate::delayed_events::DelayedEventInfo;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    delayed_events: Vec<ScheduledEvent>,
}

/// A scheduled event, with the names that its times had before the proposal was accepted, too.
#[derive(Debug, Serialize)]
struct ScheduledEvent {
    delay: u64,
    running_since: u64,
    #[serde(flatten)]
    event: DelayedEventInfo,
}

/// Returns the scheduled events of the requester, the next to be sent first. They are as many as a user may schedule.
pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(delayed): State<DelayedEvents>,
    State(limits): State<Arc<RateLimits>>,
) -> Result<JsonBody<Response>, ApiError> {
    limits.delayed_event_mgmt.check(&requester.user_id)?;
    let scheduled = delayed.scheduled(&requester.user_id).await?;
    let events = scheduled.into_iter().map(|event| {
        let (delay, running_since) = (event.delay_ms, event.delayed_since_ts);
        Ok(ScheduledEvent { delay, running_since, event: event.try_into()? })
    });
    Ok(JsonBody(Response { delayed_events: events.collect::<Result<_, ApiError>>()? }))
}
