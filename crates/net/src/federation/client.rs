//! Sends requests to other servers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri};
use plexus_base::{Clock, Random};
use plexus_protocol::id::ServerName;
use plexus_store::DbError;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::Purpose;
use crate::dial::Dialer;
use crate::tls::{Tls, TlsSetupError};

use super::answer::{Admission, StreamedAnswer};
use super::call::{Call, Patience};
use super::connector::Connector;
use super::destinations::{CameBack, Destinations, with_jitter};
use super::discovery::Discovery;
use super::error::{ConnectError, FederationError};
use super::exchange::{Exchange, Signed};
use super::gates::Gates;
use super::lease::Lease;
use super::pool::Pool;
use super::settings::{FederationParts, FederationSettings};
use super::web::Web;

/// The most requests to one server at once; more wait.
const PER_SERVER: usize = 8;
/// The most bytes of an error's body that are read.
const MOST_ERROR_BYTES: usize = 64 * 1024;

/// Why the client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum FederationSetupError {
    /// The certificate authorities.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// What is known of other servers cannot be read.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Sends requests to other servers.
pub struct FederationClient {
    settings: FederationSettings,
    clock: Clock,
    random: Random,
    discovery: Discovery,
    exchange: Exchange,
    web: Web,
    pool: Arc<Pool>,
    per_server: Gates,
    /// As many as connections: who has a permit waits for a connection only until an idle one is closed.
    all_servers: Arc<Semaphore>,
    destinations: Arc<Destinations>,
}

/// The tries of one call.
struct Tries {
    left: u32,
    tried: u32,
    /// Unix ms.
    began: u64,
    /// Whether the destination was left alone when it began.
    backed_off: bool,
}

impl FederationClient {
    /// Builds the client; nothing is connected to yet.
    ///
    /// # Errors
    /// When a file of certificate authorities cannot be used, or the database cannot be read.
    pub async fn start(parts: FederationParts) -> Result<Self, FederationSetupError> {
        let FederationParts { settings, signing_key, names, db, clock, random, background } = parts;
        let tls = Tls::new(&settings.tls)?;
        let dialer = Dialer::new(names, settings.guard.clone());
        let connector = Arc::new(Connector::new(dialer, tls, random.clone()));
        let pool = Arc::new(Pool::new(settings.max_connections, clock.clone()));
        let user_agent = HeaderValue::from_str(&settings.user_agent);
        let user_agent = user_agent.unwrap_or(HeaderValue::from_static("Plexus"));
        let patience = (settings.backoff.clone(), settings.retries.clone());
        let destinations = Destinations::load(db, clock.clone(), random.clone(), background, patience).await?;
        let web = || Web::new(Arc::clone(&connector), Arc::clone(&pool), user_agent.clone());
        Ok(Self {
            discovery: Discovery::new(web(), clock.clone()),
            web: web(),
            exchange: Exchange {
                server_name: settings.server_name.clone(),
                signing_key,
                user_agent,
                connector: Arc::clone(&connector),
                pool: Arc::clone(&pool),
            },
            pool,
            per_server: Gates::new(PER_SERVER),
            all_servers: Arc::new(Semaphore::new(settings.max_connections.max(1))),
            destinations,
            settings,
            clock,
            random,
        })
    }

    /// The body of a 2xx answer of `destination`.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub async fn call(&self, destination: &ServerName, call: Call) -> Result<Bytes, FederationError> {
        let signed = self.prepare(destination, &call)?;
        let mut tries = self.begin(destination, &call)?;
        loop {
            let answer = match self.attempt(destination, &call, &signed).await {
                Ok(answer) => answer.whole().await,
                Err(error) => Err(error),
            };
            if let ControlFlow::Break(result) = self.settle(destination, &call, &mut tries, answer).await {
                return result;
            }
        }
    }

    /// As [`Self::call`], the answer read as JSON.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub async fn call_json<T: DeserializeOwned>(
        &self,
        destination: &ServerName,
        call: Call,
    ) -> Result<T, FederationError> {
        let body = self.call(destination, call).await?;
        serde_json::from_slice(&body)
            .map_err(|error| FederationError::NotJson { destination: destination.clone(), problem: error.to_string() })
    }

    /// The head of a 2xx answer of `destination`, its body to be read piece by piece.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub async fn stream(&self, destination: &ServerName, call: Call) -> Result<StreamedAnswer, FederationError> {
        let signed = self.prepare(destination, &call)?;
        let mut tries = self.begin(destination, &call)?;
        loop {
            let answer = self.attempt(destination, &call, &signed).await;
            if let ControlFlow::Break(result) = self.settle(destination, &call, &mut tries, answer).await {
                return result;
            }
        }
    }

    /// GETs `location`, an absolute http or https address that `from` named; unsigned, with redirects followed. Waits `timeout` for the head of the answer, and for each piece of its body.
    ///
    /// # Errors
    /// See [`FederationError`]; `from` stands for wherever the address leads.
    pub async fn fetch(
        &self,
        purpose: Purpose,
        from: &ServerName,
        location: &str,
        timeout: Duration,
        max_answer_bytes: usize,
    ) -> Result<StreamedAnswer, FederationError> {
        let uri: Uri = location
            .parse()
            .map_err(|_| FederationError::unreachable(from, ConnectError::Address(location.to_owned())))?;
        let admission = self.admission(None).await;
        let answer = tokio::time::timeout(timeout, self.web.get(purpose, uri)).await;
        let answer = answer.map_err(|_| FederationError::Timeout(from.clone()))?;
        let answer = answer.map_err(|error| error.of_fetch(from))?;
        let (head, body) = answer.into_parts();
        let streamed = |limit| StreamedAnswer::new(from.clone(), head.headers, body, limit, timeout, (None, admission));
        if head.status.is_success() {
            return Ok(streamed(max_answer_bytes));
        }
        let body = streamed(MOST_ERROR_BYTES).whole().await.unwrap_or_default();
        Err(FederationError::of_status(from.clone(), head.status, body))
    }

    /// Whether `federation_domain_whitelist` lets us speak with `server`.
    pub fn is_allowed(&self, server: &ServerName) -> bool {
        self.settings.allowed.as_ref().is_none_or(|allowed| allowed.contains(server.as_str()))
    }

    /// `server` has just talked to us: it is not left alone any longer.
    pub fn heard_from(&self, server: &ServerName) {
        self.destinations.heard_from(server);
    }

    /// Until when (unix ms) `server` is left alone because it failed; `None` if it may be tried.
    pub fn backing_off_until(&self, server: &ServerName) -> Option<u64> {
        self.destinations.until(server)
    }

    /// Whether deliveries to `server` that failed are being tried again, before it is left alone.
    pub fn is_retried(&self, server: &ServerName) -> bool {
        self.destinations.is_retried(server)
    }

    /// Whether [`Self::came_back`] will return `server` for the next of these tries.
    pub fn will_be_retried(&self, server: &ServerName) -> bool {
        self.destinations.will_be_retried(server)
    }

    /// Whether `server` failed and has neither answered nor talked to us since.
    pub fn is_failing(&self, server: &ServerName) -> bool {
        self.destinations.is_failing(server)
    }

    /// The most connections that are open at once.
    pub fn max_connections(&self) -> usize {
        self.settings.max_connections.max(1)
    }

    /// Waits for the next server that failed and is worth trying again: it answered or talked to us, or has been left alone
    /// for long enough. Each is returned once, to one caller, for each time that it failed.
    pub async fn came_back(&self) -> CameBack {
        self.destinations.came_back().await
    }

    /// Closes connections that have been idle for long, for ever.
    pub async fn run_housekeeping(self: Arc<Self>) {
        self.pool.run_housekeeping().await;
    }

    fn prepare(&self, destination: &ServerName, call: &Call) -> Result<Signed, FederationError> {
        if *destination == self.settings.server_name {
            return Err(FederationError::OwnServer);
        }
        if !self.is_allowed(destination) {
            return Err(FederationError::NotAllowed(destination.clone()));
        }
        self.exchange.sign(destination, call)
    }

    /// Waits for one's turn.
    async fn admission(&self, server: Option<&ServerName>) -> Admission {
        let of_server = match server {
            Some(server) => Some(self.per_server.enter(server.as_str()).await),
            None => None,
        };
        // Nobody closes the semaphore.
        let of_all = Arc::clone(&self.all_servers).acquire_owned().await.ok();
        Admission { _of_server: of_server, _of_all: of_all }
    }

    fn timeout(&self, call: &Call) -> Duration {
        call.timeout.unwrap_or(self.settings.timeout)
    }

    /// One attempt: the head of a 2xx answer.
    async fn attempt(
        &self,
        destination: &ServerName,
        call: &Call,
        signed: &Signed,
    ) -> Result<StreamedAnswer, FederationError> {
        let timeout = self.timeout(call);
        // Waiting for one's turn says nothing about the destination.
        let admission = self.admission(Some(destination)).await;
        let sending = async {
            let authority = self.discovery.delegated(destination).await;
            self.exchange.send(destination, &authority, signed).await
        };
        let sent = tokio::time::timeout(timeout, sending).await;
        let (answer, lease) = sent.unwrap_or_else(|_| Err(FederationError::Timeout(destination.clone())))?;
        let (head, body) = answer.into_parts();
        let streamed = |limit, holds: (Option<Lease>, Admission)| {
            StreamedAnswer::new(destination.clone(), head.headers, body, limit, timeout, holds)
        };
        if head.status.is_success() {
            return Ok(streamed(call.max_answer_bytes, (Some(lease), admission)));
        }
        // What cannot be read of an error is missing from it.
        let body = streamed(MOST_ERROR_BYTES, (Some(lease), admission)).whole().await.unwrap_or_default();
        Err(FederationError::of_status(destination.clone(), head.status, body))
    }

    /// How often `call` may be tried: not at all while the destination is left alone, unless somebody waits.
    fn begin(&self, destination: &ServerName, call: &Call) -> Result<Tries, FederationError> {
        let backed_off = self.destinations.until(destination);
        let is_retried = call.patience == Patience::Persistent && self.destinations.is_retried(destination);
        let left = match (call.patience, backed_off) {
            _ if is_retried => 0,
            (Patience::Background | Patience::Persistent, Some(until_ms)) => {
                return Err(FederationError::BackingOff { destination: destination.clone(), until_ms });
            }
            (Patience::Now, Some(_)) => 0,
            _ if call.timeout.is_some() => 0,
            (_, None) => self.settings.retries.short,
        };
        if call.patience == Patience::Persistent {
            self.destinations.delivery_begins(destination);
        }
        Ok(Tries { left, tried: 0, began: self.clock.now_ms(), backed_off: backed_off.is_some() })
    }

    /// Waits for the next try and answers `Continue`, or keeps account of how the destination fares and hands the result
    /// back.
    async fn settle<T>(
        &self,
        destination: &ServerName,
        call: &Call,
        tries: &mut Tries,
        result: Result<T, FederationError>,
    ) -> ControlFlow<Result<T, FederationError>> {
        match &result {
            Ok(_) => {
                // First: a delivery that is under way learns of it.
                let is_delivery = call.patience == Patience::Persistent;
                self.destinations.answered(destination, is_delivery).await;
                if is_delivery {
                    self.destinations.delivery_ends(destination);
                }
            }
            Err(error) if tries.left > 0 && error.is_worth_another_try() => {
                tracing::debug!("trying again: {error}");
                self.clock.sleep(self.pause(tries.tried)).await;
                tries.left -= 1;
                tries.tried += 1;
                return ControlFlow::Continue(());
            }
            Err(error) => self.note_failure(destination, call, tries, error).await,
        }
        ControlFlow::Break(result)
    }

    async fn note_failure(&self, destination: &ServerName, call: &Call, tries: &Tries, error: &FederationError) {
        let is_about_content = call.unauthorized_is_no_outage && error.status() == Some(StatusCode::UNAUTHORIZED);
        let is_outage = error.is_outage() && !is_about_content;
        if call.patience == Patience::Persistent {
            let heard_from = self.destinations.delivery_ends(destination);
            if is_outage && heard_from && self.destinations.retry_although_up(destination) {
                tracing::debug!("trying again although it failed and is up: {error}");
                return;
            }
            if is_outage && !heard_from && error.is_worth_a_later_try() && self.destinations.retry(destination) {
                tracing::debug!("trying again later: {error}");
                return;
            }
            self.destinations.end_retries(destination);
        }
        // A user who asks a server that is left alone must not make it be left alone for longer.
        if is_outage && !tries.backed_off {
            self.destinations.failed(destination, tries.began, error).await;
        }
    }

    /// How long to wait after failure number `tried` (from 0) of a call.
    fn pause(&self, tried: u32) -> Duration {
        let pause = Duration::from_millis(500_u64.saturating_mul(2_u64.saturating_pow(tried)));
        with_jitter(pause.min(self.settings.retries.short_delay), &self.random)
    }
}
