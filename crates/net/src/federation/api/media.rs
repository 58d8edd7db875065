//! Media of servers that do not know the authenticated endpoints.

pub mod get_content;

use std::time::Duration;

/// How much longer than for an upload a server is waited for.
const ALLOWANCE: Duration = Duration::from_secs(20);

/// The bounds of a download.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long the other server may wait for the media to be uploaded.
    pub upload_timeout: Duration,
    /// The largest response that is read, in bytes.
    pub max_response_bytes: usize,
}

impl Bounds {
    /// How long to wait for the response.
    #[must_use]
    pub fn timeout(self) -> Duration {
        self.upload_timeout.saturating_add(ALLOWANCE)
    }
}
