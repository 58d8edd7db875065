//! The body of a response, as it comes in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::http::error::HttpError;
use crate::http::pool::{Lease, Turn};
use crate::http::purpose::Limits;

/// How many times the timeout of a request all pieces of the body may keep us waiting together.
const MAX_TIMEOUTS_OF_BODY: u32 = 10;

/// The body of a response, to be read piece by piece.
pub struct StreamedBody {
    body: Incoming,
    limits: Limits,
    bytes_left: usize,
    /// How much longer to wait for pieces. What the reader does in between does not count.
    time_left: Duration,
    lease: Option<Lease>,
    /// Ends with the body, not with this: its reader may have more to do.
    turn: Turn,
}

impl StreamedBody {
    pub(super) fn new(body: Incoming, limits: Limits, lease: Option<Lease>, turn: Turn) -> Self {
        let time_left = limits.timeout.saturating_mul(MAX_TIMEOUTS_OF_BODY);
        Self { body, limits, bytes_left: limits.max_response_bytes, time_left, lease, turn }
    }

    /// The same body, of which no more than `max_bytes` are read.
    pub(crate) fn at_most(mut self, max_bytes: usize) -> Self {
        self.limits.max_response_bytes = max_bytes;
        self.bytes_left = max_bytes;
        self
    }

    /// Returns the next piece; `None` at the end of the body.
    ///
    /// # Errors
    /// When the body breaks off, keeps us waiting for too long or is larger than allowed. There is no next piece then.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let wait = self.limits.timeout.min(self.time_left);
            #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
            let began = tokio::time::Instant::now();
            #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
            let frame = tokio::time::timeout(wait, self.body.frame()).await;
            self.time_left = self.time_left.saturating_sub(began.elapsed());
            let Some(frame) = frame.map_err(|_| HttpError::Timeout)? else {
                if let Some(lease) = self.lease.take() {
                    lease.give_back();
                }
                self.turn = None;
                return Ok(None);
            };
            let Ok(data) = frame?.into_data() else { continue };
            let left = self.bytes_left.checked_sub(data.len());
            self.bytes_left = left.ok_or(HttpError::TooLarge(self.limits.max_response_bytes))?;
            return Ok(Some(data));
        }
    }

    /// Returns the rest of the body, which must come within one timeout.
    ///
    /// # Errors
    /// See [`Self::chunk`].
    pub(crate) async fn whole(mut self) -> Result<Bytes, HttpError> {
        self.time_left = self.limits.timeout;
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}
