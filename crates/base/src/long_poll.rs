//! Requests that wait for an event, and ending them to free their connections.

use std::fmt::Debug;
use std::sync::Arc;

use crate::Shutdown;

/// The connection of a waiting request.
pub trait PolledConnection: Debug + Send + Sync {
    /// Called when a request begins to wait. Returns the signal that the connection is needed for another request.
    fn begin_wait(&self) -> Shutdown;

    /// Called when a request stops waiting.
    fn end_wait(&self);
}

/// The connection of a request, for handlers that may wait long. The default has no connection and never has to end.
#[derive(Debug, Clone, Default)]
pub struct LongPoll(Option<Arc<dyn PolledConnection>>);

impl LongPoll {
    /// Returns the value for a request on `connection`.
    pub fn new(connection: Arc<dyn PolledConnection>) -> Self {
        Self(Some(connection))
    }

    /// Marks the request as waiting until the returned value is dropped.
    #[must_use]
    pub fn wait(&self) -> Waiting {
        let connection = self.0.clone();
        Waiting { make_room: connection.as_ref().map(|connection| connection.begin_wait()), connection }
    }
}

/// A waiting request.
#[derive(Debug)]
pub struct Waiting {
    connection: Option<Arc<dyn PolledConnection>>,
    make_room: Option<Shutdown>,
}

impl Waiting {
    /// Returns once the request has to end, so that its connection can be used by another.
    pub async fn must_end(&self) {
        match &self.make_room {
            Some(make_room) => make_room.begun().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.end_wait();
        }
    }
}
