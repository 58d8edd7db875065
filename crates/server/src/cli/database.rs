//! `plexus db migrate|check|stats`.

use clap::Subcommand;
use plexus_store::{maintenance, migrate};

use super::{CommandError, ConfigArgs};
use crate::{data_dir, wire};

/// What to do with the database.
#[derive(Debug, Subcommand)]
pub enum DatabaseCommand {
    /// Bring the schema up to date
    Migrate(ConfigArgs),
    /// Look for damage; exits 1 when there is some
    Check(ConfigArgs),
    /// Count what is in it
    Stats(ConfigArgs),
}

/// Damage was found.
#[derive(Debug, thiserror::Error)]
#[error("the database has {0} problems")]
struct Damaged(usize);

/// Runs `plexus db ...`.
///
/// # Errors
/// When the database cannot be opened, or is damaged.
pub fn run(command: &DatabaseCommand) -> Result<(), CommandError> {
    let (DatabaseCommand::Migrate(args) | DatabaseCommand::Check(args) | DatabaseCommand::Stats(args)) = command;
    let options = wire::database_options(&data_dir::load(args)?.config)?;
    match command {
        DatabaseCommand::Migrate(_) => {
            let ran = migrate::migrate_database(&options)?;
            match ran.last() {
                Some(last) => println!("brought the schema to version {last}"),
                None => println!("the schema is up to date"),
            }
        }
        DatabaseCommand::Check(_) => {
            let problems = maintenance::check(&options)?;
            for problem in &problems {
                println!("{}: {}", problem.rule, problem.found);
            }
            if !problems.is_empty() {
                return Err(Damaged(problems.len()).into());
            }
            println!("no damage found");
        }
        DatabaseCommand::Stats(_) => {
            println!("{:>14} {:>14}  table", "rows", "bytes");
            for table in maintenance::stats(&options)? {
                println!("{:>14} {:>14}  {}", table.rows, table.bytes, table.table);
            }
        }
    }
    Ok(())
}
