//! PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}

use std::sync::Arc;

use plexus_delivery::to_device::{MessagesByDevice, NewMessages};
use plexus_delivery::{ToDevice, ToDeviceError};
use plexus_http::{ApiError, AuthGuest, Empty, Json, Path, State};
use serde::Deserialize;

use crate::own::require_text;

#[derive(Debug, Deserialize)]
pub struct Request {
    messages: Option<MessagesByDevice>,
}

pub async fn handle(
    AuthGuest(requester): AuthGuest,
    State(to_device): State<Arc<ToDevice>>,
    Path((event_type, txn_id)): Path<(String, String)>,
    Json(request): Json<Request>,
) -> Result<Empty, ApiError> {
    require_text("eventType", &event_type)?;
    require_text("txnId", &txn_id)?;
    let messages = request.messages.ok_or_else(|| ApiError::missing_param("Missing params: ['messages']"))?;
    let new = NewMessages {
        sender: requester.user_id.clone(),
        device: requester.device_id.clone(),
        txn_id,
        event_type,
        messages,
    };
    match to_device.send(new).await {
        Ok(()) => Ok(Empty),
        Err(error @ ToDeviceError::TooLarge) => Err(ApiError::too_large(error.to_string())),
        Err(error @ ToDeviceError::NotAnObject) => Err(ApiError::bad_json(error.to_string())),
        Err(ToDeviceError::Database(error)) => Err(ApiError::internal(&error)),
    }
}
