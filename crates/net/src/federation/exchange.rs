//! One signed request and the head of its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::x_matrix::{self, XMatrix};

use super::call::Call;
use super::connector::Connector;
use super::error::{ConnectError, FederationError};
use super::lease::Lease;
use super::pool::{self, Pool};

/// Signs requests and sends them.
pub(super) struct Exchange {
    pub(super) server_name: ServerName,
    pub(super) signing_key: Arc<SigningKey>,
    pub(super) user_agent: HeaderValue,
    pub(super) connector: Arc<Connector>,
    pub(super) pool: Arc<Pool>,
}

/// A request as it is sent, as often as need be.
pub(super) struct Signed {
    method: Method,
    uri: Uri,
    authorization: HeaderValue,
    body: Option<Bytes>,
}

impl Exchange {
    /// Signs `call` for `destination` (server-server API, "Request Authentication").
    pub(super) fn sign(&self, destination: &ServerName, call: &Call) -> Result<Signed, FederationError> {
        let malformed = |error: &dyn std::fmt::Display| FederationError::Malformed(error.to_string());
        let uri: Uri = call.path.parse().map_err(|error| malformed(&error))?;
        let content = call.body.as_deref().map(Object::parse).transpose().map_err(|error| malformed(&error))?;
        let content = content.map(Value::Object);
        let request =
            x_matrix::Request { method: call.method.as_str(), uri: &call.path, destination, content: content.as_ref() };
        let header = XMatrix::sign(&request, &self.server_name, &self.signing_key).to_string();
        let mut authorization = HeaderValue::from_str(&header).map_err(|error| malformed(&error))?;
        authorization.set_sensitive(true);
        Ok(Signed { method: call.method.clone(), uri, authorization, body: call.body.clone().map(Bytes::from) })
    }

    /// Sends `signed` to the server reached under `authority`; answers the head of what it answers.
    pub(super) async fn send(
        &self,
        destination: &ServerName,
        authority: &ServerName,
        signed: &Signed,
    ) -> Result<(Response<Incoming>, Lease), FederationError> {
        loop {
            let mut lease =
                self.lease(authority).await.map_err(|error| FederationError::unreachable(destination, error))?;
            let request = self.request(authority, signed)?;
            match lease.sender.send_request(request).await {
                Ok(answer) => return Ok((answer, lease)),
                // The other side closed a connection that had been idle: nothing is wrong. There are fewer idle connections
                // now, so this ends.
                Err(error) if lease.reused && (error.is_canceled() || error.is_closed() || broke_off(&error)) => {}
                Err(error) => return Err(FederationError::broken(destination, error)),
            }
        }
    }

    async fn lease(&self, authority: &ServerName) -> Result<Lease, ConnectError> {
        let pool = Arc::clone(&self.pool);
        let authority = authority.clone();
        if let Some(sender) = pool.take(&authority).await {
            return Ok(Lease { sender, reused: true, authority, pool });
        }
        let slot = pool.slot().await;
        let stream = self.connector.connect(&authority).await?;
        let sender = pool::speak(stream, slot).await?;
        Ok(Lease { sender, reused: false, authority, pool })
    }

    fn request(&self, authority: &ServerName, signed: &Signed) -> Result<Request<Full<Bytes>>, FederationError> {
        let malformed = |error: http::header::InvalidHeaderValue| FederationError::Malformed(error.to_string());
        let body = signed.body.clone();
        let has_body = body.is_some();
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = signed.method.clone();
        *request.uri_mut() = signed.uri.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(authority.as_str()).map_err(malformed)?);
        headers.insert(USER_AGENT, self.user_agent.clone());
        headers.insert(AUTHORIZATION, signed.authorization.clone());
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(request)
    }
}

/// Whether the connection ended before an answer came.
fn broke_off(error: &hyper::Error) -> bool {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    error.is_incomplete_message() || io.is_some()
}
