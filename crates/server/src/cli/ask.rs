//! Requests of commands to a running server.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use plexus_net::HttpError;
use plexus_net::http::{WholeResponse, send_operator_command, send_unverified_operator_command};
use serde_json::Value;

/// Why a command cannot use a server's response.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The URL is not valid.
    #[error("{0} is not an address")]
    Address(String),
    /// The server cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] HttpError),
    /// The server responded with an error.
    #[error("{url} answered {status}: {text}")]
    Refused {
        /// The URL of the request.
        url: String,
        /// The HTTP status.
        status: StatusCode,
        /// The server's own text.
        text: String,
    },
    /// The response is not one of a homeserver.
    #[error("{0} did not answer as a Matrix homeserver does")]
    NotMatrix(String),
}

/// Sends a request with a JSON body, if any. The server's certificate is verified, unless it is on this machine or any
/// is accepted.
///
/// # Errors
/// When there is no response. One with an HTTP error status is an [`WholeResponse`] too.
pub(super) async fn ask(
    method: Method,
    url: &str,
    token: Option<&str>,
    body: Option<&Value>,
    any_certificate: bool,
) -> Result<WholeResponse, AskError> {
    let mut request = Request::builder().method(method).uri(url).header("Content-Type", "application/json");
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let request = request.body(body).map_err(|_| AskError::Address(url.to_owned()))?;
    let response = if any_certificate {
        send_unverified_operator_command(request).await
    } else {
        send_operator_command(request).await
    };
    Ok(response?)
}

/// Returns the body as JSON; null when it is not JSON.
pub(super) fn parsed(answer: &WholeResponse) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Returns the text in the field `name` of a successful response.
///
/// # Errors
/// When the response is another, with the server's text.
pub(super) fn field(url: &str, answer: &WholeResponse, name: &str) -> Result<String, AskError> {
    let body = successful(url, answer)?;
    body[name].as_str().map(ToOwned::to_owned).ok_or_else(|| AskError::NotMatrix(url.to_owned()))
}

/// Returns the body of a successful response.
///
/// # Errors
/// When the response is another, with the server's text.
pub(super) fn successful(url: &str, answer: &WholeResponse) -> Result<Value, AskError> {
    let body = parsed(answer);
    if answer.status.is_success() {
        return Ok(body);
    }
    let text = body["error"]
        .as_str()
        .map_or_else(|| String::from_utf8_lossy(&answer.body).trim().to_owned(), ToOwned::to_owned);
    Err(AskError::Refused { url: url.to_owned(), status: answer.status, text })
}
