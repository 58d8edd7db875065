//! Requests to other servers, signed.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::x_matrix::{self, XMatrix};

use super::call::Call;
use super::error::FederationError;

/// A signed request, to be sent as often as need be.
pub(super) struct SignedRequest {
    method: Method,
    uri: Uri,
    authorization: HeaderValue,
    body: Option<Bytes>,
}

impl SignedRequest {
    /// Signs `call` of `origin` to `destination`
    /// (<https://spec.matrix.org/v1.19/server-server-api/#request-authentication>).
    pub(super) fn new(
        call: &Call,
        origin: &ServerName,
        destination: &ServerName,
        key: &SigningKey,
    ) -> Result<Self, FederationError> {
        let malformed = |error: &dyn std::fmt::Display| FederationError::MalformedRequest(error.to_string());
        let uri: Uri = call.path.parse().map_err(|error| malformed(&error))?;
        let content = call.body.as_deref().map(Object::parse).transpose().map_err(|error| malformed(&error))?;
        let content = content.map(Value::Object);
        let request =
            x_matrix::Request { method: call.method.as_str(), uri: &call.path, destination, content: content.as_ref() };
        let header = XMatrix::sign(&request, origin, key).to_string();
        let mut authorization = HeaderValue::from_str(&header).map_err(|error| malformed(&error))?;
        authorization.set_sensitive(true);
        Ok(Self { method: call.method.clone(), uri, authorization, body: call.body.clone().map(Bytes::from) })
    }

    /// The request as it is sent to the server that is reached as `authority`.
    pub(super) fn to(
        &self,
        authority: &ServerName,
        user_agent: Option<&HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, FederationError> {
        let malformed = |error: http::header::InvalidHeaderValue| FederationError::MalformedRequest(error.to_string());
        let has_body = self.body.is_some();
        let mut request = Request::new(Full::new(self.body.clone().unwrap_or_default()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(authority.as_str()).map_err(malformed)?);
        headers.extend(user_agent.map(|user_agent| (USER_AGENT, user_agent.clone())));
        headers.insert(AUTHORIZATION, self.authorization.clone());
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(request)
    }
}
