//! Requests to push gateways (<https://spec.matrix.org/v1.19/push-gateway-api/>).

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Uri};
use serde::Deserialize;
use serde_json::Value;

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
    /// Returns the scheme, the host in lower case and the port, which is there even if it is the scheme's own: URLs
    /// with the same origin have the same gateway.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let port = self.0.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        format!("{scheme}://{}:{port}", self.0.host().unwrap_or_default().to_ascii_lowercase())
    }
}

impl TryFrom<&str> for PushGatewayUrl {
    type Error = NoPushGateway;

    /// The path is the one of push gateways, so that notifications cannot be sent to anything else.
    fn try_from(url: &str) -> Result<Self, NoPushGateway> {
        let url: Uri = url.parse().map_err(|_| NoPushGateway)?;
        // Requests to addresses with a user's name before the host are never sent.
        let is_host = |authority: &Authority| !authority.host().is_empty() && !authority.as_str().contains('@');
        let has_host = url.authority().is_some_and(is_host);
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        let is_notify = url.path() == "/_matrix/push/v1/notify";
        if has_host && is_http && is_notify { Ok(Self(url)) } else { Err(NoPushGateway) }
    }
}

#[derive(Deserialize)]
struct NotifyResponse {
    #[serde(default)]
    rejected: Option<Vec<Value>>,
}

/// Returns the pushkeys that a response rejects. What is no pushkey is ignored: the notification was accepted.
fn rejected(response: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let NotifyResponse { rejected } = serde_json::from_slice(response)?;
    let text = |key| if let Value::String(key) = key { Some(key) } else { None };
    Ok(rejected.unwrap_or_default().into_iter().filter_map(text).collect())
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
    Ok(rejected(&response.body)?)
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
            "https://user@push.example/_matrix/push/v1/notify",
            "https://user:password@push.example/_matrix/push/v1/notify",
        ] {
            assert!(PushGatewayUrl::try_from(url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_pushkeys_are_rejected() {
        for (response, keys) in [
            (r#"{}"#, &[] as &[&str]),
            (r#"{"rejected":null}"#, &[]),
            (r#"{"rejected":["a",1,{"b":[]},null,"c"],"more":1}"#, &["a", "c"]),
        ] {
            assert_eq!(rejected(response.as_bytes()).expect(response), keys);
        }
        let deep = format!("{{\"rejected\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for response in ["", "[", "accepted", r#"{"rejected":"a"}"#, r#"{"rejected":[1e999]}"#, &deep] {
            assert!(rejected(response.as_bytes()).is_err(), "{}", &response[..response.len().min(40)]);
        }
    }

    #[test]
    fn a_gateway_is_one_origin() {
        for (url, origin) in [
            ("https://push.example", "https://push.example:443"),
            ("HTTPS://PUSH.example:443", "https://push.example:443"),
            ("http://push.example", "http://push.example:80"),
            ("http://push.example:443", "http://push.example:443"),
            ("https://[2001:DB8::1]:8448", "https://[2001:db8::1]:8448"),
        ] {
            let url = PushGatewayUrl::try_from(format!("{url}/_matrix/push/v1/notify").as_str()).expect(url);
            assert_eq!(url.origin(), origin);
        }
    }
}
