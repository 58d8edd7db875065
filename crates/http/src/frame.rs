//! The layers around every request: its id, CORS, caught panics, the log line.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, CONNECTION, SERVER, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use http_body::{Frame, SizeHint};
use plexus_base::Clock;
use tracing::Instrument as _;

use crate::auth::LoggedUser;
use crate::log_uri::loggable;
use crate::{ApiError, Peer, Probes, ambiguous};

/// The product token of the Server header and of /_matrix/federation/v1/version.
pub const SERVER_TOKEN: &str = concat!("Plexus/", env!("CARGO_PKG_VERSION"));

/// Adds to `router` the parts that every listener needs: /health, responses for unknown endpoints and methods, CORS,
/// caught panics, request ids and the log line.
pub fn frame(router: Router, clock: Clock, probes: Arc<Probes>) -> Router {
    let requests = Arc::new(Requests { clock, probes, next_id: AtomicU64::new(1) });
    router
        .route("/health", axum::routing::get(async || "OK"))
        .fallback(async || ApiError::unrecognized())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(requests, around))
}

#[derive(Debug)]
struct Requests {
    clock: Clock,
    probes: Arc<Probes>,
    next_id: AtomicU64,
}

impl Requests {
    /// Returns the id that a proxy gave the request, or its method and a number, as in Synapse.
    fn id(&self, request: &Request) -> String {
        let given = request.extensions().get::<Peer>().and_then(|peer| peer.request_id(request.headers()));
        match given {
            Some(id) => id.to_owned(),
            None => format!("{}-{}", request.method(), self.next_id.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

async fn around(State(requests): State<Arc<Requests>>, mut request: Request, next: Next) -> Response {
    requests.probes.see(&request);
    let span = tracing::info_span!("request", id = requests.id(&request));
    let mut line = Line::of(&request, &requests.clock, span.clone());
    request.extensions_mut().insert(line.user.clone());
    // Only a request that came over a connection has a version and headers that mean something.
    let ambiguous = request
        .extensions()
        .get::<Peer>()
        .and_then(|_| ambiguous::problem(request.version(), request.uri(), request.headers()));
    let uses_etags = request.uri().path().starts_with(RENDEZVOUS_BY_ETAG);
    let mut response = if let Some(problem) = ambiguous {
        refuse_ambiguous(request.version(), problem)
    } else if request.method() == Method::OPTIONS {
        // "Servers MUST ... respond to all OPTIONS requests without authentication" (client-server API, web browser
        // clients)
        StatusCode::OK.into_response()
    } else {
        catching(next.run(request)).instrument(span).await
    };
    add_headers(response.headers_mut(), uses_etags);
    line.status = response.status();
    response.map(|body| Body::new(LoggedBody { body, line }))
}

/// Responds with 400 and closes the connection, because where the next request begins is as doubtful.
fn refuse_ambiguous(version: Version, problem: &'static str) -> Response {
    let mut response = ApiError::unknown(problem).into_response();
    if version <= Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Turns a panic in a handler into a 500; the panic hook has logged where it happened.
async fn catching(handler: impl Future<Output = Response>) -> Response {
    let mut handler = pin!(handler);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(_) => Poll::Ready(ApiError::internal_silent().into_response()),
    })
    .await
}

/// The endpoints whose clients read and send ETags (MSC4108).
const RENDEZVOUS_BY_ETAG: &str = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous";

/// CORS as the client-server API recommends it for all responses, and the Server header.
fn add_headers(headers: &mut HeaderMap, uses_etags: bool) {
    let mut add = |name, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    add(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    add(ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE, OPTIONS");
    if uses_etags {
        let allowed = "X-Requested-With, Content-Type, Authorization, Date, If-Match, If-None-Match";
        add(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        add(ACCESS_CONTROL_EXPOSE_HEADERS, "ETag");
    } else {
        add(ACCESS_CONTROL_ALLOW_HEADERS, "X-Requested-With, Content-Type, Authorization");
    }
    add(SERVER, SERVER_TOKEN);
}

/// The body of a response; the request is logged when it ends.
struct LoggedBody {
    body: Body,
    line: Line,
}

impl HttpBody for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => this.line.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => {}
            None => this.line.is_complete = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        // hyper asks neither for the end of a body whose length it knows, nor for any of a response to HEAD.
        self.line.is_complete |= self.body.is_end_stream() || self.line.method == Method::HEAD;
    }
}

/// The log line of a request, written when its response has ended, or when nobody waits for it any more.
struct Line {
    clock: Clock,
    started: Duration,
    span: tracing::Span,
    user: LoggedUser,
    method: Method,
    uri: Uri,
    version: Version,
    agent: Option<HeaderValue>,
    ip: String,
    site: Arc<str>,
    status: StatusCode,
    /// Bytes of the response's body, as they were handed on.
    bytes: u64,
    /// Whether the response was handed on to its end.
    is_complete: bool,
}

impl Line {
    fn of(request: &Request, clock: &Clock, span: tracing::Span) -> Self {
        /// "Client closed request": Synapse's status for a request that nobody waits for any more.
        const CANCELLED: u16 = 499;
        let peer = request.extensions().get::<Peer>();
        let ip = peer.and_then(|peer| peer.client_ip(request.headers()));
        Self {
            clock: clock.clone(),
            started: clock.monotonic(),
            span,
            user: LoggedUser::default(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            agent: request.headers().get(USER_AGENT).cloned(),
            ip: ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
            site: peer.map_or_else(|| Arc::from("-"), |peer| Arc::clone(&peer.site)),
            status: StatusCode::from_u16(CANCELLED).unwrap_or(StatusCode::REQUEST_TIMEOUT),
            bytes: 0,
            is_complete: false,
        }
    }

    /// Whether the line is logged at DEBUG: as in Synapse, those of preflights and health checks are.
    fn is_minor(&self) -> bool {
        self.method == Method::OPTIONS || self.uri.path() == "/health"
    }
}

impl fmt::Display for Line {
    /// In Synapse's format, so that tools that read its log read this one. "!" marks a client that hung up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.clock.monotonic().saturating_sub(self.started);
        let agent = self.agent.as_ref().and_then(|agent| agent.to_str().ok());
        write!(
            f,
            "{} - {} - {{{}}} Processed request: {:.3}sec {}B {}{} \"{} {} {:?}\" \"{}\"",
            self.ip,
            self.site,
            self.user.0.get().map_or("None", |user| user.as_str()),
            took.as_secs_f64(),
            self.bytes,
            self.status.as_u16(),
            if self.is_complete { "" } else { "!" },
            self.method,
            loggable(&self.uri),
            self.version,
            // A quotation mark would let a client end the field and imitate what tools look for in this line.
            agent.unwrap_or("-").escape_debug(),
        )
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        if self.is_minor() {
            tracing::debug!(target: "plexus.access", "{self}");
        } else {
            tracing::info!(target: "plexus.access", "{self}");
        }
    }
}

#[cfg(test)]
mod tests;
