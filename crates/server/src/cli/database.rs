//! `plexus db migrate|check|stats`.

use std::io;

use clap::{Args, Subcommand};
use plexus_store::db::migrate_database;
use plexus_store::maintenance::{self, Problem, TableStats};
use serde_json::{Value, json};

use crate::command::{CommandError, ConfigArgs};
use crate::output;
use crate::{data_dir, wire};

/// The commands on the database.
#[derive(Debug, Subcommand)]
pub(super) enum DatabaseCommand {
    /// Bring the schema up to date
    Migrate(ConfigArgs),
    /// Look for damage; exits 1 when there is some
    Check(LookArgs),
    /// Count the rows and bytes of tables that hold something
    Stats {
        /// Empty tables, too
        #[arg(short, long)]
        all: bool,
        #[command(flatten)]
        look: LookArgs,
    },
}

/// Arguments of commands that only read.
#[derive(Debug, Args)]
pub(super) struct LookArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Damage was found.
#[derive(Debug, thiserror::Error)]
#[error("the database has {0} problems; restore a backup, or report them with the lines above")]
struct Damaged(usize);

/// Runs `plexus db ...`.
///
/// # Errors
/// When the database cannot be opened, or is damaged.
pub(super) fn run(command: &DatabaseCommand) -> Result<(), CommandError> {
    let (DatabaseCommand::Migrate(args)
    | DatabaseCommand::Check(LookArgs { config: args, .. })
    | DatabaseCommand::Stats { look: LookArgs { config: args, .. }, .. }) = command;
    let options = wire::database_options(&data_dir::load(args)?.config)?;
    match command {
        DatabaseCommand::Migrate(_) => {
            match migrate_database(&options)?.last() {
                Some(last) => output::line(format_args!("the schema has version {last} now"))?,
                None => output::line("the schema is up to date")?,
            }
            Ok(())
        }
        DatabaseCommand::Check(look) => report_problems(&maintenance::check(&options)?, look.json),
        DatabaseCommand::Stats { all, look } => {
            let mut tables = maintenance::stats(&options)?;
            tables.retain(|table| *all || table.rows > 0);
            Ok(print_stats(&tables, look.json)?)
        }
    }
}

fn report_problems(problems: &[Problem], json: bool) -> Result<(), CommandError> {
    if json {
        let list: Value =
            problems.iter().map(|problem| json!({ "rule": problem.rule, "found": problem.found })).collect();
        output::line(format_args!("{:#}", json!({ "ok": problems.is_empty(), "problems": list })))?;
    } else {
        for problem in problems {
            output::line(format_args!("{}: {}", problem.rule, problem.found))?;
        }
    }
    if !problems.is_empty() {
        return Err(Damaged(problems.len()).into());
    }
    if !json {
        output::line("no damage found")?;
    }
    Ok(())
}

fn print_stats(tables: &[TableStats], json: bool) -> io::Result<()> {
    if json {
        let list: Value = tables
            .iter()
            .map(|table| json!({ "table": table.table, "rows": table.rows, "bytes": table.bytes }))
            .collect();
        return output::line(format_args!("{:#}", json!({ "tables": list })));
    }
    output::line(format_args!("{:>14} {:>14}  table", "rows", "bytes"))?;
    for table in tables {
        output::line(format_args!("{:>14} {:>14}  {}", table.rows, table.bytes, table.table))?;
    }
    Ok(())
}
