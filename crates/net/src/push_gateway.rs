//! Requests to push gateways (<https://spec.matrix.org/v1.19/push-gateway-api/>).

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Uri};
use serde::Deserialize;

use crate::http::{HttpClient, HttpError, Purpose};

/// Why a gateway did not accept a notification.
#[derive(Debug, thiserror::Error)]
pub enum PushGatewayError {
    /// There was no response.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The response was no success.
    #[error("the push gateway responded with status {0}")]
    Status(u16),
    /// The response is not the specification's.
    #[error("the push gateway's response cannot be read: {0}")]
    Response(#[from] serde_json::Error),
}

/// The address of a push gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushGatewayUrl(Uri);

/// The text is not the address of a push gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https URL with the path '/_matrix/push/v1/notify'")]
pub struct NoPushGateway;

impl PushGatewayUrl {
    /// Returns the host and, if there is one, the port.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.authority().map(Authority::as_str).unwrap_or_default()
    }
}

impl TryFrom<&str> for PushGatewayUrl {
    type Error = NoPushGateway;

    /// The path is the one of push gateways, so that notifications cannot be sent to anything else.
    fn try_from(url: &str) -> Result<Self, NoPushGateway> {
        let url: Uri = url.parse().map_err(|_| NoPushGateway)?;
        let has_host = url.authority().is_some_and(|authority| !authority.host().is_empty());
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        let is_notify = url.path() == "/_matrix/push/v1/notify";
        if has_host && is_http && is_notify { Ok(Self(url)) } else { Err(NoPushGateway) }
    }
}

#[derive(Deserialize)]
struct NotifyResponse {
    #[serde(default)]
    rejected: Vec<String>,
}

/// Sends the body of `POST /_matrix/push/v1/notify`. Returns the pushkeys that the gateway rejects.
///
/// # Errors
/// See [`PushGatewayError`].
pub async fn notify(http: &HttpClient, url: &PushGatewayUrl, body: String) -> Result<Vec<String>, PushGatewayError> {
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.0.clone();
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let response = http.fetch(Purpose::PushGateway, request).await?;
    if !response.status.is_success() {
        return Err(PushGatewayError::Status(response.status.as_u16()));
    }
    let NotifyResponse { rejected } = serde_json::from_slice(&response.body)?;
    Ok(rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_have_one_path() {
        for url in
            ["https://push.example/_matrix/push/v1/notify", "http://push.example:8080/_matrix/push/v1/notify?a=b"]
        {
            assert!(PushGatewayUrl::try_from(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "https://push.example",
            "https://push.example/x",
            "ftp://x/_matrix/push/v1/notify",
            "http:///_matrix/push/v1/notify",
            "/_matrix/push/v1/notify",
            "https://push example/_matrix/push/v1/notify",
        ] {
            assert!(PushGatewayUrl::try_from(url).is_err(), "{url}");
        }
    }
}
