//! GET /_matrix/client/v1/delayed_events/{delayId}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, Path, State};
use plexus_service::{DelayedEvents, RateLimits};

use crate::delayed_events::{DelayedEventInfo, Form, delayed_event_error};

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(delayed): State<DelayedEvents>,
    State(limits): State<Arc<RateLimits>>,
    Path(delay_id): Path<String>,
) -> Result<JsonBody<DelayedEventInfo>, ApiError> {
    limits.delayed_event_mgmt.check(&requester.user_id)?;
    let event = delayed.get(&requester.user_id, delay_id).await;
    let event = event.map_err(|error| delayed_event_error(error, Form::Stable))?;
    Ok(JsonBody(event.try_into()?))
}
