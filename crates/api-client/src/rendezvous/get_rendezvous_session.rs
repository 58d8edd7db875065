//! GET /_matrix/client/unstable/io.element.msc4388/rendezvous/{id}
//! and GET /_matrix/client/unstable/org.matrix.msc4108/rendezvous/{id}

use std::sync::Arc;

use axum::response::Response;
use http::header::{CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use plexus_base::Clock;
use plexus_base::config::Config;
use plexus_http::{ApiError, JsonBody, Path, State};
use plexus_service::rendezvous::{RendezvousError, RendezvousSessions};
use serde::Serialize;

use super::update_rendezvous_session::names;
use super::{enabled_msc4388, msc4108_response, rendezvous_error, require_msc4108, require_no_navigation};
use crate::rate_limited::{self, Counted};

#[derive(Debug, Serialize)]
pub(crate) struct Payload {
    data: String,
    sequence_token: String,
    expires_in_ms: u64,
}

pub(crate) async fn handle(
    _: Counted<rate_limited::Rendezvous>,
    State(config): State<Arc<Config>>,
    State(clock): State<Clock>,
    State(sessions): State<Arc<RendezvousSessions>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<JsonBody<Payload>, ApiError> {
    enabled_msc4388(&config)?;
    require_no_navigation(&headers)?;
    let session = sessions.get(&id).ok_or_else(|| rendezvous_error(&RendezvousError::NotFound))?;
    Ok(JsonBody(Payload {
        data: session.data,
        sequence_token: session.revision.to_string(),
        expires_in_ms: session.expires_ts.saturating_sub(clock.now_ms()),
    }))
}

/// As MSC4108 had it in 2024.
pub(crate) async fn msc4108(
    _: Counted<rate_limited::Rendezvous>,
    State(config): State<Arc<Config>>,
    State(sessions): State<Arc<RendezvousSessions>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    require_msc4108(&config)?;
    require_no_navigation(&headers)?;
    let session = sessions.get(&id).ok_or_else(|| rendezvous_error(&RendezvousError::NotFound))?;
    if headers.get(IF_NONE_MATCH).is_some_and(|value| names(value, &session)) {
        return Ok(msc4108_response(StatusCode::NOT_MODIFIED, &session, ()));
    }
    let body = ([(CONTENT_TYPE, "text/plain")], session.data.clone());
    Ok(msc4108_response(StatusCode::OK, &session, body))
}
