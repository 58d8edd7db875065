//! Forward proxies: which requests go through one, and the tunnels that it opens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_base::forward_proxy::{Credentials, ForwardProxies, NoProxy, ProxyScheme, ProxyUrl};

use crate::http::dial::Dialer;
use crate::http::error::ConnectError;
use crate::http::proxy_fault::ProxyFault;
use crate::http::purpose::{Addresses, Certificates};
use crate::http::stream::BoxedStream;
use crate::http::target::Target;
use crate::http::tls::Tls;

/// The longest that a proxy may take to open a tunnel; it has to reach the target meanwhile.
const MAX_TUNNEL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a proxy that fails is left alone at first; each further time twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest that it is left alone: what goes through it waits as long after it has recovered.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The most headers of a response to CONNECT.
const MAX_HEADERS: usize = 64;

/// The proxies that requests go through.
pub(super) struct Proxies {
    http: Option<Arc<Proxy>>,
    https: Option<Arc<Proxy>>,
    no_proxy: NoProxy,
}

impl Proxies {
    pub(super) fn new(settings: &ForwardProxies, clock: &Clock) -> Self {
        let ForwardProxies { http, https, no_proxy } = settings;
        let proxy = |url: &ProxyUrl| Arc::new(Proxy::new(url.clone(), clock.clone()));
        // One that is named twice fails once.
        let of_https = https.as_ref().map(proxy);
        let of_http = if http == https { of_https.clone() } else { http.as_ref().map(proxy) };
        Self { http: of_http, https: of_https, no_proxy: no_proxy.clone() }
    }

    /// The proxy for connections to `host` (a name, or an address without brackets), under any of its `names`.
    pub(super) fn for_target(&self, is_encrypted: bool, host: &str, port: u16, name: &str) -> Option<&Arc<Proxy>> {
        let proxy = if is_encrypted { &self.https } else { &self.http };
        let is_exempt = || self.no_proxy.matches(host, port) || self.no_proxy.matches(name, port);
        proxy.as_ref().filter(|_| !is_exempt())
    }
}

/// A proxy, and whether it works. The owner is this process: another one finds out for itself.
pub(crate) struct Proxy {
    url: ProxyUrl,
    authorization: Option<HeaderValue>,
    clock: Clock,
    health: Mutex<Health>,
}

/// Whether a proxy works. Times are on the clock's monotonic time.
#[derive(Default)]
struct Health {
    /// How often in a row it failed, and the last reason.
    failures: u32,
    reason: String,
    /// Until when it is left alone.
    until: Duration,
    /// When it responded last.
    responded: Duration,
    /// The target of the last tunnel to which it has not responded, if it has responded to none since.
    silent_for: Option<String>,
}

impl Proxy {
    fn new(url: ProxyUrl, clock: Clock) -> Self {
        let authorization = url.credentials().and_then(basic);
        Self { url, authorization, clock, health: Mutex::default() }
    }

    /// `Proxy-Authorization` of requests that it passes on (RFC 7617).
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Its address, without credentials.
    pub(super) fn name(&self) -> String {
        self.url.to_string()
    }

    /// Refuses a `host` that a proxy may read as an address, and that is none in its usual form: 127.1, 0x7f000001,
    /// 127.0.0.1. with a dot at the end.
    pub(super) fn check_host(&self, host: &str) -> Result<(), ConnectError> {
        if is_unusual_address(host) {
            return Err(self.error(ProxyFault::Target(host.to_owned()), None));
        }
        Ok(())
    }

    /// Connects to the proxy itself.
    pub(super) async fn connect(&self, dialer: &Dialer, tls: &Tls) -> Result<BoxedStream, ConnectError> {
        self.check()?;
        self.connect_now(dialer, tls).await.map_err(|fault| self.failed(fault))
    }

    /// Opens a tunnel through the proxy (RFC 9110, section 9.3.6), for a request with this timeout. It takes no longer
    /// than three quarters of that, so that the error names the proxy.
    pub(super) async fn tunnel(
        &self,
        dialer: &Dialer,
        tls: &Tls,
        target: Target<'_>,
        timeout: Duration,
    ) -> Result<BoxedStream, ConnectError> {
        self.check()?;
        let Target { host, port, .. } = target;
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        // Names come from others: one that is none says nothing about the proxy.
        let request = self.connect_request(&target).map_err(|fault| self.error(fault, None))?;
        let began = self.clock.monotonic();
        let opening = async {
            let stream = self.connect_now(dialer, tls).await?;
            self.open(stream, request, &target).await
        };
        let timeout = (timeout * 3 / 4).min(MAX_TUNNEL_TIMEOUT);
        #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
        let opened = tokio::time::timeout(timeout, opening).await;
        let no_response = || ProxyFault::NoResponse { target: target.clone(), timeout, others_are_served: false };
        match opened.unwrap_or_else(|_| Err(no_response())) {
            Ok(stream) => {
                self.works();
                Ok(stream)
            }
            Err(ProxyFault::Malformed(error)) if error.is_incomplete_message() => {
                let fault = ProxyFault::HungUp { target: target.clone(), others_are_served: false };
                Err(self.no_response(fault, target, began, true))
            }
            Err(fault @ ProxyFault::NoResponse { .. }) => {
                Err(self.no_response(fault, target, began, timeout == MAX_TUNNEL_TIMEOUT))
            }
            Err(fault) => Err(self.failed(fault)),
        }
    }

    /// Finds out who is to blame for a tunnel to which there was no response: the target if the proxy has responded to
    /// others meanwhile; the proxy if it did not respond for another target either; otherwise nobody knows yet.
    fn no_response(&self, mut fault: ProxyFault, target: String, began: Duration, counts: bool) -> ConnectError {
        let mut health = self.health.lock();
        if health.responded > began {
            drop(health);
            if let ProxyFault::NoResponse { others_are_served, .. } | ProxyFault::HungUp { others_are_served, .. } =
                &mut fault
            {
                *others_are_served = true;
            }
            return self.error(fault, None);
        }
        let is_silent = health.silent_for.as_ref().is_some_and(|other| *other != target);
        if counts {
            health.silent_for = Some(target);
        }
        drop(health);
        if counts && is_silent { self.failed(fault) } else { self.error(fault, None) }
    }

    async fn connect_now(&self, dialer: &Dialer, tls: &Tls) -> Result<BoxedStream, ProxyFault> {
        let host = self.url.host();
        let stream = dialer.dial(Addresses::Any, host, self.url.port()).await?;
        match self.url.scheme() {
            ProxyScheme::Http => Ok(Box::new(stream)),
            ProxyScheme::Https => {
                let encrypted = tls.connect(Certificates::System, host, Box::new(stream)).await;
                Ok(Box::new(encrypted.map_err(ProxyFault::Tls)?))
            }
        }
    }

    async fn open(
        &self,
        stream: BoxedStream,
        request: Request<Empty<Bytes>>,
        target: &str,
    ) -> Result<BoxedStream, ProxyFault> {
        let mut builder = http1::Builder::new();
        let (mut sender, connection) =
            builder.max_headers(MAX_HEADERS).handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await?;
        // Ends when the tunnel does; an error also reaches whoever waits for the response.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        let response = sender.send_request(request).await?;
        let status = response.status();
        self.check_credentials(status)?;
        if !status.is_success() {
            return Err(ProxyFault::Refused { target: target.to_owned(), status });
        }
        Ok(Box::new(TokioIo::new(hyper::upgrade::on(response).await?)))
    }

    fn connect_request(&self, target: &str) -> Result<Request<Empty<Bytes>>, ProxyFault> {
        let malformed = || ProxyFault::Target(target.to_owned());
        let uri: Uri = target.parse().map_err(|_| malformed())?;
        let host = HeaderValue::from_str(target).map_err(|_| malformed())?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().extend(self.authorization.clone().map(|value| (PROXY_AUTHORIZATION, value)));
        Ok(request)
    }

    fn check_credentials(&self, status: StatusCode) -> Result<(), ProxyFault> {
        match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if self.authorization.is_some() => Err(ProxyFault::Credentials),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(ProxyFault::NoCredentials),
            _ => Ok(()),
        }
    }

    /// Notes the status of a response to a request that the proxy passed on. It may be the target's own, so that
    /// nothing follows for other targets.
    pub(super) fn note_status(&self, status: StatusCode) -> Result<(), ConnectError> {
        self.check_credentials(status).map_err(|fault| self.error(fault, None))?;
        self.works();
        Ok(())
    }

    /// Whether the proxy may be tried.
    fn check(&self) -> Result<(), ConnectError> {
        let health = self.health.lock();
        let left = health.until.saturating_sub(self.clock.monotonic());
        if left.is_zero() {
            return Ok(());
        }
        let fault = ProxyFault::FailedBefore(health.reason.clone());
        drop(health);
        Err(self.error(fault, Some(left)))
    }

    /// Notes that the proxy responded as it should.
    fn works(&self) {
        let mut health = self.health.lock();
        health.responded = self.clock.monotonic();
        health.silent_for = None;
        if health.failures > 0 {
            tracing::info!("the proxy {} works again", self.url);
            *health = Health { responded: health.responded, ..Health::default() };
        }
    }

    /// Notes a failure, and leaves the proxy alone for a while if nothing else could go through it either.
    fn failed(&self, fault: ProxyFault) -> ConnectError {
        if !fault.is_about_every_target() {
            self.works();
            return self.error(fault, None);
        }
        let now = self.clock.monotonic();
        let mut health = self.health.lock();
        // Of requests that were under way together, one failure counts.
        if health.until <= now {
            let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(health.failures)).min(MAX_PAUSE);
            health.failures = health.failures.saturating_add(1);
            health.until = now + pause;
            health.reason = fault.to_string();
            tracing::warn!("the proxy {} fails, and is left alone for {} s: {fault}", self.url, pause.as_secs());
        }
        let left = health.until.saturating_sub(now);
        drop(health);
        self.error(fault, Some(left))
    }

    fn error(&self, fault: ProxyFault, left_alone_for: Option<Duration>) -> ConnectError {
        ConnectError::Proxy { proxy: self.name(), fault, left_alone_for }
    }
}

/// Whether `host` may be read as an address, but not by us. As in URLs, no name ends in a label that is a number
/// (<https://url.spec.whatwg.org/#ends-in-a-number-checker>).
fn is_unusual_address(host: &str) -> bool {
    let is_usual = host.parse::<IpAddr>().is_ok();
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_hex = hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let is_decimal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    !is_usual && (is_hex || is_decimal || host.contains(':'))
}

/// The value of `Proxy-Authorization`.
fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let pair = [credentials.user.as_slice(), b":", credentials.password.as_slice()].concat();
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}
