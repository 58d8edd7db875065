//! GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, JsonBody, State};
use plexus_service::{DelayedEvents, RateLimits, check_limit};
use serde::Serialize;

use crate::delayed_events::UnstableInfo;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    delayed_events: Vec<UnstableInfo>,
}

/// Returns the scheduled events of the requester, the next to be sent first. They are as many as a user may schedule.
pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(delayed): State<DelayedEvents>,
    State(limits): State<Arc<RateLimits>>,
) -> Result<JsonBody<Response>, ApiError> {
    check_limit(&limits.delayed_event_mgmt, &requester)?;
    let scheduled = delayed.scheduled(&requester.user_id).await?;
    let events = scheduled.into_iter().map(UnstableInfo::try_from);
    Ok(JsonBody(Response { delayed_events: events.collect::<Result<_, _>>()? }))
}
