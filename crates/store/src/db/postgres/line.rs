//! A connection to the server, and the runtime that drives it while its thread waits for an answer.
//!
//! What is sent is answered in order. It goes out when the thread waits next, all of it together.

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

/// How long the end of a session may take that nobody waits for.
const FAREWELL: Duration = Duration::from_secs(1);

/// The answer to something sent.
pub(super) type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

pub(super) struct Line {
    // Dropped first: the driver ends when its client has gone.
    client: Arc<Client>,
    driver: Driver,
}

struct Driver {
    /// `None` once it is lost.
    connection: Option<Connected>,
    /// Why it is lost, if that is known.
    reason: Option<Error>,
    runtime: Runtime,
}

impl Line {
    pub fn open(options: &PostgresOptions) -> Result<Self, DbError> {
        let unavailable = |error: std::io::Error| DbError::Unavailable(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unavailable)?;
        let (client, connection) = runtime.block_on(connect(options))?;
        Ok(Self { client: Arc::new(client), driver: Driver { connection: Some(connection), reason: None, runtime } })
    }

    pub fn is_lost(&self) -> bool {
        self.driver.connection.is_none()
    }

    /// Hands over what `request` sends first.
    pub fn send<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        request: impl FnOnce(Arc<Client>) -> F,
    ) -> Answer<T> {
        let mut answer: Answer<T> = Box::pin(request(Arc::clone(&self.client)));
        match answer.as_mut().poll(&mut unheard()) {
            Poll::Ready(answered) => Box::pin(std::future::ready(answered)),
            Poll::Pending => answer,
        }
    }

    /// Drives the connection until `poll` is ready. The answers that `poll` looks at need no waker: only the connection
    /// moves them on, and that has just been driven.
    pub fn drive<T>(&mut self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
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

    pub fn wait<T>(&mut self, mut answer: Answer<T>) -> Result<T, Error> {
        self.drive(|context| answer.as_mut().poll(context))
    }

    /// Sends what was handed over, without waiting for an answer.
    pub fn flush(&mut self) {
        self.drive(|_| Poll::Ready(()));
    }

    /// What `error` means for who waits for a statement.
    pub fn error(&mut self, sql: &str, error: &Error) -> DbError {
        if error
            .as_db_error()
            .is_some_and(|told| matches!(told.parsed_severity(), Some(Severity::Fatal | Severity::Panic)))
        {
            // The server has ended the session; that it has closed the connection too is seen later.
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
            // Says goodbye; a server that does not hear it sees the connection end.
            drop(self.runtime.block_on(async { tokio::time::timeout(FAREWELL, connection).await }));
        }
    }
}

fn unheard() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
