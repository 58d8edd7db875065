//! The schema: numbered SQL files, each run once, in order.

use super::connection::Connection;
use super::dialect;
use super::error::MigrateError;
use super::options::Backend;
use super::postgres::BEGIN_WRITE;

/// One migration: its number, its file's name without the number, its text.
struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// Returns the schema version of this program.
pub fn latest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.number).max().unwrap_or(0)
}

/// Migrates the schema in one transaction. Returns the numbers of the migrations that ran.
pub(crate) fn migrate(conn: &mut Connection) -> Result<Vec<i64>, MigrateError> {
    // SQLite: IMMEDIATE takes the only write lock. PostgreSQL: the writer's session has the advisory lock.
    conn.batch(match conn.backend() {
        Backend::Sqlite => "BEGIN IMMEDIATE",
        Backend::Postgres => BEGIN_WRITE,
    })?;
    let result = run_missing(conn);
    conn.batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    result
}

fn run_missing(conn: &mut Connection) -> Result<Vec<i64>, MigrateError> {
    conn.batch("CREATE TABLE IF NOT EXISTS schema_version (number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)")?;
    let done = applied(conn)?;
    let mut ran = Vec::new();
    for Migration { number, name, sql } in MIGRATIONS {
        if done.contains(number) {
            continue;
        }
        let sql = match conn.backend() {
            Backend::Sqlite => dialect::sqlite_schema(sql),
            Backend::Postgres => dialect::postgres_schema(sql),
        };
        conn.batch(&sql)
            .and_then(|()| {
                conn.batch(&format!("INSERT INTO schema_version (number, name) VALUES ({number}, '{name}')"))
            })
            .map_err(|error| MigrateError::Failed { number: *number, name, error })?;
        ran.push(*number);
    }
    Ok(ran)
}

/// Refuses a database whose schema is not exactly this program's.
pub(crate) fn require_current(conn: &mut Connection) -> Result<(), MigrateError> {
    let sql = match conn.backend() {
        Backend::Sqlite => "SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'",
        Backend::Postgres => "SELECT 1 WHERE to_regclass('schema_version') IS NOT NULL",
    };
    let mut exists = false;
    conn.query_text(sql, &mut |_| {
        exists = true;
        Ok(())
    })?;
    if !exists {
        return Err(MigrateError::Empty);
    }
    let done = applied(conn)?;
    // Not the highest number: migrations of lower numbers may come later.
    if MIGRATIONS.iter().any(|migration| !done.contains(&migration.number)) {
        let database = done.into_iter().max().unwrap_or(0);
        return Err(MigrateError::TooOld { database, binary: latest() });
    }
    Ok(())
}

/// Returns the numbers of the migrations that have run; refuses those of a newer program.
fn applied(conn: &mut Connection) -> Result<Vec<i64>, MigrateError> {
    let mut done = Vec::new();
    conn.query_text("SELECT number FROM schema_version", &mut |row| {
        done.push(row.get::<i64>(0)?);
        Ok(())
    })?;
    let is_unknown = |number: &i64| !MIGRATIONS.iter().any(|migration| migration.number == *number);
    match done.iter().copied().filter(is_unknown).max() {
        Some(database) => Err(MigrateError::TooNew { database, binary: latest() }),
        None => Ok(done),
    }
}
