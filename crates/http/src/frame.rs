//! What surrounds every request: its id, CORS, caught panics, the log line.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, SERVER,
    USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use plexus_base::Clock;
use tracing::Instrument as _;

use crate::auth::LoggedUser;
use crate::log_uri::loggable;
use crate::{ApiError, Peer, ambiguous};

/// The product token of the Server header and of /_matrix/federation/v1/version.
pub const SERVER_TOKEN: &str = concat!("Plexus/", env!("CARGO_PKG_VERSION"));

/// Adds to `router` what every listener needs: /health, answers for unknown endpoints and methods, CORS, caught panics, request
/// ids and the log line.
pub fn frame(router: Router, clock: Clock) -> Router {
    let requests = Arc::new(Requests { clock, next_id: AtomicU64::new(1) });
    router
        .route("/health", axum::routing::get(async || "OK"))
        .fallback(async || ApiError::unrecognized())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(requests, around))
}

#[derive(Debug)]
struct Requests {
    clock: Clock,
    next_id: AtomicU64,
}

impl Requests {
    /// The id a proxy gave the request, or its method and a number, as in Synapse.
    fn id(&self, request: &Request) -> String {
        let given = request.extensions().get::<Peer>().and_then(|peer| peer.request_id(request.headers()));
        match given {
            Some(id) => id.to_owned(),
            None => format!("{}-{}", request.method(), self.next_id.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

async fn around(State(requests): State<Arc<Requests>>, mut request: Request, next: Next) -> Response {
    let silent = request.uri().path() == "/health";
    let started = requests.clock.monotonic();
    let line = Line::of(&request);
    let user = LoggedUser::default();
    request.extensions_mut().insert(user.clone());
    let span = tracing::info_span!("request", id = requests.id(&request));
    // Only what came over a connection has a version and headers that mean something.
    let ambiguous = request
        .extensions()
        .get::<Peer>()
        .and_then(|_| ambiguous::problem(request.version(), request.uri(), request.headers()));
    let mut response = if let Some(problem) = ambiguous {
        refuse_ambiguous(request.version(), problem)
    } else if request.method() == Method::OPTIONS {
        // "Servers MUST ... respond to all OPTIONS requests without authentication" (client-server API, web browser clients)
        StatusCode::OK.into_response()
    } else {
        catching(next.run(request)).instrument(span.clone()).await
    };
    add_headers(response.headers_mut());
    if !silent {
        let took = requests.clock.monotonic().saturating_sub(started);
        span.in_scope(|| line.log(&user, &response, took));
    }
    response
}

/// Answers 400 and has the connection end, because what follows on it is as doubtful.
fn refuse_ambiguous(version: Version, problem: &'static str) -> Response {
    let mut response = ApiError::unknown(problem).into_response();
    if version <= Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A panic in a handler becomes a 500; the panic hook has logged where it happened.
async fn catching(handler: impl Future<Output = Response>) -> Response {
    let mut handler = pin!(handler);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(_) => Poll::Ready(ApiError::internal_silent().into_response()),
    })
    .await
}

/// CORS as the client-server API recommends it for all responses, and the Server header.
fn add_headers(headers: &mut HeaderMap) {
    let mut add = |name, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    add(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    add(ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE, OPTIONS");
    add(ACCESS_CONTROL_ALLOW_HEADERS, "X-Requested-With, Content-Type, Authorization");
    add(SERVER, SERVER_TOKEN);
}

/// What the log line says of the request; kept because the request is consumed by its handler.
struct Line {
    method: Method,
    uri: Uri,
    version: Version,
    agent: Option<HeaderValue>,
    ip: String,
    site: Arc<str>,
}

impl Line {
    fn of(request: &Request) -> Self {
        let peer = request.extensions().get::<Peer>();
        let ip = peer.and_then(|peer| peer.client_ip(request.headers()));
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            agent: request.headers().get(USER_AGENT).cloned(),
            ip: ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
            site: peer.map_or_else(|| Arc::from("-"), |peer| Arc::clone(&peer.site)),
        }
    }

    /// Writes the line in the shape of Synapse's, so that tools that read those read these.
    fn log(&self, user: &LoggedUser, response: &Response, took: Duration) {
        let user = user.0.get().map_or("None", |user| user.as_str());
        let size = response.body().size_hint().exact().unwrap_or(0);
        let agent = self.agent.as_ref().and_then(|agent| agent.to_str().ok());
        tracing::info!(
            target: "plexus.access",
            "{} - {} - {{{user}}} Processed request: {:.3}sec {size}B {} \"{} {} {:?}\" \"{}\"",
            self.ip,
            self.site,
            took.as_secs_f64(),
            response.status().as_u16(),
            self.method,
            loggable(&self.uri),
            self.version,
            // A quotation mark would let a client end the field and imitate what tools look for in this line.
            agent.unwrap_or("-").escape_debug(),
        );
    }
}

#[cfg(test)]
mod tests;
