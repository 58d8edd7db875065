//! One session with the server: its prepared statements and the requests without a response.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, RowStream, Statement};

use super::channel::{Answer, Channel};
use super::params::{Encoded, encode_columns, encode_row};
use super::{params, wrong_count};
use crate::db::row::Visit;
use crate::db::value::Param;
use crate::db::{Blame, DbError, Row, dialect};

/// The most rows read from the connection at once.
const ROWS: usize = 64;
/// The most bytes sent ahead before waiting for responses.
const AHEAD: usize = 1 << 20;

/// A request that can be sent without waiting for earlier responses, and sent again.
#[derive(Clone)]
pub(super) enum Request {
    /// Text without parameters: transaction control.
    Text { sql: Cow<'static, str>, role: Role },
    Statement {
        sql: &'static str,
        form: Form,
        params: Vec<Encoded>,
        /// Whether its number of rows is added to that of the request before: several requests can stand for one
        /// statement.
        goes_on: bool,
    },
}

/// The form in which a statement runs.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Form {
    /// For many rows at once.
    many: bool,
    /// Fails unless each of the rows changes one.
    each: bool,
}

/// The effect of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It begins with BEGIN.
    Begin,
    Control,
    /// The end of a transaction that is discarded: nobody learns whether it succeeded.
    Rollback,
}

struct Pending {
    sql: Cow<'static, str>,
    /// Returns the number of changed rows.
    answer: Answer<u64>,
    kind: RequestKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestKind {
    Text(Role),
    Statement { goes_on: bool, each: bool },
}

/// What the responses so far say about the transaction.
#[derive(Default)]
pub(super) struct Progress {
    /// Whether BEGIN has its response.
    pub begun: bool,
    /// How many statements were sent ahead.
    pub sent: usize,
    /// For each response, how many rows the statement has changed; `None` when it failed.
    pub counts: Vec<Option<u64>>,
}

pub(super) struct Session {
    pub progress: Progress,
    /// Oldest first. Dropped before the connection, which they keep open.
    pending: VecDeque<Pending>,
    pub channel: Channel,
    /// How many bytes were sent ahead since the last time all responses had arrived.
    ahead: usize,
    /// `None`: the statement has no such form.
    statements: HashMap<(&'static str, Form), Option<Statement>>,
}

impl Session {
    pub(super) fn new(channel: Channel) -> Self {
        Self { progress: Progress::default(), channel, pending: VecDeque::new(), ahead: 0, statements: HashMap::new() }
    }

    /// Sends a request ahead: [`Session::settle`] waits for its response.
    pub(super) fn send(&mut self, request: Request) -> Result<(), DbError> {
        let (sql, kind, answer) = match request {
            Request::Text { sql, role } => {
                let text = sql.clone();
                let answer = self.channel.send(|client| async move {
                    client.simple_query(&text).await?;
                    Ok(0)
                });
                (sql, RequestKind::Text(role), answer)
            }
            Request::Statement { sql, form, params, goes_on } => {
                let statement = self.statement(sql, form)?;
                self.ahead += sql.len() + params.iter().map(Encoded::len).sum::<usize>();
                let answer = self.channel.send(|client| async move { client.execute_raw(&statement, params).await });
                (sql.into(), RequestKind::Statement { goes_on, each: form.each }, answer)
            }
        };
        self.pending.push_back(Pending { sql, answer, kind });
        self.progress.sent += usize::from(matches!(kind, RequestKind::Statement { goes_on: false, .. }));
        if self.ahead > AHEAD { self.settle() } else { Ok(()) }
    }

    /// Waits for the responses to everything that was sent. Returns the first failure.
    pub(super) fn settle(&mut self) -> Result<(), DbError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.ahead = 0;
        let (pending, progress) = (&mut self.pending, &mut self.progress);
        let mut failed: Option<(Cow<'static, str>, RequestKind, Error)> = None;
        self.channel.drive(|context| {
            while let Some(oldest) = pending.front_mut() {
                let Poll::Ready(response) = oldest.answer.as_mut().poll(context) else { return Poll::Pending };
                progress.learn(oldest.kind, response.as_ref().ok().copied());
                match response {
                    // The server has rolled back the transaction of a lost connection.
                    Err(error) if oldest.kind == RequestKind::Text(Role::Rollback) && error.is_closed() => {}
                    Err(error) if oldest.kind == RequestKind::Text(Role::Rollback) => {
                        tracing::warn!(%error, "a rollback failed");
                    }
                    Err(error) if failed.is_none() => failed = Some((oldest.sql.clone(), oldest.kind, error)),
                    _ => {}
                }
                pending.pop_front();
            }
            Poll::Ready(())
        });
        match failed {
            None => Ok(()),
            Some((Cow::Borrowed(sql), RequestKind::Statement { each: true, .. }, error))
                if error.code() == Some(&SqlState::DIVISION_BY_ZERO) =>
            {
                Err(DbError::Unchanged(sql))
            }
            Some((sql, _, error)) => Err(self.channel.error(&sql, &error)),
        }
    }

    /// Runs a statement for each row, as one statement where possible, and waits for it and everything before it.
    pub(super) fn run(&mut self, sql: &'static str, rows: &[&[Param<'_>]], visit: Visit<'_>) -> Result<u64, DbError> {
        let mut answers = Vec::new();
        for (form, params) in self.encode(sql, rows, false)? {
            let statement = self.statement(sql, form)?;
            answers.push(self.channel.send(|client| async move { client.query_raw(&statement, params).await }));
        }
        self.settle()?;
        answers.into_iter().try_fold(0, |sum, answer| Ok(sum + self.read(sql, answer, visit)?))
    }

    /// Runs a statement that is not known at compile time, without parameters.
    pub(super) fn run_text(&mut self, sql: &str, visit: Visit<'_>) -> Result<(), DbError> {
        let statement = self.prepare(sql)?;
        let none: [Encoded; 0] = [];
        let answer = self.channel.send(|client| async move { client.query_raw(&statement, none).await });
        self.read(sql, answer, visit).map(drop)
    }

    /// Returns the requests that run `sql` for these rows. `each`: whether they fail unless each of the rows changes
    /// one.
    pub(super) fn requests(
        &mut self,
        sql: &'static str,
        rows: &[&[Param<'_>]],
        each: bool,
    ) -> Result<Vec<Request>, DbError> {
        let encoded = self.encode(sql, rows, each)?.into_iter().enumerate();
        Ok(encoded.map(|(at, (form, params))| Request::Statement { sql, form, params, goes_on: at > 0 }).collect())
    }

    /// Prepares a statement, after the responses to everything sent before.
    pub(super) fn prepare(&mut self, sql: &str) -> Result<Statement, DbError> {
        let text = sql.to_owned();
        let answer = self.channel.send(|client| async move { client.prepare(&text).await });
        self.settle()?;
        self.channel.wait(answer).map_err(|error| self.channel.error(sql, &error))
    }

    /// Returns a statement in a form that it has.
    fn statement(&mut self, sql: &'static str, form: Form) -> Result<Statement, DbError> {
        self.form(sql, form)?.ok_or_else(|| DbError::Statement {
            sql: sql.to_owned(),
            message: "it has no form for many rows".to_owned(),
            unique_violation: false,
            blame: Blame::Unknown,
        })
    }

    /// Returns a statement in one of its forms; `None` when it has none for many rows.
    fn form(&mut self, sql: &'static str, form: Form) -> Result<Option<Statement>, DbError> {
        if let Some(statement) = self.statements.get(&(sql, form)) {
            return Ok(statement.clone());
        }
        let text = if form.many {
            let plain = self.statement(sql, Form::default())?;
            let types: Vec<&str> = plain.params().iter().map(Type::name).collect();
            dialect::postgres_many(sql, &types)
        } else {
            Some(sql.to_owned())
        };
        let text = if form.each { text.map(|text| dialect::postgres_each(&text, form.many)) } else { text };
        let statement = text.map(|text| self.prepare(&text)).transpose()?;
        self.statements.insert((sql, form), statement.clone());
        Ok(statement)
    }

    /// Encodes the parameters of the statements that run `sql` for these rows, and returns the form of each.
    fn encode(
        &mut self,
        sql: &'static str,
        rows: &[&[Param<'_>]],
        each: bool,
    ) -> Result<Vec<(Form, Vec<Encoded>)>, DbError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let form = Form { many: false, each };
        let single = self.statement(sql, form)?;
        let width = single.params().len();
        if let Some(row) = rows.iter().find(|row| row.len() != width) {
            return Err(wrong_count(sql, width, row.len()));
        }
        let unfit = |error: Box<dyn std::error::Error + Sync + Send>| DbError::Statement {
            sql: sql.to_owned(),
            message: error.to_string(),
            unique_violation: false,
            blame: Blame::Unknown,
        };
        let for_many = Form { many: true, each };
        if rows.len() > 1
            && let Some(bulk) = self.form(sql, for_many)?
        {
            return Ok(vec![(for_many, encode_columns(&bulk, rows).map_err(unfit)?)]);
        }
        rows.iter().map(|row| Ok((form, encode_row(&single, row).map_err(unfit)?))).collect()
    }

    /// Waits for the rows of a statement, passes them to `visit` and returns how many rows it changed.
    fn read(&mut self, sql: &str, answer: Answer<RowStream>, visit: Visit<'_>) -> Result<u64, DbError> {
        let stream = self.channel.wait(answer).map_err(|error| self.channel.error(sql, &error))?;
        let mut stream = Box::pin(stream);
        loop {
            let (rows, is_last) = self
                .channel
                .drive(|context| next_rows(stream.as_mut(), context))
                .map_err(|error| self.channel.error(sql, &error))?;
            // Outside of the runtime, because `visit` may do anything.
            for row in &rows {
                visit(&Row::new(row, sql))?;
            }
            if is_last {
                return Ok(stream.rows_affected().unwrap_or(0));
            }
        }
    }

    /// Prepares a statement without running it, also in the form for many rows. Returns the names of its columns; a
    /// column type that cannot be read is an error.
    pub(super) fn describe(&mut self, sql: &str) -> Result<Vec<String>, DbError> {
        let statement = self.prepare(sql)?;
        let mut names = Vec::new();
        for column in statement.columns() {
            if !params::readable(column.type_()) {
                return Err(DbError::Statement {
                    sql: sql.to_owned(),
                    message: format!("column {} is {}: cast it", column.name(), column.type_()),
                    unique_violation: false,
                    blame: Blame::Unknown,
                });
            }
            names.push(column.name().to_owned());
        }
        let types: Vec<&str> = statement.params().iter().map(Type::name).collect();
        if let Some(bulk) = dialect::postgres_many(sql, &types) {
            self.prepare(&bulk)?;
        }
        Ok(names)
    }
}

impl Progress {
    /// `changed`: the number of rows; `None` when the statement failed.
    fn learn(&mut self, kind: RequestKind, changed: Option<u64>) {
        match kind {
            RequestKind::Text(Role::Begin) => self.begun = changed.is_some(),
            RequestKind::Text(_) => {}
            RequestKind::Statement { goes_on: false, .. } => self.counts.push(changed),
            RequestKind::Statement { goes_on: true, .. } => {
                if let Some(count) = self.counts.last_mut() {
                    *count = count.zip(changed).map(|(before, more)| before + more);
                }
            }
        }
    }
}

type Rows = (Vec<tokio_postgres::Row>, bool);

/// Returns available rows, [`ROWS`] at most, and whether they are the last.
fn next_rows(mut stream: Pin<&mut RowStream>, context: &mut Context<'_>) -> Poll<Result<Rows, Error>> {
    let mut rows = Vec::new();
    while rows.len() < ROWS {
        match stream.as_mut().poll_next(context)? {
            Poll::Ready(Some(row)) => rows.push(row),
            Poll::Ready(None) => return Poll::Ready(Ok((rows, true))),
            Poll::Pending if rows.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(Ok((rows, false)))
}
