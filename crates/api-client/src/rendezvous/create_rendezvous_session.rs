//! POST /_matrix/client/unstable/io.element.msc4388/rendezvous
//! and POST /_matrix/client/unstable/org.matrix.msc4108/rendezvous

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use plexus_base::config::Config;
use plexus_http::{ApiError, Json, JsonBody, MaybeAuth, State};
use plexus_service::rendezvous::RendezvousSessions;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::payload::PlainText;
use super::{
    MSC4108_PATH, enabled_msc4388, may_create, msc4108_response, msc4388_error, rendezvous_error, require_msc4108,
};
use crate::rate_limited::{self, Counted};

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    data: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Created {
    id: String,
    sequence_token: String,
    expires_in_ms: u64,
}

pub(crate) async fn handle(
    _: Counted<rate_limited::RendezvousCreation>,
    MaybeAuth(requester): MaybeAuth,
    State(config): State<Arc<Config>>,
    State(sessions): State<Arc<RendezvousSessions>>,
    Json(request): Json<Request>,
) -> Result<JsonBody<Created>, ApiError> {
    let mode = enabled_msc4388(&config)?;
    if !may_create(mode, requester.as_deref()) {
        return Err(ApiError::forbidden("Log in to create a rendezvous session"));
    }
    let session = sessions.create(request.data).map_err(msc4388_error)?;
    Ok(JsonBody(Created {
        id: session.id,
        sequence_token: session.revision.to_string(),
        expires_in_ms: session.expires_ts - session.modified_ts,
    }))
}

/// As MSC4108 had it in 2024; redirects to `msc4108_delegation_endpoint` where that is set.
pub(crate) async fn msc4108(
    _: Counted<rate_limited::RendezvousCreation>,
    State(config): State<Arc<Config>>,
    State(sessions): State<Arc<RendezvousSessions>>,
    PlainText(data): PlainText,
) -> Result<Response, ApiError> {
    if let Some(elsewhere) = &config.experimental.experimental_features.msc4108_delegation_endpoint {
        return Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, elsewhere.clone())]).into_response());
    }
    require_msc4108(&config)?;
    let session = sessions.create(data).map_err(|error| rendezvous_error(&error))?;
    let url = format!("{}{MSC4108_PATH}/{}", config.server.base_url(), session.id);
    Ok(msc4108_response(StatusCode::CREATED, &session, JsonBody(json!({ "url": url }))))
}
