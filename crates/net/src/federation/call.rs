//! What is asked of another server.

use std::time::Duration;

use http::Method;
use serde::Serialize;

use super::error::FederationError;
use crate::percent::percent_encode;

/// The largest answer read when nothing else is said, in bytes.
const MOST_ANSWER_BYTES: usize = 100 * 1024 * 1024;

/// How much trouble a request is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A user waits, or the destination has just talked to us: tried even while the destination is backed off, but then only
    /// once and without a longer backoff when it fails.
    Now,
    /// Refused at once while the destination is backed off; tried again `max_short_retries` times within seconds, unless it
    /// kept us waiting for as long as one waits for an answer.
    Background,
    /// What must arrive in the end: tried as [`Self::Background`], but a destination that fails is not backed off yet.
    /// [`FederationClient::came_back`](crate::FederationClient::came_back) returns it `max_long_retries` times within
    /// minutes first, and the caller tries once each time. Nothing is held in between.
    Persistent,
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
    /// How long to wait for the head of the answer, and then again for its body; `client_timeout` when `None`. A request
    /// with a timeout of its own is not tried again.
    pub timeout: Option<Duration>,
    /// The largest body of an answer that is read, in bytes.
    pub max_answer_bytes: usize,
    /// How much trouble it is worth.
    pub patience: Patience,
    /// A 401 leads to no backoff.
    pub unauthorized_is_no_outage: bool,
}

impl Call {
    /// GET, for somebody who waits.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), MOST_ANSWER_BYTES)
    }

    /// PUT with a JSON object, for somebody who waits.
    pub fn put(path: impl Into<String>, body: String) -> Self {
        Self::new(Method::PUT, path.into(), MOST_ANSWER_BYTES).body(body)
    }

    /// POST with a JSON object, for somebody who waits.
    pub fn post(path: impl Into<String>, body: String) -> Self {
        Self::new(Method::POST, path.into(), MOST_ANSWER_BYTES).body(body)
    }

    pub(super) fn new(method: Method, path: String, max_answer_bytes: usize) -> Self {
        let patience = Patience::Now;
        Self { method, path, body: None, timeout: None, max_answer_bytes, patience, unauthorized_is_no_outage: false }
    }

    /// With one more parameter in the query.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.extend(percent_encode(value));
        self
    }

    /// With the text of a JSON object as its body.
    pub(super) fn body(self, body: String) -> Self {
        Self { body: Some(body), ..self }
    }

    /// With the JSON of `body`, an object.
    pub(super) fn json(self, body: &impl Serialize) -> Result<Self, FederationError> {
        let body = serde_json::to_string(body).map_err(|error| FederationError::Malformed(error.to_string()))?;
        Ok(self.body(body))
    }

    /// With another patience.
    #[must_use]
    pub fn patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// With a body that may be why the destination answers 401: it may read another object from it than was signed.
    #[must_use]
    pub fn unauthorized_is_no_outage(self) -> Self {
        Self { unauthorized_is_no_outage: true, ..self }
    }

    /// With a timeout of its own.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// With another bound for the answer, in bytes.
    #[must_use]
    pub fn max_answer_bytes(self, max_answer_bytes: usize) -> Self {
        Self { max_answer_bytes, ..self }
    }
}
