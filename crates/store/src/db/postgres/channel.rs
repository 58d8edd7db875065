//! A connection to the server, and the runtime that drives it while its thread waits for a response.
//!
//! Responses arrive in the order of the requests. Requests are sent together, when the thread next waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::error::Severity;
use tokio_postgres::{Client, Error};

use super::connect::{Connected, connect};
use super::describe;
use crate::db::{DbError, PostgresOptions};

/// How long the end of a session may take; nobody waits for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The response to a request.
pub(super) type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

pub(super) struct Channel {
    // Dropped first: the driver ends when its client is dropped.
    client: Arc<Client>,
    driver: Driver,
}

struct Driver {
    /// `None` once it is lost.
    connection: Option<Connected>,
    /// Why it was lost, if known.
    reason: Option<Error>,
    runtime: Runtime,
}

impl Channel {
    pub(super) fn open(options: &PostgresOptions) -> Result<Self, DbError> {
        let unavailable = |error: std::io::Error| DbError::Unavailable(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unavailable)?;
        let (client, connection) = runtime.block_on(connect(options))?;
        Ok(Self { client: Arc::new(client), driver: Driver { connection: Some(connection), reason: None, runtime } })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.driver.connection.is_none()
    }

    /// Queues the requests that `request` makes on its first poll.
    pub(super) fn send<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        request: impl FnOnce(Arc<Client>) -> F,
    ) -> Answer<T> {
        let mut answer: Answer<T> = Box::pin(request(Arc::clone(&self.client)));
        match answer.as_mut().poll(&mut unheard()) {
            Poll::Ready(answered) => Box::pin(std::future::ready(answered)),
            Poll::Pending => answer,
        }
    }

    /// Drives the connection until `poll` is ready. The responses that `poll` polls need no waker: only the connection
    /// makes progress on them, and it has just been driven.
    pub(super) fn drive<T>(&mut self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let Driver { connection, reason, runtime } = &mut self.driver;
        runtime.block_on(std::future::poll_fn(|context| {
            if let Some(driven) = connection
                && let Poll::Ready(end) = driven.as_mut().poll(context)
            {
                *reason = end.err();
                *connection = None;
            }
            poll(&mut unheard())
        }))
    }

    pub(super) fn wait<T>(&mut self, mut answer: Answer<T>) -> Result<T, Error> {
        self.drive(|context| answer.as_mut().poll(context))
    }

    /// Sends the queued requests without waiting for a response.
    pub(super) fn flush(&mut self) {
        self.drive(|_| Poll::Ready(()));
    }

    /// Returns the error for a caller that waits for a statement.
    pub(super) fn error(&mut self, sql: &str, error: &Error) -> DbError {
        if error
            .as_db_error()
            .is_some_and(|error| matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic)))
        {
            // The server has ended the session; that it also closed the connection is noticed later.
            self.driver.connection = None;
        }
        if self.is_lost() || error.is_closed() {
            let reason = self.driver.reason.as_ref().filter(|_| error.is_closed()).unwrap_or(error);
            return DbError::Unavailable(describe(reason));
        }
        super::statement_error(sql, error)
    }
}

impl Drop for Driver {
    #[expect(clippy::disallowed_methods, reason = "bounds the wait for the database")]
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Closes the session properly; a server that does not receive that sees the connection end.
            drop(self.runtime.block_on(async { tokio::time::timeout(CLOSE_TIMEOUT, connection).await }));
        }
    }
}

fn unheard() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
