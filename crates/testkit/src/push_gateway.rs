//! A push gateway that does what a test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long a notification may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a gateway does with a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayConduct {
    /// Accepts it.
    Accept,
    /// Accepts it, and rejects its pushkeys.
    Reject,
    /// Responds with a status.
    Respond(u16),
    /// Responds with a status to notifications that have the content of an event, and accepts others.
    RefuseContent(u16),
    /// Does not respond until it conducts itself otherwise.
    Hang,
}

/// A push gateway. Stops when dropped.
pub struct PushGateway {
    address: SocketAddr,
    conduct: watch::Sender<GatewayConduct>,
    accepted: tokio::sync::Mutex<mpsc::UnboundedReceiver<Value>>,
    requests: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

struct Shared {
    conduct: watch::Receiver<GatewayConduct>,
    accepted: mpsc::UnboundedSender<Value>,
    requests: Mutex<watch::Sender<usize>>,
}

impl Drop for PushGateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PushGateway {
    /// Starts a gateway on a free port, which accepts notifications.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (conduct, of_handler) = watch::channel(GatewayConduct::Accept);
        let (sender, accepted) = mpsc::unbounded_channel();
        let (count, requests) = watch::channel(0);
        let shared = Arc::new(Shared { conduct: of_handler, accepted: sender, requests: Mutex::new(count) });
        let router = Router::new().route("/_matrix/push/v1/notify", post(notify)).with_state(shared);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("the gateway serves") });
        Self { address, conduct, accepted: tokio::sync::Mutex::new(accepted), requests, task }
    }

    /// Returns the `url` of its pushers.
    pub fn url(&self) -> String {
        format!("http://{}/_matrix/push/v1/notify", self.address)
    }

    /// Changes what it does from now on, also with requests that hang.
    pub fn conduct(&self, conduct: GatewayConduct) {
        self.conduct.send_replace(conduct);
    }

    /// Waits for the next notification that it accepts, and returns it.
    ///
    /// # Panics
    /// When none arrives.
    pub async fn next(&self) -> Value {
        let mut accepted = self.accepted.lock().await;
        crate::within(PATIENCE, accepted.recv()).await.expect("a notification arrives").expect("the gateway runs")
    }

    /// Returns the notifications that it has accepted and that [`Self::next`] has not returned.
    pub async fn rest(&self) -> Vec<Value> {
        let mut accepted = self.accepted.lock().await;
        std::iter::from_fn(|| accepted.try_recv().ok()).collect()
    }

    /// Waits until there have been so many requests.
    ///
    /// # Panics
    /// When there are not.
    pub async fn requested(&self, requests: usize) {
        let mut seen = self.requests.clone();
        let waited = crate::within(PATIENCE, seen.wait_for(|count| *count >= requests)).await;
        drop(waited.expect("the requests arrive").expect("the gateway runs"));
    }

    /// Returns how many requests there have been.
    pub fn requests(&self) -> usize {
        *self.requests.borrow()
    }
}

async fn notify(State(shared): State<Arc<Shared>>, body: String) -> Response {
    shared.requests.lock().send_modify(|count| *count += 1);
    let mut conduct = shared.conduct.clone();
    let conduct = match conduct.wait_for(|conduct| *conduct != GatewayConduct::Hang).await {
        Ok(conduct) => *conduct,
        Err(_) => GatewayConduct::Respond(503),
    };
    let body: Value = serde_json::from_str(&body).expect("the body is JSON");
    let notification = body["notification"].clone();
    let respond = |status| StatusCode::from_u16(status).expect("a status").into_response();
    let rejected: Vec<Value> = match conduct {
        GatewayConduct::Respond(status) => return respond(status),
        GatewayConduct::RefuseContent(status) if notification.get("content").is_some() => return respond(status),
        GatewayConduct::Reject => {
            let devices = notification["devices"].as_array().into_iter().flatten();
            devices.map(|device| device["pushkey"].clone()).collect()
        }
        GatewayConduct::Accept | GatewayConduct::Hang | GatewayConduct::RefuseContent(_) => Vec::new(),
    };
    // Nobody listens after the test.
    drop(shared.accepted.send(notification));
    json!({ "rejected": rejected }).to_string().into_response()
}
