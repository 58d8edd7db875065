//! Reads the body of a `send_join` or `state` response in parts, while it arrives.

mod reader;

use std::time::Duration;

use plexus_net::federation::StreamedResponse;
use plexus_protocol::id::ServerName;
use plexus_rooms::PeerError;

use super::error::peer_error;
use super::{PeerResponse, StatePart, StateParts};

pub use reader::{StateReadError, StateReader};

/// How long to wait for each chunk of the body.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);

/// A `send_join` or `state` response that is still arriving.
pub(super) struct RemoteState {
    from: ServerName,
    response: StreamedResponse,
    /// `None` once the response has ended.
    reader: Option<StateReader>,
}

impl RemoteState {
    pub(crate) fn new(from: ServerName, response: StreamedResponse) -> Self {
        Self { from, response, reader: Some(StateReader::new()) }
    }

    /// A response to version 1 of `send_join`.
    pub(crate) fn with_status(from: ServerName, response: StreamedResponse) -> Self {
        Self { from, response, reader: Some(StateReader::with_status()) }
    }

    async fn next_part(&mut self) -> Result<Option<StatePart>, PeerError> {
        while let Some(reader) = &mut self.reader {
            if let Some(part) = reader.next_part() {
                return Ok(Some(part));
            }
            #[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
            let chunk = tokio::time::timeout(CHUNK_TIMEOUT, self.response.chunk()).await;
            let read = match chunk.map_err(|_| PeerError::timeout(&self.from))?.map_err(peer_error)? {
                Some(chunk) => reader.read(&chunk).map(|()| None),
                None => self.reader.take().map_or(Ok(None), StateReader::finish),
            };
            let last = read.map_err(|error| PeerError::malformed(&self.from, error.to_string()))?;
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(None)
    }
}

impl StateParts for RemoteState {
    fn next(&mut self) -> PeerResponse<'_, Option<StatePart>> {
        Box::pin(self.next_part())
    }
}
