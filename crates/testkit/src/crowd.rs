//! Thousands of servers behind one port, which record the transactions they receive.

mod record;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::{Object, Value};
use plexus_protocol::rules::RoomVersion;
use plexus_protocol::x_matrix::XMatrix;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::peer::{Peer, VALID_UNTIL_TS, acceptor};
use record::Record;

/// How many servers have addresses with the same first three bytes.
const PER_NET: usize = 250;
const SEND: &str = "/_matrix/federation/v1/send/";

/// Servers at different addresses of this machine and the same port. Each publishes its key, serves the keys of the
/// others as a notary, and receives transactions.
pub struct Crowd {
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// How a server responds to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It responds.
    Answers,
    /// It responds with 503.
    Refuses,
    /// It receives requests and does not respond until its manner changes.
    IsSilent,
}

/// Totals of a crowd.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Received transactions.
    pub transactions: usize,
    /// Received transactions without events.
    pub without_events: usize,
    /// Transactions that were received again.
    pub repeated: usize,
    /// Requests refused with 503.
    pub refused: usize,
    /// Opened connections.
    pub connections: usize,
    /// The most connections that were open at once.
    pub most_open: usize,
}

struct Shared {
    servers: Vec<(ServerName, SigningKey)>,
    manners: Vec<watch::Sender<Manner>>,
    record: Mutex<Record>,
    more: Notify,
    open: AtomicUsize,
    most_open: AtomicUsize,
    connections: AtomicUsize,
    refused: AtomicUsize,
}

impl Crowd {
    /// Starts this many servers, all of which respond. The events they receive are in rooms of this version.
    pub async fn gather(servers: usize, version: RoomVersion) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let servers: Vec<_> = (0..servers).map(|number| server(number, port)).collect();
        let shared = Arc::new(Shared {
            manners: servers.iter().map(|_| watch::Sender::new(Manner::Answers)).collect(),
            record: Mutex::new(Record::new(servers.len(), version)),
            servers,
            more: Notify::new(),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        let serving = tokio::spawn(serve(listener, acceptor(), Arc::clone(&shared)));
        Self { shared, serving }
    }

    /// Returns the servers' names and keys.
    pub fn servers(&self) -> &[(ServerName, SigningKey)] {
        &self.shared.servers
    }

    /// Sets how a server responds from now on, including to requests without a response so far.
    pub fn set_manner(&self, server: usize, manner: Manner) {
        self.shared.manners[server].send_replace(manner);
    }

    /// Waits until this many servers have received an event.
    pub async fn got(&self, event_id: &str, servers: usize) {
        loop {
            let more = self.shared.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if self.shared.record.lock().got(event_id) >= servers {
                return;
            }
            more.await;
        }
    }

    /// Returns how many servers have received an event.
    pub fn count(&self, event_id: &str) -> usize {
        self.shared.record.lock().got(event_id)
    }

    /// Returns the ids of the events that a server received, in order; a repeated transaction counts once.
    pub fn events(&self, server: usize) -> Vec<String> {
        self.shared.record.lock().events(server)
    }

    /// Returns the totals so far.
    pub fn seen(&self) -> Seen {
        Seen {
            refused: self.shared.refused.load(Ordering::Relaxed),
            connections: self.shared.connections.load(Ordering::Relaxed),
            most_open: self.shared.most_open.load(Ordering::Relaxed),
            ..self.shared.record.lock().seen()
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn server(number: usize, port: u16) -> (ServerName, SigningKey) {
    let name = ServerName::try_from(format!("127.1.{}.{}:{port}", number / PER_NET, number % PER_NET + 1));
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    (name.expect("there are addresses for 64,000 servers"), SigningKey::generate(&seed, "c_1"))
}

fn number(address: Ipv4Addr) -> usize {
    let [_, _, net, host] = address.octets();
    usize::from(net) * PER_NET + usize::from(host).saturating_sub(1)
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, peer)) = listener.accept().await {
        // The socket is open on all addresses of the machine, since there is none for 127.0.0.0/8.
        if !peer.ip().is_loopback() {
            continue;
        }
        tokio::spawn(converse(stream, acceptor.clone(), Arc::clone(&shared)));
    }
}

async fn converse(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let _open = Open::new(&shared);
    let Ok(std::net::SocketAddr::V4(address)) = stream.local_addr() else { return };
    let number = number(*address.ip());
    // Responses are small: waiting to send them together would only take time.
    let _ = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(number, request).await) }
    });
    // Clients may hang up early.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// A connection, counted while it is open.
struct Open<'s>(&'s Shared);

impl<'s> Open<'s> {
    fn new(shared: &'s Shared) -> Self {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let open = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_open.fetch_max(open, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    async fn answer(&self, number: usize, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (Some((name, key)), Some(manner)) = (self.servers.get(number), self.manners.get(number)) else {
            return json(StatusCode::NOT_FOUND, "{}".to_owned());
        };
        // The senders outlive the connections.
        let mut manners = manner.subscribe();
        let manner = manners.wait_for(|manner| *manner != Manner::IsSilent).await.map_or(Manner::Refuses, |it| *it);
        if manner == Manner::Refuses {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return json(StatusCode::SERVICE_UNAVAILABLE, r#"{"errcode":"M_UNKNOWN","error":"not now"}"#.to_owned());
        }
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET, "/_matrix/key/v2/server") => {
                json(StatusCode::OK, Peer::keys(name, key, VALID_UNTIL_TS).to_json())
            }
            (&Method::POST, "/_matrix/key/v2/query") => {
                let body = body(request).await;
                json(StatusCode::OK, self.vouch((name, key), &body).unwrap_or_default().to_json())
            }
            (&Method::PUT, path) if path.starts_with(SEND) => {
                if !is_for(&request, name) {
                    return json(StatusCode::UNAUTHORIZED, r#"{"errcode":"M_UNAUTHORIZED"}"#.to_owned());
                }
                let body = body(request).await;
                self.record.lock().take(number, &path[SEND.len()..], &body);
                self.more.notify_waiters();
                json(StatusCode::OK, r#"{"pdus":{}}"#.to_owned())
            }
            _ => json(StatusCode::NOT_FOUND, r#"{"errcode":"M_UNRECOGNIZED","error":""}"#.to_owned()),
        }
    }

    /// Returns the keys of the requested servers as the notary `by`.
    fn vouch(&self, (by, key): (&ServerName, &SigningKey), query: &[u8]) -> Option<Object> {
        let query = Object::parse(std::str::from_utf8(query).ok()?).ok()?;
        let servers: HashMap<&str, _> = self.servers.iter().map(|(name, key)| (name.as_str(), (name, key))).collect();
        let asked = query.get_object("server_keys")?.keys();
        let signed = asked.filter_map(|name| servers.get(name)).map(|(name, of)| {
            let mut keys = Peer::keys(name, of, VALID_UNTIL_TS);
            if name.as_str() != by.as_str() {
                key.sign_object(&mut keys, by.as_str()).expect("the answer is canonical");
            }
            Value::Object(keys)
        });
        Some(Object::from([("server_keys", Value::Array(signed.collect()))]))
    }
}

fn is_for(request: &Request<Incoming>, name: &ServerName) -> bool {
    let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let header = header.and_then(|header| XMatrix::parse(header).ok());
    header.is_some_and(|header| header.destination.as_ref() == Some(name))
}

async fn body(request: Request<Incoming>) -> Bytes {
    request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default()
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
