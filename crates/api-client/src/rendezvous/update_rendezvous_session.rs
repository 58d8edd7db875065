//! PUT /_matrix/client/unstable/io.element.msc4388/rendezvous/{id}/{txnId}
//! and PUT /_matrix/client/unstable/org.matrix.msc4108/rendezvous/{id}

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::header::IF_MATCH;
use http::{HeaderMap, HeaderValue, StatusCode};
use plexus_base::config::Config;
use plexus_http::{ApiError, Json, JsonBody, Path, State};
use plexus_service::rendezvous::{NewPayload, RendezvousError, RendezvousSession, RendezvousSessions};
use serde::{Deserialize, Serialize};

use super::payload::PlainText;
use super::{enabled_msc4388, etag, msc4108_response, msc4388_error, rendezvous_error, require_msc4108};
use crate::rate_limited::{self, Counted};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    sequence_token: String,
    data: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Updated {
    sequence_token: String,
}

pub(crate) async fn handle(
    _: Counted<rate_limited::Rendezvous>,
    State(config): State<Arc<Config>>,
    State(sessions): State<Arc<RendezvousSessions>>,
    Path((id, txn_id)): Path<(String, String)>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Updated>, ApiError> {
    enabled_msc4388(&config)?;
    update(&sessions, &id, request, Some(txn_id))
}

/// As earlier clients send it: without a transaction.
pub(crate) async fn without_transaction(
    _: Counted<rate_limited::Rendezvous>,
    State(config): State<Arc<Config>>,
    State(sessions): State<Arc<RendezvousSessions>>,
    Path(id): Path<String>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Updated>, ApiError> {
    enabled_msc4388(&config)?;
    update(&sessions, &id, request, None)
}

fn update(
    sessions: &RendezvousSessions,
    id: &str,
    request: Request,
    txn_id: Option<String>,
) -> Result<JsonBody<Updated>, ApiError> {
    let replaces = request.sequence_token.parse().ok();
    let session = sessions.replace(id, NewPayload { data: request.data, replaces, txn_id }).map_err(msc4388_error)?;
    Ok(JsonBody(Updated { sequence_token: session.revision.to_string() }))
}

/// As MSC4108 had it in 2024.
pub(crate) async fn msc4108(
    _: Counted<rate_limited::Rendezvous>,
    State(config): State<Arc<Config>>,
    State(sessions): State<Arc<RendezvousSessions>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    PlainText(data): PlainText,
) -> Result<Response, ApiError> {
    require_msc4108(&config)?;
    let expected = headers.get(IF_MATCH).ok_or_else(|| ApiError::missing_param("Missing header: If-Match"))?;
    let current = sessions.get(&id).ok_or_else(|| rendezvous_error(&RendezvousError::NotFound))?;
    let replaces = names(expected, &current).then_some(current.revision);
    match sessions.replace(&id, NewPayload { data, replaces, txn_id: None }) {
        Ok(session) => Ok(msc4108_response(StatusCode::ACCEPTED, &session, ())),
        Err(RendezvousError::Conflict(session)) => {
            let error = ApiError::new(StatusCode::PRECONDITION_FAILED, "M_UNKNOWN", "ETag does not match")
                .with("org.matrix.msc4108.errcode", "M_CONCURRENT_WRITE");
            Ok(msc4108_response(StatusCode::PRECONDITION_FAILED, &session, error.into_response()))
        }
        Err(error) => Err(rendezvous_error(&error)),
    }
}

/// Whether a list of ETags names the payload of a session. Proxies that compress responses make ETags weak ones.
pub(super) fn names(list: &HeaderValue, session: &RendezvousSession) -> bool {
    let current = etag(session);
    let mut tags = list.to_str().unwrap_or_default().split(',').map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == current)
}
