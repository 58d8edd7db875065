//! GET /_matrix/client/v3/account/whoami

use plexus_http::{AuthGuest, JsonBody};
use plexus_protocol::id::UserId;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    user_id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    is_guest: bool,
}

pub(crate) async fn handle(AuthGuest(requester): AuthGuest) -> JsonBody<Response> {
    JsonBody(Response {
        user_id: requester.user_id.clone(),
        device_id: requester.device_id.clone(),
        is_guest: requester.is_guest,
    })
}
