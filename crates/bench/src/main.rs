//! plexus-bench: how fast is a homeserver, or how fast are two of them side by side?
//!
//! Servers are driven over their public API only. With several targets each round drives them in turn (A B A B ...), and
//! ratios are taken round by round, so that a machine whose speed drifts does not decide the comparison.

mod http;
mod report;
mod scenario;
mod stats;
mod target;

use std::process::ExitCode;

use clap::Parser;

use crate::report::Report;
use crate::scenario::Scenario;
use crate::target::{Target, TargetError};

/// How a run is set up.
#[derive(Debug, Clone, Parser)]
#[command(name = "plexus-bench", version, about = "Drives Matrix homeservers and says how fast they are")]
pub struct Options {
    /// What to measure; several may be given.
    #[arg(required = true, value_enum)]
    scenarios: Vec<Scenario>,
    /// A homeserver's base URL, http://HOST:PORT; with `NAME=` before it, the name used in the report. Repeatable.
    #[arg(long = "target", required = true)]
    targets: Vec<String>,
    /// The targets' `registration_shared_secret`; without it, users are made by open registration.
    #[arg(long)]
    shared_secret: Option<String>,
    /// How often each target is driven.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long one round drives one target, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Users that act at the same time.
    #[arg(long, default_value_t = 10)]
    users: usize,
    /// Rooms of the account whose initial sync is measured.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Users that wait for one message.
    #[arg(long, default_value_t = 50)]
    waiters: usize,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(TargetError::from).and_then(|runtime| runtime.block_on(run(&options)));
    match outcome {
        Ok(report) => {
            println!("{}", if options.json { report.json() } else { report.table() });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("plexus-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<Report, TargetError> {
    let mut targets = Vec::new();
    for written in &options.targets {
        targets.push(Target::parse(written, options.shared_secret.clone())?);
    }
    let mut report = Report::new(targets.iter().map(|target| target.name.clone()).collect());
    for scenario in &options.scenarios {
        scenario.measure(options, &targets, &mut report).await?;
    }
    Ok(report)
}
