//! PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}

use std::sync::Arc;

use plexus_http::{ApiError, AuthGuest, Empty, Json, Path, Requester, State};
use plexus_service::RateLimits;
use plexus_sync::to_device::{MessagesByDevice, NewMessages};
use plexus_sync::{ToDevice, ToDeviceError};
use serde::Deserialize;

use crate::access::require_text;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    messages: Option<MessagesByDevice>,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(to_device): State<Arc<ToDevice>>,
    State(limits): State<Arc<RateLimits>>,
    Path((event_type, txn_id)): Path<(String, String)>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    require_text("eventType", &event_type)?;
    require_text("txnId", &txn_id)?;
    let mut messages = request.messages.ok_or_else(|| ApiError::missing_param("Missing params: ['messages']"))?;
    if event_type == "m.room_key_request" {
        drop_key_requests_over_the_limit(&limits, &requester, &mut messages);
    }
    let new = NewMessages {
        sender: requester.user_id.clone(),
        device: requester.device_id.clone(),
        txn_id,
        event_type,
        messages,
    };
    match to_device.send(new).await {
        Ok(()) => Ok(Empty),
        Err(error @ (ToDeviceError::TooLarge | ToDeviceError::TypeTooLong)) => {
            Err(ApiError::too_large(error.to_string()))
        }
        Err(error @ (ToDeviceError::DeviceIdTooLong | ToDeviceError::NulInType)) => {
            Err(ApiError::invalid_param(error.to_string()))
        }
        Err(error @ ToDeviceError::NotPortable(_)) => Err(ApiError::bad_json(error.to_string())),
        Err(ToDeviceError::Database(error)) => Err(ApiError::internal(&error)),
    }
}

/// Drops requests for room keys that exceed the limit. A device may send its own user's devices as many as it likes. As
/// in Synapse the sender is not notified; a refusal would make clients try again.
fn drop_key_requests_over_the_limit(limits: &RateLimits, requester: &Requester, messages: &mut MessagesByDevice) {
    let sender = &requester.user_id;
    let key = (sender.clone(), requester.device_id.clone());
    messages.retain(|user, _| {
        let allowed = user == sender || !requester.is_rate_limited() || limits.key_requests.check(&key).is_ok();
        if !allowed {
            tracing::info!(%sender, %user, "a room key request over rc_key_requests is dropped");
        }
        allowed
    });
}
