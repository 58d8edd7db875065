//! `plexus generate-config` and `plexus config check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use plexus_base::config::{Options, Problem, Report, Setting};
use serde_json::{Value, json};

use crate::command::{CommandError, DEFAULT_DATA_DIR, YesNo};
use crate::data_dir::{self, New};
use crate::output;
use crate::preflight;

/// Arguments of `plexus generate-config`.
#[derive(Debug, Args)]
pub(super) struct GenerateConfigArgs {
    /// The server's name in user and room ids
    #[arg(short = 'H', long, value_name = "NAME", default_value = data_dir::DEFAULT_SERVER_NAME)]
    server_name: String,
    /// Where the configuration goes
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    config_dir: PathBuf,
    /// Where the data will be [default: the configuration's folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The file to write [default: homeserver.yaml in the configuration's folder]
    #[arg(short = 'o', long, alias = "output_file", value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// Whether anonymous statistics are reported
    #[arg(long, value_name = "yes|no", default_value = "no")]
    report_stats: YesNo,
    /// Listen on all addresses instead of 127.0.0.1
    #[arg(long)]
    open_private_ports: bool,
    /// Make the configuration alone, without the signing key; it is printed when no file is named (as generate_config)
    #[arg(long)]
    config_only: bool,
    /// With --config-only: a file whose text comes before the configuration
    #[arg(long, value_name = "FILE", requires = "config_only")]
    header_file: Option<PathBuf>,
    /// Accepted for Synapse's sake: secrets are always generated
    #[arg(long, hide = true)]
    generate_secrets: bool,
}

/// Writes a configuration and its signing key, or makes the configuration alone.
///
/// # Errors
/// When a file exists, cannot be read or cannot be written.
pub(super) fn generate(args: &GenerateConfigArgs) -> Result<(), CommandError> {
    let target = args.output_file.clone().unwrap_or_else(|| args.config_dir.join("homeserver.yaml"));
    let data_dir = args.data_dir.as_ref().unwrap_or(&args.config_dir);
    let new = New {
        target: &target,
        config_dir: &args.config_dir,
        data_dir,
        server_name: &args.server_name,
        report_stats: args.report_stats == YesNo::Yes,
        open_ports: args.open_private_ports,
        port: None,
    };
    if args.config_only {
        return configuration_only(args, &new);
    }
    data_dir::create(&new)?;
    Ok(output::line(format_args!("wrote {}", target.display()))?)
}

fn configuration_only(args: &GenerateConfigArgs, new: &New<'_>) -> Result<(), CommandError> {
    let header = match &args.header_file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?
        }
        None => String::new(),
    };
    let text = header + &data_dir::configuration(new)?;
    match &args.output_file {
        Some(path) => data_dir::write_configuration(path, &text)?,
        None => output::text(text)?,
    }
    Ok(())
}

/// The commands on a configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say what is wrong, unknown or without effect in a configuration and its files; exits 1 when anything is
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Configuration file or directory; may be repeated
        #[arg(short = 'c', long = "config-path", value_name = "PATH", default_value = "plexus-data/homeserver.yaml")]
        config_path: Vec<PathBuf>,
    },
}

/// Runs `plexus config ...`.
pub(super) fn run(command: &ConfigCommand) -> ExitCode {
    let ConfigCommand::Check { json, config_path } = command;
    let (mut report, loaded) = preflight::examine(config_path, Options::default());
    if let Some(loaded) = loaded.filter(|_| report.errors.is_empty()) {
        report.errors.extend(preflight::database_problem(&loaded));
    }
    let is_clean = report.is_clean();
    let printed = if *json {
        output::line(format_args!("{:#}", as_json(&report)))
    } else {
        output::text(format_args!("{report}{}", if is_clean { "no mistakes found\n" } else { "" }))
    };
    if is_clean && printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn as_json(report: &Report) -> Value {
    let problems = |problems: &[Problem]| -> Value {
        problems
            .iter()
            .map(|Problem { file, line, option, message }| {
                json!({ "file": file, "line": line, "option": option, "message": message })
            })
            .collect()
    };
    let settings = |settings: &[Setting]| -> Value {
        settings
            .iter()
            .map(|Setting { file, line, option, nearest }| {
                json!({ "file": file, "line": line, "option": option, "did_you_mean": nearest })
            })
            .collect()
    };
    json!({
        "ok": report.is_clean(),
        "errors": problems(&report.errors),
        "warnings": problems(&report.warnings),
        "unknown": settings(&report.unknown),
        "not_in_effect": settings(&report.not_in_effect),
        "moot": settings(&report.moot),
    })
}
