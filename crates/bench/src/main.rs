//! plexus-bench: measures one homeserver, or compares several.
//!
//! Servers are only used through their public API. With several targets each round measures them in turn (A B A B ...),
//! and ratios are computed per round, so that a machine with varying speed does not decide the comparison.

#![warn(unreachable_pub)]

mod aims;
mod descriptors;
mod document;
mod http;
mod options;
mod origin;
mod page;
mod process;
mod report;
mod round;
mod run;
mod scenario;
mod stats;
mod table;
mod target;
mod user;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use plexus_base::Clock;

use crate::document::{Render, RenderError};
use crate::options::Options;
use crate::process::Process;
use crate::report::Report;
use crate::run::Run;
use crate::target::{Target, TargetError};

#[derive(Debug, Parser)]
#[command(name = "plexus-bench", version, about = "Drives Matrix homeservers and says how fast they are")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Option<Options>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Combines reports of earlier runs.
    Render(Render),
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error("{}", .0.join("\n"))]
    Scenarios(Vec<String>),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match (arguments.command, arguments.run) {
        (Some(Command::Render(render)), _) => render.run().map_err(Failure::from),
        (None, Some(options)) => measure(options),
        (None, None) => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plexus-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TargetError::from)?;
    let (json, json_file, html_file) = (options.json, options.json_file.clone(), options.html_file.clone());
    let report = runtime.block_on(run(options))?;
    println!("{}", if json { report.json() } else { table::table(&report) });
    if let Some(path) = json_file {
        document::write(&path, &report.json())?;
    }
    if let Some(path) = html_file {
        document::write(&path, &page::page(&report, &[]))?;
    }
    if report.failures.is_empty() { Ok(()) } else { Err(Failure::Scenarios(report.failures)) }
}

/// Measures every scenario; a failing scenario does not prevent the others.
async fn run(options: Options) -> Result<Report, TargetError> {
    let mut targets = Vec::new();
    for (index, written) in options.targets.iter().enumerate() {
        let mut target = Target::parse(written, options.shared_secret.clone())?;
        target.process = options.pids.get(index).copied().map(Process);
        targets.push(target);
    }
    let report = Report::new(targets.iter().map(|target| target.name.clone()).collect());
    let mut run = Run { options, targets: targets.into(), report, clock: Clock::system() };
    let scenarios = run.options.scenarios.clone();
    for scenario in &scenarios {
        let limit = run.options.limit;
        let late = |_| TargetError::Late { what: "it".to_owned(), seconds: limit };
        #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
        let measured = tokio::time::timeout(Duration::from_secs(limit), scenario::measure(*scenario, &mut run)).await;
        if let Err(error) = measured.map_err(late).flatten() {
            run.report.failures.push(format!("{scenario:?}: {error}"));
        }
    }
    if scenarios.len() > 1 {
        run.memory("after all of these");
    }
    Ok(run.report)
}
