//! The end of the process, as an argument for anything that waits long.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the server is stopping. Clones share the state.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Shutdown {
    /// Wakes everybody who waits in [`Self::begun`]; permanent.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether [`Self::begin`] was called.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the server is stopping, immediately if it already is.
    pub async fn begun(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }
}
