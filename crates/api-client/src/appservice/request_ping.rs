//! POST /_matrix/client/v1/appservice/{appserviceId}/ping

use std::sync::Arc;

use http::StatusCode;
use plexus_base::Clock;
use plexus_delivery::AppServiceOut;
use plexus_http::{ApiError, AuthGuest, JsonBody, JsonOrEmpty, Path, State};
use plexus_net::{AppServiceClient, AppServiceError, AppServiceRequest, HttpError};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The most bytes of the service's response that are shown.
const MAX_SHOWN_BYTES: usize = 1_024;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    transaction_id: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Response {
    duration_ms: u64,
}

pub(crate) async fn handle(
    AuthGuest(requester): AuthGuest,
    State(client): State<AppServiceClient>,
    State(delivery): State<Arc<AppServiceOut>>,
    State(clock): State<Clock>,
    Path(service_id): Path<String>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<JsonBody<Response>, ApiError> {
    let service = requester.acting_service.as_ref().filter(|service| service.id == service_id);
    let service = service.ok_or_else(|| ApiError::forbidden("The access token is not this application service's"))?;
    let body = match &request.transaction_id {
        Some(transaction_id) => json!({ "transaction_id": transaction_id }),
        None => json!({}),
    };
    let began = clock.monotonic();
    let ping = AppServiceRequest::post("/_matrix/app/v1/ping".to_owned(), body.to_string());
    client.send(service, ping).await.map_err(ping_error)?;
    let duration = clock.monotonic().saturating_sub(began);
    delivery.came_back(&service.id);
    Ok(JsonBody(Response { duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) }))
}

fn ping_error(error: AppServiceError) -> ApiError {
    match error {
        AppServiceError::NoUrl => ApiError::bad_request("M_URL_NOT_SET", "The application service has no URL"),
        AppServiceError::Status { status, body } => {
            let shown = String::from_utf8_lossy(body.get(..MAX_SHOWN_BYTES).unwrap_or(&body)).into_owned();
            let message = format!("The application service answered with status {}", status.as_u16());
            ApiError::new(StatusCode::BAD_GATEWAY, "M_BAD_STATUS", message)
                .with("status", status.as_u16())
                .with("body", shown)
        }
        AppServiceError::Http(HttpError::Timeout) => {
            let message = "The application service did not answer in time";
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, "M_CONNECTION_TIMEOUT", message)
        }
        AppServiceError::Http(error) => {
            ApiError::new(StatusCode::BAD_GATEWAY, "M_CONNECTION_FAILED", error.to_string())
        }
        AppServiceError::Unusable(error) => {
            ApiError::new(StatusCode::BAD_GATEWAY, "M_CONNECTION_FAILED", error.to_string())
        }
    }
}
