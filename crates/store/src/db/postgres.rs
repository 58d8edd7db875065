//! PostgreSQL connections.

use std::collections::HashMap;

use ::postgres::error::SqlState;
use ::postgres::types::private::BytesMut;
use ::postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use ::postgres::{Client, SimpleQueryMessage, Statement};

use super::value::{FromSqlError, Param, ValueRef};
use super::{DbError, PostgresOptions, Row, dialect};

type BoxError = Box<dyn std::error::Error + Sync + Send>;

/// One connection, used by one thread; connects again when it was lost.
pub(crate) struct PostgresConn {
    options: PostgresOptions,
    writer: bool,
    session: Option<Session>,
    /// The writer's server process: its number and when it started.
    process: Option<(i32, String)>,
}

struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    /// Bulk forms of `INSERT`s; `None`: the statement has none.
    bulk: HashMap<&'static str, Option<Statement>>,
}

/// The number of PostgreSQL's transaction, by which its fate can be asked after a lost connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransactionNumber(i64);

/// What became of a transaction whose COMMIT was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    RolledBack,
}

impl PostgresConn {
    pub(super) fn open(options: &PostgresOptions, writer: bool) -> Result<Self, DbError> {
        let mut conn = Self { options: options.clone(), writer, session: None, process: None };
        conn.connect()?;
        Ok(conn)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.client.is_closed())
    }

    /// Connects again if the connection is lost.
    pub(super) fn ensure(&mut self) -> Result<(), DbError> {
        if self.is_lost() { self.connect() } else { Ok(()) }
    }

    fn connect(&mut self) -> Result<(), DbError> {
        self.session = None;
        let mut client = self.options.connect()?;
        let result = if self.writer { self.become_writer(&mut client) } else { become_reader(&mut client) };
        result.map_err(|error| match error.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => {
                DbError::Unavailable("another Plexus server is using this database".to_owned())
            }
            _ => DbError::Unavailable(describe(&error)),
        })?;
        self.session = Some(Session { client, statements: HashMap::new(), bulk: HashMap::new() });
        Ok(())
    }

    /// The advisory lock keeps a second server off the database. It is held by the session: once it is ours,
    /// the session of a predecessor has ended, and with it its last transaction.
    fn become_writer(&mut self, client: &mut Client) -> Result<(), ::postgres::Error> {
        if let Some((pid, started)) = self.process.take() {
            // After a broken network the server may keep our lost session for hours.
            client.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE pid = $1 AND backend_start::text = $2",
                &[&pid, &started],
            )?;
        }
        client.batch_execute(
            "SELECT set_config('synchronous_commit', 'on', false)
                WHERE current_setting('synchronous_commit') = 'off';
             SET default_transaction_isolation = 'read committed';
             SET lock_timeout = '3s';
             SELECT pg_advisory_lock(7308898);
             SET lock_timeout = 0;",
        )?;
        let row = client
            .query_one("SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()", &[])?;
        self.process = Some((row.try_get(0)?, row.try_get(1)?));
        Ok(())
    }

    fn session(&mut self) -> Result<&mut Session, DbError> {
        self.session.as_mut().ok_or_else(|| DbError::Unavailable("not connected".to_owned()))
    }

    /// Runs text without parameters: transaction control and schema.
    pub(super) fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        let session = self.session()?;
        session.client.batch_execute(sql).map_err(|error| session.error(sql, &error))
    }

    pub(super) fn begin_write(&mut self) -> Result<TransactionNumber, DbError> {
        let sql = "BEGIN; SELECT txid_current()";
        let session = self.session()?;
        let answer = session.client.simple_query(sql).map_err(|error| session.error(sql, &error))?;
        answer
            .iter()
            .find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok().map(TransactionNumber),
                _ => None,
            })
            .ok_or_else(|| DbError::Unavailable("no transaction number was answered".to_owned()))
    }

    /// Asks what became of a transaction of a connection that is lost. Connects again to do so.
    pub(super) fn fate(&mut self, number: TransactionNumber) -> Result<Fate, DbError> {
        self.ensure()?;
        let session = self.session()?;
        match session.client.query_one("SELECT txid_status($1)", &[&number.0]) {
            Ok(row) => match row.get::<_, Option<&str>>(0) {
                Some("committed") => Ok(Fate::Committed),
                Some("aborted") => Ok(Fate::RolledBack),
                other => Err(DbError::Unavailable(format!("the transaction's status is {other:?}"))),
            },
            // A number from the future: a standby that never saw the transaction was promoted.
            Err(error) if error.as_db_error().is_some() => Ok(Fate::RolledBack),
            Err(error) => Err(DbError::Unavailable(describe(&error))),
        }
    }

    pub(super) fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, DbError> {
        let session = self.session()?;
        let statement = session.prepare(sql)?;
        session.run(sql, &statement, params.iter().map(|param| Bind(*param)), &mut |_| Ok(()))
    }

    pub(super) fn query(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let session = self.session()?;
        let statement = session.prepare(sql)?;
        session.run(sql, &statement, params.iter().map(|param| Bind(*param)), visit)?;
        Ok(())
    }

    /// One statement for all rows where that is possible, else a loop.
    pub(super) fn query_many(
        &mut self,
        sql: &'static str,
        rows: &[&[Param<'_>]],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<(), DbError>,
    ) -> Result<u64, DbError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let session = self.session()?;
        let single = session.prepare(sql)?;
        if rows.len() > 1
            && let Some(bulk) = session.prepare_bulk(sql, &single)?
        {
            let width = single.params().len();
            if rows.iter().any(|row| row.len() != width) {
                return Err(wrong_count(sql, width, rows[0].len()));
            }
            let columns = (0..width).map(|column| BindColumn { rows, column });
            return session.run(sql, &bulk, columns, visit);
        }
        rows.iter()
            .try_fold(0, |sum, row| Ok(sum + session.run(sql, &single, row.iter().map(|param| Bind(*param)), visit)?))
    }

    /// Runs text that is not known when the program is compiled (schema, statistics).
    pub(super) fn query_text(
        &mut self,
        sql: &str,
        visit: &mut dyn FnMut(&Row<'_>) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let session = self.session()?;
        let statement = session.client.prepare(sql).map_err(|error| session.error(sql, &error))?;
        session.run(sql, &statement, std::iter::empty::<Bind<'_>>(), visit)?;
        Ok(())
    }

    /// Prepares a statement without running it: the names of its columns. A type that [`value`] cannot
    /// read is an error. The form for many rows is prepared too.
    pub(super) fn describe(&mut self, sql: &str) -> Result<Vec<String>, DbError> {
        let session = self.session()?;
        let statement = session.client.prepare(sql).map_err(|error| session.error(sql, &error))?;
        let mut names = Vec::new();
        for column in statement.columns() {
            if !readable(column.type_()) {
                return Err(DbError::Statement {
                    sql: sql.to_owned(),
                    message: format!("column {} is {}: cast it", column.name(), column.type_()),
                    unique_violation: false,
                });
            }
            names.push(column.name().to_owned());
        }
        let types: Vec<&str> = statement.params().iter().map(Type::name).collect();
        if let Some(bulk) = dialect::postgres_many(sql, &types) {
            session.client.prepare(&bulk).map_err(|error| session.error(&bulk, &error))?;
        }
        Ok(names)
    }
}

/// All statements of a transaction see one state of the database.
fn become_reader(client: &mut Client) -> Result<(), ::postgres::Error> {
    client
        .batch_execute("SET default_transaction_read_only = on; SET default_transaction_isolation = 'repeatable read'")
}

impl Session {
    fn error(&self, sql: &str, error: &::postgres::Error) -> DbError {
        if self.client.is_closed() || error.is_closed() || error.as_db_error().is_some_and(is_shutdown) {
            return DbError::Unavailable(describe(error));
        }
        DbError::Statement {
            sql: sql.to_owned(),
            message: describe(error),
            unique_violation: error.code() == Some(&SqlState::UNIQUE_VIOLATION),
        }
    }

    fn prepare(&mut self, sql: &'static str) -> Result<Statement, DbError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).map_err(|error| self.error(sql, &error))?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    fn prepare_bulk(&mut self, sql: &'static str, single: &Statement) -> Result<Option<Statement>, DbError> {
        if let Some(statement) = self.bulk.get(sql) {
            return Ok(statement.clone());
        }
        let types: Vec<&str> = single.params().iter().map(Type::name).collect();
        let statement = dialect::postgres_many(sql, &types)
            .map(|text| self.client.prepare(&text).map_err(|error| self.error(&text, &error)))
            .transpose()?;
        self.bulk.insert(sql, statement.clone());
        Ok(statement)
    }

    fn run<P: ToSql>(
        &mut self,
        sql: &str,
        statement: &Statement,
        params: impl ExactSizeIterator<Item = P>,
        visit: &mut dyn FnMut(&Row<'_>) -> Result<(), DbError>,
    ) -> Result<u64, DbError> {
        use ::postgres::fallible_iterator::FallibleIterator;
        if params.len() != statement.params().len() {
            return Err(wrong_count(sql, statement.params().len(), params.len()));
        }
        // What went wrong is told only after the borrow of the client by the rows has ended.
        let outcome = match self.client.query_raw(statement, params) {
            Ok(mut rows) => loop {
                match rows.next() {
                    Ok(Some(row)) => visit(&Row::postgres(&row, sql))?,
                    Ok(None) => break Ok(rows.rows_affected().unwrap_or(0)),
                    Err(error) => break Err(error),
                }
            },
            Err(error) => Err(error),
        };
        outcome.map_err(|error| self.error(sql, &error))
    }
}

fn wrong_count(sql: &str, expected: usize, given: usize) -> DbError {
    DbError::Statement {
        sql: sql.to_owned(),
        message: format!("{expected} parameters in the text, {given} given"),
        unique_violation: false,
    }
}

/// The server ends the session: 57P01 admin_shutdown, 57P02 crash_shutdown, 57P03 cannot_connect_now.
fn is_shutdown(error: &::postgres::error::DbError) -> bool {
    error.code().code().starts_with("57P")
}

/// PostgreSQL's message with its detail, or the chain of causes.
pub(super) fn describe(error: &::postgres::Error) -> String {
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

#[derive(Debug)]
struct Bind<'a>(Param<'a>);

impl ToSql for Bind<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        match self.0 {
            Param::Null => Ok(IsNull::Yes),
            Param::Int(number) => match *ty {
                Type::INT4 => i32::try_from(number)?.to_sql(ty, out),
                Type::INT2 => i16::try_from(number)?.to_sql(ty, out),
                Type::BOOL => (number != 0).to_sql(ty, out),
                Type::INT8 => number.to_sql(ty, out),
                _ => Err(mismatch("a number", ty)),
            },
            Param::Text(text) if <&str as ToSql>::accepts(ty) => text.to_sql(ty, out),
            Param::Text(_) => Err(mismatch("text", ty)),
            Param::Blob(bytes) if *ty == Type::BYTEA => bytes.to_sql(ty, out),
            Param::Blob(_) => Err(mismatch("bytes", ty)),
            Param::List(list) => match ty.kind() {
                Kind::Array(_) => list
                    .params()
                    .into_iter()
                    .map(|param| param.checked().map(Bind))
                    .collect::<Result<Vec<_>, _>>()?
                    .to_sql(ty, out),
                _ => Err(mismatch("a list", ty)),
            },
            Param::Unsigned(_) => Err("was not checked".into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// One column of many rows, as an array.
#[derive(Debug)]
struct BindColumn<'a> {
    rows: &'a [&'a [Param<'a>]],
    column: usize,
}

impl ToSql for BindColumn<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        let values: Vec<Bind<'_>> =
            self.rows.iter().filter_map(|row| row.get(self.column)).map(|param| Bind(*param)).collect();
        values.to_sql(ty, out)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn mismatch(given: &str, ty: &Type) -> BoxError {
    format!("{given} was given where the statement takes {ty}").into()
}

fn readable(ty: &Type) -> bool {
    matches!(*ty, Type::INT8 | Type::INT4 | Type::INT2 | Type::BOOL | Type::TEXT | Type::VARCHAR | Type::BYTEA)
}

impl<'a> FromSql<'a> for ValueRef<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => Self::Int(i16::from_sql(ty, raw)?.into()),
            Type::BOOL => Self::Int(bool::from_sql(ty, raw)?.into()),
            Type::BYTEA => Self::Blob(raw),
            _ => Self::Text(std::str::from_utf8(raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, BoxError> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        readable(ty) || *ty == Type::NAME
    }
}

pub(super) fn value(row: &::postgres::Row, index: usize) -> Result<ValueRef<'_>, FromSqlError> {
    row.try_get(index).map_err(|error| FromSqlError::Invalid(describe(&error)))
}
