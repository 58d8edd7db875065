//! `plexus doctor`: whether this installation works, from its configuration to what other servers see of it.
//!
//! - [`examine`]: looks at everything, in order
//! - [`discovery`]: whether clients find the server by its name
//! - [`machine`]: the configuration, the database, the disk, the limits of the system
//! - [`arrival`]: how requests arrive through whatever is in front of the server
//! - [`outside`]: what other servers see, the clock, the forward proxy, TURN

mod arrival;
mod check;
mod discovery;
mod examine;
mod machine;
mod outside;

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::command::{CommandError, ConfigArgs};
use crate::data_dir;
use crate::output;
use check::{Check, Outcome};
use examine::examine;

/// Arguments of `plexus doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command. Returns failure when something does not work.
///
/// # Errors
/// When there is no configuration, or nothing can be printed.
pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode, CommandError> {
    let paths = data_dir::existing(&args.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let checks = runtime.block_on(examine(&paths));
    let works = checks.iter().all(|check| check.outcome != Outcome::Failed);
    if args.json {
        output::line(format_args!("{:#}", json!({ "ok": works, "checks": checks })))?;
    } else {
        for check in &checks {
            print(check)?;
        }
        let count = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
        output::line(match (count(Outcome::Failed), count(Outcome::Warning)) {
            (0, 0) => "everything works".to_owned(),
            (0, warnings) => format!("everything works; warnings: {warnings}"),
            (failed, _) => format!("{failed} of {} failed", checks.len()),
        })?;
    }
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(check: &Check) -> Result<(), CommandError> {
    let outcome = match check.outcome {
        Outcome::Ok => "ok",
        Outcome::Warning => "warning",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "skipped",
    };
    output::line(format_args!("{outcome:8} {}: {}", check.name, check.found))?;
    if let Some(advice) = &check.advice {
        output::line(format_args!("         -> {advice}"))?;
    }
    Ok(())
}
