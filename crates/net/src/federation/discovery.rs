//! The name that a server is reached as: `/.well-known/matrix/server` and its cache
//! (<https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>, step 3).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Shared;
use http::header::{CACHE_CONTROL, EXPIRES};
use http::uri::InvalidUri;
use http::{HeaderMap, Request, StatusCode, Uri};
use parking_lot::Mutex;
use plexus_base::{Background, Clock};
use plexus_protocol::id::{Host, ServerName};
use quick_cache::sync::Cache;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::error::UnreachableError;
use crate::http::client::HttpClient;
use crate::http::error::HttpError;
use crate::http::purpose::Purpose;

/// How many servers' responses are cached.
const CACHE_CAPACITY: usize = 10_000;
/// The lifetime of a response that states none.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The longest lifetime of a response.
const MAX_LIFETIME: Duration = Duration::from_secs(48 * 3600);
/// The shortest: a server that forbids caching is asked every five minutes, not for every request.
const MIN_LIFETIME: Duration = Duration::from_secs(300);
/// How long the first failure is remembered; each further one twice as long.
const FIRST_FAILURE_LIFETIME: Duration = Duration::from_secs(120);
/// The longest that a failure is remembered.
const MAX_FAILURE_LIFETIME: Duration = Duration::from_secs(3600);

/// Finds the name that a server is reached as.
pub(super) struct Discovery {
    http: Arc<HttpClient>,
    clock: Clock,
    background: Background,
    known: Cache<String, Arc<Known>>,
    /// The requests under way by host: one for each.
    asking: Mutex<HashMap<String, Asking>>,
}

/// A request under way; it fails if the task panics.
type Asking = Shared<oneshot::Receiver<Arc<Known>>>;

/// The cache entry of a host. Times are on the clock's monotonic time.
struct Known {
    /// The last valid response, and when it expires.
    delegated: Option<(ServerName, Duration)>,
    /// When to ask again.
    ask_at: Duration,
    /// How many requests in a row had no valid response.
    failures: u32,
    /// Why nothing could be found out, if that lies on this side.
    prevented: Option<Arc<UnreachableError>>,
}

#[derive(Deserialize)]
struct WellKnown {
    #[serde(rename = "m.server")]
    server: ServerName,
}

/// Why a server's .well-known names no other.
#[derive(Debug, thiserror::Error)]
pub(super) enum WellKnownError {
    #[error(transparent)]
    Uri(#[from] InvalidUri),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("its status is {0}")]
    Status(StatusCode),
    #[error("it is malformed: {0}")]
    Json(#[from] serde_json::Error),
}

impl WellKnownError {
    /// Whether the server says that there is no such file.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Status(StatusCode::NOT_FOUND))
    }

    /// Whether the server may be out of order, and has not taken the file away.
    fn may_pass(&self) -> bool {
        match self {
            Self::Http(_) => true,
            Self::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Uri(_) | Self::Json(_) => false,
        }
    }
}

/// A request in [`Discovery::asking`], removed from there when dropped: in whatever way its task ends.
struct UnderWay {
    discovery: Arc<Discovery>,
    host: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.discovery.asking.lock().remove(&self.host);
    }
}

impl Discovery {
    pub(super) fn new(http: Arc<HttpClient>, clock: Clock, background: Background) -> Self {
        Self { http, clock, background, known: Cache::new(CACHE_CAPACITY), asking: Mutex::default() }
    }

    /// The name that `server` is reached as: its own, unless its .well-known says otherwise.
    ///
    /// # Errors
    /// When a forward proxy is out of order, so that nobody can say.
    pub(super) async fn delegated(self: &Arc<Self>, server: &ServerName) -> Result<ServerName, Arc<UnreachableError>> {
        let (host, port) = server.host_port();
        if port.is_some() || matches!(server.host(), Host::Address(_)) {
            return Ok(server.clone());
        }
        let known = match self.fresh(host) {
            Some(known) => Some(known),
            None => self.asking(host).await.ok(),
        };
        let now = self.clock.monotonic();
        let valid = known.as_ref().and_then(|known| known.delegated.as_ref()).filter(|(_, until)| *until > now);
        match (valid, known.as_ref().and_then(|known| known.prevented.clone())) {
            (Some((delegated, _)), _) => Ok(delegated.clone()),
            (None, Some(prevented)) => Err(prevented),
            (None, None) => Ok(server.clone()),
        }
    }

    fn fresh(&self, host: &str) -> Option<Arc<Known>> {
        self.known.get(host).filter(|known| known.ask_at > self.clock.monotonic())
    }

    /// The request to the host. It goes on when nobody waits for it any longer, so that a failure is remembered too.
    fn asking(self: &Arc<Self>, host: &str) -> Asking {
        let (result, asking) = oneshot::channel();
        let asking = asking.shared();
        {
            let mut under_way = self.asking.lock();
            if let Some(under_way) = under_way.get(host) {
                return under_way.clone();
            }
            under_way.insert(host.to_owned(), asking.clone());
        }
        let request = UnderWay { discovery: Arc::clone(self), host: host.to_owned() };
        self.background.spawn_abortable("discovery of another server", async move {
            let known = request.discovery.ask(&request.host).await;
            // It fails when nobody waits any longer.
            drop(result.send(known));
        });
        asking
    }

    async fn ask(&self, host: &str) -> Arc<Known> {
        let answer = self.fetch(host).await;
        let before = self.known.get(host);
        let now = self.clock.monotonic();
        let known = match answer {
            Ok((delegated, keep)) => {
                let delegated = Some((delegated, now + MAX_LIFETIME));
                Known { delegated, ask_at: now + keep, failures: 0, prevented: None }
            }
            // Nothing new is known of the server then, and nothing is to be remembered once the proxy works again.
            Err(WellKnownError::Http(HttpError::Connect(error))) if error.is_of_proxy() => {
                tracing::debug!("https://{host}/.well-known/matrix/server: {error}");
                let prevented = error.is_of_broken_proxy().then(|| Arc::new(error.into()));
                let (delegated, failures) =
                    before.map_or((None, 0), |before| (before.delegated.clone(), before.failures));
                return Arc::new(Known { delegated, ask_at: now, failures, prevented });
            }
            Err(error) => {
                tracing::debug!("https://{host}/.well-known/matrix/server: {error}");
                // A server that does not respond for a while is still where it was.
                let delegated = before.as_ref().filter(|_| error.may_pass()).and_then(|it| it.delegated.clone());
                let failures = before.map_or(0, |before| before.failures);
                let ask_at = now + failure_lifetime(failures);
                Known { delegated, ask_at, failures: failures.saturating_add(1), prevented: None }
            }
        };
        let known = Arc::new(known);
        self.known.insert(host.to_owned(), Arc::clone(&known));
        known
    }

    /// Asks the host once, whatever is known of it. Returns the name it delegates to, or why it does not.
    pub(super) async fn look(&self, host: &str) -> Result<ServerName, WellKnownError> {
        self.fetch(host).await.map(|(delegated, _)| delegated)
    }

    async fn fetch(&self, host: &str) -> Result<(ServerName, Duration), WellKnownError> {
        let uri: Uri = format!("https://{host}/.well-known/matrix/server").parse()?;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri;
        let response = self.http.fetch(Purpose::WellKnown, request).await?;
        if response.status != StatusCode::OK {
            return Err(WellKnownError::Status(response.status));
        }
        let keep = lifetime(&response.headers, self.clock.now_ms());
        Ok((serde_json::from_slice::<WellKnown>(&response.body)?.server, keep))
    }
}

fn failure_lifetime(failures_before: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures_before);
    FIRST_FAILURE_LIFETIME.saturating_mul(factor).min(MAX_FAILURE_LIFETIME)
}

/// The lifetime of a response (RFC 9111, sections 5.2.2 and 5.3), within our own bounds.
fn lifetime(headers: &HeaderMap, now_ms: u64) -> Duration {
    let stated = cache_control(headers).or_else(|| expires(headers, now_ms));
    stated.unwrap_or(DEFAULT_LIFETIME).clamp(MIN_LIFETIME, MAX_LIFETIME)
}

fn cache_control(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => max_age = value.trim().trim_matches('"').parse().ok().map(Duration::from_secs).or(max_age),
            _ => {}
        }
    }
    max_age
}

fn expires(headers: &HeaderMap, now_ms: u64) -> Option<Duration> {
    let value = headers.get(EXPIRES)?.to_str().ok()?;
    // "0" and other dates that are none mean the past (RFC 9111, section 5.3).
    let at = httpdate::parse_http_date(value).ok();
    let at = at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
    Some(at.saturating_sub(Duration::from_millis(now_ms)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn seconds_of(headers: &[(&'static str, &'static str)]) -> u64 {
        let headers =
            headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        lifetime(&headers.collect(), 1_445_412_480_000).as_secs()
    }

    #[test]
    fn lifetimes_are_as_stated_within_bounds() {
        assert_eq!(seconds_of(&[]), 24 * 3600);
        assert_eq!(seconds_of(&[("cache-control", "public, max-age=7200")]), 7200);
        assert_eq!(seconds_of(&[("cache-control", "max-age=10")]), 300);
        assert_eq!(seconds_of(&[("cache-control", "max-age=99999999")]), 48 * 3600);
        assert_eq!(seconds_of(&[("cache-control", "max-age=7200, no-store")]), 300);
        assert_eq!(seconds_of(&[("cache-control", "max-age=much")]), 24 * 3600);
        // 2015-10-21T07:28:00Z is the moment of the test; an hour later:
        assert_eq!(seconds_of(&[("expires", "Wed, 21 Oct 2015 08:28:00 GMT")]), 3600);
        assert_eq!(seconds_of(&[("expires", "Wed, 21 Oct 2015 06:28:00 GMT")]), 300);
        assert_eq!(seconds_of(&[("expires", "0")]), 300);
        let both = [("expires", "0"), ("cache-control", "max-age=600")];
        assert_eq!(seconds_of(&both), 600);
    }

    #[test]
    fn failures_are_remembered_longer_each_time_up_to_an_hour() {
        let minutes = (0..7).map(|failures| failure_lifetime(failures).as_secs() / 60);
        assert_eq!(minutes.collect::<Vec<_>>(), [2, 4, 8, 16, 32, 60, 60]);
    }
}
