//! GET and POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, Auth, JsonOrEmpty, Path, Query, RawJson, Requester, State, non_empty};
use plexus_protocol::json::ObjectWriter;
use plexus_service::DehydratedDevices;
use plexus_service::dehydrated_devices::{DehydratedMessagesError, MessagePage};
use plexus_store::Position;
use serde::Deserialize;

use super::require_enabled;

const DEFAULT_LIMIT: u64 = 100;

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    #[serde(default, deserialize_with = "non_empty")]
    from: Option<String>,
    limit: Option<u64>,
}

/// The body of the earlier form of the request.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Request {
    next_batch: Option<String>,
}

/// Returns a page; without `next_batch` if it is the last one.
pub(crate) async fn handle(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(devices): State<DehydratedDevices>,
    Path(device_id): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<RawJson, ApiError> {
    require_enabled(&config)?;
    let since = position(parameters.from.as_deref())?;
    let page = page(&devices, &requester, device_id, since, parameters.limit).await?;
    let next = page.messages.last().filter(|_| page.more).map(|last| last.position);
    Ok(response(&page, next))
}

/// As [`handle`] in the form of earlier clients: there is always a `next_batch`, and the page after the last one is
/// empty.
pub(crate) async fn by_body(
    Auth(requester): Auth,
    State(config): State<Arc<Config>>,
    State(devices): State<DehydratedDevices>,
    Path(device_id): Path<String>,
    Query(parameters): Query<Parameters>,
    JsonOrEmpty(request): JsonOrEmpty<Request>,
) -> Result<RawJson, ApiError> {
    require_enabled(&config)?;
    let since = position(request.next_batch.as_deref())?;
    let page = page(&devices, &requester, device_id, since, parameters.limit).await?;
    let next = page.messages.last().map_or(since, |last| last.position);
    Ok(response(&page, Some(next)))
}

/// Returns the position in a token: that of the last message before.
fn position(token: Option<&str>) -> Result<Position, ApiError> {
    let Some(token) = token else { return Ok(0) };
    let position = token.parse().ok().filter(|position: &Position| *position >= 0);
    position.ok_or_else(|| ApiError::invalid_param("The token is not one of this endpoint"))
}

async fn page(
    devices: &DehydratedDevices,
    requester: &Requester,
    device_id: String,
    since: Position,
    limit: Option<u64>,
) -> Result<MessagePage, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    devices.messages(&requester.user_id, device_id, since, limit).await.map_err(|error| match error {
        DehydratedMessagesError::OtherDevice => ApiError::forbidden(error.to_string()),
        DehydratedMessagesError::Database(error) => error.into(),
    })
}

fn response(page: &MessagePage, next_batch: Option<Position>) -> RawJson {
    let mut body = String::new();
    let mut object = ObjectWriter::open(&mut body);
    object.array("events", page.messages.iter().map(|waiting| waiting.message.as_str()));
    if let Some(next) = next_batch {
        object.string("next_batch", &next.to_string());
    }
    object.close();
    RawJson(body.into())
}
