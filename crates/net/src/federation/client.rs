//! Sends requests to other servers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use plexus_base::{Clock, Random};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_store::DbError;
use serde::de::DeserializeOwned;

use super::call::Call;
use super::connect::connect;
use super::destinations::{CameBack, Destinations};
use super::discovery::Discovery;
use super::error::{FederationError, UnreachableError};
use super::gates::{Gates, Pass};
use super::response::StreamedResponse;
use super::settings::{FederationParts, FederationSettings};
use super::signed_request::SignedRequest;
use crate::http::client::{HttpClient, HttpResponse};
use crate::http::error::{ConnectError, HttpError};
use crate::http::pool::{self, Slot};
use crate::http::purpose::{Limits, Purpose};

/// The most requests to one server at once; more wait.
const MAX_REQUESTS_PER_SERVER: usize = 8;
/// Like [`MAX_REQUESTS_PER_SERVER`], for signing keys.
const MAX_KEY_REQUESTS_PER_SERVER: usize = 8;
/// The most bytes of an error's body that are read.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Sends requests to other servers.
pub struct FederationClient {
    pub(super) settings: FederationSettings,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) destinations: Arc<Destinations>,
    signing_key: Arc<SigningKey>,
    discovery: Arc<Discovery>,
    http: Arc<HttpClient>,
    per_server: Gates,
    keys_per_server: Gates,
}

/// Why an attempt to send a request failed.
enum SendError {
    Unreachable(UnreachableError),
    Http(HttpError),
}

impl From<UnreachableError> for SendError {
    fn from(error: UnreachableError) -> Self {
        Self::Unreachable(error)
    }
}

impl From<HttpError> for SendError {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl SendError {
    fn at(self, destination: &ServerName) -> FederationError {
        match self {
            Self::Unreachable(cause) => FederationError::unreachable(destination, cause),
            Self::Http(error) => FederationError::of_http(destination, error),
        }
    }
}

impl FederationClient {
    /// Builds the client; nothing is connected to yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn start(parts: FederationParts) -> Result<Self, DbError> {
        let FederationParts { settings, signing_key, http, db, clock, random, background } = parts;
        let patience = (settings.backoff.clone(), settings.retries.clone());
        let tasks = background.clone();
        let destinations = Destinations::load(db, clock.clone(), random.clone(), tasks, patience).await?;
        Ok(Self {
            discovery: Arc::new(Discovery::new(Arc::clone(&http), clock.clone(), background)),
            per_server: Gates::new(MAX_REQUESTS_PER_SERVER),
            keys_per_server: Gates::new(MAX_KEY_REQUESTS_PER_SERVER),
            settings,
            clock,
            random,
            destinations,
            signing_key,
            http,
        })
    }

    /// Sends a request. Returns the body of a 2xx response.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub async fn call(&self, destination: &ServerName, call: Call) -> Result<Bytes, FederationError> {
        let request = self.prepare(destination, &call)?;
        let mut attempts = self.begin(destination, &call)?;
        loop {
            let response = match self.attempt(destination, &call, &request).await {
                Ok((response, _pass)) => response.whole().await,
                Err(error) => Err(error),
            };
            if let ControlFlow::Break(result) = self.settle(destination, &call, &mut attempts, response).await {
                return result;
            }
        }
    }

    /// Like [`Self::call`]; returns the JSON of the body.
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
            .map_err(|error| FederationError::malformed_response(destination, error.to_string()))
    }

    /// Sends a request. Returns the head of a 2xx response, whose body is to be read piece by piece.
    ///
    /// # Errors
    /// See [`FederationError`].
    pub async fn stream(&self, destination: &ServerName, call: Call) -> Result<StreamedResponse, FederationError> {
        let request = self.prepare(destination, &call)?;
        let mut attempts = self.begin(destination, &call)?;
        loop {
            // The pass ends here: the reader may send other requests to the same server before it reads on.
            let response = self.attempt(destination, &call, &request).await.map(|(response, _pass)| response);
            if let ControlFlow::Break(result) = self.settle(destination, &call, &mut attempts, response).await {
                return result;
            }
        }
    }

    /// GETs `location`, an absolute http or https URL that `from` named; unsigned.
    ///
    /// # Errors
    /// See [`FederationError`]; `from` stands for wherever the URL leads.
    pub async fn fetch(
        &self,
        purpose: Purpose,
        from: &ServerName,
        location: &str,
    ) -> Result<StreamedResponse, FederationError> {
        let no_address = |_| FederationError::unreachable(from, ConnectError::Address(location.to_owned()).into());
        let uri: Uri = location.parse().map_err(no_address)?;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri;
        let response = self.http.send(purpose, request).await;
        success(from, response.map_err(|error| FederationError::of_http(from, error))?).await
    }

    /// Whether `federation_domain_whitelist` permits federation with `server`.
    pub fn is_allowed(&self, server: &ServerName) -> bool {
        self.settings.allowed.as_ref().is_none_or(|allowed| allowed.contains(server.as_str()))
    }

    /// `server` has just sent something: its backoff ends.
    pub fn heard_from(&self, server: &ServerName) {
        self.destinations.heard_from(server);
    }

    /// Until when (Unix ms) `server` is backed off; `None` if it may be tried.
    pub fn backing_off_until(&self, server: &ServerName) -> Option<u64> {
        self.destinations.until(server)
    }

    /// Whether deliveries to `server` that failed are being tried again, before it is backed off.
    pub fn is_retried(&self, server: &ServerName) -> bool {
        self.destinations.is_retried(server)
    }

    /// Whether [`Self::came_back`] will return `server` for the next of these tries.
    pub fn will_be_retried(&self, server: &ServerName) -> bool {
        self.destinations.will_be_retried(server)
    }

    /// Whether `server` failed and has neither responded nor sent anything since.
    pub fn is_failing(&self, server: &ServerName) -> bool {
        self.destinations.is_failing(server)
    }

    /// The most connections that are open at once.
    pub fn max_connections(&self) -> usize {
        self.http.max_connections()
    }

    /// Waits for the next server that failed and is worth trying again: it responded or sent something, or its backoff
    /// is over. Each is returned once, to one caller, for each time that it failed.
    pub async fn came_back(&self) -> CameBack {
        self.destinations.came_back().await
    }

    fn prepare(&self, destination: &ServerName, call: &Call) -> Result<SignedRequest, FederationError> {
        if *destination == self.settings.server_name {
            return Err(FederationError::OwnServer);
        }
        if !self.is_allowed(destination) {
            return Err(FederationError::NotAllowed(destination.clone()));
        }
        SignedRequest::new(call, &self.settings.server_name, destination, &self.signing_key)
    }

    /// Waits until one more request to `destination` may be sent, and it is known where to; for as long as the call may
    /// take. How long that takes says nothing about the destination.
    async fn ready(
        &self,
        destination: &ServerName,
        call: &Call,
        timeout: Duration,
    ) -> Result<(Pass, ServerName), FederationError> {
        let gates = if call.is_for_keys { &self.keys_per_server } else { &self.per_server };
        let ready = async {
            let pass = gates.enter(destination.as_str()).await;
            let delegated = self.discovery.delegated(destination).await;
            let prevented = |cause| FederationError::Unreachable { destination: destination.clone(), cause };
            Ok((pass, delegated.map_err(prevented)?))
        };
        #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
        let ready = tokio::time::timeout(timeout, ready).await;
        ready.unwrap_or_else(|_| Err(FederationError::NotSent(destination.clone())))
    }

    /// One attempt: returns the head of a 2xx response, and the pass of the request.
    async fn attempt(
        &self,
        destination: &ServerName,
        call: &Call,
        request: &SignedRequest,
    ) -> Result<(StreamedResponse, Pass), FederationError> {
        let timeout = call.timeout.unwrap_or(self.settings.timeout);
        let limits = Limits { timeout, max_response_bytes: call.max_response_bytes };
        let purpose = if call.is_for_keys { Purpose::SigningKeys(limits) } else { Purpose::Federation(limits) };
        let (pass, authority) = self.ready(destination, call, timeout).await?;
        // Waiting for one's turn says nothing about the destination either.
        let turn = self.http.turn(purpose).await;
        let sending = async {
            let request = request.to(&authority, self.http.user_agent())?;
            let open = async |slot: Slot| {
                let stream = connect(self.http.connector(), purpose, &authority, &self.random).await?;
                let sender = pool::speak(stream, slot).await;
                sender.map_err(|error| UnreachableError::from(ConnectError::from(error)).into())
            };
            let sent = self.http.exchange(purpose, authority.as_str(), open, request, call.is_repeatable).await;
            sent.map_err(|error: SendError| error.at(destination))
        };
        #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
        let sent = tokio::time::timeout(timeout, sending).await;
        let (response, lease) = sent.unwrap_or_else(|_| Err(FederationError::Timeout(destination.clone())))?;
        let response = success(destination, HttpResponse::new(response, limits, lease, turn)).await?;
        Ok((response, pass))
    }
}

/// The response, if its status is 2xx.
async fn success(from: &ServerName, response: HttpResponse) -> Result<StreamedResponse, FederationError> {
    let HttpResponse { status, headers, body } = response;
    if status.is_success() {
        return Ok(StreamedResponse { headers, from: from.clone(), body });
    }
    // An error is known without its body, too.
    let body = body.at_most(MAX_ERROR_BYTES).whole().await.unwrap_or_default();
    Err(FederationError::of_status(from.clone(), status, &headers, body))
}
