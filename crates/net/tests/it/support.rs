//! A server with a certificate, names that lead to it, and a client that trusts it.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::HOST;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use plexus_base::forward_proxy::ForwardProxies;
use plexus_base::{Background, Clock, Random};
use plexus_net::dns::{Lookup, Resolve, Service};
use plexus_net::federation::{Backoff, FederationParts, FederationSettings, Retries};
use plexus_net::{AddressGuards, Call, FederationClient, HttpClient, HttpSettings, TlsSettings, TlsSetupError};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_store::repo::server_keys::{self, StoredServerKey};
use plexus_store::{Database, DbError};
use plexus_testkit::{TestDatabase, TestPlace};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub const OURS: &str = "us.example";
/// A server that needs no .well-known to be found.
pub const A: &str = "a.example:5";
pub const NOW: u64 = 1_800_000_000_000;

pub type Body = BoxBody<Bytes, std::io::Error>;
type Handler = Arc<dyn Fn(&Seen) -> Response<Body> + Send + Sync>;

pub fn server(name: &str) -> ServerName {
    ServerName::try_from(name).unwrap()
}

pub fn json(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed())
}

pub fn status(code: u16, text: &str) -> Response<Body> {
    let mut response = json(text.to_owned());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
    response
}

/// A body that begins and never goes on.
pub fn stuck() -> Response<Body> {
    let begun = stream::iter([Ok(Frame::data(Bytes::from_static(b"{")))]);
    Response::new(StreamBody::new(stream::select(begun, stream::pending())).boxed())
}

/// A request for somebody who waits.
pub fn get(path: impl Into<String>) -> Call {
    Call::new(Method::GET, path, 100_000_000)
}

pub fn put(path: &str, body: &str) -> Call {
    Call::new(Method::PUT, path, 100_000_000).body(body.to_owned())
}

pub fn our_key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(&[1; 32], "ours"))
}

/// An authority for certificates, and the file its own is in.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(issuer.pem().as_bytes()).unwrap();
        Self { issuer, file }
    }

    fn acceptor(&self, names: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A request as a server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub sni: Option<String>,
    pub host: String,
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Default)]
struct Record {
    seen: Mutex<Vec<Seen>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
    connections: AtomicUsize,
}

/// A TLS server; stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    record: Arc<Record>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts a server that responds to every request with `answer`, with a certificate for `names`.
    pub async fn start(
        authority: &Authority,
        names: &[&str],
        answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Record::default());
        let task = tokio::spawn(accept(listener, authority.acceptor(names), Arc::clone(&record), Arc::new(answer)));
        Self { address, record, task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.record.seen.lock().clone()
    }

    /// The paths asked for, in order.
    pub fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }

    pub fn count(&self, path: &str) -> usize {
        self.paths().iter().filter(|seen| *seen == path).count()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }

    /// The most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.record.most_open.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, record: Arc<Record>, handler: Handler) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, record, handler) = (acceptor.clone(), Arc::clone(&record), Arc::clone(&handler));
        record.connections.fetch_add(1, Ordering::SeqCst);
        let open = record.open.fetch_add(1, Ordering::SeqCst) + 1;
        record.most_open.fetch_max(open, Ordering::SeqCst);
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let sni = stream.get_ref().1.server_name().map(str::to_owned);
                let service = service_fn(async |request| answer(request, sni.clone(), &record, &handler).await);
                // A client may hang up.
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            }
            record.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    sni: Option<String>,
    record: &Record,
    handler: &Handler,
) -> Result<Response<Body>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let seen = Seen {
        sni,
        host: parts.headers[HOST].to_str().unwrap().to_owned(),
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: body.collect().await?.to_bytes(),
    };
    record.seen.lock().push(seen.clone());
    Ok(handler(&seen))
}

/// Names and where they lead; everything else does not exist.
#[derive(Default)]
pub struct Names {
    /// `host:port` to an address of this machine.
    addresses: Mutex<HashMap<String, SocketAddr>>,
    services: Mutex<HashMap<String, Vec<Service>>>,
    /// Where all other hosts lead.
    default: Mutex<Option<SocketAddr>>,
}

impl Names {
    pub fn host(&self, host_port: &str, address: SocketAddr) {
        self.addresses.lock().insert(host_port.to_owned(), address);
    }

    pub fn every_host(&self, address: SocketAddr) {
        *self.default.lock() = Some(address);
    }

    pub fn service(&self, name: &str, priority: u16, target: &str, port: u16) {
        let service = Service { priority, weight: 0, port, target: target.to_owned() };
        self.services.lock().entry(name.to_owned()).or_default().push(service);
    }
}

impl Resolve for Names {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a, Vec<SocketAddr>> {
        // Nothing but the name itself is looked up.
        let host = host.strip_suffix('.').unwrap();
        let known = self.addresses.lock().get(&format!("{host}:{port}")).copied();
        let found = known.or(*self.default.lock());
        Box::pin(async move { Ok(found.into_iter().collect()) })
    }

    fn services<'a>(&'a self, name: &'a str) -> Lookup<'a, Vec<Service>> {
        let found = self.services.lock().get(name).cloned().unwrap_or_default();
        Box::pin(async move { Ok(found) })
    }
}

/// What a client is made from.
pub struct World {
    pub authority: Authority,
    pub names: Arc<Names>,
    pub clock: Clock,
    pub place: TestDatabase,
    pub settings: FederationSettings,
    pub http: HttpSettings,
}

impl World {
    pub fn new() -> Self {
        Self::on(TestPlace::sqlite().open())
    }

    pub fn on(place: TestDatabase) -> Self {
        let authority = Authority::new();
        let settings = FederationSettings {
            server_name: server(OURS),
            allowed: None,
            timeout: Duration::from_secs(60),
            retries: Retries { short: 0, short_delay: Duration::ZERO, long: 0, long_delay: Duration::ZERO },
            backoff: Backoff {
                shortest: Duration::from_secs(600),
                multiplier: 2,
                longest: Duration::from_secs(7 * 86_400),
            },
        };
        let http = HttpSettings {
            guards: AddressGuards::default(),
            proxies: ForwardProxies::default(),
            tls: TlsSettings {
                verify: true,
                unverified_hosts: Vec::new(),
                only_tls_1_3: false,
                authorities: vec![authority.file.path().to_owned()],
                accept_any: false,
            },
            user_agent: "Plexus/test".to_owned(),
            max_connections: 20,
        };
        Self { authority, names: Arc::default(), clock: Clock::manual(NOW), place, settings, http }
    }

    pub fn db(&self) -> Database {
        self.place.db()
    }

    /// Makes `name` one of a server that has published its keys before.
    pub async fn knows(&self, name: &ServerName) {
        let key = StoredServerKey {
            server_name: name.as_str().to_owned(),
            key_id: "ed25519:old".to_owned(),
            public_key: SigningKey::generate(&[7; 32], "old").public_key().to_base64(),
            valid_until_ts: NOW,
            stated_until_ts: NOW,
            fetched_ts: NOW,
            from_server: name.as_str().to_owned(),
            response: "{}".to_owned(),
        };
        let written: Result<(), DbError> = self.db().write(move |tx| server_keys::put(tx, &[key])).await;
        written.unwrap();
    }

    /// A server that is reached as [`A`].
    pub async fn serve(&self, answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Server {
        let at = Server::start(&self.authority, &["a.example"], answer).await;
        self.names.host(A, at.address);
        at
    }

    pub async fn client(&self) -> Arc<FederationClient> {
        self.client_with(Arc::clone(&self.names) as Arc<dyn Resolve>).await
    }

    pub async fn client_with(&self, names: Arc<dyn Resolve>) -> Arc<FederationClient> {
        let http = HttpClient::new(&self.http, names, self.clock.clone()).unwrap();
        let parts = FederationParts {
            settings: self.settings.clone(),
            signing_key: our_key(),
            http: Arc::new(http),
            db: self.db(),
            clock: self.clock.clone(),
            random: Random::seeded(5),
            background: Background::default(),
        };
        Arc::new(FederationClient::start(parts).await.unwrap())
    }

    pub fn http_client(&self) -> Result<HttpClient, TlsSetupError> {
        HttpClient::new(&self.http, Arc::clone(&self.names) as Arc<dyn Resolve>, self.clock.clone())
    }
}
