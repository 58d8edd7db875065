//! Rendezvous sessions for logging in by QR code: MSC4388, and MSC4108 in its form of 2024, whose payloads are plain
//! text with an ETag.

pub(crate) mod create_rendezvous_session;
pub(crate) mod delete_rendezvous_session;
pub(crate) mod discover_rendezvous;
pub(crate) mod get_rendezvous_session;
mod payload;
pub(crate) mod update_rendezvous_session;

use std::time::{Duration, UNIX_EPOCH};

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, ETAG, EXPIRES, HeaderName, LAST_MODIFIED, PRAGMA};
use http::{HeaderMap, StatusCode};
use plexus_base::config::{Config, SecureChannelMode};
use plexus_http::{ApiError, Requester};
use plexus_service::rendezvous::{RendezvousError, RendezvousSession};

/// The path of MSC4108's sessions below the server's base URL.
const MSC4108_PATH: &str = "_matrix/client/unstable/org.matrix.msc4108/rendezvous";

/// Returns who may create sessions by MSC4388; refuses the request while nobody may, as if there were no such endpoint.
fn enabled_msc4388(config: &Config) -> Result<SecureChannelMode, ApiError> {
    match config.experimental.experimental_features.msc4388_mode {
        SecureChannelMode::Off => Err(ApiError::unrecognized()),
        mode => Ok(mode),
    }
}

/// Whether this requester may create sessions.
fn may_create(mode: SecureChannelMode, requester: Option<&Requester>) -> bool {
    match mode {
        SecureChannelMode::Off => false,
        SecureChannelMode::Open => true,
        SecureChannelMode::Authenticated => requester.is_some_and(|requester| !requester.is_guest),
    }
}

fn require_msc4108(config: &Config) -> Result<(), ApiError> {
    if config.experimental.experimental_features.msc4108_enabled { Ok(()) } else { Err(ApiError::unrecognized()) }
}

/// Refuses to show a payload to somebody who follows a link to it: it is not a page.
fn require_no_navigation(headers: &HeaderMap) -> Result<(), ApiError> {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found.as_bytes() == value.as_bytes());
    if is("sec-fetch-mode", "navigate") || is("sec-fetch-dest", "document") {
        return Err(ApiError::forbidden("Rendezvous sessions are not for browsing"));
    }
    Ok(())
}

/// Returns the error of a request of MSC4388.
fn msc4388_error(error: RendezvousError) -> ApiError {
    match error {
        RendezvousError::Conflict(_) => {
            ApiError::new(StatusCode::CONFLICT, "IO_ELEMENT_MSC4388_CONCURRENT_WRITE", error.to_string())
        }
        error => rendezvous_error(&error),
    }
}

/// Returns the error of either kind of request, apart from conflicts.
fn rendezvous_error(error: &RendezvousError) -> ApiError {
    match error {
        RendezvousError::NotFound => ApiError::not_found(error.to_string()),
        RendezvousError::TooLarge => ApiError::too_large(error.to_string()),
        RendezvousError::TransactionId => ApiError::invalid_param(error.to_string()),
        RendezvousError::TooManyWrites { expires_in_ms } => ApiError::limit_exceeded(*expires_in_ms),
        RendezvousError::Conflict(_) => ApiError::unknown(error.to_string()),
    }
}

fn etag(session: &RendezvousSession) -> String {
    format!("\"{}\"", session.revision)
}

/// Returns a response of MSC4108, with the headers that describe the payload.
fn msc4108_response(status: StatusCode, session: &RendezvousSession, body: impl IntoResponse) -> Response {
    let date = |ts: u64| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ts));
    let headers: [(HeaderName, String); 5] = [
        (ETAG, etag(session)),
        (EXPIRES, date(session.expires_ts)),
        (LAST_MODIFIED, date(session.modified_ts)),
        (CACHE_CONTROL, "no-store, no-transform".to_owned()),
        (PRAGMA, "no-cache".to_owned()),
    ];
    (status, headers, body).into_response()
}
