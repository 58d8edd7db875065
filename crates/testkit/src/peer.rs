//! Another server: it has a name, a key and a certificate, makes signed requests, and responds as the test determines.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_protocol::json;
use plexus_protocol::x_matrix::{self, XMatrix};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

#[cfg(feature = "server")]
use crate::server::{Answer, TestServer};

/// Until when a peer's keys are valid: the year 2100.
pub(crate) const VALID_UNTIL_TS: u64 = 4_102_444_800_000;

/// Another server, at an address of this machine, with a self-signed TLS certificate.
pub struct Peer {
    name: ServerName,
    key: SigningKey,
    received: Arc<Log>,
    serving: JoinHandle<()>,
}

/// A request that a [`Peer`] received.
#[derive(Debug, Clone)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub uri: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

#[derive(Default)]
struct Log {
    requests: Mutex<Vec<Received>>,
    more: Notify,
}

impl Peer {
    /// Starts a server that publishes its key and serves nothing else.
    pub async fn start() -> Self {
        Self::answering(|_| Router::new()).await
    }

    /// Starts a server that publishes its key and serves the router that `routes` makes for its name.
    pub async fn answering(routes: impl FnOnce(&ServerName) -> Router) -> Self {
        Self::telling(|name, key| {
            let keys = Self::keys(name, key, VALID_UNTIL_TS).to_json();
            routes(name).route("/_matrix/key/v2/server", get(async move || keys))
        })
        .await
    }

    /// Starts a server that serves only the router that `routes` makes for its name and key.
    pub async fn telling(routes: impl FnOnce(&ServerName, &SigningKey) -> Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let name = ServerName::try_from(address.to_string()).expect("an address is a server name");
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&address.port().to_be_bytes());
        let key = SigningKey::generate(&seed, "p_1");
        let received = Arc::new(Log::default());
        let router = routes(&name, &key)
            .fallback(async || (StatusCode::NOT_FOUND, r#"{"errcode":"M_UNRECOGNIZED","error":""}"#))
            .layer(from_fn_with_state(Arc::clone(&received), record));
        let serving = tokio::spawn(serve(listener, acceptor(), router));
        Self { name, key, received, serving }
    }

    /// Returns the response of `/_matrix/key/v2/server`: a key that is valid until `valid_until_ts` (Unix ms).
    pub fn keys(name: &ServerName, key: &SigningKey, valid_until_ts: u64) -> json::Object {
        let verify_key = json::Object::from([("key", key.public_key_base64())]);
        let mut keys = json::Object::from([
            ("server_name", json::Value::from(name.as_str())),
            ("valid_until_ts", json::Value::from(valid_until_ts)),
            ("verify_keys", json::Object::from([(key.key_id(), verify_key)]).into()),
            ("old_verify_keys", json::Object::new().into()),
        ]);
        key.sign_object(&mut keys, name.as_str()).expect("the answer is canonical");
        keys
    }

    /// Returns its name: the address and port it listens on.
    pub fn name(&self) -> &ServerName {
        &self.name
    }

    /// Returns its signing key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Returns a user id on it.
    pub fn user(&self, localpart: &str) -> String {
        format!("@{localpart}:{}", self.name)
    }

    /// Returns the requests received so far, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.received.requests.lock().clone()
    }

    /// Waits for a request that `wanted` accepts, and returns the first.
    pub async fn receives(&self, wanted: impl Fn(&Received) -> bool) -> Received {
        loop {
            let more = self.received.more.notified();
            if let Some(found) = self.received().into_iter().find(&wanted) {
                return found;
            }
            more.await;
        }
    }

    /// Returns the header value that signs a request to the server named `destination`.
    pub fn sign(&self, destination: &ServerName, method: &Method, path: &str, body: Option<&Value>) -> String {
        let content = body.map(|body| json::Value::parse(&body.to_string()).expect("serde_json writes JSON"));
        let request = x_matrix::Request { method: method.as_str(), uri: path, destination, content: content.as_ref() };
        XMatrix::sign(&request, &self.name, &self.key).to_string()
    }
}

#[cfg(feature = "server")]
impl Peer {
    /// Returns the header value that signs a request to `server`.
    pub fn authorization(&self, server: &TestServer, method: &Method, path: &str, body: Option<&Value>) -> String {
        let name = ServerName::try_from(server.name()).expect("a server's name is one");
        self.sign(&name, method, path, body)
    }

    /// Sends a signed request to `server`.
    pub async fn request(&self, server: &TestServer, method: Method, path: &str, body: Option<Value>) -> Answer {
        let authorization = self.authorization(server, &method, path, body.as_ref());
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let body = body.map(|body| body.to_string().into()).unwrap_or_default();
        server.send(method, path, None, &headers, body).await
    }

    /// Sends a signed request whose body is any JSON object, including ones that [`serde_json`] would write
    /// differently.
    pub async fn request_text(&self, server: &TestServer, method: Method, path: &str, body: &str) -> Answer {
        let content = json::Value::parse(body).ok();
        let destination = ServerName::try_from(server.name()).expect("a server's name is one");
        let request = x_matrix::Request {
            method: method.as_str(),
            uri: path,
            destination: &destination,
            content: content.as_ref(),
        };
        let header = XMatrix::sign(&request, &self.name, &self.key).to_string();
        let headers = [("Authorization", header.as_str()), ("Content-Type", "application/json")];
        server.send(method, path, None, &headers, Bytes::copy_from_slice(body.as_bytes())).await
    }

    /// Sends a signed GET.
    pub async fn get(&self, server: &TestServer, path: &str) -> Answer {
        self.request(server, Method::GET, path, None).await
    }

    /// Sends a signed POST.
    pub async fn post(&self, server: &TestServer, path: &str, body: Value) -> Answer {
        self.request(server, Method::POST, path, Some(body)).await
    }

    /// Sends a signed PUT.
    pub async fn put(&self, server: &TestServer, path: &str, body: Value) -> Answer {
        self.request(server, Method::PUT, path, Some(body)).await
    }
}

/// A body of any JSON of any size, as a peer reads it. The server's own endpoints have limits, which a peer's have not.
#[derive(Debug)]
pub struct AnyJson(pub Value);

impl<S: Send + Sync> FromRequest<S> for AnyJson {
    type Rejection = (StatusCode, &'static str);

    async fn from_request(request: Request, _state: &S) -> Result<Self, Self::Rejection> {
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let parsed = serde_json::from_slice(&body);
        parsed.map(Self).map_err(|_| (StatusCode::BAD_REQUEST, r#"{"errcode":"M_NOT_JSON","error":""}"#))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn record(State(log): State<Arc<Log>>, request: Request, next: Next) -> Response {
    let media = request.uri().path().contains("/media/");
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let received = Received {
        method: parts.method.clone(),
        uri: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: parts.headers.clone(),
        body: body.clone(),
    };
    log.requests.lock().push(received);
    log.more.notify_waiters();
    let mut response = next.run(Request::from_parts(parts, body.into())).await;
    // Synapse reads JSON only with its content type; axum sends a string as plain text and bytes as a file.
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !media && kind.is_none_or(|kind| kind.starts_with(b"text/plain") || kind == b"application/octet-stream") {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

pub(crate) fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate can be made");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the default versions exist")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the certificate fits its key");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            // Clients may hang up early.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
