//! One hook: its requests, and the bounds on them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use plexus_base::config::{PolicyCallback, PolicyHookSettings};
use plexus_base::{Background, Clock, Random};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::CallbackSet;
use crate::http::{HttpClient, HttpError, Limits, Purpose};

/// The largest response that is read, in bytes: an error for the client, or an event's new content.
const MAX_RESPONSE_BYTES: usize = 128 * 1024;
/// A hook may use one of so many connections, at least [`LEAST_REQUESTS`]: requests to other servers need the others.
const SHARE_OF_CONNECTIONS: usize = 8;
/// The fewest requests to one hook that can be under way at the same time.
const LEAST_REQUESTS: usize = 4;
/// The most requests to one hook that are under way at the same time; more of them wait, within their timeout.
const MOST_REQUESTS: usize = 32;
/// The most requests in the background to one hook that are under way at the same time.
const BACKGROUND_REQUESTS: usize = 2;
/// The most requests in the background that wait for their turn at one hook. What comes on top is dropped.
const MAX_WAITING: usize = 1_000;
/// How long to wait until a ping is repeated, as in the module.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// A hook.
pub(super) struct Hook {
    settings: PolicyHookSettings,
    authorization: Option<HeaderValue>,
    callbacks: CallbackSet,
    in_background: CallbackSet,
    fail_open: CallbackSet,
    http: Arc<HttpClient>,
    background: Background,
    turns: Semaphore,
    background_turns: Semaphore,
    waiting: Arc<Semaphore>,
}

/// What a hook has decided.
pub(super) enum Verdict {
    /// It allows it. The members of its response.
    Allowed(Map<String, Value>),
    /// It refuses it. The members of its response.
    Refused(Map<String, Value>),
}

/// A hook has decided nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It could not be reached, or did not finish its response.
    #[error(transparent)]
    NoResponse(#[from] HttpError),
    /// Its address cannot be requested.
    #[error("its base_url cannot be used: {0}")]
    Unusable(http::Error),
    /// The request had no turn in time.
    #[error("too many requests wait for it")]
    Timeout,
    /// The response cannot be read.
    #[error("the response, with status {status}, is not JSON")]
    NotJson {
        /// The status of the response.
        status: u16,
    },
}

impl Hook {
    pub(super) fn new(
        settings: PolicyHookSettings,
        http: Arc<HttpClient>,
        background: Background,
        connections: usize,
    ) -> Self {
        let authorization = settings.authorization.as_ref().and_then(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let requests = (connections / SHARE_OF_CONNECTIONS).clamp(LEAST_REQUESTS, MOST_REQUESTS);
        Self {
            authorization,
            callbacks: settings.callbacks.iter().copied().collect(),
            in_background: settings.in_background.iter().copied().collect(),
            fail_open: settings.fail_open.iter().copied().collect(),
            settings,
            http,
            background,
            turns: Semaphore::new(requests),
            background_turns: Semaphore::new(BACKGROUND_REQUESTS),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    pub(super) fn callbacks(&self) -> CallbackSet {
        self.callbacks
    }

    pub(super) fn is_in_background(&self, callback: PolicyCallback) -> bool {
        self.in_background.contains(callback)
    }

    pub(super) fn fails_open(&self, callback: PolicyCallback) -> bool {
        self.fail_open.contains(callback)
    }

    pub(super) fn wants_ping(&self) -> bool {
        self.settings.do_ping
    }

    pub(super) fn log(&self, callback: PolicyCallback, failure: &Failure, consequence: &str) {
        let (url, callback) = (&self.settings.base_url, callback.as_str());
        tracing::warn!("the policy hook {url} was not asked about {callback}, {consequence}: {failure}");
    }

    /// Asks the hook, within its timeout.
    #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
    pub(super) async fn ask(&self, callback: PolicyCallback, body: Bytes) -> Result<Verdict, Failure> {
        let asking = async {
            // Nobody closes the semaphore.
            let _turn = self.turns.acquire().await;
            self.post(callback.as_str(), body).await
        };
        tokio::time::timeout(self.settings.timeout, asking).await.unwrap_or(Err(Failure::Timeout))
    }

    /// Sends a request whose response nobody waits for.
    pub(super) fn send_in_background(hook: &Arc<Self>, callback: PolicyCallback, body: Bytes) {
        let Ok(place) = Arc::clone(&hook.waiting).try_acquire_owned() else {
            tracing::warn!("{MAX_WAITING} requests to the policy hook {} wait; one is dropped", hook.settings.base_url);
            return;
        };
        let this = Arc::clone(hook);
        hook.background.spawn_abortable("request to a policy hook", async move {
            let _place = place;
            let _turn = this.background_turns.acquire().await;
            if let Err(failure) = this.post(callback.as_str(), body).await {
                this.log(callback, &failure, "in the background");
            }
        });
    }

    /// Pings the hook until it answers.
    pub(super) async fn ping(&self, clock: &Clock, random: &Random) {
        let url = &self.settings.base_url;
        loop {
            let id = random.alphanumeric(8);
            let body = Bytes::from(json!({"id": id}).to_string());
            match self.post("ping", body).await {
                Ok(Verdict::Allowed(members))
                    if members.get("id").is_some_and(|it| *it == id)
                        && members.get("status").is_some_and(|it| it == "ok") =>
                {
                    tracing::info!("the policy hook {url} has answered a ping");
                    return;
                }
                Ok(_) => tracing::error!("the policy hook {url} has not answered a ping as it should"),
                Err(failure) => tracing::error!("the policy hook {url} has not answered a ping: {failure}"),
            }
            clock.sleep(PING_INTERVAL).await;
        }
    }

    async fn post(&self, name: &str, body: Bytes) -> Result<Verdict, Failure> {
        let limits = Limits { timeout: self.settings.timeout, max_response_bytes: MAX_RESPONSE_BYTES };
        let uri = format!("{}/{name}", self.settings.base_url);
        let request = Request::builder().method(Method::POST).uri(uri).header(CONTENT_TYPE, "application/json");
        let mut request = request.body(body).map_err(Failure::Unusable)?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let response = self.http.fetch(Purpose::PolicyHook(limits), request).await?;
        let status = response.status;
        let members = match serde_json::from_slice(&response.body) {
            Ok(Value::Object(members)) => members,
            Ok(_) if status.is_success() => Map::new(),
            Ok(_) | Err(_) => return Err(Failure::NotJson { status: status.as_u16() }),
        };
        Ok(if status.is_success() { Verdict::Allowed(members) } else { Verdict::Refused(members) })
    }
}
