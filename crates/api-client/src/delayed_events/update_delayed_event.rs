//! POST /_matrix/client/v1/delayed_events/{delayId}/{action}

use std::sync::Arc;

use plexus_base::rate_limiter::network;
use plexus_http::{ApiError, AuthGuest, ClientIp, Empty, Json, MaybeAuth, Path, State};
use plexus_protocol::id::UserId;
use plexus_service::{DelayedEvents, RateLimits, check_limit};
use serde::Deserialize;

use crate::access::require_text;
use crate::delayed_events::{Form, delayed_event_error};

/// What is done with a delayed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Restart,
    Send,
    Cancel,
}

impl Action {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "restart" => Some(Self::Restart),
            "send" => Some(Self::Send),
            "cancel" => Some(Self::Cancel),
            _ => None,
        }
    }
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(delayed): State<DelayedEvents>,
    State(limits): State<Arc<RateLimits>>,
    Path((delay_id, action)): Path<(String, String)>,
) -> Result<Empty, ApiError> {
    let action = Action::from_name(&action).ok_or_else(ApiError::unrecognized)?;
    check_limit(&limits.delayed_event_mgmt, &requester)?;
    update(&delayed, Some(requester.user_id.clone()), delay_id, action, Form::Stable).await
}

/// POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/{action}: everybody who knows the id may
/// do it, so that a client can leave it to a call's media server. A token only decides whose rate limit applies.
pub(crate) async fn unstable(
    auth: MaybeAuth,
    ip: ClientIp,
    State(delayed): State<DelayedEvents>,
    State(limits): State<Arc<RateLimits>>,
    Path((delay_id, action)): Path<(String, String)>,
) -> Result<Empty, ApiError> {
    let action = Action::from_name(&action).ok_or_else(ApiError::unrecognized)?;
    count(&limits, &auth, &ip)?;
    update(&delayed, None, delay_id, action, Form::Unstable).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    action: String,
}

/// POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}, as before each action had a path.
pub(crate) async fn by_body(
    auth: MaybeAuth,
    ip: ClientIp,
    State(delayed): State<DelayedEvents>,
    State(limits): State<Arc<RateLimits>>,
    Path(delay_id): Path<String>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    let action = Action::from_name(&request.action);
    let action = action.ok_or_else(|| ApiError::invalid_param("'action' is not one of 'cancel', 'restart', 'send'"))?;
    count(&limits, &auth, &ip)?;
    update(&delayed, None, delay_id, action, Form::Unstable).await
}

/// Counts the request against `rc_delayed_event_mgmt`.
fn count(limits: &RateLimits, MaybeAuth(requester): &MaybeAuth, ip: &ClientIp) -> Result<(), ApiError> {
    match requester {
        Some(requester) => check_limit(&limits.delayed_event_mgmt, requester)?,
        None => limits.delayed_event_mgmt_address.check(&network(ip.0))?,
    }
    Ok(())
}

async fn update(
    delayed: &DelayedEvents,
    owner: Option<UserId>,
    delay_id: String,
    action: Action,
    form: Form,
) -> Result<Empty, ApiError> {
    require_text("delayId", &delay_id)?;
    let updated = match action {
        Action::Restart => delayed.restart(owner, delay_id).await,
        Action::Send => delayed.send(owner, delay_id).await,
        Action::Cancel => delayed.cancel(owner, delay_id).await,
    };
    updated.map(|()| Empty).map_err(|error| delayed_event_error(error, form))
}
