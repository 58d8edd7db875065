//! Maintenance of a database by commands: `plexus db check` and `plexus db stats`, which only read, and changes by
//! commands. All of it may run beside a server. (`plexus db migrate` is
//! [`migrate_database`](crate::db::migrate_database).)

use crate::Tx;
use crate::db::{self, Backend, Connection, DbError, OpenError, Options};
use crate::repo::checks::CHECKS;

/// The size of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// The table's name.
    pub table: String,
    /// The number of rows, counted.
    pub rows: u64,
    /// The size on disk in bytes, including indexes.
    pub bytes: u64,
}

/// An inconsistency in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The rule that is broken, or `integrity` when the database itself found damage.
    pub rule: String,
    /// The row, or the database's message.
    pub found: String,
}

/// Refuses a database that does not exist, or whose schema is not exactly this program's.
///
/// # Errors
/// See [`OpenError`].
pub fn require_current(options: &Options) -> Result<(), OpenError> {
    db::inspect(options, |_| Ok(()))
}

/// Returns the product that holds the database, with its version: `SQLite 3.50.4`, `PostgreSQL 15.18, UTF8`.
///
/// # Errors
/// See [`OpenError`].
pub fn product(options: &Options) -> Result<String, OpenError> {
    db::inspect(options, |conn| {
        let sql = match conn.backend() {
            Backend::Sqlite => "SELECT 'SQLite ' || sqlite_version()",
            Backend::Postgres => {
                "SELECT 'PostgreSQL ' || current_setting('server_version')
                     || ', ' || current_setting('server_encoding')"
            }
        };
        let mut product = String::new();
        conn.query_text(sql, &mut |row| {
            product = row.get(0)?;
            Ok(())
        })?;
        Ok(product)
    })
}

/// Runs `f` in its own transaction, which is committed when `f` succeeds. Only for rows that a running server does not
/// cache and that are not announced: `f` takes no positions.
pub fn edit<T: Send, E: Send>(
    options: &Options,
    f: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send,
) -> Result<Result<T, E>, OpenError> {
    db::amend(options, |conn| {
        conn.batch(match conn.backend() {
            Backend::Sqlite => "PRAGMA query_only = 0; BEGIN IMMEDIATE",
            Backend::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        })?;
        let result = Tx::within(conn, f)?;
        conn.batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        Ok(result)
    })
}

/// Returns rows and bytes of every table, the largest first.
///
/// # Errors
/// See [`OpenError`].
pub fn stats(options: &Options) -> Result<Vec<TableStats>, OpenError> {
    db::inspect(options, |conn| {
        let sizes = match conn.backend() {
            // The pages of an index belong to its table.
            Backend::Sqlite => {
                "SELECT schema.tbl_name, SUM(pages.pgsize) FROM sqlite_schema AS schema
                 JOIN dbstat AS pages ON pages.name = schema.name AND pages.aggregate = TRUE
                 GROUP BY schema.tbl_name"
            }
            Backend::Postgres => {
                "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class
                 WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
            }
        };
        let mut tables = Vec::new();
        conn.query_text(sizes, &mut |row| {
            tables.push(TableStats { table: row.get(0)?, rows: 0, bytes: row.get(1)? });
            Ok(())
        })?;
        for table in &mut tables {
            let count = format!("SELECT COUNT(*) FROM \"{}\"", table.table);
            conn.query_text(&count, &mut |row| {
                table.rows = row.get(0)?;
                Ok(())
            })?;
        }
        tables.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.table.cmp(&b.table)));
        Ok(tables)
    })
}

/// Looks for damage (SQLite's integrity check) and for rows that contradict each other. Reports at most ten rows per
/// rule.
///
/// # Errors
/// See [`OpenError`].
pub fn check(options: &Options) -> Result<Vec<Problem>, OpenError> {
    db::inspect(options, |conn| {
        let mut problems = Vec::new();
        if conn.backend() == Backend::Sqlite {
            integrity(conn, &mut problems)?;
        }
        for check in CHECKS {
            conn.query_text(&format!("{} LIMIT 10", check.sql), &mut |row| {
                problems.push(Problem { rule: check.rule.to_owned(), found: row.get(0)? });
                Ok(())
            })?;
        }
        Ok(problems)
    })
}

fn integrity(conn: &mut Connection, problems: &mut Vec<Problem>) -> Result<(), DbError> {
    conn.query_text("PRAGMA integrity_check(10)", &mut |row| {
        let found: String = row.get(0)?;
        if found != "ok" {
            problems.push(Problem { rule: "integrity".to_owned(), found });
        }
        Ok(())
    })
}
