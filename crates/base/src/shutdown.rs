//! The end of the process, as an argument: who waits for long can wait for this too.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the server is stopping. Clones are the same thing.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Shutdown {
    /// Tells everybody who waits in [`Self::begun`]; for good.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether [`Self::begin`] was called.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the server is stopping: at once when it is already.
    pub async fn begun(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }
}
