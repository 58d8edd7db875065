//! The response of another server, as it comes in.

use bytes::Bytes;
use http::HeaderMap;
use plexus_protocol::id::ServerName;

use super::error::FederationError;
use crate::http::response::StreamedBody;

/// The head of a 2xx response, and its body piece by piece.
pub struct StreamedResponse {
    /// The headers.
    pub headers: HeaderMap,
    pub(super) from: ServerName,
    pub(super) body: StreamedBody,
}

impl StreamedResponse {
    /// Returns the next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the body breaks off, keeps us waiting for too long or is larger than allowed. There is no next piece then.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FederationError> {
        self.body.chunk().await.map_err(|error| FederationError::of_http(&self.from, error))
    }

    /// Returns the rest of the body, which must come within one timeout.
    ///
    /// # Errors
    /// See [`Self::chunk`].
    pub async fn whole(self) -> Result<Bytes, FederationError> {
        let Self { from, body, .. } = self;
        body.whole().await.map_err(|error| FederationError::of_http(&from, error))
    }
}
