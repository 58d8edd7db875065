//! GET /_matrix/client/unstable/add_threepid/email/submit_token: where the link in a mail leads.

use std::sync::Arc;

use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use plexus_http::{ApiError, Page, Query, State};
use plexus_service::{EmailValidation, LinkError};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    token: String,
    client_secret: String,
    sid: String,
}

/// The style of the page is in its template.
const ALLOWED: &str = "style-src 'unsafe-inline'; img-src 'self'";

pub(crate) async fn handle(
    Query(query): Query<Parameters>,
    State(validation): State<Option<Arc<EmailValidation>>>,
) -> Result<Response, ApiError> {
    let Some(validation) = validation else { return Err(ApiError::unrecognized()) };
    let templates = validation.mailer().templates();
    let Parameters { token, client_secret, sid } = query;
    let (status, page) = match validation.open_link(sid, client_secret, token).await {
        Ok(Some(next_link)) => return Ok(Redirect::to(&next_link).into_response()),
        Ok(None) => (StatusCode::OK, templates.render_texts(&templates.names().add_threepid_success, &[])),
        Err(LinkError::Database(error)) => return Err(error.into()),
        Err(error @ (LinkError::Unknown | LinkError::Expired)) => {
            let reason = error.to_string();
            let page = templates.render_texts(&templates.names().add_threepid_failure, &[("failure_reason", &reason)]);
            (StatusCode::BAD_REQUEST, page)
        }
    };
    let html = page.map_err(|error| ApiError::internal(&error))?;
    Ok(Page { status, html, script: None, allowed: Some(ALLOWED) }.into_response())
}
