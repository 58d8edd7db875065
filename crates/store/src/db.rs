//! The database: two backends, one writer thread with group commit, reader threads, one clock.
//!
//! Order at a commit: COMMIT, then [`CommitListener::apply`](crate::CommitListener::apply), then
//! [`Database::committed`] moves, then the callers get their results, then
//! [`CommitListener::published`](crate::CommitListener::published). So a reader that first reads
//! `upto = db.committed()` and then memory or the database sees everything up to `upto`.

mod checkpoint;
mod commit;
mod connection;
mod dialect;
mod error;
mod follow;
mod foreign;
mod ids;
mod job;
pub mod migrate;
mod open;
mod options;
mod postgres;
mod read_queue;
mod reader;
mod row;
mod sqlite;
mod tls;
mod tx;
pub mod value;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::mpsc;

pub use error::{Blame, DbError, Foreign, MigrateError, OpenError, readable, readable_json};
pub use open::migrate_database;
pub use options::{Backend, Options, OptionsError, PostgresOptions, SqliteOptions};
pub use row::{Row, first};
pub use tls::{SslMode, SslOptions};
pub use tx::{Later, Tx};
pub use value::{Any, FromSql, FromSqlError, ListParam, Param, ToSql, ValueRef};

pub(crate) use connection::Connection;
pub(crate) use open::{amend, inspect};

use follow::Shared;
use job::{Job, Then, TypedJob};
use open::{Prepared, prepare};
use read_queue::ReadQueue;
use writer::{Message, Writer};

/// The most closures that wait for the writer; after that callers wait to submit theirs.
const WRITE_QUEUE: usize = 1024;
/// The same for readers.
const READ_QUEUE: usize = 1024;

/// A handle to the database; cheap to clone.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    backend: Backend,
    writer: mpsc::Sender<Message>,
    readers: Arc<ReadQueue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Database {
    /// Opens the database as its only server, migrates the schema and starts the threads. Blocks.
    ///
    /// # Errors
    /// When another server uses the database, when it belongs to another program, or when it cannot be opened or
    /// migrated.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let Prepared { conn, lock, position, .. } = prepare(options)?;
        let shared = Arc::new(Shared::new(position));
        let (writer, queue) = mpsc::channel(WRITE_QUEUE);
        let thread = Writer::new(conn, Arc::clone(&shared));
        let thread = spawn("db-writer".to_owned(), move || {
            thread.run(queue);
            drop(lock);
        })?;
        Self::start(options, shared, writer, vec![thread])
    }

    /// Starts the reader threads.
    fn start(
        options: &Options,
        shared: Arc<Shared>,
        writer: mpsc::Sender<Message>,
        mut threads: Vec<JoinHandle<()>>,
    ) -> Result<Self, OpenError> {
        let readers = Arc::new(ReadQueue::new(options.readers(), READ_QUEUE));
        for number in 0..options.readers() {
            let queue = Arc::clone(&readers);
            let options = options.clone();
            threads.push(spawn(format!("db-reader-{number}"), move || reader::run(&options, &queue, number))?);
        }
        let (backend, threads) = (options.backend(), Mutex::new(threads));
        Ok(Self(Arc::new(Inner { shared, backend, writer, readers, threads })))
    }

    /// Runs a read transaction on a reader thread: all its statements see one state of the database.
    ///
    /// # Errors
    /// The closure's, or [`DbError::Closed`].
    pub async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (job, answer) = job::pair(f);
        self.0.readers.push(job).await?;
        answer.await.unwrap_or_else(|_| Err(DbError::Closed.into()))
    }

    /// Runs a write transaction on the writer thread and returns its result after the commit. It commits together with
    /// other waiting transactions; one that fails or panics rolls back alone. Once it is queued it runs even if the
    /// returned future is dropped.
    ///
    /// # Errors
    /// The closure's, or the failure of the commit.
    pub async fn write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (job, answer) = job::pair(f);
        send(&self.0.writer, job).await?;
        answer.await.unwrap_or_else(|_| Err(DbError::Closed.into()))
    }

    /// Like [`Database::write`], but returns when the closure is submitted. `done` gets the closure's result on the
    /// writer thread, after the commit and before any later closure runs; it must be fast and must not call the
    /// database. When the database is closed meanwhile, both may be dropped.
    ///
    /// # Errors
    /// When the database is closed; neither closure runs then.
    pub async fn write_then<T, E, F, D>(&self, f: F, done: D) -> Result<(), DbError>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        D: FnOnce(Result<T, E>) + Send + 'static,
    {
        send(&self.0.writer, TypedJob::boxed(f, Then(done))).await
    }

    /// [`Database::read`] for threads outside the async runtime; panics inside it.
    ///
    /// # Errors
    /// See [`Database::read`].
    pub fn read_blocking<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (job, answer) = job::pair(f);
        self.0.readers.push_blocking(job)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(DbError::Closed.into()))
    }

    /// [`Database::write`] for threads outside the async runtime; panics inside it.
    ///
    /// # Errors
    /// See [`Database::write`].
    pub fn write_blocking<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (job, answer) = job::pair(f);
        send_blocking(&self.0.writer, job)?;
        answer.blocking_recv().unwrap_or_else(|_| Err(DbError::Closed.into()))
    }

    /// Returns the kind of database.
    pub fn backend(&self) -> Backend {
        self.0.backend
    }

    /// Finishes the submitted closures, closes the connections and waits for the threads. Afterwards every call returns
    /// [`DbError::Closed`]. Must not be called from a database thread.
    pub async fn close(&self) {
        // Sending fails only when the threads have ended already.
        drop(self.0.writer.send(Message::Stop).await);
        self.0.readers.close();
        let inner = Arc::clone(&self.0);
        if tokio::task::spawn_blocking(move || inner.join()).await.is_err() {
            tracing::error!("waiting for the database threads panicked");
        }
    }

    /// [`Database::close`] for threads outside the async runtime; panics inside it.
    pub fn close_blocking(&self) {
        drop(self.0.writer.blocking_send(Message::Stop));
        self.0.readers.close();
        self.0.join();
    }
}

impl Drop for Inner {
    /// The writer ends when its queue is dropped.
    fn drop(&mut self) {
        self.readers.close();
    }
}

impl Inner {
    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a database thread panicked");
            }
        }
    }
}

fn spawn(name: String, f: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new().name(name).spawn(f).map_err(OpenError::Thread)
}

async fn send(queue: &mpsc::Sender<Message>, job: Box<dyn Job>) -> Result<(), DbError> {
    queue.send(Message::Run(job)).await.map_err(|_| DbError::Closed)
}

fn send_blocking(queue: &mpsc::Sender<Message>, job: Box<dyn Job>) -> Result<(), DbError> {
    queue.blocking_send(Message::Run(job)).map_err(|_| DbError::Closed)
}
