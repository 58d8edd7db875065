//! Sends requests.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, LOCATION, PROXY_AUTHORIZATION, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use plexus_base::Clock;
use plexus_base::forward_proxy::ForwardProxies;
use tokio::sync::Semaphore;

use crate::dns::{Resolve, SystemLookup};
use crate::http::connector::Connector;
use crate::http::dial::{AddressGuards, Dialer};
use crate::http::error::{ConnectError, HttpError, RedirectError};
use crate::http::pool::{self, ConnectionKey, Lease, Pool, Sender, Slot, Turn};
use crate::http::proxy::{Proxies, Proxy};
use crate::http::purpose::{Limits, Policy, Purpose};
use crate::http::redirect;
use crate::http::response::StreamedBody;
use crate::http::target::Target;
use crate::http::tls::{Tls, TlsSettings, TlsSetupError};

/// One of so many connections is reserved for requests whose responses others wait for.
const RESERVED_SHARE: usize = 8;

/// What the client takes from the configuration.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The addresses that are never connected to.
    pub guards: AddressGuards,
    /// How other servers' certificates are checked.
    pub tls: TlsSettings,
    /// The proxies that requests go through.
    pub proxies: ForwardProxies,
    /// The `User-Agent` of requests; none if it is empty.
    pub user_agent: String,
    /// The most connections open at once, each a file descriptor.
    pub max_connections: usize,
}

/// Sends all requests of this server. Their [`Purpose`] decides what they may do.
pub struct HttpClient {
    connector: Connector,
    pool: Arc<Pool>,
    /// Together as many permits as connections: a request with a permit waits for a connection only until an idle one
    /// is closed.
    turns: Arc<Semaphore>,
    /// Reserved for requests whose responses others wait for, which hold permits themselves while they wait.
    reserve: Arc<Semaphore>,
    max_connections: usize,
    user_agent: Option<HeaderValue>,
}

/// A response whose body is still to be read.
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as it comes in.
    pub body: StreamedBody,
}

/// A response that has been read.
#[derive(Debug)]
pub struct WholeResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl HttpClient {
    /// Returns a client that finds addresses by `names`; nothing is connected to yet.
    ///
    /// # Errors
    /// When a file of certificate authorities cannot be used.
    pub fn new(settings: &HttpSettings, names: Arc<dyn Resolve>, clock: Clock) -> Result<Self, TlsSetupError> {
        let max_connections = settings.max_connections.max(1);
        let reserved = (max_connections / RESERVED_SHARE).max(1);
        Ok(Self {
            connector: Connector::new(
                Dialer::new(names, settings.guards.clone()),
                Tls::new(&settings.tls, clock.clone())?,
                Proxies::new(&settings.proxies, &clock),
            ),
            pool: Arc::new(Pool::new(max_connections, clock)),
            turns: Arc::new(Semaphore::new(max_connections.saturating_sub(reserved).max(1))),
            reserve: Arc::new(Semaphore::new(reserved)),
            max_connections,
            user_agent: user_agent(&settings.user_agent),
        })
    }

    /// The most connections that are open at once.
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(crate) fn user_agent(&self) -> Option<&HeaderValue> {
        self.user_agent.as_ref()
    }

    /// Closes connections that have been idle for long, for ever.
    pub async fn run_housekeeping(self: Arc<Self>) {
        self.pool.run_housekeeping().await;
    }

    /// Waits for the turn of a request, if its purpose has it wait.
    pub(crate) async fn turn(&self, purpose: Purpose) -> Turn {
        let Policy { waits_its_turn, uses_reserve, .. } = purpose.policy();
        if !waits_its_turn {
            return None;
        }
        let turn = Arc::clone(&self.turns).acquire_owned();
        // Nobody closes the semaphores.
        if !uses_reserve {
            return turn.await.ok();
        }
        tokio::select! {
            biased;
            turn = turn => turn.ok(),
            turn = Arc::clone(&self.reserve).acquire_owned() => turn.ok(),
        }
    }

    /// Sends a request to an absolute http or https URL, and reads the whole response, within one timeout.
    ///
    /// # Errors
    /// See [`HttpError`]; an error status is a response.
    #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
    pub async fn fetch(&self, purpose: Purpose, request: Request<Bytes>) -> Result<WholeResponse, HttpError> {
        // Not bounded by the timeout: it says nothing about the other side.
        let turn = self.turn(purpose).await;
        let fetching = async {
            let response = self.send_in_turn(purpose, request, turn).await?;
            let HttpResponse { status, headers, body } = response;
            Ok(WholeResponse { status, headers, body: body.whole().await? })
        };
        tokio::time::timeout(purpose.policy().limits.timeout, fetching).await.unwrap_or(Err(HttpError::Timeout))
    }

    /// Sends a request to an absolute http or https URL; the body of the response is read by the caller. Redirects are
    /// followed as far as the purpose permits, with GET.
    ///
    /// # Errors
    /// See [`HttpError`]; an error status is a response.
    pub async fn send(&self, purpose: Purpose, request: Request<Bytes>) -> Result<HttpResponse, HttpError> {
        let turn = self.turn(purpose).await;
        self.send_in_turn(purpose, request, turn).await
    }

    async fn send_in_turn(
        &self,
        purpose: Purpose,
        request: Request<Bytes>,
        turn: Turn,
    ) -> Result<HttpResponse, HttpError> {
        let Policy { max_redirects, limits, .. } = purpose.policy();
        let sending = self.follow(purpose, request, max_redirects);
        #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
        let sent = tokio::time::timeout(limits.timeout, sending).await;
        let (response, lease) = sent.unwrap_or(Err(HttpError::Timeout))?;
        Ok(HttpResponse::new(response, limits, lease, turn))
    }

    async fn follow(
        &self,
        purpose: Purpose,
        request: Request<Bytes>,
        max_redirects: usize,
    ) -> Result<(Response<Incoming>, Option<Lease>), HttpError> {
        let mut request = request;
        for _ in 0..=max_redirects {
            let uri = request.uri().clone();
            let (response, lease) = self.send_one(purpose, request).await?;
            if max_redirects == 0 || !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((response, lease));
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| redirect::resolve(&uri, location));
            let next = next.ok_or(RedirectError::NoLocation)?;
            if uri.scheme() == Some(&Scheme::HTTPS) && next.scheme() != Some(&Scheme::HTTPS) {
                return Err(RedirectError::Downgrade.into());
            }
            request = Request::new(Bytes::new());
            *request.uri_mut() = next;
        }
        Err(RedirectError::TooMany(max_redirects).into())
    }

    async fn send_one(
        &self,
        purpose: Purpose,
        request: Request<Bytes>,
    ) -> Result<(Response<Incoming>, Option<Lease>), HttpError> {
        let uri = request.uri().clone();
        let no_address = || ConnectError::Address(uri.to_string());
        let authority = uri.authority().ok_or_else(no_address)?;
        // Addresses with a user's name before the host are none we send anything to.
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| no_address())?;
        if authority.as_str().contains('@') {
            return Err(no_address().into());
        }
        let is_encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(no_address().into()),
        };
        let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        // The brackets of an IPv6 literal belong to the address, not to the name.
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let mut request = request.map(Full::new);
        request.headers_mut().entry(HOST).or_insert(host);
        if let Some(user_agent) = &self.user_agent {
            request.headers_mut().entry(USER_AGENT).or_insert_with(|| user_agent.clone());
        }
        let target = Target { host: name, port, name };
        if !is_encrypted && let Some(proxy) = self.connector.proxy(purpose, false, target)? {
            return self.send_through(proxy, purpose, request).await;
        }
        *request.uri_mut() = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
        let open = async |slot: Slot| -> Result<Sender, HttpError> {
            let sender = if is_encrypted {
                pool::speak(self.connector.encrypted(purpose, target).await?, slot).await
            } else {
                pool::speak(self.connector.plain(purpose, name, port).await?, slot).await
            };
            Ok(sender.map_err(ConnectError::from)?)
        };
        let place = format!("{}://{name}:{port}", if is_encrypted { "https" } else { "http" });
        let may_repeat = purpose.may_repeat(request.method());
        self.exchange(purpose, &place, open, request, may_repeat).await
    }

    /// Sends a request that is not encrypted to a proxy, which passes it on: its target stays in the absolute form
    /// (RFC 9112, section 3.2.2).
    async fn send_through(
        &self,
        proxy: &Proxy,
        purpose: Purpose,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Option<Lease>), HttpError> {
        request.headers_mut().extend(proxy.authorization().cloned().map(|value| (PROXY_AUTHORIZATION, value)));
        let open = async |slot: Slot| -> Result<Sender, HttpError> {
            let sender = pool::speak(self.connector.to_proxy(proxy).await?, slot).await;
            Ok(sender.map_err(ConnectError::from)?)
        };
        let place = format!("proxy {}", proxy.name());
        let may_repeat = purpose.may_repeat(request.method());
        let (response, lease) = self.exchange(purpose, &place, open, request, may_repeat).await?;
        proxy.note_status(response.status())?;
        Ok((response, lease))
    }

    /// Sends a request over an idle connection to `place`, or over one that `open` opens. Returns the head of the
    /// response, and the connection if it may be kept. A request that must not be repeated gets a new connection: when
    /// an idle one breaks, nobody knows whether the request was carried out (RFC 9110, section 9.2.2).
    pub(crate) async fn exchange<E: From<HttpError>>(
        &self,
        purpose: Purpose,
        place: &str,
        open: impl AsyncFnOnce(Slot) -> Result<Sender, E>,
        request: Request<Full<Bytes>>,
        may_repeat: bool,
    ) -> Result<(Response<Incoming>, Option<Lease>), E> {
        if !purpose.policy().keeps_connections {
            let mut sender = open(self.pool.slot().await).await?;
            return Ok((sender.send_request(request).await.map_err(HttpError::from)?, None));
        }
        let key = ConnectionKey::new(purpose, place);
        while may_repeat && let Some(mut lease) = self.pool.take(&key).await {
            match lease.sender.send_request(request.clone()).await {
                Ok(response) => return Ok((response, Some(lease))),
                // The other side closed a connection that had been idle: nothing is wrong.
                Err(error) if error.is_canceled() || error.is_closed() || broke_off(&error) => {}
                Err(error) => return Err(HttpError::from(error).into()),
            }
        }
        let sender = open(self.pool.slot().await).await?;
        let mut lease = self.pool.lease(&key, sender);
        let response = lease.sender.send_request(request).await.map_err(HttpError::from)?;
        Ok((response, Some(lease)))
    }
}

impl HttpResponse {
    pub(crate) fn new(response: Response<Incoming>, limits: Limits, lease: Option<Lease>, turn: Turn) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body: StreamedBody::new(body, limits, lease, turn) }
    }
}

/// Sends the request of an operator's command, and reads the whole response. The server must show a certificate that
/// this system trusts, unless it is reached as localhost or under a loopback address.
///
/// # Errors
/// See [`HttpError`]; an error status is a response.
pub async fn send_operator_command(request: Request<Bytes>) -> Result<WholeResponse, HttpError> {
    let any_certificate = request.uri().host().is_some_and(is_this_machine);
    send_for_operator(Purpose::OperatorCommand { any_certificate }, request).await
}

/// Like [`send_operator_command`]; the server may show any certificate.
///
/// # Errors
/// See [`HttpError`]; an error status is a response.
pub async fn send_unverified_operator_command(request: Request<Bytes>) -> Result<WholeResponse, HttpError> {
    send_for_operator(Purpose::OperatorCommand { any_certificate: true }, request).await
}

async fn send_for_operator(purpose: Purpose, request: Request<Bytes>) -> Result<WholeResponse, HttpError> {
    let settings = HttpSettings {
        guards: AddressGuards::default(),
        proxies: ForwardProxies::default(),
        tls: TlsSettings {
            verify: true,
            unverified_hosts: Vec::new(),
            only_tls_1_3: false,
            authorities: Vec::new(),
            accept_any: false,
        },
        user_agent: String::new(),
        max_connections: 1,
    };
    let client = HttpClient::new(&settings, Arc::new(SystemLookup), Clock::system());
    client.map_err(ConnectError::from)?.fetch(purpose, request).await
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn user_agent(text: &str) -> Option<HeaderValue> {
    let value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("Plexus"));
    Some(value).filter(|value| !value.is_empty())
}

/// Whether the connection ended before a response came.
fn broke_off(error: &hyper::Error) -> bool {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    error.is_incomplete_message() || io.is_some()
}
