//! The writer thread: group commit.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::commit::{CommitError, CommitId, Fate};
use super::connection::Connection;
use super::follow::Shared;
use super::job::Job;
use super::tx::Batch;
use super::{Backend, DbError, Tx};
use crate::Position;
use crate::change::Change;

/// Returns the most closures in one commit. PostgreSQL keeps 64 subtransactions cheaply; more slow down every reader.
fn max_batch(backend: Backend) -> usize {
    match backend {
        Backend::Sqlite => 512,
        Backend::Postgres => 64,
    }
}

/// One message to the writer thread.
pub(super) enum Message {
    Run(Box<dyn Job>),
    Stop,
}

pub(super) struct Writer {
    conn: Connection,
    shared: Arc<Shared>,
    /// A batch whose commit got no response and whose fate is not known yet.
    in_doubt: Option<InDoubt>,
}

struct InDoubt {
    commit: CommitId,
    outcome: Outcome,
}

/// What has to be published after a batch is committed.
struct Outcome {
    changes: Vec<Change>,
    position: Option<Position>,
}

/// The transaction that the waiting closures share.
struct Group {
    batch: Batch,
    changes: Vec<Change>,
    savepoint: Savepoint,
    /// Whether there is anything to commit.
    kept: bool,
}

/// A savepoint is released together with setting the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Savepoint {
    /// The batch has one closure, which needs no savepoint.
    NotNeeded,
    None,
    Unused,
    Used,
}

impl Writer {
    pub(super) fn new(conn: Connection, shared: Arc<Shared>) -> Self {
        Self { conn, shared, in_doubt: None }
    }

    /// Runs write transactions until asked to stop.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let max_batch = max_batch(self.conn.backend());
        while let Some(Message::Run(first)) = queue.blocking_recv() {
            let mut waiting = vec![first];
            let mut stop = false;
            while waiting.len() < max_batch {
                match queue.try_recv() {
                    Ok(Message::Run(job)) => waiting.push(job),
                    Ok(Message::Stop) => {
                        stop = true;
                        break;
                    }
                    Err(_) => break,
                }
            }
            while !waiting.is_empty() {
                waiting = self.commit_batch(waiting);
            }
            if stop {
                return;
            }
        }
    }

    /// Runs one transaction. Passes the closures their results and returns the closures that did not run.
    fn commit_batch(&mut self, waiting: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        if let Err(error) = self.settle_doubt().and_then(|()| self.conn.begin_write()) {
            tracing::error!(%error, "cannot open a write transaction");
            answer_all(waiting, Some(&error));
            return Vec::new();
        }
        let savepoint = if waiting.len() == 1 { Savepoint::NotNeeded } else { Savepoint::None };
        let mut group = Group::new(savepoint);
        let mut done = Vec::with_capacity(waiting.len());
        let mut waiting = waiting.into_iter();
        while let Some(mut job) = waiting.next() {
            let ran = group.set_savepoint(&mut self.conn).and_then(|()| {
                let kept = group.run(&mut self.conn, &mut *job);
                if kept { Ok(()) } else { group.undo(&mut self.conn) }
            });
            done.push(job);
            if let Err(error) = ran {
                // The transaction itself is gone, and with it the changes of the other closures.
                self.conn.rollback();
                let error = DbError::Commit(error.to_string());
                answer_all(done, Some(&error));
                return waiting.collect();
            }
        }
        self.finish(group, done);
        Vec::new()
    }

    fn finish(&mut self, group: Group, done: Vec<Box<dyn Job>>) {
        let Group { batch, changes, kept, .. } = group;
        if !kept {
            self.conn.rollback();
            answer_all(done, None);
            return;
        }
        let moved = batch.clock.filter(|clock| *clock != batch.last).map(|clock| (clock, batch.last));
        let outcome = Outcome { changes, position: moved.map(|(_, to)| to) };
        match self.conn.commit(moved) {
            Ok(()) => self.publish(outcome, done),
            Err(CommitError::Failed(error)) => {
                if matches!(error, DbError::Commit(_)) {
                    tracing::error!(%error, "a commit failed");
                }
                self.conn.rollback();
                answer_all(done, Some(&error));
            }
            Err(CommitError::Unknown(commit, message)) => {
                tracing::error!(message, "the connection was lost during a commit");
                self.finish_lost(InDoubt { commit, outcome }, done, message);
            }
        }
    }

    /// Handles a COMMIT without a response: asks PostgreSQL for its fate. When it cannot be reached, the callers get an
    /// error, and the changes to memory are kept until it can be.
    fn finish_lost(&mut self, doubt: InDoubt, done: Vec<Box<dyn Job>>, message: String) {
        match self.conn.fate(doubt.commit) {
            Ok(Fate::Committed) => self.publish(doubt.outcome, done),
            Ok(Fate::RolledBack) => answer_all(done, Some(&DbError::Commit(message))),
            Err(error) => {
                tracing::error!(%error, "whether the last batch is stored is not known yet");
                self.in_doubt = Some(doubt);
                answer_all(done, Some(&DbError::CommitUnknown(message)));
            }
        }
    }

    /// Learns the fate of a batch in doubt before anything else is written.
    fn settle_doubt(&mut self) -> Result<(), DbError> {
        let Some(doubt) = self.in_doubt.take() else {
            return Ok(());
        };
        match self.conn.fate(doubt.commit) {
            Ok(Fate::Committed) => self.publish(doubt.outcome, Vec::new()),
            Ok(Fate::RolledBack) => {}
            Err(error) => {
                self.in_doubt = Some(doubt);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Publishes a commit: memory first, then the position, then the results, then the wake-ups.
    fn publish(&self, outcome: Outcome, done: Vec<Box<dyn Job>>) {
        self.shared.apply(outcome.changes, outcome.position, || answer_all(done, None));
    }
}

impl Group {
    fn new(savepoint: Savepoint) -> Self {
        Self { batch: Batch::default(), changes: Vec::new(), savepoint, kept: false }
    }

    fn set_savepoint(&mut self, conn: &mut Connection) -> Result<(), DbError> {
        match self.savepoint {
            Savepoint::NotNeeded | Savepoint::Unused => return Ok(()),
            Savepoint::None => conn.savepoint(false)?,
            Savepoint::Used => conn.savepoint(true)?,
        }
        self.savepoint = Savepoint::Unused;
        Ok(())
    }

    /// Runs one closure; returns whether its changes are kept.
    fn run(&mut self, conn: &mut Connection, job: &mut dyn Job) -> bool {
        if self.savepoint == Savepoint::Unused {
            self.savepoint = Savepoint::Used;
        }
        let before = (self.batch.clock, self.batch.last);
        let tx = Tx::new(conn, Some(&mut self.batch));
        let mut tx = if self.savepoint == Savepoint::NotNeeded { tx.alone() } else { tx };
        let kept = job.run(&mut tx);
        let changes = std::mem::take(&mut tx.changes);
        if kept {
            self.kept = true;
            self.changes.extend(changes);
        } else if before.0.is_some() {
            (self.batch.clock, self.batch.last) = before;
        } else {
            self.batch = Batch::default();
        }
        kept
    }

    fn undo(&mut self, conn: &mut Connection) -> Result<(), DbError> {
        if self.savepoint == Savepoint::NotNeeded {
            return Ok(());
        }
        conn.rollback_to_savepoint()?;
        self.savepoint = Savepoint::Unused;
        Ok(())
    }
}

fn answer_all(jobs: Vec<Box<dyn Job>>, error: Option<&DbError>) {
    for mut job in jobs {
        if let Some(error) = error {
            job.fail(error.clone());
        }
        job.answer();
    }
}
