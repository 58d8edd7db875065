//! The answer of another server, as it comes in.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use plexus_protocol::id::ServerName;
use tokio::sync::OwnedSemaphorePermit;

use super::error::FederationError;
use super::gates::Pass;
use super::lease::Lease;

/// How much longer than one wait the whole body may keep us waiting, when it is read in pieces.
const WAITS: u32 = 10;

/// The right to speak with a server: held until the answer has been read.
pub(super) struct Admission {
    /// As one of few who speak with that server.
    pub(super) _of_server: Option<Pass>,
    /// As one of those who have a connection at all.
    pub(super) _of_all: Option<OwnedSemaphorePermit>,
}

/// The head of a 2xx answer, and its body piece by piece.
pub struct StreamedAnswer {
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    from: ServerName,
    limit: usize,
    left: usize,
    /// How long to wait for each piece.
    timeout: Duration,
    /// How long to wait for all of them together; what the reader does in between does not count.
    patience: Duration,
    lease: Option<Lease>,
    _admission: Admission,
}

impl StreamedAnswer {
    pub(super) fn new(
        from: ServerName,
        headers: HeaderMap,
        body: Incoming,
        limit: usize,
        timeout: Duration,
        holds: (Option<Lease>, Admission),
    ) -> Self {
        let (lease, admission) = holds;
        let patience = timeout.saturating_mul(WAITS);
        Self { headers, body, from, limit, left: limit, timeout, patience, lease, _admission: admission }
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the body breaks off, keeps us waiting for too long or is larger than allowed. There is no next piece then.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FederationError> {
        loop {
            let wait = self.timeout.min(self.patience);
            let began = tokio::time::Instant::now();
            let frame = tokio::time::timeout(wait, self.body.frame()).await;
            self.patience = self.patience.saturating_sub(began.elapsed());
            let frame = match frame.map_err(|_| FederationError::Timeout(self.from.clone()))? {
                Some(frame) => frame,
                None => {
                    if let Some(lease) = self.lease.take() {
                        lease.give_back();
                    }
                    return Ok(None);
                }
            };
            let frame = frame.map_err(|error| FederationError::broken(&self.from, error))?;
            let Ok(data) = frame.into_data() else { continue };
            self.left = match self.left.checked_sub(data.len()) {
                Some(left) => left,
                None => return Err(FederationError::TooLarge { destination: self.from.clone(), limit: self.limit }),
            };
            return Ok(Some(data));
        }
    }

    /// The rest of the body, within one timeout.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn whole(mut self) -> Result<Bytes, FederationError> {
        self.patience = self.timeout;
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
