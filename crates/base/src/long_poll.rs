//! Requests that wait for something to happen, and how they make room for other connections.

use std::fmt::Debug;
use std::sync::Arc;

use crate::Shutdown;

/// What a request that waits has to do with its connection.
pub trait PolledConnection: Debug + Send + Sync {
    /// A request begins to wait. Returns what begins when the connection has to make room for another.
    fn begin_wait(&self) -> Shutdown;

    /// A request waits no longer.
    fn end_wait(&self);
}

/// The connection of a request, for handlers that may wait long. The default belongs to no connection and never has to
/// make room.
#[derive(Debug, Clone, Default)]
pub struct LongPoll(Option<Arc<dyn PolledConnection>>);

impl LongPoll {
    /// Of a request on `connection`.
    pub fn new(connection: Arc<dyn PolledConnection>) -> Self {
        Self(Some(connection))
    }

    /// The request waits until what this returns is dropped.
    #[must_use]
    pub fn wait(&self) -> Waiting {
        let connection = self.0.clone();
        Waiting { make_room: connection.as_ref().map(|connection| connection.begin_wait()), connection }
    }
}

/// A request that waits.
#[derive(Debug)]
pub struct Waiting {
    connection: Option<Arc<dyn PolledConnection>>,
    make_room: Option<Shutdown>,
}

impl Waiting {
    /// Returns once the request has to be answered, so that its connection can make room for another.
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
