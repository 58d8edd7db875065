//! PostgreSQL connections.
//!
//! A round trip costs more than most statements, so nothing waits unnecessarily: transaction control is sent with the
//! next statement, statements whose result is needed later ([`PostgresConn::send`]) with the next statement that is
//! waited for, and all responses arrive together.

mod channel;
mod connect;
mod params;
mod session;

use std::borrow::Cow;

use ::tokio_postgres::error::SqlState;
use ::tokio_postgres::{Client, Error};

use super::commit::{CommitError, CommitId, Fate};
use super::row::Visit;
use super::value::Param;
use super::{Blame, DbError, PostgresOptions};
use crate::Position;
use channel::Channel;
use session::{Request, Role, Session};

/// READ WRITE because the session's default is read-only: if a BEGIN failed, the statements sent after it would
/// otherwise be stored one by one.
pub(crate) const BEGIN_WRITE: &str = "BEGIN READ WRITE";
/// Fails when the clock is not the one from which the positions were counted: a position may not be NULL.
const MOVE_CLOCK: &str = "UPDATE clock SET commit_id = $1, position = CASE position WHEN $2 THEN CAST($3 AS BIGINT) END
     WHERE id = 1";
const LEAVE_CLOCK: &str = "UPDATE clock SET commit_id = $1 WHERE id = 1";
const COMMIT: &str = "COMMIT";
const SAVEPOINT: &str = "SAVEPOINT closure";

/// One connection, used by one thread; reconnects when it was lost.
pub(crate) struct PostgresConn {
    options: PostgresOptions,
    writer: bool,
    session: Option<Session>,
    /// Only for the writer.
    process: Option<Process>,
    /// Transaction control that is sent with the next statement.
    due: Vec<&'static str>,
    /// Everything sent in this transaction, while none of it has a response: if the connection turns out to have been
    /// closed before, it is sent again on a new one.
    unanswered: Option<Vec<Request>>,
    /// The clock as this session has left it: nobody else moves it while the session has the advisory lock.
    clock: Option<Position>,
    /// The number of the last commit.
    commit_id: CommitId,
}

/// The writer's server process, by which it can be terminated, and its start time.
struct Process {
    pid: i32,
    started: String,
    now: CommitId,
}

impl PostgresConn {
    pub(super) fn open(options: &PostgresOptions, writer: bool) -> Result<Self, DbError> {
        let mut conn = Self {
            options: options.clone(),
            writer,
            session: None,
            process: None,
            due: Vec::new(),
            unanswered: None,
            clock: None,
            commit_id: CommitId::default(),
        };
        conn.connect()?;
        Ok(conn)
    }

    fn is_lost(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.channel.is_lost())
    }

    /// Reconnects if the connection is lost.
    fn ensure(&mut self) -> Result<(), DbError> {
        if self.is_lost() { self.connect() } else { Ok(()) }
    }

    fn connect(&mut self) -> Result<(), DbError> {
        (self.session, self.clock) = (None, None);
        let mut channel = Channel::open(&self.options)?;
        let (writer, predecessor) = (self.writer, self.process.take());
        let answer = channel.send(|client| async move {
            if writer { become_writer(&client, predecessor).await.map(Some) } else { become_reader(&client).await }
        });
        self.process = channel.wait(answer).map_err(|error| match error.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => DbError::InUse,
            _ => DbError::Unavailable(describe(&error)),
        })?;
        if let Some(process) = &self.process {
            self.commit_id = self.commit_id.max(process.now);
        }
        self.session = Some(Session::new(channel));
        Ok(())
    }

    fn session(&mut self) -> Result<&mut Session, DbError> {
        self.session.as_mut().ok_or_else(not_connected)
    }

    /// Opens a transaction, on a new connection when the old one is known to be lost.
    pub(super) fn begin(&mut self) -> Result<(), DbError> {
        self.ensure()?;
        self.due = vec![if self.writer { BEGIN_WRITE } else { "BEGIN" }];
        self.unanswered = Some(Vec::new());
        self.session()?.progress = session::Progress::default();
        Ok(())
    }

    /// Whether nothing of the transaction was sent.
    fn is_untouched(&self) -> bool {
        self.due.first().is_some_and(|sql| sql.starts_with("BEGIN"))
    }

    /// Runs a step of the transaction. When the connection turns out to be lost before anything of the transaction had
    /// a response, runs it again on a new connection: the server may have closed the old one while it was idle.
    fn attempt<T>(&mut self, mut step: impl FnMut(&mut Session) -> Result<T, DbError>) -> Result<T, DbError> {
        let session = self.session()?;
        let result = step(session);
        if result.is_ok() || session.progress.begun || !session.channel.is_lost() {
            return result;
        }
        let Some(requests) = self.unanswered.take() else { return result };
        self.connect()?;
        let session = self.session()?;
        requests.into_iter().try_for_each(|request| session.send(request))?;
        step(session)
    }

    /// Sends requests ahead, after the pending transaction control.
    fn send_ahead(&mut self, requests: Vec<Request>) -> Result<(), DbError> {
        for request in requests {
            self.attempt(|session| session.send(request.clone()))?;
            match &mut self.unanswered {
                Some(_) if self.session.as_ref().is_some_and(|session| session.progress.begun) => {
                    self.unanswered = None;
                }
                Some(unanswered) => unanswered.push(request),
                None => {}
            }
        }
        Ok(())
    }

    fn send_due(&mut self) -> Result<(), DbError> {
        if self.due.is_empty() {
            return Ok(());
        }
        let role = if self.is_untouched() { Role::Begin } else { Role::Control };
        let sql = Cow::Owned(std::mem::take(&mut self.due).join("; "));
        self.send_ahead(vec![Request::Text { sql, role }])
    }

    /// Runs a statement for each row, as one statement where possible, and waits for it and everything before it.
    pub(super) fn run(&mut self, sql: &'static str, rows: &[&[Param<'_>]], visit: Visit<'_>) -> Result<u64, DbError> {
        self.send_due()?;
        self.attempt(|session| session.run(sql, rows, visit))
    }

    /// Like [`PostgresConn::run`], without waiting; returns the number by which [`PostgresConn::changed`] identifies
    /// the statement. `each`: whether it fails unless each of `rows` changes a row.
    pub(super) fn send(&mut self, sql: &'static str, rows: &[&[Param<'_>]], each: bool) -> Result<usize, DbError> {
        self.send_due()?;
        let requests = self.attempt(|session| session.requests(sql, rows, each))?;
        self.send_ahead(requests)?;
        Ok(self.session()?.progress.sent.saturating_sub(1))
    }

    /// Waits for the responses to everything that was sent. Returns the first failure.
    pub(super) fn settle(&mut self) -> Result<(), DbError> {
        self.attempt(Session::settle)
    }

    /// Returns how many rows a statement has changed; `None` before its response, or when it failed.
    pub(super) fn changed(&self, number: usize) -> Option<u64> {
        *self.session.as_ref()?.progress.counts.get(number)?
    }

    /// Sets the savepoint, after releasing the previous one if there is one. It is sent with the next statement.
    pub(super) fn savepoint(&mut self, release: bool) {
        if self.due.last() != Some(&SAVEPOINT) {
            self.due.extend(release.then_some("RELEASE SAVEPOINT closure"));
            self.due.push(SAVEPOINT);
        }
    }

    /// Undoes everything since the savepoint, which stays.
    pub(super) fn rollback_to_savepoint(&mut self) -> Result<(), DbError> {
        // Nothing was sent since.
        if self.due.last() == Some(&SAVEPOINT) {
            return Ok(());
        }
        self.batch("ROLLBACK TO SAVEPOINT closure")
    }

    /// Ends the transaction without storing anything. Nobody waits for that.
    pub(super) fn rollback(&mut self) {
        let untouched = self.is_untouched();
        self.due.clear();
        self.unanswered = None;
        if let Some(session) = self.session.as_mut().filter(|session| !untouched && !session.channel.is_lost()) {
            match session.send(Request::Text { sql: "ROLLBACK".into(), role: Role::Rollback }) {
                Ok(()) => session.channel.flush(),
                Err(error) => tracing::warn!(%error, "a rollback failed"),
            }
        }
    }

    /// Returns the clock if it is known. It is not locked: [`PostgresConn::commit`] fails when somebody else has moved
    /// it.
    pub(super) fn clock(&self) -> Option<Position> {
        self.clock
    }

    pub(super) fn set_clock(&mut self, read: Position) {
        self.clock = Some(read);
    }

    /// Moves the clock (from, to) and commits, in one round trip with everything that was sent ahead.
    pub(super) fn commit(&mut self, clock: Option<(Position, Position)>) -> Result<(), CommitError> {
        if !self.is_untouched() {
            // A savepoint that nobody needs.
            self.due.clear();
        } else if clock.is_none() {
            self.due.clear();
            return Ok(());
        }
        self.commit_id.0 += 1;
        let commit = self.commit_id;
        let sent = self.send_due().and_then(|()| match clock {
            Some((from, to)) => self.send(MOVE_CLOCK, &[&[commit.0, from, to].map(Param::Int)], false),
            None => self.send(LEAVE_CLOCK, &[&[Param::Int(commit.0)]], false),
        });
        let mut committed = sent.and_then(|_| self.batch(COMMIT));
        if let Err(lost @ DbError::Unavailable(_)) = committed {
            committed = self.commit_again(commit, lost);
        }
        self.unanswered = None;
        self.clock = if committed.is_ok() { clock.map(|(_, to)| to).or(self.clock) } else { None };
        committed.map_err(|error| match error {
            DbError::Unavailable(message) => CommitError::Unknown(commit, message),
            DbError::Statement { sql, message, .. } if [MOVE_CLOCK, LEAVE_CLOCK, COMMIT].contains(&&*sql) => {
                CommitError::Failed(DbError::Commit(message))
            }
            error => CommitError::Failed(error),
        })
    }

    /// Continues a commit whose connection turned out to be lost. When nothing of the transaction had a response, the
    /// server may have closed the connection while it was idle: the transaction is then sent again, unless it was
    /// stored. Returns `lost` while its fate is not known.
    fn commit_again(&mut self, commit: CommitId, lost: DbError) -> Result<(), DbError> {
        let answered = self.session.as_ref().is_some_and(|session| session.progress.begun);
        let Some(requests) = self.unanswered.take().filter(|_| !answered) else {
            return Err(lost);
        };
        match self.fate(commit) {
            Ok(Fate::Committed) => Ok(()),
            Ok(Fate::RolledBack) => {
                requests.into_iter().try_for_each(|request| self.session()?.send(request))?;
                self.batch(COMMIT)
            }
            Err(_) => Err(lost),
        }
    }

    /// Returns the fate of a commit whose connection was lost. Reconnects for that.
    pub(super) fn fate(&mut self, commit: CommitId) -> Result<Fate, DbError> {
        self.ensure()?;
        let channel = &mut self.session()?.channel;
        let sql = "SELECT commit_id FROM clock WHERE id = 1";
        let answer = channel.send(|client| async move { client.query_one(sql, &[]).await });
        let last = channel.wait(answer).and_then(|row| row.try_get(0)).map_err(|error| channel.error(sql, &error))?;
        Ok(if CommitId(last) == commit { Fate::Committed } else { Fate::RolledBack })
    }

    /// Runs text without parameters, outside of the order of closures: transaction control and schema. Waits for it.
    pub(super) fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        let session = self.session()?;
        session.send(Request::Text { sql: Cow::Owned(sql.to_owned()), role: Role::Control })?;
        session.settle()
    }

    /// Runs text that is not known at compile time (schema, statistics).
    pub(super) fn query_text(&mut self, sql: &str, visit: Visit<'_>) -> Result<(), DbError> {
        self.session()?.run_text(sql, visit)
    }

    /// Prepares a statement without running it; returns the names of its columns.
    pub(super) fn describe(&mut self, sql: &str) -> Result<Vec<String>, DbError> {
        self.send_due()?;
        self.attempt(|session| session.describe(sql))
    }
}

/// Takes the advisory lock, which locks out a second server. The session holds it: once this session has it, the
/// session of a predecessor has ended, and with it its last transaction.
async fn become_writer(client: &Client, predecessor: Option<Process>) -> Result<Process, Error> {
    if let Some(Process { pid, started, .. }) = predecessor {
        // After a network failure the server may keep the lost session for hours.
        client
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE pid = $1 AND backend_start::text = $2",
                &[&pid, &started],
            )
            .await?;
    }
    client
        .batch_execute(
            "SELECT set_config('synchronous_commit', 'on', false)
                WHERE current_setting('synchronous_commit') = 'off';
             SET default_transaction_isolation = 'read committed';
             SET default_transaction_read_only = on;
             SET lock_timeout = '3s';
             SELECT pg_advisory_lock(7308898);
             SET lock_timeout = 0;",
        )
        .await?;
    let sql = "SELECT pid, backend_start::text, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT
         FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let row = client.query_one(sql, &[]).await?;
    Ok(Process { pid: row.try_get(0)?, started: row.try_get(1)?, now: CommitId(row.try_get(2)?) })
}

/// Makes all statements of a transaction see one state of the database.
async fn become_reader(client: &Client) -> Result<Option<Process>, Error> {
    let sql = "SET default_transaction_read_only = on; SET default_transaction_isolation = 'repeatable read'";
    client.batch_execute(sql).await.map(|()| None)
}

fn not_connected() -> DbError {
    DbError::Unavailable("not connected".to_owned())
}

fn statement_error(sql: &str, error: &Error) -> DbError {
    DbError::Statement {
        sql: sql.to_owned(),
        message: describe(error),
        unique_violation: error.code() == Some(&SqlState::UNIQUE_VIOLATION),
        blame: error.code().map_or(Blame::Unknown, blame),
    }
}

/// Classifies an error (PostgreSQL, "Error Codes"). Data: data exception, integrity constraint violation. Database:
/// invalid transaction state (read-only), transaction rollback, insufficient resources, object not in prerequisite
/// state (locked), operator intervention, system error.
fn blame(state: &SqlState) -> Blame {
    match state.code().get(..2) {
        Some("22" | "23") => Blame::Data,
        Some("25" | "40" | "53" | "55" | "57" | "58") => Blame::Database,
        _ => Blame::Unknown,
    }
}

fn wrong_count(sql: &str, expected: usize, given: usize) -> DbError {
    DbError::Statement {
        sql: sql.to_owned(),
        message: format!("{expected} parameters in the text, {given} given"),
        unique_violation: false,
        blame: Blame::Unknown,
    }
}

/// Returns PostgreSQL's message with its detail, or the chain of causes.
fn describe(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", error.message());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
