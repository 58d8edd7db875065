//! An application service that responds as the test determines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long a test waits for a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request that an [`AppServiceStub`] received.
#[derive(Debug, Clone, PartialEq)]
pub struct AppServiceRequest {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query.
    pub query: String,
    /// The bearer token.
    pub token: String,
    /// The body; null if it is not JSON.
    pub body: Value,
}

type Responder = Box<dyn Fn(&AppServiceRequest) -> (u16, Value) + Send>;

/// An application service at an address of this machine. Accepts everything until the test says otherwise. Stops when
/// dropped.
pub struct AppServiceStub {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    requests: Mutex<Vec<AppServiceRequest>>,
    responder: Mutex<Responder>,
    arrived: Notify,
}

impl Drop for AppServiceStub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl AppServiceStub {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts one at an address.
    ///
    /// # Panics
    /// When the address is in use.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            responder: Mutex::new(Box::new(|_| (200, json!({})))),
            arrived: Notify::new(),
        });
        let app = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // It ends with the test.
            drop(axum::serve(listener, app).await);
        });
        Self { address, shared, task }
    }

    /// Returns a registration file: the service claims the users whose names begin with its id and `_`, exclusively,
    /// and aliases likewise. `more` are further lines.
    pub fn registration(&self, id: &str, more: &str) -> String {
        let address = self.address;
        registration(id, &format!("'http://{address}'"), more)
    }

    /// Makes it respond by a status and a body from now on.
    pub fn respond(&self, responder: impl Fn(&AppServiceRequest) -> (u16, Value) + Send + 'static) {
        *self.shared.responder.lock() = Box::new(responder);
    }

    /// Returns what it has received.
    pub fn requests(&self) -> Vec<AppServiceRequest> {
        self.shared.requests.lock().clone()
    }

    /// Returns the transactions that it has received, each with its id.
    pub fn transactions(&self) -> Vec<(String, Value)> {
        let requests = self.requests().into_iter();
        let transaction = |request: AppServiceRequest| {
            let id = request.path.strip_prefix("/_matrix/app/v1/transactions/")?.to_owned();
            Some((id, request.body))
        };
        requests.filter_map(transaction).collect()
    }

    /// Returns the events of all its transactions, in order.
    pub fn events(&self) -> Vec<Value> {
        let of = |(_, body): (_, Value)| body["events"].as_array().cloned().unwrap_or_default();
        self.transactions().into_iter().flat_map(of).collect()
    }

    /// Waits until `found` finds something in what it has received.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn wait_for<T>(&self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        let wait = async {
            loop {
                let arrived = self.shared.arrived.notified();
                if let Some(found) = found(self) {
                    return found;
                }
                arrived.await;
            }
        };
        match crate::within(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => panic!("the application service has not received {what}, but {:?}", self.requests()),
        }
    }
}

/// Returns a registration file as [`AppServiceStub::registration`], with this `url`.
pub fn registration(id: &str, url: &str, more: &str) -> String {
    format!(
        "id: {id}
url: {url}
as_token: from-{id}
hs_token: to-{id}
sender_localpart: {id}bot
namespaces:
  users: [{{regex: '@{id}_.*', exclusive: true}}]
  aliases: [{{regex: '#{id}_.*', exclusive: true}}]
{more}
"
    )
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let token = head.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()).unwrap_or_default();
    let request = AppServiceRequest {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        token: token.strip_prefix("Bearer ").unwrap_or(token).to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let (status, body) = (*shared.responder.lock())(&request);
    shared.requests.lock().push(request);
    shared.arrived.notify_waiters();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
