//! The server that sends a request, by its X-Matrix signature (server-server API, "Request Authentication").

mod limits;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, StatusCode};
use limits::OriginLimits;
use plexus_base::config::FederationLimits;
use plexus_base::{Clock, RateLimiter};
use plexus_net::{TooManySearches, percent_decode, percent_encode};
use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::id::ServerName;
use plexus_protocol::x_matrix::{self, XMatrix};

use crate::body::{self, BodyRead, HeldBytes, WholeBody};
use crate::{ApiError, peer};

/// The keys that were found, by their ids.
pub type FoundKeys = HashMap<String, PublicKey>;

/// Looks up what is needed of other servers to check their requests.
pub trait OtherServers: Send + Sync {
    /// Returns those of the keys `key_ids` of `server` that are valid now. Keys that are not known are fetched from the
    /// server, for a client at `source` that is not known yet; within a bound, because anybody can name servers that do
    /// not respond.
    fn keys<'a>(
        &'a self,
        server: &'a ServerName,
        key_ids: BTreeSet<&'a str>,
        source: Option<IpAddr>,
    ) -> Pin<Box<dyn Future<Output = Result<FoundKeys, TooManySearches>> + Send + 'a>>;

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
    /// Limits the warnings of paths that a reverse proxy changed.
    warnings: Arc<RateLimiter<()>>,
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

/// A middleware for routes that only other servers may use: refuses requests that are not signed, and gives the
/// handlers the [`Origin`].
///
/// The order makes requests of strangers cheap. Until the signature is checked, the sender is not known: so the headers
/// are parsed first, then the key is found, and only then the body is read, within a budget for all unverified bodies,
/// and kept as text. Only requests that a server has signed count towards its `rc_federation`: nobody else can use it
/// up. Handlers read the body again with [`crate::Json`].
pub async fn signed(State(requests): State<Arc<SignedRequests>>, request: Request, next: Next) -> Response {
    let checked = async {
        let verified = requests.check(request).await?;
        let delayed = !verified.request.uri().path().starts_with(TRANSACTIONS);
        let turn = requests.limits.turn(&verified.origin, delayed).await?;
        Ok::<_, ApiError>((verified.request, verified.held, turn))
    };
    match checked.await {
        Ok((request, _held, _turn)) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// A request whose signature is right, and its part of the budget for bodies.
struct Verified {
    request: Request,
    origin: ServerName,
    held: HeldBytes,
}

impl SignedRequests {
    /// Checks requests to `server_name`. `others` has the keys of other servers; each of them has `limits`.
    pub fn new(
        server_name: ServerName,
        others: Arc<dyn OtherServers>,
        limits: &FederationLimits,
        clock: Clock,
    ) -> Self {
        let warnings = Arc::new(RateLimiter::new(clock.clone(), WARNINGS_PER_SECOND, 1.0));
        Self { server_name, others, limits: OriginLimits::new(limits.clone(), clock), warnings }
    }

    /// Returns the request with its [`Origin`] and its body among its extensions.
    async fn check(&self, request: Request) -> Result<Verified, ApiError> {
        let headers = headers(&request)?;
        let origin = self.addressed_to_us(&headers)?;
        // This check does not count: a request in another's name costs that server nothing.
        self.limits.check_room(&origin)?;
        let source = peer::source(request.extensions(), request.headers());
        let keys = self.keys(&origin, &headers, source).await?;
        let (parts, body) = request.into_parts();
        let whole = body::read_signed(Request::from_parts(parts.clone(), body)).await?;
        let (bytes, body_reader) = (whole.bytes.clone(), whole.body_reader());
        self.verify(headers, keys, &parts, &origin, whole).await?;
        let held = body_reader.hold_for(&origin, bytes.len()).await?;
        self.others.heard_from(&origin);
        let mut request = Request::from_parts(parts, Body::empty());
        request.extensions_mut().insert(Origin(origin.clone()));
        request.extensions_mut().insert(BodyRead(bytes));
        Ok(Verified { request, origin, held })
    }

    /// Returns the keys by which the request claims to be signed; at least one.
    async fn keys(
        &self,
        origin: &ServerName,
        headers: &[XMatrix],
        source: Option<IpAddr>,
    ) -> Result<FoundKeys, ApiError> {
        let key_ids = headers.iter().map(|header| header.key.as_str()).collect();
        let keys = self.others.keys(origin, key_ids, source).await;
        let keys = keys.map_err(|TooManySearches| ApiError::limit_exceeded(SEARCH_LATER_MS))?;
        if keys.is_empty() {
            let named: Vec<_> = headers.iter().map(|header| header.key.as_str()).collect();
            return Err(unauthorized(format!("No key {} of {origin} is known and valid", named.join(", "))));
        }
        Ok(keys)
    }

    /// Returns the origin of all headers, if it is one, this server is their destination, and federation with it is
    /// allowed.
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
    async fn verify(
        &self,
        headers: Vec<XMatrix>,
        keys: FoundKeys,
        parts: &Parts,
        origin: &ServerName,
        body: WholeBody,
    ) -> Result<(), ApiError> {
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let (origin, destination) = (origin.clone(), self.server_name.clone());
        let warnings = Arc::clone(&self.warnings);
        let check = move |body: &[u8]| {
            let is_signed = |uri: &str| {
                let request =
                    x_matrix::Request { method: method.as_str(), uri, destination: &destination, content: None };
                let signed = signed_text(&request, &method, body, &origin)?;
                let right =
                    |header: &XMatrix| keys.get(&header.key).is_some_and(|key| header.verify_json(&signed, key));
                Ok::<_, ApiError>(headers.iter().any(right))
            };
            let target = uri.path_and_query().map_or("/", |target| target.as_str());
            if is_signed(target)? {
                return Ok(());
            }
            let encoded = with_encoded_segments(target);
            if encoded == target || !is_signed(&encoded)? {
                return Err(unauthorized(format!("Invalid signature for server {origin}")));
            }
            if warnings.check(&()).is_ok() {
                tracing::warn!(
                    "a reverse proxy in front of this server changes the paths of requests, and {origin} is refused \
                     for it: {encoded} arrives as {target}; see docs/reverse-proxies.md"
                );
            }
            Err(unauthorized(format!(
                "Invalid signature for server {origin}: {encoded} was signed, but {target} arrived; a reverse proxy in \
                 front of this server changes the paths of requests"
            )))
        };
        body.work_on(check).await?
    }
}

/// When a server whose key cannot be fetched now may try again, in ms: by then some fetches have ended.
const SEARCH_LATER_MS: u64 = 10_000;

/// How often it is logged that a reverse proxy changes paths: any server can sign a request so that it seems to.
const WARNINGS_PER_SECOND: f64 = 1.0 / 60.0;

/// The most signatures of a request that are checked.
const MAX_SIGNATURES: usize = 4;

fn headers(request: &Request) -> Result<Vec<XMatrix>, ApiError> {
    let mut headers = Vec::new();
    for header in request.headers().get_all(AUTHORIZATION).iter().take(MAX_SIGNATURES) {
        let header = header.to_str().map_err(|_| unauthorized("Malformed Authorization header"))?;
        let header = XMatrix::parse(header);
        headers.push(header.map_err(|error| unauthorized(format!("Malformed Authorization header: {error}")))?);
    }
    if headers.is_empty() { Err(unauthorized("Missing Authorization headers")) } else { Ok(headers) }
}

/// Returns the text that was signed. Requests that send something always have a body, a JSON object.
fn signed_text(
    request: &x_matrix::Request<'_>,
    method: &Method,
    body: &[u8],
    origin: &ServerName,
) -> Result<String, ApiError> {
    if body.is_empty() && method != Method::PUT && method != Method::POST {
        return Ok(request.signed_json(origin));
    }
    let text = std::str::from_utf8(body).map_err(|_| ApiError::not_json("The request's body is not valid UTF-8"))?;
    let signed = request.signed_json_of(text, origin);
    signed.map_err(|error| ApiError::not_json(format!("Content not JSON: {error}")))
}

/// The target of a request with all but the unreserved characters of its path's segments percent-encoded, as most
/// servers send it: what a reverse proxy may have made the same target from.
fn with_encoded_segments(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let segments = path.split('/').map(|segment| {
        let text = percent_decode(segment).decode_utf8_lossy();
        percent_encode(&text).to_string()
    });
    segments.collect::<Vec<_>>().join("/") + query
}

fn unauthorized(message: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", message)
}

#[cfg(test)]
mod tests;
