//! Who sends a request between servers: the X-Matrix signature, checked (server-server API, "Request Authentication").

mod limits;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, StatusCode};
use limits::OriginLimits;
use plexus_base::Clock;
use plexus_base::config::FederationLimits;
use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::x_matrix::{self, XMatrix};

use crate::{ApiError, body};

/// What is known of other servers, as far as checking their requests needs it.
pub trait OtherServers: Send + Sync {
    /// The key `key_id` of `server` if it is valid now; looked up at the server when it is not known.
    fn key<'a>(
        &'a self,
        server: &'a ServerName,
        key_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Option<PublicKey>> + Send + 'a>>;

    /// Whether this server speaks with `server` at all (`federation_domain_whitelist`).
    fn is_allowed(&self, server: &ServerName) -> bool;

    /// `server` is up: it has just sent a request.
    fn heard_from(&self, server: &ServerName);
}

/// Checks the signatures of requests from other servers.
pub struct SignedRequests {
    server_name: ServerName,
    others: Arc<dyn OtherServers>,
    limits: OriginLimits,
}

/// The server that signed the request. Only behind [`signed`].
#[derive(Debug, Clone)]
pub struct Origin(pub ServerName);

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| unauthorized("The request is not signed"))
    }
}

/// Where transactions go.
const TRANSACTIONS: &str = "/_matrix/federation/v1/send/";

/// A layer for routes that only other servers may use: refuses what is not signed, and tells the handlers the [`Origin`].
/// The body is read whole; handlers read it again by [`crate::Json`].
pub async fn signed(State(requests): State<Arc<SignedRequests>>, request: Request, next: Next) -> Response {
    let checked = async {
        let (request, origin) = requests.check(request).await?;
        let delayed = !request.uri().path().starts_with(TRANSACTIONS);
        let turn = requests.limits.turn(&origin, delayed).await?;
        Ok::<_, ApiError>((request, turn))
    };
    match checked.await {
        Ok((request, _turn)) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

impl SignedRequests {
    /// Requests to `server_name`, from servers that `others` knows the keys of, within `limits` for each of them.
    pub fn new(
        server_name: ServerName,
        others: Arc<dyn OtherServers>,
        limits: &FederationLimits,
        clock: Clock,
    ) -> Self {
        Self { server_name, others, limits: OriginLimits::new(limits.clone(), clock) }
    }

    /// The request with its [`Origin`] among its extensions and its body read; and who sent it.
    async fn check(&self, request: Request) -> Result<(Request, ServerName), ApiError> {
        let headers = headers(&request)?;
        let origin = self.addressed_to_us(&headers)?;
        let (mut parts, body) = request.into_parts();
        let body = body::read(Request::from_parts(parts.clone(), body), body::MAX_JSON_BYTES).await?;
        let content = content(&parts.method, &body)?;
        let signed = x_matrix::Request {
            method: parts.method.as_str(),
            uri: parts.uri.path_and_query().map_or("/", |uri| uri.as_str()),
            destination: &self.server_name,
            content: content.as_ref(),
        };
        self.verify(&headers, &signed).await?;
        self.others.heard_from(&origin);
        parts.extensions.insert(Origin(origin.clone()));
        Ok((Request::from_parts(parts, Body::from(body)), origin))
    }

    /// The one origin of all headers, if this server is their destination and speaks with it.
    fn addressed_to_us(&self, headers: &[XMatrix]) -> Result<ServerName, ApiError> {
        let origins: BTreeSet<_> = headers.iter().map(|header| &header.origin).collect();
        let (Some(origin), 1) = (origins.first(), origins.len()) else {
            return Err(unauthorized("The Authorization headers name different origins"));
        };
        let ours = |header: &XMatrix| header.destination.as_ref().is_none_or(|name| *name == self.server_name);
        if !headers.iter().all(ours) {
            return Err(unauthorized("Destination mismatch in auth header"));
        }
        if !self.others.is_allowed(origin) {
            return Err(ApiError::forbidden(format!("Federation denied with {origin}.")));
        }
        Ok(ServerName::clone(origin))
    }

    /// Whether one of the signatures is right; a server may sign with several keys, of which not every one is known.
    async fn verify(&self, headers: &[XMatrix], signed: &x_matrix::Request<'_>) -> Result<(), ApiError> {
        let mut refusal = None;
        for header in headers {
            match self.others.key(&header.origin, &header.key).await {
                Some(key) if header.verify(signed, &key) => return Ok(()),
                Some(_) => refusal = Some(format!("Invalid signature for server {}", header.origin)),
                None => {
                    let unknown = || format!("No key {} of {} is known and valid", header.key, header.origin);
                    refusal.get_or_insert_with(unknown);
                }
            }
        }
        Err(unauthorized(refusal.unwrap_or_default()))
    }
}

/// How many signatures of one request are looked at.
const MAX_SIGNATURES: usize = 4;

fn headers(request: &Request) -> Result<Vec<XMatrix>, ApiError> {
    let mut headers = Vec::new();
    for header in request.headers().get_all(AUTHORIZATION).iter().take(MAX_SIGNATURES) {
        let header = header.to_str().map_err(|_| unauthorized("Malformed Authorization header"))?;
        let header = XMatrix::parse(header);
        headers.push(header.map_err(|error| unauthorized(format!("Malformed Authorization header: {error}")))?);
    }
    match headers.is_empty() {
        true => Err(unauthorized("Missing Authorization headers")),
        false => Ok(headers),
    }
}

/// The body as it was signed. Requests that send something always have one, a JSON object.
fn content(method: &Method, body: &Bytes) -> Result<Option<Value>, ApiError> {
    if body.is_empty() && method != Method::PUT && method != Method::POST {
        return Ok(None);
    }
    let text = std::str::from_utf8(body).map_err(|_| ApiError::not_json("The request's body is not valid UTF-8"))?;
    let object = Object::parse(text).map_err(|error| ApiError::not_json(format!("Content not JSON: {error}")))?;
    Ok(Some(Value::Object(object)))
}

fn unauthorized(message: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", message)
}

#[cfg(test)]
mod tests;
