//! Requests to other servers, before they are signed.

use std::time::Duration;

use http::Method;
use serde::Serialize;

use super::error::FederationError;
use crate::percent::percent_encode;

/// How long to keep trying to send a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// For a user who waits, or to a destination that has just sent something: sent even while the destination is
    /// backed off, but then only once, and without a longer backoff when it fails.
    Now,
    /// Fails at once while the destination is backed off. Sent again `max_short_retries` times within seconds, except
    /// after a timeout.
    Background,
    /// For what must arrive in the end. Sent as [`Self::Background`], but a destination that fails is not backed off
    /// yet: [`FederationClient::came_back`](crate::FederationClient::came_back) first returns it `max_long_retries`
    /// times within minutes, and the caller sends the request once each time. Nothing is held in between.
    Persistent,
    /// To find out how the destination responds: sent once, even while the destination is backed off, and its outcome
    /// changes nothing about the backoff.
    Probe,
}

/// A request to another server.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query from `/_matrix` on, percent-encoded.
    pub path: String,
    /// The body: the text of a JSON object.
    pub body: Option<String>,
    /// How long to wait for the head of the response, and then again for its body; `client_timeout` when `None`. A
    /// request with a timeout of its own is not sent again. If it is shorter than `client_timeout`, a destination that
    /// exceeds it is not backed off.
    pub timeout: Option<Duration>,
    /// The largest body of a response that is read, in bytes.
    pub max_response_bytes: usize,
    /// How long to keep trying to send it.
    pub patience: Patience,
    /// Whether a 401 leads to a backoff: the destination refuses every request of this server. Other requests it may
    /// refuse for their own sake; and its parser may read another object from a body than was signed.
    pub(super) unauthorized_is_outage: bool,
    /// Whether it may be sent again when nobody knows whether it was carried out.
    pub(super) is_repeatable: bool,
    /// Whether signing keys are requested. Such requests do not wait for others to the same server, since responses to
    /// those may be read no further until the keys are there.
    pub(super) is_for_keys: bool,
}

impl Call {
    /// Returns a request for a user who waits.
    pub fn new(method: Method, path: impl Into<String>, max_response_bytes: usize) -> Self {
        let patience = Patience::Now;
        Self {
            is_repeatable: method.is_idempotent(),
            method,
            path: path.into(),
            body: None,
            timeout: None,
            max_response_bytes,
            patience,
            unauthorized_is_outage: false,
            is_for_keys: false,
        }
    }

    /// Adds a parameter to the query.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.extend(percent_encode(value));
        self
    }

    /// Sets the body to the text of a JSON object.
    #[must_use]
    pub fn body(self, body: String) -> Self {
        Self { body: Some(body), ..self }
    }

    /// Sets the body to the JSON of `body`, an object.
    pub(super) fn json(self, body: &impl Serialize) -> Result<Self, FederationError> {
        let body = serde_json::to_string(body).map_err(|error| FederationError::MalformedRequest(error.to_string()))?;
        Ok(self.body(body))
    }

    /// Sets the patience.
    #[must_use]
    pub fn patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Makes a 401 lead to a backoff, for a request that every server accepts from every other.
    #[must_use]
    pub fn unauthorized_is_outage(self) -> Self {
        Self { unauthorized_is_outage: true, ..self }
    }

    /// That changes nothing although its method is POST.
    pub(super) fn repeatable(self) -> Self {
        Self { is_repeatable: true, ..self }
    }

    /// For signing keys.
    pub(super) fn for_keys(self) -> Self {
        Self { is_for_keys: true, ..self }
    }

    /// Sets a timeout for this request.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }
}
