//! GET /_matrix/client/v1/delayed_events/{delayId}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, Path, Requester, State};
use plexus_service::{DelayedEvents, RateLimits, check_limit};
use plexus_store::repo::delayed_events::DelayedEvent;

use crate::access::require_text;
use crate::delayed_events::{DelayedEventInfo, Form, UnstableInfo, delayed_event_error};

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(delayed): State<DelayedEvents>,
    State(limits): State<Arc<RateLimits>>,
    Path(delay_id): Path<String>,
) -> Result<JsonBody<DelayedEventInfo>, ApiError> {
    Ok(JsonBody(get(&requester, &delayed, &limits, delay_id).await?.try_into()?))
}

/// GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}
pub(crate) async fn unstable(
    AuthGuest(requester): AuthGuest,
    State(delayed): State<DelayedEvents>,
    State(limits): State<Arc<RateLimits>>,
    Path(delay_id): Path<String>,
) -> Result<JsonBody<UnstableInfo>, ApiError> {
    Ok(JsonBody(get(&requester, &delayed, &limits, delay_id).await?.try_into()?))
}

async fn get(
    requester: &Requester,
    delayed: &DelayedEvents,
    limits: &RateLimits,
    delay_id: String,
) -> Result<DelayedEvent, ApiError> {
    require_text("delayId", &delay_id)?;
    check_limit(&limits.delayed_event_mgmt, requester)?;
    let event = delayed.get(&requester.user_id, delay_id).await;
    event.map_err(|error| delayed_event_error(error, Form::Stable))
}
